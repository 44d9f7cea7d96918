//! Many searches against servers of known capacity, in virtual time, on all cores.

use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::choice::{Choice, Rules};
use super::runner::Virtual;
use super::{Load, Server, Truth, true_capacity};
use crate::capacity::{self, Capacity, Experiment};
use crate::criterion::Earlier;
use crate::plan::foreseen::Foreseen;
use crate::pool;
use crate::report::Observers;
use crate::report::accuracy::{RulingLine, Searched, ServerFacts, TrialLine};
use crate::runner::TrialError;
use crate::search::{Answer, Goal, Prior, Probe, Search, Status};
use crate::trial::{LoadGenSpec, TargetSpec, TrialSpec};
use crate::units::Rate;
use crate::workload::{PromptSource, PromptSpec, WorkloadSpec, seeds};

/// A server of the panel, and the file that it came from.
#[derive(Debug)]
pub struct Entry {
    /// The server.
    pub server: Server,
    /// Name of the file.
    pub file: String,
}

/// What a bench does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is put side by side.
    pub choices: Vec<Choice>,
    /// What all searches have in common.
    pub rules: Rules,
    /// Searches for each server and combination.
    pub searches: u32,
    /// Seeds starts, arrivals and lengths.
    pub seed: u64,
    /// The first rate is drawn between these fractions of the true capacity, uniformly in its logarithm.
    pub start: (f64, f64),
    /// What adaptive searches expect beforehand.
    pub prior: Option<Expected>,
    /// Fractions of the true capacity at which full-length trials are ruled on; searches take turns.
    pub fractions: Vec<f64>,
    /// How many of them beside each search.
    pub rulings: usize,
    /// Threads.
    pub jobs: usize,
}

/// What searches expect beforehand.
#[derive(Clone, Debug)]
pub enum Expected {
    /// The truth, off by so much: the standard deviation of the logarithm.
    Off(f64),
    /// What a described service lets expect of the lengths of a server's requests.
    Foreseen(Box<Foreseen>),
}

/// Is told how far a bench is.
pub trait Watcher: Sync {
    /// A part of the work begins: so many pieces.
    fn stage(&self, name: &str, pieces: usize);
    /// A piece is done.
    fn piece(&self, label: &str);
    /// Whether everything is to stop now.
    fn is_interrupted(&self) -> bool;
}

/// A server with its true capacity for every DURATION of the plan.
#[derive(Debug)]
pub struct Known<'a> {
    /// The server and its file.
    pub entry: &'a Entry,
    /// By DURATION, in the order of the plan's first mention.
    pub truths: Vec<(f64, Truth)>,
}

impl Known<'_> {
    /// The true capacity for a DURATION.
    pub fn truth(&self, duration_s: f64) -> &Truth {
        let exact = self.truths.iter().find(|(d, _)| d.total_cmp(&duration_s).is_eq());
        &exact.unwrap_or(&self.truths[0]).1
    }

    /// As the summary names it.
    pub fn facts(&self) -> ServerFacts {
        let truth = &self.truths[0].1;
        ServerFacts {
            name: self.entry.server.name().to_owned(),
            file: self.entry.file.clone(),
            true_capacity_per_minute: truth.capacity.as_per_minute(),
            method: truth.method.clone(),
            relative_error: truth.relative_error,
            stationary: self.entry.server.is_stationary(),
        }
    }
}

/// The true capacities of a panel.
pub fn truths<'a>(
    panel: &'a [Entry],
    durations: &[f64],
    jobs: usize,
    watcher: &dyn Watcher,
) -> Vec<Known<'a>> {
    let tasks: Vec<(usize, f64)> = (0..panel.len())
        .flat_map(|place| durations.iter().map(move |d| (place, *d)))
        .collect();
    watcher.stage("true capacities", tasks.len());
    let mut found = pool::run(jobs, &tasks, |&(place, duration_s)| {
        let truth = true_capacity(&panel[place].server, duration_s);
        watcher.piece(panel[place].server.name());
        (duration_s, truth)
    })
    .into_iter();
    panel
        .iter()
        .map(|entry| Known {
            entry,
            truths: found.by_ref().take(durations.len()).collect(),
        })
        .collect()
}

