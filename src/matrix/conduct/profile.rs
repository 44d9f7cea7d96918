//! Profiles of prompts: the command that makes one of a system, and whether one is the system's.

use std::fmt::Write;
use std::path::Path;

use super::input::{Ready, Task};
use crate::deployment::Deployment;
use crate::endpoint::BaseUrl;
use crate::matrix::file::{EndpointEntry, File, Side, System};
use crate::slo::objective::Objective;
use crate::store::prefill::{PREFILL_FILE, PrefillError, ProfiledTarget};

/// What to do about a system without a profile.
pub(super) fn none(file: &File, system: &System, side: Side) -> String {
    format!(
        "systems, {}: deadlines of first tokens are predicted from the prompt's length, and there is no profile of that; run\n  \
         {}\nand write prefill_profile: {PREFILL_FILE}, or pass --profile-dir; or give first_deadline, in seconds",
        system.name,
        command(file, system, side, Path::new(PREFILL_FILE))
    )
}

/// What to do about a profile that cannot be read.
pub(super) fn unreadable(file: &File, system: &System, side: Side, error: &PrefillError) -> String {
    let name = &system.name;
    let make = |output: &Path| command(file, system, side, output);
    match error {
        PrefillError::Missing { path, why } => {
            // A folder that is not there yet has no file either.
            let is_file = path.extension().is_some_and(|extension| extension == "json");
            let output = if is_file {
                path.clone()
            } else {
                path.join(PREFILL_FILE)
            };
            let shown = output.display();
            format!(
                "systems, {name}: {shown}: {why}; make the profile with\n  {}",
                make(&output)
            )
        }
        PrefillError::Pickle { path, folder } => format!(
            "systems, {name}: {}: a pickled predictor of etalon cannot be read here; measure the system with\n  {}",
            path.display(),
            make(&folder.join(PREFILL_FILE))
        ),
        other @ PrefillError::Malformed { .. } => format!("systems, {name}: {other}"),
    }
}

/// The command that profiles the side of a system that is loaded.
fn command(file: &File, system: &System, side: Side, output: &Path) -> String {
    let mut line = "mst profile prefill".to_owned();
    let mut hint = "";
    match (side, &system.deployment, &system.endpoint) {
        (Side::Simulator, Some(deployment), _) => {
            add(&mut line, "--simulate --model", &deployment.model);
            add(&mut line, "--device", &deployment.device);
            for (flag, count) in [
                ("--tensor-parallel", deployment.tensor_parallel),
                ("--pipeline-parallel", deployment.pipeline_parallel),
            ] {
                if count != 1 {
                    add(&mut line, flag, &count.to_string());
                }
            }
            for path in &file.catalog {
                add(&mut line, "--catalog", &path.to_string_lossy());
            }
            for path in &file.profiles {
                add(&mut line, "--profiles", &path.to_string_lossy());
            }
            if has_more(deployment) {
                hint = "\n(its deployment has more than flags say, as batching or cost: with that in a file of `mst simulate`, \
                        --simulate FILE)";
            }
        }
        (_, _, Some(endpoint)) => {
            let setting = |key: &str| endpoint.settings.get(key);
            if let Some(url) = &endpoint.url {
                add(&mut line, "--url", url);
            } else if is_ours(endpoint) {
                add(&mut line, "--url", "http://localhost:PORT");
                hint = "\n(while its model server runs)";
            }
            for (flag, key) in [
                ("--model", "MODEL"),
                ("--api", "API"),
                ("--api-key-env", "API_KEY_VARIABLE"),
            ] {
                if let Some(value) = setting(key) {
                    add(&mut line, flag, value);
                }
            }
        }
        _ => {}
    }
    add(&mut line, "--output", &output.to_string_lossy());
    line + hint
}

/// A flag and its value, as a shell takes it.
fn add(line: &mut String, flag: &str, value: &str) {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._:-+@=".contains(c);
    let _ = if value.chars().all(is_plain) {
        write!(line, " {flag} {value}")
    } else {
        write!(line, " {flag} '{}'", value.replace('\'', r"'\''"))
    };
}

