//! Usage as this process knows it, and what its units are about to add.
//!
//! A unit reserves its growth before it waits for the committer, so that concurrent units do not each find the same room.
//! The committer tells what a commit left in the database, and gives the reservation back. What other hosts commit is seen
//! when a shop's lines are read again: after [`KNOWN_AGE_MAX`], or before a unit is refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tradewind_model::Shop;

use super::room::Room;
use super::{Growth, Line, Usage};
use crate::quotas::{Quota, QuotaExceeded, Quotas};

/// Time for which a shop's usage counts as known after it was read. 10 seconds: other hosts add a small part of any quota
/// meanwhile, and a busy shop is read six times a minute.
pub(crate) const KNOWN_AGE_MAX: Duration = Duration::from_secs(10);

/// Age at which it is read again before a unit is refused. 1 second: a full shop is read that often, however many units are
/// refused.
pub(crate) const REFUSED_AGE_MAX: Duration = Duration::from_secs(1);

/// Shops whose usage is known; beyond it those are forgotten that are not at work. 10,000: 5 MiB, at some 500 bytes each.
const SHOPS_MAX: usize = 10_000;

/// Milliseconds in a minute, by which a bucket counts.
const MINUTE_MS: i64 = 60_000;

/// The cache of all shops.
#[derive(Debug, Default)]
pub(crate) struct UsageCache {
    /// None: nothing is refused.
    quotas: RwLock<Option<Quotas>>,
    shops: Mutex<HashMap<Shop, Known>>,
    refusals: Mutex<BTreeMap<(Arc<str>, Quota), u64>>,
}

/// The cached usage of a shop.
#[derive(Debug, Default)]
struct Known {
    /// By their numbers, with their versions.
    lines: BTreeMap<i64, (i64, Usage)>,
    /// Of all lines.
    sum: Usage,
    /// Reserved by units that wait for their commit.
    reserved: Usage,
    /// The time at which all lines were read last.
    read_at: Option<Instant>,
    jobs: Bucket,
    room: Arc<tokio::sync::Mutex<Room>>,
}

/// A token bucket for the jobs that plugins enqueue.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Jobs that are used up, times [`MINUTE_MS`].
    used: i64,
    at_ms: i64,
}

impl Bucket {
    /// Jobs that are used up at this time.
    fn used(&mut self, per_minute: u64, now_ms: i64) -> u64 {
        let per_minute = i64::try_from(per_minute).unwrap_or(i64::MAX);
        let passed_ms = now_ms.saturating_sub(self.at_ms).clamp(0, MINUTE_MS);
        self.used = self.used.saturating_sub(passed_ms.saturating_mul(per_minute)).max(0);
        self.at_ms = self.at_ms.max(now_ms);
        u64::try_from(self.used.saturating_add(MINUTE_MS - 1) / MINUTE_MS).unwrap_or_default()
    }

    fn take(&mut self, jobs: u32) {
        self.used = self.used.saturating_add(i64::from(jobs) * MINUTE_MS);
    }

    fn give_back(&mut self, jobs: u32) {
        self.used = self.used.saturating_sub(i64::from(jobs) * MINUTE_MS).max(0);
    }
}

impl Known {
    fn learn(&mut self, line: &Line) {
        let known = self.lines.entry(line.number).or_insert((i64::MIN, Usage::default()));
        if known.0 < line.version {
            self.sum = self.sum.minus(known.1).plus(line.usage);
            *known = (line.version, line.usage);
        }
    }

    fn used(&self) -> Usage {
        self.sum.plus(self.reserved)
    }

