//! The report for programs.

use serde_json::{Value, json};

use crate::report::compare::Comparison;
use crate::report::found::FoundTrial;
use crate::report::summary::{PairSummary, status_word};
use crate::units::Rate;

/// One object a pair and run; `run` and `outlier` only where there are several runs.
pub(super) fn array(summaries: &[PairSummary], comparison: &Comparison) -> Value {
    summaries
        .iter()
        .map(|summary| {
            let mut object = json!({
                "pair": summary.key.pair.to_string(),
                "experiment_type": summary.key.kind,
                "mst_per_minute": rate(summary.rate),
                "interval_per_minute": [rate(summary.low), rate(summary.high)],
                "status": status_word(summary.status),
                "origin": summary.origin.code(),
                "reason": summary.reason,
                "evaluation": summary.criterion,
                "by_criterion": summary
                    .by_criterion
                    .iter()
                    .map(|(name, best)| (name.clone(), rate(*best)))
                    .collect::<serde_json::Map<_, _>>(),
                "trials": summary.trials.iter().map(trial).collect::<Value>(),
                "load_seconds": summary.load_s,
                "warnings": summary.warnings,
            });
            if let Some(truth) = summary.true_capacity {
                object["true_capacity_per_minute"] = rate(Some(truth));
            }
            if let Some(words) = &summary.words {
                object["in_words"] = json!(words);
            }
            if let Some(seconds) = summary.confirmed_s {
                object["confirmed_seconds"] = json!(seconds);
            }
            if comparison.runs.len() > 1 {
                object["run"] = json!(summary.key.run);
                let rules = comparison.flags_of(summary);
                object["outlier"] = rules.iter().map(|r| json!(r.name())).collect();
            }
            object
        })
        .collect()
}

fn trial(trial: &FoundTrial) -> Value {
    let mut object = json!({
        "folder": trial.folder,
        "time": trial.time,
        "id": trial.id,
        "rate_per_minute": trial.rate.as_per_minute(),
        "offered_per_minute": rate(trial.offered),
        "stage": trial.stage,
        "ruling": trial.ruling,
        "criterion": trial.criterion,
        "rulings": trial.rulings,
        "margin": trial.margin.map(|m| m.value),
        "margin_interval": trial.margin.map(|m| [m.low, m.high]),
        "bound": trial.bound,
        "success_rate_percent": trial.success_percent,
        "load_seconds": trial.load_s,
        "stopped_early": trial.stopped_early,
        "void": trial.void,
    });
    if let Some(waiting) = trial.longest_queue {
        object["longest_queue"] = json!(waiting);
    }
    object
}

fn rate(rate: Option<Rate>) -> Value {
    json!(rate.map(Rate::as_per_minute))
}
