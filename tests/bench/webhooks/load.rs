//! The generator: connections that are kept alive, each sends a webhook and waits for its answer.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::feed::Feed;
use super::side::PATIENCE;
use super::wire::Wire;

/// Connections at once, as a platform opens them to one address.
pub(crate) const CONNECTIONS: u32 = 32;

/// How webhooks follow one another.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// Each connection sends the next one as soon as it has its answer.
    Saturated,
    /// So many in a second, whether or not answers come; a late one waits since it was due.
    PerSecond(u32),
}

/// Sends the webhooks of these numbers. Answers how long each waited for its 200; anything else is an error.
pub(crate) async fn send(
    feed: &Arc<Feed>,
    address: SocketAddr,
    numbers: Range<u32>,
    pace: Pace,
) -> anyhow::Result<Vec<Duration>> {
    ensure!(numbers.end <= feed.webhooks(), "webhook {} was not signed", numbers.end);
    let next = Arc::new(AtomicU32::new(numbers.start));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (feed, next, numbers) = (Arc::clone(feed), Arc::clone(&next), numbers.clone());
        tasks.spawn(async move {
            let mut wire = Wire::connect(address).await?;
            let host = address.to_string();
            let (mut body, mut request, mut waited) = (Vec::new(), Vec::new(), Vec::new());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return anyhow::Ok(waited);
                }
                feed.write_request(number, &host, &mut body, &mut request);
                let mut since = Instant::now();
                if let Pace::PerSecond(rate) = pace {
                    let due = started + Duration::from_secs(1) / rate * (number - numbers.start);
                    tokio::time::sleep_until(due.into()).await;
                    // The timer's own lateness is not the host's.
                    since = if since < due { Instant::now() } else { due };
                }
                wire.write(&request).await?;
                let answer = timeout(PATIENCE, wire.read()).await.context("no answer")??;
                let answer = answer.context("the connection was closed instead of an answer")?;
                waited.push(since.elapsed());
                let status = wire.status();
                ensure!(status == b"200", "webhook {number} was answered {}", String::from_utf8_lossy(status));
                wire.done(&answer);
            }
        });
    }
    let mut waited = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        waited.append(&mut ended??);
    }
    Ok(waited)
}
