//! How much work is left, from what the searches say of themselves, and whether it fits into the job.

use chrono::{DateTime, Utc};

use super::jobs::{Kind, kind_of};
use super::state::Verdict;
use super::{Facts, PairStatus, RunState};
use crate::executor::slurm::{Job, Phase};
use crate::store::runs::{Mode, Progress};

/// The pairs of a run, in order.
pub(super) fn pairs(facts: &Facts, verdict: &Verdict, now: DateTime<Utc>) -> Vec<PairStatus> {
    // A driver searches one pair at a time: the one that it wrote last.
    let last = facts
        .progress
        .values()
        .filter(|p| !p.done)
        .max_by_key(|p| p.at)
        .map(|p| p.pair.as_str());
    let each = fresh_s(facts);
    let mut all = Vec::with_capacity(facts.plan.pairs.len());
    for (place, pair) in facts.plan.pairs.iter().enumerate() {
        let known = facts.progress.get(pair);
        let is_done = known.is_some_and(|p| p.done);
        let seat = if facts.plan.mode == Mode::Array {
            verdict.seats[place]
        } else {
            verdict.seats[0]
        };
        let state = match seat {
            _ if is_done => RunState::Done,
            RunState::Running if facts.plan.mode != Mode::Array && last != Some(pair) => RunState::Waiting,
            seat => seat,
        };
        let left_s = match (state, known) {
            (RunState::Done, _) => Some(0.0),
            (RunState::Failed | RunState::Cancelled, _) => None,
            (_, Some(known)) => known
                .left_s
                .map(|left| left - elapsed(known, state, now))
                .or(each),
            (_, None) => each,
        };
        all.push(PairStatus {
            pair: pair.clone(),
            low: known.and_then(|p| p.low),
            high: known.and_then(|p| p.high),
            trials: known.map_or(0, |p| p.trials),
            state,
            now: known.and_then(|p| p.now).filter(|_| state == RunState::Running),
            left_s: left_s.map(|s| s.max(0.0).round() as u64),
        });
    }
    all
}

/// Seconds that a pair takes which has not begun.
fn fresh_s(facts: &Facts) -> Option<f64> {
    let measured: Vec<f64> = facts.progress.values().filter_map(|p| p.trial_s).collect();
    let trial_s = if measured.is_empty() {
        facts.plan.trial_s
    } else {
        measured.iter().sum::<f64>() / measured.len() as f64
    };
    let (likely, _) = facts.plan.trials;
    (likely > 0 && trial_s > 0.0).then(|| f64::from(likely) * trial_s)
}

/// Seconds of the running trial that are behind us, at most the whole trial: clocks of hosts differ.
fn elapsed(known: &Progress, state: RunState, now: DateTime<Utc>) -> f64 {
    if state != RunState::Running || known.now.is_none() {
        return 0.0;
    }
    let since = (now - known.at).as_seconds_f64();
    since.clamp(0.0, known.trial_s.unwrap_or(f64::MAX))
}

/// How much is left, and in which time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) eta_s: Option<u64>,
    pub(super) walltime_s: Option<u64>,
    pub(super) needs_another_job: Option<bool>,
}

/// Compares the work left with the time left.
pub(super) fn budget(
    facts: &Facts,
    verdict: &Verdict,
    pairs: &[PairStatus],
    rows: Option<&[&Job]>,
) -> Budget {
    let eta_s = match verdict.state {
        RunState::Done => Some(0),
        RunState::Failed | RunState::Cancelled => None,
        _ => work(facts, pairs),
    };
    if verdict.state.is_over() || facts.plan.mode == Mode::Login {
        return Budget {
            eta_s,
            ..Budget::default()
        };
    }
    let limit = facts.plan.walltime_s.map(|s| s as u64);
    let running: Vec<&&Job> = rows
        .unwrap_or_default()
        .iter()
        .filter(|job| kind_of(&facts.plan.tag, &job.name) == Some(Kind::Driver))
        .filter(|job| job.state.phase() == Phase::Running)
        .collect();
    // A task has its pair to search, a single driver all of them.
    let mut walltime_s = None;
    let mut fits = Vec::new();
    for job in &running {
        let left = match job.task.and_then(|task| pairs.get(task as usize)) {
            Some(pair) => pair.left_s,
            None => eta_s,
        };
        fits.extend(left.zip(job.left_s).map(|(work, time)| work <= time));
        walltime_s = match (walltime_s, job.left_s) {
            (Some(least), Some(left)) => Some(u64::min(least, left)),
            (known, left) => known.or(left),
        };
    }
    if running.is_empty() {
        walltime_s = limit;
        let waiting = pairs.iter().filter(|p| !p.state.is_over());
        let longest = match facts.plan.mode {
            Mode::Array => waiting.filter_map(|p| p.left_s).max(),
            _ => eta_s,
        };
        fits.extend(longest.zip(limit).map(|(work, time)| work <= time));
    }
    Budget {
        eta_s,
        walltime_s,
        needs_another_job: (!fits.is_empty()).then(|| fits.contains(&false)),
    }
}

