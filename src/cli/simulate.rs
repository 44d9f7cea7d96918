//! `mst simulate`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, anyhow};
use clap::ValueEnum;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde_json::json;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use crate::deployment::run::{Outputs, run as simulated};
use crate::deployment::scenario::{EXAMPLE, ScenarioFile};
use crate::deployment::vidur_case::{self, CaseReport};
use crate::deployment::{BuiltCluster, DeploymentError, Library, Places};
use crate::report::simulation::{Summary, table};

/// Simulate a cluster of LLM servers.
///
/// CONFIG.yml describes replicas of a model on GPUs, a router before them, and requests; the run takes place in virtual
/// time, thousands of requests in milliseconds, and the same file gives the same results everywhere. The summary goes
/// to stdout; config.json, summary.json, request_metrics.csv and plots/ into a new folder below --output-dir.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  mst simulate --example > run.yml        a file to begin with
  mst simulate run.yml
  mst simulate run.yml --no-files --format json
  mst simulate run.yml --profiles data/profiling --chrome-trace
  mst simulate --vidur-case cases/sarathi --format json")]
pub(crate) struct Args {
    /// The file that describes the run
    #[arg(value_name = "CONFIG.yml", required_unless_present_any = ["example", "list", "vidur_case"])]
    config: Option<PathBuf>,
    /// Print a file to begin with instead
    #[arg(long, conflicts_with_all = ["config", "list", "vidur_case"])]
    example: bool,
    /// Print the models and GPUs of the catalog instead
    #[arg(long, conflicts_with_all = ["config", "vidur_case"])]
    list: bool,
    /// Seed in place of the file's
    #[arg(long)]
    seed: Option<u64>,
    /// More models and GPUs: YAML files, or folders of them
    #[arg(long, value_name = "PATH")]
    catalog: Vec<PathBuf>,
    /// Folders of profiles in Vidur's layout
    #[arg(long, value_name = "DIR", env = "MST_PROFILES", value_delimiter = ':')]
    profiles: Vec<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    comparison: ComparisonArgs,
}

/// What is written, and how the answer is printed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// Where the folder of the run goes
    #[arg(long, value_name = "DIR", default_value = "simulator_output")]
    output_dir: PathBuf,
    /// Write no files at all: memory is then the same for any number of requests
    #[arg(long)]
    no_files: bool,
    /// Whether request_metrics.csv is written
    #[arg(long, value_enum, default_value = "yes")]
    requests_file: YesNo,
    /// Whether plots are drawn
    #[arg(long, value_enum, default_value = "yes")]
    plots: YesNo,
    /// Write chrome_trace.json, all batches over time
    #[arg(long)]
    chrome_trace: bool,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Recorded runs.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Comparison with Vidur")]
