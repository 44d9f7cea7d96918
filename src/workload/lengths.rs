//! Classes and token lengths of planned requests.

use rand::RngExt;

use super::{LengthClass, PlannedRequest, seeds};

/// Gives each send time a class (drawn by share) and lengths (uniform in the class's ranges).
pub(super) fn assign(classes: &[LengthClass], times: &[u64], seed: u64) -> Vec<PlannedRequest> {
    let mut rng = seeds::stream(seed, "lengths");
    let mut salts = seeds::stream(seed, "prompts");
    times
        .iter()
        .map(|&intended_ns| {
            let class = draw_class(classes, rng.random());
            let pair = classes[class].pair;
            PlannedRequest {
                intended_ns,
                class: class as u16,
                input_tokens: rng.random_range(pair.input.lowest()..=pair.input.max),
                output_tokens: rng.random_range(pair.output.lowest()..=pair.output.max),
                salt: salts.random(),
            }
        })
        .collect()
}

/// The class whose cumulative share holds `u` in [0, 1).
fn draw_class(classes: &[LengthClass], u: f64) -> usize {
    let total: f64 = classes.iter().map(|c| c.share).sum();
    let mut left = u * total;
    for (index, class) in classes.iter().enumerate() {
        if left < class.share {
            return index;
        }
        left -= class.share;
    }
    classes.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{TokenPair, TokenRange};

    #[test]
    fn classes_follow_their_shares_and_ranges() {
        let class = |min, max, share| LengthClass {
            pair: TokenPair {
                input: TokenRange { min, max },
                output: TokenRange::exactly(8),
            },
            share,
        };
        let classes = [class(0, 10, 0.25), class(20, 30, 0.75)];
        let times: Vec<u64> = (0..20_000).collect();
        let requests = assign(&classes, &times, 1);
        let second = requests.iter().filter(|r| r.class == 1).count() as f64 / 20_000.0;
        assert!((second - 0.75).abs() < 0.01, "{second}");
        assert!(
            requests
                .iter()
                .all(|r| classes[usize::from(r.class)].pair.input.contains(r.input_tokens))
        );
        assert!(requests.iter().all(|r| r.output_tokens == 8));
    }
}
