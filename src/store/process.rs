//! Makes the users' files of a stored trial anew from its events or rows.

use std::path::{Path, PathBuf};

use crate::trial::{Halves, Response};
use crate::units::Rate;
use crate::workload::LengthClass;

use super::fmperf_events::{Detail, EventLog, read_results_json_with};
use super::folder::{
    DEFAULT_FILTER_BUFFER_S, FolderError, Source, choose_source, read_manifest, workload_classes,
};
use super::generations::FolderName;
use super::manifest::Manifest;
use super::rows::RowReader;
use super::tables::{
    Iteration, Layout, OurFacts, RequestTable, ResultsRow, TableError, UserFiles, profile_name, read_halves,
    read_prompts, read_responses, read_results_csv, write_results_from_json, write_user_files,
};

/// How a folder is processed.
#[derive(Clone, Copy, Debug)]
pub struct ProcessOptions {
    /// Names and columns of what is written.
    pub layout: Layout,
    /// What the halves cut at both ends, whole seconds; else what `trial.json` or the halves that are there say, else
    /// [`DEFAULT_FILTER_BUFFER_S`].
    pub filter_buffer_s: Option<i64>,
}

/// What became of a folder.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Processed {
    /// Finished requests.
    pub requests: usize,
    /// Files that changed.
    pub changed: Vec<&'static str>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Whether there was nothing to make the files from.
    pub skipped: bool,
}

/// Writes `output.csv`, halves, `results.csv` and `results_from_json.csv` of the trial at `path` into `out`.
///
/// What an existing `results.csv` knows and the events do not (verdict, stage, job, …) stays. A file that would not
/// change is not touched, and a folder that has neither events nor rows is left as it is.
///
/// # Errors
/// When the trial is damaged, or `out` cannot be written.
pub fn process_trial(path: &Path, out: &Path, options: &ProcessOptions) -> Result<Processed, FolderError> {
    let dir = if path.is_file() {
        path.parent().unwrap_or(Path::new("."))
    } else {
        path
    };
    let (source, file) = choose_source(path, dir, None)?;
    let mut done = Processed::default();
    if matches!(source, Source::Output | Source::Halves) {
        done.skipped = true;
        done.notes
            .push("there are neither events nor rows to make files from: left as it is".to_owned());
        return Ok(done);
    }
    let manifest = read_manifest(dir)?;
    let row = existing_row(dir)?;
    let classes = workload_classes(dir, manifest.as_ref(), row.as_ref());
    let mut iteration = Iteration {
        classes,
        ..Iteration::default()
    };
    let table = if source == Source::Rows {
        let reader = RowReader::open(&file)?;
        let epoch_ns = reader.header().epoch_ns;
        RequestTable::from_rows(reader, epoch_ns, mix_names(&iteration.classes))?
    } else {
        let log = read_results_json_with(&file, Detail::Tokens)?;
        from_log(log, &mut iteration)
    };
    facts(&mut iteration, dir, manifest.as_ref(), &table);
    if row.as_ref().and_then(ResultsRow::evaluation).is_none() {
        iteration.evaluation = column_verdict(dir);
    }
    let buffer = filter_buffer(dir, manifest.as_ref(), &table, options, &mut done)?;
    let failed = |source| FolderError::Io {
        path: out.to_owned(),
        source,
    };
    fs_err::create_dir_all(out).map_err(failed)?;
    let prompts = dir.join("prompts.csv");
    let prompts = if prompts.is_file() {
        read_prompts(&prompts)?
    } else {
        Vec::new()
    };
    let files = UserFiles {
        layout: options.layout,
        iteration: &iteration,
        table: &table,
        filter_buffer_s: buffer,
        prompts: &prompts,
        existing: row.as_ref(),
    };
    done.requests = table.lines.len();
    done.changed = write_user_files(out, &files).map_err(failed)?;
    if write_results_from_json(out, &table).map_err(failed)? {
        done.changed.push("results_from_json.csv");
    }
    Ok(done)
}

/// The row of `results.csv`, where there is one. Several rows are not one iteration, and would be lost.
fn existing_row(dir: &Path) -> Result<Option<ResultsRow>, FolderError> {
    let path = dir.join("results.csv");
    if !path.is_file() {
        return Ok(None);
    }
    let mut rows = read_results_csv(&path)?;
    if rows.len() > 1 {
        let why = format!(
            "{} rows where an iteration has one: left as it is, with its folder",
            rows.len()
        );
        return Err(TableError::Malformed { path, line: 3, why }.into());
    }
    Ok(rows.pop())
}

fn mix_names(classes: &[LengthClass]) -> Vec<String> {
    if classes.len() > 1 {
        classes.iter().map(profile_name).collect()
    } else {
        Vec::new()
    }
}

