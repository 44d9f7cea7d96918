//! Objectives and rates of etalon: three types of objectives over the requests of a trial that were answered.
//!
//! Failed requests are not among them: the published rule does not see them. Quantiles are linear, comparisons have no
//! tolerance.

use serde::{Deserialize, Serialize};

use super::deadline::{Deadlines, Misses, led_by_zero};
use super::timeline::mean;
use crate::stats::describe::mean_rounded_once;
use crate::stats::quantile::quantile_of;

/// Share of missed deadlines that the token rate by deadlines allows.
const ALLOWED: f64 = 0.1;
/// Quantile of the token rates.
const HIGH: f64 = 0.99;

/// An objective, by the names of etalon's flags. Times in seconds, quantiles and rates as shares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "slo_type", rename_all = "snake_case")]
pub enum EtalonSlo {
    /// The quantile over requests of their miss rates.
    Deadline {
        /// Added to the predicted prefill time of a request: its first deadline.
        ttft_slack_slo: f64,
        /// Deadline of each further token.
        tbt_slo: f64,
        /// Which quantile.
        deadline_miss_rate_percentile: f64,
        /// Highest miss rate.
        deadline_miss_rate_slo: f64,
    },
    /// The gaps of all requests together, and the times to first token.
    TbtTtft {
        /// Longest gap.
        tbt_slo: f64,
        /// At which quantile.
        tbt_percentile: f64,
        /// Longest time to first token.
        ttft_slo: f64,
        /// At which quantile.
        ttft_percentile: f64,
    },
    /// Times to first token, and the requests' mean gaps.
    TtftTpot {
        /// Longest time to first token.
        ttft_slo: f64,
        /// At which quantile.
        ttft_percentile: f64,
        /// Longest mean gap; that of a request with one token is 0.
        tpot_slo: f64,
        /// At which quantile.
        tpot_percentile: f64,
    },
}

/// A request that was answered. Seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// Time to first token.
    pub ttft: f64,
    /// Gaps between its tokens.
    pub tbt: Vec<f64>,
    /// How long its prompt takes on an idle server, where the objective asks for that.
    #[serde(default)]
    pub predicted_prefill_s: f64,
}

impl Answered {
    /// The mean gap; 0 with one token.
    pub fn tpot(&self) -> f64 {
        mean_rounded_once(&self.tbt).unwrap_or(0.0)
    }

    /// Its missed deadlines, the first at `slack` after the predicted prefill time.
    pub fn misses(&self, slack: f64, token: f64) -> Misses {
        let mut gaps = Vec::with_capacity(self.tbt.len() + 1);
        gaps.push(self.ttft);
        gaps.extend_from_slice(&self.tbt);
        Deadlines::new(self.predicted_prefill_s + slack, token).count(&gaps)
    }
}

/// What an objective looks at; each type fills in its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Quantile of the miss rates.
    pub deadline_miss_rate: Option<f64>,
    /// Quantile of all gaps, seconds.
    pub tbt: Option<f64>,
    /// Quantile of the times to first token, seconds.
    pub ttft: Option<f64>,
    /// Quantile of the mean gaps, seconds.
    pub tpot: Option<f64>,
}

impl EtalonSlo {
    /// Measures a trial. A value is missing where there is nothing to take a quantile of; there etalon ends with an error.
    pub fn see(&self, requests: &[Answered]) -> Seen {
        let ttft = |p| quantile_of(&requests.iter().map(|r| r.ttft).collect::<Vec<_>>(), p);
        let mut seen = Seen::default();
        match *self {
            Self::Deadline {
                ttft_slack_slo,
                tbt_slo,
                deadline_miss_rate_percentile,
                ..
            } => {
                let rates: Vec<f64> = requests
                    .iter()
                    .map(|request| request.misses(ttft_slack_slo, tbt_slo).rate())
                    .collect();
                seen.deadline_miss_rate = quantile_of(&rates, deadline_miss_rate_percentile);
            }
            Self::TbtTtft {
                tbt_percentile,
                ttft_percentile,
                ..
            } => {
                seen.tbt = quantile_of(&all_gaps(requests), tbt_percentile);
                seen.ttft = ttft(ttft_percentile);
            }
            Self::TtftTpot {
                ttft_percentile,
                tpot_percentile,
                ..
            } => {
                let means: Vec<f64> = requests.iter().map(Answered::tpot).collect();
                seen.ttft = ttft(ttft_percentile);
                seen.tpot = quantile_of(&means, tpot_percentile);
            }
        }
        seen
    }

