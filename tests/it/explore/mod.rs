//! `mst explore`: the same outcome whatever the number of threads and however often it was killed; bounds that are none;
//! errors with lines.

mod grid;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use mst::deployment::{Library, Places};
use mst::explore::{Evaluator, Grid, GridFile, Limit, Simulated, Traces};
use serde_json::Value;

use crate::support;

/// A grid that takes a second: three routers, two batch policies, two sizes, two objectives.
pub(crate) const GRID: &str = "\
clusters: [{device: a100, network_device: a100_dgx, gpus_per_node: 8}]
global_schedulers: [{scheduler: round_robin}, {scheduler: lor}, {scheduler: ranked_sticky_lop_uncached, top_k: 2}]
replica_schedulers: [{scheduler: vllm_v1, chunk_size: [256, 1024]}]
slo_configs:
  - {name: ttft, type: and, quantile: 0.9, slos: [{metric: prefill_e2e_time, value: 1}]}
  - {name: both, type: and, quantile: 0.9, slos: [{metric: ttft, value: 2}, {metric: tpot, value: 0.05}]}
traces: [{name: tiny, trace_file: tiny.jsonl, max_seq_len: 8192, enable_prefix_caching: true}]
batch_sizes: [4, 64]
tp_dimensions: [1, 2]
models: [{name: Llama, identifier: meta-llama/Meta-Llama-3-8B}]
cost: roofline
search_configs:
  - {trace: tiny, model: Llama, search_for: qps, num_replicas: 2, qps: 4, num_requests: 150}
";

/// Writes a grid and its trace into a folder.
pub(crate) fn lay(folder: &Path, grid: &str) {
    std::fs::write(folder.join("grid.yml"), grid).unwrap();
    let mut rows = String::new();
    for i in 0..120u64 {
        let (blocks, tail) = (1 + i * 7 % 5, 1 + i * 331 % 511);
        let shared = |block: u64| {
            if block < 2 {
                block + 10 * (i % 6)
            } else {
                1000 + 10 * i + block
            }
        };
        let mut hashes: Vec<u64> = (0..blocks).map(shared).collect();
        hashes.push(5000 + i);
        let (input, output) = (512 * blocks + tail, 1 + i * 37 % 90);
        let row = serde_json::json!({
            "timestamp": 1000 * i, "input_length": input, "output_length": output, "hash_ids": hashes,
        });
        rows += &row.to_string();
        rows.push('\n');
    }
    std::fs::write(folder.join("tiny.jsonl"), rows).unwrap();
}

/// A folder with a grid and its trace.
struct Ground(tempfile::TempDir);

impl Ground {
    fn new(grid: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        lay(dir.path(), grid);
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, output: &str, options: &[&str]) -> std::process::Command {
        let mut command = support::mst();
        command
            .arg("explore")
            .arg(self.path("grid.yml"))
            .arg("--output-dir")
            .arg(self.path(output))
            .args(options);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, output: &str, options: &[&str]) -> String {
        let done = self.command(output, options).output().unwrap();
        let (out, err) = (
            String::from_utf8(done.stdout).unwrap(),
            String::from_utf8(done.stderr).unwrap(),
        );
        assert!(done.status.success(), "{:?}\n{out}\n{err}", done.status);
        out
    }

    fn outcome(&self, output: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.path(output).join("outcome.json")).unwrap()).unwrap()
    }
}

/// The files that must be the same, byte for byte.
fn results(folder: &Path) -> Vec<(String, Vec<u8>)> {
    ["outcome.csv", "outcome.json", "pareto.csv", "pareto.svg"]
        .map(|name| (name.to_owned(), std::fs::read(folder.join(name)).unwrap()))
        .to_vec()
}

fn rows(outcome: &Value) -> Vec<Value> {
    outcome["rows"].as_array().unwrap().clone()
}

#[test]
fn threads_parts_and_caches_change_nothing() {
    let ground = Ground::new(GRID);
    let out = ground.run(
        "one",
        &[
            "--num-threads",
            "1",
            "--cache-dir",
            ground.path("cache").to_str().unwrap(),
        ],
    );
    assert!(
        out.contains("num_requests asks for 150, the trace has 120"),
        "{out}"
    );
    let one = results(&ground.path("one"));
    ground.run("two", &["--num-threads", "2", "--keep-runs", "none"]);
    assert!(one == results(&ground.path("two")), "two threads");
    assert!(!ground.path("two/runs").exists());

    // All probes are known: nothing is simulated.
    let again = ground.command(
        "three",
        &[
            "--keep-runs",
            "none",
            "--cache-dir",
            ground.path("cache").to_str().unwrap(),
        ],
    );
    let again = { again }.output().unwrap();
    assert!(
        String::from_utf8_lossy(&again.stderr).contains("\n0 probes simulated"),
        "{again:?}"
    );
    assert!(one == results(&ground.path("three")), "shared probes");

    for part in ["1/3", "2/3", "3/3"] {
        ground.run("parts", &["--part", part]);
    }
    assert!(!ground.path("parts/outcome.csv").exists());
    let merged = ground
        .command("parts", &["--keep-runs", "none"])
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&merged.stderr).contains("\n0 probes simulated"),
        "{merged:?}"
    );
    assert!(one == results(&ground.path("parts")), "parts");

    // The answering probe of a search is kept with its requests.
    let best = &ground.outcome("one")["best"][0];
    let run = format!(
        "one/runs/{}/r{}_q{:?}",
        best["cell"].as_str().unwrap(),
        best["replicas"],
        best["qps"].as_f64().unwrap()
    );
    let kept: Vec<PathBuf> = std::fs::read_dir(ground.path(&run))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_dir())
        .collect();
    assert_eq!(kept.len(), 1, "{run}");
    let requests = std::fs::read_to_string(kept[0].join("request_metrics.csv")).unwrap();
    assert_eq!(requests.lines().count(), 121);
    assert!(kept[0].join("config.json").is_file() && kept[0].join("plots").is_dir());
    assert!(ground.path(&run).join("output.log").is_file());
}

