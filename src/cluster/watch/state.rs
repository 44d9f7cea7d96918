//! From files and rows to one word. Files first: an end that a driver wrote is the end; then Slurm's rows; then the
//! driver's signs of life.

use chrono::{DateTime, Local, NaiveDateTime, TimeDelta, TimeZone, Utc};

use super::jobs::{Kind, covers, kind_of};
use super::{Facts, RunState, SeatFacts};
use crate::executor::slurm::{Job, Phase};
use crate::store::runs::{Mode, Note, Outcome};

/// How long a job may be missing from the queue before it counts as lost: Slurm hides nothing, but a requeue takes 121 s
/// and a shared file system may show a driver's last words late.
const GRACE: TimeDelta = TimeDelta::seconds(180);
/// How long after the end of a job its driver's last words may come.
const LAG: TimeDelta = TimeDelta::seconds(30);

/// What a run is doing, and each of its drivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) state: RunState,
    /// In the order of the seats.
    pub(super) seats: Vec<RunState>,
    pub(super) why: Option<String>,
}

/// What one driver is doing.
type Told = (RunState, Option<String>);

/// Decides, from the rows of this run; `None`: Slurm did not answer.
pub(super) fn decide(facts: &Facts, rows: Option<&[&Job]>, now: DateTime<Utc>) -> Verdict {
    let drivers: Option<Vec<&Job>> = rows.map(|rows| {
        rows.iter()
            .filter(|job| kind_of(&facts.plan.tag, &job.name) == Some(Kind::Driver))
            .copied()
            .collect()
    });
    let told: Vec<Told> = facts
        .seats
        .iter()
        .map(|seat| one(facts, seat, drivers.as_deref(), now))
        .collect();
    // What still moves comes first, then what somebody has to do something about.
    let state = [
        RunState::Running,
        RunState::Waiting,
        RunState::Unknown,
        RunState::Lost,
        RunState::Cancelled,
        RunState::Failed,
    ]
    .into_iter()
    .find(|state| told.iter().any(|(told, _)| told == state))
    .unwrap_or(RunState::Done);
    let why = told
        .iter()
        .find(|(told, why)| *told == state && why.is_some())
        .and_then(|(_, why)| why.clone());
    Verdict {
        state,
        seats: told.into_iter().map(|(state, _)| state).collect(),
        why,
    }
}

fn one(facts: &Facts, seat: &SeatFacts, drivers: Option<&[&Job]>, now: DateTime<Utc>) -> Told {
    if let Some(ended) = &seat.ended {
        let state = match ended.outcome {
            Outcome::Done => RunState::Done,
            Outcome::Failed => RunState::Failed,
            Outcome::Cancelled => RunState::Cancelled,
        };
        return (state, Some(ended.why.clone()).filter(|why| !why.is_empty()));
    }
    let is_fresh = seat.sign.is_some_and(|sign| sign.is_fresh(now));
    if facts.plan.mode == Mode::Login {
        return match seat.sign {
            Some(sign) if sign.is_fresh(now) => (RunState::Running, None),
            Some(sign) if sign.lives == Some(false) => gone(facts),
            _ => after_grace(facts, seat, now),
        };
    }
    let Some(drivers) = drivers else {
        return if is_fresh {
            (RunState::Running, None)
        } else {
            let why = "Slurm does not answer, and the files of the run do not tell".to_owned();
            (RunState::Unknown, Some(why))
        };
    };
    let mut newest: Option<&Job> = None;
    let mut is_waiting = false;
    for job in drivers.iter().filter(|job| covers(job, seat.task)) {
        match job.state.phase() {
            Phase::Running if job.state.is_suspended() => {
                return (RunState::Running, Some(format!("job {} stands still", job.id)));
            }
            Phase::Running => return (RunState::Running, None),
            Phase::Waiting => is_waiting = true,
            // A word of a later Slurm: alive until the job is gone.
            Phase::Unknown => {
                return (
                    RunState::Running,
                    Some(format!("job {} is {}", job.id, job.state.as_str())),
                );
            }
            Phase::Done | Phase::Failed | Phase::Lost => {
                newest = newest.filter(|n| number(n) >= number(job)).or(Some(job));
            }
        }
    }
    if is_waiting {
        return (RunState::Waiting, None);
    }
    if is_fresh {
        return (
            RunState::Running,
            Some("its driver lives, though its job is over".to_owned()),
        );
    }
    let Some(job) = newest else {
        return nowhere(facts, seat, now);
    };
    let word = job.state.as_str();
    let over = job.end.as_deref().and_then(slurm_time);
    if over.is_some_and(|over| now - over < LAG && over - now < LAG) && word != "CANCELLED" {
        let why = format!(
            "job {} has just ended ({word}) and its driver wrote no end yet",
            job.id
        );
        return (RunState::Running, Some(why));
    }
    if word == "CANCELLED" || facts.is_asked_to_stop {
        return (RunState::Cancelled, Some(format!("job {} was cancelled", job.id)));
    }
    (
        RunState::Lost,
        Some(format!(
            "job {} ended ({word}) and its driver wrote no end",
            job.id
        )),
    )
}

