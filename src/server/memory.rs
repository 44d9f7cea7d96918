//! Whether the kernel ended processes for want of memory, from the counters of control groups (v1 and v2).

use std::path::{Path, PathBuf};

/// Counters of the control group of this process and of those around it, up to that of the job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct MemoryKills {
    files: Vec<(PathBuf, u64)>,
}

/// How far up is looked: task, step, job.
const LEVELS: usize = 4;

impl MemoryKills {
    /// The counters as they stand now.
    pub(super) fn now() -> Self {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let files = counters(&groups)
            .into_iter()
            .filter_map(|path| {
                let count = read(&path)?;
                Some((path, count))
            })
            .collect();
        Self { files }
    }

    /// How many more there are now. Of several groups the nearest counts: those above count other programs, too.
    pub(super) fn since(&self) -> u64 {
        self.files
            .first()
            .and_then(|(path, before)| Some(read(path)?.saturating_sub(*before)))
            .unwrap_or(0)
    }

    /// Whether there are more in any of the groups.
    pub(super) fn anywhere(&self) -> bool {
        self.files
            .iter()
            .any(|(path, before)| read(path).is_some_and(|now| now > *before))
    }
}

/// Files with counters, nearest first, from the text of `/proc/self/cgroup`.
fn counters(groups: &str) -> Vec<PathBuf> {
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (mount, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.events")
        } else if controllers.split(',').any(|c| c == "memory") {
            ("/sys/fs/cgroup/memory", "memory.oom_control")
        } else {
            continue;
        };
        let group = Path::new(mount).join(path.trim_start_matches('/'));
        let found: Vec<PathBuf> = group
            .ancestors()
            .take(LEVELS)
            .take_while(|g| g.starts_with(mount) && *g != Path::new("/sys/fs/cgroup/memory"))
            .map(|g| g.join(file))
            .filter(|f| f.is_file())
            .collect();
        // A v2 hierarchy beside v1 controllers has no memory counters.
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

fn read(path: &Path) -> Option<u64> {
    parse(&std::fs::read_to_string(path).ok()?)
}

/// The line `oom_kill N`, the same in both versions.
fn parse(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        assert_eq!(
            parse("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n"),
            Some(2)
        );
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"), Some(5));
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn what_cannot_be_read_counts_as_nothing() {
        assert_eq!(
            counters("0::/no/such/group\n9:name=systemd:/x\nnonsense"),
            Vec::<PathBuf>::new()
        );
        assert_eq!(MemoryKills::default().since(), 0);
        assert!(!MemoryKills::now().anywhere());
    }
}
