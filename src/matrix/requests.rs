//! The requests of a workload. With one seed they are the same ones at every rate, closer together or further apart.

use std::path::Path;
use std::sync::Arc;

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
    /// As the trial names it whose seed is that of the whole.
    pub spec: WorkloadSpec,
    /// How many requests a trial has.
    pub count: usize,
    /// What to know about it.
    pub notes: Vec<String>,
    /// Longest time that they are sent, in seconds.
    pub longest_s: Option<f64>,
    /// The seed of the whole.
    seed: u64,
    listed: Option<Listed>,
}

/// Lengths request by request.
#[derive(Clone, Debug)]
struct Listed {
    origin: Arc<Origin>,
    count: usize,
    /// Longest request.
    most: Option<u32>,
    too_long: TooLong,
    /// As drawn with the seed of the whole.
    first: Vec<Lengths>,
}

/// Where they come from.
#[derive(Debug)]
enum Origin {
    /// The requests of a trace, of which none is too long.
    Trace(Vec<Lengths>, Order),
    /// Distributions.
    Drawn(RequestLengths),
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
        let origin = match (&workload.trace, &workload.lengths) {
            (Some(path), _) => Some(recorded(workload, path, base, most, &mut notes).map_err(named)?),
            (None, Some(lengths)) => Some(Origin::Drawn(lengths.clone())),
            (None, None) => None,
        };
        let mut listed = origin.map(|origin| Listed {
            origin: Arc::new(origin),
            count: workload.requests,
            most,
            too_long: workload.too_long,
            first: Vec::new(),
        });
        if let Some(listed) = &mut listed {
            let (first, shortened) = listed.draw(seed, listed.too_long).map_err(named)?;
            if shortened > 0 {
                notes.push(format!("{}: {shortened} requests were shortened", workload.name));
            }
            listed.first = first;
        }
        let classes = match &listed {
            Some(listed) => classes_of(&listed.first),
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
                lengths: listed.as_ref().map(|listed| ListedLengths::of(&listed.first)),
            },
            count: workload.requests,
            notes,
            longest_s: workload.max_duration().map(|longest| longest.as_secs_f64()),
            seed,
            listed,
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

    /// As the trial of a seed names it: what is drawn is drawn anew, as the arrivals are.
    pub fn spec(&self, seed: u64) -> WorkloadSpec {
        let mut spec = self.spec.clone();
        if seed != self.seed && self.listed.is_some() {
            let list = self.lengths(seed);
            spec.classes = classes_of(&list);
            spec.lengths = Some(ListedLengths::of(&list));
        }
        spec
    }

    /// The lengths of a trial request by request, where they are listed.
    pub fn lengths(&self, seed: u64) -> Vec<Lengths> {
        let Some(listed) = &self.listed else {
            return Vec::new();
        };
        let first = || listed.first.clone();
        if seed == self.seed {
            return first();
        }
        // What the whole's own draw did not meet is too rare to end a trial for.
        let too_long = match listed.too_long {
            TooLong::Trim => TooLong::Trim,
            _ => TooLong::Skip,
        };
        listed
            .draw(seed, too_long)
            .map_or_else(|_| first(), |(list, _)| list)
    }

    /// The requests of a trial.
    pub fn plan(&self, rate: Rate, duration_s: f64, seed: u64) -> Vec<PlannedRequest> {
        if self.listed.is_some() {
            plan_listed(&self.spec, rate, duration_s, seed, &self.lengths(seed))
        } else {
            plan(&self.spec, rate, duration_s, seed)
        }
    }

    /// Whether all requests have one prompt length and one answer length, or ranges of them: what every load generator can
    /// send.
    pub fn is_pair(&self) -> bool {
        self.listed.is_none() && self.spec.classes.len() == 1
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

impl Listed {
    /// A list, and how many of it were shortened.
    fn draw(&self, seed: u64, too_long: TooLong) -> Result<(Vec<Lengths>, usize), String> {
        match &*self.origin {
            Origin::Trace(rows, order) => Ok((ordered(rows, *order, self.count, seed), 0)),
            Origin::Drawn(lengths) => self.drawn(lengths, seed, too_long),
        }
    }

    /// Lengths from distributions.
    fn drawn(
        &self,
        lengths: &RequestLengths,
        seed: u64,
        too_long: TooLong,
    ) -> Result<(Vec<Lengths>, usize), String> {
        let config = SyntheticConfig {
            lengths: lengths.clone(),
            arrivals: Gaps::Poisson,
            rate: 1.0,
            count: None,
        };
        let mut source = Synthetic::new(&config, seed).map_err(|e| e.to_string())?;
        let (mut list, mut shortened, mut drawn) = (Vec::with_capacity(self.count), 0, 0_usize);
        while list.len() < self.count {
            drawn += 1;
            if drawn > 1000 * self.count {
                return Err("hardly any request is short enough; raise max_tokens".to_owned());
            }
            let Some(request) = source.next() else { break };
            let (input, output) = (request.input_tokens, request.output_tokens);
            let total = input.saturating_add(output);
            match self.most.filter(|most| total > *most) {
                None => list.push((input, output)),
                Some(_) if too_long == TooLong::Skip => {}
                Some(most) if too_long == TooLong::Trim => {
                    shortened += 1;
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
        Ok((list, shortened))
    }
}

/// The lengths of a trace.
fn recorded(
    workload: &Workload,
    path: &Path,
    base: &Path,
    most: Option<u32>,
    notes: &mut Vec<String>,
) -> Result<Origin, String> {
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
    let rows: Vec<Lengths> = fitted
        .rows()
        .map(|row| (row.input_tokens, row.output_tokens))
        .collect();
    if rows.is_empty() {
        return Err("no request of the trace is left".to_owned());
    }
    if rows.len() < workload.requests && workload.order != Order::Drawn {
        notes.push(format!(
            "{}: the trace has {} requests, a trial {}: they are taken again",
            workload.name,
            rows.len(),
            workload.requests
        ));
    }
    Ok(Origin::Trace(rows, workload.order))
}

/// As many rows of a trace as a trial has requests, or all.
fn ordered(rows: &[Lengths], order: Order, count: usize, seed: u64) -> Vec<Lengths> {
    let mut rng = seeds::stream(seed, "order");
    let mut list = match order {
        Order::Drawn => {
            let any = |_| rows[rand::RngExt::random_range(&mut rng, 0..rows.len())];
            return (0..count).map(any).collect();
        }
        Order::Recorded | Order::Shuffled => rows.to_vec(),
    };
    if order == Order::Shuffled {
        rand::seq::SliceRandom::shuffle(list.as_mut_slice(), &mut rng);
    }
    list.truncate(count);
    list
}

/// The one class that listed lengths are of.
fn classes_of(list: &[Lengths]) -> Vec<LengthClass> {
    vec![LengthClass {
        pair: range(list),
        share: 1.0,
    }]
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
