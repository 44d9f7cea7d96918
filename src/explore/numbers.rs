//! A number, a list of numbers, or a range, wherever a list of numbers stands.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Most numbers that a range may have: more is a slip of the pen.
const MOST: usize = 10_000;

/// `4`, `[1, 2, 4]`, `{from: 1, to: 8, factor: 2}` or `{from: 100, to: 500, step: 100}`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Numbers<T>(pub Vec<T>);

/// A number that a range can be made of.
pub trait Number: Copy + Sized + 'static {
    /// From a number of YAML; `None` where it is not one of this kind.
    fn from_f64(value: f64) -> Option<Self>;
    /// What it should be, for messages.
    const WHAT: &'static str;
}

impl Number for u32 {
    fn from_f64(value: f64) -> Option<Self> {
        (value.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&value)).then_some(value as Self)
    }
    const WHAT: &'static str = "a whole number of at least 1";
}

impl Number for f64 {
    fn from_f64(value: f64) -> Option<Self> {
        (value.is_finite() && value > 0.0).then_some(value)
    }
    const WHAT: &'static str = "a number above 0";
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Range {
    from: f64,
    to: f64,
    step: Option<f64>,
    factor: Option<f64>,
}

impl Range {
    fn expand(&self) -> Result<Vec<f64>, String> {
        if !(self.from > 0.0 && self.to >= self.from && self.to.is_finite()) {
            return Err(format!(
                "from {} to {} is no range; write 0 < from <= to",
                self.from, self.to
            ));
        }
        let next: Box<dyn Fn(usize) -> f64> = match (self.step, self.factor) {
            (Some(step), None) if step > 0.0 => Box::new(move |i| self.from + step * i as f64),
            (None, Some(factor)) if factor > 1.0 => Box::new(move |i| self.from * factor.powi(i as i32)),
            _ => return Err("a range has either a `step` above 0 or a `factor` above 1".to_owned()),
        };
        // A hair of tolerance, so that {from: 0.1, to: 0.3, step: 0.1} has three.
        let last = self.to * (1.0 + 1e-9);
        let all: Vec<f64> = (0..=MOST).map(next).take_while(|value| *value <= last).collect();
        if all.len() > MOST {
            return Err(format!("the range has more than {MOST} numbers"));
        }
        Ok(all)
    }
}

struct Reading<T>(PhantomData<T>);

impl<T: Number> Reading<T> {
    fn one<E: Error>(value: f64) -> Result<T, E> {
        T::from_f64(value).ok_or_else(|| E::custom(format!("{value} is not {}", T::WHAT)))
    }
}

impl<'de, T: Number> Visitor<'de> for Reading<T> {
    type Value = Numbers<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, a list of them, or a range as {{from: 1, to: 8, factor: 2}}",
            T::WHAT
        )
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Self::one(value as f64).map(|v| Numbers(vec![v]))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Self::one(value as f64).map(|v| Numbers(vec![v]))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Self::one(value).map(|v| Numbers(vec![v]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(value) = seq.next_element::<f64>()? {
            all.push(Self::one(value)?);
        }
        if all.is_empty() {
            return Err(A::Error::custom("the list is empty; write at least one number"));
        }
        Ok(Numbers(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let range = Range::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        let values = range.expand().map_err(A::Error::custom)?;
        let all: Result<Vec<T>, A::Error> = values.into_iter().map(Self::one).collect();
        all.map(Numbers)
    }
}

impl<'de, T: Number> Deserialize<'de> for Numbers<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Reading(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lists_and_ranges_are_read() {
        let read = |text: &str| serde_saphyr::from_str::<Numbers<u32>>(text).unwrap().0;
        assert_eq!(read("4"), [4]);
        assert_eq!(read("[1, 2, 4]"), [1, 2, 4]);
        assert_eq!(read("{from: 32, to: 512, factor: 2}"), [32, 64, 128, 256, 512]);
        assert_eq!(read("{from: 100, to: 350, step: 100}"), [100, 200, 300]);
        let read = |text: &str| serde_saphyr::from_str::<Numbers<f64>>(text).unwrap().0;
        assert_eq!(read("{from: 0.1, to: 0.3, step: 0.1}").len(), 3);
        for bad in [
            "[]",
            "0",
            "-1",
            "1.5",
            "{from: 1, to: 4}",
            "{from: 4, to: 1, step: 1}",
            "{from: 1, to: 4, step: 0}",
        ] {
            assert!(serde_saphyr::from_str::<Numbers<u32>>(bad).is_err(), "{bad}");
        }
    }
}
