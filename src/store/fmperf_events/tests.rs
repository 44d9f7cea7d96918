//! The reader against serde on documents of every shape, and against damaged ones.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::event::{Slow, fast};
use super::*;
use crate::trial::{Outcome, RawRow};

fn read(bytes: &[u8]) -> Result<EventLog, EventsError> {
    read_events(bytes, Path::new("results.json"), Detail::Tokens)
}

fn event(worker: i64, request: i64, index: i64, at: i64) -> Value {
    json!({"response": {"index": 0, "text": " tok", "logprobs": null, "finish_reason": null, "stop_reason": null},
        "ok": true, "error": "None", "timestamp": at, "exp_req_min": 240.0, "exp_duration": 45.0,
        "duration_ms": 1.5, "exclude": false, "worker_idx": worker, "request_idx": request, "sample_idx": 0,
        "response_idx": index, "n_tokens": 1, "exp_num_users": 16, "consistent": true})
}

#[test]
fn requests_are_gathered_in_order_of_appearance() {
    let events = [
        event(0, 1, 0, 2_000_000),
        event(0, 0, 0, 1_000_000),
        event(0, 1, 1, 3_000_000),
    ];
    let log = read(
        json!({"energy": {"a": [1, {}]}, "results": events})
            .to_string()
            .as_bytes(),
    )
    .unwrap();
    assert_eq!((log.events, log.requests.len()), (3, 2));
    let first = &log.requests[0];
    assert_eq!(
        (first.worker, first.index, first.tokens, first.indexed),
        (0, 1, 2, 2)
    );
    assert_eq!(
        (first.first_timestamp_ns, first.last_timestamp_ns),
        (2_000_000, 3_000_000)
    );
    assert_eq!(first.durations_ms, [1.5, 1.5]);
    assert_eq!(log.req_min, Some(240.0));
    assert_eq!(log.duration_s, Some(45.0));
    assert_eq!(log.users, Some(16));
    // A bare list, as the intermediate files are.
    assert_eq!(
        read(Value::from(events.to_vec()).to_string().as_bytes()).unwrap(),
        log
    );
}

#[test]
fn no_events_is_a_result() {
    for text in [
        "{\"results\": [], \"energy\": {}}",
        " { \"results\" : [ ] } \n",
        "[]",
    ] {
        assert_eq!(read(text.as_bytes()).unwrap(), EventLog::default());
    }
}

#[test]
fn damaged_documents_say_where() {
    let good = json!({"results": [event(0, 0, 0, 5)]}).to_string();
    let with = |from: &str, to: &str| good.replace(from, to).into_bytes();
    let mut not_utf8 = good.clone().into_bytes();
    let at = good.find("tok").unwrap();
    not_utf8[at] = 0xff;
    let cases: Vec<(Vec<u8>, String)> = vec![
        (b"".to_vec(), "the file is empty".to_owned()),
        (b" \n ".to_vec(), "the file is empty".to_owned()),
        (not_utf8, format!("byte {at} (line 1): not UTF-8")),
        (
            good.as_bytes()[..good.len() - 40].to_vec(),
            "in the middle of an event".to_owned(),
        ),
        (
            good.as_bytes()[..good.len() - 1].to_vec(),
            "in the middle of the document".to_owned(),
        ),
        (
            good.as_bytes()[..good.len() - 2].to_vec(),
            "in the middle of the list of events".to_owned(),
        ),
        (
            format!("{good} x").into_bytes(),
            "something after the end".to_owned(),
        ),
        (b"{\"energy\": {}}".to_vec(), "there is no `results`".to_owned()),
        (b"{}".to_vec(), "there is no `results`".to_owned()),
        (b"{\"results\": {}}".to_vec(), "not a list".to_owned()),
        (
            b"{\"results\": [1]}".to_vec(),
            "byte 13 (line 1): an event is not an object".to_owned(),
        ),
        (b"{\"results\": [],}".to_vec(), "byte 15".to_owned()),
        (b"42".to_vec(), "expected `{".to_owned()),
        (
            b"<html></html>".to_vec(),
            "byte 0 (line 1): expected `{".to_owned(),
        ),
        (
            with("\"ok\":true", "\"ok\":\"yes\""),
            "invalid type: string \"yes\"".to_owned(),
        ),
        (
            with("\"timestamp\":5", "\"timestamp\":\"5\""),
            "expected i64".to_owned(),
        ),
        (
            with("\"timestamp\":5", "\"timestamp\":05"),
            "invalid number".to_owned(),
        ),
        (
            with("\"duration_ms\":1.5", "\"duration_ms\":null"),
            "invalid type: null".to_owned(),
        ),
        (
            with("\"duration_ms\":1.5", "\"duration_ms\":NaN"),
            "expected value".to_owned(),
        ),
        (
            with("\"request_idx\":0,", ""),
            "missing field `request_idx`".to_owned(),
        ),
    ];
    for (bytes, expected) in cases {
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.starts_with("results.json: "), "{error}");
        assert!(error.contains(&expected), "{error}\nlacks {expected}");
    }
}

