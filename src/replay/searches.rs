//! Whole searches of etalon and sarathi-serve: the rates they ask for, the verdicts, the bounds, what they return.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::compare::{Comparison, Nearness};
use super::json::{number, value, values};
use super::{Case, Malformed};
use crate::search::{Etalon, MidpointConfig, Sarathi};
use crate::slo::etalon::{EtalonSlo, Seen};
use crate::slo::sarathi::SarathiSlo;

/// What a search gives; the rest is compared.
#[derive(Deserialize)]
struct Given {
    id: String,
    start_qps: f64,
    #[serde(deserialize_with = "super::whole")]
    max_iterations: i64,
    min_search_granularity_pct: f64,
    #[serde(default)]
    slo_type: Option<String>,
    #[serde(default, deserialize_with = "super::or_nothing")]
    args: Map<String, Value>,
    trials: Vec<Value>,
    #[serde(default, deserialize_with = "super::or_nothing")]
    errors: Vec<Value>,
    #[serde(flatten)]
    recorded: Map<String, Value>,
}

/// The rule of the tool with its objective.
enum Rule {
    Etalon(Etalon, Option<EtalonSlo>),
    Sarathi(Sarathi, SarathiSlo),
}

/// What our search did.
struct Run {
    trials: Vec<Value>,
    order: Vec<f64>,
    passed: Vec<f64>,
    /// The trial that passed last.
    best: Option<Value>,
    crashed: bool,
}

pub(super) fn replay(file: &Value) -> Vec<Case> {
    let shared = shared_folders(file);
    super::each(file, "searches", |path, case| {
        let given: Given = super::given(path, case)?;
        Ok(Case::new(given.id.clone(), compared(path, &given, &shared)?))
    })
}

fn compared(path: &str, given: &Given, shared: &[Shared]) -> Result<Option<String>, Malformed> {
    let mut comparison = Comparison::at(path);
    let mut rule = rule(path, given)?;
    let run = run(&mut rule, given, &mut comparison);
    let Some(run) = run else {
        return Ok(comparison.first());
    };
    let (bounds, nearness) = match &rule {
        Rule::Etalon(search, _) => (search.bounds(), Nearness::Arithmetic),
        Rule::Sarathi(search, _) => (search.bounds(), Nearness::Sketch),
    };
    for (index, ours) in run.trials.iter().enumerate() {
        let below = format!("trials[{index}]");
        let recorded = given.trials.get(index);
        let of = |key: &str| recorded.map_or(Some(&Value::Null), |trial| trial.get(key));
        for key in ["qps", "bounds_before", "under_slo"] {
            comparison.value(
                &format!("{below}.{key}"),
                of(key),
                &ours[key],
                Nearness::Arithmetic,
            );
        }
    }
    comparison.value(
        "trials",
        Some(&given.trials.len().into()),
        &run.trials.len().into(),
        Nearness::Exact,
    );
    executed(given, shared, &run.order, &mut comparison);
    let recorded = |key: &str| given.recorded.get(key);
    comparison.value(
        "qps_order",
        recorded("qps_order"),
        &values(run.order.iter().copied()),
        Nearness::Arithmetic,
    );
    comparison.value(
        "num_trials",
        recorded("num_trials"),
        &run.order.len().into(),
        Nearness::Exact,
    );
    // Where nothing is asked, nothing is logged.
    comparison.value(
        "last_logged_bounds",
        recorded("last_logged_bounds").filter(|_| !run.order.is_empty()),
        &values([bounds.0, bounds.1]),
        Nearness::Arithmetic,
    );
    let highest = run
        .passed
        .iter()
        .copied()
        .reduce(f64::max)
        .map_or(Value::Null, value);
    comparison.value(
        "highest_passing_trial",
        recorded("highest_passing_trial"),
        &highest,
        Nearness::Arithmetic,
    );
    // Trouble outside of trials (the tracking service, which is asked only when something passed) is given, not found.
    let failed = run.crashed || (!given.errors.is_empty() && run.best.is_some());
    let kind = if failed {
        "none"
    } else if run.best.is_none() {
        "empty"
    } else {
        "result"
    };
    comparison.value(
        "returned_kind",
        recorded("returned_kind"),
        &kind.into(),
        Nearness::Exact,
    );
    returned(kind, &rule, &run, recorded("returned"), nearness, &mut comparison);
    if failed == given.errors.is_empty() {
        let count = given.errors.len();
        comparison.say(
            "errors",
            &format!("{} values, expected {count}", u8::from(failed)),
        );
    }
    // etalon always gives its GPUs back; sarathi-serve only after an error.
    let releases = u8::from(failed || matches!(rule, Rule::Etalon(..)));
    comparison.value(
        "gpu_release_calls",
        recorded("gpu_release_calls"),
        &releases.into(),
        Nearness::Exact,
    );
    Ok(comparison.first())
}

