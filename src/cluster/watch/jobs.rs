//! The jobs of a run. A job is ours by its name alone: ids are given anew after a controller has crashed.

use std::collections::HashMap;

use serde::Serialize;

use super::{Facts, JobStatus, advice};
use crate::executor::slurm::{Job, Phase};
use crate::store::runs::Note;

/// What a job of a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The driver, or a task of the array of drivers.
    Driver,
    /// The report after an array.
    Report,
    /// A model server.
    Server,
    /// A trial.
    Trial,
}

/// What the job of that name is for, where it is one of the run whose names begin with `tag`.
pub fn kind_of(tag: &str, name: &str) -> Option<Kind> {
    // Columns that a newer or a changed `squeue` adds end up behind the name.
    let name = name.split('|').next()?;
    let rest = name.strip_prefix(tag)?.strip_prefix('-')?;
    let (kind, number) = match rest.as_bytes().first()? {
        b'r' => (Kind::Report, &rest[1..]),
        b's' => (Kind::Server, &rest[1..]),
        b't' => (Kind::Trial, &rest[1..]),
        _ => (Kind::Driver, rest),
    };
    // A trial is counted within its driver's trials: t2.31.
    let number = match (kind, number.split_once('.')) {
        (Kind::Trial, Some((driver, number))) if driver.parse::<u32>().is_ok() => number,
        _ => number,
    };
    number.parse::<u32>().ok().map(|_| kind)
}

/// Whether a row stands for this task of an array; without a task it does.
pub(super) fn covers(job: &Job, task: Option<u32>) -> bool {
    let Some(task) = task else {
        return true;
    };
    if job.task.is_some() {
        return job.task == Some(task);
    }
    // Slurm cuts a long list short with dots: the task may be in it.
    tasks(job.id.as_str()).any(|part| part.is_none_or(|(first, last)| (first..=last).contains(&task)))
}

/// The tasks of a row such as `17_[2-5,8%2]`, first and last; `None` for what cannot be read.
fn tasks(id: &str) -> impl Iterator<Item = Option<(u32, u32)>> {
    let set = id
        .split_once("_[")
        .map_or("", |(_, set)| set)
        .trim_end_matches(']');
    let set = set.split_once('%').map_or(set, |(set, _)| set);
    set.split(',').filter(|part| !part.is_empty()).map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    })
}

/// The number of jobs that a row stands for.
pub fn weight(id: &str) -> usize {
    let in_set: usize = tasks(id)
        .flatten()
        .map(|(first, last)| last.saturating_sub(first) as usize + 1)
        .sum();
    in_set.max(1)
}

/// The rows of a run, and its newest job that Slurm shows no more.
pub(super) fn jobs(facts: &Facts, rows: Option<&[&Job]>) -> Vec<JobStatus> {
    let tag = &facts.plan.tag;
    let starts = starts(facts);
    let mut all: Vec<JobStatus> = rows
        .unwrap_or_default()
        .iter()
        .filter_map(|job| Some(of_row(facts, job, kind_of(tag, &job.name)?, &starts)))
        .collect();
    all.sort_by_key(|job| (job.kind, order(&job.id)));
    let newest = facts.journal.iter().rev().find_map(|line| match &line.note {
        Note::Submitted { id } | Note::Found { id } if kind_of(tag, &line.tag) == Some(Kind::Driver) => {
            Some((id, &line.tag))
        }
        _ => None,
    });
    if let Some((id, name)) = newest
        && !all.iter().any(|job| job.name == *name)
    {
        let state = if rows.is_some() { "GONE" } else { "UNKNOWN" };
        all.push(JobStatus {
            id: id.to_string(),
            state: state.to_owned(),
            reason: String::new(),
            advice: None,
            kind: Kind::Driver,
            name: name.clone(),
            nodes: String::new(),
            left_s: None,
            start: None,
            restarts: starts.get(id.as_str()).copied().unwrap_or(0),
        });
    }
    all
}

