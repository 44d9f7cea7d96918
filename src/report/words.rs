//! The answer of an adaptive search in a sentence.

use crate::criterion::Ruling;
use crate::search::{Answer, Status};
use crate::units::{Plain, Rate};

/// The answer in plain words: `1,180 req/min sustained for 30 min; 1,230 is not; 95 % interval 1,165 to 1,222`. `failed`
/// is the lowest rate above the answer that was not sustained.
pub fn sentence(answer: &Answer, failed: Option<Rate>) -> String {
    let mut parts = Vec::new();
    parts.push(match (answer.rate, answer.confirmed_s) {
        (Some(rate), Some(seconds)) => {
            format!("{} req/min sustained for {}", grouped(rate), duration(seconds))
        }
        (Some(rate), None) => format!("{} req/min, not held for a full DURATION", grouped(rate)),
        (None, _) => "no sustainable rate found".to_owned(),
    });
    parts.extend(failed.map(|rate| match (answer.rate, answer.confirmed_s) {
        (Some(_), Some(_)) => format!("{} is not", grouped(rate)),
        _ => format!("{} is not sustained", grouped(rate)),
    }));
    parts.extend(match (answer.low, answer.high) {
        (Some(low), Some(high)) => Some(format!("95 % interval {} to {}", grouped(low), grouped(high))),
        (Some(low), None) => Some(format!("the capacity is at least {}", grouped(low))),
        (None, Some(high)) => Some(format!("the capacity is below {}", grouped(high))),
        (None, None) => None,
    });
    if answer.status == Status::Undecided {
        parts.push("undecided".to_owned());
    }
    parts.join("; ")
}

/// The lowest rate above the answer that was ruled unsustainable.
pub fn lowest_failed(answer: &Answer, trials: impl Iterator<Item = (Rate, Ruling)>) -> Option<Rate> {
    let least = answer.rate.map_or(0.0, Rate::as_per_minute);
    trials
        .filter(|(rate, ruling)| *ruling == Ruling::Unsustainable && rate.as_per_minute() > least)
        .map(|(rate, _)| rate)
        .min_by(|a, b| a.as_per_minute().total_cmp(&b.as_per_minute()))
}

/// Requests per minute, thousands apart, whole from 1,000 on.
fn grouped(rate: Rate) -> String {
    let value = rate.as_per_minute();
    if value < 1000.0 {
        return Plain(rate.rounded().as_per_minute()).to_string();
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whole hours or minutes where they are, seconds otherwise.
fn duration(seconds: f64) -> String {
    let whole = |unit: f64| seconds >= unit && (seconds / unit).fract() < 1e-9;
    if whole(3600.0) {
        format!("{} h", Plain(seconds / 3600.0))
    } else if whole(60.0) {
        format!("{} min", Plain(seconds / 60.0))
    } else {
        format!("{} s", Plain((10.0 * seconds).round() / 10.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(rate: Option<f64>, confirmed_s: Option<f64>, status: Status) -> Answer {
        Answer {
            rate: rate.map(Rate::per_minute),
            low: rate.map(|r| Rate::per_minute(r - 15.0)),
            high: Some(Rate::per_minute(1222.0)),
            status,
            reason: String::new(),
            termination_code: String::new(),
            confirmed_s,
        }
    }

    #[test]
    fn an_answer_is_told_with_its_evidence() {
        let trials = [
            (1230.0, Ruling::Unsustainable),
            (1400.0, Ruling::Unsustainable),
            (1150.0, Ruling::Unsustainable),
            (1200.0, Ruling::Unsure),
        ];
        let confirmed = answer(Some(1180.0), Some(1800.0), Status::Bracketed);
        let rulings = trials.map(|(rate, ruling)| (Rate::per_minute(rate), ruling));
        let failed = lowest_failed(&confirmed, rulings.into_iter());
        assert_eq!(
            sentence(&confirmed, failed),
            "1,180 req/min sustained for 30 min; 1,230 is not; 95 % interval 1,165 to 1,222"
        );
        let estimated = answer(Some(1180.0), None, Status::Estimated);
        assert_eq!(
            sentence(&estimated, None),
            "1,180 req/min, not held for a full DURATION; 95 % interval 1,165 to 1,222"
        );
        let none = answer(None, None, Status::UpperBoundOnly);
        assert_eq!(
            sentence(&none, lowest_failed(&none, rulings.into_iter())),
            "no sustainable rate found; 1,150 is not sustained; the capacity is below 1,222"
        );
        let doubtful = answer(Some(15.25), Some(7200.0), Status::Undecided);
        assert!(
            sentence(&doubtful, None).starts_with("15.25 req/min sustained for 2 h;")
                && sentence(&doubtful, None).ends_with("; undecided")
        );
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        let of = |rate| grouped(Rate::per_minute(rate));
        assert_eq!(
            (of(1_234_567.0), of(100.44), of(988.5), of(12_345.6)),
            (
                "1,234,567".into(),
                "100.4".into(),
                "988.5".into(),
                "12,346".into()
            )
        );
        assert_eq!(
            (duration(90.0), duration(5400.0)),
            ("90 s".into(), "90 min".into())
        );
    }
}
