//! A naive database of jobs, and random histories of it beside a schedule, from seeds.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Forgotten, Head, Lane, Offered, Queue, Refill, Schedule};
use crate::job_options::{Priority, QueueName};
use crate::tenant::Shop;

/// A job as the database has it.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) head: Head<()>,
    /// Not committed yet: nobody sees it.
    hidden: bool,
    /// It became visible after others with higher numbers, so that no order can be asked of it.
    late: bool,
}

/// In the order of the index that a refill reads: partition, shop, rank, number.
type Key = (i64, Shop, Priority, i64);

fn key_of(head: &Head<()>) -> Key {
    (head.part, head.shop.clone(), head.rank, head.seq)
}

/// All jobs, and what runs.
#[derive(Debug, Default)]
pub(super) struct Database {
    pub(super) rows: BTreeMap<Key, Row>,
    keys: HashMap<i64, Key>,
    running: HashMap<i64, Head<()>>,
    lanes: HashSet<(Shop, Lane)>,
    queues: HashMap<(Shop, QueueName), u32>,
    last: i64,
}

pub(super) fn shop(number: u64) -> Shop {
    Shop::new("app", number.to_string())
}

impl Database {
    /// Writes a job and returns it.
    pub(super) fn insert(
        &mut self,
        shop: &Shop,
        lane: Option<&str>,
        queue: Option<(&str, u32)>,
        rank: Priority,
    ) -> Head<()> {
        self.last += 1;
        let head = Head {
            seq: self.last,
            shop: shop.clone(),
            part: shop.partition_of_job(queue.map(|(name, _)| name)),
            lane: lane.map(Lane::new),
            queue: queue.map(|(name, bound)| Queue { name: QueueName::parse(name).unwrap(), bound }),
            rank: rank.within_lane(lane.is_some()),
            not_before_ms: 0,
            tag: (),
        };
        let key = key_of(&head);
        self.keys.insert(head.seq, key.clone());
        self.rows.insert(key, Row { head: head.clone(), hidden: false, late: false });
        head
    }

    fn row(&mut self, seq: i64) -> Option<&mut Row> {
        self.rows.get_mut(self.keys.get(&seq)?)
    }

    fn remove(&mut self, seq: i64) {
        if let Some(key) = self.keys.remove(&seq) {
            self.rows.remove(&key);
        }
    }

    /// What a refill reads.
    pub(super) fn read(&self, refill: &Refill) -> (Vec<Head<()>>, bool) {
        let key = |seq| (refill.part, refill.shop.clone(), refill.rank, seq);
        let rows = self.rows.range(key(refill.from_seq)..=key(i64::MAX)).map(|(_, row)| row);
        let rows: Vec<_> = rows.filter(|row| !row.hidden).take(refill.rows).map(|row| row.head.clone()).collect();
        let end = rows.len() < refill.rows;
        (rows, end)
    }

    /// Answers all refills that are wanted.
    pub(super) fn refill(&self, schedule: &mut Schedule<()>) -> usize {
        let refills = schedule.hungry(usize::MAX);
        for refill in &refills {
            let (rows, end) = self.read(refill);
            schedule.refill(refill, rows, end);
        }
        refills.len()
    }

    /// Takes note that a job runs, and holds it to all rules.
    pub(super) fn started(&mut self, head: &Head<()>, now_ms: u64) {
        let Head { seq, shop, part, lane, queue, .. } = head;
        let row = self.row(*seq).unwrap_or_else(|| panic!("{seq} is not in the database")).clone();
        assert!(!row.hidden && row.head.not_before_ms <= now_ms, "{row:?} starts at {now_ms}");
        assert!(self.running.insert(*seq, head.clone()).is_none(), "{seq} runs twice");
        if let Some(lane) = lane {
            assert!(self.lanes.insert((shop.clone(), lane.clone())), "{seq} overlaps in `{lane:?}`");
            let key = |seq| (*part, shop.clone(), Priority::Default, seq);
            let before = self
                .rows
                .range(key(i64::MIN)..key(*seq))
                .find(|(_, row)| row.head.lane.as_ref() == Some(lane) && !row.hidden && !row.late);
            assert!(before.is_none() || row.late, "{seq} starts before {before:?}");
        }
        if let Some(queue) = queue {
            let running = self.queues.entry((Shop::new(shop.app.clone(), ""), queue.name.clone())).or_default();
            *running += 1;
            assert!(*running <= queue.bound, "{seq} is one too many in {queue:?}");
        }
    }

