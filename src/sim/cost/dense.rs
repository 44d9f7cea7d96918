//! Tables whose values lie side by side: one load a question. Beyond its edge a table is continued in proportion to the
//! work, from the value at the edge, and says so.

use super::BatchShape;

/// A value, and whether the table ended before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    pub(super) ms: f64,
    pub(super) beyond: bool,
}

impl Value {
    pub(super) const ZERO: Self = Self {
        ms: 0.0,
        beyond: false,
    };

    pub(super) fn times(self, factor: f64) -> Self {
        Self {
            ms: self.ms * factor,
            beyond: self.beyond,
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            ms: self.ms + other.ms,
            beyond: self.beyond || other.beyond,
        }
    }
}

/// A value for every whole number from zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Curve(pub(super) Vec<f64>);

impl Curve {
    /// The value at `n`, which grows with `n` beyond the edge.
    pub(super) fn at(&self, n: u32) -> Value {
        if let Some(ms) = self.0.get(n as usize) {
            return Value {
                ms: *ms,
                beyond: false,
            };
        }
        let edge = self.0.len().saturating_sub(1);
        let last = self.0.last().copied().unwrap_or(0.0);
        Value {
            ms: last * f64::from(n) / edge.max(1) as f64,
            beyond: true,
        }
    }
}

/// Decode attention: a value a batch size, from one, and step of the mean KV length.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DecodeGrid {
    batches: u32,
    columns: u32,
    /// Tokens of KV at column zero and between two columns.
    first: u32,
    step: u32,
    values: Vec<f64>,
    /// The last column of each row that is backed by a measurement.
    ends: Vec<u32>,
}

impl DecodeGrid {
    /// `values` row by row, a row a batch size.
    pub(super) fn new(columns: u32, first: u32, step: u32, values: Vec<f64>, ends: Vec<u32>) -> Self {
        let batches = ends.len() as u32;
        Self {
            batches,
            columns,
            first,
            step,
            values,
            ends,
        }
    }

    /// The value of a column; beyond an edge in proportion to the tokens of KV that all of the batch read.
    pub(super) fn at(&self, batch: u32, column: u64) -> Value {
        let row = batch.clamp(1, self.batches);
        let inside = column.min(u64::from(self.ends[row as usize - 1]));
        let ms = self.values[(row as usize - 1) * self.columns as usize + inside as usize];
        if row == batch && inside == column {
            return Value { ms, beyond: false };
        }
        let tokens = |batch: u32, column: u64| {
            f64::from(batch) * (f64::from(self.first) + f64::from(self.step) * column as f64).max(1.0)
        };
        Value {
            ms: ms * tokens(batch, column) / tokens(row, inside),
            beyond: true,
        }
    }
}

/// Prefill attention: a value a step of KV, from zero, and step of chunk, from zero.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PrefillGrid {
    kv_step: u32,
    chunk_step: u32,
    rows: u32,
    columns: u32,
    values: Vec<f64>,
    /// Most tokens of KV and chunk together that are backed by a measurement.
    limit: u32,
}

impl PrefillGrid {
    /// `values` row by row, a row a step of KV.
    pub(super) fn new(kv_step: u32, chunk_step: u32, columns: u32, values: Vec<f64>, limit: u32) -> Self {
        let rows = values.len() as u32 / columns;
        Self {
            kv_step,
            chunk_step,
            rows,
            columns,
            values,
            limit,
        }
    }

    /// The value of whole steps; beyond an edge in proportion to the pairs of query and key.
    pub(super) fn at(&self, row: u64, column: u64) -> Value {
        let (r, c) = (
            row.min(u64::from(self.rows) - 1),
            column.min(u64::from(self.columns) - 1),
        );
        let ms = self.values[r as usize * self.columns as usize + c as usize];
        if r == row && c == column {
            return Value { ms, beyond: false };
        }
        let pairs = |row: u64, column: u64| self.pairs(row as f64, column as f64);
        Value {
            ms: ms * pairs(row, column) / pairs(r, c).max(1.0),
            beyond: true,
        }
    }

    /// The value between the steps, bilinear; `kv` and `chunk` in tokens.
    pub(super) fn between(&self, kv: f64, chunk: f64) -> Value {
        let (row, column) = (kv / f64::from(self.kv_step), chunk / f64::from(self.chunk_step));
        let (last_row, last_column) = (f64::from(self.rows - 1), f64::from(self.columns - 1));
        let (r, c) = (row.min(last_row), column.min(last_column));
        let (r0, c0) = (r as usize, c as usize);
        let (r1, c1) = (
            (r0 + 1).min(self.rows as usize - 1),
            (c0 + 1).min(self.columns as usize - 1),
        );
        let (fr, fc) = (r - r0 as f64, c - c0 as f64);
        let value = |r: usize, c: usize| self.values[r * self.columns as usize + c];
        let low = value(r0, c0) * (1.0 - fc) + value(r0, c1) * fc;
        let high = value(r1, c0) * (1.0 - fc) + value(r1, c1) * fc;
        let ms = low * (1.0 - fr) + high * fr;
        if row <= last_row && column <= last_column {
            let beyond = kv + chunk > f64::from(self.limit);
            return Value { ms, beyond };
        }
        Value {
            ms: ms * self.pairs(row, column) / self.pairs(r, c).max(1.0),
            beyond: true,
        }
    }

    fn pairs(&self, row: f64, column: f64) -> f64 {
        let (kv, chunk) = (row * f64::from(self.kv_step), column * f64::from(self.chunk_step));
        chunk * kv + chunk * chunk / 2.0
    }
}

/// Mean KV length of the decodes, truncated as Vidur truncates it.
pub(super) fn mean_kv(shape: &BatchShape) -> u64 {
    shape.decode_kv / u64::from(shape.decodes.max(1))
}

/// Iterations, this one with them, until a mean that grows by one an iteration, rounded up to a `step`, is another.
pub(super) fn until_up(mean: u64, step: u64) -> u32 {
    (mean.next_multiple_of(step) - mean + 1) as u32
}

/// The same, rounded down.
pub(super) fn until_down(mean: u64, step: u64) -> u32 {
    (step - mean % step) as u32
}

#[cfg(test)]
mod tests;
