//! Whether an external load generator sent what it was asked to send.
//!
//! Such a program does not tell how late it was. Short of CPU it sends the same requests over a longer time and reports
//! good latencies: the service was then never loaded as asked, and the trial says nothing.

use super::tool::Asked;
use crate::stats::quantile::{median, quantile};
use crate::trial::{ClientHealth, RequestRecord};
use crate::units::Rate;
use crate::workload::Arrival;

/// How far the realised rate may be from what was asked.
const TOLERANCE: f64 = 0.05;

/// What the send times tell about the client. `fence_posts` is the number of requests that the program sends beyond
/// rate times duration by its nature.
pub(super) fn health(
    records: &[RequestRecord],
    asked: Rate,
    duration_s: f64,
    fence_posts: u32,
) -> ClientHealth {
    let wanted = asked.as_per_second() * duration_s;
    let window_ns = duration_s * 1e9;
    // A millisecond of grace keeps a request that is due at the very end.
    let in_time = records
        .iter()
        .filter(|r| r.sent_ns.is_some_and(|t| t as f64 <= window_ns + 1e6))
        .count() as f64;
    let all = records.iter().filter(|r| r.sent_ns.is_some()).count() as f64;
    let last_s = records.iter().filter_map(|r| r.sent_ns).max().unwrap_or(0) as f64 / 1e9;
    let too_few = in_time < (1.0 - TOLERANCE) * wanted - 1.0;
    let too_many = all > (1.0 + TOLERANCE) * wanted + f64::from(fence_posts) + 1.0;
    let void = (too_few || too_many).then(|| {
        format!(
            "the client did not keep its schedule: {in_time:.0} requests sent within {duration_s} s where {wanted:.0} were \
             asked for (in all {all:.0}, the last after {last_s:.1} s); it may be short of CPU, or \
             its connections failed (see its log)"
        )
    });
    ClientHealth {
        void,
        ..ClientHealth::default()
    }
}

/// Standard deviations of the realised rate that arrivals drawn by the program itself may be below what was asked.
const NOISE: f64 = 4.0;
/// A typical send may be so many milliseconds late, or this share of the time to the first token. These programs need some
/// milliseconds for a send on an idle machine.
const MEDIAN_LATENESS: (f64, f64) = (25.0, 0.1);
/// At the end sends may on average be so many milliseconds late, or this share of the offered time, as for the native one.
const FINAL_LATENESS: (f64, f64) = (50.0, 0.002);

/// How long a fixed number of requests was really offered, in seconds, and what that tells about a program that drew its own
/// schedule. `records` are in order of intended time, the first at 0; `scheduled` says that these are the program's schedule
/// and not the send times.
///
/// The time of the last of n arrivals is random: its standard deviation is one over the square root of n. So the realised
/// rate counts, n arrivals and the n - 1 gaps between them.
pub(super) fn own_schedule(records: &[RequestRecord], asked: &Asked, scheduled: bool) -> (f64, ClientHealth) {
    let count = records.len();
    let span_s = records.last().map_or(0.0, |r| r.intended_ns as f64 / 1e9);
    let offered_s = if count > 1 {
        span_s * count as f64 / (count - 1) as f64
    } else {
        asked.duration_s
    };
    let mut health = ClientHealth::default();
    if scheduled {
        let mut lateness: Vec<f64> = records.iter().filter_map(RequestRecord::lateness_ms).collect();
        lateness.sort_by(f64::total_cmp);
        health.lateness_p50_ms = quantile(&lateness, 0.5);
        health.lateness_p99_ms = quantile(&lateness, 0.99);
        health.lateness_max_ms = lateness.last().copied();
    }
    health.void = too_few(count, asked)
        .or_else(|| too_slow(count, offered_s, asked, scheduled))
        .or_else(|| too_late(records, offered_s).filter(|_| scheduled));
    (offered_s, health)
}

fn too_few(count: usize, asked: &Asked) -> Option<String> {
    ((count as f64) < (1.0 - TOLERANCE) * asked.count as f64 - 1.0).then(|| {
        format!(
            "only {count} of {} requests were sent; the program may be short of CPU, or gave up (see its log)",
            asked.count
        )
    })
}

fn too_slow(count: usize, offered_s: f64, asked: &Asked, scheduled: bool) -> Option<String> {
    let realised = count as f64 / offered_s.max(f64::MIN_POSITIVE);
    let random = scheduled && asked.arrival != Arrival::Constant;
    let noise = if random {
        NOISE / (count.max(1) as f64).sqrt()
    } else {
        0.0
    };
    let edges = 2.0 / count.max(1) as f64;
    (realised < (1.0 - TOLERANCE.max(noise) - edges) * asked.per_second).then(|| {
        format!(
            "the client did not keep its schedule: {realised:.2} requests/s where {:.2} were asked for; it may be short of CPU",
            asked.per_second
        )
    })
}

fn too_late(records: &[RequestRecord], offered_s: f64) -> Option<String> {
    let lateness = |records: &[RequestRecord]| {
        let values: Vec<f64> = records.iter().filter_map(RequestRecord::lateness_ms).collect();
        median(&values)
    };
    let last = &records[records.len() - records.len().div_ceil(10)..];
    typically_late(lateness(records), records).or_else(|| {
        let bound = FINAL_LATENESS.0.max(FINAL_LATENESS.1 * offered_s * 1e3);
        beyond("send lateness at the end", lateness(last), bound)
    })
}

