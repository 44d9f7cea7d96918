//! fmperf's workload file: a JSON list of cases, from which it draws at random, with replacement.

use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use fs_err as fs;
use serde::{Deserialize, Serialize, Serializer};

use crate::loadgen::{LoadGenError, TrialJob};
use crate::workload::prompts::{Prompt, PromptFactory};
use crate::workload::{PlannedRequest, plan};

/// Most cases in a file: fmperf holds them all in memory.
const MOST_CASES: usize = 10_000;
/// Cases for each request that will be sent: drawing with replacement from `k` cases a request repeats an earlier
/// prompt in about one of `2 k` requests.
const CASES_PER_REQUEST: f64 = 4.0;
/// The seed that fmperf's own generator puts into every request.
const REQUEST_SEED: u32 = 42;

/// What is read back of a case. Files of every generation have these fields.
#[derive(Debug, Deserialize)]
pub(super) struct Case {
    config: CaseConfig,
    #[serde(default)]
    prompt_token_count: Option<u32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CaseConfig {
    #[serde(default)]
    in_tokens: Option<u32>,
    #[serde(default)]
    out_tokens: Option<u32>,
    #[serde(default)]
    is_greedy: bool,
    /// Ours: the workload class.
    #[serde(default)]
    class: Option<u16>,
}

impl Case {
    pub(super) fn class(&self) -> u16 {
        self.config.class.unwrap_or(0)
    }

    pub(super) fn input_tokens(&self) -> Option<u32> {
        self.prompt_token_count.or(self.config.in_tokens)
    }

    /// The output length, where the case decides it: fmperf is told to override those of files that are not ours.
    pub(super) fn own_output(&self) -> Option<u32> {
        self.config.class.and(self.config.out_tokens)
    }
}

#[derive(Serialize)]
struct CaseOut<'a> {
    config: CaseConfig,
    request: Request<'a>,
    expected: Nothing,
    prompt_text: String,
    prompt_token_count: u32,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    prompt: PromptOut<'a>,
    ignore_eos: bool,
    min_tokens: u32,
    max_tokens: u32,
    seed: u32,
    stream: bool,
    stream_options: StreamOptions,
    stop: [&'static str; 0],
    temperature: f64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum PromptOut<'a> {
    Ids(&'a [u32]),
    Text(&'a str),
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
    continuous_usage_stats: bool,
}

/// The answer that fmperf would compare with. We do not ask the server beforehand; nulls of the right number keep older
/// forms, which index into it, from failing. `consistent` is then false everywhere, and nothing reads it.
struct Nothing(u32);

impl Serialize for Nothing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..self.0).map(|_| None::<u8>))
    }
}

/// Writes the cases of a trial, one at a time.
pub(super) fn write(path: &Path, job: &TrialJob, frac_greedy: f64) -> Result<(), LoadGenError> {
    let spec = &job.spec;
    let prompts = PromptFactory::new(
        &spec.workload.prompts,
        &spec.workload.classes,
        &job.encoding,
        job.prompts_file.as_deref(),
    )
    .map_err(|e| LoadGenError::Unusable {
        name: super::NAME,
        why: format!("its prompts cannot be made: {e}"),
    })?;
    let mut cases = plan(
        &spec.workload,
        spec.rate,
        spec.duration_s * CASES_PER_REQUEST,
        spec.seed,
    );
    cases.truncate(MOST_CASES);
    let mut out = BufWriter::new(fs::File::create(path)?);
    out.write_all(b"[")?;
    for (number, case) in cases.iter().enumerate() {
        if number > 0 {
            out.write_all(b", ")?;
        }
        let prompt = prompts.prompt(case);
        let case = case_of(case, &prompt, &job.endpoint.model, frac_greedy);
        serde_json::to_writer(&mut out, &case).map_err(std::io::Error::from)?;
    }
    out.write_all(b"]\n")?;
    out.flush()?;
    Ok(())
}

fn case_of<'a>(
    planned: &PlannedRequest,
    prompt: &'a Prompt,
    model: &'a str,
    frac_greedy: f64,
) -> CaseOut<'a> {
    // The salt is evenly spread; its upper half is not used for anything else here.
    let is_greedy = ((planned.salt >> 32) as f64) < frac_greedy * f64::from(u32::MAX);
    let count = prompt.tokens().unwrap_or(planned.input_tokens);
    CaseOut {
        config: CaseConfig {
            in_tokens: Some(count),
            out_tokens: Some(planned.output_tokens),
            is_greedy,
            class: Some(planned.class),
        },
        request: Request {
            model,
            prompt: match prompt {
                Prompt::Ids(ids) => PromptOut::Ids(ids),
                Prompt::Text { text, .. } => PromptOut::Text(text),
            },
            ignore_eos: true,
            min_tokens: planned.output_tokens,
            max_tokens: planned.output_tokens,
            seed: REQUEST_SEED,
            stream: true,
            stream_options: StreamOptions {
                include_usage: true,
                continuous_usage_stats: true,
            },
            stop: [],
            temperature: if is_greedy { 0.0 } else { 1.0 },
        },
        expected: Nothing(planned.output_tokens),
        prompt_text: prompt.to_text(),
        prompt_token_count: count,
    }
}

/// Reads the cases of a file, whoever made it.
pub(super) fn read(path: &Path) -> Result<Vec<Case>, LoadGenError> {
    let file = fs::File::open(path)?;
    serde_json::from_reader(BufReader::new(file)).map_err(|e| LoadGenError::Output {
        path: path.to_owned(),
        why: format!("not a workload file of fmperf: {e}"),
    })
}
