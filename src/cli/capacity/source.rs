//! What is searched: a file of ours, one of the older tools', or flags.

mod flags;

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use serde_saphyr::{Location, Spanned};

use super::objective_args::ObjectiveArgs;
use crate::matrix::file::{EndpointEntry, File, Limits, Rule, SearchRule, Side, System, Workload};
use crate::matrix::older::{self, OlderFlags};

/// Which side of the systems is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TargetArg {
    /// Their deployments, in virtual time
    Simulator,
    /// Their endpoints
    Endpoint,
}

/// How rates are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RuleArg {
    /// From the margins of all trials, with an interval
    Adaptive,
    /// etalon's sequence of rates
    Etalon,
    /// sarathi-serve's
    Sarathi,
    /// veeksha's
    Veeksha,
    /// That of Vidur's config explorer
    Vidur,
}

impl RuleArg {
    fn rule(self) -> Rule {
        match self {
            Self::Adaptive => Rule::Adaptive,
            Self::Etalon => Rule::Etalon,
            Self::Sarathi => Rule::Sarathi,
            Self::Veeksha => Rule::Veeksha,
            Self::Vidur => Rule::Vidur,
        }
    }
}

/// Where the searches are described.
#[derive(Debug, clap::Args)]
pub(crate) struct SourceArgs {
    /// The file
    #[arg(value_name = "CONFIG")]
    config: Option<PathBuf>,
    /// The same, by its older name
    #[arg(long, value_name = "FILE", conflicts_with = "config", hide = true)]
    config_path: Option<PathBuf>,
    /// Root of the results, which are the cache
    #[arg(long, value_name = "DIR", default_value = "requests")]
    pub(crate) output_dir: PathBuf,
    /// Which side of the systems is loaded
    #[arg(long, value_enum)]
    target: Option<TargetArg>,
    /// How rates are chosen
    #[arg(long, value_enum)]
    rule: Option<RuleArg>,
    /// Most trials of a search
    #[arg(long, value_name = "N", alias = "max-trials")]
    max_iterations: Option<u32>,
    /// Published rules: how near bounds are when a search ends, percent
    #[arg(long, value_name = "PERCENT")]
    min_search_granularity: Option<f64>,
    /// The rates to run, in place of a search
    #[arg(long, value_name = "QPS", value_delimiter = ',')]
    qps_values: Vec<f64>,
    /// Time limit of a trial, minutes
    #[arg(long, value_name = "MINUTES")]
    time_limit: Option<f64>,
    /// Files of the older tools: the GPU that is simulated
    #[arg(long, value_name = "GPU")]
    device: Option<String>,
    /// Where prefill.json lies, the profile of prompts on the idle system
    #[arg(long, value_name = "DIR")]
    profile_dir: Option<PathBuf>,
    /// Without a file: the endpoint; `embedded` is the one that comes with the program
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "config",
        help_heading = "One search without a file"
    )]
    url: Option<String>,
    /// The model
    #[arg(long, requires = "url", help_heading = "One search without a file")]
    model: Option<String>,
    /// Prompt and answer lengths
    #[arg(
        long,
        value_name = "IN:OUT",
        requires = "url",
        help_heading = "One search without a file"
    )]
    tokens: Option<String>,
    /// Requests of a trial
    #[arg(
        long,
        value_name = "N",
        requires = "url",
        help_heading = "One search without a file"
    )]
    requests: Option<usize>,
    /// First rate, requests a second
    #[arg(
        long,
        value_name = "QPS",
        requires = "url",
        help_heading = "One search without a file"
    )]
    start_qps: Option<f64>,
    #[command(flatten)]
    objective: ObjectiveArgs,
}

/// What is searched.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// The file.
    pub(crate) file: File,
    /// The folder that it lies in.
    pub(crate) base: PathBuf,
}

impl SourceFile {
    /// Says which systems have two sides, of which nobody chose one: that the live one is loaded should surprise nobody.
    pub(crate) fn tell_sides(&self, side: Option<Side>) {
        if side.or(self.file.target).is_some() {
            return;
        }
        for system in self.file.systems.iter().map(|system| &system.value) {
            if system.deployment.is_some() && system.endpoint.is_some() {
                eprintln!(
                    "note: {} has a deployment and an endpoint: the endpoint is loaded; --target simulator simulates it",
                    system.name
                );
            }
        }
    }
}

/// Said where neither a file nor an endpoint is named.
pub(crate) const NOTHING: &str = "nothing to do: name a file (`mst capacity --example` prints one), or an endpoint: --url URL \
                                  --tokens IN:OUT and an objective, as --slo-type tbt_ttft";

