//! What is read from the database for the schedule, by tasks of their own.

use tradewind_model::Shop;
use tradewind_model::job_options::Priority;
use tradewind_model::schedule::{Head, Refill};
use tradewind_store::{Partition, Store, StoreError};

use super::attempt::{Tag, head_of};
use super::limits::WOKEN_ROWS_MAX;
use super::payloads::Payloads;

/// How thoroughly a partition is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// For shops that have nothing here.
    Idle,
    /// Also for recent jobs of the others.
    Recent,
    /// For all jobs of all shops.
    Full,
}

/// What waits in a partition.
#[derive(Debug)]
pub(crate) struct Looked {
    pub(crate) part: i64,
    /// The shops that have queued jobs in it.
    pub(crate) shops: Vec<Shop>,
    /// When the first delayed job is due.
    pub(crate) next_due_ms: Option<i64>,
}

/// A partition that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) epoch: i64,
    /// The greatest number of a job when it was taken: those up to it were left by others.
    pub(crate) left_over: i64,
    pub(crate) looked: Looked,
}

/// Jobs of a shop that have come to the queue.
#[derive(Debug)]
pub(crate) struct Woken {
    pub(crate) shop: Shop,
    pub(crate) rank: Priority,
    pub(crate) seq: i64,
}

/// The rows that a refill asked for, and whether there were no more.
pub(crate) async fn refill(
    store: &Store,
    refill: &Refill,
    payloads: &Payloads,
) -> Result<(Vec<Head<Tag>>, bool), StoreError> {
    let limit = u32::try_from(refill.rows).unwrap_or(u32::MAX);
    let jobs = store.queued_jobs(refill.part, &refill.shop, refill.rank.rank(), refill.from_seq, limit).await?;
    let end = jobs.len() < refill.rows;
    Ok((jobs.into_iter().map(|job| head_of(job, true, payloads)).collect(), end))
}

/// What waits in a partition.
pub(crate) async fn look(store: &Store, part: i64) -> Result<Looked, StoreError> {
    let shops = store.waiting_shops(part).await?;
    let next_due_ms = store.next_due(part, i64::MIN).await?;
    Ok(Looked { part, shops, next_due_ms })
}

/// Takes a partition, if it still is as it was seen, and looks at what waits in it.
pub(crate) async fn take(store: &Store, seen: &Partition, host: &str) -> Result<Option<Taken>, StoreError> {
    let Some(epoch) = store.take_partition(seen, host).await? else { return Ok(None) };
    let left_over = store.last_job().await?;
    Ok(Some(Taken { epoch, left_over, looked: look(store, seen.id).await? }))
}

/// Brings a partition's delayed jobs that are due to the queue. Answers them and when the next is due.
///
/// They become queued in the database and not only here: the schedule may have no room for them, and finds again only
/// what is queued.
pub(crate) async fn wake(store: &Store, part: i64, now_ms: i64) -> Result<(Vec<Woken>, Option<i64>), StoreError> {
    let mut woken = Vec::new();
    loop {
        let some = store.wake_delayed(part, now_ms, WOKEN_ROWS_MAX).await?;
        let full = some.len() >= WOKEN_ROWS_MAX as usize;
        woken.extend(some.into_iter().map(|job| Woken {
            shop: job.shop,
            rank: Priority::of_rank(job.rank),
            seq: job.seq,
        }));
        if !full {
            return Ok((woken, store.next_due(part, i64::MIN).await?));
        }
    }
}
