//! One request, from its intended send time to its row.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;

use super::builder::Prepared;
use super::deadline::Deadline;
use super::shard::Shard;
use super::tally::Tally;
use crate::endpoint::{Connection, clock, said};
use crate::trial::{Outcome, RawRow};

/// How much of an answer that is not a stream is kept for the error message.
const ERROR_BYTES: usize = 2_048;

/// How an attempt ended badly.
struct Failed {
    outcome: Outcome,
    error: String,
}

impl Failed {
    fn new(outcome: Outcome, error: impl std::fmt::Display) -> Self {
        Self {
            outcome,
            error: error.to_string(),
        }
    }
}

/// A request under way. Whatever happens to it, even when it is dropped, it leaves a row.
struct Flight {
    shard: Rc<Shard>,
    row: RawRow,
    tally: Tally,
    settled: bool,
    /// Arrival of the last byte, where the answer came to its end.
    ended_ns: Option<u64>,
    lag_ns: Option<u64>,
}

/// Sends one request and waits for its answer.
pub(super) async fn fly(shard: Rc<Shard>, prepared: Prepared) {
    let row = RawRow {
        i: prepared.index,
        class: prepared.planned.class,
        intended_ns: prepared.planned.intended_ns,
        input_asked: prepared.planned.input_tokens,
        output_asked: prepared.planned.output_tokens,
        ..RawRow::default()
    };
    shard.open.set(shard.open.get() + 1);
    let mut flight = Flight {
        shard,
        row,
        tally: Tally::default(),
        settled: false,
        ended_ns: None,
        lag_ns: None,
    };
    flight.tally.expect(prepared.planned.output_tokens);
    let (outcome, error) = match flight.attempts(prepared.body).await {
        Ok(judged) => judged,
        Err(failed) => (failed.outcome, Some(failed.error)),
    };
    flight.settle(outcome, error);
}

impl Flight {
    /// Sends over a pooled connection where there is one. A server may close such a connection just as the request goes
    /// out; then, and only then, the request is sent once more.
    async fn attempts(&mut self, body: Bytes) -> Result<(Outcome, Option<String>), Failed> {
        if let Some(mut pooled) = self.shard.take_idle() {
            let before = pooled.stamps().bytes.get();
            let result = self.exchange(&mut pooled, body.clone()).await;
            let closed_unheard = result.is_err() && pooled.stamps().bytes.get() == before;
            let timed_out = matches!(&result, Err(f) if matches!(f.outcome, Outcome::Timeout(_)));
            if !closed_unheard || timed_out {
                self.shard.give_back(pooled, result.is_ok());
                return result;
            }
        }
        let mut fresh = self.connect().await?;
        let result = self.exchange(&mut fresh, body).await;
        self.shard.give_back(fresh, result.is_ok());
        result
    }

