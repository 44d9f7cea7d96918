//! How rates are chosen, as the file of `mst capacity` says it.

use serde::{Deserialize, Serialize};

use super::positive;

/// A rule by which rates are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// From the margins of all trials; an answer with an interval.
    #[default]
    Adaptive,
    /// etalon's sequence of rates.
    Etalon,
    /// sarathi-serve's.
    Sarathi,
    /// veeksha's.
    Veeksha,
    /// That of Vidur's config explorer.
    Vidur,
    /// The given rates, whatever comes out.
    Rates,
}

/// How rates are chosen. Rates in requests a second.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct SearchRule {
    /// By which rule.
    pub rule: Rule,
    /// First rate, where a workload names none.
    pub start_qps: f64,
    /// Most trials (of the published rules: iterations, as they count them). Default: 25 adaptive, else 20.
    #[serde(alias = "max_iterations")]
    pub max_trials: Option<u32>,
    /// `adaptive`: half width of the 95 % interval, as a share, that is narrow enough.
    pub tolerance: f64,
    /// `etalon`, `sarathi`, `vidur`: how near bounds are when the search ends, percent.
    #[serde(alias = "min_search_granularity")]
    pub granularity_percent: f64,
    /// Nothing is searched below.
    pub min_qps: f64,
    /// Nor above; `veeksha`: its upper end.
    pub max_qps: Option<f64>,
    /// `veeksha`: factor of its steps.
    pub expansion_factor: f64,
    /// `veeksha`: decimal places of its rates.
    pub precision: u8,
    /// `rates`: which.
    pub rates: Vec<f64>,
}

impl Default for SearchRule {
    fn default() -> Self {
        Self {
            rule: Rule::Adaptive,
            start_qps: 1.0,
            max_trials: None,
            tolerance: 0.025,
            granularity_percent: 2.5,
            min_qps: 0.001,
            max_qps: None,
            expansion_factor: 2.0,
            precision: 2,
            rates: Vec::new(),
        }
    }
}

impl SearchRule {
    /// Most trials.
    pub fn limit(&self) -> u32 {
        self.max_trials
            .unwrap_or(if self.rule == Rule::Adaptive { 25 } else { 20 })
    }
}

impl SearchRule {
    pub(super) fn check(&self) -> Result<(), String> {
        positive("search, start_qps", self.start_qps)?;
        positive("search, min_qps", self.min_qps)?;
        positive("search, granularity_percent", self.granularity_percent)?;
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            return Err(format!(
                "search, tolerance: {} is no share; write 0.025 for 2.5 %",
                self.tolerance
            ));
        }
        if let Some(most) = self.max_qps {
            positive("search, max_qps", most)?;
        }
        if self.expansion_factor <= 1.0 || self.expansion_factor.is_nan() {
            return Err("search, expansion_factor: write a number above 1".to_owned());
        }
        if self.limit() == 0 {
            return Err("search, max_trials: write at least 1".to_owned());
        }
        for rate in &self.rates {
            positive("search, rates", *rate)?;
        }
        match (self.rule == Rule::Rates, self.rates.is_empty()) {
            (true, true) => Err("search, rates: rule rates needs them, as [0.5, 1, 2]".to_owned()),
            (false, false) => Err("search, rates: only rule: rates has them; remove them".to_owned()),
            _ => Ok(()),
        }
    }
}
