//! From what a job left behind and what Slurm says of it to how its command ended. Pure.

use std::time::{Duration, Instant};

use super::script::Left;
use crate::executor::Exit;
use crate::executor::slurm::{Job, Phase, State};

/// How long a file may take from another host to here, and a job that is gone may be between two states.
const LAG: Duration = Duration::from_mins(1);
/// How long after a job's end, whose state says why, what it left may still come.
const SHORT_LAG: Duration = Duration::from_secs(5);
/// How long Slurm has to say why a load generator failed.
const REASON: Duration = Duration::from_secs(20);
/// Looks that must miss a job before it counts as vanished.
const MISSES: u32 = 3;

/// What Slurm said last.
#[derive(Clone, Debug, Default)]
pub(in crate::executor) struct Sight {
    /// The job, where it was known at the last answer.
    pub(in crate::executor) job: Option<Job>,
    /// When it was first seen running.
    pub(in crate::executor) running_since: Option<Instant>,
    /// When it was first seen to be over, or first missed.
    pub(in crate::executor) over_since: Option<Instant>,
    /// Answers that missed it, in a row.
    pub(in crate::executor) misses: u32,
    /// What the accounting says of a job that the controller no longer knows.
    pub(in crate::executor) accounted: Option<State>,
}

impl Sight {
    /// Takes in an answer.
    pub(in crate::executor) fn see(&mut self, job: Option<Job>, now: Instant) {
        if job
            .as_ref()
            .is_some_and(|job| job.state.phase() == Phase::Running)
        {
            self.running_since.get_or_insert(now);
        }
        self.misses = if job.is_some() { 0 } else { self.misses + 1 };
        if job.as_ref().is_none_or(|job| !job.state.is_alive()) {
            self.over_since.get_or_insert(now);
        } else {
            self.over_since = None;
        }
        self.job = job;
    }

