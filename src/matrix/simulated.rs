//! Trials in virtual time, stored as live ones are.

use std::path::PathBuf;

use super::bench::Bench;
use crate::deployment::BuiltCluster;
use crate::runner::{Judged, Trial, TrialError, TrialRunner, Watch};
use crate::search::Probe;
use crate::sim::{Observer, PrefixTable, Record, Request, Source, Time, cluster};
use crate::store::measured as packed;
use crate::store::{Manifest, layout, write_json};
use crate::trial::{
    ClientHealth, LoadGenSpec, Measurement, Outcome, RequestRecord, TargetSpec, TokenTimes, TrialSpec,
};
use crate::workload::PlannedRequest;

/// What the simulator measures. Raised when a change makes its trials another measurement.
const VERSION: &str = "1";

/// Picoseconds of a nanosecond and of a microsecond.
const NS: u64 = 1_000;
const US: u64 = 1_000_000;

/// Runs trials of one system on one workload in virtual time.
pub struct Simulated<'a> {
    bench: &'a Bench<'a>,
    built: &'a BuiltCluster,
}

impl<'a> Simulated<'a> {
    /// A runner.
    pub fn new(bench: &'a Bench<'a>, built: &'a BuiltCluster) -> Self {
        Self { bench, built }
    }

    /// Names a simulated system in the identity of a trial: by everything that its results depend on.
    pub fn target(built: &BuiltCluster, model: &str) -> TargetSpec {
        let content = format!(
            "{} {:?} {:?} {} {}",
            built.config.replicas,
            built.config.router,
            built.config.engine,
            built.config.noise,
            built.fingerprint()
        );
        TargetSpec {
            label: format!("simulator {}", &blake3::hash(content.as_bytes()).to_hex()[..16]),
            model: model.to_owned(),
            api: "simulator".to_owned(),
        }
    }

    /// The simulator as a load generator. A time limit changes what a trial measures.
    pub fn loadgen(limit_s: Option<f64>) -> LoadGenSpec {
        LoadGenSpec {
            name: "simulator".to_owned(),
            version: VERSION.to_owned(),
            options: limit_s
                .map(|limit| ("trial_limit_s".to_owned(), limit.to_string()))
                .into_iter()
                .collect(),
        }
    }
}

/// What a trial of a bench measures on a simulated system.
pub(super) fn measured(bench: &Bench<'_>, built: &BuiltCluster, spec: &TrialSpec) -> Measurement {
    let limit_s = bench.limit_s.unwrap_or(f64::INFINITY);
    let mut planned = bench.requests.plan(spec.rate, spec.duration_s, spec.seed);
    let all = planned.len();
    planned.retain(|request| (request.intended_ns as f64) < limit_s * 1e9);
    let limit = if limit_s.is_finite() {
        Time::from_seconds(limit_s)
    } else {
        Time::MAX
    };
    let mut config = built.config.clone();
    // Tokens are told one by one only so. What comes out is the same.
    config.stepwise = true;
    config.seed = spec.seed;
    let mut watch = Tokens::new(planned.len());
    let mut source = Planned(planned.iter().enumerate().peekable());
    cluster::simulate(
        &config,
        &mut source,
        &std::sync::Arc::new(PrefixTable::default()),
        limit,
        &mut watch,
    );
    watch.measurement(spec, &planned, limit_s, planned.len() < all)
}

impl TrialRunner for Simulated<'_> {
    fn run(&mut self, spec: &TrialSpec, probe: &Probe, _watch: &mut dyn Watch) -> Result<Trial, TrialError> {
        let measurement = measured(self.bench, self.built, spec);
        let folder = self.bench.store.begin(&self.bench.pair, &spec.id())?;
        packed::write(&folder.join(packed::FILE_NAME), &measurement)?;
        let manifest = self.bench.manifest(spec, probe, &measurement, "", None);
        write_json(&folder.join(layout::MANIFEST), &manifest)?;
        Ok(Trial {
            id: spec.id(),
            measurement,
            folder,
            reused: false,
        })
    }

    fn settle(&mut self, trial: &Trial, judged: &Judged<'_>) -> Result<PathBuf, TrialError> {
        if !trial
            .folder
            .starts_with(self.bench.store.root().join(layout::STAGING))
        {
            return Ok(trial.folder.clone());
        }
        let manifest: Manifest = crate::store::read_json(&trial.folder.join(layout::MANIFEST))?;
        write_json(&trial.folder.join(layout::VERDICT), judged.verdict)?;
        Ok(self.bench.store.archive(&trial.folder, &manifest)?)
    }
}

