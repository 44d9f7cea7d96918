//! The requests of a simulation, as users describe them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{DeploymentError, files};
use crate::sim::source::{
    DeadlineRule, Deadlines, Order, Pacing, Replay, RequestLengths, SessionPlan, Sessions, SessionsConfig,
    Synthetic, SyntheticConfig, TooLong, Trace, TraceFormat,
};
use crate::sim::{PrefixTable, Request, Source, Time};
use crate::workload::Gaps;

/// Requests: from a trace, from distributions of lengths, or of conversations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Workload {
    /// A trace: Mooncake's JSON lines, or CSV as Vidur and its explorer have it; `.gz` is unpacked.
    pub trace: Option<PathBuf>,
    /// How the trace is written. Default: by its name.
    pub format: Option<TraceFormat>,
    /// In which order the trace's requests are taken.
    pub order: Order,
    /// What becomes of a recorded request that is longer than `max_model_len`.
    pub too_long: TooLong,
    /// Lengths by distributions, in place of a trace.
    pub lengths: Option<RequestLengths>,
    /// Conversations, in place of a trace.
    pub sessions: Option<SessionsConfig>,
    /// The process of arrivals. Default: for a trace its own, else `poisson`.
    pub arrivals: Option<Gaps>,
    /// Requests (for `sessions`: conversations) a second. A trace's own arrivals are stretched to it.
    pub qps: Option<f64>,
    /// Factor on a trace's own arrivals: above one is slower.
    pub time_scale: Option<f64>,
    /// How many requests. Default: for a trace all of it.
    pub num_requests: Option<u64>,
    /// Seconds after which no request arrives any more.
    pub duration: Option<f64>,
    /// When a prefill should have ended, for the queue `edf`.
    pub deadline: Option<DeadlineRule>,
}

/// A workload whose files are read.
#[derive(Clone, Debug)]
pub struct OpenWorkload {
    workload: Workload,
    kind: Kind,
    prefixes: Arc<PrefixTable>,
    seed: u64,
    /// What to know about it.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug)]
enum Kind {
    Trace(Arc<Trace>),
    Lengths(RequestLengths),
    Sessions(Arc<SessionPlan>),
}

impl Workload {
    /// Reads its files and draws what is fixed beforehand. Paths are looked for beside `base` and then as they are;
    /// `longest` is the longest request that the model takes.
    ///
    /// # Errors
    /// When it contradicts itself, or a file cannot be used.
    pub fn open(&self, base: &Path, longest: u32, seed: u64) -> Result<OpenWorkload, DeploymentError> {
        self.check()?;
        let mut notes = Vec::new();
        let (kind, prefixes) = if let Some(trace) = &self.trace {
            let path = located(base, trace);
            let format = self
                .format
                .unwrap_or_else(|| TraceFormat::of_name(&path.to_string_lossy()));
            let fitted = files::trace(&path, format)?.fitted(longest, self.too_long)?;
            for (count, what) in [(fitted.trimmed, "shortened"), (fitted.skipped, "left out")] {
                if count > 0 {
                    notes.push(format!(
                        "{count} requests of the trace are longer than {longest} tokens: {what}"
                    ));
                }
            }
            let prefixes = Arc::clone(fitted.trace.prefixes());
            (Kind::Trace(Arc::new(fitted.trace)), prefixes)
        } else if let Some(sessions) = &self.sessions {
            let plan = SessionPlan::new(sessions, seed)?;
            let prefixes = Arc::clone(plan.prefixes());
            (Kind::Sessions(Arc::new(plan)), prefixes)
        } else if let Some(lengths) = &self.lengths {
            (Kind::Lengths(lengths.clone()), Arc::default())
        } else {
            return Err(DeploymentError::value("workload", NO_KIND));
        };
        let opened = OpenWorkload {
            workload: self.clone(),
            kind,
            prefixes,
            seed,
            notes,
        };
        // What is wrong with it is said now.
        opened.source()?;
        Ok(opened)
    }

