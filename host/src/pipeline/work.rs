//! A unit of work: what one piece of work read and wants to write.
//!
//! Reads look into the unit's own writes first, then at what the unit has seen, then into the store: a record is the same
//! however often it is read by its id. A query asks the store each time, and what it finds may be newer; the commit is refused
//! then (`validation`). Nothing is locked. [`Taken::into_unit`] turns it into what the committer checks and writes.
//!
//! A part of the work that fails is taken back by itself ([`Shared::back_to`]). When the store fails the whole unit is
//! spoiled: the plugin that was answered with the error may have gone on without what it asked for, and half of what it
//! knew is no ground for a commit.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;
use tradewind_model::{ActionError, Json, RecordKey, Shop, code};
use tradewind_store::{CommitError, Growth, NewInvocation, NewJob, Store, StoreError, Stored, Watch};

use super::echo::Echoes;
use super::ending::reason;
use super::incoming::Open;
use super::lines::Places;
use super::taken::Taken;

/// Records that one unit of work may write. 10,000: forty pages of a sync; all of it is written in one transaction, which
/// nobody else can commit beside.
pub const UNIT_WRITES_MAX: usize = 10_000;

/// Jobs that one unit of work may enqueue. 10,000, for the same reason.
pub const UNIT_JOBS_MAX: usize = 10_000;

/// Bytes of documents and jobs that one unit of work may write. 64 MiB: half of what the committer lets wait.
pub const UNIT_BYTES_MAX: usize = 64 << 20;

/// Remarks that a log entry keeps. 20: a person reads them.
const REMARKS_MAX: usize = 20;

/// A unit of work that an invocation, and those that it starts, write into.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Work>>);

/// What one piece of work read and wants to write.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) shop: Shop,
    pub(crate) now_ms: i64,
    /// Records as they were when they were first read.
    pub(super) seen: HashMap<RecordKey, Option<Stored>>,
    /// Of the documents in `seen`.
    pub(super) seen_bytes: usize,
    /// What the answers of its queries depend on; none before the first.
    pub(super) watch: Option<Watch>,
    /// The lines in which it has its turn, and those that a commit before its end has lost.
    pub(super) held: Places,
    pub(super) lost: Places,
    /// Why it is to run again without an attempt: a call of it was overtaken each time.
    pub(super) contended: Option<String>,
    /// The records whose actions run, the outermost first.
    pub(super) open: Vec<Open>,
    /// In the order of the first write.
    pub(super) written: IndexMap<RecordKey, Written>,
    jobs: Vec<NewJob>,
    /// The ids of `jobs`.
    job_ids: HashSet<String>,
    cancels: Vec<String>,
    /// The same, to be asked for.
    cancelled: HashSet<String>,
    /// Of what is written and enqueued.
    bytes: usize,
    /// Its change of the shop's usage.
    growth: Growth,
    /// How to take back each step, the last one first.
    undo: Vec<Undo>,
    /// The records that were written, or taken back, in that order: each as often as it was.
    pub(super) history: Vec<RecordKey>,
    /// Counts how often the unit was emptied: marks from before mean its beginning.
    pub(super) emptied: u32,
    /// What the handles of records that are open, by how deep their actions are nested, were last in step with.
    pub(super) bases: HashMap<(u32, RecordKey), Base>,
    /// What ran. Nothing takes it back: it did run.
    pub(crate) log: Vec<NewInvocation>,
    /// What a person should know of how it went.
    remarks: Vec<serde_json::Value>,
    /// How many of our own writes led to it, and which changes are their echoes.
    depth: u32,
    echoes: HashMap<RecordKey, Echoes>,
    /// Why nothing of this may be committed.
    spoiled: Option<Spoiled>,
    /// Whether a record was made because a query did not find one.
    looked_in_vain: bool,
    /// What a checkpoint has committed last.
    pub(crate) checkpoint: Option<Json>,
    /// Jobs that were committed before the end, with their numbers.
    pub(crate) made: Vec<(i64, NewJob)>,
}

