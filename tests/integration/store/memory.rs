//! What a store does, said with maps: one unit after the other.

use std::collections::{BTreeMap, HashMap, HashSet};

use tradewind_model::{RecordKey, Shop};
use tradewind_store::{
    CommitError, Committed, Delivery, How, Ingested, Job, JobFilter, JobKind, JobState, OnDuplicate, Stored, Unit,
    Write,
};

use super::history::Deed;

type Of<T> = (Shop, T);

/// A store of maps. Its leases are as they were in the beginning: nobody's, in epoch 0.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) records: BTreeMap<Of<RecordKey>, Stored>,
    /// Every version that a record ever had.
    pub(super) versions: HashMap<Of<RecordKey>, Vec<i64>>,
    pub(super) jobs: BTreeMap<i64, Job>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) refused: u32,
    pub(super) committed: u32,
    webhook_ids: HashSet<Of<String>>,
    events: HashSet<Of<(String, String, [u8; 32])>>,
    numbers: i64,
}

impl Memory {
    fn number(&mut self) -> i64 {
        self.numbers += 1;
        self.numbers
    }

    fn version(&self, shop: &Shop, key: &RecordKey) -> Option<i64> {
        self.records.get(&(shop.clone(), key.clone())).map(|stored| stored.version)
    }

    fn job_called(&self, shop: &Shop, id: &str) -> Option<i64> {
        self.jobs.values().find(|job| job.shop == *shop && job.id.as_deref() == Some(id)).map(|job| job.seq)
    }

    /// Commits a unit whole or not at all.
    pub(super) fn commit(&mut self, unit: &Unit) -> Result<Committed, CommitError> {
        if let Err(refused) = self.check(unit) {
            self.refused += 1;
            return Err(refused);
        }
        self.committed += 1;
        let mut committed = Committed::default();
        self.finish(unit);
        for id in &unit.cancels {
            let job = self.job_called(&unit.shop, id);
            committed.cancelled.push(job.is_some());
            job.and_then(|job| self.jobs.remove(&job));
        }
        for write in &unit.writes {
            let version = self.write(unit, write);
            committed.versions.push(version);
        }
        self.keep(unit, &mut committed);
        self.enqueue(unit, &mut committed);
        Ok(committed)
    }

    /// What is wrong with a unit; of several things that which the store names.
    fn check(&self, unit: &Unit) -> Result<(), CommitError> {
        let shop = &unit.shop;
        if let Some(fence) = unit.fence.as_ref().filter(|fence| fence.epoch != 0) {
            return Err(CommitError::Fenced { part: fence.part });
        }
        let is_open = |job: &i64| self.jobs.get(job).is_some_and(|job| job.state != JobState::Parked);
        if let Some(gone) = unit.finish.as_ref().filter(|finish| !is_open(&finish.job)) {
            return Err(CommitError::JobGone { job: gone.job });
        }
        let conflict = |key: &RecordKey| Err(CommitError::Conflict { shop: shop.clone(), key: key.clone() });
        let effects = !unit.jobs.is_empty() || !unit.cancels.is_empty() || !unit.writes.iter().all(is_nothing);
        let only_read = unit.reads.iter().filter(|read| unit.writes.iter().all(|write| write.key != read.key));
        let only_read = only_read.map(|read| (&read.key, read.version));
        let nothing = unit.writes.iter().filter(|write| is_nothing(write)).map(|write| (&write.key, None));
        if let Some((key, _)) =
            only_read.chain(nothing).find(|(key, version)| effects && self.version(shop, key) != *version)
        {
            return conflict(key);
        }
        let stale =
            unit.writes.iter().filter(|write| !is_nothing(write) && self.version(shop, &write.key) != write.expected);
        if let Some(write) = stale.min_by_key(|write| write.key.to_string()) {
            return conflict(&write.key);
        }
        self.check_ids(unit)
    }

    fn check_ids(&self, unit: &Unit) -> Result<(), CommitError> {
        let done = unit.finish.as_ref().filter(|finish| matches!(finish.how, How::Done)).map(|finish| finish.job);
        let mut new = HashSet::new();
        for job in &unit.jobs {
            let Some(id) = &job.id else { continue };
            let there =
                self.job_called(&unit.shop, id).filter(|there| Some(*there) != done && !unit.cancels.contains(id));
            let is_taken = there.is_some() || !new.insert(id);
            if is_taken && job.on_duplicate == OnDuplicate::Error {
                return Err(CommitError::DuplicateJob { id: id.clone() });
            }
        }
        Ok(())
    }

    fn finish(&mut self, unit: &Unit) {
        let Some(finish) = &unit.finish else { return };
        if matches!(finish.how, How::Done) {
            self.jobs.remove(&finish.job);
            return;
        }
        let job = self.jobs.get_mut(&finish.job).unwrap();
        match &finish.how {
            How::Done => {}
            How::Started => job.starts += 1,
            How::Checkpoint { state } => job.checkpoint = Some(state.clone()),
            How::Again { attempts, run_at_ms, error } => {
                job.state = if job.lane.is_some() { JobState::Queued } else { JobState::Delayed };
                (job.attempts, job.starts) = (*attempts, 0);
                job.run_at_ms = *run_at_ms;
                job.error = error.clone().or(job.error.take());
            }
            How::Park { attempts, reason, error } => {
                job.state = JobState::Parked;
                (job.attempts, job.starts) = (*attempts, 0);
                job.run_at_ms = 0;
                job.reason = Some(reason.clone());
                job.error = error.clone().or(job.error.take());
                job.parked_ms = Some(unit.now_ms);
            }
        }
    }

