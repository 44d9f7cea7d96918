//! `prior` of a system: what a description of it lets expect.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::mst;

fn folder(rule: &str, prior: Option<&str>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let deployment = json!({"model": "meta-llama/Meta-Llama-3-8B", "device": "a100", "cost": "roofline"});
    let mut system = json!({"name": "server", "deployment": deployment});
    system["deployment"]["noise"] = json!(0.05);
    if let Some(device) = prior {
        let mut described = json!({ "deployment": deployment });
        described["deployment"]["device"] = json!(device);
        std::fs::write(dir.path().join("described.yml"), described.to_string()).unwrap();
        system["prior"] = json!("described.yml");
    }
    let file = json!({
        "seed": 3,
        "systems": [system],
        "workloads": [{"name": "short", "tokens": "512:64", "requests": 3000, "start_qps": 0.1}],
        "slos": [{"name": "loose", "type": "tbt_ttft", "tbt_slo": 0.2, "ttft_slo": 1}],
        "search": {"rule": rule}
    });
    std::fs::write(dir.path().join("capacity.yml"), file.to_string()).unwrap();
    dir
}

fn run(dir: &Path) -> std::process::Output {
    mst()
        .current_dir(dir)
        .args([
            "capacity",
            "capacity.yml",
            "--output-dir",
            "results",
            "--format",
            "json",
        ])
        .output()
        .unwrap()
}

fn answer(rule: &str, prior: Option<&str>) -> Value {
    let dir = folder(rule, prior);
    let output = run(dir.path());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let first: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {text}"));
    first[0].clone()
}

#[test]
fn what_is_described_spares_the_ramp() {
    let nothing = answer("adaptive", None);
    let expected = answer("adaptive", Some("a100"));
    let of = |answer: &Value, key: &str| answer[key].as_f64().unwrap();
    let told = |answer: &Value| {
        format!(
            "{} of {} trials, {} s",
            answer["capacity_qps"], answer["trials"], answer["load_seconds"]
        )
    };
    assert!(
        of(&expected, "trials") <= of(&nothing, "trials"),
        "{} {}",
        told(&expected),
        told(&nothing)
    );
    // The slow rates of a ramp take longest.
    assert!(
        5.0 * of(&expected, "load_seconds") < of(&nothing, "load_seconds"),
        "{} {}",
        told(&expected),
        told(&nothing)
    );
    let near = |a: &Value| (of(a, "capacity_qps") / of(&nothing, "capacity_qps")).ln().abs() < 0.1;
    assert!(near(&expected), "{} {}", told(&expected), told(&nothing));
    let notes = expected["notes"].to_string();
    assert!(notes.contains("described.yml let expect"), "{notes}");
    // A wrong one costs a trial or two, and not the answer.
    let wrong = answer("adaptive", Some("h100"));
    assert!(near(&wrong), "{} {}", told(&wrong), told(&nothing));
    println!(
        "{}; expected: {}; wrongly: {}",
        told(&nothing),
        told(&expected),
        told(&wrong)
    );
}

#[test]
fn what_makes_no_use_of_it_refuses_it() {
    let refused = |dir: &tempfile::TempDir| {
        let output = run(dir.path());
        assert_eq!(output.status.code(), Some(3));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let told = refused(&folder("vidur", Some("a100")));
    assert!(
        told.contains("prior: only") && told.contains("adaptive"),
        "{told}"
    );
    let told = refused(&folder("adaptive", Some("b17")));
    assert!(told.contains("prior:") && told.contains("b17"), "{told}");
}