/// Planned requests as a source.
struct Planned<'a>(std::iter::Peekable<std::iter::Enumerate<std::slice::Iter<'a, PlannedRequest>>>);

impl Source for Planned<'_> {
    fn peek(&mut self) -> Option<Time> {
        self.0
            .peek()
            .map(|(_, request)| Time::from_ns(request.intended_ns))
    }

    fn next(&mut self) -> Option<Request> {
        self.0.next().map(|(number, request)| Request {
            id: number as u64,
            arrival: Time::from_ns(request.intended_ns),
            input_tokens: request.input_tokens,
            output_tokens: request.output_tokens,
            session: None,
            deadline: Time::MAX,
            prefix: crate::sim::PrefixSpan::default(),
        })
    }
}

/// Keeps the time of every token.
struct Tokens {
    rows: Vec<Row>,
}

#[derive(Clone, Default)]
struct Row {
    first: Option<Time>,
    last: Time,
    gaps_us: Vec<u32>,
    ended: Option<Record>,
}

impl Tokens {
    fn new(requests: usize) -> Self {
        Self {
            rows: vec![Row::default(); requests],
        }
    }

    fn measurement(
        self,
        spec: &TrialSpec,
        planned: &[PlannedRequest],
        limit_s: f64,
        cut: bool,
    ) -> Measurement {
        let last_ended = self.rows.iter().filter_map(|r| Some(r.ended?.completed)).max();
        let last_planned = planned.last().map_or(0.0, |r| r.intended_ns as f64 / 1e9);
        let offered_s = spec.duration_s.min(limit_s);
        let cut_off = limit_s.is_finite()
            && last_ended.map_or(last_planned, Time::as_seconds).max(offered_s) >= limit_s;
        let observed_s = if cut_off {
            limit_s
        } else {
            last_ended.map_or(last_planned, Time::as_seconds).max(offered_s)
        };
        let mut tokens = TokenTimes::with_capacity(self.rows.len());
        let mut records = Vec::with_capacity(self.rows.len());
        for (row, request) in self.rows.iter().zip(planned) {
            let ns = |at: Time| (at.as_ps() / NS) as i64;
            let intended_ns = request.intended_ns as i64;
            let delay_us = match (row.ended, row.first) {
                (Some(record), _) => (record.first_scheduled - record.arrival).as_ps() / US,
                // It has had its first iteration before its first token.
                (None, Some(first)) => (first - Time::from_ns(request.intended_ns)).as_ps() / US,
                (None, None) => u64::MAX,
            };
            tokens.push_delayed(&row.gaps_us, delay_us);
            let outcome = match row.ended {
                Some(_) => Outcome::Ok,
                None if cut_off => Outcome::Unfinished,
                // The engine refused it: longer than the model takes, or than the whole KV cache.
                None => Outcome::Http(400),
            };
            records.push(RequestRecord {
                intended_ns,
                sent_ns: Some(intended_ns),
                first_token_ns: row.first.map(ns),
                done_ns: match row.ended {
                    Some(record) => Some(ns(record.completed)),
                    None => (!cut_off).then_some(intended_ns),
                },
                class: request.class,
                input_tokens: request.input_tokens,
                output_tokens: row.first.map_or(0, |_| 1 + row.gaps_us.len() as u32),
                outcome,
            });
        }
        Measurement {
            asked: spec.rate,
            duration_s: spec.duration_s,
            offered_s,
            observed_s,
            epoch_ns: chrono::Utc::now().timestamp_nanos_opt().unwrap_or(0),
            records,
            client: ClientHealth::default(),
            planned_output: spec.workload.mean_output_tokens(),
            stopped_early: cut,
            tokens: Some(tokens),
        }
    }
}

impl Observer for Tokens {
    const TOKENS: bool = true;

    fn request(&mut self, record: &Record) {
        self.rows[record.id as usize].ended = Some(*record);
    }

    fn token(&mut self, request: u64, at: Time) {
        let row = &mut self.rows[request as usize];
        if row.first.is_none() {
            row.first = Some(at);
        } else {
            // Of rounded times, so that errors do not add up.
            let rounded = |time: Time| (time.as_ps() + US / 2) / US;
            row.gaps_us
                .push((rounded(at) - rounded(row.last)).try_into().unwrap_or(u32::MAX));
        }
        row.last = at;
    }
}
