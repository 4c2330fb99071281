//! Admission of a unit by its shop's quotas, and how room is made: the oldest webhooks that are processed and the oldest
//! entries of the log are deleted before their time.
//!
//! All of it waits in the line of one shop. Another shop's units never look at it.

use std::time::{Duration, Instant};

use tradewind_model::Shop;

use super::cache::{KNOWN_AGE_MAX, REFUSED_AGE_MAX, Reservation};
use super::{Freed, Growth, freed_delivery, freed_log};
use crate::error::StoreError;
use crate::link::Statement;
use crate::quotas::{Quota, QuotaExceeded, Quotas};
use crate::store::Store;
use crate::unit::{CommitError, Unit};

/// Rows that one statement reads or deletes. 500: milliseconds, so that no commit waits for it.
const PIECE_ROWS: i64 = 500;

/// Pieces for one unit. 40: 20,000 rows; the next unit continues.
const PIECES_MAX: usize = 40;

/// Pause after which webhooks are looked through again that nearly all had jobs. 10 seconds: the search takes time, and jobs
/// that end leave many behind.
const FULL_PAUSE: Duration = Duration::from_secs(10);

/// Sixteenths of the quota that are left afterwards: room is made for many units.
const PARTS_LEFT: i64 = 15;

// The next webhooks of a shop, with their sizes; 0 for one that still has a job.
pub(crate) static NEXT_BODIES: Statement = Statement::both(
    "next bodies",
    "SELECT seq, CASE WHEN EXISTS (SELECT 1 FROM jobs WHERE jobs.delivery_seq = d.seq) THEN 0 \
     ELSE CAST(octet_length(body) + octet_length(CAST(headers AS text)) + 512 AS bigint) END \
     FROM deliveries d WHERE app = $1 AND shop = $2 AND seq > $3 ORDER BY seq LIMIT $4",
);

// What waits or is parked still needs its body.
pub(crate) static DELETE_BODIES: Statement = Statement::both(
    "delete bodies",
    "DELETE FROM deliveries WHERE app = $1 AND shop = $2 AND seq > $3 AND seq <= $4 \
     AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.delivery_seq = deliveries.seq) \
     RETURNING app, shop, CAST(octet_length(body) + octet_length(CAST(headers AS text)) + 512 AS bigint)",
);

// The next entries of a shop's log, with their sizes.
pub(crate) static NEXT_LOG: Statement = Statement::both(
    "next log",
    "SELECT seq, CAST(COALESCE(octet_length(CAST(detail AS text)), 0) + 256 AS bigint) FROM invocations \
     WHERE app = $1 AND shop = $2 AND seq > $3 ORDER BY seq LIMIT $4",
);

pub(crate) static DELETE_LOG: Statement = Statement::both(
    "delete log",
    "DELETE FROM invocations WHERE app = $1 AND shop = $2 AND seq > $3 AND seq <= $4 \
     RETURNING app, shop, CAST(COALESCE(octet_length(CAST(detail AS text)), 0) + 256 AS bigint)",
);

/// The state of making room for a shop. One task at a time has it.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// The webhook up to which was looked.
    looked_to: Option<i64>,
    /// The time at which too few of them were found that have no job.
    full_at: Option<Instant>,
}

impl Store {
    /// Bounds what each shop may keep, from now on.
    pub fn set_quotas(&self, quotas: Quotas) {
        self.usage.set_quotas(quotas);
    }

    /// The quotas that hold; none when nothing is bounded.
    pub fn quotas(&self) -> Option<Quotas> {
        self.usage.quotas()
    }

    /// Refusals so far, by app and quota.
    pub fn quota_refusals(&self) -> Vec<(std::sync::Arc<str>, Quota, u64)> {
        self.usage.refusals()
    }

    /// Counts a refusal that the caller decided on.
    pub fn count_refusal(&self, shop: &Shop, quota: Quota) {
        self.usage.count_refusal(&shop.app, quota);
    }

    /// Checks that a unit with such a growth would be committed now. Takes no room: the commit decides.
    pub async fn check_quotas(&self, shop: &Shop, growth: &Growth, now_ms: i64) -> Result<(), CommitError> {
        let Some(quotas) = self.usage.quotas() else { return Ok(()) };
        self.know(shop, KNOWN_AGE_MAX).await?;
        let mut checked = self.usage.check(shop, growth, &quotas, now_ms);
        if checked.is_err() && self.usage.is_older(shop, REFUSED_AGE_MAX) {
            self.know(shop, REFUSED_AGE_MAX).await?;
            checked = self.usage.check(shop, growth, &quotas, now_ms);
        }
        checked.map_err(|exceeded| self.refuse(shop, exceeded))
    }

