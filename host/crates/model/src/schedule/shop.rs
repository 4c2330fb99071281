//! One shop: its lanes, its ready jobs by queue and rank, and the run time that it has had.

use std::collections::{BTreeSet, HashMap};

use super::parts::Parts;
use super::turns::{FULL, Place, RESTING, RUNNING, SATED, Turns};
use super::{Lane, Shares, Spot};
use crate::tenant::Shop;

/// After so many starts of a higher rank the shop's default rank gets one, although high ones are ready.
///
/// Strict priority would park the lower ranks for as long as a plugin keeps the higher one busy, which a loop does for
/// ever. One start in nine keeps them moving and costs the higher rank an eighth.
const DEFAULT_PASSED_OVER_MAX: u32 = 8;

/// The same for the low rank, which asked to wait: one start in seventeen.
const LOW_PASSED_OVER_MAX: u32 = 16;

/// What a job is expected to take before the shop has run any.
const ESTIMATE_US: u64 = 1_000;

/// What every job costs beyond its own time, so that jobs that do nothing are not free.
const OVERHEAD_US: u64 = 50;

/// How far a shop that could not run may fall behind the clock: one second of run time is caught up on, more is not. It was
/// the shop's own queue that was full; catching up on an hour would shut the others out.
const CREDIT_US_MAX: u64 = 1_000_000;

/// How far a shop may run ahead of the clock. A sync of fifteen minutes does not silence the shop's webhooks for as long as
/// it takes every other shop to use as much; its share of the slots bounds it anyway.
const DEBT_US_MAX: u64 = 60_000_000;

#[derive(Debug)]
pub(super) struct ShopState {
    pub(super) shop: Shop,
    pub(super) held: usize,
    pub(super) running: usize,
    /// Where the shop stands in the groups of its flows.
    pub(super) place: Place,
    virtual_us: u64,
    estimate_us: u64,
    /// Its ready jobs. A handful: one for each named queue and one for the rest.
    pub(super) flows: Vec<Flow>,
    pub(super) lanes: HashMap<Lane, LaneState>,
    pub(super) parts: Parts,
    /// Starts of higher ranks since each rank had its last.
    passed_over: [u32; 3],
}

/// The ready jobs of one group, by rank.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) group: u32,
    ready: [BTreeSet<i64>; 3],
}

#[derive(Debug, Default)]
pub(super) struct LaneState {
    pub(super) held: BTreeSet<i64>,
    pub(super) running: bool,
    /// The held job that is ready, or waits for its time.
    pub(super) front: Option<i64>,
    /// Whether it waits.
    pub(super) waiting: bool,
}

impl ShopState {
    pub(super) fn new(shop: Shop) -> Self {
        Self {
            shop,
            held: 0,
            running: 0,
            place: Place::default(),
            virtual_us: 0,
            estimate_us: ESTIMATE_US,
            flows: Vec::new(),
            lanes: HashMap::new(),
            parts: Parts::default(),
            passed_over: [0; 3],
        }
    }

    /// Whether nothing is known of the shop but the run time that it has had.
    pub(super) fn is_idle(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn virtual_us(&self) -> u64 {
        self.virtual_us
    }

    /// A job becomes ready.
    pub(super) fn add_ready(&mut self, id: u32, group: u32, rank: usize, seq: i64, shares: Shares, turns: &mut Turns) {
        if self.flows.is_empty() {
            // Back from idleness: neither credit for it, nor a debt forgiven.
            self.virtual_us = self.virtual_us.max(turns.virtual_us);
            self.place = self.place_now(shares);
        }
        let at = self.flows.iter().position(|flow| flow.group == group).unwrap_or_else(|| {
            self.flows.push(Flow { group, ready: <[BTreeSet<i64>; 3]>::default() });
            turns.insert(group, self.place, id);
            self.flows.len() - 1
        });
        self.flows[at].ready[rank].insert(seq);
    }

    /// A ready job is no longer ready.
    pub(super) fn remove_ready(&mut self, id: u32, group: u32, rank: usize, seq: i64, turns: &mut Turns) {
        let Some(at) = self.flows.iter().position(|flow| flow.group == group) else { return };
        self.flows[at].ready[rank].remove(&seq);
        if self.flows[at].ready.iter().all(BTreeSet::is_empty) {
            self.flows.swap_remove(at);
            turns.remove(group, self.place, id);
        }
    }

    /// Which of the shop's ready jobs goes first, among those whose queues admit one.
    pub(super) fn choose(&self, turns: &Turns) -> Option<(usize, i64)> {
        let mut first = [None; 3];
        for flow in self.flows.iter().filter(|flow| turns.is_open(flow.group)) {
            for (first, ready) in first.iter_mut().zip(&flow.ready) {
                *first = [*first, ready.first().copied()].into_iter().flatten().min();
            }
        }
        let overdue = [(2, LOW_PASSED_OVER_MAX), (1, DEFAULT_PASSED_OVER_MAX)];
        let overdue = overdue.into_iter().filter(|(rank, max)| self.passed_over[*rank] >= *max).map(|(rank, _)| rank);
        overdue.chain(0..3).find_map(|rank| Some((rank, first[rank]?)))
    }

    /// A job starts. Returns what the shop is charged for it until its time is known.
    pub(super) fn start(&mut self, spot: Spot, turns: &mut Turns) -> u64 {
        self.passed_over[spot.rank] = 0;
        for lower in spot.rank + 1..3 {
            // Ranks without ready jobs are not passed over, or their first would jump ahead.
            let waits = self.flows.iter().any(|flow| !flow.ready[lower].is_empty());
            self.passed_over[lower] = if waits { self.passed_over[lower].saturating_add(1) } else { 0 };
        }
        self.running += 1;
        self.parts.part(spot.part).running += 1;
        let start = self.virtual_us.max(turns.virtual_us.saturating_sub(CREDIT_US_MAX));
        turns.virtual_us = turns.virtual_us.max(start);
        self.virtual_us = start.saturating_add(self.estimate_us);
        self.estimate_us
    }

    /// A job has ended after `ran_us`, for which `charged_us` was charged.
    pub(super) fn end(&mut self, spot: Spot, ran_us: u64, charged_us: u64, turns: &Turns) {
        self.running -= 1;
        self.parts.part(spot.part).running -= 1;
        let cost = ran_us.saturating_add(OVERHEAD_US);
        let settled = self.virtual_us.saturating_sub(charged_us).saturating_add(cost);
        self.virtual_us = settled.min(turns.virtual_us.saturating_add(DEBT_US_MAX));
        // The last eight or so jobs tell what the next will take.
        self.estimate_us = self.estimate_us - self.estimate_us / 8 + (cost / 8).min(DEBT_US_MAX);
    }

    /// Brings the shop to where it belongs in all its groups.
    pub(super) fn replace(&mut self, id: u32, shares: Shares, turns: &mut Turns) {
        let place = self.place_now(shares);
        if place == self.place {
            return;
        }
        for flow in &self.flows {
            turns.remove(flow.group, self.place, id);
            turns.insert(flow.group, place, id);
        }
        self.place = place;
    }

    fn place_now(&self, shares: Shares) -> Place {
        let tier = match self.running {
            0 => RESTING,
            running if running >= shares.most => FULL,
            running if running < shares.fair => RUNNING,
            _ => SATED,
        };
        Place { tier, virtual_us: self.virtual_us }
    }
}