fn rule(path: &str, given: &Given) -> Result<Rule, Malformed> {
    let config = MidpointConfig {
        start: given.start_qps,
        max_iterations: u32::try_from(given.max_iterations.max(0)).unwrap_or(u32::MAX),
        granularity_percent: given.min_search_granularity_pct,
    };
    let Some(slo_type) = &given.slo_type else {
        let slo: SarathiSlo = super::given(path, &Value::Object(given.recorded.clone()))?;
        let search = Sarathi::new(config, slo.scheduling_delay_slo_value);
        return Ok(Rule::Sarathi(search, slo));
    };
    let mut args = given.args.clone();
    args.insert("slo_type".to_owned(), slo_type.as_str().into());
    // etalon notices an unknown type when the first trial is over, and that is where the record ends.
    let known = ["deadline", "tbt_ttft", "ttft_tpot"].contains(&slo_type.as_str());
    let slo = known
        .then(|| super::given(&format!("{path}.args"), &Value::Object(args)))
        .transpose()?;
    Ok(Rule::Etalon(Etalon::new(config), slo))
}

/// Lets the rule search; each verdict comes from the recorded metrics of the trial at the rate that it asks for.
fn run(rule: &mut Rule, given: &Given, comparison: &mut Comparison) -> Option<Run> {
    let mut run = Run {
        trials: Vec::new(),
        order: Vec::new(),
        passed: Vec::new(),
        best: None,
        crashed: false,
    };
    loop {
        let (rate, bounds) = match rule {
            Rule::Etalon(search, _) => (search.rate(), search.bounds()),
            Rule::Sarathi(search, _) => (search.rate(), search.bounds()),
        };
        let Some(rate) = rate else { return Some(run) };
        let at = |trial: &&Value| {
            let qps = trial.get("qps").and_then(number);
            qps.is_some_and(|qps| (qps - rate).abs() < 1e-9)
        };
        let index = run.trials.len();
        let trial = given
            .trials
            .get(index)
            .filter(at)
            .or_else(|| given.trials.iter().find(at));
        let Some(trial) = trial else {
            let expected = given
                .trials
                .get(index)
                .and_then(|trial| trial.get("qps"))
                .map_or_else(
                    || "the search to have ended".to_owned(),
                    |qps| number(qps).map_or_else(|| qps.to_string(), |qps| qps.to_string()),
                );
            comparison.say(
                &format!("trials[{index}].qps"),
                &format!("{rate}, expected {expected}"),
            );
            return None;
        };
        let mut ours = json!({"qps": value(rate), "bounds_before": values([bounds.0, bounds.1])});
        run.order.push(rate);
        let Some(recorded) = trial.get("under_slo").and_then(Value::as_bool) else {
            run.trials.push(ours);
            run.crashed = true;
            return Some(run);
        };
        let metric = |name: &str| trial.get(name).and_then(number);
        let passed = match rule {
            Rule::Etalon(search, slo) => {
                let seen = Seen {
                    deadline_miss_rate: metric("deadline_miss_rate"),
                    tbt: metric("tbt"),
                    ttft: metric("ttft"),
                    tpot: metric("tpot"),
                };
                let passed = slo.and_then(|slo| slo.holds(&seen)).unwrap_or(recorded);
                search.tell(passed);
                passed
            }
            Rule::Sarathi(search, slo) => {
                let delay = metric("scheduling_delay").unwrap_or(f64::NAN);
                let passed = metric("tbt").map_or(recorded, |tbt| slo.holds(delay, tbt));
                search.tell(passed, delay);
                passed
            }
        };
        ours["under_slo"] = passed.into();
        if passed {
            run.passed.push(rate);
            run.best = Some(trial.clone());
        }
        run.trials.push(ours);
    }
}

