//! `mst run`: from a `.env` to the maximum sustainable throughput of an endpoint for each token pair.

pub(super) mod answers;
mod dry_run;
mod login;

use crate::campaign;
use crate::cluster::Walltime;
use crate::executor::slurm::{JobId, Slurm};
use crate::store::Incarnation;

use super::Format;
use super::conduct::{self, Conduct, Ended};
use super::exit::{Exit, Failure, Outcome};
use super::halt::{Halt, Why};
use super::interrupt::Interrupt;
use super::settings_args::SettingsArgs;
use login::Login;

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
    if args.dry_run {
        let (loadgen, _) = conduct::load_generator(settings)?;
        return dry_run::print(settings, loadgen.as_ref(), args.format);
    }
    let job = std::env::var("SLURM_JOB_ID").ok();
    let walltime = job
        .as_deref()
        .filter(|_| Slurm::is_here())
        .and_then(JobId::parse)
        .map(|id| Walltime::of(id, settings.cluster.margin, settings.cluster.poll));
    let login = Login::begin_if_needed(settings).map_err(Failure::input)?;
    let home = login.as_ref().map(Login::home);
    let halt = Halt::new(
        &interrupt,
        login.as_ref().map(|login| &login.run),
        login.as_ref().map(|login| &login.lease),
        walltime.as_ref(),
    );
    let conducted = Conduct {
        settings,
        experiments: &settings.experiments,
        fresh: args.fresh,
        wait: args.wait,
        executor: campaign::executor(settings, home.as_ref())?.as_ref(),
        incarnation: Incarnation::default(),
        job,
        home: home.as_ref(),
        observer: login.as_ref().map(Login::progress),
        time_left: &|seconds| conduct::fits(walltime.as_ref(), settings, seconds),
        halt: &halt,
    }
    .run();
    if let Some(login) = &login {
        login.end(&conducted)?;
    }
    let conducted = conducted?;
    answers::print(&conducted.answers, &settings.results_dir, args.format)?;
    match conducted.ended {
        None => Ok(answers::worst(&conducted.answers)),
        Some(Ended::Failed(failure)) => Err(failure),
        Some(Ended::Stopped(Why::Walltime, told)) if conducted.measured == 0 && !told.is_empty() => {
            // Started again, it would not get further.
            Err(Failure::input(anyhow::anyhow!(
                "not one trial fits: {told}; give the job more time, or trials less (DURATION)"
            )))
        }
        Some(Ended::Stopped(why, told)) => {
            let because = conduct::because(why, &told);
            let error = anyhow::anyhow!("stopped{because}; everything measured is kept, run again to resume");
            let exit = match why {
                Why::Walltime if !interrupt.is_set() => Exit::Terminated,
                _ => interrupt.exit(),
            };
            Err(Failure::new(exit, error))
        }
    }
}
