//! What `mst run` and the driver of a submitted run have in common: target, load generator, observers, pair after pair.

use std::cell::Cell;
use std::io::IsTerminal;
use std::rc::Rc;
use std::time::Duration;

use super::exit::{Exit, Failure};
use super::halt::{Halt, Why};
use crate::campaign::{self, Campaign, Home, PairAnswer, Target, TargetError, Trials};
use crate::cluster::Walltime;
use crate::executor::Executor;
use crate::loadgen::LoadGenerator;
use crate::plan::foreseen::Foreseen;
use crate::report::{Bars, Event, JsonLines, Lines, Observer, Observers};
use crate::runner::TrialError;
use crate::server::ServerError;
use crate::settings::{Experiment, Settings};
use crate::store::{Incarnation, Store, StoreError, layout};
use crate::trial::LoadGenSpec;

/// How late the embedded server's tokens may be before its true capacity is in doubt: many steps.
const MOST_LAG: Duration = Duration::from_millis(500);

/// How a campaign is conducted.
pub(super) struct Conduct<'a> {
    pub(super) settings: &'a Settings,
    /// What is searched, in order.
    pub(super) experiments: &'a [Experiment],
    /// Whether stored trials are ignored.
    pub(super) fresh: bool,
    /// Whether a pair that another process works on is waited for.
    pub(super) wait: bool,
    /// Where load generators run.
    pub(super) executor: &'a dyn Executor,
    /// Which start of which run this is.
    pub(super) incarnation: Incarnation,
    /// The job that this is, where it is one.
    pub(super) job: Option<String>,
    /// Where a model server is at home that belongs to the run.
    pub(super) home: Option<&'a Home<'a>>,
    /// What sees the events beside the terminal and `events.jsonl`.
    pub(super) observer: Option<Box<dyn Observer>>,
    /// Whether a trial that takes so many seconds still fits before the job's end.
    pub(super) time_left: &'a dyn Fn(f64) -> Result<(), String>,
    /// What may stop it.
    pub(super) halt: &'a Halt<'a>,
}

/// How it went.
pub(super) struct Conducted {
    /// The pairs that have an answer.
    pub(super) answers: Vec<PairAnswer>,
    /// Trials that were run, not found.
    pub(super) measured: u32,
    /// What kept the others from having one.
    pub(super) ended: Option<Ended>,
}

/// Why a campaign ended before the last pair's answer.
pub(super) enum Ended {
    /// It was stopped, and can be resumed.
    Stopped(Why, String),
    /// Trouble.
    Failed(Failure),
}

impl Conduct<'_> {
    /// Conducts the campaign.
    ///
    /// # Errors
    /// When it cannot begin.
    pub(super) fn run(self) -> Result<Conducted, Failure> {
        let settings = self.settings;
        let (loadgen, loadgen_spec) = load_generator(settings)?;
        let store = Store::open(&settings.results_dir).map_err(|e| {
            Failure::input(anyhow::Error::new(e).context("RESULTS_DIR cannot be used; give another"))
        })?;
        let mut observer = observers(&store)?;
        if let Some(more) = self.observer {
            observer.add(more);
        }
        let interrupted = || self.halt.why().is_some();
        let mut note = |text: &str| {
            observer.see(&Event::Note {
                text: text.to_owned(),
            });
        };
        let target = match Target::open(settings, self.home, &interrupted, &mut note) {
            Ok(target) => target,
            Err(TargetError::Server(ServerError::Interrupted)) => {
                return Ok(Conducted {
                    answers: Vec::new(),
                    measured: 0,
                    ended: self.halt.why().map(|why| Ended::Stopped(why, String::new())),
                });
            }
            Err(error) => return Err(unreachable_or_input(error)),
        };
        for note in &target.notes {
            observer.see(&Event::Note { text: note.clone() });
        }
        let foreseen = settings.prior.as_deref().map(Foreseen::read);
        let foreseen = foreseen.transpose().map_err(Failure::input)?;
        let campaign = Campaign {
            settings,
            target: &target,
            loadgen: loadgen.as_ref(),
            executor: self.executor,
            trials: Trials::new(
                settings,
                &target,
                loadgen_spec,
                campaign::prompt_source(settings).map_err(Failure::input)?,
            ),
            store: &store,
            foreseen: foreseen.as_ref(),
            fresh: self.fresh,
            answered: std::cell::RefCell::default(),
            wait: self.wait,
            incarnation: self.incarnation,
            slurm_job_id: self.job,
            time_left: self.time_left,
            interrupted: &interrupted,
        };
        let measured = Rc::new(Cell::new(0));
        observer.add(Box::new(Measured(Rc::clone(&measured))));
        let (answers, ended) = run_pairs(&campaign, self.experiments, &mut observer, self.halt);
        if let Some(lag) = target.embedded_lag().filter(|lag| *lag > MOST_LAG) {
            let seconds = lag.as_secs_f64();
            let text = format!(
                "the embedded server was held up for {seconds:.1} s at worst; this machine is too busy for it"
            );
            observer.see(&Event::Note { text });
        }
        Ok(Conducted {
            answers,
            measured: measured.get(),
            ended,
        })
    }
}

/// Counts the trials that were run.
struct Measured(Rc<Cell<u32>>);

impl Observer for Measured {
    fn see(&mut self, event: &Event) {
        if matches!(event, Event::TrialJudged { reused: false, .. }) {
            self.0.set(self.0.get() + 1);
        }
    }
}

