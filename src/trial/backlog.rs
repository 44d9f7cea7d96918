//! Requests offered and served over time: what sustainability is judged by.

use super::RequestRecord;

/// How many points a series has: fine enough for batch means, coarse enough to be cheap.
const POINTS: usize = 600;

/// Cumulative counts at equally spaced times over the offered window.
///
/// `work` and `progress` count in requests of mean length: a request weighs its output tokens over the planned mean.
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
    /// Requests that have left the queue: their first token has come, or they have ended without one. Without token times
    /// the same as `finished`.
    pub started: Vec<u32>,
    /// What was offered: intended requests by their weight. Where the length is not known, so much that it comes to one
    /// on average.
    pub work: Vec<f64>,
    /// What was served of it: the finished requests by their weight, and of each request in flight the share of its output tokens
    /// that it has got. A request that failed counts as one at its end, as it does in `finished`, and so does
    /// one of which no first token is known.
    pub progress: Vec<f64>,
}

impl Backlog {
    /// The series over `[0, until_s]`, from records that are known up to `observed_s`.
    ///
    /// A finished request has got its tokens evenly between the first one and its end, one that is unfinished between
    /// the first one and `observed_s`. `planned_output` is the mean length in tokens; without it, the mean of the good requests.
    pub fn from_records(
        records: &[RequestRecord],
        until_s: f64,
        observed_s: f64,
        planned_output: Option<f64>,
    ) -> Self {
        let step_s = until_s / POINTS as f64;
        let mut series = Self {
            step_s,
            intended: vec![0; POINTS + 1],
            finished: vec![0; POINTS + 1],
            good: vec![0; POINTS + 1],
            started: vec![0; POINTS + 1],
            work: vec![0.0; POINTS + 1],
            progress: Vec::new(),
        };
        let point = |seconds: f64| (seconds.max(0.0) / step_s).ceil() as usize;
        let mean = planned_output.or_else(|| mean_output(records));
        let unknown = unknown_weight(records, mean);
        let mut ramps = Ramps::new(step_s);
        for record in records {
            let own = weight(record, mean);
            let intended = point(record.intended_ns as f64 / 1e9);
            if intended <= POINTS {
                series.intended[intended] += 1;
                let failed = record.outcome.is_finished();
                series.work[intended] += own.unwrap_or(if failed { 1.0 } else { unknown });
            }
            let first = record.first_token_ns.map(|ns| ns as f64 / 1e9);
            let Some(done) = record.done_ns.filter(|_| record.outcome.is_finished()) else {
                if let Some(slot) = first.and_then(|f| series.started.get_mut(point(f))) {
                    *slot += 1;
                }
                if let (Some(first), Some(mean)) = (first, mean) {
                    ramps.add(first, observed_s, f64::from(record.output_tokens) / mean);
                }
                continue;
            };
            let done_s = done as f64 / 1e9;
            if let Some(slot) = series.started.get_mut(point(first.unwrap_or(done_s))) {
                *slot += 1;
            }
            if point(done_s) <= POINTS {
                series.finished[point(done_s)] += 1;
                series.good[point(done_s)] += u32::from(record.outcome.is_ok());
            }
            match (first, own) {
                (Some(first), Some(weight)) => ramps.add(first, done_s, weight),
                _ => ramps.add(done_s, done_s, 1.0),
            }
        }
        for counts in [
            &mut series.intended,
            &mut series.finished,
            &mut series.good,
            &mut series.started,
        ] {
            let mut sum = 0;
            for count in counts.iter_mut() {
                sum += *count;
                *count = sum;
            }
        }
        let mut sum = 0.0;
        for weight in &mut series.work {
            sum += *weight;
            *weight = sum;
        }
        series.progress = ramps.sums();
        series
    }

    /// The series of a trial that is running: what is known of it `t_s` after its start, from records that may know
    /// more. What ends later is in flight.
    pub fn at(records: &[RequestRecord], t_s: f64, planned_output: Option<f64>) -> Self {
        let begun = records.partition_point(|r| r.intended_ns as f64 <= t_s * 1e9);
        Self::from_records(&records[..begun], t_s, t_s, planned_output)
    }

