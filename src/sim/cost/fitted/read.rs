//! The entries of a fitted profile.

use serde::Deserialize;

use crate::sim::cost::roofline::stepped_kv;
use crate::sim::cost::{BatchShape, CostError, Input};

/// As the file has it.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Entry {
    Prefill {
        seq_len: u32,
        #[serde(flatten)]
        common: Common,
    },
    Decode {
        kv_cache: u32,
        new_tokens: u32,
        #[serde(flatten)]
        common: Common,
    },
}

#[derive(Deserialize)]
struct Common {
    batch_size: u32,
    mean_ms: Option<f64>,
    median_ms: Option<f64>,
}

/// One measured kind of iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// New tokens of each sequence of a decode; `None` for a prefill.
    new_tokens: Option<u32>,
    /// Sequences.
    pub(super) batch: u32,
    /// Prompt length, or tokens in the cache of each.
    pub(super) length: u32,
    pub(super) ms: f64,
}

impl Point {
    pub(super) fn is_prefill(&self) -> bool {
        self.new_tokens.is_none()
    }

    /// Tokens that each sequence gets: one at the end of a prefill.
    pub(super) fn tokens_each(&self) -> u32 {
        self.new_tokens.unwrap_or(1)
    }

    /// Its length as a batch of that length is looked up.
    pub(super) fn place(&self) -> u32 {
        if self.is_prefill() {
            self.length
        } else {
            stepped_kv(&self.shape()) as u32
        }
    }

    /// The batch that was measured.
    pub(super) fn shape(&self) -> BatchShape {
        let mut shape = BatchShape::default();
        for _ in 0..self.batch {
            if self.is_prefill() {
                shape.add_prefill(0, self.length, true);
            } else {
                shape.add_decode(self.length);
            }
        }
        shape
    }
}

pub(super) fn points(file: Input<'_>) -> Result<Vec<Point>, CostError> {
    let name = file.name;
    let entries: Vec<Entry> =
        serde_json::from_str(&file.text()?).map_err(|e| CostError::file(name, e.to_string()))?;
    let mut points = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let (new_tokens, length, common) = match entry {
            Entry::Prefill { seq_len, common } => (None, seq_len, common),
            Entry::Decode {
                kv_cache,
                new_tokens,
                common,
            } => (Some(new_tokens), kv_cache, common),
        };
        let wrong = |what: &str| CostError::file(name, format!("entry {}: {what}", index + 1));
        let ms = common.median_ms.or(common.mean_ms);
        let ms = ms.ok_or_else(|| wrong("neither median_ms nor mean_ms is given"))?;
        if !(ms > 0.0 && ms.is_finite()) {
            return Err(wrong(&format!("{ms} ms; a time is above 0")));
        }
        if common.batch_size == 0 || new_tokens == Some(0) || (length == 0 && new_tokens.is_none()) {
            return Err(wrong("batch_size, seq_len and new_tokens are at least 1"));
        }
        points.push(Point {
            new_tokens,
            batch: common.batch_size,
            length,
            ms,
        });
    }
    Ok(points)
}
