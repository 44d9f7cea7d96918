//! Profiles in Vidur's CSV formats, interpolated into dense tables.

mod build;
mod curve;
mod read;

use curve::Points;

use super::case::VidurVersion;
use super::dense::{Curve, DecodeGrid, PrefillGrid, Value, mean_kv, until_down, until_up};
use super::link::Line;
use super::roofline::{KV_STEP, Roofline};
use super::{BatchShape, CostError, CostModel, Input, StageTime};
use crate::sim::Time;
use crate::sim::catalog::{Gpu, ModelShape};

/// What of a batch the time is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// True tokens, the mean KV length in steps of 32, prefills by their pairs; head, sampling and CPU are added.
    Exact,
    /// Vidur's rounding and Vidur's terms: no head, no CPU overhead, communication launches by its constants.
    Vidur(VidurVersion),
}

/// What the tables are for.
#[derive(Clone, Copy, Debug)]
pub struct ProfileSpec<'a> {
    /// The model.
    pub model: &'a ModelShape,
    /// The GPU, for what the profile does not hold.
    pub gpu: &'a Gpu,
    /// Tensor parallelism.
    pub tp: u32,
    /// Pipeline stages.
    pub pp: u32,
    /// Tokens of a KV block.
    pub block_tokens: u32,
    /// Whether pipeline stages lie on different nodes.
    pub multi_node: bool,
    /// What of a batch the time is computed from.
    pub rounding: Rounding,
}

/// The profile's files, unpacked. Communication is needed only where there is any; without a file it is taken from the
/// GPU's link, and said so.
pub struct ProfileFiles<'a> {
    /// `mlp.csv`.
    pub mlp: Input<'a>,
    /// `attention.csv`, or `attention_derived.csv` of the same columns.
    pub attention: Input<'a>,
    /// `all_reduce.csv`.
    pub all_reduce: Option<Input<'a>>,
    /// `send_recv.csv`.
    pub send_recv: Option<Input<'a>>,
}

/// Dense tables of one model, GPU and layout. Beyond an edge they are continued in proportion to the work.
#[derive(Debug)]
pub struct ProfileTables {
    rounding: Rounding,
    layers: f64,
    /// Operators of a layer, by tokens; the embedding, once.
    layer: Curve,
    embedding: Curve,
    reduce: Collective,
    send: Collective,
    decode: DecodeGrid,
    prefill: PrefillGrid,
    /// What a prefill kernel takes at the least.
    prefill_floor: f64,
    /// Vidur's factor where several sequences are batched.
    batching: f64,
    /// Head and CPU, which profiles lack; the head by the sequences that yield a token.
    roofline: Roofline,
    head: Vec<f64>,
    notes: Vec<String>,
}

/// A collective: none, measured, or by the datasheet.
#[derive(Debug)]
enum Collective {
    Measured { curve: Curve, launch: f64 },
    Datasheet(Line),
}

impl Collective {
    fn at(&self, tokens: u32) -> Value {
        match self {
            Self::Measured { curve, launch } => {
                let value = curve.at(tokens);
                Value {
                    ms: value.ms + launch,
                    beyond: value.beyond,
                }
            }
            Self::Datasheet(line) => Value {
                ms: line.at(tokens),
                beyond: false,
            },
        }
    }
}

/// So many times of the head are kept; more sequences are computed.
const HEADS: u32 = 1024;
/// Vidur 2024-11 adds this to every all-reduce, in ms.
const VIDUR_LAUNCH_MS: f64 = 0.02;
/// And this share to attention over several sequences, where KV heads are shared.
const VIDUR_BATCHING: f64 = 0.1;