    fn check(&self) -> Result<(), DeploymentError> {
        let kinds = [
            self.trace.is_some(),
            self.lengths.is_some(),
            self.sessions.is_some(),
        ];
        if kinds.iter().filter(|given| **given).count() != 1 {
            return Err(DeploymentError::value("workload", NO_KIND));
        }
        if self.num_requests == Some(0) {
            return Err(DeploymentError::value(
                "num_requests",
                "0 requests are nothing to simulate; write at least 1, or leave the key out",
            ));
        }
        for (key, value) in [
            ("qps", self.qps),
            ("time_scale", self.time_scale),
            ("duration", self.duration),
        ] {
            if let Some(value) = value.filter(|v| !(v.is_finite() && *v > 0.0)) {
                let problem = format!("{value} does not do; write a number above zero");
                return Err(DeploymentError::value(key, problem));
            }
        }
        let at_once = self.arrivals == Some(Gaps::Static);
        if self.lengths.is_some() && self.num_requests.is_none() && (self.duration.is_none() || at_once) {
            let problem = "say how many requests: num_requests, or duration in seconds";
            return Err(DeploymentError::value("workload", problem));
        }
        if self.trace.is_none() && self.qps.is_none() && !at_once {
            return Err(DeploymentError::value(
                "qps",
                "write how many requests arrive a second",
            ));
        }
        if self.time_scale.is_some()
            && (self.qps.is_some() || self.arrivals.is_some() || self.trace.is_none())
        {
            return Err(DeploymentError::value(
                "time_scale",
                "it stretches a trace's own arrivals; remove it, or remove qps and arrivals",
            ));
        }
        if self.trace.is_some() && self.arrivals.is_some() && self.qps.is_none() && !at_once {
            let problem = "arrivals of another process need a rate; write how many requests arrive a second";
            return Err(DeploymentError::value("qps", problem));
        }
        if self.sessions.is_some() && self.num_requests.is_some() {
            let problem = "conversations decide how many requests there are; write sessions.sessions instead";
            return Err(DeploymentError::value("num_requests", problem));
        }
        Ok(())
    }
}

const NO_KIND: &str = "write one of `trace`, `lengths`, `sessions`";

/// Requests and their block hashes.
pub type Replayed = (Box<dyn Source>, Arc<PrefixTable>);

impl OpenWorkload {
    /// The requests, from the first.
    ///
    /// # Errors
    /// When a number of it does not do.
    pub fn source(&self) -> Result<Box<dyn Source>, DeploymentError> {
        let workload = &self.workload;
        let arrivals = workload.arrivals.clone().unwrap_or_default();
        // With all at once a rate means nothing.
        let rate = workload.qps.unwrap_or(1.0);
        let mut source: Box<dyn Source> = match &self.kind {
            Kind::Trace(trace) => {
                let pacing = match (&workload.arrivals, workload.qps) {
                    (Some(_), _) => Pacing::Gaps { gaps: arrivals, rate },
                    (None, Some(rate)) => Pacing::recorded_at(trace, rate)?,
                    (None, None) => Pacing::Recorded {
                        time_scale: workload.time_scale.unwrap_or(1.0),
                    },
                };
                let (trace, count) = (Arc::clone(trace), workload.num_requests);
                Box::new(Replay::new(trace, workload.order, &pacing, count, self.seed)?)
            }
            Kind::Lengths(lengths) => {
                let config = SyntheticConfig {
                    lengths: lengths.clone(),
                    arrivals,
                    rate,
                    count: workload.num_requests,
                };
                Box::new(Synthetic::new(&config, self.seed)?)
            }
            Kind::Sessions(plan) => Box::new(Sessions::new(Arc::clone(plan), &arrivals, rate, self.seed)?),
        };
        if let Some(seconds) = workload.duration {
            source = Box::new(Until {
                source,
                end: Time::from_seconds(seconds),
            });
        }
        if let Some(rule) = workload.deadline {
            source = Box::new(Deadlines::new(source, rule)?);
        }
        Ok(source)
    }

    /// The first `count` of them at another rate, in requests a second, drawn from the seed that is `seed` after its own.
    ///
    /// # Errors
    /// When a number of it does not do.
    pub fn again(&self, qps: f64, count: u64, seed: u64) -> Result<Replayed, DeploymentError> {
        let mut other = self.clone();
        other.workload.qps = Some(qps);
        other.workload.num_requests = Some(count);
        other.seed = self.seed.wrapping_add(seed);
        Ok((other.source()?, Arc::clone(&self.prefixes)))
    }

    /// The same requests, arriving by another process.
    #[must_use]
    pub fn arriving(&self, gaps: Gaps) -> Self {
        let mut other = self.clone();
        other.workload.arrivals = Some(gaps);
        other
    }

    /// Their block hashes.
    pub fn prefixes(&self) -> &Arc<PrefixTable> {
        &self.prefixes
    }

    /// How many requests of a trace are asked for beyond those that it has: these are taken again.
    pub fn repeated(&self) -> u64 {
        match (&self.kind, self.workload.num_requests) {
            (Kind::Trace(trace), Some(asked)) => asked.saturating_sub(trace.len() as u64),
            _ => 0,
        }
    }
}

/// A path beside the file that names it, or as it is.
pub(crate) fn located(base: &Path, path: &Path) -> PathBuf {
    let beside = base.join(path);
    let found = [beside, path.to_owned()]
        .iter()
        .find_map(|place| files::packed_or_not(place));
    found.unwrap_or_else(|| path.to_owned())
}

/// A source that ends at a time.
struct Until {
    source: Box<dyn Source>,
    end: Time,
}

impl Source for Until {
    fn peek(&mut self) -> Option<Time> {
        self.source.peek().filter(|at| *at < self.end)
    }

    fn next(&mut self) -> Option<Request> {
        self.peek()?;
        self.source.next()
    }

    fn closed_loop(&self) -> bool {
        self.source.closed_loop()
    }

    fn completed(&mut self, id: u64, at: Time) {
        self.source.completed(id, at);
    }
}
