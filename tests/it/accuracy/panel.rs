//! The panel that ships with the program.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::support::mst;

fn capacities(arguments: &[&str]) -> Value {
    let Output {
        status,
        stdout,
        stderr,
    } = mst()
        .args(["accuracy", "--searches", "0", "--format", "json"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

#[test]
fn it_has_three_files_of_known_capacity() {
    let json = capacities(&[]);
    let servers = json["servers"].as_array().unwrap();
    assert!(servers.len() >= 16);
    for half in ["tuning.yml", "held-out.yml", "later.yml"] {
        let mine: Vec<&Value> = servers.iter().filter(|s| s["file"] == half).collect();
        assert!(mine.len() >= 8, "{half}");
        assert!(mine.iter().any(|s| s["stationary"] == false), "{half}");
    }
    // Those of the first experiments have the capacity that they had there.
    for (name, per_minute) in [
        ("b64-l128", 850.0),
        ("b64-l1-256", 850.0),
        ("b256-l512", 540.0),
        ("b256-l1-1023", 540.0),
        ("b8-l1-127", 117.0),
        ("b512-l1-127", 8955.0),
    ] {
        let server = servers.iter().find(|s| s["name"] == name).unwrap();
        let truth = server["true_capacity_per_minute"].as_f64().unwrap();
        assert!((truth / per_minute - 1.0).abs() < 1e-4, "{name}: {truth}");
    }
    let many = servers
        .iter()
        .filter(|s| 30.0 * s["true_capacity_per_minute"].as_f64().unwrap() >= 10_000.0);
    assert!(many.count() > servers.len() * 3 / 4);
    assert_eq!(json["overall"], serde_json::json!([]));
}

#[test]
fn its_files_are_those_of_the_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/accuracy");
    let files: Vec<String> = ["tuning.yml", "held-out.yml"]
        .iter()
        .map(|name| folder.join(name).display().to_string())
        .collect();
    let only = ["--only", "b64-l128,b64-l1-256"];
    let from_files = capacities(&[&["--servers", &files[0], &files[1]][..], &only[..]].concat());
    let built_in = capacities(&only);
    let names = |json: &Value| -> Vec<Value> {
        let servers = json["servers"].as_array().unwrap();
        servers.iter().map(|s| s["name"].clone()).collect()
    };
    assert_eq!(names(&from_files), names(&built_in));
}
