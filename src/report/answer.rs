//! The answer of a pair from its trials' rows, where no `capacity.json` gives it.
//!
//! Of several rules the first that gives a number wins, and the number carries the rule's name: `REQ_MIN` of a finished
//! row that was judged TRUE; `LARGEST_TRUE` of a finished row; `REQ_MIN` of a finished row; the largest `LARGEST_TRUE`; the
//! largest sustainable `REQ_MIN`.

use super::found::FoundTrial;
use crate::criterion::Ruling;
use crate::search::Status;
use crate::units::Rate;

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `capacity.json`.
    CapacityFile,
    /// `REQ_MIN` of a row with FINISHED and EVALUATION both TRUE.
    FinishedSustained,
    /// `LARGEST_TRUE` of a row with FINISHED=TRUE.
    FinishedLargestTrue,
    /// `REQ_MIN` of a row with FINISHED=TRUE that was not judged TRUE.
    FinishedRate,
    /// The largest `LARGEST_TRUE` of any row: the search has not finished.
    LargestTrue,
    /// The largest rate that was judged sustainable.
    LargestSustained,
    /// No rule gives a number.
    Nothing,
}

impl Origin {
    /// The name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::CapacityFile => "capacity.json",
            Self::FinishedSustained => "finished row",
            Self::FinishedLargestTrue => "finished row's LARGEST_TRUE",
            Self::FinishedRate => "finished row, not judged TRUE",
            Self::LargestTrue => "largest LARGEST_TRUE",
            Self::LargestSustained => "largest sustainable rate",
            Self::Nothing => "nothing sustained",
        }
    }

    /// The name for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::CapacityFile => "capacity-file",
            Self::FinishedSustained => "finished-sustainable",
            Self::FinishedLargestTrue => "finished-largest-true",
            Self::FinishedRate => "finished-rate",
            Self::LargestTrue => "largest-true",
            Self::LargestSustained => "largest-sustainable",
            Self::Nothing => "none",
        }
    }
}

/// An answer with its interval and origin.
#[derive(Clone, Debug, PartialEq)]
pub struct RowAnswer {
    /// The highest rate that counts as sustainable.
    pub rate: Option<Rate>,
    /// Lower end of the interval.
    pub low: Option<Rate>,
    /// Upper end of the interval.
    pub high: Option<Rate>,
    /// How well it is known.
    pub status: Status,
    /// The rule that gave it.
    pub origin: Origin,
}

/// The answer that `trials`, in order of time, add up to.
pub fn from_trials(trials: &[FoundTrial]) -> RowAnswer {
    let finished: Vec<&FoundTrial> = trials.iter().rev().filter(|t| t.finished == Some(true)).collect();
    let sustained = |t: &&&FoundTrial| t.ruling == Some(Ruling::Sustainable);
    let rules: [(Origin, Option<Rate>); 5] = [
        (
            Origin::FinishedSustained,
            finished.iter().find(sustained).map(|t| t.rate),
        ),
        (
            Origin::FinishedLargestTrue,
            finished.iter().find_map(|t| t.largest_true),
        ),
        (Origin::FinishedRate, finished.first().map(|t| t.rate)),
        (
            Origin::LargestTrue,
            largest(trials.iter().filter_map(|t| t.largest_true)),
        ),
        (
            Origin::LargestSustained,
            largest(rates(trials, Ruling::Sustainable)),
        ),
    ];
    let (origin, rate) = rules
        .into_iter()
        .find_map(|(origin, rate)| Some((origin, Some(rate?))))
        .unwrap_or((Origin::Nothing, None));
    let is_sustained = rate.is_some() && !refused(origin, &finished);
    let low = rate.filter(|_| is_sustained);
    let above = |candidate: &Rate| low.is_none_or(|low| *candidate > low);
    let high = finished
        .iter()
        .find_map(|t| t.smallest_false)
        .or_else(|| trials.iter().rev().find_map(|t| t.smallest_false))
        .filter(above)
        .or_else(|| smallest(rates(trials, Ruling::Unsustainable).filter(above)));
    let status = match (low, high) {
        (Some(_), Some(_)) => Status::Bracketed,
        (Some(_), None) => Status::LowerBoundOnly,
        (None, Some(_)) => Status::UpperBoundOnly,
        (None, None) => Status::Undecided,
    };
    RowAnswer {
        rate,
        low,
        high,
        status,
        origin,
    }
}

/// Whether the answer is a rate that was judged unsustainable.
fn refused(origin: Origin, finished: &[&FoundTrial]) -> bool {
    origin == Origin::FinishedRate
        && finished
            .first()
            .is_some_and(|t| t.ruling == Some(Ruling::Unsustainable))
}

/// The rates that were ruled so.
pub(super) fn rates(trials: &[FoundTrial], ruling: Ruling) -> impl Iterator<Item = Rate> + '_ {
    trials
        .iter()
        .filter(move |t| t.ruling == Some(ruling))
        .map(|t| t.rate)
}

pub(super) fn largest(rates: impl Iterator<Item = Rate>) -> Option<Rate> {
    rates.max_by(|a, b| a.as_per_minute().total_cmp(&b.as_per_minute()))
}

fn smallest(rates: impl Iterator<Item = Rate>) -> Option<Rate> {
    rates.min_by(|a, b| a.as_per_minute().total_cmp(&b.as_per_minute()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::trial;
    use super::*;
    use Ruling::{Sustainable as T, Unsustainable as F};

    fn answer(trials: &[FoundTrial]) -> (Option<f64>, Option<f64>, Status, Origin) {
        let a = from_trials(trials);
        let number = |r: Option<Rate>| r.map(Rate::as_per_minute);
        (number(a.rate), number(a.high), a.status, a.origin)
    }

    #[test]
    fn rules_are_tried_in_order() {
        let mut end = trial(96.0, T);
        end.finished = Some(true);
        end.largest_true = Some(Rate::per_minute(90.0));
        end.smallest_false = Some(Rate::per_minute(128.0));
        let mut first = trial(64.0, T);
        first.finished = Some(false);
        first.largest_true = Some(Rate::per_minute(64.0));
        let seen = |end: &FoundTrial| answer(&[first.clone(), trial(128.0, F), end.clone()]);
        let high = Some(128.0);
        assert_eq!(
            seen(&end),
            (Some(96.0), high, Status::Bracketed, Origin::FinishedSustained)
        );
        end.ruling = Some(F);
        assert_eq!(
            seen(&end),
            (Some(90.0), high, Status::Bracketed, Origin::FinishedLargestTrue)
        );
        end.largest_true = None;
        assert_eq!(
            seen(&end),
            (Some(96.0), high, Status::UpperBoundOnly, Origin::FinishedRate)
        );
        end.finished = Some(false);
        assert_eq!(
            seen(&end),
            (Some(64.0), high, Status::Bracketed, Origin::LargestTrue)
        );
        first.largest_true = None;
        let (rate, _, _, origin) = answer(&[first, trial(128.0, F), trial(32.0, T)]);
        assert_eq!((rate, origin), (Some(64.0), Origin::LargestSustained));
    }

    #[test]
    fn ends_that_are_not_known_are_said() {
        assert_eq!(answer(&[]), (None, None, Status::Undecided, Origin::Nothing));
        assert_eq!(
            answer(&[trial(8.0, F)]),
            (None, Some(8.0), Status::UpperBoundOnly, Origin::Nothing)
        );
        assert_eq!(
            answer(&[trial(8.0, T), trial(4.0, F)]),
            (Some(8.0), None, Status::LowerBoundOnly, Origin::LargestSustained)
        );
    }
}
