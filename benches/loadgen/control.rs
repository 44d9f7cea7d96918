//! The control: the least that a load generator in hyper can do. One thread, tokio's own timer, a task a connection, a
//! byte scan for events, its own clock; no rows, no checks.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::ReadBufCursor;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use mst::endpoint::clock;
use mst::units::Rate;
use mst::workload::Arrival;

/// What the control measured.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Answer {
    pub(crate) cpu_seconds: f64,
    pub(crate) ttft: Vec<u64>,
    pub(crate) late: Vec<u64>,
    pub(crate) events: u64,
}

struct Io(TcpStream);

impl hyper::rt::Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut space = [0u8; 8192];
        let room = cursor.remaining().min(space.len());
        let mut buffer = ReadBuf::new(&mut space[..room]);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        cursor.put_slice(buffer.filled());
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

type Pool = Rc<RefCell<Vec<SendRequest<Full<Bytes>>>>>;

/// Sends `rate` requests a second for `seconds` and prints an [`Answer`].
pub(crate) fn run(port: u16, rate: f64, seconds: f64) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    let times = Arrival::Poisson.schedule(Rate::per_second(rate), seconds, 1);
    let ids: Vec<String> = (0..32).map(|i| (1_000 + i).to_string()).collect();
    let body = Bytes::from(format!(
        r#"{{"model":"m","prompt":[{}],"max_tokens":32,"stream":true}}"#,
        ids.join(",")
    ));
    let answer = runtime.block_on(async {
        let pool = Pool::default();
        for _ in 0..(rate * 0.36 * 1.2).ceil() as usize {
            let sender = connect(port).await;
            pool.borrow_mut().push(sender);
        }
        let answer = Rc::new(RefCell::new(Answer::default()));
        let start = tokio::time::Instant::now();
        let zero = clock::monotonic_ns();
        let mut tasks = Vec::new();
        for due in times {
            tokio::time::sleep_until(start + Duration::from_nanos(due)).await;
            let (pool, answer, body) = (Rc::clone(&pool), Rc::clone(&answer), body.clone());
            tasks.push(tokio::task::spawn_local(async move {
                let idle = pool.borrow_mut().pop();
                let mut sender = match idle {
                    Some(sender) => sender,
                    None => connect(port).await,
                };
                let request = Request::post("/v1/completions")
                    .header("host", "127.0.0.1")
                    .header("content-type", "application/json")
                    .body(Full::new(body))
                    .unwrap();
                let sent = clock::monotonic_ns();
                answer.borrow_mut().late.push(sent.saturating_sub(zero + due));
                let mut response = sender.send_request(request).await.unwrap();
                let mut first = true;
                while let Some(frame) = response.frame().await {
                    if let Ok(data) = frame.unwrap().into_data() {
                        if first {
                            first = false;
                            answer.borrow_mut().ttft.push(clock::monotonic_ns() - sent);
                        }
                        answer.borrow_mut().events +=
                            memchr::memmem::find_iter(&data, b"data: ").count() as u64;
                    }
                }
                let _ = sender.ready().await;
                pool.borrow_mut().push(sender);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        answer.take()
    });
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    let cpu = usage.user_time() + usage.system_time();
    let answer = Answer {
        cpu_seconds: cpu.tv_sec() as f64 + cpu.tv_usec() as f64 / 1e6,
        ..answer
    };
    println!("{}", serde_json::to_string(&answer).unwrap());
}

async fn connect(port: u16) -> SendRequest<Full<Bytes>> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let (sender, connection) = http1::handshake(Io(tcp)).await.unwrap();
    tokio::task::spawn_local(connection);
    sender
}
