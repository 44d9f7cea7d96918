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

/// At evenly spread points the quantiles have the stated mean, and are the quantiles of what is drawn.
#[test]
fn quantiles_are_those_of_the_draws() {
    for yaml in ALL {
        let (sampler, mut draws) = draws(yaml, 100_000);
        draws.sort_unstable();
        let points = 20_000;
        let at = |i: usize| (i as f64 + 0.5) / points as f64;
        let lengths: Vec<u32> = (0..points).map(|i| sampler.quantile(at(i))).collect();
        assert!(lengths.is_sorted(), "{yaml}");
        let mean = lengths.iter().map(|&l| f64::from(l)).sum::<f64>() / points as f64;
        assert!(
            (mean / sampler.mean() - 1.0).abs() < 1e-3,
            "{yaml}: {mean}, stated {}",
            sampler.mean()
        );
        for u in [0.0, 0.01, 0.3, 0.5, 0.77, 0.98] {
            // The share of draws at most as long is above u, and of those below it is not, to the accuracy of the draws.
            let length = sampler.quantile(u);
            let share = |bound: u32| draws.partition_point(|d| *d <= bound) as f64 / draws.len() as f64;
            assert!(share(length) > u - 0.008, "{yaml} at {u}: {length}");
            assert!(share(length - 1) < u + 0.008, "{yaml} at {u}: {length}");
        }
        let most = sampler.quantile(1.0f64.next_down());
        assert!((sampler.min()..=sampler.max()).contains(&most), "{yaml}");
    }
}

#[test]
fn power_sums_are_sums() {
    for theta in [0.0, 0.4, 1.0, 1.7] {
        for count in [1, 24, 25, 3_000] {
            let sum: f64 = (1..=count).map(|r| f64::from(r).powf(-theta)).sum();
            let fast = super::power_sum(count, theta);
            assert!((fast / sum - 1.0).abs() < 1e-10, "{theta} {count}: {fast} {sum}");
        }
    }
}

#[test]
fn normal_quantiles_are_exact_enough() {
    let law = NormalLaw::new(0.0, 1.0).unwrap();
    for u in [1e-9, 1e-4, 0.02, 0.0243, 0.3, 0.5, 0.9, 0.976, 0.9999] {
        let (fast, exact) = (super::standard_normal(u), law.inverse_cdf(u));
        assert!(
            (fast - exact).abs() < 1e-7 * exact.abs().max(1.0),
            "{u}: {fast} {exact}"
        );
    }
}
