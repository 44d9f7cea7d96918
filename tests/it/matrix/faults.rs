//! What goes wrong, a row each: the search goes on, or ends with what it has, and nothing partial is used.
//!
//! | # | fault | what happens |
//! |---|---|---|
//! | 1 | `measured.bin` cut off | told, measured again |
//! | 2 | a byte of it changed | told, measured again |
//! | 3 | `measured.bin` missing | told, measured again |
//! | 4 | `trial.json` cut off | told with file and remedy, measured again |
//! | 5 | `trial.json` changed | told, measured again |
//! | 6 | a trial killed while it was written | swept, measured again |
//! | 7 | killed between measuring and storing | used |
//! | 8 | the packed measurement of a live trial lost | read from its raw rows |
//! | 9 | another process works there | that search ends and says who, the others go on |
//! | 10 | the program killed amid a live trial | the next run goes on, nothing partial is stored |
//! | 11 | Ctrl-C | exit 130, what is measured is kept, the next run goes on |
//! | 12 | the disk takes no more | the search ends with what it has; the next run goes on |
//! | 13 | the time limit of a trial | it is partial: it meets nothing |
//! | 14 | the time limit of the whole | what is known is told, with the error |
//! | 15 | the endpoint is not there | its searches say so and tell what is stored, the others go on, exit 12 |
//! | 16 | the endpoint sheds load | its refusals violate the objective: an answer, not trouble |
//! | 17 | a model that does not fit | that system has no rate, the others go on |
//! | 18 | an objective that the target cannot tell | refused with what to use instead |
//! | 19 | no prefill profile | refused with the command to run |
//! | 20 | a trace that is missing or broken | refused with its name |

use std::time::{Duration, Instant};

use super::{FILE, Space, said};

/// A searched space, and the number of its trials.
fn searched() -> (Space, usize, f64) {
    let space = Space::new(FILE);
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let trials = space.trials().len();
    (space, trials, answer[0]["capacity_qps"].as_f64().unwrap())
}

/// The trial at a rate, requests a second.
fn at_rate(space: &Space, qps: f64) -> std::path::PathBuf {
    let rate = |trial: &std::path::PathBuf| {
        let text = std::fs::read_to_string(trial.join("trial.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["spec"]["rate"].as_f64().unwrap() / 60.0
    };
    let mut all = space.trials();
    all.retain(|trial| (rate(trial) - qps).abs() < 1e-9);
    all.remove(0)
}

/// After a fault in one stored trial, the search gives the same answer and measures that trial again.
fn is_measured_again(fault: impl Fn(&std::path::Path)) {
    let (space, trials, qps) = searched();
    // The one that carries the answer: no other trial decides its rate.
    let hurt = at_rate(&space, qps);
    assert!(trials > 2);
    fault(&hurt);
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(answer[0]["capacity_qps"], qps);
    assert!(answer[0]["load_seconds"].as_f64().unwrap() > 0.0, "{answer}");
}

#[test]
fn rows_1_to_3_and_5_damaged_trials_are_measured_again() {
    is_measured_again(|trial| {
        let file = std::fs::File::options()
            .write(true)
            .open(trial.join("measured.bin"))
            .unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    });
    is_measured_again(|trial| {
        let path = trial.join("measured.bin");
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    });
    is_measured_again(|trial| std::fs::remove_file(trial.join("measured.bin")).unwrap());
    is_measured_again(|trial| {
        let path = trial.join("trial.json");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"seed\": 42", "\"seed\": 43")).unwrap();
    });
}

/// Two workloads, so that the second shows whether the search went on.
const TWO: &str = "  - {name: longer, tokens: \"512:16\", requests: 200, start_qps: 8}\nslos:";

