//! Whether an external load generator sent what it was asked to send.
//!
//! Such a program does not tell how late it was. Short of CPU it sends the same requests over a longer time and reports
//! good latencies: the service was then never loaded as asked, and the trial says nothing.

use crate::trial::{ClientHealth, RequestRecord};
use crate::units::Rate;

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
}
