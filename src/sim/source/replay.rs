//! Requests of a trace, with its own arrivals or others.

use std::sync::Arc;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::{SourceError, Trace, checked_rate};
use crate::sim::{Request, Source, Time};
use crate::workload::{GapStream, Gaps, seeds};

/// In which order the lengths, conversations and hashes of a trace are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As recorded, and from the start again when more are asked for.
    #[default]
    Recorded,
    /// Each once in an order drawn from the seed, and that order again when more are asked for: drawn without replacement.
    Shuffled,
    /// Each drawn from all: with replacement.
    Drawn,
}

/// When the requests arrive.
#[derive(Clone, Debug, PartialEq)]
pub enum Pacing {
    /// As recorded, every time multiplied by this. When more requests are asked for than there are, the record starts again,
    /// one mean gap after its last request.
    Recorded {
        /// Above one is slower.
        time_scale: f64,
    },
    /// By a process of arrivals.
    Gaps {
        /// The process.
        gaps: Gaps,
        /// Requests per second.
        rate: f64,
    },
}

impl Pacing {
    /// The record's own arrivals, stretched or compressed to this mean rate.
    pub fn recorded_at(trace: &Trace, rate: f64) -> Result<Self, SourceError> {
        let rate = checked_rate("rate", rate)?;
        let own = trace.rate().ok_or_else(|| SourceError::NoArrivals {
            name: trace.name().to_owned(),
        })?;
        Ok(Self::Recorded {
            time_scale: own / rate,
        })
    }
}

/// Requests of a trace. Many may share one: none copies it, and only [`Order::Shuffled`] takes 4 bytes a request.
#[derive(Clone, Debug)]
pub struct Replay {
    trace: Arc<Trace>,
    pick: Pick,
    clock: Clock,
    count: u64,
    given: u64,
    upcoming: Option<Request>,
}

#[derive(Clone, Debug)]
enum Pick {
    Recorded,
    Shuffled(Vec<u32>),
    Drawn(Box<Pcg64>),
}

#[derive(Clone, Debug)]
enum Clock {
    Recorded {
        time_scale: f64,
        lap: Time,
    },
    Gaps {
        gaps: Box<GapStream>,
        unit: f64,
        rate: f64,
    },
}

impl Replay {
    /// The first `count` requests, or each once without a count. The seed's stream `order` draws the order, `arrivals` the
    /// arrivals; block hashes are those of [`Trace::prefixes`].
    pub fn new(
        trace: Arc<Trace>,
        order: Order,
        pacing: &Pacing,
        count: Option<u64>,
        seed: u64,
    ) -> Result<Self, SourceError> {
        let named = || trace.name().to_owned();
        if trace.is_empty() {
            return Err(SourceError::Empty { name: named() });
        }
        let clock = match pacing {
            Pacing::Recorded { .. } if !trace.has_arrivals() => {
                return Err(SourceError::NoArrivals { name: named() });
            }
            &Pacing::Recorded { time_scale } => Clock::Recorded {
                time_scale: checked_rate("time_scale", time_scale)?,
                lap: trace.span() + Time::from_seconds(trace.rate().map_or(0.0, f64::recip)),
            },
            Pacing::Gaps { gaps, rate } => Clock::Gaps {
                gaps: Box::new(gaps.stream(seed)?),
                unit: 0.0,
                rate: checked_rate("rate", *rate)?,
            },
        };
        let mut draws = seeds::stream(seed, "order");
        let pick = match order {
            Order::Recorded => Pick::Recorded,
            Order::Drawn => Pick::Drawn(Box::new(draws)),
            Order::Shuffled => {
                let mut places: Vec<u32> = (0..trace.len() as u32).collect();
                places.shuffle(&mut draws);
                Pick::Shuffled(places)
            }
        };
        let count = count.unwrap_or(trace.len() as u64);
        let mut replay = Self {
            trace,
            pick,
            clock,
            count,
            given: 0,
            upcoming: None,
        };
        replay.upcoming = replay.make();
        Ok(replay)
    }

    /// How many of its requests repeat earlier ones, because more are asked for than the trace holds: with recorded hashes
    /// they hit the prefix cache in full.
    pub fn repeated(&self) -> u64 {
        self.count.saturating_sub(self.trace.len() as u64)
    }

    fn make(&mut self) -> Option<Request> {
        if self.given == self.count {
            return None;
        }
        let id = self.given;
        self.given += 1;
        let len = self.trace.len() as u64;
        let (laps, turn) = (id / len, (id % len) as usize);
        let place = match &mut self.pick {
            Pick::Recorded => turn,
            Pick::Shuffled(places) => places[turn] as usize,
            Pick::Drawn(draws) => draws.random_range(0..self.trace.len()),
        };
        let arrival = match &mut self.clock {
            Clock::Recorded { time_scale, lap } => {
                let at = Time::from_ps(self.trace.arrivals[turn].as_ps() + laps * lap.as_ps());
                scaled(at, *time_scale)
            }
            Clock::Gaps { gaps, unit, rate } => {
                *unit += gaps.draw();
                Time::from_seconds(*unit / *rate)
            }
        };
        let row = self.trace.row(place);
        Some(Request {
            id,
            arrival,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            session: row.session,
            deadline: Time::MAX,
            prefix: row.prefix,
        })
    }
}

/// A time multiplied; as it is by one.
fn scaled(at: Time, by: f64) -> Time {
    if by == 1.0 {
        at
    } else {
        Time::from_ps((at.as_ps() as f64 * by).round() as u64)
    }
}

impl Source for Replay {
    fn peek(&mut self) -> Option<Time> {
        self.upcoming.map(|r| r.arrival)
    }

    fn next(&mut self) -> Option<Request> {
        let request = self.upcoming.take();
        self.upcoming = self.make();
        request
    }
}
