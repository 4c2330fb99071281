//! SQLite's log is written back into the file beside the writer, which otherwise would do it itself while all commits wait.
//!
//! Only a write-back that finds nothing newer behind it is followed by an fsync of the file, and only then does the log begin
//! anew. Where commits never pause that does not happen; the writer then ends it itself, and waits for the fsync, when the log
//! has as many pages as its connection says (`wal_autocheckpoint`).
//!
//! That two connections may do this needs SQLite 3.51.3: before, a log that began anew at the wrong moment could be damaged.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::database::{Database, Reader};
use crate::link::Link;
use crate::local::Work;

/// How long the log grows before it is written back, where anything is committed. A quarter of a second: a page that many
/// commits touch is written once, and what is written at once is so little that a commit's fsync hardly waits for it.
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
        // One that fails is tried again after the next commit; if it always does, the writer is left with it.
        kept = write_back(&database, kept).await.ok();
    }
    if let Some(reader) = kept {
        let _ = reader.close().await;
    }
}

/// A connection that may not write: no row is changed.
async fn write_back(database: &Database, kept: Option<Reader>) -> sqlx::Result<Reader> {
    let reader = match kept {
        Some(reader) => reader,
        None => database.own_reader().await?,
    };
    let (reader, ()) = reader.lend(Checkpoint).await?;
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use tradewind_model::{Json, RecordKey, Shop};

    use super::*;
    use crate::database::SQLITE_LOG_PAGES;
    use crate::{Location, Store, Unit, Write};

    const BYTES: usize = 2 << 20;

    async fn opened(folder: &tempfile::TempDir) -> Store {
        let location = Location::Sqlite(folder.path().join("store.db"));
        Store::migrate(&location).await.unwrap();
        let store = Store::open(&location).await.unwrap();
        // From here on time passes only while nobody works.
        tokio::time::pause();
        store
    }

    async fn commit(store: &Store, number: u64) {
        let doc = Json::of(&serde_json::json!({ "text": "x".repeat(BYTES) })).ok();
        let key = RecordKey::new("thing", number.to_string());
        let write = Write { before: None, key, expected: None, doc, platform_updated_us: None };
        store.commit(Unit { writes: vec![write], ..Unit::new(Shop::new("app", "shop"), 0) }).await.unwrap();
    }

    fn bytes(folder: &tempfile::TempDir, name: &str) -> u64 {
        folder.path().join(name).metadata().unwrap().len()
    }

    #[tokio::test]
    async fn the_log_is_written_back_while_the_store_is_open() {
        const COMMITS: u64 = 8;
        let folder = tempfile::tempdir().unwrap();
        let store = opened(&folder).await;
        let mut log_max = 0;
        for number in 0..COMMITS {
            commit(&store, number).await;
            tokio::time::sleep(WRITE_BACK_EVERY * 2).await;
            log_max = log_max.max(bytes(&folder, "store.db-wal"));
        }
        let kept = bytes(&folder, "store.db");
        assert!(kept > COMMITS * BYTES as u64, "{kept} bytes are in the file");
        assert!(log_max < 2 * BYTES as u64, "the log had {log_max} bytes: it did not begin anew");
        store.close().await;
        assert!(!folder.path().join("store.db-wal").exists());
    }

    #[tokio::test]
    async fn without_a_pause_the_writer_ends_the_log() {
        const LOG_BYTES: u64 = SQLITE_LOG_PAGES as u64 * 4_096;
        let folder = tempfile::tempdir().unwrap();
        let store = opened(&folder).await;
        // The write-back waits for a pause, which does not come.
        for number in 0..2 * LOG_BYTES / BYTES as u64 {
            commit(&store, number).await;
        }
        let log = bytes(&folder, "store.db-wal");
        assert!(log > LOG_BYTES / 2, "the log had {log} bytes: it was written back before");
        assert!(log < LOG_BYTES * 3 / 2, "the log has {log} bytes");
        store.close().await;
    }

    #[test]
    fn sqlite_is_new_enough() {
        assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
    }
}
