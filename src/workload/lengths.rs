//! Classes and token lengths of planned requests.

use rand::RngExt;

use super::strata::{BLOCK, Uniforms};
use super::{LengthClass, PlannedRequest, seeds};
use crate::units::TokenRange;

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

/// As [`assign`], but any block of [`BLOCK`] requests has each class as often as its share asks, to one request, and one
/// length of each of the equal parts of the class's range that there are requests of it.
pub(super) fn balanced(classes: &[LengthClass], times: &[u64], seed: u64) -> Vec<PlannedRequest> {
    let mut kinds = Uniforms::balanced(times.len(), seeds::stream(seed, "lengths"));
    let mut streams = ["input lengths", "output lengths"].map(|name| seeds::stream(seed, name));
    let mut salts = seeds::stream(seed, "prompts");
    let mut requests: Vec<PlannedRequest> = Vec::with_capacity(times.len());
    for block in times.chunks(BLOCK) {
        let first = requests.len();
        requests.extend(block.iter().map(|&intended_ns| PlannedRequest {
            intended_ns,
            class: draw_class(classes, kinds.next().unwrap_or_default()) as u16,
            input_tokens: 0,
            output_tokens: 0,
            salt: salts.random(),
        }));
        for (index, class) in classes.iter().enumerate() {
            let count = requests[first..]
                .iter()
                .filter(|r| usize::from(r.class) == index)
                .count();
            let [input, output] = &mut streams;
            let mut inputs = Uniforms::balanced(count, input.clone());
            let mut outputs = Uniforms::balanced(count, output.clone());
            for request in requests[first..]
                .iter_mut()
                .filter(|r| usize::from(r.class) == index)
            {
                request.input_tokens = at(class.pair.input, inputs.next().unwrap_or_default());
                request.output_tokens = at(class.pair.output, outputs.next().unwrap_or_default());
            }
            (*input, *output) = (inputs.into_rng(), outputs.into_rng());
        }
    }
    requests
}

/// The length of a range below which a share `u` of it lies.
fn at(range: TokenRange, u: f64) -> u32 {
    let count = f64::from(range.max - range.lowest()) + 1.0;
    (range.lowest() + (u * count) as u32).min(range.max)
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

    /// Any block holds its share of each class, and each class's lengths spread evenly: nothing left to luck.
    #[test]
    fn a_balanced_block_holds_what_a_block_should() {
        let class = |min, max, share| LengthClass {
            pair: TokenPair {
                input: TokenRange { min, max },
                output: TokenRange { min: 0, max: 1_000 },
            },
            share,
        };
        let classes = [class(1, 400, 0.25), class(1_000, 2_000, 0.75)];
        let times: Vec<u64> = (0..5_040).collect();
        let requests = balanced(&classes, &times, 9);
        assert_eq!(requests.len(), times.len());
        assert!(requests.iter().zip(&times).all(|(r, &t)| r.intended_ns == t));
        for block in requests.chunks(BLOCK) {
            for (index, class) in classes.iter().enumerate() {
                let members: Vec<_> = block.iter().filter(|r| usize::from(r.class) == index).collect();
                let share = members.len() as f64 - class.share * block.len() as f64;
                assert!(share.abs() <= 1.0, "{share}");
                let count = members.len() as f64;
                for (range, lengths) in [
                    (
                        class.pair.input,
                        members.iter().map(|r| r.input_tokens).collect::<Vec<_>>(),
                    ),
                    (
                        class.pair.output,
                        members.iter().map(|r| r.output_tokens).collect(),
                    ),
                ] {
                    assert!(lengths.iter().all(|&l| range.contains(l)));
                    let mean = lengths.iter().map(|&l| f64::from(l)).sum::<f64>() / count;
                    // Each length is within its stratum, so that the mean is off by less than half a stratum.
                    let stratum = f64::from(range.max - range.lowest() + 1) / count;
                    assert!((mean - range.mean()).abs() <= 0.5 * stratum, "{mean} {range}");
                }
            }
        }
        assert_ne!(requests, balanced(&classes, &times, 10));
        let outputs: Vec<u32> = requests.iter().map(|r| r.output_tokens).collect();
        assert!(outputs.chunks(BLOCK).any(|block| !block.is_sorted()));
    }

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
