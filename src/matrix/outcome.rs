//! What came out of a search, for programs and people.

use std::collections::BTreeMap;

use serde::Serialize;

use super::bench::{Bench, Found};
use super::file::{Limits, Rule};
use crate::criterion::{Ruling, Verdict};
use crate::search::Status;
use crate::slo::objective::Seen;
use crate::units::Rate;

/// A combination of system, workload and objective.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Combination {
    /// The system.
    pub system: String,
    /// The workload.
    pub workload: String,
    /// The objective.
    pub slo: String,
    /// How rates were chosen.
    pub rule: Rule,
    /// Where measurements come from: `endpoint`, or the simulator and what its iteration times come from.
    pub origin: String,
    /// GPUs that the system takes.
    pub gpus: u32,
    /// The time limits that it was searched under.
    pub limits: LimitsRecord,
}

/// Time limits in seconds; `null` where there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct LimitsRecord {
    /// Of a trial.
    pub trial_s: Option<f64>,
    /// Of everything.
    pub total_s: Option<f64>,
}

impl From<&Limits> for LimitsRecord {
    fn from(limits: &Limits) -> Self {
        Self {
            trial_s: limits.trial().map(|limit| limit.as_secs_f64()),
            total_s: limits.total().map(|limit| limit.as_secs_f64()),
        }
    }
}

/// Why there is no answer, or only a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The system cannot be, for example because its model does not fit.
    Infeasible,
    /// Time was up, or somebody stopped it.
    Stopped,
    /// The endpoint went away.
    Unreachable,
    /// The load generator, the results folder.
    Runner,
}

/// The outcome of a search. Rates in requests a second.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// `system/workload/slo`.
    pub name: String,
    /// The most load that meets the objective.
    pub capacity_qps: Option<f64>,
    /// Its 95 % interval; of the published rules the best rate that passed and the lowest that failed. An end that was not
    /// seen is missing.
    pub interval_qps: [Option<f64>; 2],
    /// Whether a rate that passes and one that fails were seen.
    pub status: Option<Status>,
    /// The bound that decides there: metric and statistic.
    pub binding_slo: Option<String>,
    /// The bounds at the trial nearest to the capacity that met the objective, else at the lowest that did not.
    pub slos: Vec<Seen>,
    /// Trials behind the answer.
    pub trials: usize,
    /// Of these, trials that were stored before.
    pub trials_reused: usize,
    /// Seconds of load that this search cost.
    pub load_seconds: f64,
    /// Why there is no answer, or only a part of one.
    pub error: Option<String>,
    /// Of what kind that is.
    #[serde(skip)]
    pub trouble: Option<Trouble>,
    /// Which combination it is.
    #[serde(flatten)]
    pub combination: Combination,
    /// Why the search ended.
    pub reason: String,
    /// Every trial behind the answer, by rate.
    pub curve: Vec<CurvePoint>,
    /// What to know.
    pub notes: Vec<String>,
}

/// A trial on the response curve.
#[derive(Clone, Debug, Serialize)]
pub struct CurvePoint {
    /// The rate that was offered, requests a second.
    pub qps: f64,
    /// Whether the objective was met.
    pub met: Option<bool>,
    /// Whether the trial was stored before.
    pub reused: bool,
    /// The bounds as they were seen.
    pub slos: Vec<Seen>,
    /// Which of them decides: of `all` the one with the least room, of `any` the one with most.
    pub binding: usize,
    /// The trial's folder, below the root of the results.
    pub folder: String,
}

impl Outcome {
    /// Of a combination that could not be searched.
    pub fn failed(combination: Combination, trouble: Trouble, error: String) -> Self {
        Self {
            name: combination.name(),
            capacity_qps: None,
            interval_qps: [None, None],
            status: None,
            binding_slo: None,
            slos: Vec::new(),
            trials: 0,
            trials_reused: 0,
            load_seconds: 0.0,
            error: Some(error),
            trouble: Some(trouble),
            combination,
            reason: String::new(),
            curve: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Of a search.
    pub fn of(combination: Combination, bench: &Bench<'_>, found: &Found) -> Self {
        let answer = &found.capacity.answer;
        let qps = |rate: Rate| rate.as_per_second();
        let mut points: BTreeMap<String, CurvePoint> = BTreeMap::new();
        let root = bench.store.root();
        let below =
            |folder: &std::path::Path| folder.strip_prefix(root).unwrap_or(folder).display().to_string();
        for known in &found.known {
            let point = point(
                qps(known.offered),
                &known.verdict,
                known.reused,
                below(&known.folder),
            );
            points.insert(known.id.clone(), point);
        }
        for seen in &found.capacity.evidence {
            let reused = seen.reused || points.contains_key(seen.id.as_str());
            let point = point(qps(seen.offered), &seen.verdict, reused, below(&seen.folder));
            points.insert(seen.id.to_string(), point);
        }
        let mut curve: Vec<CurvePoint> = points.into_values().collect();
        curve.sort_by(|a, b| a.qps.total_cmp(&b.qps));
        let target = answer.rate.or(answer.high).map_or(0.0, qps);
        let at = |met: bool| {
            let of = curve.iter().filter(move |p| p.met == Some(met));
            of.min_by(|a, b| (a.qps - target).abs().total_cmp(&(b.qps - target).abs()))
        };
        let nearest = at(true).or_else(|| at(false));
        let slos = nearest.map_or(Vec::new(), |p| p.slos.clone());
        // What breaks first is seen best where it breaks.
        let broken = at(false).or(nearest);
        let binding = broken.and_then(|p| p.slos.get(p.binding));
        let mut notes = bench.requests.notes.clone();
        notes.extend(found.expected.clone());
        if !found.capacity.decided.is_empty() {
            let rates: Vec<String> = found
                .capacity
                .decided
                .iter()
                .map(|r| format!("{:.4}", qps(*r)))
                .collect();
            notes.push(format!(
                "decided by stored trials, without a trial: {} requests a second",
                rates.join(", ")
            ));
        }
        Self {
            name: combination.name(),
            capacity_qps: answer.rate.map(qps),
            interval_qps: [answer.low.map(qps), answer.high.map(qps)],
            status: Some(answer.status),
            binding_slo: binding.map(Seen::title),
            slos,
            trials: curve.len(),
            trials_reused: curve.iter().filter(|p| p.reused).count(),
            load_seconds: found.load_s(),
            error: None,
            trouble: None,
            combination,
            reason: answer.reason.clone(),
            curve,
            notes,
        }
    }
}

impl Combination {
    /// `system/workload/slo`.
    pub fn name(&self) -> String {
        format!("{}/{}/{}", self.system, self.workload, self.slo)
    }
}

fn point(qps: f64, verdict: &Verdict, reused: bool, folder: String) -> CurvePoint {
    let slos = verdict.statistics.get("slos").cloned().unwrap_or_default();
    CurvePoint {
        qps,
        met: match verdict.ruling {
            Ruling::Sustainable => Some(true),
            Ruling::Unsustainable => Some(false),
            Ruling::Unsure => None,
        },
        reused,
        slos: serde_json::from_value(slos).unwrap_or_default(),
        binding: verdict
            .statistics
            .get("binding")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_default() as usize,
        folder,
    }
}
