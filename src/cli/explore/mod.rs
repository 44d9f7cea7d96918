//! `mst explore`.

mod progress;
mod submit;
mod told;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::anyhow;
use clap::ValueEnum;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use super::interrupt::Interrupt;
use crate::deployment::{Library, Places};
use crate::explore::folder::{self, KeepRuns};
use crate::explore::{Grid, GridFile, Ledger, Means, Plan, SearchRules, Simulated, Traces, explore};
use crate::store::{Lease, LeaseError, write_json};
use progress::Progress;

/// Search a grid of simulated deployments for what each can bear.
///
/// CONFIG.yml is the file of Vidur's config explorer: clusters, routers, batch policies, objectives, traces, sizes, models,
/// and what to search for. Each combination is simulated at one rate after the other until the highest that keeps the
/// objectives is known to 1 %. When it is interrupted, the same command goes on from there.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The grid
    #[arg(
        value_name = "CONFIG",
        required_unless_present = "config_path",
        conflicts_with = "config_path"
    )]
    config: Option<PathBuf>,
    /// The grid, as Vidur's explorer takes it
    #[arg(long, value_name = "FILE")]
    config_path: Option<PathBuf>,
    /// Where results go
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    /// Where probes are shared between output folders
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Begin no new probe after this many minutes
    #[arg(long, value_name = "MINUTES", value_parser = positive)]
    time_limit: Option<f64>,
    /// Threads [default: all cores]; with --submit, CPUs of each job [default: `cpus` of `driver` in the cluster profile]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    num_threads: Option<u32>,
    /// Which runs leave config.json, request_metrics.csv and plots
    #[arg(long, value_enum, default_value_t)]
    keep_runs: Keep,
    /// How the summary is printed on stdout
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    search: SearchArgs,
    #[command(flatten)]
    library: LibraryArgs,
    /// Search only the I-th of N parts of the grid; the command without --part then writes the outcome of all
    #[arg(long, value_name = "I/N", value_parser = part, help_heading = "Slurm")]
    part: Option<(usize, usize)>,
    /// Write the outcome of N parts. Where one did not come to its end, search nothing: say which, and exit with 5
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        conflicts_with = "part",
        help_heading = "Slurm"
    )]
    gather: Option<u32>,
    /// Submit an array of so many jobs, each with a part of the grid, and a last job that writes the outcome
    #[arg(
        long,
        value_name = "JOBS",
        value_parser = clap::value_parser!(u32).range(1..),
        conflicts_with_all = ["part", "gather"],
        help_heading = "Slurm"
    )]
    submit: Option<u32>,
    /// With --submit: print the scripts; write and submit nothing
    #[arg(long, requires = "submit", help_heading = "Slurm")]
    dry_run: bool,
    /// With --submit: the cluster profile [default: slurm/cluster.yml where it is there]
    #[arg(long, value_name = "FILE", requires = "submit", help_heading = "Slurm")]
    cluster_profile: Option<PathBuf>,
}

/// How the searches are carried out.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Searches")]
struct SearchArgs {
    /// Width of the bracket, in percent of its upper end, that is narrow enough
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = positive)]
    min_search_granularity: f64,
    /// Most bisections of a search; the steps up or down before that are not counted
    #[arg(long, value_name = "N", default_value_t = 10)]
    max_iterations: u32,
    /// Lowest rate that is searched
    #[arg(long, value_name = "QPS", default_value_t = 0.1, value_parser = positive)]
    min_qps: f64,
    /// Seeds of arrivals: an answer is searched again on each, which gives its interval
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// How near the best of its cluster an answer must be for that, in percent: 5 saves time, 100 takes all
    #[arg(long, value_name = "PERCENT", default_value_t = 100.0, value_parser = positive)]
    contenders: f64,
    /// Search also what cannot be the best, or cannot be at all
    #[arg(long)]
    no_prune: bool,
    /// Taken for the sake of old scripts; nothing is warmed up
    #[arg(long, hide = true)]
    skip_cache_warmup: bool,
    /// Taken for the sake of old scripts
    #[arg(long, hide = true)]
    debug: bool,
}

