//! `mst plan`.

mod places;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::anyhow;
use chrono::{SecondsFormat, Utc};
use serde_json::Value;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use super::interrupt::Interrupt;
use super::stage_progress::StageProgress;
use crate::calibration::{Server, Telemetry, from_steps};
use crate::deployment::calibrated::{Calibration, Level};
use crate::deployment::{Deployment, Library, Places};
use crate::plan::answer::{Effort, PlanError, Planner, Told};
use crate::plan::bench::Bench;
use crate::plan::ledger::Ledger;
use crate::plan::prices::Prices;
use crate::plan::report::{Facts, Report, broken, page, summary};
use crate::plan::request::{PlanRequest, ProfileFolder, Wanted};
use crate::plan::times::Times;
use crate::sim::catalog::Catalog;

/// Recommend what to rent for a workload: GPUs, layout, replicas, scheduler; with what it bears, what it costs, and how sure
/// that is.
///
/// Every combination of the request's config_space is simulated, after those that do not fit, cost too much or are hopeless
/// were left out, each with its reason. What could be the best is searched on several seeds, and checked against every bound
/// at the rate that is reported.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Measured iterations: fitted_profile.json, or the folder it lies in; or what mst calibrate wrote; or a model's
    /// config.json from Hugging Face
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// The model, by its name in the catalog, where there is no profile
    #[arg(long, value_name = "NAME", conflicts_with = "profile")]
    model: Option<String>,
    /// What is asked: workload, constraints, config_space, simulation; or a trace of requests
    #[arg(long, value_name = "FILE")]
    workload: PathBuf,
    /// Constraints, in place of those of --workload
    #[arg(long, value_name = "FILE")]
    constraints: Option<PathBuf>,
    /// Calibrate first, from a server's log of iterations: samples of batch_id, batch_composition and operator_timings
    #[arg(long, value_name = "FILE.json")]
    telemetry: Option<PathBuf>,
    /// Prices of GPU-hours: a file, `simfaasinfer`, or `none` to count GPU-hours [default: a built-in list]
    #[arg(long, value_name = "FILE")]
    prices: Option<String>,
    /// Where the report goes; the summary for people goes beside it as .txt
    #[arg(long, value_name = "FILE.json")]
    output: Option<PathBuf>,
    /// One page with the response curves and the frontier, for a browser
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Folder for what starts and verifies the recommendation: serve.sh, verify.yml for mst capacity, .env and
    /// slurm/cluster.yml for mst submit
    #[arg(long, value_name = "FOLDER")]
    launch: Option<PathBuf>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Requests of a simulation
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(100..))]
    requests: u64,
    /// Seeds on which what counts is searched
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..))]
    seeds: u32,
    /// Threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// File or folder with more models and GPUs, or a model's config.json; may be given several times
    #[arg(long, value_name = "PATH")]
    catalog: Vec<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  mst plan --profile a100/llama-7b/fitted_profile.json --workload request.yaml --output plan.json
                                                           the report, and plan.txt beside it
  mst plan --model llama-3-8b --workload request.yaml      no profile: datasheets and the model's shape
  mst plan --profile config.json --workload trace.csv --constraints limits.yaml
                                                           a model's config.json, recorded requests; limits.yaml has
                                                           constraints, and config_space: {gpu_types: [A100, H100]}
  mst plan --model llama-3-8b --workload request.yaml --prices none
                                                           GPU-hours in place of money
  mst plan ... --constraints strict.yaml                   other objectives and limits
  mst plan ... --format json                               for programs

