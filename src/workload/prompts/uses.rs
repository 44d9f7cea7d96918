//! Which prompts a trial used, and how often.

use std::collections::HashMap;

use super::{Prompt, PromptFactory};
use crate::workload::PlannedRequest;

/// One distinct prompt of a trial: a row of `prompts.csv`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptUse {
    /// The text; for token ids these, with blanks between them.
    pub text: String,
    /// Its length in tokens: as counted, else as asked for.
    pub tokens: u32,
    /// How many requests carried it; in an older file, how often the prompts file has it.
    pub occurrences: u64,
}

impl PromptFactory {
    /// The distinct prompts of these requests in order of first use. Texts are made one at a time, so that memory holds a
    /// digest a prompt and not its text.
    pub fn used<'a>(&'a self, requests: &'a [PlannedRequest]) -> impl Iterator<Item = PromptUse> + 'a {
        let mut seen: HashMap<[u8; 16], usize> = HashMap::new();
        let mut first: Vec<(&PlannedRequest, u64)> = Vec::new();
        for request in requests {
            let mut hasher = blake3::Hasher::new();
            hasher.update(self.prompt(request).to_text().as_bytes());
            let mut key = [0u8; 16];
            hasher.finalize_xof().fill(&mut key);
            let place = *seen.entry(key).or_insert_with(|| {
                first.push((request, 0));
                first.len() - 1
            });
            first[place].1 += 1;
        }
        first.into_iter().map(|(request, occurrences)| {
            let prompt = self.prompt(request);
            PromptUse {
                tokens: prompt.tokens().unwrap_or(request.input_tokens),
                text: prompt.to_text(),
                occurrences,
            }
        })
    }
}

impl Prompt {
    /// The text; token ids as numbers with blanks between them.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text { text, .. } => text.clone(),
            Self::Ids(ids) => {
                let words: Vec<String> = ids.iter().map(u32::to_string).collect();
                words.join(" ")
            }
        }
    }

    /// Its length in tokens, where it is known without the server.
    pub fn tokens(&self) -> Option<u32> {
        match self {
            Self::Text { expected_tokens, .. } => *expected_tokens,
            Self::Ids(ids) => Some(ids.len() as u32),
        }
    }
}