#[test]
fn row_4_a_cut_off_manifest_is_told_with_its_remedy() {
    let space = Space::new(&FILE.replace("slos:", TWO));
    space.run(&[]);
    let hurt = space
        .trials()
        .into_iter()
        .find(|t| t.to_string_lossy().contains("pairs"))
        .unwrap();
    let path = hurt.join("trial.json");
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let told = answer[0]["notes"].to_string() + &answer[1]["notes"].to_string();
    assert!(
        told.contains("trial.json") && told.contains("remove its folder"),
        "{told}"
    );
    assert!(
        answer[0]["error"].is_null() && answer[1]["error"].is_null(),
        "{answer}"
    );
    // The remedy is one command.
    let mut prune = crate::support::mst();
    prune
        .current_dir(space.path())
        .args(["cache", "prune", "--yes", "--output-dir", "results"]);
    assert_eq!(prune.output().unwrap().status.code(), Some(0));
    let (output, _) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn rows_6_and_7_what_a_killed_run_leaves_in_staging() {
    let (space, trials, qps) = searched();
    let begun = &at_rate(&space, qps);
    let all = space.trials();
    let complete = all.iter().find(|trial| *trial != begun).unwrap();
    let pair = begun.parent().unwrap().file_name().unwrap().to_owned();
    let staging = space.results().join(".staging").join(pair);
    std::fs::create_dir_all(&staging).unwrap();
    let id = |trial: &std::path::Path| {
        let text = std::fs::read_to_string(trial.join("trial.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["id"].as_str().unwrap().to_owned()
    };
    let (begun_id, complete_id) = (id(begun), id(complete));
    std::fs::rename(begun, staging.join(&begun_id)).unwrap();
    std::fs::remove_file(staging.join(&begun_id).join("trial.json")).unwrap();
    std::fs::rename(complete, staging.join(&complete_id)).unwrap();
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(answer[0]["capacity_qps"], qps);
    assert_eq!(answer[0]["trials_reused"].as_u64(), Some(trials as u64 - 1));
    assert_eq!(space.trials().len(), trials);
    assert!(!staging.exists());
}

#[test]
fn row_9_another_process_works_there() {
    let space = Space::new(&FILE.replace("slos:", TWO));
    space.run(&[]);
    let pair = space
        .trials()
        .into_iter()
        .find(|t| t.to_string_lossy().contains("pairs"))
        .unwrap();
    let lease = mst::store::Lease::take(pair.parent().unwrap()).unwrap();
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(
        answer[0]["error"].as_str().unwrap().contains("in use"),
        "{answer}"
    );
    assert!(answer[1]["error"].is_null());
    drop(lease);
}

/// A file whose endpoint is the embedded one, with trials of two seconds.
fn live(requests: u32, search: &str) -> String {
    FILE.replace("    deployment: {model: meta-llama/Meta-Llama-3-8B, device: a100, batching: {scheduler: sarathi, chunk_size: 512}}", "    endpoint: {settings: {DRAIN: 2s, RETRIES: 0}}")
        .replace("256:32", "16:8")
        .replace("requests: 200", &format!("requests: {requests}"))
        .replace("search: {rule: etalon}", search)
}

#[test]
fn row_8_the_raw_rows_stand_in_for_a_lost_measurement() {
    let space = Space::new(&live(100, "search: {rule: rates, rates: [50, 100]}"));
    let (output, first) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for trial in space.trials() {
        std::fs::remove_file(trial.join("measured.bin")).unwrap();
    }
    let (output, again) = space.run(&[]);
    assert_eq!(again[0]["load_seconds"], 0.0, "{}", said(&output));
    assert_eq!(again[0]["slos"], first[0]["slos"]);
}

/// Starts a search, and waits until a second trial runs.
fn amid_a_trial(space: &Space) -> std::process::Child {
    use std::process::Stdio;
    let child = space
        .verb("capacity")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_mins(1);
    let staged = || {
        walkdir::WalkDir::new(space.results().join(".staging"))
            .into_iter()
            .filter_map(Result::ok)
            .any(|entry| entry.file_name() == "progress.jsonl")
    };
    while space.trials().is_empty() || !staged() {
        assert!(Instant::now() < end, "no second trial began");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

#[test]
fn rows_10_and_11_killed_or_interrupted_amid_a_trial() {
    use nix::sys::signal::{Signal, kill};
    for signal in [Signal::SIGKILL, Signal::SIGINT] {
        let space = Space::new(&live(150, "search: {rule: rates, rates: [50, 60, 70]}"));
        let mut child = amid_a_trial(&space);
        kill(nix::unistd::Pid::from_raw(child.id() as i32), signal).unwrap();
        let status = child.wait().unwrap();
        if signal == Signal::SIGINT {
            assert_eq!(status.code(), Some(130));
        }
        let kept = space.trials().len();
        assert!((1..3).contains(&kept), "{kept}");
        let (output, answer) = space.run(&[]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(answer[0]["trials"], 3);
        assert!(answer[0]["trials_reused"].as_u64().unwrap() >= 1);
    }
}

#[test]
fn row_12_a_disk_that_takes_no_more() {
    let space = Space::new(&FILE.replace("requests: 200", "requests: 2000"));
    // Blocks of 512 bytes, which writes meet as an error: the nearest to a full disk that needs no privileges.
    let script = "trap '' XFSZ; ulimit -f 4; exec \"$@\"";
    let output = std::process::Command::new("sh")
        .current_dir(space.path())
        .args([
            "-c",
            script,
            "sh",
            &crate::support::program(),
            "capacity",
            "capacity.yml",
            "--output-dir",
            "results",
        ])
        .output()
        .unwrap();
    assert_ne!(output.status.code(), Some(0));
    let told = format!("{}{}", said(&output), String::from_utf8_lossy(&output.stdout));
    assert!(told.contains("File too large"), "{told}");
    assert!(space.trials().is_empty(), "nothing in its final place");
    let (output, _) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn row_13_a_trial_that_ran_out_of_time_meets_nothing() {
    // Two hundred requests at 8 a second take 25 s.
    let file = format!(
        "{}limits: {{trial: 5s}}\n",
        FILE.replace("rule: etalon", "rule: rates, rates: [8]")
    );
    let space = Space::new(&file);
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(
        answer[0]["capacity_qps"].is_null() && answer[0]["curve"][0]["met"].is_null(),
        "{answer}"
    );
    let limits = serde_json::json!({"trial_s": 5.0, "total_s": null});
    assert_eq!(answer[0]["limits"], limits);
    // Nor is it taken for a whole one where there is more time: the limit is part of what was measured.
    let longer = file.replace("trial: 5s", "trial: 60s");
    std::fs::write(space.path().join("capacity.yml"), longer).unwrap();
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(
        (
            answer[0]["curve"][0]["met"].as_bool(),
            answer[0]["trials_reused"].as_u64()
        ),
        (Some(true), Some(0))
    );
}

#[test]
fn row_14_time_is_up_for_the_whole() {
    let file = format!(
        "{}limits: {{total: 7s}}\n",
        live(100, "search: {rule: rates, rates: [50, 25, 20, 10]}")
    );
    let space = Space::new(&file);
    let began = Instant::now();
    let (output, answer) = space.run(&[]);
    assert!(began.elapsed() < Duration::from_secs(40));
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(
        answer[0]["error"]
            .as_str()
            .unwrap()
            .contains("limit of the whole"),
        "{answer}"
    );
    let limits = serde_json::json!({"trial_s": null, "total_s": 7.0});
    assert_eq!(answer[0]["limits"], limits);
    assert!(!space.trials().is_empty());

    // What was measured by then is told as measured.
    let file = live(100, "search: {rule: adaptive}").replace("start_qps: 8", "start_qps: 50");
    let space = Space::new(&format!("{file}limits: {{total: 4s}}\n"));
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    let found = &answer[0];
    assert_eq!(
        (found["trials_reused"].as_u64(), found["reason"].as_str()),
        (Some(0), Some("it broke off"))
    );
    assert_eq!(
        found["trials"].as_u64(),
        Some(space.trials().len() as u64),
        "{found}"
    );
    assert!(found["load_seconds"].as_f64().unwrap() > 0.0, "{found}");
}

#[test]
fn row_16_what_an_overloaded_server_refuses_violates_the_objective() {
    let limits = [
        "--batch-cap",
        "2",
        "--queue-limit",
        "2",
        "--overload-status",
        "503",
    ];
    let server = crate::run::Server::start(&limits, None);
    let file = live(150, "search: {rule: rates, rates: [5, 1000]}")
        .replace("endpoint: {", &format!("endpoint: {{url: \"{}\", ", server.url));
    let space = Space::new(&file);
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let (low, high) = (&answer[0]["curve"][0], &answer[0]["curve"][1]);
    assert_eq!(
        (low["met"].as_bool(), high["met"].as_bool()),
        (Some(true), Some(false)),
        "{answer}"
    );
    // Those that are answered are answered quickly: a rule that does not see the others passes.
    std::fs::write(
        space.path().join("capacity.yml"),
        format!("{file}failures: ignore\n"),
    )
    .unwrap();
    let (_, blind) = space.run(&[]);
    assert_eq!(blind[0]["curve"][1]["met"].as_bool(), Some(true), "{blind}");
    assert_eq!(blind[0]["trials_reused"], 2);
}

#[test]
fn row_15_an_endpoint_that_is_gone_costs_its_own_searches_only() {
    let gone =
        "  - {name: gone, endpoint: {url: \"http://127.0.0.1:9\", settings: {MODEL: demo}}}\nworkloads:";
    let file = live(100, "search: {rule: rates, rates: [50, 100]}").replace("workloads:", gone);
    let space = Space::new(&file);
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(12), "{}", said(&output));
    assert!(
        answer[0]["error"].is_null() && answer[0]["trials"] == 2,
        "{answer}"
    );
    assert!(
        answer[1]["error"].as_str().unwrap().contains("127.0.0.1:9") && answer[1]["trials"] == 0,
        "{answer}"
    );

    // One that was there before: what was measured of it answers, as far as it does.
    let server = crate::run::Server::start(&["--port", "0"], None);
    let at = |url: &str, rates: &str| {
        live(100, &format!("search: {{rule: rates, rates: {rates}}}"))
            .replace("endpoint: {", &format!("endpoint: {{url: \"{url}\", "))
            .replace("settings: {", "settings: {MODEL: simulated, ")
    };
    let space = Space::new(&at(&server.url, "[50, 100]"));
    let (output, measured) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let url = server.url.clone();
    drop(server);
    let (output, again) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(again[0]["slos"], measured[0]["slos"]);
    let write = |text: &str| std::fs::write(space.path().join("capacity.yml"), text).unwrap();
    write(&at(&url, "[50, 100, 200]"));
    let (output, more) = space.run(&[]);
    assert_eq!(output.status.code(), Some(12), "{}", said(&output));
    assert!(more[0]["error"].is_string(), "{more}");
    // It is back on another port, which is no part of what was measured.
    let server = crate::run::Server::start(&["--port", "0"], None);
    write(&at(&server.url, "[50, 100]"));
    let (output, moved) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(moved[0]["load_seconds"], 0.0);
    assert!(
        server.url == url || said(&output).contains("TARGET_LABEL"),
        "{}",
        said(&output)
    );
}

#[test]
fn rows_17_to_20_what_cannot_be_is_said_before_anything_runs() {
    let huge = FILE.replace(
        "workloads:",
        "  - {name: huge, deployment: {model: meta-llama/Llama-3.1-405B, device: a100}}\nworkloads:",
    );
    let space = Space::new(&huge);
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(
        answer[0]["error"].is_null() && answer[1]["error"].as_str().unwrap().contains("GB"),
        "{answer}"
    );

    for (file, words) in [
        (
            live(100, "search: {}").replace("type: tbt_ttft, tbt_slo: 0.2, ttft_slo: 1", "type: tbt_delay"),
            ["scheduling_delay", "ttft"],
        ),
        (
            FILE.replace("type: tbt_ttft, tbt_slo: 0.2, ttft_slo: 1", "type: deadline"),
            ["mst profile prefill", "first_deadline"],
        ),
        (
            FILE.replace("tokens: \"256:32\"", "trace: nowhere.csv"),
            ["nowhere.csv", "pairs"],
        ),
        (
            FILE.replace("sarathi, chunk_size", "sarati, chunk_size"),
            ["sarati", "sarathi"],
        ),
        (
            FILE.replace("meta-llama/Meta-Llama-3-8B", "no-such-model"),
            ["no-such-model", "small"],
        ),
        (
            FILE.replace("rule: etalon", "rule: etalon, rates: [1]"),
            ["rates", "remove"],
        ),
        (FILE.replace("slos:", "slo:"), ["slo", "slos"]),
    ] {
        let space = Space::new(&file);
        let (output, _) = space.run(&[]);
        let told = said(&output);
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(words.iter().all(|word| told.contains(word)), "{words:?}: {told}");
        assert!(!space.results().join("outcomes").exists());
    }
    let space = Space::new(&FILE.replace("tokens: \"256:32\"", "trace: trace.csv"));
    std::fs::write(
        space.path().join("trace.csv"),
        "num_prefill_tokens,num_decode_tokens\n12,many\n",
    )
    .unwrap();
    let (output, _) = space.run(&[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        said(&output).contains("trace.csv") && said(&output).contains('2'),
        "{}",
        said(&output)
    );
}

#[test]
fn the_cache_can_be_looked_at_verified_and_pruned() {
    let (space, trials, _) = searched();
    let cache = |args: &[&str]| {
        let mut command = crate::support::mst();
        command
            .current_dir(space.path())
            .arg("cache")
            .args(args)
            .args(["--output-dir", "results"]);
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    assert!(cache(&["list"]).1.contains(&format!("{trials} trials in all")));
    assert_eq!(cache(&["verify"]).0, Some(0));
    std::fs::write(space.trials()[0].join("measured.bin"), "mst measured 1\n").unwrap();
    let (code, told) = cache(&["verify"]);
    assert_eq!(code, Some(3));
    assert!(told.contains("damaged") && told.contains("1 of them"), "{told}");
    assert!(cache(&["prune"]).1.contains("would be removed"));
    assert_eq!(space.trials().len(), trials);
    assert_eq!(cache(&["prune", "--yes"]).0, Some(0));
    assert_eq!(
        (space.trials().len(), cache(&["verify"]).0),
        (trials - 1, Some(0))
    );
}
