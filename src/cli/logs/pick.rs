//! Which file is the log that is asked for.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::cluster::watch::{Kind, kind_of};
use crate::store::runs::{Line, Mode, Note, Plan, RunDir};

/// Whose log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The driver's.
    Driver,
    /// The model server's.
    Server,
    /// That of the job with this id.
    Job(String),
}

/// The log that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) source: Source,
    pub(super) task: Option<u32>,
}

impl Wanted {
    /// Why there may be none.
    pub(super) fn missing(&self, run: &str, mode: Mode) -> String {
        match &self.source {
            Source::Job(id) => format!("{run} has no log of a job {id}; `mst status {run}` shows its jobs"),
            Source::Server => format!("{run} has no log of a model server yet"),
            Source::Driver if mode == Mode::Login => format!(
                "{run}: its driver was started by hand and writes to its own terminal; --job ID shows a job's log"
            ),
            Source::Driver => format!("{run} has no log yet; `mst status {run}` tells why"),
        }
    }
}

/// The log that was written last of those that fit.
pub(super) fn newest(
    run: &RunDir,
    plan: &Plan,
    journal: &[Line],
    wanted: &Wanted,
) -> std::io::Result<Option<PathBuf>> {
    let mut found: Option<(SystemTime, PathBuf)> = None;
    for folder in folders(run, plan, wanted) {
        let entries = match fs_err::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            if !fits(&path, plan, journal, wanted) {
                continue;
            }
            // A file may vanish while we look.
            let Ok(written) = fs_err::metadata(&path).and_then(|m| m.modified()) else {
                continue;
            };
            if found
                .as_ref()
                .is_none_or(|(newest, name)| (written, &path) > (*newest, name))
            {
                found = Some((written, path));
            }
        }
    }
    Ok(found.map(|(_, path)| path))
}

fn folders(run: &RunDir, plan: &Plan, wanted: &Wanted) -> Vec<PathBuf> {
    if wanted.source != Source::Server {
        return vec![run.logs()];
    }
    let tasks: Vec<Option<u32>> = match (plan.mode, wanted.task) {
        (Mode::Array, None) => (0..plan.pairs.len() as u32).map(Some).collect(),
        (_, task) => vec![task],
    };
    tasks
        .into_iter()
        .map(|task| run.seat(task).path().to_owned())
        .collect()
}

fn fits(path: &Path, plan: &Plan, journal: &[Line], wanted: &Wanted) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_of_task = |id: &str, task: Option<u32>| task.is_none_or(|task| id.ends_with(&format!("_{task}")));
    match &wanted.source {
        Source::Server => name
            .strip_prefix("server-")
            .and_then(|rest| rest.strip_suffix(".log"))
            .is_some_and(|number| number.parse::<u32>().is_ok()),
        Source::Job(wanted) => job_of(path).is_some_and(|id| id == *wanted || array_of(&id) == wanted),
        Source::Driver => job_of(path).is_some_and(|id| {
            kind(plan, journal, &id, &name) == Kind::Driver && is_of_task(&id, wanted.task)
        }),
    }
}

/// What a job is for: its file is named after it, or the journal knows its id.
fn kind(plan: &Plan, journal: &[Line], id: &str, file: &str) -> Kind {
    let by_name = file.find(&plan.tag).and_then(|at| {
        let name = &file[at..];
        let end = name[plan.tag.len()..]
            .char_indices()
            .skip(1)
            .find(|(_, c)| !c.is_ascii_alphanumeric())
            .map_or(name.len(), |(end, _)| plan.tag.len() + end);
        kind_of(&plan.tag, &name[..end])
    });
    let by_id = || {
        journal.iter().rev().find_map(|line| match &line.note {
            Note::Submitted { id: noted } | Note::Found { id: noted } if noted.as_str() == array_of(id) => {
                kind_of(&plan.tag, &line.tag)
            }
            _ => None,
        })
    };
    by_name.or_else(by_id).unwrap_or(Kind::Driver)
}

