//! Searches of veeksha: by verdict alone, and whole ones with objectives on metrics from a formula.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::compare::{Comparison, Nearness};
use super::json::{number, value, values};
use super::slo_eval::samples;
use super::{Case, Malformed};
use crate::search::{Veeksha, VeekshaConfig};
use crate::slo::veeksha::VeekshaSlo;

/// The formula of the metrics of a trial at value `v`, as the files write it. `c` is not in the files.
const MODEL: &str = "request i of 20: ttfc=0.5u(0.5+0.5(i+1)/20), tbc_j=0.05u(0.8+0.2(j+1)/5) for j<5, tpot=0.04u, \
    end_to_end_latency=2u, u=v/c";

#[derive(Deserialize)]
struct Params {
    start_value: f64,
    max_value: f64,
    expansion_factor: f64,
    #[serde(deserialize_with = "super::whole")]
    max_iterations: i64,
    #[serde(deserialize_with = "super::whole")]
    precision: i64,
    #[serde(default)]
    integer_domain: bool,
}

impl Params {
    fn search(&self, integers: bool) -> Result<Veeksha, &'static str> {
        Veeksha::new(VeekshaConfig {
            start: self.start_value,
            max: self.max_value,
            factor: self.expansion_factor,
            // None at all is refused in veeksha's words.
            max_iterations: u32::try_from(self.max_iterations.max(0)).unwrap_or(u32::MAX),
            precision: i32::try_from(self.precision).unwrap_or(i32::MAX),
            integers,
        })
    }
}

pub(super) fn replay(file: &Value) -> Vec<Case> {
    let mut cases = super::each(file, "algorithm_cases", algorithm);
    let model = file.get("full_case_model").and_then(Value::as_str);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let known = model.is_none_or(|model| words(model) == words(MODEL));
    cases.extend(super::each(file, "full_cases", |path, case| {
        full(path, case, known)
    }));
    cases
}

fn algorithm(path: &str, case: &Value) -> Result<Case, Malformed> {
    #[derive(Deserialize)]
    struct Given {
        id: String,
        params: Params,
        trials: Vec<(f64, Option<bool>)>,
        #[serde(default)]
        error: Option<String>,
    }
    let given: Given = super::given(path, case)?;
    let mut comparison = Comparison::at(path);
    let mut search = match given.params.search(given.params.integer_domain) {
        Ok(search) => search,
        Err(error) => {
            comparison.value("error", case.get("error"), &error.into(), Nearness::Exact);
            let trials = given.trials.len();
            if trials > 0 {
                comparison.say("trials", &format!("0 values, expected {trials}"));
            }
            for key in ["best", "iterations"] {
                comparison.value(key, case.get(key), &Value::Null, Nearness::Exact);
            }
            return Ok(Case::new(given.id, comparison.first()));
        }
    };
    let mut order = Vec::new();
    let mut aborted = false;
    while let Some(asked) = search.value() {
        let index = order.len();
        order.push(asked);
        match given.trials.get(index) {
            Some((recorded, Some(passed))) if (recorded - asked).abs() <= 1e-9 => search.tell(*passed),
            Some((recorded, None)) if (recorded - asked).abs() <= 1e-9 => {
                aborted = true;
                break;
            }
            None if given.error.is_some() => {
                aborted = true;
                break;
            }
            Some((recorded, _)) => {
                comparison.say(
                    &format!("trials[{index}][0]"),
                    &format!("{asked}, expected {recorded}"),
                );
                break;
            }
            None => {
                let text = format!("another at {asked}, expected the search to have ended");
                comparison.say(&format!("trials[{index}]"), &text);
                break;
            }
        }
    }
    if !aborted {
        comparison.value(
            "trials",
            Some(&given.trials.len().into()),
            &order.len().into(),
            Nearness::Exact,
        );
        ended(&mut comparison, case, "best", "iterations", &search);
        comparison.value("error", case.get("error"), &Value::Null, Nearness::Exact);
    }
    if !aborted || given.trials.len() == order.len() {
        comparison.value(
            "order",
            case.get("order"),
            &values(order.iter().copied()),
            Nearness::Arithmetic,
        );
    }
    repeated(&mut comparison, case.get("repeated_values"), &order);
    Ok(Case::new(given.id, comparison.first()))
}

fn ended(comparison: &mut Comparison, case: &Value, best: &str, iterations: &str, search: &Veeksha) {
    let ours = search.best().map_or(Value::Null, value);
    comparison.value(best, case.get(best), &ours, Nearness::Arithmetic);
    comparison.value(
        iterations,
        case.get(iterations),
        &search.trials().into(),
        Nearness::Exact,
    );
}

/// Values that were asked for more than once, each once, in any order.
fn repeated(comparison: &mut Comparison, recorded: Option<&Value>, order: &[f64]) {
    let Some(recorded) = recorded.and_then(Value::as_array) else {
        return;
    };
    let mut sorted = order.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ours = sorted
        .chunk_by(|a, b| a.total_cmp(b).is_eq())
        .filter(|same| same.len() > 1);
    let ours: Vec<f64> = ours.map(|same| same[0]).collect();
    let mut recorded: Vec<f64> = recorded.iter().filter_map(number).collect();
    recorded.sort_by(f64::total_cmp);
    recorded.dedup();
    comparison.value(
        "repeated_values",
        Some(&values(recorded)),
        &values(ours),
        Nearness::Arithmetic,
    );
}

