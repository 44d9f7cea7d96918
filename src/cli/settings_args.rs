//! The flags that stand for settings; every verb that needs settings shares them.

use std::path::PathBuf;

use super::exit::Failure;
use crate::settings::{self, Loaded, Sources};

/// Flags that set settings. Each beats the environment and the .env file.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct SettingsArgs {
    /// File with settings [default: .env, where there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
    /// Base URL of the endpoint; empty for the embedded server [URL]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Model that requests name [MODEL]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// API of the endpoint: completions or chat [API]
    #[arg(long, value_name = "API")]
    api: Option<String>,
    /// Token pairs, for example 128:128,100-300:1-100 [TOKENS_LIST]
    #[arg(long, value_name = "IN:OUT,…")]
    tokens: Option<String>,
    /// Mixes of token pairs, for example [(128:128,0.5),(8:8,0.5)] [WORKLOAD_MIXES]
    #[arg(long, value_name = "MIXES")]
    mixes: Option<String>,
    /// Requests per minute where each search begins [REQ_MIN_START]
    #[arg(long, value_name = "RATE,…")]
    start: Option<String>,
    /// How long a trial sends requests [DURATION]
    #[arg(long, value_name = "DURATION")]
    duration: Option<String>,
    /// Pause after a trial [ITERATION_COOLDOWN_SECONDS]
    #[arg(long, value_name = "DURATION")]
    cooldown: Option<String>,
    /// Which rule judges: drift or welch [EVALUATION]
    #[arg(long, value_name = "RULE")]
    evaluation: Option<String>,
    /// Which search: stages, stages-legacy or adaptive [SEARCH]
    #[arg(long, value_name = "SEARCH")]
    search: Option<String>,
    /// Most load of one adaptive search, for example 2h [BUDGET]
    #[arg(long, value_name = "DURATION")]
    budget: Option<String>,
    /// Arrivals: poisson, stratified, constant, gamma:CV, fmperf or clipped-poisson [ARRIVAL]
    #[arg(long, value_name = "PROCESS")]
    arrival: Option<String>,
    /// Who sends: native, fmperf, guidellm, aiperf, inference-perf or command [LOADGEN]
    #[arg(long, value_name = "NAME")]
    loadgen: Option<String>,
    /// Root of the results [RESULTS_DIR]
    #[arg(long, value_name = "DIR")]
    results_dir: Option<String>,
    /// Where load generators run: local, srun or sbatch [EXECUTOR]
    #[arg(long, value_name = "NAME")]
    executor: Option<String>,
    /// Seed of everything drawn [SEED]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<String>,
    /// Any setting by name; may be repeated and beats the flags above
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

/// Splits `KEY=VALUE`.
fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, for example --set DURATION=60s".to_owned()),
    }
}

impl SettingsArgs {
    /// The flags as settings.
    fn flags(&self) -> Vec<(String, String)> {
        let named = [
            ("URL", &self.url),
            ("MODEL", &self.model),
            ("API", &self.api),
            ("TOKENS_LIST", &self.tokens),
            ("WORKLOAD_MIXES", &self.mixes),
            ("REQ_MIN_START", &self.start),
            ("DURATION", &self.duration),
            ("ITERATION_COOLDOWN_SECONDS", &self.cooldown),
            ("EVALUATION", &self.evaluation),
            ("SEARCH", &self.search),
            ("BUDGET", &self.budget),
            ("ARRIVAL", &self.arrival),
            ("LOADGEN", &self.loadgen),
            ("RESULTS_DIR", &self.results_dir),
            ("EXECUTOR", &self.executor),
            ("SEED", &self.seed),
        ];
        named
            .into_iter()
            .filter_map(|(key, value)| value.clone().map(|value| (key.to_owned(), value)))
            .chain(self.set.iter().cloned())
            .collect()
    }

    /// Loads the settings from flags, environment and file.
    ///
    /// # Errors
    /// Exit code 3 with everything that is wrong.
    pub(crate) fn load(&self) -> Result<Loaded, Failure> {
        self.load_with(&[])
    }

    /// Loads the settings; flags of the verb itself beat all others.
    ///
    /// # Errors
    /// As [`SettingsArgs::load`].
    pub(crate) fn load_with(&self, own: &[(&str, String)]) -> Result<Loaded, Failure> {
        let own = own.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        settings::load(&Sources {
            env_file: self.env_file.clone(),
            environment: environment()?,
            flags: self.flags().into_iter().chain(own).collect(),
        })
        .map_err(Failure::input)
    }
}

/// The process environment. A variable of ours that is not UTF-8 is an error, any other is nobody's business.
pub(super) fn environment() -> Result<Vec<(String, String)>, Failure> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else {
            continue;
        };
        match value.into_string() {
            Ok(value) => variables.push((name, value)),
            Err(_) if settings::find_key(&name).is_some() => {
                return Err(Failure::input(anyhow::anyhow!(
                    "environment: {name}: the value is not UTF-8; set it again, or unset it"
                )));
            }
            Err(_) => {}
        }
    }
    Ok(variables)
}
