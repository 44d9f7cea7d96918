//! What `squeue` tells about a job.

use serde::{Deserialize, Serialize};

use super::State;

/// Columns of `squeue`; free text comes last, so that a `|` in a job's name does no harm.
pub(super) const FORMAT: &str = "%i|%F|%K|%T|%N|%L|%e|%S|%r|%j";

/// A job id as Slurm prints it: `17`, `17_3`, `17_[2-5%2]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(String);

impl JobId {
    /// Reads `17` or `17;cluster`, as `sbatch --parsable` prints it; also `17_3`.
    pub fn parse(text: &str) -> Option<Self> {
        let id = text.trim().split(';').next()?.trim();
        let begins_well = id.starts_with(|c: char| c.is_ascii_digit());
        let is_clean = id
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '_' | '[' | ']' | '-' | ',' | '%' | '+' | '.'));
        (begins_well && is_clean).then(|| Self(id.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for JobId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A row of `squeue`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The id of the array that it belongs to, else its own.
    pub array: JobId,
    /// Its task within the array.
    pub task: Option<u32>,
    /// Its state.
    pub state: State,
    /// Where it runs, as a host list.
    pub nodes: String,
    /// Seconds until its time limit, while it runs.
    pub left_s: Option<u64>,
    /// When it ends at the latest, local time as Slurm prints it.
    pub end: Option<String>,
    /// When it started or is expected to start, local time as Slurm prints it.
    pub start: Option<String>,
    /// Why it waits or how it ended, as Slurm prints it.
    pub reason: String,
    /// Its name.
    pub name: String,
}

/// Reads the rows; what is not a row is left out.
pub(super) fn parse(text: &str) -> Vec<Job> {
    text.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<Job> {
    let mut fields = line.splitn(10, '|').map(str::trim);
    let id = JobId::parse(fields.next()?)?;
    let array = JobId::parse(fields.next()?)?;
    let task = fields.next()?.parse().ok();
    let state = State::parse(fields.next()?);
    let nodes = fields.next()?.to_owned();
    let left_s = seconds(fields.next()?);
    let known = |text: &str| (!matches!(text, "" | "N/A" | "Unknown" | "NONE")).then(|| text.to_owned());
    let end = known(fields.next()?);
    let start = known(fields.next()?);
    let reason = fields.next()?.to_owned();
    let name = fields.next()?.to_owned();
    Some(Job {
        id,
        array,
        task,
        state,
        nodes,
        left_s,
        end,
        start,
        reason,
        name,
    })
}

/// `1-02:03:04`, `02:03:04`, `03:04` in seconds.
fn seconds(text: &str) -> Option<u64> {
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (days.parse::<u64>().ok()?, clock),
        None => (0, text),
    };
    let mut total = 0;
    for part in clock.split(':') {
        total = total * 60 + part.parse::<u64>().ok()?;
    }
    Some(days * 86_400 + total)
}
