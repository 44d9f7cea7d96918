//! How prompts are put on the wire.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How prompts are put on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptEncoding {
    /// A list of token ids drawn from `[low, high)`: exact counts without a tokenizer (completions only).
    TokenIds {
        /// Smallest id.
        low: u32,
        /// One more than the largest id.
        high: u32,
    },
    /// Text, counted by a `tokenizer.json`, special tokens that it adds (such as a start token) included: a completions
    /// server counts them too.
    Tokenizer {
        /// Path of the file.
        path: PathBuf,
    },
    /// Text, its length calibrated against the usage that the server reported: tokens = overhead + `per_word` * words.
    Calibrated {
        /// Tokens that the server adds to every prompt (chat template, start token).
        overhead: f64,
        /// Mean tokens of a word.
        per_word: f64,
    },
}

impl PromptEncoding {
    /// Token ids inside every vocabulary in use (the smallest has some 32,000), and above the special and byte tokens at
    /// its start.
    pub const ANY_IDS: Self = Self::TokenIds {
        low: 1_000,
        high: 30_000,
    };
}
