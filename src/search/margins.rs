//! The search for the most load that meets an objective, from the margins of all trials.
//!
//! A bracket is found in steps of a factor of two, up or down. Then the belief about the capacity, from every trial and its
//! margin, says where the next trial tells most: at the median, until the 95 % interval is narrow enough. What is stored of
//! earlier searches counts as any other trial, see [`Margins::learn`].

mod belief;
#[cfg(test)]
mod tests;

use belief::Belief;

use super::{Answer, Bracket, Goal, Left, Observed, Prior, Probe, Search, Status, Step};
use crate::criterion::Ruling;
use crate::trial::Estimate;
use crate::units::Rate;

/// Largest factor between rates until one passes and one fails.
const STEP: f64 = 2.0;
/// The 90 % quantile of a normal distribution, in standard deviations.
const NINE_IN_TEN: f64 = 1.28;
/// Trials at a rate that do not tell, after which it is not tried again.
const PATIENCE: usize = 2;
/// Trials at the answer without which a narrow interval is not believed: what lies far off says how steep the response would
/// have to be, not that it is.
const NEAR: usize = 6;
/// Said where verdicts contradict one another.
const CROSSED: &str = "; a rate failed below one that passed";
/// Tolerances from the median to where a trial that was learned of still counts as one of this search.
const OWN: f64 = 3.0;

/// Where a search begins and when it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarginsConfig {
    /// First rate, where nothing is expected.
    pub start: Rate,
    /// What is expected: the first rate is one that passes if that is right, nine times in ten, and the second one that fails.
    pub expected: Option<Prior>,
    /// Most trials; of those learned of only the ones near the answer count.
    pub limit: u32,
    /// Half width of the 95 % interval, as a share of the capacity, that is narrow enough.
    pub tolerance: f64,
    /// Nothing is searched below this rate.
    pub lowest: Rate,
    /// Nor above this one, where there is a limit.
    pub highest: Option<Rate>,
}

/// What a trial says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Evidence {
    /// The rate that was asked for.
    asked: Rate,
    /// Logarithm of the rate that was offered.
    x: f64,
    /// Logarithm of bound over observed value.
    margin: Estimate,
    ruling: Ruling,
}

/// The search.
#[derive(Clone, Debug)]
pub struct Margins {
    config: MarginsConfig,
    seen: Vec<Evidence>,
    trials: u32,
    /// What is believed by now; nothing until a rate passed and one failed.
    belief: Option<Belief>,
    next: Step,
}

impl Margins {
    /// A search that has seen nothing.
    pub fn new(config: MarginsConfig) -> Self {
        let mut search = Self {
            config,
            seen: Vec::new(),
            trials: 0,
            belief: None,
            next: Step::Done(Answer {
                rate: None,
                low: None,
                high: None,
                status: Status::Undecided,
                reason: String::new(),
                termination_code: String::new(),
                confirmed_s: None,
            }),
        };
        search.next = search.decide();
        search
    }

