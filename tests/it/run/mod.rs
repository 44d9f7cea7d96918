//! `mst run` as a whole, against a scripted load generator, the embedded endpoint, or `mst serve` as another process.

mod adaptive;
mod contract;
mod judged_again;
mod killed;
mod layouts;
mod metrics;
mod older;
mod search;
mod secrets;
mod server;
mod stopping;
mod trouble;
mod workloads;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Workspace, kill, mst, processes, read_json, stderr, walk};

fn wait_for(ready: impl FnMut() -> bool) {
    crate::support::wait_for("what this test waits for", Duration::from_secs(20), ready);
}

/// Columns and rows of a table.
fn table(path: &Path) -> (Vec<String>, Vec<BTreeMap<String, String>>) {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let columns: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows = reader
        .records()
        .map(|row| {
            columns
                .iter()
                .cloned()
                .zip(row.unwrap().iter().map(str::to_owned))
                .collect()
        })
        .collect();
    (columns, rows)
}

/// `mst serve` as a process of its own, which outlives drivers.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start(arguments: &[&str], key: Option<&str>) -> Self {
        let mut command = mst();
        if let Some(key) = key {
            command.env("SERVE_KEY", key);
        }
        let mut child = command
            .args(["serve", "--profile", "demo", "--format", "json"])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let announced: Value = serde_json::from_str(&line).unwrap();
        let url = announced["url"].as_str().unwrap().to_owned();
        Self { child, url }
    }

    fn port(&self) -> &str {
        self.url.rsplit(':').next().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been killed by the test.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
