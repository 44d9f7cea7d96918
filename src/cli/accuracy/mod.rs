//! `mst accuracy`.

mod progress;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow};
use clap::ValueEnum;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use super::interrupt::Interrupt;
use crate::accuracy::{self, Choice, Entry, EvaluationName, Expected, Plan, Rules, SearchName};
use crate::plan::foreseen::Foreseen;
use crate::report::accuracy::{CampaignLine, Searched, Summary, campaign_table, errors, hours, table};
use crate::runner::TrialError;
use crate::search::StopRule;
use crate::store::tables::seconds;
use crate::workload::Arrival;
use progress::Progress;

/// The panel that is used where no file is named: file name and text.
const PANEL: [(&str, &str); 3] = [
    (
        "tuning.yml",
        include_str!("../../../examples/accuracy/tuning.yml"),
    ),
    (
        "held-out.yml",
        include_str!("../../../examples/accuracy/held-out.yml"),
    ),
    ("later.yml", include_str!("../../../examples/accuracy/later.yml")),
];

/// Measure how exact searches are, against servers of known capacity.
///
/// Many searches run in virtual time against each server of a panel, whose capacity is computed apart from any search: how far
/// off the answers are, how many hours of load they take, whether their intervals hold the truth, and how often a ruling is
/// wrong. Every combination of --search, --evaluation, --arrival and --duration is put side by side. Results depend on --seed
/// alone, not on --jobs.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  mst accuracy                                            the built-in panel, 200 searches a server
  mst accuracy --searches 20 --only b64-l128              a quick look at one server
  mst accuracy --servers mine.yml --format json           servers of your own
  mst accuracy --search stages-legacy,stages --evaluation welch,drift --searches 40
  mst accuracy --servers mine.yml --prior described.yml   with what a simulator lets expect
  mst accuracy --searches 0                               the true capacities and their methods
  mst accuracy --campaign --servers examples/accuracy/grid.yml
  mst accuracy --svg plots --dump searches.jsonl          drawings, and a line of JSON a search")]
pub(crate) struct Args {
    /// Files of servers [default: the built-in panel]
    #[arg(long, value_name = "FILE", num_args = 1..)]
    servers: Vec<PathBuf>,
    /// Only the servers with these names
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Searches for each server and combination [default: 200; with --campaign 4]; 0 prints the true capacities only
    #[arg(long, value_name = "N")]
    searches: Option<u32>,
    /// Search the whole grid of each server that has one, --searches times: each pair alone, with what its neighbours tell
    /// and every answer confirmed, and with only corners and contradictions confirmed
    #[arg(long)]
    campaign: bool,
    /// Seeds starts, arrivals and lengths
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    #[command(flatten)]
    side: SideArgs,
    #[command(flatten)]
    rules: RulesArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is put side by side.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Side by side")]
struct SideArgs {
    /// Searches
    #[arg(
        long,
        value_enum,
        value_name = "A,B",
        value_delimiter = ',',
        default_value = "adaptive"
    )]
    search: Vec<Search>,
    /// Criteria
    #[arg(
        long,
        value_enum,
        value_name = "C,D",
        value_delimiter = ',',
        default_value = "drift"
    )]
    evaluation: Vec<Evaluation>,
    /// Arrival processes [default: stratified, and poisson for stages-legacy]
    #[arg(long, value_name = "E,F", value_delimiter = ',')]
    arrival: Vec<Arrival>,
    /// Durations of a full-length trial
    #[arg(long, value_name = "D,E", value_delimiter = ',', default_value = "1800s", value_parser = duration)]
    duration: Vec<f64>,
}

/// What all searches have in common.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Searches and rulings")]
struct RulesArgs {
    /// Lowest first rate, as a fraction of the true capacity
    #[arg(long, value_name = "FRACTION", default_value_t = 0.03, value_parser = positive)]
    start_from: f64,
    /// Highest first rate
    #[arg(long, value_name = "FRACTION", default_value_t = 0.06, value_parser = positive)]
    start_to: f64,
    /// REQ_MIN_INCREASE_MULTIPLIER
    #[arg(long, value_name = "FACTOR", default_value_t = 2.0, value_parser = factor)]
    multiplier: f64,
    /// STOP_THRESHOLD: 1 or more is requests per minute, less is a fraction
    #[arg(long, value_name = "WIDTH", default_value_t = 0.05, value_parser = positive)]
    stop_threshold: f64,
    /// ITERATION_HARD_LIMIT
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Let adaptive searches expect something beforehand: the true capacity, off by a standard deviation of its logarithm, or what
    /// a file describes, as PRIOR of mst run does
    #[arg(long, value_name = "SD|FILE")]
    prior: Option<String>,
    /// Most load of an adaptive search, for example 2h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    budget: Option<f64>,
    /// FILTER_BUFFER of welch
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = super::whole_seconds)]
    filter_buffer: i64,
    /// Let welch resample as in a real run, instead of taking the sign of the difference of means
    #[arg(long)]
    bootstrap: bool,
    /// Fractions of the true capacity at which trials of full length are ruled on; searches take turns
    #[arg(
        long,
        value_name = "F,G",
        value_delimiter = ',',
        default_value = "0.8,0.9,0.95,0.97,1.03,1.05,1.1,1.25",
        value_parser = positive
    )]
    ruling_fractions: Vec<f64>,
    /// How many of these beside each search
    #[arg(long, value_name = "N", default_value_t = 1)]
    rulings: usize,
}

