//! A server of known timing: the first token 50 ms after a request, then one every 10 ms, each a write of its own. Its
//! truth is its own times: from the kernel's stamp of the request to its write.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, cmsg_space, recvmsg, setsockopt, sockopt};
use nix::sys::time::{TimeSpec, TimeValLike};
use nix::sys::timer::TimerSetTimeFlags;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, TcpStream};

use mst::endpoint::clock;

pub(crate) const TTFT_NS: u64 = 50_000_000;
pub(crate) const ITL_NS: u64 = 10_000_000;

/// What the mock knows of all requests, nanoseconds.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Truth {
    pub(crate) ttft: Vec<u64>,
    pub(crate) e2e: Vec<u64>,
    pub(crate) late: Vec<u64>,
}

struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

struct Stream {
    tcp: Rc<TcpStream>,
    /// Kernel stamp of the request, wall clock.
    arrived: u64,
    begun: u64,
    tokens: u64,
    sent: u64,
}

#[derive(Default)]
struct State {
    due: BinaryHeap<Reverse<(u64, usize)>>,
    streams: Vec<Option<Stream>>,
    free: Vec<usize>,
    truth: Truth,
    /// One burst of requests, as the probe, is not part of the truth.
    skip: usize,
}

/// Serves until a request for `/quit` comes, which is answered with the truth.
pub(crate) fn serve() {
    let _ = nix::sys::prctl::set_timerslack(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap().port());
        let server = Rc::new(RefCell::new(State::default()));
        #[expect(deprecated)]
        let timer = Rc::new(
            AsyncFd::new(Timer(
                TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK).unwrap(),
            ))
            .unwrap(),
        );
        tokio::task::spawn_local(pace(Rc::clone(&server), Rc::clone(&timer)));
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tcp.set_nodelay(true).unwrap();
            setsockopt(&tcp, sockopt::ReceiveTimestampns, &true).unwrap();
            tokio::task::spawn_local(read(Rc::new(tcp), Rc::clone(&server), Rc::clone(&timer)));
        }
    });
}

fn arm(timer: &AsyncFd<Timer>, at: u64) {
    let at = TimeSpec::nanoseconds(at.max(1) as i64);
    let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
    timer.get_ref().0.set(Expiration::OneShot(at), flags).unwrap();
}

async fn pace(server: Rc<RefCell<State>>, timer: Rc<AsyncFd<Timer>>) {
    loop {
        let mut guard = timer.readable().await.unwrap();
        let _ = guard.try_io(|t| t.get_ref().0.wait().map_err(std::io::Error::from));
        let mut state = server.borrow_mut();
        while let Some(Reverse((due, slot))) = state.due.peek().copied() {
            let now = clock::monotonic_ns();
            if due > now {
                arm(&timer, due);
                break;
            }
            state.due.pop();
            state.step(slot, due, now);
        }
    }
}

