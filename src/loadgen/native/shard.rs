//! A shard: one thread with one single-threaded runtime, a pacer and a pool of connections. Shards share nothing but the
//! stop flags and the channel that takes rows away.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::task::{Context, Waker};
use std::time::Duration;

use super::builder::{Batches, Prepared};
use super::event::Keys;
use super::flight::fly;
use super::pacer::{Pacer, Rest};
use super::template::Template;
use crate::endpoint::{Connection, Connector, clock};
use crate::loadgen::Limits;
use crate::trial::{Outcome, RawRow};

/// How often rows are handed over and flags are looked at.
const TICK: Duration = Duration::from_millis(20);
/// How often a pacer looks for a body that is not built yet.
const STARVED_NS: u64 = 200_000;
/// How often a shard that has sent everything looks whether all is answered.
const DRAIN_LOOK_NS: u64 = 10_000_000;

/// Connections that are opened at a time before the start.
const OPEN_AT_ONCE: usize = 32;
/// How long they may delay the start: of a near endpoint, and of one where opening one takes long.
const OPENING_LIMIT: Duration = Duration::from_millis(150);
const OPENING_LIMIT_FAR: Duration = Duration::from_secs(3);
/// Such an endpoint is given the time of so many batches.
const OPENING_BATCHES: u32 = 20;

/// What all shards are told.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// Send no more.
    pub(super) stop: AtomicBool,
    /// Give up what is still open.
    pub(super) abort: AtomicBool,
    /// Tokens that have come so far, of all requests.
    pub(super) tokens: AtomicU64,
    /// Requests of which a token has come.
    pub(super) started: AtomicU64,
}

/// What a shard tells.
pub(super) enum Report {
    /// Ready to start.
    Ready,
    /// Finished requests.
    Rows(Vec<RawRow>),
    /// It sends no more.
    AllSent {
        /// When it was told to stop, nanoseconds since the start; `None` where everything was sent.
        stopped_ns: Option<u64>,
    },
    /// It is over.
    Done,
    /// It cannot go on.
    Failed(io::Error),
}

/// The start of a trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    /// On the monotonic clock.
    pub(super) at_ns: u64,
    /// Wall clock minus monotonic clock.
    pub(super) wall_offset_ns: i64,
}

/// What a shard is made from.
pub(super) struct Plan {
    /// Opens connections.
    pub(super) connector: Connector,
    /// Head of every request.
    pub(super) template: Template,
    /// Time limits.
    pub(super) limits: Limits,
    /// Connections to open before the start; `None` to open one for every request.
    pub(super) connections: Option<usize>,
    /// Most open requests: a bound on file descriptors, not a means of pacing.
    pub(super) cap: usize,
    /// Longest time for which received data may wait to be read, nanoseconds.
    pub(super) rest_ns: u64,
    /// Bodies.
    pub(super) source: Batches,
    /// Flags.
    pub(super) control: Arc<Control>,
    /// Where reports go.
    pub(super) reports: Sender<Report>,
}

/// The state of a shard; lives on its thread.
pub(super) struct Shard {
    pub(super) connector: Connector,
    pub(super) template: Template,
    pub(super) limits: Limits,
    pub(super) keys: Keys,
    /// Requests under way.
    pub(super) open: Cell<usize>,
    start: Cell<Start>,
    idle: RefCell<Vec<Connection>>,
    reuse: bool,
    cap: usize,
    queue: RefCell<VecDeque<Prepared>>,
    source: Batches,
    exhausted: Cell<bool>,
    rows: RefCell<Vec<RawRow>>,
    control: Arc<Control>,
    reports: Sender<Report>,
}

/// What the pacer waits for.
enum Next {
    /// The next send, at this time since the start.
    At(u64),
    /// Its body is not built yet.
    Starved,
    /// Nothing is left.
    Over,
}

/// Runs a shard to its end on the present thread.
pub(super) fn run(plan: Plan, start: &Receiver<Start>) {
    let reports = plan.reports.clone();
    let report = match conduct(plan, start) {
        Ok(()) => Report::Done,
        Err(error) => Report::Failed(error),
    };
    // The receiver is gone only when the whole trial was given up.
    let _ = reports.send(report);
}

