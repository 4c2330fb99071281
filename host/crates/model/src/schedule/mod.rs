//! Which job a host runs next.
//!
//! The database holds every job; a [`Schedule`] holds the heads of a bounded window of them and the jobs that run. It decides:
//!
//! - Jobs of one lane (a record) run in the order of their numbers and one at a time. One that is put back for later blocks
//!   its lane; one that is done, parked or forgotten does not.
//! - Named queues, which belong to an app, run at most as many jobs at once as they say, over all shops. All jobs of a queue
//!   lie in one partition, so whoever owns that counts them all.
//! - Within a shop, by rank and then by number, with a turn now and then for the lower ranks.
//! - Between shops, by the run time that each has had, whatever partitions its jobs lie in. A shop that runs its share, half
//!   of the slots, waits while others have work; [`SHOP_QUARTERS_MAX`] is the most that it gets, even alone; and the last
//!   slots are only for shops that run nothing: jobs of many minutes do not keep the next shop waiting for as long.
//!
//! Jobs come in by two ways: [`Schedule::offer_fresh`] for one that this host has just committed, and the refills that
//! [`Schedule::hungry`] asks for. What is refused stays in the database, and the schedule remembers from where to read.
//! Nothing here knows the database or the time, and there is no order between two jobs but their numbers; numbers that
//! become visible late are found by [`Schedule::more`] and [`Schedule::rescan`].
//!
//! A shop's jobs without a queue lie in the shop's partition, those of a queue in the queue's. The schedule reads each
//! partition by itself ([`Refill::part`]), and lets go of one ([`Schedule::drop_partitions`]) without touching what the shop
//! has in others.
//!
//! **Bounds.** Of each shop, partition and rank [`HELD_PER_RANK_MAX`] due jobs and [`WAITING_PER_RANK_MAX`] others are held; when the
//! schedule as a whole is full, [`HELD_PER_RANK_TIGHT`]. A lane or a queue with a million jobs takes its small part of the
//! window and reading goes past it, so that at least 128 lanes of a shop are looked at side by side, whatever those
//! before them hold; a lane in retry takes one place of the others, so that a shop comes to a stop when 4,096 of its records
//! are in retry at once, until the first of them is due.
//!
//! To add a rule, say which jobs it holds back and until when, and give the simulation a word on it.

mod held;
mod parts;
mod refill;
mod shop;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod turns;
mod window;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

pub use refill::{Refill, Refilled};
pub use window::{
    HELD_PER_LANE_MAX, HELD_PER_QUEUE_MAX, HELD_PER_RANK_MAX, HELD_PER_RANK_TIGHT, REFILL_ROWS_MAX, SPILLS_MAX,
    WAITING_PER_RANK_MAX,
};

use crate::job_options::{Priority, QueueName};
use crate::tenant::Shop;
use shop::ShopState;
use turns::Turns;
use window::{Scan, Strand};

/// How many quarters of the slots one shop holds at most, rounded up. 3: however many slow jobs it has, those of others start
/// in the last quarter at once. While a shop is alone, that quarter stays free.
pub const SHOP_QUARTERS_MAX: usize = 3;

/// How many shops without work are remembered for the run time that they have had in advance.
const IDLE_SHOPS_MAX: usize = 65_536;

/// Jobs that run one at a time and in order, within a shop: a record's key as text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane(Arc<str>);

/// A named queue and how many of its jobs may run at once. The word of the newest job counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name within the app.
    pub name: QueueName,
    /// At least one.
    pub bound: u32,
}

/// What the schedule knows of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<T> {
    /// The job's number, which is the order of all jobs.
    pub seq: i64,
    /// Whose job it is.
    pub shop: Shop,
    /// The partition that it lies in: the shop's, or its queue's.
    pub part: i64,
    /// What it may not overlap with.
    pub lane: Option<Lane>,
    /// The named queue that it runs in. Means nothing beside a lane.
    pub queue: Option<Queue>,
    /// Its rank. All jobs with a lane have the default one, see [`Priority::within_lane`].
    pub rank: Priority,
    /// It does not start before this time, in milliseconds of the clock that [`Schedule::next`] is given.
    pub not_before_ms: u64,
    /// The caller's own.
    pub tag: T,
}

