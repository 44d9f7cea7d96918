use proptest::prelude::*;

use super::*;
use crate::workload::seeds;

fn parse(yaml: &str) -> TokenDistribution {
    serde_saphyr::from_str(yaml).unwrap()
}

fn draws(yaml: &str, count: usize) -> (TokenSampler, Vec<u32>) {
    let sampler = parse(yaml).sampler().unwrap();
    let mut rng = seeds::stream(3, "lengths");
    let draws = (0..count).map(|_| sampler.sample(&mut rng)).collect();
    (sampler, draws)
}

const ALL: [&str; 10] = [
    "{distribution: fixed, tokens: 12}",
    "{distribution: uniform, min: 3, max: 40}",
    "{distribution: zipf, theta: 0.6, min: 1024, max: 4096}",
    "{distribution: zipf, theta: 1.0, min: 1, max: 50}",
    "{distribution: normal, mean: 20, std: 30, max: 64}",
    "{distribution: normal, mean: 200, std: 9.5}",
    "{distribution: lognormal, mean: 300, std: 200, min: 4}",
    "{distribution: gamma, mean: 100, std: 150, min: 2, max: 900}",
    "{distribution: empirical, values: [5, 7, 900]}",
    "{distribution: empirical, values: [5, 7, 900], weights: [1, 0, 3]}",
];

#[test]
fn drawn_means_are_the_stated_ones_and_lengths_in_range() {
    for yaml in ALL {
        let (sampler, draws) = draws(yaml, 100_000);
        assert!(
            draws.iter().all(|d| (sampler.min()..=sampler.max()).contains(d)),
            "{yaml}"
        );
        let count = draws.len() as f64;
        let mean = draws.iter().map(|d| f64::from(*d)).sum::<f64>() / count;
        let variance = draws.iter().map(|d| (f64::from(*d) - mean).powi(2)).sum::<f64>() / count;
        let error = (variance / count).sqrt();
        assert!(
            (mean - sampler.mean()).abs() <= 4.0 * error + 1e-9,
            "{yaml}: drawn {mean} +- {error}, stated {}",
            sampler.mean()
        );
    }
}

#[test]
fn zipf_is_exact() {
    let (_, draws) = draws("{distribution: zipf, theta: 0.6, min: 10, max: 29}", 400_000);
    let weights: Vec<f64> = (1..=20).map(|r| f64::from(r).powf(-0.6)).collect();
    let sum: f64 = weights.iter().sum();
    let chi_squared: f64 = weights
        .iter()
        .enumerate()
        .map(|(rank, weight)| {
            let expected = weight / sum * draws.len() as f64;
            let seen = draws.iter().filter(|d| **d == 10 + rank as u32).count() as f64;
            (seen - expected).powi(2) / expected
        })
        .sum();
    // Nineteen degrees of freedom: beyond this once in a thousand seeds.
    assert!(chi_squared < 43.8, "{chi_squared}");
}

#[test]
fn weights_are_kept() {
    let (_, draws) = draws(
        "{distribution: empirical, values: [5, 7, 9], weights: [1, 0, 3]}",
        40_000,
    );
    let share = |v| draws.iter().filter(|d| **d == v).count() as f64 / draws.len() as f64;
    assert!((share(5) - 0.25).abs() < 0.01);
    assert_eq!(share(7), 0.0);
}

#[test]
fn clamping_gathers_at_the_ends() {
    let (_, draws) = draws(
        "{distribution: normal, mean: 10, std: 10, min: 10, max: 15}",
        10_000,
    );
    let least = draws.iter().filter(|d| **d == 10).count();
    assert!(least > 5_000 && draws.contains(&15));
}

#[test]
fn draws_are_repeated_by_the_seed() {
    for yaml in ALL {
        assert_eq!(draws(yaml, 50).1, draws(yaml, 50).1);
    }
}

#[test]
fn written_and_read() {
    for yaml in ALL {
        let distribution = parse(yaml);
        let json = serde_json::to_string(&distribution).unwrap();
        assert_eq!(
            serde_json::from_str::<TokenDistribution>(&json).unwrap(),
            distribution
        );
    }
    for (yaml, word) in [
        ("{distribution: uniform, min: 1}", "max"),
        ("{distribution: uniform, min: 1, max: 2, mean: 3}", "mean"),
        ("{distribution: pareto}", "pareto"),
    ] {
        let error = serde_saphyr::from_str::<TokenDistribution>(yaml)
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn fields_without_sense_are_named() {
    for (yaml, words) in [
        (
            "{distribution: fixed, tokens: 0}",
            "`tokens` of the fixed lengths is 0",
        ),
        (
            "{distribution: uniform, min: 0, max: 4}",
            "`min` of the uniform lengths is 0",
        ),
        (
            "{distribution: uniform, min: 5, max: 4}",
            "`max` of the uniform lengths is 4, but must be from 5 (`min`)",
        ),
        (
            "{distribution: zipf, theta: -1, min: 1, max: 4}",
            "`theta` of the zipf lengths is -1",
        ),
        (
            "{distribution: normal, mean: 4, std: 0}",
            "`std` of the normal lengths is 0",
        ),
        (
            "{distribution: lognormal, mean: -4, std: 1}",
            "`mean` of the lognormal lengths is -4",
        ),
        (
            "{distribution: gamma, mean: 4, std: 1, max: 4000000000}",
            "`max` of the gamma lengths",
        ),
        (
            "{distribution: empirical, values: []}",
            "`values` of the empirical lengths is empty",
        ),
        (
            "{distribution: empirical, values: [3, 0]}",
            "`values` of the empirical lengths is 0",
        ),
        (
            "{distribution: empirical, values: [3], weights: [1, 2]}",
            "`weights` of the empirical lengths is 2 long",
        ),
        (
            "{distribution: empirical, values: [3, 4], weights: [1, -2]}",
            "is -2",
        ),
        (
            "{distribution: empirical, values: [3, 4], weights: [0, 0]}",
            "sum above zero",
        ),
    ] {
        let error = parse(yaml).sampler().unwrap_err().to_string();
        assert!(error.contains(words), "{yaml}: {error}");
    }
    let (min, max) = (1, Some(4));
    for (distribution, words) in [
        (
            TokenDistribution::Zipf {
                theta: f64::NAN,
                min,
                max: 4,
            },
            "`theta` of the zipf lengths is NaN",
        ),
        (
            TokenDistribution::Normal {
                mean: f64::NAN,
                std: 1.0,
                min,
                max,
            },
            "`mean` of the normal lengths is NaN",
        ),
        (
            TokenDistribution::Gamma {
                mean: 4.0,
                std: f64::INFINITY,
                min,
                max,
            },
            "`std` of the gamma lengths is inf",
        ),
    ] {
        let error = distribution.sampler().unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

proptest! {
    #[test]
    fn whatever_the_moments_lengths_stay_in_range(
        mean in 1e-3..1e9_f64, spread in 1e-3..1e3_f64, min in 1..1000_u32, more in 0..1_000_000_u32, seed: u64,
    ) {
        let (std, max) = (mean * spread, Some(min + more));
        for distribution in [
            TokenDistribution::Normal { mean, std, min, max },
            TokenDistribution::Lognormal { mean, std, min, max },
            TokenDistribution::Gamma { mean, std, min, max },
        ] {
            let sampler = distribution.sampler().unwrap();
            let mut rng = seeds::stream(seed, "lengths");
            for _ in 0..20 {
                prop_assert!((min..=min + more).contains(&sampler.sample(&mut rng)));
            }
        }
    }
}