#[test]
fn killed_at_any_time_it_ends_the_same() {
    let ground = Ground::new(GRID);
    ground.run("whole", &["--keep-runs", "none"]);
    let whole = results(&ground.path("whole"));
    let lines = std::fs::read_to_string(ground.path("whole/cells.jsonl"))
        .unwrap()
        .lines()
        .count();
    let times = if support::long() { 10 } else { 2 };
    let mut state = u64::from(std::process::id());
    for turn in 0..times {
        let output = format!("killed-{turn}");
        let cells = ground.path(&output).join("cells.jsonl");
        // Up to three kills a turn, each when some more lines are there, and the last of them torn.
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let wanted = (state >> 33) as usize % lines;
            let mut child = ground.command(&output, &["--keep-runs", "none"]).spawn().unwrap();
            let count = || std::fs::read_to_string(&cells).map_or(0, |text| text.lines().count());
            while child.try_wait().unwrap().is_none() && count() < wanted {
                std::thread::sleep(Duration::from_millis(1));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            if let Ok(text) = std::fs::read(&cells) {
                std::fs::write(&cells, &text[..text.len().saturating_sub((state % 40) as usize)]).unwrap();
            }
        }
        ground.run(&output, &["--keep-runs", "none"]);
        assert!(whole == results(&ground.path(&output)), "turn {turn}");
    }
}

#[test]
fn what_is_pruned_is_no_better_when_it_is_searched() {
    let ground = Ground::new(GRID);
    ground.run("pruned", &["--keep-runs", "none", "--seeds", "1"]);
    ground.run("all", &["--keep-runs", "none", "--seeds", "1", "--no-prune"]);
    let (pruned, all) = (ground.outcome("pruned"), ground.outcome("all"));
    let best = |slo: &Value| {
        let found = pruned["best"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["slo"] == *slo)
            .unwrap()
            .clone();
        found["qps_per_gpu"].as_f64().unwrap()
    };
    let mut seen = 0;
    for (with, without) in rows(&pruned).iter().zip(rows(&all)) {
        assert_eq!((&with["cell"], &with["slo"]), (&without["cell"], &without["slo"]));
        match with["status"].as_str().unwrap() {
            "pruned" => {
                seen += 1;
                let reason = with["reason"].as_str().unwrap();
                assert!(
                    reason.contains("QPS/GPU") && reason.contains("tokens"),
                    "{reason}"
                );
                assert!(
                    without["qps_per_gpu"]
                        .as_f64()
                        .is_none_or(|q| q <= best(&with["slo"])),
                    "{without}"
                );
            }
            "infeasible" => assert!(without["qps"].is_null(), "{without}"),
            // Where a search begins may move an answer within its bracket, and no more.
            _ => {
                let (a, b) = (with["qps"].as_f64().unwrap(), without["qps"].as_f64().unwrap());
                assert!((a - b).abs() <= 0.011 * a.max(b), "{with} {without}");
            }
        }
    }
    assert!(seen > 0, "nothing was pruned");

    // And no answer is above its bound, whether that was used or not.
    let path = ground.path("grid.yml");
    let grid = Grid::new(&GridFile::read(&path).unwrap(), &path).unwrap();
    let library = Library::open(Places::default()).unwrap();
    let traces = Traces::read(&grid, path.parent().unwrap()).unwrap();
    let simulated = Simulated::new(&library, &traces);
    let pairs = grid
        .cells
        .iter()
        .flat_map(|cell| grid.slos.iter().map(move |slo| (cell, slo)));
    let mut bounded = 0;
    for ((cell, slo), row) in pairs.zip(rows(&all)) {
        match simulated.limit(cell, slo) {
            Limit::Below(qps, _) => {
                bounded += 1;
                assert!(
                    row["qps"].as_f64().is_none_or(|found| found <= qps),
                    "{qps}: {row}"
                );
            }
            Limit::Infeasible(_) => assert!(row["qps"].is_null(), "{row}"),
            Limit::None => {}
        }
    }
    assert!(bounded > 20, "{bounded} bounds");
}

