//! Draws without luck: consecutive blocks, each with one draw from each of as many equal strata, in random order.
//!
//! A Latin hypercube sample (`McKay`, Beckman and Conover, Technometrics 21, 1979) over consecutive requests: each draw by
//! itself is uniform, and any whole block together holds what a block should. A sum over independent draws wanders off its
//! mean as the square root of their number; a sum over balanced ones never leaves it by more than one block's worth.

use rand::RngExt;
use rand_pcg::Pcg64;

/// Requests of a block.
pub const BLOCK: usize = 100;

/// Uniform draws from `[0, 1)`, independent or balanced.
#[derive(Clone, Debug)]
pub struct Uniforms {
    rng: Pcg64,
    /// Draws to come; the last block is as short as they are.
    left: usize,
    balanced: bool,
    /// Strata of the block that are left, in the order in which they are drawn from the back.
    strata: Vec<u16>,
    size: usize,
}

impl Uniforms {
    /// Independent draws.
    pub fn independent(count: usize, rng: Pcg64) -> Self {
        Self {
            rng,
            left: count,
            balanced: false,
            strata: Vec::new(),
            size: 0,
        }
    }

    /// Balanced draws: blocks of [`BLOCK`], the last as short as `count` leaves it and balanced in itself.
    pub fn balanced(count: usize, rng: Pcg64) -> Self {
        Self {
            balanced: true,
            ..Self::independent(count, rng)
        }
    }

    /// The stream that it drew from.
    pub(super) fn into_rng(self) -> Pcg64 {
        self.rng
    }

    fn fill(&mut self, size: usize) {
        self.size = size;
        self.strata.clear();
        self.strata.extend(0..size as u16);
        // Fisher and Yates.
        for last in (1..size).rev() {
            let other = self.rng.random_range(0..=last);
            self.strata.swap(last, other);
        }
    }
}

impl Iterator for Uniforms {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        if self.left == 0 {
            return None;
        }
        if !self.balanced {
            self.left -= 1;
            return Some(self.rng.random());
        }
        if self.strata.is_empty() {
            self.fill(self.left.min(BLOCK));
        }
        self.left -= 1;
        let stratum = self.strata.pop()?;
        Some(within(stratum, self.size, self.rng.random()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// The point at `u` of a stratum, never beyond it by rounding.
pub(super) fn within(stratum: u16, strata: usize, u: f64) -> f64 {
    let upper = f64::from(stratum + 1) / strata as f64;
    ((f64::from(stratum) + u) / strata as f64).min(upper.next_down())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::seeds;
    use proptest::prelude::*;

    fn draws(count: usize, seed: u64) -> Vec<f64> {
        Uniforms::balanced(count, seeds::stream(seed, "test")).collect()
    }

    proptest! {
        /// Each block, the last one too, has one draw in each of its strata.
        #[test]
        fn a_block_has_a_draw_in_each_stratum(count in 1usize..450, seed in 0u64..1_000) {
            let draws = draws(count, seed);
            prop_assert_eq!(draws.len(), count);
            for block in draws.chunks(BLOCK) {
                let mut strata: Vec<usize> = block.iter().map(|u| (u * block.len() as f64) as usize).collect();
                strata.sort_unstable();
                prop_assert_eq!(strata, (0..block.len()).collect::<Vec<_>>());
            }
        }

        #[test]
        fn a_longer_sample_begins_as_a_shorter_one(count in 1usize..4, more in 0usize..300, seed in 0u64..1_000) {
            let short = draws(count * BLOCK, seed);
            prop_assert_eq!(&draws(count * BLOCK + more, seed)[..count * BLOCK], &short[..]);
        }
    }

    #[test]
    fn order_is_random_and_draws_are_uniform() {
        let draws = draws(100_000, 3);
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((mean - 0.5).abs() < 1e-4, "{mean}");
        // Successive draws of a block repel each other by one part in 99 only.
        let pairs: f64 = draws.windows(2).map(|w| (w[0] - 0.5) * (w[1] - 0.5)).sum();
        let correlation = pairs / draws.len() as f64 * 12.0;
        assert!(correlation.abs() < 0.02, "{correlation}");
        assert_ne!(draws[..BLOCK], self::draws(100_000, 4)[..BLOCK]);
    }
}
