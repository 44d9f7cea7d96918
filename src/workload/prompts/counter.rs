//! Exact token counts from a `tokenizer.json`.

use std::path::Path;

use rand::{Rng, RngExt};
use tokenizers::Tokenizer;

use super::PromptError;
use super::corpus::{Corpus, PREFIX_WORDS};
use crate::workload::seeds;

/// How often a prompt that misses its length is mended before the nearest is taken.
const ROUNDS: usize = 64;
/// Prompts that must all come out as predicted before predictions are trusted.
const PROBES: u64 = 256;
/// Longest probe, in tokens.
const PROBE_TOKENS: u32 = 600;
/// Of trusted prompts, one in this many is counted again (chosen by its salt, so that order does not matter).
const AUDIT: u64 = 8;
/// Fillers are kept for costs up to this many tokens.
const FILLER_COST: usize = 8;

/// A tokenizer, and what it makes of each word of the built-in text.
///
/// Almost every tokenizer splits text into words first, so that the length of a text is the sum of its words'. That is
/// measured, not assumed: see [`Counter::trusted`].
pub(super) struct Counter {
    tokenizer: Tokenizer,
    /// Tokens that are added to every text.
    special: u32,
    /// Tokens of each distinct word at the start of a text.
    start: Vec<u32>,
    /// Tokens of each distinct word after a blank.
    middle: Vec<u32>,
    /// Plain words by their cost at the start and after a blank.
    start_fillers: Vec<Vec<u32>>,
    middle_fillers: Vec<Vec<u32>>,
    /// Whether every probe had the length that the sum of its words predicts.
    pub(super) trusted: bool,
}

