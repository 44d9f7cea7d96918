//! Every mistake has its message, with line and remedy; none is a panic, none a silent skip.

use mst::settings::load;

use super::sources;
use crate::support::mst;

/// A file and what its error must say.
const MISTAKES: &[(&[u8], &str)] = &[
    (b"\nDURATION", "t.env:2: the line has no `=`"),
    (b"TOKENS_LIST 128:128", "t.env:1: the line has no `=`"),
    (b"=5", "t.env:1: there is no key before the `=`"),
    (b"1URL=x", "t.env:1: 1URL: the key may hold only letters"),
    (b"MY-URL=x", "the key may hold only letters"),
    (b"MODEL=\"a", "t.env:1: MODEL: the value opens with \""),
    (b"MODEL='a", "the value opens with '"),
    (b"MODEL=\"a\" b", "text after the closing quote"),
    (
        b"# ok\nMODEL=\xff\xfe",
        "t.env:2: MODEL: byte 7 of the line is not UTF-8",
    ),
    (b"\xff\xfeU\0R\0L\0", "UTF-16; save it as UTF-8"),
    (b"MODEL=a\0b", "NUL byte"),
    (b"URL=ftp://h", "t.env:1: URL=ftp://h: only http and https"),
    (b"URL=http://u:p@h", "URL=http://***@h: a URL with a password"),
    (b"URL=h:99999", "`99999` is not a port"),
    (b"URL=a b", "this is not a URL"),
    (b"URL=http://h?x=1", "a base URL has no ?query"),
    (b"API_KEY=a\nAPI_KEY_VARIABLE=B", "keep one of the two"),
    (b"API_KEY_VARIABLE=NOWHERE", "no variable NOWHERE; export it"),
    (b"API=responses", "`responses` is not one of completions, chat"),
    (b"MODEL_DISCOVERY_TIMEOUT=0", "must be longer than zero"),
    (b"TOKENS_LIST=128", "item 1 `128`: there is no `:`; write IN:OUT"),
    (b"TOKENS_LIST=1:1,,2:2", "item 2 ``: nothing stands there"),
    (
        b"TOKENS_LIST=1:1,a:2",
        "item 2 `a:2`: input `a` is not a whole number",
    ),
    (b"TOKENS_LIST=1:0", "item 1 `1:0`: output is at most 0 tokens"),
    (b"TOKENS_LIST=0-0:1", "input is at most 0 tokens"),
    (b"TOKENS_LIST=200-100:1", "range is reversed; write 100-200"),
    (b"TOKENS_LIST=1:2:3", "more than one `:`"),
    (b"TOKENS_LIST=-5:1", "has no number; write N or MIN-MAX"),
    (b"TOKENS_LIST=1.5:1", "`1.5` is not a whole number"),
    (b"TOKENS_LIST=99999999999:1", "is more than 10000000 tokens"),
    (b"TOKENS_LIST=1-2-3:1", "`2-3` is not a whole number"),
    (b"WORKLOAD_MIXES=(1:1,1)", "mix 1 does not begin with `[`"),
    (b"WORKLOAD_MIXES=[(1:1,1)", "mix 1 has no closing `]`"),
    (b"WORKLOAD_MIXES=[]", "mix 1 is empty"),
    (
        b"WORKLOAD_MIXES=[(1:1,1)],[(1:1)]",
        "mix 2, profile 1 `(1:1)`: there is no share",
    ),
    (b"WORKLOAD_MIXES=[(1:1,-1)]", "the share -1 is not above 0"),
    (b"WORKLOAD_MIXES=[(1:1,half)]", "the share `half` is not a number"),
    (b"WORKLOAD_MIXES=[(1:0,1)]", "output is at most 0 tokens"),
    (
        b"ADDITIVE=true\nTOKENS_LIST_PROPORTION=1,x",
        "t.env:2: TOKENS_LIST_PROPORTION=1,x: item 2 `x`",
    ),
    (b"ADDITIVE=perhaps", "neither true nor false"),
    (b"REQ_MIN_START=100,fast", "item 2: `fast` is not a request rate"),
    (b"REQ_MIN_START=0", "`0` is not a request rate"),
    (b"REQ_MIN_START=1e12", "more than any service can take"),
    (b"REQ_MIN_INCREASE_MULTIPLIER=1", "it must be above 1"),
    (b"REQ_MIN_INCREASE_MULTIPLIER=inf", "`inf` is not a number"),
    (b"STOP_THRESHOLD=0", "a bracket never shrinks to nothing"),
    (b"STOP_THRESHOLD=-1", "it must be at least 0"),
    (
        b"STOP_THRESHOLD=10\nTHRESHOLD_TYPE=relative",
        "a fraction is below 1",
    ),
    (b"THRESHOLD_TYPE=rel", "`rel` is not one of relative, absolute"),
    (b"ITERATION_HARD_LIMIT=0", "it must be at least 1"),
    (b"ITERATION_HARD_LIMIT=many", "`many` is not a whole number"),
    (
        b"DURATION=soon",
        "`soon` is not a duration; write for example 30s",
    ),
    (b"DURATION=0s", "must be longer than zero"),
    (b"DURATION=400d", "longer than 30 days"),
    (b"ITERATION_COOLDOWN_SECONDS=-3", "`-3` is not a duration"),
    (b"FILTER_BUFFER=1.5", "only whole seconds"),
    (
        b"FILTER_BUFFER_MINUTES=five",
        "`five` is not a number of minutes; write FILTER_BUFFER in seconds",
    ),
    (
        b"EVALUATION=welch\nDURATION=10\nFILTER_BUFFER=5",
        "t.env:2: DURATION=10: welch cuts off 5 s",
    ),
    (b"EVALUATION=wlech", "did you mean welch?"),
    (b"SEARCH=bisect", "not one of stages, stages-legacy, adaptive"),
    (b"EXPERIMENT_TYPE=MAX", "`MAX` is not one of mst, mit"),
    (b"SUCCESS_RATE_THRESHOLD=101", "it must lie between 0 and 100"),
    (b"SUCCESS_RATE=most", "`most` is not a number"),
    (b"ARRIVAL=gamma", "`gamma` is not an arrival process"),
    (b"SEED=-1", "`-1` is not a whole number from 0"),
    (b"RETRIES=x", "`x` is not a whole number"),
    (b"PROMPTS_FILE=nowhere.jsonl", "there is no such file"),
    (b"TOKENIZER=src", "this is a folder; name a file"),
    (
        b"TARGET=tgis",
        "t.env:1: TARGET=tgis: the tgis protocol is not supported",
    ),
    (b"TARGET=trt", "`trt` is not a protocol of fmperf"),
    (
        b"SERVICE_TYPE=SaaS",
        "t.env:1: SERVICE_TYPE=SaaS: only SERVICE_TYPE=LLM",
    ),
    (b"USE_CASES_YAML=u.yaml", "remove the line and set TOKENS_LIST"),
    (b"SWEEP_USERS=1,2", "a closed loop of users cannot hold a rate"),
    (
        b"LOADGEN=locust",
        "`locust` is not one of native, fmperf, guidellm, aiperf, inference-perf, command",
    ),
    (
        b"LOADGEN=fmperf\nFMPERF_DIR=/nowhere",
        "t.env:2: FMPERF_DIR=/nowhere: there is no such folder",
    ),
    (
        b"LOADGEN=fmperf\nPROMPT_SOURCE=magic",
        "`magic` is not one of native, fmperf, file:PATH",
    ),
    (
        b"LOADGEN=fmperf\nPROMPT_SOURCE=file",
        "REQUESTS_FILENAME does not say which",
    ),
    (
        b"LOADGEN=fmperf\nPROMPT_SOURCE=file:/nowhere",
        "there is no such file; write file:PATH",
    ),
    (
        b"LOADGEN=aiperf",
        "t.env:1: LOADGEN=aiperf: it makes its prompts with the model's tokenizer; set LOADGEN_TOKENIZER",
    ),
    (
        b"LOADGEN=guidellm\nLOADGEN_TOKENIZER=/nowhere",
        "there is no such file or folder; name a tokenizer.json",
    ),
    (
        b"LOADGEN=inference-perf\nLOADGEN_TOKENIZER=src\nINFERENCE_PERF_COMMAND=a 'b",
        "t.env:3: INFERENCE_PERF_COMMAND=a 'b: ",
    ),
    (
        b"LOADGEN=command",
        "t.env:1: LOADGEN=command: it needs LOADGEN_COMMAND",
    ),
    (
        b"LOADGEN=command\nLOADGEN_COMMAND=a 'b\nLOADGEN_OUTPUT=o\nLOADGEN_COLUMNS=a=b",
        "a ' is not closed",
    ),
    (
        b"LOADGEN=command\nLOADGEN_COMMAND=a\nLOADGEN_OUTPUT=../o\nLOADGEN_COLUMNS=a=b",
        "must lie below the trial's folder",
    ),
    (
        b"LOADGEN=command\nLOADGEN_COMMAND=a\nLOADGEN_OUTPUT=o\nLOADGEN_COLUMNS=a",
        "item 1 `a` is not OURS=THEIRS",
    ),
    (b"FRAC_GREEDY=2", "it must lie between 0 and 1"),
    (b"RESULTS_LAYOUT=old", "`old` is not one of mst, latest, new, doc"),
    (b"RESULTS_JSON=yes", "`yes` is not one of auto, on, gz, off"),
    (b"UNIQUE_PROMPTS=maybe", "neither true nor false"),
];

