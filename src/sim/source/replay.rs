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
    ///
    /// # Errors
    /// If the rate is not above zero, or the trace has no arrivals that a rate can be told from.
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
    ///
    /// # Errors
    /// If the trace is empty, has no arrivals where they are asked for, or the pacing is wrong.
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
                let at = self.trace.arrivals[turn] + Time::from_ps(laps.saturating_mul(lap.as_ps()));
                Time::from_ps((at.as_ps() as f64 * *time_scale).round() as u64)
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

#[cfg(test)]
mod tests {
    use super::super::TraceFormat;
    use super::*;

    fn trace() -> Arc<Trace> {
        let text = "arrived_at,num_prefill_tokens,num_decode_tokens,session_id\n0,10,1,a\n1,20,2,b\n4,30,3,a\n6,40,4,c\n";
        Arc::new(Trace::read(text.as_bytes(), TraceFormat::Csv, "t.csv").unwrap())
    }

    fn all(order: Order, pacing: &Pacing, count: Option<u64>, seed: u64) -> Vec<Request> {
        let mut replay = Replay::new(trace(), order, pacing, count, seed).unwrap();
        let requests: Vec<_> = std::iter::from_fn(|| {
            let announced = replay.peek();
            let request = replay.next();
            assert_eq!(announced, request.map(|r| r.arrival));
            request
        })
        .collect();
        assert!(requests.is_sorted_by_key(|r| r.arrival));
        assert!(requests.iter().enumerate().all(|(i, r)| r.id == i as u64));
        requests
    }

    fn seconds(requests: &[Request]) -> Vec<f64> {
        requests.iter().map(|r| r.arrival.as_seconds()).collect()
    }

    fn inputs(requests: &[Request]) -> Vec<u32> {
        requests.iter().map(|r| r.input_tokens).collect()
    }

    const OWN: Pacing = Pacing::Recorded { time_scale: 1.0 };

    #[test]
    fn a_record_is_played_as_it_is() {
        let requests = all(Order::Recorded, &OWN, None, 1);
        assert_eq!(seconds(&requests), [0.0, 1.0, 4.0, 6.0]);
        assert_eq!(inputs(&requests), [10, 20, 30, 40]);
        assert_eq!(requests[2].session, Some(0));
        assert_eq!(requests[2].output_tokens, 3);
        let slow = Pacing::Recorded { time_scale: 2.5 };
        assert_eq!(seconds(&all(Order::Recorded, &slow, Some(2), 1)), [0.0, 2.5]);
        let fast = Pacing::recorded_at(&trace(), 2.0).unwrap();
        assert_eq!(
            seconds(&all(Order::Recorded, &fast, None, 1)),
            [0.0, 0.25, 1.0, 1.5]
        );
    }

    #[test]
    fn asked_for_more_it_starts_again_and_says_so() {
        let requests = all(Order::Recorded, &OWN, Some(6), 1);
        assert_eq!(seconds(&requests), [0.0, 1.0, 4.0, 6.0, 8.0, 9.0]);
        assert_eq!(inputs(&requests), [10, 20, 30, 40, 10, 20]);
        let repeated = |count| {
            let replay = Replay::new(trace(), Order::Recorded, &OWN, count, 1).unwrap();
            replay.repeated()
        };
        assert_eq!((repeated(Some(6)), repeated(Some(3)), repeated(None)), (2, 0, 0));
    }

    #[test]
    fn two_rates_are_the_same_arrivals_stretched() {
        for gaps in [
            Gaps::Poisson,
            Gaps::ClippedPoisson,
            Gaps::Gamma { cv: 2.0 },
            Gaps::Constant,
        ] {
            let at = |rate| {
                let pacing = Pacing::Gaps {
                    gaps: gaps.clone(),
                    rate,
                };
                all(Order::Shuffled, &pacing, Some(500), 8)
            };
            let (slow, fast) = (at(0.5), at(4.0));
            assert_eq!(inputs(&slow), inputs(&fast));
            for (s, f) in slow.iter().zip(&fast) {
                assert!(s.arrival.as_ps().abs_diff(8 * f.arrival.as_ps()) <= 8);
            }
        }
    }

    #[test]
    fn shuffled_takes_each_once_a_round_and_drawn_does_not() {
        let mut firsts = std::collections::HashSet::new();
        for seed in 0..50 {
            let shuffled = inputs(&all(Order::Shuffled, &OWN, Some(8), seed));
            assert_eq!(shuffled[..4], shuffled[4..]);
            firsts.insert(shuffled[..4].to_vec());
            let mut once = shuffled[..4].to_vec();
            once.sort_unstable();
            assert_eq!(once, [10, 20, 30, 40]);
        }
        assert!(firsts.len() > 12, "{}", firsts.len());
        let drawn = inputs(&all(Order::Drawn, &OWN, Some(4_000), 1));
        assert_ne!(drawn[..4], drawn[4..8]);
        let tens = drawn.iter().filter(|i| **i == 10).count();
        assert!(tens.abs_diff(1_000) < 120, "{tens}");
    }

    #[test]
    fn what_cannot_be_played_is_refused() {
        let text = "num_prefill_tokens,num_decode_tokens\n1,2\n";
        let bare = Arc::new(Trace::read(text.as_bytes(), TraceFormat::Csv, "bare.csv").unwrap());
        let error = Replay::new(Arc::clone(&bare), Order::Recorded, &OWN, None, 1).unwrap_err();
        assert!(
            error.to_string().contains("bare.csv records no arrivals"),
            "{error}"
        );
        assert!(Pacing::recorded_at(&bare, 1.0).is_err());
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let gaps = Gaps::Poisson;
            let pacing = Pacing::Gaps { gaps, rate };
            let error = Replay::new(Arc::clone(&bare), Order::Recorded, &pacing, None, 1).unwrap_err();
            assert!(error.to_string().starts_with("`rate` is"), "{error}");
        }
        let empty = Arc::new(Trace::default());
        let error = Replay::new(empty, Order::Recorded, &OWN, None, 1).unwrap_err();
        assert!(matches!(error, SourceError::Empty { .. }));
    }
}
