//! From probe requests to the tokens of a word.

/// Fits tokens = overhead + `per_word` * words to what the server reported for probe prompts, by least squares.
/// `samples` holds (words, reported tokens). Returns (overhead, `per_word`), with overhead at least 0 and `per_word`
/// above 0. Probes of a single length give no overhead; without any probe a word is taken for one token.
pub fn calibrate(samples: &[(u32, u32)]) -> (f64, f64) {
    let usable: Vec<(f64, f64)> = samples
        .iter()
        .filter(|(words, tokens)| *words > 0 && *tokens > 0)
        .map(|&(words, tokens)| (f64::from(words), f64::from(tokens)))
        .collect();
    if usable.is_empty() {
        return (0.0, 1.0);
    }
    let count = usable.len() as f64;
    let mean_words = usable.iter().map(|s| s.0).sum::<f64>() / count;
    let mean_tokens = usable.iter().map(|s| s.1).sum::<f64>() / count;
    let spread: f64 = usable.iter().map(|s| (s.0 - mean_words).powi(2)).sum();
    let joint: f64 = usable
        .iter()
        .map(|s| (s.0 - mean_words) * (s.1 - mean_tokens))
        .sum();
    let through_origin = (0.0, mean_tokens / mean_words);
    if spread == 0.0 || joint <= 0.0 {
        return through_origin;
    }
    let per_word = joint / spread;
    let overhead = mean_tokens - per_word * mean_words;
    if overhead < 0.0 {
        through_origin
    } else {
        (overhead, per_word)
    }
}

/// Words for a prompt of `tokens` tokens; at least one.
pub(super) fn words_for(tokens: u32, overhead: f64, per_word: f64) -> usize {
    ((f64::from(tokens) - overhead) / per_word).round().max(1.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_again() {
        let samples: Vec<(u32, u32)> = [10, 100, 1000].map(|w| (w, 8 + w * 5 / 4)).to_vec();
        let (overhead, per_word) = calibrate(&samples);
        assert!((per_word - 1.25).abs() < 1e-3, "{per_word}");
        assert!((overhead - 8.0).abs() < 0.5, "{overhead}");
        assert_eq!(words_for(133, overhead, per_word), 100);
    }

    #[test]
    fn poor_samples_give_a_usable_answer() {
        assert_eq!(calibrate(&[]), (0.0, 1.0));
        assert_eq!(calibrate(&[(0, 5), (5, 0)]), (0.0, 1.0));
        assert_eq!(calibrate(&[(100, 150), (100, 150)]), (0.0, 1.5));
        // Fewer tokens for more words: noise, not a slope.
        assert_eq!(calibrate(&[(10, 20), (20, 10)]), (0.0, 1.0));
        assert_eq!(calibrate(&[(10, 5), (20, 15)]), (0.0, 10.0 / 15.0));
        assert_eq!(words_for(1, 30.0, 1.0), 1);
    }
}
