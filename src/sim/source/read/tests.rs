use std::fmt::Write as _;

use super::super::trace::Trace;
use super::*;
use crate::sim::Time;

fn csv(text: &str) -> Result<Trace, TraceError> {
    Trace::read(text.as_bytes(), TraceFormat::Csv, "t.csv")
}

fn jsonl(text: &str) -> Result<Trace, TraceError> {
    Trace::read(text.as_bytes(), TraceFormat::Mooncake, "t.jsonl")
}

#[test]
fn formats_are_told_by_their_names() {
    for (name, format) in [
        ("a.jsonl", TraceFormat::Mooncake),
        ("a/b.JSONL.gz", TraceFormat::Mooncake),
        ("a.csv.gz", TraceFormat::Csv),
        ("trace", TraceFormat::Csv),
    ] {
        assert_eq!(TraceFormat::of_name(name), format, "{name}");
    }
}

#[test]
fn lengths_alone_make_a_trace() {
    let trace =
        csv("num_prefill_tokens,num_decode_tokens,pd_ratio\n3772,54,69.85\n2015,156.0,12.9\n").unwrap();
    assert_eq!(trace.len(), 2);
    assert!(!trace.has_arrivals() && !trace.has_sessions());
    assert_eq!((trace.rate(), trace.span()), (None, Time::ZERO));
    let row = trace.row(1);
    assert_eq!((row.input_tokens, row.output_tokens), (2015, 156));
    assert_eq!((row.arrival, row.session, row.prefix.len), (None, None, 0));
    assert_eq!(trace.mean_tokens(), (2893.5, 105.0));
    assert_eq!(trace.longest(), 3826);
}

#[test]
fn explorer_rows_keep_hashes_of_prompt_and_response() {
    let trace = csv(
        "arrived_at,num_prefill_tokens,num_decode_tokens,block_hash_ids,block_size,session_id\n\
         0.0,40,8,\"[7, 9, 1000000031]\",16,a\n\
         1.5,33,1,\"[7, -1]\",16,b\n\
         2.0,10,1,[],16,a\n\
         4.0,10,1,,16,\n",
    )
    .unwrap();
    assert_eq!(trace.prefixes().tokens_per_hash, 16);
    assert_eq!(trace.prefixes().distinct, 4);
    let hashes: Vec<&[u32]> = trace.rows().map(|r| trace.prefixes().of(r.prefix)).collect();
    assert_eq!(hashes, [&[0, 1, 2][..], &[0, 3], &[], &[]]);
    let sessions: Vec<_> = trace.rows().map(|r| r.session).collect();
    assert_eq!(sessions, [Some(0), Some(1), Some(0), None]);
    assert_eq!(trace.row(1).arrival, Some(Time::from_seconds(1.5)));
    assert_eq!(trace.rate(), Some(0.75));
}

#[test]
fn mooncake_conversations_begin_after_the_system_prompt() {
    let trace = jsonl(
        r#"{"timestamp": 0, "input_length": 1500, "output_length": 5, "hash_ids": [40, 41, 42]}
{"timestamp": 27, "input_length": 1025, "output_length": 6, "hash_ids": [40, 43, 44], "more": 1}

{"timestamp": 27, "input_length": 1600, "output_length": 7, "hash_ids": [40, 41, 42, 45]}
{"timestamp": 30, "input_length": 100, "output_length": 7, "hash_ids": [40]}
{"timestamp": 31, "input_length": 100, "output_length": 7, "hash_ids": [50]}
"#,
    )
    .unwrap();
    let sessions: Vec<_> = trace.rows().map(|r| r.session).collect();
    assert_eq!(sessions, [Some(0), Some(1), Some(0), None, Some(2)]);
    assert_eq!(trace.prefixes().tokens_per_hash, 512);
    assert_eq!(trace.prefixes().of(trace.row(2).prefix), [0, 1, 2, 5]);
    assert_eq!(trace.row(1).arrival, Some(Time::from_us(27_000.0)));
}