/// Seconds of work left over all pairs; those of an array run side by side.
fn work(facts: &Facts, pairs: &[PairStatus]) -> Option<u64> {
    let left: Vec<u64> = pairs
        .iter()
        .filter(|p| !matches!(p.state, RunState::Done | RunState::Failed | RunState::Cancelled))
        .map(|p| p.left_s)
        .collect::<Option<_>>()?;
    let total: u64 = left.iter().sum();
    if facts.plan.mode != Mode::Array {
        return Some(total);
    }
    let at_a_time = facts
        .plan
        .throttle
        .map_or(left.len(), |n| (n as usize).min(left.len()));
    let longest = left.iter().copied().max().unwrap_or(0);
    Some((total / at_a_time.max(1) as u64).max(longest))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::super::testing::{row, run};
    use super::super::{RunStatus, assemble};
    use super::*;
    use crate::store::runs::RunDir;
    use crate::units::Rate;

    const NAME: &str = "mst-0a0a0a0a-1";

    fn progress(pair: &str, left_s: f64, done: bool) -> Progress {
        Progress {
            pair: pair.to_owned(),
            low: Some(Rate::per_minute(64.0)),
            high: None,
            trials: 3,
            now: (!done).then_some(Rate::per_minute(128.0)),
            left_s: Some(left_s),
            done,
            trial_s: Some(50.0),
            at: Utc::now(),
        }
    }

    fn status(run: &RunDir, rows: &[Job], later: i64) -> RunStatus {
        let facts = Facts::gather(run).unwrap();
        assemble(&facts, Some(rows), Utc::now() + TimeDelta::seconds(later))
    }

    #[test]
    fn the_searches_say_how_much_is_left() {
        let (_dir, run) = run(Mode::Job, &["a", "b", "c"]);
        let mut job = row("17", "RUNNING", "None", NAME);
        job.left_s = Some(1000);
        let rows = [job];
        // Nothing begun: ten trials of 100 s for each of three pairs.
        let now = status(&run, &rows, 0);
        assert_eq!((now.eta_seconds, now.left_walltime), (Some(3000), Some(1000)));
        assert_eq!(now.needs_another_job, Some(true));

        run.write_progress(&progress("a", 0.0, true)).unwrap();
        run.write_progress(&progress("b", 200.0, false)).unwrap();
        // 200 s, of which 20 are behind us, and ten trials as long as those that were measured.
        let now = status(&run, &rows, 20);
        let left = now.eta_seconds.unwrap();
        assert!((678..=681).contains(&left), "{left}");
        assert_eq!(now.needs_another_job, Some(false));
        let states: Vec<RunState> = now.pairs.iter().map(|p| p.state).collect();
        assert_eq!(states, [RunState::Done, RunState::Running, RunState::Waiting]);
        assert_eq!(now.pairs[1].now, Some(Rate::per_minute(128.0)));
        assert_eq!(now.pairs[1].trials, 3);
        // The clock of another host: not more than the trial is taken off.
        assert_eq!(status(&run, &rows, 9000).pairs[1].left_s, Some(150));

        let waiting = status(&run, &[row("17", "PENDING", "Priority", NAME)], 0);
        assert_eq!(
            (waiting.eta_seconds, waiting.left_walltime),
            (Some(700), Some(3600))
        );
        assert_eq!(
            (waiting.pairs[1].state, waiting.pairs[1].now),
            (RunState::Waiting, None)
        );
    }

    #[test]
    fn the_tasks_of_an_array_share_the_time() {
        let (_dir, run) = run(Mode::Array, &["a", "b", "c", "d"]);
        let rows = [row("17_[0-3%2]", "PENDING", "Priority", NAME)];
        // Four pairs of 1000 s, two at a time.
        assert_eq!(status(&run, &rows, 0).eta_seconds, Some(2000));
        run.write_progress(&progress("a", 5000.0, false)).unwrap();
        let now = status(&run, &rows, 0);
        assert_eq!(now.eta_seconds, Some(5000), "the longest one");
        assert_eq!(now.needs_another_job, Some(true));
    }
}
