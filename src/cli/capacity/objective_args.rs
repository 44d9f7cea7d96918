//! Objectives by flags, in the words of the tools that they come from.

use clap::ValueEnum;

use crate::slo::objective::{Entry, Kind};

/// The types of objectives that flags name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum SloType {
    /// Deadlines of tokens (etalon)
    Deadline,
    /// Times between tokens and to the first (etalon)
    TbtTtft,
    /// Times to the first token and mean times of a token (etalon)
    TtftTpot,
    /// Times between tokens and the wait for the first iteration (sarathi-serve)
    TbtDelay,
}

impl SloType {
    fn kind(self) -> Kind {
        match self {
            Self::Deadline => Kind::Deadline,
            Self::TbtTtft => Kind::TbtTtft,
            Self::TtftTpot => Kind::TtftTpot,
            Self::TbtDelay => Kind::TbtDelay,
        }
    }
}

/// One objective by flags.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Objective (in place of the file's)")]
pub(crate) struct ObjectiveArgs {
    /// Type of the objective
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(crate) slo_type: Option<SloType>,
    /// Longest time between tokens, seconds; `deadline`: of each token
    #[arg(long, value_name = "SECONDS")]
    pub(crate) tbt_slo: Option<f64>,
    /// Its quantile [default: 0.99]
    #[arg(long, value_name = "SHARE", alias = "tbt-slo-quantile")]
    pub(crate) tbt_percentile: Option<f64>,
    /// Longest time to the first token, seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ttft_slo: Option<f64>,
    /// Its quantile [default: 0.9]
    #[arg(long, value_name = "SHARE")]
    pub(crate) ttft_percentile: Option<f64>,
    /// Longest mean time of a token, seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) tpot_slo: Option<f64>,
    /// Its quantile [default: 0.9]
    #[arg(long, value_name = "SHARE")]
    pub(crate) tpot_percentile: Option<f64>,
    /// `deadline`: added to the predicted prefill time, seconds [default: 0.3]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ttft_slack_slo: Option<f64>,
    /// `deadline`: highest share of missed deadlines [default: 0.1]
    #[arg(long, value_name = "SHARE")]
    pub(crate) deadline_miss_rate_slo: Option<f64>,
    /// Its quantile over requests [default: 0.99]
    #[arg(long, value_name = "SHARE")]
    pub(crate) deadline_miss_rate_percentile: Option<f64>,
    /// sarathi-serve's: longest time between tokens at P99, and a median wait of 2 s for the first iteration
    #[arg(long, value_name = "SECONDS", conflicts_with = "tbt_slo")]
    pub(crate) tbt_slo_value: Option<f64>,
    /// Longest wait for the first iteration, seconds [default: 2]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) scheduling_delay_slo_value: Option<f64>,
    /// Its quantile [default: 0.5]
    #[arg(long, value_name = "SHARE")]
    pub(crate) scheduling_delay_slo_quantile: Option<f64>,
}

impl ObjectiveArgs {
    /// The objective, where a flag asks for one. Flags that have no meaning in its type are refused when it is read.
    pub(crate) fn entry(&self) -> Option<Entry> {
        let mut entry = Entry {
            tbt_slo: self.tbt_slo.or(self.tbt_slo_value),
            tbt_percentile: self.tbt_percentile,
            ttft_slo: self.ttft_slo,
            ttft_percentile: self.ttft_percentile,
            tpot_slo: self.tpot_slo,
            tpot_percentile: self.tpot_percentile,
            ttft_slack_slo: self.ttft_slack_slo,
            deadline_miss_rate_slo: self.deadline_miss_rate_slo,
            deadline_miss_rate_percentile: self.deadline_miss_rate_percentile,
            scheduling_delay_slo: self.scheduling_delay_slo_value,
            scheduling_delay_percentile: self.scheduling_delay_slo_quantile,
            ..Entry::default()
        };
        let sarathi = self.tbt_slo_value.is_some() || self.scheduling_delay_slo_value.is_some();
        if entry == Entry::default() && self.slo_type.is_none() {
            return None;
        }
        let kind = match self.slo_type {
            Some(kind) => kind.kind(),
            None if sarathi => Kind::TbtDelay,
            // As etalon's documents have it.
            None => Kind::Deadline,
        };
        let name = serde_json::to_value(kind)
            .ok()
            .and_then(|v| v.as_str().map(str::to_owned));
        entry.kind = Some(kind);
        entry.name = name;
        Some(entry)
    }
}