#[test]
fn positions_count_lines_across_the_window() {
    let lines = 9_000;
    let mut text = "{\"results\": [\n".to_owned();
    for i in 0..lines {
        text += &event(0, i, 0, i).to_string();
        text += ",\n";
    }
    text += "{\"ok\": 1}]}";
    let offset = text.len() - 4;
    let error = read(text.as_bytes()).unwrap_err().to_string();
    assert!(error.contains(&format!("(line {})", lines + 2)), "{error}");
    let found: usize = error
        .split("byte ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(found.abs_diff(offset) <= 2, "{found} {offset}");
}

#[test]
fn what_is_written_is_read_again() {
    let row = RawRow {
        i: 3,
        sent_ns: Some(1_000),
        first_us: Some(20_000),
        gaps_us: vec![5_000, 0],
        done_ns: Some(26_000_000),
        finish: Some("length".into()),
        outcome: "ok".into(),
        ..RawRow::default()
    };
    let failed = RawRow {
        i: 4,
        error: Some("status 503 – \"busy\"".into()),
        outcome: "http-503".into(),
        ..row.clone()
    };
    let never = RawRow {
        i: 5,
        sent_ns: None,
        outcome: "not-sent".into(),
        ..RawRow::default()
    };
    let header = EventHeader {
        epoch_ns: 1_790_000_000_000_000_000,
        req_min: 240.0,
        duration_s: 45.0,
        profiles: vec!["1-9:8".into()],
        ..EventHeader::default()
    };
    let mut text = Vec::new();
    let rows = [row, failed, never].map(Ok::<_, String>);
    assert_eq!(rows.iter().flatten().map(event_count).sum::<u64>(), 7);
    let dir = tempfile::tempdir().unwrap();
    for (compressed, name) in [(false, "results.json"), (true, "results.json.gz")] {
        assert_eq!(
            write_results_file(dir.path(), compressed, &header, rows.clone()).unwrap(),
            7
        );
        let log = read_results_json(&dir.path().join(name)).unwrap();
        assert_eq!((log.events, log.requests.len()), (7, 2));
    }
    assert_eq!(write_results_json(&mut text, &header, rows).unwrap(), 7);
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with(
        "{\"results\": [{\"response\": {\"index\": 0, \"text\": \"\", \"logprobs\": null, \"finish_reason\": null, \
         \"stop_reason\": null}, \"ok\": true, \"error\": \"None\", \"timestamp\": 1790000000020001000, \
         \"exp_req_min\": 240.0, \"exp_duration\": 45.0, \"duration_ms\": 20.0, \"exclude\": false, \
         \"worker_idx\": 0, \"request_idx\": 3, \"sample_idx\": 0, \"response_idx\": 0, \"n_tokens\": 1, \
         \"exp_num_users\": 1, \"consistent\": true, \"workload_profile\": \"1-9:8\"}, "
    ));
    assert!(text.contains("\"error\": \"status 503 \\u2013 \\\"busy\\\"\""));
    assert!(text.ends_with("], \"energy\": {}}"));
    let log = read(text.as_bytes()).unwrap();
    assert_eq!(log.profiles, ["1-9:8"]);
    assert_eq!(log.requests[0].durations_ms, [20.0, 5.0, 0.0]);
    assert_eq!((log.requests[0].success, log.requests[1].success), (true, false));
    assert_eq!((log.requests[1].tokens, log.requests[1].indexed), (3, 4));
    assert_eq!(log.requests[1].error.as_deref(), Some("status 503 – \"busy\""));
    assert_eq!(log.requests[1].outcome(), Outcome::Failed);
}

