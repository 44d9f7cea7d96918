//! Files of `veeksha capacity-search`: one benchmark, whose rate is searched.

mod keys;

use serde_saphyr::Spanned;

use self::keys::{Benchmark, Client, Endpoint, Generator, Older, Traffic};
use super::lengths::{POISSON, plain};
use super::{Draft, OlderFlags, Source, search};
use crate::deployment::Deployment;
use crate::matrix::file::{EndpointEntry, File, FileError, Rule, SearchRule, System, Workload};
use crate::sim::source::RequestLengths;
use crate::slo::objective::{Entry, Quantity};
use crate::workload::{Arrival, TokenDistribution};

/// The file that comes of it.
pub(super) fn file(source: Source<'_>, flags: &OlderFlags) -> Result<File, FileError> {
    let older: Older = source.parse()?;
    let benchmark = &older.benchmark_config;
    let timeout_s = benchmark.runtime.benchmark_timeout.unwrap_or(300.0);
    let mut workload = workload(source, benchmark)?;
    workload.start_qps = Some(older.start_value);
    workload.max_duration = flags.max_duration(Some(timeout_s));
    // As many as the highest rate sends in that time.
    let most = (older.max_value * timeout_s).ceil().clamp(1.0, 1e6) as usize;
    workload.requests = match benchmark.runtime.max_sessions {
        Some(sessions) if sessions > 0 => most.min(usize::try_from(sessions).unwrap_or(most)),
        _ => most,
    };
    let mut draft = Draft::default();
    if workload.arrivals == Arrival::Poisson {
        draft.note(POISSON);
    }
    let system = system(source, benchmark, flags)?;
    draft.pair(system, workload, serde_saphyr::Location::UNKNOWN);
    let rule = SearchRule {
        start_qps: older.start_value,
        max_qps: Some(older.max_value),
        expansion_factor: older.expansion_factor,
        precision: older.precision,
        max_trials: flags.max_iterations.or(Some(older.max_iterations)),
        ..search(Rule::Veeksha, flags)
    };
    let mut file = draft.file(source, slo(source, benchmark)?, rule)?;
    file.seed = benchmark.seed.unwrap_or(42);
    Ok(file)
}

fn system(source: Source<'_>, benchmark: &Benchmark, flags: &OlderFlags) -> Result<System, FileError> {
    if let Some(server) = &benchmark.server {
        return Err(source.at(
            server,
            "server: no server is started by this file; start it and write its URL as client, api_base",
        ));
    }
    let client = benchmark.client.as_ref();
    let api = match client.and_then(|c| c.value.kind.as_deref()) {
        None | Some("openai_chat_completions") => "chat",
        Some("openai_completions") => "completions",
        Some(other) => {
            let problem = format!(
                "client, type: {other} is not spoken here; write openai_chat_completions or openai_completions"
            );
            return Err(client.map_or_else(
                || source.error(None, problem.clone()),
                |entry| source.at(entry, problem.clone()),
            ));
        }
    };
    // An endpoint overrules the client.
    let said = |of: fn(&Endpoint) -> Option<String>, or: fn(&Client) -> Option<String>| {
        let overruling = benchmark.endpoint.as_ref().and_then(of);
        overruling.or_else(|| client.and_then(|c| or(&c.value)))
    };
    let model = said(|e| e.model.clone(), |c| c.model.clone());
    let url = flags
        .url
        .clone()
        .or_else(|| said(|e| e.api_base.clone(), |c| c.api_base.clone()));
    let settings = [
        ("MODEL", model.clone()),
        ("API", Some(api.to_owned())),
        ("API_KEY", said(|e| e.api_key.clone(), |c| c.api_key.clone())),
        (
            "REQUEST_TIMEOUT",
            client
                .and_then(|c| c.value.request_timeout)
                .map(|s| s.to_string()),
        ),
    ];
    let deployment = match (&flags.device, &model) {
        (Some(device), Some(model)) => Some(Deployment::new(model, device)),
        (Some(_), None) => {
            return Err(source.error(None, "client, model is missing; write what is simulated"));
        }
        (None, _) => None,
    };
    let name = model.unwrap_or_else(|| "endpoint".to_owned());
    if deployment.is_none() && url.is_none() {
        return Err(source.error(
            None,
            "client, api_base is missing; write the URL of the endpoint, or name a GPU to simulate it",
        ));
    }
    Ok(System {
        name,
        endpoint: deployment.is_none().then(|| EndpointEntry {
            url,
            settings: settings
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?)))
                .collect(),
        }),
        deployment,
        gpus: None,
        prefill_profile: None,
        prior: None,
    })
}

