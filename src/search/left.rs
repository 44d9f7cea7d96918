//! How many trials a search still needs.

use serde::{Deserialize, Serialize};

use super::stages::StagesConfig;
use super::stop::StopRule;

/// Rates that a ramp is guessed to pass before one fails: with the default factor of 2, whoever chose the first rate is
/// taken to have been low by a factor of 4 to 8.
const RAMP: u32 = 3;
/// Trials that settle a rate on the way down the bisection, on average: one when it is sustainable, two when it is not.
const EACH: f64 = 1.5;

/// What the rounding of rates may add to the logarithm of a bracket.
const ROUNDING: f64 = 0.02;

/// How many trials a search still needs. Both are zero when it is done, and at least one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// How many are likely: a guess while the search ramps, the logarithm of the bracket after that.
    pub likely: u32,
    /// How many there can be at most.
    pub most: u32,
}

/// Where a search stands.
pub(super) struct Standing {
    /// Highest rate that counts as sustainable.
    pub(super) low: Option<f64>,
    /// Lowest rate that counts as unsustainable.
    pub(super) high: Option<f64>,
    /// The rate that is probed next.
    pub(super) rate: f64,
    /// Whether a trial at that rate is behind us and one more settles it.
    pub(super) half_settled: bool,
    /// Rates settled so far.
    pub(super) settled: u32,
    /// Trials so far.
    pub(super) trials: u32,
    /// Trials after the bracket is narrow enough.
    pub(super) surplus: u32,
    /// Rates closer than this are not told apart, as a fraction of the rate.
    pub(super) finest: f64,
}

impl Left {
    /// What a search needs that is not done.
    pub(super) fn of(config: &StagesConfig, at: &Standing) -> Self {
        // A limit of zero still lets one trial run.
        let most = config.limit.saturating_sub(at.trials).max(1);
        let factor = config.multiplier;
        let (ramp, low, high) = match (at.low, at.high) {
            (Some(low), Some(high)) => (0.0, low, high),
            // Down until a rate holds: the next one is guessed to.
            (None, Some(high)) => (1.0, high / factor, high),
            // Up until a rate fails, which takes two trials.
            (_, None) => {
                let more = RAMP.saturating_sub(at.settled);
                let high = at.rate * factor.powi(more as i32);
                (f64::from(more) + 2.0, high / factor, high)
            }
        };
        let trials = ramp + EACH * halvings(config.stop, low, high, at.finest) + f64::from(at.surplus);
        // A rate whose first trial failed needs one more; it was counted with those that need two, or one and a half.
        let behind = match (at.half_settled, at.low.is_some() == at.high.is_some()) {
            (false, _) => 0.0,
            (true, true) => EACH - 1.0,
            (true, false) => 1.0,
        };
        // Infinite where the rule can never be met.
        let likely = (trials - behind).ceil().clamp(1.0, f64::from(most)) as u32;
        Self { likely, most }
    }
}

