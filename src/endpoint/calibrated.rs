//! Prompts as text whose length the server's own counts settle.

use std::time::Duration;

use super::{EndpointError, usage};
use crate::loadgen::{Endpoint, PromptEncoding};
use crate::workload::prompts::{PromptFactory, calibrate};

/// Lengths in words of the requests that text is calibrated with.
const CALIBRATION_WORDS: [u32; 4] = [8, 40, 120, 240];
/// Tokens of a word, where the server does not count.
const GUESS: f64 = 1.33;

/// Sends a few texts and reads how many tokens the server counts in them. Returns the encoding, and what is to be said
/// of it.
///
/// # Errors
/// See [`EndpointError`].
pub fn text(
    endpoint: &Endpoint,
    key: Option<&str>,
    timeout: Duration,
) -> Result<(PromptEncoding, String), EndpointError> {
    let texts = PromptFactory::words();
    let Endpoint { base_url, api, model } = endpoint;
    let mut samples = Vec::new();
    for (salt, words) in CALIBRATION_WORDS.into_iter().enumerate() {
        let text = texts.probe(words as usize, salt as u64);
        if let Some(tokens) = usage::prompt_tokens(base_url, api.path(), model, &text, key, timeout)? {
            samples.push((words, tokens));
        }
    }
    if samples.len() < 2 {
        let note = "the server does not report its token counts; prompts are sized by words and their lengths are a guess \
                    (give a TOKENIZER for exact ones)";
        let guess = PromptEncoding::Calibrated {
            overhead: 0.0,
            per_word: GUESS,
        };
        return Ok((guess, note.to_owned()));
    }
    let (overhead, per_word) = calibrate(&samples);
    let note = format!(
        "prompts are text, sized by the server's own counts: {overhead:.1} tokens and {per_word:.2} a word"
    );
    Ok((PromptEncoding::Calibrated { overhead, per_word }, note))
}
