//! `mst run`: from a `.env` to the maximum sustainable throughput of an endpoint for each token pair.

mod answers;
mod dry_run;

use std::io::IsTerminal;
use std::time::Duration;

use crate::campaign::{self, Campaign, PairAnswer, Target, TargetError, Trials};
use crate::report::{Bars, Event, JsonLines, Lines, Observer, Observers};
use crate::runner::TrialError;
use crate::settings::Settings;
use crate::store::{Store, StoreError, layout};

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use super::interrupt::Interrupt;
use super::settings_args::SettingsArgs;

/// Find the maximum sustainable throughput of an endpoint for each token pair.
///
/// Settings come from flags, the environment, .env and defaults, in this order. Without a URL, the embedded simulated
/// endpoint is measured, with short trials. What is stored in the results folder is not measured again: run the same
/// command again to resume.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Measure anew, whatever is stored.
    #[arg(long)]
    fresh: bool,
    /// When another process works on a pair, wait for it instead of stopping.
    #[arg(long)]
    wait: bool,
    /// How the answer is printed on stdout.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    // Last: its heading holds for what follows it.
    #[command(flatten)]
    settings: SettingsArgs,
}

const EXAMPLES: &str = "\
Examples:
  mst run                                  the embedded endpoint: a few minutes, two token pairs
  mst run --url http://gpu07:8000          a real endpoint, half an hour a trial
  mst run --tokens 128:128                 one token pair again, keeping what is measured
  mst run --tokens 128:128 --fresh         the same, measured anew
  mst run --dry-run                        pairs, rates, worst case in trials and hours
  mst run --format json > answers.json     for programs";

/// How late the embedded server's tokens may be before its true capacity is in doubt: many steps.
const MOST_LAG: Duration = Duration::from_millis(500);

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let loaded = args.settings.load()?;
    let settings = &loaded.settings;
    eprintln!("{}", loaded.profile_line());
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    for note in &loaded.notes {
        eprintln!("note: {note}");
    }
    let interrupt = Interrupt::listen()?;
    let (loadgen, loadgen_spec) =
        campaign::load_generator(settings).map_err(|e| Failure::new(exit_of(&e), e))?;
    if args.dry_run {
        return dry_run::print(settings, loadgen.as_ref(), args.format);
    }
    let store = Store::open(&settings.results_dir).map_err(|e| {
        Failure::input(anyhow::Error::new(e).context("RESULTS_DIR cannot be used; give another"))
    })?;
    let target = Target::open(settings).map_err(unreachable_or_input)?;
    let mut observer = observers(&store)?;
    for note in &target.notes {
        observer.see(&Event::Note { text: note.clone() });
    }
    let campaign = Campaign {
        settings,
        target: &target,
        loadgen: loadgen.as_ref(),
        trials: Trials::new(
            settings,
            &target,
            loadgen_spec,
            campaign::prompt_source(settings).map_err(Failure::input)?,
        ),
        store: &store,
        fresh: args.fresh,
        wait: args.wait,
        slurm_job_id: std::env::var("SLURM_JOB_ID").ok(),
        time_left: &|_| Ok(()),
        interrupted: &|| interrupt.is_set(),
    };
    let (answers, failure) = run_pairs(&campaign, settings, &mut observer, &interrupt);
    if let Some(lag) = target.embedded_lag().filter(|lag| *lag > MOST_LAG) {
        let seconds = lag.as_secs_f64();
        let text = format!(
            "the embedded server was held up for {seconds:.1} s at worst; this machine is too busy for it"
        );
        observer.see(&Event::Note { text });
    }
    drop(observer);
    answers::print(&answers, settings, args.format)?;
    match failure {
        None => Ok(answers::worst(&answers)),
        Some(failure) => Err(failure),
    }
}

/// Runs the pairs one after the other. A pair that fails does not keep the others from being searched, unless the
/// trouble is everybody's.
fn run_pairs(
    campaign: &Campaign<'_>,
    settings: &Settings,
    observer: &mut dyn Observer,
    interrupt: &Interrupt,
) -> (Vec<PairAnswer>, Option<Failure>) {
    let count = settings.experiments.len();
    let mut answers = Vec::new();
    let mut failure = None;
    for (index, experiment) in settings.experiments.iter().enumerate() {
        match campaign.run_pair((index + 1, count), experiment, observer) {
            Ok(answer) => answers.push(answer),
            Err(TrialError::Interrupted) => {
                let error = anyhow::anyhow!("stopped; everything measured is kept, run again to resume");
                return (answers, Some(Failure::new(interrupt.exit(), error)));
            }
            Err(error) => {
                let everybodys = !matches!(error, TrialError::ClientTooSlow(_) | TrialError::Lease(_));
                let exit = exit_of(&error);
                let what = if matches!(error, TrialError::Lease(_)) {
                    "not searched"
                } else {
                    "given up after trouble that is not the service's answer; everything measured is kept, run again to resume"
                };
                let error = anyhow::Error::new(error).context(format!("{}: {what}", experiment.name));
                let now = Failure::new(exit, error);
                if everybodys || index + 1 == count {
                    return (answers, Some(now));
                }
                // Told at the end as well, but the other pairs may take days.
                observer.see(&Event::Note { text: now.told() });
                failure = Some(now);
            }
        }
    }
    (answers, failure)
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
        TrialError::Store(_) | TrialError::Lease(_) | TrialError::NoTimeLeft(_) | TrialError::Interrupted => {
            Exit::Unexpected
        }
    }
}

fn unreachable_or_input(error: TargetError) -> Failure {
    let exit = match error {
        TargetError::Endpoint(_) => Exit::Unreachable,
        TargetError::Embedded(_) => Exit::Unexpected,
        TargetError::Prompts(_) => Exit::Input,
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
