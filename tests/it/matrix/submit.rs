//! What `mst capacity --submit --dry-run` prints, `--only` and `--stored`: no Slurm is needed for these.

use std::process::Output;

use super::{FILE, Space, said};
use crate::support::program;

/// Three systems: with servers of their own on one GPU and on three, and a simulated one.
const SYSTEMS: &str = "\
systems:
  - {name: small, gpus: 1, endpoint: {settings: {SERVER_COMMAND: \"serve {port}\", API_KEY_VARIABLE: SITE_KEY}}}
  - {name: simulated, deployment: {model: meta-llama/Meta-Llama-3-8B, device: a100}}
  - {name: big, gpus: 3, endpoint: {settings: {SERVER_COMMAND: \"serve {port}\"}}}
workloads:
  - {name: chat, tokens: \"256:32\", requests: 200, start_qps: 8}
  - {name: code, tokens: \"512:16\", requests: 200, start_qps: 8}
slos:
  - {name: loose, type: tbt_ttft, tbt_slo: 0.2, ttft_slo: 1}
skip: [{system: simulated, workload: code}]
limits: {total: 2h}
";

fn dry_run(space: &Space, more: &[&str]) -> Output {
    let mut command = space.verb("capacity");
    command
        .args(["--submit", "--dry-run"])
        .args(more)
        .env("SITE_KEY", "hunter2hunter2");
    command.output().unwrap()
}

/// The scripts that were printed.
fn scripts(output: &Output) -> Vec<String> {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let scripts = text.split("#!/bin/bash\n").skip(1);
    scripts.map(str::to_owned).collect()
}

#[test]
fn the_largest_come_first_and_only_servers_get_gpus() {
    let space = Space::new(SYSTEMS);
    let flags = "--rule etalon --max-iterations 5 --slo-type tbt_ttft --tbt-slo 0.1 --ttft-slo 1";
    let output = dry_run(&space, &flags.split(' ').collect::<Vec<_>>());
    let scripts = scripts(&output);
    let first: Vec<&str> = scripts.iter().map(|s| s.lines().next().unwrap()).collect();
    assert_eq!(
        first,
        [
            "# The searches of big/chat.",
            "# The searches of big/code.",
            "# The searches of small/chat.",
            "# The searches of small/code.",
            "# The searches of simulated/chat.",
            "# The outcomes of all searches."
        ]
    );
    let gpus = |script: &str| -> Vec<String> {
        let asked = script
            .lines()
            .filter_map(|line| line.strip_prefix("#SBATCH --gpus="));
        asked.map(str::to_owned).collect()
    };
    let asked: Vec<_> = scripts.iter().map(|script| gpus(script).join(",")).collect();
    assert_eq!(asked, ["3", "3", "1", "1", "", ""]);
    let file = space.path().join("capacity.yml").display().to_string();
    let results = space.results().display().to_string();
    let common = format!(
        "exec {} capacity {file} --rule=etalon --max-iterations=5 --slo-type=tbt_ttft --tbt-slo=0.1 --ttft-slo=1 --output-dir={results}",
        program()
    );
    assert!(
        scripts[0].contains(&format!("{common} --only=big/chat --requeue\n")),
        "{}",
        scripts[0]
    );
    assert!(
        scripts[5].contains(&format!("{common} --stored\n")),
        "{}",
        scripts[5]
    );
    // Of the file, with time to end in.
    assert!(scripts[0].contains("#SBATCH --time=02:05:00\n"), "{}", scripts[0]);
    // Nothing is written, and the key is nowhere.
    assert!(!space.results().exists());
    for script in &scripts {
        assert!(!script.contains("hunter2"), "{script}");
        assert!(script.contains("slurm/api-keys.sh || exit 1\n"), "{script}");
    }
}

#[test]
fn what_cannot_run_is_refused_before_anything_is_submitted() {
    let space = Space::new(SYSTEMS);
    for (more, code, words) in [
        (&["--slots", "2"][..], 3, "takes 3 GPUs, and there are 2"),
        (&["--only", "big/none"], 3, "there is no `big/none`"),
        (&["--stored"], 2, "cannot be used with"),
        (&["--slo-type", "tbt_delay"], 3, "scheduling_delay"),
    ] {
        let output = dry_run(&space, more);
        assert_eq!(output.status.code(), Some(code), "{more:?}: {}", said(&output));
        assert!(said(&output).contains(words), "{more:?}: {}", said(&output));
    }
    let only = scripts(&dry_run(&space, &["--only", "small/code/loose", "--slots", "2"]));
    assert_eq!(only.len(), 2);
    assert!(
        only[0].contains(" --only=small/code/loose --requeue\n"),
        "{}",
        only[0]
    );
}

#[test]
fn a_part_of_a_file_is_searched_alone_and_what_is_stored_is_judged_at_any_time() {
    let two = FILE.replace(
        "slos:",
        "  - {name: longer, tokens: \"512:16\", requests: 200, start_qps: 8}\nslos:",
    );
    let space = Space::new(&two);
    let (output, nothing) = space.run(&["--stored"]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    let errors: Vec<&str> = [0, 1].map(|n| nothing[n]["error"].as_str().unwrap()).into();
    assert!(
        errors
            .iter()
            .all(|error| error.contains("8.0000 requests a second, which is not stored")),
        "{errors:?}"
    );
    assert!(space.trials().is_empty());

    let (output, part) = space.run(&["--only", "small/pairs"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(part.as_array().unwrap().len(), 1);
    let trials = space.trials();
    // While somebody works there.
    let lease = mst::store::Lease::take(trials[0].parent().unwrap()).unwrap();
    let (output, judged) = space.run(&["--stored"]);
    drop(lease);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert_eq!(judged[0]["capacity_qps"], part[0]["capacity_qps"]);
    assert_eq!(
        (&judged[0]["error"], &judged[0]["load_seconds"]),
        (&serde_json::Value::Null, &0.0.into())
    );
    assert!(
        judged[1]["error"].is_string() && judged[1]["capacity_qps"].is_null(),
        "{judged}"
    );
    assert_eq!(space.trials(), trials);
    // For people, with what to do.
    let output = space.verb("capacity").arg("--stored").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        told.contains("1 of them are not finished: the same command without --stored"),
        "{told}"
    );
    // The answers of a part take no other's place.
    let all = std::fs::read_to_string(space.results().join("outcomes/outcomes.json")).unwrap();
    assert!(all.contains("small/longer/loose"));
    let only = space.results().join("outcomes/only/small_pairs/outcomes.json");
    assert!(!std::fs::read_to_string(only).unwrap().contains("longer"));
}