/// Any JSON value.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}|[\"\\\\/\u{0}-\u{1f}é😀}{,]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z\"]{0,5}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// Events of any generation and some of none: keys missing, changed and added, in any order.
fn any_event() -> impl Strategy<Value = Vec<(String, Value)>> {
    let names = prop::sample::select(vec![
        "response",
        "ok",
        "error",
        "timestamp",
        "exp_req_min",
        "exp_duration",
        "duration_ms",
        "exclude",
        "worker_idx",
        "request_idx",
        "response_idx",
        "n_tokens",
        "exp_num_users",
        "consistent",
        "workload_profile",
        "extra",
    ]);
    let changes = prop::collection::vec((names, prop_oneof![value().prop_map(Some), Just(None)]), 0..3);
    (any::<i64>(), any::<f64>(), changes).prop_flat_map(|(at, duration, changes)| {
        let mut event = event(1, 2, 3, at);
        event["duration_ms"] = duration.into();
        let fields = event.as_object_mut().unwrap();
        for (name, change) in changes {
            match change {
                Some(value) => fields.insert(name.to_owned(), value),
                None => fields.remove(name),
            };
        }
        let fields: Vec<(String, Value)> = fields.clone().into_iter().collect();
        Just(fields).prop_shuffle()
    })
}

/// Writes fields with the separators of `style`.
fn write(fields: &[(String, Value)], style: usize) -> String {
    let (comma, colon) = [(", ", ": "), (",", ":"), (" ,\n\t", " : "), (",\r\n", ":  ")][style];
    let fields: Vec<String> = fields
        .iter()
        .map(|(k, v)| format!("{}{colon}{v}", Value::from(k.as_str())))
        .collect();
    format!("{{{}}}", fields.join(comma))
}

proptest! {
    #[test]
    fn the_fast_path_agrees_with_serde(fields in any_event(), style in 0usize..4) {
        let text = write(&fields, style);
        let slow = serde_json::from_str::<Slow>(&text);
        // Nothing may follow an event in the window, or anything may.
        for (whole, length) in [(text.clone(), text.len()), (format!("{text}, {{"), text.len())] {
            if let Some((event, end)) = fast(whole.as_bytes()) {
                prop_assert_eq!(end, length);
                prop_assert_eq!(event, slow.as_ref().expect("serde takes what the fast path takes").borrow());
            }
        }
        // And no beginning of it is taken for the whole.
        for end in (0..text.len()).filter(|e| text.is_char_boundary(*e)) {
            prop_assert!(fast(&text.as_bytes()[..end]).is_none());
        }
        // The whole reader says what serde says.
        let document = format!("{{\"results\": [{text}]}}");
        let taken = slow.is_ok_and(|slow| slow.borrow().implausible().is_none());
        prop_assert_eq!(read(document.as_bytes()).is_ok(), taken);
    }

    #[test]
    fn any_bytes_give_an_error_or_a_result(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = read(&bytes);
        let mut document = b"{\"results\": [{\"ok\": true, \"timestamp\": 1, ".to_vec();
        document.extend(&bytes);
        prop_assert!(read(&document).is_err());
    }
}

#[test]
fn usual_events_take_the_fast_path() {
    let fields: Vec<(String, Value)> = event(0, 0, 0, 1)
        .as_object()
        .unwrap()
        .clone()
        .into_iter()
        .collect();
    assert!(fast(write(&fields, 0).as_bytes()).is_some());
}