    /// The final state, where there is one.
    fn over(&self) -> Option<&State> {
        match &self.job {
            Some(job) => Some(&job.state).filter(|state| !state.is_alive()),
            None => self.accounted.as_ref().filter(|state| !state.is_alive()),
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// It goes on.
    GoOn,
    /// It ended, and Slurm may know more: ask it now.
    Ask,
    /// It ended.
    Ended(Exit),
    /// It was to have ended by now.
    TooLong,
    /// It did not end by itself, or says nothing: why.
    Void(String),
}

/// Decides. `left` comes with the time at which it was first seen.
pub(super) fn judge(
    left: Option<(Left, Instant)>,
    sight: &Sight,
    timeout: Option<Duration>,
    now: Instant,
) -> Ruling {
    let since = |at: Instant| now.saturating_duration_since(at);
    match left {
        Some((Left::Status(0, false), _)) => return Ruling::Ended(Exit::Code(0)),
        Some((Left::Requeued, _)) => {
            return Ruling::Void("was put back into the queue and started again".to_owned());
        }
        Some((Left::Status(status, stopped), at)) => {
            return match sight.over().map(State::as_str) {
                None if since(at) < REASON => Ruling::Ask,
                None | Some("FAILED" | "COMPLETED") if stopped => {
                    Ruling::Void("was told to end by a signal, by Slurm or by somebody".to_owned())
                }
                None | Some("FAILED" | "COMPLETED") => Ruling::Ended(exit(status)),
                Some(state) => Ruling::Void(in_words(state)),
            };
        }
        None => {}
    }
    if sight.job.as_ref().is_some_and(|job| job.state.is_suspended()) {
        return Ruling::Void("was suspended while it ran, so it says nothing about the service".to_owned());
    }
    if let Some(over_since) = sight.over_since {
        return match (sight.over().map(State::as_str), since(over_since)) {
            (Some(state @ ("FAILED" | "COMPLETED")), time) if time >= LAG => Ruling::Void(in_words(state)),
            (Some("FAILED" | "COMPLETED"), _) => Ruling::GoOn,
            (Some(state), time) if time >= SHORT_LAG => Ruling::Void(in_words(state)),
            (None, time) if time >= LAG && sight.misses >= MISSES => Ruling::Void(
                "vanished: Slurm does not know it any more, and it left no exit status; its controller may have \
                 been restarted"
                    .to_owned(),
            ),
            _ => Ruling::GoOn,
        };
    }
    match (timeout, sight.running_since) {
        (Some(limit), Some(began)) if since(began) >= limit => Ruling::TooLong,
        _ => Ruling::GoOn,
    }
}

/// A shell's exit status.
pub(super) fn exit(status: i32) -> Exit {
    if status > 128 {
        Exit::Signal(status - 128)
    } else {
        Exit::Code(status)
    }
}

/// A final state, as the end of a sentence about a job.
fn in_words(state: &str) -> String {
    match state {
        "CANCELLED" => "was cancelled by somebody (`scancel`)".to_owned(),
        "TIMEOUT" => "reached its time limit; give trials' jobs more (their template's `--time`)".to_owned(),
        "OUT_OF_MEMORY" => "ran out of memory; give trials' jobs more (their template's `--mem`)".to_owned(),
        "NODE_FAIL" | "BOOT_FAIL" => format!("lost its node ({state})"),
        "PREEMPTED" => "was preempted by a job of higher priority".to_owned(),
        "DEADLINE" => "reached its deadline".to_owned(),
        "FAILED" => "failed before the load generator could say how it ended".to_owned(),
        "COMPLETED" => "ended without leaving the load generator's exit status".to_owned(),
        other => format!("ended in the state {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: &str) -> Job {
        let row = format!("17|17|N/A|{state}|n1|9:59|N/A|N/A|None|mst-1a2b3c4d-t1");
        Job::parse_all(&row).remove(0)
    }

    /// What is ruled when Slurm first said this `ago` seconds before, and just now again.
    fn ruled(left: Option<Left>, state: Option<&str>, ago: u64) -> Ruling {
        let start = Instant::now();
        let now = start + Duration::from_secs(ago);
        let mut sight = Sight::default();
        for step in 0..3 {
            sight.see(state.map(job), start + Duration::from_secs(ago) * step / 2);
        }
        judge(
            left.map(|l| (l, start)),
            &sight,
            Some(Duration::from_secs(100)),
            now,
        )
    }

    #[test]
    fn a_status_of_zero_decides_alone() {
        for state in [
            None,
            Some("RUNNING"),
            Some("COMPLETED"),
            Some("NODE_FAIL"),
            Some("CANCELLED"),
        ] {
            let ruling = ruled(Some(Left::Status(0, false)), state, 0);
            assert_eq!(ruling, Ruling::Ended(Exit::Code(0)), "{state:?}");
        }
    }

    #[test]
    fn slurm_says_why_a_load_generator_failed() {
        let failed = Some(Left::Status(137, false));
        assert_eq!(ruled(failed, Some("COMPLETING"), 0), Ruling::Ask);
        assert_eq!(
            ruled(failed, Some("COMPLETED"), 0),
            Ruling::Ended(Exit::Signal(9))
        );
        assert_eq!(
            ruled(Some(Left::Status(3, false)), Some("FAILED"), 0),
            Ruling::Ended(Exit::Code(3))
        );
        assert_eq!(ruled(failed, Some("RUNNING"), 30), Ruling::Ended(Exit::Signal(9)));
        let void = |left, state| match ruled(left, Some(state), 0) {
            Ruling::Void(why) => why,
            other => panic!("{state}: {other:?}"),
        };
        assert!(void(failed, "OUT_OF_MEMORY").contains("memory"));
        assert!(void(Some(Left::Status(143, true)), "CANCELLED").contains("cancelled"));
        assert!(void(Some(Left::Status(0, true)), "TIMEOUT").contains("time limit"));
        assert!(void(Some(Left::Status(0, true)), "COMPLETED").contains("signal"));
        assert!(void(Some(Left::Requeued), "RUNNING").contains("queue"));
    }

    #[test]
    fn without_a_status_it_waits_a_while() {
        for (state, soon, late) in [
            (Some("RUNNING"), Ruling::GoOn, Ruling::TooLong),
            (Some("COMPLETING"), Ruling::GoOn, Ruling::TooLong),
            (Some("PENDING"), Ruling::GoOn, Ruling::GoOn),
            (Some("WARPED"), Ruling::GoOn, Ruling::GoOn),
        ] {
            assert_eq!(ruled(None, state, 1), soon, "{state:?}");
            assert_eq!(ruled(None, state, 200), late, "{state:?}");
        }
        for state in [
            None,
            Some("COMPLETED"),
            Some("FAILED"),
            Some("NODE_FAIL"),
            Some("PREEMPTED"),
        ] {
            assert_eq!(ruled(None, state, 1), Ruling::GoOn, "{state:?}");
            assert!(matches!(ruled(None, state, 70), Ruling::Void(_)), "{state:?}");
        }
        assert!(matches!(ruled(None, Some("SUSPENDED"), 0), Ruling::Void(_)));
    }

    #[test]
    fn a_job_that_comes_back_is_not_over() {
        let start = Instant::now();
        let mut sight = Sight::default();
        sight.see(None, start);
        sight.see(Some(job("RUNNING")), start + Duration::from_secs(1));
        assert_eq!(judge(None, &sight, None, start + LAG * 2), Ruling::GoOn);
        // Nobody answered ever since: nothing is known, so nothing is decided.
        let silent = Sight::default();
        assert_eq!(judge(None, &silent, Some(LAG), start + LAG * 2), Ruling::GoOn);
    }
}