    /// The first quota that the growth would exceed.
    fn check(&mut self, growth: &Growth, quotas: &Quotas, now_ms: i64) -> Result<(), QuotaExceeded> {
        let (used, added) = (self.used(), growth.usage);
        let check = |quota: Quota, used: i64, added: i64, times: u64| {
            let max = quotas.of(quota).saturating_mul(times);
            let limit = i64::try_from(max).unwrap_or(i64::MAX);
            if added <= 0 || used.saturating_add(added) <= limit {
                return Ok(());
            }
            let [used, added] = [used, added].map(|value| u64::try_from(value).unwrap_or_default());
            Err(QuotaExceeded { quota, max, used, added })
        };
        if growth.plugin_jobs > 0 {
            // Whatever else the unit does: the job that it finishes makes room for the `success` that follows.
            check(Quota::JobsWaiting, used.jobs, growth.plugin_jobs.into(), 1)?;
            check(Quota::JobBytes, used.job_bytes, growth.plugin_job_bytes, 1)?;
            let made = self.jobs.used(quotas.shop_jobs_per_minute_max, now_ms);
            let made = i64::try_from(made).unwrap_or(i64::MAX);
            check(Quota::JobsPerMinute, made, growth.plugin_jobs.into(), 1)?;
        }
        check(Quota::JobsWaiting, used.jobs, added.jobs, Quotas::RESERVE)?;
        // A unit that finishes a job frees its bytes, which are not known here.
        let bytes = if added.jobs > 0 { added.job_bytes } else { 0 };
        check(Quota::JobBytes, used.job_bytes, bytes, Quotas::RESERVE)?;
        check(Quota::Records, used.records, added.records, 1)?;
        check(Quota::RecordBytes, used.record_bytes, added.record_bytes, 1)?;
        check(Quota::BodyBytes, used.body_bytes, added.body_bytes, 1)
    }
}

/// Room that a unit has reserved. Given back when this is dropped, at the latest.
#[derive(Debug)]
pub(crate) struct Reservation {
    cache: Arc<UsageCache>,
    shop: Shop,
    usage: Usage,
    plugin_jobs: u32,
    is_committed: bool,
}

impl Reservation {
    /// Gives it back after the commit: jobs that were made count for their minute.
    pub(crate) fn committed(mut self) {
        self.is_committed = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut shops = self.cache.shops();
        let Some(known) = shops.get_mut(&self.shop) else { return };
        known.reserved = known.reserved.minus(self.usage);
        if !self.is_committed {
            known.jobs.give_back(self.plugin_jobs);
        }
    }
}

impl UsageCache {
    pub(crate) fn quotas(&self) -> Option<Quotas> {
        *self.quotas.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_quotas(&self, quotas: Quotas) {
        *self.quotas.write().unwrap_or_else(PoisonError::into_inner) = Some(quotas);
    }

    fn shops(&self) -> MutexGuard<'_, HashMap<Shop, Known>> {
        self.shops.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in lines as commits left them.
    pub(crate) fn learn(&self, lines: &[Line]) {
        if lines.is_empty() || self.quotas().is_none() {
            return;
        }
        let mut shops = self.shops();
        for line in lines {
            if let Some(known) = shops.get_mut(&line.shop) {
                known.learn(line);
            }
        }
    }

    /// Takes in all lines of a shop.
    pub(crate) fn learn_all(&self, shop: &Shop, lines: &[Line]) {
        let mut shops = self.shops();
        let known = known_of(&mut shops, shop);
        for line in lines {
            known.learn(line);
        }
        known.read_at = Some(Instant::now());
    }

    /// Has the next unit read the shop's lines: what became of a commit is not known.
    pub(crate) fn forget(&self, shop: &Shop) {
        if let Some(known) = self.shops().get_mut(shop) {
            known.read_at = None;
        }
    }

    /// True when the shop's usage was never read, or that long ago.
    pub(crate) fn is_older(&self, shop: &Shop, age: Duration) -> bool {
        let shops = self.shops();
        shops.get(shop).and_then(|known| known.read_at).is_none_or(|at| at.elapsed() >= age)
    }

    /// The cached usage of a shop, reservations included; and the place where room is made for it.
    pub(crate) fn used(&self, shop: &Shop) -> (Usage, Arc<tokio::sync::Mutex<Room>>) {
        let mut shops = self.shops();
        let known = known_of(&mut shops, shop);
        (known.used(), Arc::clone(&known.room))
    }

    /// Checks that there is room for the growth, without taking it.
    pub(crate) fn check(
        &self,
        shop: &Shop,
        growth: &Growth,
        quotas: &Quotas,
        now_ms: i64,
    ) -> Result<(), QuotaExceeded> {
        known_of(&mut self.shops(), shop).check(growth, quotas, now_ms)
    }

    /// Takes the room that a unit needs.
    pub(crate) fn reserve(
        self: &Arc<Self>,
        shop: &Shop,
        growth: &Growth,
        quotas: &Quotas,
        now_ms: i64,
    ) -> Result<Reservation, QuotaExceeded> {
        let mut shops = self.shops();
        let known = known_of(&mut shops, shop);
        known.check(growth, quotas, now_ms)?;
        let usage = growth.usage.growth();
        known.reserved = known.reserved.plus(usage);
        known.jobs.take(growth.plugin_jobs);
        let (shop, plugin_jobs) = (shop.clone(), growth.plugin_jobs);
        Ok(Reservation { cache: Arc::clone(self), shop, usage, plugin_jobs, is_committed: false })
    }

    pub(crate) fn count_refusal(&self, app: &Arc<str>, quota: Quota) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        *refusals.entry((Arc::clone(app), quota)).or_default() += 1;
    }

