//! Takes webhooks as bytes: no library of HTTP between the wire and the test.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longer than any test takes: who waits for this long waits for nothing.
const PATIENCE: Duration = Duration::from_mins(1);

/// One request.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// Names in lower case.
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Received {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(String::as_str).unwrap_or_default()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn webhook_id(&self) -> &str {
        self.header("x-shopify-webhook-id")
    }
}

/// A server that keeps what it is sent.
pub(super) struct Receiver {
    port: u16,
    received: watch::Sender<Vec<Received>>,
    server: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    /// Answers each request with a status, by the request and how many there were before.
    pub(super) async fn start(answer: impl Fn(&Received, usize) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = watch::Sender::new(Vec::new());
        let (kept, answer) = (received.clone(), Arc::new(answer));
        let server = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (kept, answer) = (kept.clone(), Arc::clone(&answer));
                tokio::spawn(async move { serve(stream, &kept, answer.as_ref()).await });
            }
        });
        Self { port, received, server }
    }

    pub(super) async fn accepting() -> Self {
        Self::start(|_, _| 200).await
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/webhooks", self.port)
    }

    /// What came so far.
    pub(super) fn received(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// Waits until that many requests came.
    pub(super) async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut changes = self.received.subscribe();
        let came = tokio::time::timeout(PATIENCE, changes.wait_for(|received| received.len() >= count)).await;
        came.unwrap_or_else(|_| panic!("{count} requests did not come")).unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    kept: &watch::Sender<Vec<Received>>,
    answer: &(dyn Fn(&Received, usize) -> u16 + Send + Sync),
) {
    let mut stream = BufReader::new(stream);
    while let Some(received) = read(&mut stream).await {
        let mut before = 0;
        kept.send_modify(|all| {
            before = all.len();
            all.push(received.clone());
        });
        let status = answer(&received, before);
        let head = format!("HTTP/1.1 {status} Answer\r\nContent-Length: 0\r\nLocation: /elsewhere\r\n\r\n");
        if stream.write_all(head.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// One request, or nothing when the connection ends.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    assert!(line.starts_with("POST /webhooks HTTP/1.1"), "{line}");
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(": ").unwrap();
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    Some(Received { headers, body })
}
