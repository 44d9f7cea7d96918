//! A trial from its job to its summary.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Uri};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeValLike;

use super::body::BodyForm;
use super::builder;
use super::collector::Collector;
use super::failure::TrialFailure;
use super::probe::{Learned, probe};
use super::progress::ProgressWriter;
use super::shard::{self, Control, Plan, Report, Start, Template};
use super::signals::{Stop, StopWatch};
use super::summary::{self, Frame, Summary, Tallies};
use crate::endpoint::{BaseUrl, Connector, EndpointError, clock};
use crate::loadgen::{Api, TrialJob};
use crate::store::rows::{self, RowWriter};
use crate::workload::PlannedRequest;
use crate::workload::prompts::{Prompt, PromptFactory};

/// What a trial needs beside its job.
#[derive(Default)]
pub struct RunOptions {
    /// The API key, if the endpoint wants one.
    pub key: Option<String>,
    /// Whether the kernel's receive stamps are left alone, to compare.
    pub user_timestamps: bool,
    /// When the program started, on the monotonic clock; for the start-up time.
    pub program_start_ns: Option<u64>,
}

/// Requests per second that one shard is given.
const SHARD_RATE: f64 = 800.0;
/// Events per second that one shard is given.
const SHARD_EVENTS: f64 = 26_000.0;
/// Most connections opened before the start.
const MOST_AHEAD: f64 = 512.0;
/// Longest time for which data that the kernel has stamped may wait to be read.
const LONGEST_REST_NS: u64 = 2_500_000;
/// Such rests that fit between two tokens of an idle server, at least.
const GAP_RESTS: f64 = 4.0;
/// File descriptors that are not connections.
const SPARE_FILES: u64 = 64;
/// Time between the last preparation and the first request's time zero.
const LEAD_NS: u64 = 3_000_000;

/// Runs a trial and leaves its files in `dir`: rows, progress, summary; or `failure.json`.
///
/// # Errors
/// When no measurement could be made.
pub fn run(job: &TrialJob, dir: &Path, options: &RunOptions) -> Result<Summary, TrialFailure> {
    conduct(job, dir, options).inspect_err(|failure| {
        // The failure is reported in any case; the file is for a driver on another machine.
        let _ = failure.store(dir);
    })
}

fn conduct(job: &TrialJob, dir: &Path, options: &RunOptions) -> Result<Summary, TrialFailure> {
    let launched = options.program_start_ns.unwrap_or_else(clock::monotonic_ns);
    let kernel_timestamps = !options.user_timestamps;
    let watch = StopWatch::new(dir)?;
    let prepared = Prepared::new(job, options)?;
    let (planned_tokens, shards, notes) = (
        prepared.planned_tokens,
        prepared.shards,
        prepared.learned.notes.clone(),
    );
    let (url, intended) = (prepared.connector.url().to_string(), prepared.intended.clone());
    let output_sums = prepared.output_sums.clone();
    let started = prepared.start(job)?;

    let wall_offset_ns = clock::wall_offset_ns();
    let at_ns = clock::monotonic_ns() + LEAD_NS;
    let epoch_ns = at_ns as i64 + wall_offset_ns;
    let header = rows::Header {
        schema: rows::SCHEMA,
        mst_version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: job.spec.seed,
        epoch_ns,
        planned: intended.len() as u64,
        kernel_timestamps,
    };
    let collector = Collector {
        writer: RowWriter::create(&dir.join(rows::FILE_NAME), &header)?,
        progress: ProgressWriter::create(dir, job.spec.duration_s, job.spec.workload.mean_output_tokens())?,
        tallies: Tallies::default(),
        intended,
        output_sums,
        duration_s: job.spec.duration_s,
        drain_s: job.limits.drain_s,
        at_ns,
        shards,
        stop: None,
        stopped_s: None,
    };
    let cpu_before = cpu_seconds();
    for start in &started.starts {
        // A shard that is gone has reported why.
        let _ = start.send(Start {
            at_ns,
            wall_offset_ns,
        });
    }
    let mut collected = collector.collect(&started.inbox, &started.control, &watch)?;
    // Where the last answer came before the time was over, nothing more was to be seen.
    let observed_s = (clock::monotonic_ns().saturating_sub(at_ns) as f64 / 1e9).max(collected.offered_s);
    for thread in started.threads {
        let bug = |_| TrialFailure::new("io", "a sending thread panicked; this is a bug");
        thread.join().map_err(bug)?;
    }
    collected.tallies.signals.wall_step_ns = clock::wall_offset_ns() - wall_offset_ns;
    collected.tallies.signals.kernel_timestamps = kernel_timestamps;
    let cpu = cpu_seconds();
    let summary = Summary {
        schema: summary::SCHEMA,
        mst_version: header.mst_version,
        url,
        api: job.endpoint.api.path().to_owned(),
        model: job.endpoint.model.clone(),
        seed: job.spec.seed,
        epoch_ns,
        planned: collected.planned,
        asked_per_second: job.spec.rate.as_per_second(),
        observed_s,
        stopped_early: collected.stop.is_some(),
        interrupted_by: match collected.stop {
            Some(Stop::Signal(number)) => Some(number),
            _ => None,
        },
        cpu_seconds: cpu,
        startup_s: at_ns.saturating_sub(launched) as f64 / 1e9,
        shards,
        client: crate::trial::ClientHealth {
            cpu_share: Some((cpu - cpu_before) / observed_s.max(1e-3)),
            ..Default::default()
        },
        notes,
        ..Summary::default()
    };
    let frame = Frame {
        offered_s: collected.offered_s,
        planned_tokens,
    };
    let summary = collected.tallies.complete(summary, frame);
    summary.store(dir)?;
    Ok(summary)
}