/// Why a unit of work may not be committed, whatever the plugins made of it.
#[derive(Clone, Debug)]
pub(crate) enum Spoiled {
    /// The store did not answer.
    Store(String),
    /// What it has can never be read; with the reason for which the job is parked.
    Hopeless { reason: &'static str, message: String },
    /// A part that was to be committed early was not.
    Commit(CommitError),
}

/// A record as the unit leaves it.
#[derive(Clone, Debug)]
pub(super) struct Written {
    /// None: deleted.
    pub(super) doc: Option<Json>,
    pub(super) platform_updated_us: Option<i64>,
    /// Whether it gets a new version although nothing in it is new.
    pub(super) touched: bool,
}

/// What a record's handle was last in step with.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// What was stored, or saved through this handle; none for a record that is not stored yet.
    pub(crate) before: Option<Json>,
    /// The same with what came in: trusted, unlike what a plugin sets.
    pub(crate) arrived: Json,
    /// The platform's time that goes with it.
    pub(crate) updated_us: Option<i64>,
    /// Whether what came in is not saved yet.
    pub(crate) is_pending: bool,
}

/// How to take back one step.
#[derive(Debug)]
enum Undo {
    Wrote { key: RecordKey, before: Option<Written> },
    Added,
    Removed { at: usize, job: Box<NewJob> },
    Cancelled,
}

/// A place in a unit of work to go back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    steps: usize,
    emptied: u32,
}

/// A record as the unit sees it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) doc: Json,
    pub(crate) platform_updated_us: Option<i64>,
    pub(crate) created_ms: i64,
    pub(crate) updated_ms: i64,
}

