//! What `squeue` tells about a job.

use serde::{Deserialize, Serialize};

use super::State;

/// Columns of `squeue`; free text comes last, so that a `|` in a job's name moves no other column.
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

    /// The id that `sbatch --parsable` printed. Sites put lines of their own around it: the last line that is an id counts.
    pub(super) fn submitted(stdout: &str) -> Option<Self> {
        let is_plain = |id: &Self| id.0.bytes().all(|b| b.is_ascii_digit());
        stdout.lines().rev().filter_map(Self::parse).find(is_plain)
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
    /// Its name, up to a `|`: names of our jobs have none, and columns that a changed `squeue` adds come behind one.
    pub name: String,
}

impl Job {
    /// Reads what squeue prints; what is not a row is left out.
    pub fn parse_all(text: &str) -> Vec<Self> {
        text.lines().filter_map(row).collect()
    }
}

/// Columns of `sacct`, the name last.
pub(super) const ACCOUNT_FORMAT: &str = "JobID,State,JobName";

/// Ids and states of the jobs of a name, from rows of `sacct`; of an array's tasks the array's id.
pub(super) fn accounted(text: &str, name: &str) -> Vec<(JobId, State)> {
    let row = |line: &str| {
        let mut fields = line.splitn(3, '|').map(str::trim);
        let id = fields.next()?;
        let id = JobId::parse(id.split(['_', '+', '.']).next()?)?;
        let state = State::parse(fields.next()?);
        let named = fields.next()?;
        (named == name || named.strip_prefix(name)?.starts_with('|')).then_some((id, state))
    };
    text.lines().filter_map(row).collect()
}

/// Ids of the steps of a name, from rows `id|name`.
pub(super) fn steps(text: &str, name: &str) -> Vec<JobId> {
    let row = |line: &str| {
        let mut fields = line.split('|').map(str::trim);
        let id = JobId::parse(fields.next()?)?;
        (fields.next()? == name).then_some(id)
    };
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
    let name = fields.next()?.split('|').next()?.trim_end().to_owned();
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

/// `1-02:03:04`, `02:03:04`, `03:04` in seconds; a job beyond its limit has none left. `UNLIMITED` and `NOT_SET` say
/// nothing.
fn seconds(text: &str) -> Option<u64> {
    if text == "INVALID" {
        return Some(0);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As Slurm 22.05 printed them, and lines that others add.
    const ROWS: &str = "\
2_[2-5%2]|2|2-5%2|PENDING||10:00|N/A|N/A|JobArrayTaskLimit|mst-x-2
3|3|N/A|PENDING||10:00|N/A|N/A|PartitionNodeLimit|mst-x-3
1|1|N/A|RUNNING|n1|9:59|2026-11-22T19:52:17|2026-11-22T19:42:17|None|mst-x-1
2_0|2|0|COMPLETING|n[1-3,7]|1-00:09:59|2026-11-22T19:52:17|2026-11-22T19:42:17|None|mst-x-2
slurm_load_jobs: some warning of a site
14+0|14|N/A|RUNNING|n1|INVALID|2026-11-22T19:52:17|2026-11-22T19:42:17|None|a name | with = bars
7|7|N/A|WARPED|n1|UNLIMITED|N/A|2026-11-22T19:42:17|None|mst-x-7|a column more
";

    #[test]
    fn rows_of_every_shape_are_read() {
        let jobs = Job::parse_all(ROWS);
        assert_eq!(jobs.len(), 6);
        let waiting = &jobs[0];
        assert_eq!((waiting.id.as_str(), waiting.array.as_str()), ("2_[2-5%2]", "2"));
        assert_eq!((waiting.task, waiting.end.as_deref()), (None, None));
        assert_eq!(waiting.reason, "JobArrayTaskLimit");
        assert_eq!(jobs[2].left_s, Some(599));
        let task = &jobs[3];
        assert_eq!((task.task, task.left_s), (Some(0), Some(86_400 + 599)));
        assert!(task.state.is_alive());
        assert_eq!(task.nodes, "n[1-3,7]");
        assert_eq!((jobs[4].name.as_str(), jobs[4].left_s), ("a name", Some(0)));
        let odd = &jobs[5];
        assert_eq!(odd.name, "mst-x-7");
        assert!(odd.state.is_alive());
        assert_eq!(odd.left_s, None);
    }

    #[test]
    fn an_id_is_found_in_what_sbatch_printed() {
        for (text, id) in [
            ("17\n", Some("17")),
            ("17;dev\n", Some("17")),
            ("Welcome!\n\n17\n", Some("17")),
            ("17\nYour quota: 3 of 9\n", Some("17")),
            ("Submitted batch job 17\n", None),
            ("", None),
        ] {
            assert_eq!(JobId::submitted(text).as_ref().map(JobId::as_str), id, "{text}");
        }
    }

    #[test]
    fn accounting_and_steps_are_read_by_name() {
        let rows = "34|CANCELLED by 0|mst-x-1\n35_2|RUNNING|mst-x-2\n36|FAILED|mst-x-10\n";
        let found = accounted(rows, "mst-x-2");
        assert_eq!(found, [(JobId("35".to_owned()), State::parse("RUNNING"))]);
        assert_eq!(accounted(rows, "mst-x-1").len(), 1);
        assert_eq!(
            steps("8.0|mst-step|n1\n8.batch|batch|n1\n", "mst-step"),
            [JobId("8.0".to_owned())]
        );
    }
}
