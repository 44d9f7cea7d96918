//! What a bench puts side by side: searches, criteria, arrivals, durations.

use super::Server;
use crate::criterion::Criterion;
use crate::criterion::drift::Drift;
use crate::criterion::welch::{BySign, Welch};
use crate::report::accuracy::Combination;
use crate::search::{Adaptive, AdaptiveConfig, Prior, Search, Stages, StagesConfig, StagesLegacy, StopRule};
use crate::units::Rate;
use crate::workload::Arrival;

/// `SEARCH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchName {
    /// A belief from all trials, and a confirmation.
    Adaptive,
    /// Ramp and bisection.
    Stages,
    /// The older program's sequence of rates.
    StagesLegacy,
}

impl SearchName {
    /// As settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Adaptive => "adaptive",
            Self::Stages => "stages",
            Self::StagesLegacy => "stages-legacy",
        }
    }

    /// The arrivals that it is used with where none are named: the older program's were random.
    pub fn usual_arrival(self) -> Arrival {
        match self {
            Self::Adaptive | Self::Stages => Arrival::Stratified,
            Self::StagesLegacy => Arrival::Poisson,
        }
    }
}

/// `EVALUATION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvaluationName {
    /// Growth of the backlog.
    Drift,
    /// The older rule.
    Welch,
}

impl EvaluationName {
    /// As settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::Welch => "welch",
        }
    }
}

/// One combination.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// `SEARCH`.
    pub search: SearchName,
    /// `EVALUATION`.
    pub evaluation: EvaluationName,
    /// `ARRIVAL`.
    pub arrival: Arrival,
    /// `DURATION`, seconds.
    pub duration_s: f64,
}

/// What all searches have in common, as a `.env` has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// `REQ_MIN_INCREASE_MULTIPLIER`.
    pub multiplier: f64,
    /// `STOP_THRESHOLD`.
    pub stop: StopRule,
    /// `ITERATION_HARD_LIMIT`.
    pub limit: u32,
    /// `--budget`, seconds of load, for the adaptive search.
    pub budget_s: Option<f64>,
    /// `FILTER_BUFFER`, seconds.
    pub filter_buffer_s: i64,
    /// Whether welch resamples as in a real run; else it takes the sign of the difference of means, which is the sign
    /// of the mean of its resamples but for rounding.
    pub bootstrap: bool,
}

impl Choice {
    /// As the summary names it.
    pub fn combination(&self) -> Combination {
        Combination {
            search: self.search.name().to_owned(),
            evaluation: self.evaluation.name().to_owned(),
            arrival: self.arrival.to_string(),
            duration_s: self.duration_s,
        }
    }

    /// The search, beginning at `start`, or with what is believed beforehand.
    pub(super) fn search(&self, rules: &Rules, start: Rate, prior: Option<Prior>) -> Box<dyn Search> {
        let config = StagesConfig {
            start,
            multiplier: rules.multiplier,
            stop: rules.stop,
            limit: rules.limit,
        };
        match self.search {
            SearchName::Adaptive => Box::new(Adaptive::new(self.adaptive(rules, start, prior, true))),
            SearchName::Stages => Box::new(Stages::new(config)),
            SearchName::StagesLegacy => Box::new(StagesLegacy::new(config)),
        }
    }

    /// The adaptive search, with what is believed beforehand.
    pub(super) fn adaptive(
        &self,
        rules: &Rules,
        start: Rate,
        prior: Option<Prior>,
        confirm: bool,
    ) -> AdaptiveConfig {
        AdaptiveConfig {
            start,
            duration_s: self.duration_s,
            stop: rules.stop,
            limit: rules.limit,
            budget_s: rules.budget_s,
            prior,
            confirm,
        }
    }

    /// The criterion for `server`.
    pub(super) fn criterion(&self, rules: &Rules, server: &Server) -> Box<dyn Criterion> {
        let success_rate_percent = server.success_rate_percent();
        match self.evaluation {
            EvaluationName::Drift => Box::new(Drift::new(success_rate_percent)),
            EvaluationName::Welch => {
                let welch = Welch {
                    filter_buffer_s: rules.filter_buffer_s,
                    success_rate_percent,
                };
                if rules.bootstrap {
                    Box::new(welch)
                } else {
                    Box::new(BySign(welch))
                }
            }
        }
    }
}
