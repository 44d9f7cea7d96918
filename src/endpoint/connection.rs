//! HTTP/1.1 connections that are driven by whoever uses them: no task of their own, so that a read and what it means are
//! handled in one wake-up.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use tokio::net::TcpStream;

use super::socket::{Socket, Stamps, Transport};
use super::tls::{self, Tls};
use super::{BaseUrl, EndpointError};

/// Opens connections to one endpoint. The name is resolved once.
#[derive(Clone)]
pub struct Connector {
    url: BaseUrl,
    addresses: Vec<SocketAddr>,
    tls: Option<Tls>,
    kernel_timestamps: bool,
    /// The address that answered last: of several, the others are not tried again every time.
    preferred: Cell<usize>,
}

impl Connector {
    /// Resolves the host's name and loads certificate authorities for https. Blocks.
    ///
    /// # Errors
    /// When the name is unknown or no certificate authority is found.
    pub fn new(url: &BaseUrl, kernel_timestamps: bool) -> Result<Self, EndpointError> {
        let unreachable = |why: String| EndpointError::Unreachable {
            url: url.to_string(),
            why,
        };
        let addresses: Vec<SocketAddr> = (url.host(), url.port())
            .to_socket_addrs()
            .map_err(|e| unreachable(e.to_string()))?
            .collect();
        if addresses.is_empty() {
            return Err(unreachable("the name has no address".to_owned()));
        }
        Ok(Self {
            url: url.clone(),
            addresses,
            tls: tls::for_url(url)?,
            kernel_timestamps,
            preferred: Cell::new(0),
        })
    }

    /// The endpoint.
    pub fn url(&self) -> &BaseUrl {
        &self.url
    }

    /// Opens a connection. The first address that accepts it is used.
    ///
    /// # Errors
    /// What the system or the handshake says; TLS failures have the kind `InvalidData`.
    pub async fn connect(&self) -> io::Result<Connection> {
        let mut last = io::Error::other("no address");
        let count = self.addresses.len();
        let first = self.preferred.get();
        for index in (first..first + count).map(|i| i % count) {
            match TcpStream::connect(self.addresses[index]).await {
                Ok(tcp) => {
                    self.preferred.set(index);
                    return self.handshake(tcp).await;
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn handshake(&self, tcp: TcpStream) -> io::Result<Connection> {
        let stamps = Rc::new(Stamps::default());
        let socket = Socket::new(tcp, self.kernel_timestamps, Rc::clone(&stamps))?;
        let transport = match &self.tls {
            None => Transport::Plain(socket),
            Some(tls) => {
                let session = tls.connector.connect(tls.name.clone(), socket).await?;
                Transport::Tls(Box::new(session))
            }
        };
        let (sender, driver) = http1::handshake(transport).await.map_err(io::Error::other)?;
        Ok(Connection {
            sender,
            driver: Some(Box::pin(driver)),
            stamps,
        })
    }
}

type Driver = http1::Connection<Transport, Full<Bytes>>;

/// One open connection.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Option<Pin<Box<Driver>>>,
    stamps: Rc<Stamps>,
}

impl Connection {
    /// When it last read and wrote.
    pub fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// Starts to send a request; nothing is written before the first [`Connection::poll_with`].
    pub fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = hyper::Result<Response<hyper::body::Incoming>>> + use<> {
        self.sender.send_request(request)
    }

    /// Moves the connection on, then polls `future`, which waits for something of this connection.
    pub fn poll_with<F: Future + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        future: Pin<&mut F>,
    ) -> Poll<F::Output> {
        self.poll_driver(cx);
        future.poll(cx)
    }

    /// Moves the connection on.
    pub fn poll_driver(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver
            && driver.as_mut().poll(cx).is_ready()
        {
            // Closed; whoever waits for a response hears of it from its own future.
            self.driver = None;
        }
    }

    /// Runs `future` to its end while the connection is driven.
    pub async fn drive<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| self.poll_with(cx, future.as_mut())).await
    }

    /// Whether another request can be sent over it: looks for a close that the server sent in the meantime.
    pub fn is_reusable(&mut self) -> bool {
        self.poll_driver(&mut Context::from_waker(Waker::noop()));
        self.driver.is_some() && self.sender.is_ready()
    }
}
