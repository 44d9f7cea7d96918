//! Iterations put together from the times at which the client saw tokens.
//!
//! Tokens that came close together are of one iteration: it ended when the first of them came, and began when the one before
//! ended. Whose prompts it read is what the batch policy does with requests that were sent and had no token yet: first come,
//! first served, within the token budget, so that each prompt ends with the iteration of its first token. Where that cannot be,
//! the iterations it concerns are left out.

use super::steps::Step;
use crate::sim::batching::Batching;
use crate::sim::cost::BatchShape;
use crate::sim::cost::calibrated::Domain;

/// Tokens of one iteration come within this part of the median gap between tokens, and within [`MOST_APART_NS`].
const APART: f64 = 0.2;
const MOST_APART_NS: f64 = 1e6;
/// Gaps that are shorter are none between iterations: one message held several tokens.
const ONE_MESSAGE_NS: i64 = 200_000;
/// So large a share of such gaps leaves nothing to tell iterations by.
const MOST_IN_ONE_MESSAGE: f64 = 0.05;

/// What a client saw of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Timeline {
    /// When it was sent, in nanoseconds.
    pub(super) sent_ns: i64,
    /// Tokens of the prompt.
    pub(super) prompt: u32,
    /// When each token came, in nanoseconds.
    pub(super) tokens_ns: Vec<i64>,
    /// Whether the server may have worked on it although no token came.
    pub(super) waiting: bool,
}

/// How a batch policy fills iterations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filling {
    /// Prompts in parts beside decodes, so many tokens an iteration.
    Chunks(u32),
    /// Whole prompts, while decodes pause.
    Whole,
}

impl Filling {
    /// Of a batch policy; not of those whose iterations cannot be told from outside.
    pub(super) fn of(batching: Batching) -> Option<Self> {
        match batching {
            Batching::VllmV1 { chunk_size } | Batching::Sarathi { chunk_size } => {
                Some(Self::Chunks(chunk_size))
            }
            Batching::Vllm { .. } => Some(Self::Whole),
            Batching::Orca {} | Batching::FasterTransformer {} | Batching::Lightllm { .. } => None,
        }
    }
}

/// Iterations of a trial.
#[derive(Clone, Debug, Default)]
pub(super) struct Iterations {
    /// Those that are told in full.
    pub(super) steps: Vec<Step>,
    /// All that yielded a token.
    pub(super) seen: usize,
    /// Prompts with a first token.
    pub(super) prompts: usize,
    /// Those of them that the iterations before it have room for.
    pub(super) placed: usize,
}

/// What is known of an iteration.
#[derive(Clone, Copy, Debug, Default)]
struct Iteration {
    end_ns: i64,
    shape: BatchShape,
    domain: Domain,
    /// Tokens of prompts that it still has room for.
    room: u32,
    /// Whether the server had work when it began.
    busy: bool,
    /// Whether its end is in doubt: a request that was running had no token of it.
    late: bool,
    /// Whether what it held is in doubt.
    unclear: bool,
}

/// Puts the iterations of one replica together.
///
/// # Errors
/// When token times do not tell iterations apart.
pub(super) fn iterations(requests: &[Timeline], filling: Filling) -> Result<Iterations, String> {
    let apart = most_apart(requests)?;
    let (mut all, places) = group(requests, apart);
    add_decodes(&mut all, requests, &places, filling);
    let fitting = match filling {
        Filling::Chunks(budget) => place_prompts(&mut all, requests, &places, budget),
        Filling::Whole => whole_prompts(&mut all, requests, &places),
    };
    let steps = all
        .windows(2)
        .filter(|pair| pair[1].busy && !pair[1].unclear && !pair[1].late && !pair[0].late)
        .map(|pair| Step {
            shape: pair[1].shape,
            ms: (pair[1].end_ns - pair[0].end_ns) as f64 / 1e6,
            domain: Domain {
                batch: pair[1].shape.sequences,
                ..pair[1].domain
            },
        });
    Ok(Iterations {
        steps: steps.collect(),
        seen: all.len(),
        prompts: places.iter().filter(|at| !at.is_empty()).count(),
        placed: fitting,
    })
}

/// The gap, in nanoseconds, from which on two tokens are of different iterations.
fn most_apart(requests: &[Timeline]) -> Result<i64, String> {
    let mut gaps: Vec<i64> = requests
        .iter()
        .flat_map(|r| r.tokens_ns.windows(2).map(|pair| pair[1] - pair[0]))
        .collect();
    if gaps.is_empty() {
        return Err("no response has two tokens with their times".to_owned());
    }
    gaps.sort_unstable();
    let short = gaps.partition_point(|gap| *gap < ONE_MESSAGE_NS);
    if short as f64 > MOST_IN_ONE_MESSAGE * gaps.len() as f64 {
        return Err(format!(
            "{:.0} % of the tokens came together with the one before: the server sends several in one message, or something between \
             holds them back; use --level c",
            100.0 * short as f64 / gaps.len() as f64
        ));
    }
    let median = gaps[gaps.len() / 2] as f64;
    Ok((APART * median).min(MOST_APART_NS) as i64)
}