    /// Counts alone, for a source that knows of no tokens: a request is served when it is finished.
    pub fn from_counts(step_s: f64, intended: Vec<u32>, finished: Vec<u32>, good: Vec<u32>) -> Self {
        let work = intended.iter().copied().map(f64::from).collect();
        let progress = finished.iter().copied().map(f64::from).collect();
        Self {
            step_s,
            intended,
            started: finished.clone(),
            finished,
            good,
            work,
            progress,
        }
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

/// What a good request weighs: its output tokens over the mean. `None` where that is not known.
fn weight(record: &RequestRecord, mean: Option<f64>) -> Option<f64> {
    let known = record.outcome.is_ok() && record.output_tokens > 0 && record.first_token_ns.is_some();
    mean.filter(|_| known)
        .map(|m| f64::from(record.output_tokens) / m)
}

/// What an unfinished request weighs on average. Of the requests that came since the first of them, the long ones are
/// still under way, so that all together weigh one each.
fn unknown_weight(records: &[RequestRecord], mean: Option<f64>) -> f64 {
    let Some(first) = records.iter().position(|r| !r.outcome.is_finished()) else {
        return 1.0;
    };
    let since = &records[first..];
    let open = since.iter().filter(|r| !r.outcome.is_finished()).count() as f64;
    let ended: f64 = since
        .iter()
        .filter(|r| r.outcome.is_finished())
        .map(|r| 1.0 - weight(r, mean).unwrap_or(1.0))
        .sum();
    1.0 + (ended / open).max(0.0)
}

/// Mean output of the good requests.
fn mean_output(records: &[RequestRecord]) -> Option<f64> {
    let good = records
        .iter()
        .filter(|r| r.outcome.is_ok() && r.output_tokens > 0);
    let (count, sum) = good.fold((0.0, 0.0), |(n, sum), r| {
        (n + 1.0, sum + f64::from(r.output_tokens))
    });
    (count > 0.0).then(|| sum / count)
}

/// A sum of functions that grow evenly from zero to a weight between two times, at the points of a series.
struct Ramps {
    step_s: f64,
    /// At a point, by how much the slope and the intercept of the sum change.
    slope: Vec<f64>,
    intercept: Vec<f64>,
}

impl Ramps {
    fn new(step_s: f64) -> Self {
        Self {
            step_s,
            slope: vec![0.0; POINTS + 1],
            intercept: vec![0.0; POINTS + 1],
        }
    }

    fn add(&mut self, from_s: f64, until_s: f64, weight: f64) {
        let point = |seconds: f64| (seconds.max(0.0) / self.step_s).ceil() as usize;
        let (from, until) = (point(from_s), point(until_s));
        let slope = if until > from {
            weight / (until_s - from_s)
        } else {
            0.0
        };
        if from <= POINTS {
            self.slope[from] += slope;
            self.intercept[from] -= slope * from_s;
        }
        if until <= POINTS {
            self.slope[until] -= slope;
            self.intercept[until] += slope * from_s + weight;
        }
    }

    fn sums(self) -> Vec<f64> {
        let (mut slope, mut intercept) = (0.0, 0.0);
        self.slope
            .iter()
            .zip(&self.intercept)
            .enumerate()
            .map(|(point, (s, i))| {
                slope += s;
                intercept += i;
                intercept + slope * point as f64 * self.step_s
            })
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
            6.0,
            None,
        );
        assert_eq!(series.intended.last(), Some(&3));
        assert_eq!(series.finished.last(), Some(&1));
        assert_eq!(series.open()[0], 1.0);
        assert_eq!(series.open()[150], 1.0);
        assert!((series.step_s - 0.01).abs() < 1e-12);
    }

    #[test]
    fn progress_is_what_the_requests_in_flight_have_got() {
        let second = 1_000_000_000;
        let long = RequestRecord {
            intended_ns: 0,
            sent_ns: Some(0),
            first_token_ns: Some(second),
            done_ns: Some(5 * second),
            class: 0,
            input_tokens: 1,
            output_tokens: 30,
            outcome: Outcome::Ok,
        };
        let failed = RequestRecord {
            first_token_ns: None,
            done_ns: Some(2 * second),
            output_tokens: 0,
            outcome: Outcome::Http(503),
            ..long
        };
        let running = RequestRecord {
            first_token_ns: Some(2 * second),
            done_ns: None,
            output_tokens: 10,
            outcome: Outcome::Unfinished,
            ..long
        };
        let series = Backlog::from_records(&[long, failed, running], 6.0, 6.0, Some(20.0));
        let close = |at: usize, expected: f64| {
            let found = series.progress[at];
            assert!((found - expected).abs() < 1e-9, "{found} at {at}");
        };
        close(100, 0.0);
        close(199, 0.75 * 0.99 / 2.0);
        close(200, 0.375 + 1.0);
        close(300, 0.75 + 1.0 + 0.125);
        close(600, 1.5 + 1.0 + 0.5);
        assert_eq!(series.work[0], 1.5 + 1.0 + 1.0);
        // Three seconds after the start the long one is half way.
        let early = Backlog::at(&[long], 3.0, Some(20.0));
        assert!((early.progress[600] - 0.75).abs() < 1e-9);
        assert_eq!((early.started[600], early.finished[600]), (1, 0));
    }
}
