use std::path::Path;

use mst::loadgen::LoadGenerator;
use mst::loadgen::command::{CommandConfig, CommandLoad, split_template};
use mst::trial::Outcome;
use mst::units::{Rate, TokenRange};

use super::{execute, job, text};
use crate::support::golden;

fn pairs(text: &str) -> Vec<(String, String)> {
    text.split(',')
        .map(|p| p.split_once('=').unwrap())
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .collect()
}

fn load(command: &str, output: &str, columns: &str) -> CommandLoad {
    CommandLoad::new(CommandConfig {
        argv: split_template(command).unwrap(),
        output: output.to_owned(),
        columns: pairs(columns),
    })
    .unwrap()
}

const QUEUE_COLUMNS: &str =
    "sent=start_us:us,first_token=first_us:us,done=end_us:us,output_tokens=tokens,error=failure";

/// The scripted queue with 10 ms of service: its capacity is 100 requests a second.
fn queue() -> CommandLoad {
    let script = golden("external/queue.sh");
    load(
        &format!(
            "sh '{}' {{dir}}/out.csv {{count}} {{duration_s}} 10000",
            script.display()
        ),
        "out.csv",
        QUEUE_COLUMNS,
    )
}

#[test]
fn a_scripted_queue_becomes_a_measurement() {
    for (rate, e2e_last_ms) in [(50.0, 10.0), (200.0, 2005.0)] {
        let dir = tempfile::tempdir().unwrap();
        let job = job(Rate::per_second(rate), 2.0);
        let queue = queue();
        let commands = queue.prepare(&job, dir.path()).unwrap();
        assert_eq!(commands.len(), 1);
        assert!(execute(&commands[0]), "{}", text(dir.path(), "loadgen.log"));
        let measured = queue.read(&job, dir.path()).unwrap();
        assert_eq!(measured.records.len(), (2.0 * rate) as usize);
        assert_eq!(measured.client.void, None);
        assert!((measured.offered().as_per_second() - rate).abs() < 0.5);
        let last = measured.records.last().unwrap();
        assert!((last.e2e_ms().unwrap() - e2e_last_ms).abs() < 5.1, "{last:?}");
        assert_eq!(
            (last.input_tokens, last.output_tokens, last.outcome),
            (32, 16, Outcome::Ok)
        );
        // The script's clock starts at 0: the time of day comes from the file.
        assert!(measured.epoch_ns > 1_700_000_000_000_000_000);
    }
}

#[test]
fn a_generator_that_is_late_voids_the_trial() {
    let dir = tempfile::tempdir().unwrap();
    let queue = queue();
    let commands = queue
        .prepare(&job(Rate::per_second(10.0), 2.0), dir.path())
        .unwrap();
    assert!(execute(&commands[0]));
    let measured = queue.read(&job(Rate::per_second(40.0), 2.0), dir.path()).unwrap();
    assert!(
        measured
            .client
            .void
            .unwrap()
            .contains("20 requests sent within 2 s where 80")
    );
}

#[test]
fn an_older_output_never_passes_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(
        dir.path().join("out.csv"),
        "start_us,first_us,end_us,tokens,failure\n0,1,2,16,\n",
    )
    .unwrap();
    let silent = load("true", "out.csv", QUEUE_COLUMNS);
    let job = job(Rate::per_second(1.0), 1.0);
    assert!(execute(&silent.prepare(&job, dir.path()).unwrap()[0]));
    let error = silent.read(&job, dir.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("out.csv: the command did not write this file"),
        "{error}"
    );
}

fn read(name: &str, content: &str, columns: &str) -> Result<mst::trial::Measurement, String> {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join(name), content).unwrap();
    load("x", name, columns)
        .read(&job(Rate::per_second(2.0), 1.0), dir.path())
        .map_err(|e| e.to_string())
}

