//! Chosen values become typed ones; every wrong one is reported.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::experiments::experiments;
use super::layers::{Chosen, Layers, shown};
use super::problem::{Origin, SettingsError};
use super::values::{self, one_of};
use super::{
    Evaluation, ExecutorChoice, ExperimentType, Key, Layout, LoadGenChoice, Profile, Secret, Settings,
    cluster, external, keys, search, url,
};
use crate::loadgen::{Api, ResultsJson};

/// Reads chosen values and collects what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) profile: Profile,
    layers: &'a mut Layers,
    chosen: &'a mut BTreeMap<&'static str, Chosen>,
}

impl Reader<'_> {
    fn key(name: &str) -> &'static Key {
        keys::find(name).expect("only names of the table are read")
    }

    /// The value as text; empty where there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        &self.chosen[name].value
    }

    /// Where it came from.
    pub(super) fn origin(&self, name: &str) -> Origin {
        self.chosen[name].origin.clone()
    }

    /// Whether somebody set it.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.chosen[name].origin.rank() > 0
    }

    /// The value of any name, also of keys without effect.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.layers.raw(name)
    }

    /// What stands for `key` where `origin` stands.
    pub(super) fn beside(&self, key: &Key, origin: &Origin) -> String {
        self.layers.beside(key, origin, self.profile)
    }

    pub(super) fn note(&mut self, note: String) {
        self.layers.notes.push(note);
    }

    pub(super) fn note_on(&mut self, name: &'static str, notes: Vec<String>) {
        for note in notes {
            let origin = self.origin(name);
            self.layers.notes.push(format!("{origin}: {name}: {note}"));
            if let Some(chosen) = self.chosen.get_mut(name) {
                chosen.notes.push(note);
            }
        }
    }

    /// Replaces a default that depends on another setting.
    pub(super) fn settle(&mut self, name: &'static str, value: &str, why: &str) {
        if let Some(chosen) = self.chosen.get_mut(name) {
            value.clone_into(&mut chosen.value);
            if !why.is_empty() {
                chosen.notes.push(why.to_owned());
            }
        }
    }

    /// Reports that a value is wrong.
    pub(super) fn refuse(&mut self, name: &str, problem: &str) {
        let chosen = &self.chosen[name];
        let key = Self::key(name);
        self.layers.errors.push(SettingsError::new(
            &chosen.origin,
            name,
            &shown(key, &chosen.value),
            problem,
        ));
    }

    pub(super) fn refuse_all(&mut self, name: &str, problems: &[String]) {
        for problem in problems {
            self.refuse(name, problem);
        }
    }

    /// Parses a value that has a default; a wrong one is reported and the default stands in for the time being.
    pub(super) fn parse<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        match parse(self.text(name)) {
            Ok(value) => value,
            Err(problem) => {
                self.refuse(name, &problem);
                parse(Self::key(name).default_in(self.profile))
                    .expect("defaults are valid: a test loads them")
            }
        }
    }

    /// Parses a value that may be absent.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        match parse(text) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.refuse(name, &problem);
                None
            }
        }
    }

    pub(super) fn optional_text(&self, name: &str) -> Option<String> {
        Some(self.text(name).to_owned()).filter(|text| !text.is_empty())
    }

    pub(super) fn switch(&mut self, name: &str) -> bool {
        self.parse(name, values::switch)
    }

    pub(super) fn duration(&mut self, name: &str) -> Duration {
        self.parse(name, values::duration)
    }

    pub(super) fn positive_duration(&mut self, name: &str) -> Duration {
        self.parse(name, values::positive_duration)
    }

    fn number(&mut self, name: &str, low: f64, high: f64) -> f64 {
        self.parse(name, |text| values::number(text, low, high))
    }

    pub(super) fn existing_file(&mut self, name: &str) -> Option<PathBuf> {
        self.optional(name, |text| {
            let path = PathBuf::from(text);
            if path.is_file() {
                Ok(path)
            } else if path.is_dir() {
                Err("this is a folder; name a file".to_owned())
            } else {
                Err("there is no such file; a relative path begins at the current folder".to_owned())
            }
        })
    }
}

