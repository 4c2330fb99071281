//! A server for one address: bounded in connections, headers and time, and stopped without losing a request.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Connections at once; who comes then waits to be accepted. 4,096: with the buffers of their heads 128 MiB when all are busy.
pub const CONNECTIONS_MAX: usize = 4_096;

/// Bytes of a request's head. 32 KiB: a platform sends 2.
pub const HEADERS_BYTES_MAX: usize = 32 << 10;

/// Headers of a request. 100: a platform sends 20.
pub const HEADERS_MAX: usize = 100;

/// How long a request's head may take to arrive, and how long a connection may idle before it. 30 seconds: platforms keep
/// connections for the next webhook, and nobody holds one for long without sending any.
pub const HEADER_TIME_MAX: Duration = Duration::from_secs(30);

/// How long nobody is accepted after the system refused to open a connection: it is out of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that listens.
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens, and serves these routes.
    pub async fn start(address: SocketAddr, router: Router) -> io::Result<Self> {
        Self::start_within(address, router, HEADER_TIME_MAX).await
    }

    /// The same with another time for a head to arrive than [`HEADER_TIME_MAX`].
    pub async fn start_within(address: SocketAddr, router: Router, header_time_max: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, router, header_time_max, stopped));
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, answers the requests that are under way, and ends; within `deadline`.
    pub async fn stop(self, deadline: Duration) {
        if self.stop.send(deadline).is_ok() {
            // An error is a panic of the server, and it has ended all the same.
            let _ = self.task.await;
        }
    }
}

async fn serve(
    listener: TcpListener,
    router: Router,
    header_time_max: Duration,
    mut stopped: oneshot::Receiver<Duration>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(header_time_max)
        .max_buf_size(HEADERS_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .half_close(false);
    let service = TowerToHyperService::new(router);
    let (open, places) = (GracefulShutdown::new(), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    let deadline = loop {
        let accepted = async {
            // Nobody closes the semaphore.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, stream, peer) = tokio::select! {
            deadline = &mut stopped => break deadline.unwrap_or_default(),
            (place, accepted) = accepted => match accepted {
                Ok((stream, peer)) => (place, stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // Answers are small, and each is waited for.
        let _ = stream.set_nodelay(true);
        let connection = open.watch(http.serve_connection(TokioIo::new(stream), service.clone()));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                ended(peer, &error);
            }
            drop(place);
        });
    };
    drop(listener);
    if timeout(deadline, open.shutdown()).await.is_err() {
        tracing::warn!(seconds = deadline.as_secs(), "requests were still under way at the end");
    }
}

/// Says in one line why a connection ended before its time: a head that is too large or no HTTP, a request that was broken
/// off. Not that it was idle for long, which is what connections do.
fn ended(peer: SocketAddr, error: &hyper::Error) {
    let (status, reason) = match error {
        error if error.is_timeout() => return,
        error if error.is_parse_too_large() => (431, "the head is too large (`headers_bytes_max`, `headers_max`)"),
        error if error.is_parse() => (400, "what came is no HTTP"),
        error if error.is_incomplete_message() => (0, "the sender went away in the middle of a request"),
        _ => (0, "the connection broke"),
    };
    tracing::info!(%peer, status, reason, %error, "request refused");
}
