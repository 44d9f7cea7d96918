//! What one request is measured by, from the times between its tokens. Definitions of etalon and, where they differ, veeksha.

use serde::{Deserialize, Serialize};

/// A request as its client saw it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// Seconds: the first is from sending to the first token or chunk, each further one from the one before.
    pub gaps: Vec<f64>,
    /// Tokens of the answer.
    pub output_tokens: u64,
}

impl Timeline {
    /// Where each gap is a token.
    pub fn of_tokens(gaps: Vec<f64>) -> Self {
        Self {
            output_tokens: gaps.len() as u64,
            gaps,
        }
    }

    /// Time to the first token or chunk, seconds; 0 without one.
    pub fn ttft(&self) -> f64 {
        self.gaps.first().copied().unwrap_or(0.0)
    }

    /// The gaps after the first.
    pub fn after_first(&self) -> &[f64] {
        self.gaps.get(1..).unwrap_or(&[])
    }

    /// Time from sending to the end, seconds.
    pub fn e2e(&self) -> f64 {
        // A sum from a negative zero, as the standard one, would show as -0.
        self.gaps.iter().fold(0.0, |sum, gap| sum + gap)
    }

    /// Mean gap after the first token, seconds; 0 with fewer than two (etalon's TPOT, veeksha's mean TBC).
    pub fn mean_gap(&self) -> f64 {
        mean(self.after_first())
    }

    /// Time after the first chunk for each token after the first, seconds; 0 with fewer than two tokens (veeksha's TPOT).
    pub fn tpot_of_tokens(&self) -> f64 {
        if self.output_tokens <= 1 {
            0.0
        } else {
            (self.e2e() - self.ttft()) / (self.output_tokens - 1) as f64
        }
    }

    /// End-to-end time for each token of the answer, seconds; 0 without tokens.
    pub fn normalized_e2e(&self) -> f64 {
        if self.output_tokens == 0 {
            0.0
        } else {
            self.e2e() / self.output_tokens as f64
        }
    }

    /// Tokens per second over the whole request; 0 where it took no time.
    pub fn output_throughput(&self) -> f64 {
        let e2e = self.e2e();
        if e2e == 0.0 {
            0.0
        } else {
            self.output_tokens as f64 / e2e
        }
    }
}

/// The mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        0.0
    } else {
        values.iter().sum::<f64>() / values.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_chunks() {
        let tokens = Timeline::of_tokens(vec![0.5, 0.25, 0.25]);
        assert_eq!((tokens.ttft(), tokens.e2e(), tokens.mean_gap()), (0.5, 1.0, 0.25));
        assert_eq!(
            (tokens.normalized_e2e(), tokens.output_throughput()),
            (1.0 / 3.0, 3.0)
        );
        let chunks = Timeline {
            gaps: vec![0.5, 0.5],
            output_tokens: 5,
        };
        assert_eq!((chunks.mean_gap(), chunks.tpot_of_tokens()), (0.5, 0.125));
        let nothing = Timeline::default();
        assert_eq!(
            (nothing.ttft(), nothing.e2e(), nothing.output_throughput()),
            (0.0, 0.0, 0.0)
        );
        assert!(nothing.e2e().is_sign_positive());
    }
}
