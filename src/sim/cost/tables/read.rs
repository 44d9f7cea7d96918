//! The CSV files of a profile, reduced to the rows of one model and layout.

use std::collections::BTreeMap;

use super::curve::Points;
use super::{ProfileFiles, ProfileSpec};
use crate::sim::cost::input::Rows;
use crate::sim::cost::{CostError, Input};

/// Operators of a layer whose time depends on the number of tokens alone.
const OPERATORS: [&str; 6] = [
    "attn_pre_proj",
    "attn_post_proj",
    "mlp_up_proj",
    "mlp_down_proj",
    "mlp_act",
    "attn_rope",
];
/// The same, which a profile may lack: norms and additions fused into others.
const OPTIONAL: [&str; 3] = ["input_layernorm", "post_attention_layernorm", "add"];

/// What is read, in ms.
#[derive(Default)]
pub(super) struct Measured {
    /// A series for every operator, by tokens.
    pub(super) operators: Vec<Points>,
    /// The embedding, by tokens.
    pub(super) embedding: Points,
    /// Saving keys and values, by tokens.
    pub(super) save: Points,
    /// Decode attention: by batch size, by KV length.
    pub(super) decode: BTreeMap<u64, Points>,
    /// Prefill attention: by chunk, by KV length.
    pub(super) prefill: BTreeMap<u64, Points>,
    /// Longest KV and chunk together.
    pub(super) prefill_limit: u64,
    /// By bytes.
    pub(super) all_reduce: Option<Points>,
    pub(super) send_recv: Option<Points>,
    pub(super) notes: Vec<String>,
}

pub(super) fn read(spec: &ProfileSpec<'_>, files: ProfileFiles<'_>) -> Result<Measured, CostError> {
    let mut measured = Measured::default();
    operators(spec, files.mlp, &mut measured)?;
    attention(spec, files.attention, &mut measured)?;
    let tp = u64::from(spec.tp);
    if tp > 1 {
        let keys = [("num_workers", tp), ("devices_per_node", tp)];
        measured.all_reduce = network(files.all_reduce, "all_reduce", &keys, &mut measured.notes)?;
    }
    if spec.pp > 1 {
        let keys = [("devices_per_node", if spec.multi_node { 1 } else { 2 })];
        measured.send_recv = network(files.send_recv, "send_recv", &keys, &mut measured.notes)?;
    }
    Ok(measured)
}

/// Which rows are meant: those with these numbers in these columns.
struct Filter {
    columns: Vec<(usize, u64)>,
    wanted: String,
    found: bool,
}

impl Filter {
    fn new(rows: &Rows<'_>, keys: &[(&str, u64)]) -> Result<Self, CostError> {
        let columns = keys
            .iter()
            .map(|(name, value)| Ok((rows.column(name)?, *value)))
            .collect::<Result<_, CostError>>()?;
        let wanted: Vec<String> = keys
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        Ok(Self {
            columns,
            wanted: wanted.join(", "),
            found: false,
        })
    }

    fn takes(&mut self, rows: &Rows<'_>) -> Result<bool, CostError> {
        for (column, value) in &self.columns {
            if rows.count(*column)? != *value {
                return Ok(false);
            }
        }
        self.found = true;
        Ok(true)
    }

    fn check(self, file: &str) -> Result<(), CostError> {
        if self.found {
            return Ok(());
        }
        let what = format!(
            "no row has {}; profile this layout, or use the roofline",
            self.wanted
        );
        Err(CostError::file(file, what))
    }
}

fn median(op: &str) -> String {
    format!("time_stats.{op}.median")
}