/// A whole search.
#[derive(Deserialize)]
struct Full {
    id: String,
    params: Params,
    #[serde(default)]
    slos: Vec<VeekshaSlo>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    traffic_scheduler_type: Option<String>,
    #[serde(default)]
    history: Option<Vec<Value>>,
    #[serde(default)]
    knobs_set: Option<Vec<Map<String, Value>>>,
}

fn full(path: &str, case: &Value, known_model: bool) -> Result<Case, Malformed> {
    let mut given: Full = super::given(path, case)?;
    given.history.iter_mut().flatten().for_each(with_infinities);
    let mut comparison = Comparison::at(path);
    let history = given.history.as_deref().unwrap_or_default();
    let knobs = given.knobs_set.as_deref().unwrap_or_default();
    let concurrent = given.traffic_scheduler_type.as_deref().map_or_else(
        || knobs.iter().any(|k| k.contains_key("target_concurrent_sessions")),
        |kind| kind == "concurrent",
    );
    let knob = if concurrent {
        "traffic_scheduler.target_concurrent_sessions"
    } else {
        "traffic_scheduler.interval_generator.arrival_rate"
    };
    let mut search = match given.params.search(concurrent) {
        Ok(search) => search,
        Err(error) => {
            let told = given.error.as_deref().is_some_and(|told| told.contains(error));
            if !told {
                comparison.value("error", case.get("error"), &error.into(), Nearness::Exact);
            }
            return Ok(Case::new(given.id, comparison.first()));
        }
    };
    let capacity = known_model.then(|| capacity(&given.slos, history)).flatten();
    let mut asked = 0;
    let mut aborted = false;
    while let Some(at) = search.value() {
        let index = asked;
        asked += 1;
        if let Some(recorded) = knobs.get(index) {
            comparison.value(
                &format!("knobs_set[{index}]"),
                Some(&Value::Object(recorded.clone())),
                &knob_of(recorded, at, concurrent),
                Nearness::Arithmetic,
            );
        }
        // Without objectives there is no verdict to read: the search ends with an error after its first trial.
        if index >= history.len() && (given.error.is_some() || given.slos.is_empty()) {
            if let Some(next) = knobs.get(index + 1).and_then(value_of) {
                // The history was lost with the search: the verdict is the one that leads to the next value.
                search = led_to(&search, next);
                continue;
            }
            aborted = true;
            break;
        }
        let below = format!("history[{index}]");
        let Some(trial) = history.get(index) else {
            let text = format!("another trial at {at}, expected the search to have ended");
            comparison.say(&below, &text);
            break;
        };
        comparison.number(
            &format!("{below}.value"),
            trial.get("value"),
            at,
            Nearness::Arithmetic,
        );
        let met = judged(&mut comparison, &below, &given.slos, trial, at, capacity);
        if comparison.differs() {
            break;
        }
        search.tell(met);
    }
    if given.knobs_set.is_some() && !knobs.is_empty() {
        comparison.value(
            "knobs_set",
            Some(&knobs.len().into()),
            &asked.into(),
            Nearness::Exact,
        );
    }
    comparison.value(
        "searched_knob",
        case.get("searched_knob").filter(|knob| !knob.is_null()),
        &knob.into(),
        Nearness::Exact,
    );
    if aborted {
        if given.error.is_none() {
            comparison.say("error", "one of a trial without results, expected null");
        }
        let best = case.get("best_value").filter(|best| !best.is_null());
        comparison.value("best_value", best, &Value::Null, Nearness::Exact);
    } else {
        comparison.value(
            "history",
            Some(&history.len().into()),
            &search.trials().into(),
            Nearness::Exact,
        );
        ended(&mut comparison, case, "best_value", "iterations_run", &search);
        comparison.value("error", case.get("error"), &Value::Null, Nearness::Exact);
    }
    Ok(Case::new(given.id, comparison.first()))
}

/// JSON has no infinity: null stands for it among what was observed.
fn with_infinities(trial: &mut Value) {
    let results = trial
        .pointer_mut("/slo_results/results")
        .and_then(Value::as_array_mut);
    for observed in results
        .into_iter()
        .flatten()
        .filter_map(|r| r.get_mut("observed_value"))
    {
        if observed.is_null() {
            *observed = value(f64::INFINITY);
        }
    }
}

/// What is written into the traffic's configuration: a rate, for equal gaps one over it, or sessions and as many seconds to
/// begin them in. Which of the first two, the record says.
fn knob_of(recorded: &Map<String, Value>, at: f64, concurrent: bool) -> Value {
    if concurrent {
        json!({"target_concurrent_sessions": at, "rampup_seconds": at})
    } else if recorded.contains_key("interval") {
        json!({ "interval": value(1.0 / at) })
    } else {
        json!({ "arrival_rate": value(at) })
    }
}