fn returned(
    kind: &str,
    rule: &Rule,
    run: &Run,
    recorded: Option<&Value>,
    nearness: Nearness,
    comparison: &mut Comparison,
) {
    let Some(recorded) = recorded else { return };
    let (best, renamed): (Option<f64>, &[(&str, &str)]) = match rule {
        Rule::Etalon(search, _) => (
            search.best(),
            &[("deadline_miss_rate_at_max_qps", "deadline_miss_rate")],
        ),
        Rule::Sarathi(search, _) => (
            search.best(),
            &[
                ("scheduling_delay_at_max_qps", "scheduling_delay"),
                ("tbt_at_max_qps", "tbt"),
            ],
        ),
    };
    if kind != "result" {
        let nothing = recorded.is_null() || recorded.as_object().is_some_and(Map::is_empty);
        if !nothing {
            comparison.say("returned", &format!("nothing, expected {recorded}"));
        }
        return;
    }
    let best = best.map_or(Value::Null, value);
    let of = |key: &str| Some(recorded.get(key).unwrap_or(&Value::Null));
    comparison.value(
        "returned.max_qps_under_sla",
        of("max_qps_under_sla"),
        &best,
        Nearness::Arithmetic,
    );
    for (key, metric) in renamed {
        let ours = run.best.as_ref().and_then(|trial| trial.get(*metric)).cloned();
        comparison.value(
            &format!("returned.{key}"),
            recorded.get(*key),
            &ours.unwrap_or(Value::Null),
            nearness,
        );
    }
}

/// Searches of a file that wrote into one folder: what an earlier one ran, a later one reads.
struct Shared {
    /// Which one, and what was run before it by others.
    id: String,
    before: BTreeSet<u64>,
    /// Whether all earlier ones are in the file.
    complete: bool,
}

/// Those are told by a common name with a number, a common description, and rates that were not run when first asked for.
fn shared_folders(file: &Value) -> Vec<Shared> {
    let searches: Vec<&Value> = file
        .get("searches")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .collect();
    let text = |search: &Value, key: &str| search.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let stem = |id: &str| id.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
    let cached = |search: &Value| {
        first_visits(search)
            .iter()
            .any(|(_, executed)| *executed == Some(false))
    };
    let mut found = Vec::new();
    for (index, search) in searches.iter().enumerate() {
        let id = text(search, "id");
        let alike = |other: &&&Value| {
            stem(&text(other, "id")) == stem(&id) && text(other, "description") == text(search, "description")
        };
        if stem(&id) == id || !searches.iter().filter(alike).any(|other| cached(other)) {
            continue;
        }
        let earlier: Vec<&&Value> = searches[..index].iter().filter(alike).collect();
        let ordinal: usize = id[stem(&id).len()..].parse().unwrap_or(usize::MAX);
        let from_zero = searches
            .iter()
            .any(|other| text(other, "id") == format!("{}0", stem(&id)));
        let before = earlier
            .iter()
            .flat_map(|other| first_visits(other))
            .map(|(rate, _)| rate);
        found.push(Shared {
            before: before.collect(),
            complete: earlier.len()
                == if from_zero {
                    ordinal
                } else {
                    ordinal.wrapping_sub(1)
                },
            id,
        });
    }
    found
}

/// The rates of a search as bits, each once, with whether they were run when first asked for.
fn first_visits(search: &Value) -> Vec<(u64, Option<bool>)> {
    let mut seen = BTreeSet::new();
    let trials = search
        .get("trials")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    trials
        .filter_map(|trial| {
            let rate = trial.get("qps").and_then(number)?.to_bits();
            let executed = trial.get("executed").and_then(Value::as_bool);
            seen.insert(rate).then_some((rate, executed))
        })
        .collect()
}

/// A rate is run when no search of the folder ran it before. What was there before the file's searches is given.
fn executed(given: &Given, shared: &[Shared], order: &[f64], comparison: &mut Comparison) {
    let folder = shared.iter().find(|shared| shared.id == given.id);
    let mut seen = BTreeSet::new();
    let mut count = 0_u64;
    for (index, (trial, rate)) in given.trials.iter().zip(order).enumerate() {
        let again = !seen.insert(rate.to_bits());
        let recorded = trial.get("executed").and_then(Value::as_bool);
        let known = folder.is_some_and(|folder| folder.before.contains(&rate.to_bits()));
        let complete = folder.is_some_and(|folder| folder.complete);
        let ours = !(again || known) && (complete || recorded.unwrap_or(true));
        count += u64::from(ours);
        comparison.value(
            &format!("trials[{index}].executed"),
            trial.get("executed"),
            &ours.into(),
            Nearness::Exact,
        );
    }
    comparison.value(
        "num_executed",
        given.recorded.get("num_executed"),
        &count.into(),
        Nearness::Exact,
    );
}
