//! Level B: a fit to iterations that are put together from the times at which the client saw tokens.

use std::collections::HashMap;
use std::path::Path;

use super::factors::Space;
use super::steps::{self, LEAST_STEPS, Step};
use super::timelines::{Filling, iterations};
use super::{CalibrationError, Server, Trial, Trials, held_out};
use crate::deployment::calibrated::{Calibration, Level};

/// Iterations of a trial that are fitted, spread over it: more would only take longer.
const MOST_STEPS: usize = 5_000;
/// Where a smaller share of the prompts fits into the iterations before their first tokens, that is said.
const WELL_PLACED: f64 = 0.9;
/// Relative residual from which on an iteration counts in proportion: networks delay single tokens.
const HUBER: f64 = 0.05;

/// Calibrates from the token times of trials, and holds that against their quantiles.
///
/// # Errors
/// When the server is none of which iterations can be told from outside, or no trial can be used.
pub fn from_token_times(server: &Server, trials: &Trials) -> Result<Calibration, CalibrationError> {
    let filling = filling(server)?;
    let mut notes = trials.left_out.clone();
    let mut steps: HashMap<&Path, Vec<Step>> = HashMap::new();
    for trial in &trials.trials {
        let folder = trial.folder.display();
        let found = trial
            .timelines()
            .and_then(|requests| iterations(&requests, filling));
        match found {
            Ok(found) if found.steps.len() < LEAST_STEPS => notes.push(format!(
                "{folder} is left out: of {} iterations only {} are told in full, fewer than {LEAST_STEPS}",
                found.seen,
                found.steps.len()
            )),
            Ok(found) => {
                if (found.placed as f64) < WELL_PLACED * found.prompts as f64 {
                    notes.push(format!(
                        "{folder}: {} of {} prompts do not fit into the iterations before their first tokens: is there a prefix cache, \
                         or a batch policy or budget other than described?",
                        found.prompts - found.placed,
                        found.prompts
                    ));
                }
                steps.insert(&trial.folder, thinned(found.steps));
            }
            Err(why) => notes.push(format!("{folder} is left out: {why}")),
        }
    }
    let all: Vec<&Trial> = trials
        .trials
        .iter()
        .filter(|t| steps.contains_key(t.folder.as_path()))
        .collect();
    let fit = |space: &Space, of: &[&Trial]| {
        let of: Vec<Step> = of
            .iter()
            .flat_map(|t| &steps[t.folder.as_path()])
            .copied()
            .collect();
        steps::fitted(server, space, &of, HUBER)
    };
    held_out::calibrated(server, &all, Level::B, &fit, notes)
}

fn filling(server: &Server) -> Result<Filling, CalibrationError> {
    let deployment = &server.deployment;
    let why = if deployment.replicas > 1 {
        "there are several replicas, whose tokens come mixed: measure one"
    } else if deployment.pipeline_parallel > 1 {
        "iterations of pipeline stages overlap"
    } else {
        match Filling::of(deployment.batching) {
            Some(filling) => return Ok(filling),
            None => "its batch policy is none of vllm, vllm_v1 and sarathi",
        }
    };
    Err(CalibrationError::NoIterations(why.to_owned()))
}

fn thinned(steps: Vec<Step>) -> Vec<Step> {
    let every = steps.len().div_ceil(MOST_STEPS).max(1);
    steps.into_iter().step_by(every).collect()
}