fn operators(spec: &ProfileSpec<'_>, input: Input<'_>, to: &mut Measured) -> Result<(), CostError> {
    let model = spec.model;
    let mut rows = Rows::open(input)?;
    let mut filter = Filter::new(
        &rows,
        &[
            ("n_head", model.q_heads.into()),
            ("n_kv_head", model.kv_heads.into()),
            ("n_embd", model.embedding_dim.into()),
            ("n_expanded_embd", model.ff_dim.into()),
            ("num_tensor_parallel_workers", spec.tp.into()),
        ],
    )?;
    let (tokens, gated) = (rows.column("num_tokens")?, rows.column("use_gated_mlp")?);
    let mut names: Vec<&str> = OPERATORS.to_vec();
    let optional = OPTIONAL.iter().filter(|op| rows.find(&median(op)).is_some());
    names.extend(optional.filter(|op| model.post_attention_norm || **op != "post_attention_layernorm"));
    let columns: Vec<usize> = names
        .iter()
        .map(|op| rows.column(&median(op)))
        .collect::<Result<_, _>>()?;
    let embedding = rows.find(&median("emb"));
    let mut series = vec![Points::default(); columns.len()];
    let mut empty = vec![0_u32; columns.len()];
    while rows.next()? {
        let truth = rows.cell(gated).to_ascii_lowercase();
        if matches!(truth.as_str(), "true" | "1") != model.gated_mlp || !filter.takes(&rows)? {
            continue;
        }
        let at = rows.count(tokens)?;
        for (i, column) in columns.iter().enumerate() {
            match rows.time(*column)? {
                Some(ms) => series[i].add(at, ms),
                None => empty[i] += 1,
            }
        }
        if let Some(ms) = embedding.map(|c| rows.time(c)).transpose()?.flatten() {
            to.embedding.add(at, ms);
        }
    }
    filter.check(rows.file())?;
    for (i, name) in names.iter().enumerate() {
        if series[i].is_empty() && !OPTIONAL.contains(name) {
            return Err(CostError::file(
                rows.file(),
                format!("{} has no value in any row", median(name)),
            ));
        }
        if empty[i] > 0 {
            let (file, n) = (rows.file(), empty[i]);
            to.notes.push(format!(
                "{file}: {n} rows have no {}; its neighbours stand in",
                median(name)
            ));
        }
    }
    to.operators = series.into_iter().filter(|points| !points.is_empty()).collect();
    Ok(())
}

fn attention(spec: &ProfileSpec<'_>, input: Input<'_>, to: &mut Measured) -> Result<(), CostError> {
    let model = spec.model;
    let mut rows = Rows::open(input)?;
    let mut filter = Filter::new(
        &rows,
        &[
            ("n_embd", model.embedding_dim.into()),
            ("n_q_head", model.q_heads.into()),
            ("n_kv_head", model.kv_heads.into()),
            ("num_tensor_parallel_workers", spec.tp.into()),
            ("block_size", spec.block_tokens.into()),
        ],
    )?;
    let [batch, chunk, kv] = ["batch_size", "prefill_chunk_size", "kv_cache_size"].map(|c| rows.column(c));
    let (batch, chunk, kv) = (batch?, chunk?, kv?);
    let [prefill, decode] = ["attn_prefill", "attn_decode"].map(|op| rows.column(&median(op)));
    let (prefill, decode) = (prefill?, decode?);
    let save = rows.find(&median("attn_kv_cache_save"));
    while rows.next()? {
        if !filter.takes(&rows)? {
            continue;
        }
        let (b, c, k) = (rows.count(batch)?, rows.count(chunk)?, rows.count(kv)?);
        if let Some(ms) = save.map(|s| rows.time(s)).transpose()?.flatten() {
            to.save.add(b.max(c), ms);
        }
        if c == 0 {
            let value = rows.value(decode)?;
            to.decode.entry(b).or_default().add(k, value);
        } else if b == 1 {
            let value = rows.value(prefill)?;
            to.prefill.entry(c).or_default().add(k, value);
            to.prefill_limit = to.prefill_limit.max(c + k);
        }
    }
    filter.check(rows.file())?;
    if to.decode.is_empty() {
        return Err(CostError::file(
            rows.file(),
            "has no decode row (prefill_chunk_size 0) of this model",
        ));
    }
    if !to.prefill.values().any(|points| points.has(0)) {
        return Err(CostError::file(
            rows.file(),
            "has no prefill row with an empty cache of this model",
        ));
    }
    Ok(())
}

fn network(
    input: Option<Input<'_>>,
    op: &str,
    keys: &[(&str, u64)],
    notes: &mut Vec<String>,
) -> Result<Option<Points>, CostError> {
    let Some(input) = input else {
        notes.push(format!(
            "no profile of {op}: taken from the datasheet of the GPU's link"
        ));
        return Ok(None);
    };
    let mut rows = Rows::open(input)?;
    let mut filter = Filter::new(&rows, keys)?;
    let (size, time) = (rows.column("size")?, rows.column(&median(op))?);
    let collective = rows.column("collective")?;
    let mut points = Points::default();
    while rows.next()? {
        if rows.cell(collective) == op && filter.takes(&rows)? {
            points.add(rows.count(size)?, rows.value(time)?);
        }
    }
    filter.check(rows.file())?;
    Ok(Some(points))
}