Exit codes: 0 a plan; 3 bad input; 4 nothing serves the demand within all bounds: the nearest misses are told; 130 interrupted.";

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let catalog = Library::open(Places {
        catalog: args.catalog.clone(),
        profiles: Vec::new(),
    })
    .map_err(Failure::input)?;
    let mut catalog = catalog.catalog().clone();
    let files: Vec<&PathBuf> = std::iter::once(&args.workload).chain(&args.constraints).collect();
    let mut request = PlanRequest::read(&files, &catalog).map_err(Failure::input)?;
    if let Some(model) = &args.model {
        request.model = Some(model.clone());
    }
    request
        .check()
        .map_err(|why| Failure::input(anyhow!("{}: {why}", args.workload.display())))?;
    places::check(&args, &request).map_err(Failure::input)?;
    let Known {
        profile,
        times,
        mut notes,
        mut warnings,
    } = known(&args, &request, &catalog)?;
    warnings.extend(request.workload.lengths.beyond(&profile.model));
    catalog.add_model(profile.model.clone()).map_err(Failure::input)?;
    let prices = Prices::named(args.prices.as_deref(), &catalog).map_err(Failure::input)?;
    if let (None, Some(most)) = (&prices, request.constraints.max_cost_per_hour) {
        warnings.push(format!(
            "max_cost_per_hour of {most} bounds nothing: there are no prices (--prices none)"
        ));
    }
    let library = Library::new(catalog, Vec::new());
    let gpus = gpus(&request, &profile, &library).map_err(Failure::input)?;
    let reserved = profile.reserved_bytes();
    let ledger = match &args.output {
        // The report and what was simulated for it lie side by side.
        Some(output) => {
            folder_of(output)?;
            Ledger::open(&output.with_extension("probes.jsonl")).map_err(Failure::input)?
        }
        None => Ledger::default(),
    };
    let bench = Bench::new(&request, &profile.model.name, &library, times, reserved, ledger);
    let bench = bench.map_err(Failure::input)?;
    let interrupt = Interrupt::listen()?;
    let began = Instant::now();
    let progress = StageProgress::new();
    let planner = Planner {
        bench: &bench,
        gpus: &gpus,
        prices: prices.as_ref(),
        effort: Effort {
            requests: args.requests,
            seeds: args.seeds,
            threads: args.threads.unwrap_or_else(super::capacity::default_threads),
        },
        stopped: &|| interrupt.is_set(),
        told: &|told| match told {
            Told::Stage(name, searches) => progress.begin(name, searches),
            Told::Searched(config) => progress.piece(&config.name(), ""),
        },
    };
    let answer = planner.answer();
    progress.end();
    let answer = answer.map_err(|error| match error {
        PlanError::Stopped => Failure::new(
            interrupt.exit(),
            anyhow!(if args.output.is_some() {
                "stopped; what was simulated is kept beside --output, and the same command goes on"
            } else {
                "stopped; nothing is kept without --output"
            }),
        ),
        PlanError::Deployment(error) => Failure::input(error),
    })?;
    if answer.best.is_none() {
        warnings.extend(args.launch.as_deref().and_then(places::left_over));
    }
    notes.splice(0..0, request.notes.iter().chain(&profile.notes).cloned());
    let mut told = std::collections::HashSet::new();
    notes.retain(|note| told.insert(note.clone()));
    let facts = Facts {
        timestamp: Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        input_profile: args
            .profile
            .as_ref()
            .map_or_else(|| profile.model_name.clone(), |path| path.display().to_string()),
        model_name: profile.model_name.clone(),
        profiling_hardware: profile.fitted.as_ref().and(profile.gpu_name.clone()),
        prices: prices.clone(),
        seconds: began.elapsed().as_secs_f64(),
        notes,
        warnings,
    };
    let report = Report {
        bench: &bench,
        answer: &answer,
        facts: &facts,
    };
    write(&args, &report)
}

/// What is known of the model and its times.
struct Known {
    profile: ProfileFolder,
    times: Times,
    notes: Vec<String>,
    warnings: Vec<String>,
}

fn known(args: &Args, request: &PlanRequest, catalog: &Catalog) -> Result<Known, Failure> {
    let wanted = Wanted::of(request);
    if let Some(path) = args.profile.as_ref().filter(|path| is_calibration(path)) {
        let calibration = Calibration::read(path).map_err(Failure::input)?;
        let wanted = Wanted {
            model: Some(&calibration.model),
            gpu: Some(&calibration.gpu),
        };
        let profile =
            ProfileFolder::of_model(&calibration.model, path, wanted, catalog).map_err(Failure::input)?;
        let notes = calibration.notes.clone();
        return Ok(Known {
            profile,
            notes,
            warnings: not_calibrated(&calibration)
                .map(str::to_owned)
                .into_iter()
                .collect(),
            times: Times::calibrated(path, calibration),
        });
    }
    let profile = match (&args.profile, &request.model) {
        (Some(profile), _) => ProfileFolder::read(profile, wanted, catalog),
        (None, Some(model)) => ProfileFolder::of_model(model, &args.workload, wanted, catalog),
        (None, None) => {
            let error =
                anyhow!("of which model is not said; give --profile, or --model, or model: in the request");
            return Err(Failure::new(Exit::Usage, error));
        }
    };
    let profile = profile.map_err(Failure::input)?;
    if let Some(telemetry) = &args.telemetry {
        return calibrated(telemetry, profile, catalog);
    }
    let largest = request.config_space.max_batch_sizes.iter().copied().max();
    let warnings = profile
        .warnings_at(largest.unwrap_or(1))
        .map_err(Failure::input)?;
    let times = match (&profile.fitted, &profile.gpu) {
        (Some(fitted), Some(gpu)) => Times::Profile {
            profile: Box::new(fitted.open(&profile.model, gpu).map_err(Failure::input)?),
            gpu: gpu.name.clone(),
            file: fitted.file.clone(),
            is_of_another: profile.is_of_another,
        },
        _ => Times::Datasheet,
    };
    Ok(Known {
        profile,
        times,
        notes: Vec::new(),
        warnings,
    })
}