#[test]
fn without_a_common_first_hash_it_is_the_conversation() {
    let line = |first: u32, second: u32| {
        format!(
            "{{\"timestamp\": 0, \"input_length\": 900, \"output_length\": 5, \"hash_ids\": [{first}, {second}]}}\n"
        )
    };
    let trace = jsonl(&(line(1, 2) + &line(3, 4) + &line(1, 5) + &line(6, 7))).unwrap();
    let sessions: Vec<_> = trace.rows().map(|r| r.session.unwrap()).collect();
    assert_eq!(sessions, [0, 1, 0, 2]);
}

#[test]
fn rows_out_of_order_are_sorted_and_equals_keep_theirs() {
    let trace = csv(
        "num_prefill_tokens,num_decode_tokens,arrived_at,block_hash_ids,block_size,session_id\n\
         16,1,2,[8],16,x\n17,1,1,[9],16,y\n18,1,2,,16,\n19,1,0,[8],16,x\n",
    )
    .unwrap();
    let rows: Vec<_> = trace
        .rows()
        .map(|r| (r.input_tokens, r.session, trace.prefixes().of(r.prefix).to_vec()))
        .collect();
    assert_eq!(
        rows,
        [
            (19, Some(0), vec![0]),
            (17, Some(1), vec![1]),
            (16, Some(0), vec![0]),
            (18, None, vec![])
        ]
    );
}

#[test]
fn bad_csv_is_refused_with_its_line() {
    let head = "arrived_at,num_prefill_tokens,num_decode_tokens\n0,5,5\n";
    let hashed = "num_prefill_tokens,num_decode_tokens,block_hash_ids,block_size\n32,5,[1],16\n";
    for (text, words) in [
        (String::new(), "t.csv: there are no requests"),
        ("\n".into(), "there are no requests"),
        (
            "num_prefill_tokens,num_decode_tokens\n".into(),
            "there are no requests",
        ),
        (
            "arrived_at,num_prefill_tokens,output\n1,2,3\n".into(),
            "t.csv:1: there is no column `num_decode_tokens`, only `arrived_at`, `num_prefill_tokens`, `output`",
        ),
        (
            "num_prefill_tokens,num_decode_tokens,block_hash_ids\n1,2,[]\n".into(),
            "no column `block_size`",
        ),
        (format!("{head}1,0,5\n"), "t.csv:3: `num_prefill_tokens` is 0"),
        (format!("{head}1,5,-5\n"), "t.csv:3: `num_decode_tokens` is -5"),
        (format!("{head}1,5,NaN\n"), "t.csv:3: `num_decode_tokens` is NaN"),
        (format!("{head}1,5.5,5\n"), "`num_prefill_tokens` is 5.5"),
        (
            format!("{head}1,5e12,5\n"),
            "`num_prefill_tokens` is 5000000000000",
        ),
        (format!("{head}1,,5\n"), "t.csv:3: `num_prefill_tokens` is empty"),
        (
            format!("{head}1,many,5\n"),
            "`num_prefill_tokens` is `many`, not a number",
        ),
        (format!("{head}nan,5,5\n"), "t.csv:3: `arrived_at` is NaN seconds"),
        (format!("{head}-1,5,5\n"), "`arrived_at` is -1 seconds"),
        (
            format!("{head}1700000000,5,5\n"),
            "count the time from the first request",
        ),
        (
            format!("{head}2024-01-01,5,5\n"),
            "`arrived_at` is `2024-01-01`, not a number",
        ),
        (
            format!("{head}1,5\n"),
            "t.csv:3: there are 2 fields, but 3 columns",
        ),
        (
            format!("{hashed}32,5,[1,2],16\n"),
            "t.csv:3: there are 5 fields, but 4 columns",
        ),
        (
            format!("{hashed}32,5,[x],16\n"),
            "t.csv:3: `block_hash_ids` is no list of whole numbers",
        ),
        (
            format!("{hashed}32,5,[1.5],16\n"),
            "`block_hash_ids` is no list of whole numbers",
        ),
        (format!("{hashed}32,5,[1],0\n"), "`block_size` is 0"),
        (
            format!("{hashed}32,5,[1],32\n"),
            "its blocks have 32 tokens, those before have 16",
        ),
        (
            format!("{hashed}20,5,\"[1, 2, 3]\",16\n"),
            "it names 3 blocks of 16 tokens, more than 20 + 5",
        ),
    ] {
        let error = csv(&text).unwrap_err().to_string();
        assert!(error.contains(words), "{text:?}: {error}");
    }
}

