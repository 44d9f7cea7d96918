//! The rate that a replica can just sustain.

use rand::RngExt;
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

use super::{ConfigError, EventKind, Replica, ReplicaConfig, Request, Time};
use crate::units::{Rate, TokenRange};
use crate::workload::{LengthClass, seeds};

/// How a capacity was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapacityMethod {
    /// A formula, exact.
    ClosedForm,
    /// A long saturated run in virtual time.
    LongRun,
}

/// The rate that a replica can just sustain.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrueCapacity {
    /// The rate.
    pub rate: Rate,
    /// How it was found.
    pub method: CapacityMethod,
    /// Standard error of the rate divided by the rate; zero for a closed form.
    pub relative_error: f64,
}

/// The rate of requests of `classes` beyond which the queue of a replica grows without bound.
///
/// With the batch always full a step makes `B` tokens and so ends, and admits, `B / E[L]` requests on average. Hence
/// `(B / E[L]) / (t0 + t1 B + E[p] B / E[L])` requests a second, for any distribution of lengths and any jitter of mean
/// one (renewal-reward). Where the KV cache holds fewer than `B` requests, the same formula holds for requests of one
/// size, with `B` the number that fits; for others the batch varies, and a long saturated run is made.
///
/// # Errors
/// When the configuration is not valid, there are no classes, or a class holds requests that can never fit the cache.
pub fn true_capacity(config: &ReplicaConfig, classes: &[LengthClass]) -> Result<TrueCapacity, ConfigError> {
    config.validate()?;
    let total: f64 = classes.iter().map(|c| c.share).sum();
    if classes.iter().any(|c| c.share.is_nan() || c.share <= 0.0) || !(total > 0.0 && total.is_finite()) {
        return Err(ConfigError(
            "a workload needs at least one class, and every share must be above zero".to_owned(),
        ));
    }
    let largest = |class: &LengthClass| u64::from(class.pair.input.max) + u64::from(class.pair.output.max);
    let most = classes.iter().map(largest).max().unwrap_or(0);
    let room = config.kv_tokens.unwrap_or(u64::MAX);
    if most > room {
        return Err(ConfigError(format!(
            "the KV cache holds {room} tokens, but requests of up to {most} are asked for"
        )));
    }
    let fixed = |range: TokenRange| range.lowest() == range.max;
    let one_size = classes
        .iter()
        .all(|c| fixed(c.pair.input) && fixed(c.pair.output) && largest(c) == most);
    let fitting = room / most.max(1);
    if fitting >= u64::from(config.batch_cap) {
        Ok(closed_form(config, classes, f64::from(config.batch_cap)))
    } else if one_size {
        Ok(closed_form(config, classes, fitting as f64))
    } else {
        long_run(config, classes)
    }
}

fn closed_form(config: &ReplicaConfig, classes: &[LengthClass], batch: f64) -> TrueCapacity {
    let total: f64 = classes.iter().map(|c| c.share).sum();
    let mean = |of: fn(&LengthClass) -> f64| classes.iter().map(|c| c.share * of(c)).sum::<f64>() / total;
    let per_step = batch / mean(|c| c.pair.output.mean());
    let prefill = config.prefill_us(mean(|c| c.pair.input.mean()));
    let step_us = config.step_base_us + config.step_per_seq_us * batch + prefill * per_step;
    TrueCapacity {
        rate: Rate::per_second(per_step / step_us * 1e6),
        method: CapacityMethod::ClosedForm,
        relative_error: 0.0,
    }
}

/// Draws requests of a workload for as long as they are wanted.
struct Source<'a> {
    classes: &'a [LengthClass],
    stream: Pcg64,
    next: u64,
}

impl Source<'_> {
    fn draw(&mut self) -> Request {
        let total: f64 = self.classes.iter().map(|c| c.share).sum();
        let mut left = self.stream.random::<f64>() * total;
        let class = self.classes.iter().find(|class| {
            left -= class.share;
            left < 0.0
        });
        // Rounding may leave the last class without its last point.
        let pair = class.unwrap_or(&self.classes[self.classes.len() - 1]).pair;
        let id = self.next;
        self.next += 1;
        Request {
            id,
            input_tokens: self.stream.random_range(pair.input.lowest()..=pair.input.max),
            output_tokens: self.stream.random_range(pair.output.lowest()..=pair.output.max),
        }
    }
}

/// Batches of the estimate's standard error.
const BATCHES: usize = 32;