#[test]
fn every_mistake_has_its_message() {
    for (text, fragment) in MISTAKES {
        let shown = String::from_utf8_lossy(text);
        let (_folder, sources) = sources(text, &[], &[]);
        let error = load(&sources).expect_err(&shown).to_string();
        assert!(
            error.contains(fragment),
            "{shown}\n  says   {error}\n  not    {fragment}"
        );
        assert!(error.contains("t.env:"), "{shown} names no place: {error}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_order() {
    let text = MISTAKES
        .iter()
        .filter(|(text, _)| !text.contains(&b'\n') && text.starts_with(b"R"))
        .map(|(text, _)| String::from_utf8_lossy(text).into_owned())
        .collect::<Vec<_>>()
        .join("\n");
    let text = format!("{text}\nno equals sign\nDURATION=x");
    let (_folder, sources) = sources(text.as_bytes(), &[("API", "x")], &[("SEEED", "1")]);
    let error = load(&sources).unwrap_err();
    // One key holds once: of repeated ones only the last line counts.
    let shown = error.to_string();
    assert!(
        shown.starts_with(&format!("{} settings are wrong:", error.0.len())),
        "{shown}"
    );
    let lines: Vec<usize> = shown
        .lines()
        .filter_map(|l| l.split_once("t.env:")?.1.split(':').next()?.parse().ok())
        .collect();
    assert!(lines.len() >= 6 && lines.is_sorted(), "{shown}");
    assert!(
        shown.contains("environment: API=x") && shown.contains("unset it there"),
        "{shown}"
    );
    assert!(
        shown.contains("flag: SEEED: this is not a setting; did you mean SEED?"),
        "{shown}"
    );
}

#[test]
fn secrets_do_not_come_back_in_messages() {
    let (_folder, sources) = sources(
        b"API_KEY=\"sk-quiet\nURL=x y\nAPI_KEY=sk-qui\xc3\xa9t",
        &[],
        &[("API_KEY", "sk-flag")],
    );
    let shown = load(&sources).unwrap_err().to_string();
    assert!(shown.contains("API_KEY") && !shown.contains("sk-"), "{shown}");
}

#[test]
fn wrong_settings_end_with_exit_code_three() {
    let (folder, _) = sources(b"DURATION=x\nSEED=y", &[], &[]);
    for (arguments, fragment) in [
        (vec!["config", "--env-file", "t.env"], "2 settings are wrong"),
        (
            vec!["config", "--env-file", "absent.env"],
            "absent.env: there is no such file",
        ),
        (vec!["config", "--env-file", "."], "this is a folder"),
    ] {
        let output = mst()
            .current_dir(folder.path())
            .args(&arguments)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}: {stderr}");
        assert!(stderr.contains(fragment) && output.stdout.is_empty(), "{stderr}");
    }
    // Wrong usage is clap's.
    let output = mst().args(["config", "--set", "DURATION"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config {
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    })]

    #[test]
    fn any_bytes_load_or_are_refused(bytes: Vec<u8>) {
        let (_folder, sources) = sources(&bytes, &[], &[]);
        let _ = load(&sources);
    }

    #[test]
    fn any_value_of_any_key_loads_or_is_refused(
        index in 0..mst::settings::KEYS.len(),
        value in "[-\\[\\](),:;=0-9.a-zA-Z \"'$#\u{fc}]{0,24}",
    ) {
        let line = format!("{}={value}", mst::settings::KEYS[index].name);
        let (_folder, sources) = sources(line.as_bytes(), &[], &[]);
        if let Err(error) = load(&sources) {
            proptest::prop_assert!(error.to_string().contains("t.env:1"), "{}: {}", line, error);
        }
    }
}