/// How the result is told.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// How the result is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Draw errors.svg and hours.svg into this folder
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Write a line of JSON for each search, with its trials
    #[arg(long, value_name = "FILE")]
    dump: Option<PathBuf>,
}

/// `SEARCH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Search {
    /// A belief from all trials, and a confirmation
    Adaptive,
    /// Ramp and bisection
    Stages,
    /// The older program's
    StagesLegacy,
}

/// `EVALUATION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Evaluation {
    /// Growth of the backlog
    Drift,
    /// The older rule
    Welch,
}

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let began = Instant::now();
    let interrupt = Interrupt::listen()?;
    let panel = args.panel()?;
    let plan = args.plan()?;
    let progress = Progress::new(&interrupt);
    if args.campaign {
        return campaign(&args, &panel, &plan, &progress, &interrupt);
    }
    let known = accuracy::truths(&panel, &args.side.duration, plan.jobs, &progress);
    let searched = match plan.searches {
        0 => Vec::new(),
        _ => match accuracy::searches(&known, &plan, &progress) {
            Err(TrialError::Interrupted) => return Ok(interrupt.exit()),
            other => other?,
        },
    };
    progress.end();
    if let Some(path) = &args.output.dump {
        dump(path, &searched)?;
    }
    let combinations: Vec<_> = plan.choices.iter().map(Choice::combination).collect();
    let summary = Summary::of(
        known.iter().map(accuracy::Known::facts).collect(),
        &combinations,
        &searched,
    );
    if let Some(folder) = &args.output.svg {
        fs_err::create_dir_all(folder)?;
        for (name, drawing) in [("errors.svg", errors(&summary)), ("hours.svg", hours(&summary))] {
            fs_err::write(folder.join(name), drawing.map_err(|why| anyhow!(why))?)?;
        }
    }
    match args.output.format {
        Format::Json => super::print_json(&summary)?,
        Format::Human => write!(std::io::stdout(), "{}", table(&summary))?,
    }
    took(&searched, began);
    Ok(Exit::Done)
}

/// Runs the campaigns and tells what they cost.
fn campaign(
    args: &Args,
    panel: &[Entry],
    plan: &Plan,
    progress: &Progress<'_>,
    interrupt: &Interrupt,
) -> Outcome {
    let began = Instant::now();
    if panel.iter().all(|entry| entry.server.pairs().is_empty()) {
        return Err(Failure::input(anyhow!(
            "no server has a `grid`; see examples/accuracy/grid.yml"
        )));
    }
    if plan.choices.iter().all(|c| c.search != SearchName::Adaptive) {
        return Err(Failure::new(
            Exit::Usage,
            anyhow!("only --search adaptive learns from neighbours"),
        ));
    }
    let searched = match accuracy::campaigns(panel, plan, progress) {
        Err(TrialError::Interrupted) => return Ok(interrupt.exit()),
        other => other?,
    };
    progress.end();
    if let Some(path) = &args.output.dump {
        dump(path, &searched)?;
    }
    let lines = CampaignLine::all(&searched);
    match args.output.format {
        Format::Json => super::print_json(&serde_json::json!({ "campaigns": lines }))?,
        Format::Human => write!(std::io::stdout(), "{}", campaign_table(&lines))?,
    }
    took(&searched, began);
    Ok(Exit::Done)
}

fn took(searched: &[Searched], began: Instant) {
    if searched.is_empty() {
        return;
    }
    let load = searched
        .iter()
        .map(|s| s.hours)
        .fold(0.0, |sum, hours| sum + hours);
    eprintln!(
        "{} searches, {load:.0} hours of load in {:.1} s",
        searched.len(),
        began.elapsed().as_secs_f64()
    );
}

