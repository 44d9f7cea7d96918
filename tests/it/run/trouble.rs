//! Trouble that is not the service's answer: never a verdict, always told, and everything measured is kept.

use std::path::PathBuf;
use std::process::Stdio;

use super::{Server, Workspace, read_json, stderr, wait_for, walk};

#[test]
fn an_endpoint_that_dies_ends_the_search_and_can_be_resumed() {
    let mut server = Server::start(&["--port", "0"], None);
    let port = server.port().to_owned();
    let space = Workspace::native(&format!(
        "URL={}\nDURATION=2s\nDRAIN=2s\nTOKENS_LIST=8:4\nREQ_MIN_START=2000\nITERATION_HARD_LIMIT=3\nRETRIES=0",
        server.url
    ));
    let child = space
        .run(&[])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(|| {
        walk(&space.results(), "verdict.json")
            .iter()
            .any(|p| !p.to_string_lossy().contains(".staging"))
            && walk(&space.results(), "progress.jsonl")
                .iter()
                .any(|p| p.to_string_lossy().contains(".staging"))
    });
    super::kill(&mut server.child);
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(12), "{said}");
    assert!(
        said.contains("run again to resume") && said.contains("refused"),
        "{said}"
    );
    let kept = space.trials("8_4");
    assert!(!kept.is_empty());
    for folders in kept.values() {
        assert_ne!(
            read_json(&folders[0].join("verdict.json"))["ruling"],
            "unsustainable",
            "{said}"
        );
    }
    let _server = Server::start(&["--port", &port], None);
    let (output, answer) = space.answer(&[]);
    assert!(matches!(output.status.code(), Some(0 | 5)), "{}", stderr(&output));
    assert!(answer[0]["trials_reused"].as_u64().unwrap() >= 1, "{answer}");
    assert!(
        answer[0]["mst_per_minute"].as_f64().unwrap() >= 2000.0,
        "{answer}"
    );
}

#[test]
fn a_load_generator_that_fails_once_is_tried_again() {
    let space = Workspace::scripted("RETRIES=1\nREQ_MIN_START=400\nITERATION_HARD_LIMIT=2");
    let once = space.path().join("failed-once");
    let output = space.run(&[]).env("SCRIPTED_FAIL_ONCE", &once).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(once.exists() && said.contains("out of luck, for once"), "{said}");
    for verdict in walk(&space.results(), "verdict.json") {
        assert_eq!(read_json(&verdict)["ruling"], "sustainable");
    }
    let space = Workspace::scripted("RETRIES=0\nITERATION_HARD_LIMIT=2");
    let once = space.path().join("failed-once");
    let output = space.run(&[]).env("SCRIPTED_FAIL_ONCE", &once).output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
}

/// The program under a limit of file size in blocks of 512 bytes, which its writes meet as an error: the nearest to a full disk
/// that needs no privileges.
fn limited(space: &Workspace, blocks: u32) -> std::process::Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    std::process::Command::new("sh")
        .current_dir(space.path())
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_mst"), "run"])
        .output()
        .unwrap()
}

#[test]
fn a_disk_that_takes_no_more_is_told_and_leaves_nothing_half_written() {
    let space = Workspace::scripted("RETRIES=0\nREQ_MIN_START=200\nITERATION_HARD_LIMIT=3");
    let output = limited(&space, 40);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("File too large") && said.contains("output.csv"),
        "{said}"
    );
    assert!(space.trials("8_8").is_empty(), "nothing in its final place");
    assert!(!space.results().join("8_8/.lease").exists());
    // The measurement was complete, and is not made again when there is room.
    let (output, answer) = space.answer(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(answer[0]["trials_reused"], 1, "{}", stderr(&output));
    for folders in space.trials("8_8").values() {
        let rows = super::table(&folders[0].join("output.csv")).1.len();
        assert_eq!(
            super::table(&folders[0].join("results.csv")).1[0]["TOTAL_REQUESTS"],
            rows.to_string()
        );
    }
}

