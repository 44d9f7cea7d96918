//! What to do next, given all that is known.

use super::AdaptiveConfig;
use super::belief::Belief;
use super::evidence::Evidence;
use crate::criterion::Ruling;
use crate::units::{Plain, Rate};

/// Factor of the ramp.
const RAMP: f64 = 4.0;
/// Lowest rate that is tried, requests per minute.
const LOWEST: f64 = 1.0;
/// Highest: nobody sends more.
const HIGHEST: f64 = 1e7;
/// Shares of the full duration that a ramp probe and a locating probe may take, and their least in seconds.
const SHORT: (f64, f64) = (1.0 / 30.0, 20.0);
const MIDDLE: (f64, f64) = (1.0 / 6.0, 60.0);
/// How far above the belief's upper end the service is sure to be saturated.
const ABOVE: f64 = 1.035;
/// How far above it the last look is: near enough to tell a service that overload costs throughput.
const NEAR: f64 = 1.015;
/// A rate that fails is just above the belief's median up to here.
const JUST_ABOVE: f64 = 1.045;
/// Share of the belief's median from which on an unsure trial of full length speaks against the belief.
const NEARBY: f64 = 0.9;
/// How far up the next look is from one that held, where nothing up to here failed.
const UP: f64 = 1.03;
const BOUND: f64 = 1.1;
/// Wanted half width of the belief before the answer is confirmed, where count noise allows it.
const SHARP: f64 = 0.0175;
/// Least share of the full duration of the last look at the saturated service.
const PATIENCE: f64 = 2.0 / 15.0;
/// Half width of a belief that is worth a glance only.
const ROUGH: f64 = 0.04;
/// Width of a hint, as a share, that says too little.
const DULL: f64 = 0.08;
/// Rates that are so close, in logarithms, teach the same.
const AROUND: f64 = 0.05;
/// By how much longer than a trial that was too short the next ones are.
const LONGER: f64 = 2.0;
/// Share of the full duration beyond which no look is drawn out because those before told too little: a full-length trial at the answer
/// tells more.
const LONG: f64 = 1.0 / 3.0;
/// Most patient looks at the saturated service.
const LOOKS: usize = 3;
/// Most patient looks of all kinds near the capacity, where overload costs throughput.
const MOST_LOOKS: usize = 9;
/// Most load of all looks, in full durations.
const MOST_LOOKING: f64 = 1.5;
/// Full-length trials on both sides of the capacity that are so close are enough.
const BESIDE: f64 = 1.035;
/// Most load of a search, in full durations.
const MOST: f64 = 8.0;
/// Most load of an adaptive search, in full durations, the trial that goes beyond included.
pub const MOST_LOAD: f64 = MOST + 1.0;
/// The load after which an answer is given although no long trial bounds it from above.
const MOST_UNBOUND: f64 = 4.0;
/// The answer's distance below the median, in half widths.
const STEP: f64 = 0.68;
/// Most confirmations.
const CONFIRMATIONS: usize = 4;

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Plan {
    /// A short probe on the way up, or down.
    Ramp {
        rate: Rate,
        duration_s: f64,
        at_least_s: f64,
    },
    /// A probe that saturates the service, to learn what it finishes.
    Locate {
        rate: Rate,
        duration_s: f64,
        precision: f64,
        at_least_s: f64,
    },
    /// A full-length trial at the answer.
    Confirm { rate: Rate },
    /// There is no more to learn.
    Done(&'static str),
}

/// Everything known, and what follows from it.
pub(super) struct Standing<'a> {
    config: &'a AdaptiveConfig,
    evidence: &'a [Evidence],
    belief: Option<Belief>,
    /// Trials of this length were too short to tell, seconds.
    too_short_s: f64,
}

impl<'a> Standing<'a> {
    /// What is known, with the belief that follows from it.
    pub(super) fn new(
        config: &'a AdaptiveConfig,
        evidence: &'a [Evidence],
        belief: Option<Belief>,
        too_short_s: f64,
    ) -> Self {
        Self {
            config,
            evidence,
            belief,
            too_short_s,
        }
    }

    /// Requests of a full-length trial at the believed capacity.
    fn count(&self) -> f64 {
        let per_minute = self
            .belief
            .map_or(self.config.start.as_per_minute(), |b| b.median);
        (per_minute * self.config.duration_s / 60.0).max(1.0)
    }