    /// A job stopped running, whatever became of it.
    pub(super) fn stopped(&mut self, seq: i64) {
        let Head { shop, lane, queue, .. } = self.running.remove(&seq).unwrap();
        if let Some(lane) = lane {
            self.lanes.remove(&(shop.clone(), lane));
        }
        if let Some(queue) = queue {
            *self.queues.get_mut(&(Shop::new(shop.app, ""), queue.name)).unwrap() -= 1;
        }
    }

    /// A job is done: its row goes.
    pub(super) fn done(&mut self, seq: i64) {
        self.stopped(seq);
        self.remove(seq);
    }

    /// A job that a test runs without telling when goes.
    pub(super) fn done_without_start(&mut self, seq: i64) {
        self.remove(seq);
    }

    /// A job is to be tried again.
    pub(super) fn retry(&mut self, seq: i64, not_before_ms: u64) {
        self.row(seq).unwrap().head.not_before_ms = not_before_ms;
    }

    /// Runs everything that can run, without failures, until nothing is left to do. Returns the order of the starts.
    pub(super) fn drain(&mut self, schedule: &mut Schedule<()>, now_ms: &mut u64, starts_max: usize) -> Vec<i64> {
        let mut starts = Vec::new();
        while starts.len() < starts_max {
            let read = self.refill(schedule);
            if let Some(head) = schedule.next(*now_ms) {
                self.started(&head, *now_ms);
                starts.push(head.seq);
                continue;
            }
            if let Some(seq) = self.running.keys().min().copied() {
                self.done(seq);
                assert!(schedule.done(seq, 1_000));
            } else if read == 0 {
                let Some(at) = schedule.wake_at() else { break };
                *now_ms = at.max(*now_ms);
            }
        }
        starts
    }
}

/// Splitmix64: small, and good enough to find trouble.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// How many shops the histories have.
const SHOPS: u64 = 5;

/// The queues of the histories, with their bounds.
const QUEUES: [(&str, u32); 2] = [("a", 1), ("b", 3)];

/// The partitions of all shops and queues.
fn parts() -> BTreeSet<i64> {
    let own = (0..SHOPS).map(|number| shop(number).partition());
    own.chain(QUEUES.map(|(name, _)| shop(0).partition_of_job(Some(name)))).collect()
}

