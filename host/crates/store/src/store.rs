//! The store: what the rest of the host sees of the databases.

use std::sync::Arc;

use sqlx::postgres::PgListener;
use tradewind_model::{RecordKey, Shop};

use crate::STATEMENTS;
use crate::admission;
use crate::committer::Committer;
use crate::database::{Database, Location, MigrationState};
use crate::error::{QueryLimit, StoreError};
use crate::inbox::{self, Delivery, DeliveryFilter, FIND_DELIVERY, OLD_DELIVERIES, PRUNE_DELIVERIES};
use crate::invocations::PRUNE_INVOCATIONS;
use crate::link::{Engine, Statement};
use crate::queries::{QUERY_RESULT_BYTES_MAX, Queries};
use crate::reader::Rounds;
use crate::recent::Recent;
use crate::records::{PRUNE_NOTES, Stored};
use crate::unit::{CommitError, Committed, Unit};
use crate::usage::cache::UsageCache;
use crate::usage::{Freed, freed_delivery, freed_log, freed_record};
use crate::watches::{Watch, Watches};

/// An open store. One for a whole process.
#[derive(Debug)]
pub struct Store {
    pub(crate) database: Database,
    pub(crate) committer: Committer,
    pub(crate) queries: Queries,
    pub(crate) usage: Arc<UsageCache>,
    rounds: Rounds,
    recent: Recent,
    watches: Arc<Watches>,
}

/// The channel on which hosts tell each other of new jobs.
const JOBS_CHANNEL: &str = "tradewind_jobs";

/// Rows that one statement of the retention deletes. 500: milliseconds, so that no commit waits for it.
const PRUNE_ROWS: i64 = 500;

// Only PostgreSQL has several hosts to tell; SQLite prepares it as an answer of nothing.
pub(crate) static ANNOUNCE: Statement = Statement::differs(
    "announce",
    &[],
    "SELECT $1 WHERE $1 IS NULL",
    "SELECT pg_notify('tradewind_jobs', CAST($1 AS text))",
);

impl Store {
    /// Opens a store whose tables are up to date.
    pub async fn open(location: &Location) -> Result<Self, StoreError> {
        let database = Database::new(location);
        let MigrationState { applied, known } = database.migration_state().await?;
        if applied != known {
            return Err(StoreError::NotMigrated { applied, known });
        }
        let (watches, usage) = (Arc::new(Watches::default()), Arc::new(UsageCache::default()));
        let (committer, rounds) = (Committer::start(&database, &watches, &usage), Rounds::start(&database));
        let queries = Queries::new(&database);
        Ok(Self { committer, rounds, queries, usage, recent: Recent::default(), watches, database })
    }

    /// The same store with another limit `query_ms_max`, see [`QUERY_MS_MAX`](crate::QUERY_MS_MAX).
    #[must_use]
    pub fn with_query_ms_max(mut self, query_ms_max: u64) -> Self {
        self.queries.set_ms_max(query_ms_max);
        self
    }

    /// Brings the tables up to date. Safe to call from several processes at once.
    pub async fn migrate(location: &Location) -> Result<MigrationState, StoreError> {
        let database = Database::new(location);
        let before = database.migration_state().await?;
        if before.applied > before.known {
            return Err(StoreError::NotMigrated { applied: before.applied, known: before.known });
        }
        let mut applied = before.applied;
        while let Err(error) = database.migrate().await {
            // Nothing holds back a second program on SQLite: it fails after the first was faster, and sees what is left.
            let after = database.migration_state().await?;
            if after.applied <= applied {
                return Err(error);
            }
            applied = after.applied;
        }
        Ok(before)
    }

    /// How far the tables are migrated.
    pub async fn migration_state(location: &Location) -> Result<MigrationState, StoreError> {
        Database::new(location).migration_state().await
    }

    /// Which database.
    pub fn engine(&self) -> Engine {
        self.database.engine()
    }

    /// Commits a unit whole or not at all, and answers when it is on disk. One that would take its shop beyond a quota is not
    /// committed.
    pub async fn commit(&self, unit: Unit) -> Result<Committed, CommitError> {
        let reserved = self.admit(&unit).await?;
        self.committer.commit(unit, reserved).await
    }

    /// A watch for the queries of a unit of this shop. It goes into [`Unit::queries`].
    pub fn watch(&self, shop: &Shop) -> Watch {
        self.watches.watch(shop.clone())
    }

    /// Units that wait for the disk.
    pub fn commits_waiting(&self) -> usize {
        self.committer.waiting()
    }

    /// A record, none when it is not there.
    pub async fn record(&self, shop: &Shop, key: &RecordKey) -> Result<Option<Stored>, Arc<StoreError>> {
        if !admission::is_possible(key) {
            return Ok(None);
        }
        self.rounds.record(shop.clone(), key.clone()).await
    }

    /// Records of a shop in the order of their keys; none for each that is not there. Fails with a [`QueryLimit`] when they are
    /// more than [`QUERY_RESULT_BYTES_MAX`](crate::QUERY_RESULT_BYTES_MAX) together.
    pub async fn records(&self, shop: &Shop, keys: &[RecordKey]) -> Result<Vec<Option<Stored>>, Arc<StoreError>> {
        // All questions are asked before the first answer is waited for.
        let ask = |key: &RecordKey| admission::is_possible(key).then(|| self.rounds.record(shop.clone(), key.clone()));
        let asked: Vec<_> = keys.iter().map(ask).collect();
        let (mut found, mut bytes) = (Vec::with_capacity(keys.len()), 0);
        for answer in asked {
            let stored = match answer {
                Some(answer) => answer.await?,
                None => None,
            };
            bytes += stored.as_ref().map_or(0, |stored| stored.doc.as_str().len());
            if bytes > QUERY_RESULT_BYTES_MAX {
                let limit = QueryLimit::ResultBytes { max: QUERY_RESULT_BYTES_MAX };
                return Err(Arc::new(StoreError::Query(limit)));
            }
            found.push(stored);
        }
        Ok(found)
    }

