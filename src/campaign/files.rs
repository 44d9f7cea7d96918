//! The files of a trial's folder: its manifest, and those that users know.

use std::path::Path;

use super::{Campaign, PairAnswer, rules};
use crate::criterion::{Earlier, Ruling};
use crate::loadgen::ResultsJson;
use crate::runner::{Judged, Trial, TrialError};
use crate::search::Probe;
use crate::settings::Experiment;
use crate::store::fmperf_events::{
    Detail, EventHeader, event_count, read_results_json_with, write_results_file,
};
use crate::store::manifest::SCHEMA;
use crate::store::rows::RowReader;
use crate::store::tables::{
    Finish, Iteration, OurFacts, RequestTable, UserFiles, clear_finished, mark_finished, profile_name,
    write_user_files,
};
use crate::store::{Manifest, StoreError, TokenCounts, host_name, layout, write_json};
use crate::trial::{Measurement, TrialSpec};
use crate::workload::prompts::{PromptFactory, PromptUse};
use crate::workload::{self, PlannedRequest};

/// Above this many events, `RESULTS_JSON=auto` compresses.
const COMPRESS_ABOVE: u64 = 1_000_000;
/// Most rows of `prompts.csv`; further prompts follow from the seed in `trial.json`.
const MOST_PROMPTS: usize = 1_000;

/// The manifest of a measured trial.
pub(super) fn manifest(
    campaign: &Campaign<'_>,
    experiment: &Experiment,
    spec: &TrialSpec,
    (probe, place): (&Probe, Option<u32>),
    measured: &Measurement,
) -> Manifest {
    let planned = workload::plan(&spec.workload, spec.rate, spec.duration_s, spec.seed);
    let counts = |asked: fn(&PlannedRequest) -> u32, achieved: fn(&crate::trial::RequestRecord) -> u32| {
        let answered: Vec<(u32, u32)> = planned
            .iter()
            .zip(&measured.records)
            .filter(|(_, record)| record.outcome.is_ok())
            .map(|(plan, record)| (asked(plan), achieved(record)))
            .collect();
        let mean = |pick: fn(&(u32, u32)) -> u32| {
            answered.iter().map(|pair| f64::from(pick(pair))).sum::<f64>() / answered.len() as f64
        };
        TokenCounts {
            asked_mean: planned.iter().map(|p| f64::from(asked(p))).sum::<f64>() / planned.len() as f64,
            achieved_mean: (!answered.is_empty()).then(|| mean(|pair| pair.1)),
            exact: answered
                .iter()
                .filter(|(asked, achieved)| asked == achieved)
                .count() as u64,
            compared: answered.len() as u64,
        }
    };
    Manifest {
        schema: SCHEMA,
        id: spec.id().to_string(),
        pair: rules::folder(campaign.settings, experiment),
        spec: spec.clone(),
        experiment_type: rules::experiment_type(campaign.settings).to_owned(),
        url: campaign.target.url(),
        stage: probe.stage,
        goal: probe.goal,
        place,
        filter_buffer_s: campaign.settings.filter_buffer_s,
        epoch_ns: measured.epoch_ns,
        offered_s: measured.offered_s,
        observed_s: measured.observed_s,
        stopped_early: measured.stopped_early,
        input_tokens: counts(|p| p.input_tokens, |r| r.input_tokens),
        output_tokens: counts(|p| p.output_tokens, |r| r.output_tokens),
        client: measured.client.clone(),
        mst_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host_name(),
        slurm_job_id: campaign.slurm_job_id.clone(),
        server: campaign.target.server_facts(),
    }
}

