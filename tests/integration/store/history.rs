//! Random histories: the same on SQLite, on PostgreSQL and in a few maps.
//!
//! A history is a list of batches of units and of operators' deeds, drawn from a seed. After each batch every unit must
//! have got the same answer everywhere, and in the end the same must be there. Numbers differ from database to database, so
//! the maps use numbers of their own, and each database has a table from these to its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tradewind_model::{RecordKey, Shop};
use tradewind_store::{
    CommitError, Committed, DeliveryFilter, Fence, Finish, How, Ingested, Job, JobFilter, JobState, NewDelivery,
    NewJob, OnDuplicate, Read, Store, Stored, Unit, Usage, Write, compress,
};
use tradewind_tests::stores::{NOW_MS, Place, action, commit_together, delivery, jobs, json, other_shop, product};

use super::memory::Memory;

const SEEDS: [u64; 2] = [1, 2];

/// Batches in a history. 80 of some 5 units: half a second on SQLite, whose every batch waits for the disk.
const BATCHES: u32 = 80;

#[tokio::test]
async fn the_same_happens_everywhere() {
    for seed in SEEDS {
        let mut dice = Dice { rng: StdRng::seed_from_u64(seed), touched: BTreeSet::new() };
        let mut memory = Memory::default();
        let mut sites = [Site::open(Place::sqlite()).await, Site::open(Place::postgres()).await];
        for batch in 0..BATCHES {
            let now_ms = NOW_MS + i64::from(batch);
            if dice.rng.random_bool(0.2) {
                let deed = dice.deed(&memory);
                let expected = memory.do_deed(&deed, now_ms);
                for site in &sites {
                    assert_eq!(site.do_deed(&deed, now_ms).await, expected, "seed {seed}, batch {batch}: {deed:?}");
                }
            }
            let mut units = dice.units(&memory, now_ms);
            // They have a line of their own, whose order beside the others is not promised.
            units.sort_by_key(|unit| !is_delivery(unit));
            let expected: Vec<_> = units.iter().map(|unit| memory.commit(unit)).collect();
            for site in &mut sites {
                site.commit(&units, &expected, &format!("seed {seed}, batch {batch}")).await;
            }
        }
        assert!(memory.refused > 50 && memory.committed > 200, "{} refused of {}", memory.refused, memory.committed);
        for site in &sites {
            site.compare(&memory, &format!("seed {seed}")).await;
        }
    }
}

/// Returns true if a unit only brings deliveries.
fn is_delivery(unit: &Unit) -> bool {
    let does_more = unit.fence.is_some() || unit.finish.is_some() || !unit.reads.is_empty() || !unit.writes.is_empty();
    !unit.deliveries.is_empty() && !does_more && unit.jobs.is_empty() && unit.cancels.is_empty() && unit.log.is_empty()
}

fn shops() -> [Shop; 3] {
    [other_shop(1), other_shop(2), other_shop(3)]
}

/// The queues that jobs are in. Those of [`shops`] lie in neither's partition.
const QUEUES: [&str; 2] = ["exports", "sync"];

fn keys() -> Vec<RecordKey> {
    (0..6).map(|id| product(&id.to_string())).collect()
}

/// What an operator does.
#[derive(Debug)]
pub(super) enum Deed {
    Retry(JobFilter),
    Park(JobFilter),
    Purge(JobFilter),
}

/// Draws histories.
struct Dice {
    rng: StdRng,
    /// Ids of jobs that the batch brings or takes back. It does not finish such a job as well: which of the two comes
    /// first is up to the store.
    touched: BTreeSet<(Shop, String)>,
}

