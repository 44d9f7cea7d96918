//! Lengths of traces that were published, from their statistics.
//!
//! A length is drawn from its quantiles, straight lines between them; prompt and response are joined by a normal copula with
//! the trace's rank correlation. The quantiles are those of the CSV files of etalon d5f18de1, `data/processed_traces/`
//! (Apache-2.0), in tokens of Llama 2. How far the stand-in is off, over its whole distribution:
//!
//! | trace | prompt: mean, P50, P99 | drawn | response | drawn | both: P50, P95, P99, longest | drawn |
//! |---|---|---|---|---|---|---|
//! | `sharegpt_8k`, 30,731 rows | 2340, 1730, 7434 | +0.2, 0, 0 % | 439, 415, 998 | 0, 0, 0 % | 2202, 7038, 7863, 8149 | 0, 0, +1, +12 % |
//! | `arxiv_summarization_v2`, 28,257 | 2588, 2730, 3933 | 0, 0, 0 % | 291, 167, 3271 | +2, 0, 0 % | 2992, 4001, 4077, 4096 | 0, +3, +46, +95 % |
//! | `bwb_v2`, 33,768 | 1067, 1037, 1800 | -0.6, 0, 0 % | 1613, 1601, 2533 | -0.6, 0, 0 % | 2640, 3906, 4064, 4096 | 0, -2, +5, +55 % |
//!
//! The totals differ at the end because the traces were cut at 4096 (8192) tokens, prompt and response together, which their
//! marginals do not say: in the arXiv trace the longest responses have short prompts, and here they need not.

use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// A published trace whose statistics are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishedLengths {
    /// Chats, cut at 8192 tokens: `sharegpt_8k_filtered_stats_llama2_tokenizer.csv`.
    #[serde(rename = "sharegpt_8k")]
    ShareGpt8k,
    /// Articles and their summaries: `arxiv_summarization_stats_llama2_tokenizer_filtered_v2.csv`.
    #[serde(rename = "arxiv_summarization_v2")]
    ArxivSummarizationV2,
    /// Translated chapters of books: `bwb_stats_llama2_tokenizer_filtered_v2.csv`.
    #[serde(rename = "bwb_v2")]
    BwbV2,
}

/// The shares at which quantiles are known.
const LEVELS: [f64; 25] = [
    0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9,
    0.95, 0.97, 0.98, 0.99, 0.995, 1.0,
];

/// What is known of a trace.
struct Statistics {
    /// Quantiles of the prompts and of the responses, tokens.
    quantiles: [[u16; LEVELS.len()]; 2],
    /// Correlation of the normal variates behind both: `2 sin(pi r / 6)` of Spearman's `r`.
    correlation: f64,
}

const SHAREGPT_8K: Statistics = Statistics {
    quantiles: [
        [
            1, 29, 74, 180, 382, 580, 777, 973, 1203, 1457, 1730, 2060, 2401, 2799, 3235, 3734, 4278, 4918,
            5696, 6563, 6950, 7164, 7434, 7622, 8141,
        ],
        [
            2, 44, 84, 130, 181, 228, 271, 312, 346, 381, 415, 453, 493, 534, 581, 628, 683, 754, 834, 920,
            957, 975, 998, 1009, 1024,
        ],
    ],
    correlation: 0.053,
};

const ARXIV_SUMMARIZATION_V2: Statistics = Statistics {
    quantiles: [
        [
            1, 749, 1242, 1564, 1802, 1986, 2150, 2308, 2453, 2596, 2730, 2861, 2996, 3127, 3249, 3370, 3490,
            3597, 3702, 3813, 3863, 3892, 3933, 3963, 4054,
        ],
        [
            5, 60, 78, 92, 104, 115, 125, 135, 145, 156, 167, 179, 192, 206, 222, 242, 268, 304, 372, 736,
            2200, 2775, 3271, 3582, 4056,
        ],
    ],
    correlation: -0.119,
};

const BWB_V2: Statistics = Statistics {
    quantiles: [
        [
            5, 682, 789, 844, 883, 915, 943, 968, 992, 1015, 1037, 1059, 1084, 1111, 1141, 1178, 1231, 1326,
            1453, 1584, 1654, 1708, 1800, 1896, 3504,
        ],
        [
            6, 1017, 1209, 1305, 1369, 1421, 1465, 1504, 1539, 1571, 1601, 1631, 1662, 1692, 1726, 1768,
            1828, 1954, 2149, 2342, 2420, 2470, 2533, 2587, 2858,
        ],
    ],
    correlation: 0.819,
};