/// The iterations in order of time, and the place among them of each token of each request.
fn group(requests: &[Timeline], apart_ns: i64) -> (Vec<Iteration>, Vec<Vec<usize>>) {
    let mut tokens: Vec<(i64, usize)> = requests
        .iter()
        .enumerate()
        .flat_map(|(r, request)| request.tokens_ns.iter().map(move |at| (*at, r)))
        .collect();
    tokens.sort_unstable();
    let mut all: Vec<Iteration> = Vec::new();
    let mut places: Vec<Vec<usize>> = vec![Vec::new(); requests.len()];
    let mut before = i64::MIN;
    for (at, request) in tokens {
        let last = all.len().wrapping_sub(1);
        if before == i64::MIN || at - before > apart_ns || places[request].last() == Some(&last) {
            all.push(Iteration {
                end_ns: at,
                ..Iteration::default()
            });
        }
        places[request].push(all.len() - 1);
        before = at;
    }
    (all, places)
}

/// Puts decodes to their iterations. A request that had no token in between was preempted, or its token came late.
fn add_decodes(all: &mut [Iteration], requests: &[Timeline], places: &[Vec<usize>], filling: Filling) {
    let mut decodes = vec![false; all.len()];
    for at in places.iter().flat_map(|at| at.iter().skip(1)) {
        decodes[*at] = true;
    }
    for (request, at) in requests.iter().zip(places) {
        for (token, pair) in at.windows(2).enumerate() {
            // The token that is computed lies in the KV cache, too.
            let kv = request.prompt + token as u32 + 1;
            let here = &mut all[pair[1]];
            here.shape.add_decode(kv);
            here.domain.context = here.domain.context.max(kv);
            let paused = |place: usize| filling == Filling::Whole && !decodes[place];
            let silent = (pair[0] + 1..pair[1]).any(|place| !paused(place));
            for here in &mut all[pair[0] + 1..=pair[1]] {
                here.busy = true;
                here.unclear |= silent;
            }
            for here in &mut all[pair[0] + 1..pair[1]] {
                here.late |= silent;
            }
        }
    }
}

/// Puts parts of prompts to iterations with a token budget: so many prompts as fit.
fn place_prompts(all: &mut [Iteration], requests: &[Timeline], places: &[Vec<usize>], budget: u32) -> usize {
    for here in all.iter_mut() {
        here.room = budget.saturating_sub(here.shape.tokens);
    }
    let mut order: Vec<usize> = (0..requests.len()).filter(|r| !places[*r].is_empty()).collect();
    order.sort_by_key(|r| (places[*r][0], requests[*r].sent_ns));
    let mut fitting = 0;
    for r in order {
        let (request, last) = (&requests[r], places[r][0]);
        let begins = |all: &[Iteration], place: usize| {
            place.checked_sub(1).map_or(i64::MIN, |before| all[before].end_ns)
        };
        // It waits for the end of what is under way. An idle server begins at once, and when that was is not seen.
        let mut first = all.partition_point(|here| here.end_ns <= request.sent_ns);
        if first < last && all[first].busy && begins(all, first) < request.sent_ns {
            first += 1;
        }
        // Later where the batch was full, or the network slow.
        let Some(first) = ending(all, request.prompt, first, last) else {
            all[first.min(last)..=last]
                .iter_mut()
                .for_each(|here| here.unclear = true);
            continue;
        };
        fitting += 1;
        all[first].busy |= request.sent_ns <= begins(all, first);
        all[first + 1..=last].iter_mut().for_each(|here| here.busy = true);
        let mut left = request.prompt;
        for (here, place) in all[first..=last].iter_mut().zip(first..) {
            let part = left.min(here.room);
            if part > 0 {
                here.shape.add_prefill(request.prompt - left, part, place == last);
                here.domain.prompt = here.domain.prompt.max(request.prompt);
                here.domain.context = here.domain.context.max(request.prompt);
                here.room -= part;
                left -= part;
            }
        }
    }
    unseen_prompts(all, requests, budget);
    fitting
}

/// The first iteration, from `earliest` on, with a part of a prompt that ends with the iteration `last`.
fn ending(all: &[Iteration], prompt: u32, earliest: usize, last: usize) -> Option<usize> {
    let (prompt, room) = (u64::from(prompt), |place: usize| u64::from(all[place].room));
    let mut before = 0;
    let mut found = None;
    for first in (earliest..=last).rev() {
        before += if first < last { room(first) } else { 0 };
        if before >= prompt {
            break;
        }
        if before + room(last) >= prompt {
            found = Some(first);
        }
    }
    found
}