    /// Keeps a delivery in mind that was just committed, for whoever asks for it first.
    pub fn remember(&self, delivery: Delivery) {
        self.recent.put(delivery);
    }

    /// A delivery with its body, none when it is not there any more.
    pub async fn delivery(&self, seq: i64) -> Result<Option<Delivery>, Arc<StoreError>> {
        if let Some(delivery) = self.recent.take(seq) {
            return Ok(Some(delivery));
        }
        self.rounds.delivery(seq).await
    }

    /// Deliveries without their bodies, the newest first.
    pub async fn deliveries(&self, filter: &DeliveryFilter, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        inbox::list(&self.database, filter, limit).await
    }

    /// The numbers of the deliveries with this id of the platform: usually one. Reads the whole inbox.
    pub async fn find_delivery(&self, webhook_id: &str) -> Result<Vec<i64>, StoreError> {
        let failed = |source| StoreError::database("looking for a delivery", source);
        let rows = self.database.fetch(&FIND_DELIVERY, &[webhook_id.into()]).await.map_err(failed)?;
        rows.iter().map(|row| row.int(0)).collect::<sqlx::Result<_>>().map_err(failed)
    }

    /// Deletes deliveries that arrived before `deliveries_before_ms` and have no job, and log entries older than
    /// `invocations_before_ms`, and the host's own notes beside records (models that begin with `~`) that were written
    /// before `notes_before_ms`: a few at a time, so that commits do not wait. Answers how many.
    pub async fn prune(
        &self,
        deliveries_before_ms: i64,
        invocations_before_ms: i64,
        notes_before_ms: i64,
    ) -> Result<usize, StoreError> {
        let failed = |source| StoreError::database("deleting what is old", source);
        let mut pruned = 0;
        let mut from = i64::MIN;
        loop {
            // Those that are kept for their jobs are passed by, however many they are.
            let next = self.database.fetch(&OLD_DELIVERIES, &[from.into(), PRUNE_ROWS.into()]).await.map_err(failed)?;
            let next = (next[0].maybe_int(0).map_err(failed)?, next[0].maybe_int(1).map_err(failed)?);
            let (Some(to), Some(oldest_ms)) = next else { break };
            if oldest_ms >= deliveries_before_ms {
                break;
            }
            let values = vec![from.into(), to.into(), deliveries_before_ms.into()];
            pruned +=
                self.committer.execute_counted(&PRUNE_DELIVERIES, values, freed_delivery).await.map_err(failed)?.len();
            from = to;
        }
        let invocations = (&PRUNE_INVOCATIONS, invocations_before_ms, freed_log as Freed);
        for (statement, before_ms, freed) in [invocations, (&PRUNE_NOTES, notes_before_ms, freed_record)] {
            loop {
                let values = vec![PRUNE_ROWS.into(), before_ms.into()];
                let rows = self.committer.execute_counted(statement, values, freed).await.map_err(failed)?;
                if rows.is_empty() {
                    break;
                }
                pruned += rows.len();
            }
        }
        Ok(pruned)
    }

    /// Tells the other hosts that a partition has new jobs.
    pub async fn announce(&self, part: i64) -> Result<(), StoreError> {
        let told = self.database.fetch(&ANNOUNCE, &[part.into()]).await;
        told.map(drop).map_err(|source| StoreError::database("telling other hosts of new jobs", source))
    }

    /// Waits for other hosts' announcements. None on SQLite, where there are no other hosts.
    pub async fn listen(&self) -> Result<Option<Announcements>, StoreError> {
        let failed = |source| StoreError::database("listening for new jobs", source);
        let Database::Postgres { readers, .. } = &self.database else { return Ok(None) };
        let mut listener = PgListener::connect_with(readers).await.map_err(failed)?;
        listener.listen(JOBS_CHANNEL).await.map_err(failed)?;
        Ok(Some(Announcements { listener }))
    }

    /// Has the database prepare every statement. Answers what is wrong with each that it refuses.
    pub async fn check_statements(&self) -> Result<Vec<String>, StoreError> {
        let mut reader = self.database.own_reader().await.map_err(StoreError::connecting)?;
        let mut problems = Vec::new();
        for statement in STATEMENTS {
            if let Err(error) = reader.link().prepare(statement).await {
                problems.push(format!("`{}`: {error}", statement.name));
            }
        }
        Ok(problems)
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.partitions().await.map(drop)
    }

    /// Writes what was handed over, and closes.
    pub async fn close(self) {
        // The writer is the last: whoever closes a file of SQLite last writes its log back.
        self.queries.close().await;
        self.rounds.close().await;
        self.database.close().await;
        self.committer.close().await;
    }
}

/// What other hosts announce.
pub struct Announcements {
    listener: PgListener,
}

impl Announcements {
    /// Waits for the next partition with new jobs. None when announcements may have been missed: look at all of them.
    pub async fn next(&mut self) -> Result<Option<i64>, StoreError> {
        let next = self.listener.try_recv().await;
        let next = next.map_err(|source| StoreError::database("listening for new jobs", source))?;
        Ok(next.and_then(|notification| notification.payload().parse().ok()))
    }
}
