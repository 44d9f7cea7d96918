use std::fmt::Write as _;

use proptest::prelude::*;

use super::curve::{PiecewiseLine, rise};
use super::*;
use crate::sim::catalog::{Catalog, ModelShape};

const MLP: &str = "time_stats.attn_pre_proj.median,time_stats.attn_post_proj.median,time_stats.mlp_up_proj.median,\
time_stats.mlp_down_proj.median,time_stats.mlp_act.median,time_stats.attn_rope.median,time_stats.emb.median,\
time_stats.add.median,n_head,n_kv_head,n_embd,n_expanded_embd,use_gated_mlp,num_tokens,num_tensor_parallel_workers";
const ATTENTION: &str = "time_stats.attn_kv_cache_save.median,time_stats.attn_prefill.median,\
time_stats.attn_decode.median,n_embd,n_q_head,n_kv_head,block_size,num_tensor_parallel_workers,batch_size,\
prefill_chunk_size,kv_cache_size";
const REDUCE: &str = "time_stats.all_reduce.median,num_workers,size,collective,devices_per_node";

fn tiny() -> ModelShape {
    ModelShape {
        name: "tiny".to_owned(),
        aliases: Vec::new(),
        layers: 4,
        q_heads: 8,
        kv_heads: 2,
        head_dim: 16,
        embedding_dim: 128,
        ff_dim: 256,
        gated_mlp: true,
        vocab: 1000,
        tied_embeddings: false,
        post_attention_norm: true,
        max_context: 1000,
        tensor_parallel: true,
        weight_bytes: 2,
        kv_bytes: 2,
    }
}

/// A profile whose operators take 0.1 ms and 0.001 ms a token, each of six; attention is in proportion to its work.
fn mlp(tp: u32) -> String {
    let mut text = format!("{MLP}\n");
    for n in [1, 8, 16, 64, 128] {
        let ms = 0.1 + 0.001 * f64::from(n);
        let _ = writeln!(
            text,
            "{ms},{ms},{ms},{ms},{ms},{ms},0.01,0.0,8,2,128,256,True,{n},{tp}"
        );
        let _ = writeln!(text, "9,9,9,9,9,9,9,9,8,2,128,256,False,{n},{tp}");
    }
    text
}

fn attention(tp: u32) -> String {
    let mut text = format!("{ATTENTION}\n");
    for batch in [1, 2, 4, 8] {
        for kv in [32, 64, 128, 512] {
            let ms = 0.01 + 1e-5 * f64::from(batch * kv);
            let _ = writeln!(text, "0.001,0,{ms},128,8,2,16,{tp},{batch},0,{kv}");
        }
    }
    for (chunk, kvs) in [
        (32, vec![0]),
        (64, vec![0, 64, 256]),
        (96, vec![0]),
        (128, vec![0, 128, 384]),
    ] {
        for kv in kvs {
            let ms = 0.01 + 1e-6 * f64::from(chunk * kv + chunk * chunk / 2);
            let _ = writeln!(text, "0.001,{ms},0,128,8,2,16,{tp},1,{chunk},{kv}");
        }
    }
    text
}

fn reduce() -> String {
    let rows = (0..6).map(|i| {
        let size = 256 << i;
        format!("{},2,{size},all_reduce,2\n", 0.02 + 1e-6 * f64::from(size))
    });
    format!("{REDUCE}\n9,4,256,all_reduce,2\n{}", rows.collect::<String>())
}

fn read_with(
    mlp: &str,
    attention: &str,
    reduce: Option<&str>,
    tp: u32,
    rounding: Rounding,
) -> Result<ProfileTables, String> {
    let catalog = Catalog::built_in().unwrap();
    let spec = ProfileSpec {
        model: &tiny(),
        gpu: catalog.gpu("a100").unwrap(),
        tp,
        pp: 1,
        block_tokens: 16,
        multi_node: false,
        rounding,
    };
    let files = ProfileFiles {
        mlp: Input::new("mlp.csv", mlp.as_bytes()),
        attention: Input::new("attention.csv", attention.as_bytes()),
        all_reduce: reduce.map(|r| Input::new("all_reduce.csv", r.as_bytes())),
        send_recv: None,
    };
    ProfileTables::read(&spec, files).map_err(|e| e.to_string())
}

