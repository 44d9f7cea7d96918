//! Time: pacing, throughput, queue limit, clients that go away.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mst::sim::affine::{OverloadStatus, ReplicaConfig, true_capacity};
use mst::units::{TokenPair, TokenRange};
use mst::workload::LengthClass;

use super::client::{Client, metric, post, until};
use super::{slow, start, start_with, steady};

const PATH: &str = "/v1/completions";
const RUNNING: &str = "vllm:num_requests_running";
const WAITING: &str = "vllm:num_requests_waiting";

fn ask(tokens: u32, stream: bool) -> String {
    format!(r#"{{"prompt": "a b", "max_tokens": {tokens}, "stream": {stream}}}"#)
}

/// An open connection with a request on it.
fn open(server: &mst::endpoint::embedded::EmbeddedServer, stream: bool) -> Client {
    let mut client = Client::connect(server.address());
    client.send("POST", PATH, "", &ask(4, stream));
    client
}

#[test]
fn the_queue_limit_refuses_with_the_status_that_is_set() {
    for status in [OverloadStatus::TooManyRequests, OverloadStatus::Unavailable] {
        let server = start(ReplicaConfig {
            queue_limit: Some(1),
            overload_status: status,
            ..slow(2)
        });
        let mut held = vec![open(&server, true)];
        until(&1.0, || metric(server.address(), RUNNING, ""));
        // One more slot is free at the next step; then the queue takes one.
        for waiting in [1.0, 2.0] {
            held.push(open(&server, waiting < 2.0));
            until(&waiting, || metric(server.address(), WAITING, ""));
        }
        for stream in [false, true] {
            let reply = post(server.address(), PATH, &ask(4, stream));
            assert_eq!(reply.status, u16::from(status));
            assert_eq!(reply.json()["error"]["code"], u16::from(status));
        }
        assert_eq!(
            metric(server.address(), "vllm:admission_rejections_total", ""),
            2.0
        );
    }
}

#[test]
fn a_refusal_can_hide_in_a_stream() {
    let replica = ReplicaConfig {
        queue_limit: Some(0),
        ..slow(1)
    };
    let server = start_with(replica, |c| c.refuse_in_stream = true);
    let _held = open(&server, true);
    until(&1.0, || metric(server.address(), RUNNING, ""));
    let reply = post(server.address(), PATH, &ask(4, true));
    assert_eq!(reply.status, 200);
    let events = reply.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["error"]["code"], 503);
    assert_eq!(post(server.address(), PATH, &ask(4, false)).status, 503);
}

#[test]
fn a_client_that_goes_away_frees_its_place() {
    let server = start(ReplicaConfig {
        kv_tokens: Some(1_000),
        ..slow(2)
    });
    let used = "vllm:kv_cache_usage_perc";
    let running = open(&server, true);
    until(&0.006, || metric(server.address(), used, ""));
    let waiting = (open(&server, true), open(&server, false));
    until(&2.0, || metric(server.address(), WAITING, ""));
    drop(waiting);
    until(&0.0, || metric(server.address(), WAITING, ""));
    assert_eq!(metric(server.address(), RUNNING, ""), 1.0);
    drop(running);
    until(&0.0, || metric(server.address(), RUNNING, ""));
    assert_eq!(metric(server.address(), used, ""), 0.0);
    let ended = "vllm:request_success_total";
    assert_eq!(metric(server.address(), ended, "abort"), 3.0);
}

#[test]
fn a_shutdown_does_not_wait_for_open_requests() {
    let server = start(slow(1));
    let _held = open(&server, true);
    until(&1.0, || metric(server.address(), RUNNING, ""));
    let began = Instant::now();
    server.shutdown();
    assert!(began.elapsed() < Duration::from_secs(20));
}

#[test]
fn tokens_come_one_by_one_at_the_pace_of_the_steps() {
    const TOKENS: u32 = 400;
    let server = start(steady(4, 5_000.0));
    let mut client = Client::connect(server.address());
    client.send("POST", PATH, "", &ask(TOKENS, true));
    assert_eq!(client.head().0, 200);
    let mut times = Vec::new();
    while let Some(chunk) = client.chunk() {
        assert_eq!(chunk.matches(" word").count(), 1);
        times.push(Instant::now());
    }
    assert_eq!(times.len(), TOKENS as usize);
    let step = (times[times.len() - 1] - times[0]).as_secs_f64() / f64::from(TOKENS - 1);
    // Lateness does not add up, so that 2 s of steps hide a tenth of a second of it.
    assert!((step / 5e-3 - 1.0).abs() < 0.05, "{step}");
    assert!(server.max_lag() > Duration::ZERO);
    let lag = metric(server.address(), "mst:pacing_lag_seconds", "");
    assert!((lag - server.max_lag().as_secs_f64()).abs() < 1e-3);
}

#[test]
fn a_saturated_server_gives_its_true_capacity() {
    const REQUESTS: usize = 200;
    const WARM_UP: usize = 40;
    let replica = ReplicaConfig {
        step_per_seq_us: 500.0,
        prefill_base_us: 1_000.0,
        ..steady(8, 12_000.0)
    };
    let pair = TokenPair {
        input: TokenRange::exactly(2),
        output: TokenRange::exactly(8),
    };
    let capacity = true_capacity(&replica, &[LengthClass { pair, share: 1.0 }])
        .unwrap()
        .rate;
    let server = start(replica);
    let done = Mutex::new(Vec::new());
    let begun = AtomicUsize::new(0);
    // More clients than slots, so that there is always somebody waiting.
    std::thread::scope(|scope| {
        for client in 0..24 {
            let (done, begun, address) = (&done, &begun, server.address());
            scope.spawn(move || {
                let mut connection = Client::connect(address);
                while begun.fetch_add(1, Ordering::Relaxed) < REQUESTS {
                    connection.send("POST", PATH, "", &ask(8, client % 2 == 0));
                    assert_eq!(connection.reply().status, 200);
                    done.lock().unwrap().push(Instant::now());
                }
            });
        }
    });
    let mut times = done.into_inner().unwrap();
    times.sort();
    // The last ones run in a batch that is no longer full.
    let last = REQUESTS - 24;
    let rate = (last - WARM_UP) as f64 / (times[last] - times[WARM_UP]).as_secs_f64();
    let share = rate / capacity.as_per_second();
    assert!((0.85..1.15).contains(&share), "{share} of {capacity}");
}
