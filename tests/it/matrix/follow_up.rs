//! Searches that share a folder, as etalon's recorded ones: what is stored decides all rates that it bounds.

use std::path::PathBuf;

use mst::matrix::file::{Rule, SearchRule, Workload};
use mst::matrix::{Begin, Bench, Requests};
use mst::runner::{Judged, Trial, TrialError, TrialRunner, Watch};
use mst::search::Probe;
use mst::slo::objective::Entry;
use mst::store::{Manifest, Store, measured, write_json};
use mst::trial::{
    ClientHealth, LoadGenSpec, Measurement, Outcome, RequestRecord, TargetSpec, TokenTimes, TrialSpec,
};

use crate::support::golden;

/// The recorded service: times grow with the rate, at 3.37 requests a second to 0.3 s and 0.03 s.
struct Physical<'a> {
    bench: &'a Bench<'a>,
    asked: Vec<f64>,
}

impl TrialRunner for Physical<'_> {
    fn run(&mut self, spec: &TrialSpec, probe: &Probe, _watch: &mut dyn Watch) -> Result<Trial, TrialError> {
        let rate = spec.rate.as_per_second();
        self.asked.push((rate * 100.0).round() / 100.0);
        let (ttft, gap) = (0.3 * rate / 3.37, 0.03 * rate / 3.37);
        let mut tokens = TokenTimes::default();
        let records: Vec<RequestRecord> = (0..50)
            .map(|i| {
                tokens.push(&[(gap * 1e6).round() as u32; 4]);
                let at = i * 1_000_000;
                let first = at + (ttft * 1e9) as i64;
                RequestRecord {
                    intended_ns: at,
                    sent_ns: Some(at),
                    first_token_ns: Some(first),
                    done_ns: Some(first + (4.0 * gap * 1e9) as i64),
                    class: 0,
                    input_tokens: 8,
                    output_tokens: 5,
                    outcome: Outcome::Ok,
                }
            })
            .collect();
        let measurement = Measurement {
            asked: spec.rate,
            duration_s: spec.duration_s,
            offered_s: spec.duration_s,
            observed_s: spec.duration_s + 1.0,
            epoch_ns: 1_790_000_000_000_000_000,
            records,
            client: ClientHealth::default(),
            planned_output: Some(5.0),
            stopped_early: false,
            tokens: Some(tokens),
        };
        let folder = self.bench.store.begin(&self.bench.pair, &spec.id())?;
        measured::write(&folder.join(measured::FILE_NAME), &measurement)?;
        let manifest = self.bench.manifest(spec, probe, &measurement, "", None);
        write_json(&folder.join("trial.json"), &manifest)?;
        Ok(Trial {
            id: spec.id(),
            measurement,
            folder,
            reused: false,
        })
    }

    fn settle(&mut self, trial: &Trial, _judged: &Judged<'_>) -> Result<PathBuf, TrialError> {
        if trial.reused {
            return Ok(trial.folder.clone());
        }
        let manifest: Manifest = mst::store::read_json(&trial.folder.join("trial.json"))?;
        Ok(self.bench.store.archive(&trial.folder, &manifest)?)
    }
}

struct Nobody;

impl mst::report::Observer for Nobody {
    fn see(&mut self, _event: &mst::report::Event) {}
}

#[test]
fn recorded_follow_ups_need_no_trial_at_a_rate_that_is_decided() {
    let text = std::fs::read_to_string(golden("slo/search_etalon.json")).unwrap();
    let recorded: serde_json::Value = serde_json::from_str(&text).unwrap();
    let searches = recorded["searches"].as_array().unwrap();
    let by_id = |id: &str| searches.iter().find(|s| s["id"] == id).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let workload: Workload =
        serde_json::from_value(serde_json::json!({"name": "w", "tokens": "8:5", "requests": 50})).unwrap();
    let bench = Bench {
        name: "s/w".to_owned(),
        pair: "s_w".to_owned(),
        store: &store,
        requests: Requests::of(&workload, dir.path(), 42, None).unwrap(),
        target: TargetSpec {
            label: "physical".to_owned(),
            model: String::new(),
            api: String::new(),
        },
        loadgen: LoadGenSpec {
            name: "none".to_owned(),
            version: String::new(),
            options: Vec::new(),
        },
        seed: 42,
        limit_s: None,
        failures: true,
        sustained: false,
        url: None,
        curve: None,
        raw: None,
    };
    // Rates with what each objective said of them.
    let mut measured: Vec<f64> = Vec::new();
    for (id, most) in [
        ("tbt_ttft_c3p37_start1", 11),
        ("reuse_2", 3),
        ("tbt_ttft_c3p37_start1", 0),
    ] {
        let search = by_id(id);
        let mut slo = search["args"].clone();
        let keys = match search["slo_type"].as_str().unwrap() {
            "tbt_ttft" => ["tbt_slo", "tbt_percentile", "ttft_slo", "ttft_percentile"],
            _ => ["ttft_slo", "ttft_percentile", "tpot_slo", "tpot_percentile"],
        };
        slo.as_object_mut()
            .unwrap()
            .retain(|key, _| keys.contains(&key.as_str()));
        slo["type"] = search["slo_type"].clone();
        let entry: Entry = serde_json::from_value(slo).unwrap();
        let rule = SearchRule {
            rule: Rule::Etalon,
            max_trials: Some(search["max_iterations"].as_u64().unwrap() as u32),
            ..SearchRule::default()
        };
        let mut runner = Physical {
            bench: &bench,
            asked: Vec::new(),
        };
        let start = search["start_qps"].as_f64().unwrap();
        let found = bench
            .search(
                &entry.objective().unwrap(),
                &rule,
                Begin {
                    qps: start,
                    expected: None,
                },
                &mut runner,
                &mut Nobody,
                &|| false,
            )
            .unwrap();
        // The answer and the sequence are the recorded ones.
        let returned = search["returned"]["max_qps_under_sla"].as_f64().unwrap();
        let qps = found.capacity.answer.rate.unwrap().as_per_second();
        assert!((qps - returned).abs() < 1e-9, "{id}: {qps}");
        let order: Vec<f64> = search["qps_order"]
            .as_array()
            .unwrap()
            .iter()
            .map(|q| q.as_f64().unwrap())
            .collect();
        assert!(
            runner.asked.iter().all(|rate| order.contains(rate)),
            "{id}: {:?}",
            runner.asked
        );
        // No trial at a rate that was measured, or lies beyond what decides it.
        let verdict = |rate: f64| {
            let trial = search["trials"]
                .as_array()
                .unwrap()
                .iter()
                .find(|t| t["qps"] == rate);
            trial.map(|t| t["under_slo"].as_bool().unwrap())
        };
        let passed = measured
            .iter()
            .filter(|q| verdict(**q) == Some(true))
            .copied()
            .fold(0.0, f64::max);
        let failed = measured
            .iter()
            .filter(|q| verdict(**q) == Some(false))
            .copied()
            .fold(f64::INFINITY, f64::min);
        for rate in &runner.asked {
            assert!(
                !measured.contains(rate) && *rate > passed && *rate < failed,
                "{id}: {rate} in {measured:?}"
            );
        }
        assert!(runner.asked.len() <= most, "{id}: {:?}", runner.asked);
        assert_eq!(runner.asked.is_empty(), most == 0, "{id}: {:?}", runner.asked);
        measured.extend(&runner.asked);
    }
}
