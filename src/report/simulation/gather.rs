//! The observer of a simulated cluster.

use std::io::Write;

use super::chrome_trace::ChromeTrace;
use super::requests::RequestRows;
use super::spread::Spread;
use super::timeline::Timeline;
use crate::sim::cluster::ClusterConfig;
use crate::sim::{Iteration, Observer, Record, Request, Source, Time};

/// Where single requests and batches are written to; both are left out unless wanted.
#[derive(Default)]
pub struct Writers {
    /// Rows of requests.
    pub requests: Option<RequestRows<Box<dyn Write>>>,
    /// Batches.
    pub trace: Option<ChromeTrace<Box<dyn Write>>>,
}

impl std::fmt::Debug for Writers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writers")
            .field("requests", &self.requests.is_some())
            .field("trace", &self.trace.is_some())
            .finish()
    }
}

/// What a replica did last, until it does something else.
#[derive(Clone, Copy, Debug)]
struct Doing {
    start: Time,
    end: Time,
    sequences: f64,
    kv: f64,
    waiting: f64,
}

/// Gathers what a run shows. Without `ITERATIONS` nothing is known of single batches: no curves over
/// time, no trace, and the run is faster by what they cost.
#[derive(Debug)]
pub struct Gather<const ITERATIONS: bool> {
    /// Times to the first token.
    pub ttft: Spread,
    /// Times per output token after the first.
    pub tpot: Spread,
    /// As Vidur divides it: by all output tokens.
    pub decode_normalized: Spread,
    /// Times from arrival to the last token.
    pub e2e: Spread,
    /// Times between two tokens of a request.
    pub tbt: Spread,
    /// Times from arrival to the first iteration.
    pub scheduling_delay: Spread,
    /// Responses that ended, over time.
    pub completions: Timeline,
    /// Sequences of a batch, over time, all replicas together.
    pub batch_size: Timeline,
    /// KV blocks in use, over time, all replicas together.
    pub kv_blocks: Timeline,
    /// Requests waiting at replicas, over time, all replicas together.
    pub waiting: Timeline,
    /// Prompt tokens of the requests that ended.
    pub input_tokens: u64,
    /// Their output tokens.
    pub output_tokens: u64,
    /// Requests that arrive before this do not count among the times.
    warm: Time,
    /// Whether one of those that count has ended: gaps count from there on.
    is_warm: bool,
    doing: Vec<Option<Doing>>,
    stages: u64,
    writers: Writers,
    failure: Option<std::io::Error>,
}

impl<const ITERATIONS: bool> Gather<ITERATIONS> {
    /// For a cluster.
    pub fn new(config: &ClusterConfig, writers: Writers) -> Self {
        Self {
            ttft: Spread::default(),
            tpot: Spread::default(),
            decode_normalized: Spread::default(),
            e2e: Spread::default(),
            scheduling_delay: Spread::default(),
            completions: Timeline::default(),
            batch_size: Timeline::default(),
            kv_blocks: Timeline::default(),
            waiting: Timeline::default(),
            input_tokens: 0,
            output_tokens: 0,
            tbt: Spread::default(),
            warm: Time::ZERO,
            is_warm: true,
            doing: vec![None; config.replicas as usize],
            stages: u64::from(config.engine.pipeline_stages),
            writers,
            failure: None,
        }
    }

    /// Ends the files, after the run.
    ///
    /// # Errors
    /// When a file could not be written, at any time of the run.
    pub fn finish(&mut self) -> std::io::Result<()> {
        for replica in 0..self.doing.len() {
            self.settle(replica, Time::MAX);
        }
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if let Some(rows) = self.writers.requests.take() {
            rows.finish()?;
        }
        if let Some(trace) = self.writers.trace.take() {
            trace.finish()?;
        }
        Ok(())
    }

    /// Books what a replica did until now.
    fn settle(&mut self, replica: usize, now: Time) {
        if let Some(doing) = self.doing[replica].take() {
            let end = doing.end.min(now);
            self.batch_size.hold(doing.start, end, doing.sequences);
            self.kv_blocks.hold(doing.start, end, doing.kv);
            self.waiting.hold(doing.start, end, doing.waiting);
        }
    }

    fn note(&mut self, result: std::io::Result<()>) {
        if let Err(error) = result {
            self.failure.get_or_insert(error);
        }
    }
}

impl<const ITERATIONS: bool> Gather<ITERATIONS> {
    /// Leaves the requests that arrive before `warm` out of the times.
    #[must_use]
    pub fn warmed(mut self, warm: Time) -> Self {
        (self.warm, self.is_warm) = (warm, warm == Time::ZERO);
        self
    }

    fn times(&mut self, record: &Record) {
        self.ttft.add(record.first_token - record.arrival);
        self.e2e.add(record.completed - record.arrival);
        self.scheduling_delay.add(record.first_scheduled - record.arrival);
        self.decode_normalized
            .add(Time::from_seconds(record.decode_normalized()));
        // A response of one token has no time per token.
        if record.output_tokens > 1 {
            self.tpot.add(Time::from_seconds(record.tpot()));
        }
    }
}

impl<const ITERATIONS: bool> Observer for Gather<ITERATIONS> {
    const ITERATIONS: bool = ITERATIONS;

    fn request(&mut self, record: &Record) {
        if record.arrival >= self.warm {
            self.is_warm = true;
            self.times(record);
        }
        self.completions.count(record.completed);
        self.input_tokens += u64::from(record.input_tokens);
        self.output_tokens += u64::from(record.output_tokens);
        if let Some(rows) = &mut self.writers.requests {
            let result = rows.add(record);
            self.note(result);
        }
    }