/// Whether prompts on an idle replica depend on more of a deployment than flags of the profile say.
fn has_more(deployment: &Deployment) -> bool {
    let said = Deployment {
        tensor_parallel: deployment.tensor_parallel,
        pipeline_parallel: deployment.pipeline_parallel,
        replicas: deployment.replicas,
        router: deployment.router,
        queue: deployment.queue,
        batch_size_cap: deployment.batch_size_cap,
        ..Deployment::new(&deployment.model, &deployment.device)
    };
    said != *deployment
}

/// Whether its model server is started by us.
fn is_ours(endpoint: &EndpointEntry) -> bool {
    endpoint.settings.contains_key("SERVER_COMMAND")
}

impl Task<'_> {
    /// What to know about the first deadlines of an objective, where they are predicted.
    pub(super) fn profile_notes(&self, objective: &Objective) -> Vec<String> {
        let Some((curve, target)) = self.ready.curve.as_ref().zip(self.ready.profiled.as_ref()) else {
            return Vec::new();
        };
        if !objective.needs_profile() {
            return Vec::new();
        }
        let mut notes = Vec::new();
        let (system, workload) = (&self.ready.system.name, &self.workload.name);
        if !is_of(self.ready, target) {
            notes.push(format!(
                "{system}: its prefill profile is of {}, another target: first deadlines are predicted from that one's times",
                told(target)
            ));
        }
        let (shortest, longest) = self.requests.prompts();
        let ends = curve.points().first().zip(curve.points().last());
        let mut beyond = |words: &str, prompt: u32, known: f64| {
            notes.push(format!(
                "{system}/{workload}: prompts of {prompt} tokens are {words} than any of the prefill profile ({known}): their first \
                 deadlines are extrapolated"
            ));
        };
        if let Some((_, last)) = ends.filter(|(_, last)| f64::from(longest) > last.tokens) {
            beyond("longer", longest, last.tokens);
        }
        if let Some((first, _)) = ends.filter(|(first, _)| f64::from(shortest) < first.tokens) {
            beyond("shorter", shortest, first.tokens);
        }
        notes
    }
}

/// Whether a profile is of the side of a system that is loaded, as far as both say.
fn is_of(ready: &Ready<'_>, target: &ProfiledTarget) -> bool {
    let system = ready.system;
    match (ready.side, target) {
        (
            Side::Simulator,
            ProfiledTarget::Simulated {
                model,
                device,
                tensor_parallel,
                pipeline_parallel,
                cost,
            },
        ) => {
            let built = ready.built.as_ref().and_then(|built| built.as_ref().ok());
            system.deployment.as_ref().is_some_and(|ours| {
                ours.model.eq_ignore_ascii_case(model)
                    && ours.device.eq_ignore_ascii_case(device)
                    && (ours.tensor_parallel, ours.pipeline_parallel)
                        == (*tensor_parallel, *pipeline_parallel)
                    && built.is_none_or(|built| built.origin.label == cost)
            })
        }
        (Side::Endpoint, ProfiledTarget::Endpoint { url, model, .. }) => {
            let Some(ours) = &system.endpoint else {
                return false;
            };
            let parsed = |text: &str| text.parse::<BaseUrl>().ok();
            // A server of ours has another port each time.
            let same_place = match &ours.url {
                Some(ours) => parsed(ours) == parsed(url),
                None => is_ours(ours),
            };
            same_place && ours.settings.get("MODEL").is_none_or(|ours| ours == model)
        }
        (Side::Endpoint, ProfiledTarget::Embedded { .. }) => system
            .endpoint
            .as_ref()
            .is_some_and(|ours| ours.url.is_none() && !is_ours(ours)),
        _ => false,
    }
}

/// What was profiled, in words.
fn told(target: &ProfiledTarget) -> String {
    match target {
        ProfiledTarget::Endpoint { url, model, .. } => format!("{model} at {url}"),
        ProfiledTarget::Embedded { .. } => "the embedded endpoint".to_owned(),
        ProfiledTarget::Simulated {
            model,
            device,
            tensor_parallel,
            pipeline_parallel,
            cost,
        } => format!(
            "{model} simulated on {device}, tensor parallel {tensor_parallel}, pipeline parallel {pipeline_parallel}, times from \
             {cost}"
        ),
    }
}