/// Judges a program that tells its lateness in sum only.
pub(super) fn judge_median(records: &[RequestRecord], client: &mut ClientHealth) {
    client.void = client
        .void
        .take()
        .or_else(|| typically_late(client.lateness_p50_ms, records));
}

fn typically_late(lateness_ms: Option<f64>, records: &[RequestRecord]) -> Option<String> {
    let ttft: Vec<f64> = records.iter().filter_map(RequestRecord::ttft_ms).collect();
    let ttft_ms = median(&ttft).unwrap_or(0.0);
    let bound = MEDIAN_LATENESS.0.max(MEDIAN_LATENESS.1 * ttft_ms);
    beyond("median send lateness", lateness_ms, bound)
}

fn beyond(name: &str, value: Option<f64>, bound: f64) -> Option<String> {
    let value = value.filter(|v| *v > bound)?;
    Some(format!(
        "{name} is {value:.1} ms, more than {bound:.1} ms: the program is short of CPU; give it cores of its own, or use \
         LOADGEN=native"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Outcome;

    fn sent(count: usize, over_s: f64) -> Vec<RequestRecord> {
        (0..count)
            .map(|i| {
                let at = (i as f64 / count as f64 * over_s * 1e9) as i64;
                RequestRecord {
                    intended_ns: at,
                    sent_ns: Some(at),
                    first_token_ns: None,
                    done_ns: Some(at + 1),
                    class: 0,
                    input_tokens: 1,
                    output_tokens: 1,
                    outcome: Outcome::Ok,
                }
            })
            .collect()
    }

    #[test]
    fn only_a_kept_schedule_is_sound() {
        let rate = Rate::per_minute(6000.0);
        let void = |count, over_s, posts| health(&sent(count, over_s), rate, 20.0, posts).void;
        assert_eq!(void(2000, 20.0, 0), None);
        assert_eq!(void(2064, 20.0, 64), None);
        assert_eq!(void(1910, 20.0, 0), None);
        // The recorded case of a starved client: all requests, but over 112 s.
        let why = void(2032, 112.0, 64).unwrap();
        assert!(why.contains("short of CPU") && why.contains("2032"), "{why}");
        assert!(void(1880, 20.0, 0).is_some());
        assert!(void(2200, 20.0, 64).is_some());
    }

    fn asked(arrival: Arrival) -> Asked {
        Asked {
            per_second: 10.0,
            count: 400,
            duration_s: 40.0,
            input: 1,
            output: 1,
            arrival,
            seed: 0,
        }
    }

    #[test]
    fn a_schedule_of_its_own_counts_as_realised() {
        for (arrival, count, over_s, sound) in [
            (Arrival::Constant, 400, 40.0, true),
            (Arrival::Constant, 400, 43.0, false),
            (Arrival::Poisson, 400, 46.0, true),
            (Arrival::Poisson, 400, 36.0, true),
            (Arrival::Poisson, 400, 60.0, false),
            (Arrival::Poisson, 370, 37.0, false),
        ] {
            let (offered_s, health) = own_schedule(&sent(count, over_s), &asked(arrival), true);
            assert!((offered_s - over_s).abs() < 1e-6, "{offered_s} of {over_s}");
            assert_eq!(
                health.void.is_none(),
                sound,
                "{arrival} {over_s}: {:?}",
                health.void
            );
            assert_eq!(health.lateness_max_ms, Some(0.0));
        }
        // Without a schedule send times are all there is, and their span is not random.
        let (_, health) = own_schedule(&sent(400, 46.0), &asked(Arrival::Poisson), false);
        assert!(health.void.unwrap().contains("did not keep its schedule"));
        assert_eq!(health.lateness_max_ms, None);
    }

    #[test]
    fn lateness_that_grows_voids() {
        let late = |by_ms: fn(i64) -> i64| {
            let mut records = sent(400, 40.0);
            for (record, i) in records.iter_mut().zip(0..) {
                record.sent_ns = record.sent_ns.map(|t| t + by_ms(i) * 1_000_000);
                record.first_token_ns = Some(record.intended_ns + 50_000_000);
            }
            own_schedule(&records, &asked(Arrival::Poisson), true).1
        };
        let calm = late(|_| 5);
        assert_eq!((calm.void, calm.lateness_p50_ms), (None, Some(5.0)));
        assert!(
            late(|_| 30)
                .void
                .unwrap()
                .contains("median send lateness is 30.0 ms, more than 25.0")
        );
        let growing = late(|i| if i < 300 { 0 } else { i - 200 });
        assert!(growing.void.unwrap().contains("at the end"));
        let hiccup = late(|i| if i == 390 { 500 } else { 1 });
        assert_eq!((hiccup.void, hiccup.lateness_max_ms), (None, Some(500.0)));
    }

    #[test]
    fn lateness_in_sum_is_judged_by_its_median() {
        for (p50, sound) in [(None, true), (Some(20.0), true), (Some(26.0), false)] {
            let mut client = ClientHealth {
                lateness_p50_ms: p50,
                ..ClientHealth::default()
            };
            judge_median(&sent(10, 1.0), &mut client);
            assert_eq!(client.void.is_none(), sound, "{p50:?}: {:?}", client.void);
        }
    }
}