/// The table of a log, and what the log says about the iteration. The profiles of a mix take the order of its classes.
fn from_log(log: EventLog, iteration: &mut Iteration) -> RequestTable {
    iteration.rate = log.req_min.map(Rate::per_minute);
    iteration.duration = log.duration_s.map(|s| format!("{s}s"));
    let mut table = RequestTable::from_events(log);
    let place = |profile: &String| {
        let profile = FolderName::parse(&profile.replacen(':', "_", 1))?;
        let wanted = profile.classes().first()?.pair;
        iteration.classes.iter().position(|c| c.pair == wanted)
    };
    let places: Option<Vec<usize>> = table.profiles.iter().map(place).collect();
    match places {
        Some(places) if !places.is_empty() => {
            for line in &mut table.lines {
                line.class = places.get(usize::from(line.class)).map_or(0, |&p| p as u16);
            }
            table.profiles = iteration.classes.iter().map(profile_name).collect();
        }
        // Profiles that the folder does not know: which class a request has cannot be said.
        None => iteration.classes.clear(),
        Some(_) => {}
    }
    table
}

/// What `trial.json` and the folder's place say.
fn facts(iteration: &mut Iteration, dir: &Path, manifest: Option<&Manifest>, table: &RequestTable) {
    let Some(manifest) = manifest else {
        iteration.experiment_type = experiment_type(dir);
        return;
    };
    let spec = &manifest.spec;
    let sent = table.lines.len() as f64;
    iteration.experiment_type = Some(manifest.experiment_type.clone());
    iteration.model = Some(spec.target.model.clone());
    iteration.rate = Some(spec.rate);
    iteration.duration = Some(format!("{}s", spec.duration_s));
    iteration.url = Some(manifest.url.clone()).filter(|u| !u.is_empty());
    iteration.job_id.clone_from(&manifest.slurm_job_id);
    iteration.stage = Some(manifest.stage);
    iteration.ours = OurFacts {
        realised: (manifest.offered_s > 0.0).then(|| Rate::per_second(sent / manifest.offered_s)),
        void: manifest.client.void.clone(),
        stopped_early: Some(manifest.stopped_early),
        mst_version: Some(manifest.mst_version.clone()),
        trial_id: Some(manifest.id.clone()),
        ..OurFacts::default()
    };
}

/// `Experiment_MST_…` and `Experiment_MIT_…` above the trial say what was asked.
fn experiment_type(dir: &Path) -> Option<String> {
    let dir = std::path::absolute(dir).ok()?;
    dir.ancestors()
        .filter_map(|a| a.file_name()?.to_str()?.strip_prefix("Experiment_"))
        .find_map(|rest| match rest.split('_').next()? {
            "MIX" => Some("MST"),
            known @ ("MST" | "MIT") => Some(known),
            _ => None,
        })
        .map(str::to_owned)
}

/// The verdict that the older program added to `output.csv`, where it stands nowhere else.
fn column_verdict(dir: &Path) -> Option<bool> {
    let table = read_responses(&dir.join("output.csv")).ok()?;
    table.evaluation
}

/// What the halves are to cut; `None`: leave the halves that are there.
fn filter_buffer(
    dir: &Path,
    manifest: Option<&Manifest>,
    table: &RequestTable,
    options: &ProcessOptions,
    done: &mut Processed,
) -> Result<Option<i64>, FolderError> {
    if let Some(known) = options.filter_buffer_s.or(manifest.map(|m| m.filter_buffer_s)) {
        return Ok(Some(known));
    }
    if !dir.join("first_half.csv").is_file() || !dir.join("second_half.csv").is_file() {
        return Ok(Some(DEFAULT_FILTER_BUFFER_S));
    }
    let (halves, _) = read_halves(dir)?;
    let inferred = infer_buffer(&table.responses(), &halves);
    if inferred.is_none() {
        let note = "no --filter-buffer makes the halves that are there: they are left as they are";
        done.notes.push(note.to_owned());
    }
    Ok(inferred)
}

/// A buffer that cuts these halves out of the responses; every such buffer cuts the same.
fn infer_buffer(responses: &[Response], halves: &Halves) -> Option<i64> {
    let seconds = |part: &[Response]| {
        let mut seconds: Vec<i64> = part.iter().map(Response::received_s).collect();
        seconds.sort_unstable();
        seconds
    };
    let wanted = [seconds(&halves.first), seconds(&halves.second)];
    let lowest = *wanted.iter().flatten().min()?;
    let highest = *wanted.iter().flatten().max()?;
    let all = responses.iter().map(Response::received_s);
    let (start, end) = (all.clone().min()?, all.max()?);
    let buffer = (lowest - start).min(end - highest);
    let made = Halves::split(responses, buffer);
    (buffer >= 0 && [seconds(&made.first), seconds(&made.second)] == wanted).then_some(buffer)
}

/// Where the files of a trial go below `out`: the path from `root` to it.
pub fn mirrored(root: &Path, trial: &Path, out: &Path) -> PathBuf {
    let dir = if trial.is_file() {
        trial.parent().unwrap_or(root)
    } else {
        trial
    };
    match dir.strip_prefix(root) {
        Ok(below) if below.as_os_str().is_empty() => out.to_owned(),
        Ok(below) => out.join(below),
        Err(_) => out.to_owned(),
    }
}
