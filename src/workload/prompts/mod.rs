//! Prompts of a wanted token count, from the text that ships with the program or from a prompts file.
//!
//! How exact the count is depends on the [`PromptEncoding`]: token ids are exact by construction, a `tokenizer.json` gives
//! text that encodes to the wanted count (special tokens that it adds included), and calibrated text comes near, its true
//! count being what the server reports. A prompt depends on the request's salt only, never on the order of the calls.

mod calibrate;
mod corpus;
#[cfg(feature = "tokenizer")]
mod counter;
mod encoding;
mod file;
mod shares;
#[cfg(not(feature = "tokenizer"))]
mod uncounted;
mod uses;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rand::{Rng, RngExt};

pub use calibrate::calibrate;
pub use encoding::PromptEncoding;
pub use file::digest_of_file;
pub use shares::achieved_shares;
pub use uses::PromptUse;

use super::{LengthClass, PlannedRequest, PromptSource, PromptSpec, seeds};
use crate::units::TokenRange;
use corpus::{Corpus, PREFIX_WORDS};
#[cfg(feature = "tokenizer")]
use counter::Counter;
use file::FilePrompts;
#[cfg(not(feature = "tokenizer"))]
use uncounted::Counter;

/// A prompt, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Token ids.
    Ids(Vec<u32>),
    /// Text.
    Text {
        /// The text.
        text: String,
        /// Its length in tokens; `None` where only the server can tell.
        expected_tokens: Option<u32>,
    },
}