/// Builds the settings. They mean something only if no error was added to `layers`.
pub(super) fn build(
    profile: Profile,
    layers: &mut Layers,
    chosen: &mut BTreeMap<&'static str, Chosen>,
    environment: &[(String, String)],
) -> Settings {
    let mut r = Reader {
        profile,
        layers,
        chosen,
    };
    let search = search::kind(&mut r);
    let evaluation = search::evaluation(&mut r, search);
    let experiment_type = r.parse("EXPERIMENT_TYPE", |text| {
        one_of(
            &[("mst", ExperimentType::Mst), ("mit", ExperimentType::Mit)],
            text,
        )
    });
    let absolute = r.optional("THRESHOLD_TYPE", |text| {
        one_of(&[("relative", false), ("absolute", true)], text)
    });
    let settings = Settings {
        profile,
        url: r.optional("URL", url::base_url).map(|(url, notes)| {
            r.note_on("URL", notes);
            url
        }),
        api_key: api_key(&mut r, environment),
        api: r.parse("API", |text| {
            one_of(&[("completions", Api::Completions), ("chat", Api::Chat)], text)
        }),
        model: r.optional_text("MODEL"),
        target_label: r.optional_text("TARGET_LABEL"),
        tokenizer: r.existing_file("TOKENIZER"),
        prompts_file: r.existing_file("PROMPTS_FILE"),
        unique_prompts: r.switch("UNIQUE_PROMPTS"),
        experiments: experiments(&mut r),
        experiment_type,
        duration: r.positive_duration("DURATION"),
        filter_buffer_s: r.parse("FILTER_BUFFER", values::whole_seconds),
        cooldown: r.duration("ITERATION_COOLDOWN_SECONDS"),
        iteration_limit: search::iteration_limit(&mut r, search),
        multiplier: r.parse("REQ_MIN_INCREASE_MULTIPLIER", multiplier),
        stop: r.parse("STOP_THRESHOLD", |text| values::stop_threshold(text, absolute)),
        evaluation,
        search,
        confirm: search::confirm(&mut r, search),
        prior: search::prior(&mut r, search),
        budget: search::budget(&mut r),
        arrival: search::arrival(&mut r, search),
        loadgen: external::load_generator(&mut r),
        success_rate_percent: r.number("SUCCESS_RATE_THRESHOLD", 0.0, 100.0),
        plateau: (
            r.number("MIT_PLATEAU_REL_TOL", 0.0, f64::INFINITY),
            r.number("MIT_PLATEAU_ABS_TOL", 0.0, f64::INFINITY),
        ),
        request_timeout: r.positive_duration("REQUEST_TIMEOUT"),
        ttft_timeout: r.positive_duration("TTFT_TIMEOUT"),
        tpot_timeout: r.positive_duration("TPOT_TIMEOUT"),
        drain: r.duration("DRAIN"),
        discovery_timeout: r.positive_duration("MODEL_DISCOVERY_TIMEOUT"),
        server_metrics: r.parse("SERVER_METRICS", |text| {
            one_of(&[("auto", true), ("off", false)], text)
        }),
        server_metrics_url: r
            .optional("SERVER_METRICS_URL", url::base_url)
            .map(|(url, _)| url),
        retries: r.parse("RETRIES", |text| values::whole(text, 0)),
        results_dir: PathBuf::from(r.text("RESULTS_DIR")),
        layout: r.parse("RESULTS_LAYOUT", |text| {
            let layouts = [
                ("mst", Layout::Mst),
                ("latest", Layout::Latest),
                ("new", Layout::New),
                ("doc", Layout::Doc),
            ];
            one_of(&layouts, text)
        }),
        results_json: r.parse("RESULTS_JSON", |text| {
            let forms = [
                ("auto", ResultsJson::Auto),
                ("on", ResultsJson::On),
                ("gz", ResultsJson::Gz),
                ("off", ResultsJson::Off),
            ];
            one_of(&forms, text)
        }),
        seed: r.parse("SEED", |text| {
            text.parse()
                .map_err(|_| format!("`{text}` is not a whole number from 0 to {}", u64::MAX))
        }),
        gpu_count: r.optional_text("GPUS"),
        server: cluster::server(&mut r),
        cluster: cluster::cluster(&mut r),
    };
    check_together(&mut r, &settings);
    search::check(&mut r, &settings);
    settings
}