impl SourceArgs {
    /// Whether neither a file nor an endpoint is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.config.is_none() && self.config_path.is_none() && self.url.is_none()
    }

    /// Which side the flags ask for.
    pub(crate) fn side(&self) -> Option<Side> {
        self.target.map(|target| match target {
            TargetArg::Simulator => Side::Simulator,
            TargetArg::Endpoint => Side::Endpoint,
        })
    }

    /// Reads the file, or makes one of the flags; flags win.
    ///
    /// # Errors
    /// With file, line and what to write.
    pub(crate) fn read(&self) -> anyhow::Result<SourceFile> {
        let path = self.config.as_ref().or(self.config_path.as_ref());
        let mut file = match (path, &self.url) {
            (Some(path), _) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("{}: the file cannot be read", path.display()))?;
                match older::read(&text, path, &self.older())? {
                    Some(file) => {
                        return Ok(SourceFile {
                            file,
                            base: folder_of(path),
                        });
                    }
                    None => File::parse(&text, path)?,
                }
            }
            (None, Some(url)) => self.one(url)?,
            (None, None) => {
                return Err(anyhow!(NOTHING));
            }
        };
        if let Some(entry) = self.objective.entry() {
            entry
                .objective()
                .map_err(|why| anyhow!("flags of the objective: {why}"))?;
            file.slos = vec![unplaced(entry)];
            file.skip.retain(|skip| skip.slo.is_none());
        }
        if let Some(rule) = self.rule {
            file.search.rule = rule.rule();
            file.search.rates.clear();
        }
        file.search.max_trials = self.max_iterations.or(file.search.max_trials);
        if !self.qps_values.is_empty() {
            file.search.rule = Rule::Rates;
            file.search.rates.clone_from(&self.qps_values);
        }
        if let Some(minutes) = self.time_limit {
            file.limits.trial = Some((60.0 * minutes).to_string());
        }
        if let Some(percent) = self.min_search_granularity {
            file.search.granularity_percent = percent;
        }
        if let Some(folder) = &self.profile_dir {
            for system in &mut file.systems {
                system.value.prefill_profile = Some(std::path::absolute(folder)?);
            }
        }
        let base = path.map_or_else(PathBuf::new, |path| folder_of(path));
        let file = file.checked(path.map_or(Path::new("flags"), PathBuf::as_path))?;
        Ok(SourceFile { file, base })
    }

    /// The flags as a file of an older tool knows them.
    fn older(&self) -> OlderFlags {
        let ObjectiveArgs {
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
        } = self.objective.clone();
        // One flag with two names: with sarathi-serve's bound it is sarathi-serve's quantile.
        let (tbt_percentile, tbt_slo_quantile) = match tbt_slo_value {
            Some(_) => (None, tbt_percentile),
            None => (tbt_percentile, None),
        };
        OlderFlags {
            slo_type: slo_type.and_then(|kind| Some(kind.to_possible_value()?.get_name().to_owned())),
            tbt_slo,
            tbt_percentile,
            ttft_slo,
            ttft_percentile,
            tpot_slo,
            tpot_percentile,
            ttft_slack_slo,
            deadline_miss_rate_slo,
            deadline_miss_rate_percentile,
            profile_dir: self.profile_dir.clone(),
            tbt_slo_value,
            tbt_slo_quantile,
            scheduling_delay_slo_value,
            scheduling_delay_slo_quantile,
            qps_values: self.qps_values.clone(),
            max_iterations: self.max_iterations,
            min_search_granularity: self.min_search_granularity,
            time_limit: self.time_limit,
            rule: self.rule.map(RuleArg::rule),
            device: self.device.clone(),
            url: self.url.clone(),
            catalog: Vec::new(),
        }
    }

    /// One search by flags.
    fn one(&self, url: &str) -> anyhow::Result<File> {
        let tokens = self
            .tokens
            .clone()
            .ok_or_else(|| anyhow!("--tokens: write prompt and answer lengths, as 512:128"))?;
        let entry = self.objective.entry().ok_or_else(|| {
            anyhow!("name an objective, as --slo-type tbt_ttft --tbt-slo 0.05 --ttft-slo 1")
        })?;
        let mut endpoint = EndpointEntry {
            url: (url != "embedded").then(|| url.to_owned()),
            ..EndpointEntry::default()
        };
        if let Some(model) = &self.model {
            endpoint.settings.insert("MODEL".to_owned(), model.clone());
        }
        let workload = serde_json::json!({
            "name": tokens.replace(':', "_"), "tokens": tokens, "requests": self.requests.unwrap_or(1000),
            "start_qps": self.start_qps,
        });
        let workload: Workload = serde_json::from_value(workload).map_err(|e| anyhow!("flags: {e}"))?;
        let file = File {
            target: Some(Side::Endpoint),
            systems: vec![unplaced(System {
                name: "endpoint".to_owned(),
                deployment: None,
                endpoint: Some(endpoint),
                gpus: None,
                prefill_profile: None,
                prior: None,
            })],
            workloads: vec![unplaced(workload)],
            slos: vec![unplaced(entry)],
            search: SearchRule::default(),
            failures: crate::matrix::file::Failures::Count,
            sustained: None,
            limits: Limits::default(),
            skip: Vec::new(),
            seed: 42,
            catalog: Vec::new(),
            profiles: Vec::new(),
            notes: Vec::new(),
        };
        file.checked(Path::new("flags")).map_err(Into::into)
    }
}

/// The folder of a file.
fn folder_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// An entry that stands in no file.
fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Location::UNKNOWN, Location::UNKNOWN)
}
