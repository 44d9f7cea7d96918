//! The command line: one file a verb. A verb parses, calls the rooms, prints the answer and returns an exit code.

#![allow(clippy::doc_markdown, reason = "the help shows doc comments as they stand")]

mod accuracy;
mod cache;
mod calibrate;
mod cancel;
mod capacity;
mod check;
mod conduct;
mod config;
mod drive;
mod evaluate;
pub mod exit;
mod explore;
mod halt;
mod host;
mod interrupt;
mod list;
mod logs;
mod meta;
mod mix;
mod plan;
mod process;
mod profile;
mod report;
mod resume;
mod run;
mod runs_args;
mod serve;
mod settings_args;
mod simulate;
mod stage_progress;
mod status;
mod submit;
mod trial;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use exit::Outcome;

/// Finds how much load an LLM inference service can sustain, and says how sure it is.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, max_term_width = 110, after_long_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// Shown below the long help.
const AFTER_HELP: &str = "\
Examples:
  mst run                                  the embedded endpoint: a few minutes, two token pairs
  mst run --url http://gpu07:8000          a real endpoint
  mst run --dry-run                        what it would do, and for how long
  mst submit --check                       would Slurm take it, and when would it start
  mst submit                               one job with server, load and search
  mst report                               what was found
  mst run --help                           every verb has a help of its own

Exit codes:
  0  done          1  unexpected     2  usage           3  configuration or input
  4  no sustainable rate found       5  undecided      10  load generator failed
 11  batch system failed            12  endpoint unreachable
130  interrupted, 143  terminated: run again to resume";

/// What can be done.
#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Args),
    Submit(submit::Args),
    Resume(resume::Args),
    Status(status::Args),
    List(list::Args),
    Logs(logs::Args),
    Cancel(cancel::Args),
    #[command(hide = true)]
    Drive(drive::Args),
    #[command(hide = true)]
    Host(host::Args),
    Trial(trial::Args),
    Serve(serve::Args),
    Explore(explore::Args),
    Plan(plan::Args),
    Capacity(capacity::Args),
    Check(check::Args),
    Cache(cache::Args),
    Process(process::Args),
    Evaluate(evaluate::Args),
    Report(report::Args),
    Mix(mix::Args),
    Simulate(simulate::Args),
    Calibrate(calibrate::Args),
    Accuracy(accuracy::Args),
    Profile(profile::Args),
    Config(config::Args),
    Completions(meta::CompletionsArgs),
    Man(meta::ManArgs),
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    #[value(alias = "text")]
    Human,
    /// For programs.
    Json,
}

/// Parses the arguments, runs the verb and turns its outcome into an exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome: Outcome = match cli.verb {
        Verb::Run(args) => run::run(args),
        Verb::Submit(args) => submit::run(args),
        Verb::Resume(args) => resume::run(args),
        Verb::Status(args) => status::run(args),
        Verb::List(args) => list::run(args),
        Verb::Logs(args) => logs::run(args),
        Verb::Cancel(args) => cancel::run(args),
        Verb::Drive(args) => drive::run(args),
        Verb::Host(args) => host::run(args),
        Verb::Trial(args) => trial::run(args),
        Verb::Serve(args) => serve::run(args),
        Verb::Explore(args) => explore::run(args),
        Verb::Plan(args) => plan::run(args),
        Verb::Capacity(args) => capacity::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Cache(args) => cache::run(args),
        Verb::Process(args) => process::run(args),
        Verb::Evaluate(args) => evaluate::run(args),
        Verb::Report(args) => report::run(args),
        Verb::Mix(args) => mix::run(args),
        Verb::Simulate(args) => simulate::run(args),
        Verb::Calibrate(args) => calibrate::run(args),
        Verb::Accuracy(args) => accuracy::run(args),
        Verb::Profile(args) => profile::run(args),
        Verb::Config(args) => config::run(args),
        Verb::Completions(args) => meta::completions(&args),
        Verb::Man(args) => meta::man(&args),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(failure) if is_broken_pipe(&failure.error) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where stderr cannot be written, the exit code has to do.
            let _ = writeln!(std::io::stderr(), "error: {}", failure.told());
            failure.exit.into()
        }
    }
}

/// Whether the reader of our output went away, as in `mst report | head`: that is success.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Prints one JSON value.
fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// A time in whole seconds: `300`, `5s`, `5m`.
fn whole_seconds(text: &str) -> Result<i64, String> {
    let seconds = crate::store::tables::seconds(text).ok_or("write seconds, or for example `5s` or `5m`")?;
    if seconds.fract() != 0.0 {
        return Err("the older files know whole seconds only".to_owned());
    }
    if seconds > 1e9 {
        Err("that is longer than any trial".to_owned())
    } else {
        Ok(seconds as i64)
    }
}