#[test]
fn an_impossible_objective_is_known_to_be_so() {
    let grid = GRID.replace("value: 1}", "value: 0.0001}");
    let ground = Ground::new(&grid);
    ground.run("out", &["--keep-runs", "none", "--seeds", "1"]);
    let outcome = ground.outcome("out");
    for row in rows(&outcome).iter().filter(|row| row["slo"] == "ttft") {
        assert_eq!(row["status"], "infeasible");
        assert!(
            row["reason"]
                .as_str()
                .unwrap()
                .contains("alone on an idle replica"),
            "{row}"
        );
    }
}

#[test]
fn the_time_limit_leaves_what_is_there() {
    let ground = Ground::new(GRID);
    let done = ground
        .command("out", &["--time-limit", "0.00001"])
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(5), "{done:?}");
    assert_eq!(ground.outcome("out")["complete"], false);
    ground.run("out", &["--keep-runs", "none"]);
    assert_eq!(ground.outcome("out")["complete"], true);
}

#[test]
fn replicas_and_given_rates_are_searched() {
    let grid = GRID.replace(
        "search_for: qps, num_replicas: 2, qps: 4, num_requests: 150}",
        "search_for: num_replicas, num_replicas: 2, qps: 30}\n  \
         - {trace: tiny, model: Llama, search_for: isoqps, num_replicas: 2, qps: 8, qps_multipliers: {from: 0.125, to: 16, factor: 2}}",
    );
    let ground = Ground::new(&grid.replace(
        "tp_dimensions: [1, 2]",
        "tp_dimensions: 1\nskip: [batch_size == 4]",
    ));
    ground.run("out", &["--keep-runs", "none", "--seeds", "2"]);
    let outcome = ground.outcome("out");
    let (given, searched): (Vec<_>, Vec<_>) = rows(&outcome)
        .into_iter()
        .partition(|row| row["search_for"] == "isoqps");
    // Three routers, two batch policies, two objectives.
    assert_eq!((given.len(), searched.len()), (12 * 8, 12));
    for row in searched {
        assert_eq!(row["status"], "bracketed");
        assert_eq!(
            row["beyond"].as_f64().unwrap() + 1.0,
            row["replicas"].as_f64().unwrap(),
            "{row}"
        );
    }
    for row in given {
        assert_eq!(
            row["status"] == "holds",
            row["margin"].as_f64().unwrap() >= 0.0,
            "{row}"
        );
        assert!(row["ttft_p99"].as_f64().unwrap() > 0.0, "{row}");
    }
    assert_eq!(outcome["excluded"][0]["reason"], "skip: batch_size == 4");
}

#[test]
fn a_part_that_is_missing_is_told_and_not_searched() {
    let ground = Ground::new(GRID);
    let options = ["--keep-runs", "none", "--seeds", "1"];
    let part = |which: &str, more: &[&str]| {
        let all = [&["--part", which], &options[..], more].concat();
        ground.command("out", &all).output().unwrap().status.code()
    };
    let gather = || {
        let all = [&["--gather", "2"], &options[..]].concat();
        let done = ground.command("out", &all).output().unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    assert_eq!(part("1/2", &[]), Some(0));
    let (code, told) = gather();
    assert_eq!(code, Some(5), "{told}");
    assert!(
        told.contains("part 2 of 2 did not") && !told.contains("part 1 of 2"),
        "{told}"
    );
    assert!(told.contains("\n0 probes simulated"), "{told}");
    // One that was stopped has not come to its end either, not even if it had before.
    assert_eq!(part("2/2", &[]), Some(0));
    std::fs::remove_file(ground.path("out/parts/2-of-2/cells.jsonl")).unwrap();
    assert_eq!(part("2/2", &["--time-limit", "0.00001"]), Some(5));
    assert_eq!(gather().0, Some(5));
    assert_eq!(part("2/2", &[]), Some(0));
    assert_eq!(gather().0, Some(0));
    ground.run("whole", &options);
    assert!(results(&ground.path("whole")) == results(&ground.path("out")));
}

#[test]
fn jobs_are_an_array_and_one_that_gathers() {
    let ground = Ground::new(GRID);
    let out = ground.run(
        "out",
        &["--submit", "3", "--dry-run", "--seeds", "2", "--no-prune"],
    );
    assert!(out.contains("#SBATCH --array=1-3\n"), "{out}");
    assert!(out.contains(" --part=\"$SLURM_ARRAY_TASK_ID/3\"\n"), "{out}");
    assert!(out.contains(" --gather=3 --num-threads=4\n"), "{out}");
    assert_eq!(out.matches("--seeds=2").count(), 2, "{out}");
    assert!(
        out.contains("--no-prune") && !ground.path("out").exists(),
        "{out}"
    );
}