impl ProfileTables {
    /// Reads a profile.
    ///
    /// # Errors
    /// A column is missing, a time is negative or not a number, or there is no row for this model and tensor
    /// parallelism; with file and line.
    pub fn read(spec: &ProfileSpec<'_>, files: ProfileFiles<'_>) -> Result<Self, CostError> {
        let roofline = Roofline::new(spec.model, spec.gpu, spec.tp, spec.pp)?;
        let mut measured = read::read(spec, files)?;
        let layer = build::layer(spec, &mut measured);
        let prefill = build::prefill(spec.rounding, &measured);
        let token_bytes = 2.0 * f64::from(spec.model.embedding_dim);
        let collective = |points: &Option<Points>, launch: f64, datasheet: Line| match points {
            Some(points) => Collective::Measured {
                curve: build::network(spec.rounding, points, token_bytes),
                launch,
            },
            None => Collective::Datasheet(datasheet),
        };
        let main = spec.rounding == Rounding::Vidur(VidurVersion::Main);
        let shared_heads = spec.model.q_heads > spec.model.kv_heads;
        let embedding = if measured.embedding.is_empty() {
            Curve(vec![0.0])
        } else {
            build::curve(&measured.embedding)
        };
        Ok(Self {
            rounding: spec.rounding,
            layers: f64::from(spec.model.layers / spec.pp),
            embedding,
            reduce: collective(
                &measured.all_reduce,
                if main { VIDUR_LAUNCH_MS } else { 0.0 },
                Line::all_reduce(spec.gpu, spec.tp, token_bytes),
            ),
            send: collective(
                &measured.send_recv,
                0.0,
                Line::send(spec.gpu, spec.tp, spec.pp, token_bytes),
            ),
            decode: build::decode(spec.rounding, &measured),
            prefill_floor: prefill.between(0.0, 0.0).ms,
            prefill,
            layer,
            batching: 1.0 + if main && shared_heads { VIDUR_BATCHING } else { 0.0 },
            head: (0..HEADS).map(|outputs| roofline.head_ms(outputs)).collect(),
            roofline,
            notes: measured.notes,
        })
    }

    /// What was filled in or left out while reading.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Attention as Vidur counts it.
    fn vidur_attention(&self, version: VidurVersion, shape: &BatchShape) -> Value {
        let factor = |n: u32| if n > 1 { self.batching } else { 1.0 };
        let mut value = Value::ZERO;
        if shape.decodes > 0 {
            value = self
                .decode
                .at(shape.decodes, mean_kv(shape).div_ceil(64))
                .times(factor(shape.decodes));
        }
        if shape.prefills > 0 {
            let (kv, chunk) = version.aggregate(shape);
            let prefill = self.prefill.between(kv as f64, chunk as f64);
            value = value.plus(prefill.times(factor(shape.prefills)));
        }
        value
    }

    /// Attention by the true lengths. Several prefills are so many times one of their typical chunk and cache, both
    /// weighted by tokens, as to hold all tokens and all pairs; what a launch takes is counted once.
    fn attention(&self, shape: &BatchShape) -> Value {
        let mut value = Value::ZERO;
        if shape.decodes > 0 {
            value = self.decode.at(shape.decodes, mean_kv(shape) / KV_STEP);
        }
        if shape.prefills > 0 {
            let tokens = f64::from(shape.tokens - shape.decodes);
            let chunk = shape.prefill_squares as f64 / tokens;
            let kv = (shape.prefill_pairs as f64 / tokens - f64::midpoint(chunk, 1.0)).max(0.0);
            let one = self.prefill.between(kv, chunk);
            let all = self.prefill_floor + tokens / chunk * (one.ms - self.prefill_floor);
            value = value.plus(Value {
                ms: all,
                beyond: one.beyond,
            });
        }
        value
    }
}

impl CostModel for ProfileTables {
    fn stage(&self, shape: &BatchShape, last: bool) -> StageTime {
        let attention = match self.rounding {
            Rounding::Exact => self.attention(shape),
            Rounding::Vidur(version) => self.vidur_attention(version, shape),
        };
        let reduce = self.reduce.at(shape.tokens).times(2.0);
        let layer = self.layer.at(shape.tokens).plus(attention).plus(reduce);
        let mut value = layer.times(self.layers);
        let mut overhead = 0.0;
        if !last {
            value = value.plus(self.send.at(shape.tokens));
        } else if self.rounding == Rounding::Exact {
            overhead = self.roofline.overhead_ms(shape, true);
            let head = self.head.get(shape.outputs as usize).copied();
            let head = head.unwrap_or_else(|| self.roofline.head_ms(shape.outputs));
            value.ms += head + self.embedding.at(shape.tokens).ms + overhead;
        }
        StageTime {
            total: Time::from_us(1e3 * value.ms),
            overhead: Time::from_us(1e3 * overhead),
            extrapolated: value.beyond,
        }
    }

    fn steady(&self, shape: &BatchShape) -> u32 {
        match self.rounding {
            Rounding::Exact => until_down(mean_kv(shape), KV_STEP),
            Rounding::Vidur(_) => until_up(mean_kv(shape), 64),
        }
    }
}

#[cfg(test)]
mod tests;
