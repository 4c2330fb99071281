//! What the machine leaves for the work itself: a server that checks signatures, answers, calls the platform, and neither
//! reads a body nor keeps nor runs anything. It shares the generator's process, so not even its own costs are in it twice.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tradewind_platform::shopify::SigningSecrets;

use super::feed::Feed;
use super::load::{self, Pace};
use super::platform::Platform;
use super::side::{PATIENCE, SECRET};
use super::wire::Wire;

/// A call as `product-tagger` makes it.
const CALL: &str = r#"{"query":"mutation AddTags($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags) { userErrors { field message } } }","variables":{"id":"gid://shopify/Product/7000000000000","tags":["hatri","nelso","umbre","woste","rilan"]}}"#;

pub(crate) const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// The server.
pub(crate) struct Bare {
    address: SocketAddr,
    platform: Platform,
    feed: Arc<Feed>,
    sent: u32,
    // Ends with it.
    _tasks: JoinSet<()>,
}

impl Bare {
    pub(crate) async fn start(feed: &Arc<Feed>) -> anyhow::Result<Self> {
        let platform = Platform::start().await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, called) = (listener.local_addr()?, platform.address);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // Whatever goes wrong, the generator misses its answer.
                open.spawn(async move { serve(stream, called).await.is_ok() });
            }
        });
        Ok(Self { address, platform, feed: Arc::clone(feed), sent: 0, _tasks: tasks })
    }

    /// Sends the next webhooks. Answers how long it took until the platform had all calls.
    pub(crate) async fn take(&mut self, count: u32) -> anyhow::Result<Duration> {
        let numbers = self.sent..self.sent + count;
        self.sent = numbers.end;
        let started = Instant::now();
        load::send(&self.feed, self.address, numbers.clone(), Pace::Saturated).await?;
        let called = timeout(PATIENCE, self.platform.until(u64::from(numbers.end))).await;
        called.context("calls that never come")??;
        Ok(started.elapsed())
    }
}

async fn serve(stream: TcpStream, platform: SocketAddr) -> anyhow::Result<()> {
    let secrets = SigningSecrets::new(SECRET, None);
    let call = request(platform, CALL);
    let (mut wire, mut called) = (Wire::over(stream)?, Wire::connect(platform).await?);
    while let Some(webhook) = wire.read().await? {
        let signature = header(wire.head(&webhook), "X-Shopify-Hmac-Sha256")?;
        let is_signed = secrets.signed(wire.body(&webhook), signature.as_bytes());
        ensure!(is_signed, "a wrong signature");
        wire.done(&webhook);
        wire.write(ANSWER).await?;
        called.write(call.as_bytes()).await?;
        let answer = called.read().await?.context("the connection was closed instead of an answer")?;
        ensure!(called.status() == b"200", "the call was answered {}", String::from_utf8_lossy(called.status()));
        called.done(&answer);
    }
    Ok(())
}

/// The value of a header, spelled as the generator spells it.
pub(crate) fn header<'a>(head: &'a str, name: &str) -> anyhow::Result<&'a str> {
    let mut values = head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    values.next().with_context(|| format!("a request without `{name}`"))
}

/// A call of the platform as it goes over the wire.
pub(crate) fn request(platform: SocketAddr, body: &str) -> String {
    format!(
        "POST /admin/api/2026-07/graphql.json HTTP/1.1\r\nHost: {platform}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
