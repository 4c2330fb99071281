//! How jobs come in: fresh from a commit, or read back from the database.

use super::window::{self, Asked};
use super::{Head, Offered, Scan, Schedule, ShopState, Spot, Strand};
use crate::job_options::Priority;
use crate::tenant::Shop;

/// A read that the schedule wants: the queued jobs of one shop, partition and rank with `seq >= from_seq`, in the order of
/// `seq`, the first `rows` of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refill {
    /// Whose jobs.
    pub shop: Shop,
    /// In which partition.
    pub part: i64,
    /// Of which rank.
    pub rank: Priority,
    /// The least number.
    pub from_seq: i64,
    /// How many rows to read at most.
    pub rows: usize,
    ticket: u64,
}

/// What a refill brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refilled {
    /// Jobs that are now held.
    pub held: usize,
    /// Jobs that were held or running, or have ended since the read.
    pub known: usize,
    /// Jobs that a later refill will find again.
    pub spilled: usize,
}

impl Refill {
    fn spot(&self) -> Spot {
        Spot { part: self.part, rank: usize::from(self.rank.rank()) }
    }
}

/// What became of one row.
enum Admitted {
    Held,
    Refused,
    /// The window has no room for any row.
    Full,
}

impl<T> Schedule<T> {
    /// Offers a job that this host has just committed, so that nobody reads it back. Refused when the shop has jobs of its
    /// rank that were not read yet: they come first, and a refill brings this one in its turn.
    ///
    /// The shops with jobs in a partition are made known by [`Self::rescan`] before anything is offered for them.
    pub fn offer_fresh(&mut self, head: Head<T>) -> Offered {
        let seq = head.seq;
        if self.held.contains_key(&seq) || self.running.contains_key(&seq) {
            return Offered::Known;
        }
        let id = self.shop_id(&head.shop);
        let spot = head.spot();
        let admitted = if self.shop(id).parts.window(spot).unread.is_some() {
            Admitted::Full
        } else {
            self.admit(id, head, &mut Scan::alone())
        };
        if matches!(admitted, Admitted::Held) {
            return Offered::Held;
        }
        if matches!(admitted, Admitted::Full) {
            self.shop(id).parts.window(spot).note_unread(seq);
        }
        self.moved(id, spot, None, None);
        Offered::Spilled
    }

    /// Somebody committed a job that was not offered here, or there may be some from `from_seq` on.
    pub fn more(&mut self, part: i64, shop: &Shop, rank: Priority, from_seq: i64) {
        let id = self.shop_id(shop);
        let spot = Spot { part, rank: usize::from(rank.rank()) };
        self.shop(id).parts.window(spot).note_unread(from_seq);
        self.moved(id, spot, None, None);
    }

    /// [`Self::more`] for all ranks: in a partition that has just become this host's, from the least number on; from time to
    /// time, for numbers that became visible only after higher ones had been read, from what was the greatest number before
    /// the longest transaction can have begun.
    pub fn rescan(&mut self, part: i64, shop: &Shop, from_seq: i64) {
        for rank in Priority::ALL {
            self.more(part, shop, rank, from_seq);
        }
    }

    /// The reads that are wanted, at most `limit`. Each is answered by [`Self::refill`] or [`Self::unanswered`], and not
    /// asked for again before.
    pub fn hungry(&mut self, limit: usize) -> Vec<Refill> {
        let mut refills = Vec::new();
        while refills.len() < limit {
            let Some((id, spot)) = self.hungry.pop_front() else { break };
            let tight = self.is_tight();
            let shop = &mut self.shops[id as usize];
            let Some(window) = shop.parts.known(spot) else { continue };
            window.listed = false;
            if !window.is_hungry(tight) {
                continue;
            }
            self.tickets += 1;
            let Some(from_seq) = window.ask(self.tickets) else {
                self.moved(id, spot, None, None);
                continue;
            };
            let rows = if tight { window::HELD_PER_RANK_TIGHT } else { window::REFILL_ROWS_MAX };
            let (shop, part, rank) = (shop.shop.clone(), spot.part, Priority::ALL[spot.rank]);
            refills.push(Refill { shop, part, rank, from_seq, rows, ticket: self.tickets });
        }
        refills
    }