/// How often the bracket is halved until it is narrow enough. The answer is taken to be at its lower end, where most are
/// needed, so that the number never rises from one trial to the next.
fn halvings(stop: StopRule, low: f64, high: f64, finest: f64) -> f64 {
    let width = stop.width(low).max(finest * low);
    (((high - low) / width).log2() - ROUNDING).ceil().max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::criterion::Ruling;
    use crate::search::testing::{seen, verdict};
    use crate::search::{Search, Stages, StagesLegacy, Step};
    use crate::units::Rate;

    fn config(start: f64, stop: StopRule, limit: u32) -> StagesConfig {
        StagesConfig {
            start: Rate::per_minute(start),
            multiplier: 2.0,
            stop,
            limit,
        }
    }

    /// What was told before every trial and after the last, with the stage.
    fn told(search: &mut dyn Search, mut oracle: impl FnMut(f64) -> Ruling) -> Vec<(Left, u8)> {
        let mut all = vec![(search.left(), 1)];
        while let Step::Probe(probe) = search.next() {
            let verdict = verdict(oracle(probe.rate.as_per_minute()));
            search.observe(&seen(&probe, &verdict));
            all.push((search.left(), search.bracket().stage));
        }
        all
    }

    fn below(capacity: f64) -> impl Fn(f64) -> Ruling {
        move |rate| {
            if rate <= capacity {
                Ruling::Sustainable
            } else {
                Ruling::Unsustainable
            }
        }
    }

    #[test]
    fn a_bracket_is_halved_as_often_as_its_logarithm_says() {
        // 100 to 200, to 10: four halvings.
        assert_eq!(halvings(StopRule::Absolute(10.0), 100.0, 200.0, 0.0), 4.0);
        assert_eq!(halvings(StopRule::Relative(0.1), 100.0, 200.0, 0.0), 4.0);
        assert_eq!(halvings(StopRule::Absolute(100.0), 100.0, 200.0, 0.0), 0.0);
        assert_eq!(halvings(StopRule::Absolute(0.0), 100.0, 200.0, 0.01), 7.0);
        assert_eq!(
            halvings(StopRule::Absolute(0.0), 100.0, 200.0, 0.0),
            f64::INFINITY
        );
    }

    #[test]
    fn a_search_that_begins_is_guessed() {
        let relative = Stages::new(config(64.0, StopRule::Relative(0.05), 60));
        // 3 up, 2 for the one that fails, 5 halvings of 1.5 trials.
        assert_eq!(relative.left(), Left { likely: 13, most: 60 });
        let limited = Stages::new(config(64.0, StopRule::Relative(0.05), 7));
        assert_eq!(limited.left(), Left { likely: 7, most: 7 });
        let legacy = StagesLegacy::new(config(64.0, StopRule::Relative(0.05), 60));
        assert_eq!(legacy.left(), Left { likely: 14, most: 60 }, "one surplus trial");
        let endless = StagesLegacy::new(config(64.0, StopRule::Absolute(0.0), 60));
        assert_eq!(endless.left(), Left { likely: 60, most: 60 });
    }

    #[test]
    fn the_first_false_of_two_is_counted() {
        let mut search = Stages::new(config(100.0, StopRule::Absolute(25.0), 60));
        let all: Vec<u32> = told(&mut search, below(160.0))
            .iter()
            .map(|(l, _)| l.likely)
            .collect();
        // 100 holds; 200 fails twice; 150 holds; 175 fails twice: narrow enough.
        assert_eq!(all.len(), 7, "{all:?}");
        assert_eq!(all[3..], [3, 2, 1, 0], "{all:?}");
    }

    proptest! {
        /// Whatever the oracle says: zero when done, at least one before, and never more trials than was said.
        #[test]
        fn the_most_is_a_bound(
            rulings in prop::collection::vec(0u8..3, 80),
            start in 1.0f64..1e5,
            limit in 1u32..60,
            absolute in any::<bool>(),
            legacy in any::<bool>(),
        ) {
            let stop = if absolute { StopRule::Absolute(start / 20.0) } else { StopRule::Relative(0.05) };
            let config = config(start, stop, limit);
            let mut search: Box<dyn Search> = if legacy {
                Box::new(StagesLegacy::new(config))
            } else {
                Box::new(Stages::new(config))
            };
            let mut rulings = rulings.into_iter();
            let all = told(search.as_mut(), |_| match rulings.next() {
                Some(0) => Ruling::Sustainable,
                Some(1) => Ruling::Unsustainable,
                _ => Ruling::Unsure,
            });
            let trials = all.len() - 1;
            prop_assert_eq!(all[trials].0, Left::default());
            for (done, (left, _)) in all[..trials].iter().enumerate() {
                prop_assert!(left.likely >= 1 && left.likely <= left.most);
                prop_assert!((trials - done) as u32 <= left.most);
            }
            for pair in all.windows(2) {
                prop_assert!(pair[1].0.most < pair[0].0.most);
            }
        }

        /// With a service that has a capacity, stage 2 never needs more than it said before, and is not far off.
        #[test]
        fn stage_two_counts_down(capacity in 2.0f64..1e6, start in 1.0f64..1e5, legacy in any::<bool>()) {
            let config = config(start, StopRule::Relative(0.05), 1000);
            let mut search: Box<dyn Search> = if legacy {
                Box::new(StagesLegacy::new(config))
            } else {
                Box::new(Stages::new(config))
            };
            let all = told(search.as_mut(), below(capacity));
            let trials = all.len() - 1;
            let second: Vec<(usize, u32)> = all
                .iter()
                .enumerate()
                .filter(|(_, (_, stage))| *stage == 2)
                .map(|(done, (left, _))| (trials - done, left.likely))
                .collect();
            for pair in second.windows(2) {
                prop_assert!(pair[1].1 <= pair[0].1, "{:?}", second);
            }
            for (really, likely) in second {
                // Every halving takes one trial or two, and there may be one halving more.
                prop_assert!(really as f64 <= 2.0 * f64::from(likely) + 2.0 && f64::from(likely) <= 1.5 * really as f64 + 3.0,
                    "{likely} were said, {really} there were");
            }
        }
    }
}
