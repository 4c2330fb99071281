//! Whether what a piece of work was decided on still holds.
//!
//! The commit checks it: records that were read by their id by their versions, queries by a watch that is registered before
//! they are executed. Work that ends with an error is not committed, and is asked here: what it saw may have been half of
//! somebody else's change, and then it failed for nothing that is so.

use tradewind_model::query::{PAGE_MAX, Query};
use tradewind_model::{ActionError, RecordKey};
use tradewind_store::{CommitError, Store, Unit, Watch};

use super::context::Host;
use super::lines::{Place, Places, place_of};
use super::work::{Shared, Spoiled, internal};

impl Shared {
    /// Remembers a query that is about to be executed.
    pub(crate) fn watch(&self, store: &Store, model: &str, query: &Query, counts: bool) {
        let mut work = self.lock();
        let shop = work.shop.clone();
        work.watch.get_or_insert_with(|| store.watch(&shop)).add(model, query, counts);
    }

    /// What was read and is not so any more; nothing while all of it holds.
    pub(crate) async fn outdated(&self, host: &Host) -> Result<Places, ActionError> {
        let store = &host.store;
        let (shop, watch, read) = {
            let work = self.lock();
            let version = |stored: Option<&tradewind_store::Stored>| stored.map(|stored| stored.version);
            let read: Vec<(RecordKey, Option<i64>)> =
                work.seen.iter().map(|(key, stored)| (key.clone(), version(stored.as_ref()))).collect();
            (work.shop.clone(), work.watch.clone(), read)
        };
        if watch.is_some() {
            // What was read may have been committed a moment ago, and watches are marked after a commit. The shop's writer
            // takes its units in order, so they are when it has taken one more.
            let nothing = Unit::new(shop.clone(), host.now_ms());
            store.commit(nothing).await.map_err(|error| self.not_known(&error))?;
        }
        let mut places = Places::new();
        let is_read = |key: &RecordKey| read.iter().any(|(read, _)| read == key);
        places.extend(watch.as_ref().and_then(Watch::outdated).map(|outdated| place_of(outdated, is_read)));
        for read in read.chunks(PAGE_MAX) {
            let keys: Vec<_> = read.iter().map(|(key, _)| key.clone()).collect();
            let stored = store.records(&shop, &keys).await.map_err(|error| self.store_failed(&error))?;
            let is_other = |((_, version), stored): &(&(RecordKey, Option<i64>), Option<tradewind_store::Stored>)| {
                *version != stored.as_ref().map(|stored| stored.version)
            };
            let changed = read.iter().zip(stored).filter(is_other);
            places.extend(changed.map(|((key, _), _)| (Place::Record(key.clone()), None)));
        }
        Ok(places)
    }

    /// Spoils the unit: it cannot be said whether what it was decided on holds.
    fn not_known(&self, error: &CommitError) -> ActionError {
        let answer = internal(error);
        self.lock().spoil(Spoiled::Store(answer.message.clone()));
        answer
    }
}
