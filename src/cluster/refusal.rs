//! What to do when Slurm refuses a job.

/// Words of a refusal and the remedy. `{partition}` and the like stand in the cluster profile.
const REMEDIES: &[(&[&str], &str)] = &[
    (
        &["invalid partition", "Invalid partition"],
        "`sinfo -s` lists the partitions; set `partition` in slurm/cluster.yml, or give --partition",
    ),
    (
        &["Invalid account", "account/partition"],
        "`sacctmgr show assoc user=$USER format=account,partition,qos` lists yours; set `account` in slurm/cluster.yml, or give \
         --account",
    ),
    (
        &["Invalid qos", "QOS specification"],
        "`sacctmgr show assoc user=$USER format=account,qos` lists yours; set `qos` in slurm/cluster.yml, or give --qos",
    ),
    (
        &["MaxSubmit", "job submit limit"],
        "too many of your jobs are in the queue: try again when some have ended",
    ),
    (
        &["accounting/QOS policy"],
        "the job asks for more than its account or QOS may have: ask for less in slurm/cluster.yml, or give --qos",
    ),
    (
        &["node configuration is not available", "CPU count per node"],
        "no node of the partition has so much: `sinfo -o '%P %c %m %G'` lists CPUs, memory (MB) and GPUs of the nodes; change `driver` \
         or `server` in slurm/cluster.yml",
    ),
    (
        &["Memory specification", "Memory required"],
        "no node has so much memory: `sinfo -o '%P %m'` lists it (MB); change `mem` in slurm/cluster.yml",
    ),
    (
        &["generic resource", "(gres)"],
        "`sinfo -o '%P %G'` lists what there is; change `server.gpus` or `server.gres` in slurm/cluster.yml",
    ),
    (
        &["feature"],
        "`sinfo -o '%P %f'` lists the features; change `constraint` in slurm/cluster.yml",
    ),
    (
        &["node name", "node list"],
        "`sinfo -N` lists the nodes; change NODE_LIST",
    ),
    (
        &["time limit", "--time specification"],
        "`sinfo -o '%P %l'` lists the limits; give a shorter --time, or change `time` in slurm/cluster.yml",
    ),
    (
        &["node count", "Node count"],
        "`sinfo -o '%P %s %D'` lists how many nodes a job may have; change `server.nodes` or SERVER_PLACE",
    ),
    (
        &["job array"],
        "this cluster takes no such array: search the pairs one after the other with --mode job",
    ),
    (
        &["eterogeneous", "het job", "hetjob"],
        "this cluster takes no heterogeneous jobs: use SERVER_PLACE=node, or job",
    ),
    (
        &[
            "unrecognized option",
            "invalid option",
            "Invalid directive",
            "sbatch --help",
        ],
        "one of the lines in `sbatch` in slurm/cluster.yml, or of your own templates, is not an option here",
    ),
];

/// What to do about a refusal, by its first line.
pub fn remedy(line: &str) -> Option<&'static str> {
    REMEDIES
        .iter()
        .find(|(words, _)| words.iter().any(|word| line.contains(word)))
        .map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_were_seen_have_a_remedy() {
        for (line, fragment) in [
            ("invalid partition specified: nosuch", "--partition"),
            (
                "Batch job submission failed: Invalid partition name specified",
                "--partition",
            ),
            (
                "Batch job submission failed: Invalid account or account/partition combination specified",
                "--account",
            ),
            ("Batch job submission failed: Invalid qos specification", "--qos"),
            ("QOSMaxSubmitJobPerUserLimit", "when some have ended"),
            (
                "Batch job submission failed: Requested node configuration is not available",
                "`server`",
            ),
            ("CPU count per node can not be satisfied", "`driver`"),
            ("Memory specification can not be satisfied", "`mem`"),
            (
                "Batch job submission failed: Invalid generic resource (gres) specification",
                "server.gres",
            ),
            (
                "Batch job submission failed: Invalid feature specification",
                "constraint",
            ),
            (
                "Batch job submission failed: Invalid node name specified",
                "NODE_LIST",
            ),
            ("Invalid --time specification", "--time"),
            (
                "Batch job submission failed: Invalid job array specification",
                "--mode job",
            ),
            ("sbatch: unrecognized option '--colour=red'", "templates"),
            ("Invalid directive found in batch script: words", "templates"),
        ] {
            let told = remedy(line).unwrap_or_else(|| panic!("{line}"));
            assert!(told.contains(fragment), "{line}: {told}");
        }
        assert_eq!(remedy("something new"), None);
    }
}
