//! Whose turn it is: units wait shop by shop, and each batch takes from the shops in turn.
//!
//! A shop that hands over a thousand units at once fills no batch with them: whoever comes next with a single unit waits
//! for a batch of a few, and rides in the one after it. A batch that would be small takes more of whoever is there. A unit that
//! may not ride with one that is in the batch holds back its own shop alone.

use std::collections::{HashMap, VecDeque};

use tradewind_model::Shop;

/// What a batch says to a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ride {
    /// It rides along.
    Taken,
    /// It depends on a unit of this batch, and waits for the next.
    Depends,
    /// The batch is full.
    Full,
}

/// What waits, shop by shop, and the order of the shops.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    waiting: HashMap<Shop, VecDeque<T>>,
    /// Each shop of `waiting` once; the first is the next.
    order: VecDeque<Shop>,
    of_shop_max: usize,
    few: usize,
}

impl<T> Turns<T> {
    /// Of one shop, a batch takes `of_shop_max` at most; more only as long as it has fewer than `few` in all.
    pub(crate) fn new(of_shop_max: usize, few: usize) -> Self {
        Self { waiting: HashMap::new(), order: VecDeque::new(), of_shop_max, few }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn push(&mut self, shop: &Shop, item: T) {
        if let Some(queue) = self.waiting.get_mut(shop) {
            queue.push_back(item);
            return;
        }
        self.waiting.insert(shop.clone(), VecDeque::from([item]));
        self.order.push_back(shop.clone());
    }

    /// The next batch: one of each shop, then another of each, until nobody has more that may ride, or as many as one shop may
    /// have and the batch is no small one.
    pub(crate) fn next_batch(&mut self, mut ride: impl FnMut(&T) -> Ride) -> Vec<T> {
        let mut batch = Vec::new();
        let mut held_back = VecDeque::new();
        'rounds: for round in 0.. {
            if self.order.is_empty() {
                break;
            }
            for _ in 0..self.order.len() {
                if round >= self.of_shop_max && batch.len() >= self.few {
                    break 'rounds;
                }
                let Some(shop) = self.order.pop_front() else { break 'rounds };
                let Some(queue) = self.waiting.get_mut(&shop) else { continue };
                match queue.front().map_or(Ride::Taken, &mut ride) {
                    Ride::Taken => batch.extend(queue.pop_front()),
                    Ride::Depends => {
                        held_back.push_back(shop);
                        continue;
                    }
                    Ride::Full => {
                        self.order.push_front(shop);
                        break 'rounds;
                    }
                }
                if queue.is_empty() {
                    self.waiting.remove(&shop);
                } else {
                    self.order.push_back(shop);
                }
            }
        }
        // What they wait for is in this batch, so they are first in the next.
        held_back.append(&mut self.order);
        self.order = held_back;
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Units of shops, each a letter and a number; a batch of at most `full`, in which no number comes twice.
    fn batches(units: &[(&str, u32)], (of_shop_max, few): (usize, usize), full: usize) -> Vec<String> {
        let mut turns = Turns::new(of_shop_max, few);
        for (shop, number) in units {
            turns.push(&Shop::new("app", *shop), format!("{shop}{number}"));
        }
        let mut batches = Vec::new();
        while !turns.is_empty() {
            let (mut count, mut seen) = (0, Vec::new());
            let batch = turns.next_batch(|unit| {
                let number = unit[1..].to_owned();
                if count == full {
                    Ride::Full
                } else if seen.contains(&number) {
                    Ride::Depends
                } else {
                    count += 1;
                    seen.push(number);
                    Ride::Taken
                }
            });
            assert!(!batch.is_empty(), "{batches:?}");
            batches.push(batch.join(" "));
        }
        batches
    }

    #[test]
    fn a_shop_with_many_units_leaves_room_for_one_with_a_single_one() {
        let units = [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("a", 5), ("b", 6)];
        assert_eq!(batches(&units, (2, 0), 9), ["a1 b6 a2", "a3 a4", "a5"]);
    }

    #[test]
    fn a_shop_that_is_nearly_alone_fills_a_batch_of_a_few() {
        let units = [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("a", 5), ("b", 6), ("b", 7)];
        assert_eq!(batches(&units, (1, 4), 9), ["a1 b6 a2 b7", "a3 a4 a5"]);
        assert_eq!(batches(&units, (1, 5), 9), ["a1 b6 a2 b7 a3", "a4 a5"]);
        assert_eq!(batches(&units, (2, 3), 9), ["a1 b6 a2 b7", "a3 a4 a5"]);
    }

    #[test]
    fn a_full_batch_goes_on_where_it_ended() {
        let units = [("a", 1), ("a", 2), ("b", 3), ("b", 4), ("c", 5), ("c", 6)];
        assert_eq!(batches(&units, (9, 0), 2), ["a1 b3", "c5 a2", "b4 c6"]);
    }

    #[test]
    fn a_unit_that_depends_holds_back_its_own_shop_and_goes_first_after() {
        let units = [("a", 1), ("a", 1), ("a", 2), ("b", 3), ("b", 4)];
        assert_eq!(batches(&units, (9, 0), 9), ["a1 b3 b4", "a1 a2"]);
    }
}
