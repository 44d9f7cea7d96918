//! The native load generator against a server of known timing, alternated with a control: a bare hyper loop.
//!
//! `cargo bench --bench loadgen` runs 50, 100, 200, 500 and 1000 requests/s with 32 tokens each, three rounds, and prints
//! medians over the rounds; `-- 200 500` runs these rates only.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark may end where it fails, and prints"
)]

#[path = "loadgen/control.rs"]
mod control;
#[path = "loadgen/mock.rs"]
mod mock;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mst::store::rows::RowReader;

const SECONDS: f64 = 4.0;
const ROUNDS: usize = 3;

/// One run of one program.
#[derive(Clone, Copy, Default)]
struct Figures {
    cpu_per_thousand: f64,
    ttft_error_mean_ms: f64,
    ttft_error_p99_ms: f64,
    lag_p99_ms: f64,
    rss_mb: f64,
    startup_s: f64,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("mock") => return mock::serve(),
        Some("control") => {
            let number = |i: usize| arguments[i].parse::<f64>().unwrap();
            return control::run(number(1) as u16, number(2), number(3));
        }
        _ => {}
    }
    let mut rates: Vec<f64> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    if rates.is_empty() {
        rates = vec![50.0, 100.0, 200.0, 500.0, 1000.0];
    }
    println!(
        "rate/s  program             CPU s/1000  TTFT err mean  p99 ms  send lag p99 ms  RSS MB  start s"
    );
    for rate in rates {
        type Program = fn(u16, f64) -> (Child, Option<tempfile::TempDir>);
        let programs: [(&str, Program); 3] = [
            ("native", |port, rate| native(port, rate, &[])),
            ("native, own clock", |port, rate| {
                native(port, rate, &["--no-kernel-timestamps"])
            }),
            ("control", |port, rate| {
                (
                    itself(&["control", &port.to_string(), &rate.to_string(), "4"]),
                    None,
                )
            }),
        ];
        let mut rounds: [Vec<Figures>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (index, (_, program)) in programs.iter().enumerate() {
                rounds[index].push(measure(rate, *program));
            }
        }
        for ((name, _), figures) in programs.iter().zip(rounds) {
            let middle = |of: fn(&Figures) -> f64| {
                let mut values: Vec<f64> = figures.iter().map(of).collect();
                values.sort_by(f64::total_cmp);
                values[values.len() / 2]
            };
            println!(
                "{rate:>6}  {name:<18}  {:>10.3}  {:>13.3}  {:>6.3}  {:>15.3}  {:>6.1}  {:>7.3}",
                middle(|f| f.cpu_per_thousand),
                middle(|f| f.ttft_error_mean_ms),
                middle(|f| f.ttft_error_p99_ms),
                middle(|f| f.lag_p99_ms),
                middle(|f| f.rss_mb),
                middle(|f| f.startup_s),
            );
        }
    }
}

fn itself(arguments: &[&str]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn native(port: u16, rate: f64, more: &[&str]) -> (Child, Option<tempfile::TempDir>) {
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_mst"))
        .args([
            "trial",
            "--format",
            "json",
            "--model",
            "m",
            "--input-tokens",
            "32",
            "--output-tokens",
            "32",
        ])
        .args([
            "--url",
            &format!("127.0.0.1:{port}"),
            "--rate",
            &format!("{rate}/s"),
        ])
        .args([
            "--duration",
            &format!("{SECONDS}s"),
            "--out",
            folder.path().to_str().unwrap(),
        ])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (child, Some(folder))
}

fn measure(rate: f64, program: fn(u16, f64) -> (Child, Option<tempfile::TempDir>)) -> Figures {
    let mut server = itself(&["mock"]);
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let port: u16 = line.trim().parse().unwrap();
    let (mut child, folder) = program(port, rate);
    let mut rss_kb = 0.0;
    let mut output = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        text
    });
    while child.try_wait().unwrap().is_none() {
        rss_kb = peak_rss_kb(child.id()).unwrap_or(rss_kb);
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = reader.join().unwrap();
    let truth: mock::Truth = quit(port);
    server.wait().unwrap();
    let (cpu, ttft, late, startup_s) = match folder {
        None => {
            let answer: control::Answer = serde_json::from_str(&text).unwrap();
            assert_eq!(
                answer.events,
                (rate * SECONDS).round() as u64 * 34,
                "events of the control"
            );
            (answer.cpu_seconds, answer.ttft, answer.late, f64::NAN)
        }
        Some(folder) => {
            let summary: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(summary["completed"], (rate * SECONDS).round() as u64, "{summary}");
            let mut ttft = Vec::new();
            let mut late = Vec::new();
            for row in RowReader::open(&folder.path().join("requests.jsonl.zst"))
                .unwrap()
                .map(Result::unwrap)
            {
                ttft.push(row.first_us.unwrap() * 1_000);
                let waited = u64::from(row.connect_us.unwrap_or(0)) * 1_000;
                late.push((row.sent_ns.unwrap() - row.intended_ns).saturating_sub(waited));
            }
            let startup = summary["startup_s"].as_f64().unwrap();
            (summary["cpu_seconds"].as_f64().unwrap(), ttft, late, startup)
        }
    };
    assert_eq!(truth.ttft.len(), ttft.len());
    Figures {
        cpu_per_thousand: cpu / (rate * SECONDS) * 1e3,
        ttft_error_mean_ms: mean_ms(&ttft) - mean_ms(&truth.ttft),
        ttft_error_p99_ms: p99_ms(&ttft) - p99_ms(&truth.ttft),
        lag_p99_ms: p99_ms(&late),
        rss_mb: rss_kb / 1024.0,
        startup_s,
    }
}

fn mean_ms(values: &[u64]) -> f64 {
    values.iter().map(|&v| v as f64).sum::<f64>() / values.len() as f64 / 1e6
}

fn p99_ms(values: &[u64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) * 99 / 100] as f64 / 1e6
}

fn peak_rss_kb(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Ends the mock and takes what it knows.
fn quit(port: u16) -> mock::Truth {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .write_all(b"GET /quit HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap()
}
