//! What is stored: what it counts for, for whom, and what it is not taken for.

use serde_json::Value;

use super::{FILE, Space, said};

/// Two objectives whose capacities are not far apart, each met with room to spare until shortly before it breaks.
const TWO: &str = "\
systems:
  - name: s
    deployment: {model: meta-llama/Meta-Llama-3-8B, device: a100, batching: {scheduler: sarathi, chunk_size: 512}}
workloads:
  - name: chat
    lengths:
      separate:
        input: {distribution: lognormal, mean: 1000, std: 800, max: 6000}
        output: {distribution: lognormal, mean: 250, std: 200, max: 2000}
    requests: 600
    start_qps: 2
slos:
  - {name: first, type: tbt_ttft, tbt_slo: 0.1, tbt_percentile: 0.99, ttft_slo: 1.0, ttft_percentile: 0.9}
  - {name: second, goodput: 0.9, all: [{metric: ttft, max: 2.0}, {metric: tpot, max: 0.05}]}
";

fn qps(outcome: &Value) -> [f64; 3] {
    let of = |value: &Value| value.as_f64().unwrap();
    let interval = &outcome["interval_qps"];
    [of(&interval[0]), of(&outcome["capacity_qps"]), of(&interval[1])]
}

#[test]
fn what_another_objective_left_does_not_end_a_search() {
    let space = Space::new(TWO);
    let (output, both) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let alone = Space::new(TWO);
    let (_, only) = alone.run(&["--only", "s/chat/second"]);
    let ([low, found, high], [own_low, own, own_high]) = (qps(&both[1]), qps(&only[0]));
    assert!(low <= own_high && own_low <= high, "{both}");
    assert!((found / own - 1.0).abs() < 0.1, "{found} and {own}");
    // Below the interval most trials pass; one may have met long requests all at once.
    let curve = both[1]["curve"].as_array().unwrap();
    let below = || curve.iter().filter(|point| point["qps"].as_f64().unwrap() < low);
    let passed = below().filter(|point| point["met"] == true).count();
    assert!(2 * passed > below().count(), "{both}");
}

#[test]
fn a_search_that_is_over_is_over() {
    let space = Space::new(&format!("{FILE}sustained: false\n"));
    let (_, first) = space.run(&["--rule", "adaptive"]);
    for arguments in [&["--rule", "adaptive", "--stored"][..], &["--rule", "adaptive"]] {
        let (output, again) = space.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        for key in ["capacity_qps", "interval_qps", "trials", "reason"] {
            assert_eq!(again[0][key], first[0][key], "{key}");
        }
        assert_eq!(again[0]["load_seconds"], 0.0);
    }
}

#[test]
fn another_seed_measures_anew_and_another_name_of_an_objective_does_not() {
    let space = Space::new(FILE);
    let (_, first) = space.run(&[]);
    let (_, named) = space.run(&["--slo-type", "tbt_ttft", "--tbt-slo", "0.2", "--ttft-slo", "1"]);
    assert_eq!(named[0]["trials_reused"], first[0]["trials"]);
    std::fs::write(space.path().join("capacity.yml"), format!("{FILE}seed: 7\n")).unwrap();
    let (output, other) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(other[0]["trials_reused"], 0, "{other}");
}

#[test]
fn a_measurement_of_another_trial_is_told_and_not_used() {
    let space = Space::new(FILE);
    space.run(&[]);
    let trials = space.trials();
    let (one, other) = (trials[0].join("measured.bin"), trials[1].join("measured.bin"));
    std::fs::copy(&one, &other).unwrap();
    let verify = || {
        let mut command = crate::support::mst();
        let place = ["cache", "verify", "--output-dir", "results"];
        command.current_dir(space.path()).args(place).output().unwrap()
    };
    let output = verify();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("1 of them damaged") && text.contains("is not of the trial"),
        "{text}"
    );
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let notes = answer[0]["notes"].to_string();
    assert!(notes.contains("is not of the trial"), "{notes}");
    assert!(answer[0]["trials"].as_u64() >= Some(2), "{answer}");
}

#[test]
fn lengths_are_drawn_for_each_trial_of_the_adaptive_rule_and_once_for_the_published_ones() {
    let lists = |rule: &str| {
        let space = Space::new(TWO);
        let (output, _) = space.run(&["--rule", rule, "--only", "s/chat/second", "--max-iterations", "4"]);
        assert!(matches!(output.status.code(), Some(0 | 4)), "{}", said(&output));
        let trials = space.trials().into_iter();
        let digests: Vec<String> = trials
            .map(|folder| {
                let text = std::fs::read_to_string(folder.join("trial.json")).unwrap();
                let manifest: Value = serde_json::from_str(&text).unwrap();
                let lengths = &manifest["spec"]["workload"]["lengths"];
                lengths["digest"].as_str().unwrap().to_owned()
            })
            .collect();
        let differing: std::collections::BTreeSet<&String> = digests.iter().collect();
        (digests.len(), differing.len())
    };
    let (trials, differing) = lists("adaptive");
    assert!(trials >= 3 && differing == trials, "{differing} of {trials}");
    let (trials, differing) = lists("etalon");
    assert!(trials >= 3 && differing == 1, "{differing} of {trials}");
}
