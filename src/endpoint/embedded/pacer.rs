//! The replica in real time: requests go in when they arrive, tokens go out when their step ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::body::Ticket;
use super::clock::{Alarm, Clock};
use super::frames::Frames;
use super::metrics::Metrics;
use super::{ConfigError, EmbeddedError};
use crate::sim::Time;
use crate::sim::affine::{Admission, EventKind, Replica, ReplicaConfig, Request, RequestId};

/// Paces one replica. Only the server's thread steps it; the lock is there because handlers must be `Send`.
pub(super) struct Pacer {
    clock: Clock,
    alarm: Alarm,
    ready_at: Time,
    state: Mutex<State>,
}

/// Why a request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The queue is full.
    QueueFull,
    /// It exceeds the whole KV cache.
    NeverFits,
}

struct State {
    replica: Replica,
    open: HashMap<RequestId, Open>,
    metrics: Metrics,
    /// What the alarm is set to.
    alarm_at: Option<Time>,
}

/// A request between its arrival and its end.
struct Open {
    pieces: UnboundedSender<Bytes>,
    frames: Frames,
    input_tokens: u32,
    produced: u32,
    arrived: Time,
    started: Time,
    first_token: Time,
    last_token: Time,
}

impl Pacer {
    /// Must be called in the context of the server's runtime. Virtual time starts here.
    pub(super) fn new(config: ReplicaConfig) -> Result<Self, EmbeddedError> {
        let replica = Replica::new(config).map_err(|error: ConfigError| EmbeddedError::Config(error))?;
        Ok(Self {
            clock: Clock::start()?,
            alarm: Alarm::new()?,
            ready_at: replica.ready_at(),
            state: Mutex::new(State {
                replica,
                open: HashMap::new(),
                metrics: Metrics::default(),
                alarm_at: None,
            }),
        })
    }

    /// Whether the start-up delay has passed.
    pub(super) fn is_ready(&self) -> bool {
        self.clock.now() >= self.ready_at
    }

    /// Delivers tokens for ever; ends only when the timer fails.
    pub(super) async fn run(&self) -> std::io::Result<()> {
        loop {
            self.alarm.wait().await?;
            let mut state = self.lock();
            state.alarm_at = None;
            state.advance(self.clock.now());
            self.rearm(&mut state)?;
        }
    }

    /// Hands a request to the replica. `id` must be new.
    pub(super) fn submit(
        self: &Arc<Self>,
        id: RequestId,
        size: (u32, u32),
        frames: Frames,
    ) -> Result<Ticket, Refusal> {
        let (input_tokens, output_tokens) = size;
        let mut state = self.lock();
        let now = self.clock.now();
        state.advance(now);
        let request = Request {
            id,
            input_tokens,
            output_tokens,
        };
        match state.replica.offer(now, request) {
            Admission::Queued => {}
            Admission::Rejected => {
                state.metrics.rejected += 1;
                return Err(Refusal::QueueFull);
            }
            Admission::NeverFits => return Err(Refusal::NeverFits),
        }
        let (sender, pieces) = unbounded_channel();
        let open = Open {
            pieces: sender,
            frames,
            input_tokens,
            produced: 0,
            arrived: now,
            started: now,
            first_token: now,
            last_token: now,
        };
        state.open.insert(id, open);
        // An idle replica starts at once.
        state.advance(now);
        // A timer that could be set before can be set again.
        let _ = self.rearm(&mut state);
        Ok(Ticket {
            pacer: Arc::clone(self),
            id,
            pieces,
        })
    }

    /// The client went away; nothing happens where the request has ended already.
    pub(super) fn cancel(&self, id: RequestId) {
        let mut state = self.lock();
        if !state.open.contains_key(&id) {
            return;
        }
        state.advance(self.clock.now());
        if state.open.remove(&id).is_some() {
            state.replica.cancel(id);
            state.metrics.aborted += 1;
        }
        let _ = self.rearm(&mut state);
    }

    /// The largest delay of a step's tokens so far.
    pub(super) fn max_lag(&self) -> Duration {
        Duration::from_secs_f64(self.lock().metrics.max_lag_s)
    }

    /// The state as Prometheus text.
    pub(super) fn metrics_text(&self, model: &str) -> String {
        let state = self.lock();
        let counts = state.replica.counts();
        let room = state.replica.config().kv_tokens;
        let kv_share = room.map_or(0.0, |room| counts.kv_used as f64 / room as f64);
        state
            .metrics
            .render(model, counts, kv_share, state.replica.steps())
    }

    /// Sets the alarm to the replica's next event, where it is not set so already.
    fn rearm(&self, state: &mut State) -> std::io::Result<()> {
        let next = state.replica.next_event_at();
        if next != state.alarm_at {
            self.alarm.set(&self.clock, next)?;
            state.alarm_at = next;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in a handler leaves the counters off by one request at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Delivers everything that is due by `now`: all tokens of a step in one go.
    fn advance(&mut self, now: Time) {
        let Self {
            replica,
            open,
            metrics,
            ..
        } = self;
        let mut last_step = None;
        replica.advance_with(now, |event| {
            let Some(request) = open.get_mut(&event.id) else {
                return;
            };
            match event.kind {
                EventKind::Started => {
                    request.started = event.at;
                    metrics.queue_time.observe(event.at - request.arrived);
                }
                EventKind::FirstToken | EventKind::Token => {
                    if last_step.replace(event.at) != Some(event.at) {
                        metrics.observe_lag(now - event.at);
                    }
                    request.token(event.at, metrics);
                }
                EventKind::Done => {
                    request.done(metrics);
                    open.remove(&event.id);
                }
            }
        });
    }
}

impl Open {
    fn token(&mut self, at: Time, metrics: &mut Metrics) {
        self.produced += 1;
        metrics.generation_tokens += 1;
        if self.produced == 1 {
            self.first_token = at;
            metrics.prompt_tokens += u64::from(self.input_tokens);
            metrics.first_token.observe(at - self.arrived);
            metrics.prefill_time.observe(at - self.started);
        } else {
            metrics.inter_token.observe(at - self.last_token);
        }
        self.last_token = at;
        if let Some(piece) = self.frames.piece(self.produced) {
            // The reader may be gone; its ticket cancels the request then.
            let _ = self.pieces.send(piece);
        }
    }

    fn done(&self, metrics: &mut Metrics) {
        let decode = self.last_token - self.first_token;
        metrics.finished(self.frames.finish_reason());
        metrics.whole_request.observe(self.last_token - self.arrived);
        metrics.decode_time.observe(decode);
        if self.produced > 1 {
            metrics
                .per_token
                .observe(Time::from_ps(decode.as_ps() / u64::from(self.produced - 1)));
        }
    }
}