/// Writes the verdict and the users' files into a staging folder.
pub(super) fn write(
    campaign: &Campaign<'_>,
    folder: &Path,
    manifest: &Manifest,
    trial: &Trial,
    judged: &Judged<'_>,
) -> Result<(), TrialError> {
    let settings = campaign.settings;
    let measured = &trial.measurement;
    let mut verdict = judged.verdict.clone();
    let other = rules::other_criterion(settings);
    let second = other.judge(measured, &Earlier::default());
    verdict.statistics[other.name()] = second.statistics.clone();
    verdict.statistics[other.name()]["ruling"] = serde_json::json!(second.ruling);
    write_json(&folder.join(layout::VERDICT), &verdict)?;

    let rows = folder.join(layout::ROWS);
    if rows.is_file() {
        results_json(folder, manifest, settings.results_json)?;
    }
    let classes = &manifest.spec.workload.classes;
    let events = folder.join("results.json");
    let table = if rows.is_file() {
        let reader = RowReader::open(&rows).map_err(|e| malformed(&rows, &e))?;
        RequestTable::from_rows(reader, manifest.epoch_ns, profiles(manifest))
            .map_err(|e| malformed(&rows, &e))?
    } else if events.is_file() {
        let log = read_results_json_with(&events, Detail::Tokens).map_err(|e| malformed(&events, &e))?;
        RequestTable::from_events(log)
    } else {
        RequestTable::from_records(&measured.records, measured.epoch_ns, profiles(manifest))
    };
    let by = |name: &str| [&verdict, &second].into_iter().find(|v| v.criterion == name);
    let (drift, welch) = (by("drift"), by("welch"));
    let iteration = Iteration {
        experiment_type: Some(manifest.experiment_type.clone()),
        model: Some(manifest.spec.target.model.clone()),
        classes: classes.clone(),
        rate: Some(manifest.spec.rate),
        evaluation: match verdict.ruling {
            Ruling::Sustainable => Some(true),
            Ruling::Unsustainable => Some(false),
            Ruling::Unsure => None,
        },
        duration: Some(format!("{}s", manifest.spec.duration_s)),
        url: (!manifest.url.is_empty()).then(|| manifest.url.clone()),
        gpu_count: settings.gpu_count.clone(),
        job_id: manifest.slurm_job_id.clone(),
        stage: Some(judged.bracket.stage),
        bracket: *judged.bracket,
        termination_reason: None,
        finished: Some(false),
        ours: OurFacts {
            ruling: Some(verdict.ruling),
            drift: drift.and_then(|v| v.margin),
            welch_p: welch.and_then(|v| v.statistics["welch_p"].as_f64()),
            realised: Some(measured.offered()),
            void: measured.client.void.clone(),
            stopped_early: Some(measured.stopped_early),
            mst_version: Some(manifest.mst_version.clone()),
            trial_id: Some(manifest.id.clone()),
        },
    };
    let files = UserFiles {
        layout: settings.layout,
        iteration: &iteration,
        table: &table,
        filter_buffer_s: Some(settings.filter_buffer_s),
        prompts: &prompts(campaign, &manifest.spec),
        existing: None,
    };
    write_user_files(folder, &files).map_err(StoreError::from)?;
    Ok(())
}

/// The prompts that a trial sent, the first of them.
fn prompts(campaign: &Campaign<'_>, spec: &TrialSpec) -> Vec<PromptUse> {
    let mut planned = workload::plan(&spec.workload, spec.rate, spec.duration_s, spec.seed);
    planned.truncate(MOST_PROMPTS);
    let job = campaign.trials.job(spec);
    let factory = PromptFactory::new(
        &spec.workload.prompts,
        &spec.workload.classes,
        &job.encoding,
        job.prompts_file.as_deref(),
    );
    // The trial has run with them, so what fails now (a file that was removed meanwhile) costs this list only.
    let Ok(factory) = factory else { return Vec::new() };
    factory.used(&planned).collect()
}

/// Writes `results.json` from the rows, in fmperf's schema.
fn results_json(folder: &Path, manifest: &Manifest, wanted: ResultsJson) -> Result<(), TrialError> {
    if wanted == ResultsJson::Off {
        return Ok(());
    }
    let rows = folder.join(layout::ROWS);
    let open = || RowReader::open(&rows).map_err(|e| malformed(&rows, &e));
    let compress = match wanted {
        ResultsJson::Gz => true,
        ResultsJson::Auto => {
            let mut events = 0;
            for row in open()? {
                events += event_count(&row.map_err(|e| malformed(&rows, &e))?);
            }
            events > COMPRESS_ABOVE
        }
        ResultsJson::On | ResultsJson::Off => false,
    };
    let header = EventHeader {
        epoch_ns: manifest.epoch_ns,
        req_min: manifest.spec.rate.as_per_minute(),
        duration_s: manifest.spec.duration_s,
        grace_s: 0.0,
        observed_ns: (manifest.observed_s * 1e9) as u64,
        profiles: profiles(manifest),
    };
    write_results_file(folder, compress, &header, open()?).map_err(StoreError::from)?;
    Ok(())
}

/// Names of the workload classes in mixes; none for a pair.
fn profiles(manifest: &Manifest) -> Vec<String> {
    match manifest.spec.workload.classes.as_slice() {
        [_] => Vec::new(),
        classes => classes.iter().map(profile_name).collect(),
    }
}

/// Marks the row that carries the answer: that of the last trial at the answer's rate, else of the last trial.
pub(super) fn finish(answer: &PairAnswer) -> Result<(), TrialError> {
    let found = &answer.capacity.answer;
    let at_the_rate = answer
        .capacity
        .evidence
        .iter()
        .rfind(|e| Some(e.probe.rate) == found.rate);
    let Some(carrier) = at_the_rate.or(answer.capacity.evidence.last()) else {
        return Ok(());
    };
    if !carrier.folder.join("results.csv").is_file() {
        return Ok(());
    }
    // An earlier search, with another threshold, may have ended at a trial that this one used again.
    for other in &answer.capacity.evidence {
        if other.folder != carrier.folder && other.folder.join("results.csv").is_file() {
            clear_finished(&other.folder).map_err(|e| malformed(&other.folder, &e))?;
        }
    }
    let finish = Finish {
        termination_reason: &found.termination_code,
        bracket: answer.capacity.bracket,
    };
    mark_finished(&carrier.folder, &finish).map_err(|e| malformed(&carrier.folder, &e).into())
}

fn malformed(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Malformed {
        path: path.to_owned(),
        why: error.to_string(),
    }
}
