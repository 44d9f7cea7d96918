//! Reading a policy from the explorer's flat form, and writing its key.

use std::fmt;

use serde::Deserialize;

use super::RouterConfig;

/// What the explorer's YAML says of a policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Flat {
    scheduler: String,
    #[serde(default)]
    top_k: Option<u32>,
    #[serde(default)]
    tolerance_factor: Option<f64>,
}

/// Why a routing policy cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RouterConfigError {
    /// No such policy.
    #[error("`{0}` is not a routing policy; write one of {known}", known = names())]
    Unknown(String),
    /// A parameter that the policy needs.
    #[error("`{policy}` needs `{parameter}`; write for example `{parameter}: {example}` below it")]
    Missing {
        /// The policy.
        policy: &'static str,
        /// What is missing.
        parameter: &'static str,
        /// A value that would do.
        example: &'static str,
    },
    /// A parameter that the policy has no use for.
    #[error("`{policy}` takes no `{parameter}`; remove it")]
    Needless {
        /// The policy.
        policy: String,
        /// What is too much.
        parameter: &'static str,
    },
    /// A parameter out of its range.
    #[error("`{parameter}` of `{policy}` is {value}, but must be {range}")]
    Range {
        /// The policy.
        policy: &'static str,
        /// The parameter.
        parameter: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        range: &'static str,
    },
}

const RANKED: &str = "ranked_sticky_lop_uncached";
const TOLERANT: &str = "tolerant_sticky_lop_uncached";

fn names() -> String {
    let mut names: Vec<_> = RouterConfig::PLAIN.iter().map(RouterConfig::name).collect();
    names.extend([RANKED, TOLERANT]);
    names.join(", ")
}

impl RouterConfig {
    /// The policies without a parameter.
    pub const PLAIN: [Self; 11] = [
        Self::Random,
        Self::RoundRobin,
        Self::Lor,
        Self::LorWaiting,
        Self::Lop,
        Self::LopBinary,
        Self::LopBatchEnd,
        Self::LopUncached,
        Self::StickyRoundRobin,
        Self::StickyLor,
        Self::StickyLop,
    ];

    /// One of each: those without a parameter, and the others with one that is in use.
    pub fn one_of_each() -> Vec<Self> {
        let mut all = Self::PLAIN.to_vec();
        all.push(Self::RankedStickyLopUncached { top_k: 2 });
        all.push(Self::TolerantStickyLopUncached {
            tolerance_factor: 2.0,
        });
        all
    }

    /// Its name in the explorer's YAML.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
            Self::Lor => "lor",
            Self::LorWaiting => "lor_waiting",
            Self::Lop => "lop",
            Self::LopBinary => "lop_binary",
            Self::LopBatchEnd => "lop_batch_end",
            Self::LopUncached => "lop_uncached",
            Self::StickyRoundRobin => "sticky_round_robin",
            Self::StickyLor => "sticky_lor",
            Self::StickyLop => "sticky_lop",
            Self::RankedStickyLopUncached { .. } => RANKED,
            Self::TolerantStickyLopUncached { .. } => TOLERANT,
        }
    }

    /// Name and parameters in one word, as the explorer writes them: `ranked_sticky_lop_uncached_topk2`,
    /// `tolerant_sticky_lop_uncached_2.0x`.
    pub fn key(&self) -> String {
        self.to_string()
    }

    /// Whether it looks at the replicas' loads; otherwise its choice depends on nothing but the requests before.
    pub const fn reads_loads(&self) -> bool {
        !matches!(self, Self::Random | Self::RoundRobin | Self::StickyRoundRobin)
    }

    /// Whether it looks into the replicas' prefix caches.
    pub const fn reads_caches(&self) -> bool {
        matches!(
            self,
            Self::LopUncached | Self::RankedStickyLopUncached { .. } | Self::TolerantStickyLopUncached { .. }
        )
    }

    /// Whether it keeps conversations together.
    pub const fn is_sticky(&self) -> bool {
        matches!(
            self,
            Self::StickyRoundRobin
                | Self::StickyLor
                | Self::StickyLop
                | Self::RankedStickyLopUncached { .. }
                | Self::TolerantStickyLopUncached { .. }
        )
    }
}

impl fmt::Display for RouterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::RankedStickyLopUncached { top_k } => write!(f, "_topk{top_k}"),
            Self::TolerantStickyLopUncached { tolerance_factor } => write!(f, "_{tolerance_factor:?}x"),
            _ => Ok(()),
        }
    }
}

impl TryFrom<Flat> for RouterConfig {
    type Error = RouterConfigError;

