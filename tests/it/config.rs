//! Settings: precedence, provenance, messages, `env.example`, `mst config` and `mst mix`.

mod adaptive;
mod mistakes;
mod mix;

use std::path::{Path, PathBuf};

use mst::settings::{
    self, Evaluation, KEYS, LoadGenChoice, Loaded, Origin, Profile, SearchKind, Sources, StopRule, ToolName,
    load,
};
use mst::workload::Arrival;

use crate::support::{compare, golden, mst};

/// Settings from a file's text, an environment and flags.
fn sources(
    text: &[u8],
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("t.env");
    std::fs::write(&path, text).expect("the folder is ours");
    let owned = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    let sources = Sources {
        env_file: Some(path),
        environment: owned(environment),
        flags: owned(flags),
    };
    (folder, sources)
}

fn loaded(text: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Loaded {
    let (_folder, sources) = sources(text.as_bytes(), environment, flags);
    load(&sources).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn starts(loaded: &Loaded) -> Vec<(String, f64)> {
    loaded
        .settings
        .experiments
        .iter()
        .map(|e| (e.name.clone(), e.start.as_per_minute()))
        .collect()
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let file = "DURATION=40s";
    let environment = [("DURATION", "30s")];
    let flags = [("DURATION", "20s")];
    let seconds = |l: &Loaded| l.settings.duration.as_secs();
    let all = loaded(file, &environment, &flags);
    assert_eq!(
        (seconds(&all), &all.provenance["DURATION"].origin),
        (20, &Origin::Flag)
    );
    let notes = all.provenance["DURATION"].notes.join("; ");
    assert!(
        notes.contains("DURATION=30s (environment)") && notes.contains("t.env:1"),
        "{notes}"
    );
    let two = loaded(file, &environment, &[]);
    assert_eq!(
        (seconds(&two), &two.provenance["DURATION"].origin),
        (30, &Origin::Environment)
    );
    let one = loaded(file, &[], &[]);
    assert_eq!(seconds(&one), 40);
    assert!(matches!(
        &one.provenance["DURATION"].origin,
        Origin::File { line: 1, .. }
    ));
    let none = loaded("", &[], &[]);
    assert_eq!(seconds(&none), 10);
    assert_eq!(none.provenance["DURATION"].origin, Origin::Default(Profile::Demo));
    // Set and empty hides what lies below, and says so.
    let hidden = loaded(file, &[("DURATION", "")], &[]);
    assert_eq!(seconds(&hidden), 10);
    assert!(
        hidden.notes.iter().any(|n| n.contains("set and empty")),
        "{:?}",
        hidden.notes
    );
}

#[test]
fn a_run_can_tell_what_was_changed() {
    let l = loaded("SEED=42\nDURATION=20s", &[], &[("URL", "my_node:8000")]);
    let changed = l.changed().join(" ");
    assert!(
        changed.starts_with("URL=my_node:8000 (flag) DURATION=20s ("),
        "{changed}"
    );
    assert!(!changed.contains("SEED"), "{changed}");
    assert_eq!(
        l.profile_line(),
        "profile: live (URL is set: http://my_node:8000)"
    );
    let l = loaded("REQ_MIN_START=1,2,3\nTOKENS_LIST=1:1,2:2", &[], &[]);
    assert!(
        l.notes
            .iter()
            .any(|n| n.contains("3 rates are given, 2 are used")),
        "{:?}",
        l.notes
    );
}

#[test]
fn older_names_are_understood_with_a_note() {
    let l = loaded(
        "URL=h:1\nCOOLDOWN=7\nFILTER_BUFFER_MINUTES=2\nSUCCESS_RATE=90\nREQUESTS_DIR=r\nSTOP_THRESHOLD=0.5\n\
         THRESHOLD_TYPE=absolute",
        &[],
        &[],
    );
    let s = &l.settings;
    assert_eq!((s.cooldown.as_secs(), s.filter_buffer_s), (7, 120));
    assert_eq!(
        (s.success_rate_percent, s.results_dir.as_path()),
        (90.0, Path::new("r"))
    );
    assert_eq!(s.stop, StopRule::Absolute(0.5));
    for name in [
        "COOLDOWN",
        "FILTER_BUFFER_MINUTES",
        "SUCCESS_RATE",
        "REQUESTS_DIR",
    ] {
        assert!(
            l.notes.iter().any(|n| n.ends_with(&format!("older name {name}"))),
            "{name}"
        );
    }
    // The present name holds beside an older one of the same source; REQUESTS_DIR never beats RESULTS_DIR.
    let l = loaded(
        "ITERATION_COOLDOWN_SECONDS=1\nCOOLDOWN=2\nRESULTS_DIR=a\nREQUESTS_DIR=b",
        &[],
        &[],
    );
    assert_eq!(
        (l.settings.cooldown.as_secs(), l.settings.results_dir),
        (1, PathBuf::from("a"))
    );
    let l = loaded("RESULTS_DIR=a", &[("REQUESTS_DIR", "b")], &[]);
    assert_eq!(l.settings.results_dir, PathBuf::from("a"));
}

#[test]
fn one_pair_again_begins_where_its_file_has_it_begin() {
    let file = "TOKENS_LIST=16:16,64:64,128:128\nREQ_MIN_START=900,300";
    let expected = |list: &[(&str, f64)]| {
        list.iter()
            .map(|(n, r)| ((*n).to_owned(), *r))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        starts(&loaded(file, &[], &[])),
        expected(&[("16_16", 900.0), ("64_64", 300.0), ("128_128", 300.0)])
    );
    let flags = [("TOKENS_LIST", "128:128,16:16,7:7")];
    assert_eq!(
        starts(&loaded(file, &[], &flags)),
        expected(&[("128_128", 300.0), ("16_16", 900.0), ("7_7", 300.0)])
    );
    let flags = [("TOKENS_LIST", "128:128,16:16"), ("REQ_MIN_START", "5/s,50")];
    assert_eq!(
        starts(&loaded(file, &[], &flags)),
        expected(&[("128_128", 300.0), ("16_16", 50.0)])
    );
    // The second pair of the demo, alone.
    assert_eq!(
        starts(&loaded("", &[], &[("TOKENS_LIST", "64:32")])),
        expected(&[("64_32", 1500.0)])
    );
}

#[test]
fn mixes_take_the_place_of_pairs_unless_pairs_come_from_a_higher_source() {
    let file = "TOKENS_LIST=16:16\nWORKLOAD_MIXES=[(300-600:100-300,1),(1-100:1-100,1)],[(8:8,1)]\nREQ_MIN_START=9,8";
    let l = loaded(file, &[], &[]);
    assert_eq!(
        starts(&l),
        [
            ("mix_1-100_1-100@0.5+300-600_100-300@0.5".to_owned(), 9.0),
            ("mix_8_8@1".to_owned(), 8.0)
        ]
    );
    assert!(
        l.notes.iter().any(|n| n.contains("TOKENS_LIST is not searched")),
        "{:?}",
        l.notes
    );
    assert!(l.settings.experiments[0].pair().is_none());
    let l = loaded(file, &[], &[("TOKENS_LIST", "16:16")]);
    assert_eq!(starts(&l)[0].0, "16_16");
    let old = "TOKENS_LIST=1-100:1-100,300-600:100-300\nADDITIVE=on\nTOKENS_LIST_PROPORTION=";
    assert_eq!(
        starts(&loaded(old, &[], &[]))[0].0,
        "mix_1-100_1-100@0.5+300-600_100-300@0.5"
    );
    let l = loaded(&format!("{old}-1,3,4"), &[], &[]);
    assert_eq!(starts(&l)[0].0, "mix_300-600_100-300@1");
    assert!(
        l.notes.iter().any(|n| n.contains("negative")) && l.notes.iter().any(|n| n.contains("2 are used"))
    );
}

#[test]
fn keys_are_taken_by_value_or_by_the_name_of_a_variable_and_never_shown() {
    let by_value = loaded("API_KEY=sk-quiet", &[], &[]);
    let by_name = loaded("API_KEY_VARIABLE=SITE_KEY", &[("SITE_KEY", "sk-quiet")], &[]);
    for l in [&by_value, &by_name] {
        assert_eq!(l.settings.api_key.as_ref().unwrap().expose(), "sk-quiet");
        assert!(!format!("{l:?}").contains("sk-quiet"));
    }
    assert_eq!(by_value.provenance["API_KEY"].value, "***");
    // Of two sources the higher one holds; within one source it is a mistake (see `mistakes`).
    let environment = [("API_KEY", "sk-other"), ("SITE_KEY", "sk-quiet")];
    let higher = loaded("API_KEY_VARIABLE=SITE_KEY", &environment, &[]);
    assert_eq!(higher.settings.api_key.as_ref().unwrap().expose(), "sk-other");
    let higher = loaded("", &environment, &[("API_KEY_VARIABLE", "SITE_KEY")]);
    assert_eq!(higher.settings.api_key.as_ref().unwrap().expose(), "sk-quiet");
    let replaced = loaded("API_KEY=sk-quiet", &[("API_KEY", "sk-other")], &[]);
    assert!(!format!("{replaced:?}").contains("sk-"), "{:?}", replaced.notes);
}

#[test]
fn names_of_other_programs_in_the_environment_are_left_alone_or_pointed_out() {
    let foreign = [
        ("NODE", "x"),
        ("CODE", "99"),
        ("TARGET", "x86_64"),
        ("NAMESPACE", "k"),
        ("PATH", "/"),
    ];
    let l = loaded("", &foreign, &[]);
    assert!(l.warnings.is_empty(), "{:?}", l.warnings);
    assert_eq!(l.notes.len(), 1, "{:?}", l.notes);
    let l = loaded("", &[("URL", "h:1")], &[]);
    assert!(
        l.notes
            .iter()
            .any(|n| n.contains("environment: URL: taken from the environment")),
        "{:?}",
        l.notes
    );
}

#[test]
fn the_older_search_makes_the_older_rule_the_default() {
    let l = loaded("URL=h:1\nSEARCH=stages-legacy", &[], &[]);
    assert_eq!(l.settings.evaluation, Evaluation::Welch);
    let l = loaded("URL=h:1\nSEARCH=stages-legacy\nEVALUATION=drift", &[], &[]);
    assert_eq!(l.settings.evaluation, Evaluation::Drift);
    // A window that welch cannot judge is an error there, and nobody's business elsewhere.
    let l = loaded("DURATION=10\nFILTER_BUFFER=5", &[], &[]);
    assert!(
        !l.notes.iter().any(|n| n.contains("FILTER_BUFFER")),
        "{:?}",
        l.notes
    );
}

/// `env.example` with the lines of one profile uncommented.
fn example_of(profile: &str) -> String {
    settings::example()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.ends_with(&format!(" # {profile}")) => rest.to_owned(),
            _ => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_example_names_every_key_and_parses_to_the_defaults_of_each_profile() {
    let plain = loaded(&settings::example(), &[], &[]);
    assert_eq!(plain.settings, loaded("", &[], &[]).settings);
    assert!(
        plain.warnings.is_empty() && plain.notes.is_empty(),
        "{:?}",
        plain.notes
    );
    assert_eq!(loaded(&example_of("demo"), &[], &[]).settings, plain.settings);
    let url = [("URL", "h:1")];
    let live = loaded("", &[], &url);
    assert_eq!(live.settings.profile, Profile::Live);
    assert_eq!(loaded(&settings::example(), &[], &url).settings, live.settings);
    assert_eq!(loaded(&example_of("live"), &[], &url).settings, live.settings);
    // Not by accident: the other profile's lines differ.
    assert_ne!(loaded(&example_of("demo"), &[], &url).settings, live.settings);
    for key in KEYS {
        let name = format!("{}=", key.name);
        assert!(
            settings::example()
                .lines()
                .any(|l| l.trim_start_matches("# ").starts_with(&name)),
            "{name}"
        );
    }
}

#[test]
fn load_generators_of_the_package_index_are_set() {
    let tokenizer = "tests/golden/external/tokenizers/byte-level.json";
    let choice = |text: &str| loaded(&format!("URL=h:1\n{text}"), &[], &[]).settings;
    let one = choice(&format!("LOADGEN=guidellm\nTOKENIZER={tokenizer}"));
    let LoadGenChoice::Tool(tool) = one.loadgen else {
        panic!("{:?}", one.loadgen);
    };
    assert_eq!(
        (tool.tool, tool.argv),
        (ToolName::Guidellm, vec!["guidellm".to_owned()])
    );
    assert_eq!(tool.tokenizer, PathBuf::from(tokenizer));
    // It draws its own arrivals: stratified ones, the default of this search, are not to be had.
    assert_eq!(
        (one.search, one.arrival),
        (SearchKind::Adaptive, Arrival::Poisson)
    );
    let other = choice(&format!(
        "LOADGEN=inference-perf\nLOADGEN_TOKENIZER=tests/golden/external\nTOKENIZER={tokenizer}\nARRIVAL=stratified\n\
         INFERENCE_PERF_COMMAND=python -m inference_perf.main"
    ));
    let LoadGenChoice::Tool(tool) = other.loadgen else {
        panic!("{:?}", other.loadgen);
    };
    assert_eq!(tool.argv, ["python", "-m", "inference_perf.main"]);
    assert_eq!(tool.tokenizer, PathBuf::from("tests/golden/external"));
    assert_eq!(other.arrival, Arrival::Stratified);
}

#[test]
fn example_and_documentation_follow_the_table_of_keys() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    compare(&root.join("env.example"), &settings::example());
    let page = root.join("docs/settings.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once("<!-- table -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end of table -->").unwrap();
    compare(
        &page,
        &format!(
            "{before}<!-- table -->\n{}\n<!-- end of table -->{after}",
            settings::documented()
        ),
    );
}

/// Keys of the older programs' files, of any form.
const OLDER_KEYS: &str = "TARGET URL REQUESTS_DIR REQUESTS_FILENAME RESULTS_FILENAME RESULTS_ALL_FILENAME NUM_USERS \
    SWEEP_USERS SAMPLE_SIZE FRAC_GREEDY CODE DURATION BACKOFF GRACE_PERIOD REQUEST_TIMEOUT TTFT_TIMEOUT TPOT_TIMEOUT \
    WORKER_RPM_CAPACITY MAX_WORKERS REQ_MIN MIN_INPUT_TOKENS MAX_INPUT_TOKENS MIN_OUTPUT_TOKENS MAX_OUTPUT_TOKENS \
    TOKENS_LIST REQ_MIN_START REQ_MIN_INCREASE_MULTIPLIER STOP_THRESHOLD THRESHOLD_TYPE EXPERIMENT_TYPE ADDITIVE \
    TOKENS_LIST_PROPORTION COOLDOWN FILTER_BUFFER FILTER_BUFFER_MINUTES SUCCESS_RATE_THRESHOLD SUCCESS_RATE \
    MIT_PLATEAU_REL_TOL MIT_PLATEAU_ABS_TOL OVERWRITE MAX_GENERATE_ATTEMPTS RETRY_BACKOFF_SECONDS PROMPTS_FILE \
    HUGGINGFACE_TOKEN HF_TOKEN MODEL GPUS CPUS NODE SLURM_JOB_ID PROM_URL PROM_TOKEN NAMESPACE NUM_PROM_STEPS \
    RESULTS_DIR MODEL_DISCOVERY_TIMEOUT ITERATION_COOLDOWN_SECONDS ITERATION_HARD_LIMIT WORKLOAD_MIXES NODE_LIST \
    SERVICE_TYPE USE_CASES_YAML REQUESTS_FILENAME_BASE ADDITIVE_EXPECTED_PROPORTIONS ADDITIVE_TRUE_PROPORTIONS";

#[test]
fn every_key_of_the_older_programs_is_known_and_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/compatibility.md")).unwrap();
    for key in OLDER_KEYS.split_whitespace() {
        // Empty values: whether the name is known, not whether a value is right.
        let l = loaded(&format!("{key}="), &[], &[]);
        assert!(l.warnings.is_empty(), "{:?}", l.warnings);
        let name = if key.starts_with("PROM_") { "PROM_*" } else { key };
        assert!(
            page.contains(&format!("| `{name}`")),
            "docs/compatibility.md lacks {name}"
        );
    }
}

#[test]
fn files_of_earlier_programs_load() {
    for name in ["oldest", "older", "latest"] {
        let folder = golden("env");
        let output = mst()
            .current_dir(&folder)
            .args(["config", "--env-file", &format!("{name}.env")])
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let shown = format!("{}----\n{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{shown}");
        compare(&folder.join(format!("{name}.txt")), &shown);
    }
}

#[test]
fn the_file_of_the_current_folder_is_read_and_the_environment_beats_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "\nDURATION=20s\nSEED=5\n").unwrap();
    let output = mst()
        .current_dir(folder.path())
        .env("SEED", "6")
        .arg("config")
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let line = |key: &str| {
        shown
            .lines()
            .find(|l| l.starts_with(key))
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        shown.lines().next(),
        Some("profile: demo (URL is empty: the embedded server is loaded)")
    );
    assert_eq!(line("DURATION"), ["DURATION", "20s", ".env:2"]);
    assert_eq!(line("SEED"), ["SEED", "6", "environment"]);
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(
        notes.contains("environment: SEED: takes the place of SEED=5 (.env:3)"),
        "{notes}"
    );
    // What the program prints as an example loads as it stands.
    let example = mst().args(["config", "--example"]).output().unwrap().stdout;
    std::fs::write(folder.path().join(".env"), &example).unwrap();
    let output = mst().current_dir(folder.path()).arg("config").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn config_speaks_json_and_leaves_the_file_alone() {
    let (folder, _) = sources(b"DURATION=20s # short\nDURATOIN=1", &[], &[]);
    let output = mst()
        .current_dir(folder.path())
        .args([
            "config",
            "--env-file",
            "t.env",
            "--format",
            "json",
            "--set",
            "SEED=7",
        ])
        .output()
        .unwrap();
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&value["profile"], &value["searches"][0]["name"]),
        (&"demo".into(), &"32_16".into())
    );
    let of = |key: &str| {
        let all = value["settings"].as_array().unwrap();
        all.iter().find(|s| s["key"] == key).unwrap().clone()
    };
    assert_eq!(
        (&of("DURATION")["line"], &of("DURATION")["value"]),
        (&1.into(), &"20s".into())
    );
    assert_eq!(of("SEED")["from"], "flag");
    assert_eq!(of("URL")["value"], serde_json::Value::Null);
    assert!(
        value["warnings"][0]
            .as_str()
            .unwrap()
            .contains("t.env:2: DURATOIN")
    );
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(files.len(), 1);
    assert_eq!(
        std::fs::read(folder.path().join("t.env")).unwrap(),
        b"DURATION=20s # short\nDURATOIN=1"
    );
}
