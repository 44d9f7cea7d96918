//! Times of iterations against the reference runs under `tests/golden/vidur`.
//!
//! `MST_VIDUR_CASES` and `MST_VIDUR_PROFILES` may name folders with more of the same form, which `all_cases` then reads.

use std::io::Read;
use std::path::{Path, PathBuf};

use mst::sim::catalog::Catalog;
use mst::sim::cost::case::{CaseFiles, CaseTables, VidurVersion};
use mst::sim::cost::tables::{ProfileFiles, ProfileSpec, ProfileTables, Rounding};
use mst::sim::cost::{BatchShape, CostModel, Input};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/vidur")
}

fn gz(path: &Path) -> Vec<u8> {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut content = Vec::new();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut content)
        .unwrap();
    content
}

/// One run: its tables, and what each iteration held and took.
struct Case {
    name: String,
    options: serde_json::Value,
    version: VidurVersion,
    tables: PathBuf,
    iterations: Vec<(BatchShape, bool, f64)>,
}

fn case(folder: &Path) -> Case {
    let text = std::fs::read_to_string(folder.join("case.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let version = VidurVersion::of_case(json["simulator"].as_str().unwrap());
    let stages: u32 = json["options"]["replica_config_num_pipeline_stages"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let content = gz(&folder.join("iterations.csv.gz"));
    let mut reader = csv::Reader::from_reader(content.as_slice());
    let columns = reader.headers().unwrap().clone();
    let place = |name: &str| columns.iter().position(|c| c == name).unwrap();
    let [size, tokens, decodes, kv, prefills, time, stage] = [
        "batch_size",
        "num_tokens",
        "decode_batch_size",
        "decode_kv_rounded",
        "prefill_kv_chunk",
        "stage_time_s",
        "stage",
    ]
    .map(place);
    let mut iterations = Vec::new();
    for row in reader.records().map(Result::unwrap) {
        let number = |at: usize| row[at].parse::<u32>().unwrap();
        let mut shape = BatchShape::default();
        for _ in 0..number(decodes) {
            shape.add_decode(number(kv));
        }
        for prefill in row[prefills].split(';').filter(|p| !p.is_empty()) {
            let (kv, chunk) = prefill.split_once(':').unwrap();
            shape.add_prefill(kv.parse().unwrap(), chunk.parse().unwrap(), true);
        }
        // The canary's files hold one aggregate of all prefills.
        shape.tokens = number(tokens);
        shape.sequences = number(size);
        shape.prefills = shape.sequences - shape.decodes;
        iterations.push((shape, number(stage) + 1 == stages, row[time].parse().unwrap()));
    }
    Case {
        name: json["name"].as_str().unwrap().to_owned(),
        version,
        tables: folder
            .parent()
            .unwrap()
            .join("tables")
            .join(json["table"].as_str().unwrap()),
        options: json["options"].clone(),
        iterations,
    }
}

fn cases(root: &Path) -> Vec<Case> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    folders.sort();
    folders
        .iter()
        .filter(|f| f.join("case.json").exists())
        .map(|f| case(f))
        .collect()
}

fn case_tables(case: &Case) -> CaseTables {
    let table = std::fs::read(case.tables.join("table.json")).unwrap();
    let [ops, save, prefill, decode] = ["per_token_ops", "kv_cache_save", "attn_prefill", "attn_decode"]
        .map(|f| gz(&case.tables.join(format!("{f}.csv.gz"))));
    let files = CaseFiles {
        table: Input::new("table.json", table.as_slice()),
        per_token_ops: Input::new("per_token_ops.csv.gz", ops.as_slice()),
        kv_cache_save: Input::new("kv_cache_save.csv.gz", save.as_slice()),
        attn_prefill: Input::new("attn_prefill.csv.gz", prefill.as_slice()),
        attn_decode: Input::new("attn_decode.csv.gz", decode.as_slice()),
    };
    CaseTables::read(files, case.version).unwrap()
}

/// Mean and largest relative difference, and the share that was extrapolated.
fn errors(case: &Case, model: &dyn CostModel) -> (f64, f64, f64) {
    let (mut sum, mut largest, mut beyond) = (0.0, 0.0_f64, 0);
    for (shape, last, expected) in &case.iterations {
        let time = model.stage(shape, *last);
        let error = (time.total.as_seconds() / expected - 1.0).abs();
        sum += error;
        largest = largest.max(error);
        beyond += u32::from(time.extrapolated);
    }
    let n = case.iterations.len() as f64;
    (sum / n, largest, f64::from(beyond) / n)
}

#[allow(clippy::print_stdout, reason = "the figures of the documents")]
fn tables_equal_the_run(root: &Path) {
    let cases = cases(root);
    assert!(!cases.is_empty());
    for case in cases {
        let (mean, largest, beyond) = errors(&case, &case_tables(&case));
        println!(
            "{}: {} iterations, mean {mean:.1e}, largest {largest:.1e}",
            case.name,
            case.iterations.len()
        );
        assert!(largest < 1e-9 && beyond == 0.0, "{}: {largest:e}", case.name);
    }
}

#[test]
fn a_case_s_tables_give_the_time_of_every_iteration() {
    tables_equal_the_run(&golden().join("cases"));
}

/// The tables of a case's layout from the profiles under `root`; `None` where they are not there.
fn profile_tables(case: &Case, root: &Path, rounding: Rounding) -> Option<ProfileTables> {
    let option = |key: &str| case.options[format!("replica_config_{key}")].as_str().unwrap();
    let catalog = Catalog::built_in().unwrap();
    let (name, device) = (option("model_name"), option("device"));
    let folder = root.join("compute").join(device).join(name);
    if !folder.exists() {
        return None;
    }
    let network = root.join("network").join(option("network_device"));
    let [mlp, attention] = ["mlp.csv.gz", "attention_derived.csv.gz"].map(|f| gz(&folder.join(f)));
    let [reduce, send] = ["all_reduce.csv.gz", "send_recv.csv.gz"].map(|f| gz(&network.join(f)));
    let spec = ProfileSpec {
        model: catalog.model(name).unwrap(),
        gpu: catalog.gpu(device).unwrap(),
        tp: option("tensor_parallel_size").parse().unwrap(),
        pp: option("num_pipeline_stages").parse().unwrap(),
        block_tokens: 16,
        multi_node: false,
        rounding,
    };
    let files = ProfileFiles {
        mlp: Input::new("mlp.csv.gz", mlp.as_slice()),
        attention: Input::new("attention_derived.csv.gz", attention.as_slice()),
        all_reduce: Some(Input::new("all_reduce.csv.gz", reduce.as_slice())),
        send_recv: Some(Input::new("send_recv.csv.gz", send.as_slice())),
    };
    Some(ProfileTables::read(&spec, files).unwrap())
}

#[allow(clippy::print_stdout, reason = "the figures of the documents")]
fn profiles_come_close(cases_root: &Path, profiles: &Path) {
    let mut compared = 0;
    for case in cases(cases_root) {
        let Some(model) = profile_tables(&case, profiles, Rounding::Vidur(case.version)) else {
            continue;
        };
        let (mean, largest, beyond) = errors(&case, &model);
        println!(
            "{}: mean {:.2} %, largest {:.1} %, beyond {beyond:.4}",
            case.name,
            100.0 * mean,
            100.0 * largest
        );
        println!("  {:?}", model.notes());
        assert!(mean < 0.015, "{}: {mean}", case.name);
        compared += 1;
    }
    assert!(compared > 0);
}

#[test]
fn profiles_give_the_time_of_an_iteration_within_a_percent_and_a_half() {
    profiles_come_close(&golden().join("cases"), &golden().join("profiling"));
}

/// The tables of Llama-3-8B on an A100 by true lengths.
fn exact() -> ProfileTables {
    let case = case(&golden().join("cases/canary_a100_llama3-8b_vllmv1_512_conv_q5"));
    profile_tables(&case, &golden().join("profiling"), Rounding::Exact).unwrap()
}

fn decode(batch: u32, kv: u32) -> BatchShape {
    let mut shape = BatchShape::default();
    (0..batch).for_each(|_| shape.add_decode(kv));
    shape
}

#[test]
fn real_profiles_rise_with_every_token() {
    let model = exact();
    let rises = |shapes: &mut dyn Iterator<Item = BatchShape>| {
        let mut before = 0.0;
        for shape in shapes {
            let time = model.stage(&shape, true).total.as_seconds();
            assert!(
                time > 0.0 && time.is_finite() && time >= before,
                "{shape:?}: {time} after {before}"
            );
            before = time;
        }
    };
    let prefill = |kv: u32, chunk: u32| {
        let mut shape = BatchShape::default();
        shape.add_prefill(kv, chunk, true);
        shape
    };
    for fixed in [1, 18, 100, 250, 1000, 5000] {
        rises(&mut (1..40_000).step_by(37).map(|chunk| prefill(fixed, chunk)));
        rises(&mut (0..20_000).step_by(37).map(|kv| prefill(kv, fixed)));
        rises(&mut (1..400).map(|batch| decode(batch, fixed)));
        rises(&mut (0..20_000).step_by(37).map(|kv| decode(fixed.min(400), kv)));
    }
}

/// The head, the sampling and the CPU come to what Vidur leaves out, and no more.
#[test]
fn true_lengths_add_what_vidur_leaves_out() {
    let case = case(&golden().join("cases/canary_a100_llama3-8b_vllmv1_512_conv_q5"));
    let model = exact();
    let sums = case
        .iterations
        .iter()
        .fold([0.0; 3], |[vidur, all, cpu], (shape, last, time)| {
            let stage = model.stage(shape, *last);
            [
                vidur + time,
                all + stage.total.as_seconds(),
                cpu + stage.overhead.as_seconds(),
            ]
        });
    let (head, cpu) = ((sums[1] - sums[2]) / sums[0] - 1.0, sums[2] / sums[0]);
    println!("head and embedding {head:.3}, CPU {cpu:.3}");
    assert!(
        head > 0.02 && head < 0.08 && cpu > 0.005 && cpu < 0.04,
        "{head} {cpu}"
    );
}

#[test]
#[ignore = "needs MST_VIDUR_CASES and MST_VIDUR_PROFILES"]
fn all_cases() {
    let folder =
        |name: &str| PathBuf::from(std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set")));
    tables_equal_the_run(&folder("MST_VIDUR_CASES"));
    profiles_come_close(&folder("MST_VIDUR_CASES"), &folder("MST_VIDUR_PROFILES"));
}
