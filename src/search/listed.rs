//! No search: the given rates are tried, one after the other.

use super::{Answer, Bracket, Goal, Left, Observed, Probe, Search, Status, Step};
use crate::criterion::Ruling;
use crate::units::Rate;

/// Given rates.
#[derive(Clone, Debug)]
pub struct Listed {
    rates: Vec<Rate>,
    seen: Vec<(Rate, Ruling)>,
}

impl Listed {
    /// In this order.
    pub fn new(rates: Vec<Rate>) -> Self {
        Self {
            rates,
            seen: Vec::new(),
        }
    }

    fn ruled(&self, ruling: Ruling) -> impl Iterator<Item = Rate> {
        self.seen
            .iter()
            .filter(move |(_, r)| *r == ruling)
            .map(|(rate, _)| *rate)
    }

    fn failed(&self) -> Option<Rate> {
        self.ruled(Ruling::Unsustainable)
            .reduce(|a, b| if b < a { b } else { a })
    }

    /// The highest that passed below every one that failed.
    fn passed(&self) -> Option<Rate> {
        let failed = self.failed();
        self.ruled(Ruling::Sustainable)
            .filter(|rate| failed.is_none_or(|failed| *rate < failed))
            .reduce(|a, b| if b > a { b } else { a })
    }
}

impl Search for Listed {
    fn next(&self) -> Step {
        if let Some(rate) = self.rates.get(self.seen.len()) {
            return Step::Probe(Probe {
                rate: *rate,
                stage: 1,
                attempt: 0,
                pooled: false,
                goal: Goal::Decide,
                duration_s: None,
            });
        }
        let (passed, failed) = (self.passed(), self.failed());
        Step::Done(Answer {
            rate: passed,
            low: passed,
            high: failed,
            status: match (passed, failed) {
                (Some(_), Some(_)) => Status::Bracketed,
                (Some(_), None) => Status::LowerBoundOnly,
                (None, Some(_)) => Status::UpperBoundOnly,
                (None, None) => Status::Undecided,
            },
            reason: "the given rates were tried".to_owned(),
            termination_code: String::new(),
            confirmed_s: None,
        })
    }

    fn observe(&mut self, seen: &Observed<'_>) {
        self.seen.push((seen.probe.rate, seen.verdict.ruling));
    }

    fn bracket(&self) -> Bracket {
        Bracket {
            stage: 1,
            largest_true: self.passed(),
            smallest_false: self.failed(),
            ..Bracket::default()
        }
    }

    fn left(&self) -> Left {
        let left = (self.rates.len() - self.seen.len().min(self.rates.len())) as u32;
        Left {
            likely: left,
            most: left,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::testing::drive;

    #[test]
    fn every_rate_is_tried() {
        let rates = [1.0, 3.0, 2.0, 4.0].map(Rate::per_minute).to_vec();
        let (answer, tried) = drive(&mut Listed::new(rates), |rate| {
            if rate < 2.5 {
                Ruling::Sustainable
            } else {
                Ruling::Unsustainable
            }
        });
        assert_eq!(tried, [1.0, 3.0, 2.0, 4.0]);
        assert_eq!(
            (answer.rate, answer.high),
            (Some(Rate::per_minute(2.0)), Some(Rate::per_minute(3.0)))
        );
        assert_eq!(answer.status, Status::Bracketed);
    }
}