impl Shared {
    pub(crate) fn new(shop: Shop, now_ms: i64) -> Self {
        Self(Arc::new(Mutex::new(Work {
            shop,
            now_ms,
            seen: HashMap::new(),
            seen_bytes: 0,
            watch: None,
            held: Places::new(),
            lost: Places::new(),
            contended: None,
            open: Vec::new(),
            written: IndexMap::new(),
            jobs: Vec::new(),
            job_ids: HashSet::new(),
            cancels: Vec::new(),
            cancelled: HashSet::new(),
            bytes: 0,
            growth: Growth::default(),
            undo: Vec::new(),
            history: Vec::new(),
            emptied: 0,
            bases: HashMap::new(),
            log: Vec::new(),
            remarks: Vec::new(),
            depth: 0,
            echoes: HashMap::new(),
            spoiled: None,
            looked_in_vain: false,
            checkpoint: None,
            made: Vec::new(),
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Work> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record by its key, through the unit's own writes.
    pub(crate) async fn find(&self, store: &Store, key: &RecordKey) -> Result<Option<Found>, ActionError> {
        let shop = {
            let work = self.lock();
            if let Some(known) = work.known(key) {
                return Ok(known);
            }
            work.shop.clone()
        };
        let stored = store.record(&shop, key).await.map_err(|error| self.store_failed(&error))?;
        let mut work = self.lock();
        work.read(key, stored)?;
        Ok(work.known(key).flatten())
    }

    /// Reads many records at once that will be looked for one by one.
    pub(crate) async fn look_ahead(&self, store: &Store, keys: Vec<RecordKey>) -> Result<(), ActionError> {
        let (shop, keys) = {
            let work = self.lock();
            let unknown = keys.into_iter().filter(|key| !work.seen.contains_key(key));
            (work.shop.clone(), unknown.collect::<Vec<_>>())
        };
        // As many as a page has.
        for keys in keys.chunks(tradewind_model::query::PAGE_MAX) {
            let stored = store.records(&shop, keys).await.map_err(|error| self.query_failed(&error))?;
            let mut work = self.lock();
            for (key, stored) in keys.iter().zip(stored) {
                work.read(key, stored)?;
            }
        }
        Ok(())
    }

    /// Spoils the unit, and says what the plugin is answered that asked the store.
    pub(crate) fn store_failed(&self, error: &StoreError) -> ActionError {
        let answer = internal(error);
        let (spoiled, answer) = match error {
            StoreError::Damaged { .. } => {
                let spoiled = Spoiled::Hopeless { reason: reason::DAMAGED, message: answer.message.clone() };
                (spoiled, ActionError { retryable: false, ..answer })
            }
            _ => (Spoiled::Store(answer.message.clone()), answer),
        };
        self.lock().spoil(spoiled);
        answer
    }

    /// A place to go back to when what follows fails.
    pub(crate) fn mark(&self) -> Mark {
        let work = self.lock();
        Mark { steps: work.undo.len(), emptied: work.emptied }
    }

    /// Takes back what was written and enqueued since; what was read stays read, and what ran has run.
    pub(crate) fn back_to(&self, mark: Mark) {
        let mut work = self.lock();
        let steps = if mark.emptied == work.emptied { mark.steps } else { 0 };
        while work.undo.len() > steps {
            work.take_back();
        }
    }

    /// Takes everything out that is to be committed, or thrown away, and leaves an empty unit of the same shop.
    pub(crate) fn take(&self) -> Taken {
        let mut work = self.lock();
        work.undo.clear();
        work.history.clear();
        work.job_ids.clear();
        work.cancelled.clear();
        work.bytes = 0;
        work.growth = Growth::default();
        work.emptied += 1;
        work.seen_bytes = 0;
        Taken {
            shop: work.shop.clone(),
            now_ms: work.now_ms,
            seen: std::mem::take(&mut work.seen),
            watch: work.watch.take(),
            written: std::mem::take(&mut work.written),
            jobs: std::mem::take(&mut work.jobs),
            cancels: std::mem::take(&mut work.cancels),
            log: std::mem::take(&mut work.log),
        }
    }

    pub(crate) fn spoiled(&self) -> Option<Spoiled> {
        self.lock().spoiled.clone()
    }
}

impl Work {
    /// What is known of a record without asking the store; none when nothing is.
    #[expect(clippy::option_option, reason = "not asked for is not the same as not there")]
    pub(super) fn known(&self, key: &RecordKey) -> Option<Option<Found>> {
        let seen = self.seen.get(key);
        match self.written.get(key) {
            Some(written) => Some(written.doc.clone().map(|doc| Found {
                doc,
                platform_updated_us: written.platform_updated_us,
                created_ms: seen.and_then(|seen| seen.as_ref()).map_or(self.now_ms, |seen| seen.created_ms),
                updated_ms: self.now_ms,
            })),
            None => seen.map(|seen| {
                seen.clone().map(|stored| Found {
                    doc: stored.doc,
                    platform_updated_us: stored.platform_updated_us,
                    created_ms: stored.created_ms,
                    updated_ms: stored.updated_ms,
                })
            }),
        }
    }

    /// Writes a record that was looked for before, or deletes it.
    pub(crate) fn write(
        &mut self,
        key: RecordKey,
        doc: Option<Json>,
        platform_updated_us: Option<i64>,
    ) -> Result<(), ActionError> {
        self.put(key, Written { doc, platform_updated_us, touched: false })
    }

    /// Writes a record that gets a new version although nothing in it may be new.
    pub(crate) fn write_touched(
        &mut self,
        key: RecordKey,
        doc: Json,
        platform_updated_us: Option<i64>,
    ) -> Result<(), ActionError> {
        self.put(key, Written { doc: Some(doc), platform_updated_us, touched: true })
    }

    fn put(&mut self, key: RecordKey, mut written: Written) -> Result<(), ActionError> {
        debug_assert!(self.seen.contains_key(&key), "`{key}` is written but was never read");
        let before = self.written.get(&key);
        if self.written.len() >= UNIT_WRITES_MAX && before.is_none() {
            return Err(too_much(UNIT_WRITES_MAX, "writes at most", "records (`unit_writes_max`)"));
        }
        let bytes = self.bytes - before.map_or(0, Written::bytes) + written.bytes();
        within(bytes)?;
        self.bytes = bytes;
        let (was, is) = (self.size_of(&key), written.size());
        self.growth.replace_record(&key.model, was, is);
        written.touched |= before.is_some_and(|before| before.touched);
        let before = self.written.insert(key.clone(), written);
        self.history.push(key.clone());
        self.undo.push(Undo::Wrote { key, before });
        Ok(())
    }

    /// The unit's change of its shop's usage.
    pub(crate) fn growth(&self) -> Growth {
        self.growth
    }

    /// Bytes of a record's document as the unit leaves it; none when there is no record.
    fn size_of(&self, key: &RecordKey) -> Option<usize> {
        self.written.get(key).map_or_else(|| self.stored_size_of(key), Written::size)
    }

    fn stored_size_of(&self, key: &RecordKey) -> Option<usize> {
        self.seen.get(key).and_then(Option::as_ref).map(|stored| stored.doc.as_str().len())
    }

    pub(crate) fn add_job(&mut self, job: NewJob) -> Result<(), ActionError> {
        if self.jobs.len() >= UNIT_JOBS_MAX {
            return Err(too_much(UNIT_JOBS_MAX, "enqueues at most", "jobs (`unit_jobs_max`)"));
        }
        let bytes = self.bytes + job_bytes(&job);
        within(bytes)?;
        self.bytes = bytes;
        self.growth.add_job(&job);
        self.job_ids.extend(job.id.clone());
        self.jobs.push(job);
        self.undo.push(Undo::Added);
        Ok(())
    }

    /// Whether the unit enqueues a job of this id.
    pub(crate) fn has_job(&self, id: &str) -> bool {
        self.job_ids.contains(id)
    }

    /// Whether the unit takes back a job of this id.
    pub(crate) fn has_cancelled(&self, id: &str) -> bool {
        self.cancelled.contains(id)
    }

    /// Takes back a job that the unit itself enqueues; false when there is none.
    pub(crate) fn remove_job(&mut self, id: &str) -> bool {
        // Most ids are none of the unit's own.
        if !self.job_ids.contains(id) {
            return false;
        }
        let Some(at) = self.jobs.iter().position(|job| job.id.as_deref() == Some(id)) else { return false };
        let job = self.jobs.remove(at);
        self.job_ids.remove(id);
        self.bytes -= job_bytes(&job);
        self.growth.remove_job(&job);
        self.undo.push(Undo::Removed { at, job: Box::new(job) });
        true
    }

    /// Takes back a job that is stored.
    pub(crate) fn cancel(&mut self, id: &str) {
        self.cancels.push(id.to_owned());
        self.cancelled.insert(id.to_owned());
        self.undo.push(Undo::Cancelled);
    }

    fn take_back(&mut self) {
        match self.undo.pop() {
            None => {}
            Some(Undo::Wrote { key, before }) => {
                self.history.push(key.clone());
                let is = self.size_of(&key);
                let was = before.as_ref().map_or_else(|| self.stored_size_of(&key), Written::size);
                self.growth.replace_record(&key.model, is, was);
                let written = match before {
                    Some(before) => {
                        self.bytes += before.bytes();
                        self.written.insert(key, before)
                    }
                    // What was written last is last: nothing changes its place.
                    None => self.written.swap_remove(&key),
                };
                self.bytes -= written.map_or(0, |written| written.bytes());
            }
            Some(Undo::Added) => {
                if let Some(job) = self.jobs.pop() {
                    self.bytes -= job_bytes(&job);
                    self.growth.remove_job(&job);
                    job.id.as_ref().map(|id| self.job_ids.remove(id));
                }
            }
            Some(Undo::Removed { at, job }) => {
                self.bytes += job_bytes(&job);
                self.growth.add_job(&job);
                self.job_ids.extend(job.id.clone());
                self.jobs.insert(at, *job);
            }
            Some(Undo::Cancelled) => {
                let id = self.cancels.pop();
                id.map(|id| self.cancelled.remove(&id));
            }
        }
    }

    /// Says that nothing of this may be committed. The first reason counts.
    pub(crate) fn spoil(&mut self, spoiled: Spoiled) {
        self.spoiled.get_or_insert(spoiled);
    }

    /// In `success`, where each call is a unit of its own: the next one begins anew.
    pub(crate) fn forget_spoiled(&mut self) -> Option<Spoiled> {
        self.spoiled.take()
    }

    pub(crate) fn base(&self, nested: u32, key: &RecordKey) -> Option<Base> {
        self.bases.get(&(nested, key.clone())).cloned()
    }

    pub(crate) fn set_base(&mut self, nested: u32, key: &RecordKey, base: Base) {
        self.bases.insert((nested, key.clone()), base);
    }

    /// Notes that a record is made because a query did not find one: the database may know better.
    pub(crate) fn looked_in_vain(&mut self) {
        self.looked_in_vain = true;
    }

    /// Whether a unique value that is taken means that somebody was faster.
    pub(crate) fn may_be_late(&self) -> bool {
        self.looked_in_vain
    }

    /// Notes something that a person should know.
    pub(crate) fn remark(&mut self, remark: serde_json::Value) {
        if self.remarks.len() < REMARKS_MAX {
            self.remarks.push(remark);
        }
    }

    /// Notes that a change of a record is the echo of our own writes, and how deep that makes the work.
    pub(crate) fn note_echo(&mut self, key: &RecordKey, echoes: &Echoes, depth: u32) {
        self.depth = self.depth.max(depth);
        if !echoes.is_empty() {
            self.echoes.insert(key.clone(), echoes.clone());
        }
    }

    pub(crate) fn take_causes(&mut self) -> (u32, HashMap<RecordKey, Echoes>) {
        (self.depth, std::mem::take(&mut self.echoes))
    }

    /// What was noted, for the log.
    pub(crate) fn take_remarks(&mut self) -> Option<Json> {
        let remarks = std::mem::take(&mut self.remarks);
        if remarks.is_empty() { None } else { Json::of(&serde_json::json!({ "remarks": remarks })).ok() }
    }

    /// What the store is known to have of a record.
    pub(crate) fn see(&mut self, key: RecordKey, stored: Option<Stored>) {
        self.seen.insert(key, stored);
    }
}

impl Written {
    fn bytes(&self) -> usize {
        self.size().unwrap_or_default()
    }

    fn size(&self) -> Option<usize> {
        self.doc.as_ref().map(|doc| doc.as_str().len())
    }
}

fn job_bytes(job: &NewJob) -> usize {
    job.payload.as_ref().map_or(0, |payload| payload.as_str().len())
}

fn within(bytes: usize) -> Result<(), ActionError> {
    if bytes <= UNIT_BYTES_MAX {
        return Ok(());
    }
    Err(too_much(UNIT_BYTES_MAX, "holds at most", "bytes (`unit_bytes_max`)"))
}

pub(super) fn too_much(max: usize, verb: &str, what: &str) -> ActionError {
    let hint = "hint: enqueue a job for the rest, or use `checkpoint`";
    ActionError::permanent(code::INVALID_ARGUMENT, format!("a unit of work {verb} {max} {what}; {hint}"))
}

/// What a plugin learns when the host fails: that it may try again.
pub(crate) fn internal(error: &dyn std::error::Error) -> ActionError {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        message = format!("{message}: {inner}");
        source = inner.source();
    }
    ActionError::retryable(code::INTERNAL, message)
}

#[cfg(test)]
mod tests;
