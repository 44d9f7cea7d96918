//! What a trial asks of a program that makes its own prompts and its own schedule, or why it cannot be asked.

use super::ToolConfig;
use crate::loadgen::{Api, LoadGenError, TrialJob};
use crate::units::TokenRange;
use crate::workload::{Arrival, PromptSource};

/// A trial of one pair of fixed lengths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::loadgen) struct Asked {
    pub(in crate::loadgen) per_second: f64,
    pub(in crate::loadgen) count: usize,
    pub(in crate::loadgen) duration_s: f64,
    pub(in crate::loadgen) input: u32,
    pub(in crate::loadgen) output: u32,
    pub(in crate::loadgen) arrival: Arrival,
    pub(in crate::loadgen) seed: u64,
}

/// What of the many workloads a program can do.
pub(in crate::loadgen) struct Able {
    pub(in crate::loadgen) name: &'static str,
    /// Whether it draws such arrivals.
    pub(in crate::loadgen) arrives: fn(Arrival) -> bool,
    /// Those arrivals in words.
    pub(in crate::loadgen) arrivals: &'static str,
    /// Whether it knows the chat API.
    pub(in crate::loadgen) chat: bool,
    /// Whether it can send one prompt again and again.
    pub(in crate::loadgen) same_prompt: bool,
}

impl Asked {
    /// Refuses what the program cannot express, and says what to set.
    pub(in crate::loadgen) fn of(
        job: &TrialJob,
        config: &ToolConfig,
        able: &Able,
    ) -> Result<Self, LoadGenError> {
        let name = able.name;
        let refuse = |why: String| Err(LoadGenError::Unusable { name, why });
        let spec = &job.spec;
        let workload = &spec.workload;
        if workload.lengths.is_some() {
            return refuse("it draws no lengths from a list; use LOADGEN=native".to_owned());
        }
        let [class] = workload.classes.as_slice() else {
            return refuse(
                "it sends one token pair, not a mix of several; set TOKENS_LIST in place of the mix, or LOADGEN=native"
                    .to_owned(),
            );
        };
        let fixed = |range: TokenRange, what: &str| -> Result<u32, LoadGenError> {
            if range.lowest() == range.max {
                return Ok(range.max);
            }
            let why = format!(
                "it is asked for {what} of one length, not of {range} tokens; set a single number in TOKENS_LIST, or \
                 LOADGEN=native"
            );
            Err(LoadGenError::Unusable { name, why })
        };
        let input = fixed(class.pair.input, "prompts")?;
        let output = fixed(class.pair.output, "responses")?;
        if !(able.arrives)(workload.arrival) {
            return refuse(format!(
                "its arrivals are {}, not {}; set ARRIVAL=poisson",
                able.arrivals, workload.arrival
            ));
        }
        if workload.prompts.source != PromptSource::Builtin {
            return refuse("it makes its own prompts; unset PROMPTS_FILE, or set LOADGEN=native".to_owned());
        }
        if !workload.prompts.unique_prefix && !able.same_prompt {
            return refuse("its prompts all differ; set UNIQUE_PROMPTS=true, or LOADGEN=native".to_owned());
        }
        if job.endpoint.api == Api::Chat && !able.chat {
            return refuse(
                "its prompts of fixed length are for /v1/completions only; set API=completions, or LOADGEN=native"
                    .to_owned(),
            );
        }
        if config.api_key {
            return refuse(
                "it takes an API key only as an argument or from a file, where others can read it; use LOADGEN=native, \
                 or an endpoint that needs none"
                    .to_owned(),
            );
        }
        Ok(Self {
            per_second: spec.rate.as_per_second(),
            count: workload.arrival.count(spec.rate, spec.duration_s),
            duration_s: spec.duration_s,
            input,
            output,
            arrival: workload.arrival,
            seed: spec.seed,
        })
    }
}

/// How long a program that sends a fixed number of requests at random times may take for that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::loadgen) struct PhaseLimits {
    /// Longest time of sending, in seconds: the duration, and four standard deviations of the time of the last arrival.
    pub(in crate::loadgen) sending_s: f64,
}

impl PhaseLimits {
    pub(in crate::loadgen) fn of(job: &TrialJob) -> Self {
        let spec = &job.spec;
        let count = spec.workload.arrival.count(spec.rate, spec.duration_s).max(1);
        Self {
            sending_s: spec.duration_s * (1.0 + 4.0 / (count as f64).sqrt()) + 1.0,
        }
    }
}
