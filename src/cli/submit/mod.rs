//! `mst submit`: freezes a run into a folder and hands it to Slurm.

mod check;
mod order;
pub(super) mod send;
mod told;

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use super::settings_args::SettingsArgs;
use crate::cluster::{SCRIPTS, Scripts};
use crate::executor::slurm::{Slurm, SlurmError, time};
use crate::settings::Loaded;
use crate::store::runs::Mode;
use check::Checked;
use order::Order;
use send::Sent;

/// Submit a run to Slurm: server, load and search in one job, or an array with a task a token pair.
///
/// The settings are those of `mst run`, frozen at this moment. What the cluster is like stands in slurm/cluster.yml.
/// When a job ends before its search, the search goes on in another; nothing is measured twice. Without URL and
/// SERVER_COMMAND, the job measures the embedded simulated server.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// How the run is laid out.
    #[arg(long, value_enum, default_value_t)]
    mode: Layout,
    /// Most tasks of an array at a time.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    throttle: Option<u32>,
    /// Time limit of a job: 24:00:00, 2-00:00:00, 90m or 24h [WALLTIME].
    #[arg(long, value_name = "LIMIT")]
    time: Option<String>,
    /// Partition, in place of the cluster profile's.
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    /// Account, in place of the cluster profile's.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Quality of service, in place of the cluster profile's.
    #[arg(long, value_name = "NAME")]
    qos: Option<String>,
    /// Print every script and the call of sbatch; write and submit nothing.
    #[arg(long)]
    dry_run: bool,
    /// Ask Slurm whether and when the job would start, and look for what would keep it from working; submit nothing.
    #[arg(long)]
    check: bool,
    /// Write job script templates and an example of cluster.yml into DIR, to edit them (they are looked for in slurm/), and
    /// stop.
    #[arg(long, value_name = "DIR")]
    write_templates: Option<PathBuf>,
    /// How the answer is printed on stdout.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    // Last: its heading holds for what follows it.
    #[command(flatten)]
    settings: SettingsArgs,
}

/// How a run is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Layout {
    /// client where URL is set, else job.
    #[default]
    Auto,
    /// One job with server, load and search; it goes back into the queue at its time limit.
    Job,
    /// An array, one task a token pair, each with a server of its own; a last job gathers.
    Array,
    /// A job without a GPU, against the server at URL.
    Client,
    /// As job, but each job submits the next one in place of going back into the queue.
    Chain,
}

const EXAMPLES: &str = "\
Examples:
  mst submit --dry-run                     the scripts and the call of sbatch, nothing else
  mst submit --check                       would Slurm take it, when, is the time limit any good
  mst submit                               submit; then: mst status, mst logs -f, mst cancel
  mst submit --url http://gpu07:8000       load for a server that runs already: no GPU is asked for
  mst submit --mode array --throttle 4     a task a token pair, four at a time
  mst submit --time 12:00:00 --partition gpu --account lab
  mst submit --write-templates slurm       job scripts and cluster profile, to edit them";

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    if let Some(folder) = &args.write_templates {
        return write_templates(folder);
    }
    let mut own = Vec::new();
    if let Some(text) = &args.time {
        let limit = time::parse_limit(text)
            .map_err(|problem| Failure::input(anyhow::anyhow!("flag: --time: {problem}")))?;
        own.push(("WALLTIME", format!("{}s", limit.as_secs_f64())));
    }
    let loaded = args.settings.load_with(&own)?;
    tell(&loaded);
    let order = Order::new(&loaded, &args, scripts(&loaded, &args)?)?;
    let mut checked = check::without_slurm(&order, &loaded.settings);
    if args.check {
        check::with_slurm(&order, &mut checked)?;
    }
    for warning in &checked.warnings {
        eprintln!("warning: {warning}");
    }
    if let Some(wrong) = checked.wrong.first() {
        return Err(refused(&checked, wrong));
    }
    if args.check || args.dry_run {
        return told::outline(&order, &checked, &args);
    }
    if !Slurm::is_here() {
        let error = SlurmError::Missing {
            program: "sbatch".to_owned(),
        };
        return Err(Failure::new(Exit::BatchSystem, error));
    }
    let sent: Sent = send::send(&order, &send::slurm(order.key()))?;
    told::sent(&order, &checked, &sent, args.format)
}

/// Profile, warnings and notes, as `mst run` tells them.
fn tell(loaded: &Loaded) {
    eprintln!("{}", loaded.profile_line());
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    for note in &loaded.notes {
        eprintln!("note: {note}");
    }
}

/// Profile and templates, with what the command line says instead.
fn scripts(loaded: &Loaded, args: &Args) -> Result<Scripts, Failure> {
    let here = std::env::current_dir()?;
    let mut scripts = Scripts::from_dir(&here, &loaded.settings.cluster).map_err(Failure::input)?;
    let profile = &mut scripts.profile;
    for (flag, place) in [
        (&args.partition, &mut profile.partition),
        (&args.account, &mut profile.account),
        (&args.qos, &mut profile.qos),
    ] {
        if flag.is_some() {
            place.clone_from(flag);
        }
    }
    if args.partition.is_some() {
        // What was asked for holds for every job.
        profile.server.partition = None;
        profile.trial.partition = None;
    }
    Ok(scripts)
}

fn refused(checked: &Checked, wrong: &str) -> Failure {
    for more in &checked.wrong[1..] {
        eprintln!("error: {more}");
    }
    let exit = if checked.by_slurm {
        Exit::BatchSystem
    } else {
        Exit::Input
    };
    Failure::new(exit, anyhow::anyhow!("{wrong}"))
}

/// Writes the embedded templates and what goes with them; files that are there are left alone.
fn write_templates(folder: &Path) -> Outcome {
    let more = [
        (
            "cluster.example.yml",
            include_str!("../../../slurm/cluster.example.yml"),
        ),
        (
            "experiment.slurm",
            include_str!("../../../slurm/experiment.slurm"),
        ),
    ];
    let files: Vec<_> = SCRIPTS
        .map(|script| (script.file(), script.embedded()))
        .into_iter()
        .chain(more)
        .map(|(name, text)| (folder.join(name), text))
        .collect();
    if let Some((file, _)) = files.iter().find(|(file, _)| file.exists()) {
        let error = anyhow::anyhow!("{} is there already; name another folder", file.display());
        return Err(Failure::input(error));
    }
    fs_err::create_dir_all(folder)?;
    for (file, text) in &files {
        fs_err::write(file, text)?;
        println_to_stdout(&format!("{}\n", file.display()))?;
    }
    eprintln!(
        "note: `mst submit` reads them from slurm/ in the folder that it is called in, and cluster.yml beside them"
    );
    Ok(Exit::Done)
}

fn println_to_stdout(text: &str) -> std::io::Result<()> {
    use std::io::Write;
    std::io::stdout().write_all(text.as_bytes())
}

impl From<Layout> for Option<Mode> {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Auto => None,
            Layout::Job => Some(Mode::Job),
            Layout::Array => Some(Mode::Array),
            Layout::Client => Some(Mode::Client),
            Layout::Chain => Some(Mode::Chain),
        }
    }
}