    /// Takes the room that a unit needs, and makes it where that is possible.
    pub(crate) async fn admit(&self, unit: &Unit) -> Result<Option<Reservation>, CommitError> {
        let Some(quotas) = self.usage.quotas() else { return Ok(None) };
        let (shop, growth) = (&unit.shop, Growth::of(unit));
        self.know(shop, KNOWN_AGE_MAX).await?;
        for (quota, added) in [(Quota::LogBytes, growth.usage.log_bytes), (Quota::BodyBytes, growth.usage.body_bytes)] {
            if added > 0 {
                let made = self.make_room(shop, quota, added, &quotas).await;
                made.map_err(|error| unavailable(&error))?;
            }
        }
        let mut reserved = self.usage.reserve(shop, &growth, &quotas, unit.now_ms);
        if reserved.is_err() && self.usage.is_older(shop, REFUSED_AGE_MAX) {
            self.know(shop, REFUSED_AGE_MAX).await?;
            reserved = self.usage.reserve(shop, &growth, &quotas, unit.now_ms);
        }
        reserved.map(Some).map_err(|exceeded| self.refuse(shop, exceeded))
    }

    fn refuse(&self, shop: &Shop, exceeded: QuotaExceeded) -> CommitError {
        self.usage.count_refusal(&shop.app, exceeded.quota);
        CommitError::Quota(exceeded)
    }

    /// Reads a shop's usage that is not known, or for so long.
    async fn know(&self, shop: &Shop, age: Duration) -> Result<(), CommitError> {
        if !self.usage.is_older(shop, age) {
            return Ok(());
        }
        let (_, room) = self.usage.used(shop);
        let _one_at_a_time = room.lock().await;
        if self.usage.is_older(shop, age) {
            let lines = self.read_lines(shop).await.map_err(|error| unavailable(&error))?;
            self.usage.learn_all(shop, &lines);
        }
        Ok(())
    }

    /// Deletes the oldest of what a quota bounds until there is room for so much, as far as it can be deleted.
    async fn make_room(&self, shop: &Shop, quota: Quota, added: i64, quotas: &Quotas) -> Result<(), StoreError> {
        let max = i64::try_from(quotas.of(quota)).unwrap_or(i64::MAX);
        let beyond = |bound: i64| {
            let (used, room) = self.usage.used(shop);
            let used = if quota == Quota::LogBytes { used.log_bytes } else { used.body_bytes };
            let excess = used.saturating_add(added).saturating_sub(bound);
            (excess > 0).then_some((excess, room))
        };
        let Some((_, room)) = beyond(max) else { return Ok(()) };
        let mut room = room.lock().await;
        // Another unit may have made it meanwhile.
        let is_paused = room.full_at.is_some_and(|at| at.elapsed() < FULL_PAUSE);
        let is_bodies = quota == Quota::BodyBytes;
        if beyond(max).is_none() || (is_bodies && is_paused) {
            return Ok(());
        }
        // The oldest entries of the log are always gone; of the webhooks those stay that have jobs.
        let mut from = if is_bodies { room.looked_to.take() } else { None }.unwrap_or(i64::MIN);
        for _ in 0..PIECES_MAX {
            let Some((excess, _)) = beyond(max / 16 * PARTS_LEFT) else { return Ok(()) };
            let Some(to) = self.delete_piece(shop, quota, from, excess).await? else {
                if is_bodies {
                    room.full_at = Some(Instant::now());
                }
                return Ok(());
            };
            from = to;
        }
        if is_bodies {
            room.looked_to = Some(from);
        }
        Ok(())
    }

    /// Deletes so much of the rows behind `from`, of a piece at most. Answers where it ended; none when there are no more rows.
    async fn delete_piece(&self, shop: &Shop, quota: Quota, from: i64, excess: i64) -> Result<Option<i64>, StoreError> {
        let failed = |source| StoreError::database("deleting a shop's oldest webhooks or log entries", source);
        let (next, delete, freed): (_, _, Freed) = match quota {
            Quota::LogBytes => (&NEXT_LOG, &DELETE_LOG, freed_log),
            _ => (&NEXT_BODIES, &DELETE_BODIES, freed_delivery),
        };
        let (app, id) = (&*shop.app, &*shop.id);
        let rows = self.database.fetch(next, &[app.into(), id.into(), from.into(), PIECE_ROWS.into()]).await;
        let (mut bytes, mut last) = (0, None);
        for row in rows.map_err(failed)? {
            last = Some(row.int(0).map_err(failed)?);
            bytes += row.int(1).map_err(failed)?;
            if bytes >= excess {
                break;
            }
        }
        let Some(to) = last else { return Ok(None) };
        if bytes > 0 {
            let values = vec![app.into(), id.into(), from.into(), to.into()];
            self.committer.execute_counted(delete, values, freed).await.map_err(failed)?;
        }
        Ok(Some(to))
    }
}

fn unavailable(error: &StoreError) -> CommitError {
    CommitError::Unavailable { reason: error.to_string() }
}