    /// The answer to a refill: its rows in the order of their numbers, and whether there were no more. An answer that nobody
    /// waits for any longer, because the partition was dropped meanwhile or rows before it turned up, changes nothing.
    pub fn refill(&mut self, refill: &Refill, heads: Vec<Head<T>>, end: bool) -> Refilled {
        let mut refilled = Refilled::default();
        let spot = refill.spot();
        let Some((id, Asked { gone, let_go, since, .. })) = self.answered(refill) else { return refilled };
        if self.shop(id).parts.window(spot).is_beyond_unread(refill.from_seq) {
            self.reread(id, spot, since);
            return refilled;
        }
        let mut scan = Scan::new(refill.from_seq);
        let last = heads.last().map(|head| head.seq);
        let mut to = last.filter(|_| !end).unwrap_or(i64::MAX);
        for head in heads {
            let seq = head.seq;
            if self.held.contains_key(&seq) || self.running.contains_key(&seq) || gone.contains(&seq) {
                refilled.known += 1;
                continue;
            }
            let admitted = match &head.lane {
                Some(lane) if let_go.contains(&seq) => {
                    self.refuse(id, spot, &Strand::Lane(lane.clone()), seq, &mut scan)
                }
                _ => self.admit(id, head, &mut scan),
            };
            match admitted {
                Admitted::Held => refilled.held += 1,
                Admitted::Refused => refilled.spilled += 1,
                Admitted::Full => {
                    refilled.spilled += 1;
                    to = seq - 1;
                    break;
                }
            }
        }
        self.shop(id).parts.window(spot).covered(&scan, to, since);
        self.relist(id, spot);
        self.moved(id, spot, None, None);
        refilled
    }

    /// The read failed: it will be asked for again.
    pub fn unanswered(&mut self, refill: &Refill) {
        if let Some((id, Asked { since, .. })) = self.answered(refill) {
            self.reread(id, refill.spot(), since);
        }
    }

    /// A read taught nothing.
    fn reread(&mut self, id: u32, spot: Spot, since: Option<i64>) {
        if let Some(since) = since {
            self.shop(id).parts.window(spot).note_unread(since);
        }
        self.relist(id, spot);
        self.moved(id, spot, None, None);
    }

    fn answered(&mut self, refill: &Refill) -> Option<(u32, Asked)> {
        let id = *self.ids.get(&refill.shop)?;
        let window = self.shop(id).parts.known(refill.spot())?;
        Some((id, window.answered(refill.ticket)?))
    }

    /// Strands that are still behind a spill, with little left, are to be read again.
    fn relist(&mut self, id: u32, spot: Spot) {
        let shop = &mut self.shops[id as usize];
        let window = shop.parts.window(spot);
        for strand in window.spilled() {
            match strand {
                Strand::Queue(queue) => window.queue_drains(&queue),
                Strand::Lane(key) => {
                    let lane = shop.lanes.get(&key).map(|lane| (lane.held.len(), lane.waiting));
                    if let (held, false) = lane.unwrap_or_default() {
                        window.lane_drains(&key, held);
                    }
                }
            }
        }
    }

