//! The flags again, for the command of a job.

use std::path::Path;

use clap::ValueEnum;

use super::SourceArgs;
use crate::cli::capacity::objective_args::ObjectiveArgs;

/// Flags as they are written.
#[derive(Default)]
struct Written(Vec<String>);

impl Written {
    fn flag(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        self.0.extend(value.map(|value| format!("--{name}={value}")));
    }

    fn choice(&mut self, name: &str, value: Option<&impl ValueEnum>) {
        let value = value.and_then(ValueEnum::to_possible_value);
        self.flag(name, value.as_ref().map(clap::builder::PossibleValue::get_name));
    }
}

impl SourceArgs {
    /// The arguments that describe the same searches, but for the folder of the results; paths are absolute.
    pub(in crate::cli::capacity) fn arguments(&self) -> Vec<String> {
        let absolute = |path: &Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            path.display().to_string()
        };
        // All fields by name: a new flag is not forgotten here.
        let Self {
            config,
            config_path,
            output_dir: _,
            target,
            rule,
            max_iterations,
            min_search_granularity,
            qps_values,
            time_limit,
            device,
            profile_dir,
            url,
            model,
            tokens,
            requests,
            start_qps,
            objective,
        } = self;
        let mut all = Written::default();
        let file = config.as_deref().or(config_path.as_deref());
        all.0.extend(file.map(absolute));
        all.choice("target", target.as_ref());
        all.choice("rule", rule.as_ref());
        all.flag("max-iterations", *max_iterations);
        all.flag("min-search-granularity", *min_search_granularity);
        let rates: Vec<String> = qps_values.iter().map(f64::to_string).collect();
        all.flag("qps-values", (!rates.is_empty()).then(|| rates.join(",")));
        all.flag("time-limit", *time_limit);
        all.flag("device", device.as_ref());
        all.flag("profile-dir", profile_dir.as_deref().map(absolute));
        all.flag("url", url.as_ref());
        all.flag("model", model.as_ref());
        all.flag("tokens", tokens.as_ref());
        all.flag("requests", *requests);
        all.flag("start-qps", *start_qps);
        objective.write(&mut all);
        all.0
    }
}

impl ObjectiveArgs {
    fn write(&self, all: &mut Written) {
        let Self {
            slo_type,
            tbt_slo,
            tbt_percentile,
            ttft_slo,
            ttft_percentile,
            tpot_slo,
            tpot_percentile,
            ttft_slack_slo,
            deadline_miss_rate_slo,
            deadline_miss_rate_percentile,
            tbt_slo_value,
            scheduling_delay_slo_value,
            scheduling_delay_slo_quantile,
        } = self;
        all.choice("slo-type", slo_type.as_ref());
        for (name, value) in [
            ("tbt-slo", tbt_slo),
            ("tbt-percentile", tbt_percentile),
            ("ttft-slo", ttft_slo),
            ("ttft-percentile", ttft_percentile),
            ("tpot-slo", tpot_slo),
            ("tpot-percentile", tpot_percentile),
            ("ttft-slack-slo", ttft_slack_slo),
            ("deadline-miss-rate-slo", deadline_miss_rate_slo),
            ("deadline-miss-rate-percentile", deadline_miss_rate_percentile),
            ("tbt-slo-value", tbt_slo_value),
            ("scheduling-delay-slo-value", scheduling_delay_slo_value),
            ("scheduling-delay-slo-quantile", scheduling_delay_slo_quantile),
        ] {
            all.flag(name, *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Verb {
        #[command(flatten)]
        source: SourceArgs,
    }

    fn again(arguments: &[&str]) -> (String, String, Vec<String>) {
        let first = Verb::try_parse_from([&["x"], arguments].concat()).unwrap().source;
        let written = first.arguments();
        let words = ["x".to_owned()].into_iter().chain(written.clone());
        let second = Verb::try_parse_from(words).unwrap().source;
        (format!("{first:?}"), format!("{second:?}"), written)
    }

    #[test]
    fn what_is_written_is_read_the_same() {
        let all = [
            "/a b/c.yml",
            "--target=endpoint",
            "--rule=etalon",
            "--max-iterations=7",
            "--min-search-granularity=2.5",
            "--qps-values=0.5,1,2.25",
            "--time-limit=30",
            "--device=h100",
            "--profile-dir=/p q",
            "--slo-type=tbt_ttft",
            "--tbt-slo=0.05",
            "--tbt-percentile=0.95",
            "--ttft-slo=1",
            "--ttft-percentile=0.9",
            "--tpot-slo=0.1",
            "--tpot-percentile=0.8",
            "--ttft-slack-slo=0.3",
            "--deadline-miss-rate-slo=0.1",
            "--deadline-miss-rate-percentile=0.99",
            "--scheduling-delay-slo-value=3",
            "--scheduling-delay-slo-quantile=0.5",
        ];
        let (first, second, written) = again(&all);
        assert_eq!(first, second);
        assert_eq!(written.len(), all.len());
        let one = [
            "--url=http://h:8000",
            "--model=m",
            "--tokens=8:4",
            "--requests=20",
            "--start-qps=1.5",
            "--tbt-slo-value=0.2",
        ];
        let (first, second, written) = again(&one);
        assert_eq!(first, second);
        assert_eq!(written.len(), one.len());
        assert_eq!(again(&["file.yml"]).2.len(), 1);
    }
}