/// How long the last words of a driver may still come whose job ended well a moment ago: it wrote them, and a shared file
/// system may show them late. `None`: there is nothing to wait for.
pub fn last_words_due(facts: &Facts, rows: &[Job], now: DateTime<Utc>) -> Option<TimeDelta> {
    let silent = facts.seats.iter().filter(|seat| seat.ended.is_none());
    silent
        .filter_map(|seat| {
            let newest = rows
                .iter()
                .filter(|job| kind_of(&facts.plan.tag, &job.name) == Some(Kind::Driver))
                .filter(|job| covers(job, seat.task))
                .max_by_key(|job| number(job))?;
            let ended_well = newest.state.phase() == Phase::Done;
            let over = newest
                .end
                .as_deref()
                .and_then(slurm_time)
                .filter(|_| ended_well)?;
            Some(LAG - (now - over)).filter(|left| (TimeDelta::zero()..=LAG).contains(left))
        })
        .max()
}

/// No row of Slurm's stands for this driver.
fn nowhere(facts: &Facts, seat: &SeatFacts, now: DateTime<Utc>) -> Told {
    if facts.is_asked_to_stop {
        return (RunState::Cancelled, None);
    }
    let last = facts
        .journal
        .iter()
        .rev()
        .filter(|line| kind_of(&facts.plan.tag, &line.tag) == Some(Kind::Driver))
        .map(|line| &line.note)
        .next();
    match last {
        Some(Note::Refused { why }) => (RunState::Failed, Some(why.clone())),
        _ => after_grace(facts, seat, now),
    }
}

/// Lost, unless there was a sign of life a moment ago.
fn after_grace(facts: &Facts, seat: &SeatFacts, now: DateTime<Utc>) -> Told {
    let silent = now - facts.last_seen(seat);
    if silent >= GRACE {
        return gone(facts);
    }
    let state = if facts.has_started(seat) {
        RunState::Running
    } else {
        RunState::Waiting
    };
    let left = (GRACE - silent).num_seconds().max(1);
    let what = if facts.plan.mode == Mode::Login {
        "its driver gives no sign of life"
    } else {
        "its job is not in the queue"
    };
    (
        state,
        Some(format!("{what}; lost unless there is one within {left} s")),
    )
}

fn gone(facts: &Facts) -> Told {
    if facts.is_asked_to_stop {
        return (RunState::Cancelled, None);
    }
    let why = match facts.plan.mode {
        Mode::Login => "its driver is gone and wrote no end",
        _ => "its jobs are gone and no driver wrote an end",
    };
    (RunState::Lost, Some(why.to_owned()))
}

/// The place of a driver's job among those of its run.
fn number(job: &Job) -> u32 {
    job.name
        .rsplit_once('-')
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or(0)
}

