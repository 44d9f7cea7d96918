//! An objective as users write it: a metric with a bound, a tree of them, or a type of a published tool by its name.

mod class;
mod values;

use serde::{Deserialize, Serialize};

use super::{DeadlineRule, FirstDeadline, Goodput, Limit, Objective, Quantity, Statistic, Term};
use crate::slo::Joint;
use crate::slo::deadline::Reading;
pub use class::Class;
use values::{not_negative, plain, positive, share, statistic};

/// A type of a published tool, or a group in the words of the config explorer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// etalon: deadlines of tokens.
    Deadline,
    /// etalon: gaps and first tokens.
    TbtTtft,
    /// etalon: first tokens and mean gaps.
    TtftTpot,
    /// sarathi-serve: gaps and the wait for the first iteration.
    #[serde(alias = "sarathi")]
    TbtDelay,
    /// The config explorer: a share of the requests keeps all bounds.
    And,
    /// The config explorer: a share of the requests keeps at least one.
    Or,
    /// veeksha: one bound.
    Constant,
}

/// One entry of a file. Which keys may stand together says [`Entry::objective`]. Times in seconds, shares and quantiles from 0
/// to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Entry {
    /// Its name in the results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A type of a published tool.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// All of these; with `goodput`, request by request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all: Option<Vec<Self>>,
    /// At least one of these; with `goodput`, request by request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub any: Option<Vec<Self>>,
    /// Least share of the requests that each keep `all`, or one of `any`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goodput: Option<f64>,
    /// What is bounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<Quantity>,
    /// Which quantile.
    #[serde(alias = "percentile", skip_serializing_if = "Option::is_none")]
    pub quantile: Option<f64>,
    /// `p99`, `p99.9`, `median`, `mean`, `max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistic: Option<String>,
    /// Least share of the requests that keep the bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// Most that is good.
    #[serde(
        alias = "value",
        alias = "threshold",
        alias = "bound",
        skip_serializing_if = "Option::is_none"
    )]
    pub max: Option<f64>,
    /// Only requests of this class of a mix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// `and`, `or`: the bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slos: Option<Vec<Self>>,
    /// Deadlines: of the first token after sending, in place of a predicted one.
    #[serde(alias = "ttft_deadline", skip_serializing_if = "Option::is_none")]
    pub first_deadline: Option<f64>,
    /// Deadlines: of each further token; `tbt_slo` in the words of etalon.
    #[serde(alias = "tbt_deadline", skip_serializing_if = "Option::is_none")]
    pub token_deadline: Option<f64>,
    /// Deadlines: what a late token counts for, `elapsed-deadlines` or `per-token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reading: Option<Reading>,
    /// Deadlines: most slack that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slack_cap: Option<f64>,
    /// Deadlines: by how much a token may be late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// Longest gap, or deadline of a token.
    #[serde(alias = "tbt_slo_value", skip_serializing_if = "Option::is_none")]
    pub tbt_slo: Option<f64>,
    /// At which quantile.
    #[serde(alias = "tbt_slo_quantile", skip_serializing_if = "Option::is_none")]
    pub tbt_percentile: Option<f64>,
    /// Longest time to first token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_slo: Option<f64>,
    /// At which quantile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_percentile: Option<f64>,
    /// Longest mean gap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpot_slo: Option<f64>,
    /// At which quantile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tpot_percentile: Option<f64>,
    /// Added to the predicted prefill time: the first deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_slack_slo: Option<f64>,
    /// Highest miss rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_miss_rate_slo: Option<f64>,
    /// At which quantile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_miss_rate_percentile: Option<f64>,
    /// Longest wait for the first iteration.
    #[serde(alias = "scheduling_delay_slo_value", skip_serializing_if = "Option::is_none")]
    pub scheduling_delay_slo: Option<f64>,
    /// At which quantile.
    #[serde(
        alias = "scheduling_delay_slo_quantile",
        skip_serializing_if = "Option::is_none"
    )]
    pub scheduling_delay_percentile: Option<f64>,
}

/// Keys that say how deadlines are counted.
const COUNTING: [&str; 3] = ["reading", "slack_cap", "tolerance"];

impl Entry {
    /// A type of a published tool with its defaults.
    pub fn of(kind: Kind) -> Self {
        Self {
            kind: Some(kind),
            ..Self::default()
        }
    }