fn conduct(plan: Plan, start: &Receiver<Start>) -> io::Result<()> {
    // Timers fire up to 50 microseconds late by default, so that wake-ups can be joined. Not here.
    let _ = nix::sys::prctl::set_timerslack(1);
    let rest = Arc::new(Rest::new(plan.rest_ns));
    let at_park = Arc::clone(&rest);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(31)
        .on_thread_park(move || at_park.take())
        .build_local(tokio::runtime::LocalOptions::default())?;
    let connections = plan.connections.unwrap_or(0);
    let zero = Start {
        at_ns: 0,
        wall_offset_ns: 0,
    };
    let shard = Rc::new(Shard {
        connector: plan.connector,
        template: plan.template,
        limits: plan.limits,
        keys: Keys::default(),
        open: Cell::new(0),
        start: Cell::new(zero),
        idle: RefCell::default(),
        reuse: plan.connections.is_some(),
        cap: plan.cap,
        queue: RefCell::default(),
        source: plan.source,
        exhausted: Cell::new(false),
        rows: RefCell::default(),
        control: plan.control,
        reports: plan.reports,
    });
    let outcome = runtime.block_on(async {
        shard.open_ahead(connections).await;
        let _ = shard.reports.send(Report::Ready);
        // Nothing else runs on this thread before the start.
        let Ok(at) = start.recv() else { return Ok(()) };
        shard.start.set(at);
        let pacer = Pacer::new(rest)?;
        let ticker = tokio::task::spawn_local(tick(Rc::clone(&shard)));
        let stopped_ns = shard.pace(&pacer).await?;
        let _ = shard.reports.send(Report::AllSent { stopped_ns });
        while shard.open.get() > 0 && !shard.control.abort.load(Ordering::Relaxed) {
            pacer.wait_until(clock::monotonic_ns() + DRAIN_LOOK_NS).await?;
        }
        ticker.abort();
        Ok(())
    });
    // Requests that are still under way are dropped with the runtime and leave their rows.
    drop(runtime);
    shard.hand_over();
    outcome
}

/// Opens a connection for later.
async fn open_one(shard: Rc<Shard>) {
    if let Ok(connection) = shard.connector.connect().await {
        shard.idle.borrow_mut().push(connection);
    }
}

/// Hands rows over at intervals.
async fn tick(shard: Rc<Shard>) {
    let mut interval = tokio::time::interval(TICK);
    loop {
        interval.tick().await;
        shard.hand_over();
    }
}

impl Shard {
    /// Counts tokens that came in one piece; `first` tells that they are the first of their request.
    pub(super) fn count(&self, tokens: u32, first: bool) {
        if tokens > 0 {
            self.control
                .tokens
                .fetch_add(u64::from(tokens), Ordering::Relaxed);
            self.control
                .started
                .fetch_add(u64::from(first), Ordering::Relaxed);
        }
    }

    /// Opens connections before the start, some at a time. What is not open in time goes on opening, and what cannot be
    /// opened is tried again by the request that needs it.
    async fn open_ahead(self: &Rc<Self>, count: usize) {
        let begun = tokio::time::Instant::now();
        let mut patience = OPENING_LIMIT;
        let mut left = count;
        while left > 0 && begun.elapsed() < patience {
            // The first alone: it tells how long one takes.
            let batch = if left == count { 1 } else { left.min(OPEN_AT_ONCE) };
            let opening: Vec<_> = (0..batch)
                .map(|_| tokio::task::spawn_local(open_one(Rc::clone(self))))
                .collect();
            let all = async {
                for one in opening {
                    // A task that panicked has said so.
                    let _ = one.await;
                }
            };
            let _ = tokio::time::timeout_at(begun + patience, all).await;
            if left == count {
                patience = patience.max((begun.elapsed() * OPENING_BATCHES).min(OPENING_LIMIT_FAR));
            }
            left -= batch;
        }
    }