/// The load generator of the settings.
///
/// # Errors
/// When it cannot be used.
pub(super) fn load_generator(settings: &Settings) -> Result<(Box<dyn LoadGenerator>, LoadGenSpec), Failure> {
    campaign::load_generator(settings).map_err(|e| Failure::new(exit_of(&e), e))
}

/// The end of a sentence on why a driver stopped; nothing for a signal, whose sender knows.
pub(super) fn because(why: Why, told: &str) -> String {
    match why {
        Why::Signal => String::new(),
        Why::Cancelled => ", as `mst cancel` asked".to_owned(),
        Why::Superseded => ": a later job of this run has taken over".to_owned(),
        Why::Walltime if told.is_empty() => ": the job ends soon".to_owned(),
        Why::Walltime => format!(": {told}"),
    }
}

/// Runs the pairs one after the other. A pair that fails does not keep the others from being searched, unless the
/// trouble is everybody's.
fn run_pairs(
    campaign: &Campaign<'_>,
    experiments: &[Experiment],
    observer: &mut dyn Observer,
    halt: &Halt<'_>,
) -> (Vec<PairAnswer>, Option<Ended>) {
    let count = experiments.len();
    let mut answers = Vec::new();
    let mut ended = None;
    let order = campaign::order(campaign.settings, experiments);
    for (index, &place) in order.iter().enumerate() {
        let experiment = &experiments[place];
        match campaign.run_pair((index + 1, count), experiment, observer) {
            Ok(answer) => answers.push((place, answer)),
            Err(error) => {
                if let Some(stop) = stopped(&error, halt) {
                    ended = Some(stop);
                    break;
                }
                let everybodys = !matches!(error, TrialError::ClientTooSlow(_) | TrialError::Lease(_));
                let exit = exit_of(&error);
                let what = if matches!(error, TrialError::Lease(_)) {
                    "not searched"
                } else {
                    "given up after trouble that is not the service's answer; everything measured is kept, run again to resume"
                };
                let error = anyhow::Error::new(error).context(format!("{}: {what}", experiment.name));
                let now = Failure::new(exit, error);
                if !everybodys && index + 1 < count {
                    // Told at the end as well, but the other pairs may take days.
                    observer.see(&Event::Note { text: now.told() });
                }
                ended = Some(Ended::Failed(now));
                if everybodys {
                    break;
                }
            }
        }
    }
    // As they were given, whatever the order in which they were searched.
    answers.sort_by_key(|(place, _)| *place);
    let answers: Vec<PairAnswer> = answers.into_iter().map(|(_, answer)| answer).collect();
    if let Some(text) = campaign::savings(campaign.settings, &answers) {
        observer.see(&Event::Note { text });
    }
    (answers, ended)
}

/// Whether a trial that sends requests for `seconds` still fits into the job, with its drain.
///
/// # Errors
/// How much is missing.
pub(super) fn fits(walltime: Option<&Walltime>, settings: &Settings, seconds: f64) -> Result<(), String> {
    walltime.map_or(Ok(()), |walltime| {
        walltime.fits(Duration::from_secs_f64(seconds) + settings.drain)
    })
}

/// Whether an error is a stop that can be resumed from. A lease that a later incarnation took is one, too.
fn stopped(error: &TrialError, halt: &Halt<'_>) -> Option<Ended> {
    match error {
        TrialError::NoTimeLeft(why) => Some(Ended::Stopped(Why::Walltime, why.clone())),
        _ => halt.why().map(|why| Ended::Stopped(why, String::new())),
    }
}

/// The exit code of trouble that is not the service's answer.
fn exit_of(error: &TrialError) -> Exit {
    match error {
        TrialError::Endpoint(_) => Exit::Unreachable,
        TrialError::Executor(error) if error.is_batch_systems() => Exit::BatchSystem,
        TrialError::LoadGen(_)
        | TrialError::Executor(_)
        | TrialError::Exit { .. }
        | TrialError::Suspended { .. }
        | TrialError::ClientTooSlow(_) => Exit::LoadGenerator,
        TrialError::Store(StoreError::Malformed { .. }) => Exit::Input,
        TrialError::Store(_)
        | TrialError::Lease(_)
        | TrialError::NoTimeLeft(_)
        | TrialError::NotStored(_)
        | TrialError::Interrupted => Exit::Unexpected,
    }
}

fn unreachable_or_input(error: TargetError) -> Failure {
    let exit = match &error {
        TargetError::Endpoint(_) => Exit::Unreachable,
        TargetError::Embedded(_) => Exit::Unexpected,
        TargetError::Prompts(_) => Exit::Input,
        TargetError::Server(error) => match error {
            ServerError::Failed(_) => Exit::Unreachable,
            ServerError::Unusable(_) | ServerError::Script(_) => Exit::Input,
            ServerError::Submit(_) => Exit::BatchSystem,
            ServerError::Store(_) | ServerError::Run(_) | ServerError::Interrupted => Exit::Unexpected,
        },
    };
    Failure::new(exit, error)
}

/// Bars on a terminal, plain lines otherwise; `events.jsonl` in any case.
fn observers(store: &Store) -> std::io::Result<Observers> {
    let mut all = Observers::default();
    if std::io::stderr().is_terminal() {
        all.add(Box::new(Bars::default()));
    } else {
        all.add(Box::new(Lines::default()));
    }
    all.add(Box::new(JsonLines::append(&store.root().join(layout::EVENTS))?));
    Ok(all)
}