    /// Learns of trials that are stored: they count as any others, but not towards the limit.
    pub fn learn<'a>(&mut self, seen: impl IntoIterator<Item = Observed<'a>>) {
        for seen in seen {
            self.take(&seen);
        }
        self.reconsider();
    }

    /// Ends it with what is known.
    pub fn end(&mut self, reason: &str) {
        if !matches!(self.next, Step::Done(_)) {
            self.next = self.done(reason);
        }
    }

    fn take(&mut self, seen: &Observed<'_>) {
        let sign = match seen.verdict.ruling {
            Ruling::Sustainable => 1.0,
            Ruling::Unsustainable => -1.0,
            Ruling::Unsure => 0.0,
        };
        let by_sign = Estimate {
            value: sign,
            low: sign - 1.0,
            high: sign + 1.0,
        };
        let evidence = Evidence {
            asked: seen.probe.rate,
            x: seen.offered.as_per_minute().max(f64::MIN_POSITIVE).ln(),
            margin: seen.verdict.margin.unwrap_or(by_sign),
            ruling: seen.verdict.ruling,
        };
        // Kept in an order of their own, whatever the order in which they came.
        let key = |e: &Evidence| (e.x.to_bits(), e.margin.value.to_bits());
        let place = self.seen.partition_point(|other| key(other) < key(&evidence));
        self.seen.insert(place, evidence);
    }

    /// Logarithm of the highest rate that passed.
    fn passed(&self) -> Option<f64> {
        self.ruled(Ruling::Sustainable).reduce(f64::max)
    }

    /// Logarithm of the lowest rate that failed.
    fn failed(&self) -> Option<f64> {
        self.ruled(Ruling::Unsustainable).reduce(f64::min)
    }

    fn ruled(&self, ruling: Ruling) -> impl Iterator<Item = f64> {
        let of = move |e: &&Evidence| e.ruling == ruling;
        self.seen.iter().filter(of).map(|e| e.x)
    }

    fn reconsider(&mut self) {
        self.belief = (self.passed().is_some() && self.failed().is_some()).then(|| Belief::of(&self.seen));
        self.next = self.decide();
    }

    fn decide(&self) -> Step {
        let mut limited = self.trials >= self.config.limit;
        let Some(belief) = self.belief else {
            return match self.ramp() {
                Ok(rate) if self.tells_nothing_at(rate) => {
                    self.done("trials at the next rate do not tell; give them more time, or fewer requests")
                }
                Ok(_) if limited => self.done("the limit of trials was reached"),
                Ok(rate) => self.probe(rate, 1),
                Err(reason) => self.done(reason),
            };
        };
        let reach = OWN * self.config.tolerance;
        let own = self.seen.iter().filter(|e| (e.x - belief.median).abs() <= reach);
        let own = own.count();
        if belief.half_width() <= self.config.tolerance && own >= NEAR {
            return self.done("the interval is narrow enough");
        }
        // As many at the answer as a search may take are as good as a search. However wide the interval still is: other
        // objectives leave many trials in a wide one, and they need not tell much of this one.
        limited |= own as u32 >= self.config.limit;
        if limited {
            return self.done("the limit of trials was reached");
        }
        // A standard deviation off the median, on the side of which less is known: two rates tell how steep the response is, too.
        let known = |side: &dyn Fn(f64) -> bool| {
            let there = |e: &&Evidence| belief.is_near(e.x) && side(e.x);
            self.seen.iter().filter(there).count()
        };
        let (below, above) = (known(&|x| x < belief.median), known(&|x| x > belief.median));
        let x = if above < below { belief.upper } else { belief.lower };
        self.probe(Rate::per_minute(x.exp()).rounded(), 2)
    }

    /// Whether a rate was tried, and nothing came of it.
    fn tells_nothing_at(&self, rate: Rate) -> bool {
        let unsure = |e: &&Evidence| e.asked == rate && e.ruling == Ruling::Unsure;
        self.seen.iter().filter(unsure).count() >= PATIENCE
    }

    /// The next rate while only one side is known.
    fn ramp(&self) -> Result<Rate, &'static str> {
        let MarginsConfig { lowest, highest, .. } = self.config;
        let (start, step) = self.first();
        let at = |x: f64| Rate::per_minute(x.exp()).rounded();
        let bounded = |rate: Rate| highest.map_or(rate, |most| if most < rate { most } else { rate });
        match (self.passed(), self.failed()) {
            (Some(x), _) => {
                let next = bounded(at(x + step));
                if highest.is_some_and(|most| x >= most.as_per_minute().ln() - 1e-3) {
                    Err("the highest rate passes")
                } else {
                    Ok(next)
                }
            }
            (None, Some(x)) => {
                if x <= lowest.as_per_minute().ln() + 1e-3 {
                    Err("the lowest rate fails")
                } else {
                    let next = at(x - step);
                    Ok(if next < lowest { lowest } else { next })
                }
            }
            (None, None) => Ok(bounded(start)),
        }
    }

    /// The first rate, and the logarithm of the factor to the next one. With each trial that decides and does not end the ramp
    /// the factor is squared: an expectation that is wrong costs a trial or two.
    fn first(&self) -> (Rate, f64) {
        let MarginsConfig {
            start,
            expected,
            lowest,
            highest,
            ..
        } = self.config;
        let Some(prior) = expected else {
            return (start, STEP.ln());
        };
        let sd = prior.sd();
        let below = Rate::per_minute(prior.capacity.as_per_minute() * (-NINE_IN_TEN * sd).exp()).rounded();
        let first = match highest {
            Some(most) if most < below => most,
            _ if below < lowest => lowest,
            _ => below,
        };
        let decided = self.seen.iter().filter(|e| e.ruling != Ruling::Unsure).count();
        let step = 2.0 * NINE_IN_TEN * sd * 2f64.powi(decided.saturating_sub(1).min(10) as i32);
        (first, step.min(STEP.ln()))
    }

    fn probe(&self, rate: Rate, stage: u8) -> Step {
        let before = self.seen.iter().filter(|e| e.asked == rate).count();
        Step::Probe(Probe {
            rate,
            stage,
            attempt: before as u32,
            pooled: false,
            goal: Goal::Decide,
            duration_s: None,
        })
    }

    fn done(&self, reason: &str) -> Step {
        let (passed, failed) = (self.passed(), self.failed());
        let at = |x: f64| Rate::per_minute(x.exp());
        let mut reason = reason.to_owned();
        if let (Some(passed), Some(failed)) = (passed, failed)
            && passed > failed
            && !reason.ends_with(CROSSED)
        {
            reason.push_str(CROSSED);
        }
        let (rate, low, high) = match self.belief {
            Some(belief) => {
                let rate = at(belief.median).rounded();
                let (low, high) = (at(belief.low), at(belief.high));
                // What is rounded may lie beside a narrow interval.
                let low = if rate < low { rate } else { low };
                let high = if high < rate { rate } else { high };
                (Some(rate), Some(low), Some(high))
            }
            None => (passed.map(at), passed.map(at), failed.map(at)),
        };
        Step::Done(Answer {
            rate,
            low,
            high,
            status: match (passed, failed) {
                (Some(_), Some(_)) => Status::Bracketed,
                (Some(_), None) => Status::LowerBoundOnly,
                (None, Some(_)) => Status::UpperBoundOnly,
                (None, None) => Status::Undecided,
            },
            reason,
            termination_code: String::new(),
            confirmed_s: None,
        })
    }
}

impl Search for Margins {
    fn next(&self) -> Step {
        self.next.clone()
    }

    fn observe(&mut self, seen: &Observed<'_>) {
        self.trials += 1;
        self.take(seen);
        self.reconsider();
    }

    fn bracket(&self) -> Bracket {
        let rate = |x: f64| Rate::per_minute(x.exp());
        let (passed, failed) = (self.passed(), self.failed());
        Bracket {
            stage: if self.belief.is_some() { 2 } else { 1 },
            largest_true: passed.map(rate),
            smallest_false: failed.map(rate),
            distance: passed.zip(failed).map(|(m, big_m)| big_m.exp() - m.exp()),
            relative_distance: None,
        }
    }

    fn left(&self) -> Left {
        if matches!(self.next, Step::Done(_)) {
            return Left::default();
        }
        let most = self.config.limit.saturating_sub(self.trials).max(1);
        // The interval narrows with the root of the trials in it; a bracket takes some three trials.
        let likely = self.belief.map_or(6.0, |belief| {
            2.0 * (belief.half_width() / self.config.tolerance).log2().max(0.5)
        });
        Left {
            likely: (likely.ceil() as u32).clamp(1, most),
            most,
        }
    }
}