fn exact() -> ProfileTables {
    read_with(&mlp(1), &attention(1), None, 1, Rounding::Exact).unwrap()
}

fn batch(decodes: &[u32], prefills: &[(u32, u32)]) -> BatchShape {
    let mut shape = BatchShape::default();
    for kv in decodes {
        shape.add_decode(*kv);
    }
    for (kv, chunk) in prefills {
        shape.add_prefill(*kv, *chunk, true);
    }
    shape
}

fn layers_ms(model: &ProfileTables, shape: &BatchShape) -> f64 {
    let time = model.stage(shape, true);
    let head = model.roofline.head_ms(shape.outputs) + model.embedding.at(shape.tokens).ms;
    1e3 * (time.total - time.overhead).as_seconds() - head
}

#[test]
fn a_measured_iteration_takes_what_was_measured() {
    let model = exact();
    // 128 tokens from nothing; four layers.
    let expected = 4.0 * (6.0 * 0.228 + 0.001 + 0.01 + 1e-6 * 8192.0);
    let got = layers_ms(&model, &batch(&[], &[(0, 128)]));
    assert!((got / expected - 1.0).abs() < 1e-6, "{got} for {expected}");
    // 12 decodes are no row of the profile, 100 is within the step from 96 to 127.
    let expected = 4.0 * (6.0 * 0.104 + 0.001 + 0.01 + 1e-5 * 4.0 * 112.0);
    let got = layers_ms(&model, &batch(&[90, 110, 100, 100], &[]));
    assert!((got / expected - 1.0).abs() < 1e-6, "{got} for {expected}");
    // Two equal prefills have the work of both and one launch.
    let expected = 4.0 * (6.0 * 0.228 + 0.001 + 0.01 + 2e-6 * (64.0 * 64.0 + 2048.0));
    let got = layers_ms(&model, &batch(&[], &[(64, 64), (64, 64)]));
    assert!((got / expected - 1.0).abs() < 2e-3, "{got} for {expected}");
    // Head and CPU are there, and named.
    let time = model.stage(&batch(&[100; 4], &[]), true);
    assert_eq!(time.overhead, Time::from_us(150.0 + 4.0 * 4.0));
    assert!(model.stage(&batch(&[100; 4], &[]), false).total < time.total);
}

#[test]
fn vidur_s_rounding_is_vidur_s() {
    let main = read_with(
        &mlp(1),
        &attention(1),
        None,
        1,
        Rounding::Vidur(VidurVersion::Main),
    )
    .unwrap();
    let canary = read_with(
        &mlp(1),
        &attention(1),
        None,
        1,
        Rounding::Vidur(VidurVersion::Canary),
    )
    .unwrap();
    for (tokens, same) in [(57, 64), (1, 8)] {
        let (a, b) = (batch(&[100], &[(0, tokens - 1)]), batch(&[100], &[(0, same - 1)]));
        let ops = |shape: &BatchShape| main.layer.at(shape.tokens).ms;
        assert_eq!(ops(&a), ops(&b), "{tokens}");
    }
    assert_eq!(
        main.stage(&batch(&[65], &[]), true),
        main.stage(&batch(&[128], &[]), true)
    );
    let decode = |m: &ProfileTables, n: usize| {
        m.vidur_attention(VidurVersion::Main, &batch(&vec![128; n], &[]))
            .ms
    };
    assert_eq!(decode(&main, 1), decode(&canary, 1));
    assert!(
        (decode(&main, 2) / decode(&canary, 2) - 1.1).abs() < 1e-9,
        "shared heads, several sequences"
    );
    assert_eq!(main.stage(&batch(&[128], &[]), true).overhead, Time::ZERO);
}