/// A trial whose endpoint has answered a probe.
struct Prepared {
    connector: Connector,
    template: Template,
    plan: Vec<PlannedRequest>,
    intended: Vec<u64>,
    /// Output tokens planned for each request and all before it.
    output_sums: Vec<u64>,
    form: BodyForm,
    prompts: PromptFactory,
    learned: Learned,
    planned_tokens: (f64, f64),
    shards: usize,
}

impl Prepared {
    fn new(job: &TrialJob, options: &RunOptions) -> Result<Self, TrialFailure> {
        let url: BaseUrl = job.endpoint.base_url.parse().map_err(EndpointError::from)?;
        let prompts = PromptFactory::new(
            &job.spec.workload.prompts,
            &job.spec.workload.classes,
            &job.encoding,
            job.prompts_file.as_deref(),
        )
        .map_err(|error| TrialFailure::new("bad-job", error))?;
        let connector = Connector::new(&url, !options.user_timestamps)?;
        let template = template(job, &url, options.key.as_deref())?;
        let plan = job.plan().map_err(|error| TrialFailure::new("bad-job", error))?;
        let mut form = BodyForm {
            api: job.endpoint.api,
            model: job.endpoint.model.clone(),
            dropped: Vec::new(),
        };
        // Another salt, so that the probe does not put the first prompt into a cache.
        let first = PlannedRequest {
            salt: !plan[0].salt,
            ..plan[0]
        };
        let prompt = prompts.prompt(&first);
        if job.endpoint.api == Api::Chat && matches!(prompt, Prompt::Ids(_)) {
            let why = "token ids cannot be sent to the chat API: use text prompts, or the completions API";
            return Err(TrialFailure::new("bad-job", why));
        }
        let learned = probe(
            job,
            &connector,
            &template,
            &mut form,
            &prompt,
            first.output_tokens,
        )?;
        let mean = |of: fn(&PlannedRequest) -> u32| {
            plan.iter().map(|p| f64::from(of(p))).sum::<f64>() / plan.len() as f64
        };
        let planned_tokens = (mean(|p| p.input_tokens), mean(|p| p.output_tokens));
        let rate = plan.len() as f64 / job.spec.duration_s;
        Ok(Self {
            connector,
            template,
            intended: plan.iter().map(|p| p.intended_ns).collect(),
            output_sums: plan
                .iter()
                .scan(0, |sum, p| {
                    *sum += u64::from(p.output_tokens);
                    Some(*sum)
                })
                .collect(),
            form,
            prompts,
            learned,
            planned_tokens,
            shards: shard_count(rate, planned_tokens.1),
            plan,
        })
    }

