//! The experiments of the papers: every file is sound, has the searches that were published, fits its GPUs, and says what
//! the older file says.

use std::path::{Path, PathBuf};

use mst::capacity::jobs::PUBLISHED;
use mst::deployment::{Library, Places};
use mst::matrix::Requests;
use mst::matrix::file::{File, Rule, Side};
use mst::matrix::older::{OlderFlags, read};
use mst::units::Rate;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/papers")
}

fn paper(name: &str) -> File {
    let path = folder().join(format!("{name}.yml"));
    let text = std::fs::read_to_string(&path).unwrap();
    File::parse(&text, &path).unwrap_or_else(|error| panic!("{error}"))
}

/// Systems and workloads that are searched together: objectives are not counted.
fn pairs(file: &File) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (s, system) in file.systems.iter().enumerate() {
        for (w, workload) in file.workloads.iter().enumerate() {
            let names = (&system.value.name, &workload.value.name);
            if !file
                .objectives()
                .iter()
                .all(|(slo, _)| file.skips(names.0, names.1, slo))
            {
                pairs.push((s, w));
            }
        }
    }
    pairs
}

/// File, combinations, objectives, rates that are given.
const FILES: [(&str, usize, usize, usize); 27] = [
    ("etalon-default", 8, 2, 0),
    ("etalon-llama-70b", 2, 2, 0),
    ("etalon-llama-8b", 4, 2, 0),
    ("etalon-mixtral", 4, 2, 0),
    ("figure-1", 2, 2, 3),
    ("figure-5-6-falcon180b-relaxed", 6, 1, 0),
    ("figure-5-6-falcon180b-strict", 6, 1, 0),
    ("figure-5-6-llama70b-relaxed", 6, 1, 0),
    ("figure-5-6-llama70b-strict", 6, 1, 0),
    ("figure-5-6-mistral7b-relaxed", 6, 1, 0),
    ("figure-5-6-mistral7b-strict", 6, 1, 0),
    ("figure-5-6-yi34-relaxed", 6, 1, 0),
    ("figure-5-6-yi34-strict", 6, 1, 0),
    ("figure-7-falcon180b", 5, 2, 4),
    ("figure-7-llama70b", 5, 2, 4),
    ("figure-7-mistral7b", 5, 2, 4),
    ("figure-7-yi34", 5, 2, 4),
    ("figure-8-capacity", 1, 2, 0),
    ("figure-8-latency", 10, 2, 1),
    ("figure-9-mistral7b", 3, 2, 2),
    ("figure-9-yi34", 3, 2, 2),
    ("niyama-sharegpt-fcfs", 1, 1, 4),
    ("sarathi-debug", 2, 1, 0),
    ("sarathi-main", 36, 1, 0),
    ("table-6-arxiv", 2, 2, 1),
    ("table-6-chat", 2, 2, 1),
    ("veeksha-guide", 1, 2, 0),
];

#[test]
fn every_file_has_the_searches_that_were_published() {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".yml").map(str::to_owned))
        .collect();
    names.sort();
    names.retain(|name| name != "veeksha-rate");
    assert_eq!(names, FILES.map(|(name, ..)| name.to_owned()));
    for (name, combinations, objectives, rates) in FILES {
        let file = paper(name);
        assert_eq!(pairs(&file).len(), combinations, "{name}");
        assert_eq!(file.objectives().len(), objectives, "{name}");
        assert_eq!(file.search.rates.len(), rates, "{name}");
        assert_eq!(file.search.rule == Rule::Rates, rates > 0, "{name}");
    }
    let veeksha = paper("veeksha-rate");
    assert_eq!((pairs(&veeksha).len(), veeksha.search.rule), (1, Rule::Veeksha));
    assert_eq!(veeksha.systems[0].value.side(veeksha.target), Side::Endpoint);
}

#[test]
fn every_deployment_fits_its_gpus() {
    let library = Library::open(Places::default()).unwrap();
    let mut built = 0;
    for (name, ..) in FILES {
        for system in &paper(name).systems {
            let Some(deployment) = &system.value.deployment else {
                continue;
            };
            let cluster = deployment
                .cluster(&library, 42)
                .unwrap_or_else(|error| panic!("{name}, {}: {error}", system.value.name));
            // Room for one request of the longest kind, or nothing could ever run.
            let most = paper(name)
                .workloads
                .iter()
                .filter_map(|w| w.value.max_tokens)
                .max();
            let room = cluster.memory.blocks * cluster.memory.block_tokens;
            assert!(
                room >= most.unwrap_or(0).min(deployment.max_model_len),
                "{name}, {}: room for {room} tokens",
                system.value.name
            );
            built += 1;
        }
    }
    assert!(built > 100, "{built}");
}