    /// Holds a job if its window, its lane and its queue have room for it and none is missing before it.
    fn admit(&mut self, id: u32, head: Head<T>, scan: &mut Scan) -> Admitted {
        let (seq, spot, tight) = (head.seq, head.spot(), self.is_tight());
        let due = head.not_before_ms <= self.now_ms;
        let shop = &mut self.shops[id as usize];
        let window = shop.parts.window(spot);
        if window.is_full(tight) {
            return Admitted::Full;
        }
        let lane = head.lane.clone();
        let lane_strand = lane.clone().map(Strand::Lane);
        let mut evict = None;
        if let (Some(lane), Some(strand)) = (&lane, &lane_strand) {
            let state = shop.lanes.get(lane);
            let max = if state.is_some_and(|lane| lane.waiting) { 1 } else { window.lane_max() };
            let full = state.is_some_and(|lane| lane.held.len() >= max);
            let last = state.and_then(|lane| lane.held.last().copied()).filter(|last| *last > seq);
            let behind = window.is_behind_spill(strand, seq, scan);
            if behind || (full && last.is_none()) {
                return self.refuse(id, spot, strand, seq, scan);
            }
            evict = last.filter(|_| full);
        }
        // A job that is not due takes no place among its queue's.
        if let Some(queue) = head.queue_name().filter(|_| due) {
            let strand = Strand::Queue(queue.clone());
            if window.is_behind_spill(&strand, seq, scan) || window.is_queue_full(queue) {
                return self.refuse(id, spot, &strand, seq, scan);
            }
        }
        if let (Some(last), Some(lane), Some(strand)) = (evict, &lane, lane_strand) {
            // It was seen late and comes before others of its lane: the last of them gives way.
            self.shed(id, spot, lane, last);
            scan.refuse(strand);
        }
        self.hold(id, head);
        Admitted::Held
    }

    /// Refuses a row on account of its lane or its queue, and remembers it there. A lane lets go of what it holds beyond: its
    /// order has no gaps.
    fn refuse(&mut self, id: u32, spot: Spot, by: &Strand, seq: i64, scan: &mut Scan) -> Admitted {
        let window = self.shop(id).parts.window(spot);
        if !window.may_spill(by, seq) {
            return Admitted::Full;
        }
        window.spill(by, seq, scan);
        if let Strand::Lane(lane) = by {
            self.shed(id, spot, lane, seq);
        }
        Admitted::Refused
    }

    /// The shop's state, made when there is none.
    fn shop_id(&mut self, shop: &Shop) -> u32 {
        if let Some(id) = self.ids.get(shop) {
            return *id;
        }
        let state = ShopState::new(shop.clone());
        let id = if let Some(id) = self.free.pop() {
            self.shops[id as usize] = state;
            id
        } else {
            self.shops.push(state);
            u32::try_from(self.shops.len() - 1).unwrap_or(u32::MAX)
        };
        self.ids.insert(shop.clone(), id);
        id
    }

    /// A shop has nothing left. It is remembered only while it is ahead of the clock of fairness, or it would be
    /// forgiven what it has had by coming back.
    pub(super) fn retire(&mut self, id: u32) {
        let virtual_us = self.shop(id).virtual_us();
        self.idle.insert((virtual_us, id));
        if self.running.is_empty() && self.held.is_empty() {
            // Nobody is there to be fair to.
            let last = self.idle.last().map_or(0, |(virtual_us, _)| *virtual_us);
            self.turns.virtual_us = self.turns.virtual_us.max(last);
        }
        self.clear_idle();
    }

    /// Forgets the idle shops that the clock of fairness has reached.
    pub(super) fn clear_idle(&mut self) {
        while let Some((virtual_us, id)) = self.idle.first().copied()
            && (virtual_us <= self.turns.virtual_us || self.idle.len() > super::IDLE_SHOPS_MAX)
        {
            self.idle.pop_first();
            if self.shop(id).is_idle() {
                self.remove_shop(id);
            }
        }
    }

    pub(super) fn remove_shop(&mut self, id: u32) {
        let shop = &self.shops[id as usize];
        self.idle.remove(&(shop.virtual_us(), id));
        if self.ids.remove(&shop.shop).is_some() {
            self.free.push(id);
        }
        self.shops[id as usize] = ShopState::new(Shop::new("", ""));
    }
}