    /// Starts the threads and waits until all are ready.
    fn start(self, job: &TrialJob) -> Result<Started, TrialFailure> {
        let rate = self.plan.len() as f64 / job.spec.duration_s;
        let ahead = (!job.fresh_connections)
            .then(|| connections_ahead(&self.learned, rate, self.planned_tokens.1, self.shards));
        let cap = raise_file_limit().saturating_sub(SPARE_FILES) as usize / self.shards;
        let control = Arc::new(Control::default());
        let (reports, inbox) = channel();
        let sources = builder::start(self.plan, self.form, self.prompts, self.shards)?;
        let mut starts = Vec::new();
        let mut threads = Vec::new();
        for (number, source) in sources.into_iter().enumerate() {
            let plan = Plan {
                connector: self.connector.clone(),
                template: self.template.clone(),
                limits: job.limits,
                connections: ahead,
                cap,
                rest_ns: rest_ns(&self.learned),
                source,
                control: Arc::clone(&control),
                reports: reports.clone(),
            };
            let (start, wait) = channel::<Start>();
            starts.push(start);
            let thread = std::thread::Builder::new().name(format!("mst-shard-{number}"));
            threads.push(thread.spawn(move || shard::run(plan, &wait))?);
        }
        drop(reports);
        for _ in 0..self.shards {
            match inbox.recv() {
                Ok(Report::Ready) => {}
                Ok(Report::Failed(error)) => return Err(error.into()),
                _ => return Err(TrialFailure::new("io", "a sending thread ended before the start")),
            }
        }
        Ok(Started {
            control,
            inbox,
            starts,
            threads,
        })
    }
}

/// Threads that wait for the start.
struct Started {
    control: Arc<Control>,
    inbox: Receiver<Report>,
    starts: Vec<Sender<Start>>,
    threads: Vec<JoinHandle<()>>,
}

/// The head that all requests share.
fn template(job: &TrialJob, url: &BaseUrl, key: Option<&str>) -> Result<Template, TrialFailure> {
    let bad = |what: &str| {
        TrialFailure::new(
            "bad-job",
            format!("{what} has characters that HTTP does not allow"),
        )
    };
    let uri: Uri = url
        .path(job.endpoint.api.path())
        .parse()
        .map_err(|_| bad("the URL's path"))?;
    let mut headers = HeaderMap::new();
    let host = HeaderValue::try_from(url.authority()).map_err(|_| bad("the host name"))?;
    headers.insert(header::HOST, host);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("mst/", env!("CARGO_PKG_VERSION"))),
    );
    if let Some(key) = key {
        let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| bad("the API key"))?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    if job.fresh_connections {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(Template { uri, headers })
}

/// How many threads send: one as long as it is enough.
fn shard_count(rate: f64, output_tokens: f64) -> usize {
    let wanted = (rate / SHARD_RATE)
        .max(rate * output_tokens / SHARD_EVENTS)
        .ceil();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // On a larger machine half the cores are left to others.
    let most = if cores <= 2 {
        cores
    } else {
        (cores / 2).clamp(2, 8)
    };
    (wanted as usize).clamp(1, most)
}

/// Connections that each shard opens before the start: those that will be in use at a time, by Little's law.
fn connections_ahead(learned: &Learned, rate: f64, output_tokens: f64, shards: usize) -> usize {
    let latency = learned
        .latency_s
        .map_or(1.0, |(ttft, gap)| ttft + gap * output_tokens);
    ((rate * latency * 1.2).ceil().clamp(1.0, MOST_AHEAD) / shards as f64).ceil() as usize
}

/// How long received data may wait: never so long that two tokens of a stream would be read as one, and not at all where
/// the time of the read is what counts.
fn rest_ns(learned: &Learned) -> u64 {
    let gap_s = learned.latency_s.map_or(0.0, |(_, gap)| gap);
    if learned.kernel_stamps {
        ((gap_s * 1e9 / GAP_RESTS) as u64).min(LONGEST_REST_NS)
    } else {
        0
    }
}

/// Raises the limit of open files as far as it goes; returns it.
fn raise_file_limit() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return 1024;
    };
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    }
}

/// CPU seconds of this program so far.
fn cpu_seconds() -> f64 {
    getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
        (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
    })
}