/// What is searched, whatever it is called: what is simulated, what is sent.
fn content(file: &File) -> Vec<String> {
    let mut all: Vec<String> = pairs(file)
        .into_iter()
        .map(|(s, w)| {
            let mut workload = serde_json::to_value(&file.workloads[w].value).unwrap();
            workload["name"] = Value::Null;
            workload["max_duration"] = json!(file.workloads[w].value.max_duration());
            if file.search.rule == Rule::Rates {
                workload["start_qps"] = Value::Null;
                // Of figures 7 and 9, their document says it.
                workload["max_duration"] = Value::Null;
            }
            json!([file.systems[s].value.deployment, workload]).to_string()
        })
        .collect();
    all.sort();
    all
}

#[test]
fn they_say_what_the_older_files_say() {
    let flags = |tbt: f64, qps: &[f64]| OlderFlags {
        tbt_slo_value: Some(tbt),
        qps_values: qps.to_vec(),
        ..OlderFlags::default()
    };
    let etalon = || OlderFlags {
        slo_type: Some("ttft_tpot".to_owned()),
        ttft_slo: Some(0.3),
        ttft_percentile: Some(0.9),
        tpot_slo: Some(0.03),
        tpot_percentile: Some(0.9),
        ..OlderFlags::default()
    };
    let mut cases: Vec<(String, String, OlderFlags)> = Vec::new();
    for (model, relaxed, strict) in [
        ("mistral7b", 0.5, 0.1),
        ("yi34", 1.0, 0.2),
        ("llama70b", 5.0, 1.0),
        ("falcon180b", 5.0, 1.0),
    ] {
        for (kind, tbt) in [("relaxed", relaxed), ("strict", strict)] {
            cases.push((
                format!("figure-5-6-{model}-{kind}"),
                format!("figure-5-6/{model}_{kind}.yml"),
                flags(tbt, &[]),
            ));
        }
    }
    for (model, file, tbt, qps) in [
        ("mistral7b", "mistral7b", 0.1, [1.0, 2.0, 3.0, 4.0]),
        ("yi34", "yi34b", 0.2, [0.55, 0.7, 0.85, 1.0]),
        ("llama70b", "llama70b", 1.0, [0.2, 0.4, 0.6, 0.8]),
        ("falcon180b", "falcon180b", 1.0, [0.4, 0.6, 0.8, 1.0]),
    ] {
        let older = format!("figure-7/isoqps/{file}.yml");
        cases.push((format!("figure-7-{model}"), older, flags(tbt, &qps)));
    }
    for (name, older, flags) in [
        (
            "figure-8-capacity",
            "figure-8/falcon180b_tp8.yml",
            flags(1.0, &[]),
        ),
        (
            "figure-9-mistral7b",
            "figure-9/mistral7b.yml",
            flags(0.1, &[1.0, 3.0]),
        ),
        ("figure-9-yi34", "figure-9/yi34b.yml", flags(0.2, &[0.55, 1.0])),
        ("sarathi-main", "config.yml", OlderFlags::default()),
        ("sarathi-debug", "debug_config.yml", OlderFlags::default()),
        ("etalon-default", "default.yml", etalon()),
        ("etalon-llama-8b", "llama_8b.yml", etalon()),
        ("etalon-llama-70b", "llama_70b.yml", etalon()),
    ] {
        cases.push((name.to_owned(), older.to_owned(), flags));
    }
    for (name, older, flags) in cases {
        let (file, published) = (
            paper(&name),
            PUBLISHED.iter().find(|entry| entry.file == older).unwrap(),
        );
        let converted = read(published.text(), Path::new("older.yml"), &flags)
            .unwrap()
            .unwrap();
        assert_eq!(content(&file), content(&converted), "{name}");
        assert_eq!(file.search.rates, converted.search.rates, "{name}");
        let wanted = &converted.objectives()[0].1;
        assert!(
            file.objectives().iter().any(|(_, objective)| objective == wanted),
            "{name}: {wanted:?}"
        );
    }
}

#[test]
fn a_trial_at_a_low_rate_has_fewer_requests() {
    let file = paper("figure-5-6-llama70b-strict");
    let requests = Requests::of(&file.workloads[0].value, &folder(), 42, None).unwrap();
    let at = |qps: f64| {
        let rate = Rate::per_second(qps);
        let seconds = requests.duration_s(rate);
        (seconds.round(), requests.plan(rate, seconds, 1).len())
    };
    // 2048 requests, or those of thirty minutes; one at least.
    assert_eq!(at(4.0), (512.0, 2048));
    assert_eq!(at(0.5), (1800.0, 900));
    assert_eq!(at(1e-4), (10_000.0, 1));
}

#[test]
fn the_readme_names_every_file() {
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    for (name, ..) in FILES.into_iter().chain([("veeksha-rate", 0, 0, 0)]) {
        // Either by its name, or by one of its parts within braces.
        let named = readme.contains(&format!("`{name}.yml`"))
            || readme
                .split('`')
                .filter(|word| word.contains('{') && word.rsplit('.').next() == Some("yml"))
                .any(|word| {
                    word.trim_end_matches(".yml").split(['{', '}']).all(|part| {
                        part.contains(',') && part.split(',').any(|one| name.contains(one))
                            || name.contains(part)
                    })
                });
        assert!(named, "{name} is not in the README");
    }
}