/// The value that was written into the traffic's configuration.
fn value_of(knobs: &Map<String, Value>) -> Option<f64> {
    let of = |name: &str| knobs.get(name).and_then(number);
    of("arrival_rate")
        .or_else(|| of("target_concurrent_sessions"))
        .or_else(|| of("interval").map(|interval| 1.0 / interval))
}

/// The search after the verdict that makes it ask for `next`; after a failure where neither does.
fn led_to(search: &Veeksha, next: f64) -> Veeksha {
    let after = |holds: bool| {
        let mut search = search.clone();
        search.tell(holds);
        search
    };
    let held = after(true);
    let leads = held
        .value()
        .is_some_and(|value| (value - next).abs() <= 1e-9 * next.abs().max(1.0));
    if leads { held } else { after(false) }
}

/// Judges a trial, on metrics from the formula where the record has samples at all, and compares.
fn judged(
    comparison: &mut Comparison,
    below: &str,
    slos: &[VeekshaSlo],
    trial: &Value,
    at: f64,
    capacity: Option<f64>,
) -> bool {
    let recorded = trial.pointer("/slo_results/results").and_then(Value::as_array);
    let observed = |index: usize| recorded.and_then(|r| r.get(index)?.get("observed_value"));
    // A trial of which every modelled metric is infinite had no answers at all.
    let modelled = |slo: &&VeekshaSlo| model(1.0).contains_key(slo.column());
    let answered = slos
        .iter()
        .enumerate()
        .filter(|(_, slo)| modelled(slo))
        .any(|(index, _)| observed(index).and_then(number).is_some_and(f64::is_finite));
    let metrics = match capacity {
        Some(capacity) if answered => model(at / capacity),
        _ => Map::new(),
    };
    let mut ours = Vec::new();
    let mut all_met = true;
    for (index, slo) in slos.iter().enumerate() {
        let mut checked = slo.check(&samples(slo, &metrics));
        if answered && capacity.is_none() && modelled(&slo) {
            // The formula is not known: what was observed is given.
            let observed = observed(index).and_then(number).unwrap_or(f64::INFINITY);
            checked = slo.check(&[observed]);
        }
        let (met, seen) = checked;
        all_met &= met;
        ours.push(json!({
            "met": met,
            "slo_metric_key": slo.key(),
            "observed_value": value(seen),
            "threshold": value(slo.value),
            "percentile": value(slo.percentile),
            "metric": slo.metric,
            "name": slo.name,
            "lower_is_better": slo.less_is_better(),
        }));
    }
    let results = trial.get("slo_results");
    comparison.value(
        &format!("{below}.slo_results.results"),
        results.and_then(|r| r.get("results")),
        &Value::Array(ours),
        Nearness::Arithmetic,
    );
    comparison.value(
        &format!("{below}.slo_results.all_slos_met"),
        results.and_then(|r| r.get("all_slos_met")),
        &all_met.into(),
        Nearness::Exact,
    );
    comparison.value(
        &format!("{below}.all_slos_met"),
        trial.get("all_slos_met"),
        &all_met.into(),
        Nearness::Exact,
    );
    all_met
}

/// The metrics of a trial at `u` of the capacity.
fn model(u: f64) -> Map<String, Value> {
    let each = |of: &dyn Fn(f64) -> Value| (0..20).map(|i| of(f64::from(i))).collect::<Value>();
    let gaps = values((0..5).map(|j| 0.05 * u * (0.8 + 0.2 * f64::from(j + 1) / 5.0)));
    let rows = [
        ("ttfc", each(&|i| value(0.5 * u * (0.5 + 0.5 * (i + 1.0) / 20.0)))),
        ("tbc", each(&|_| gaps.clone())),
        ("tpot", each(&|_| value(0.04 * u))),
        ("end_to_end_latency", each(&|_| value(2.0 * u))),
    ];
    rows.into_iter()
        .map(|(name, row)| (name.to_owned(), row))
        .collect()
}

/// The capacity of the formula, which the file does not tell: from the first metric that was observed. Rounded to twelve
/// digits, as someone wrote it down. All other observations are then held against it.
fn capacity(slos: &[VeekshaSlo], history: &[Value]) -> Option<f64> {
    let unit = model(1.0);
    history.iter().find_map(|trial| {
        let at = trial.get("value").and_then(number).filter(|at| *at > 0.0)?;
        let results = trial.pointer("/slo_results/results")?.as_array()?;
        slos.iter().zip(results).find_map(|(slo, result)| {
            let observed = result.get("observed_value").and_then(number)?;
            let (_, at_one) = slo.check(&samples(slo, &unit));
            let capacity = at * at_one / observed;
            let usable = observed.is_finite() && at_one.is_finite() && capacity.is_finite();
            usable
                .then(|| format!("{capacity:.11e}").parse().ok())
                .flatten()
                .filter(|c| *c > 0.0)
        })
    })
}