    async fn connect(&mut self) -> Result<Connection, Failed> {
        let started = clock::monotonic_ns();
        let mut deadline = Deadline::new(self.shard.limits, started);
        let shard = Rc::clone(&self.shard);
        let mut connecting = Box::pin(shard.connector.connect());
        let opened = poll_fn(|cx| {
            if let Poll::Ready(opened) = connecting.as_mut().poll(cx) {
                return Poll::Ready(Ok(opened));
            }
            deadline.poll(cx, None).map(Err)
        })
        .await;
        let took = clock::monotonic_ns() - started;
        self.row.connect_us = Some(u32::try_from(took / 1_000).unwrap_or(u32::MAX));
        match opened {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Err(Failed::new(Outcome::Refused, error))
            }
            Ok(Err(error)) => Err(Failed::new(Outcome::Connect, error)),
            Err(kind) => Err(Failed::new(Outcome::Timeout(kind), "no connection in time")),
        }
    }

    /// Sends the request and takes the whole answer, to its last byte, so that the connection can be used again.
    async fn exchange(
        &mut self,
        connection: &mut Connection,
        body: Bytes,
    ) -> Result<(Outcome, Option<String>), Failed> {
        let mut request = Request::new(Full::new(body));
        self.shard.template.apply(&mut request);
        let asked = self.row.output_asked;
        let sent = clock::monotonic_ns();
        self.row.sent_ns = Some(self.shard.since_start(sent));
        let mut deadline = Deadline::new(self.shard.limits, sent);
        let pending = connection.send(request);
        let answered = self.guard(connection, &mut deadline, pending).await;
        self.row.written_ns = match connection.stamps().wrote_ns.get() {
            at if at >= sent => Some(self.shard.since_start(at)),
            _ => None,
        };
        let response = answered?.map_err(|e| broken(&e))?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let mut kept = Vec::new();
        while let Some(piece) = self.next_piece(connection, &mut deadline, &mut body).await? {
            if status != 200 || !self.tally.has_events() {
                let room = ERROR_BYTES.saturating_sub(kept.len());
                kept.extend_from_slice(&piece[..piece.len().min(room)]);
            }
            if status == 200 {
                let at = self.arrival(connection);
                let before = self.tally.counted();
                self.tally.feed(&self.shard.keys, &piece, at);
                self.shard.count(self.tally.counted() - before, before == 0);
            }
            // Whoever is awake sends what is due, so that reading does not make sends late.
            self.shard.fire_due(connection.stamps().read_ns.get());
        }
        if status != 200 {
            return Err(Failed::new(Outcome::Http(status), said(&kept)));
        }
        let at = self.arrival(connection);
        self.ended_ns = Some(at);
        self.tally.finish(&self.shard.keys, at);
        if !self.tally.has_events() && !kept.is_empty() {
            let why = format!("not an event stream: {}", said(&kept));
            return Ok((Outcome::BadResponse, Some(why)));
        }
        Ok(self.tally.judge(asked))
    }

    async fn next_piece(
        &mut self,
        connection: &mut Connection,
        deadline: &mut Deadline,
        body: &mut Incoming,
    ) -> Result<Option<Bytes>, Failed> {
        loop {
            let frame = self.guard(connection, deadline, body.frame()).await?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(&error)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Waits for `future` while the connection moves on and the limits are watched.
    async fn guard<F: Future>(
        &mut self,
        connection: &mut Connection,
        deadline: &mut Deadline,
        future: F,
    ) -> Result<F::Output, Failed> {
        let mut future = std::pin::pin!(future);
        let last = self.tally.last_token_ns().map(|ns| self.shard.absolute(ns));
        poll_fn(|cx| {
            if let Poll::Ready(output) = connection.poll_with(cx, Pin::as_mut(&mut future)) {
                return Poll::Ready(Ok(output));
            }
            deadline
                .poll(cx, last)
                .map(|kind| Err(Failed::new(Outcome::Timeout(kind), "a time limit passed")))
        })
        .await
    }

    /// When the data that was just read arrived: by the kernel's stamp where it gave a credible one, else by ours.
    fn arrival(&mut self, connection: &Connection) -> u64 {
        let stamps = connection.stamps();
        let user = stamps.read_ns.get();
        let Some(kernel) = self.shard.kernel_time(stamps.kernel_wall_ns.get()) else {
            return self.shard.since_start(user);
        };
        let sent = self.row.sent_ns.map_or(0, |ns| self.shard.absolute(ns));
        if kernel > user || kernel < sent {
            return self.shard.since_start(user);
        }
        self.lag_ns = Some(self.lag_ns.unwrap_or(0).max(user - kernel));
        self.shard.since_start(kernel)
    }

    /// Hands the row over. An answer ended when its last byte arrived, not when we came to look at it.
    fn settle(&mut self, outcome: Outcome, error: Option<String>) {
        self.settled = true;
        let mut row = std::mem::take(&mut self.row);
        row.done_ns = outcome.is_finished().then(|| {
            self.ended_ns
                .unwrap_or_else(|| self.shard.since_start(clock::monotonic_ns()))
        });
        row.error = error;
        row.outcome = outcome.to_string();
        row.lag_us = self
            .lag_ns
            .map(|ns| u32::try_from(ns / 1_000).unwrap_or(u32::MAX));
        std::mem::take(&mut self.tally).fill(&mut row);
        self.shard.open.set(self.shard.open.get() - 1);
        self.shard.record(row);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !self.settled {
            self.settle(Outcome::Unfinished, None);
        }
    }
}

/// What an error of the HTTP library says about the answer.
fn broken(error: &hyper::Error) -> Failed {
    let outcome = if error.is_parse() {
        Outcome::BadResponse
    } else {
        Outcome::BrokenStream
    };
    let source = std::error::Error::source(error).map(|s| format!(": {s}"));
    Failed::new(outcome, format!("{error}{}", source.unwrap_or_default()))
}
