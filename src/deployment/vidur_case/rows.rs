//! The recorded requests and iterations.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::deployment::{DeploymentError, files};
use crate::sim::{PrefixSpan, Request, Time};

/// A recorded request. Times are seconds.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RequestRow {
    pub request_id: u64,
    pub replica: u32,
    pub arrived_at: f64,
    pub num_prefill_tokens: u32,
    pub num_decode_tokens: u32,
    pub ttft: Option<f64>,
    pub e2e: Option<f64>,
    #[serde(default)]
    pub num_restarts: u64,
    #[serde(default = "one")]
    pub completed: u8,
    #[serde(default)]
    pub session_id: Option<u32>,
}

/// A recorded iteration on one stage.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct IterationRow {
    pub replica: u32,
    pub stage: u32,
    pub batch_size: u32,
    pub num_tokens: u32,
    pub decode_batch_size: u32,
    pub stage_time_s: f64,
}

fn one() -> u8 {
    1
}

/// All of a case.
pub(super) struct Rows {
    /// In the order of the file.
    pub requests: Vec<RequestRow>,
    /// In the order of their start.
    pub iterations: Vec<IterationRow>,
    /// Rows of the requests in the order of arrival: a request's number is its place here.
    order: Vec<usize>,
}

impl Rows {
    pub(super) fn read(folder: &Path) -> Result<Self, DeploymentError> {
        let requests: Vec<RequestRow> = read(&folder.join("requests.csv"))?;
        if requests.is_empty() {
            return Err(DeploymentError::File {
                path: folder.join("requests.csv"),
                line: None,
                problem: "there are no requests".to_owned(),
            });
        }
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by(|&a, &b| requests[a].arrived_at.total_cmp(&requests[b].arrived_at));
        Ok(Self {
            requests,
            iterations: read(&folder.join("iterations.csv"))?,
            order,
        })
    }

    /// The row of a request by its number.
    pub(super) fn row_of(&self, id: u64) -> usize {
        self.order[id as usize]
    }

    /// The requests in the order of arrival.
    pub(super) fn requests(&self) -> Vec<Request> {
        let ordered = self.order.iter().map(|&row| &self.requests[row]);
        ordered
            .enumerate()
            .map(|(id, row)| {
                let arrival = Time::from_seconds(row.arrived_at);
                Request {
                    id: id as u64,
                    arrival,
                    input_tokens: row.num_prefill_tokens,
                    output_tokens: row.num_decode_tokens,
                    session: row.session_id,
                    deadline: arrival,
                    prefix: PrefixSpan::default(),
                }
            })
            .collect()
    }

    /// Who served each, by its number.
    pub(super) fn replicas(&self) -> Arc<[u32]> {
        self.order.iter().map(|&row| self.requests[row].replica).collect()
    }

    /// Tokens of the longest request.
    pub(super) fn longest(&self) -> u32 {
        let lengths = self
            .requests
            .iter()
            .map(|row| row.num_prefill_tokens + row.num_decode_tokens);
        lengths.max().unwrap_or(1)
    }
}

/// Reads a CSV file, packed or not.
fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Vec<T>, DeploymentError> {
    let found: PathBuf = files::packed_or_not(path).ok_or_else(|| DeploymentError::File {
        path: path.to_owned(),
        line: None,
        problem:
            "there is no such file, packed or not; a case is a folder with case.json, requests.csv.gz and \
                  iterations.csv.gz"
                .to_owned(),
    })?;
    let mut reader = csv::Reader::from_reader(files::open(&found)?);
    reader
        .deserialize()
        .collect::<Result<_, csv::Error>>()
        .map_err(|error| files::csv_problem(&found, &error))
}