/// All searches of the plan, by server, combination and number: the same whatever the number of threads.
///
/// # Errors
/// [`TrialError::Interrupted`].
pub fn searches(
    panel: &[Known<'_>],
    plan: &Plan,
    watcher: &dyn Watcher,
) -> Result<Vec<Searched>, TrialError> {
    // Numbers outermost, so that what is left can be told from what is done.
    let mut tasks: Vec<(usize, usize, u32)> = Vec::new();
    for number in 0..plan.searches {
        for server in 0..panel.len() {
            tasks.extend((0..plan.choices.len()).map(|choice| (server, choice, number)));
        }
    }
    let foreseen: Vec<Option<Prior>> = pool::run(plan.jobs, panel, |known| match &plan.prior {
        Some(Expected::Foreseen(foreseen)) => {
            let lengths = known.entry.server.request_lengths()?;
            foreseen.of_lengths(lengths).ok().flatten()
        }
        _ => None,
    });
    watcher.stage("searches", tasks.len());
    let found = pool::run(plan.jobs, &tasks, |&(server, choice, number)| {
        let known = &panel[server];
        let one = search(
            known,
            &plan.choices[choice],
            number,
            plan,
            foreseen[server],
            watcher,
        );
        watcher.piece(known.entry.server.name());
        one.map(|one| ((server, choice, number), one))
    });
    let mut found = found.into_iter().collect::<Result<Vec<_>, TrialError>>()?;
    found.sort_by_key(|(place, _)| *place);
    Ok(found.into_iter().map(|(_, one)| one).collect())
}

/// One search and the rulings beside it. Its seed depends on server and number alone, so that combinations begin alike.
fn search(
    known: &Known<'_>,
    choice: &Choice,
    number: u32,
    plan: &Plan,
    foreseen: Option<Prior>,
    watcher: &dyn Watcher,
) -> Result<Searched, TrialError> {
    let server = &known.entry.server;
    let truth = known.truth(choice.duration_s).capacity;
    let seed = seeds::derive(plan.seed, &[server.name(), &number.to_string()]);
    let draw = seeds::stream(seed, "start").random::<f64>();
    let (from, to) = plan.start;
    let start = Rate::per_minute(truth.as_per_minute() * from * (to / from).powf(draw));
    let prior = match plan.prior {
        Some(Expected::Off(sd)) => Some(expected(truth, sd, seed)),
        _ => foreseen,
    };
    let mut search = choice.search(&plan.rules, start, prior);
    let found = find(server, choice, plan, seed, search.as_mut(), watcher);
    let found = found.or_else(|error| without_answer(error, search.as_ref()))?;
    let rulings = (0..plan.rulings.min(plan.fractions.len()))
        .map(|turn| {
            let place = number as usize * plan.rulings + turn;
            rule(
                server,
                choice,
                plan,
                seed,
                truth,
                plan.fractions[place % plan.fractions.len()],
            )
        })
        .collect();
    Ok(Searched {
        start: start.as_per_minute(),
        rulings,
        ..searched(known, choice, number, seed, &found)
    })
}

/// What a simulator lets expect that is off by so much.
fn expected(truth: Rate, sd: f64, seed: u64) -> Prior {
    let off: f64 = StandardNormal.sample(&mut seeds::stream(seed, "prior"));
    let times = |sds: f64| Rate::per_minute(truth.as_per_minute() * (sd * (off + sds)).exp());
    Prior {
        capacity: times(0.0),
        low: times(-1.96),
        high: times(1.96),
    }
}

/// A search that asked for what cannot be has no answer; only an interrupt ends everything.
fn without_answer(error: TrialError, search: &dyn Search) -> Result<Capacity, TrialError> {
    if matches!(error, TrialError::Interrupted) {
        return Err(error);
    }
    Ok(Capacity {
        answer: Answer {
            rate: None,
            low: None,
            high: None,
            confirmed_s: None,
            status: Status::Undecided,
            reason: error.to_string(),
            termination_code: String::new(),
        },
        evidence: Vec::new(),
        bracket: search.bracket(),
        decided: Vec::new(),
    })
}

/// What a search found, with nothing beside it.
pub(super) fn searched(
    known: &Known<'_>,
    choice: &Choice,
    number: u32,
    seed: u64,
    found: &Capacity,
) -> Searched {
    let answer = &found.answer;
    let per_minute = |rate: Option<Rate>| rate.map(Rate::as_per_minute);
    Searched {
        server: known.entry.server.name().to_owned(),
        file: known.entry.file.clone(),
        stationary: known.entry.server.is_stationary(),
        combination: choice.combination(),
        campaign: None,
        number,
        seed,
        start: 0.0,
        truth: known.truth(choice.duration_s).capacity.as_per_minute(),
        answer: per_minute(answer.rate),
        low: per_minute(answer.low),
        high: per_minute(answer.high),
        status: answer.status,
        reason: answer.reason.clone(),
        hours: found.load_seconds() / 3600.0,
        trials: found
            .evidence
            .iter()
            .map(|e| TrialLine {
                rate: e.probe.rate.as_per_minute(),
                offered: e.offered.as_per_minute(),
                goal: e.probe.goal,
                duration_s: e.probe.duration_s.unwrap_or(choice.duration_s),
                load_s: e.load_s,
                ruling: e.verdict.ruling,
                margin: e.verdict.margin,
                hint: e.verdict.capacity_hint,
            })
            .collect(),
        rulings: Vec::new(),
    }
}

/// Runs one search against a server.
pub(super) fn find(
    server: &Server,
    choice: &Choice,
    plan: &Plan,
    seed: u64,
    search: &mut dyn Search,
    watcher: &dyn Watcher,
) -> Result<Capacity, TrialError> {
    let criterion = choice.criterion(&plan.rules, server);
    capacity::find(
        search,
        criterion.as_ref(),
        &mut Virtual::new(server),
        &Experiment {
            pair: server.name(),
            spec: &|probe| spec(server, choice, seed, probe),
            decided: &|_| None,
            cooldown_s: 0.0,
            interrupted: &|| watcher.is_interrupted(),
        },
        &mut Observers::default(),
    )
}

/// The trial that a probe asks for. Its seed depends on what is asked, as in a campaign.
fn spec(server: &Server, choice: &Choice, seed: u64, probe: &Probe) -> TrialSpec {
    let rate = probe.rate.as_per_minute().to_string();
    TrialSpec {
        target: TargetSpec {
            label: server.name().to_owned(),
            model: String::new(),
            api: String::new(),
        },
        workload: WorkloadSpec {
            // Lengths are the server's.
            classes: Vec::new(),
            arrival: choice.arrival,
            prompts: PromptSpec {
                source: PromptSource::Builtin,
                unique_prefix: false,
            },
            lengths: None,
        },
        rate: probe.rate,
        duration_s: probe.duration_s.unwrap_or(choice.duration_s),
        loadgen: LoadGenSpec {
            name: "virtual".to_owned(),
            version: String::new(),
            options: Vec::new(),
        },
        seed: seeds::derive(seed, &[&rate, &probe.attempt.to_string()]),
        attempt: probe.attempt,
    }
}

/// The ruling of one trial at a fraction of the true capacity, which may end as soon as it is decided.
fn rule(server: &Server, choice: &Choice, plan: &Plan, seed: u64, truth: Rate, fraction: f64) -> RulingLine {
    let criterion = choice.criterion(&plan.rules, server);
    let load = Load {
        rate: Rate::per_minute(truth.as_per_minute() * fraction),
        duration_s: choice.duration_s,
        arrival: choice.arrival,
        seed: seeds::derive(seed, &["ruling", &fraction.to_string()]),
    };
    let measurement = server.trial(&load, &mut |progress| criterion.watch(progress, Goal::Confirm));
    let verdict = criterion.judge(&measurement, &Earlier::default());
    RulingLine {
        fraction,
        load_s: measurement.offered_s,
        ruling: verdict.ruling,
        margin: verdict.margin,
        hint: verdict.capacity_hint,
    }
}
