//! Takes what the shards report: writes rows and progress, and ends the trial when its time has come.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::failure::TrialFailure;
use super::progress::{Came, ProgressWriter};
use super::shard::{Control, Report};
use super::signals::{Stop, StopWatch};
use super::summary::Tallies;
use crate::endpoint::clock;
use crate::store::rows::RowWriter;
use crate::trial::RawRow;

/// How often the stop file is looked for.
const LOOK: Duration = Duration::from_millis(50);
/// How far behind its schedule a shard may be before the trial is ended without it.
const SHARD_GRACE_S: f64 = 10.0;

/// What a trial's reports amount to.
pub(super) struct Collected {
    pub(super) tallies: Tallies,
    /// Requests that were planned.
    pub(super) planned: u64,
    /// Seconds in which requests were offered.
    pub(super) offered_s: f64,
    /// Why it was stopped before its time, where it was.
    pub(super) stop: Option<Stop>,
}

/// Takes reports, writes rows and progress, and ends the trial when its time has come.
pub(super) struct Collector {
    pub(super) writer: RowWriter,
    pub(super) progress: ProgressWriter,
    pub(super) tallies: Tallies,
    pub(super) intended: Vec<u64>,
    /// Output tokens planned for each request and all before it.
    pub(super) output_sums: Vec<u64>,
    pub(super) duration_s: f64,
    pub(super) drain_s: f64,
    pub(super) at_ns: u64,
    pub(super) shards: usize,
    pub(super) stop: Option<Stop>,
    pub(super) stopped_s: Option<f64>,
}

impl Collector {
    /// Collects until every shard is done.
    pub(super) fn collect(
        mut self,
        inbox: &Receiver<Report>,
        control: &Control,
        watch: &StopWatch,
    ) -> Result<Collected, TrialFailure> {
        let (mut running, mut sending) = (self.shards, self.shards);
        // Until the shards say when they are done sending: a bound on everything, whatever happens to them.
        let mut drain_until = self.duration_s + self.drain_s + SHARD_GRACE_S;
        let mut flushed_s = 0.0;
        let mut failure = None;
        let result = loop {
            let report = inbox.recv_timeout(LOOK);
            let now_s = clock::monotonic_ns().saturating_sub(self.at_ns) as f64 / 1e9;
            let step = match report {
                Ok(Report::Rows(rows)) => self.take(&rows),
                Ok(Report::Failed(error)) => {
                    running -= 1;
                    Err(error)
                }
                Ok(Report::Done) => {
                    running -= 1;
                    Ok(())
                }
                Ok(Report::AllSent { stopped_ns }) => {
                    sending -= 1;
                    if let Some(ns) = stopped_ns {
                        // The last shard to stop tells how long requests were offered.
                        self.stopped_s = Some(self.stopped_s.unwrap_or(0.0).max(ns as f64 / 1e9));
                    }
                    if sending == 0 {
                        drain_until = now_s.max(self.duration_s) + self.drain_s;
                    }
                    Ok(())
                }
                Ok(Report::Ready) | Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => break failure.map_or(Ok(()), Err),
            };
            let came = Came {
                tokens: control.tokens.load(Ordering::Relaxed),
                started: control.started.load(Ordering::Relaxed),
            };
            let step = step.and_then(|()| self.advance(now_s, came, &mut flushed_s));
            if let Err(error) = step {
                // For example a full disk: end the trial, and wait for the threads before saying so.
                failure.get_or_insert(error);
                control.stop.store(true, Ordering::Relaxed);
                control.abort.store(true, Ordering::Relaxed);
            }
            if self.stop.is_none() && running > 0 {
                self.stop = watch.look();
                if self.stop.is_some() {
                    self.stopped_s = Some(now_s);
                    control.stop.store(true, Ordering::Relaxed);
                    control.abort.store(true, Ordering::Relaxed);
                }
            }
            if now_s >= drain_until {
                control.abort.store(true, Ordering::Relaxed);
            }
        };
        result?;
        self.writer.finish()?;
        Ok(Collected {
            tallies: self.tallies,
            planned: self.intended.len() as u64,
            // Stopped while draining, everything had been offered.
            offered_s: self.stopped_s.unwrap_or(f64::INFINITY).min(self.duration_s),
            stop: self.stop,
        })
    }

    fn take(&mut self, batch: &[RawRow]) -> std::io::Result<()> {
        for row in batch {
            self.writer.write(row)?;
            let outcome = self.tallies.add(row, self.duration_s);
            if let Some(done) = row.done_ns {
                self.progress.finished(done as f64 / 1e9, outcome.is_ok(), row);
            }
        }
        Ok(())
    }

    /// Writes progress up to now, and makes rows readable every second.
    fn advance(&mut self, now_s: f64, came: Came, flushed_s: &mut f64) -> std::io::Result<()> {
        let (intended, output) = (&self.intended, &self.output_sums);
        let due = |s: f64| {
            let count = intended.partition_point(|&ns| ns as f64 <= s * 1e9);
            let tokens = count.checked_sub(1).map_or(0, |last| output[last]);
            (count as u32, tokens)
        };
        let until = now_s.min(self.duration_s + 1.0);
        self.progress.advance(until, came, due)?;
        if now_s - *flushed_s >= 1.0 {
            *flushed_s = now_s;
            self.writer.flush()?;
        }
        Ok(())
    }
}
