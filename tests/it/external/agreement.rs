//! The real programs against one server: do they measure the same? By hand, through `scripts/test-loadgens`.

use std::path::{Path, PathBuf};

use mst::loadgen::aiperf::Aiperf;
use mst::loadgen::command::split_template;
use mst::loadgen::guidellm::Guidellm;
use mst::loadgen::inference_perf::InferencePerf;
use mst::loadgen::native::Native;
use mst::loadgen::tool::{Tool, ToolConfig};
use mst::loadgen::{LoadGenerator, PromptEncoding, TrialJob};
use mst::stats::quantile::quantile;
use mst::trial::{RequestRecord, TokenTimes};
use mst::units::{Rate, TokenRange};

use super::{execute, job, text};

/// How far a statistic may be outside what the native load generator measured in its trials before, between and after:
/// milliseconds, and share of the largest of these; the larger counts.
/// On a quiet machine the programs add 1 to 2 ms to the time to the first token, at its 99th percentile 3 to 6 ms, and
/// nothing to the mean time between tokens; on two busy cores that they share with the server it is more.
struct Bounds {
    ttft: [(f64, f64); 3],
    tbt: [(f64, f64); 3],
    /// By which factor the mean gap may change between the trials of the native load generator.
    steady: f64,
    /// Share of requests that may fail.
    bad: f64,
}

/// A server that sleeps most of the time.
const PACED: Bounds = Bounds {
    ttft: [(4.0, 0.15), (4.0, 0.15), (15.0, 0.5)],
    tbt: [(0.3, 0.03), (0.3, 0.03), (8.0, 0.5)],
    steady: 1.03,
    bad: 0.0,
};
/// A server that computes, on the cores that the programs need too, and that others may use: it is never as fast twice. How
/// long one of its steps takes depends on how many requests overlap, and each program draws arrivals of its own: the gaps have
/// one mode for lone requests and others for batches, and their quantiles say which of these had the most. So of the gaps only
/// the means are judged, and all bounds are wide: they would show a wrong unit or a wrong column, not a slow client. It closes
/// kept connections now and then, and not all programs send again what goes out just then.
const COMPUTING: Bounds = Bounds {
    ttft: [(15.0, 0.5), (15.0, 0.5), (60.0, 1.0)],
    tbt: [(3.0, 0.5), NOT_JUDGED, NOT_JUDGED],
    steady: 2.0,
    bad: 0.02,
};
/// What is compared, where it is, and its bounds.
type Kind<'a> = (&'a str, &'a dyn Fn(&Seen) -> Option<Spread>, [(f64, f64); 3]);

const NOT_JUDGED: (f64, f64) = (f64::INFINITY, 0.0);

/// Mean, median and 99th percentile.
type Spread = [f64; 3];

fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    Some([mean, quantile(&values, 0.5)?, quantile(&values, 0.99)?])
}

struct Seen {
    name: String,
    ttft: Spread,
    tbt: Option<Spread>,
    /// Of the requests' own means: what all can tell.
    mean_gap: Spread,
}

fn set(name: &str) -> Option<String> {
    let value = std::env::var(format!("MST_TEST_LOADGEN_{name}")).ok()?;
    (!value.is_empty()).then_some(value)
}

/// One trial; prints its row.
fn measure(generator: &dyn LoadGenerator, version: &str, job: &TrialJob, bounds: &Bounds) -> Seen {
    let dir = tempfile::tempdir().unwrap();
    let commands = generator.prepare(job, dir.path()).unwrap();
    let started = std::time::Instant::now();
    for command in &commands {
        assert!(execute(command), "{}", text(dir.path(), "loadgen.log"));
    }
    let took_s = started.elapsed().as_secs_f64();
    let measured = match generator.read(job, dir.path()) {
        Ok(measured) => measured,
        Err(error) => panic!("{error}\n{}", text(dir.path(), "loadgen.log")),
    };
    assert_eq!(measured.client.void, None, "{}", generator.name());
    let times = generator.token_times(job, dir.path()).unwrap();
    assert_eq!(times.is_some(), generator.capabilities().token_times);
    let good: Vec<(usize, &RequestRecord)> = (0..)
        .zip(&measured.records)
        .filter(|(_, r)| r.outcome.is_ok())
        .collect();
    let bad: Vec<String> = measured
        .records
        .iter()
        .filter(|r| !r.outcome.is_ok())
        .map(|r| r.outcome.to_string())
        .collect();
    assert!(
        bad.len() as f64 <= bounds.bad * measured.records.len() as f64,
        "{}: {bad:?}",
        generator.name()
    );
    let from_send = |r: &RequestRecord| (r.first_token_ns.unwrap() - r.sent_ns.unwrap()) as f64 / 1e6;
    let gap = |r: &RequestRecord| {
        (r.done_ns.unwrap() - r.first_token_ns.unwrap()) as f64 / 1e6 / f64::from(r.output_tokens - 1)
    };
    let pooled = |times: TokenTimes| {
        let gaps = times.all_gaps_us().iter().map(|us| f64::from(*us) / 1e3);
        spread(gaps.collect())
    };
    let prompt = good.iter().map(|(_, r)| f64::from(r.input_tokens)).sum::<f64>() / good.len() as f64;
    let seen = Seen {
        name: format!("{} {version}", generator.name()).trim_end().to_owned(),
        ttft: spread(good.iter().map(|(_, r)| from_send(r)).collect()).unwrap(),
        tbt: times.and_then(pooled),
        mean_gap: spread(good.iter().map(|(_, r)| gap(r)).collect()).unwrap(),
    };
    let three = |s: Option<Spread>| {
        s.map_or("not told".to_owned(), |[mean, p50, p99]| {
            format!("{mean:.2} / {p50:.2} / {p99:.2}")
        })
    };
    println!(
        "| {} | {} | {:.2} | {prompt:.1} | {} | {} | {:.2} | {} | {took_s:.0} |",
        seen.name,
        good.len(),
        measured.offered().as_per_second(),
        three(Some(seen.ttft)),
        three(seen.tbt),
        seen.mean_gap[0],
        measured
            .client
            .lateness_p50_ms
            .zip(measured.client.lateness_p99_ms)
            .map_or("not told".to_owned(), |(p50, p99)| format!("{p50:.1} / {p99:.1}")),
    );
    seen
}

