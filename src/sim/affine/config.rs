//! What a replica is like.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::Plain;

/// The HTTP status of a request that the queue limit refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub enum OverloadStatus {
    /// 429 Too Many Requests.
    TooManyRequests,
    /// 503 Service Unavailable.
    #[default]
    Unavailable,
}

impl From<OverloadStatus> for u16 {
    fn from(status: OverloadStatus) -> Self {
        match status {
            OverloadStatus::TooManyRequests => 429,
            OverloadStatus::Unavailable => 503,
        }
    }
}

impl TryFrom<u16> for OverloadStatus {
    type Error = ConfigError;
    fn try_from(status: u16) -> Result<Self, ConfigError> {
        match status {
            429 => Ok(Self::TooManyRequests),
            503 => Ok(Self::Unavailable),
            _ => Err(ConfigError(format!(
                "overload_status is {status}; it must be 429 or 503"
            ))),
        }
    }
}

/// The error of a replica that cannot exist, or of a workload that it cannot serve; says what to change.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(super) String);

/// One replica with continuous batching.
///
/// A step of `n` running sequences, of which those in `admitted` are new, takes
/// `step_base + step_per_seq * n + sum over admitted of (prefill_base + prefill_per_token * input tokens)`, times the
/// jitter, and makes one token for each of the `n`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicaConfig {
    /// Most sequences in a batch.
    pub batch_cap: u32,
    /// Time of a step without any sequence, in microseconds.
    pub step_base_us: f64,
    /// Time that each running sequence adds to a step, in microseconds.
    pub step_per_seq_us: f64,
    /// Time that each prompt token adds to the step in which its request is admitted, in microseconds.
    pub prefill_us_per_token: f64,
    /// Time that each admitted request adds to that step, whatever its prompt, in microseconds.
    pub prefill_base_us: f64,
    /// Room of the KV cache in tokens; `None` is unlimited. A request is admitted only when its prompt and its whole
    /// response fit, and holds that room until it ends; nothing is ever preempted.
    pub kv_tokens: Option<u64>,
    /// Most waiting requests beyond those that the next step admits; `None` is unlimited.
    pub queue_limit: Option<u32>,
    /// The HTTP status of a request refused by `queue_limit`.
    pub overload_status: OverloadStatus,
    /// Coefficient of variation of a step's time: each is multiplied by a lognormal factor of mean one. Zero is none.
    pub jitter: f64,
    /// Seconds before the replica starts to work.
    pub startup_s: f64,
    /// Seeds the jitter.
    pub seed: u64,
}

impl Default for ReplicaConfig {
    /// Resembles a model of some 8 billion parameters on one large accelerator.
    fn default() -> Self {
        Self {
            batch_cap: 64,
            step_base_us: 8_000.0,
            step_per_seq_us: 60.0,
            prefill_us_per_token: 40.0,
            prefill_base_us: 500.0,
            kv_tokens: None,
            queue_limit: None,
            overload_status: OverloadStatus::default(),
            jitter: 0.0,
            startup_s: 0.0,
            seed: 0,
        }
    }
}

impl ReplicaConfig {
    /// The replica of the `demo` profile: fast enough that a search takes minutes, slow enough (3,000 tokens/s) that two
    /// slow cores hold client and server. Its capacity is 11,029 requests/min for 32:16 and 5,618 for 64:32, where a
    /// request takes 0.17 and 0.34 s.
    pub fn demo() -> Self {
        Self {
            batch_cap: 32,
            step_base_us: 6_000.0,
            step_per_seq_us: 100.0,
            prefill_us_per_token: 20.0,
            prefill_base_us: 200.0,
            jitter: 0.05,
            ..Self::default()
        }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// Names the field that is out of range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        /// A minute: longer steps are a mistake in the unit.
        const LONGEST_US: f64 = 6e7;
        let fail = |text: String| Err(ConfigError(text));
        if !(1..=65_536).contains(&self.batch_cap) {
            return fail(format!("batch_cap is {}; it must be 1 to 65536", self.batch_cap));
        }
        for (name, value) in [
            ("step_base_us", self.step_base_us),
            ("step_per_seq_us", self.step_per_seq_us),
            ("prefill_us_per_token", self.prefill_us_per_token),
            ("prefill_base_us", self.prefill_base_us),
        ] {
            if !(0.0..=LONGEST_US).contains(&value) {
                return fail(format!("{name} is {value}; it must be from 0 to a minute"));
            }
        }
        if self.step_base_us + self.step_per_seq_us < 1.0 {
            return fail(
                "a step takes no time; step_base_us or step_per_seq_us must be at least 1".to_owned(),
            );
        }
        if self.kv_tokens == Some(0) {
            return fail("kv_tokens is 0; it must be at least 1, or absent for no limit".to_owned());
        }
        if !(0.0..=2.0).contains(&self.jitter) {
            return fail(format!("jitter is {}; it must be from 0 to 2", self.jitter));
        }
        if !(0.0..=86_400.0).contains(&self.startup_s) {
            return fail(format!(
                "startup_s is {}; it must be from 0 to a day",
                self.startup_s
            ));
        }
        Ok(())
    }

