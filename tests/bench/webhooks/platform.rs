//! A stand-in for the platform's Admin API: answers every call at once that tags were added, and counts.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::wire::Wire;

/// A budget that never runs out.
const ANSWER: &str = r#"{"data":{"tagsAdd":{"userErrors":[]}},"extensions":{"cost":{"requestedQueryCost":10,"actualQueryCost":10,"throttleStatus":{"maximumAvailable":1000000.0,"currentlyAvailable":999990,"restoreRate":1000000.0}}}}"#;

/// A server of one side.
pub(crate) struct Platform {
    pub(crate) address: SocketAddr,
    calls: watch::Receiver<u64>,
    // Ends with it.
    _tasks: JoinSet<()>,
}

impl Platform {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (counter, calls) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let counter = counter.clone();
                open.spawn(async move {
                    // A client that goes away has ended its own connection; what it lacks, its side will miss.
                    let _ = answer(stream, &counter).await;
                });
            }
        });
        Ok(Self { address, calls, _tasks: tasks })
    }

    /// Calls so far.
    pub(crate) fn calls(&self) -> u64 {
        *self.calls.borrow()
    }

    /// Waits for the call of this number.
    pub(crate) async fn until(&self, calls: u64) -> anyhow::Result<()> {
        self.calls.clone().wait_for(|counted| *counted >= calls).await?;
        Ok(())
    }
}

async fn answer(stream: TcpStream, counter: &watch::Sender<u64>) -> anyhow::Result<()> {
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{ANSWER}",
        ANSWER.len()
    );
    let mut wire = Wire::over(stream)?;
    while let Some(message) = wire.read().await? {
        wire.done(&message);
        wire.write(response.as_bytes()).await?;
        counter.send_modify(|calls| *calls += 1);
    }
    Ok(())
}