fn workload(source: Source<'_>, benchmark: &Benchmark) -> Result<Workload, FileError> {
    let mut workload = plain("sessions");
    workload.arrivals = match &benchmark.traffic_scheduler {
        None => Arrival::Poisson,
        Some(traffic) => arrivals(source, traffic)?,
    };
    let Some(sessions) = &benchmark.session_generator else {
        return Err(source.error(
            None,
            "session_generator is missing; write type: synthetic, with session_graph: {type: single_request}",
        ));
    };
    let said = &sessions.value;
    match said.kind.as_str() {
        "synthetic" => {}
        "trace" => {
            let flavor = said.flavor.as_ref().map_or("", |f| f.value.kind.as_str());
            let (Some(trace), "request_log") = (&said.trace_file, flavor) else {
                return Err(source.at(
                    sessions,
                    format!("session_generator: sessions of a trace ({flavor}) are not sent; write flavor: {{type: \
                             request_log}} and a trace of single requests as trace_file"),
                ));
            };
            workload.trace = Some(trace.into());
            return Ok(workload);
        }
        other => {
            return Err(source.at(
                sessions,
                format!("session_generator, type: {other} is not sent here; write synthetic or trace"),
            ));
        }
    }
    match &said.session_graph {
        Some(graph) if graph.value.kind == "single_request" => {}
        Some(graph)
            if graph.value.kind == "linear"
                && graph
                    .value
                    .num_request_generator
                    .as_ref()
                    .is_some_and(|g| g.kind == "fixed" && g.value == Some(1)) => {}
        other => {
            let problem = "session_graph: sessions of several requests are not sent by mst capacity; write type: \
                           single_request, and start_value and max_value in requests a second";
            return Err(match other {
                Some(graph) => source.at(graph, problem),
                None => source.at(sessions, problem),
            });
        }
    }
    let mut body = None;
    for channel in said.channels.iter().flatten() {
        if channel.value.kind != "text" || channel.value.shared_prefix_ratio.is_some_and(|r| r > 0.0) {
            return Err(source.at(
                channel,
                "channels: prompts are text without a shared prefix; write type: text alone",
            ));
        }
        body = channel.value.body_length_generator.as_ref();
    }
    let text = said.output_spec.as_ref().and_then(|spec| spec.text.as_ref());
    let answer = text.and_then(|text| text.output_length_generator.as_ref());
    workload.lengths = Some(RequestLengths::Separate {
        input: lengths(source, body)?,
        output: lengths(source, answer)?,
    });
    Ok(workload)
}

fn arrivals(source: Source<'_>, traffic: &Spanned<Traffic>) -> Result<Arrival, FileError> {
    if traffic.value.kind != "rate" {
        return Err(source.at(
            traffic,
            format!(
                "traffic_scheduler, type: {} is no rate, and mst capacity searches rates; write type: rate",
                traffic.value.kind
            ),
        ));
    }
    let Some(generator) = &traffic.value.interval_generator else {
        return Ok(Arrival::Poisson);
    };
    match generator.value.kind.as_str() {
        "poisson" => Ok(Arrival::Poisson),
        "fixed" => Ok(Arrival::Constant),
        "gamma" => format!("gamma:{}", generator.value.cv.unwrap_or(0.5))
            .parse()
            .map_err(|error| source.at(generator, format!("cv: {error}"))),
        other => Err(source.at(
            generator,
            format!("interval_generator, type: `{other}` is not known; write poisson, gamma or fixed"),
        )),
    }
}

/// A generator of lengths; without one, the tool's uniform 6 to 12.
fn lengths(
    source: Source<'_>,
    generator: Option<&Spanned<Generator>>,
) -> Result<TokenDistribution, FileError> {
    let Some(generator) = generator else {
        return Ok(TokenDistribution::Uniform { min: 6, max: 12 });
    };
    let said = &generator.value;
    let (min, max) = (said.min.unwrap_or(6), said.max.unwrap_or(12));
    match said.kind.as_str() {
        "fixed" => Ok(TokenDistribution::Fixed {
            tokens: said.value.unwrap_or(8),
        }),
        "uniform" => Ok(TokenDistribution::Uniform { min, max }),
        "zipf" if said.scramble != Some(true) => Ok(TokenDistribution::Zipf {
            theta: said.theta.unwrap_or(0.6),
            min,
            max,
        }),
        other => Err(source.at(
            generator,
            format!(
                "lengths of type {other} are not drawn here; write fixed, uniform, or zipf without scramble"
            ),
        )),
    }
}

/// All bounds together; without any, the tool's pair.
fn slo(source: Source<'_>, benchmark: &Benchmark) -> Result<Entry, FileError> {
    let bound = |name: Option<String>, metric, quantile, max| Entry {
        name,
        metric: Some(metric),
        quantile: Some(quantile),
        max: Some(max),
        ..Entry::default()
    };
    let mut all = Vec::new();
    for evaluator in benchmark.evaluators.iter().flatten() {
        if evaluator.value.kind != "performance" {
            return Err(source.at(
                evaluator,
                format!(
                    "evaluators, type: {} judges no latency, and nothing is searched by it; write performance",
                    evaluator.value.kind
                ),
            ));
        }
        for slo in evaluator.value.slos.iter().flatten() {
            let said = &slo.value;
            if said.kind.as_deref().is_some_and(|kind| kind != "constant") {
                return Err(source.at(slo, "slos, type: only constant is known; write constant"));
            }
            let metric = match said.metric.as_str() {
                "ttfc" => Quantity::Ttft,
                "tbc" => Quantity::Tbt,
                "tpot" => Quantity::Tpot,
                "e2e" => Quantity::E2e,
                other => {
                    return Err(source.at(
                        slo,
                        format!("slos, metric: {other} is not measured here; write ttfc, tbc, tpot or e2e"),
                    ));
                }
            };
            let quantile = said.percentile.unwrap_or(0.99);
            all.push(bound(said.name.clone(), metric, quantile, said.value));
        }
    }
    if all.is_empty() {
        all = vec![
            bound(None, Quantity::Ttft, 0.99, 0.5),
            bound(None, Quantity::Tbt, 0.9, 0.05),
        ];
    }
    Ok(Entry {
        name: Some("slos".to_owned()),
        all: Some(all),
        ..Entry::default()
    })
}
