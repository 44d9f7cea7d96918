//! Flags of the older tools.

use std::path::PathBuf;

use super::Tool;
use crate::matrix::file::Rule;
use crate::slo::objective::{Entry, Kind};

/// The flags that the older tools were called with, and what may be said otherwise here. `None` is the tool's default.
/// Times in seconds unless it is said otherwise, shares and quantiles from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OlderFlags {
    /// etalon: `deadline`, `tbt_ttft` or `ttft_tpot`. Default `deadline`.
    pub slo_type: Option<String>,
    /// etalon: longest gap between tokens, or deadline of a token.
    pub tbt_slo: Option<f64>,
    /// etalon, and sarathi-serve where `tbt_slo_quantile` is not given: its quantile.
    pub tbt_percentile: Option<f64>,
    /// etalon: longest time to first token.
    pub ttft_slo: Option<f64>,
    /// etalon: its quantile.
    pub ttft_percentile: Option<f64>,
    /// etalon: longest mean gap of a request.
    pub tpot_slo: Option<f64>,
    /// etalon: its quantile.
    pub tpot_percentile: Option<f64>,
    /// etalon: added to the predicted prefill time.
    pub ttft_slack_slo: Option<f64>,
    /// etalon: highest share of missed deadlines.
    pub deadline_miss_rate_slo: Option<f64>,
    /// etalon: its quantile over the requests.
    pub deadline_miss_rate_percentile: Option<f64>,
    /// etalon: where the prefill profile lies.
    pub profile_dir: Option<PathBuf>,
    /// sarathi-serve: longest gap between tokens. Default 0.2.
    pub tbt_slo_value: Option<f64>,
    /// sarathi-serve: its quantile. Default 0.99.
    pub tbt_slo_quantile: Option<f64>,
    /// sarathi-serve: longest wait for the first iteration. Default 2.
    pub scheduling_delay_slo_value: Option<f64>,
    /// sarathi-serve: its quantile. Default 0.5.
    pub scheduling_delay_slo_quantile: Option<f64>,
    /// sarathi-serve, its iso-QPS tool: the rates to run, in place of a search.
    pub qps_values: Vec<f64>,
    /// Most iterations, as the tool counts them. Default 20.
    pub max_iterations: Option<u32>,
    /// How near the bounds are at the end, percent. Default 2.5.
    pub min_search_granularity: Option<f64>,
    /// Longest time that requests are sent in a trial, minutes. Default: 30 for sarathi-serve, for the others what the file
    /// says.
    pub time_limit: Option<f64>,
    /// Which rule chooses the rates. Default: the tool's own.
    pub rule: Option<Rule>,
    /// The GPU that is simulated. Default: that of the Sarathi-Serve paper.
    pub device: Option<String>,
    /// The endpoint that is loaded, in place of a simulation.
    pub url: Option<String>,
    /// Catalog files: with any, a model that the program does not know is not refused.
    pub catalog: Vec<PathBuf>,
}

