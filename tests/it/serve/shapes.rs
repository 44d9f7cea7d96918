//! What is asked and what is answered.

use mst::endpoint::embedded::{EmbeddedError, EmbeddedServer};
use mst::sim::affine::ReplicaConfig;
use serde_json::json;

use super::client::{Client, get, post, until};
use super::{fast, start, start_with};

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

#[test]
fn completions_are_whole_or_streamed() {
    let server = start(fast());
    let reply = post(
        server.address(),
        COMPLETIONS,
        r#"{"model": "test-model", "prompt": [1, 2, 3, 4], "max_tokens": 6}"#,
    );
    assert_eq!(
        (reply.status, reply.content_type.as_str()),
        (200, "application/json")
    );
    let answer = reply.json();
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(
        answer["usage"],
        json!({"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10})
    );

    let body = r#"{"prompt": ["one two three"], "max_tokens": 5, "min_tokens": 5, "ignore_eos": true,
        "stream": true, "stream_options": {"include_usage": true}}"#;
    let reply = post(server.address(), COMPLETIONS, body);
    assert_eq!(reply.status, 200);
    assert!(reply.content_type.starts_with("text/event-stream"));
    let events = reply.events();
    assert_eq!(events.len(), 6);
    for event in &events[..5] {
        assert_eq!(event["choices"][0]["text"], " word");
        assert_eq!(event["id"], events[0]["id"]);
        assert_eq!(event["model"], "test-model");
        assert!(event.get("usage").is_none());
    }
    assert_eq!(events[3]["choices"][0]["finish_reason"], json!(null));
    assert_eq!(events[4]["choices"][0]["finish_reason"], "length");
    assert_eq!(events[5]["choices"], json!([]));
    assert_eq!(events[5]["usage"]["prompt_tokens"], 3);
    assert_eq!(events[5]["usage"]["completion_tokens"], 5);
}

#[test]
fn chat_is_whole_or_streamed() {
    let server = start_with(fast(), |c| c.eos_after = Some(3));
    let messages = r#""messages": [{"role": "user", "content": "one two"}]"#;
    let body = format!(r#"{{{messages}, "max_completion_tokens": 9}}"#);
    let answer = post(server.address(), CHAT, &body).json();
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"]["completion_tokens"], 3);

    let options =
        r#""stream": true, "stream_options": {"include_usage": true, "continuous_usage_stats": true}"#;
    let body = format!(r#"{{{messages}, "max_tokens": 4, "ignore_eos": true, {options}}}"#);
    let events = post(server.address(), CHAT, &body).events();
    assert_eq!(events[0]["object"], "chat.completion.chunk");
    assert_eq!(
        events[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    let counts: Vec<u64> = events
        .iter()
        .map(|e| e["usage"]["completion_tokens"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [0, 1, 2, 3, 4, 4]);
    assert_eq!(events[4]["choices"][0]["finish_reason"], "length");
}

#[test]
fn a_connection_serves_many_requests() {
    let server = start(fast());
    let mut client = Client::connect(server.address());
    for tokens in 1..20 {
        let stream = tokens % 2 == 0;
        let body = format!(r#"{{"prompt": "a", "max_tokens": {tokens}, "stream": {stream}}}"#);
        client.send("POST", COMPLETIONS, "", &body);
        let reply = client.reply();
        assert_eq!(reply.status, 200);
        assert_eq!(reply.body.matches(" word").count(), tokens);
    }
}

#[test]
fn models_and_health() {
    let server = start(ReplicaConfig {
        kv_tokens: Some(5_000),
        ..fast()
    });
    let models = get(server.address(), "/v1/models").json();
    assert_eq!(models["data"][0]["id"], "test-model");
    assert_eq!(models["data"][0]["max_model_len"], 5_000);
    assert_eq!(get(server.address(), "/health").status, 200);
}

#[test]
fn metrics_have_the_names_that_scrapers_know() {
    let server = start(fast());
    let body = r#"{"prompt": "a b c", "max_tokens": 4}"#;
    assert_eq!(post(server.address(), COMPLETIONS, body).status, 200);
    let text = get(server.address(), "/metrics").body;
    let labels = r#"{engine="0",model_name="test-model""#;
    for (name, value) in [
        ("vllm:num_requests_running", "0.0"),
        ("vllm:num_requests_waiting", "0.0"),
        ("vllm:kv_cache_usage_perc", "0.0"),
        ("vllm:num_preemptions_total", "0.0"),
        ("vllm:prompt_tokens_total", "3.0"),
        ("vllm:generation_tokens_total", "4.0"),
        ("vllm:time_to_first_token_seconds_count", "1.0"),
        ("vllm:inter_token_latency_seconds_count", "3.0"),
        ("vllm:request_time_per_output_token_seconds_count", "1.0"),
        ("vllm:e2e_request_latency_seconds_count", "1.0"),
        ("vllm:request_queue_time_seconds_count", "1.0"),
        ("vllm:request_prefill_time_seconds_count", "1.0"),
        ("vllm:request_decode_time_seconds_count", "1.0"),
        ("mst:steps_total", "4.0"),
    ] {
        let line = format!("{name}{labels}}} {value}");
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    let success = format!("vllm:request_success_total{labels},finished_reason=\"length\"}} 1.0");
    assert!(text.contains(&success), "{text}");
    assert!(text.contains("# TYPE mst:pacing_lag_seconds gauge"));
    // Every sample belongs to a family that was declared.
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let name = line.split('{').next().unwrap();
        let declared = ["", "_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| name.strip_suffix(suffix))
            .any(|family| text.contains(&format!("# TYPE {family} ")));
        assert!(declared, "{line}");
    }
}

#[test]
fn starting_up_is_503_and_then_over() {
    let body = r#"{"prompt": "a"}"#;
    let never = start(ReplicaConfig {
        startup_s: 3_600.0,
        ..fast()
    });
    assert_eq!(get(never.address(), "/health").status, 503);
    assert_eq!(get(never.address(), "/v1/models").status, 503);
    assert_eq!(post(never.address(), COMPLETIONS, body).status, 503);
    assert_eq!(get(never.address(), "/metrics").status, 200);
    let soon = start(ReplicaConfig {
        startup_s: 0.2,
        ..fast()
    });
    until(&200, || get(soon.address(), "/health").status);
    assert_eq!(post(soon.address(), COMPLETIONS, body).status, 200);
}

#[test]
fn a_key_is_demanded_below_v1() {
    let server = start_with(fast(), |c| c.api_key = Some("secret".to_owned()));
    for (given, status) in [
        ("", 401),
        ("Authorization: Bearer wrong\r\n", 401),
        ("Authorization: secret\r\n", 401),
        ("Authorization: Bearer secret\r\n", 200),
    ] {
        let mut client = Client::connect(server.address());
        client.send("POST", COMPLETIONS, given, r#"{"prompt": "a"}"#);
        let reply = client.reply();
        assert_eq!(reply.status, status, "{given}");
        assert!(!reply.body.contains("secret"));
        client.send("GET", "/v1/models", given, "");
        assert_eq!(client.reply().status, status, "{given}");
    }
    assert_eq!(get(server.address(), "/health").status, 200);
    assert!(!server.label().contains("secret"));
}

#[test]
fn what_is_wrong_has_its_status_and_an_error_object() {
    let server = start(ReplicaConfig {
        kv_tokens: Some(100),
        ..fast()
    });
    for (path, body, status) in [
        (COMPLETIONS, r#"{"model": "other", "prompt": "a"}"#, 404),
        (CHAT, r#"{"model": "other", "messages": [{"content": "a"}]}"#, 404),
        (COMPLETIONS, "", 400),
        (COMPLETIONS, "{\"prompt\": \"a\"", 400),
        (COMPLETIONS, "[1]", 400),
        (COMPLETIONS, r#"{"messages": []}"#, 400),
        (COMPLETIONS, r#"{"prompt": {"a": 1}}"#, 400),
        (COMPLETIONS, r#"{"prompt": "a", "max_tokens": 0}"#, 400),
        (COMPLETIONS, r#"{"prompt": "a", "max_tokens": 100}"#, 400),
        (CHAT, r#"{"prompt": "a"}"#, 400),
        (CHAT, r#"{"messages": []}"#, 400),
    ] {
        let reply = post(server.address(), path, body);
        assert_eq!(reply.status, status, "{body}");
        let error = &reply.json()["error"];
        assert_eq!(error["code"], status, "{body}");
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(get(server.address(), "/nowhere").status, 404);
    assert_eq!(get(server.address(), COMPLETIONS).status, 405);
    let fits = r#"{"prompt": "a", "max_tokens": 99}"#;
    assert_eq!(post(server.address(), COMPLETIONS, fits).status, 200);
}

#[test]
fn the_label_is_of_the_replica_not_of_the_port() {
    let (one, two) = (start(fast()), start(fast()));
    assert_ne!(one.address(), two.address());
    assert_eq!(one.label(), two.label());
    let other = start(ReplicaConfig { seed: 5, ..fast() });
    assert_ne!(one.label(), other.label());
    let config = mst::endpoint::embedded::EmbeddedConfig {
        listen: one.address(),
        ..Default::default()
    };
    let taken = EmbeddedServer::start(config).err().unwrap();
    assert!(matches!(taken, EmbeddedError::Listen { .. }), "{taken}");
    let address = one.address();
    one.shutdown();
    assert!(std::net::TcpStream::connect(address).is_err());
}
