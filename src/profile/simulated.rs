//! A simulated deployment: lone prompts in virtual time.

use std::sync::Arc;

use super::{ProfileError, Subject};
use crate::deployment::BuiltCluster;
use crate::loadgen::native::{LoneAnswer, LoneTime};
use crate::sim::cluster::simulate;
use crate::sim::{Observer, PrefixSpan, PrefixTable, Record, Request, Source, Time};
use crate::store::prefill::IdleBy;

/// A simulated deployment.
pub struct SimulatedSubject {
    built: BuiltCluster,
}

impl SimulatedSubject {
    /// A cluster; each prompt meets it empty.
    pub fn new(mut built: BuiltCluster) -> Self {
        // Replicas are alike, and the others would have nothing to do.
        built.config.replicas = 1;
        Self { built }
    }

    /// Longest request, prompt and response, in tokens.
    pub fn max_model_len(&self) -> u32 {
        self.built.config.engine.max_model_len
    }
}

/// One request.
struct Lone(Option<Request>);

impl Source for Lone {
    fn peek(&mut self) -> Option<Time> {
        self.0.map(|request| request.arrival)
    }

    fn next(&mut self) -> Option<Request> {
        self.0.take()
    }
}

/// The time of its first token, seconds.
#[derive(Default)]
struct FirstToken(Option<f64>);

impl Observer for FirstToken {
    fn request(&mut self, record: &Record) {
        self.0 = Some(record.ttft());
    }
}

impl Subject for SimulatedSubject {
    fn ask(&mut self, tokens: u32, salt: u64) -> Result<LoneAnswer, ProfileError> {
        let mut lone = Lone(Some(Request {
            id: 0,
            arrival: Time::ZERO,
            input_tokens: tokens,
            output_tokens: 1,
            session: None,
            deadline: Time::MAX,
            prefix: PrefixSpan::default(),
        }));
        // Noise is drawn anew for each request.
        self.built.config.seed = salt;
        let mut first = FirstToken::default();
        let prefixes = Arc::new(PrefixTable::default());
        simulate(&self.built.config, &mut lone, &prefixes, Time::MAX, &mut first);
        Ok(match first.0 {
            Some(seconds) => LoneAnswer::Token(LoneTime {
                seconds,
                prompt_tokens: Some(tokens),
                cached_tokens: None,
            }),
            None => {
                LoneAnswer::Refused("it is longer than max_model_len, or than the whole KV cache".to_owned())
            }
        })
    }

    fn present(&mut self) -> Option<f64> {
        None
    }

    fn alive(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn idle_otherwise(&self) -> IdleBy {
        IdleBy::Simulated
    }
}
