//! A server for one address: bounded in connections, headers and time, and stopped without losing a request.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::connections::{ConnectionBounds, Connections, Held, sender_of};
use super::receive::Peer;
use super::refused::Refused;

/// Bytes of a request's head: method, path and all headers. 32 KiB: a platform sends 2.
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
    pub async fn start(address: SocketAddr, router: Router, bounds: ConnectionBounds) -> io::Result<Self> {
        Self::start_within(address, router, HEADER_TIME_MAX, bounds).await
    }

    /// The same with another time for a head to arrive than [`HEADER_TIME_MAX`].
    pub async fn start_within(
        address: SocketAddr,
        router: Router,
        header_time_max: Duration,
        bounds: ConnectionBounds,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, router, header_time_max, bounds, stopped));
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
    bounds: ConnectionBounds,
    mut stopped: oneshot::Receiver<Duration>,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(header_time_max)
        // What is read at once goes beyond this by a buffer, so the exact bound is checked again.
        .max_buf_size(HEADERS_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .half_close(false);
    let server = Serving { http, routes: TowerToHyperService::new(router), refused: Refused::new() };
    let (open, connections) = (GracefulShutdown::new(), Connections::new(bounds));
    let deadline = loop {
        let (stream, peer) = tokio::select! {
            deadline = &mut stopped => break deadline.unwrap_or_default(),
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        match connections.enter(sender_of(peer.ip())) {
            Some(held) => server.connection(stream, held, &open),
            None => server.log(peer, 0, "busy", "all connections are busy (`connections_max`, `peer_connections_max`)"),
        }
    };
    drop(listener);
    if timeout(deadline, open.shutdown()).await.is_err() {
        tracing::warn!(seconds = deadline.as_secs(), "requests were still under way at the end");
    }
}

/// What serves each connection of a server.
#[derive(Clone)]
struct Serving {
    http: http1::Builder,
    routes: TowerToHyperService<Router>,
    refused: Refused,
}

impl Serving {
    /// Serves a connection on a task of its own, until it ends or its place is needed.
    fn connection(&self, stream: TcpStream, held: Arc<Held>, open: &GracefulShutdown) {
        // Answers are small, and each is waited for.
        let _ = stream.set_nodelay(true);
        let peer = stream.peer_addr().unwrap_or_else(|_| SocketAddr::new(held.peer(), 0));
        let (serving, place) = (self.clone(), Arc::clone(&held));
        let service = service_fn(move |request| {
            let (serving, place) = (serving.clone(), Arc::clone(&place));
            async move { serving.request(request, &place).await }
        });
        let connection = open.watch(self.http.serve_connection(TokioIo::new(stream), service));
        let serving = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => if let Err(error) = ended {
                    serving.ended(peer, &error);
                },
                () = held.closed() => {}
            }
        });
    }

    async fn request(&self, mut request: Request<Incoming>, place: &Arc<Held>) -> Result<Response<Body>, Infallible> {
        let _busy = place.busy();
        if head_bytes(&request) > HEADERS_BYTES_MAX {
            self.log(SocketAddr::new(place.peer(), 0), 431, "head", TOO_LARGE_A_HEAD);
            let mut response = Response::new(Body::from("the head is too large (`headers_bytes_max`)\n"));
            *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return Ok(response);
        }
        request.extensions_mut().insert(Peer(place.peer()));
        self.routes.call(request).await
    }

    /// Says in one line why a connection ended before its time: a head that is too large or no HTTP, a request that was
    /// broken off. Not that it was idle for long, which is what connections do.
    fn ended(&self, peer: SocketAddr, error: &hyper::Error) {
        let (status, word, reason) = match error {
            error if error.is_timeout() => return,
            error if error.is_parse_too_large() => (431, "head", TOO_LARGE_A_HEAD),
            error if error.is_parse() => (400, "no-http", "what came is no HTTP"),
            error if error.is_incomplete_message() => (0, "gone", "the sender went away in the middle of a request"),
            _ => (0, "broken", "the connection broke"),
        };
        self.log(peer, status, word, reason);
    }

    fn log(&self, peer: SocketAddr, status: u16, word: &'static str, reason: &str) {
        if self.refused.may_say(status, word, &peer.to_string()) {
            tracing::info!(%peer, status, reason, "request refused");
        }
    }
}

const TOO_LARGE_A_HEAD: &str = "the head is too large (`headers_bytes_max`, `headers_max`)";

/// Bytes of a request's head, without the line ends.
fn head_bytes(request: &Request<Incoming>) -> usize {
    let path = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    request.method().as_str().len() + path + headers.sum::<usize>()
}