/// One history: what happens is drawn, what must hold is asserted on the way.
struct History {
    dice: Dice,
    database: Database,
    schedule: Schedule<()>,
    slots: usize,
    held_max: usize,
    now_ms: u64,
    /// Reads under way, with what they saw.
    reads: Vec<(Refill, Vec<Head<()>>, bool)>,
    hidden: Vec<i64>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let slots = 1 + usize::try_from(dice.roll(12)).unwrap();
        let held_max = [8, 200, 1_000_000][usize::try_from(dice.roll(3)).unwrap()];
        let schedule = Schedule::new(slots, held_max);
        let (database, reads, hidden) = (Database::default(), Vec::new(), Vec::new());
        Self { dice, database, schedule, slots, held_max, now_ms: 0, reads, hidden }
    }

    fn insert(&mut self) -> Head<()> {
        // The first shop has most of the jobs, the first lane and queue most of its.
        let skewed = |dice: &mut Dice, sides| dice.roll(sides).min(dice.roll(sides));
        let shop = shop(skewed(&mut self.dice, SHOPS));
        let lane = skewed(&mut self.dice, 12);
        let lane = (lane < 8).then(|| format!("lane {lane}"));
        let queue = QUEUES.get(usize::try_from(self.dice.roll(3)).unwrap()).filter(|_| lane.is_none());
        let rank = Priority::ALL[usize::try_from(self.dice.roll(3)).unwrap()];
        self.database.insert(&shop, lane.as_deref(), queue.copied(), rank)
    }

    /// A job that others see at once, or that stays invisible for a while although its number is taken.
    fn commit(&mut self) {
        let head = self.insert();
        match self.dice.roll(8) {
            0 => {
                self.database.row(head.seq).unwrap().hidden = true;
                self.hidden.push(head.seq);
            }
            1 => self.schedule.more(head.part, &head.shop, head.rank, head.seq),
            _ => {
                let seq = head.seq;
                let offered = self.schedule.offer_fresh(head.clone());
                assert_ne!(offered, Offered::Known, "{seq}");
                if offered == Offered::Held {
                    assert_eq!(self.schedule.offer_fresh(head), Offered::Known);
                }
            }
        }
    }

    fn step(&mut self) {
        match self.dice.roll(40) {
            0..9 => self.commit(),
            9..19 => {
                if let Some(head) = self.schedule.next(self.now_ms) {
                    self.database.started(&head, self.now_ms);
                    assert!(self.database.running.len() <= self.slots);
                    let of_shop = self.database.running.values().filter(|running| running.shop == head.shop).count();
                    assert!(of_shop <= (self.slots * 3).div_ceil(4), "{of_shop} of {} slots", self.slots);
                }
            }
            19..28 => self.end_one(),
            28..31 => {
                for refill in self.schedule.hungry(2) {
                    let (rows, end) = self.database.read(&refill);
                    self.reads.push((refill, rows, end));
                }
            }
            31..35 => self.answer(),
            35 => self.now_ms += self.dice.roll(100),
            36 => self.cancel(),
            37 => self.show(),
            38 if self.dice.roll(20) == 0 => self.lose(),
            39 if self.dice.roll(100) == 0 => self.crash(),
            _ => {}
        }
    }

    fn end_one(&mut self) {
        let mut running: Vec<i64> = self.database.running.keys().copied().collect();
        running.sort_unstable();
        if running.is_empty() {
            return;
        }
        let seq = running[usize::try_from(self.dice.roll(running.len() as u64)).unwrap()];
        assert_eq!(self.schedule.forget(&shop(0), seq), Forgotten::Running);
        let ran_us = self.dice.roll(5_000);
        if self.dice.roll(4) > 0 {
            self.database.done(seq);
            assert!(self.schedule.done(seq, ran_us) && !self.schedule.done(seq, ran_us));
        } else {
            let not_before_ms = self.now_ms + self.dice.roll(200);
            let row = self.database.row(seq).unwrap();
            row.head.not_before_ms = not_before_ms;
            let head = row.head.clone();
            self.database.stopped(seq);
            assert!(self.schedule.put_back(head, ran_us));
        }
    }

    fn answer(&mut self) {
        if self.reads.is_empty() {
            return;
        }
        let at = usize::try_from(self.dice.roll(self.reads.len() as u64)).unwrap();
        let (refill, rows, end) = self.reads.swap_remove(at);
        if self.dice.roll(10) == 0 {
            self.schedule.unanswered(&refill);
        } else {
            self.schedule.refill(&refill, rows, end);
        }
    }

    fn cancel(&mut self) {
        let seq = i64::try_from(self.dice.roll(self.database.last.unsigned_abs() + 1)).unwrap();
        if !self.database.running.contains_key(&seq) && !self.hidden.contains(&seq) {
            let Some((_, shop, ..)) = self.database.keys.get(&seq).cloned() else { return };
            self.database.remove(seq);
            assert_ne!(self.schedule.forget(&shop, seq), Forgotten::Running);
        }
    }

    /// A transaction that took its number long ago commits.
    fn show(&mut self) {
        let Some(seq) = self.hidden.pop() else { return };
        let row = self.database.row(seq).unwrap();
        (row.hidden, row.late) = (false, true);
        let head = row.head.clone();
        match self.dice.roll(3) {
            0 => self.schedule.more(head.part, &head.shop, head.rank, seq),
            1 => assert_ne!(self.schedule.offer_fresh(head), Offered::Known),
            _ => {}
        }
    }

    /// A lease is lost and comes back.
    fn lose(&mut self) {
        let parts: Vec<i64> = parts().into_iter().collect();
        let lost = parts[usize::try_from(self.dice.roll(parts.len() as u64)).unwrap()];
        let mut running = self.schedule.drop_partitions(|part| part == lost);
        running.sort_unstable();
        let mut expected: Vec<i64> =
            self.database.running.values().filter(|head| head.part == lost).map(|head| head.seq).collect();
        expected.sort_unstable();
        assert_eq!(running, expected);
        for seq in running {
            self.database.stopped(seq);
            assert!(!self.schedule.done(seq, 1));
        }
        self.rescan(lost);
    }

    /// Has all that lies in a partition read.
    fn rescan(&mut self, part: i64) {
        for number in 0..SHOPS {
            self.schedule.rescan(part, &shop(number), 0);
        }
    }

    fn crash(&mut self) {
        for seq in self.database.running.keys().copied().collect::<Vec<_>>() {
            self.database.stopped(seq);
        }
        self.reads.clear();
        self.schedule = Schedule::new(self.slots, self.held_max);
        for part in parts() {
            self.rescan(part);
        }
    }

    /// Everything that is left runs: first without a rescan, which only what nobody spoke of may need.
    fn finish(&mut self) {
        while !self.reads.is_empty() {
            self.answer();
        }
        self.database.drain(&mut self.schedule, &mut self.now_ms, usize::MAX);
        let lost: Vec<_> = self.database.rows.values().filter(|row| !row.late && !row.hidden).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
        while !self.hidden.is_empty() {
            self.show();
        }
        for part in parts() {
            self.rescan(part);
        }
        self.database.drain(&mut self.schedule, &mut self.now_ms, usize::MAX);
        assert!(self.database.rows.is_empty(), "left: {:?}", self.database.rows);
        let Schedule { held, running, ids, timers, idle, .. } = &self.schedule;
        assert_eq!((held.len(), running.len(), ids.len(), timers.len(), idle.len()), (0, 0, 0, 0, 0));
    }
}