    /// The objective.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn objective(&self) -> Result<Objective, String> {
        match self.kind {
            Some(kind) => self.typed(kind),
            None => self.node(),
        }
    }

    fn typed(&self, kind: Kind) -> Result<Objective, String> {
        let term = |quantity, quantile: f64, most: f64| {
            Ok::<_, String>(Objective::Term(Term {
                limit: plain(quantity, positive(quantity.name(), most)?),
                statistic: Statistic::Quantile(share("percentile", quantile)?),
                class: self.place(),
            }))
        };
        match kind {
            Kind::TbtTtft => {
                self.only(
                    &["tbt_slo", "tbt_percentile", "ttft_slo", "ttft_percentile"],
                    "tbt_ttft",
                )?;
                Ok(Objective::All(vec![
                    term(
                        Quantity::Tbt,
                        self.tbt_percentile.unwrap_or(0.99),
                        self.tbt_slo.unwrap_or(0.03),
                    )?,
                    term(
                        Quantity::Ttft,
                        self.ttft_percentile.unwrap_or(0.9),
                        self.ttft_slo.unwrap_or(0.1),
                    )?,
                ]))
            }
            Kind::TtftTpot => {
                self.only(
                    &["tpot_slo", "tpot_percentile", "ttft_slo", "ttft_percentile"],
                    "ttft_tpot",
                )?;
                Ok(Objective::All(vec![
                    term(
                        Quantity::Ttft,
                        self.ttft_percentile.unwrap_or(0.9),
                        self.ttft_slo.unwrap_or(0.1),
                    )?,
                    term(
                        Quantity::Tpot,
                        self.tpot_percentile.unwrap_or(0.9),
                        self.tpot_slo.unwrap_or(0.1),
                    )?,
                ]))
            }
            Kind::TbtDelay => {
                let keys = [
                    "tbt_slo",
                    "tbt_percentile",
                    "scheduling_delay_slo",
                    "scheduling_delay_percentile",
                ];
                self.only(&keys, "tbt_delay")?;
                let delay = self.scheduling_delay_slo.unwrap_or(2.0);
                Ok(Objective::All(vec![
                    term(
                        Quantity::SchedulingDelay,
                        self.scheduling_delay_percentile.unwrap_or(0.5),
                        delay,
                    )?,
                    term(
                        Quantity::Tbt,
                        self.tbt_percentile.unwrap_or(0.99),
                        self.tbt_slo.unwrap_or(0.2),
                    )?,
                ]))
            }
            Kind::Deadline => self.deadline(),
            Kind::And | Kind::Or => self.shared(kind),
            Kind::Constant => {
                self.only(&["metric", "quantile", "max"], "constant")?;
                Self {
                    kind: None,
                    ..self.clone()
                }
                .node()
            }
        }
    }

    /// etalon's deadlines.
    fn deadline(&self) -> Result<Objective, String> {
        let mut keys = vec![
            "tbt_slo",
            "ttft_slack_slo",
            "deadline_miss_rate_slo",
            "deadline_miss_rate_percentile",
            "first_deadline",
            "token_deadline",
        ];
        keys.extend(COUNTING);
        self.only(&keys, "deadline")?;
        let most = self.deadline_miss_rate_slo.unwrap_or(0.1);
        if !(0.0..=1.0).contains(&most) {
            return Err(format!(
                "deadline_miss_rate_slo: {most} is not a share; write a number from 0 to 1"
            ));
        }
        Ok(Objective::Term(Term {
            limit: Limit {
                quantity: Quantity::DeadlineMissRate,
                most,
                deadlines: Some(self.rule()?),
            },
            statistic: Statistic::Quantile(share(
                "deadline_miss_rate_percentile",
                self.deadline_miss_rate_percentile.unwrap_or(0.99),
            )?),
            class: self.place(),
        }))
    }

    fn rule(&self) -> Result<DeadlineRule, String> {
        let first = match (self.first_deadline, self.ttft_slack_slo) {
            (Some(_), Some(_)) => {
                return Err(
                    "first_deadline and ttft_slack_slo: a first token has one deadline; remove one of them"
                        .to_owned(),
                );
            }
            (Some(fixed), None) => FirstDeadline::Fixed(positive("first_deadline", fixed)?),
            (None, slack) => FirstDeadline::Predicted(not_negative("ttft_slack_slo", slack.unwrap_or(0.3))?),
        };
        if self.token_deadline.is_some() && self.tbt_slo.is_some() {
            return Err("token_deadline and tbt_slo are the same; remove one of them".to_owned());
        }
        Ok(DeadlineRule {
            first,
            token: positive("tbt_slo", self.token_deadline.or(self.tbt_slo).unwrap_or(0.03))?,
            reading: self.reading.unwrap_or_default(),
            slack_cap: self
                .slack_cap
                .map(|cap| not_negative("slack_cap", cap))
                .transpose()?,
            tolerance: not_negative("tolerance", self.tolerance.unwrap_or(0.0))?,
        })
    }

    /// The config explorer's groups: one bound is a quantile, several are a share of the requests.
    fn shared(&self, kind: Kind) -> Result<Objective, String> {
        self.only(
            &["slos", "quantile"],
            if kind == Kind::And { "and" } else { "or" },
        )?;
        let quantile = self
            .quantile
            .ok_or("quantile: write which quantile, or share of the requests, as 0.99")?;
        let quantile = share("quantile", quantile)?;
        let limits = limits(self.slos.as_deref().unwrap_or_default(), "slos")?;
        Ok(match limits.as_slice() {
            [limit] => Objective::Term(Term {
                limit: *limit,
                statistic: Statistic::Quantile(quantile),
                class: self.place(),
            }),
            _ => Objective::Goodput(Goodput {
                share: quantile,
                joint: if kind == Kind::And { Joint::And } else { Joint::Or },
                limits,
                class: self.place(),
            }),
        })
    }

    /// A tree, or a bound.
    fn node(&self) -> Result<Objective, String> {
        let forms = [self.all.is_some(), self.any.is_some(), self.metric.is_some()];
        match forms {
            [true, false, false] | [false, true, false] => {
                let joint = if self.all.is_some() { Joint::And } else { Joint::Or };
                let word = if joint == Joint::And { "all" } else { "any" };
                self.only(&[word, "goodput"], &format!("a group `{word}`"))?;
                let parts = self.all.as_deref().or(self.any.as_deref()).unwrap_or_default();
                if parts.is_empty() {
                    return Err(format!("{word}: the list is empty; write at least one bound"));
                }
                if let Some(least) = self.goodput {
                    return Ok(Objective::Goodput(Goodput {
                        share: share("goodput", least)?,
                        joint,
                        limits: limits(parts, word)?,
                        class: self.place(),
                    }));
                }
                if self.class.is_some() {
                    return Err(format!("class: write it at the bounds of `{word}`"));
                }
                let parts = parts.iter().map(Self::objective).collect::<Result<_, _>>()?;
                Ok(if joint == Joint::And { Objective::All(parts) } else { Objective::Any(parts) })
            }
            [false, false, true] => self.bound(),
            _ => Err("an objective is a `metric` with its bound, or a group `all` or `any`, or has a `type`: write one of \
                      them"
                .to_owned()),
        }
    }

    fn bound(&self) -> Result<Objective, String> {
        let mut keys = vec!["metric", "quantile", "statistic", "share", "max"];
        if self.metric == Some(Quantity::DeadlineMissRate) {
            keys.extend(["first_deadline", "ttft_slack_slo", "token_deadline", "tbt_slo"]);
            keys.extend(COUNTING);
        }
        self.only(&keys, "a bound on a metric")?;
        let statistic = match (self.quantile, &self.statistic, self.share) {
            (Some(p), None, None) => Statistic::Quantile(share("quantile", p)?),
            (None, Some(word), None) => statistic(word)?,
            (None, None, Some(least)) => Statistic::Share(share("share", least)?),
            (None, None, None) if self.metric == Some(Quantity::ErrorRate) => Statistic::Mean,
            (None, None, None) => {
                return Err("say which number is bounded: `quantile: 0.99`, `statistic: mean` or `max`, or `share: 0.95` of \
                            the requests"
                    .to_owned());
            }
            _ => return Err("quantile, statistic and share: write one of them".to_owned()),
        };
        if self.metric == Some(Quantity::ErrorRate) && statistic != Statistic::Mean {
            return Err(
                "error_rate: it is one number of the whole trial; remove quantile, statistic or share"
                    .to_owned(),
            );
        }
        Ok(Objective::Term(Term {
            limit: self.limit()?,
            statistic,
            class: self.place(),
        }))
    }

    /// Metric and bound alone.
    fn limit(&self) -> Result<Limit, String> {
        let quantity = self.metric.ok_or("metric: write what is bounded, as ttft")?;
        let most = self
            .max
            .ok_or_else(|| format!("max: write the most that is good for {}", quantity.name()))?;
        if matches!(quantity, Quantity::ErrorRate | Quantity::DeadlineMissRate) {
            if !(0.0..=1.0).contains(&most) {
                return Err(format!("max: {most} is not a share; write a number from 0 to 1"));
            }
        } else {
            positive("max", most)?;
        }
        Ok(Limit {
            quantity,
            most,
            deadlines: (quantity == Quantity::DeadlineMissRate)
                .then(|| self.rule())
                .transpose()?,
        })
    }

    /// Refuses keys that have no meaning here.
    fn only(&self, allowed: &[&str], place: &str) -> Result<(), String> {
        let Ok(serde_json::Value::Object(given)) = serde_json::to_value(self) else {
            return Ok(());
        };
        let always = ["name", "type", "class"];
        match given
            .keys()
            .find(|key| !always.contains(&key.as_str()) && !allowed.contains(&key.as_str()))
        {
            Some(key) => Err(format!(
                "{key}: it has no meaning in {place}; remove it (known there: {})",
                allowed.join(", ")
            )),
            None => Ok(()),
        }
    }
}

/// The bounds of a group that is judged request by request.
fn limits(parts: &[Entry], list: &str) -> Result<Vec<Limit>, String> {
    if parts.is_empty() {
        return Err(format!("{list}: write at least one metric with a bound"));
    }
    parts
        .iter()
        .map(|part| {
            if part.class.is_some() {
                return Err(format!(
                    "class: each request keeps all bounds of `{list}`; write it beside `{list}`, and an objective for each class"
                ));
            }
            part.only(
                &[
                    "metric",
                    "max",
                    "first_deadline",
                    "ttft_slack_slo",
                    "token_deadline",
                    "reading",
                    "slack_cap",
                    "tolerance",
                ],
                "a bound that each request keeps",
            )?;
            part.limit()
        })
        .collect()
}

#[cfg(test)]
mod tests;
