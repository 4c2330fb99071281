//! Bounds of what a unit of work reads, and the errors that a plugin gets for them.

use tradewind_model::{ActionError, RecordKey, code};
use tradewind_store::{StoreError, Stored};

use super::work::{Shared, UNIT_BYTES_MAX, Work, too_much};

/// Bytes of documents that one unit of work may read by id, which it keeps until it is committed. 128 MiB: what
/// [`UNIT_BYTES_MAX`] replaces, and as much again.
pub const UNIT_READ_BYTES_MAX: usize = 2 * UNIT_BYTES_MAX;

impl Shared {
    /// Returns the plugin's error for a query that failed. A query that reached a limit of its own leaves the unit as it was; any
    /// other failure is the store's.
    pub(crate) fn query_failed(&self, error: &StoreError) -> ActionError {
        match error {
            StoreError::Query(limit) if limit.is_retryable() => {
                ActionError::retryable(code::TIMED_OUT, limit.to_string())
            }
            StoreError::Query(limit) => ActionError::permanent(code::INVALID_ARGUMENT, limit.to_string()),
            error => self.store_failed(error),
        }
    }
}

impl Work {
    /// Keeps what was read of a record. Somebody in the same unit may have read it meanwhile: the first reading counts.
    pub(super) fn read(&mut self, key: &RecordKey, stored: Option<Stored>) -> Result<(), ActionError> {
        if self.seen.contains_key(key) {
            return Ok(());
        }
        let bytes = self.seen_bytes + stored.as_ref().map_or(0, |stored| stored.doc.as_str().len());
        if bytes > UNIT_READ_BYTES_MAX {
            return Err(too_much(UNIT_READ_BYTES_MAX, "reads by id at most", "bytes (`unit_read_bytes_max`)"));
        }
        self.seen_bytes = bytes;
        self.seen.insert(key.clone(), stored);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tradewind_model::{Json, Shop};
    use tradewind_store::QueryLimit;

    use super::*;
    use crate::pipeline::work::Spoiled;

    fn unit() -> Shared {
        Shared::new(Shop::new("app", "shop"), 0)
    }

    fn key(id: usize) -> RecordKey {
        RecordKey::new("thing", id.to_string())
    }

    #[test]
    fn what_a_unit_reads_is_bounded() {
        let work = unit();
        let doc = Json::parse(format!("\"{}\"", "x".repeat(8 << 20))).unwrap();
        let stored = Stored { version: 1, doc, platform_updated_us: None, created_ms: 0, updated_ms: 0 };
        let fit = UNIT_READ_BYTES_MAX / stored.doc.as_str().len();
        for id in 0..fit {
            work.lock().read(&key(id), Some(stored.clone())).unwrap();
            work.lock().read(&key(id), Some(stored.clone())).unwrap();
        }
        let error = work.lock().read(&key(fit), Some(stored.clone())).unwrap_err();
        assert!(error.message.contains("`unit_read_bytes_max`") && !error.retryable, "{error:?}");
        work.lock().read(&key(fit), None).unwrap();
        work.take();
        work.lock().read(&key(fit), Some(stored)).unwrap();
    }

    #[test]
    fn a_query_at_its_limit_spoils_nothing() {
        let work = unit();
        for (limit, code, retryable) in [
            (QueryLimit::Time { ms_max: 2_000 }, code::TIMED_OUT, true),
            (QueryLimit::Resources { reason: "x".to_owned() }, code::TIMED_OUT, true),
            (QueryLimit::Waiting { max: 256 }, code::TIMED_OUT, true),
            (QueryLimit::Steps { max: 1 }, code::INVALID_ARGUMENT, false),
            (QueryLimit::ResultBytes { max: 1 }, code::INVALID_ARGUMENT, false),
            (QueryLimit::Refused { reason: "x".to_owned() }, code::INVALID_ARGUMENT, false),
        ] {
            let error = work.query_failed(&StoreError::Query(limit));
            assert_eq!((error.code.as_str(), error.retryable), (code, retryable), "{error}");
        }
        assert!(work.spoiled().is_none());
        work.query_failed(&StoreError::Closed);
        assert!(matches!(work.spoiled(), Some(Spoiled::Store(_))));
    }
}