#[test]
fn communication_is_measured_or_said_to_be_the_datasheet_s() {
    let shape = batch(&[100], &[]);
    let alone = layers_ms(&exact(), &shape);
    let measured = read_with(&mlp(2), &attention(2), Some(&reduce()), 2, Rounding::Exact).unwrap();
    let expected = alone + 4.0 * 2.0 * (0.02 + 256e-6);
    let got = layers_ms(&measured, &shape);
    assert!((got / expected - 1.0).abs() < 0.01, "{got} for {expected}");
    assert!(measured.notes().is_empty());
    let assumed = read_with(&mlp(2), &attention(2), None, 2, Rounding::Exact).unwrap();
    assert_eq!(
        assumed.notes(),
        ["no profile of all_reduce: taken from the datasheet of the GPU's link"]
    );
    assert!(layers_ms(&assumed, &shape) > alone);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let (good, attention) = (mlp(1), attention(1));
    let lines = good.lines().count();
    for (mlp, says) in [
        (
            good.replace("0.101,0.101", "nan,0.101"),
            "mlp.csv:2: time_stats.attn_pre_proj.median is `nan`",
        ),
        (
            good.replace("0.101,0.101", "-1,0.101"),
            "mlp.csv:2: time_stats.attn_pre_proj.median is `-1`",
        ),
        (
            good.replace("0.116,0.116", "inf,0.116"),
            "mlp.csv:6: time_stats.attn_pre_proj.median is `inf`",
        ),
        (
            good.replace("mlp_act", "mlp_art"),
            "mlp.csv:1: column `time_stats.mlp_act.median` is missing",
        ),
        (
            good.replace(",True,", ",False,"),
            "mlp.csv: no row has n_head = 8, n_kv_head = 2",
        ),
        (good.clone() + "1,2\n", &format!("mlp.csv:{}: ", lines + 1)),
        (String::new(), "mlp.csv: is empty"),
        (good.lines().next().unwrap().to_owned(), "mlp.csv: no row has"),
    ] {
        let error = read_with(&mlp, &attention, None, 1, Rounding::Exact)
            .err()
            .unwrap_or_default();
        assert!(error.starts_with(says), "`{error}` for {says}");
    }
    let error = read_with(&good, &attention, None, 2, Rounding::Exact).unwrap_err();
    assert!(
        error.contains("num_tensor_parallel_workers = 2; profile this layout"),
        "{error}"
    );
    let error = read_with(
        &good,
        &attention.replace(",2,16,", ",2,32,"),
        None,
        1,
        Rounding::Exact,
    )
    .unwrap_err();
    assert!(error.contains("block_size = 16"), "{error}");
    let error = read_with(
        &mlp(2),
        &super::tests::attention(2),
        Some("a,b\n"),
        2,
        Rounding::Exact,
    )
    .unwrap_err();
    assert_eq!(error, "all_reduce.csv:1: column `num_workers` is missing");
}

#[test]
fn a_cell_that_was_not_measured_is_left_to_its_neighbours() {
    let model = read_with(
        &mlp(1).replacen("0.116,0.116", ",0.116", 1),
        &attention(1),
        None,
        1,
        Rounding::Exact,
    )
    .unwrap();
    assert_eq!(
        model.notes(),
        ["mlp.csv: 1 rows have no time_stats.attn_pre_proj.median; its neighbours stand in"]
    );
    let shape = batch(&[], &[(0, 16)]);
    assert!((layers_ms(&model, &shape) / layers_ms(&exact(), &shape) - 1.0).abs() < 1e-9);
    // Where the largest sizes are missing, the operator goes on in proportion.
    let model = read_with(
        &mlp(1).replacen("0.228,0.228", ",0.228", 1),
        &attention(1),
        None,
        1,
        Rounding::Exact,
    )
    .unwrap();
    let shape = batch(&[], &[(0, 128)]);
    let more = layers_ms(&model, &shape) - layers_ms(&exact(), &shape);
    assert!((more - 4.0 * (2.0 * 0.164 - 0.228)).abs() < 1e-6, "{more}");
}

#[test]
fn falling_points_are_levelled() {
    let mut values = [1.0, 3.0, 2.0, 4.0, 0.0];
    rise(&mut values);
    assert_eq!(values, [1.0, 2.25, 2.25, 2.25, 2.25]);
    let line = PiecewiseLine(vec![(1.0, 2.0), (3.0, 4.0)]);
    assert_eq!([0.0, 1.0, 2.0, 9.0].map(|x| line.at(x)), [2.0, 2.0, 3.0, 4.0]);
    assert_eq!(
        [0.0, 2.0, 2.1, 9.0].map(|x| line.nearest(x)),
        [2.0, 2.0, 4.0, 4.0]
    );
}