    fn write(&mut self, unit: &Unit, write: &Write) -> i64 {
        let version = self.number();
        if is_nothing(write) {
            return version;
        }
        let key = (unit.shop.clone(), write.key.clone());
        let old = self.records.remove(&key);
        if let Some(doc) = &write.doc {
            let stored = Stored {
                version,
                doc: doc.clone(),
                platform_updated_us: write.platform_updated_us,
                created_ms: old.map_or(unit.now_ms, |old| old.created_ms),
                updated_ms: unit.now_ms,
            };
            self.records.insert(key.clone(), stored);
            self.versions.entry(key).or_default().push(version);
        }
        version
    }

    fn keep(&mut self, unit: &Unit, committed: &mut Committed) {
        let shop = &unit.shop;
        for new in &unit.deliveries {
            let webhook_id = (shop.clone(), new.webhook_id.clone());
            let event = new.event_id.clone().map(|event| (shop.clone(), (new.topic.clone(), event, new.body_sha256)));
            let is_known = event.as_ref().is_some_and(|event| self.events.contains(event));
            if is_known || self.webhook_ids.contains(&webhook_id) {
                committed.deliveries.push(Ingested::Duplicate);
                continue;
            }
            self.webhook_ids.insert(webhook_id);
            self.events.extend(event);
            let (seq, job) = (self.number(), self.number());
            committed.deliveries.push(Ingested::New { seq, job });
            self.deliveries.push(Delivery {
                seq,
                shop: shop.clone(),
                platform: new.platform.to_string(),
                webhook_id: new.webhook_id.clone(),
                topic: new.topic.clone(),
                event_id: new.event_id.clone(),
                lane: new.lane.clone(),
                received_ms: unit.now_ms,
                triggered_ms: new.triggered_ms,
                headers: new.headers.clone(),
                // `compress` writes the length first, and bodies this short as they are.
                body: new.body[5..].to_vec(),
                body_bytes: new.body_bytes,
            });
            let waiting = Job {
                lane: new.lane.clone(),
                delivery_seq: Some(seq),
                ..Self::fresh_job(unit, job, JobKind::Delivery)
            };
            self.jobs.insert(job, waiting);
        }
    }

    fn enqueue(&mut self, unit: &Unit, committed: &mut Committed) {
        for new in &unit.jobs {
            if new.id.as_ref().is_some_and(|id| self.job_called(&unit.shop, id).is_some()) {
                committed.jobs.push(None);
                continue;
            }
            let seq = self.number();
            committed.jobs.push(Some(seq));
            let is_delayed = new.run_at_ms > unit.now_ms;
            let job = Job {
                lane: new.lane.clone(),
                queue: new.queue.clone(),
                rank: new.rank,
                id: new.id.clone(),
                state: if is_delayed { JobState::Delayed } else { JobState::Queued },
                run_at_ms: if is_delayed { new.run_at_ms } else { 0 },
                depth: new.depth,
                chain: new.chain,
                delivery_seq: new.delivery_seq,
                policy: new.policy.clone(),
                payload: new.payload.clone(),
                ..Self::fresh_job(unit, seq, new.kind)
            };
            self.jobs.insert(seq, job);
        }
    }

    fn fresh_job(unit: &Unit, seq: i64, kind: JobKind) -> Job {
        Job {
            seq,
            shop: unit.shop.clone(),
            kind,
            lane: None,
            queue: None,
            rank: 1,
            id: None,
            state: JobState::Queued,
            run_at_ms: 0,
            starts: 0,
            attempts: 0,
            depth: 0,
            chain: 0,
            delivery_seq: None,
            policy: None,
            payload: None,
            reason: None,
            error: None,
            checkpoint: None,
            created_ms: unit.now_ms,
            parked_ms: None,
        }
    }

    /// Does what an operator does, and answers whose jobs it was done to, sorted.
    pub(super) fn do_deed(&mut self, deed: &Deed, now_ms: i64) -> Vec<Shop> {
        let (Deed::Retry(filter) | Deed::Park(filter) | Deed::Purge(filter)) = deed;
        let matching = self.jobs.values().filter(|job| matches(job, filter)).filter(|job| match deed {
            Deed::Retry(_) => job.state == JobState::Parked || job.run_at_ms > 0,
            Deed::Park(_) => job.state != JobState::Parked,
            Deed::Purge(_) => job.state == JobState::Parked,
        });
        let seqs: Vec<_> = matching.map(|job| job.seq).collect();
        let mut shops = Vec::new();
        for seq in seqs {
            let mut job = self.jobs.remove(&seq).unwrap();
            shops.push(job.shop.clone());
            match deed {
                Deed::Retry(_) => {
                    job.attempts = if job.state == JobState::Parked { 0 } else { job.attempts };
                    (job.state, job.run_at_ms, job.reason, job.parked_ms) = (JobState::Queued, 0, None, None);
                }
                Deed::Park(_) => {
                    (job.state, job.run_at_ms, job.parked_ms) = (JobState::Parked, 0, Some(now_ms));
                    job.reason = Some("by hand".to_owned());
                }
                Deed::Purge(_) => continue,
            }
            self.jobs.insert(seq, job);
        }
        shops.sort_unstable();
        shops
    }
}

/// Made and deleted again.
fn is_nothing(write: &Write) -> bool {
    write.expected.is_none() && write.doc.is_none()
}

fn matches(job: &Job, filter: &JobFilter) -> bool {
    fn is<T: PartialEq>(wanted: Option<&T>, there: Option<&T>) -> bool {
        wanted.is_none() || wanted == there
    }
    is(filter.seq.as_ref(), Some(&job.seq))
        && is(filter.app.as_ref(), Some(&job.shop.app.to_string()))
        && is(filter.shop.as_ref(), Some(&job.shop.id.to_string()))
        && is(filter.id.as_ref(), job.id.as_ref())
        && is(filter.reason.as_ref(), job.reason.as_ref())
}
