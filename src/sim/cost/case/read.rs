//! The files of a case's tables.

use serde::Deserialize;

use super::{CaseFiles, CaseTables, VidurVersion};
use crate::sim::cost::dense::{Curve, DecodeGrid, PrefillGrid};
use crate::sim::cost::input::Rows;
use crate::sim::cost::{CostError, Input};

/// `table.json`.
#[derive(Deserialize)]
struct Factors {
    tensor_parallel_size: u32,
    num_layers_per_stage: u32,
    decode_batching_overhead_fraction_applied: f64,
    prefill_batching_overhead_fraction_applied: f64,
    nccl_cpu_launch_overhead_ms: f64,
    nccl_cpu_skew_overhead_per_device_ms: f64,
    kv_granularity: u32,
}

pub(super) fn read(files: CaseFiles<'_>, version: VidurVersion) -> Result<CaseTables, CostError> {
    let name = files.table.name;
    let factors: Factors =
        serde_json::from_str(&files.table.text()?).map_err(|e| CostError::file(name, e.to_string()))?;
    if factors.kv_granularity != 64 {
        let found = factors.kv_granularity;
        return Err(CostError::file(
            name,
            format!("kv_granularity is {found}; only 64 can be read"),
        ));
    }
    let (ops, send) = per_token(files.per_token_ops, &factors)?;
    let save = steps(files.kv_cache_save, ops.0.len())?;
    let layer = Curve(ops.0.iter().zip(&save).map(|(a, b)| a + b).collect());
    Ok(CaseTables {
        version,
        layers: f64::from(factors.num_layers_per_stage),
        layer,
        send,
        decode: decode(files.attn_decode)?,
        prefill: prefill(files.attn_prefill, version)?,
        decode_factor: 1.0 + factors.decode_batching_overhead_fraction_applied,
        prefill_factor: 1.0 + factors.prefill_batching_overhead_fraction_applied,
    })
}

/// Operators by the exact number of tokens, communication of the layer with them; and the sending on.
fn per_token(input: Input<'_>, factors: &Factors) -> Result<(Curve, Curve), CostError> {
    let mut rows = Rows::open(input)?;
    let tokens = rows.column("num_tokens")?;
    let find = |name: &str| rows.columns().iter().position(|c| c == name);
    let (reduce, send) = (find("all_reduce_ms"), find("send_recv_ms"));
    let ops: Vec<usize> = (0..rows.columns().len())
        .filter(|c| *c != tokens && Some(*c) != reduce && Some(*c) != send)
        .collect();
    let tp = factors.tensor_parallel_size;
    let launch = factors.nccl_cpu_launch_overhead_ms
        + factors.nccl_cpu_skew_overhead_per_device_ms * f64::from(tp).powf(1.25);
    let (mut layer, mut sends) = (vec![0.0], vec![0.0]);
    while rows.next()? {
        let up_to = rows.count(tokens)? as usize;
        if up_to < layer.len() {
            return Err(rows.wrong(tokens, "above the row before it"));
        }
        let mut sum = 0.0;
        for op in &ops {
            sum += rows.value(*op)?;
        }
        if tp > 1 {
            let reduce = reduce.ok_or_else(|| rows.error("column `all_reduce_ms` is missing".to_owned()))?;
            sum += 2.0 * (rows.value(reduce)? + launch);
        }
        layer.resize(up_to + 1, sum);
        sends.resize(up_to + 1, send.map_or(Ok(0.0), |c| rows.value(c))?);
    }
    if layer.len() == 1 {
        return Err(CostError::file(rows.file(), "has no rows"));
    }
    Ok((Curve(layer), Curve(sends)))
}

/// A step function of the tokens: a row holds from its start to the next row's.
fn steps(input: Input<'_>, length: usize) -> Result<Vec<f64>, CostError> {
    let mut rows = Rows::open(input)?;
    let (start, value) = (
        rows.column("num_tokens_start")?,
        rows.column("attn_kv_cache_save_ms")?,
    );
    let mut values = vec![0.0];
    let mut last = 0.0;
    while rows.next()? {
        let at = rows.count(start)? as usize;
        if at < values.len() {
            return Err(rows.wrong(start, "above the row before it"));
        }
        values.resize(at, last);
        last = rows.value(value)?;
        values.push(last);
    }
    if values.len() == 1 {
        return Err(CostError::file(rows.file(), "has no rows"));
    }
    values.resize(length.max(values.len()), last);
    Ok(values)
}

fn decode(input: Input<'_>) -> Result<DecodeGrid, CostError> {
    let mut rows = Rows::open(input)?;
    let batch = rows.column("batch_size")?;
    let columns = rows.columns().len() - 1;
    for column in 0..columns {
        let name = format!("kv{}", 64 * column);
        if rows.find(&name) != Some(column + 1) {
            return Err(CostError::line(
                rows.file(),
                1,
                format!("column `{name}` is not at place {}", column + 2),
            ));
        }
    }
    let mut values = Vec::new();
    while rows.next()? {
        if rows.count(batch)? as usize != values.len() / columns + 1 {
            return Err(rows.wrong(batch, "one more than the row before it"));
        }
        for column in 1..=columns {
            values.push(rows.value(column)?);
        }
    }
    if values.is_empty() {
        return Err(CostError::file(rows.file(), "has no rows"));
    }
    let ends = vec![columns as u32 - 1; values.len() / columns];
    Ok(DecodeGrid::new(columns as u32, 0, 64, values, ends))
}

/// A step function of the chunk for each KV length. Vidur's tables end at a whole multiple of 512, its last row before.
fn prefill(input: Input<'_>, version: VidurVersion) -> Result<PrefillGrid, CostError> {
    let mut rows = Rows::open(input)?;
    let (kv, chunk, value) = (
        rows.column("kv_rounded")?,
        rows.column("chunk_start")?,
        rows.column("attn_prefill_ms")?,
    );
    let step = match version {
        VidurVersion::Main => 1,
        VidurVersion::Canary => 32,
    };
    let mut lines: Vec<Vec<(usize, f64)>> = Vec::new();
    let mut end = 0;
    while rows.next()? {
        let (row, start) = (rows.count(kv)?, rows.count(chunk)?);
        if row == 64 * lines.len() as u64 {
            lines.push(Vec::new());
        } else if row + 64 != 64 * lines.len() as u64 {
            return Err(rows.wrong(kv, "the multiple of 64 of the row before it, or the next"));
        }
        if start % step != 0 {
            return Err(rows.wrong(chunk, &format!("a multiple of {step}")));
        }
        let place = (start / step) as usize;
        if let Some(line) = lines.last_mut() {
            if line.last().is_some_and(|(last, _)| *last >= place) {
                return Err(rows.wrong(chunk, "above the row before it"));
            }
            line.push((place, rows.value(value)?));
        }
        end = end.max(start);
    }
    if lines.is_empty() {
        return Err(CostError::file(rows.file(), "has no rows"));
    }
    let columns = (end.next_multiple_of(512) / step) as usize + 1;
    let mut values = Vec::with_capacity(lines.len() * columns);
    for line in lines {
        let begin = values.len();
        for (start, ms) in line {
            let before = values
                .last()
                .copied()
                .filter(|_| values.len() > begin)
                .unwrap_or(ms);
            values.resize(begin + start, before);
            values.push(ms);
        }
        let last = values.last().copied().unwrap_or(0.0);
        values.resize(begin + columns, last);
    }
    Ok(PrefillGrid::new(
        64,
        step as u32,
        columns as u32,
        values,
        u32::MAX,
    ))
}
