//! The requests of a workload: the same ones at every rate, closer together or further apart.

use std::fmt::Write;
use std::path::Path;

use super::file::Workload;
use crate::deployment::{open, trace};
use crate::sim::Source;
use crate::sim::source::{Order, RequestLengths, Synthetic, SyntheticConfig, TooLong, TraceFormat};
use crate::units::{Rate, TokenPair, TokenRange};
use crate::workload::{
    Arrival, Gaps, LengthClass, Lengths, ListedLengths, PlannedRequest, PromptSource, PromptSpec,
    WorkloadSpec, plan, plan_listed, seeds,
};

/// A workload whose files are read.
#[derive(Clone, Debug)]
pub struct Requests {
    /// As trials name it.
    pub spec: WorkloadSpec,
    /// How many requests a trial has.
    pub count: usize,
    /// What to know about it.
    pub notes: Vec<String>,
    /// Longest time that they are sent, in seconds.
    pub longest_s: Option<f64>,
    list: Option<Vec<Lengths>>,
}

impl Requests {
    /// Reads its files and draws its lengths. Paths are looked for beside `base` and then as they are; `longest` is the
    /// longest request that the system takes.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn of(workload: &Workload, base: &Path, seed: u64, longest: Option<u32>) -> Result<Self, String> {
        let named = |why: String| format!("workloads, {}: {why}", workload.name);
        let most = match (workload.max_tokens, longest) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let mut notes = Vec::new();
        let list = match (&workload.trace, &workload.lengths) {
            (Some(path), _) => Some(recorded(workload, path, base, seed, most, &mut notes)),
            (None, Some(lengths)) => Some(drawn(workload, lengths, seed, most, &mut notes)),
            (None, None) => None,
        };
        let list = list.transpose().map_err(named)?;
        let classes = match &list {
            Some(list) => vec![LengthClass {
                pair: range(list),
                share: 1.0,
            }],
            None => workload.classes().map_err(named)?,
        };
        Ok(Self {
            spec: WorkloadSpec {
                classes,
                arrival: workload.arrivals,
                prompts: PromptSpec {
                    source: PromptSource::Builtin,
                    unique_prefix: true,
                },
                lengths: list.as_deref().map(ListedLengths::of),
            },
            count: workload.requests,
            notes,
            longest_s: workload.max_duration().map(|longest| longest.as_secs_f64()),
            list,
        })
    }

    /// How long requests are sent at a rate, in seconds: until all are, or as long as the workload allows; one in any case.
    pub fn duration_s(&self, rate: Rate) -> f64 {
        let factor = match self.spec.arrival {
            Arrival::ClippedPoisson => Gaps::CLIPPED_RATE,
            _ => 1.0,
        };
        let one = 1.0 / (factor * rate.as_per_second());
        let all = self.count as f64 * one;
        self.longest_s.map_or(all, |longest| all.min(longest).max(one))
    }

    /// The requests of a trial.
    pub fn plan(&self, rate: Rate, duration_s: f64, seed: u64) -> Vec<PlannedRequest> {
        match &self.list {
            Some(list) => plan_listed(&self.spec, rate, duration_s, seed, list),
            None => plan(&self.spec, rate, duration_s, seed),
        }
    }

    /// The listed lengths as a file holds them: a line `input,output` a request.
    pub fn list_text(&self) -> Option<String> {
        let list = self.list.as_ref()?;
        Some(list.iter().fold(String::new(), |mut text, (input, output)| {
            let _ = writeln!(text, "{input},{output}");
            text
        }))
    }

    /// Whether all requests have one prompt length and one answer length, or ranges of them: what every load generator can
    /// send.
    pub fn is_pair(&self) -> bool {
        self.list.is_none() && self.spec.classes.len() == 1
    }

    /// The shortest and the longest prompt that it may send, in tokens.
    pub fn prompts(&self) -> (u32, u32) {
        let inputs = || self.spec.classes.iter().map(|class| class.pair.input);
        (
            inputs().map(TokenRange::lowest).min().unwrap_or(1),
            inputs().map(|range| range.max).max().unwrap_or(1),
        )
    }
}

