//! Stored trials as a calibration sees them: what was sent and when, and what came back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::CalibrationError;
use super::aggregate::{Answered, Metrics, bootstrap_sd, metrics};
use super::timelines::Timeline;
use crate::deployment::calibrated::SourceFile;
use crate::sim::cost::calibrated::Domain;
use crate::store::rows::{self, RowReader};
use crate::store::{Manifest, layout, measured, read_json};
use crate::trial::{Measurement, Outcome, RawRow, RequestRecord};
use crate::workload::plan;

/// Trials with fewer answered requests tell no quantile.
const LEAST_REQUESTS: usize = 20;
/// A server that failed more of the requests than this did other work than the simulator would.
const MOST_FAILURES: f64 = 0.05;

/// A request that reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When, in nanoseconds since the start of the trial.
    pub at_ns: u64,
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// Tokens of the response that it asked for.
    pub output_tokens: u32,
}

/// A trial.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Its folder.
    pub folder: PathBuf,
    /// Names its operating point: workload and rate. Trials of one are left out together.
    pub point: String,
    /// What was sent, in order of time.
    pub sent: Vec<Sent>,
    /// When requests that were then unfinished were given up, in seconds; `None` where all were answered.
    pub limit_s: Option<f64>,
    /// What came of it.
    pub observed: Metrics,
    /// Standard deviations of these.
    pub sd: Metrics,
    /// The largest that it saw.
    pub domain: Domain,
    /// The file that was read.
    pub source: SourceFile,
}

/// Trials, and why others are left out.
#[derive(Clone, Debug, Default)]
pub struct Trials {
    /// Those that can be used, by folder.
    pub trials: Vec<Trial>,
    /// Those that cannot.
    pub left_out: Vec<String>,
}

impl Trials {
    /// Reads all trials of `mst run` and `mst capacity` at or below some folders. Hidden folders are left out.
    ///
    /// # Errors
    /// When a folder is not there, or holds no trial.
    pub fn read(paths: &[PathBuf]) -> Result<Self, CalibrationError> {
        let mut folders = Vec::new();
        for path in paths {
            if !path.is_dir() {
                return Err(CalibrationError::NoFolder(path.clone()));
            }
            let hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
            let walk = WalkDir::new(path)
                .follow_links(true)
                .into_iter()
                .filter_entry(|e| e.depth() == 0 || !(e.file_type().is_dir() && hidden(e.file_name())));
            let entries = walk.filter_map(Result::ok);
            folders.extend(
                entries
                    .filter(|e| e.file_name() == layout::MANIFEST)
                    .filter_map(|e| e.path().parent().map(Path::to_owned)),
            );
        }
        folders.sort();
        folders.dedup();
        if folders.is_empty() {
            return Err(CalibrationError::NoTrials(paths.to_vec()));
        }
        let mut all = Self::default();
        for folder in folders {
            match one(&folder) {
                Ok(trial) => all.trials.push(trial),
                Err(why) => all
                    .left_out
                    .push(format!("{} is left out: {why}", folder.display())),
            }
        }
        Ok(all)
    }
}

/// Reads one folder.
fn one(folder: &Path) -> Result<Trial, String> {
    let manifest: Manifest = read_json(&folder.join(layout::MANIFEST)).map_err(|e| e.to_string())?;
    if let Some(why) = &manifest.client.void {
        return Err(format!("it is void: {why}"));
    }
    let packed = folder.join(measured::FILE_NAME);
    if packed.is_file() {
        let measurement = measured::read(&packed).map_err(|e| e.to_string())?;
        return Trial::of(folder, &packed, &manifest, &measurement, None);
    }
    let raw = folder.join(rows::FILE_NAME);
    if raw.is_file() {
        let (measurement, asked) = from_rows(&raw, &manifest).map_err(|e| e.to_string())?;
        return Trial::of(folder, &raw, &manifest, &measurement, Some(&asked));
    }
    Err(format!(
        "it has neither {} nor {}: only the native load generator and the simulator tell enough",
        measured::FILE_NAME,
        rows::FILE_NAME
    ))
}

/// A measurement and the response lengths asked for, from raw rows.
fn from_rows(path: &Path, manifest: &Manifest) -> Result<(Measurement, Vec<u32>), rows::RowError> {
    let mut reader = RowReader::open(path)?;
    let mut all: Vec<RawRow> = (&mut reader).collect::<Result<_, _>>()?;
    all.retain(|row| row.sent_ns.is_some());
    all.sort_by_key(|row| row.intended_ns);
    let measurement = Measurement {
        asked: manifest.spec.rate,
        duration_s: manifest.spec.duration_s,
        offered_s: manifest.offered_s,
        observed_s: manifest.observed_s,
        epoch_ns: manifest.epoch_ns,
        records: all.iter().map(RawRow::record).collect(),
        client: manifest.client.clone(),
        planned_output: manifest.spec.workload.mean_output_tokens(),
        stopped_early: manifest.stopped_early,
        tokens: None,
    };
    Ok((measurement, all.iter().map(|row| row.output_asked).collect()))
}