fn dump(path: &Path, searched: &[Searched]) -> anyhow::Result<()> {
    let mut file = BufWriter::new(fs_err::File::create(path)?);
    for one in searched {
        serde_json::to_writer(&mut file, one).context("a search cannot be written")?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    Ok(())
}

impl Args {
    /// The servers of the files, or of the built-in panel.
    fn panel(&self) -> Result<Vec<Entry>, Failure> {
        let mut panel: Vec<Entry> = Vec::new();
        let mut add = |file: &str, servers: Vec<accuracy::Server>| {
            panel.extend(servers.into_iter().map(|server| Entry {
                server,
                file: file.to_owned(),
            }));
        };
        if self.servers.is_empty() {
            for (name, text) in PANEL {
                add(
                    name,
                    accuracy::parse(Path::new(name), text).map_err(Failure::input)?,
                );
            }
        }
        for path in &self.servers {
            add(
                &path.display().to_string(),
                accuracy::read(path).map_err(Failure::input)?,
            );
        }
        for name in &self.only {
            if !panel.iter().any(|entry| entry.server.name() == name) {
                let names: Vec<_> = panel.iter().map(|entry| entry.server.name()).collect();
                let known = names.join(", ");
                return Err(Failure::input(anyhow!(
                    "--only {name}: there is no such server; there are {known}"
                )));
            }
        }
        if !self.only.is_empty() {
            panel.retain(|entry| self.only.iter().any(|name| name == entry.server.name()));
        }
        Ok(panel)
    }

    fn plan(&self) -> Result<Plan, Failure> {
        let rules = &self.rules;
        if rules.start_from > rules.start_to {
            return Err(Failure::new(
                Exit::Usage,
                anyhow!(
                    "--start-from {} is above --start-to {}",
                    rules.start_from,
                    rules.start_to
                ),
            ));
        }
        let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Plan {
            choices: self.side.choices(),
            rules: Rules {
                multiplier: rules.multiplier,
                stop: if rules.stop_threshold >= 1.0 {
                    StopRule::Absolute(rules.stop_threshold)
                } else {
                    StopRule::Relative(rules.stop_threshold)
                },
                limit: rules.limit,
                budget_s: rules.budget,
                filter_buffer_s: rules.filter_buffer,
                bootstrap: rules.bootstrap,
            },
            searches: self.searches.unwrap_or(if self.campaign { 4 } else { 200 }),
            seed: self.seed,
            start: (rules.start_from, rules.start_to),
            prior: rules.expected()?,
            fractions: rules.ruling_fractions.clone(),
            rulings: rules.rulings,
            jobs: self.jobs.map_or(all, |n| n as usize),
        })
    }
}

impl RulesArgs {
    /// What searches expect beforehand.
    fn expected(&self) -> Result<Option<Expected>, Failure> {
        let Some(text) = &self.prior else { return Ok(None) };
        if text.parse::<f64>().is_ok() {
            let off =
                positive(text).map_err(|why| Failure::new(Exit::Usage, anyhow!("--prior {text}: {why}")))?;
            return Ok(Some(Expected::Off(off)));
        }
        let foreseen = Foreseen::read(Path::new(text)).map_err(Failure::input)?;
        Ok(Some(Expected::Foreseen(Box::new(foreseen))))
    }
}

impl SideArgs {
    /// Every combination, searches outermost.
    fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for search in &self.search {
            let search = match search {
                Search::Adaptive => SearchName::Adaptive,
                Search::Stages => SearchName::Stages,
                Search::StagesLegacy => SearchName::StagesLegacy,
            };
            let arrivals = if self.arrival.is_empty() {
                vec![search.usual_arrival()]
            } else {
                self.arrival.clone()
            };
            for evaluation in &self.evaluation {
                let evaluation = match evaluation {
                    Evaluation::Drift => EvaluationName::Drift,
                    Evaluation::Welch => EvaluationName::Welch,
                };
                for &arrival in &arrivals {
                    choices.extend(self.duration.iter().map(|&duration_s| Choice {
                        search,
                        evaluation,
                        arrival,
                        duration_s,
                    }));
                }
            }
        }
        choices
    }
}

fn duration(text: &str) -> Result<f64, String> {
    match seconds(text) {
        Some(s) if s > 0.0 && s <= 1e6 => Ok(s),
        _ => Err("write for example `1800s` or `30m`".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err("write a number above 0".to_owned()),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    positive(text)
        .ok()
        .filter(|value| *value > 1.0)
        .ok_or_else(|| "write a number above 1".to_owned())
}
