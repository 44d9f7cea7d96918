//! `mst calibrate`.

mod server;
mod text;

use std::path::PathBuf;

use anyhow::anyhow;
use clap::ValueEnum;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use crate::calibration::{
    CalibrationError, Server, Steps, Telemetry, Trials, from_aggregates, from_steps, from_token_times,
};
use crate::deployment::calibrated::Calibration;
use crate::store::write_json;
use server::ServerArgs;

/// Fit the simulator to a measured server.
///
/// Takes the trials of mst run or mst capacity (native load generator, or simulator), all at or below the folders, and
/// fits the factors of the roofline to them: how much longer than the datasheet says the server takes for weights,
/// matrix multiplications, KV cache, attention, sequences and iterations. The simulator is run on the very requests that
/// were sent. Each rate is then left out once and predicted from the others, and the errors are put beside those of no
/// calibration and of one factor on all times; where that one predicts as well, it is kept.
///
/// With --level b the iterations of the engine are put together from the times of the tokens, and the factors are fitted
/// to these: that takes a fraction of the time, and needs one replica, token times and the right batch policy.
///
/// The file is a cost model of deployments: `cost: {calibrated: calibrated.json}` in the files of mst simulate, explore
/// and capacity. Describe the server as it is deployed: a wrong scheduler shows in the held-out errors.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  mst calibrate requests --model meta-llama/Meta-Llama-3-8B --device h100
  mst calibrate requests/128_128 --model meta-llama/Meta-Llama-3-8B --device h100 --scheduler vllm_v1 --chunk-size 2048 \\
      --batch-size 256 --engine 'vllm 0.11'
  mst calibrate requests --deployment server.yml --level b --output h100-llama-8b.json --format json

server.yml holds `deployment:` as the file of mst simulate does.
Measure at least three rates, from idle to near capacity: rates alike tell factors apart badly.")]
pub(crate) struct Args {
    /// Folders of results, or files of telemetry: samples of batch_id, batch_composition and operator_timings
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What of the trials is fitted
    #[arg(long, value_enum, default_value_t)]
    level: Level,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What of trials is fitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Level {
    /// Iterations, put together from the times of the tokens.
    B,
    /// Quantiles of latencies, and the throughput.
    #[default]
    C,
}

/// Where the result goes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// The file to write; one that is there is replaced
    #[arg(long, value_name = "FILE", default_value = "calibrated.json")]
    output: PathBuf,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let server = args.server.open()?;
    let calibration = calibrated(&args, &server)?;
    write_json(&args.output.output, &calibration)?;
    match args.output.format {
        Format::Json => super::print_json(&calibration)?,
        Format::Human => text::print(&calibration)?,
    }
    for note in &calibration.notes {
        eprintln!("note: {note}");
    }
    eprintln!("written to {}", args.output.output.display());
    Ok(Exit::Done)
}

/// From trials, or from logs of iterations where files are named.
fn calibrated(args: &Args, server: &Server) -> Result<Calibration, Failure> {
    let (files, folders): (Vec<&PathBuf>, Vec<&PathBuf>) = args.paths.iter().partition(|p| p.is_file());
    if !files.is_empty() && !folders.is_empty() {
        return Err(Failure::input(anyhow!(
            "{}: name folders of trials or files of iterations, not both: they are fitted in different ways",
            files[0].display()
        )));
    }
    if files.is_empty() {
        let trials = Trials::read(&args.paths).map_err(Failure::input)?;
        let calibration = match args.level {
            Level::B => from_token_times(server, &trials),
            Level::C => from_aggregates(server, &trials),
        };
        return calibration.map_err(Failure::input);
    }
    let logs: Result<Vec<Steps>, CalibrationError> = files
        .into_iter()
        .map(|file| Ok(Telemetry::read(file)?.steps()))
        .collect();
    from_steps(server, &logs.map_err(Failure::input)?).map_err(Failure::input)
}