/// Prompts without a first token take room at the end of what was seen.
fn unseen_prompts(all: &mut [Iteration], requests: &[Timeline], budget: u32) {
    let waiting = requests.iter().filter(|r| r.tokens_ns.is_empty() && r.waiting);
    let Some(longest) = waiting.map(|r| r.prompt).max() else {
        return;
    };
    let mut left = longest + budget;
    for here in all.iter_mut().rev() {
        here.unclear = true;
        left = left.saturating_sub(here.room.max(1));
        if left == 0 {
            break;
        }
    }
}

/// Puts whole prompts to iterations of their own: so many as had none beside decodes.
fn whole_prompts(all: &mut [Iteration], requests: &[Timeline], places: &[Vec<usize>]) -> usize {
    let mut fitting = 0;
    for (request, at) in requests.iter().zip(places) {
        let Some(&place) = at.first() else { continue };
        let begins = place.checked_sub(1).map_or(i64::MIN, |before| all[before].end_ns);
        let here = &mut all[place];
        here.unclear |= here.shape.decodes > 0;
        fitting += usize::from(here.shape.decodes == 0);
        here.busy |= request.sent_ns <= begins;
        here.shape.add_prefill(0, request.prompt, true);
        here.domain.prompt = here.domain.prompt.max(request.prompt);
        here.domain.context = here.domain.context.max(request.prompt);
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn request(sent_ms: i64, prompt: u32, tokens_ms: &[i64]) -> Timeline {
        Timeline {
            sent_ns: sent_ms * MS,
            prompt,
            tokens_ns: tokens_ms.iter().map(|at| at * MS).collect(),
            waiting: tokens_ms.is_empty(),
        }
    }

    fn told(requests: &[Timeline], filling: Filling) -> Vec<(u32, u32, u64, u64, f64)> {
        let found = iterations(requests, filling).unwrap();
        let of = |s: &Step| {
            (
                s.shape.decodes,
                s.shape.prefills,
                s.shape.decode_kv,
                s.shape.prefill_pairs,
                s.ms,
            )
        };
        found.steps.iter().map(of).collect()
    }

    #[test]
    fn tokens_of_one_moment_are_one_iteration() {
        // The second request is sent while the second iteration runs, so that the third reads its prompt.
        let mut requests = [request(0, 10, &[20, 30, 45, 55]), request(22, 4, &[45, 55])];
        requests[1].tokens_ns[0] += 500_000;
        assert_eq!(
            told(&requests, Filling::Chunks(512)),
            [(1, 0, 11, 0, 10.0), (1, 1, 12, 10, 15.0), (2, 0, 18, 0, 10.0)]
        );
    }

    #[test]
    fn a_long_prompt_lies_in_as_many_iterations_as_it_needs() {
        let requests = [
            request(0, 10, &[20, 30, 50, 70, 82]),
            // Room for 9 tokens beside a decode: 9, then 5.
            request(25, 14, &[70, 82]),
            // Sent earlier than this has its first token, so that it got what the other left: 4, then 2.
            request(28, 6, &[82]),
        ];
        let found = told(&requests, Filling::Chunks(10));
        assert_eq!(found[0], (1, 0, 11, 0, 10.0));
        assert_eq!(found[1], (1, 1, 12, 45, 20.0));
        assert_eq!(found[2], (1, 2, 13, 60 + 10, 20.0));
        assert_eq!(found[3], (2, 1, 14 + 15, 8 + 3, 12.0));
    }

    #[test]
    fn what_cannot_be_is_left_out() {
        // A prompt that the budget does not hold, as with a prefix cache.
        let requests = [request(0, 10, &[20, 30, 40, 50]), request(31, 400, &[50])];
        assert_eq!(
            told(&requests, Filling::Chunks(64)),
            [(1, 0, 11, 0, 10.0), (1, 0, 12, 0, 10.0)]
        );
        // A request without a token where others have one.
        let requests = [
            request(0, 10, &[20, 30, 40, 50, 60]),
            request(0, 10, &[20, 30, 50, 60]),
        ];
        assert_eq!(
            told(&requests, Filling::Chunks(64)),
            [(2, 0, 22, 0, 10.0), (2, 0, 27, 0, 10.0)]
        );
        // Several tokens in one message.
        let mut twice = request(0, 10, &[20, 20, 30, 30]);
        twice.tokens_ns[1] += 1;
        assert!(
            iterations(&[twice], Filling::Whole)
                .unwrap_err()
                .contains("in one message")
        );
        assert!(iterations(&[request(0, 10, &[20])], Filling::Whole).is_err());
    }

    #[test]
    fn whole_prompts_pause_decodes() {
        let requests = [request(0, 10, &[20, 30, 65]), request(22, 100, &[55, 65])];
        assert_eq!(
            told(&requests, Filling::Whole),
            [
                (1, 0, 11, 0, 10.0),
                (0, 1, 0, 5050, 25.0),
                (2, 0, 12 + 101, 0, 10.0)
            ]
        );
    }
}
