//! Populations of requests: objectives over all of them, pooled misses, token rates.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::compare::{Comparison, Nearness};
use super::json::{value, values};
use super::{Case, Malformed};
use crate::slo::deadline::{Misses, miss_rate_quantile};
use crate::slo::etalon::{Answered, EtalonSlo, all_gaps, token_rates};
use crate::stats::quantile::quantile_of;

/// What a population gives; the rest is compared.
#[derive(Deserialize)]
struct Given {
    id: String,
    requests: Vec<Answered>,
    #[serde(default)]
    evaluations: Vec<Value>,
    #[serde(flatten)]
    recorded: Map<String, Value>,
}

pub(super) fn replay(file: &Value) -> Vec<Case> {
    super::each(file, "populations", |path, case| {
        let given: Given = super::given(path, case)?;
        Ok(Case::new(given.id.clone(), compared(path, &given)?))
    })
}

fn compared(path: &str, given: &Given) -> Result<Option<String>, Malformed> {
    let requests = &given.requests;
    let mut comparison = Comparison::at(path);
    for (index, evaluation) in given.evaluations.iter().enumerate() {
        let below = format!("evaluations[{index}]");
        evaluated(
            &mut comparison,
            &below,
            &format!("{path}.{below}"),
            evaluation,
            requests,
        )?;
    }
    for (name, recorded) in &given.recorded {
        if let Some((slack, token)) = deadlines_in(name, "per_request_miss_rate_missed_total_at_") {
            for (index, request) in requests.iter().enumerate() {
                let misses = request.misses(slack, token);
                let below = |place: usize| format!("{name}[{index}][{place}]");
                let row = recorded.get(index);
                let of = |place: usize| Some(row.and_then(|row| row.get(place)).unwrap_or(&Value::Null));
                comparison.number(&below(0), of(0), misses.rate(), Nearness::Arithmetic);
                comparison.value(&below(1), of(1), &misses.missed.into(), Nearness::Exact);
                comparison.value(&below(2), of(2), &misses.total.into(), Nearness::Exact);
            }
            let rows = recorded.as_array().map_or(0, Vec::len);
            if rows != requests.len() {
                comparison.say(name, &format!("{} values, expected {rows}", requests.len()));
            }
        } else if let Some((slack, token)) = deadlines_in(name, "service_level_at_") {
            let pooled = requests
                .iter()
                .map(|request| request.misses(slack, token))
                .fold(Misses::default(), Misses::and);
            let ours = json!({"rate": value(pooled.rate()), "missed": pooled.missed, "total": pooled.total});
            comparison.value(name, Some(recorded), &ours, Nearness::Arithmetic);
        } else if name == "token_rates_tok_per_s" {
            let rates = token_rates(requests);
            let of = |pick: fn(&crate::slo::etalon::TokenRates) -> f64| {
                rates.as_ref().map_or(Value::Null, |rates| value(pick(rates)))
            };
            for (key, ours) in [
                ("tpot_based", of(|r| r.tpot_based)),
                ("tbt_p99_based", of(|r| r.tbt_p99_based)),
                (
                    "deadline_p99_at_10pct_miss_based",
                    of(|r| r.deadline_p99_at_10pct_miss_based),
                ),
            ] {
                let below = format!("{name}.{key}");
                comparison.value(&below, recorded.get(key), &ours, Nearness::Arithmetic);
            }
        } else if name == "p99_miss_rate_vs_target_tbt" {
            let gaps: Vec<&[f64]> = requests.iter().map(|r| r.tbt.as_slice()).collect();
            let targets = recorded.as_array().into_iter().flatten();
            let ours: Value = targets
                .map(|pair| {
                    let token = pair.get(0).and_then(Value::as_f64).unwrap_or(f64::NAN);
                    values([token, miss_rate_quantile(&gaps, token, 0.99).unwrap_or(f64::NAN)])
                })
                .collect();
            comparison.value(name, Some(recorded), &ours, Nearness::Arithmetic);
        } else if name == "quantiles_linear" {
            for (key, of) in [
                ("ttft", requests.iter().map(|r| r.ttft).collect::<Vec<_>>()),
                ("tpot", requests.iter().map(Answered::tpot).collect()),
                ("tbt_all_tokens", all_gaps(requests)),
            ] {
                for (p, recorded) in recorded.get(key).and_then(Value::as_object).into_iter().flatten() {
                    let ours = p.parse().ok().and_then(|p| quantile_of(&of, p));
                    let below = format!("{name}.{key}.{p}");
                    let ours = ours.map_or(Value::Null, value);
                    comparison.value(&below, Some(recorded), &ours, Nearness::Arithmetic);
                }
            }
        } else if !["description", "note", "source"].contains(&name.as_str()) {
            comparison.say(name, "this program does not compute it");
        }
    }
    Ok(comparison.first())
}

fn evaluated(
    comparison: &mut Comparison,
    below: &str,
    path: &str,
    evaluation: &Value,
    requests: &[Answered],
) -> Result<(), Malformed> {
    let slo: EtalonSlo = super::given(path, evaluation)?;
    let seen = slo.see(requests);
    for (key, ours) in [
        ("observed_deadline_miss_rate", seen.deadline_miss_rate),
        ("observed_tbt", seen.tbt),
        ("observed_ttft", seen.ttft),
        ("observed_tpot", seen.tpot),
    ] {
        let ours = ours.map_or(Value::Null, value);
        comparison.value(
            &format!("{below}.{key}"),
            evaluation.get(key),
            &ours,
            Nearness::Arithmetic,
        );
    }
    let holds = slo.holds(&seen).map_or(Value::Null, Value::Bool);
    comparison.value(
        &format!("{below}.under_slo"),
        evaluation.get("under_slo"),
        &holds,
        Nearness::Exact,
    );
    Ok(())
}

/// Slack and token deadline in a name that ends as `slack0p3_tbt0p03`.
fn deadlines_in(name: &str, prefix: &str) -> Option<(f64, f64)> {
    let (slack, token) = name
        .strip_prefix(prefix)?
        .strip_prefix("slack")?
        .split_once("_tbt")?;
    let number = |text: &str| text.replace('p', ".").parse().ok();
    Some((number(slack)?, number(token)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_from_names() {
        assert_eq!(
            deadlines_in("service_level_at_slack0p3_tbt0p03", "service_level_at_"),
            Some((0.3, 0.03))
        );
        assert_eq!(
            deadlines_in("service_level_at_slack1_tbt0p5", "service_level_at_"),
            Some((1.0, 0.5))
        );
        assert_eq!(deadlines_in("service_level", "service_level_at_"), None);
    }
}