/// Every count that the schedule keeps, against what it is a count of.
fn audit(schedule: &Schedule<()>) {
    for (id, state) in schedule.shops.iter().enumerate() {
        let held: Vec<_> = schedule.held.values().filter(|held| held.shop as usize == id).collect();
        assert_eq!(state.held, held.len());
        let running: Vec<_> = schedule.running.values().filter(|running| running.shop as usize == id).collect();
        assert_eq!(state.running, running.len());
        let known: BTreeSet<i64> = state.parts.iter().map(|part| part.id).collect();
        assert!(held.iter().all(|held| known.contains(&held.head.part)));
        assert_eq!(known.len(), state.parts.iter().count(), "each partition once");
        for part in state.parts.iter() {
            assert_eq!(part.running, running.iter().filter(|running| running.spot.part == part.id).count());
            assert!(state.parts.has_work(part.id), "a partition is left that has nothing");
            for (rank, window) in part.windows.iter().enumerate() {
                let here = held.iter().filter(|held| held.head.spot() == super::Spot { part: part.id, rank });
                let waiting = here.clone().filter(|held| held.state == super::State::Waiting).count();
                assert_eq!((window.live + window.waiting, window.waiting), (here.count(), waiting));
            }
        }
        for lane in state.lanes.values() {
            assert!(lane.held.first().is_none_or(|first| lane.running || lane.front == Some(*first)), "{lane:?}");
            assert!(!(lane.running && lane.front.is_some()), "{lane:?}");
        }
    }
}

#[test]
fn random_histories_lose_nothing_and_break_no_rule() {
    for seed in 0..60 {
        let mut history = History::new(seed);
        for step in 0..2_000 {
            history.step();
            if step % 100 == 0 {
                audit(&history.schedule);
            }
        }
        history.finish();
    }
}

/// With a backlog that is many times the window, so that lanes and queues spill and are read again.
#[test]
fn random_histories_over_a_backlog_lose_nothing() {
    for seed in 1_000..1_004 {
        let mut history = History::new(seed);
        for _ in 0..6_000 {
            history.insert();
        }
        history.crash();
        for _ in 0..10_000 {
            history.step();
        }
        audit(&history.schedule);
        history.finish();
    }
}
