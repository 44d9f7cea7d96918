//! How long a run is likely to take, and how many jobs of a given length it fills.

use std::time::Duration;

use serde::Serialize;

/// What a model server is guessed to need until it can work: a large model is read from a shared file system.
const LIKELY_START: Duration = Duration::from_mins(10);

/// Trials of one search: those that are likely, and the limit.
pub type Trials = (u32, u32);

/// What there is to do, one driver after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Trials of each search.
    pub searches: Vec<Trials>,
    /// What the trials that are likely take on average, as a share of one of full length: 1 unless the search has short ones.
    pub share: f64,
    /// The same of all trials up to the limit.
    pub most_share: f64,
    /// A trial with its drain.
    pub trial: Duration,
    /// The pause after it.
    pub cooldown: Duration,
    /// How long a model server may take to start, where the run has one of its own.
    pub server_limit: Option<Duration>,
    /// What is kept free at a job's end.
    pub margin: Duration,
}

/// How many jobs of a given length there will be, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Jobs {
    /// The time limit is not known: that of the partition.
    Unknown,
    /// A job is too short for a single trial.
    None {
        /// What it must last at least, seconds.
        least_s: u64,
    },
    /// So many are likely, and so many at most.
    Some {
        /// Likely.
        likely: u32,
        /// At most.
        most: u32,
    },
}

impl Work {
    /// Only the longest search: an array searches all at once.
    #[must_use]
    pub fn longest(&self) -> Self {
        let longest = self.searches.iter().max().copied();
        Self {
            searches: longest.into_iter().collect(),
            ..self.clone()
        }
    }

    /// Trials in all: likely, and at most.
    pub fn trials(&self) -> Trials {
        let sum = |pick: fn(&Trials) -> u32| self.searches.iter().map(pick).sum();
        (sum(|trials| trials.0), sum(|trials| trials.1))
    }

    /// Time in all, in one job: likely, and at most, when no trial is decided early.
    pub fn time(&self) -> (Duration, Duration) {
        let (likely, most) = self.trials();
        let each = self.trial + self.cooldown;
        (
            (each * likely).mul_f64(self.share) + self.start().unwrap_or_default(),
            (each * most).mul_f64(self.most_share) + self.server_limit.unwrap_or_default(),
        )
    }

    /// What a job must last at least to get one trial done. A server may be quick to start.
    pub fn least(&self) -> Duration {
        self.trial + self.margin
    }

    /// How many jobs of this length it takes.
    pub fn jobs(&self, walltime: Option<Duration>) -> Jobs {
        let Some(walltime) = walltime else {
            return Jobs::Unknown;
        };
        if walltime < self.least() {
            let least = self.least();
            return Jobs::None {
                least_s: least.as_secs() + u64::from(least.subsec_nanos() > 0),
            };
        }
        let free = walltime
            .saturating_sub(self.margin)
            .saturating_sub(self.start().unwrap_or_default());
        // The pause after the last trial of a job may be cut off.
        let each = (self.trial + self.cooldown).as_secs_f64();
        let in_one = ((free + self.cooldown).as_secs_f64() / each).floor().max(1.0);
        let (likely, most) = self.trials();
        let jobs = |trials: f64| (trials / in_one).ceil() as u32;
        Jobs::Some {
            likely: jobs(self.share * f64::from(likely)),
            most: jobs(self.most_share * f64::from(most)),
        }
    }

    fn start(&self) -> Option<Duration> {
        self.server_limit.map(|limit| limit.min(LIKELY_START))
    }
}

/// A time for people, as exact as an estimate deserves: `40 s`, `12 min`, `1.5 h`, `32 h`.
pub fn about(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 90.0 {
        format!("{seconds:.0} s")
    } else if seconds < 5400.0 {
        format!("{:.0} min", seconds / 60.0)
    } else if seconds < 36_000.0 {
        format!("{:.1} h", seconds / 3600.0)
    } else {
        format!("{:.0} h", seconds / 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> Work {
        Work {
            searches: vec![(6, 15), (5, 15)],
            share: 1.0,
            most_share: 1.0,
            trial: Duration::from_mins(31),
            cooldown: Duration::from_mins(3),
            server_limit: None,
            margin: Duration::from_secs(90),
        }
    }

    #[test]
    fn time_is_trials_with_drain_pause_and_server() {
        let mut work = work();
        assert_eq!(work.trials(), (11, 30));
        assert_eq!(
            work.time(),
            (Duration::from_mins(11 * 34), Duration::from_hours(17))
        );
        assert_eq!(work.longest().trials(), (6, 15));
        work.server_limit = Some(Duration::from_hours(1));
        assert_eq!(
            work.time(),
            (Duration::from_mins(11 * 34 + 10), Duration::from_hours(18))
        );
        work.server_limit = Some(Duration::from_secs(5));
        assert_eq!(work.time().0, Duration::from_secs(11 * 2040 + 5));
    }

    #[test]
    fn jobs_hold_whole_trials_only() {
        let mut work = work();
        let hours = |count: u64| Some(Duration::from_hours(count));
        assert_eq!(work.jobs(None), Jobs::Unknown);
        assert_eq!(work.jobs(hours(24)), Jobs::Some { likely: 1, most: 1 });
        // 6 h hold 10 trials, with the last pause cut off.
        assert_eq!(work.jobs(hours(6)), Jobs::Some { likely: 2, most: 3 });
        assert_eq!(work.jobs(Some(work.least())), Jobs::Some { likely: 11, most: 30 });
        let just_too_short = work.least().saturating_sub(Duration::from_millis(1));
        assert_eq!(work.jobs(Some(just_too_short)), Jobs::None { least_s: 1950 });
        // With a server that takes long, one trial still may fit.
        work.server_limit = Some(Duration::from_hours(1));
        assert_eq!(work.jobs(Some(work.least())), Jobs::Some { likely: 11, most: 30 });
    }

    #[test]
    fn short_trials_take_less_of_what_is_likely() {
        let mut work = work();
        work.share = 0.25;
        assert_eq!(work.trials(), (11, 30));
        assert_eq!(
            work.time(),
            (Duration::from_secs(11 * 34 * 60 / 4), Duration::from_hours(17))
        );
        let six = Some(Duration::from_hours(6));
        assert_eq!(work.jobs(six), Jobs::Some { likely: 1, most: 3 });
    }

    #[test]
    fn times_are_told_as_exactly_as_they_are_known() {
        for (seconds, text) in [(40, "40 s"), (720, "12 min"), (5400, "1.5 h"), (115_200, "32 h")] {
            assert_eq!(about(Duration::from_secs(seconds)), text);
        }
    }
}