/// What became of an offered job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offered {
    /// It is held and will run.
    Held,
    /// It was held or running already.
    Known,
    /// There is no room for it, or there are others before it; a refill will find it.
    Spilled,
}

/// What became of a job that was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgotten {
    /// It was held and no longer is.
    Held,
    /// It runs; it is the caller's to cancel, and still to be reported as done.
    Running,
    /// It was neither.
    Unknown,
}

/// The jobs that a host holds and runs.
#[derive(Debug)]
pub struct Schedule<T> {
    slots: usize,
    held_max: usize,
    now_ms: u64,
    shops: Vec<ShopState>,
    free: Vec<u32>,
    ids: HashMap<Shop, u32>,
    held: HashMap<i64, Held<T>>,
    running: HashMap<i64, Running>,
    turns: Turns,
    /// Held jobs that are not due, by their time.
    timers: BTreeSet<(u64, i64)>,
    /// Windows to refill, those that have waited longest first.
    hungry: VecDeque<(u32, Spot)>,
    tickets: u64,
    /// Shops without work that are ahead of the clock of fairness, by when it reaches them.
    idle: BTreeSet<(u64, u32)>,
}

/// Which of a shop's windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    part: i64,
    rank: usize,
}

/// How many slots a shop may have.
#[derive(Clone, Copy, Debug)]
struct Shares {
    /// From here on it waits while others have work.
    fair: usize,
    /// More it does not get.
    most: usize,
}

#[derive(Debug)]
struct Held<T> {
    head: Head<T>,
    shop: u32,
    group: u32,
    state: State,
}

/// Where a held job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Others of its lane come first.
    Behind,
    /// Its time has not come.
    Waiting,
    /// It could start.
    Ready,
}

#[derive(Debug)]
struct Running {
    shop: u32,
    group: u32,
    spot: Spot,
    lane: Option<Lane>,
    charged_us: u64,
}

impl Lane {
    /// The lane of that name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<T> Head<T> {
    /// Which of the shop's windows it belongs to.
    fn spot(&self) -> Spot {
        Spot { part: self.part, rank: usize::from(self.rank.within_lane(self.lane.is_some()).rank()) }
    }

    /// The queue that counts: the order of a lane leaves no other.
    fn queue(&self) -> Option<&Queue> {
        self.queue.as_ref().filter(|_| self.lane.is_none())
    }

    fn queue_name(&self) -> Option<&QueueName> {
        self.queue().map(|queue| &queue.name)
    }
}

impl<T> Schedule<T> {
    /// A schedule that runs up to `slots` jobs at once and holds about `held_max` in all: beyond that, each shop is held to
    /// [`HELD_PER_RANK_TIGHT`] of each rank.
    pub fn new(slots: usize, held_max: usize) -> Self {
        Self {
            slots: slots.max(1),
            held_max,
            now_ms: 0,
            shops: Vec::new(),
            free: Vec::new(),
            ids: HashMap::new(),
            held: HashMap::new(),
            running: HashMap::new(),
            turns: Turns::new(),
            timers: BTreeSet::new(),
            hungry: VecDeque::new(),
            tickets: 0,
            idle: BTreeSet::new(),
        }
    }

    /// Starts a job: it runs until [`Self::done`] or [`Self::put_back`]. None when all slots are taken or nothing can start
    /// before [`Self::wake_at`].
    pub fn next(&mut self, now_ms: u64) -> Option<Head<T>> {
        self.wake(now_ms);
        let free = self.slots.checked_sub(self.running.len()).filter(|free| *free > 0)?;
        let id = self.turns.first(free <= self.reserve())?;
        let (_, seq) = self.shops[id as usize].choose(&self.turns)?;
        let Held { head, shop: id, group, .. } = self.release(seq)?;
        let spot = head.spot();
        let charged_us = self.shops[id as usize].start(spot, &mut self.turns);
        self.turns.started(group);
        let lane = head.lane.clone();
        self.running.insert(seq, Running { shop: id, group, spot, lane: lane.clone(), charged_us });
        if let Some(lane) = &lane {
            self.shops[id as usize].lanes.entry(lane.clone()).or_default().running = true;
        }
        self.moved(id, spot, lane.as_ref(), head.queue_name());
        self.clear_idle();
        Some(head)
    }

