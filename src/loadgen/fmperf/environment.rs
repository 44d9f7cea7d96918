//! The environment that fmperf is configured by.

use std::path::Path;

use super::{Fmperf, FmperfPrompts, NAME};
use crate::loadgen::{Api, LoadGenError, TrialJob};
use crate::units::TokenPair;

/// Values of keys that fmperf needs, or that would otherwise come from a `.env` in its own folder.
const DEFAULTS: [(&str, &str); 7] = [
    ("BACKOFF", "1s"),
    ("GRACE_PERIOD", "5s"),
    ("WORKER_RPM_CAPACITY", "15"),
    ("MAX_WORKERS", "64"),
    ("FRAC_GREEDY", "1.0"),
    ("SAMPLE_SIZE", "20"),
    ("CODE", "false"),
];
/// The file name of a workload that is made for a trial.
pub(super) const REQUESTS_FILENAME: &str = "sample_requests.json";

/// Requests per minute of a worker, unless set.
const WORKER_RPM: f64 = 15.0;
/// Most workers, unless set.
const MAX_WORKERS: f64 = 64.0;

/// Refuses what fmperf cannot do.
pub(super) fn check(fmperf: &Fmperf, job: &TrialJob) -> Result<(), LoadGenError> {
    let refuse = |why: &str| {
        Err(LoadGenError::Unusable {
            name: NAME,
            why: format!("{why}; use LOADGEN=native"),
        })
    };
    if !job.endpoint.base_url.starts_with("http://") {
        return refuse("it speaks plain http only");
    }
    if job.endpoint.api == Api::Chat {
        return refuse("it knows /v1/completions only, not chat");
    }
    if fmperf.config.api_key {
        return refuse("it sends no API key");
    }
    if fmperf.passed("TARGET").is_some_and(|t| t != "vllm") {
        return refuse("only TARGET=vllm is supported");
    }
    if job.spec.workload.classes.len() != 1 && fmperf.config.prompts == FmperfPrompts::Fmperf {
        return refuse("its generate-input makes no mixes: use PROMPT_SOURCE=native or file");
    }
    Ok(())
}

/// The variables for a trial in `scratch` that leaves its results in `results`.
pub(super) fn variables(
    fmperf: &Fmperf,
    job: &TrialJob,
    scratch: &Path,
    results: &Path,
) -> Result<Vec<(String, String)>, LoadGenError> {
    let mut env = Environment(Vec::new());
    for (key, value) in DEFAULTS {
        env.set(key, value);
    }
    // A key that was left empty means fmperf's default.
    for (key, value) in fmperf
        .config
        .passed_on
        .iter()
        .filter(|(_, value)| !value.is_empty())
    {
        env.set(key, value);
    }
    env.set("TARGET", "vllm");
    let url = job
        .endpoint
        .base_url
        .trim_start_matches("http://")
        .trim_end_matches('/');
    env.set("URL", url);
    env.set("REQUESTS_DIR", &utf8(scratch)?);
    let requests = match &fmperf.config.prompts {
        // An absolute name takes the place of folder and name.
        FmperfPrompts::File(path) => utf8(&std::path::absolute(path)?)?,
        FmperfPrompts::Native | FmperfPrompts::Fmperf => REQUESTS_FILENAME.to_owned(),
    };
    env.set("REQUESTS_FILENAME", &requests);
    env.set("RESULTS_FILENAME", &utf8(results)?);
    env.set("REQ_MIN", &job.spec.rate.as_per_minute().to_string());
    env.set("DURATION", &format!("{}s", job.spec.duration_s));
    env.set("REQUEST_TIMEOUT", &job.limits.request_s.to_string());
    env.set("TTFT_TIMEOUT", &job.limits.ttft_s.to_string());
    env.set("TPOT_TIMEOUT", &job.limits.tpot_s.to_string());
    lengths(&mut env, fmperf, job);
    if let Some(file) = &job.prompts_file {
        env.set("PROMPTS_FILE", &utf8(file)?);
    }
    env.set("OVERWRITE", "true");
    env.set("PYTHONPATH", &python_path(fmperf)?);
    Ok(env.0)
}

/// Where Python finds fmperf, which is not run from its own folder: that folder, then what was there (site-wide modules
/// of a cluster often are).
pub(super) fn python_path(fmperf: &Fmperf) -> Result<String, LoadGenError> {
    let here = utf8(&std::path::absolute(&fmperf.config.workdir)?)?;
    let inherited = std::env::var("PYTHONPATH").ok();
    let more = fmperf.passed("PYTHONPATH").or(inherited.as_deref());
    Ok(match more.filter(|m| !m.is_empty()) {
        Some(more) => format!("{here}:{more}"),
        None => here,
    })
}

fn utf8(path: &Path) -> Result<String, LoadGenError> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| LoadGenError::Unusable {
            name: NAME,
            why: format!("the path {} is not UTF-8", path.display()),
        })
}

/// The pair's token bounds. Where our workload file decides the output lengths, blanks keep fmperf from overriding them,
/// also by a `.env` of its own.
fn lengths(env: &mut Environment, fmperf: &Fmperf, job: &TrialJob) {
    let pair: Option<TokenPair> = match job.spec.workload.classes.as_slice() {
        [only] => Some(only.pair),
        _ => None,
    };
    let text = |value: Option<u32>| value.map(|v| v.to_string()).unwrap_or_default();
    let output = pair.filter(|_| fmperf.config.prompts != FmperfPrompts::Native);
    env.set("MIN_INPUT_TOKENS", &text(pair.map(|p| p.input.lowest())));
    env.set("MAX_INPUT_TOKENS", &text(pair.map(|p| p.input.max)));
    env.set("MIN_OUTPUT_TOKENS", &text(output.map(|p| p.output.lowest())));
    env.set("MAX_OUTPUT_TOKENS", &text(output.map(|p| p.output.max)));
}

/// How many workers fmperf starts: as many requests may be sent beyond rate times duration.
pub(super) fn workers(fmperf: &Fmperf, job: &TrialJob) -> u32 {
    let number = |key, default: f64| {
        let value = fmperf.passed(key).and_then(|v| v.trim().parse::<f64>().ok());
        value.unwrap_or(default).max(1.0)
    };
    let needed = job.spec.rate.as_per_minute() / number("WORKER_RPM_CAPACITY", WORKER_RPM);
    needed.ceil().clamp(1.0, number("MAX_WORKERS", MAX_WORKERS)) as u32
}

/// Variables, each once.
struct Environment(Vec<(String, String)>);

impl Environment {
    fn set(&mut self, key: &str, value: &str) {
        match self.0.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((key.to_owned(), value.to_owned())),
        }
    }
}
