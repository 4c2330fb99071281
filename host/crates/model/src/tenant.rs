//! Who a thing belongs to: an app's shop, which is the tenant, and the partition that its work is done in.

use std::fmt;
use std::sync::Arc;

/// How many partitions shops and named queues hash onto. 64: enough to share evenly between a dozen hosts, few enough that one statement
/// renews all leases. Persisted: never change it.
pub const PARTITIONS: i64 = 64;

/// One installed store of an app: the tenant. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shop {
    /// The app's key.
    pub app: Arc<str>,
    /// Our id of the shop within the app.
    pub id: Arc<str>,
}

impl Shop {
    /// The shop `id` of `app`.
    pub fn new(app: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        Self { app: app.into(), id: id.into() }
    }

    /// The partition that the shop's jobs run in, but for those of a named queue.
    pub fn partition(&self) -> i64 {
        partition(&self.app, &self.id)
    }

    /// The partition that a job of the shop runs in. A named queue belongs to the app, so all of its jobs are in one
    /// partition, whose owner alone can count how many of them run.
    pub fn partition_of_job(&self, queue: Option<&str>) -> i64 {
        queue.map_or_else(|| self.partition(), |queue| partition(&self.app, queue))
    }
}

/// The partition of what an app calls so. Persisted: never change how it is computed.
fn partition(app: &str, name: &str) -> i64 {
    // FNV-1a, 64 bit; the zero byte keeps (`ab`, `c`) apart from (`a`, `bc`).
    let bytes = app.bytes().chain([0]).chain(name.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    // The low bits of FNV mix worse than the high ones.
    i64::try_from((hash ^ (hash >> 32)) % PARTITIONS.unsigned_abs()).unwrap_or_default()
}

impl fmt::Display for Shop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.id)
    }
}

/// A record's key within its shop.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    /// The model's name, for example `shopify/product`.
    pub model: Arc<str>,
    /// The record's id.
    pub id: Arc<str>,
}

impl RecordKey {
    /// The record `id` of `model`.
    pub fn new(model: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        Self { model: model.into(), id: id.into() }
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.model, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_in_one_partition_whoever_has_jobs_in_it() {
        let parts = |queue| -> Vec<i64> {
            (0..100).map(|id| Shop::new("app", id.to_string()).partition_of_job(queue)).collect()
        };
        let sync = Shop::new("app", "sync").partition();
        assert!(parts(Some("sync")).iter().all(|part| *part == sync));
        assert_ne!(Shop::new("other", "1").partition_of_job(Some("sync")), sync, "another app's");
        assert_eq!(parts(None)[7], Shop::new("app", "7").partition());
        assert!(parts(None).iter().any(|part| *part != sync));
    }

    #[test]
    fn shops_spread_evenly_and_stay_where_they_are() {
        let mut shops = vec![0; 64];
        for id in 0..6_400 {
            shops[usize::try_from(Shop::new("app", id.to_string()).partition()).unwrap()] += 1;
        }
        assert!(shops.iter().all(|count| (50..200).contains(count)), "{shops:?}");
        assert_ne!(Shop::new("ab", "c").partition(), Shop::new("a", "bc").partition());
        let known = [("tagger", "1"), ("tagger", "2"), ("", ""), ("Ä", "\u{0}")];
        assert_eq!(known.map(|(app, id)| Shop::new(app, id).partition()), [31, 6, 19, 52]);
    }
}
