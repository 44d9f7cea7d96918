//! What a campaign cost in load, and what it would have cost otherwise.

use super::{PairAnswer, ideal, rules};
use crate::search::Stages;
use crate::settings::{Experiment, SearchKind, Settings};

/// Hours of load below which nobody asks what was saved.
const LEAST_HOURS: f64 = 0.1;

/// The hours of a campaign of adaptive searches in words, and what they are to be held against: searches that know
/// nothing of one another, and ramp and bisection. `None` where there is nothing to compare, or next to nothing.
pub fn savings(settings: &Settings, answers: &[PairAnswer]) -> Option<String> {
    if settings.search != SearchKind::Adaptive || answers.len() < 2 {
        return None;
    }
    let load = |answer: &PairAnswer| answer.capacity.load_seconds() / 3600.0;
    let took: f64 = answers.iter().map(load).sum();
    if took < LEAST_HOURS {
        return None;
    }
    let mut text = format!("{} pairs took {took:.2} h of load", answers.len());
    let alone: Vec<f64> = answers.iter().filter(|a| a.prior.is_none()).map(load).collect();
    if !alone.is_empty() && alone.len() < answers.len() {
        let each = alone.iter().sum::<f64>() / alone.len() as f64;
        let all = each * answers.len() as f64;
        text = format!(
            "{text}; had they not known of one another, some {all:.2} h, as the {} searched without expectation took \
             {each:.2} h each: {:.2} h saved",
            alone.len(),
            all - took
        );
    }
    let trials: u32 = answers
        .iter()
        .filter_map(|answer| {
            let named = |e: &&Experiment| e.name == answer.pair;
            let experiment = settings.experiments.iter().find(named)?;
            let mut search = Stages::new(rules::config(settings, experiment));
            let capacity = answer.capacity.answer.rate?;
            Some(ideal::load(&mut search, capacity, settings.duration.as_secs_f64()).trials)
        })
        .sum();
    let hours = f64::from(trials) * settings.duration.as_secs_f64() / 3600.0;
    Some(format!(
        "{text}; ramp and bisection (SEARCH=stages) to these answers is {trials} trials, {hours:.2} h of load if none \
         ends early"
    ))
}