impl Counter {
    /// Loads a `tokenizer.json`; padding and truncation that it may prescribe are taken off.
    pub(super) fn load(path: &Path, corpus: &Corpus) -> Result<Self, PromptError> {
        let fail = |why: String| PromptError::Tokenizer {
            path: path.to_owned(),
            why,
        };
        let mut tokenizer = Tokenizer::from_file(path).map_err(|e| fail(e.to_string()))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| fail(e.to_string()))?;
        let raw = |text: &str, special: bool| {
            tokenizer
                .encode_fast(text, special)
                .map(|e| e.len() as u32)
                .map_err(|e| fail(e.to_string()))
        };
        // A word after a blank costs what it adds to a text that ends with another word.
        let anchor = raw("the", false)?;
        let special = raw("the", true)?.saturating_sub(anchor);
        let mut start = Vec::with_capacity(corpus.distinct.len());
        let mut middle = Vec::with_capacity(corpus.distinct.len());
        for word in &corpus.distinct {
            start.push(raw(word, false)?);
            middle.push(raw(&format!("the {word}"), false)?.saturating_sub(anchor));
        }
        let fillers = |costs: &[u32]| {
            let mut lists = vec![Vec::new(); FILLER_COST + 1];
            for &id in &corpus.plain {
                if let Some(list) = lists.get_mut(costs[id as usize] as usize) {
                    list.push(id);
                }
            }
            lists
        };
        let mut counter = Self {
            special,
            start_fillers: fillers(&start),
            middle_fillers: fillers(&middle),
            start,
            middle,
            tokenizer,
            trusted: false,
        };
        counter.trusted = (0..PROBES).all(|salt| {
            let mut rng = seeds::stream(salt, "probe");
            let wanted = rng.random_range(1..=PROBE_TOKENS);
            let (ids, predicted) = counter.assemble(corpus, wanted, true, &mut rng);
            counter.count(&corpus.join(&ids)) == Ok(predicted)
        });
        Ok(counter)
    }

    /// Tokens of a text, special tokens included.
    pub(super) fn count(&self, text: &str) -> Result<u32, String> {
        self.tokenizer
            .encode_fast(text, true)
            .map(|e| e.len() as u32)
            .map_err(|e| format!("the tokenizer refuses it: {e}"))
    }

    /// A text of `wanted` tokens, and its count. Where no text of that length exists (fewer tokens than the tokenizer
    /// adds by itself), the nearest.
    pub(super) fn text(&self, corpus: &Corpus, wanted: u32, unique: bool, salt: u64) -> (String, u32) {
        let mut rng = seeds::stream(salt, "prompt");
        let (ids, predicted) = self.assemble(corpus, wanted, unique, &mut rng);
        let text = corpus.join(&ids);
        if self.trusted && predicted == wanted && !salt.is_multiple_of(AUDIT) {
            return (text, predicted);
        }
        self.fit(corpus, text, wanted, &mut rng)
    }

    /// Words whose costs sum to `wanted`, and that sum with special tokens.
    fn assemble(&self, corpus: &Corpus, wanted: u32, unique: bool, rng: &mut impl Rng) -> (Vec<u32>, u32) {
        let mut ids: Vec<u32> = Vec::with_capacity(wanted as usize);
        let mut total = self.special;
        let cost = |ids: &[u32], id: u32| {
            let costs = if ids.is_empty() { &self.start } else { &self.middle };
            costs[id as usize]
        };
        let mut at = 0;
        if unique {
            for _ in 0..PREFIX_WORDS {
                let id = corpus.any_plain(rng);
                if total + cost(&ids, id) <= wanted {
                    total += cost(&ids, id);
                    ids.push(id);
                }
            }
            at = rng.random_range(0..corpus.sequence.len());
        }
        loop {
            let id = corpus.sequence[at];
            let more = cost(&ids, id);
            // A word without tokens of its own would never fill anything.
            if total + more > wanted || more == 0 {
                break;
            }
            total += more;
            ids.push(id);
            at = (at + 1) % corpus.sequence.len();
        }
        while let Some((id, more)) = self.filler(ids.is_empty(), wanted.saturating_sub(total), rng) {
            total += more;
            ids.push(id);
        }
        if ids.is_empty() {
            // Not even one word fits: the cheapest is the nearest prompt that is one.
            let cheapest =
                (1..=FILLER_COST).find_map(|c| self.start_fillers[c].first().map(|&id| (id, c as u32)));
            let (id, more) = cheapest.unwrap_or((corpus.plain[0], self.start[corpus.plain[0] as usize]));
            ids.push(id);
            total += more;
        }
        (ids, total)
    }

    /// A plain word that costs at most `gap` tokens, as near to it as there is, and its cost.
    fn filler(&self, at_start: bool, gap: u32, rng: &mut impl Rng) -> Option<(u32, u32)> {
        let lists = if at_start {
            &self.start_fillers
        } else {
            &self.middle_fillers
        };
        let cost = (1..=FILLER_COST.min(gap as usize))
            .rev()
            .find(|&c| !lists[c].is_empty())?;
        let list = &lists[cost];
        Some((list[rng.random_range(0..list.len())], cost as u32))
    }

    /// Drops words from the end of a text, or adds some, until it has `wanted` tokens; the nearest where that fails.
    pub(super) fn fit(
        &self,
        corpus: &Corpus,
        text: String,
        wanted: u32,
        rng: &mut impl Rng,
    ) -> (String, u32) {
        let mut current = text;
        let mut best: Option<(String, u32)> = None;
        for round in 0..ROUNDS {
            let Ok(count) = self.count(&current) else { break };
            if best
                .as_ref()
                .is_none_or(|(_, b)| count.abs_diff(wanted) < b.abs_diff(wanted))
            {
                best = Some((current.clone(), count));
            }
            if count == wanted {
                break;
            }
            if count > wanted {
                // Later rounds drop more, by chance, lest the same words come and go.
                let drop = ((count - wanted) / 2).max(1) as usize + rng.random_range(0..=round / 8);
                for _ in 0..drop {
                    let Some(end) = current.trim_end().rfind(char::is_whitespace) else {
                        break;
                    };
                    current.truncate(current[..end].trim_end().len());
                }
            } else {
                let mut gap = wanted - count;
                while let Some((id, cost)) = self.filler(false, gap, rng) {
                    current.push(' ');
                    current.push_str(corpus.word(id));
                    gap -= cost;
                }
            }
        }
        best.unwrap_or((current, wanted))
    }
}
