//! Benchmark: a stored `results.json` is read and judged. The file is what the older load generator would have written in
//! half an hour at 2,048 requests/min with 16 tokens each: 983,000 events, 387 MB.
//!
//! `cargo bench --bench evaluate`; set `MST_BENCH_MINUTES` for another size.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use divan::{Bencher, counter::BytesCount};
use mst::store::fmperf_events::{Detail, read_results_json_with};
use mst::store::tables::{Layout, Part, RequestTable, write_requests};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

fn main() {
    divan::main();
}

/// The law of the file: rate, tokens and times of a service that keeps up.
const REQUESTS_PER_MINUTE: f64 = 2048.0;
const TOKENS: u32 = 16;
const FIRST_TOKEN_MS: f64 = 60.0;
const TOKEN_MS: f64 = 15.0;
const START_NS: u64 = 1_790_000_000_000_000_000;

/// The generated folder; it is removed when the program ends.
struct Trial {
    dir: tempfile::TempDir,
    bytes: u64,
}

impl Trial {
    fn file(&self) -> PathBuf {
        self.dir.path().join("results.json")
    }
}

/// Made once.
fn trial() -> &'static Trial {
    static TRIAL: OnceLock<Trial> = OnceLock::new();
    TRIAL.get_or_init(|| {
        let minutes = std::env::var("MST_BENCH_MINUTES")
            .ok()
            .and_then(|m| m.parse().ok())
            .unwrap_or(30.0);
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("results.json");
        generate(&path, minutes).expect("room for the file");
        let bytes = path.metadata().expect("it was just written").len();
        Trial { dir, bytes }
    })
}

/// Writes the events of workers whose sends are nearly regular, each worker's in order of time.
fn generate(path: &std::path::Path, minutes: f64) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut rng = Pcg64::seed_from_u64(1);
    let duration_s = minutes * 60.0;
    let workers = (REQUESTS_PER_MINUTE / 15.0).ceil().clamp(1.0, 64.0);
    let interval_s = 60.0 * workers / REQUESTS_PER_MINUTE;
    write!(out, "{{\"results\": [")?;
    let mut separator = "";
    for worker in 0..workers as u32 {
        let mut events = Vec::new();
        let (mut at_s, mut request) = (0.0, 0);
        while at_s < duration_s {
            let mut previous = START_NS + (at_s * 1e9) as u64;
            for token in 0..TOKENS {
                let gap_ms = if token == 0 { FIRST_TOKEN_MS } else { TOKEN_MS };
                let gap = (gap_ms * 1e6 * rng.random_range(0.8..1.25)) as u64;
                previous += gap;
                events.push((previous, gap, request, token));
            }
            request += 1;
            at_s += interval_s * rng.random_range(0.7..1.3);
        }
        events.sort_unstable();
        for (at, gap, request, token) in events {
            let finish = if token + 1 == TOKENS { "\"length\"" } else { "null" };
            write!(
                out,
                "{separator}{{\"response\": {{\"index\": 0, \"text\": \" tok{}\", \"logprobs\": null, \
                 \"finish_reason\": {finish}, \"stop_reason\": null}}, \"ok\": true, \"error\": \"None\", \
                 \"timestamp\": {at}, \"exp_req_min\": {REQUESTS_PER_MINUTE:?}, \"exp_duration\": {duration_s:?}, \
                 \"duration_ms\": {:?}, \"exclude\": false, \"worker_idx\": {worker}, \"request_idx\": {request}, \
                 \"sample_idx\": 0, \"response_idx\": {token}, \"n_tokens\": 1, \"exp_num_users\": {workers:.0}, \
                 \"consistent\": true}}",
                token + 1,
                gap as f64 / 1000.0 / 1000.0,
            )?;
            separator = ", ";
        }
    }
    write!(out, "], \"energy\": {{}}}}")?;
    out.flush()
}

/// Reading alone.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn read(bencher: Bencher<'_, '_>) {
    let trial = trial();
    bencher
        .counter(BytesCount::new(trial.bytes))
        .bench(|| read_results_json_with(&trial.file(), Detail::Requests).expect("it is well-formed"));
}

/// Reading with every duration, and the table that they make.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn read_and_tabulate(bencher: Bencher<'_, '_>) {
    let trial = trial();
    bencher.counter(BytesCount::new(trial.bytes)).bench(|| {
        let log = read_results_json_with(&trial.file(), Detail::Tokens).expect("it is well-formed");
        let table = RequestTable::from_events(log);
        write_requests(std::io::sink(), Layout::Mst, Part::Output, &table, 0).expect("a sink takes all");
    });
}

/// The whole verb as its own process.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn verb(bencher: Bencher<'_, '_>) {
    let trial = trial();
    bencher.counter(BytesCount::new(trial.bytes)).bench(|| {
        let status = Command::new(env!("CARGO_BIN_EXE_mst"))
            .args(["evaluate", "--evaluation", "welch", "--format", "json"])
            .arg(trial.dir.path())
            .stdout(Stdio::null())
            .status()
            .expect("the program starts");
        assert!(status.success());
    });
}
