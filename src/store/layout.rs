//! Names in a results folder. Nothing else knows a path.

use std::path::{Path, PathBuf};

use chrono::DateTime;

/// Folder of trials that are running.
pub const STAGING: &str = ".staging";
/// What a trial was.
pub const MANIFEST: &str = "trial.json";
/// How it was judged.
pub const VERDICT: &str = "verdict.json";
/// The answer of a pair.
pub const CAPACITY: &str = "capacity.json";
/// With what the search of a pair began.
pub const SEARCH: &str = "search.json";
/// The response curve of a pair.
pub const CURVE: &str = "capacity.svg";
/// Raw rows.
pub const ROWS: &str = "requests.jsonl.zst";
/// How loaded the server said it was while a trial ran.
pub const SERVER_METRICS: &str = "server_metrics.csv";
/// The same as a picture.
pub const SERVER_METRICS_PLOT: &str = "server_metrics.svg";
/// What a load generator is told.
pub const JOB: &str = "job.json";
/// Its appearance in a staging folder asks the load generator to stop.
pub const STOP: &str = "stop";
/// Which processes work in a staging folder.
pub const PROCESS: &str = "process.json";
/// Which Slurm job works in a staging folder.
pub const SLURM: &str = "slurm.json";
/// What a job that outlives its driver was started for.
pub const ATTEMPT: &str = "attempt.json";
/// The load generator's output.
pub const LOG: &str = "loadgen.log";
/// For people and tools; never read back for decisions.
pub const EVENTS: &str = "events.jsonl";
/// The lease of a pair.
pub const LEASE: &str = ".lease";

/// The name of a trial's folder: its start in UTC, to the second.
pub fn trial_folder(epoch_ns: i64) -> String {
    DateTime::from_timestamp_nanos(epoch_ns)
        .format("%Y-%m-%d_%H-%M-%S")
        .to_string()
}

/// The first free folder of that name below `pair`: `-2`, `-3`, … follow when it is taken.
pub fn free_trial_folder(pair: &Path, epoch_ns: i64) -> PathBuf {
    let name = trial_folder(epoch_ns);
    let first = pair.join(&name);
    if !first.exists() {
        return first;
    }
    (2..u32::MAX)
        .map(|n| pair.join(format!("{name}-{n}")))
        .find(|p| !p.exists())
        .expect("some number is free")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_names_are_counted_up() {
        let dir = tempfile::tempdir().unwrap();
        let first = free_trial_folder(dir.path(), 1_790_000_000_000_000_000);
        assert_eq!(first.file_name().unwrap(), "2026-09-21_14-13-20");
        std::fs::create_dir(&first).unwrap();
        let second = free_trial_folder(dir.path(), 1_790_000_000_000_000_000);
        assert_eq!(second.file_name().unwrap(), "2026-09-21_14-13-20-2");
    }
}
