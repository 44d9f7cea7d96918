//! The file: what is taken, and what is refused with its line.

use std::path::Path;

use mst::explore::{Grid, GridFile};

use super::GRID;
use crate::support::golden;

#[test]
fn the_documented_file_is_taken_word_for_word() {
    let path = golden("explore/documented.yml");
    let grid = Grid::new(&GridFile::read(&path).unwrap(), &path).unwrap();
    // 2 clusters, 7 routers, 2 batch policies, for each of 4 searches.
    assert_eq!((grid.cells.len(), grid.slos.len()), (112, 3));
    let reasons: Vec<(&str, usize)> = grid
        .excluded
        .iter()
        .map(|e| (e.reason.as_str(), e.count))
        .collect();
    assert_eq!(
        reasons,
        [
            ("exclude_tp_dims of Meta-Llama-3-70B has 1", 56),
            ("exclude_tp_dims of Meta-Llama-3-8B has 4", 56)
        ]
    );
    let hashes: std::collections::BTreeSet<&str> = grid.cells.iter().map(|c| c.hash.as_str()).collect();
    assert_eq!(hashes.len(), 112);
    assert!(hashes.iter().all(|hash| hash.len() == 8));

    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/explore.yml");
    let file = GridFile::read(&example).unwrap();
    let ours = Grid::new(&file, &example).unwrap();
    assert_eq!(ours.cells.len(), 112);
    // The path of a trace is not part of a cell's name.
    assert_eq!(ours.cells[0].hash, grid.cells[0].hash);
    for trace in &file.traces {
        assert!(example.parent().unwrap().join(&trace.value.trace_file).is_file());
    }
}

#[test]
fn one_replica_takes_one_router() {
    let text = GRID.replace("num_replicas: 2", "num_replicas: 1");
    let path = Path::new("grid.yml");
    let grid = Grid::new(&GridFile::parse(&text, path).unwrap(), path).unwrap();
    assert!(grid.cells.iter().all(|cell| cell.router == "round_robin"));
    assert_eq!(
        grid.excluded[0].reason,
        "one replica needs no other router than round_robin"
    );
}

#[test]
fn bad_files_are_refused_with_their_lines() {
    for (good, bad, line, told) in [
        (
            "gpus_per_node: 8",
            "gpus_per_nod: 8",
            1,
            "did you mean gpus_per_node?",
        ),
        ("scheduler: lor}", "scheduler: lorr}", 2, "lorr"),
        ("top_k: 2}", "top_k: 2, tolerance_factor: 2}", 2, "remove one"),
        (", chunk_size: [256, 1024]", "", 3, "chunk_size is missing"),
        (
            "chunk_size: [256, 1024]",
            "chunk_size: {from: 1, to: 4}",
            3,
            "step",
        ),
        (
            "scheduler: vllm_v1",
            "scheduler: vllm_v2",
            3,
            "known are vllm, vllm_v1",
        ),
        (
            "quantile: 0.9, slos: [{metric: prefill",
            "quantile: 90, slos: [{metric: prefill",
            5,
            "0.99",
        ),
        (
            "metric: prefill_e2e_time",
            "metric: prefill_time",
            5,
            "prefill_e2e_time",
        ),
        ("name: both", "name: ttft", 6, "twice"),
        (
            "type: and, quantile: 0.9, slos: [{metric: ttft",
            "type: nor, quantile: 0.9, slos: [{metric: ttft",
            6,
            "nor",
        ),
        ("max_seq_len: 8192", "max_seq_len: -1", 7, ""),
        ("batch_sizes: [4, 64]", "batch_sizes: [4, 0]", 8, "at least 1"),
        ("trace: tiny, model", "trace: tinny, model", 13, "known are tiny"),
        ("search_for: qps", "search_for: isoqps", 13, "qps_multipliers"),
        ("search_for: qps", "search_for: speed", 13, "isoqps"),
        ("qps: 4", "qps: .nan", 13, "above 0"),
        ("num_requests: 150", "num_requests: 0", 13, "at least 1"),
        (
            "cost: roofline",
            "cost: roofline\nskip: [tq == 1]",
            12,
            "known are model",
        ),
    ] {
        assert!(GRID.contains(good), "{good}");
        let text = GRID.replacen(good, bad, 1);
        let path = Path::new("grid.yml");
        let error = GridFile::parse(&text, path)
            .and_then(|file| Grid::new(&file, path))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(&format!("grid.yml:{line}: ")) && error.contains(told),
            "{bad}: {error}"
        );
    }
}
