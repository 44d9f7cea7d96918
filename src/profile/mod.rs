//! How long a prompt takes on a server that has nothing else to do: one request at a time, several of each length, in
//! shuffled order, of a live endpoint or of a simulated deployment.

mod lengths;
mod live;
mod simulated;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use rand::seq::SliceRandom;

pub use lengths::{MOST_UNASKED, powers_of_two, spaced};
pub use live::LiveSubject;
pub use simulated::SimulatedSubject;

use crate::loadgen::native::{LoneAnswer, LoneTime, TrialFailure};
use crate::store::prefill::{Idle, IdleBy, PrefillMeasurement};
use crate::workload::seeds;

/// How long is waited for other requests to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// For so long a server may show our own request after its answer.
const LINGER: Duration = Duration::from_millis(500);
/// Pause between two looks at the queue.
const LOOK: Duration = Duration::from_millis(100);
/// Repeats of a length that differ by more than this share of their median are told.
const WIDE: f64 = 0.25;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The endpoint cannot be used.
    #[error(transparent)]
    Endpoint(#[from] TrialFailure),
    /// Others use it.
    #[error(
        "the server is busy: {present} other requests run or wait; profile it when nobody else uses it, or give \
         --allow-busy to measure all the same"
    )]
    Busy {
        /// Requests that run or wait.
        present: f64,
    },
    /// Not even the shortest prompt is answered.
    #[error(
        "the shortest prompt, of {tokens} tokens, is not answered: {why}; give shorter ones by --lengths"
    )]
    Shortest {
        /// Its length.
        tokens: u32,
        /// Why.
        why: String,
    },
    /// It went away.
    #[error(
        "the endpoint went away at a prompt of {tokens} tokens ({said}): {why}; give shorter prompts by --max"
    )]
    Gone {
        /// The prompt.
        tokens: u32,
        /// What came in place of an answer.
        said: String,
        /// What it says now.
        why: String,
    },
    /// The simulation cannot be.
    #[error(transparent)]
    Deployment(#[from] crate::deployment::DeploymentError),
}

/// What is profiled.
pub trait Subject {
    /// Sends one prompt and waits for the answer; equal salts give equal prompts.
    ///
    /// # Errors
    /// When it cannot be reached.
    fn ask(&mut self, tokens: u32, salt: u64) -> Result<LoneAnswer, ProfileError>;

    /// Requests that run or wait now; `None` where it does not tell.
    fn present(&mut self) -> Option<f64>;

    /// Whether it can still be reached; an error says why not.
    ///
    /// # Errors
    /// What it says.
    fn alive(&mut self) -> Result<(), String>;

