//! When a prefill should have ended.

use serde::{Deserialize, Serialize};

use super::SourceError;
use crate::sim::{Request, Source, Time};

/// How long a request may take to its first token: the longer of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeadlineRule {
    /// Seconds for each token of the prompt.
    #[serde(default)]
    pub slo_prefill_e2e_time_normalized: Option<f64>,
    /// Seconds, however short the prompt is.
    #[serde(default)]
    pub slo_prefill_e2e_time_min: Option<f64>,
}

impl DeadlineRule {
    /// The deadline of a request; [`Time::MAX`] if the rule says nothing.
    pub fn of(&self, request: &Request) -> Time {
        let scaled = self.slo_prefill_e2e_time_normalized;
        let scaled = scaled.map(|s| s * f64::from(request.input_tokens));
        match (scaled, self.slo_prefill_e2e_time_min) {
            (None, None) => Time::MAX,
            (Some(a), Some(b)) => request.arrival + Time::from_seconds(a.max(b)),
            (Some(a), None) | (None, Some(a)) => request.arrival + Time::from_seconds(a),
        }
    }
}

/// Gives the requests of another source their deadlines, for the queue `edf`.
#[derive(Clone, Debug)]
pub struct Deadlines<S> {
    inner: S,
    rule: DeadlineRule,
}

impl<S: Source> Deadlines<S> {
    /// Puts the rule to the requests of `inner`.
    ///
    /// # Errors
    /// If a time is not above zero.
    pub fn new(inner: S, rule: DeadlineRule) -> Result<Self, SourceError> {
        for (field, value) in [
            (
                "slo_prefill_e2e_time_normalized",
                rule.slo_prefill_e2e_time_normalized,
            ),
            ("slo_prefill_e2e_time_min", rule.slo_prefill_e2e_time_min),
        ] {
            if let Some(bad) = value.filter(|v| !(v.is_finite() && *v > 0.0)) {
                return Err(SourceError::Range {
                    field,
                    value: bad.to_string(),
                    range: "a number of seconds above zero",
                });
            }
        }
        Ok(Self { inner, rule })
    }
}

impl<S: Source> Source for Deadlines<S> {
    fn peek(&mut self) -> Option<Time> {
        self.inner.peek()
    }

    fn next(&mut self) -> Option<Request> {
        self.inner.next().map(|request| Request {
            deadline: self.rule.of(&request),
            ..request
        })
    }

    fn closed_loop(&self) -> bool {
        self.inner.closed_loop()
    }

    fn completed(&mut self, id: u64, at: Time) {
        self.inner.completed(id, at);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RequestLengths, Synthetic, SyntheticConfig};
    use super::*;
    use crate::workload::{Gaps, TokenDistribution};

    fn requests(rule: DeadlineRule) -> Vec<Request> {
        let config = SyntheticConfig {
            lengths: RequestLengths::Separate {
                input: TokenDistribution::Uniform { min: 1, max: 1000 },
                output: TokenDistribution::Fixed { tokens: 3 },
            },
            arrivals: Gaps::Poisson,
            rate: 3.0,
            count: Some(50),
        };
        let inner: Box<dyn Source> = Box::new(Synthetic::new(&config, 4).unwrap());
        let mut source = Deadlines::new(inner, rule).unwrap();
        std::iter::from_fn(move || source.next()).collect()
    }

    #[test]
    fn the_longer_allowance_counts() {
        let rule = |normalized, min| DeadlineRule {
            slo_prefill_e2e_time_normalized: normalized,
            slo_prefill_e2e_time_min: min,
        };
        assert!(
            requests(DeadlineRule::default())
                .iter()
                .all(|r| r.deadline == Time::MAX)
        );
        for r in requests(rule(Some(0.01), Some(2.0))) {
            let allowed = (r.input_tokens * 10).max(2_000);
            assert_eq!(
                r.deadline,
                r.arrival + Time::from_ns(u64::from(allowed) * 1_000_000)
            );
        }
        for r in requests(rule(None, Some(2.0))) {
            assert_eq!(r.deadline - r.arrival, Time::from_seconds(2.0));
        }
    }

    #[test]
    fn a_rule_without_sense_is_refused() {
        let rule = DeadlineRule {
            slo_prefill_e2e_time_normalized: Some(-1.0),
            slo_prefill_e2e_time_min: None,
        };
        let inner: Box<dyn Source> = Box::new(Empty);
        let error = Deadlines::new(inner, rule).err().unwrap().to_string();
        assert!(
            error.contains("`slo_prefill_e2e_time_normalized` is -1"),
            "{error}"
        );
    }

    struct Empty;
    impl Source for Empty {
        fn peek(&mut self) -> Option<Time> {
            None
        }
        fn next(&mut self) -> Option<Request> {
            None
        }
    }
}