    /// Half width that the belief should have: what is asked for, and not less than the counts of a trial can tell.
    fn sharp(&self) -> f64 {
        SHARP.max(1.0 / self.count().sqrt())
    }

    /// How far below the belief's median the answer lies, as a share: within the interval.
    pub(super) fn step(&self) -> f64 {
        let half = self.belief.map_or(0.05, |b| b.half_width());
        (STEP * self.sharp()).min(STEP * half)
    }

    /// The highest rate that was sustained for the whole duration and not refuted below.
    pub(super) fn confirmed(&self) -> Option<&Evidence> {
        let fits = |e: &&Evidence| e.full && e.held() && self.belief.is_none_or(|b| e.offered < b.high);
        self.evidence
            .iter()
            .filter(fits)
            .max_by(|a, b| a.offered.total_cmp(&b.offered))
    }

    /// The highest rate that was sustained in any time.
    pub(super) fn highest_held(&self) -> Option<Rate> {
        let held = self.evidence.iter().filter(|e| e.held());
        held.max_by(|a, b| a.offered.total_cmp(&b.offered))
            .map(|e| e.asked)
    }

    /// The lowest rate that was not sustained.
    pub(super) fn lowest_failed(&self) -> Option<Rate> {
        let failed = self.evidence.iter().filter(|e| e.failed());
        failed
            .min_by(|a, b| a.offered.total_cmp(&b.offered))
            .map(|e| e.asked)
    }

    /// Whether the interval is as narrow as was asked for.
    pub(super) fn is_narrow(&self) -> bool {
        self.belief
            .is_some_and(|b| self.config.stop.is_met(b.low, b.high))
    }

    /// What full-length trials said against the belief of their time.
    pub(super) fn contradiction(&self) -> Option<String> {
        let refuted = self.evidence.iter().filter(|e| e.confirming && e.failed());
        let lowest = refuted.min_by(|a, b| a.offered.total_cmp(&b.offered))?;
        Some(format!(
            "{} req/min was expected to hold by shorter trials and did not",
            Plain(lowest.asked.as_per_minute())
        ))
    }

    fn short_s(&self) -> f64 {
        (SHORT.0 * self.config.duration_s)
            .max(SHORT.1)
            .min(self.config.duration_s)
    }

    fn middle_s(&self) -> f64 {
        (MIDDLE.0 * self.config.duration_s)
            .max(MIDDLE.1)
            .min(self.config.duration_s)
    }

    pub(super) fn plan(&self) -> Plan {
        let saturated = self.evidence.iter().any(|e| e.hint.is_some());
        match self.belief {
            Some(belief) if saturated => self.near(&belief),
            Some(belief) if !self.evidence.iter().any(Evidence::failed) => self.expected(&belief),
            _ => self.ramp(),
        }
    }

    /// A prior, and no saturated trial yet: straight to where it should be saturated.
    fn expected(&self, belief: &Belief) -> Plan {
        let held = self.top_that_leans_to_hold();
        let from = belief.high.min(1.25 * belief.median);
        let rate = held.map_or(from, |held| from.max(1.25 * held));
        self.locate(rate.max(belief.median) * ABOVE)
    }

    fn top_that_leans_to_hold(&self) -> Option<f64> {
        let leaning = self.evidence.iter().filter(|e| e.leans_to_hold() == Some(true));
        leaning.map(|e| e.offered).max_by(f64::total_cmp)
    }

    fn ramp(&self) -> Plan {
        let failed = self.lowest_failed();
        let Some(top) = self
            .evidence
            .iter()
            .max_by(|a, b| a.asked.as_per_minute().total_cmp(&b.asked.as_per_minute()))
        else {
            return self.ramp_at(self.config.start.as_per_minute(), self.short_s());
        };
        if let Some(failed) = failed {
            // Failed without a word about the capacity: nothing finished at all, or nothing well.
            let rate = failed.as_per_minute();
            if rate <= LOWEST {
                return Plan::Done("not even 1 req/min is sustainable");
            }
            return match self.highest_held() {
                Some(held) if held.as_per_minute() < rate => {
                    let held = held.as_per_minute();
                    if self.config.stop.is_met(held, rate) {
                        return Plan::Done(
                            "the highest rate that held and the lowest that did not are close enough",
                        );
                    }
                    self.decide((held * rate).sqrt())
                }
                _ => self.decide((rate / RAMP).max(LOWEST)),
            };
        }
        let rate = top.asked.as_per_minute();
        let there = || self.evidence.iter().filter(|e| e.asked == top.asked);
        let longest = there().map(|e| e.load_s).fold(0.0, f64::max);
        // One that told nothing does not take back what another, shorter for being clear, told.
        let held = there().any(|e| e.leans_to_hold() == Some(true));
        if held || longest >= 0.9 * self.config.duration_s {
            if rate >= HIGHEST {
                return Plan::Done("it holds however fast the requests come");
            }
            return self.ramp_at(rate * RAMP, self.short_s());
        }
        // Too little came to tell anything, or it looks overloaded: longer at the same rate.
        self.ramp_at(rate, 3.0 * longest)
    }