/// Bootstrap samples drawn one by one, each answering with its nearest point.
#[test]
fn the_forest_is_the_mean_of_its_trees() {
    use rand::{RngExt, SeedableRng};
    let places: Vec<u64> = (0..40).map(|i| 1 + i * i).collect();
    let value = |x: u64| 5.0 + (x % 7) as f64;
    let mut points = Points::default();
    for x in &places {
        points.add(*x, value(*x));
    }
    let mut rng = rand_pcg::Pcg64::seed_from_u64(1);
    let mut draw = |x: f64| {
        let mut known: Vec<u64> = (0..40).map(|_| places[rng.random_range(0..40)]).collect();
        known.sort_unstable();
        PiecewiseLine(known.iter().map(|p| (*p as f64, value(*p))).collect()).nearest(x)
    };
    for x in [0.0, 2.0, 8.0, 100.0, 101.0, 130.0, 1500.0, 9999.0] {
        let mean = (0..5_000).map(|_| draw(x)).sum::<f64>() / 5_000.0;
        let formula = points.forest(x);
        assert!((formula / mean - 1.0).abs() < 0.02, "{x}: {formula} for {mean}");
    }
    assert_eq!(Points::default().forest(1.0), 0.0);
}

proptest! {
    /// Within the tables: beyond, a proportion to the work may fall where the table is level.
    #[test]
    fn more_work_never_takes_less(
        kv in 1_u32..2000, n in 1_usize..20, chunk in 1_u32..128, past in 0_u32..800, more in 1_u32..128,
    ) {
        let model = exact();
        let ms = |shape: &BatchShape| {
            let time = model.stage(shape, true).total.as_seconds();
            assert!(time > 0.0 && time.is_finite());
            time
        };
        let base = ms(&batch(&vec![kv; n], &[]));
        prop_assert!(base <= ms(&batch(&vec![kv + more; n], &[])) + 3e-12);
        prop_assert!(base <= ms(&batch(&vec![kv; n + 1], &[])) + 3e-12);
        let base = ms(&batch(&[], &[(past, chunk)]));
        prop_assert!(base <= ms(&batch(&[], &[(past + more, chunk)])) + 3e-12);
        prop_assert!(base <= ms(&batch(&[], &[(past, chunk + more)])) + 3e-12);
        prop_assert!(base <= ms(&batch(&[kv], &[(past, chunk)])) + 3e-12);
    }

    /// `steady` iterations in a row take equally long, and the next one does not where the table has a slope.
    #[test]
    fn steady_is_what_stepping_finds(kvs in proptest::collection::vec(1_u32..700, 1..12), vidur in any::<bool>()) {
        let rounding = if vidur { Rounding::Vidur(VidurVersion::Main) } else { Rounding::Exact };
        let model = read_with(&mlp(1), &attention(1), None, 1, rounding).unwrap();
        let shape = batch(&kvs, &[]);
        let steps = model.steady(&shape);
        prop_assert!(steps >= 1);
        let time = model.stage(&shape, true);
        for step in 0..steps {
            prop_assert_eq!(model.stage(&shape.after(step), true), time);
        }
        if !vidur && shape.decode_kv / kvs.len() as u64 > 64 {
            prop_assert!(model.stage(&shape.after(steps), true).total > time.total);
        }
    }

    /// The value goes on at the edge without a jump, and beyond it the result says so.
    #[test]
    fn beyond_the_edge_it_goes_on(extra in 1_u32..64) {
        let model = exact();
        let ms = |shape: &BatchShape| (model.stage(shape, true).total.as_seconds(), model.stage(shape, true).extrapolated);
        let (inside, flag) = ms(&batch(&[], &[(0, 128)]));
        prop_assert!(!flag);
        let (outside, flag) = ms(&batch(&[], &[(0, 128 + extra)]));
        prop_assert!(flag);
        let growth = f64::from(128 + extra) / 128.0;
        prop_assert!(outside > inside && outside < inside * growth * growth * 1.01);
        let (inside, flag) = ms(&batch(&[495; 8], &[]));
        prop_assert!(!flag);
        let (outside, flag) = ms(&batch(&[495 + 32 * extra; 8], &[]));
        prop_assert!(flag && outside > inside);
        let (next, _) = ms(&batch(&[495 + 32; 8], &[]));
        prop_assert!(next < inside * 1.1);
    }
}
