//! The shape of the house: pure rooms do no input or output, nobody imports upwards, files stay small.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

/// Rooms, lowest first. A room may import those before it.
const ORDER: [&str; 29] = [
    "units",
    "yaml",
    "pool",
    "stats",
    "workload",
    "trial",
    "sim",
    "slo",
    "criterion",
    "search",
    "loadgen",
    "executor",
    "endpoint",
    "store",
    "report",
    "runner",
    "capacity",
    "replay",
    "deployment",
    "calibration",
    "profile",
    "explore",
    "plan",
    "accuracy",
    "settings",
    "cluster",
    "server",
    "campaign",
    "matrix",
];
/// Rooms of one level, which may import one another.
const PEERS: [&str; 4] = ["loadgen", "executor", "endpoint", "store"];
/// Rooms and files that do no input or output and read no clock.
const PURE: [&str; 10] = [
    "units",
    "yaml",
    "stats",
    "trial",
    "criterion",
    "search",
    "sim",
    "slo",
    "workload",
    "replay",
];
/// The exceptions among these: prompts read files.
const IMPURE_FILES: [&str; 1] = ["workload/prompts"];
/// What a pure room never names.
const FORBIDDEN: [&str; 9] = [
    "std::fs",
    "fs_err",
    "std::net",
    "std::process",
    "SystemTime",
    "Instant::now",
    "tokio",
    "duct",
    "println!",
];

fn sources() -> Vec<(String, PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for entry in WalkDir::new(&root).into_iter().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|e| e == "rs") {
            let name = entry
                .path()
                .strip_prefix(&root)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            found.push((
                name,
                entry.path().to_owned(),
                std::fs::read_to_string(entry.path()).unwrap(),
            ));
        }
    }
    assert!(found.len() > 20);
    found
}

fn room(name: &str) -> &str {
    name.split(['/', '.']).next().unwrap()
}

#[test]
fn pure_rooms_do_no_io() {
    for (name, _, text) in sources() {
        if !PURE.contains(&room(&name)) || IMPURE_FILES.iter().any(|f| name.starts_with(f)) {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in FORBIDDEN {
            assert!(!code.contains(word), "src/{name} is pure but names {word}");
        }
    }
}

#[test]
fn nobody_imports_upwards() {
    for (name, _, text) in sources() {
        let Some(place) = ORDER.iter().position(|r| *r == room(&name)) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            for above in &ORDER[place + 1..] {
                if PEERS.contains(above) && PEERS.contains(&room(&name)) {
                    continue;
                }
                let import = format!("crate::{above}");
                let hit = line.find(&import).is_some_and(|at| {
                    !line[at + import.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
                });
                let comment = line.trim_start().starts_with("//");
                assert!(
                    !hit || comment,
                    "src/{name}:{} imports {above}, which is above it",
                    number + 1
                );
            }
            assert!(
                !line.contains("crate::cli") || room(&name) == "cli",
                "src/{name} imports cli"
            );
        }
    }
}

#[test]
fn files_stay_small() {
    for (name, _, text) in sources() {
        assert!(
            text.lines().count() <= 500,
            "src/{name} has {} lines, at most 500",
            text.lines().count()
        );
    }
}
