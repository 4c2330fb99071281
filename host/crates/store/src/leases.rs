//! Leases: which host runs the jobs of which partition. A shop's jobs lie in the shop's, a named queue's in the queue's.
//!
//! A host owns a partition as long as its `beat` moves. Whoever has watched a beat stand still for the length of a lease, by
//! its own clock, takes the partition over and raises its `epoch`; the clocks of two hosts are never compared. Every commit
//! on a job's behalf checks the epoch ([`crate::Unit::fence`]), so a host that was asleep meanwhile cannot write.

use crate::error::StoreError;
use crate::link::Statement;
use crate::store::Store;

/// A partition and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// From 0.
    pub id: i64,
    /// The host that owns it; none when it is free.
    pub owner: Option<String>,
    /// Counts the owners.
    pub epoch: i64,
    /// Moves while the owner is alive.
    pub beat: i64,
}

pub(crate) static READ_PARTITIONS: Statement =
    Statement::both("read partitions", "SELECT id, owner, epoch, beat FROM partitions ORDER BY id");

// Differs because only PostgreSQL has several writers: the rows are locked in the order in which a commit locks them, so
// that the two never wait for each other.
pub(crate) static RENEW_LEASES: Statement = Statement::differs(
    "renew leases",
    &[],
    "UPDATE partitions SET beat = beat + 1 WHERE owner = $1 RETURNING id, epoch",
    "WITH mine AS (SELECT id FROM partitions WHERE owner = $1 ORDER BY id FOR NO KEY UPDATE) \
     UPDATE partitions SET beat = beat + 1 WHERE id IN (SELECT id FROM mine) RETURNING id, epoch",
);

pub(crate) static TAKE_PARTITION: Statement = Statement::both(
    "take partition",
    "UPDATE partitions SET owner = $2, epoch = epoch + 1, beat = beat + 1 WHERE id = $1 AND epoch = $3 AND beat = $4 \
     RETURNING epoch",
);

pub(crate) static RELEASE_PARTITION: Statement = Statement::both(
    "release partition",
    "UPDATE partitions SET owner = NULL, epoch = epoch + 1, beat = beat + 1 WHERE id = $1 AND owner = $2 AND epoch = $3 \
     RETURNING id",
);

pub(crate) static READ_HOSTS: Statement = Statement::both("read hosts", "SELECT id, beat FROM hosts ORDER BY id");

pub(crate) static HOST_BEAT: Statement = Statement::both(
    "host beat",
    "INSERT INTO hosts (id, beat) VALUES ($1, 0) ON CONFLICT (id) DO UPDATE SET beat = hosts.beat + 1 RETURNING beat",
);

pub(crate) static FORGET_HOST: Statement =
    Statement::both("forget host", "DELETE FROM hosts WHERE id = $1 AND beat = $2 RETURNING id");

pub(crate) static FORGET_START: Statement =
    Statement::both("forget start", "UPDATE jobs SET starts = 0 WHERE seq = $1 RETURNING seq");

impl Store {
    /// All partitions, in order.
    pub async fn partitions(&self) -> Result<Vec<Partition>, StoreError> {
        let failed = |source| StoreError::database("reading leases", source);
        let rows = self.database.fetch(&READ_PARTITIONS, &[]).await.map_err(failed)?;
        let of_row = |row: &crate::link::Row| -> sqlx::Result<Partition> {
            let owner = row.maybe_text(1)?.map(str::to_owned);
            Ok(Partition { id: row.int(0)?, owner, epoch: row.int(2)?, beat: row.int(3)? })
        };
        rows.iter().map(of_row).collect::<sqlx::Result<_>>().map_err(failed)
    }

    /// Shows that `owner` is alive. Answers the partitions that are its own, with their epochs.
    pub async fn renew_leases(&self, owner: &str) -> Result<Vec<(i64, i64)>, StoreError> {
        let failed = |source| StoreError::database("renewing leases", source);
        let rows = self.committer.execute(&RENEW_LEASES, vec![owner.into()]).await.map_err(failed)?;
        rows.iter().map(|row| Ok((row.int(0)?, row.int(1)?))).collect::<sqlx::Result<_>>().map_err(failed)
    }

    /// Takes a partition over, if it still is as `seen`. Answers the new epoch.
    pub async fn take_partition(&self, seen: &Partition, owner: &str) -> Result<Option<i64>, StoreError> {
        let failed = |source| StoreError::database("taking a lease", source);
        let values = vec![seen.id.into(), owner.into(), seen.epoch.into(), seen.beat.into()];
        let rows = self.committer.execute(&TAKE_PARTITION, values).await.map_err(failed)?;
        rows.first().map(|row| row.int(0)).transpose().map_err(failed)
    }

    /// Gives a partition back. False when it was not `owner`'s any more.
    pub async fn release_partition(&self, part: i64, owner: &str, epoch: i64) -> Result<bool, StoreError> {
        let values = vec![part.into(), owner.into(), epoch.into()];
        let released = self.committer.execute(&RELEASE_PARTITION, values).await;
        released.map(|rows| !rows.is_empty()).map_err(|source| StoreError::database("giving a lease back", source))
    }

    /// The hosts that share this database, with their beats.
    pub async fn hosts(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let failed = |source| StoreError::database("reading hosts", source);
        let rows = self.database.fetch(&READ_HOSTS, &[]).await.map_err(failed)?;
        rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.int(1)?))).collect::<sqlx::Result<_>>().map_err(failed)
    }

    /// Shows that a host is there, whether it owns partitions or not.
    pub async fn host_beat(&self, host: &str) -> Result<(), StoreError> {
        let beat = self.committer.execute(&HOST_BEAT, vec![host.into()]).await;
        beat.map(drop).map_err(|source| StoreError::database("showing that this host is there", source))
    }

    /// Forgets a host whose beat stood still at `beat`, or that is leaving.
    pub async fn forget_host(&self, host: &str, beat: i64) -> Result<(), StoreError> {
        let forgotten = self.committer.execute(&FORGET_HOST, vec![host.into(), beat.into()]).await;
        forgotten.map(drop).map_err(|source| StoreError::database("forgetting a host", source))
    }

    /// Takes back that jobs were started: whoever ran them has aborted them, and did not die.
    pub async fn forget_starts(&self, seqs: &[i64]) -> Result<(), StoreError> {
        for seq in seqs {
            let forgotten = self.committer.execute(&FORGET_START, vec![(*seq).into()]).await;
            forgotten.map_err(|source| StoreError::database("taking a start back", source))?;
        }
        Ok(())
    }
}
