//! A TCP socket that stamps what it reads and writes.
//!
//! Each read goes through `recvmsg`, so that the kernel's receive stamp (`SO_TIMESTAMPNS`) comes with the data: a client
//! that is scheduled late still knows when the data arrived.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, cmsg_space, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::clock;

/// When a connection last read and wrote, nanoseconds.
#[derive(Debug, Default)]
pub struct Stamps {
    /// End of the last read, `CLOCK_MONOTONIC`.
    pub read_ns: Cell<u64>,
    /// The kernel's stamp of the last segment in the last read, `CLOCK_REALTIME`; 0 where it gave none.
    pub kernel_wall_ns: Cell<u64>,
    /// End of the last write, `CLOCK_MONOTONIC`.
    pub wrote_ns: Cell<u64>,
    /// Bytes read.
    pub bytes: Cell<u64>,
}

/// Largest read.
const READ_BYTES: usize = 16 * 1024;
/// Room for one control message that holds a time.
const CONTROL_BYTES: usize = cmsg_space::<TimeSpec>();

thread_local! {
    /// Data passes through here on its way to the HTTP parser, whose buffers cannot be filled in place without `unsafe`.
    static SCRATCH: RefCell<Box<[u8; READ_BYTES]>> = RefCell::new(Box::new([0; READ_BYTES]));
}

/// The socket.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    kernel: bool,
    stamps: Rc<Stamps>,
}

impl Socket {
    /// Takes over an open connection; `kernel` asks for kernel receive stamps.
    pub(super) fn new(tcp: TcpStream, kernel: bool, stamps: Rc<Stamps>) -> io::Result<Self> {
        tcp.set_nodelay(true)?;
        // Where the kernel cannot do it, reads are stamped by us.
        let kernel = kernel && setsockopt(&tcp, sockopt::ReceiveTimestampns, &true).is_ok();
        Ok(Self { tcp, kernel, stamps })
    }

    /// Reads into `buffer` without waiting.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stamp = 0;
        let read = if self.kernel {
            let mut control = [0u8; CONTROL_BYTES];
            let mut iov = [IoSliceMut::new(buffer)];
            let message = recvmsg::<()>(
                self.tcp.as_raw_fd(),
                &mut iov,
                Some(&mut control),
                MsgFlags::empty(),
            )?;
            for part in message.cmsgs()? {
                if let ControlMessageOwned::ScmTimestampns(time) = part {
                    stamp = time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64;
                }
            }
            message.bytes
        } else {
            nix::sys::socket::recv(self.tcp.as_raw_fd(), buffer, MsgFlags::empty())?
        };
        self.stamps.read_ns.set(clock::monotonic_ns());
        self.stamps.kernel_wall_ns.set(stamp);
        self.stamps.bytes.set(self.stamps.bytes.get() + read as u64);
        Ok(read)
    }

    /// Reads some bytes into `buffer`, waiting for them.
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.tcp.poll_read_ready(cx))?;
            let mut outcome = None;
            let tried = self.tcp.try_io(Interest::READABLE, || {
                let read = self.receive(buffer)?;
                outcome = Some(read);
                // A short read has emptied the socket: saying so saves the system call that would find out.
                if read > 0 && read < buffer.len() {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(())
            });
            match (outcome, tried) {
                (Some(read), _) => return Poll::Ready(Ok(read)),
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                (None, Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                (None, Err(error)) => return Poll::Ready(Err(error)),
                (None, Ok(())) => return Poll::Ready(Err(io::ErrorKind::Other.into())),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(self.poll_receive(cx, buf.initialize_unfilled()))?;
        buf.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write(cx, buf));
        self.stamps.wrote_ns.set(clock::monotonic_ns());
        Poll::Ready(written)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs));
        self.stamps.wrote_ns.set(clock::monotonic_ns());
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// What HTTP is spoken over.
#[derive(Debug)]
pub(super) enum Transport {
    /// TCP.
    Plain(Socket),
    /// TLS over TCP.
    Tls(Box<TlsStream<Socket>>),
}

impl hyper::rt::Read for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let room = cursor.remaining().min(READ_BYTES);
            let buffer = &mut scratch[..room];
            let read = match self.get_mut() {
                Self::Plain(socket) => ready!(socket.poll_receive(cx, buffer))?,
                Self::Tls(stream) => {
                    let mut unfilled = ReadBuf::new(buffer);
                    ready!(Pin::new(stream).poll_read(cx, &mut unfilled))?;
                    unfilled.filled().len()
                }
            };
            cursor.put_slice(&scratch[..read]);
            Poll::Ready(Ok(()))
        })
    }
}

impl hyper::rt::Write for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }
}