/// The error of making prompts.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// A line of the prompts file is not a prompt.
    #[error("{}:{line}: {why}", path.display())]
    Line {
        /// The prompts file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The prompts file has no prompt of the wanted length.
    #[error("{}: no prompt has {wanted} tokens; {present}", path.display())]
    NoneInRange {
        /// The prompts file.
        path: PathBuf,
        /// The input range of the class.
        wanted: TokenRange,
        /// What the file holds instead.
        present: String,
    },
    /// The prompts file is not the one that the trial was planned with.
    #[error("{}: its content has changed since the trial was planned; run again to plan with what it holds now", path.display())]
    Changed {
        /// The prompts file.
        path: PathBuf,
    },
    /// The prompts come from a file, and none is named.
    #[error("prompts come from a file, but no file is given; set PROMPTS_FILE")]
    NoFile,
    /// The tokenizer cannot be used.
    #[error("{}: cannot be used as a tokenizer: {why}", path.display())]
    Tokenizer {
        /// Path of the `tokenizer.json`.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The encoding's numbers make no sense.
    #[error("{0}")]
    Encoding(String),
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

enum Encoding {
    Ids { low: u32, high: u32 },
    Counted(Box<Counter>),
    Calibrated { overhead: f64, per_word: f64 },
}

/// Makes the prompts of a trial. Cheap to call from several threads.
pub struct PromptFactory {
    unique: bool,
    corpus: Corpus,
    file: Option<FilePrompts>,
    encoding: Encoding,
}

impl PromptFactory {
    /// Loads what the prompts of these classes need.
    ///
    /// # Errors
    /// When the prompts file or the tokenizer cannot be read or does not fit, with file and line.
    pub fn new(
        spec: &PromptSpec,
        classes: &[LengthClass],
        encoding: &PromptEncoding,
        prompts_file: Option<&Path>,
    ) -> Result<Self, PromptError> {
        let corpus = Corpus::builtin();
        let encoding = match *encoding {
            PromptEncoding::TokenIds { low, high } if low < high => Encoding::Ids { low, high },
            PromptEncoding::TokenIds { low, high } => {
                return Err(PromptError::Encoding(format!(
                    "no token id lies in [{low}, {high})"
                )));
            }
            PromptEncoding::Tokenizer { ref path } => {
                Encoding::Counted(Box::new(Counter::load(path, &corpus)?))
            }
            PromptEncoding::Calibrated { overhead, per_word } => {
                if !(overhead.is_finite() && per_word.is_finite() && per_word > 0.0) {
                    return Err(PromptError::Encoding(format!(
                        "a prompt cannot be calibrated with {overhead} tokens and {per_word} tokens a word"
                    )));
                }
                Encoding::Calibrated { overhead, per_word }
            }
        };
        let file = match &spec.source {
            PromptSource::Builtin => None,
            PromptSource::File { digest } => {
                let path = prompts_file.ok_or(PromptError::NoFile)?;
                let counter = match &encoding {
                    Encoding::Counted(counter) => Some(&**counter),
                    _ => None,
                };
                Some(FilePrompts::load(path, classes, counter, digest)?)
            }
        };
        Ok(Self {
            unique: spec.unique_prefix,
            corpus,
            file,
            encoding,
        })
    }

    /// Prompts of common words, a token each: for [`PromptFactory::probe`].
    pub fn words() -> Self {
        Self {
            unique: true,
            corpus: Corpus::builtin(),
            file: None,
            encoding: Encoding::Calibrated {
                overhead: 0.0,
                per_word: 1.0,
            },
        }
    }

    /// The prompt of a request. With unique prefixes every salt gives its own first tokens; without, all prompts of a
    /// length are the same text (or, from a file, the file's texts as they stand).
    pub fn prompt(&self, request: &PlannedRequest) -> Prompt {
        let wanted = request.input_tokens;
        if let Some(file) = &self.file {
            return self.file_prompt(file, request);
        }
        match &self.encoding {
            Encoding::Ids { low, high } => {
                let salt = if self.unique { request.salt } else { 0 };
                let mut rng = seeds::stream(salt, "prompt ids");
                Prompt::Ids((0..wanted).map(|_| rng.random_range(*low..*high)).collect())
            }
            Encoding::Counted(counter) => {
                let salt = if self.unique { request.salt } else { 0 };
                let (text, tokens) = counter.text(&self.corpus, wanted, self.unique, salt);
                Prompt::Text {
                    text,
                    expected_tokens: Some(tokens),
                }
            }
            Encoding::Calibrated { overhead, per_word } => Prompt::Text {
                text: self.probe(calibrate::words_for(wanted, *overhead, *per_word), request.salt),
                expected_tokens: None,
            },
        }
    }

    /// A text of `words` words of the kind that calibrated prompts consist of: for the probe requests whose reported
    /// lengths [`calibrate`] reads.
    pub fn probe(&self, words: usize, salt: u64) -> String {
        let mut rng = seeds::stream(salt, "prompt");
        self.corpus.common_words(words, self.unique, &mut rng)
    }

    fn file_prompt(&self, file: &FilePrompts, request: &PlannedRequest) -> Prompt {
        let mut rng = seeds::stream(request.salt, "prompt");
        let choice = &file.by_class[usize::from(request.class)];
        let chosen = &file.prompts[choice[rng.random_range(0..choice.len())] as usize];
        if !self.unique {
            return Prompt::Text {
                text: chosen.text.clone(),
                expected_tokens: Some(chosen.tokens),
            };
        }
        let text = self.with_own_prefix(&chosen.text, &mut rng);
        let (text, tokens) = match &self.encoding {
            Encoding::Counted(counter) => counter.fit(&self.corpus, text, chosen.tokens, &mut rng),
            _ => (text, chosen.tokens),
        };
        Prompt::Text {
            text,
            expected_tokens: Some(tokens),
        }
    }

    /// A text with words of its own before it, and as many taken off its end.
    fn with_own_prefix(&self, text: &str, rng: &mut impl Rng) -> String {
        let words = text.split_whitespace().count();
        let own = PREFIX_WORDS.min(words / 2);
        let prefix: Vec<u32> = (0..own).map(|_| self.corpus.any_plain(rng)).collect();
        let mut kept = text.trim_end();
        for _ in 0..own {
            kept = kept
                .rfind(char::is_whitespace)
                .map_or(kept, |at| kept[..at].trim_end());
        }
        if own == 0 {
            return kept.to_owned();
        }
        format!("{} {kept}", self.corpus.join(&prefix))
    }
}