    fn decide(&self, rate: f64) -> Plan {
        self.ramp_at(rate, self.config.duration_s)
    }

    fn ramp_at(&self, rate: f64, duration_s: f64) -> Plan {
        let at_least_s = LONGER * self.too_short_s;
        let least = self.short_s().max(at_least_s).min(self.config.duration_s);
        Plan::Ramp {
            rate: Rate::per_minute(rate).rounded(),
            duration_s: duration_s.clamp(least, self.config.duration_s),
            at_least_s,
        }
    }

    /// How long the last look at the saturated service takes at least: a cold start or a short pause shows in it.
    fn patience_s(&self) -> f64 {
        (PATIENCE * self.config.duration_s).max(LONGER * self.too_short_s)
    }

    /// Whether a trial lasted about that long.
    fn is_patient(&self, trial: &Evidence) -> bool {
        trial.load_s >= 0.9 * self.patience_s().min(self.config.duration_s)
    }

    /// A look at the saturated service: a glance while it is known by some percent only, then one that takes its time.
    fn locate(&self, rate: f64) -> Plan {
        let rough = self.belief.is_none_or(|b| b.half_width() > ROUGH);
        let at_least_s = if rough {
            LONGER * self.too_short_s
        } else {
            self.patience_s()
        };
        self.locate_for(rate, at_least_s)
    }

    fn locate_for(&self, rate: f64, at_least_s: f64) -> Plan {
        let rate = Rate::per_minute(rate).rounded();
        // What told too little in that time is looked at for longer.
        let asked = rate.as_per_minute();
        let dull = |e: &&Evidence| match e.hint {
            Some(hint) => hint.high - hint.low > DULL * hint.value || e.asked == rate,
            None => e.ruling == Ruling::Unsure && (e.asked.as_per_minute() / asked).ln().abs() < AROUND,
        };
        let before = self
            .evidence
            .iter()
            .filter(|e| e.load_s >= 0.9 * self.middle_s() && !e.full)
            .filter(dull);
        let told_too_little_s = before.map(|e| 2.0 * e.load_s).fold(0.0, f64::max);
        let longest_s = self
            .middle_s()
            .max(told_too_little_s.min(LONG * self.config.duration_s))
            .max(1.25 * at_least_s);
        Plan::Locate {
            rate,
            duration_s: longest_s.min(self.config.duration_s),
            precision: 0.4 * self.sharp(),
            at_least_s,
        }
    }