/// Where models, GPUs and profiles are.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Models, GPUs, profiles")]
struct LibraryArgs {
    /// Folder of profiles in Vidur's layout; may be given several times
    #[arg(long, value_name = "DIR")]
    profiles: Vec<PathBuf>,
    /// File or folder with more models and GPUs, or a model's config.json; may be given several times
    #[arg(long, value_name = "PATH")]
    catalog: Vec<PathBuf>,
}

/// Which runs are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Keep {
    /// The answering probe of each search
    #[default]
    Best,
    /// Every probe
    All,
    /// None
    None,
}

const EXAMPLES: &str = "\
Examples:
  mst explore examples/explore.yml --output-dir out
  mst explore grid.yml --output-dir out --time-limit 60 --num-threads 8
  mst explore grid.yml --output-dir out --profiles profiling --cache-dir cache
  mst explore grid.yml --output-dir out --submit 8      eight jobs under Slurm, and one that gathers
  mst explore grid.yml --output-dir out --part 1/8      one of eight by hand; at the end, once, without --part

Exit codes: 0 every search has an answer, 4 no search found a rate, 5 searches are left without an answer (the time
limit, or with --gather a part that did not end); run it again to go on.";

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let began = Instant::now();
    let interrupt = Interrupt::listen()?;
    let (path, file, grid) = args.grid().map_err(Failure::input)?;
    let beside = path.parent().unwrap_or(Path::new("."));
    let traces = Traces::read(&grid, beside).map_err(Failure::input)?;
    let library = Library::open(args.places()).map_err(Failure::input)?;
    if let Some(jobs) = args.submit {
        // Files that cannot be read are told here, and not by every job.
        return submit::submit(&args, path, jobs);
    }
    let evaluator = Simulated::new(&library, &traces);

    let output = &args.output_dir;
    let (own, shared) = args.prepare().map_err(Failure::input)?;
    let lease = Lease::take(&own).map_err(|error| match error {
        LeaseError::Held { host, pid, .. } => Failure::input(anyhow!(
            "{} is in use by process {pid} on {host}; wait for it, end it, or give another --output-dir",
            own.display()
        )),
        other => other.into(),
    })?;
    if args.part.is_some() {
        folder::unmark(&own)?;
    }
    write_json(&own.join("args.json"), &args.told(path))?;
    write_json(&own.join("config.json"), &file)?;
    let others = if args.part.is_none() {
        folder::part_ledgers(output)?
    } else {
        Vec::new()
    };
    let ledger =
        Ledger::open(&own.join(folder::CELLS), &others, shared.as_deref()).map_err(Failure::input)?;

    let limit = args
        .time_limit
        .map(|minutes| Duration::from_secs_f64(60.0 * minutes));
    let is_over = || limit.is_some_and(|limit| began.elapsed() >= limit);
    let missing = args
        .gather
        .map_or(Vec::new(), |parts| folder::missing_parts(output, parts as usize));
    let stopped = || interrupt.is_set() || is_over() || lease.is_lost();
    // What is missing is for the parts to search, which have the whole array's cores for it.
    let searched = || !missing.is_empty() || stopped();
    let rules = args.search.rules();
    let plan = Plan {
        threads: args.threads(),
        prune: !args.search.no_prune,
        contenders: args.search.contenders / 100.0,
        part: args.part.unwrap_or((0, 1)),
    };
    let means = Means {
        evaluator: &evaluator,
        ledger: &ledger,
        rules: &rules,
        stopped: &searched,
    };
    let progress = Progress::new(&grid);
    let exploration = explore(&grid, &plan, &means, &progress)?;
    progress.end();
    let outcome = crate::explore::Outcome::of(&grid, &exploration);
    if args.part.is_some() {
        if exploration.complete {
            folder::mark_ended(&own)?;
        }
    } else {
        let keep = if exploration.complete || missing.is_empty() {
            args.keep_runs.into()
        } else {
            KeepRuns::None
        };
        folder::keep_runs(
            output,
            keep,
            &grid,
            &exploration,
            &evaluator,
            plan.threads,
            &stopped,
        )
        .map_err(|why| anyhow!(why))?;
        folder::write_outcome(output, &outcome, &grid, &exploration)?;
        told::print(&outcome, output, args.format)?;
    }
    eprintln!(
        "{} probes simulated in {:.1} s",
        exploration.simulated,
        began.elapsed().as_secs_f64()
    );
    if interrupt.is_set() {
        return Ok(interrupt.exit());
    }
    if !exploration.complete {
        match &missing[..] {
            [] => eprintln!(
                "note: the time limit left searches without an answer; run the same command again to go on"
            ),
            missing => told::missing(missing, args.gather, output),
        }
        return Ok(Exit::Undecided);
    }
    let found = args.part.is_some() || outcome.rows.iter().any(|row| row.qps.is_some());
    Ok(if found { Exit::Done } else { Exit::NoneFound })
}

