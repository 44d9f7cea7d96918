//! The text that ships with the program, as words.

use std::collections::HashMap;

use rand::{Rng, RngExt};

/// Public-domain prose, see `assets/README.md`.
const TEXT: &str = include_str!("../../../assets/the-time-machine.txt");
/// Words at the start of a prompt that are its own. Prefix caches work on blocks of 16 tokens or more: with the place in
/// the text that follows, no two of 60,000 prompts share a block.
pub(super) const PREFIX_WORDS: usize = 4;
/// A calibrated prompt uses words that occur at least this often …
const COMMON_COUNT: u32 = 20;
/// … and are no longer than this. Even small vocabularies hold these as one token: with one of 800 tokens the counts of
/// prompts of 128 tokens scatter by 0.6, where words that occur three times would make it 6.5.
const COMMON_LENGTH: usize = 7;

/// The words of the built-in text; a word is an index into [`Corpus::distinct`].
pub(super) struct Corpus {
    /// Every word that occurs, once.
    pub(super) distinct: Vec<&'static str>,
    /// The text.
    #[cfg_attr(
        not(feature = "tokenizer"),
        expect(dead_code, reason = "only counted prompts use the whole text")
    )]
    pub(super) sequence: Vec<u32>,
    /// Words of lower-case letters only, from which prefixes are drawn.
    pub(super) plain: Vec<u32>,
    /// The text without its rare, long or punctuated words.
    pub(super) common: Vec<u32>,
    /// The words of that, once each.
    pub(super) common_distinct: Vec<u32>,
}

impl Corpus {
    /// The built-in text.
    pub(super) fn builtin() -> Self {
        let mut index: HashMap<&'static str, u32> = HashMap::new();
        let mut distinct = Vec::new();
        let mut occurrences: Vec<u32> = Vec::new();
        let mut sequence = Vec::new();
        for word in TEXT.split_ascii_whitespace() {
            let id = *index.entry(word).or_insert_with(|| {
                distinct.push(word);
                occurrences.push(0);
                distinct.len() as u32 - 1
            });
            occurrences[id as usize] += 1;
            sequence.push(id);
        }
        let is_plain = |id: &u32| {
            let word = distinct[*id as usize];
            word.len() > 1 && word.bytes().all(|b| b.is_ascii_lowercase())
        };
        let plain: Vec<u32> = (0..distinct.len() as u32).filter(is_plain).collect();
        let is_common = |id: &u32| {
            is_plain(id)
                && occurrences[*id as usize] >= COMMON_COUNT
                && distinct[*id as usize].len() <= COMMON_LENGTH
        };
        let common = sequence.iter().copied().filter(is_common).collect();
        let common_distinct = plain.iter().copied().filter(is_common).collect();
        Self {
            distinct,
            sequence,
            plain,
            common,
            common_distinct,
        }
    }

    /// A word as text.
    pub(super) fn word(&self, id: u32) -> &'static str {
        self.distinct[id as usize]
    }

    /// A plain word, drawn evenly.
    pub(super) fn any_plain(&self, rng: &mut impl Rng) -> u32 {
        self.plain[rng.random_range(0..self.plain.len())]
    }

    /// Words as text, with single blanks between them.
    pub(super) fn join(&self, ids: &[u32]) -> String {
        let mut text = String::with_capacity(ids.len() * 6);
        for (place, &id) in ids.iter().enumerate() {
            if place > 0 {
                text.push(' ');
            }
            text.push_str(self.word(id));
        }
        text
    }

    /// `count` common words: a prefix of its own where `unique`, then the text from a random place; else the text from
    /// its beginning.
    pub(super) fn common_words(&self, count: usize, unique: bool, rng: &mut impl Rng) -> String {
        let mut ids = Vec::with_capacity(count);
        let mut at = 0;
        if unique {
            let own = &self.common_distinct;
            ids.extend((0..PREFIX_WORDS.min(count)).map(|_| own[rng.random_range(0..own.len())]));
            at = rng.random_range(0..self.common.len());
        }
        while ids.len() < count {
            ids.push(self.common[at]);
            at = (at + 1) % self.common.len();
        }
        self.join(&ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::seeds;

    #[test]
    fn text_is_rich_enough() {
        let corpus = Corpus::builtin();
        assert!(corpus.sequence.len() > 30_000);
        assert!(corpus.plain.len() > 2_000, "{}", corpus.plain.len());
        assert!(corpus.common.len() > 12_000, "{}", corpus.common.len());
        assert!(
            corpus.common_distinct.len() > 100,
            "{}",
            corpus.common_distinct.len()
        );
        let text = corpus.common_words(50, true, &mut seeds::stream(1, "t"));
        assert_eq!(text.split(' ').count(), 50);
        // Longer than the text: it starts over.
        let long = corpus.common_words(100_000, false, &mut seeds::stream(1, "t"));
        assert_eq!(long.split(' ').count(), 100_000);
    }
}
