//! Benchmark: a new objective is held against what is stored: 1,000 trials of 2,000 requests with 32 tokens each, read from
//! their files and judged, one after the other on one core.
//!
//! `cargo bench --bench judge`; `MST_BENCH_TRIALS` and `MST_BENCH_TOKENS` for other sizes.

use std::path::PathBuf;
use std::sync::OnceLock;

use divan::Bencher;
use mst::criterion::slo_met::SloMet;
use mst::criterion::{Criterion, Earlier};
use mst::slo::objective::Entry;
use mst::store::measured;
use mst::trial::{ClientHealth, Measurement, Outcome, RequestRecord, TokenTimes};
use mst::units::Rate;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

fn main() {
    divan::main();
}

const REQUESTS: i64 = 2_000;

fn size(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

/// The stored trials; made once, removed when the program ends.
fn stored() -> &'static (tempfile::TempDir, Vec<PathBuf>) {
    static STORED: OnceLock<(tempfile::TempDir, Vec<PathBuf>)> = OnceLock::new();
    STORED.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut rng = Pcg64::seed_from_u64(1);
        let paths: Vec<PathBuf> = (0..size("MST_BENCH_TRIALS", 1_000))
            .map(|i| {
                let path = dir.path().join(i.to_string());
                measured::write(&path, &trial(&mut rng)).expect("room for the files");
                path
            })
            .collect();
        (dir, paths)
    })
}

fn trial(rng: &mut Pcg64) -> Measurement {
    let gaps = size("MST_BENCH_TOKENS", 32) - 1;
    let mut tokens = TokenTimes::with_capacity(REQUESTS as usize);
    let mut records = Vec::new();
    for i in 0..REQUESTS {
        let intended_ns = i * 100_000_000 + rng.random_range(0..90_000_000);
        let first = intended_ns + rng.random_range(40_000_000..900_000_000);
        let times: Vec<u32> = (0..gaps).map(|_| rng.random_range(9_000..40_000)).collect();
        let whole: i64 = times.iter().map(|us| i64::from(*us) * 1_000).sum();
        tokens.push(&times);
        records.push(RequestRecord {
            intended_ns,
            sent_ns: Some(intended_ns + 40_000),
            first_token_ns: Some(first),
            done_ns: Some(first + whole),
            class: 0,
            input_tokens: 512,
            output_tokens: gaps as u32 + 1,
            outcome: Outcome::Ok,
        });
    }
    Measurement {
        asked: Rate::per_second(10.0),
        duration_s: 200.0,
        offered_s: 200.0,
        observed_s: 202.0,
        epoch_ns: 1_790_000_000_000_000_000,
        records,
        client: ClientHealth::default(),
        planned_output: None,
        stopped_early: false,
        tokens: Some(tokens),
    }
}

fn judge(bencher: Bencher<'_, '_>, objective: &str) {
    let (_, paths) = stored();
    let entry: Entry = serde_saphyr::from_str(objective).expect("the objective is well-formed");
    let slo = SloMet {
        objective: entry.objective().expect("the objective makes sense"),
        failures: true,
        curve: None,
        limit_s: None,
        sustained: false,
    };
    bencher.bench_local(|| {
        let met = paths.iter().filter(|path| {
            let measurement = measured::read(path).expect("it was just written");
            let verdict = slo.judge(&measurement, &Earlier::default());
            verdict.ruling == mst::criterion::Ruling::Sustainable
        });
        met.count()
    });
}

#[divan::bench(sample_count = 3)]
fn tbt_ttft(bencher: Bencher<'_, '_>) {
    judge(
        bencher,
        "{type: tbt_ttft, tbt_slo: 0.035, tbt_percentile: 0.9, ttft_slo: 0.8}",
    );
}

#[divan::bench(sample_count = 3)]
fn deadline(bencher: Bencher<'_, '_>) {
    judge(bencher, "{type: deadline, first_deadline: 0.8, tbt_slo: 0.03}");
}

#[divan::bench(sample_count = 3)]
fn goodput(bencher: Bencher<'_, '_>) {
    judge(
        bencher,
        "{goodput: 0.9, all: [{metric: ttft, max: 0.8}, {metric: tpot, max: 0.03}, {metric: max_tbt, max: 0.04}]}",
    );
}