impl State {
    fn step(&mut self, slot: usize, due: u64, now: u64) {
        let Some(stream) = &mut self.streams[slot] else {
            return;
        };
        stream.sent += 1;
        let last = stream.sent == stream.tokens;
        let finish = if last { "\"length\"" } else { "null" };
        let event = format!(
            "data: {{\"id\":\"cmpl-0123456789abcdef\",\"object\":\"text_completion\",\"created\":1700000000,\"model\":\"mock\",\"choices\":[{{\"index\":0,\"text\":\" word\",\"logprobs\":null,\"finish_reason\":{finish}}}]}}\n\n"
        );
        let mut text = String::new();
        if stream.sent == 1 {
            text.push_str(
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
        }
        chunk(&mut text, &event);
        if last {
            let usage = format!(
                "data: {{\"id\":\"cmpl-0123456789abcdef\",\"object\":\"text_completion\",\"choices\":[],\"usage\":{{\"prompt_tokens\":32,\"completion_tokens\":{},\"total_tokens\":64}}}}\n\ndata: [DONE]\n\n",
                stream.tokens
            );
            chunk(&mut text, &usage);
            text.push_str("0\r\n\r\n");
        }
        let wall = clock::wall_ns();
        let written = stream.tcp.try_write(text.as_bytes());
        let whole = written.is_ok_and(|n| n == text.len());
        if self.skip > 0 {
            self.skip -= usize::from(last);
        } else if whole {
            if stream.sent == 1 {
                self.truth.ttft.push(wall.saturating_sub(stream.arrived));
            }
            if last {
                self.truth.e2e.push(wall.saturating_sub(stream.arrived));
            }
            self.truth.late.push(now - due);
        }
        if last || !whole {
            self.streams[slot] = None;
            self.free.push(slot);
        } else {
            let next = stream.begun + TTFT_NS + stream.sent * ITL_NS;
            self.due.push(Reverse((next, slot)));
        }
    }
}

fn chunk(text: &mut String, data: &str) {
    use std::fmt::Write;
    write!(text, "{:x}\r\n{data}\r\n", data.len()).unwrap();
}

async fn read(tcp: Rc<TcpStream>, server: Rc<RefCell<State>>, timer: Rc<AsyncFd<Timer>>) {
    let mut buffer = vec![0u8; 64 * 1024];
    let mut pending = Vec::new();
    let mut stamp = 0;
    loop {
        tcp.readable().await.unwrap();
        let got = tcp.try_io(Interest::READABLE, || {
            let mut control = [0u8; cmsg_space::<TimeSpec>()];
            let mut iov = [IoSliceMut::new(&mut buffer)];
            let message = recvmsg::<()>(tcp.as_raw_fd(), &mut iov, Some(&mut control), MsgFlags::empty())?;
            for part in message.cmsgs()? {
                if let ControlMessageOwned::ScmTimestampns(time) = part {
                    stamp = time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
                }
            }
            Ok(message.bytes)
        });
        match got {
            Ok(0) => return,
            Ok(n) => pending.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return,
        }
        while let Some((path, body, used)) = request(&pending) {
            if path == "/quit" {
                let truth = serde_json::to_string(&server.borrow().truth).unwrap();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", truth.len());
                let answer = head + &truth;
                let mut rest = answer.as_bytes();
                while !rest.is_empty() {
                    tcp.writable().await.unwrap();
                    if let Ok(n) = tcp.try_write(rest) {
                        rest = &rest[n..];
                    }
                }
                std::process::exit(0);
            }
            let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            let tokens = body["max_tokens"].as_u64().unwrap_or(32);
            pending.drain(..used);
            let begun = clock::monotonic_ns();
            let shared = &mut *server.borrow_mut();
            let slot = shared.free.pop().unwrap_or_else(|| {
                shared.streams.push(None);
                shared.streams.len() - 1
            });
            // A probe asks for fewer tokens than the benchmark does.
            if tokens < 8 {
                shared.skip += 1;
            }
            shared.streams[slot] = Some(Stream {
                tcp: Rc::clone(&tcp),
                arrived: stamp,
                begun,
                tokens,
                sent: 0,
            });
            shared.due.push(Reverse((begun + TTFT_NS, slot)));
            if shared
                .due
                .peek()
                .is_some_and(|Reverse((_, first))| *first == slot)
            {
                arm(&timer, begun + TTFT_NS);
            }
        }
    }
}

/// Path, body and length of the request at the beginning of `pending`, when it is whole.
fn request(pending: &[u8]) -> Option<(&str, &[u8], usize)> {
    let end = memchr::memmem::find(pending, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&pending[..end]).ok()?;
    let path = head.split(' ').nth(1)?;
    let length = head
        .lines()
        .find_map(|l| {
            l.to_ascii_lowercase()
                .strip_prefix("content-length:")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap_or(0usize);
    let body = pending.get(end..end + length)?;
    Some((path, body, end + length))
}
