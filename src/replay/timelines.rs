//! Timelines of single requests: deadlines, prefixes, quantiles, smallest deadlines.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Case;
use super::compare::{Comparison, Nearness};
use super::json::{value, values};
use crate::slo::deadline::Deadlines;
use crate::slo::timeline::Timeline;
use crate::stats::quantile::quantile_of;

/// What a case gives.
#[derive(Deserialize)]
struct Given {
    id: String,
    inter_token_times_s: Vec<f64>,
    ttft_deadline_s: f64,
    tbt_deadline_s: f64,
    #[serde(default, deserialize_with = "super::or_nothing")]
    ignore_first_token: bool,
    expected: Map<String, Value>,
}

pub(super) fn replay(file: &Value) -> Vec<Case> {
    super::each(file, "cases", |path, case| {
        let given: Given = super::given(path, case)?;
        Ok(Case::new(given.id.clone(), compared(path, &given)))
    })
}

fn compared(path: &str, given: &Given) -> Option<String> {
    let gaps = &given.inter_token_times_s;
    let deadlines = Deadlines {
        ignore_first: given.ignore_first_token,
        ..Deadlines::new(given.ttft_deadline_s, given.tbt_deadline_s)
    };
    let request = Timeline::of_tokens(gaps.clone());
    let misses = deadlines.count(gaps);
    let prefixes = deadlines.prefixes(gaps);
    let mut comparison = Comparison::at(format!("{path}.expected"));
    for (name, recorded) in &given.expected {
        let by_key = |of: &dyn Fn(f64) -> Value| -> Value {
            let keys = recorded.as_object().into_iter().flatten();
            keys.map(|(key, _)| (key.clone(), key.parse().map_or(Value::Null, of)))
                .collect()
        };
        let (ours, nearness) = match name.as_str() {
            "ttft" => (value(request.ttft()), Nearness::Arithmetic),
            "tpot" => (value(request.mean_gap()), Nearness::Arithmetic),
            "e2e" => (value(request.e2e()), Nearness::Arithmetic),
            "normalized_e2e" => (value(request.normalized_e2e()), Nearness::Arithmetic),
            "output_throughput" => (value(request.output_throughput()), Nearness::Arithmetic),
            "missed_deadlines" => (misses.missed.into(), Nearness::Exact),
            "total_deadlines" => (misses.total.into(), Nearness::Exact),
            "deadline_miss_rate" => (value(misses.rate()), Nearness::Arithmetic),
            "fluidity_index" => (value(misses.fluidity_index()), Nearness::Arithmetic),
            "prefix_missed" => (prefixes.iter().map(|m| m.missed).collect(), Nearness::Exact),
            "prefix_total" => (prefixes.iter().map(|m| m.total).collect(), Nearness::Exact),
            "tbt_quantiles_linear" => {
                let of = |p| quantile_of(request.after_first(), p).map_or(Value::Null, value);
                let none = request.after_first().is_empty() && recorded.is_null();
                (if none { Value::Null } else { by_key(&of) }, Nearness::Arithmetic)
            }
            "min_tbt_deadline_for_target_miss_rate" => {
                let of = |target| value(deadlines.smallest_token_deadline(gaps, target));
                (by_key(&of), Nearness::Bisected)
            }
            "miss_rate_vs_tbt_deadline" => {
                let pairs = recorded.as_array().into_iter().flatten();
                let curve = pairs.map(|pair| {
                    let token = pair.get(0).and_then(Value::as_f64).unwrap_or(f64::NAN);
                    values([token, Deadlines { token, ..deadlines }.count(gaps).rate()])
                });
                (curve.collect(), Nearness::Arithmetic)
            }
            _ => {
                comparison.say(name, "this program does not compute it");
                continue;
            }
        };
        comparison.value(name, Some(recorded), &ours, nearness);
    }
    comparison.first()
}