    /// A job has ended for good, done or parked, and took `ran_us`; the database knows already. False when it was not
    /// running here, which it no longer is after its partition was dropped.
    pub fn done(&mut self, seq: i64, ran_us: u64) -> bool {
        let Some(Running { shop: id, spot, lane, .. }) = self.stop(seq, ran_us) else { return false };
        self.shop(id).parts.window(spot).note_gone(seq);
        self.moved(id, spot, lane.as_ref(), None);
        true
    }

    /// A running job goes on later, at the time that the head now says, after it took `ran_us`. Its lane waits for it. A job
    /// without a lane that has long to wait is better `done` here and offered again when its time comes.
    pub fn put_back(&mut self, head: Head<T>, ran_us: u64) -> bool {
        let Some(Running { shop: id, .. }) = self.stop(head.seq, ran_us) else { return false };
        self.hold(id, head);
        true
    }

    /// A shop's job was cancelled or purged in the database.
    pub fn forget(&mut self, shop: &Shop, seq: i64) -> Forgotten {
        if self.running.contains_key(&seq) {
            return Forgotten::Running;
        }
        let Some(id) = self.ids.get(shop).copied() else { return Forgotten::Unknown };
        for window in self.shop(id).parts.windows() {
            window.note_gone(seq);
        }
        let Some(Held { head, .. }) = self.discard(seq) else { return Forgotten::Unknown };
        self.moved(id, head.spot(), head.lane.as_ref(), head.queue_name());
        Forgotten::Held
    }

    /// Lets go of all that lies in the partitions that the predicate names, because another host has them now. Returns the
    /// running jobs, which the caller cancels; their slots are free at once.
    pub fn drop_partitions(&mut self, named: impl Fn(i64) -> bool) -> Vec<i64> {
        let held = self.held.iter().filter(|(_, held)| named(held.head.part));
        for seq in held.map(|(seq, _)| *seq).collect::<Vec<_>>() {
            self.discard(seq);
        }
        let running = self.running.iter().filter(|(_, running)| named(running.spot.part));
        let running: Vec<i64> = running.map(|(seq, _)| *seq).collect();
        for seq in &running {
            self.stop(*seq, 0);
        }
        let has_some = |id: &&u32| self.shops[**id as usize].parts.iter().any(|part| named(part.id));
        for id in self.ids.values().filter(has_some).copied().collect::<BTreeSet<u32>>() {
            let shares = self.shares();
            let shop = &mut self.shops[id as usize];
            shop.parts.forget(&named);
            shop.lanes.retain(|_, lane| lane.running || !lane.held.is_empty());
            if shop.is_idle() {
                self.remove_shop(id);
            } else {
                shop.replace(id, shares, &mut self.turns);
            }
        }
        running
    }

    /// When the first of the held jobs that are not due is: [`Self::next`] finds nothing new before, unless a job ends or comes.
    pub fn wake_at(&self) -> Option<u64> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether anything of a shop is held, runs, or is still to be read in a partition.
    pub fn has_work(&self, part: i64, shop: &Shop) -> bool {
        self.ids.get(shop).is_some_and(|id| self.shops[*id as usize].parts.has_work(part))
    }

    /// How many jobs run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// How many jobs are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How many shops are known.
    pub fn shops(&self) -> usize {
        self.ids.len()
    }

    /// A shop's fair share is half of the slots, so that two shops with endless work have the same.
    fn shares(&self) -> Shares {
        Shares { fair: self.slots.div_ceil(2), most: self.slots.saturating_mul(SHOP_QUARTERS_MAX).div_ceil(4) }
    }

    /// Slots that only a shop gets that runs nothing: an eighth, and one of four.
    fn reserve(&self) -> usize {
        (self.slots / 8).max(usize::from(self.slots >= 4))
    }

    /// Whether every shop is held to a little.
    fn is_tight(&self) -> bool {
        self.held.len() >= self.held_max
    }

    fn shop(&mut self, id: u32) -> &mut ShopState {
        &mut self.shops[id as usize]
    }
}