fn tools(tokenizer: &Path) -> Vec<(Box<dyn Tool>, String)> {
    let mut all: Vec<(Box<dyn Tool>, String)> = Vec::new();
    for name in ["GUIDELLM", "AIPERF", "INFERENCE_PERF"] {
        let Some(command) = set(name) else {
            println!("{name} is not set: skipped");
            continue;
        };
        let config = ToolConfig {
            argv: split_template(&command).unwrap(),
            tokenizer: tokenizer.to_owned(),
            api_key: false,
        };
        let tool: Box<dyn Tool> = match name {
            "GUIDELLM" => Box::new(Guidellm::new(config)),
            "AIPERF" => Box::new(Aiperf::new(config)),
            _ => Box::new(InferencePerf::new(config)),
        };
        let dir = tempfile::tempdir().unwrap();
        let succeeded = execute(&tool.check(dir.path()).unwrap());
        let version = tool.explain_check(succeeded, dir.path()).unwrap();
        all.push((tool, version));
    }
    all
}

#[test]
#[ignore = "needs the programs and a server: scripts/test-loadgens"]
fn they_measure_the_same() {
    let tokenizer =
        PathBuf::from(set("TOKENIZER").expect("MST_TEST_LOADGEN_TOKENIZER names a tokenizer.json"));
    let rate: Rate = set("RATE").map_or(Rate::per_second(8.0), |r| r.parse().unwrap());
    let requests: f64 = set("REQUESTS").map_or(240.0, |n| n.parse().unwrap());
    let mut job = job(rate, (requests / rate.as_per_second()).ceil());
    job.endpoint.base_url = set("URL").expect("MST_TEST_LOADGEN_URL names a server");
    job.endpoint.model = set("MODEL").expect("MST_TEST_LOADGEN_MODEL names its model");
    job.spec.workload.classes[0].pair.output = TokenRange::exactly(32);
    job.encoding = PromptEncoding::Tokenizer {
        path: tokenizer.clone(),
    };
    let bounds = if set("COMPUTING").is_some() {
        COMPUTING
    } else {
        PACED
    };
    let tools = tools(&tokenizer);
    let native = Native::with_program(PathBuf::from(env!("CARGO_BIN_EXE_mst")));
    println!(
        "| program | good | realised/s | prompt tokens | TTFT from the send, mean / p50 / p99 | TBT, mean / p50 / p99 | \
         mean gap | send lateness p50 / p99 | s |\n|---|---|---|---|---|---|---|---|---|"
    );
    let mut natives = vec![measure(&native, "", &job, &bounds)];
    let mut others = Vec::new();
    for (tool, version) in &tools {
        others.push(measure(&**tool, version, &job, &bounds));
        natives.push(measure(&native, "", &job, &bounds));
    }
    let range = |of: &dyn Fn(&Seen) -> f64| {
        natives
            .iter()
            .map(of)
            .fold((f64::INFINITY, 0.0f64), |(low, high), v| {
                (low.min(v), high.max(v))
            })
    };
    // Where it does not agree with itself, nothing follows for the others.
    let (low, high) = range(&|seen| seen.mean_gap[0]);
    assert!(
        high <= bounds.steady * low,
        "the server or the machine changed meanwhile: the mean gap was {low:.2} to {high:.2} ms by native; run it again when \
         nothing else runs"
    );
    let mut apart = Vec::new();
    for other in &others {
        let kinds: [Kind; 3] = [
            ("TTFT", &|seen| Some(seen.ttft), bounds.ttft),
            (
                "mean gap",
                &|seen| Some(seen.mean_gap),
                [bounds.tbt[0], bounds.tbt[1], NOT_JUDGED],
            ),
            ("TBT", &|seen| seen.tbt, bounds.tbt),
        ];
        for (what, of, bounds) in kinds {
            let Some(values) = of(other) else { continue };
            for (i, (floor, share)) in bounds.into_iter().enumerate() {
                let (low, high) = range(&|seen| of(seen).map_or(f64::NAN, |s| s[i]));
                let off = (low - values[i]).max(values[i] - high);
                if off > floor.max(share * high) {
                    apart.push(format!(
                        "{}: {what} {} is {:.2} ms, {low:.2} to {high:.2} ms by native",
                        other.name,
                        ["mean", "p50", "p99"][i],
                        values[i]
                    ));
                }
            }
        }
    }
    assert!(apart.is_empty(), "they differ:\n{}", apart.join("\n"));
    println!("{} programs agree with native", others.len());
}