    fn try_from(flat: Flat) -> Result<Self, Self::Error> {
        let missing = |policy, parameter, example| RouterConfigError::Missing {
            policy,
            parameter,
            example,
        };
        let (config, top_k, tolerance_factor) = match flat.scheduler.as_str() {
            RANKED => {
                let top_k = flat.top_k.ok_or_else(|| missing(RANKED, "top_k", "2"))?;
                (
                    Self::RankedStickyLopUncached { top_k },
                    None,
                    flat.tolerance_factor,
                )
            }
            TOLERANT => {
                let tolerance_factor = flat
                    .tolerance_factor
                    .ok_or_else(|| missing(TOLERANT, "tolerance_factor", "2.0"))?;
                (
                    Self::TolerantStickyLopUncached { tolerance_factor },
                    flat.top_k,
                    None,
                )
            }
            name => {
                let plain = RouterConfig::PLAIN.into_iter().find(|p| p.name() == name);
                let unknown = || RouterConfigError::Unknown(name.to_owned());
                (plain.ok_or_else(unknown)?, flat.top_k, flat.tolerance_factor)
            }
        };
        let needless = |parameter| {
            Err(RouterConfigError::Needless {
                policy: flat.scheduler.clone(),
                parameter,
            })
        };
        if top_k.is_some() {
            return needless("top_k");
        }
        if tolerance_factor.is_some() {
            return needless("tolerance_factor");
        }
        config.checked()
    }
}

impl RouterConfig {
    /// Itself, if its parameters are in range.
    fn checked(self) -> Result<Self, RouterConfigError> {
        let range = |parameter, value: String, range| {
            Err(RouterConfigError::Range {
                policy: self.name(),
                parameter,
                value,
                range,
            })
        };
        match self {
            Self::RankedStickyLopUncached { top_k: 0 } => range("top_k", "0".into(), "at least 1"),
            Self::TolerantStickyLopUncached { tolerance_factor: t } if !(t.is_finite() && t >= 1.0) => {
                range("tolerance_factor", t.to_string(), "a number of at least 1")
            }
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<RouterConfig, String> {
        serde_saphyr::from_str(yaml).map_err(|e| e.to_string())
    }

    #[test]
    fn every_name_of_the_explorer_is_read_and_written() {
        for policy in RouterConfig::PLAIN {
            let yaml = format!("scheduler: {}", policy.name());
            assert_eq!(parse(&yaml), Ok(policy));
            assert_eq!(policy.key(), policy.name());
        }
        let ranked = RouterConfig::RankedStickyLopUncached { top_k: 2 };
        let tolerant = RouterConfig::TolerantStickyLopUncached {
            tolerance_factor: 2.0,
        };
        assert_eq!(
            parse("scheduler: ranked_sticky_lop_uncached\ntop_k: 2"),
            Ok(ranked)
        );
        assert_eq!(
            parse("scheduler: tolerant_sticky_lop_uncached\ntolerance_factor: 2"),
            Ok(tolerant)
        );
        assert_eq!(ranked.key(), "ranked_sticky_lop_uncached_topk2");
        assert_eq!(tolerant.to_string(), "tolerant_sticky_lop_uncached_2.0x");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut all = RouterConfig::PLAIN.to_vec();
        all.push(RouterConfig::RankedStickyLopUncached { top_k: 4 });
        all.push(RouterConfig::TolerantStickyLopUncached {
            tolerance_factor: 1.5,
        });
        for policy in all {
            let json = serde_json::to_string(&policy).unwrap();
            assert_eq!(
                serde_json::from_str::<RouterConfig>(&json).unwrap(),
                policy,
                "{json}"
            );
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (yaml, words) in [
            (
                "scheduler: ranked_sticky_lop_uncached",
                "`ranked_sticky_lop_uncached` needs `top_k`",
            ),
            (
                "scheduler: tolerant_sticky_lop_uncached\ntop_k: 1",
                "needs `tolerance_factor`",
            ),
            ("scheduler: lop\ntop_k: 1", "`lop` takes no `top_k`"),
            (
                "scheduler: ranked_sticky_lop_uncached\ntop_k: 0",
                "`top_k` of `ranked_sticky_lop_uncached` is 0",
            ),
            (
                "scheduler: tolerant_sticky_lop_uncached\ntolerance_factor: .nan",
                "at least 1",
            ),
            (
                "scheduler: best",
                "`best` is not a routing policy; write one of random, round_robin",
            ),
            ("scheduler: lop\nspeed: 1", "speed"),
        ] {
            let error = parse(yaml).unwrap_err();
            assert!(error.contains(words), "{yaml}: {error}");
        }
    }
}
