//! What a run of searches leaves beside its trials: the answers for programs and tables, and pictures.

use std::path::{Path, PathBuf};

use super::bench::Bench;
use super::outcome::Outcome;
use crate::report::simulation::{Chart, Line};
use crate::slo::objective::Seen;
use crate::slo::timings::Timings;
use crate::store::{Store, StoreError, write_json};

/// The folder of answers and pictures, below the root of the results.
pub const OUTCOMES: &str = "outcomes";

/// Points of a distribution's picture.
const STEPS: usize = 200;

/// Where the answers are written, below the root of the results. Those of a part of a file have a place of their own, so that
/// parts can be searched side by side.
pub fn place(only: Option<&str>) -> PathBuf {
    match only {
        Some(name) => Path::new(OUTCOMES).join("only").join(file_name(name)),
        None => PathBuf::from(OUTCOMES),
    }
}

/// Writes the answers: `outcomes.json`, `outcomes.csv`, and a picture of each response curve and of the distributions at the
/// answer. `only` is the part of the file that they are of.
///
/// # Errors
/// When a file cannot be written. A picture that cannot be drawn costs itself only.
pub fn write_all(store: &Store, outcomes: &[Outcome], only: Option<&str>) -> Result<(), StoreError> {
    let folder = store.root().join(place(only));
    fs_err::create_dir_all(&folder)?;
    write_json(&folder.join("outcomes.json"), &outcomes)?;
    fs_err::write(
        folder.join("outcomes.csv"),
        table(outcomes).map_err(std::io::Error::other)?,
    )?;
    for outcome in outcomes {
        let name = file_name(&outcome.name);
        let mut charts = Vec::from_iter(curve(outcome));
        charts.extend(distributions(store.root(), outcome));
        for chart in charts {
            let place = folder.join(format!("{name}_{}", chart.name));
            fs_err::write(place.with_extension("csv"), chart.csv())?;
            if let Ok(svg) = chart.svg() {
                fs_err::write(place.with_extension("svg"), svg)?;
            }
        }
    }
    Ok(())
}

/// A name as a file can bear it.
pub fn file_name(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '-', "_")
}

/// A line a bound of every trial.
fn table(outcomes: &[Outcome]) -> Result<Vec<u8>, csv::Error> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record([
        "name",
        "capacity_qps",
        "low_qps",
        "high_qps",
        "status",
        "qps",
        "met",
        "reused",
        "metric",
        "statistic",
        "bound",
        "observed",
        "margin",
        "bound_met",
        "folder",
        "class",
    ])?;
    let number = |value: Option<f64>| value.map_or(String::new(), |v| v.to_string());
    let truth = |value: Option<bool>| value.map_or(String::new(), |v| v.to_string());
    for outcome in outcomes {
        let status = serde_json::to_value(outcome.status).unwrap_or_default();
        for point in &outcome.curve {
            for seen in &point.slos {
                out.write_record([
                    outcome.name.clone(),
                    number(outcome.capacity_qps),
                    number(outcome.interval_qps[0]),
                    number(outcome.interval_qps[1]),
                    status.as_str().unwrap_or_default().to_owned(),
                    point.qps.to_string(),
                    truth(point.met),
                    point.reused.to_string(),
                    seen.metric.clone(),
                    seen.statistic.clone(),
                    seen.bound.to_string(),
                    number(seen.observed),
                    number(seen.margin),
                    truth(seen.met),
                    point.folder.clone(),
                    seen.class.map_or(String::new(), |class| class.to_string()),
                ])?;
            }
        }
    }
    out.into_inner().map_err(|e| csv::Error::from(e.into_error()))
}

/// The response curve: each bound's observed value as a share of the bound, over the rate.
fn curve(outcome: &Outcome) -> Option<Chart> {
    let bounds = outcome.curve.first()?.slos.len();
    let near = outcome.capacity_qps.map_or(f64::INFINITY, |qps| 3.0 * qps);
    let lines: Vec<Line> = (0..bounds)
        .filter_map(|place| {
            let first = outcome.curve.iter().find_map(|p| p.slos.get(place))?;
            let points: Vec<(f64, f64)> = outcome
                .curve
                .iter()
                .filter(|point| point.qps <= near)
                .filter_map(|point| {
                    let seen = point.slos.get(place)?;
                    Some((point.qps, (seen.observed? / seen.bound).min(3.0)))
                })
                .collect();
            Some(Line {
                name: Seen {
                    metric: seen_name(&first.metric).to_owned(),
                    ..first.clone()
                }
                .title(),
                points,
            })
        })
        .collect();
    let same = lines
        .iter()
        .all(|line| line.points.len() == lines[0].points.len());
    (same && !lines.is_empty() && lines[0].points.len() >= 2).then(|| Chart {
        name: "curve",
        title: format!("{}: observed over bound (1 is the bound)", outcome.name),
        x: "requests per second",
        y: "observed / bound",
        lines,
    })
}

fn seen_name(metric: &str) -> &str {
    metric.split(" <=").next().unwrap_or(metric)
}

/// The distributions of the times to the first token and between tokens, at the trial that the answer's bounds are of.
fn distributions(root: &Path, outcome: &Outcome) -> Vec<Chart> {
    let at = outcome.curve.iter().find(|point| point.slos == outcome.slos);
    let Some(measurement) = at.and_then(|point| Bench::measurement(&root.join(&point.folder)).ok()) else {
        return Vec::new();
    };
    let timings = Timings::of(&measurement);
    let ttft: Vec<f64> = timings
        .requests()
        .iter()
        .filter(|r| r.ttft.exact)
        .map(|r| r.ttft.seconds)
        .collect();
    let qps = at.map_or(0.0, |point| point.qps);
    [
        ("ttft", "time to first token", ttft),
        ("tbt", "time between tokens", timings.gaps().to_vec()),
    ]
    .into_iter()
    .filter(|(_, _, values)| values.len() >= 2)
    .map(|(name, what, mut values)| {
        values.sort_unstable_by(f64::total_cmp);
        let points = (0..=STEPS).map(|step| {
            let share = step as f64 / STEPS as f64;
            let at = (share * (values.len() - 1) as f64).round() as usize;
            (values[at], share)
        });
        Chart {
            name,
            title: format!("{}: {what} at {qps:.4} requests per second", outcome.name),
            x: "seconds",
            y: "share of values",
            lines: vec![Line {
                name: "share".to_owned(),
                points: points.collect(),
            }],
        }
    })
    .collect()
}