    /// Microseconds that admitting a request with `input_tokens` adds to its first step.
    pub(super) fn prefill_us(&self, input_tokens: f64) -> f64 {
        self.prefill_base_us + self.prefill_us_per_token * input_tokens
    }
}

impl fmt::Display for ReplicaConfig {
    /// One line that tells two replicas with different behaviour apart.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "batch={} step={}+{}n us prefill={}+{}/token us",
            self.batch_cap,
            Exact(self.step_base_us),
            Exact(self.step_per_seq_us),
            Exact(self.prefill_base_us),
            Exact(self.prefill_us_per_token),
        )?;
        if let Some(kv) = self.kv_tokens {
            write!(f, " kv={kv}")?;
        }
        if let Some(limit) = self.queue_limit {
            write!(f, " queue={limit}:{}", u16::from(self.overload_status))?;
        }
        if self.jitter > 0.0 {
            write!(f, " jitter={}", Exact(self.jitter))?;
        }
        if self.startup_s > 0.0 {
            write!(f, " startup={}s", Plain(self.startup_s))?;
        }
        write!(f, " seed={}", self.seed)
    }
}

/// The shortest decimal that reads back as the same number, as [`f64`] prints itself.
struct Exact(f64);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_are_valid_and_survive_json() {
        for config in [ReplicaConfig::default(), ReplicaConfig::demo()] {
            config.validate().unwrap();
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<ReplicaConfig>(&text).unwrap(), config);
        }
        let partial: ReplicaConfig =
            serde_json::from_str(r#"{"batch_cap": 3, "overload_status": 429}"#).unwrap();
        assert_eq!(partial.batch_cap, 3);
        assert_eq!(partial.overload_status, OverloadStatus::TooManyRequests);
        assert!(serde_json::from_str::<ReplicaConfig>(r#"{"batchcap": 3}"#).is_err());
        assert!(serde_json::from_str::<ReplicaConfig>(r#"{"overload_status": 500}"#).is_err());
    }

    #[test]
    fn impossible_replicas_are_named() {
        type Change = fn(&mut ReplicaConfig);
        let cases: [(Change, &str); 8] = [
            (|c| c.batch_cap = 0, "batch_cap"),
            (|c| c.step_base_us = f64::NAN, "step_base_us"),
            (|c| c.step_per_seq_us = -1.0, "step_per_seq_us"),
            (|c| c.prefill_base_us = 1e12, "prefill_base_us"),
            (|c| c.kv_tokens = Some(0), "kv_tokens"),
            (|c| c.jitter = 3.0, "jitter"),
            (|c| c.startup_s = -1.0, "startup_s"),
            (
                |c| (c.step_base_us, c.step_per_seq_us) = (0.0, 0.0),
                "takes no time",
            ),
        ];
        for (change, word) in cases {
            let mut config = ReplicaConfig::default();
            change(&mut config);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_line_tells_replicas_apart() {
        let line = ReplicaConfig::demo().to_string();
        assert_eq!(
            line,
            "batch=32 step=6000+100n us prefill=200+20/token us jitter=0.05 seed=0"
        );
    }
}