    /// Whether what was seen keeps the objective; `None` where something is missing.
    pub fn holds(&self, seen: &Seen) -> Option<bool> {
        Some(match *self {
            Self::Deadline {
                deadline_miss_rate_slo,
                ..
            } => seen.deadline_miss_rate? <= deadline_miss_rate_slo,
            Self::TbtTtft {
                tbt_slo, ttft_slo, ..
            } => {
                let (tbt, ttft) = (seen.tbt?, seen.ttft?);
                tbt <= tbt_slo && ttft <= ttft_slo
            }
            Self::TtftTpot {
                ttft_slo, tpot_slo, ..
            } => {
                let (ttft, tpot) = (seen.ttft?, seen.tpot?);
                ttft <= ttft_slo && tpot <= tpot_slo
            }
        })
    }
}

/// The gaps of all requests together.
pub fn all_gaps(requests: &[Answered]) -> Vec<f64> {
    requests.iter().flat_map(|r| r.tbt.iter().copied()).collect()
}

/// Tokens a second that one request is promised, in three readings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TokenRates {
    /// One over the mean of the requests' mean gaps.
    pub tpot_based: f64,
    /// One over the P99 of all gaps.
    pub tbt_p99_based: f64,
    /// One over the P99 of the requests' smallest deadlines that at most a tenth of their tokens miss.
    pub deadline_p99_at_10pct_miss_based: f64,
}

/// The token rates of a trial; `None` without a single gap.
pub fn token_rates(requests: &[Answered]) -> Option<TokenRates> {
    let means: Vec<f64> = requests.iter().map(Answered::tpot).collect();
    let smallest: Vec<f64> = requests
        .iter()
        .map(|r| Deadlines::of_tokens(1.0).smallest_token_deadline(&led_by_zero(&r.tbt), ALLOWED))
        .collect();
    Some(TokenRates {
        tpot_based: 1.0 / mean(&means),
        tbt_p99_based: 1.0 / quantile_of(&all_gaps(requests), HIGH)?,
        deadline_p99_at_10pct_miss_based: 1.0 / quantile_of(&smallest, HIGH)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(ttft: f64, tbt: &[f64]) -> Answered {
        Answered {
            ttft,
            tbt: tbt.to_vec(),
            predicted_prefill_s: 0.25,
        }
    }

    #[test]
    fn each_type_sees_its_own() {
        let requests = [answered(0.5, &[0.25, 0.75]), answered(1.0, &[])];
        let slo: EtalonSlo = serde_json::from_str(
            r#"{"slo_type": "tbt_ttft", "tbt_slo": 0.5, "tbt_percentile": 0.5, "ttft_slo": 0.75, "ttft_percentile": 0.5}"#,
        )
        .unwrap();
        let seen = slo.see(&requests);
        assert_eq!((seen.tbt, seen.ttft, seen.tpot), (Some(0.5), Some(0.75), None));
        assert_eq!(slo.holds(&seen), Some(true));
        let slo = EtalonSlo::TtftTpot {
            ttft_slo: 1.0,
            ttft_percentile: 1.0,
            tpot_slo: 0.2,
            tpot_percentile: 0.5,
        };
        // The request with one token has a mean gap of 0.
        assert_eq!(slo.see(&requests).tpot, Some(0.25));
        assert_eq!(slo.holds(&slo.see(&requests)), Some(false));
        let slo = EtalonSlo::Deadline {
            ttft_slack_slo: 0.25,
            tbt_slo: 0.25,
            deadline_miss_rate_percentile: 1.0,
            deadline_miss_rate_slo: 0.75,
        };
        // First: on time, on time, three deadlines gone by. Second: 1 + 0.5 / 0.25.
        assert_eq!(requests[0].misses(0.25, 0.25), Misses { missed: 3, total: 5 });
        assert_eq!(requests[1].misses(0.25, 0.25), Misses { missed: 3, total: 3 });
        assert_eq!(slo.see(&requests).deadline_miss_rate, Some(1.0));
    }

    #[test]
    fn nothing_measured_is_no_verdict() {
        let slo = EtalonSlo::TbtTtft {
            tbt_slo: 1.0,
            tbt_percentile: 0.5,
            ttft_slo: 1.0,
            ttft_percentile: 0.5,
        };
        assert_eq!(slo.holds(&slo.see(&[answered(0.1, &[])])), None);
        assert_eq!(token_rates(&[]), None);
    }

    #[test]
    fn a_bound_that_is_met_exactly_is_met() {
        let slo = EtalonSlo::TtftTpot {
            ttft_slo: 0.868,
            ttft_percentile: 0.9,
            tpot_slo: 0.05,
            tpot_percentile: 0.9,
        };
        let requests = [answered(0.58, &[0.05; 3]), answered(0.9, &[0.05; 3])];
        assert_eq!(slo.holds(&slo.see(&requests)), Some(true));
    }
}