    /// Sends every request at its time; returns when it was stopped, if it was.
    async fn pace(self: &Rc<Self>, pacer: &Pacer) -> io::Result<Option<u64>> {
        while !self.control.stop.load(Ordering::Relaxed) {
            let now = clock::monotonic_ns();
            let wake = match self.next() {
                Next::Over => return Ok(None),
                Next::Starved => now + STARVED_NS,
                Next::At(due) if self.absolute(due) <= now => {
                    self.fire_due(now);
                    // Answers are read between two late sends, or a client in arrears would starve them.
                    tokio::task::yield_now().await;
                    continue;
                }
                Next::At(due) => self.absolute(due),
            };
            pacer.wait_until(wake.min(now + TICK.as_nanos() as u64)).await?;
        }
        let now = clock::monotonic_ns();
        self.leave_overdue(now);
        Ok(Some(self.since_start(now)))
    }

    /// The next request's time.
    fn next(&self) -> Next {
        loop {
            if let Some(front) = self.queue.borrow().front() {
                return Next::At(front.planned.intended_ns);
            }
            if self.exhausted.get() {
                return Next::Over;
            }
            match self.source.try_recv() {
                Ok(batch) => self.queue.borrow_mut().extend(batch),
                Err(TryRecvError::Empty) => return Next::Starved,
                Err(TryRecvError::Disconnected) => self.exhausted.set(true),
            }
        }
    }

    /// Sends what is due at `now_ns` (monotonic): each request is written at once, then left to the runtime.
    pub(super) fn fire_due(self: &Rc<Self>, now_ns: u64) {
        while let Next::At(due) = self.next() {
            if self.absolute(due) > now_ns || self.control.stop.load(Ordering::Relaxed) {
                return;
            }
            let Some(prepared) = self.queue.borrow_mut().pop_front() else {
                return;
            };
            if self.open.get() >= self.cap {
                self.not_sent(
                    &prepared,
                    "the client ran out of file descriptors: raise `ulimit -n`",
                );
                continue;
            }
            let mut flight = Box::pin(fly(Rc::clone(self), prepared));
            // The first step writes the request; it is not left to wait behind other tasks.
            let first = flight.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            if first.is_pending() {
                tokio::task::spawn_local(flight);
            }
        }
    }

    /// After a stop: requests whose time had come but that were never sent are the client's fault, and told.
    fn leave_overdue(&self, now: u64) {
        while let Next::At(due) = self.next() {
            if self.absolute(due) + STARVED_NS > now {
                return;
            }
            if let Some(prepared) = self.queue.borrow_mut().pop_front() {
                self.not_sent(&prepared, "the trial was stopped while this request was overdue");
            }
        }
    }

    fn not_sent(&self, prepared: &Prepared, why: &str) {
        self.record(RawRow {
            i: prepared.index,
            class: prepared.planned.class,
            intended_ns: prepared.planned.intended_ns,
            input_asked: prepared.planned.input_tokens,
            output_asked: prepared.planned.output_tokens,
            error: Some(why.to_owned()),
            outcome: Outcome::NotSent.to_string(),
            ..RawRow::default()
        });
    }

    /// The connection that was used last and is still open.
    pub(super) fn take_idle(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle.borrow_mut().pop()?;
            if connection.is_reusable() {
                return Some(connection);
            }
        }
    }

    /// Takes a connection back, if the answer came to its end and it can be used again.
    pub(super) fn give_back(&self, mut connection: Connection, whole: bool) {
        if whole && self.reuse && connection.is_reusable() {
            self.idle.borrow_mut().push(connection);
        }
    }

    /// Nanoseconds from the start of the trial to a monotonic time.
    pub(super) fn since_start(&self, at_ns: u64) -> u64 {
        at_ns.saturating_sub(self.start.get().at_ns)
    }

    /// The monotonic time of a time since the start.
    pub(super) fn absolute(&self, since_start_ns: u64) -> u64 {
        self.start.get().at_ns + since_start_ns
    }

    /// The monotonic time of a kernel stamp; `None` where there is none.
    pub(super) fn kernel_time(&self, wall_ns: u64) -> Option<u64> {
        (wall_ns > 0).then(|| (wall_ns as i64 - self.start.get().wall_offset_ns).max(0) as u64)
    }

    /// Keeps a row until the next tick.
    pub(super) fn record(&self, row: RawRow) {
        self.rows.borrow_mut().push(row);
    }

    fn hand_over(&self) {
        let rows = self.rows.take();
        if !rows.is_empty() {
            let _ = self.reports.send(Report::Rows(rows));
        }
    }
}