/// The lengths of a trace, as many as a trial has requests.
fn recorded(
    workload: &Workload,
    path: &Path,
    base: &Path,
    seed: u64,
    most: Option<u32>,
    notes: &mut Vec<String>,
) -> Result<Vec<Lengths>, String> {
    let beside = base.join(path);
    let place = if beside.exists() { beside } else { path.to_owned() };
    // A file that cannot be opened is told before its form is guessed.
    open(&place).map_err(|e| e.to_string())?;
    let format = workload
        .format
        .unwrap_or_else(|| TraceFormat::of_name(&place.to_string_lossy()));
    let read = trace(&place, format).map_err(|e| e.to_string())?;
    let all = read.len();
    let fitted = match most {
        Some(most) => {
            read.fitted(most, workload.too_long)
                .map_err(|e| e.to_string())?
                .trace
        }
        None => read,
    };
    if fitted.len() < all {
        notes.push(format!(
            "{}: {} of {all} requests of the trace are longer than {} tokens and left out",
            workload.name,
            all - fitted.len(),
            most.unwrap_or(0)
        ));
    }
    let mut list: Vec<Lengths> = fitted
        .rows()
        .map(|row| (row.input_tokens, row.output_tokens))
        .collect();
    if list.is_empty() {
        return Err("no request of the trace is left".to_owned());
    }
    let mut rng = seeds::stream(seed, "order");
    match workload.order {
        Order::Recorded => {}
        Order::Shuffled => rand::seq::SliceRandom::shuffle(list.as_mut_slice(), &mut rng),
        Order::Drawn => {
            list = (0..workload.requests)
                .map(|_| list[rand::RngExt::random_range(&mut rng, 0..list.len())])
                .collect();
        }
    }
    if list.len() < workload.requests {
        notes.push(format!(
            "{}: the trace has {} requests, a trial {}: they are taken again",
            workload.name,
            list.len(),
            workload.requests
        ));
    }
    list.truncate(workload.requests);
    Ok(list)
}

/// Lengths drawn from distributions.
fn drawn(
    workload: &Workload,
    lengths: &RequestLengths,
    seed: u64,
    most: Option<u32>,
    notes: &mut Vec<String>,
) -> Result<Vec<Lengths>, String> {
    let config = SyntheticConfig {
        lengths: lengths.clone(),
        arrivals: Gaps::Poisson,
        rate: 1.0,
        count: None,
    };
    let mut source = Synthetic::new(&config, seed).map_err(|e| e.to_string())?;
    let (mut list, mut trimmed, mut drawn) = (Vec::with_capacity(workload.requests), 0, 0_usize);
    while list.len() < workload.requests {
        drawn += 1;
        if drawn > 1000 * workload.requests {
            return Err("hardly any request is short enough; raise max_tokens".to_owned());
        }
        let Some(request) = source.next() else { break };
        let (input, output) = (request.input_tokens, request.output_tokens);
        let total = input.saturating_add(output);
        match most.filter(|most| total > *most) {
            None => list.push((input, output)),
            Some(_) if workload.too_long == TooLong::Skip => {}
            Some(most) if workload.too_long == TooLong::Trim => {
                trimmed += 1;
                let share = f64::from(most) / f64::from(total);
                let input = ((f64::from(input) * share) as u32).clamp(1, most - 1);
                list.push((input, (most - input).min(output)));
            }
            Some(most) => {
                return Err(format!(
                    "a request of {total} tokens is longer than {most}; raise max_tokens"
                ));
            }
        }
    }
    if trimmed > 0 {
        notes.push(format!("{}: {trimmed} requests were shortened", workload.name));
    }
    Ok(list)
}

/// The shortest and longest of a list.
fn range(list: &[Lengths]) -> TokenPair {
    let of = |pick: fn(&Lengths) -> u32| TokenRange {
        min: list.iter().map(pick).min().unwrap_or(1),
        max: list.iter().map(pick).max().unwrap_or(1),
    };
    TokenPair {
        input: of(|l| l.0),
        output: of(|l| l.1),
    }
}