fn multiplier(text: &str) -> Result<f64, String> {
    let value = values::number(text, f64::NEG_INFINITY, f64::INFINITY)?;
    if value > 1.0 && value <= 1000.0 {
        Ok(value)
    } else {
        Err("it must be above 1 (and at most 1000); write for example 2 or 1.5".to_owned())
    }
}

/// The key itself, or the value of the variable that is named; the one from the higher source where both are set.
fn api_key(r: &mut Reader<'_>, environment: &[(String, String)]) -> Option<Secret> {
    const VALUE: &str = "API_KEY";
    const NAME: &str = "API_KEY_VARIABLE";
    let (mut by_value, mut by_name) = (!r.text(VALUE).is_empty(), !r.text(NAME).is_empty());
    if by_value && by_name {
        let (value, name) = (r.origin(VALUE), r.origin(NAME));
        match value.rank().cmp(&name.rank()) {
            Ordering::Equal => r.refuse(NAME, "API_KEY is set too; keep one of the two"),
            Ordering::Greater => r.note_on(NAME, vec![format!("API_KEY ({value}) takes its place")]),
            Ordering::Less => r.note_on(VALUE, vec![format!("API_KEY_VARIABLE ({name}) takes its place")]),
        }
        by_value = value.rank() > name.rank();
        by_name = !by_value;
    }
    let (source, key) = if by_value {
        (VALUE, r.text(VALUE).to_owned())
    } else if by_name {
        let key = r.optional(NAME, |name| {
            environment
                .iter()
                .find(|(known, value)| known == name && !value.trim().is_empty())
                .map(|(_, value)| value.trim().to_owned())
                .ok_or_else(|| {
                    format!("the environment has no variable {name}; export it, or write another name")
                })
        });
        (NAME, key?)
    } else {
        return None;
    };
    if key.chars().any(|c| c.is_control() || !c.is_ascii()) {
        r.refuse(source, "a key is one line of ASCII characters");
    }
    Some(Secret::new(key))
}

/// What no value shows alone.
fn check_together(r: &mut Reader<'_>, s: &Settings) {
    let buffer = s.filter_buffer_s as f64;
    if s.experiment_type == ExperimentType::Mst && s.duration.as_secs_f64() <= 2.0 * buffer {
        let problem = format!(
            "welch cuts off {buffer} s (FILTER_BUFFER) at both ends, which leaves nothing; write more than {} s, or \
             a smaller FILTER_BUFFER",
            2.0 * buffer
        );
        if s.evaluation == Evaluation::Welch {
            r.refuse("DURATION", &problem);
        }
    }
    if s.server.is_some() && s.url.is_some() {
        r.refuse(
            "SERVER_COMMAND",
            "URL names a server that runs already, SERVER_COMMAND starts one; keep one of the two",
        );
    }
    let embedded = s.url.is_none() && s.server.is_none();
    let native = matches!(s.loadgen, LoadGenChoice::Native { .. });
    if embedded && native && s.cluster.executor == ExecutorChoice::Sbatch {
        r.refuse(
            "EXECUTOR",
            "the embedded server answers on the driver's machine only, and trials run elsewhere; set URL, or \
             SERVER_COMMAND, for example SERVER_COMMAND=mst serve --profile demo --listen 0.0.0.0:{port}",
        );
    }
    let mixes = s.experiments.iter().filter(|e| e.pair().is_none()).count();
    if s.layout == Layout::New && mixes > 1 {
        let problem =
            "this form has one folder, additive_experiment, for all mixes; give one mix, or another form";
        r.refuse("RESULTS_LAYOUT", problem);
    }
    if s.ttft_timeout > s.request_timeout && r.is_set("TTFT_TIMEOUT") {
        let notes = vec!["it is longer than REQUEST_TIMEOUT, which ends a request first".to_owned()];
        r.note_on("TTFT_TIMEOUT", notes);
    }
}