    /// How it is known to be idle where it tells nothing of its queue.
    fn idle_otherwise(&self) -> IdleBy {
        IdleBy::Repeats
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Lengths in tokens.
    pub lengths: Vec<u32>,
    /// Requests of each.
    pub repeats: u32,
    /// Seeds the order and the prompts.
    pub seed: u64,
    /// Whether it is measured although others use the server.
    pub allow_busy: bool,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// In the order of sending.
    pub measurements: Vec<PrefillMeasurement>,
    /// Whether nobody else used the server.
    pub idle: Idle,
    /// Smallest length that was refused or failed at.
    pub refused: Option<u32>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Plan {
    /// The lengths in the order of sending.
    fn order(&self) -> Vec<u32> {
        let mut order: Vec<u32> = self
            .lengths
            .iter()
            .flat_map(|&length| std::iter::repeat_n(length, self.repeats as usize))
            .collect();
        order.shuffle(&mut seeds::stream(self.seed, "prefill order"));
        order
    }

    /// Carries it out; `progress` hears how many of how many requests are done.
    ///
    /// # Errors
    /// When nothing, or not all that should be, could be measured.
    pub fn measure(
        &self,
        subject: &mut dyn Subject,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Measured, ProfileError> {
        let by_metrics = subject.present().is_some();
        let mut session = Session {
            plan: self,
            subject,
            refused: None,
            busy_looks: 0,
            cached: (0, 0),
            notes: Vec::new(),
            sent: 0,
        };
        session.look()?;
        // Connections, kernels and caches of code are warm after it, and what the server does not know is left out.
        let shortest = self.lengths.iter().copied().min().unwrap_or(1);
        if let Err(why) = session.once(shortest)? {
            return Err(ProfileError::Shortest {
                tokens: shortest,
                why,
            });
        }
        let order = self.order();
        let mut measurements = Vec::with_capacity(order.len());
        for (done, &tokens) in order.iter().enumerate() {
            progress(done, order.len());
            measurements.extend(session.one(tokens)?);
        }
        progress(order.len(), order.len());
        let mut measured = Measured {
            idle: Idle {
                by: if by_metrics {
                    IdleBy::Metrics
                } else {
                    session.subject.idle_otherwise()
                },
                idle: session.busy_looks == 0,
                busy_looks: session.busy_looks,
            },
            refused: session.refused,
            notes: session.told(),
            measurements,
        };
        // Measured before a shorter one was refused: not what the server is meant for.
        if let Some(limit) = measured.refused {
            measured.measurements.retain(|m| m.asked_tokens < limit);
        }
        Ok(measured)
    }
}

impl Measured {
    /// Where the server tells nothing of its queue, repeats that differ much are taken for a sign of other users.
    pub fn judge_by_repeats(&mut self, typical: f64) {
        if self.idle.by == IdleBy::Repeats && typical > WIDE {
            self.idle.idle = false;
            self.notes.push(format!(
                "the repeats of a length differ by {:.0} % of their median: the server may not have been idle",
                typical * 100.0
            ));
        }
    }
}

/// A plan that is being carried out.
struct Session<'a> {
    plan: &'a Plan,
    subject: &'a mut dyn Subject,
    refused: Option<u32>,
    busy_looks: u32,
    /// Requests whose prompts were found in a cache, and the most tokens of one.
    cached: (u32, u32),
    notes: Vec<String>,
    /// Requests so far; numbers the prompts, so that no two are equal.
    sent: u64,
}

impl Session<'_> {
    /// Waits until nobody else uses the server.
    fn look(&mut self) -> Result<(), ProfileError> {
        let begun = Instant::now();
        loop {
            let present = self.subject.present().unwrap_or(0.0);
            let waited = begun.elapsed();
            if present <= 0.0 {
                // Our own request before may have been the one for a moment.
                self.busy_looks += u32::from(waited > LINGER);
                return Ok(());
            }
            if self.plan.allow_busy && waited > LINGER {
                self.busy_looks += 1;
                return Ok(());
            }
            if waited > PATIENCE {
                return Err(ProfileError::Busy { present });
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Sends a prompt of its own; the inner error says that it was refused or failed twice.
    fn once(&mut self, tokens: u32) -> Result<Result<LoneTime, String>, ProfileError> {
        let mut failed = None;
        loop {
            self.look()?;
            self.sent += 1;
            let salt = seeds::derive(self.plan.seed, &["prefill", &self.sent.to_string()]);
            match self.subject.ask(tokens, salt)? {
                LoneAnswer::Token(time) => return Ok(Ok(time)),
                LoneAnswer::Refused(why) => return Ok(Err(why)),
                LoneAnswer::Failed(said) => {
                    if let Err(why) = self.subject.alive() {
                        return Err(ProfileError::Gone { tokens, said, why });
                    }
                    if failed.is_some() {
                        return Ok(Err(said));
                    }
                    failed = Some(said);
                }
            }
        }
    }

    /// Measures one prompt, unless its length or a shorter one was refused.
    fn one(&mut self, tokens: u32) -> Result<Option<PrefillMeasurement>, ProfileError> {
        if self.refused.is_some_and(|limit| tokens >= limit) {
            return Ok(None);
        }
        let time = match self.once(tokens)? {
            Ok(time) => time,
            Err(why) => {
                self.refused = Some(tokens);
                self.notes
                    .push(format!("prompts of {tokens} tokens and more are left out: {why}"));
                return Ok(None);
            }
        };
        let cached = time.cached_tokens.unwrap_or(0);
        self.cached = (self.cached.0 + u32::from(cached > 0), self.cached.1.max(cached));
        Ok(Some(PrefillMeasurement {
            asked_tokens: tokens,
            tokens: time.prompt_tokens.filter(|n| *n > 0).unwrap_or(tokens),
            cached_tokens: time.cached_tokens,
            seconds: time.seconds,
        }))
    }

    /// The notes.
    fn told(&mut self) -> Vec<String> {
        let mut notes = std::mem::take(&mut self.notes);
        if self.busy_looks > 0 {
            notes.push(format!(
                "other requests were on the server at {} of {} looks",
                self.busy_looks, self.sent
            ));
        }
        let (prompts, tokens) = self.cached;
        if prompts > 0 {
            notes.push(format!(
                "the server had up to {tokens} tokens of {prompts} prompts in its prefix cache, and did not compute them; a \
                 chat template is there as a rule"
            ));
        }
        notes
    }
}
