//! What a search keeps of a trial.

use crate::criterion::Ruling;
use crate::search::{Goal, Observed};
use crate::trial::Estimate;
use crate::units::Rate;

/// A trial shorter than this share of the full duration confirms nothing.
const FULL: f64 = 0.98;
/// A trial shorter than this share of it, unsustainable by a hair, may be chance.
const SETTLED: f64 = 0.15;
/// Drift up to which an undecided trial is taken to have held, while the search is far away.
const LEANING: f64 = 0.15;

/// A judged trial.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Evidence {
    /// The rate that was asked for.
    pub(super) asked: Rate,
    /// The rate that was offered, requests per minute.
    pub(super) offered: f64,
    /// Seconds in which it was offered.
    pub(super) load_s: f64,
    /// Whether it lasted as long as a confirmation.
    pub(super) full: bool,
    /// Whether it lasted long enough for a ruling that says nothing about the capacity to count.
    pub(super) settled: bool,
    /// Whether it was meant to confirm.
    pub(super) confirming: bool,
    pub(super) ruling: Ruling,
    /// Share of the load that was not served.
    pub(super) drift: Option<Estimate>,
    /// What the saturated service served, requests per minute.
    pub(super) hint: Option<Estimate>,
}

impl Evidence {
    pub(super) fn of(seen: &Observed<'_>, duration_s: f64) -> Self {
        let hint =
            |e: &Estimate| e.value > 0.0 && e.low <= e.value && e.value <= e.high && e.high.is_finite();
        Self {
            asked: seen.probe.rate,
            offered: seen.offered.as_per_minute(),
            load_s: seen.load_s,
            full: seen.load_s >= FULL * duration_s,
            settled: seen.load_s >= SETTLED * duration_s,
            confirming: seen.probe.goal == Goal::Confirm,
            ruling: seen.verdict.ruling,
            drift: seen
                .verdict
                .margin
                .filter(|m| m.value.is_finite() && m.high > m.low),
            hint: seen
                .verdict
                .capacity_hint
                .filter(|e| seen.verdict.ruling == Ruling::Unsustainable && hint(e)),
        }
    }

    /// The order in which trials are kept: by what they are, never by when they came.
    pub(super) fn is_before(&self, other: &Self) -> bool {
        let key = |e: &Self| {
            (
                e.asked.as_per_minute().to_bits(),
                e.load_s.to_bits(),
                e.offered.to_bits(),
            )
        };
        let value = |e: &Self| e.drift.map_or(0, |d| d.value.to_bits());
        (key(self), value(self)) < (key(other), value(other))
    }

    /// Whether the rate was sustained, in whatever time.
    pub(super) fn held(&self) -> bool {
        self.ruling == Ruling::Sustainable
    }

    /// Whether it was not: beyond doubt overloaded, or seen for long enough to be taken at its word.
    pub(super) fn failed(&self) -> bool {
        self.ruling == Ruling::Unsustainable && (self.hint.is_some() || self.settled)
    }

    /// What the service could do, as far as this trial tells.
    pub(super) fn could(&self) -> Option<Estimate> {
        let by_drift = |d: Estimate| Estimate {
            value: self.offered * (1.0 - d.value.max(0.0)),
            low: self.offered * (1.0 - d.high.max(0.0)),
            high: self.offered * (1.0 - d.low.max(0.0)),
        };
        let width = |e: &Estimate| e.high - e.low;
        let both = self.hint.into_iter().chain(self.drift.map(by_drift));
        both.min_by(|a, b| width(a).total_cmp(&width(b)))
    }

    /// Whether it held more than `other`, which failed, is said to be able to.
    pub(super) fn held_more_than(&self, other: &Self) -> bool {
        let most = other
            .hint
            .map_or(other.offered, |h| h.value + 1.5 * (h.high - h.value));
        self.held() && self.offered > 1.003 * most
    }

    /// Whether, as far as the trial tells, the service kept up: where it is unsure, by the sign of the estimate.
    pub(super) fn leans_to_hold(&self) -> Option<bool> {
        match self.ruling {
            Ruling::Sustainable => Some(true),
            Ruling::Unsustainable if self.failed() => Some(false),
            Ruling::Unsustainable => None,
            Ruling::Unsure => self.drift.map(|d| d.value < LEANING),
        }
    }
}

/// The trials that no longer one refutes.
pub(super) fn unrefuted(all: &[Evidence]) -> Vec<Evidence> {
    all.iter().filter(|e| !is_refuted(e, all)).copied().collect()
}

/// The longest trial that was too short to tell, seconds.
pub(super) fn too_short_s(all: &[Evidence]) -> f64 {
    let refuted = all.iter().filter(|e| is_refuted(e, all));
    refuted.map(|e| e.load_s).fold(0.0, f64::max)
}

/// Whether longer trials say otherwise: one of twice the length held the rate at which this one looked overloaded (a cold
/// start, for example), or failed where this one held, or two full-length ones could do less than this one held (somebody else's
/// load that comes and goes).
fn is_refuted(trial: &Evidence, all: &[Evidence]) -> bool {
    let longer = || all.iter().filter(|e| e.load_s >= 2.0 * trial.load_s);
    if trial.held() {
        let did_less = |e: &&Evidence| e.hint.is_some() && trial.held_more_than(e);
        return longer()
            .filter(did_less)
            .any(|e| e.offered <= 1.003 * trial.offered)
            || longer().filter(|e| e.full && did_less(e)).count() >= 2;
    }
    // What a full-length trial served, or a longer one that was overloaded as much, outranks what a short one did: the service was
    // not the same all the time.
    let outranked = |e: &Evidence| match (e.hint, trial.hint) {
        (Some(long), Some(short)) if e.full || e.offered >= 0.9 * trial.offered => {
            let apart = 1.5 * (long.high - long.low).hypot(short.high - short.low) / 2.0;
            (long.value - short.value).abs() > apart
        }
        _ => false,
    };
    let held_it = |e: &Evidence| e.held() && e.offered >= 0.995 * trial.offered;
    trial.failed() && longer().any(|e| held_it(e) || outranked(e))
}