impl Dice {
    fn one_of<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.rng.random_range(0..of.len())].clone()
    }

    fn deed(&mut self, memory: &Memory) -> Deed {
        let mut filter = JobFilter { app: Some("tagger".to_owned()), ..JobFilter::default() };
        let seqs: Vec<_> = memory.jobs.keys().copied().collect();
        match self.rng.random_range(0..4) {
            0 if !seqs.is_empty() => filter.seq = Some(self.one_of(&seqs)),
            1 => filter.id = Some(self.job_id()),
            2 => filter.reason = Some("stuck".to_owned()),
            _ => filter.shop = Some(self.one_of(&shops()).id.to_string()),
        }
        match self.rng.random_range(0..3) {
            0 => Deed::Retry(filter),
            1 => Deed::Park(filter),
            _ => Deed::Purge(filter),
        }
    }

    fn units(&mut self, memory: &Memory, now_ms: i64) -> Vec<Unit> {
        self.touched.clear();
        let count = self.rng.random_range(1..10);
        (0..count).map(|_| self.unit(memory, now_ms)).collect()
    }

    fn unit(&mut self, memory: &Memory, now_ms: i64) -> Unit {
        let mut unit = Unit::new(self.one_of(&shops()), now_ms);
        if self.rng.random_bool(0.3) {
            let epoch = i64::from(self.rng.random_bool(0.05));
            unit.fence = Some(Fence { part: unit.shop.partition(), epoch });
        }
        if self.rng.random_bool(0.4) {
            unit.finish = self.finish(memory, &unit.shop, now_ms);
        }
        for key in keys() {
            if self.rng.random_bool(0.15) {
                unit.reads.push(Read { key: key.clone(), version: self.version(memory, &unit.shop, &key) });
            }
            if self.rng.random_bool(0.15) {
                let expected = self.version(memory, &unit.shop, &key);
                let doc = self.rng.random_bool(0.7).then(|| json(&self.rng.random_range(0..1_000).to_string()));
                let platform_updated_us = self.rng.random_bool(0.5).then_some(now_ms * 1_000);
                unit.writes.push(Write { before: None, key, expected, doc, platform_updated_us });
            }
        }
        while self.rng.random_bool(0.4) {
            unit.deliveries.push(self.delivery());
        }
        while self.rng.random_bool(0.3) {
            let job = self.job(memory, &unit.shop, now_ms);
            self.touched.extend(job.id.clone().map(|id| (unit.shop.clone(), id)));
            unit.jobs.push(job);
        }
        while self.rng.random_bool(0.1) {
            let id = self.job_id();
            self.touched.insert((unit.shop.clone(), id.clone()));
            unit.cancels.push(id);
        }
        unit.cancels.sort_unstable();
        unit.cancels.dedup();
        unit
    }

    /// Usually the version that is there, sometimes one that was, sometimes one that never was.
    fn version(&mut self, memory: &Memory, shop: &Shop, key: &RecordKey) -> Option<i64> {
        let there = memory.records.get(&(shop.clone(), key.clone())).map(|stored| stored.version);
        match self.rng.random_range(0..20) {
            0 => None,
            1 => Some(-self.rng.random_range(1..i64::MAX)),
            2 => memory.versions.get(&(shop.clone(), key.clone())).map(|versions| self.one_of(versions)),
            _ => there,
        }
    }

    fn finish(&mut self, memory: &Memory, shop: &Shop, now_ms: i64) -> Option<Finish> {
        let is_free = |job: &&Job| {
            job.shop == *shop && job.id.as_ref().is_none_or(|id| !self.touched.contains(&(shop.clone(), id.clone())))
        };
        let seqs: Vec<_> = memory.jobs.values().filter(is_free).map(|job| job.seq).collect();
        if seqs.is_empty() {
            return None;
        }
        let attempts = self.rng.random_range(0..5);
        let error = self.rng.random_bool(0.5).then(|| json(r#"{"code":"plugin.trap"}"#));
        let how = match self.rng.random_range(0..6) {
            0 => How::Again { attempts, run_at_ms: now_ms + self.rng.random_range(0..100), error },
            1 => How::Park { attempts, reason: self.one_of(&["stuck", "refused"]).to_owned(), error },
            2 => How::Checkpoint { state: json(&attempts.to_string()) },
            _ => How::Done,
        };
        Some(Finish { job: self.one_of(&seqs), how })
    }

    fn delivery(&mut self) -> NewDelivery {
        let id = self.rng.random_range(0..200_u32).to_string();
        let body = self.one_of(&["", "{}", "[1,2,3]"]);
        let event_id = self.rng.random_bool(0.7).then(|| self.rng.random_range(0..80_u32).to_string());
        let lane = self.rng.random_bool(0.7).then(|| self.one_of(&["a", "b"]).to_owned());
        NewDelivery { event_id, lane, body: compress(body.as_bytes()), ..delivery(&id, body.as_bytes()) }
    }

    fn job(&mut self, memory: &Memory, shop: &Shop, now_ms: i64) -> NewJob {
        let replayable = memory.deliveries.iter().filter(|delivery| delivery.shop == *shop);
        let replayable: Vec<_> = replayable.map(|delivery| delivery.seq).collect();
        let lane = self.rng.random_bool(0.5).then(|| self.one_of(&["a", "b"]).to_owned());
        NewJob {
            id: self.rng.random_bool(0.5).then(|| self.job_id()),
            on_duplicate: self.one_of(&[OnDuplicate::Error, OnDuplicate::Ignore]),
            rank: if lane.is_some() { 1 } else { self.rng.random_range(0..3) },
            queue: (lane.is_none() && self.rng.random_bool(0.5)).then(|| (self.one_of(&QUEUES).to_owned(), 2)),
            lane,
            run_at_ms: if self.rng.random_bool(0.3) { now_ms + self.rng.random_range(0..50) } else { 0 },
            delivery_seq: (!replayable.is_empty()).then(|| self.one_of(&replayable)),
            ..action()
        }
    }

    fn job_id(&mut self) -> String {
        self.one_of(&["nightly", "weekly", "é"]).to_owned()
    }
}

/// A database, and its numbers for those of the memory.
struct Site {
    place: Place,
    store: Store,
    theirs: HashMap<i64, i64>,
    ours: HashMap<i64, i64>,
}

impl Site {
    async fn open(place: Place) -> Self {
        Self { store: place.open().await, place, theirs: HashMap::new(), ours: HashMap::new() }
    }

    /// Numbers that were never given stay as they are: they are below zero.
    fn to_theirs(&self, number: i64) -> i64 {
        self.theirs.get(&number).copied().unwrap_or(number)
    }

    fn to_ours(&self, number: i64) -> i64 {
        self.ours.get(&number).copied().unwrap_or_else(|| panic!("{number} was never given"))
    }

    fn learn(&mut self, ours: i64, theirs: i64) {
        assert_eq!(self.ours.insert(theirs, ours), None, "the number {theirs} was given twice");
        self.theirs.insert(ours, theirs);
    }

    async fn do_deed(&self, deed: &Deed, now_ms: i64) -> Vec<Shop> {
        let translated =
            |filter: &JobFilter| JobFilter { seq: filter.seq.map(|seq| self.to_theirs(seq)), ..filter.clone() };
        let done = match deed {
            Deed::Retry(filter) => self.store.retry_jobs(&translated(filter)).await,
            Deed::Park(filter) => self.store.park_jobs(&translated(filter), "by hand", now_ms).await,
            Deed::Purge(filter) => self.store.purge_jobs(&translated(filter)).await,
        };
        let mut shops: Vec<Shop> = done.unwrap().into_iter().map(|job| job.shop).collect();
        shops.sort_unstable();
        shops
    }

    async fn commit(&mut self, units: &[Unit], expected: &[Result<Committed, CommitError>], when: &str) {
        let translated = units.iter().cloned().map(|mut unit| {
            unit.reads.iter_mut().for_each(|read| read.version = read.version.map(|version| self.to_theirs(version)));
            let expected = unit.writes.iter_mut().filter_map(|write| write.expected.as_mut());
            expected.for_each(|version| *version = self.to_theirs(*version));
            let deliveries = unit.jobs.iter_mut().filter_map(|job| job.delivery_seq.as_mut());
            deliveries.for_each(|seq| *seq = self.to_theirs(*seq));
            unit.finish.iter_mut().for_each(|finish| finish.job = self.to_theirs(finish.job));
            unit
        });
        let (deliveries, others): (Vec<_>, Vec<_>) = translated.partition(is_delivery);
        let mut answers = commit_together(&self.store, deliveries).await;
        answers.extend(commit_together(&self.store, others).await);
        for ((unit, expected), answer) in units.iter().zip(expected).zip(answers) {
            let engine = self.place.engine();
            match (expected, answer) {
                (Ok(expected), Ok(answer)) => {
                    self.learn_all(expected, &answer, &format!("{when}, {engine:?}: {unit:#?}"));
                }
                (Err(expected), Err(CommitError::JobGone { job })) => {
                    assert_eq!(
                        *expected,
                        CommitError::JobGone { job: self.to_ours(job) },
                        "{when}, {engine:?}: {unit:#?}"
                    );
                }
                (expected, answer) => assert_eq!(*expected, answer, "{when}, {engine:?}: {unit:#?}"),
            }
        }
    }

    fn learn_all(&mut self, expected: &Committed, answer: &Committed, what: &str) {
        assert_eq!(expected.cancelled, answer.cancelled, "{what}");
        assert_eq!(expected.versions.len(), answer.versions.len(), "{what}");
        for (ours, theirs) in expected.versions.iter().zip(&answer.versions) {
            self.learn(*ours, *theirs);
        }
        for (ours, theirs) in expected.deliveries.iter().zip(&answer.deliveries) {
            match (*ours, *theirs) {
                (Ingested::New { seq, job }, Ingested::New { seq: their_seq, job: their_job }) => {
                    self.learn(seq, their_seq);
                    self.learn(job, their_job);
                }
                (ours, theirs) => assert_eq!(ours, theirs, "{what}"),
            }
        }
        for (ours, theirs) in expected.jobs.iter().zip(&answer.jobs) {
            assert_eq!(ours.is_some(), theirs.is_some(), "{what}");
            ours.zip(*theirs).into_iter().for_each(|(ours, theirs)| self.learn(ours, theirs));
        }
    }

    async fn compare(&self, memory: &Memory, when: &str) {
        let mut by_shop: BTreeMap<Shop, Vec<Job>> = BTreeMap::new();
        for mut job in jobs(&self.store).await {
            job.seq = self.to_ours(job.seq);
            job.delivery_seq = job.delivery_seq.map(|seq| self.to_ours(seq));
            by_shop.entry(job.shop.clone()).or_default().push(job);
        }
        for shop in shops() {
            let kept = self.store.count_usage(&shop).await.unwrap();
            assert_eq!(kept.drift, Usage::default(), "{when}: the usage of {shop} and a recount, {:?}", kept.counted);
            let records = memory.records.keys().filter(|(of, _)| *of == shop).count();
            let waiting = memory.jobs.values().filter(|job| job.shop == shop).count();
            let counted = [kept.counted.records, kept.counted.jobs].map(|count| usize::try_from(count).unwrap());
            assert_eq!(counted, [records, waiting], "{when}: {shop}");
            let expected: Vec<_> = memory.jobs.values().filter(|job| job.shop == shop).cloned().collect();
            assert_eq!(by_shop.remove(&shop).unwrap_or_default(), expected, "{when}: jobs of {shop}, in their order");
            for queue in [None, Some(QUEUES[0]), Some(QUEUES[1])] {
                let part = shop.partition_of_job(queue);
                let here = |job: &&Job| job.state == JobState::Queued && job.partition() == part;
                let seqs: Vec<i64> = expected.iter().filter(here).map(|job| job.seq).collect();
                let waits = self.store.waiting_shops(part).await.unwrap().contains(&shop);
                assert_eq!(waits, !seqs.is_empty(), "{when}: {shop} in the partition of {queue:?}");
                let mut found = Vec::new();
                for rank in 0..3 {
                    found.extend(self.store.queued_jobs(part, &shop, rank, i64::MIN, 10_000).await.unwrap());
                }
                let mut found: Vec<i64> = found.iter().map(|job| self.to_ours(job.seq)).collect();
                found.sort_unstable();
                assert_eq!(found, seqs, "{when}: {shop} in the partition of {queue:?}");
            }

            let records = self.store.records(&shop, &keys()).await.unwrap();
            for (key, stored) in keys().into_iter().zip(records) {
                let stored = stored.map(|stored| Stored { version: self.to_ours(stored.version), ..stored });
                let expected = memory.records.get(&(shop.clone(), key.clone())).cloned();
                assert_eq!(stored, expected, "{when}: {key} of {shop}");
            }

            let filter = DeliveryFilter {
                app: Some(shop.app.to_string()),
                shop: Some(shop.id.to_string()),
                ..Default::default()
            };
            let mut deliveries = Vec::new();
            for listed in self.store.deliveries(&filter, 10_000).await.unwrap().into_iter().rev() {
                let mut delivery = self.store.delivery(listed.seq).await.unwrap().unwrap();
                delivery.seq = self.to_ours(delivery.seq);
                deliveries.push(delivery);
            }
            let expected: Vec<_> = memory.deliveries.iter().filter(|delivery| delivery.shop == shop).cloned().collect();
            assert_eq!(deliveries, expected, "{when}: deliveries of {shop}");
        }
        assert!(by_shop.is_empty(), "{when}: jobs of {by_shop:?}");
    }
}
