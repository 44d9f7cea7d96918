//! What can be known before a job is submitted: whether its time limit is any good, and whether a partition takes it.

use std::time::Duration;

use super::estimate::{Jobs, Work, about};
use crate::executor::slurm::{Partition, time};

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The job would be of no use.
    Wrong(String),
    /// Worth knowing.
    Warning(String),
}

/// Looks at the time limit of one job, and at what is to be done in jobs of that length.
pub fn walltime(work: &Work, walltime: Option<Duration>) -> Option<Finding> {
    let limit = walltime.map_or(String::new(), time::limit);
    match work.jobs(walltime) {
        Jobs::None { least_s } => Some(Finding::Wrong(format!(
            "a job of {limit} cannot hold a single trial: one with its drain and WALLTIME_MARGIN takes {}; give at least --time \
             {}, or a shorter DURATION",
            about(Duration::from_secs(least_s)),
            time::limit(Duration::from_secs(least_s)),
        ))),
        Jobs::Some { likely, most } if likely > 1 => {
            let count = if likely == most {
                format!("{most} jobs at most")
            } else {
                format!("about {likely} jobs, {most} at most")
            };
            Some(Finding::Warning(format!(
                "a job of {limit} does not hold the whole search: it will take {count}, one after the other; each goes on where \
                 the one before stopped"
            )))
        }
        Jobs::Some { .. } | Jobs::Unknown => None,
    }
}

/// Looks at the partition that a job goes to. `--test-only` finds none of this: such jobs are taken, and wait for ever.
pub fn partition(
    all: &[Partition],
    name: Option<&str>,
    nodes: u32,
    walltime: Option<Duration>,
) -> Vec<Finding> {
    // Several may be named, the first that can takes the job.
    let named: Vec<&Partition> = match name {
        Some(names) => {
            let names: Vec<&str> = names.split(',').collect();
            all.iter().filter(|p| names.contains(&p.name.as_str())).collect()
        }
        None => all.iter().filter(|p| p.is_default).collect(),
    };
    let each: Vec<Vec<Finding>> = named
        .iter()
        .map(|partition| one(partition, nodes, walltime))
        .collect();
    if each.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    each.into_iter().flatten().collect()
}

fn one(partition: &Partition, nodes: u32, walltime: Option<Duration>) -> Vec<Finding> {
    let name = &partition.name;
    let mut found = Vec::new();
    if partition.availability != "up" {
        found.push(Finding::Warning(format!(
            "the partition {name} is {}: the job waits until that is changed; `sinfo -s` lists others",
            partition.availability
        )));
    }
    if let Some((asked, limit)) = walltime
        .zip(partition.limit)
        .filter(|(asked, limit)| asked > limit)
    {
        found.push(Finding::Wrong(format!(
            "the partition {name} has a time limit of {}, and the job asks for {}: it would wait for ever; give --time {}",
            time::limit(limit),
            time::limit(asked),
            time::limit(limit),
        )));
    }
    let most = partition
        .most_nodes
        .map_or(partition.nodes, |most| most.min(partition.nodes));
    if nodes > most {
        found.push(Finding::Wrong(format!(
            "a job in the partition {name} may have {most} nodes, and this one asks for {nodes}: it would wait for ever; change \
             server.nodes in slurm/cluster.yml or SERVER_PLACE"
        )));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, availability: &str, limit: Option<u64>) -> Partition {
        Partition {
            name: name.to_owned(),
            is_default: name == "batch",
            availability: availability.to_owned(),
            limit: limit.map(Duration::from_mins),
            most_nodes: None,
            nodes: 4,
        }
    }

    #[test]
    fn time_limits_are_compared_with_the_work() {
        let work = Work {
            searches: vec![(10, 15)],
            share: 1.0,
            most_share: 1.0,
            trial: Duration::from_mins(31),
            cooldown: Duration::from_mins(3),
            server_limit: None,
            margin: Duration::from_secs(90),
        };
        let minutes = |count| Some(Duration::from_mins(count));
        let Some(Finding::Wrong(told)) = super::walltime(&work, minutes(30)) else {
            panic!("a trial of 31 minutes does not fit into 30");
        };
        assert!(told.contains("--time 00:32:30"), "{told}");
        let Some(Finding::Warning(told)) = super::walltime(&work, minutes(120)) else {
            panic!("ten trials do not fit into two hours");
        };
        assert!(told.contains("about 4 jobs, 5 at most"), "{told}");
        assert_eq!(super::walltime(&work, minutes(1440)), None);
        assert_eq!(super::walltime(&work, None), None);
    }

    #[test]
    fn partitions_that_never_start_the_job_are_told() {
        let all = [
            named("batch", "up", Some(1440)),
            named("short", "up", Some(1)),
            named("drained", "down", None),
        ];
        let hour = Some(Duration::from_hours(1));
        let told = |name, nodes| -> Vec<String> {
            let found = partition(&all, name, nodes, hour);
            found
                .into_iter()
                .map(|finding| match finding {
                    Finding::Wrong(told) => format!("wrong: {told}"),
                    Finding::Warning(told) => format!("warning: {told}"),
                })
                .collect()
        };
        assert!(told(None, 4).is_empty());
        assert!(told(None, 5)[0].starts_with("wrong: a job in the partition batch may have 4 nodes"));
        assert!(
            told(Some("short"), 1)[0].starts_with("wrong: the partition short has a time limit of 00:01:00")
        );
        assert!(told(Some("drained"), 1)[0].starts_with("warning: the partition drained is down"));
        assert!(told(Some("short,batch"), 1).is_empty());
        // sbatch itself says that there is no such partition.
        assert!(told(Some("nosuch"), 1).is_empty());
    }
}