#[test]
fn bad_json_lines_are_refused_with_their_line() {
    let good = r#"{"timestamp": 0, "input_length": 10, "output_length": 5, "hash_ids": [1]}"#;
    for (line, words) in [
        (
            r#"{"input_length": 10, "output_length": 5}"#,
            "t.jsonl:2: missing field `timestamp`; each line must be like",
        ),
        (
            r#"{"timestamp": 0, "input_length": 0, "output_length": 5}"#,
            "t.jsonl:2: `input_length` is 0",
        ),
        (
            r#"{"timestamp": 0, "input_length": -4, "output_length": 5}"#,
            "`input_length` is -4",
        ),
        (
            r#"{"timestamp": NaN, "input_length": 1, "output_length": 5}"#,
            "t.jsonl:2: expected value",
        ),
        (
            r#"{"timestamp": -1, "input_length": 1, "output_length": 5}"#,
            "`timestamp` is -0.001 seconds",
        ),
        (
            r#"{"timestamp": 0, "input_length": "1", "output_length": 5}"#,
            "invalid type: string",
        ),
        (
            r#"{"timestamp": 0, "input_length": 9, "output_length": 5, "hash_ids": [1, 2]}"#,
            "it names 2 blocks of 512 tokens, more than 9 + 5",
        ),
        ("timestamp,input_length", "t.jsonl:2: "),
    ] {
        let error = jsonl(&format!("{good}\n{line}\n")).unwrap_err().to_string();
        assert!(error.contains(words), "{line}: {error}");
    }
    assert!(
        jsonl("\n\n")
            .unwrap_err()
            .to_string()
            .contains("there are no requests")
    );
}

#[test]
fn a_broken_stream_is_no_end() {
    struct Broken(Option<&'static str>);
    impl std::io::Read for Broken {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let broken = || std::io::Error::other("corrupt deflate stream");
            let text = self.0.take().ok_or_else(broken)?;
            into[..text.len()].copy_from_slice(text.as_bytes());
            Ok(text.len())
        }
    }
    for (format, text) in [
        (TraceFormat::Csv, "num_prefill_tokens,num_decode_tokens\n1,2\n"),
        (
            TraceFormat::Mooncake,
            "{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 5}\n",
        ),
    ] {
        let reader = std::io::BufReader::new(Broken(Some(text)));
        let error = Trace::read(reader, format, "t").unwrap_err().to_string();
        assert!(
            error.contains("cannot be read: corrupt deflate stream"),
            "{error}"
        );
    }
}

#[test]
fn a_long_trace_is_compact() {
    let lines = 300_000;
    let mut text = String::new();
    for i in 0..lines {
        let (at, input, session) = (i * 7, 600 + i % 5_000, i / 3);
        writeln!(
            text,
            "{{\"timestamp\": {at}, \"input_length\": {input}, \"output_length\": {}, \"hash_ids\": [0, {}]}}",
            1 + i % 300,
            1 + session,
        )
        .unwrap();
    }
    let trace = jsonl(&text).unwrap();
    assert_eq!(trace.len(), lines);
    assert_eq!(trace.prefixes().hashes.len(), 2 * lines);
    assert_eq!(trace.prefixes().distinct as usize, 1 + lines / 3);
    let last = trace.row(lines - 1);
    assert_eq!(
        last.arrival,
        Some(Time::from_us((lines as f64 - 1.0) * 7.0 * 1e3))
    );
    assert_eq!(last.session, Some((lines / 3 - 1) as u32));
}
