//! Block hashes of the recorded requests: from their own file, or from the trace that they were taken from.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::rows::Rows;
use crate::deployment::{DeploymentError, files};
use crate::sim::{PrefixSpan, PrefixTable};

/// A row of a trace.
#[derive(Debug, Deserialize)]
struct TraceRow {
    num_prefill_tokens: u32,
    num_decode_tokens: u32,
    block_hash_ids: Option<String>,
    block_size: Option<u32>,
}

/// Tokens of a hash where the file does not say.
const BLOCK: u32 = 16;

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

/// The hashes of all requests, and the span of each row; `None` where they are nowhere.
pub(super) fn read(
    folder: &Path,
    rows: &Rows,
    places: &[PathBuf],
) -> Result<Option<(PrefixTable, Vec<PrefixSpan>)>, DeploymentError> {
    let mut table = Table::default();
    if rows.requests.iter().any(|row| row.block_hash_ids.is_some()) {
        let path = folder.join("requests.csv.gz");
        for (i, row) in rows.requests.iter().enumerate() {
            table.add(&path, i, row.block_hash_ids.as_deref())?;
        }
        return Ok(Some(table.done(BLOCK)));
    }
    let Some(path) = places.iter().find_map(|place| files::packed_or_not(place)) else {
        return Ok(None);
    };
    let mut reader = csv::Reader::from_reader(files::open(&path)?);
    let mut block = BLOCK;
    for (i, row) in reader.deserialize().take(rows.requests.len()).enumerate() {
        let row: TraceRow = row.map_err(|error| files::csv_problem(&path, &error))?;
        let asked = &rows.requests[i];
        if (row.num_prefill_tokens, row.num_decode_tokens)
            != (asked.num_prefill_tokens, asked.num_decode_tokens)
        {
            return Err(DeploymentError::File {
                path,
                line: Some(i as u64 + 2),
                problem: format!("its lengths are not those of request {}", asked.request_id),
            });
        }
        block = row.block_size.unwrap_or(block);
        table.add(&path, i, row.block_hash_ids.as_deref())?;
    }
    if table.spans.len() < rows.requests.len() {
        return Err(DeploymentError::File {
            path,
            line: None,
            problem: format!(
                "it has {} rows, fewer than the {} requests of the case",
                table.spans.len(),
                rows.requests.len()
            ),
        });
    }
    Ok(Some(table.done(block)))
}

/// Hashes, numbered as they are met.
#[derive(Default)]
struct Table {
    hashes: Vec<u32>,
    numbers: HashMap<i64, u32>,
    spans: Vec<PrefixSpan>,
}

impl Table {
    fn add(&mut self, path: &Path, row: usize, list: Option<&str>) -> Result<(), DeploymentError> {
        let start = self.hashes.len() as u32;
        let ids: Vec<i64> = match list {
            Some(list) => serde_json::from_str(list).map_err(|error| DeploymentError::File {
                path: path.to_owned(),
                line: Some(row as u64 + 2),
                problem: format!("block_hash_ids is no list of whole numbers: {error}"),
            })?,
            None => Vec::new(),
        };
        for id in ids {
            let next = self.numbers.len() as u32;
            self.hashes.push(*self.numbers.entry(id).or_insert(next));
        }
        self.spans.push(PrefixSpan {
            start,
            len: self.hashes.len() as u32 - start,
        });
        Ok(())
    }

    fn done(self, tokens_per_hash: u32) -> (PrefixTable, Vec<PrefixSpan>) {
        let table = PrefixTable {
            distinct: self.numbers.len() as u32,
            hashes: self.hashes,
            tokens_per_hash,
        };
        (table, self.spans)
    }
}
