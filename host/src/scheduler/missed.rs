//! What could not be told to the driver, until it has the database read for it.
//!
//! Whoever offers a record's jobs one after the other is served in that order. When one offer does not fit among the messages
//! and the next one does, the later job must not start first. So what did not fit is noted here before anything later can
//! be sent, and the driver looks here before it takes in an offer: from the noted row on, the shop's jobs count as unread,
//! and those that are offered wait until they come in their order from the database.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tradewind_model::Shop;

/// The first row of each shop and partition that was not told. Not larger than what one moment of a driver that is behind
/// brings: an entry for each shop.
#[derive(Debug, Default)]
pub(super) struct Missed {
    /// Whether there is any: the driver asks all the time.
    some: AtomicBool,
    from: Mutex<BTreeMap<(i64, Shop), i64>>,
}

impl Missed {
    /// Jobs of the shop in the partition were not told of, from this number on.
    pub(super) fn add(&self, part: i64, shop: &Shop, seq: i64) {
        let mut from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        from.entry((part, shop.clone())).and_modify(|first| *first = seq.min(*first)).or_insert(seq);
        self.some.store(true, Ordering::Release);
    }

    /// Takes out what was added since.
    pub(super) fn take(&self) -> BTreeMap<(i64, Shop), i64> {
        if !self.some.swap(false, Ordering::Acquire) {
            return BTreeMap::new();
        }
        std::mem::take(&mut *self.from.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