#[test]
fn json_lines_with_latencies_and_epoch_times_are_read() {
    let content = r#"
{"meta": {"t": 1795357646.250}, "timing": {"ttft": 20, "e2e": 120.5}, "out": 16, "in": 40, "success": true}
{"meta": {"t": 1795357646.000}, "timing": {"ttft": 10, "e2e": 100}, "out": 15, "in": 41, "success": true}
{"meta": {"t": 1795357646.500}, "timing": {"ttft": null, "e2e": null}, "success": false}
{"meta": {"t": 1795357646.750}, "timing": {"e2e": null}, "success": true}
"#;
    let columns = "intended=meta.t,first_token=+timing.ttft:ms,done=+timing.e2e:ms,output_tokens=out,input_tokens=in,ok=success";
    let measured = read("rows.jsonl", content, columns).unwrap();
    assert_eq!(measured.epoch_ns, 1_795_357_646_000_000_000);
    let seen: Vec<_> = measured
        .records
        .iter()
        .map(|r| {
            (
                r.intended_ns / 1_000_000,
                r.ttft_ms(),
                r.e2e_ms(),
                r.input_tokens,
                r.outcome,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (0, Some(10.0), Some(100.0), 41, Outcome::WrongLength),
            (250, Some(20.0), Some(120.5), 40, Outcome::Ok),
            (500, None, Some(0.0), 32, Outcome::Failed),
            (750, None, None, 32, Outcome::Unfinished),
        ]
    );
}

/// The mapping that the documentation gives for `AIPerf`, on rows that it wrote.
#[test]
fn aiperf_is_read_with_the_documented_mapping() {
    let content = fs_err::read_to_string(golden("external/aiperf.jsonl")).unwrap();
    let columns = "intended=metadata.credit_issued_ns:ns,sent=metadata.request_start_ns:ns,\
        first_token=+metrics.time_to_first_token.value:ms,done=metadata.request_end_ns:ns,\
        input_tokens=metrics.usage_prompt_tokens.value,output_tokens=metrics.output_sequence_length.value,\
        error=error.message";
    let measured = read("profile_export.jsonl", &content, columns).unwrap();
    let failed = measured
        .records
        .iter()
        .filter(|r| r.outcome == Outcome::Failed)
        .count();
    assert_eq!((measured.records.len(), failed), (5, 2));
    for good in measured.records.iter().filter(|r| r.outcome.is_ok()) {
        let (first, end) = (good.ttft_ms().unwrap(), good.e2e_ms().unwrap());
        assert!(10.0 < first && first < end && end < 1000.0, "{good:?}");
        assert!(good.lateness_ms().unwrap() > 0.0);
    }
    assert_eq!(measured.epoch_ns / 1_000_000_000_000, 1_795_361);
}

/// The mappings that the documentation gives for `vllm bench serve`, for its newer and its older files.
#[test]
fn lists_in_one_object_are_read() {
    let content = fs_err::read_to_string(golden("loadgen/vllm-bench.json")).unwrap();
    let columns = |done: &str| {
        format!(
            "sent=start_times,first_token=+ttfts,done=+{done},input_tokens=input_lens,output_tokens=output_lens,error=errors"
        )
    };
    for (done, e2e_ms) in [
        ("latencies", [80.1, 90.2, 65.3, 200.4]),
        ("ttfts+itls", [80.0, 90.0, 65.0, 200.0]),
    ] {
        let measured = read("vllm.json", &content, &columns(done)).unwrap();
        let outcomes: Vec<_> = measured.records.iter().map(|r| r.outcome).collect();
        assert_eq!(
            outcomes,
            [
                Outcome::Ok,
                Outcome::Ok,
                Outcome::Failed,
                Outcome::WrongLength,
                Outcome::Ok
            ]
        );
        let sent: Vec<_> = measured
            .records
            .iter()
            .map(|r| r.sent_ns.unwrap() / 1_000_000)
            .collect();
        assert_eq!(sent, [0, 250, 750, 1500, 2000]);
        assert_eq!(
            (measured.records[2].ttft_ms(), measured.records[2].e2e_ms()),
            (None, Some(0.0))
        );
        assert!((measured.records[1].ttft_ms().unwrap() - 60.0).abs() < 1e-6);
        let whole = measured.records.iter().filter(|r| r.outcome != Outcome::Failed);
        for (record, expected) in whole.zip(e2e_ms) {
            assert!((record.e2e_ms().unwrap() - expected).abs() < 1e-6, "{record:?}");
        }
    }
    for (from, to, expected) in [
        (
            "\"errors\": [\"\", ",
            "\"errors\": [",
            "line 1: entry 5: the list `errors` ends after 4 entries",
        ),
        (
            "\"latencies\": [0.0801,",
            "\"latencies\": [\"x\",",
            "line 1: entry 1: `x` in column `latencies` is not a time",
        ),
        (
            "\"latencies\": [0.0801,",
            "\"latencies\": [[null],",
            "entry 1: `latencies` holds other things than numbers",
        ),
        (
            "\"input_lens\": [32, 32, 32, 32, 32]",
            "\"input_lens\": 32",
            "`input_lens` is not a list",
        ),
        (
            "\"generated_texts\"",
            "\n\"generated_texts\"",
            "line 1: not a JSON object",
        ),
    ] {
        let changed = content.replacen(from, to, 1);
        assert_ne!(changed, content);
        let error = read("vllm.json", &changed, &columns("latencies")).unwrap_err();
        assert!(error.contains(expected), "{error}, not {expected}");
    }
}

#[test]
fn lateness_is_known_where_intended_times_are() {
    let measured = read(
        "o.csv",
        "a,b,c\n0,0.004,1\n0.5,0.5,1\n",
        "intended=a,sent=b,done=c",
    )
    .unwrap();
    assert_eq!(measured.client.lateness_max_ms, Some(4.0));
}

#[test]
fn bad_outputs_are_named_with_their_line() {
    let columns = "sent=start,done=end,output_tokens=n,ok=fine";
    for (name, content, expected) in [
        ("o.csv", "", "no column"),
        ("o.csv", "start,end,n,fine\n", "holds no request"),
        (
            "o.csv",
            "begin,end,n,fine\n1,2,3,true\n",
            "line 2: no column `start`; there are begin, end",
        ),
        (
            "o.csv",
            "start,end,n,fine\n1,2,3,true\n1,x,3,true\n",
            "line 3: `x` in column `end` is not a time",
        ),
        (
            "o.csv",
            "start,end,n,fine\n1,2,3.5,true\n",
            "`3.5` in column `n` is not a number of tokens",
        ),
        (
            "o.csv",
            "start,end,n,fine\n1,2,3,maybe\n",
            "neither true nor false",
        ),
        (
            "o.csv",
            "start,end,n,fine\n2,1,3,true\n",
            "ended before it was sent",
        ),
        ("o.csv", "start,end,n,fine\n1,2\n", "line"),
        ("o.jsonl", "{\"start\": 1}\n{", "line 2: not a JSON object"),
        (
            "o.jsonl",
            "{\"begin\": 1, \"end\": 2}\n",
            "no row has a value `start`",
        ),
        (
            "o.jsonl",
            "{\"start\": 1, \"end\": [2]}\n",
            "neither a number nor a text",
        ),
    ] {
        let error = read(name, content, columns).err();
        // An empty CSV file has no header, and so no row either.
        let expected = if content.is_empty() {
            "holds no request"
        } else {
            expected
        };
        assert!(
            error.as_ref().is_some_and(|e| e.contains(expected)),
            "{content:?}: {error:?}"
        );
    }
}

#[test]
fn templates_are_filled_and_checked() {
    let load = load(
        "gen --url={url} {base_url}{api_path} {rate_per_second} {rate_per_minute} {count} {input_tokens}:{output_tokens} {seed} {model} 'a b'",
        "o.csv",
        "sent=a,done=b",
    );
    let dir = tempfile::tempdir().unwrap();
    let mut job = job(Rate::per_minute(90.0), 20.0);
    let argv: Vec<String> = load.prepare(&job, dir.path()).unwrap()[0]
        .argv
        .iter()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    assert_eq!(
        argv.join("|"),
        "gen|--url=http://127.0.0.1:8000/v1/completions|http://127.0.0.1:8000/v1/completions|1.5|90|30|32:16|42|mock|a b"
    );
    job.spec.workload.classes[0].pair.input = TokenRange { min: 0, max: 9 };
    let error = load.prepare(&job, dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("{input_tokens_min} and {input_tokens_max}"),
        "{error}"
    );
    let refused = |argv: &[&str], output: &str, columns: &str| {
        CommandLoad::new(CommandConfig {
            argv: argv.iter().map(|&a| a.to_owned()).collect(),
            output: output.to_owned(),
            columns: pairs(columns),
        })
        .unwrap_err()
        .to_string()
    };
    assert!(refused(&["{rate}"], "o.csv", "sent=a,done=b").contains("{rate} is not a placeholder"));
    assert!(refused(&[], "o.csv", "sent=a,done=b").contains("empty"));
    assert!(refused(&["x"], "../o.csv", "sent=a,done=b").contains("trial's folder"));
    assert!(refused(&["x"], "/tmp/o.csv", "sent=a,done=b").contains("trial's folder"));
    assert!(refused(&["x"], "o.csv", "sent=a,end=b").contains("`end` is not a column"));
}

#[test]
fn the_digest_follows_template_and_mapping() {
    let one = load("a {dir}", "o.csv", "sent=a,done=b").digest();
    assert_eq!(one, load("a {dir}", "o.csv", "sent=a,done=b").digest());
    assert_ne!(one, load("a  {url}", "o.csv", "sent=a,done=b").digest());
    assert_ne!(one, load("a {dir}", "o.csv", "sent=a,done=c").digest());
    assert_ne!(one, load("a {dir}", "p.csv", "sent=a,done=b").digest());
    assert!(Path::new(&one).file_name().is_some_and(|n| n.len() == 16));
}