#[test]
fn a_full_disk_is_told_from_a_load_generator_that_fails() {
    let space = Workspace::scripted("RETRIES=0\nREQ_MIN_START=800");
    let output = limited(&space, 16);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("File too large"), "{said}");
    assert!(space.trials("8_8").is_empty());
}

#[test]
fn a_results_folder_that_cannot_be_made_is_named() {
    let space = Workspace::scripted("RESULTS_DIR=.env/results");
    let output = space.run(&[]).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains(".env/results") && said.contains("RESULTS_DIR"),
        "{said}"
    );
}

/// A finished search, and the folder of its first trial.
fn finished() -> (Workspace, String, PathBuf) {
    let space = Workspace::scripted("REQ_MIN_START=400\nSTOP_THRESHOLD=0.5\nITERATION_HARD_LIMIT=4");
    space.answer(&[]);
    let (id, folders) = space.trials("8_8").pop_first().unwrap();
    (space, id, folders[0].clone())
}

#[test]
fn a_damaged_manifest_is_named_with_its_remedy() {
    for damage in ["{\"schema\": 1, \"id\": \"ab", "not json", "", "{\"schema\": 1}"] {
        let (space, _, folder) = finished();
        let manifest = folder.join("trial.json");
        std::fs::write(&manifest, damage).unwrap();
        let output = space.run(&[]).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(
            said.contains(&*manifest.to_string_lossy()) && said.contains("remove"),
            "{said}"
        );
        assert!(!said.contains("panicked"), "{said}");
        // The remedy works.
        std::fs::remove_dir_all(&folder).unwrap();
        let (output, answer) = space.answer(&[]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(answer[0]["trials_reused"], 3);
    }
}

#[test]
fn a_trial_whose_measurement_was_damaged_is_measured_again_and_told() {
    let (space, id, folder) = finished();
    let capacity = space.capacity("8_8");
    std::fs::write(folder.join("out.csv"), "intended,sent\n1,2\n").unwrap();
    let (output, answer) = space.answer(&[]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("out.csv") && said.contains("measured again"),
        "{said}"
    );
    assert_eq!(answer[0]["trials_reused"], 3);
    assert_eq!(space.trials("8_8")[&id].len(), 2);
    assert_eq!(space.capacity("8_8"), capacity);
    // The newer one counts from now on.
    let (output, answer) = space.answer(&[]);
    assert_eq!(answer[0]["trials_reused"], 4, "{}", stderr(&output));
}

#[test]
fn rows_that_were_damaged_are_measured_again_and_told() {
    let space =
        Workspace::native("DURATION=500ms\nTOKENS_LIST=8:4\nREQ_MIN_START=2400\nITERATION_HARD_LIMIT=1");
    for damage in [&b""[..], b"no zstd frame", &[0x28, 0xb5, 0x2f, 0xfd, 0x04]] {
        space.answer(&[]);
        let newest = space.trials("8_4").into_values().flatten().max().unwrap();
        std::fs::write(newest.join("requests.jsonl.zst"), damage).unwrap();
        let (output, answer) = space.answer(&[]);
        let said = stderr(&output);
        assert!(output.status.code().is_some_and(|c| c < 6), "{said}");
        assert!(
            said.contains("requests.jsonl.zst") && said.contains("measured again"),
            "{said}"
        );
        assert!(!said.contains("panicked"), "{said}");
        assert_eq!(answer[0]["trials_reused"], 0, "{said}");
    }
    // Cut in the middle.
    let newest = space.trials("8_4").into_values().flatten().max().unwrap();
    let rows = newest.join("requests.jsonl.zst");
    let whole = std::fs::read(&rows).unwrap();
    std::fs::write(&rows, &whole[..whole.len() / 2]).unwrap();
    let (output, _) = space.answer(&[]);
    assert!(stderr(&output).contains("measured again"), "{}", stderr(&output));
}