struct ComparisonArgs {
    /// Run a recorded run of Vidur again and compare
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    vidur_case: Option<PathBuf>,
    /// Folder of the prediction tables [default: DIR/../tables]
    #[arg(long, value_name = "DIR", requires = "vidur_case")]
    tables: Option<PathBuf>,
    /// Folder of the trace with block hashes, where the recorded run shares prefixes
    #[arg(long, value_name = "DIR", requires = "vidur_case")]
    traces: Vec<PathBuf>,
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum YesNo {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    if args.example {
        std::io::stdout().write_all(EXAMPLE.as_bytes())?;
        return Ok(Exit::Done);
    }
    let places = Places {
        catalog: args.catalog.clone(),
        profiles: args.profiles.clone(),
    };
    if args.list {
        return list(&Library::open(places).map_err(failure)?, args.output.format);
    }
    if let Some(folder) = &args.comparison.vidur_case {
        let ComparisonArgs { tables, traces, .. } = &args.comparison;
        let report = vidur_case::replay(folder, tables.as_deref(), traces).map_err(failure)?;
        return compared(report, args.output.format);
    }
    let path = args.config.as_deref().unwrap_or(Path::new("-"));
    one(path, args.seed, places, &args.output)
}

/// Runs one file.
fn one(path: &Path, seed: Option<u64>, places: Places, output: &OutputArgs) -> Outcome {
    let mut file = ScenarioFile::read(path).map_err(failure)?;
    file.scenario.seed = seed.unwrap_or(file.scenario.seed);
    let at_key = |error| failure(file.at(error));
    let library = Library::open(file.places(places)).map_err(at_key)?;
    let scenario = &file.scenario;
    let mut built = scenario
        .deployment
        .cluster(&library, scenario.seed)
        .map_err(at_key)?;
    let workload = scenario
        .workload
        .open(&file.base(), scenario.deployment.max_model_len, scenario.seed)
        .map_err(at_key)?;
    built.origin.notes.extend(workload.notes.iter().cloned());
    let repeated = workload.repeated();
    if repeated > 0 {
        let note = format!("the trace is shorter than num_requests: {repeated} requests are repeated");
        built.origin.notes.push(note);
    }
    let folder = if output.no_files {
        None
    } else {
        Some(new_folder(&output.output_dir)?)
    };
    let outputs = Outputs {
        requests: output.requests_file == YesNo::Yes,
        plots: output.plots == YesNo::Yes,
        chrome_trace: output.chrome_trace,
    };
    let config = provenance(&file, &built)?;
    let source = workload.source().map_err(at_key)?;
    let begin = Instant::now();
    let into = folder.as_deref().map(|folder| (folder, outputs));
    let (summary, _) =
        simulated(&built, source, workload.prefixes(), file.limit(), into, &config).map_err(failure)?;
    let seconds = begin.elapsed().as_secs_f64();
    told(&summary, folder.as_deref(), seconds, output.format)
}

/// A new folder for a run, named after the time.
fn new_folder(below: &Path) -> anyhow::Result<PathBuf> {
    let name = chrono::Local::now().format("%Y-%m-%d_%H-%M-%S-%6f").to_string();
    let folder = below.join(name);
    fs_err::create_dir_all(&folder).context("the folder of the run cannot be made")?;
    Ok(folder)
}

/// The content of `config.json`: what was run, and what became of names and `auto`.
fn provenance(file: &ScenarioFile, built: &BuiltCluster) -> anyhow::Result<serde_json::Value> {
    let mut config = serde_json::to_value(&file.scenario)?;
    config["resolved"] = json!({
        "engine": built.config.engine,
        "cost": built.origin,
        "memory": built.memory,
        "model": built.model,
        "gpu": built.gpu,
        "gpus": built.gpus,
        "version": env!("CARGO_PKG_VERSION"),
    });
    Ok(config)
}

fn told(summary: &Summary, folder: Option<&Path>, seconds: f64, format: Format) -> Outcome {
    let rate = summary.requests.arrived as f64 / seconds.max(1e-9);
    match format {
        Format::Json => {
            let mut answer = serde_json::to_value(summary)?;
            answer["folder"] = json!(folder);
            answer["wall_s"] = json!(seconds);
            answer["simulated_requests_per_s"] = json!(rate);
            answer["cpu_seconds"] = json!(cpu_seconds()?);
            super::print_json(&answer)?;
        }
        Format::Human => {
            write!(std::io::stdout(), "{}", table(summary))?;
            eprintln!("{rate:.0} requests simulated a second, in {seconds:.3} s");
            if let Some(folder) = folder {
                eprintln!("written to {}", folder.display());
            }
        }
    }
    Ok(Exit::Done)
}

/// Prints the catalog.
fn list(library: &Library, format: Format) -> Outcome {
    let catalog = library.catalog();
    if format == Format::Json {
        super::print_json(&json!({ "models": catalog.models(), "gpus": catalog.gpus() }))?;
        return Ok(Exit::Done);
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "models:")?;
    for model in catalog.models() {
        let billions = model.parameters() as f64 / 1e9;
        writeln!(out, "  {:45} {billions:6.1} billion parameters", model.name)?;
    }
    writeln!(out, "GPUs:")?;
    for gpu in catalog.gpus() {
        writeln!(
            out,
            "  {:15} {:6} GiB {:6} GB/s {:6} TFLOPS  {}",
            gpu.name,
            gpu.memory_gib,
            gpu.bandwidth_gb_s,
            gpu.bf16_tflops,
            gpu.aliases.join(", ")
        )?;
    }
    Ok(Exit::Done)
}

/// Prints a comparison.
fn compared(mut report: CaseReport, format: Format) -> Outcome {
    report.cpu_seconds = cpu_seconds()?;
    if format == Format::Json {
        super::print_json(&report)?;
        return Ok(Exit::Done);
    }
    let mut out = std::io::stdout().lock();
    let error = |value: f64, unit: &str| {
        if value < f64::MAX {
            format!("{value:.3e}{unit}")
        } else {
            "infinite".to_owned()
        }
    };
    let routing = if report.replayed_routing {
        "as recorded"
    } else {
        "by the same rule"
    };
    writeln!(out, "{} ({})", report.case, report.simulator)?;
    writeln!(
        out,
        "requests                 {}, routed {routing}",
        report.requests
    )?;
    writeln!(out, "iterations               {}", report.iterations)?;
    writeln!(
        out,
        "restarts                 {}, in the record {}",
        report.restarts[1], report.restarts[0]
    )?;
    writeln!(
        out,
        "largest TTFT error       {}",
        error(report.max_abs_ttft_error_s, " s")
    )?;
    writeln!(
        out,
        "largest E2E error        {}",
        error(report.max_abs_e2e_error_s, " s")
    )?;
    writeln!(
        out,
        "largest iteration error  {}, relative",
        error(report.max_rel_iteration_error, "")
    )?;
    for place in &report.places {
        writeln!(out, "  {place}")?;
    }
    for note in &report.notes {
        eprintln!("note: {note}");
    }
    eprintln!("{:.3} CPU seconds", report.cpu_seconds);
    Ok(Exit::Done)
}

/// CPU time of this process so far.
fn cpu_seconds() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let time = usage.user_time() + usage.system_time();
    Ok(time.num_microseconds() as f64 / 1e6)
}

/// What cannot be written is unexpected, all else is the input's fault.
fn failure(error: DeploymentError) -> Failure {
    match error {
        DeploymentError::Unwritable { .. } => Failure::new(Exit::Unexpected, anyhow!(error)),
        error => Failure::input(error),
    }
}
