//! Mixes: classes of requests with bounds of their own.

use super::{FILE, Space, said};

const MIX: &str =
    "mix: [{name: chat, tokens: \"256:32\", share: 3}, {name: digest, tokens: \"4096:16\", share: 1}]";

/// The usual file with a mix and these objectives.
fn mixed(slos: &str) -> String {
    FILE.replace("tokens: \"256:32\"", MIX).replace(
        "  - {name: loose, type: tbt_ttft, tbt_slo: 0.2, ttft_slo: 1}\n",
        slos,
    )
}

#[test]
fn a_bound_of_a_class_sees_that_class_only() {
    let of = |class: &str, name: &str| {
        format!("  - {{name: {name}, metric: ttft, statistic: p50, max: 2, class: {class}}}\n")
    };
    let slos = [of("chat", "named"), of("0", "placed"), of("digest", "long")].concat();
    let all = "  - {name: all, metric: ttft, statistic: p50, max: 2}\n";
    let file = mixed(&format!("{slos}{all}")).replace("{rule: etalon}", "{rule: rates, rates: [1]}");
    let space = Space::new(&file);
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let seen = |i: usize| answer[i]["slos"][0]["observed"].as_f64().unwrap();
    assert!((seen(0) - seen(1)).abs() < 1e-12, "{answer}");
    // Sixteen times the prompt takes several times as long; three of four requests are short.
    assert!(seen(2) > 4.0 * seen(0), "{} and {}", seen(2), seen(0));
    assert!(seen(3) < seen(2));
    assert_eq!(answer[2]["slos"][0]["class"], 1);
    assert_eq!(answer[2]["binding_slo"], "ttft p50 of class 1");
    assert!(answer[3]["slos"][0].get("class").is_none());
}

#[test]
fn requests_of_a_mix_are_sent_to_endpoints() {
    let file = mixed("  - {name: long, metric: ttft, statistic: p50, max: 5, class: digest}\n")
        .replace("256:32", "8:4")
        .replace("4096:16", "64:2")
        .replace("requests: 200", "requests: 100")
        .replace("{rule: etalon}", "{rule: rates, rates: [50]}");
    let system = "    deployment: {model: meta-llama/Meta-Llama-3-8B, device: a100, batching: {scheduler: sarathi, chunk_size: 512}}";
    let space = Space::new(&file.replace(system, "    endpoint: {settings: {DRAIN: 2s}}"));
    let (output, answer) = space.run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(answer[0]["slos"][0]["met"], true, "{answer}");
}

#[test]
fn a_class_that_is_not_there_is_refused() {
    for (slos, words) in [
        (
            "  - {name: o, metric: ttft, statistic: p50, max: 2, class: 9}\n",
            ["class: there is no 9", "0 (`chat`)"],
        ),
        (
            "  - {name: o, metric: ttft, statistic: p50, max: 2, class: cat}\n",
            ["`cat`", "1 (`digest`)"],
        ),
    ] {
        let (output, _) = Space::new(&mixed(slos)).run(&[]);
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        let told = said(&output);
        assert!(words.iter().all(|word| told.contains(word)), "{told}");
    }
    let pair = FILE.replace(
        "ttft_slo: 1}",
        "ttft_slo: 1}\n  - {name: o, metric: ttft, statistic: p50, max: 2, class: 1}",
    );
    let (output, _) = Space::new(&pair).run(&[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("write a `mix`"), "{}", said(&output));
}

#[test]
fn a_check_fails_what_a_search_fails() {
    // Gaps stay short at any load; that the service falls behind shows elsewhere.
    let file = FILE
        .replace(
            "type: tbt_ttft, tbt_slo: 0.2, ttft_slo: 1",
            "metric: tbt, statistic: p99, max: 1",
        )
        .replace("requests: 200", "requests: 2000")
        .replace("{rule: etalon}", "{}");
    let space = Space::new(&file);
    let check = |file: &str, rate: &str| {
        std::fs::write(space.path().join("capacity.yml"), file).unwrap();
        let output = space.verb("check").args(["--rate", rate]).output().unwrap();
        (output.status.code(), said(&output))
    };
    assert_eq!(check(&file, "1").0, Some(0));
    let (code, told) = check(&file, "120");
    assert_eq!(code, Some(4), "{told}");
    let (code, told) = check(&format!("{file}sustained: false\n"), "120");
    assert_eq!(code, Some(0), "{told}");
}

#[test]
fn the_command_that_is_named_profiles_the_system() {
    let file = FILE.replace("type: tbt_ttft, tbt_slo: 0.2, ttft_slo: 1", "type: deadline");
    let (output, _) = Space::new(&file).run(&[]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let told = said(&output);
    assert!(
        told.contains("mst profile prefill --simulate --model meta-llama/Meta-Llama-3-8B --device a100"),
        "{told}"
    );
}

#[test]
fn of_alternatives_the_one_with_most_room_binds() {
    let hopeless = "{metric: ttft, statistic: p99, max: 0.000001}";
    let file = FILE
        .replace(
            "type: tbt_ttft, tbt_slo: 0.2, ttft_slo: 1",
            &format!("any: [{hopeless}, {{metric: e2e, statistic: p50, max: 5}}]"),
        )
        .replace("{rule: etalon}", "{rule: rates, rates: [2]}");
    let (output, answer) = Space::new(&file).run(&[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(answer[0]["binding_slo"], "e2e p50");
}
