//! The embedded simulated endpoint: an OpenAI-compatible HTTP server whose answers are paced by a [`Replica`] of known
//! capacity, so that everything can be tried without a model or an accelerator.
//!
//! One thread with a single-threaded runtime serves all connections. The replica lives in virtual time, which is
//! mapped onto the monotonic clock once, at the start, so that pacing does not drift: a late wake-up delays the write
//! of some tokens, never the steps that follow.
//!
//! [`Replica`]: crate::sim::affine::Replica

mod body;
mod clock;
mod frames;
mod metrics;
mod pacer;
mod protocol;
mod routes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::sim::affine::{ConfigError, ReplicaConfig};
use pacer::Pacer;

/// How the embedded endpoint is set up. Holds the API key, and so cannot be printed.
#[derive(Clone)]
pub struct EmbeddedConfig {
    /// The replica that paces it.
    pub replica: ReplicaConfig,
    /// The name of its only model.
    pub model: String,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The key that requests below `/v1` must carry, where one is demanded.
    pub api_key: Option<String>,
    /// Responses end by themselves after this many tokens (finish reason `stop`), unless `ignore_eos` or `min_tokens`
    /// asks for more. `None`: every response has `max_tokens`.
    pub eos_after: Option<u32>,
    /// Whether a streaming request that the queue limit refuses is answered as vLLM does it: status 200, then an error
    /// frame. Otherwise with the true status, as all others.
    pub refuse_in_stream: bool,
}

impl Default for EmbeddedConfig {
    /// The demo replica on a free port of the loopback interface.
    fn default() -> Self {
        Self {
            replica: ReplicaConfig::demo(),
            model: "simulated".to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            api_key: None,
            eos_after: None,
            refuse_in_stream: false,
        }
    }
}

/// The error of starting the embedded endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The replica cannot exist.
    #[error("the simulated replica is not valid: {0}")]
    Config(#[from] ConfigError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another address, or port 0 for a free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The operating system refused a thread, a timer or a poller.
    #[error("cannot start the embedded endpoint: {0}")]
    System(#[from] std::io::Error),
}

/// How long a shutdown may take before the thread is left to itself.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(2);
/// Connections that may wait to be accepted: a burst of new ones must not be refused.
const BACKLOG: u32 = 4096;

/// A running embedded endpoint. It stops when dropped.
pub struct EmbeddedServer {
    address: SocketAddr,
    model: String,
    label: String,
    pacer: Arc<Pacer>,
    stop: Option<oneshot::Sender<()>>,
    ended: mpsc::Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedServer {
    /// Listens, and serves from a thread of its own. It accepts connections when this returns; `/health` says 503 until
    /// the replica's start-up delay has passed.
    ///
    /// # Errors
    /// When the configuration is not valid, the address is taken, or the system refuses resources.
    pub fn start(config: EmbeddedConfig) -> Result<Self, EmbeddedError> {
        let label = format!("embedded {}", Label(&config));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _context = runtime.enter();
            listen(config.listen).map_err(|source| EmbeddedError::Listen {
                address: config.listen,
                source,
            })?
        };
        let address = listener.local_addr()?;
        let pacer = {
            let _context = runtime.enter();
            Arc::new(Pacer::new(config.replica.clone())?)
        };
        let model = config.model.clone();
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = mpsc::channel();
        let serving = Arc::clone(&pacer);
        let thread = std::thread::Builder::new()
            .name("mst-embedded".to_owned())
            .spawn(move || {
                serve(runtime, listener, config, serving, stopped);
                // Nobody may be listening any more; then nobody needs to know.
                let _ = end.send(());
            })?;
        Ok(Self {
            address,
            model,
            label,
            pacer,
            stop: Some(stop),
            ended,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Base URL without a path: `http://127.0.0.1:40123`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The name of its model.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Describes everything that changes what a trial against it measures, so without the port.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The largest delay of a step's tokens behind the replica's virtual time so far. Where it is not small against a
    /// step, the process did not keep up, and the capacity of the replica is not that of the server.
    pub fn max_lag(&self) -> Duration {
        self.pacer.max_lag()
    }

    /// Stops serving; open connections are closed. Returns after at most two seconds.
    pub fn shutdown(mut self) {
        self.stop_and_wait();
    }

    fn stop_and_wait(&mut self) {
        drop(self.stop.take());
        let Some(thread) = self.thread.take() else {
            return;
        };
        // Joined only once it has ended: a thread that the scheduler starves must not hold up its owner.
        let over = self.ended.recv_timeout(SHUTDOWN_LIMIT);
        if over != Err(mpsc::RecvTimeoutError::Timeout) {
            // A panic there was reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl Drop for EmbeddedServer {
    fn drop(&mut self) {
        self.stop_and_wait();
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The thread of the server, until `stopped` resolves (its sender sent or was dropped).
fn serve(
    runtime: Runtime,
    listener: TcpListener,
    config: EmbeddedConfig,
    pacer: Arc<Pacer>,
    stopped: oneshot::Receiver<()>,
) {
    let router = routes::router(config, Arc::clone(&pacer));
    // Tokens are small and must leave at once. A connection that cannot be set so is served all the same.
    let listener = listener.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
    });
    runtime.block_on(async move {
        tokio::select! {
            _ = axum::serve(listener, router) => {}
            _ = pacer.run() => {}
            _ = stopped => {}
        }
    });
    // Connections are tasks of the runtime: they end with it.
    runtime.shutdown_timeout(SHUTDOWN_LIMIT);
}

/// What tells two endpoints with different behaviour apart.
struct Label<'a>(&'a EmbeddedConfig);

impl std::fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.replica)?;
        if let Some(tokens) = self.0.eos_after {
            write!(f, " eos-after={tokens}")?;
        }
        if self.0.refuse_in_stream {
            write!(f, " refuse-in-stream")?;
        }
        Ok(())
    }
}
