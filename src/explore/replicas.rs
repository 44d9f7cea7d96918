//! The fewest replicas that keep an objective: doubling until it is kept, halving until it is not, then bisection.

use std::collections::BTreeMap;

/// More replicas are not tried.
const MOST: u32 = 65_536;

/// The search.
#[derive(Clone, Debug)]
pub(super) struct LeastReplicas {
    start: u32,
    /// Steps of one, for the answer is near.
    near: bool,
    known: BTreeMap<u32, bool>,
}

impl LeastReplicas {
    pub(super) fn new(start: u32, near: bool) -> Self {
        Self {
            start: start.clamp(1, MOST),
            near,
            known: BTreeMap::new(),
        }
    }

    pub(super) fn observe(&mut self, replicas: u32, pass: bool) {
        self.known.insert(replicas, pass);
    }

    /// The fewest that keep it with all that were tried above doing so too, and the most below that do not.
    pub(super) fn ends(&self) -> (Option<u32>, Option<u32>) {
        let beyond = self.known.iter().rev().find(|(_, pass)| !**pass).map(|(n, _)| *n);
        let least = self
            .known
            .iter()
            .find(|(n, pass)| **pass && beyond.is_none_or(|b| **n > b))
            .map(|(n, _)| *n);
        (least, beyond)
    }

    /// What to try next.
    pub(super) fn next(&self) -> Option<u32> {
        let next = match self.ends() {
            (None, None) => self.start,
            (None, Some(beyond)) if beyond >= MOST => return None,
            (None, Some(beyond)) if self.near && beyond < self.start + 2 => beyond + 1,
            (None, Some(beyond)) => beyond.saturating_mul(2).min(MOST),
            (Some(1), None) => return None,
            (Some(least), None) if self.near && least + 2 > self.start => least - 1,
            (Some(least), None) => least / 2,
            (Some(least), Some(beyond)) if least - beyond <= 1 => return None,
            (Some(least), Some(beyond)) => u32::midpoint(least, beyond),
        };
        (!self.known.contains_key(&next)).then_some(next)
    }

    pub(super) fn reason(&self) -> &'static str {
        match self.ends() {
            (None, _) => "it is not kept with the most replicas that are tried",
            (Some(1), None) => "one replica keeps it",
            _ => "one replica fewer does not keep it",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drive(start: u32, near: bool, least: u32) -> (Option<u32>, u32) {
        let mut search = LeastReplicas::new(start, near);
        let mut tried = 0;
        while let Some(n) = search.next() {
            search.observe(n, n >= least);
            tried += 1;
        }
        (search.ends().0, tried)
    }

    #[test]
    fn the_fewest_are_found_from_anywhere() {
        for least in [1, 2, 3, 7, 8, 9, 100] {
            for start in [1, 4, 8, 64, 1000] {
                for near in [false, true] {
                    assert_eq!(drive(start, near, least).0, Some(least), "{start} {near}");
                }
            }
        }
        assert_eq!(drive(8, true, 8), (Some(8), 2));
        assert_eq!(drive(4, false, u32::MAX).0, None);
    }
}
