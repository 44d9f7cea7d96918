//! What `sinfo` tells about partitions: limits that `sbatch --test-only` does not look at.

use std::time::Duration;

use super::{Slurm, SlurmError, time};

/// Columns of `sinfo`.
const FORMAT: &str = "%P|%a|%l|%s|%D";

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// Whether jobs that name none go there.
    pub is_default: bool,
    /// Whether it starts jobs: `up`, else `down`, `drain` or `inact`.
    pub availability: String,
    /// Longest time limit; `None`: none.
    pub limit: Option<Duration>,
    /// Most nodes of a job; `None`: as many as there are.
    pub most_nodes: Option<u32>,
    /// Nodes that it has.
    pub nodes: u32,
}

impl Slurm {
    /// All partitions that this user may see: one `sinfo`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn partitions(&self) -> Result<Vec<Partition>, SlurmError> {
        let argv = ["-h", "-o", FORMAT].map(str::to_owned);
        Ok(parse(&self.call("sinfo", &argv)?.stdout))
    }
}

/// Reads the rows; what is not a row is left out. Groups of nodes with other limits have a row each: their nodes add up.
fn parse(text: &str) -> Vec<Partition> {
    let mut all: Vec<Partition> = Vec::new();
    for partition in text.lines().filter_map(row) {
        match all.iter_mut().find(|known| known.name == partition.name) {
            Some(known) => known.nodes += partition.nodes,
            None => all.push(partition),
        }
    }
    all
}

fn row(line: &str) -> Option<Partition> {
    let fields: Vec<&str> = line.split('|').map(str::trim).collect();
    let [name, availability, limit, size, nodes] = fields[..] else {
        return None;
    };
    let most = size.rsplit('-').next().unwrap_or_default();
    Some(Partition {
        name: name.trim_end_matches('*').to_owned(),
        is_default: name.ends_with('*'),
        availability: availability.to_owned(),
        limit: time::parse_limit(limit).ok(),
        most_nodes: most.parse().ok(),
        nodes: nodes.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_joined() {
        let text = "batch*|up|1-00:00:00|1-infinite|4\nshort|up|1:00|1-2|4\nshort|up|1:00|1-2|3\ndrained|down|infinite|1-infinite|4\n\
                    one|drain|2:00:00|1|1\nnonsense\n";
        let all = parse(text);
        assert_eq!(all.len(), 4);
        assert!(all[0].is_default && all[0].name == "batch");
        assert_eq!(all[0].limit, Some(Duration::from_hours(24)));
        assert_eq!(all[0].most_nodes, None);
        assert_eq!(
            (all[1].limit, all[1].most_nodes, all[1].nodes),
            (Some(Duration::from_mins(1)), Some(2), 7)
        );
        assert_eq!((all[2].availability.as_str(), all[2].limit), ("down", None));
        assert_eq!(all[3].most_nodes, Some(1));
    }
}
