//! What comes out of a run.

use super::Time;
use super::cost::BatchShape;

/// One finished request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The request's number.
    pub id: u64,
    /// Who served it, at the last if it was restarted.
    pub replica: u32,
    /// When it reached the router.
    pub arrival: Time,
    /// Start of the first iteration with it.
    pub first_scheduled: Time,
    /// Its first token.
    pub first_token: Time,
    /// Its last token.
    pub completed: Time,
    /// Prompt length as asked.
    pub input_tokens: u32,
    /// Response length as asked.
    pub output_tokens: u32,
    /// Prompt tokens found in the prefix cache, of all admissions the last.
    pub cached_tokens: u32,
    /// Iterations' time that it took part in.
    pub execution: Time,
    /// Longest gap between two of its tokens.
    pub max_tbt: Time,
    /// How often it was preempted and computed anew.
    pub restarts: u32,
    /// The conversation that it belongs to.
    pub session: Option<u32>,
}

impl Record {
    /// Time to first token, in seconds.
    pub fn ttft(&self) -> f64 {
        (self.first_token - self.arrival).as_seconds()
    }

    /// Time from arrival to the last token, in seconds.
    pub fn e2e(&self) -> f64 {
        (self.completed - self.arrival).as_seconds()
    }

    /// Time from arrival to the first iteration, in seconds.
    pub fn scheduling_delay(&self) -> f64 {
        (self.first_scheduled - self.arrival).as_seconds()
    }

    /// Time per output token after the first, in seconds; zero for a response of one token.
    pub fn tpot(&self) -> f64 {
        (self.completed - self.first_token).as_seconds() / f64::from(self.output_tokens.max(2) - 1)
    }

    /// Time since the first token divided by *all* output tokens, in seconds: the quantity that Vidur names
    /// `decode_time_execution_plus_preemption_normalized`, slightly below [`tpot`](Self::tpot).
    pub fn decode_normalized(&self) -> f64 {
        (self.completed - self.first_token).as_seconds() / f64::from(self.output_tokens)
    }

    /// Time between its first and its last iteration in which it had none, in seconds.
    pub fn preempted(&self) -> f64 {
        (self.completed - self.first_scheduled - self.execution).as_seconds()
    }
}

/// Iterations of one pipeline stage: one, or several in a row that take equally long, each with one token more a
/// sequence than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iteration {
    /// Whose.
    pub replica: u32,
    /// Which pipeline stage.
    pub stage: u32,
    /// Numbers the batches of a replica in the order of their making.
    pub batch: u64,
    /// Start of the first.
    pub start: Time,
    /// Duration of each.
    pub time: Time,
    /// How many.
    pub count: u32,
    /// What the first held.
    pub shape: BatchShape,
    /// KV blocks in use.
    pub kv_used: u32,
    /// Requests waiting at the replica.
    pub waiting: u32,
}

/// Sees a run as it goes. Nothing of a run is kept but what its observer keeps.
pub trait Observer {
    /// Whether [`iteration`](Self::iteration) is wanted.
    const ITERATIONS: bool = false;
    /// Whether [`token`](Self::token) is wanted. It is told only where a cluster goes
    /// [stepwise](super::cluster::ClusterConfig::stepwise).
    const TOKENS: bool = false;

    /// A request has ended. They come in the order of completion of each replica, not of the cluster.
    fn request(&mut self, record: &Record);

    /// Iterations have ended.
    fn iteration(&mut self, _iteration: &Iteration) {}

    /// So many gaps between two tokens of a request were so long.
    fn gaps(&mut self, _gap: Time, _count: u64) {}

    /// A request, by its number, has a token at this time. What is computed again after a preemption gives no token again.
    fn token(&mut self, _request: u64, _at: Time) {}
}
