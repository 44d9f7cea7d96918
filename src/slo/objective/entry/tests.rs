//! Objectives as they are written.

use super::*;

fn read(yaml: &str) -> Result<Objective, String> {
    let entry: Entry = serde_saphyr::from_str(yaml).map_err(|e| e.to_string())?;
    entry.objective()
}

#[test]
fn types_have_the_defaults_of_their_tools() {
    let Ok(Objective::All(parts)) = read("{type: sarathi, tbt_slo_value: 0.5}") else {
        panic!("it is a group")
    };
    let Objective::Term(delay) = &parts[0] else {
        panic!("it is a bound")
    };
    assert_eq!(
        (delay.limit.most, delay.statistic),
        (2.0, Statistic::Quantile(0.5))
    );
    let Objective::Term(tbt) = &parts[1] else {
        panic!("it is a bound")
    };
    assert_eq!((tbt.limit.most, tbt.statistic.name()), (0.5, "p99".to_owned()));
    let deadline = read("type: deadline").unwrap();
    assert!(deadline.needs_profile() && deadline.needs_token_times());
    let fixed = read("{type: deadline, first_deadline: 0.1, reading: per-token, slack_cap: 1}").unwrap();
    assert!(!fixed.needs_profile());
    let veeksha = read("{type: constant, metric: ttfc, percentile: 0.99, value: 0.5}").unwrap();
    assert_eq!(veeksha, read("{metric: ttft, statistic: p99, max: 0.5}").unwrap());
    assert!(matches!(
        read("{type: or, quantile: 0.9, slos: [{metric: ttft, value: 1}, {metric: e2e, value: 9}]}"),
        Ok(Objective::Goodput(_))
    ));
}

#[test]
fn what_has_no_meaning_is_refused() {
    for (yaml, word) in [
        ("{type: tbt_ttft, tpot_slo: 1}", "tpot_slo"),
        ("{metric: ttft, max: 1}", "quantile"),
        ("{metric: ttft, quantile: 99, max: 1}", "0.99"),
        ("{metric: ttft, statistic: p999, max: 1}", "p999"),
        ("{metric: ttft, quantile: 0.9}", "max"),
        ("{metric: ttft, quantile: 0.9, max: 0}", "above 0"),
        ("{all: [], goodput: 0.9}", "empty"),
        ("{goodput: 0.9}", "metric"),
        (
            "{all: [{metric: ttft, quantile: 0.9, max: 1}], goodput: 0.9}",
            "quantile",
        ),
        ("{metric: ttft, all: [], quantile: 0.9, max: 1}", "one of"),
        (
            "{type: deadline, first_deadline: 1, ttft_slack_slo: 1}",
            "one deadline",
        ),
        ("{type: and, slos: [{metric: ttft, value: 1}]}", "quantile"),
        ("{metric: ttfx, quantile: 0.9, max: 1}", "ttfx"),
        ("{metric: error_rate, quantile: 0.9, max: 0.1}", "error_rate"),
    ] {
        let error = read(yaml).unwrap_err();
        assert!(error.contains(word), "{yaml}: {error}");
    }
}
