//! Whose turn it is: shops by the run time that they have had, within the queues that still admit a job.
//!
//! Start-time fair queueing. A shop's virtual time is the run time that it has used; the shop with the least goes first. Not
//! round robin and not deficit round robin: both count jobs, or need to know a job's cost before it runs, and a shop with slow
//! jobs would take the workers from one with fast jobs. The clock of the whole, `virtual_us`, is the virtual time of the
//! last job started; a shop that comes back from idleness starts there, so that it has saved up nothing.
//!
//! Shops stand in the groups that they have ready jobs in: one group for jobs without a queue, one for each queue. A full
//! queue closes its group as a whole, so that a hundred thousand shops that wait for one queue cost a start nothing.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::job_options::QueueName;

/// Shops by what they run at the moment: nothing, less than their share, their share or more, all that they may.
pub(super) const TIERS: usize = 4;
/// The tier of shops that run nothing.
pub(super) const RESTING: usize = 0;
/// The tier of shops that run something, but less than their share.
pub(super) const RUNNING: usize = 1;
/// The tier of shops that have their share, and wait while others have work.
pub(super) const SATED: usize = 2;
/// The tier of shops that have all that they may, and wait for one of their own jobs to end.
pub(super) const FULL: usize = 3;

/// The group of the jobs without a queue.
pub(super) const NO_QUEUE: u32 = 0;

/// Where a shop stands in each of its groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) tier: usize,
    pub(super) virtual_us: u64,
}

/// The order of the shops.
#[derive(Debug)]
pub(super) struct Turns {
    /// The clock of fairness: the virtual time at which the last job started.
    pub(super) virtual_us: u64,
    groups: Vec<Group>,
    free: Vec<u32>,
    names: HashMap<(Arc<str>, QueueName), u32>,
    /// The first of each open group, by tier: virtual time, shop, group.
    first: [BTreeSet<(u64, u32, u32)>; TIERS],
}

#[derive(Debug, Default)]
struct Group {
    key: Option<(Arc<str>, QueueName)>,
    bound: u32,
    /// The newest job that named a bound: its word counts.
    bound_seq: i64,
    running: u32,
    /// Jobs of the group that are held or running; the group goes with the last.
    jobs: usize,
    shops: [BTreeSet<(u64, u32)>; TIERS],
    /// What of this group stands in `Turns::first`.
    shown: [Option<(u64, u32)>; TIERS],
}

impl Turns {
    pub(super) fn new() -> Self {
        let unbound = Group { bound: u32::MAX, ..Group::default() };
        Self {
            virtual_us: 0,
            groups: vec![unbound],
            free: Vec::new(),
            names: HashMap::new(),
            first: <[BTreeSet<_>; TIERS]>::default(),
        }
    }

    /// The group of a queue, which one more job now belongs to.
    pub(super) fn join(&mut self, app: &Arc<str>, queue: Option<(&QueueName, u32)>, seq: i64) -> u32 {
        let Some((name, bound)) = queue else { return NO_QUEUE };
        let key = (Arc::clone(app), name.clone());
        let id = self.names.get(&key).copied().unwrap_or_else(|| {
            let id = self.free.pop().unwrap_or_else(|| {
                self.groups.push(Group::default());
                u32::try_from(self.groups.len() - 1).unwrap_or(u32::MAX)
            });
            *self.group(id) = Group { key: Some(key.clone()), bound_seq: i64::MIN, ..Group::default() };
            self.names.insert(key, id);
            id
        });
        let group = self.group(id);
        group.jobs += 1;
        if seq >= group.bound_seq {
            (group.bound_seq, group.bound) = (seq, bound.max(1));
            self.show(id);
        }
        id
    }

    /// One job of the group is no more.
    pub(super) fn part(&mut self, id: u32) {
        if id == NO_QUEUE {
            return;
        }
        let group = self.group(id);
        group.jobs -= 1;
        if group.jobs == 0 {
            let key = group.key.take();
            key.and_then(|key| self.names.remove(&key));
            self.free.push(id);
        }
    }

    /// A shop has ready jobs in the group.
    pub(super) fn insert(&mut self, id: u32, place: Place, shop: u32) {
        self.group(id).shops[place.tier].insert((place.virtual_us, shop));
        self.show(id);
    }

    /// A shop has no ready jobs in the group any more, or stands elsewhere.
    pub(super) fn remove(&mut self, id: u32, place: Place, shop: u32) {
        self.group(id).shops[place.tier].remove(&(place.virtual_us, shop));
        self.show(id);
    }

    pub(super) fn started(&mut self, id: u32) {
        self.group(id).running += 1;
        self.show(id);
    }

    pub(super) fn ended(&mut self, id: u32) {
        self.group(id).running -= 1;
        self.show(id);
    }

    /// Whether one more job of the group may run.
    pub(super) fn is_open(&self, id: u32) -> bool {
        let group = &self.groups[id as usize];
        group.running < group.bound
    }

    /// The shop whose turn it is; of those that run nothing when only they may.
    pub(super) fn first(&self, resting_only: bool) -> Option<u32> {
        let first = |tier: usize| self.first[tier].first();
        let resting = first(RESTING);
        if resting_only {
            return resting.map(|(_, shop, _)| *shop);
        }
        let hungry = resting.into_iter().chain(first(RUNNING)).min();
        hungry.or_else(|| first(SATED)).map(|(_, shop, _)| *shop)
    }

    /// Brings the group's first shops up to date in the order of all groups.
    fn show(&mut self, id: u32) {
        let group = &mut self.groups[id as usize];
        let open = group.running < group.bound;
        for tier in 0..TIERS {
            let wanted = if open { group.shops[tier].first().copied() } else { None };
            if wanted == group.shown[tier] {
                continue;
            }
            if let Some((virtual_us, shop)) = group.shown[tier] {
                self.first[tier].remove(&(virtual_us, shop, id));
            }
            if let Some((virtual_us, shop)) = wanted {
                self.first[tier].insert((virtual_us, shop, id));
            }
            group.shown[tier] = wanted;
        }
    }

    fn group(&mut self, id: u32) -> &mut Group {
        &mut self.groups[id as usize]
    }
}
