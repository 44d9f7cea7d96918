//! The values that a bound is held against, request by request.

use super::{DeadlineRule, FirstDeadline, Limit, Quantity};
use crate::slo::deadline::Deadlines;
use crate::slo::prefill::PrefillCurve;
use crate::slo::timings::{ANY_CLASS, Fate, Timed, Timing, Timings};

/// The values of one quantity.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rows {
    /// Values that are known; infinite those of what failed.
    pub(super) known: Vec<f64>,
    /// What had passed of values that are not.
    pub(super) open: Vec<f64>,
    /// How many values the open ones stand for.
    pub(super) owed: usize,
    /// Request by request: how many of its values keep the bound, and how many there are.
    pub(super) kept: Vec<(u32, u32)>,
}

/// Which requests count, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice<'a> {
    pub(super) timings: &'a Timings,
    pub(super) curve: Option<&'a PrefillCurve>,
    pub(super) class: Option<u16>,
    /// Whether requests that failed count; else they are left out.
    pub(super) failures: bool,
}

impl Choice<'_> {
    /// The requests that count, with their places.
    pub(super) fn requests(&self) -> impl Iterator<Item = (usize, &Timing)> {
        let (class, failures) = (self.class, self.failures);
        self.timings
            .requests()
            .iter()
            .enumerate()
            .filter(move |(_, r)| class.is_none_or(|class| r.class == class || r.class == ANY_CLASS))
            .filter(move |(_, r)| failures || r.fate != Fate::Failed)
    }

    /// All values of a quantity.
    pub(super) fn rows(&self, limit: &Limit) -> Rows {
        if limit.quantity.needs_token_times() && !self.timings.has_gaps() {
            return Rows::default();
        }
        if limit.quantity == Quantity::Tbt {
            return self.gaps(limit.most);
        }
        let mut rows = Rows::default();
        let mut buffer = Vec::new();
        for (i, request) in self.requests() {
            let value = self.value(limit, i, request, &mut buffer);
            if value.exact {
                rows.known.push(value.seconds);
            } else {
                rows.open.push(value.seconds);
            }
            rows.kept.push((u32::from(keeps(value, limit.most)), 1));
        }
        rows.owed = rows.open.len();
        rows
    }

    /// Whether a request keeps a bound; of the gaps between its tokens the longest counts.
    pub(super) fn keeps(&self, limit: &Limit, i: usize, request: &Timing, buffer: &mut Vec<f64>) -> bool {
        keeps(self.value(limit, i, request, buffer), limit.most)
    }

    /// The gaps of all requests together.
    fn gaps(&self, most: f64) -> Rows {
        let mut rows = Rows::default();
        for (i, request) in self.requests() {
            let gaps = self.timings.gaps_of(i);
            rows.known.extend_from_slice(gaps);
            let good = gaps.iter().filter(|gap| **gap <= most).count() as u32;
            let missing = match request.fate {
                Fate::Answered => 0,
                Fate::Failed => {
                    let owed = self.timings.owed_gaps(i);
                    rows.known.extend(std::iter::repeat_n(f64::INFINITY, owed));
                    owed
                }
                Fate::Open => {
                    let owed = self.timings.owed_gaps(i);
                    rows.open.push(if request.ttft.exact {
                        request.since_last
                    } else {
                        0.0
                    });
                    rows.owed += owed;
                    owed
                }
            };
            rows.kept.push((good, (gaps.len() + missing) as u32));
        }
        rows
    }

    fn value(&self, limit: &Limit, i: usize, request: &Timing, buffer: &mut Vec<f64>) -> Timed {
        let exact = |seconds| Timed { seconds, exact: true };
        let failed = request.fate == Fate::Failed;
        let of_each = |time: Timed, tokens: u32| Timed {
            seconds: time.seconds / f64::from(tokens.max(1)),
            ..time
        };
        let value = match limit.quantity {
            Quantity::Ttft => request.ttft,
            Quantity::TtftNormalized => of_each(request.ttft, request.input_tokens),
            Quantity::Tpot => request.tpot,
            Quantity::E2e => request.e2e,
            Quantity::E2eNormalized => of_each(request.e2e, request.output_tokens),
            Quantity::SchedulingDelay => request.delay.unwrap_or(exact(f64::NAN)),
            Quantity::Tbt | Quantity::MaxTbt => Timed {
                seconds: self
                    .timings
                    .gaps_of(i)
                    .iter()
                    .copied()
                    .chain((request.fate == Fate::Open && request.ttft.exact).then_some(request.since_last))
                    .fold(0.0, f64::max),
                exact: request.fate != Fate::Open,
            },
            Quantity::ErrorRate => return exact(f64::from(u8::from(request.fate != Fate::Answered))),
            Quantity::DeadlineMissRate => {
                let Some(rule) = limit.deadlines else {
                    return exact(f64::NAN);
                };
                if failed {
                    return exact(1.0);
                }
                buffer.clear();
                buffer.push(request.ttft.seconds);
                buffer.extend_from_slice(self.timings.gaps_of(i));
                if request.fate == Fate::Open && request.ttft.exact {
                    buffer.push(request.since_last);
                }
                Timed {
                    seconds: self.deadlines(&rule, request).count(buffer).rate(),
                    exact: request.fate != Fate::Open,
                }
            }
        };
        if failed { exact(f64::INFINITY) } else { value }
    }

    fn deadlines(&self, rule: &DeadlineRule, request: &Timing) -> Deadlines {
        let first = match rule.first {
            FirstDeadline::Fixed(seconds) => seconds,
            FirstDeadline::Predicted(slack) => {
                let prompt = f64::from(request.input_tokens);
                slack + self.curve.map_or(f64::NAN, |curve| curve.predict(prompt).seconds)
            }
        };
        Deadlines {
            reading: rule.reading,
            slack_cap: rule.slack_cap,
            tolerance: rule.tolerance,
            ..Deadlines::new(first, rule.token)
        }
    }
}

/// A value of which only a part is known does not keep a bound.
fn keeps(value: Timed, most: f64) -> bool {
    value.exact && value.seconds <= most
}
