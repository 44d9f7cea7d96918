//! `mst mix`.

mod measured;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use super::Format;
use super::exit::{Exit, Failure, Outcome};
use crate::settings::{MixPlan, mix_name, mix_text, plan_mix, token_pair};
use crate::units::{Plain, Rate, TokenPair};

/// Derive the shares of a workload mix from measured throughputs.
///
/// Each profile (token pair) is to take a given share of the service's capacity, equal shares unless told otherwise. A
/// request of a profile costs 1 / MST of that profile, so its share of the requests is proportional to capacity share
/// times MST. The predicted rate supposes that costs add up; it is where the search of the mix begins.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  mst mix requests/                                    every pair with an answer there
  mst mix --mst 1-100:1-100=1200 --mst 300-600:100-300=300
  mst mix requests/ --capacity-share 128:128=0.7 --capacity-share 64:64=0.3
  mst mix requests/ 2>/dev/null >> .env")]
pub(crate) struct Args {
    /// Results folders, ours or those of earlier programs
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Throughput of a profile in requests per minute; beats what the folders say
    #[arg(long = "mst", value_name = "IN:OUT=RATE", value_parser = profile_and_rate)]
    known: Vec<(TokenPair, Rate)>,
    /// Share of the capacity that a profile takes; profiles without one are left out as soon as one is given
    #[arg(long = "capacity-share", value_name = "IN:OUT=SHARE", value_parser = profile_and_share)]
    shares: Vec<(TokenPair, f64)>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Splits `PROFILE=…`.
fn profile_and(text: &str) -> Result<(TokenPair, &str), String> {
    let (profile, rest) = text
        .split_once('=')
        .ok_or("write IN:OUT=NUMBER, for example 1-100:1-100=1200")?;
    Ok((token_pair(profile)?, rest))
}

fn profile_and_rate(text: &str) -> Result<(TokenPair, Rate), String> {
    let (pair, rate) = profile_and(text)?;
    Ok((pair, rate.parse::<Rate>().map_err(|e| e.to_string())?))
}

fn profile_and_share(text: &str) -> Result<(TokenPair, f64), String> {
    let (pair, share) = profile_and(text)?;
    match share.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok((pair, value)),
        _ => Err(format!("`{share}` is not a share above 0")),
    }
}

/// Runs the verb.
pub(crate) fn run(args: Args) -> Outcome {
    let Args {
        paths,
        known,
        shares,
        format,
    } = args;
    let input = |message: String| Failure::input(anyhow::anyhow!(message));
    let mut rates: BTreeMap<TokenPair, (Rate, String)> = BTreeMap::new();
    for path in &paths {
        for (pair, found) in measured::throughputs(path).map_err(Failure::input)? {
            if let Some((rate, source)) = rates.insert(pair, found) {
                eprintln!("note: {pair}: {rate} of {source} is replaced by that of a later folder");
            }
        }
    }
    for (pair, rate) in known {
        rates.insert(pair, (rate, "--mst".to_owned()));
    }
    if rates.is_empty() {
        let remedy = "no throughput is known; name a results folder, or write --mst IN:OUT=RATE";
        return Err(input(remedy.to_owned()));
    }
    for (pair, (rate, source)) in &rates {
        eprintln!("note: {pair}: {rate} ({source})");
    }
    let plan = plan_mix(&profiles(&rates, &shares).map_err(input)?).map_err(input)?;
    let mut out = std::io::stdout().lock();
    match format {
        Format::Human => write!(out, "{}", as_text(&plan))?,
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, &as_json(&plan, &rates))?;
            writeln!(out)?;
        }
    }
    Ok(Exit::Done)
}

/// Profiles with throughput and capacity share.
fn profiles(
    rates: &BTreeMap<TokenPair, (Rate, String)>,
    shares: &[(TokenPair, f64)],
) -> Result<Vec<(TokenPair, Rate, f64)>, String> {
    if shares.is_empty() {
        return Ok(rates
            .iter()
            .map(|(pair, (rate, _))| (*pair, *rate, 1.0))
            .collect());
    }
    for (pair, (rate, _)) in rates {
        if !shares.iter().any(|(known, _)| known == pair) {
            eprintln!("note: {pair} ({rate}) has no --capacity-share and is left out");
        }
    }
    shares
        .iter()
        .map(|(pair, share)| {
            let (rate, _) = rates
                .get(pair)
                .ok_or_else(|| format!("the throughput of {pair} is not known; write --mst {pair}=RATE"))?;
            Ok((*pair, *rate, *share))
        })
        .collect()
}

/// Lines for `.env`.
fn as_text(plan: &MixPlan) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for ((class, cost), capacity) in plan.classes.iter().zip(&plan.costs).zip(&plan.capacity_shares) {
        let _ = writeln!(
            text,
            "# {}: {} % of the requests, {} % of the capacity, cost {}",
            class.pair,
            Plain(class.share * 100.0),
            Plain(capacity * 100.0),
            Plain(*cost),
        );
    }
    text + &format!(
        "WORKLOAD_MIXES={}\nREQ_MIN_START={}\n",
        mix_text(&plan.classes),
        Plain(plan.rate.rounded().as_per_minute())
    )
}

fn as_json(plan: &MixPlan, rates: &BTreeMap<TokenPair, (Rate, String)>) -> serde_json::Value {
    let profiles: Vec<_> = plan
        .classes
        .iter()
        .zip(&plan.costs)
        .zip(&plan.capacity_shares)
        .map(|((class, cost), capacity)| {
            let (rate, source) = &rates[&class.pair];
            json!({
                "profile": class.pair.to_string(), "share": class.share, "capacity_share": capacity,
                "cost": cost, "mst_per_minute": rate, "source": source,
            })
        })
        .collect();
    json!({
        "name": mix_name(&plan.classes),
        "workload_mixes": mix_text(&plan.classes),
        "predicted_per_minute": plan.rate,
        "req_min_start": plan.rate.rounded(),
        "profiles": profiles,
    })
}
