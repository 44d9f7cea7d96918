//! Batches over time for `chrome://tracing` and Perfetto: the Trace Event Format.

use std::io::Write;

use serde_json::json;

use crate::sim::Iteration;

/// Writes iterations as they come: a process is a replica, a thread one of its pipeline stages. Decode iterations that
/// were taken at once are one event with their number.
#[derive(Debug)]
pub struct ChromeTrace<W: Write> {
    to: W,
    empty: bool,
}

impl<W: Write> ChromeTrace<W> {
    /// A trace to a file.
    pub fn new(to: W) -> Self {
        Self { to, empty: true }
    }

    /// Adds an iteration.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, iteration: &Iteration) -> std::io::Result<()> {
        let microseconds = |ps: u64| ps as f64 / 1e6;
        let shape = iteration.shape;
        let event = json!({
            "name": format!("batch {}", iteration.batch),
            "cat": if shape.prefills == 0 { "decode" } else if shape.decodes == 0 { "prefill" } else { "mixed" },
            "ph": "X",
            "ts": microseconds(iteration.start.as_ps()),
            "dur": microseconds(iteration.time.as_ps() * u64::from(iteration.count)),
            "pid": iteration.replica,
            "tid": iteration.stage,
            "args": {
                "iterations": iteration.count,
                "batch_size": shape.sequences,
                "num_tokens": shape.tokens,
                "num_prefills": shape.prefills,
                "num_decodes": shape.decodes,
                "kv_blocks": iteration.kv_used,
                "waiting": iteration.waiting,
            },
        });
        self.to.write_all(if self.empty {
            b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
        } else {
            b",\n"
        })?;
        self.empty = false;
        serde_json::to_writer(&mut self.to, &event).map_err(std::io::Error::from)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self) -> std::io::Result<()> {
        self.to.write_all(if self.empty {
            b"{\"traceEvents\":[]}\n"
        } else {
            b"\n]}\n"
        })?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::gather::tests::iteration;
    use super::*;

    #[test]
    fn it_is_one_json_document() {
        for n in 0..3 {
            let mut out = Vec::new();
            let mut trace = ChromeTrace::new(&mut out);
            for i in 0..n {
                trace.add(&iteration(f64::from(i), 0.25, 2)).unwrap();
            }
            trace.finish().unwrap();
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let events = read["traceEvents"].as_array().unwrap();
            assert_eq!(events.len(), n as usize);
            if let Some(event) = events.last() {
                assert_eq!(event["dur"], 500_000.0);
                assert_eq!(event["args"]["iterations"], 2);
            }
        }
    }
}
