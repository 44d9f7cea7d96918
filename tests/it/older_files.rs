//! Files of the older tools: what becomes of their keys and flags, and what is refused.

use std::path::Path;

use mst::capacity::jobs::{PUBLISHED, Tool};
use mst::deployment::{Library, Places};
use mst::matrix::file::{File, Rule, Side};
use mst::matrix::older::{OlderFlags, read};
use mst::sim::source::{Order, PublishedLengths, RequestLengths};
use mst::slo::objective::{Objective, Quantity, Statistic};
use mst::workload::Arrival;

fn published(file: &str) -> &'static str {
    PUBLISHED.iter().find(|entry| entry.file == file).unwrap().text()
}

fn converted(text: &str, flags: &OlderFlags) -> File {
    read(text, Path::new("older.yml"), flags)
        .unwrap_or_else(|error| panic!("{error}"))
        .unwrap()
}

fn refused(text: &str, flags: &OlderFlags) -> String {
    read(text, Path::new("older.yml"), flags).unwrap_err().to_string()
}

/// Quantity, quantile and bound of each part of an objective.
fn terms(file: &File) -> Vec<(Quantity, f64, f64)> {
    let (_, objective) = file.objectives().remove(0);
    let parts = match objective {
        Objective::All(parts) => parts,
        one => vec![one],
    };
    parts
        .iter()
        .map(|part| match part {
            Objective::Term(term) => match term.statistic {
                Statistic::Quantile(p) => (term.limit.quantity, p, term.limit.most),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn every_published_file_becomes_one_of_ours() {
    let library = Library::open(Places::default()).unwrap();
    for entry in PUBLISHED {
        let mixtral = entry.file == "mixtral.yml";
        if mixtral {
            let error = refused(entry.text(), &OlderFlags::default());
            assert!(
                error.contains("Mixtral-8x7B-Instruct-v0.1 is left out: it is a mixture of experts"),
                "{error}"
            );
            continue;
        }
        let file = converted(entry.text(), &OlderFlags::default());
        let jobs = entry.jobs().unwrap();
        let known = jobs
            .iter()
            .filter(|job| !job.fields["identifier"].as_str().unwrap().contains("Mixtral"));
        let mut starts: Vec<f64> = known
            .map(|job| job.fields["start_qps"].as_f64().unwrap())
            .collect();
        let mut found = Vec::new();
        let slo = &file.objectives()[0].0;
        for system in &file.systems {
            for workload in &file.workloads {
                if !file.skips(&system.value.name, &workload.value.name, slo) {
                    found.push(workload.value.start_qps.unwrap());
                }
            }
            let deployment = system.value.deployment.as_ref().unwrap();
            let built = deployment.cluster(&library, 1);
            assert!(built.is_ok(), "{}: {:?}", entry.file, built.err());
        }
        starts.sort_by(f64::total_cmp);
        found.sort_by(f64::total_cmp);
        assert_eq!(found, starts, "{}", entry.file);
        let (rule, objective, limit) = match entry.tool {
            Tool::Etalon => (
                Rule::Etalon,
                vec![(Quantity::DeadlineMissRate, 0.99, 0.1)],
                1200.0,
            ),
            Tool::Sarathi => (
                Rule::Sarathi,
                vec![(Quantity::SchedulingDelay, 0.5, 2.0), (Quantity::Tbt, 0.99, 0.2)],
                1800.0,
            ),
        };
        assert_eq!(
            (
                file.search.rule,
                terms(&file),
                file.workloads[0].value.max_duration().unwrap().as_secs_f64()
            ),
            (rule, objective, limit),
            "{}",
            entry.file
        );
        assert_eq!((file.search.limit(), file.search.granularity_percent), (20, 2.5));
        assert!(
            file.notes
                .iter()
                .any(|note| note.starts_with("lengths drawn from the published statistics of")),
            "{}: {:?}",
            entry.file,
            file.notes
        );
        // What is read back is the same file.
        let text = serde_json::to_string(&file).unwrap();
        assert_eq!(
            serde_json::to_value(File::parse(&text, Path::new("ours.yml")).unwrap()).unwrap(),
            serde_json::to_value(&file).unwrap()
        );
    }
}

#[test]
fn a_file_of_ours_is_left_alone() {
    for text in [
        mst::matrix::file::EXAMPLE,
        "clusters: []\nmodels: []\ntraces: []\n",
        "",
        "a: 1\n",
    ] {
        assert!(
            read(text, Path::new("f.yml"), &OlderFlags::default())
                .unwrap()
                .is_none()
        );
    }
}

#[test]
fn flags_have_their_meaning() {
    let file = converted(
        published("figure-5-6/mistral7b_strict.yml"),
        &OlderFlags {
            tbt_slo_value: Some(0.1),
            tbt_slo_quantile: Some(0.95),
            scheduling_delay_slo_value: Some(3.0),
            scheduling_delay_slo_quantile: Some(0.6),
            max_iterations: Some(8),
            min_search_granularity: Some(5.0),
            time_limit: Some(45.0),
            rule: Some(Rule::Adaptive),
            device: Some("h100".to_owned()),
            ..OlderFlags::default()
        },
    );
    assert_eq!(
        terms(&file),
        [(Quantity::SchedulingDelay, 0.6, 3.0), (Quantity::Tbt, 0.95, 0.1)]
    );
    assert_eq!(
        (
            file.search.rule,
            file.search.limit(),
            file.search.granularity_percent
        ),
        (Rule::Adaptive, 8, 5.0)
    );
    let longest = |file: &File| file.workloads[0].value.max_duration().unwrap().as_secs();
    assert_eq!(longest(&file), 45 * 60);
    assert!(
        file.systems
            .iter()
            .all(|s| s.value.deployment.as_ref().unwrap().device == "h100")
    );

    let file = converted(
        published("llama_8b.yml"),
        &OlderFlags {
            slo_type: Some("tbt_ttft".to_owned()),
            tbt_slo: Some(0.03),
            tbt_percentile: Some(0.9),
            ttft_slo: Some(0.3),
            profile_dir: Some("profiles/x".into()),
            time_limit: Some(10.0),
            ..OlderFlags::default()
        },
    );
    assert_eq!(
        terms(&file),
        [(Quantity::Tbt, 0.9, 0.03), (Quantity::Ttft, 0.9, 0.3)]
    );
    assert_eq!(longest(&file), 600);
    let system = &file.systems[0].value;
    assert_eq!(system.prefill_profile.as_deref(), Some(Path::new("profiles/x")));

    // The quantile by etalon's name for it.
    let quantile = OlderFlags {
        tbt_percentile: Some(0.9),
        ..OlderFlags::default()
    };
    assert_eq!(
        terms(&converted(published("figure-9/yi34b.yml"), &quantile))[1],
        (Quantity::Tbt, 0.9, 0.2)
    );

    let rates = converted(
        published("figure-9/yi34b.yml"),
        &OlderFlags {
            qps_values: vec![0.55, 1.0],
            ..OlderFlags::default()
        },
    );
    assert_eq!(
        (rates.search.rule, rates.search.rates),
        (Rule::Rates, vec![0.55, 1.0])
    );
}

#[test]
fn a_flag_of_another_tool_is_refused_by_name() {
    let cases: [(&str, OlderFlags, &[&str]); 6] = [
        (
            "figure-9/yi34b.yml",
            OlderFlags {
                tbt_slo: Some(0.1),
                ..OlderFlags::default()
            },
            &["--tbt-slo is a flag of etalon", "--tbt-slo-value"],
        ),
        (
            "llama_8b.yml",
            OlderFlags {
                scheduling_delay_slo_value: Some(1.0),
                ..OlderFlags::default()
            },
            &[
                "--scheduling-delay-slo-value is a flag of sarathi-serve",
                "--ttft-slo",
            ],
        ),
        (
            "llama_8b.yml",
            OlderFlags {
                slo_type: Some("tbt".to_owned()),
                ..OlderFlags::default()
            },
            &["--slo-type: `tbt` is none; write deadline, tbt_ttft or ttft_tpot"],
        ),
        (
            "llama_8b.yml",
            OlderFlags {
                ttft_slo: Some(1.0),
                ..OlderFlags::default()
            },
            &["ttft_slo: it has no meaning in deadline"],
        ),
        (
            "llama_8b.yml",
            OlderFlags {
                time_limit: Some(0.0),
                ..OlderFlags::default()
            },
            &["--time-limit: 0 does not do"],
        ),
        (
            "llama_8b.yml",
            OlderFlags {
                url: Some("http://x:1".to_owned()),
                ..OlderFlags::default()
            },
            &[
                "an endpoint is one system, and the file lists",
                "leave one of them",
            ],
        ),
    ];
    for (file, flags, words) in cases {
        let error = refused(published(file), &flags);
        for word in words {
            assert!(error.contains(word), "{error}");
        }
    }
}

#[test]
fn what_is_not_here_is_refused_with_the_line() {
    let sarathi = published("figure-9/yi34b.yml");
    let etalon = published("llama_8b.yml");
    let cases: [(String, &str, &[&str]); 14] = [
        (
            sarathi.replace("batch_size: 128", "batchsize: 128"),
            "3",
            &["`batchsize` is not a key here; did you mean batch_size?"],
        ),
        (
            sarathi.replace("chunk_size: 1024, ", ""),
            "4",
            &["schedulers, sarathi_1024: chunk_size is missing", "as 512"],
        ),
        (
            sarathi.replacen("scheduler: sarathi", "scheduler: fifo", 1),
            "3",
            &["`fifo` is not known; write vllm, orca, sarathi"],
        ),
        (
            sarathi.replace("sharegpt_8k_filtered_stats_llama2_tokenizer", "mine"),
            "7",
            &["mine.csv is not here", "lay it beside this file"],
        ),
        (
            format!("{sarathi}\ngpus: 3\n"),
            "13",
            &["`gpus` is not a key here"],
        ),
        (
            sarathi.replace("num_requests: 1024", "num_requests: !expand [1, 2]"),
            "7",
            &["`!expand` and `!include` are not read"],
        ),
        (
            etalon.replacen("openai_server_engine: vllm", "openai_server_engine: exotic", 1),
            "3",
            &["`exotic` is not known; write vllm"],
        ),
        (
            etalon.replacen(
                "request_interval_generator_provider: poisson",
                "request_interval_generator_provider: static",
                1,
            ),
            "11",
            &["static has no rate that could be searched; write poisson or gamma"],
        ),
        (
            etalon.replacen(
                "request_length_generator_provider: trace",
                "request_length_generator_provider: fixed",
                1,
            ),
            "11",
            &["fixed_request_generator_prefill_tokens is missing"],
        ),
        (
            etalon.replacen(
                "start_qps: 1,",
                "start_qps: 1, trace_request_length_generator_prefill_scale_factor: 2.0,",
                1,
            ),
            "11",
            &[
                "trace_request_length_generator_prefill_scale_factor: lengths of a trace are taken as they are",
            ],
        ),
        (
            etalon.replacen("start_qps: 1,", "start_qps: 1, seed: 7,", 1),
            "12",
            &["seed: it differs", "a file for each"],
        ),
        (
            etalon.replacen(
                "additional_sampling_params: {}",
                "additional_sampling_params: {top_p: 0.9}",
                1,
            ),
            "14",
            &["additional_sampling_params: they are not sent; write {}"],
        ),
        (
            etalon.replacen("llm_api: openai", "llm_api: sagemaker", 1),
            "14",
            &["llm_api: only openai"],
        ),
        (
            etalon.replacen("num_ray_clients", "ray_clients", 1),
            "14",
            &["`ray_clients` is not a key here; did you mean num_ray_clients?"],
        ),
    ];
    for (text, line, words) in cases {
        let error = refused(&text, &OlderFlags::default());
        assert!(error.starts_with(&format!("older.yml:{line}: ")), "{error}");
        for word in words {
            assert!(error.contains(word), "{error}");
        }
    }
}

#[test]
fn what_cannot_be_simulated_goes_and_the_rest_stays() {
    let file = converted(published("default.yml"), &OlderFlags::default());
    assert!(
        file.notes.iter().any(|n| n.contains("mixture of experts")),
        "{:?}",
        file.notes
    );
    assert!(file.systems.iter().all(|s| !s.value.name.contains("mixtral")));
    let text = published("figure-9/yi34b.yml");
    let text = text.replacen("scheduler: sarathi", "scheduler: deadline", 1);
    let file = converted(&text, &OlderFlags::default());
    assert_eq!(file.systems.len(), 2);
    assert!(
        file.notes
            .iter()
            .any(|n| n.contains("scheduler sarathi_512 is left out: deadline is not simulated")),
        "{:?}",
        file.notes
    );
    let unknown = text.replace("01-ai/Yi-34B", "org/unheard-of");
    assert!(refused(&unknown, &OlderFlags::default()).contains("org/unheard-of is left out: no such model"));
    let flags = OlderFlags {
        catalog: vec!["mine.yml".into()],
        ..OlderFlags::default()
    };
    assert_eq!(converted(&unknown, &flags).catalog, [Path::new("mine.yml")]);
    // As an endpoint, what the simulator does not know is no matter.
    let one = published("mixtral.yml").replace(
        "  - {openai_server_engine: sarathi, openai_api_key: token-abc123}\n",
        "",
    );
    let flags = OlderFlags {
        url: Some("http://gpu07:8000".to_owned()),
        ..OlderFlags::default()
    };
    let file = converted(&one, &flags);
    let system = &file.systems[0].value;
    let endpoint = system.endpoint.as_ref().unwrap();
    assert_eq!(system.side(file.target), Side::Endpoint);
    assert_eq!(endpoint.url.as_deref(), Some("http://gpu07:8000"));
    assert_eq!(endpoint.settings["API_KEY"], "token-abc123");
    assert_eq!(system.gpus(), 4);
}

#[test]
fn a_trace_beside_the_file_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("data/processed_traces");
    let configs = folder.path().join("experiments/figure-9");
    std::fs::create_dir_all(&place).unwrap();
    std::fs::create_dir_all(&configs).unwrap();
    let text = published("figure-9/yi34b.yml");
    let file = |()| {
        read(text, &configs.join("yi34b.yml"), &OlderFlags::default())
            .unwrap()
            .unwrap()
    };
    let workload = &file(()).workloads[0].value;
    assert_eq!(
        workload.lengths,
        Some(RequestLengths::Published(PublishedLengths::ShareGpt8k))
    );
    let trace = place.join("sharegpt_8k_filtered_stats_llama2_tokenizer.csv");
    std::fs::write(&trace, "num_prefill_tokens,num_decode_tokens\n1,2\n").unwrap();
    let taken = file(());
    let workload = &taken.workloads[0].value;
    assert_eq!(workload.lengths, None);
    assert_eq!(
        std::fs::canonicalize(workload.trace.as_ref().unwrap()).unwrap(),
        std::fs::canonicalize(&trace).unwrap()
    );
    assert_eq!(workload.order, Order::Shuffled);
    assert!(
        taken.notes.iter().all(|note| !note.contains("statistics")),
        "{:?}",
        taken.notes
    );
}

const VEEKSHA: &str = "\
output_dir: out
start_value: 4
max_value: 128
expansion_factor: 2.0
max_iterations: 15
precision: 1
benchmark_config:
  seed: 7
  traffic_scheduler:
    type: rate
    interval_generator: {type: gamma}
    cancel_session_on_failure: false
  session_generator:
    type: synthetic
    session_graph: {type: single_request}
    channels:
      - type: text
        body_length_generator: {type: fixed, value: 512}
    output_spec:
      text:
        output_length_generator: {type: fixed, value: 256}
  client:
    type: openai_chat_completions
    api_base: http://localhost:8000/v1
    model: meta-llama/Llama-3-8B-Instruct
    request_timeout: 60
  runtime: {benchmark_timeout: 60, max_sessions: -1}
  evaluators:
    - type: performance
      slos:
        - {name: first, metric: ttfc, percentile: 0.99, value: 5.0, type: constant}
        - {metric: tbc, percentile: 0.99, value: 0.1}
";

#[test]
fn a_veeksha_file_is_a_search_of_one_endpoint() {
    let file = converted(VEEKSHA, &OlderFlags::default());
    assert_eq!(
        terms(&file),
        [(Quantity::Ttft, 0.99, 5.0), (Quantity::Tbt, 0.99, 0.1)]
    );
    let search = &file.search;
    assert_eq!(
        (
            search.rule,
            search.start_qps,
            search.max_qps,
            search.expansion_factor,
            search.precision,
            search.limit()
        ),
        (Rule::Veeksha, 4.0, Some(128.0), 2.0, 1, 15)
    );
    let workload = &file.workloads[0].value;
    assert_eq!(
        (workload.arrivals, workload.requests),
        (Arrival::Gamma { cv: 0.5 }, 128 * 60)
    );
    assert_eq!((file.seed, workload.max_duration().unwrap().as_secs()), (7, 60));
    let endpoint = file.systems[0].value.endpoint.as_ref().unwrap();
    assert_eq!(endpoint.url.as_deref(), Some("http://localhost:8000/v1"));
    assert_eq!(
        (
            endpoint.settings["API"].as_str(),
            endpoint.settings["REQUEST_TIMEOUT"].as_str()
        ),
        ("chat", "60")
    );
    // Without objectives, the tool's own pair.
    let bare = &VEEKSHA[..VEEKSHA.find("  evaluators").unwrap()];
    let file = converted(bare, &OlderFlags::default());
    assert_eq!(
        terms(&file),
        [(Quantity::Ttft, 0.99, 0.5), (Quantity::Tbt, 0.9, 0.05)]
    );
}

#[test]
fn what_veeksha_searches_and_we_do_not_is_refused_with_the_line() {
    let cases: [(&str, &str, &str, &str); 9] = [
        ("type: rate", "type: concurrent", "10", "concurrent is no rate"),
        (
            "session_graph: {type: single_request}",
            "session_graph: {type: linear}",
            "15",
            "write type: single_request",
        ),
        ("type: synthetic", "type: lmeval", "14", "lmeval is not sent here"),
        ("type: text\n", "type: image\n", "17", "prompts are text"),
        (
            "type: openai_chat_completions",
            "type: streaming_tts",
            "23",
            "streaming_tts is not spoken here",
        ),
        (
            "metric: tbc",
            "metric: rtf",
            "32",
            "rtf is not measured here; write ttfc, tbc, tpot or e2e",
        ),
        (
            "type: performance",
            "type: audio_quality",
            "29",
            "audio_quality judges no latency",
        ),
        (
            "  seed: 7",
            "  server: {engine: vllm}",
            "8",
            "start it and write its URL",
        ),
        (
            "start_value: 4",
            "start_valu: 4",
            "2",
            "`start_valu` is not a key here; did you mean start_value?",
        ),
    ];
    for (from, to, line, words) in cases {
        let error = refused(&VEEKSHA.replacen(from, to, 1), &OlderFlags::default());
        assert!(error.contains(words), "{error}");
        assert!(error.starts_with(&format!("older.yml:{line}: ")), "{error}");
    }
}
