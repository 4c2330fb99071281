//! SQLite's log is written back into the file beside the writer, which otherwise would do it itself while all commits wait.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::database::{Connection, Database};
use crate::link::Link;
use crate::local::Work;

/// How long the log grows before it is written back, where anything is committed. A quarter of a second: a page that many
/// commits touch is written once, and what is to be written at once is little enough that no commit's fsync waits for it.
const WRITE_BACK_EVERY: Duration = Duration::from_millis(250);

/// A task with a connection of its own, which writes back what a writer has committed.
#[derive(Debug)]
pub(crate) struct WriteBack {
    committed: mpsc::Sender<()>,
    task: JoinHandle<()>,
}

impl WriteBack {
    /// Starts it. It connects when there is something to write back.
    pub(crate) fn start(database: &Database) -> Self {
        let (committed, told) = mpsc::channel(1);
        Self { committed, task: tokio::spawn(run(database.clone(), told)) }
    }

    /// Says that something was committed.
    pub(crate) fn committed(&self) {
        // It is full when it was said already.
        let _ = self.committed.try_send(());
    }

    /// Ends it; what is left of the log is for whoever closes the file last.
    pub(crate) async fn close(self) {
        drop(self.committed);
        let _ = self.task.await;
    }
}

struct Checkpoint;

impl Work for Checkpoint {
    type Done = ();

    async fn on(self, link: &mut Link<'_>) -> sqlx::Result<()> {
        // As much as nobody reads from the log any more; neither readers nor the writer wait for it.
        link.run("PRAGMA wal_checkpoint(PASSIVE)").await
    }
}

async fn run(database: Database, mut told: mpsc::Receiver<()>) {
    let mut kept = None;
    while told.recv().await.is_some() {
        let ended = async { while told.recv().await.is_some() {} };
        if timeout(WRITE_BACK_EVERY, ended).await.is_ok() {
            break;
        }
        // One that fails is tried again after the next commit; until then the writer does it.
        kept = write_back(&database, kept).await.ok();
    }
    if let Some(connection) = kept {
        let _ = connection.close().await;
    }
}

async fn write_back(database: &Database, kept: Option<Connection>) -> sqlx::Result<Connection> {
    let connection = match kept {
        Some(connection) => connection,
        None => database.connect().await?,
    };
    let (connection, ()) = connection.lend(Checkpoint).await?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use tradewind_model::{Json, RecordKey, Shop};

    use super::*;
    use crate::{Location, Store, Unit, Write};

    #[tokio::test]
    async fn the_log_is_written_back_while_the_store_is_open() {
        const BYTES: usize = 2 << 20;
        const COMMITS: u64 = 8;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.db");
        let location = Location::Sqlite(file.clone());
        Store::migrate(&location).await.unwrap();
        let store = Store::open(&location).await.unwrap();
        tokio::time::pause();
        let mut log_max = 0;
        for number in 0..COMMITS {
            let doc = Json::of(&serde_json::json!({ "text": "x".repeat(BYTES) })).ok();
            let key = RecordKey::new("thing", number.to_string());
            let write = Write { key, expected: None, doc, platform_updated_us: None };
            let unit = Unit { writes: vec![write], ..Unit::new(Shop::new("app", "shop"), 0) };
            store.commit(unit).await.unwrap();
            // The clock stands still while a thread works.
            tokio::time::sleep(WRITE_BACK_EVERY * 2).await;
            log_max = log_max.max(folder.path().join("store.db-wal").metadata().unwrap().len());
        }
        let kept = file.metadata().unwrap().len();
        assert!(kept > COMMITS * BYTES as u64, "{kept} bytes are in the file");
        assert!(log_max < 2 * BYTES as u64, "the log had {log_max} bytes: it did not begin anew");
        store.close().await;
        assert!(!folder.path().join("store.db-wal").exists());
    }
}