/// The id that the name of a log ends with: `57`, `17_3`.
fn job_of(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_string_lossy();
    let begin = stem
        .rfind(|c: char| !c.is_ascii_digit() && c != '_')
        .map_or(0, |at| at + 1);
    // One byte: what is not a digit or `_` may be longer, but then `begin` is not a boundary.
    let id = stem.get(begin..)?.trim_start_matches('_');
    (!id.is_empty()).then(|| id.to_owned())
}

/// The array that a job belongs to, or itself.
fn array_of(id: &str) -> &str {
    id.split_once('_').map_or(id, |(array, _)| array)
}

/// The task whose log a file is.
pub(super) fn task_of(path: &Path, source: &Source) -> Option<u32> {
    if *source == Source::Server {
        let seat = path.parent()?.file_name()?.to_string_lossy();
        return seat.strip_prefix("task-")?.parse().ok();
    }
    job_of(path)?.split_once('_')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::slurm::JobId;

    #[test]
    fn a_log_is_named_after_its_job() {
        for (name, id, task) in [
            ("mst-0a0a0a0a-1-57.log", Some("57"), None),
            ("drive-17_3.log", Some("17_3"), Some(3)),
            ("drive_57.out", Some("57"), None),
            ("57.out", Some("57"), None),
            ("notes.txt", None, None),
        ] {
            let path = Path::new(name);
            assert_eq!(job_of(path).as_deref(), id, "{name}");
            assert_eq!(task_of(path, &Source::Driver), task, "{name}");
        }
    }

    #[test]
    fn logs_of_other_jobs_are_not_the_drivers() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(dir.path()).unwrap();
        let plan: Plan = serde_json::from_value(serde_json::json!({
            "schema": 1, "run": run.name(), "tag": "mst-0a0a0a0a", "mode": "array",
            "created": "2026-11-22T20:00:00Z", "mst_version": "0", "program": "/bin/mst", "submit_dir": "/",
            "results_dir": dir.path(), "pairs": ["a", "b"], "folders": ["a", "b"], "trial_s": 1.0,
            "trials": [1, 2], "walltime_s": null, "throttle": null
        }))
        .unwrap();
        let note = |tag: &str, id: &str| {
            let id = JobId::parse(id).unwrap();
            run.journal(None).note(tag, &Note::Submitted { id }).unwrap();
        };
        note("mst-0a0a0a0a-1", "17");
        note("mst-0a0a0a0a-r1", "20");
        let journal = crate::store::runs::Journal::read_all(run.path()).unwrap();
        let mut hour = 1;
        let mut write = |path: PathBuf| {
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            let file = fs_err::File::create(&path).unwrap();
            let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(3600 * hour);
            file.into_parts().0.set_modified(at).unwrap();
            hour += 1;
        };
        for name in [
            "drive-17_0.log",
            "drive-17_1.log",
            "report-20.log",
            "mst-0a0a0a0a-t3-30.log",
        ] {
            write(run.logs().join(name));
        }
        write(run.seat(Some(0)).path().join("server-1.log"));
        write(run.seat(Some(0)).path().join("server-2.log"));
        write(run.seat(Some(0)).path().join("server-2.launch.log"));
        let find = |source: &Source, task| {
            let wanted = Wanted {
                source: source.clone(),
                task,
            };
            newest(&run, &plan, &journal, &wanted)
                .unwrap()
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        };
        assert_eq!(find(&Source::Driver, None).as_deref(), Some("drive-17_1.log"));
        assert_eq!(find(&Source::Driver, Some(0)).as_deref(), Some("drive-17_0.log"));
        assert_eq!(find(&Source::Driver, Some(7)), None);
        assert_eq!(find(&Source::Server, None).as_deref(), Some("server-2.log"));
        assert_eq!(find(&Source::Server, Some(1)), None);
        let job = |id: &str| find(&Source::Job(id.to_owned()), None);
        assert_eq!(job("20").as_deref(), Some("report-20.log"));
        assert_eq!(job("30").as_deref(), Some("mst-0a0a0a0a-t3-30.log"));
        assert_eq!(job("17").as_deref(), Some("drive-17_1.log"));
        assert_eq!(job("17_0").as_deref(), Some("drive-17_0.log"));
        assert_eq!(job("7"), None);
    }
}
