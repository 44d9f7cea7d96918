//! One request before the trial: is the endpoint there, does it understand what will be sent, and how long does it take?
//! It is not counted.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;

use super::body::{BodyForm, Optional};
use super::event::Keys;
use super::failure::TrialFailure;
use super::tally::Tally;
use super::template::Template;
use crate::endpoint::{Connector, EndpointError, Stamps, clock, connect_error, said};
use crate::loadgen::{Limits, TrialJob};
use crate::workload::prompts::Prompt;

/// Tokens that a probe asks for at most: enough to see a gap, few enough not to delay the trial.
const PROBE_TOKENS: u32 = 3;
/// A probe waits this long for its answer, whatever the trial's own limits are.
const PROBE_SECONDS: (f64, f64) = (1.0, 60.0);

/// What the probe learned.
#[derive(Debug, Default)]
pub(super) struct Learned {
    /// Time to the first token and between tokens, seconds.
    pub(super) latency_s: Option<(f64, f64)>,
    /// Whether the kernel stamps what this endpoint sends.
    pub(super) kernel_stamps: bool,
    /// What a reader of the figures should know.
    pub(super) notes: Vec<String>,
}

/// An answer to one request.
pub(super) enum Answer {
    /// It streamed to its end.
    Stream {
        tally: Box<Tally>,
        ttft_s: f64,
        e2e_s: f64,
        kernel_stamps: bool,
    },
    /// A status other than 200, and what came with it.
    Status(u16, Bytes),
    /// The connection broke.
    Broken(String),
}

/// Sends probes until one is understood; drops fields that the server refuses from `form`.
///
/// # Errors
/// When the endpoint cannot be used for this job.
pub(super) fn probe(
    job: &TrialJob,
    connector: &Connector,
    template: &Template,
    form: &mut BodyForm,
    prompt: &Prompt,
    output_tokens: u32,
) -> Result<Learned, TrialFailure> {
    let address = format!("{}{}", connector.url(), job.endpoint.api.path());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tokens = output_tokens.min(PROBE_TOKENS);
    let seconds = limit_s(&job.limits);
    let mut learned = Learned::default();
    loop {
        let body = form.body(prompt, tokens, job.spec.seed);
        let asked = ask(connector, template, body);
        let answer = runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs_f64(seconds), asked).await })
            .map_err(|_| EndpointError::Timeout {
                url: address.clone(),
                seconds,
            })??;
        match answer {
            Answer::Stream {
                tally,
                ttft_s,
                e2e_s,
                kernel_stamps,
            } => {
                learned.kernel_stamps = kernel_stamps;
                judge(&tally, tokens, &address, &mut learned)?;
                let gaps = f64::from(tokens.saturating_sub(1).max(1));
                learned.latency_s = Some((ttft_s, (e2e_s - ttft_s).max(0.0) / gaps));
                break;
            }
            Answer::Status(status @ (400 | 422), text) => {
                let field = refused_field(form, &text).ok_or_else(|| {
                    let why = said(&text);
                    TrialFailure::new("bad-request", format!("{address} answered {status}: {why}"))
                })?;
                form.dropped.push(field);
            }
            Answer::Status(status @ (401 | 403 | 404 | 405), text) => {
                return Err(EndpointError::from_status(&address, status, &text).into());
            }
            Answer::Status(status, text) => {
                // A busy or failing server is what the trial is there to see.
                let note = format!(
                    "the probe before the trial was answered {status}: {}",
                    said(&text)
                );
                learned.notes.push(note);
                break;
            }
            Answer::Broken(why) => {
                learned
                    .notes
                    .push(format!("the probe before the trial broke off: {why}"));
                break;
            }
        }
    }
    for field in &form.dropped {
        let name = field.name();
        learned.notes.push(format!(
            "the server refuses `{name}`: requests were sent without it"
        ));
    }
    Ok(learned)
}