fn of_row(facts: &Facts, job: &Job, kind: Kind, starts: &HashMap<&str, u32>) -> JobStatus {
    let phase = job.state.phase();
    let started = starts.get(job.id.as_str()).copied();
    let restarts = match (phase, started) {
        // It ran before, and waits: it was put back once more than it was then.
        (Phase::Waiting, Some(before)) => before + 1,
        (_, before) => before.unwrap_or(0),
    };
    let reason = match job.reason.as_str() {
        "None" => "",
        reason => reason,
    };
    let advice = if phase == Phase::Waiting {
        advice::waiting(reason, job.id.as_str())
    } else {
        advice::state(&job.state, &facts.name)
    };
    JobStatus {
        id: job.id.to_string(),
        state: job.state.as_str().to_owned(),
        reason: reason.to_owned(),
        advice,
        kind,
        name: job.name.clone(),
        nodes: job.nodes.clone(),
        left_s: (phase == Phase::Running).then_some(job.left_s).flatten(),
        start: (phase == Phase::Waiting).then(|| job.start.clone()).flatten(),
        restarts,
    }
}

/// By id, the restart count that its driver saw last.
fn starts(facts: &Facts) -> HashMap<&str, u32> {
    let mut starts: HashMap<&str, u32> = HashMap::new();
    for line in &facts.journal {
        if let Note::Started { id, restart, .. } = &line.note {
            let seen = starts.entry(id.as_str()).or_default();
            *seen = (*seen).max(*restart);
        }
    }
    starts
}

/// Ids in the order of their numbers.
fn order(id: &str) -> Vec<u64> {
    id.split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::row;
    use super::*;

    #[test]
    fn a_job_is_ours_by_its_whole_name() {
        for (name, kind) in [
            ("mst-1a2b3c4d-1", Some(Kind::Driver)),
            ("mst-1a2b3c4d-12", Some(Kind::Driver)),
            ("mst-1a2b3c4d-r2", Some(Kind::Report)),
            ("mst-1a2b3c4d-t31", Some(Kind::Trial)),
            ("mst-1a2b3c4d-t2.31", Some(Kind::Trial)),
            ("mst-1a2b3c4d-tx.31", None),
            ("mst-1a2b3c4d-1.2", None),
            ("mst-1a2b3c4d-s1", Some(Kind::Server)),
            ("mst-1a2b3c4d-12|a column more", Some(Kind::Driver)),
            ("mst-1a2b3c4d", None),
            ("mst-1a2b3c4d-", None),
            ("mst-1a2b3c4d-x", None),
            ("mst-1a2b3c4dd-1", None),
            ("other", None),
        ] {
            assert_eq!(kind_of("mst-1a2b3c4d", name), kind, "{name}");
        }
    }

    #[test]
    fn a_row_of_waiting_tasks_covers_each() {
        for (id, inside, outside) in [
            ("17_[2-5%2]", vec![2, 3, 5], vec![1, 6]),
            ("17_[0,4,7-9]", vec![0, 4, 8], vec![1, 6, 10]),
            ("17_[3]", vec![3], vec![0]),
            ("17_[0,2,...]", vec![0, 2, 500], vec![]),
        ] {
            let job = row(id, "PENDING", "Priority", "x");
            for task in inside {
                assert!(covers(&job, Some(task)), "{id} {task}");
            }
            for task in outside {
                assert!(!covers(&job, Some(task)), "{id} {task}");
            }
        }
        let job = row("17_3", "RUNNING", "None", "x");
        assert!(covers(&job, Some(3)) && !covers(&job, Some(2)) && covers(&job, None));
        assert!(!covers(&row("17", "RUNNING", "None", "x"), Some(0)));
        assert_eq!(
            (weight("17_[2-5%2]"), weight("17_[0,4,7-9]"), weight("17_3")),
            (4, 5, 1)
        );
    }
}
