//! Conversations: what is asked next depends on what was answered, and when.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use rand_distr::{Distribution, Gamma};
use serde::{Deserialize, Serialize};

use super::{SourceError, checked_rate};
use crate::sim::{PrefixSpan, PrefixTable, Request, Source, Time};
use crate::workload::{GapStream, Gaps, MAX_TOKENS, TokenDistribution, TokenSampler, seeds};

/// Conversations with a language model: each turn's prompt is everything said before, and new words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionsConfig {
    /// How many conversations.
    pub sessions: u32,
    /// Turns of a conversation, a whole number drawn like a length.
    pub turns: TokenDistribution,
    /// Tokens with which every conversation begins, the same for all.
    #[serde(default)]
    pub system_prompt: u32,
    /// New words of a turn.
    pub input: TokenDistribution,
    /// Response of a turn.
    pub output: TokenDistribution,
    /// Time from the end of a response to the next turn.
    #[serde(default)]
    pub think: ThinkTime,
    /// A conversation ends before the turn with which prompt and response would exceed this. The first turn is asked in
    /// any case.
    #[serde(default)]
    pub max_tokens: Option<u32>,
    /// Tokens of a block hash; make it that of the KV cache, or a multiple.
    #[serde(default = "block")]
    pub block_tokens: u32,
}

const fn block() -> u32 {
    16
}

/// Think time: gamma-distributed, with a mean and a coefficient of variation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThinkTime {
    /// Mean in seconds; zero is none.
    pub mean_s: f64,
    /// Standard deviation divided by the mean: zero is always the same, one exponential.
    #[serde(default = "exponential")]
    pub cv: f64,
}

const fn exponential() -> f64 {
    1.0
}

impl Default for ThinkTime {
    fn default() -> Self {
        Self {
            mean_s: 10.0,
            cv: 1.0,
        }
    }
}

impl ThinkTime {
    /// What to draw from; nothing if it does not vary.
    fn sampler(self) -> Result<Option<Gamma<f64>>, SourceError> {
        for (field, value, most) in [("mean_s", self.mean_s, 1e6), ("cv", self.cv, 20.0)] {
            if !(0.0..=most).contains(&value) {
                return Err(SourceError::Range {
                    field,
                    value: value.to_string(),
                    range: "a number from zero to a million (`mean_s`) or to 20 (`cv`)",
                });
            }
        }
        if self.mean_s == 0.0 || self.cv == 0.0 {
            return Ok(None);
        }
        let variance = self.cv * self.cv;
        Ok(Gamma::new(variance.recip(), self.mean_s * variance).ok())
    }
}

/// The conversations of a seed: all that is fixed before the first is answered. Many runs may share it, at any rate.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionPlan {
    turns: Vec<Turn>,
    /// First turn of each conversation, and the end.
    firsts: Vec<u32>,
    /// Where the hashes of each conversation begin, and the end.
    hashes: Vec<u32>,
    prefixes: Arc<PrefixTable>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Turn {
    input: u32,
    output: u32,
    /// Before this turn.
    think: Time,
}

impl SessionPlan {
    /// Draws the conversations, from the streams `turns`, `input lengths`, `output lengths` and `think`.
    ///
    /// # Errors
    /// If a setting is out of its range, or the conversations are too many to number.
    pub fn new(config: &SessionsConfig, seed: u64) -> Result<Self, SourceError> {
        let at_least_one = |field, value: u32| {
            if value > 0 {
                return Ok(value);
            }
            let (value, range) = (value.to_string(), "at least 1");
            Err(SourceError::Range { field, value, range })
        };
        at_least_one("sessions", config.sessions)?;
        let block = at_least_one("block_tokens", config.block_tokens)?;
        if config.system_prompt > MAX_TOKENS {
            return Err(SourceError::Range {
                field: "system_prompt",
                value: config.system_prompt.to_string(),
                range: "at most 1073741824",
            });
        }
        let sampler = |field, lengths: &TokenDistribution| -> Result<TokenSampler, SourceError> {
            lengths
                .sampler()
                .map_err(|source| SourceError::Lengths { field, source })
        };
        let turns = sampler("turns", &config.turns)?;
        let input = sampler("input", &config.input)?;
        let output = sampler("output", &config.output)?;
        let think = config.think.sampler()?;
        let mut turns_rng = seeds::stream(seed, "turns");
        let mut input_rng = seeds::stream(seed, "input lengths");
        let mut output_rng = seeds::stream(seed, "output lengths");
        let mut think_rng = seeds::stream(seed, "think");

        let common = config.system_prompt / block;
        let mut table = PrefixTable {
            distinct: common,
            tokens_per_hash: block,
            ..PrefixTable::default()
        };
        let mut plan = Self {
            turns: Vec::new(),
            firsts: vec![0],
            hashes: vec![0],
            prefixes: Arc::default(),
        };
        let longest = config.max_tokens.unwrap_or(u32::MAX);
        let too_long = || SourceError::Range {
            field: "sessions",
            value: config.sessions.to_string(),
            range: "fewer or shorter conversations: all together exceed what 32 bits can number",
        };
        for _ in 0..config.sessions {
            let mut said = config.system_prompt;
            for turn in 0..turns.sample(&mut turns_rng) {
                let (new, answer) = (input.sample(&mut input_rng), output.sample(&mut output_rng));
                let pause = think.map_or(config.think.mean_s, |t| t.sample(&mut think_rng));
                let prompt = said.checked_add(new);
                let whole = prompt
                    .and_then(|p| p.checked_add(answer))
                    .filter(|w| *w <= longest);
                let (Some(prompt), true) = (prompt, whole.is_some() || turn == 0) else {
                    break;
                };
                plan.turns.push(Turn {
                    input: prompt,
                    output: answer,
                    think: Time::from_seconds(pause),
                });
                said = prompt.saturating_add(answer);
            }
            let blocks = said / block;
            let own = blocks.saturating_sub(common);
            let end = table.distinct.checked_add(own).ok_or_else(too_long)?;
            table.hashes.extend(0..common.min(blocks));
            table.hashes.extend(table.distinct..end);
            table.distinct = end;
            let number = |count| u32::try_from(count).map_err(|_| too_long());
            plan.hashes.push(number(table.hashes.len())?);
            plan.firsts.push(number(plan.turns.len())?);
        }
        plan.prefixes = Arc::new(table);
        Ok(plan)
    }