fn left_out(grid: &Grid) -> String {
    let reasons: Vec<String> = grid
        .excluded
        .iter()
        .map(|e| format!("{} left out: {}", e.count, e.reason))
        .collect();
    reasons.join("; ")
}

impl Args {
    /// The grid, its file, and where that is.
    fn grid(&self) -> anyhow::Result<(&Path, GridFile, Grid)> {
        let path = self
            .config
            .as_ref()
            .or(self.config_path.as_ref())
            .ok_or_else(|| anyhow!("no CONFIG"))?;
        let file = GridFile::read(path)?;
        let grid = Grid::new(&file, path)?;
        if grid.cells.is_empty() {
            return Err(anyhow!(
                "{}: no cell of the grid is left; {}",
                path.display(),
                left_out(&grid)
            ));
        }
        Ok((path, file, grid))
    }

    fn threads(&self) -> usize {
        let all = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.num_threads.map_or(all, |n| n as usize)
    }

    fn places(&self) -> Places {
        Places {
            catalog: self.library.catalog.clone(),
            profiles: self.library.profiles.clone(),
        }
    }

    /// Makes the folders: where this process writes, and the ledger that all share.
    fn prepare(&self) -> std::io::Result<(PathBuf, Option<PathBuf>)> {
        let own = match self.part {
            None => self.output_dir.clone(),
            Some(part) => folder::part(&self.output_dir, part),
        };
        fs_err::create_dir_all(&own)?;
        if let Some(cache) = &self.cache_dir {
            fs_err::create_dir_all(cache)?;
        }
        Ok((
            own,
            self.cache_dir.as_ref().map(|cache| cache.join("probes.jsonl")),
        ))
    }

    /// What `args.json` holds.
    fn told(&self, path: &Path) -> serde_json::Value {
        let search = &self.search;
        serde_json::json!({
            "config_path": path, "output_dir": self.output_dir, "cache_dir": self.cache_dir,
            "time_limit": self.time_limit, "num_threads": self.threads(),
            "min_search_granularity": search.min_search_granularity, "max_iterations": search.max_iterations,
            "min_qps": search.min_qps, "seeds": search.seeds, "contenders": search.contenders,
            "prune": !search.no_prune, "profiles": self.library.profiles,
            "catalog": self.library.catalog, "version": env!("CARGO_PKG_VERSION"),
        })
    }
}

impl SearchArgs {
    fn rules(&self) -> SearchRules {
        SearchRules {
            granularity: self.min_search_granularity / 100.0,
            bisections: self.max_iterations,
            min_qps: self.min_qps,
            seeds: self.seeds,
        }
    }
}

impl Keep {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl From<Keep> for KeepRuns {
    fn from(keep: Keep) -> Self {
        match keep {
            Keep::Best => Self::Best,
            Keep::All => Self::All,
            Keep::None => Self::None,
        }
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value.is_finite() => Ok(value),
        _ => Err("write a number above 0".to_owned()),
    }
}

/// `3/8`: the third of eight.
fn part(text: &str) -> Result<(usize, usize), String> {
    let numbers: Option<(usize, usize)> = text
        .split_once('/')
        .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match numbers {
        Some((i, n)) if 1 <= i && i <= n => Ok((i - 1, n)),
        _ => Err("write for example 3/8: the third of eight".to_owned()),
    }
}
