//! The first difference between what a record says and what this program computes.

use serde_json::{Map, Value};

use super::json::number;

/// How near two numbers have to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Nearness {
    /// Nothing may differ: counts, sequences.
    Exact,
    /// 10^-9, relative to the larger of 1 and the record: plain arithmetic.
    Arithmetic,
    /// 10^-4: bisected to that width.
    Bisected,
    /// A tenth of a percent: read from a quantile sketch of that accuracy.
    Sketch,
}

impl Nearness {
    fn holds(self, ours: f64, recorded: f64) -> bool {
        #[expect(clippy::float_cmp, reason = "exact values, infinite ones too, are equal")]
        let same = ours == recorded || (ours.is_nan() && recorded.is_nan());
        let within = match self {
            Self::Exact => 0.0,
            Self::Arithmetic => 1e-9 * recorded.abs().max(1.0),
            Self::Bisected => 1e-4,
            Self::Sketch => 1e-3 * recorded.abs(),
        };
        same || (recorded.is_finite() && (ours - recorded).abs() <= within)
    }
}

/// Holds records against computed values and keeps the first difference.
#[derive(Debug)]
pub(super) struct Comparison {
    at: String,
    first: Option<String>,
}

impl Comparison {
    /// Of the case that lies at `path` in its file.
    pub(super) fn at(path: impl Into<String>) -> Self {
        Self {
            at: path.into(),
            first: None,
        }
    }

    /// The first difference, as `cases[3].expected.prefix_missed[7]: 4, expected 5`: ours first, then the record.
    pub(super) fn first(self) -> Option<String> {
        self.first
    }

    /// Whether something differs already: what comes later is of no interest.
    pub(super) fn differs(&self) -> bool {
        self.first.is_some()
    }

    /// Says that something differs at a path below the case's.
    pub(super) fn say(&mut self, below: &str, what: &str) {
        if self.first.is_none() {
            self.first = Some(format!("{}{}: {what}", self.at, joined(below)));
        }
    }

    /// Holds one value against the record. What the record does not hold is not compared.
    pub(super) fn value(&mut self, below: &str, recorded: Option<&Value>, ours: &Value, nearness: Nearness) {
        let Some(recorded) = recorded else { return };
        if self.differs() {
            return;
        }
        match (recorded, ours) {
            (Value::Array(recorded), Value::Array(ours)) => {
                for (index, (r, o)) in recorded.iter().zip(ours).enumerate() {
                    self.value(&format!("{below}[{index}]"), Some(r), o, nearness);
                }
                if recorded.len() != ours.len() {
                    let text = format!("{} values, expected {}", ours.len(), recorded.len());
                    self.say(below, &text);
                }
            }
            (Value::Object(recorded), Value::Object(ours)) => self.objects(below, recorded, ours, nearness),
            _ => {
                let same = match (number(ours), number(recorded)) {
                    (Some(ours), Some(recorded)) => nearness.holds(ours, recorded),
                    _ => ours == recorded,
                };
                if !same {
                    self.say(below, &format!("{}, expected {}", told(ours), told(recorded)));
                }
            }
        }
    }

    fn objects(
        &mut self,
        below: &str,
        recorded: &Map<String, Value>,
        ours: &Map<String, Value>,
        nearness: Nearness,
    ) {
        for (key, r) in recorded {
            let path = format!("{below}.{key}");
            match ours.get(key) {
                Some(o) => self.value(&path, Some(r), o, nearness),
                None => self.say(&path, &format!("not computed, expected {}", told(r))),
            }
        }
    }

    /// Holds a number against the record.
    pub(super) fn number(&mut self, below: &str, recorded: Option<&Value>, ours: f64, nearness: Nearness) {
        self.value(below, recorded, &super::json::value(ours), nearness);
    }
}

fn joined(below: &str) -> String {
    if below.is_empty() || below.starts_with(['.', '[']) {
        below.to_owned()
    } else {
        format!(".{below}")
    }
}

/// A value in a sentence: short, whole numbers without a fraction.
fn told(value: &Value) -> String {
    const MOST: usize = 80;
    let text = match value {
        Value::Number(number) => number
            .as_f64()
            .map_or_else(|| number.to_string(), |n| n.to_string()),
        other => other.to_string(),
    };
    if text.chars().count() > MOST {
        text.chars().take(MOST).chain(['…']).collect()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn first(recorded: &Value, ours: &Value, nearness: Nearness) -> Option<String> {
        let mut comparison = Comparison::at("cases[3]");
        comparison.value("expected", Some(recorded), ours, nearness);
        comparison.first()
    }

    #[test]
    fn the_first_difference_is_told_with_its_place() {
        let recorded = json!({"rate": 0.5, "steps": [1.0, 2.0, 5.0]});
        assert_eq!(
            first(
                &recorded,
                &json!({"rate": 0.5, "steps": [1, 2, 5]}),
                Nearness::Exact
            ),
            None
        );
        let ours = json!({"rate": 0.5, "steps": [1, 2, 4]});
        assert_eq!(
            first(&recorded, &ours, Nearness::Exact).unwrap(),
            "cases[3].expected.steps[2]: 4, expected 5"
        );
        let ours = json!({"rate": 0.5, "steps": [1, 2]});
        assert_eq!(
            first(&recorded, &ours, Nearness::Exact).unwrap(),
            "cases[3].expected.steps: 2 values, expected 3"
        );
        assert_eq!(
            first(&recorded, &json!({"rate": 0.5}), Nearness::Exact).unwrap(),
            "cases[3].expected.steps: not computed, expected [1.0,2.0,5.0]"
        );
        assert_eq!(
            first(&json!(null), &json!(false), Nearness::Exact).unwrap(),
            "cases[3].expected: false, expected null"
        );
    }

    #[test]
    fn nearness_is_what_it_says() {
        let near = |ours: f64, recorded: f64, nearness: Nearness| nearness.holds(ours, recorded);
        assert!(near(1.0 + 9e-10, 1.0, Nearness::Arithmetic));
        assert!(!near(1.0 + 2e-9, 1.0, Nearness::Arithmetic));
        assert!(near(0.1 + 9e-5, 0.1, Nearness::Bisected));
        assert!(!near(0.1 + 2e-4, 0.1, Nearness::Bisected));
        assert!(near(1000.9, 1000.0, Nearness::Sketch));
        assert!(!near(1001.1, 1000.0, Nearness::Sketch));
        assert!(near(f64::INFINITY, f64::INFINITY, Nearness::Exact));
        assert!(!near(1.0, f64::INFINITY, Nearness::Sketch));
    }
}
