//! Stands in for the counter where the program is built without the feature `tokenizer`.

use std::path::Path;

use rand::Rng;

use super::{PromptError, corpus::Corpus};

/// Never made.
pub(super) enum Counter {}

impl Counter {
    /// Always an error that says how to mend it.
    pub(super) fn load(path: &Path, _: &Corpus) -> Result<Self, PromptError> {
        Err(PromptError::Tokenizer {
            path: path.to_owned(),
            why: "this program was built without tokenizers; build it with the feature `tokenizer`, or unset TOKENIZER"
                .to_owned(),
        })
    }

    pub(super) fn count(&self, _: &str) -> Result<u32, String> {
        match *self {}
    }

    pub(super) fn text(&self, _: &Corpus, _: u32, _: bool, _: u64) -> (String, u32) {
        match *self {}
    }

    pub(super) fn fit(&self, _: &Corpus, _: String, _: u32, _: &mut impl Rng) -> (String, u32) {
        match *self {}
    }
}
