//! `mst explore --submit`: parts on a cluster end in the same bytes as a search here, and a part that failed is told.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::cluster::{Cluster, LIMIT, wait_for};
use crate::explore::{GRID, lay};
use crate::support::{mst, stderr};

/// Shares that fit a node of the throw-away cluster. Where a file says so, the second part stops as soon as it has a probe.
const PROFILE: &str = r#"
driver: {cpus: 1, mem: 300M}
time: 1:00:00
setup: |
  if [ -e hold ] && [ "$SLURM_ARRAY_TASK_ID" = 2 ]; then
    ( while [ ! -s ../out/parts/2-of-3/cells.jsonl ]; do sleep 0.001; done; kill -STOP $$ && touch held ) &
  fi
"#;

/// A folder to work in, one with a grid, and what the grid's outcome is without Slurm.
struct Ground<'a> {
    cluster: &'a Cluster,
    dir: tempfile::TempDir,
}

impl<'a> Ground<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ground = Self { cluster, dir };
        std::fs::create_dir_all(ground.path("it's here")).unwrap();
        lay(&ground.path("it's here"), GRID);
        std::fs::create_dir_all(ground.path("work/slurm")).unwrap();
        std::fs::write(ground.path("work/slurm/cluster.yml"), PROFILE).unwrap();
        ground
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Submits three parts from a folder that is not the grid's; what it says.
    fn submit(&self, format: &str) -> String {
        let output = self
            .cluster
            .mst(&self.path("work"))
            .args(["explore", "../it's here/grid.yml", "--output-dir=../out"])
            .args(["--submit=3", "--format", format])
            // Of a job that this is called in: it must not reach the parts.
            .env("SBATCH_PARTITION", "drained")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The ids of the array and of the last job of such a submission.
    fn jobs(&self) -> [String; 2] {
        let answer: Value = serde_json::from_str(&self.submit("json")).unwrap();
        [0, 1].map(|place| answer["jobs"][place]["id"].as_str().unwrap().to_owned())
    }

    /// Waits for the last job; its exit code and log.
    fn outcome(&self, job: &str) -> (String, String) {
        self.cluster.await_state(job, &["COMPLETED", "FAILED"]);
        let shown = self.cluster.ask("scontrol", &["-o", "show", "job", job]);
        let code = shown.split(" ExitCode=").nth(1).unwrap();
        let log = std::fs::read_to_string(self.path(&format!("out/slurm/explore-{job}.out"))).unwrap();
        (code.split(' ').next().unwrap().to_owned(), log)
    }

    /// What the same grid ends in without Slurm.
    fn here(&self) -> Vec<Vec<u8>> {
        let output = mst()
            .args(["explore", "grid.yml", "--output-dir=here"])
            .current_dir(self.path("it's here"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        results(&self.path("it's here/here"))
    }
}

/// The files that must be the same, byte for byte.
fn results(folder: &Path) -> Vec<Vec<u8>> {
    ["outcome.csv", "outcome.json", "pareto.csv"]
        .map(|name| std::fs::read(folder.join(name)).unwrap())
        .to_vec()
}

#[test]
fn parts_on_a_cluster_end_in_the_same_bytes() {
    let Some(cluster) = Cluster::start() else { return };
    let ground = Ground::new(&cluster);
    let told = ground.submit("human");
    // What it says to watch, and where logs lie.
    let watch = told.split("squeue -j ").nth(1).unwrap().lines().next().unwrap();
    let (array, last) = watch.split_once(',').unwrap();
    let (code, log) = ground.outcome(last);
    assert_eq!(code, "0:0", "{log}");
    assert!(
        told.contains(&format!("/out/slurm/explore-{array}_*.out")),
        "{told}"
    );
    assert!(log.contains("\n0 probes simulated"), "{log}");
    assert!(results(&ground.path("out")) == ground.here());
    // The answering probes are kept.
    assert!(ground.path("out/runs").is_dir());
    for part in 1..=3 {
        let log = ground.path(&format!("out/slurm/explore-{array}_{part}.out"));
        let log = std::fs::read_to_string(log).unwrap();
        assert!(
            log.contains(" probes simulated in ") && !log.contains("\n0 probes"),
            "{log}"
        );
    }
}

#[test]
fn a_part_that_was_killed_is_missed_and_goes_on_when_it_is_submitted_again() {
    let Some(cluster) = Cluster::start() else { return };
    let ground = Ground::new(&cluster);
    let hold = ground.path("work/hold");
    std::fs::write(&hold, "").unwrap();
    // Of an older submission: it says nothing of this one.
    std::fs::create_dir_all(ground.path("out/parts/2-of-3")).unwrap();
    std::fs::write(ground.path("out/parts/2-of-3/ended"), "").unwrap();
    let [array, last] = ground.jobs();
    wait_for("the second part has a probe", LIMIT, || {
        ground.path("work/held").exists()
    });
    cluster.ask("scancel", &["-s", "KILL", "--full", &format!("{array}_2")]);

    let (code, log) = ground.outcome(&last);
    assert_eq!(code, "5:0", "{log}");
    for told in [
        "part 2 of 3 did not come to its end",
        "_2.out",
        "searches not finished",
        "--submit 3",
    ] {
        assert!(log.contains(told), "{told}: {log}");
    }
    assert!(
        !log.contains("part 1 of 3") && !log.contains("part 3 of 3"),
        "{log}"
    );
    assert!(log.contains("\n0 probes simulated"), "{log}");
    let outcome: Value =
        serde_json::from_slice(&std::fs::read(ground.path("out/outcome.json")).unwrap()).unwrap();
    assert_eq!(outcome["complete"], false);
    let statuses: Vec<&str> = outcome["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["status"].as_str().unwrap())
        .collect();
    assert!(
        statuses.contains(&"unfinished") && statuses.contains(&"bracketed"),
        "{statuses:?}"
    );

    std::fs::remove_file(hold).unwrap();
    let before = std::fs::read(ground.path("out/parts/2-of-3/cells.jsonl")).unwrap();
    let [array, last] = ground.jobs();
    let (code, log) = ground.outcome(&last);
    assert_eq!(code, "0:0", "{log}");
    assert!(results(&ground.path("out")) == ground.here());
    let after = std::fs::read(ground.path("out/parts/2-of-3/cells.jsonl")).unwrap();
    assert!(after.starts_with(&before) && after.len() > before.len());
    // The others had nothing left to do.
    let first = std::fs::read_to_string(ground.path(&format!("out/slurm/explore-{array}_1.out"))).unwrap();
    assert!(first.contains("\n0 probes simulated"), "{first}");
}
