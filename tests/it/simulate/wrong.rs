//! What is told when a file is wrong: where, what, and what to write.

use crate::simulate::run::{SMALL, file};
use crate::support::mst;

/// The exit code and the message of a run whose file has `from` replaced by `to`.
fn told(from: &str, to: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    assert!(SMALL.contains(from), "{from}");
    let output = mst()
        .current_dir(dir.path())
        .arg("simulate")
        .arg(file(dir.path(), &SMALL.replace(from, to)).file_name().unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(output.stdout.is_empty() && !dir.path().join("simulator_output").exists());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn mistakes_are_named_with_their_line() {
    for (from, to, words) in [
        (
            "  replicas: 2",
            "  replcias: 2",
            "run.yml:4: `replcias` is not a key here; did you mean replicas?",
        ),
        ("llama-3-8b", "llama-9", "run.yml:2: no model `llama-9` is known"),
        ("h100", "h101", "run.yml:3: no GPU `h101` is known"),
        (
            "replicas: 2",
            "replicas: 0",
            "run.yml:4: replicas: write a number of at least 1",
        ),
        (
            "replicas: 2",
            "tensor_parallel: 3",
            "does not divide the 32 query heads",
        ),
        ("llama-3-8b", "llama-3-70b", "GB of weights"),
        (
            "cost: roofline",
            "cost: profiles",
            "run.yml:5: cost: profiles are asked for, but",
        ),
        (
            "replicas: 2",
            "watermark: 1.5",
            "run.yml:4: watermark: 1.5 is not a share",
        ),
        (
            "replicas: 2",
            "router: {scheduler: best}",
            "run.yml:4: `best` is not a routing policy",
        ),
        ("replicas: 2", "pipeline_parallel: 2", "no pipeline parallelism"),
        ("qps: 20", "qps: -20", "run.yml:11: qps: -20 does not do"),
        ("qps: 20", "qps: .nan", "run.yml:11: qps: NaN does not do"),
        (
            "  qps: 20\n",
            "",
            "run.yml:6: qps: write how many requests arrive a second",
        ),
        (
            "num_requests: 300",
            "num_requests: 0",
            "run.yml:12: num_requests: 0 requests are nothing",
        ),
        (
            "  num_requests: 300\n",
            "",
            "say how many requests: num_requests, or duration",
        ),
        (
            "qps: 20",
            "qps: 20\n  trace: a.csv",
            "write one of `trace`, `lengths`, `sessions`",
        ),
        ("min: 1, max: 40", "min: 40, max: 1", "run.yml:6: workload: "),
        ("replicas: 2", "replicas: [", "run.yml:"),
    ] {
        let text = told(from, to);
        assert!(text.contains(words), "{to}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn files_that_are_wrong_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let head = &SMALL[..SMALL.find("workload").unwrap()];
    std::fs::write(
        dir.path().join("short.csv"),
        "arrived_at,num_prefill_tokens\n0,3\n",
    )
    .unwrap();
    std::fs::write(
        dir.path().join("bad.csv"),
        "arrived_at,num_prefill_tokens,num_decode_tokens\n0,3,4\n1,x,4\n",
    )
    .unwrap();
    std::fs::write(
        dir.path().join("empty.csv"),
        "arrived_at,num_prefill_tokens,num_decode_tokens\n",
    )
    .unwrap();
    for (trace, words) in [
        ("none.csv", "none.csv: the file cannot be read"),
        ("short.csv", "short.csv:1: there is no column `num_decode_tokens`"),
        ("bad.csv", "bad.csv:3: "),
        ("empty.csv", "there are no requests in it"),
    ] {
        let output = mst()
            .current_dir(dir.path())
            .arg("simulate")
            .arg(file(dir.path(), &format!("{head}workload: {{trace: {trace}}}\n")))
            .arg("--no-files")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{text}");
        assert!(text.contains(words), "{trace}: {text}");
    }
}

#[test]
fn a_profile_with_no_number_is_refused_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir
        .path()
        .join("profiles/compute/h100/meta-llama/Meta-Llama-3-8B");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::write(place.join("mlp.csv"), "num_tokens\nNaN\n").unwrap();
    std::fs::write(place.join("attention.csv"), "batch_size\n1\n").unwrap();
    let output = mst()
        .current_dir(dir.path())
        .arg("simulate")
        .arg(file(
            dir.path(),
            &SMALL.replace("cost: roofline", "cost: profiles"),
        ))
        .args(["--no-files", "--profiles", "profiles"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("mlp.csv"), "{text}");
}
