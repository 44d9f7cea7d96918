//! `when:` and `skip:`: which cells of the grid are meant.

use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value of a cell's field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A word.
    Word(String),
}

/// The names that a condition may use.
pub(super) const FIELDS: [&str; 18] = [
    "model",
    "trace",
    "device",
    "network_device",
    "router",
    "top_k",
    "tolerance_factor",
    "queue",
    "scheduler",
    "chunk_size",
    "tp",
    "pp",
    "batch_size",
    "num_replicas",
    "qps",
    "gpus",
    "search_for",
    "prefix_caching",
];

/// Comparisons that must all hold: `tp == 4 and device != h100`, `batch_size > 128`, `router in [lop, lor]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq)]
struct Term {
    field: &'static str,
    operator: &'static str,
    values: Vec<Value>,
}

/// The longer ones first: `<=` must not be read as `<`.
const OPERATORS: [&str; 7] = ["==", "!=", "<=", ">=", "<", ">", " in "];

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong, and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let terms: Result<Vec<Term>, String> = text.split(" and ").map(term).collect();
        Ok(Self {
            text: text.trim().to_owned(),
            terms: terms?,
        })
    }

    /// Whether it holds. A field that a cell does not have, as `top_k` with most routers, makes it not hold.
    pub fn holds(&self, field: impl Fn(&str) -> Option<Value>) -> bool {
        self.terms
            .iter()
            .all(|term| field(term.field).is_some_and(|value| term.holds(&value)))
    }
}

impl Term {
    fn holds(&self, value: &Value) -> bool {
        let order = |other: &Value| match (value, other) {
            (Value::Number(a), Value::Number(b)) => a.partial_cmp(b),
            (Value::Word(a), Value::Word(b)) if a.eq_ignore_ascii_case(b) => Some(std::cmp::Ordering::Equal),
            (Value::Word(a), Value::Word(b)) => Some(a.cmp(b)),
            _ => None,
        };
        let first = self.values.first().and_then(order);
        match self.operator {
            "==" => first.is_some_and(std::cmp::Ordering::is_eq),
            "!=" => first.is_none_or(std::cmp::Ordering::is_ne),
            "<=" => first.is_some_and(std::cmp::Ordering::is_le),
            ">=" => first.is_some_and(std::cmp::Ordering::is_ge),
            "<" => first.is_some_and(std::cmp::Ordering::is_lt),
            ">" => first.is_some_and(std::cmp::Ordering::is_gt),
            _ => self
                .values
                .iter()
                .any(|other| order(other).is_some_and(std::cmp::Ordering::is_eq)),
        }
    }
}

fn term(text: &str) -> Result<Term, String> {
    let found = OPERATORS
        .iter()
        .find_map(|op| text.split_once(op).map(|parts| (*op, parts)));
    let Some((operator, (name, rest))) = found else {
        return Err(format!(
            "`{}` is no condition; write for example `tp == 4`, `batch_size > 128` or `router in [lop, lor]`",
            text.trim()
        ));
    };
    let name = name.trim();
    let field = FIELDS.iter().find(|field| **field == name);
    let field = field.ok_or_else(|| {
        format!(
            "`{name}` is not a field of a cell; known are {}",
            FIELDS.join(", ")
        )
    })?;
    let rest = rest.trim();
    let list = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let values: Vec<Value> = match (operator, list) {
        (" in ", Some(list)) => list.split(',').map(|word| value(word.trim())).collect(),
        (" in ", None) => return Err(format!("`{rest}` is no list; write `{name} in [a, b]`")),
        _ => vec![value(rest)],
    };
    if rest.is_empty() {
        return Err(format!("`{name} {operator}` has no value"));
    }
    Ok(Term {
        field,
        operator,
        values,
    })
}

fn value(text: &str) -> Value {
    let text = text.trim_matches(['"', '\'']);
    match text.parse::<f64>() {
        Ok(number) => Value::Number(number),
        Err(_) => Value::Word(text.to_owned()),
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Condition {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> bool {
        Condition::parse(text).unwrap().holds(|field| match field {
            "tp" => Some(Value::Number(4.0)),
            "device" => Some(Value::Word("h100".to_owned())),
            _ => None,
        })
    }

    #[test]
    fn conditions_compare_what_a_cell_has() {
        for good in [
            "tp == 4",
            "tp>=4 and device == H100",
            "device in [a100, h100]",
            "tp != 2",
            "device != a100",
        ] {
            assert!(holds(good), "{good}");
        }
        for bad in [
            "tp < 4",
            "tp == 4 and device == a100",
            "top_k == 2",
            "device in [a100]",
            "tp == four",
        ] {
            assert!(!holds(bad), "{bad}");
        }
        for wrong in ["tp", "tq == 4", "tp ==", "device in a100"] {
            assert!(Condition::parse(wrong).is_err(), "{wrong}");
        }
    }
}