/// A time as `squeue` prints it, local.
fn slurm_time(text: &str) -> Option<DateTime<Utc>> {
    let naive = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S").ok()?;
    Some(Local.from_local_datetime(&naive).earliest()?.to_utc())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{row, run};
    use super::super::{Sign, assemble};
    use super::*;
    use crate::executor::slurm::JobId;
    use crate::store::runs::{Ended, RunDir};

    const NAME: &str = "mst-0a0a0a0a-1";

    fn ended(outcome: Outcome) -> Ended {
        Ended {
            outcome,
            exit: 0,
            why: String::new(),
            at: Utc::now(),
            job: None,
        }
    }

    fn submitted(run: &RunDir) {
        let id = JobId::parse("17").unwrap();
        run.journal(None).note(NAME, &Note::Submitted { id }).unwrap();
    }

    /// The word, some seconds after everything that was written.
    fn word(run: &RunDir, rows: Option<&[Job]>, later: i64) -> RunState {
        let facts = Facts::gather(run).unwrap();
        assemble(&facts, rows, Utc::now() + TimeDelta::seconds(later)).state
    }

    #[test]
    fn rows_tell_while_nothing_is_written() {
        let (_dir, run) = run(Mode::Job, &["8_8", "16_16"]);
        submitted(&run);
        for (state, expected) in [
            ("PENDING", RunState::Waiting),
            ("CONFIGURING", RunState::Waiting),
            ("RUNNING", RunState::Running),
            ("COMPLETING", RunState::Running),
            ("SUSPENDED", RunState::Running),
            ("SOMETHING_NEW", RunState::Running),
            ("CANCELLED", RunState::Cancelled),
            ("TIMEOUT", RunState::Lost),
            ("NODE_FAIL", RunState::Lost),
            ("PREEMPTED", RunState::Lost),
            ("OUT_OF_MEMORY", RunState::Lost),
            ("FAILED", RunState::Lost),
            ("COMPLETED", RunState::Lost),
        ] {
            let rows = [row("17", state, "None", NAME)];
            assert_eq!(word(&run, Some(&rows), 0), expected, "{state}");
        }
        // Just ended: the file may come late.
        let mut just = row("17", "COMPLETED", "None", NAME);
        just.end = Some(Local::now().format("%Y-%m-%dT%H:%M:%S").to_string());
        assert_eq!(word(&run, Some(&[just]), 5), RunState::Running);
    }

    #[test]
    fn an_end_that_was_written_beats_all_rows() {
        let (_dir, run) = run(Mode::Job, &["8_8"]);
        for (outcome, expected) in [
            (Outcome::Done, RunState::Done),
            (Outcome::Failed, RunState::Failed),
            (Outcome::Cancelled, RunState::Cancelled),
        ] {
            run.seat(None).end(&ended(outcome)).unwrap();
            for state in ["RUNNING", "COMPLETED", "FAILED", "PENDING"] {
                let rows = [row("17", state, "None", NAME)];
                assert_eq!(word(&run, Some(&rows), 0), expected);
            }
            assert_eq!(word(&run, Some(&[]), 10_000), expected);
            assert_eq!(word(&run, None, 10_000), expected);
        }
    }

    #[test]
    fn a_job_that_is_gone_is_lost_after_a_grace() {
        let (_dir, run) = run(Mode::Job, &["8_8"]);
        submitted(&run);
        assert_eq!(word(&run, Some(&[]), 5), RunState::Waiting);
        let id = JobId::parse("17").unwrap();
        let host = "n1".to_owned();
        let started = Note::Started { id, restart: 0, host };
        run.journal(Some("17")).note(NAME, &started).unwrap();
        assert_eq!(word(&run, Some(&[]), 125), RunState::Running);
        assert_eq!(word(&run, Some(&[]), 200), RunState::Lost);
        // The id was given to somebody else.
        let theirs = [row("17", "RUNNING", "None", "theirs")];
        assert_eq!(word(&run, Some(&theirs), 200), RunState::Lost);
        let facts = Facts::gather(&run).unwrap();
        let jobs = assemble(&facts, Some(&theirs), Utc::now()).jobs;
        assert_eq!((jobs.len(), jobs[0].state.as_str()), (1, "GONE"));
        // A successor waits, the first one is over.
        let rows = [
            row("17", "TIMEOUT", "TimeLimit", NAME),
            row("18", "PENDING", "Dependency", "mst-0a0a0a0a-2"),
        ];
        assert_eq!(word(&run, Some(&rows), 200), RunState::Waiting);
        run.ask_to_stop().unwrap();
        assert_eq!(word(&run, Some(&[]), 1), RunState::Cancelled);
    }

    #[test]
    fn without_an_answer_the_files_have_to_do() {
        let (_dir, run) = run(Mode::Job, &["8_8"]);
        submitted(&run);
        assert_eq!(word(&run, None, 10_000), RunState::Unknown);
        let mut facts = Facts::gather(&run).unwrap();
        let now = Utc::now();
        for (lives, ago, expected) in [
            (None, 3, RunState::Running),
            (None, 100, RunState::Unknown),
            (Some(true), 1000, RunState::Running),
            (Some(false), 1, RunState::Unknown),
        ] {
            let at = now - TimeDelta::seconds(ago);
            facts.seats[0].sign = Some(Sign { at, lives });
            assert_eq!(
                assemble(&facts, None, now).state,
                expected,
                "{lives:?}, {ago} s ago"
            );
        }
    }

    #[test]
    fn a_driver_at_a_login_node_needs_no_slurm() {
        let (_dir, run) = run(Mode::Login, &["8_8"]);
        let mut facts = Facts::gather(&run).unwrap();
        let now = Utc::now();
        for (lives, ago, expected) in [
            (Some(true), 1, RunState::Running),
            (Some(false), 1, RunState::Lost),
            (None, 10, RunState::Running),
        ] {
            let at = now - TimeDelta::seconds(ago);
            facts.seats[0].sign = Some(Sign { at, lives });
            assert_eq!(assemble(&facts, None, now).state, expected);
            assert_eq!(assemble(&facts, Some(&[]), now).state, expected);
        }
        facts.seats[0].sign = None;
        let later = now + TimeDelta::seconds(200);
        assert_eq!(assemble(&facts, Some(&[]), later).state, RunState::Lost);
    }

    #[test]
    fn a_submission_that_was_refused_is_a_failure() {
        let (_dir, run) = run(Mode::Job, &["8_8"]);
        let why = "sbatch refused: Invalid account".to_owned();
        run.journal(None).note(NAME, &Note::Refused { why }).unwrap();
        let facts = Facts::gather(&run).unwrap();
        let status = assemble(&facts, Some(&[]), Utc::now());
        assert_eq!(status.state, RunState::Failed);
        assert_eq!(status.why.as_deref(), Some("sbatch refused: Invalid account"));
    }

    #[test]
    fn the_tasks_of_an_array_are_told_apart() {
        let (_dir, run) = run(Mode::Array, &["a", "b", "c", "d"]);
        submitted(&run);
        run.seat(Some(0)).end(&ended(Outcome::Done)).unwrap();
        let rows = [
            row("17_1", "RUNNING", "None", NAME),
            row("17_[2-3%2]", "PENDING", "JobArrayTaskLimit", NAME),
        ];
        let facts = Facts::gather(&run).unwrap();
        let status = assemble(&facts, Some(&rows), Utc::now());
        assert_eq!(status.state, RunState::Running);
        let pairs: Vec<RunState> = status.pairs.iter().map(|p| p.state).collect();
        assert_eq!(
            pairs,
            [
                RunState::Done,
                RunState::Running,
                RunState::Waiting,
                RunState::Waiting
            ]
        );
        for task in 1..3 {
            run.seat(Some(task)).end(&ended(Outcome::Done)).unwrap();
        }
        assert_eq!(word(&run, Some(&[]), 200), RunState::Lost, "the last is gone");
        run.seat(Some(3)).end(&ended(Outcome::Failed)).unwrap();
        assert_eq!(word(&run, Some(&[]), 200), RunState::Failed);
    }
}
