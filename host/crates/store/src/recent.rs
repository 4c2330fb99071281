//! Deliveries that have just been kept, for whoever processes them at once: nobody reads from the database, decompresses and
//! checks what the same process had in its hands a moment ago.
//!
//! Each is handed out once. What is pushed out, or asked for again, is read from the database.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::inbox::Delivery;

/// Bytes that are kept in mind. 4 MiB: some 400 usual webhooks, more than wait for a host that keeps up; one that does not
/// has to read anyway.
const RECENT_BYTES_MAX: usize = 4 << 20;

/// What a delivery takes beside its body and its headers, in bytes. 1 KiB: ids, topic, shop, and two places in lists.
const RECENT_ENTRY_BYTES: usize = 1 << 10;

#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    deliveries: HashMap<i64, Delivery>,
    /// In the order in which they came; some may be handed out already.
    order: VecDeque<(i64, usize)>,
    /// Of all that are in `order`.
    bytes: usize,
}

impl Recent {
    pub(crate) fn put(&self, delivery: Delivery) {
        let bytes = delivery.body.len() + delivery.headers.as_str().len() + RECENT_ENTRY_BYTES;
        if bytes > RECENT_BYTES_MAX {
            return;
        }
        let mut kept = self.lock();
        kept.bytes += bytes;
        kept.order.push_back((delivery.seq, bytes));
        kept.deliveries.insert(delivery.seq, delivery);
        kept.shrink();
    }

    pub(crate) fn take(&self, seq: i64) -> Option<Delivery> {
        self.lock().deliveries.remove(&seq)
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Forgets those at the front that are handed out, and more until the others fit.
    fn shrink(&mut self) {
        while let Some((seq, bytes)) = self.order.front().copied() {
            if self.bytes <= RECENT_BYTES_MAX && self.deliveries.contains_key(&seq) {
                break;
            }
            self.order.pop_front();
            self.bytes -= bytes;
            self.deliveries.remove(&seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use tradewind_model::{Json, Shop};

    use super::*;

    fn delivery(seq: i64, bytes: usize) -> Delivery {
        Delivery {
            seq,
            shop: Shop::new("app", "shop"),
            platform: "shopify".to_owned(),
            webhook_id: seq.to_string(),
            topic: "products/update".to_owned(),
            event_id: None,
            lane: None,
            received_ms: 0,
            triggered_ms: None,
            headers: Json::object([]),
            body: vec![0; bytes],
            body_bytes: bytes as u64,
        }
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded_and_handed_out_once() {
        let recent = Recent::default();
        recent.put(delivery(1, 10));
        assert_eq!(recent.take(1), Some(delivery(1, 10)));
        assert_eq!(recent.take(1), None);
        for seq in 2..6 {
            recent.put(delivery(seq, RECENT_BYTES_MAX / 3));
        }
        assert_eq!([2, 3, 4, 5].map(|seq| recent.take(seq).is_some()), [false, false, true, true]);
        recent.put(delivery(6, RECENT_BYTES_MAX));
        assert_eq!(recent.take(6), None);
        // Small ones take their place too.
        for seq in 10_000..20_000 {
            recent.put(delivery(seq, 1));
        }
        assert!(recent.lock().deliveries.len() <= RECENT_BYTES_MAX / RECENT_ENTRY_BYTES);
        // What was handed out leaves its room to others.
        for seq in 7..1_000 {
            recent.put(delivery(seq, RECENT_BYTES_MAX / 4));
            assert!(recent.take(seq).is_some());
        }
        let kept = recent.lock();
        assert!(kept.order.len() <= 5 && kept.bytes <= RECENT_BYTES_MAX && kept.deliveries.len() <= 1, "{kept:?}");
    }
}