impl Trial {
    /// From a measurement. `asked`: response lengths asked for; else those that came, and those planned where none did.
    fn of(
        folder: &Path,
        file: &Path,
        manifest: &Manifest,
        measurement: &Measurement,
        asked: Option<&[u32]>,
    ) -> Result<Self, String> {
        let records = &measurement.records;
        let failed = records
            .iter()
            .filter(|r| !matches!(r.outcome, Outcome::Ok | Outcome::Unfinished | Outcome::NotSent))
            .count();
        if failed as f64 > MOST_FAILURES * records.len() as f64 {
            return Err(format!(
                "{failed} of {} requests failed: the server did other work than was asked",
                records.len()
            ));
        }
        let planned = if asked.is_none() && records.iter().any(|r| r.outcome == Outcome::Unfinished) {
            planned_outputs(manifest)
        } else {
            HashMap::new()
        };
        let mean = measurement.planned_output.map_or(1, |mean| mean.round() as u32);
        let unfinished = records.iter().any(|r| r.outcome == Outcome::Unfinished);
        let mut rows: Vec<(Sent, Option<Answered>)> = Vec::new();
        for (i, record) in records.iter().enumerate() {
            let Some(sent_ns) = record.sent_ns.filter(|_| record.outcome != Outcome::NotSent) else {
                continue;
            };
            let ok = record.outcome.is_ok();
            let output_tokens = match (asked, ok) {
                (Some(asked), _) => asked[i],
                (None, true) => record.output_tokens,
                (None, false) => *planned.get(&record.intended_ns).unwrap_or(&mean),
            };
            let sent = Sent {
                at_ns: sent_ns.max(0) as u64,
                input_tokens: record.input_tokens,
                output_tokens,
            };
            let answered = match (ok, record.first_token_ns, record.done_ns) {
                (true, Some(first), Some(done)) => Some(Answered {
                    sent: sent_ns as f64 / 1e9,
                    ttft: (first - sent_ns) as f64 / 1e9,
                    e2e: (done - sent_ns) as f64 / 1e9,
                    output_tokens: record.output_tokens,
                }),
                _ => None,
            };
            rows.push((sent, answered));
        }
        rows.sort_by_key(|(sent, _)| sent.at_ns);
        let answered: Vec<Answered> = rows.iter().filter_map(|(_, answered)| *answered).collect();
        if answered.len() < LEAST_REQUESTS {
            return Err(format!(
                "{} requests were answered, fewer than {LEAST_REQUESTS}; send more, or for longer",
                answered.len()
            ));
        }
        let content = std::fs::read(file).map_err(|e| e.to_string())?;
        let longest = |of: fn(&Sent) -> u32| rows.iter().map(|(sent, _)| of(sent)).max().unwrap_or(0);
        Ok(Self {
            folder: folder.to_owned(),
            point: format!("{} at {}/min", manifest.pair, manifest.spec.rate.as_per_minute()),
            limit_s: unfinished.then_some(measurement.observed_s),
            observed: metrics(&answered),
            sd: bootstrap_sd(&answered),
            domain: Domain {
                batch: most_at_once(&answered),
                context: longest(|s| s.input_tokens + s.output_tokens),
                prompt: longest(|s| s.input_tokens),
            },
            sent: rows.iter().map(|(sent, _)| *sent).collect(),
            source: SourceFile {
                path: file.to_owned(),
                blake3: blake3::hash(&content).to_hex()[..32].to_owned(),
            },
        })
    }

    /// What the client saw of each request, token by token.
    ///
    /// # Errors
    /// In words: when its file cannot be read any more, or has no token times.
    pub(super) fn timelines(&self) -> Result<Vec<Timeline>, String> {
        let path = &self.source.path;
        let mut all = Vec::new();
        let mut add = |record: &RequestRecord, gaps_us: &[u32]| {
            let Some(sent_ns) = record.sent_ns else { return };
            let later = gaps_us.iter().scan(0, |us, gap| {
                *us += i64::from(*gap);
                Some(1_000 * *us)
            });
            let tokens_ns = record.first_token_ns.map(|first| {
                std::iter::once(0)
                    .chain(later)
                    .map(|after| first + after)
                    .collect()
            });
            all.push(Timeline {
                sent_ns,
                prompt: record.input_tokens,
                tokens_ns: tokens_ns.unwrap_or_default(),
                waiting: !record.outcome.is_ok(),
            });
        };
        if path.ends_with(rows::FILE_NAME) {
            for row in RowReader::open(path).map_err(|e| e.to_string())? {
                let row = row.map_err(|e| e.to_string())?;
                add(&row.record(), &row.gaps_us);
            }
        } else {
            let measurement = measured::read(path).map_err(|e| e.to_string())?;
            let tokens = measurement
                .tokens
                .as_ref()
                .ok_or("its load generator told no token times")?;
            for (i, record) in measurement.records.iter().enumerate() {
                add(record, tokens.gaps_us(i));
            }
        }
        Ok(all)
    }
}

/// Planned response lengths by the intended send time. Those of a trace are not in its specification.
fn planned_outputs(manifest: &Manifest) -> HashMap<i64, u32> {
    let spec = &manifest.spec;
    if spec.workload.lengths.is_some() {
        return HashMap::new();
    }
    plan(&spec.workload, spec.rate, spec.duration_s, spec.seed)
        .into_iter()
        .map(|request| (request.intended_ns as i64, request.output_tokens))
        .collect()
}

/// Most requests between their first and last token at once.
fn most_at_once(answered: &[Answered]) -> u32 {
    let mut changes: Vec<(f64, i32)> = answered
        .iter()
        .flat_map(|r| [(r.sent + r.ttft, 1), (r.sent + r.e2e, -1)])
        .collect();
    // Ends before begins at one moment.
    changes.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut now, mut most) = (0, 1);
    for (_, change) in changes {
        now += change;
        most = most.max(now);
    }
    most as u32
}
