//! `server_metrics.csv`: how loaded the server said it was while a trial ran.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::TableError;
use crate::endpoint::scrape::Gauges;

/// One look at the server. `None` is what it does not offer, or what was not answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct ServerLook {
    /// Seconds since the trial's start; looks before it are negative.
    pub elapsed_s: f64,
    /// Requests in the batch.
    pub running: Option<f64>,
    /// Requests that wait for a place in it.
    pub waiting: Option<f64>,
    /// Share of the KV cache in use, 0 to 1.
    pub kv_cache_usage: Option<f64>,
    /// Preemptions since the server's start.
    pub preemptions: Option<f64>,
    /// Prompt tokens looked up in the prefix cache since the server's start.
    pub prefix_cache_queries: Option<f64>,
    /// Prompt tokens found there.
    pub prefix_cache_hits: Option<f64>,
}

/// The columns, in order.
const COLUMNS: [&str; 7] = [
    "elapsed_s",
    "running",
    "waiting",
    "kv_cache_usage",
    "preemptions",
    "prefix_cache_queries",
    "prefix_cache_hits",
];

impl ServerLook {
    /// A look at a time; without gauges a gap.
    pub fn new(elapsed_s: f64, gauges: Option<Gauges>) -> Self {
        Self {
            elapsed_s,
            running: gauges.and_then(|g| g.running),
            waiting: gauges.and_then(|g| g.waiting),
            kv_cache_usage: gauges.and_then(|g| g.kv_cache_usage),
            preemptions: gauges.and_then(|g| g.preemptions),
            prefix_cache_queries: gauges.and_then(|g| g.prefix_queries),
            prefix_cache_hits: gauges.and_then(|g| g.prefix_hits),
        }
    }
}

/// The largest number of waiting requests; `None` where the server never told.
pub fn longest_queue(looks: &[ServerLook]) -> Option<f64> {
    looks.iter().filter_map(|look| look.waiting).reduce(f64::max)
}

/// Writes the looks, in order of time.
///
/// # Errors
/// When the file cannot be written.
pub fn write_server_metrics(path: &Path, looks: &[ServerLook]) -> io::Result<()> {
    let mut text = COLUMNS.join(",");
    text.push('\n');
    for look in looks {
        let _ = write!(text, "{:.3}", look.elapsed_s);
        for cell in [
            look.running,
            look.waiting,
            look.kv_cache_usage,
            look.preemptions,
            look.prefix_cache_queries,
            look.prefix_cache_hits,
        ] {
            match cell {
                Some(value) => {
                    let _ = write!(text, ",{value}");
                }
                None => text.push(','),
            }
        }
        text.push('\n');
    }
    fs_err::write(path, text)
}

/// Reads the looks of a trial.
///
/// # Errors
/// When the file cannot be read, or a line is not a look; the message names it.
pub fn read_server_metrics(path: &Path) -> Result<Vec<ServerLook>, TableError> {
    let mut reader =
        csv::Reader::from_reader(std::fs::File::open(path).map_err(|e| TableError::io(path, e))?);
    let looks: Result<Vec<ServerLook>, csv::Error> = reader.deserialize().collect();
    looks.map_err(|error| TableError::csv(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_back_with_their_gaps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server_metrics.csv");
        let page = "llamacpp:requests_processing 16\nllamacpp:requests_deferred 24.5\n";
        let looks = [
            ServerLook::new(-0.25, Gauges::read(page)),
            ServerLook::new(1.0, None),
            ServerLook {
                elapsed_s: 2.0,
                running: Some(1.0),
                waiting: Some(30.0),
                kv_cache_usage: Some(0.125),
                preemptions: Some(3.0),
                prefix_cache_queries: Some(1e9),
                prefix_cache_hits: Some(0.0),
            },
        ];
        write_server_metrics(&path, &looks).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "elapsed_s,running,waiting,kv_cache_usage,preemptions,prefix_cache_queries,prefix_cache_hits\n\
             -0.250,16,24.5,,,,\n1.000,,,,,,\n2.000,1,30,0.125,3,1000000000,0\n"
        );
        assert_eq!(read_server_metrics(&path).unwrap(), looks);
        assert_eq!(
            (longest_queue(&looks), longest_queue(&looks[1..2])),
            (Some(30.0), None)
        );
        std::fs::write(&path, text.replace("1.000,", "x,")).unwrap();
        let error = read_server_metrics(&path).unwrap_err().to_string();
        assert!(error.contains("server_metrics.csv:3"), "{error}");
    }
}