/// How long a probe may take.
fn limit_s(limits: &Limits) -> f64 {
    limits
        .request_s
        .min(limits.ttft_s)
        .clamp(PROBE_SECONDS.0, PROBE_SECONDS.1)
}

/// The field to go without next: one that the message names, else the next in line; `None` when all are gone.
pub(super) fn refused_field(form: &BodyForm, text: &[u8]) -> Option<Optional> {
    let left = || Optional::ALL.into_iter().filter(|f| !form.dropped.contains(f));
    let message = String::from_utf8_lossy(text);
    left()
        .find(|f| message.contains(f.name()))
        .or_else(|| left().next())
}

/// What a stream says about the endpoint.
fn judge(tally: &Tally, tokens: u32, address: &str, learned: &mut Learned) -> Result<(), TrialFailure> {
    if !tally.has_events() {
        return Err(EndpointError::NotOpenAi {
            url: address.to_owned(),
            why: "the answer is not an event stream".to_owned(),
        }
        .into());
    }
    let (outcome, error) = tally.judge(tokens);
    if !outcome.is_ok() {
        let why = error.map(|e| format!(" ({e})")).unwrap_or_default();
        learned
            .notes
            .push(format!("the probe before the trial ended as `{outcome}`{why}"));
    }
    Ok(())
}

/// Sends one request over a connection of its own. Times count from when it is sent on the open connection, to the
/// kernel's receive stamp where there is one.
pub(super) async fn ask(
    connector: &Connector,
    template: &Template,
    body: Bytes,
) -> Result<Answer, TrialFailure> {
    let mut connection = connector
        .connect()
        .await
        .map_err(|e| connect_error(connector.url(), &e))?;
    let mut request = Request::new(Full::new(body));
    template.apply(&mut request);
    let sent = clock::monotonic_ns();
    let pending = connection.send(request);
    let response = match connection.drive(pending).await {
        Ok(response) => response,
        Err(error) if error.is_parse() => {
            return Err(EndpointError::NotOpenAi {
                url: connector.url().to_string(),
                why: format!("the answer is not HTTP ({error})"),
            }
            .into());
        }
        Err(error) => return Ok(Answer::Broken(error.to_string())),
    };
    let status = response.status().as_u16();
    let mut body = response.into_body();
    if status != 200 {
        let text = match connection.drive(body.collect()).await {
            Ok(text) => text.to_bytes(),
            Err(error) => Bytes::from(error.to_string()),
        };
        return Ok(Answer::Status(status, text));
    }
    let keys = Keys::default();
    let mut tally = Tally::default();
    let offset_ns = clock::wall_offset_ns();
    while let Some(frame) = connection.drive(body.frame()).await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => {
                let at = arrival(connection.stamps(), offset_ns, sent) - sent;
                tally.feed(&keys, &data, at);
            }
            Ok(Err(_)) => {}
            Err(error) => return Ok(Answer::Broken(error.to_string())),
        }
    }
    let end = arrival(connection.stamps(), offset_ns, sent) - sent;
    tally.finish(&keys, end);
    let first = tally.first_ns.unwrap_or(end);
    Ok(Answer::Stream {
        tally: Box::new(tally),
        ttft_s: first as f64 / 1e9,
        e2e_s: end as f64 / 1e9,
        kernel_stamps: connection.stamps().kernel_wall_ns.get() > 0,
    })
}

/// When what was read last arrived, on the monotonic clock: by the kernel's stamp where that is credible, else by ours.
fn arrival(stamps: &Stamps, wall_offset_ns: i64, sent_ns: u64) -> u64 {
    let read = stamps.read_ns.get().max(sent_ns);
    let kernel = stamps.kernel_wall_ns.get();
    let kernel = u64::try_from(kernel as i64 - wall_offset_ns).unwrap_or(0);
    if (sent_ns..=read).contains(&kernel) {
        kernel
    } else {
        read
    }
}
