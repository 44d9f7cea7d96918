//! Slurm's words in plain ones, and what to do. One table for why a job waits, one for how it ended.

mod table;

use table::{ENDED, Reason, WAITING};

use super::jobs::{Kind, kind_of};
use super::state::Verdict;
use super::{Facts, RunState};
use crate::executor::slurm::{Job, Phase, State};

fn find(table: &[Reason], word: &str) -> Option<(&'static str, &'static str)> {
    table
        .iter()
        .find(|(pattern, ..)| fits(pattern, word))
        .map(|(_, means, remedy)| (*means, *remedy))
}

/// Whether a word fits a pattern, in which a `*` stands for any text. What follows a comma is detail.
fn fits(pattern: &str, word: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| word.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    for part in parts {
        open = true;
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    open || rest.is_empty() || rest.starts_with(',')
}

/// Why a job waits, in plain words with the remedy; `None` for a reason that is not known.
pub fn waiting(reason: &str, id: &str) -> Option<String> {
    let (means, remedy) = find(WAITING, reason)?;
    // A whole array is meant by its number.
    let id = id.split_once('[').map_or(id, |(id, _)| id.trim_end_matches('_'));
    let told = format!("{means}: {remedy}").replace("{id}", id);
    // The run has a copy of the profile, which `mst resume` submits again.
    let for_new_runs = remedy.contains("the cluster profile") && !remedy.contains("mst submit");
    Some(if for_new_runs {
        told + " (it is for new runs: `mst cancel` this one and `mst submit` again; what is measured is kept)"
    } else {
        told
    })
}

/// What a state that is not waiting means, in plain words with the remedy, where there is something to say.
pub fn state(state: &State, run: &str) -> Option<String> {
    let (means, remedy) = find(ENDED, state.as_str())?;
    Some(format!("{means}: {remedy}").replace("{run}", run))
}

/// What to do about a run.
pub(super) fn of_run(name: &str, verdict: &Verdict, facts: &Facts, rows: Option<&[&Job]>) -> Vec<String> {
    let alive: Vec<&&Job> = rows
        .unwrap_or_default()
        .iter()
        .filter(|job| job.state.is_alive())
        .collect();
    let mut lines = Vec::new();
    match verdict.state {
        RunState::Lost => {
            let ended = rows
                .unwrap_or_default()
                .iter()
                .rev()
                .filter(|job| kind_of(&facts.plan.tag, &job.name) == Some(Kind::Driver))
                .find_map(|job| state(&job.state, name));
            lines.push(
                ended.unwrap_or_else(|| format!("everything measured is kept: `mst resume {name}` goes on")),
            );
        }
        RunState::Failed => lines.push(format!(
            "`mst logs {name}` tells more; after mending, `mst resume {name}` goes on"
        )),
        RunState::Cancelled => lines.push(format!(
            "everything measured is kept: `mst resume {name}` goes on"
        )),
        RunState::Running | RunState::Waiting if facts.is_asked_to_stop => {
            lines.push("it was asked to stop; its drivers end at the next look".to_owned());
        }
        RunState::Done => lines.push(format!(
            "`mst report {}` shows what was found",
            facts.plan.results_dir.display()
        )),
        RunState::Running | RunState::Waiting | RunState::Unknown => {}
    }
    let lingers = |job: &Job| kind_of(&facts.plan.tag, &job.name) != Some(Kind::Report);
    let is_left = match verdict.state {
        RunState::Lost | RunState::Failed | RunState::Cancelled => alive.iter().any(|job| lingers(job)),
        // The job of a driver that wrote its end runs for a moment more; one that waits has no use.
        RunState::Done => alive
            .iter()
            .any(|job| lingers(job) && job.state.phase() == Phase::Waiting),
        RunState::Running | RunState::Waiting | RunState::Unknown => false,
    };
    if is_left {
        lines.push(format!(
            "jobs of it are still there: `mst cancel {name}` ends them"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_reached() {
        for table in [WAITING, ENDED] {
            for (pattern, means, remedy) in table {
                let word = pattern.replace('*', "X");
                assert_eq!(
                    find(table, &word),
                    Some((*means, *remedy)),
                    "{pattern} is hidden by one before it"
                );
            }
        }
    }

    #[test]
    fn reasons_are_told_in_plain_words() {
        for (reason, fragment) in [
            ("Priority", "other jobs are before it"),
            ("Resources", "squeue --start -j 17"),
            ("Dependency", "waits for the job before it"),
            ("DependencyNeverSatisfied", "ended the wrong way"),
            ("PartitionTimeLimit", "WALLTIME"),
            ("QOSMaxJobsPerUserLimit", "as many of your jobs run"),
            ("QOSMaxGRESPerUser", "hold as much as the QOS lets"),
            ("QOSMaxCpuPerJobLimit", "asks for more than its QOS"),
            ("QOSGrpGRES", "all jobs of this QOS together"),
            ("AssocGrpCPUMinutesLimit", "all jobs of its account"),
            ("AssocMaxCpuPerJobLimit", "limit of its account"),
            (
                "ReqNodeNotAvail, UnavailableNodes:n1",
                "down, drained or reserved",
            ),
            (
                "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions",
                "sinfo -R",
            ),
            ("JobHeldUser", "scontrol release 17"),
            ("launch failed requeued held", "scontrol release 17"),
            ("job requeued in held state", "scontrol release 17"),
            ("Reservation", "begin"),
        ] {
            let told = waiting(reason, "17").unwrap();
            assert!(told.contains(fragment), "{reason}: {told}");
        }
        assert_eq!(waiting("SomethingNew", "17"), None);
        assert_eq!(waiting("PriorityX", "17"), None);
        assert_eq!(waiting("", "17"), None);
        let array = waiting("JobArrayTaskLimit", "17_[3-9%2]").unwrap();
        assert!(array.contains("jobid=17 "), "{array}");
    }

    #[test]
    fn ends_are_told_with_what_to_do() {
        for word in [
            "OUT_OF_MEMORY",
            "TIMEOUT",
            "NODE_FAIL",
            "PREEMPTED",
            "CANCELLED",
            "FAILED",
        ] {
            let told = state(&State::parse(word), "a-run").unwrap();
            assert!(told.contains("mst resume a-run"), "{word}: {told}");
        }
        for word in ["COMPLETED", "RUNNING", "COMPLETING", "NEW_WORD"] {
            assert_eq!(state(&State::parse(word), "a-run"), None);
        }
    }
}
