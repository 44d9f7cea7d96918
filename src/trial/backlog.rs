//! Requests offered and finished over time: the counting process that sustainability is judged by.

use super::RequestRecord;

/// How many points a series has: fine enough for batch means, coarse enough to be cheap.
const POINTS: usize = 600;

/// Cumulative counts at equally spaced times over the offered window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Backlog {
    /// Seconds between two points; point `k` is at `k * step_s`.
    pub step_s: f64,
    /// Requests whose intended time has come.
    pub intended: Vec<u32>,
    /// Requests that the service has finished with, well or badly.
    pub finished: Vec<u32>,
    /// Of these, the good ones.
    pub good: Vec<u32>,
}

impl Backlog {
    /// The series over `[0, offered_s]`.
    pub fn from_records(records: &[RequestRecord], offered_s: f64) -> Self {
        let step_s = offered_s / POINTS as f64;
        let mut series = Self {
            step_s,
            intended: vec![0; POINTS + 1],
            finished: vec![0; POINTS + 1],
            good: vec![0; POINTS + 1],
        };
        let point = |ns: i64| ((ns.max(0) as f64 / 1e9) / step_s).ceil() as usize;
        for record in records {
            if let Some(slot) = series.intended.get_mut(point(record.intended_ns)) {
                *slot += 1;
            }
            let Some(done) = record.done_ns.filter(|_| record.outcome.is_finished()) else {
                continue;
            };
            if let Some(slot) = series.finished.get_mut(point(done)) {
                *slot += 1;
            }
            if let Some(slot) = series
                .good
                .get_mut(point(done))
                .filter(|_| record.outcome.is_ok())
            {
                *slot += 1;
            }
        }
        for counts in [&mut series.intended, &mut series.finished, &mut series.good] {
            let mut sum = 0;
            for count in counts.iter_mut() {
                sum += *count;
                *count = sum;
            }
        }
        series
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.intended.len()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.intended.is_empty()
    }

    /// Intended minus finished requests at each point.
    pub fn open(&self) -> Vec<f64> {
        self.intended
            .iter()
            .zip(&self.finished)
            .map(|(&i, &f)| f64::from(i) - f64::from(f))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Outcome;

    #[test]
    fn counts_are_cumulative_and_end_at_the_totals() {
        let record = |sent: i64, done: Option<i64>| RequestRecord {
            intended_ns: sent,
            sent_ns: Some(sent),
            first_token_ns: None,
            done_ns: done,
            class: 0,
            input_tokens: 1,
            output_tokens: 1,
            outcome: if done.is_some() {
                Outcome::Ok
            } else {
                Outcome::Unfinished
            },
        };
        let second = 1_000_000_000;
        let series = Backlog::from_records(
            &[
                record(0, Some(second)),
                record(second, None),
                record(5 * second, None),
            ],
            6.0,
        );
        assert_eq!(series.intended.last(), Some(&3));
        assert_eq!(series.finished.last(), Some(&1));
        assert_eq!(series.open()[0], 1.0);
        assert_eq!(series.open()[150], 1.0);
        assert!((series.step_s - 0.01).abs() < 1e-12);
    }
}