    pub(crate) fn refusals(&self) -> Vec<(Arc<str>, Quota, u64)> {
        let refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.iter().map(|((app, quota), count)| (Arc::clone(app), *quota, *count)).collect()
    }
}

/// The cached usage of a shop, made empty when there is none.
fn known_of<'a>(shops: &'a mut HashMap<Shop, Known>, shop: &Shop) -> &'a mut Known {
    if shops.len() >= SHOPS_MAX && !shops.contains_key(shop) {
        shops.retain(|_, known| {
            let is_recent = known.read_at.is_some_and(|at| at.elapsed() < KNOWN_AGE_MAX);
            is_recent || known.reserved != Usage::default()
        });
    }
    shops.entry(shop.clone()).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_jobs_comes_back_bit_by_bit() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.used(600, 1_000_000), 0);
        bucket.take(600);
        assert_eq!(
            [0, 50, 100, 30_000, 59_900, 60_000, 600_000].map(|ms| bucket.used(600, 1_000_000 + ms)),
            [600, 600, 599, 300, 1, 0, 0]
        );
        bucket.take(5);
        bucket.give_back(3);
        assert_eq!(bucket.used(600, 1_600_000), 2);
        // A clock that goes back gives nothing.
        assert_eq!(bucket.used(600, 0), 2);
    }

    fn line(number: i64, version: i64, jobs: i64) -> Line {
        Line { shop: Shop::new("app", "shop"), number, version, usage: Usage { jobs, ..Usage::default() } }
    }

    #[test]
    fn the_newest_of_each_line_counts() {
        let mut known = Known::default();
        for (line_, expected) in [
            (line(0, 5, -10), -10),
            (line(3, 1, 40), 30),
            (line(0, 4, 100), 30),
            (line(0, 6, -11), 29),
            (line(0, 6, 7), 29),
        ] {
            known.learn(&line_);
            assert_eq!(known.used().jobs, expected);
        }
    }

    #[test]
    fn what_is_reserved_is_taken_and_given_back() {
        let (cache, shop) = (Arc::new(UsageCache::default()), Shop::new("app", "shop"));
        let quotas = Quotas { shop_jobs_waiting_max: 3, ..Quotas::default() };
        let growth = |jobs: i64, plugin_jobs| Growth {
            usage: Usage { jobs, ..Usage::default() },
            plugin_jobs,
            ..Growth::default()
        };
        let first = cache.reserve(&shop, &growth(2, 2), &quotas, 0).unwrap();
        let error = cache.reserve(&shop, &growth(2, 2), &quotas, 0).unwrap_err();
        assert_eq!(error, QuotaExceeded { quota: Quota::JobsWaiting, max: 3, used: 2, added: 2 });
        // The host's own promises have as much again.
        let own = cache.reserve(&shop, &growth(4, 0), &quotas, 0).unwrap();
        assert_eq!(cache.reserve(&shop, &growth(1, 0), &quotas, 0).unwrap_err().max, 6);
        // A unit that replaces a job needs no room, unless a plugin enqueues it.
        assert!(cache.reserve(&shop, &growth(0, 0), &quotas, 0).is_ok());
        assert!(cache.reserve(&shop, &growth(0, 1), &quotas, 0).is_err());
        drop((first, own));
        assert_eq!(cache.used(&shop).0, Usage::default());
        assert!(cache.reserve(&shop, &growth(3, 3), &quotas, 0).is_ok());
    }
}
