//! `mst check`: one trial at a rate, held against the objectives; for pipelines.

use super::Format;
use super::capacity::source::SourceArgs;
use super::capacity::{default_threads, failure, terminal};
use super::exit::{Exit, Failure, Outcome};
use super::interrupt::Interrupt;
use crate::matrix::file::{Rule, SearchRule};
use crate::matrix::{self, Conduct, Input, Trouble};
use crate::slo::objective::Seen;
use crate::store::{PrefillProfile, Store};

/// Hold one rate against latency objectives, for pipelines.
///
/// Every system of the file is measured once at the rate, under every workload, and held against every objective. A trial
/// that is stored is judged, not measured again; --fresh measures anew.
#[derive(Debug, clap::Args)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    /// The rate, requests a second
    #[arg(long, value_name = "QPS", value_parser = positive)]
    rate: f64,
    /// Say yes or no only where the whole 95 % interval does, else that it is undecided
    #[arg(long)]
    sure: bool,
    /// Measure anew, whatever is stored
    #[arg(long)]
    fresh: bool,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const EXAMPLES: &str = "\
Examples:
  mst check capacity.yml --rate 4                          exit code 0: all objectives are met at 4 requests a second
  mst check capacity.yml --rate 4 --sure                   and that is beyond doubt
  mst check --url http://gpu07:8000 --tokens 512:128 --rate 4 --slo-type ttft_tpot --ttft-slo 1 --tpot-slo 0.05

Exit codes: 0 all objectives are met; 4 one is not; 5 the trial does not tell; 3 the file; 10 the load generator failed; 12 an
endpoint does not answer.";

/// Runs the verb.
#[expect(clippy::needless_pass_by_value, reason = "every verb is given its arguments")]
pub(crate) fn run(args: Args) -> Outcome {
    let mut source = args.source.read().map_err(Failure::input)?;
    // Here as in a search: what `mst capacity` fails does not pass.
    let published = !matches!(source.file.search.rule, Rule::Adaptive | Rule::Rates);
    source.file.sustained = source.file.sustained.or(Some(!published));
    source.file.search = SearchRule {
        rule: Rule::Rates,
        rates: vec![args.rate],
        ..SearchRule::default()
    };
    source.tell_sides(args.source.side());
    let root = args.source.output_dir.clone();
    let fresh = args.fresh.then(tempfile::tempdir).transpose()?;
    let store = Store::open(fresh.as_ref().map_or(root.as_path(), tempfile::TempDir::path))
        .map_err(Failure::input)?;
    let interrupt = Interrupt::listen()?;
    let mut observer = terminal();
    let environment: Vec<(String, String)> = std::env::vars().collect();
    let conduct = Conduct {
        input: Input {
            file: &source.file,
            base: &source.base,
            side: args.source.side(),
            cluster_profile: None,
            environment: &environment,
            profile: &PrefillProfile::load,
        },
        store: &store,
        threads: default_threads(),
        stored: false,
        time_left: &|_| Ok(()),
        interrupted: &|| interrupt.is_set(),
        told: &|_| {},
    };
    let outcomes = conduct.run(observer.as_mut()).map_err(failure)?;
    let checks: Vec<Check> = outcomes
        .iter()
        .map(|outcome| Check::of(outcome, args.rate, args.sure))
        .collect();
    match args.format {
        Format::Json => super::print_json(&checks)?,
        Format::Human => told(&checks, args.rate)?,
    }
    if interrupt.is_set() {
        return Err(Failure::new(interrupt.exit(), anyhow::anyhow!("stopped")));
    }
    Ok(exit(&outcomes, &checks))
}

/// One objective at the rate.
#[derive(Debug, serde::Serialize)]
struct Check {
    name: String,
    met: Option<bool>,
    slos: Vec<Seen>,
    error: Option<String>,
}

impl Check {
    fn of(outcome: &matrix::Outcome, rate: f64, sure: bool) -> Self {
        let away = |qps: f64| (qps / rate - 1.0).abs();
        let points = outcome.curve.iter().filter(|p| away(p.qps) < 0.1);
        let point = points.min_by(|a, b| away(a.qps).total_cmp(&away(b.qps)));
        let doubtful = |seen: &Seen| match (seen.met, seen.interval) {
            (Some(true), [_, high]) if seen.statistic != "share" => high.is_none_or(|high| high > seen.bound),
            (Some(false), [low, _]) if seen.statistic != "share" => low.is_none_or(|low| low <= seen.bound),
            (Some(true), [low, _]) => low.is_none_or(|low| low < seen.bound),
            (Some(false), [_, high]) => high.is_none_or(|high| high >= seen.bound),
            (None, _) => true,
        };
        let slos = point.map_or(Vec::new(), |p| p.slos.clone());
        let met = point.and_then(|p| p.met);
        // Doubt about a bound matters where it is on the side of the whole answer.
        let in_doubt = sure && slos.iter().any(|seen| seen.met == met && doubtful(seen));
        Self {
            name: outcome.name.clone(),
            met: met.filter(|_| !in_doubt),
            slos,
            error: outcome.error.clone(),
        }
    }
}

fn told(checks: &[Check], rate: f64) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    for check in checks {
        let word = match check.met {
            Some(true) => "met",
            Some(false) => "not met",
            None => "undecided",
        };
        writeln!(out, "{} at {rate} requests a second: {word}", check.name)?;
        for seen in &check.slos {
            let number = |value: Option<f64>| value.map_or("unknown".to_owned(), |v| format!("{v:.4}"));
            let margin = seen
                .margin
                .map_or("-".to_owned(), |m| format!("{:+.1} %", 100.0 * m));
            writeln!(
                out,
                "  {}: {} [{}, {}], bound {}, margin {margin}",
                seen.title(),
                number(seen.observed),
                number(seen.interval[0]),
                number(seen.interval[1]),
                seen.bound
            )?;
        }
        if let Some(error) = &check.error {
            writeln!(out, "  {error}")?;
        }
    }
    Ok(())
}

fn exit(outcomes: &[matrix::Outcome], checks: &[Check]) -> Exit {
    let trouble = |kind: Trouble| outcomes.iter().any(|o| o.trouble == Some(kind));
    if trouble(Trouble::Runner) {
        Exit::LoadGenerator
    } else if trouble(Trouble::Unreachable) {
        Exit::Unreachable
    } else if trouble(Trouble::Infeasible) || checks.iter().any(|c| c.met == Some(false)) {
        Exit::NoneFound
    } else if checks.iter().any(|c| c.met.is_none()) {
        Exit::Undecided
    } else {
        Exit::Done
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|r| r.is_finite() && *r > 0.0);
    rate.ok_or_else(|| "write a number above 0".to_owned())
}
