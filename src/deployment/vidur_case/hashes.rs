//! Block hashes of the recorded requests: from their own file, or from the trace that they were taken from.

use std::path::{Path, PathBuf};

use super::rows::Rows;
use crate::deployment::{DeploymentError, files};
use crate::sim::source::{Trace, TraceFormat};

/// Where the trace of a case may lie.
pub(super) fn places(folder: &Path, given: &[PathBuf], file: Option<&str>) -> Vec<PathBuf> {
    let Some(name) = file.and_then(|file| Path::new(file).file_name()) else {
        return Vec::new();
    };
    let near = [
        ".",
        "..",
        "../traces",
        "../../traces",
        "../../../data/vidur/traces",
    ];
    given
        .iter()
        .cloned()
        .chain(near.map(|place| folder.join(place)))
        .map(|place| place.join(name))
        .collect()
}

/// What to say when there are none.
pub(super) fn missing(file: Option<&str>) -> String {
    format!(
        "the run shared prefixes, but no block hashes were found, so nothing is shared here; name the folder of {} with \
         --traces",
        file.unwrap_or("its trace")
    )
}

/// A trace with the hashes of all requests, in their order; `None` where there is none.
pub(super) fn read(folder: &Path, rows: &Rows, places: &[PathBuf]) -> Result<Option<Trace>, DeploymentError> {
    let own = folder.join("requests.csv");
    for place in std::iter::once(&own).chain(places) {
        let Some(path) = files::packed_or_not(place) else {
            continue;
        };
        let trace = files::trace(&path, TraceFormat::Csv)?;
        if trace.prefixes().tokens_per_hash > 0 {
            agree(&path, &trace, rows)?;
            return Ok(Some(trace));
        }
    }
    Ok(None)
}

/// Whether a trace holds the requests of the case.
fn agree(path: &Path, trace: &Trace, rows: &Rows) -> Result<(), DeploymentError> {
    let wrong = |problem: String| DeploymentError::File {
        path: path.to_owned(),
        line: None,
        problem,
    };
    if trace.len() < rows.requests.len() {
        return Err(wrong(format!(
            "it has {} requests, fewer than the {} of the case",
            trace.len(),
            rows.requests.len()
        )));
    }
    for (place, asked) in rows.requests().iter().enumerate() {
        let row = trace.row(place);
        if (row.input_tokens, row.output_tokens) != (asked.input_tokens, asked.output_tokens) {
            return Err(wrong(format!(
                "its request {place} has {} + {} tokens, that of the case {} + {}; it is not the trace of the case",
                row.input_tokens, row.output_tokens, asked.input_tokens, asked.output_tokens
            )));
        }
    }
    Ok(())
}