/// Whether a file is what `mst calibrate` writes, rather than a profile or a model.
fn is_calibration(path: &Path) -> bool {
    let text = fs_err::read_to_string(path).unwrap_or_default();
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    value.get("efficiency").is_some() && value.get("covariance").is_some()
}

/// Calibrates from telemetry first.
fn calibrated(telemetry: &Path, profile: ProfileFolder, catalog: &Catalog) -> Result<Known, Failure> {
    let Some(gpu) = &profile.gpu else {
        return Err(Failure::input(anyhow!(
            "{}: on which GPU it was recorded is not said; give a profile with metadata.json, or one GPU in gpu_types",
            telemetry.display()
        )));
    };
    let log = Telemetry::read(telemetry).map_err(Failure::input)?;
    let mut catalog = catalog.clone();
    catalog.add_model(profile.model.clone()).map_err(Failure::input)?;
    let library = Library::new(catalog, Vec::new());
    let server = Deployment::new(&profile.model.name, &gpu.name);
    let server = Server::new(&server, &library, "").map_err(Failure::input)?;
    let calibration = from_steps(&server, &[log.steps()]).map_err(Failure::input)?;
    let mut notes = vec![format!(
        "iteration times are fitted to {}: {}",
        telemetry.display(),
        calibration.label.name()
    )];
    if profile.fitted.is_some() {
        notes.push("the profile says of which model and GPU that is; its times are not used".to_owned());
    }
    notes.extend(calibration.notes.iter().cloned());
    let mut warnings = profile.warnings.clone();
    warnings.extend(not_calibrated(&calibration).map(str::to_owned));
    Ok(Known {
        profile,
        times: Times::calibrated(telemetry, calibration),
        notes,
        warnings,
    })
}

/// Of which half of the work a calibration from iterations says nothing.
fn not_calibrated(calibration: &Calibration) -> Option<&'static str> {
    let is_seen = |kinds: [&str; 2]| {
        let mut of = calibration
            .errors
            .iter()
            .filter(|e| kinds.contains(&e.metric.as_str()));
        calibration.level != Level::A || of.any(|errors| errors.train.is_some())
    };
    if !is_seen(["step_prefill", "step_mixed"]) {
        Some("the calibration saw no prompts: what they take, and with it TTFT, is the catalog's")
    } else if !is_seen(["step_decode", "step_mixed"]) {
        Some("the calibration saw no responses: what their tokens take, and with it TBT, is the catalog's")
    } else {
        None
    }
}

/// The GPUs, by their names in the catalog.
fn gpus(request: &PlanRequest, profile: &ProfileFolder, library: &Library) -> anyhow::Result<Vec<String>> {
    let named = &request.config_space.gpu_types;
    if let (true, Some(gpu)) = (named.is_empty(), &profile.gpu) {
        return Ok(vec![gpu.name.clone()]);
    }
    anyhow::ensure!(
        !named.is_empty(),
        "no GPU is named; write config_space: {{gpu_types: [A100, H100]}} in the request, or beside a trace in a file that is \
         given with --constraints"
    );
    let name = |gpu: &String| Ok(library.catalog().gpu(gpu)?.name.clone());
    named.iter().map(name).collect()
}

#[expect(clippy::print_stdout, reason = "the plan is the answer")]
fn write(args: &Args, report: &Report<'_>) -> Outcome {
    let wrong = broken(report);
    if !wrong.is_empty() {
        let error = anyhow!(
            "the report contradicts itself, which is a bug of this program: please report it. {}",
            wrong.join("; ")
        );
        return Err(Failure::new(Exit::Unexpected, error));
    }
    let (json, text) = (report.json(), summary(report));
    if let Some(output) = &args.output {
        save(output, &format!("{json:#}\n"))?;
        save(&output.with_extension("txt"), &text)?;
    }
    if let Some(html) = &args.html {
        let page = page(report).map_err(|why| Failure::new(Exit::Unexpected, anyhow!(why)))?;
        save(html, &page)?;
    }
    if let (Some(folder), Some(launch)) = (&args.launch, report.launch()) {
        places::clear(folder, &launch).map_err(Failure::input)?;
        for (name, text) in launch.files {
            save(&folder.join(name), &text)?;
        }
    }
    match args.format {
        Format::Json => println!("{json:#}"),
        Format::Human => print!("{text}"),
    }
    Ok(match report.best() {
        Some(_) => Exit::Done,
        None => Exit::NoneFound,
    })
}

fn save(path: &Path, text: &str) -> Result<(), Failure> {
    folder_of(path)?;
    fs_err::write(path, text).map_err(Failure::input)
}

/// Makes the folder of a file.
fn folder_of(path: &Path) -> Result<(), Failure> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => fs_err::create_dir_all(folder).map_err(Failure::input),
        None => Ok(()),
    }
}
