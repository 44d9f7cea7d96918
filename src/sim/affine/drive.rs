//! A replica driven in virtual time, open loop.

use super::{Admission, ConfigError, EventKind, Replica, ReplicaConfig, Request, Time};
use crate::trial::{Outcome, RequestRecord};
use crate::workload::PlannedRequest;

/// Sends `plan` (in order of intended time) to a fresh replica and returns one record a request, in the same order.
///
/// Requests are sent exactly when intended; those intended after `horizon` are [`Outcome::NotSent`], those still open
/// at `horizon` are [`Outcome::Unfinished`]. A refused request ends at once with the replica's overload status, one
/// that can never fit with status 400. A request that meets the end of a step joins the step that follows.
///
/// # Errors
/// When the configuration is not valid.
pub fn run(
    config: &ReplicaConfig,
    plan: &[PlannedRequest],
    horizon: Time,
) -> Result<Vec<RequestRecord>, ConfigError> {
    let mut replica = Replica::new(config.clone())?;
    let mut records: Vec<RequestRecord> = plan.iter().map(unsent).collect();
    let deliver = |records: &mut [RequestRecord], replica: &mut Replica, until: Time| {
        replica.advance_with(until, |event| {
            let record = &mut records[event.id as usize];
            let at = event.at.as_ns() as i64;
            match event.kind {
                EventKind::Started => {}
                EventKind::FirstToken => {
                    record.first_token_ns = Some(at);
                    record.output_tokens = 1;
                }
                EventKind::Token => record.output_tokens += 1,
                EventKind::Done => {
                    record.done_ns = Some(at);
                    record.outcome = Outcome::Ok;
                }
            }
        });
    };
    for (index, planned) in plan.iter().enumerate() {
        let at = Time::from_ns(planned.intended_ns);
        if at > horizon {
            break;
        }
        // Up to, not including, the arrival: on a tie the arrival comes first.
        if at > Time::ZERO {
            deliver(&mut records, &mut replica, at - Time::from_ps(1));
        }
        let refused = match replica.offer(at, request(index, planned)) {
            Admission::Queued => None,
            Admission::Rejected => Some(u16::from(config.overload_status)),
            Admission::NeverFits => Some(400),
        };
        let record = &mut records[index];
        record.sent_ns = Some(record.intended_ns);
        record.outcome = Outcome::Unfinished;
        if let Some(status) = refused {
            record.done_ns = record.sent_ns;
            record.outcome = Outcome::Http(status);
        }
    }
    deliver(&mut records, &mut replica, horizon);
    Ok(records)
}

fn request(index: usize, planned: &PlannedRequest) -> Request {
    Request {
        id: index as u64,
        input_tokens: planned.input_tokens,
        output_tokens: planned.output_tokens,
    }
}

fn unsent(planned: &PlannedRequest) -> RequestRecord {
    RequestRecord {
        intended_ns: planned.intended_ns as i64,
        sent_ns: None,
        first_token_ns: None,
        done_ns: None,
        class: planned.class,
        input_tokens: planned.input_tokens,
        output_tokens: 0,
        outcome: Outcome::NotSent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(intended_ns: u64, output_tokens: u32) -> PlannedRequest {
        PlannedRequest {
            intended_ns,
            class: 0,
            input_tokens: 4,
            output_tokens,
            salt: 0,
        }
    }

    #[test]
    fn every_request_has_its_end() {
        let config = ReplicaConfig {
            batch_cap: 1,
            queue_limit: Some(1),
            kv_tokens: Some(100),
            step_base_us: 1_000.0,
            step_per_seq_us: 0.0,
            prefill_base_us: 0.0,
            prefill_us_per_token: 0.0,
            ..ReplicaConfig::default()
        };
        let plan = [
            planned(0, 2),
            planned(0, 2),
            planned(0, 2),
            planned(10, 200),
            planned(4_000_000, 90),
            planned(90_000_000, 1),
        ];
        let records = run(&config, &plan, Time::from_seconds(0.05)).unwrap();
        let outcomes: Vec<Outcome> = records.iter().map(|r| r.outcome).collect();
        assert_eq!(
            outcomes,
            [
                Outcome::Ok,
                Outcome::Ok,
                Outcome::Http(503),
                Outcome::Http(400),
                Outcome::Unfinished,
                Outcome::NotSent,
            ]
        );
        assert_eq!(records[1].first_token_ns, Some(3_000_000));
        assert_eq!(records[1].done_ns, Some(4_000_000));
        assert_eq!(records[4].first_token_ns, Some(5_000_000));
        assert_eq!(records[4].output_tokens, 46);
    }
}