    /// The belief is about the capacity: sharpen it, then confirm.
    fn near(&self, belief: &Belief) -> Plan {
        let looked = |e: &&Evidence| e.hint.is_some() && self.is_patient(e);
        let failed = || self.evidence.iter().filter(|e| e.failed());
        let beside = failed().any(|e| e.offered <= belief.median * JUST_ABOVE);
        let sharp = belief.half_width() <= self.sharp() && failed().any(|e| looked(&e)) && beside;
        let spent: f64 = self.evidence.iter().map(|e| e.load_s).sum();
        if spent > MOST * self.config.duration_s {
            return Plan::Done("the evidence does not agree, and more of it is not worth its time");
        }
        // What is unsure far below was no more than too short to tell.
        let in_vain =
            |e: &&Evidence| e.full && (e.failed() || !e.held() && e.offered > NEARBY * belief.median);
        let tried = || self.evidence.iter().filter(in_vain);
        // Once a full-length trial has spoken against them, short ones have no more to say.
        if !sharp && !self.is_exhausted(belief) && tried().next().is_none() {
            if let Some(odd) = self.odd_one_out().filter(|_| belief.collapses) {
                return self.locate_for(odd.offered, self.patience_s().max(LONGER * odd.load_s));
            }
            if !belief.collapses {
                let above = if belief.half_width() > ROUGH { ABOVE } else { NEAR };
                return self.locate(belief.high * above);
            }
            // Where overload costs throughput, its hints are lower bounds, and the capacity lies between them and what failed,
            // if that was looked at for long enough.
            let lowest = failed().min_by(|a, b| a.offered.total_cmp(&b.offered));
            let glance =
                lowest.filter(|low| !failed().any(|e| looked(&e) && e.offered <= 1.03 * low.offered));
            let bound = failed().any(|e| e.offered <= belief.median * BOUND);
            return match glance {
                Some(failed) => self.locate_for(1.01 * failed.offered, self.patience_s()),
                None if !bound && self.held_patiently(belief.median) => {
                    self.locate_for(belief.median * UP, self.patience_s())
                }
                None => self.locate_for(belief.median, self.patience_s()),
            };
        }
        if !self.config.confirm {
            return Plan::Done("the interval is narrow enough; the answer was not confirmed at full length");
        }
        let refuted = tried().map(|e| e.offered).fold(f64::INFINITY, f64::min);
        if let Some(held) = self.confirmed() {
            let near = held.offered >= belief.median * (1.0 - 2.5 * self.step());
            if near || refuted <= held.offered * BESIDE {
                // Only what was looked at for long enough bounds it from above.
                if !failed().any(|e| looked(&e)) && spent <= MOST_UNBOUND * self.config.duration_s {
                    return self.locate_for(held.offered * JUST_ABOVE, LONGER * self.patience_s());
                }
                return Plan::Done(
                    "the answer was sustained for the whole duration, and the rates above are not",
                );
            }
        }
        if tried().count() >= CONFIRMATIONS {
            return Plan::Done("no rate near the estimate was sustained for the whole duration");
        }
        // Below every rate that was tried in vain, and, unless overload costs this service throughput, below what it then did.
        let did = tried().filter(|_| !belief.collapses).filter_map(Evidence::could);
        let could = did.map(|e| e.value - STEP * (e.high - e.low) / 2.0);
        let top = belief.median.min(refuted);
        let below = could.fold(top * (1.0 - self.step()), f64::min);
        // What held already is not asked again: half way up.
        let rate = match self.confirmed() {
            Some(held) if below <= held.offered * 1.002 => (held.offered * top).sqrt(),
            _ => below,
        };
        Plan::Confirm {
            rate: Rate::per_minute(rate.max(LOWEST)).rounded(),
        }
    }

    /// Whether this rate was sustained in a patient look.
    fn held_patiently(&self, per_minute: f64) -> bool {
        let held = |e: &Evidence| e.held() && self.is_patient(e) && e.offered >= 0.995 * per_minute;
        self.evidence.iter().any(held)
    }

    /// A short trial that held what all others say the service cannot do, and that nothing of twice its length bears out.
    fn odd_one_out(&self) -> Option<&Evidence> {
        let overloaded = || self.evidence.iter().filter(|e| e.hint.is_some());
        let odd =
            |e: &&Evidence| e.load_s < 0.9 * self.patience_s() && overloaded().any(|o| e.held_more_than(o));
        let odd = self
            .evidence
            .iter()
            .filter(odd)
            .max_by(|a, b| a.offered.total_cmp(&b.offered))?;
        let borne_out =
            |e: &Evidence| e.held() && e.load_s >= 2.0 * odd.load_s && e.offered >= 0.995 * odd.offered;
        (!self.evidence.iter().any(borne_out)).then_some(odd)
    }

    /// Whether as many looks were made as are worth their time.
    fn is_exhausted(&self, belief: &Belief) -> bool {
        let looks = || self.evidence.iter().filter(|e| e.hint.is_some() && !e.confirming);
        let load_s: f64 = looks().map(|e| e.load_s).sum();
        if load_s >= MOST_LOOKING * self.config.duration_s {
            return true;
        }
        let patiently = |e: &&Evidence| self.is_patient(e);
        if belief.collapses {
            let near = |e: &&Evidence| (e.offered / belief.median).ln().abs() < 0.2;
            return self.evidence.iter().filter(patiently).filter(near).count() >= MOST_LOOKS;
        }
        looks().filter(patiently).count() >= LOOKS
    }
}