    fn iteration(&mut self, iteration: &Iteration) {
        if let Some(trace) = &mut self.writers.trace {
            let result = trace.add(iteration);
            self.note(result);
        }
        if iteration.stage > 0 {
            return;
        }
        let replica = iteration.replica as usize;
        self.settle(replica, iteration.start);
        let span = iteration.time.as_ps() * u64::from(iteration.count);
        self.doing[replica] = Some(Doing {
            start: iteration.start,
            // A pipeline holds the batch until its last stage has ended, unless the next one begins before.
            end: iteration.start + Time::from_ps(span.saturating_mul(self.stages)),
            sequences: f64::from(iteration.shape.sequences),
            kv: f64::from(iteration.kv_used),
            waiting: f64::from(iteration.waiting),
        });
    }

    fn gaps(&mut self, gap: Time, count: u64) {
        if self.is_warm {
            self.tbt.add_many(gap, count);
        }
    }
}

/// A source whose arrivals are counted on their way.
#[derive(Debug)]
pub struct Arrivals<S> {
    source: S,
    /// Arrivals over time.
    pub timeline: Timeline,
    /// The last one.
    pub last: Time,
}

impl<S: Source> Arrivals<S> {
    /// Counts those of a source.
    pub fn new(source: S) -> Self {
        Self {
            source,
            timeline: Timeline::default(),
            last: Time::ZERO,
        }
    }
}

impl<S: Source> Source for Arrivals<S> {
    fn peek(&mut self) -> Option<Time> {
        self.source.peek()
    }

    fn next(&mut self) -> Option<Request> {
        let request = self.source.next()?;
        self.timeline.count(request.arrival);
        self.last = request.arrival;
        Some(request)
    }

    fn closed_loop(&self) -> bool {
        self.source.closed_loop()
    }

    fn completed(&mut self, id: u64, at: Time) {
        self.source.completed(id, at);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sim::cost::BatchShape;

    pub(in super::super) fn record(id: u64, arrival: f64, first: f64, completed: f64) -> Record {
        Record {
            id,
            replica: 0,
            arrival: Time::from_seconds(arrival),
            first_scheduled: Time::from_seconds(arrival),
            first_token: Time::from_seconds(first),
            completed: Time::from_seconds(completed),
            input_tokens: 10,
            output_tokens: 5,
            cached_tokens: 0,
            execution: Time::from_seconds(completed - arrival),
            max_tbt: Time::ZERO,
            restarts: 0,
            session: None,
        }
    }

    pub(in super::super) fn iteration(start: f64, time: f64, count: u32) -> Iteration {
        let mut shape = BatchShape::default();
        shape.add_decode(100);
        shape.add_decode(200);
        Iteration {
            replica: 0,
            stage: 0,
            batch: 0,
            start: Time::from_seconds(start),
            time: Time::from_seconds(time),
            count,
            shape,
            kv_used: 20,
            waiting: 3,
        }
    }

    pub(in super::super) fn cluster() -> ClusterConfig {
        use crate::sim::batching::{Batching, QueueOrder};
        use crate::sim::cluster::EngineConfig;
        use crate::sim::cost::{CostModel, StageTime};
        #[derive(Debug)]
        struct Nothing;
        impl CostModel for Nothing {
            fn stage(&self, _: &BatchShape, _: bool) -> StageTime {
                StageTime::default()
            }
            fn steady(&self, _: &BatchShape) -> u32 {
                1
            }
        }
        ClusterConfig {
            replicas: 1,
            router: crate::sim::router::RouterConfig::RoundRobin,
            engine: EngineConfig {
                batching: Batching::VllmV1 { chunk_size: 512 },
                queue: QueueOrder::Fcfs,
                batch_size_cap: 128,
                pipeline_stages: 1,
                blocks: 100,
                block_tokens: 16,
                watermark: 0.01,
                preallocate_tokens: 64,
                prefix_caching: false,
                rules: crate::sim::cluster::Rules::default(),
                max_model_len: 4096,
            },
            replay: None,
            cost: std::sync::Arc::new(Nothing),
            seed: 0,
            noise: 0.0,
            stepwise: false,
        }
    }

    #[test]
    fn requests_and_iterations_are_booked() {
        let mut gather: Gather<true> = Gather::new(&cluster(), Writers::default());
        gather.iteration(&iteration(0.0, 0.5, 2));
        gather.iteration(&iteration(0.75, 0.5, 1));
        gather.gaps(Time::from_seconds(0.5), 4);
        gather.request(&record(0, 0.0, 0.5, 1.25));
        gather.finish().unwrap();
        let integral: f64 = gather.batch_size.sums().iter().sum();
        assert!(
            (integral - 2.5).abs() < 1e-9,
            "the first was cut short: {integral}"
        );
        assert!((gather.ttft.mean() - 0.5).abs() < 1e-12);
        assert_eq!(gather.tbt.count(), 4);
        assert_eq!((gather.input_tokens, gather.output_tokens), (10, 5));
    }

    #[test]
    fn a_full_disk_is_told_at_the_end() {
        #[derive(Debug)]
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::Error::from(std::io::ErrorKind::StorageFull))
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let writers = Writers {
            requests: None,
            trace: Some(ChromeTrace::new(Box::new(Full))),
        };
        let mut gather: Gather<true> = Gather::new(&cluster(), writers);
        gather.iteration(&iteration(0.0, 0.5, 1));
        assert!(gather.finish().is_err());
    }
}
