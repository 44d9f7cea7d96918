//! Jobs of experiment files: their fields, cache keys and hashes.
//!
//! A record names its file; where that is one of the published ones, it is expanded and every field compared. Of another
//! file only what the key itself says can be compared: its hash, its GPUs.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::compare::{Comparison, Nearness};
use super::{Case, Malformed};
use crate::capacity::jobs::{Job, PUBLISHED, Tool, hash};

pub(super) fn replay(file: &Value) -> Vec<Case> {
    super::each(file, "jobs", |path, case| {
        let job = case.as_object();
        let (Some(job), Some(key)) = (job, case.get("key").and_then(Value::as_str)) else {
            return Err(Malformed(format!("{path}: a job without a `key`")));
        };
        let name = job.get("file").and_then(Value::as_str).unwrap_or("");
        let id = format!("{name} {key}").trim().to_owned();
        let mut comparison = Comparison::at(path);
        comparison.value("hash", case.get("hash"), &hash(key).into(), Nearness::Exact);
        match nearest(tool(job), name, job)? {
            Some(ours) => known(&mut comparison, job, &ours),
            None => told_by_key(&mut comparison, job, key),
        }
        Ok(Case::new(id, comparison.first()))
    })
}

/// etalon's jobs have an engine.
fn tool(job: &Map<String, Value>) -> Tool {
    let etalon = ["engine", "openai_server_engine", "port"];
    if etalon
        .iter()
        .any(|key| job.get(*key).is_some_and(|value| !value.is_null()))
    {
        Tool::Etalon
    } else {
        Tool::Sarathi
    }
}

/// Of the jobs of the published files with the record's name, the one that agrees most.
fn nearest(tool: Tool, name: &str, job: &Map<String, Value>) -> Result<Option<Job>, Malformed> {
    let mut best: Option<(usize, Job)> = None;
    for entry in PUBLISHED.iter().filter(|entry| entry.tool == tool) {
        let (recorded, own) = (Path::new(name), Path::new(entry.file));
        let same = !name.is_empty()
            && (recorded.ends_with(own)
                || own.ends_with(recorded)
                || own.file_stem() == recorded.file_name());
        if !same {
            continue;
        }
        let jobs = entry
            .jobs()
            .map_err(|error| Malformed(format!("{}: {error}", entry.file)))?;
        for candidate in jobs {
            let ours = fields(&candidate);
            let agree = |(key, value): &(&String, &Value)| agrees(&candidate, &ours, key, value);
            let count = job.iter().filter(agree).count();
            if best.as_ref().is_none_or(|(most, _)| count > *most) {
                best = Some((count, candidate));
            }
        }
    }
    Ok(best.map(|(_, job)| job))
}

/// All that is known of a job, by the names of records.
fn fields(job: &Job) -> Map<String, Value> {
    let mut fields = job.fields.clone();
    fields.insert("key".to_owned(), job.key.as_str().into());
    fields.insert("hash".to_owned(), job.hash().into());
    for name in ["num_gpus", "gpus"] {
        fields.insert(name.to_owned(), job.gpus.into());
    }
    fields
}

/// A record may mean a scheduler by its own name or by that of its kind.
fn agrees(job: &Job, ours: &Map<String, Value>, key: &str, value: &Value) -> bool {
    let name = (key == "scheduler")
        .then(|| job.fields.get("scheduler_name"))
        .flatten();
    ours.get(key) == Some(value) || name == Some(value)
}

fn known(comparison: &mut Comparison, job: &Map<String, Value>, candidate: &Job) {
    let ours = fields(candidate);
    // The key first: what is wrong with it shows best there.
    comparison.value("key", job.get("key"), &ours["key"], Nearness::Exact);
    for (key, value) in job {
        if let Some(own) = ours.get(key)
            && !agrees(candidate, &ours, key, value)
        {
            comparison.value(key, Some(value), own, Nearness::Exact);
        }
    }
}

/// What can be read from a key: the degrees of parallelism, and so the GPUs; the model at its beginning, the port at its end.
fn told_by_key(comparison: &mut Comparison, job: &Map<String, Value>, key: &str) {
    let degrees = |name: &str| {
        let part = key
            .split('_')
            .find_map(|part| part.strip_prefix(name)?.parse::<u64>().ok());
        part.unwrap_or(1)
    };
    let gpus = degrees("tp") * degrees("pp");
    comparison.value("num_gpus", job.get("num_gpus"), &gpus.into(), Nearness::Exact);
    if let Some(model) = job.get("model").and_then(Value::as_str)
        && !key.starts_with(model)
    {
        comparison.say("key", &format!("begins with {model}, expected {key}"));
    }
    if let Some(port) = job.get("port").filter(|port| !port.is_null())
        && !key.ends_with(&format!("_{port}"))
    {
        comparison.say("key", &format!("ends with _{port}, expected {}", json!(key)));
    }
}