/// The completion rate of a replica whose queue is never empty.
pub(super) fn long_run(config: &ReplicaConfig, classes: &[LengthClass]) -> Result<TrueCapacity, ConfigError> {
    let total: f64 = classes.iter().map(|c| c.share).sum();
    let mean_output = classes
        .iter()
        .map(|c| c.share * c.pair.output.mean())
        .sum::<f64>()
        / total;
    // Some twenty million tokens, within bounds; a tenth more first, for the state to settle.
    let wanted = (2e7 / mean_output).clamp(8_000.0, 200_000.0) as usize;
    let per_batch = wanted.div_ceil(BATCHES);
    let warm_up = (wanted / 10).max(4 * config.batch_cap as usize);
    let mut replica = Replica::new(ReplicaConfig {
        queue_limit: None,
        startup_s: 0.0,
        ..config.clone()
    })?;
    let mut source = Source {
        classes,
        stream: seeds::stream(config.seed, "capacity"),
        next: 0,
    };
    // As many wait as one step can admit, so that the queue never runs dry.
    for _ in 0..2 * config.batch_cap {
        replica.offer(Time::ZERO, source.draw());
    }
    let mut marks = Vec::with_capacity(BATCHES + 1);
    let mut done = 0;
    while marks.len() <= BATCHES
        && let Some(at) = replica.next_event_at()
    {
        let before = done;
        replica.advance_with(at, |event| {
            if event.kind == EventKind::Done {
                done += 1;
                if done >= warm_up && (done - warm_up).is_multiple_of(per_batch) {
                    marks.push(event.at);
                }
            }
        });
        for _ in before..done {
            replica.offer(at, source.draw());
        }
    }
    marks.truncate(BATCHES + 1);
    if marks.last() == Some(&Time::MAX) {
        return Err(ConfigError(
            "the replica is too slow: its capacity cannot be found within 213 days of virtual time"
                .to_owned(),
        ));
    }
    let gaps: Vec<f64> = marks.windows(2).map(|w| (w[1] - w[0]).as_seconds()).collect();
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / (gaps.len() - 1) as f64;
    Ok(TrueCapacity {
        rate: Rate::per_second(per_batch as f64 / mean),
        method: CapacityMethod::LongRun,
        relative_error: (variance / gaps.len() as f64).sqrt() / mean,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::TokenPair;

    fn class(input: (u32, u32), output: (u32, u32), share: f64) -> LengthClass {
        let range = |(min, max)| TokenRange { min, max };
        LengthClass {
            pair: TokenPair {
                input: range(input),
                output: range(output),
            },
            share,
        }
    }

    fn fixed(input: u32, output: u32) -> LengthClass {
        class((input, input), (output, output), 1.0)
    }

    #[test]
    fn the_demo_profile_is_what_its_comment_says() {
        let rate = |pair| {
            true_capacity(&ReplicaConfig::demo(), &[pair])
                .unwrap()
                .rate
                .as_per_minute()
        };
        assert_eq!(rate(fixed(32, 16)).round() as u32, 11_029);
        assert_eq!(rate(fixed(64, 32)).round() as u32, 5_618);
    }

    #[test]
    fn formula_and_saturated_run_agree() {
        let jittery = ReplicaConfig {
            jitter: 0.2,
            ..ReplicaConfig::demo()
        };
        let small = ReplicaConfig {
            batch_cap: 3,
            ..ReplicaConfig::default()
        };
        let cases: [(&ReplicaConfig, Vec<LengthClass>); 6] = [
            (&ReplicaConfig::demo(), vec![fixed(32, 16)]),
            (&ReplicaConfig::demo(), vec![fixed(64, 32)]),
            (&jittery, vec![class((10, 60), (0, 100), 1.0)]),
            (&small, vec![fixed(1, 1)]),
            (
                &ReplicaConfig::default(),
                vec![class((1, 500), (1, 60), 0.7), class((8, 8), (200, 300), 0.3)],
            ),
            (&ReplicaConfig::default(), vec![fixed(128, 128)]),
        ];
        for (config, classes) in cases {
            let formula = true_capacity(config, &classes).unwrap();
            assert_eq!(formula.method, CapacityMethod::ClosedForm);
            let run = long_run(config, &classes).unwrap();
            let error = run.rate.as_per_minute() / formula.rate.as_per_minute() - 1.0;
            assert!(error.abs() < 0.01, "{config}: {error}");
            assert!(
                error.abs() < 5.0 * run.relative_error + 1e-3,
                "{config}: {error}, se {}",
                run.relative_error
            );
        }
    }

    #[test]
    fn a_small_cache_shrinks_the_batch() {
        let tight = ReplicaConfig {
            kv_tokens: Some(1_000),
            ..ReplicaConfig::default()
        };
        let classes = [fixed(100, 28)];
        let formula = true_capacity(&tight, &classes).unwrap();
        assert_eq!(formula.method, CapacityMethod::ClosedForm);
        let seven = ReplicaConfig {
            batch_cap: 7,
            ..ReplicaConfig::default()
        };
        assert_eq!(formula.rate, true_capacity(&seven, &classes).unwrap().rate);
        let run = long_run(&tight, &classes).unwrap().rate.as_per_minute();
        assert!((run / formula.rate.as_per_minute() - 1.0).abs() < 0.01);

        let varied = [class((1, 100), (1, 100), 1.0)];
        let run = true_capacity(&tight, &varied).unwrap();
        assert_eq!(run.method, CapacityMethod::LongRun);
        assert!(run.relative_error < 0.01, "{}", run.relative_error);
        let free = true_capacity(&ReplicaConfig::default(), &varied).unwrap();
        assert!(run.rate < free.rate);
        assert!(true_capacity(&tight, &[fixed(900, 101)]).is_err());
        assert!(true_capacity(&tight, &[]).is_err());
    }
}