impl PublishedLengths {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShareGpt8k => "sharegpt_8k",
            Self::ArxivSummarizationV2 => "arxiv_summarization_v2",
            Self::BwbV2 => "bwb_v2",
        }
    }

    fn statistics(self) -> &'static Statistics {
        match self {
            Self::ShareGpt8k => &SHAREGPT_8K,
            Self::ArxivSummarizationV2 => &ARXIV_SUMMARIZATION_V2,
            Self::BwbV2 => &BWB_V2,
        }
    }

    /// Draws a prompt and a response, each from its own stream.
    pub(super) fn draw(self, prompts: &mut Pcg64, responses: &mut Pcg64) -> (u32, u32) {
        let Statistics {
            quantiles: [input, output],
            correlation,
        } = self.statistics();
        let normal = Normal::standard();
        // Never quite 0, of which there is no variate.
        let uniform = |rng: &mut Pcg64| rng.random::<f64>().max(f64::MIN_POSITIVE);
        let share = uniform(prompts);
        let (first, own) = (normal.inverse_cdf(share), normal.inverse_cdf(uniform(responses)));
        let second = correlation * first + (1.0 - correlation * correlation).sqrt() * own;
        (at(input, share), at(output, normal.cdf(second)))
    }
}

/// The length below which a share of all lengths lies.
fn at(quantiles: &[u16; LEVELS.len()], share: f64) -> u32 {
    let above = LEVELS
        .partition_point(|level| *level <= share)
        .min(LEVELS.len() - 1);
    let below = above.saturating_sub(1);
    let [low, high] = [below, above].map(|place| f64::from(quantiles[place]));
    let part = (share - LEVELS[below]) / (LEVELS[above] - LEVELS[below]);
    (low + part.clamp(0.0, 1.0) * (high - low)).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::seeds;

    fn drawn(trace: PublishedLengths) -> [Vec<f64>; 3] {
        let (mut a, mut b) = (
            seeds::stream(5, "input lengths"),
            seeds::stream(5, "output lengths"),
        );
        let mut lists = [const { Vec::new() }; 3];
        for _ in 0..100_000 {
            let (input, output) = trace.draw(&mut a, &mut b);
            for (list, tokens) in lists.iter_mut().zip([input, output, input + output]) {
                list.push(f64::from(tokens));
            }
        }
        for list in &mut lists {
            list.sort_by(f64::total_cmp);
        }
        lists
    }

    #[test]
    fn mean_median_and_tail_are_those_of_the_traces() {
        let known = [
            (
                PublishedLengths::ShareGpt8k,
                [[2340.0, 1730.0, 7434.0], [438.7, 415.0, 998.0]],
                2778.7,
            ),
            (
                PublishedLengths::ArxivSummarizationV2,
                [[2588.1, 2730.0, 3933.0], [291.4, 167.0, 3271.0]],
                2879.5,
            ),
            (
                PublishedLengths::BwbV2,
                [[1067.2, 1037.0, 1800.0], [1612.8, 1601.0, 2533.0]],
                2680.0,
            ),
        ];
        for (trace, sides, total) in known {
            let lists = drawn(trace);
            let mean = |list: &[f64]| list.iter().sum::<f64>() / list.len() as f64;
            for (list, [wanted, median, tail]) in lists.iter().zip(sides) {
                for (what, is, should) in [
                    ("mean", mean(list), wanted),
                    ("median", list[list.len() / 2], median),
                    ("P99", list[list.len() * 99 / 100], tail),
                ] {
                    assert!(
                        (is / should - 1.0).abs() < 0.03,
                        "{trace:?} {what}: {is}, not {should}"
                    );
                }
                assert!(list[0] >= 1.0);
            }
            assert!((mean(&lists[2]) / total - 1.0).abs() < 0.01, "{trace:?}");
        }
    }

    #[test]
    fn prompts_and_responses_hang_together_as_in_the_trace() {
        let correlation = |trace: PublishedLengths| {
            let (mut a, mut b) = (seeds::stream(6, "a"), seeds::stream(6, "b"));
            let pairs: Vec<(f64, f64)> = (0..50_000)
                .map(|_| trace.draw(&mut a, &mut b))
                .map(|(x, y)| (f64::from(x), f64::from(y)))
                .collect();
            let n = pairs.len() as f64;
            let (mx, my) = (
                pairs.iter().map(|p| p.0).sum::<f64>() / n,
                pairs.iter().map(|p| p.1).sum::<f64>() / n,
            );
            let sum = |f: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|(x, y)| f(x - mx, y - my)).sum::<f64>();
            sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
        };
        // Pearson's of the traces: 0.785, 0.041, -0.463; the last one's comes from the cut at 4096 tokens.
        assert!((correlation(PublishedLengths::BwbV2) - 0.785).abs() < 0.02);
        assert!((correlation(PublishedLengths::ShareGpt8k) - 0.041).abs() < 0.03);
        let arxiv = correlation(PublishedLengths::ArxivSummarizationV2);
        assert!((-0.12..-0.03).contains(&arxiv), "{arxiv}");
    }
}