impl OlderFlags {
    /// Refuses flags that the file's tool does not have.
    pub(super) fn check(&self, tool: Tool) -> Result<(), String> {
        let etalon = [
            ("--slo-type", self.slo_type.is_some()),
            ("--tbt-slo", self.tbt_slo.is_some()),
            ("--tbt-percentile", self.tbt_percentile.is_some()),
            ("--ttft-slo", self.ttft_slo.is_some()),
            ("--ttft-percentile", self.ttft_percentile.is_some()),
            ("--tpot-slo", self.tpot_slo.is_some()),
            ("--tpot-percentile", self.tpot_percentile.is_some()),
            ("--ttft-slack-slo", self.ttft_slack_slo.is_some()),
            ("--deadline-miss-rate-slo", self.deadline_miss_rate_slo.is_some()),
            (
                "--deadline-miss-rate-percentile",
                self.deadline_miss_rate_percentile.is_some(),
            ),
            ("--profile-dir", self.profile_dir.is_some()),
        ];
        let sarathi = [
            ("--tbt-slo-value", self.tbt_slo_value.is_some()),
            ("--tbt-slo-quantile", self.tbt_slo_quantile.is_some()),
            (
                "--scheduling-delay-slo-value",
                self.scheduling_delay_slo_value.is_some(),
            ),
            (
                "--scheduling-delay-slo-quantile",
                self.scheduling_delay_slo_quantile.is_some(),
            ),
            ("--qps-values", !self.qps_values.is_empty()),
        ];
        let given =
            |list: &[(&'static str, bool)]| list.iter().find(|(_, given)| *given).map(|(name, _)| *name);
        let (foreign, owner, write) = match tool {
            Tool::Etalon => (
                given(&sarathi),
                "sarathi-serve",
                "write --tbt-slo, --ttft-slo, --tpot-slo or --deadline-miss-rate-slo",
            ),
            Tool::Sarathi => (
                // The quantile has one meaning under both names.
                given(&etalon.map(|(name, given)| (name, given && name != "--tbt-percentile"))),
                "etalon",
                "write --tbt-slo-value and --scheduling-delay-slo-value",
            ),
            Tool::Veeksha => (
                given(&etalon).or(given(&sarathi)),
                "etalon and sarathi-serve",
                "write its objectives into the file, below evaluators, slos",
            ),
        };
        match foreign {
            Some(flag) => Err(format!(
                "{flag} is a flag of {owner}, and this is a file of {}; {write}",
                tool.name()
            )),
            None => self.positive(),
        }
    }

    fn positive(&self) -> Result<(), String> {
        let wrong = |value: f64| !(value.is_finite() && value > 0.0);
        for (flag, value) in [
            ("--min-search-granularity", self.min_search_granularity),
            ("--time-limit", self.time_limit),
        ] {
            if let Some(value) = value.filter(|value| wrong(*value)) {
                return Err(format!("{flag}: {value} does not do; write a number above 0"));
            }
        }
        Ok(())
    }

    /// The objective of an etalon file.
    pub(super) fn etalon_slo(&self) -> Result<Entry, String> {
        let kind = match self.slo_type.as_deref().unwrap_or("deadline") {
            "deadline" => Kind::Deadline,
            "tbt_ttft" => Kind::TbtTtft,
            "ttft_tpot" => Kind::TtftTpot,
            other => {
                return Err(format!(
                    "--slo-type: `{other}` is none; write deadline, tbt_ttft or ttft_tpot"
                ));
            }
        };
        let name = match kind {
            Kind::TbtTtft => "tbt_ttft",
            Kind::TtftTpot => "ttft_tpot",
            _ => "deadline",
        };
        Ok(Entry {
            name: Some(name.to_owned()),
            tbt_slo: self.tbt_slo,
            tbt_percentile: self.tbt_percentile,
            ttft_slo: self.ttft_slo,
            ttft_percentile: self.ttft_percentile,
            tpot_slo: self.tpot_slo,
            tpot_percentile: self.tpot_percentile,
            ttft_slack_slo: self.ttft_slack_slo,
            deadline_miss_rate_slo: self.deadline_miss_rate_slo,
            deadline_miss_rate_percentile: self.deadline_miss_rate_percentile,
            ..Entry::of(kind)
        })
    }

    /// The objective of a sarathi-serve file.
    pub(super) fn sarathi_slo(&self) -> Entry {
        Entry {
            name: Some("tbt_delay".to_owned()),
            tbt_slo: self.tbt_slo_value,
            tbt_percentile: self.tbt_slo_quantile.or(self.tbt_percentile),
            scheduling_delay_slo: self.scheduling_delay_slo_value,
            scheduling_delay_percentile: self.scheduling_delay_slo_quantile,
            ..Entry::of(Kind::TbtDelay)
        }
    }

    /// The longest time that requests are sent, in the words of the file: seconds.
    pub(super) fn max_duration(&self, own_s: Option<f64>) -> Option<String> {
        let asked = self.time_limit.map(|minutes| minutes * 60.0);
        let limit = match (asked, own_s) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        limit.map(|seconds| seconds.to_string())
    }
}