    /// Requests of all conversations together.
    pub fn requests(&self) -> usize {
        self.turns.len()
    }

    /// The block hashes: of every turn's prompt and response, so that the next turn finds both.
    pub fn prefixes(&self) -> &Arc<PrefixTable> {
        &self.prefixes
    }
}

/// Conversations under way. New ones begin by a process of arrivals; later turns follow the answer before.
#[derive(Clone, Debug)]
pub struct Sessions {
    plan: Arc<SessionPlan>,
    gaps: GapStream,
    unit: f64,
    rate: f64,
    /// When the next conversation begins.
    start: Time,
    /// Conversations begun.
    begun: u32,
    /// Later turns whose time is known: when, conversation, turn.
    due: BinaryHeap<Reverse<(Time, u32, u32)>>,
    /// Conversation and turn of each request that has not ended.
    asked: HashMap<u64, (u32, u32)>,
    given: u64,
}

impl Sessions {
    /// Begins the planned conversations at `rate` a second; the seed's stream `arrivals` draws the gaps.
    ///
    /// # Errors
    /// If the rate is not above zero, or the process of arrivals is wrong.
    pub fn new(plan: Arc<SessionPlan>, arrivals: &Gaps, rate: f64, seed: u64) -> Result<Self, SourceError> {
        let mut sessions = Self {
            plan,
            gaps: arrivals.stream(seed)?,
            unit: 0.0,
            rate: checked_rate("rate", rate)?,
            start: Time::ZERO,
            begun: 0,
            due: BinaryHeap::new(),
            asked: HashMap::new(),
            given: 0,
        };
        sessions.draw_start();
        Ok(sessions)
    }

    fn draw_start(&mut self) {
        self.unit += self.gaps.draw();
        self.start = Time::from_seconds(self.unit / self.rate);
    }

    /// The next request: when, conversation, turn. Of two at once the older conversation's comes first.
    fn earliest(&self) -> Option<(Time, u32, u32)> {
        let conversations = self.plan.firsts.len() as u32 - 1;
        let fresh = (self.begun < conversations).then_some((self.start, self.begun, 0));
        let later = self.due.peek().map(|due| due.0);
        match (fresh, later) {
            (Some(fresh), Some(later)) => Some(fresh.min(later)),
            (one, other) => one.or(other),
        }
    }
}

impl Source for Sessions {
    fn peek(&mut self) -> Option<Time> {
        self.earliest().map(|(at, ..)| at)
    }

    fn next(&mut self) -> Option<Request> {
        let (arrival, session, turn) = self.earliest()?;
        if turn == 0 {
            self.begun += 1;
            self.draw_start();
        } else {
            self.due.pop();
        }
        let id = self.given;
        self.given += 1;
        let place = self.plan.firsts[session as usize] + turn;
        if place + 1 < self.plan.firsts[session as usize + 1] {
            self.asked.insert(id, (session, turn));
        }
        let Turn { input, output, .. } = self.plan.turns[place as usize];
        Some(Request {
            id,
            arrival,
            input_tokens: input,
            output_tokens: output,
            session: Some(session),
            deadline: Time::MAX,
            prefix: PrefixSpan {
                start: self.plan.hashes[session as usize],
                len: (input.saturating_add(output)) / self.plan.prefixes.tokens_per_hash,
            },
        })
    }

    fn closed_loop(&self) -> bool {
        true
    }

    fn completed(&mut self, id: u64, at: Time) {
        if let Some((session, turn)) = self.asked.remove(&id) {
            let next = self.plan.turns[(self.plan.firsts[session as usize] + turn + 1) as usize];
            self.due.push(Reverse((at + next.think, session, turn + 1)));
        }
    }
}

#[cfg(test)]
mod tests;
