//! What is fitted: factors of the roofline, as natural logarithms, with what is known of them before.

use crate::sim::catalog::Efficiency;

/// Standard deviation of the logarithm of a factor on a datasheet rate, before any measurement.
const FACTOR_SD: f64 = 0.25;
/// The same of a CPU time: engines and hosts differ more than kernels.
const CPU_SD: f64 = 0.7;
/// The same of one factor on all times: next to nothing is known.
const SCALE_SD: f64 = 2.0;
/// Least prior median of a constant, in us: a logarithm needs one.
const LEAST_US: f64 = 0.1;

/// The factors of a prediction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Factors {
    /// Those of the roofline.
    pub(super) efficiency: Efficiency,
    /// Multiplies all times.
    pub(super) scale: f64,
}

/// Something that can be fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// Streaming the weights.
    Weights,
    /// Matrix multiplications.
    Gemm,
    /// Reading the KV cache.
    Kv,
    /// Attention of prefills.
    Attention,
    /// Communication.
    Communication,
    /// CPU time of a sequence.
    Sequence,
    /// CPU time of an iteration. Launches of layers are as constant, and are left at what they are.
    Step,
    /// All times.
    Scale,
}

impl Name {
    /// As `efficiency` of a GPU names it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Gemm => "gemm",
            Self::Kv => "kv",
            Self::Attention => "attention",
            Self::Communication => "communication",
            Self::Sequence => "sequence_us",
            Self::Step => "step_us",
            Self::Scale => "scale",
        }
    }

    /// `us`, or nothing for a factor.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Sequence | Self::Step => "us",
            _ => "",
        }
    }

    fn place(self, factors: &mut Factors) -> &mut f64 {
        let e = &mut factors.efficiency;
        match self {
            Self::Weights => &mut e.weights,
            Self::Gemm => &mut e.gemm,
            Self::Kv => &mut e.kv,
            Self::Attention => &mut e.attention,
            Self::Communication => &mut e.communication,
            Self::Sequence => &mut e.sequence_us,
            Self::Step => &mut e.step_us,
            Self::Scale => &mut factors.scale,
        }
    }

    fn sd(self) -> f64 {
        match self {
            Self::Sequence | Self::Step => CPU_SD,
            Self::Scale => SCALE_SD,
            _ => FACTOR_SD,
        }
    }
}

/// A parameter of a fit: log-normal before any measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Parameter {
    /// What it is.
    pub(super) name: Name,
    /// Natural logarithm of the median.
    pub(super) mean: f64,
    /// Standard deviation of the natural logarithm.
    pub(super) sd: f64,
}

/// The parameters of a fit, beside factors that stay.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Space {
    base: Factors,
    /// Those that are free.
    pub(super) free: Vec<Parameter>,
}

impl Space {
    /// All factors of a GPU's roofline around what the catalog says. Communication only where there is some.
    pub(super) fn all(efficiency: Efficiency, communicates: bool) -> Self {
        let base = Factors {
            efficiency,
            scale: 1.0,
        };
        let mut names = vec![
            Name::Weights,
            Name::Gemm,
            Name::Kv,
            Name::Attention,
            Name::Sequence,
            Name::Step,
        ];
        if communicates {
            names.push(Name::Communication);
        }
        Self::of(base, &names)
    }

    /// One factor on all times.
    pub(super) fn one_ratio(efficiency: Efficiency) -> Self {
        let base = Factors {
            efficiency,
            scale: 1.0,
        };
        Self::of(base, &[Name::Scale])
    }

    fn of(base: Factors, names: &[Name]) -> Self {
        let free = names.iter().map(|name| {
            let mut values = base;
            Parameter {
                name: *name,
                mean: name.place(&mut values).max(LEAST_US).ln(),
                sd: name.sd(),
            }
        });
        Self {
            base,
            free: free.collect(),
        }
    }

    /// Without some of its parameters: they stay at their prior medians.
    #[must_use]
    pub(super) fn without(&self, frozen: &[Name]) -> Self {
        let mut less = self.clone();
        less.free.retain(|p| !frozen.contains(&p.name));
        less
    }

    /// The factors at a point, given as natural logarithms in the order of `free`.
    pub(super) fn at(&self, point: &[f64]) -> Factors {
        let mut factors = self.base;
        for (parameter, ln) in self.free.iter().zip(point) {
            *parameter.name.place(&mut factors) = ln.exp();
        }
        factors
    }

    /// Where nothing is measured.
    pub(super) fn start(&self) -> Vec<f64> {
        self.free.iter().map(|p| p.mean).collect()
    }
}
