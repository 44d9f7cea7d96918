//! From measured points to dense tables.

use super::curve::{PiecewiseLine, Points, rise};
use super::read::Measured;
use super::{ProfileSpec, Rounding};
use crate::sim::cost::dense::{Curve, DecodeGrid, PrefillGrid};
use crate::sim::cost::roofline::KV_STEP;

/// Steps of the prefill table, in tokens.
const PREFILL_KV: u32 = 64;
const PREFILL_CHUNK: u32 = 32;

/// Time of the operators of a layer by the exact number of tokens.
pub(super) fn layer(spec: &ProfileSpec<'_>, measured: &mut Measured) -> Curve {
    let lines: Vec<PiecewiseLine> = measured.operators.iter().map(Points::line).collect();
    let end = lines.iter().map(PiecewiseLine::last).fold(0.0, f64::max) as u64;
    let save = measured.save.line();
    let known = save.last();
    if known > 0.0 && (known as u64) < end {
        measured.notes.push(format!(
            "attn_kv_cache_save ends at {known} tokens; continued in proportion to {end}"
        ));
    }
    let saving = |n: u64| save.at(n as f64) * beyond(&save, n as f64);
    let all = || measured.operators.iter().zip(&lines);
    let mut values = if spec.rounding == Rounding::Exact {
        by_token(end, 1, |n| {
            all().map(|(_, line)| line.at(n) * beyond(line, n)).sum()
        })
    } else {
        by_token(end, 8, |n| {
            all()
                .map(|(points, line)| points.forest(n) * beyond(line, n))
                .sum()
        })
    };
    values
        .iter_mut()
        .enumerate()
        .for_each(|(n, ms)| *ms += saving(n as u64));
    if spec.rounding == Rounding::Exact {
        rise(&mut values);
    }
    Curve(values)
}

/// By how much more is asked than the last point of a line, where other lines go further.
fn beyond(line: &PiecewiseLine, n: f64) -> f64 {
    (n / line.last().max(1.0)).max(1.0)
}

/// Values for every number of tokens up to `end`, which are first rounded up to a `step`.
fn by_token(end: u64, step: u64, value: impl Fn(f64) -> f64) -> Vec<f64> {
    let mut values = vec![value(step as f64)];
    while (values.len() as u64) <= end {
        let up_to = (values.len() as u64).next_multiple_of(step);
        values.resize(up_to.min(end) as usize + 1, value(up_to as f64));
    }
    values
}

/// One series by the exact number of tokens.
pub(super) fn curve(points: &Points) -> Curve {
    let line = points.line().rising();
    Curve((0..=line.last() as u64).map(|n| line.at(n as f64)).collect())
}

/// Time of a collective by the number of tokens, `token_bytes` each.
pub(super) fn network(rounding: Rounding, points: &Points, token_bytes: f64) -> Curve {
    let line = points.line();
    let end = (line.last() / token_bytes) as u64;
    if rounding != Rounding::Exact {
        return Curve(by_token(end, 8, |n| points.forest(n * token_bytes)));
    }
    let mut values = by_token(end, 1, |n| line.at(n * token_bytes));
    rise(&mut values);
    Curve(values)
}

/// Decode attention for every batch size and step of the mean KV length.
pub(super) fn decode(rounding: Rounding, measured: &Measured) -> DecodeGrid {
    let exact = rounding == Rounding::Exact;
    let (first, step) = if exact {
        (KV_STEP as u32 / 2, KV_STEP as u32)
    } else {
        (0, 64)
    };
    let lines: Vec<(u64, PiecewiseLine)> = measured
        .decode
        .iter()
        .map(|(batch, points)| {
            (
                *batch,
                if exact {
                    points.line().rising()
                } else {
                    points.line()
                },
            )
        })
        .collect();
    let end = lines.iter().map(|l| l.1.last()).fold(0.0, f64::max);
    let columns = ((end - f64::from(first)).max(0.0) / f64::from(step)) as u32 + 1;
    let kv = |column: u32| f64::from(first + step * column);
    let whole = |line: &PiecewiseLine| ((line.last() - f64::from(first)) / f64::from(step)).max(0.0) as u32;
    let (mut values, mut ends) = (Vec::new(), Vec::new());
    for batch in 1..=lines.last().map_or(0, |l| l.0) {
        let after = lines.partition_point(|l| l.0 < batch);
        let (b1, high) = &lines[after];
        let (b0, low) = &lines[after.saturating_sub(1)];
        let share = if b1 == b0 {
            1.0
        } else {
            (batch - b0) as f64 / (b1 - b0) as f64
        };
        if exact {
            values.extend((0..columns).map(|c| low.at(kv(c)) * (1.0 - share) + high.at(kv(c)) * share));
        } else {
            // A forest answers with the nearest point.
            let line = if share <= 0.5 { low } else { high };
            values.extend((0..columns).map(|c| line.nearest(kv(c))));
        }
        ends.push(whole(low).min(whole(high)));
    }
    if exact {
        rise_columns(&mut values, columns as usize);
    }
    DecodeGrid::new(columns, first, step, values, ends)
}

/// Prefill attention for every step of KV and chunk. What a chunk costs with an empty cache is measured closely; what
/// the cache adds is in proportion to the chunk and is interpolated, a token of the chunk, between the chunks that have
/// been measured with one.
pub(super) fn prefill(rounding: Rounding, measured: &Measured) -> PrefillGrid {
    let exact = rounding == Rounding::Exact;
    let mut empty = Points::default();
    let mut lines: Vec<(f64, PiecewiseLine)> = Vec::new();
    for (chunk, points) in &measured.prefill {
        let line = points.line();
        if points.has(0) {
            empty.add(*chunk, line.at(0.0));
        }
        if line.last() > 0.0 {
            lines.push((*chunk as f64, if exact { line.rising() } else { line }));
        }
    }
    let empty = if exact {
        empty.line().rising()
    } else {
        empty.line()
    };
    let added = |line: &(f64, PiecewiseLine), kv: f64| {
        let (chunk, edge) = (line.0, line.1.last());
        let more = if kv > edge {
            (kv + chunk / 2.0) / (edge + chunk / 2.0)
        } else {
            1.0
        };
        (line.1.at(kv) * more - empty.at(chunk)).max(0.0) / chunk
    };
    let end = measured.prefill_limit as u32;
    let chunks = measured.prefill.keys().last().map_or(1, |c| *c as u32);
    let (rows, columns) = (end / PREFILL_KV + 1, chunks / PREFILL_CHUNK + 1);
    let mut values = Vec::with_capacity((rows * columns) as usize);
    for row in 0..rows {
        let kv = f64::from(PREFILL_KV * row);
        let slopes = PiecewiseLine(lines.iter().map(|line| (line.0, added(line, kv))).collect());
        let begin = values.len();
        for column in 0..columns {
            let chunk = f64::from(PREFILL_CHUNK * column);
            values.push(empty.at(chunk) + chunk * slopes.at(chunk));
        }
        if exact {
            rise(&mut values[begin..]);
        }
    }
    PrefillGrid::new(PREFILL_KV, PREFILL_CHUNK, columns, values, end)
}

/// Makes every column of a table rise from row to row.
fn rise_columns(values: &mut [f64], columns: usize) {
    for column in 0..columns {
        let mut line: Vec<f64> = values.iter().skip(column).step_by(columns).copied().collect();
        rise(&mut line);
        values
            .iter_mut()
            .skip(column)
            .step_by(columns)
            .zip(line)
            .for_each(|(v, y)| *v = y);
    }
}
