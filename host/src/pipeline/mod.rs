//! What is done with a delivery or a job: the only place where the store and the sandbox meet.
//!
//! The way of a delivery: [`Pipeline::run`] reads the body, a [`Mapper`] says what changed, `delivery` drops what is stale,
//! `action` runs the interested plugins against a unit of work (`work`) through a `session`, `saving` decides what they leave
//! of the record, and the unit is committed with the end of the job. No transaction is open meanwhile: a conflict runs
//! everything again from the start. `success` is a job of that commit (`continuation`).
//!
//! To add a kind of job: a variant of the store's `JobKind`, its payload in `job`, and a line in `attempt`.

mod action;
mod app;
mod arrival;
mod calling;
mod clients;
mod context;
mod continuation;
mod data;
mod delivery;
mod echo;
mod ending;
mod family;
mod incoming;
mod job;
mod lines;
mod outcome;
mod own;
mod quotas;
mod reads;
mod saving;
mod session;
mod taken;
mod validation;
mod work;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use tracing::Instrument as _;
use tradewind_model::query::Reach;
use tradewind_model::{ActionError, Json, Shop, code};
use tradewind_platform::mapping::Mapper;
use tradewind_runtime::Runtime;
use tradewind_runtime::session::Work as Enqueued;
use tradewind_store::{CommitError, Committed, Fence, Finish, How, Job, JobKind, NewInvocation, NewJob, Store, Unit};

pub use app::{App, Installed, Route};
pub use clients::Clients;
pub use context::{Chance, Clock, LogSink, NESTED_ACTIONS_MAX, Source};
pub use ending::reason;
pub use reads::UNIT_READ_BYTES_MAX;
pub use work::{UNIT_BYTES_MAX, UNIT_JOBS_MAX, UNIT_WRITES_MAX};

use context::{Cause, Checkpoint, Context, Host};
use ending::{Trouble, ending, error_json, undetailed};
use job::{Payload, Replay};
use lines::{Asked, Turn};
use outcome::{Done, Past, WAITS, ended, log_entry, policy_of, unknown, with_error};
use work::{Shared, Spoiled};

use crate::traces;
use crate::watch::{Attempt, Watch};

/// How often work is done again in one attempt because what it was decided on was changed meanwhile: a whole job's, or one
/// call's of `success`. 100: in its turn a unit is overtaken by those alone who were on their way before, or by other hosts.
/// Then the job waits, which is no attempt.
pub const CONFLICT_RERUNS_MAX: u32 = 100;

/// How long a job waits that was overtaken each time, in milliseconds. 1 second: whoever overtakes it is busy.
pub const CONFLICT_AFTER_MS: i64 = 1_000;

/// How often work is done again because a unique value, or the id of a job, was taken by the time of its commit. 5: the second
/// run finds who has it, unless that is of another shop.
pub const UNIQUE_RERUNS_MAX: u32 = 5;

/// How many of our own writes may stand between a job and an outside cause. 10: three plugins that answer one another end
/// by themselves; a circle does not. Only a write to a platform whose echo comes back as a webhook counts: a job that a job
/// enqueues has the depth of that job.
pub const CAUSAL_DEPTH_MAX: u32 = 10;

/// How long a job waits for its app, plugin or platform to be there before it is looked at again. 15 seconds: what a host
/// takes to start.
pub const NOT_INSTALLED_AFTER_MS: i64 = 15_000;

/// How old a job is when it stops waiting for what is not installed, and is parked. 1 hour: a deployment that takes longer
/// has failed.
pub const NOT_INSTALLED_PARK_AFTER_MS: i64 = 60 * 60 * 1_000;

/// Bytes of a result that the log keeps for `queue.status`. 1 MiB: what an action may return.
const RESULT_BYTES_MAX: usize = 1 << 20;

/// Does what jobs ask for. One for a process.
pub struct Pipeline {
    host: Arc<Host>,
    /// None for an app that is configured and cannot be installed yet.
    apps: RwLock<HashMap<Arc<str>, Option<Arc<App>>>>,
    mappers: HashMap<String, Arc<dyn Mapper>>,
}

/// How an attempt at a job ended.
#[derive(Debug)]
pub enum Ended {
    /// The job is finished, in one commit with all that it wrote; these jobs were made, with their numbers.
    Done(Vec<(i64, NewJob)>),
    /// It is to run again at this time, in milliseconds since 1970.
    Again {
        /// Not before.
        run_at_ms: i64,
        /// Attempts used so far.
        attempts: u32,
        /// Jobs that it had made in commits of their own, with their numbers.
        made: Vec<(i64, NewJob)>,
    },
    /// It waits for a person.
    Parked {
        /// Why.
        reason: String,
        /// Jobs that it had made in commits of their own, with their numbers.
        made: Vec<(i64, NewJob)>,
    },
    /// It was somebody else's, or taken back: nothing was written.
    Gone,
    /// The lease is lost: nothing was written.
    Fenced,
    /// The store failed. Whether anything was written is not known: look at the job again.
    Unknown(String),
}

impl Pipeline {
    /// A pipeline without apps. `mappers` are by the platform's name.
    pub fn new(
        store: Arc<Store>,
        runtime: Arc<Runtime>,
        clock: Arc<dyn Clock>,
        log: Arc<dyn LogSink>,
        seed: u64,
        mappers: HashMap<String, Arc<dyn Mapper>>,
    ) -> Self {
        let host = Host {
            store,
            runtime,
            clock,
            chance: Chance::new(seed),
            log,
            lines: Arc::default(),
            clients: OnceLock::new(),
            watch: OnceLock::new(),
        };
        let host = Arc::new(host);
        Self { host, apps: RwLock::default(), mappers }
    }

    /// Lets plugins reach the platforms. Once: who connects it again changes nothing.
    #[must_use]
    pub fn with_clients(self, clients: Arc<dyn Clients>) -> Self {
        let _ = self.host.clients.set(clients);
        self
    }

    /// Tells somebody what happens. Once, too.
    #[must_use]
    pub fn with_watch(self, watch: Arc<dyn Watch>) -> Self {
        let _ = self.host.watch.set(watch);
        self
    }

    /// Puts an app in the place of the one with the same key. What runs goes on with the old one.
    pub fn install(&self, app: App) {
        self.apps.write().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(&app.key), Some(Arc::new(app)));
    }

    /// Makes the jobs of an app that is not installed yet wait for as long as that takes, however old they are.
    pub fn expect(&self, key: &str) {
        self.apps.write().unwrap_or_else(PoisonError::into_inner).entry(key.into()).or_default();
    }

    /// Whether the app is configured and cannot be installed yet.
    fn is_expected(&self, key: &str) -> bool {
        matches!(self.apps.read().unwrap_or_else(PoisonError::into_inner).get(key), Some(None))
    }

    /// The app of this key.
    pub fn app(&self, key: &str) -> Option<Arc<App>> {
        self.apps.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned().flatten()
    }

    /// Makes one attempt at a job, under a lease of its partition.
    pub async fn run(&self, job: &Job, fence: Fence) -> Ended {
        let mut past = Past::new(job.checkpoint.clone());
        let mut turn = Turn::new(&self.host.lines, job.shop.clone());
        for reruns in 0.. {
            let work = Shared::new(job.shop.clone(), self.host.now_ms());
            {
                let mut work = work.lock();
                (work.watch, work.held) = (turn.protect(&self.host.store), turn.held());
            }
            let attempted = self.attempt(job, &fence, &work, past.checkpoint.as_ref()).await;
            past.checkpoint = work.lock().checkpoint.take().or(past.checkpoint);
            let refused = match self.end_run(job, &fence, &work, &mut past, &mut turn, attempted).await {
                Ok(ended) => return ended,
                Err(refused) => refused,
            };
            let reruns_max = match refused {
                CommitError::Conflict { .. } => CONFLICT_RERUNS_MAX,
                _ => UNIQUE_RERUNS_MAX,
            };
            let is_late = session::is_late(&refused, work.lock().may_be_late());
            if is_late {
                past.in_vain();
            }
            if !is_late || reruns >= reruns_max {
                return self.not_committed(job, &fence, past, &refused).await;
            }
            // What it holds of the database's, and of memory, is not needed in line.
            drop(work);
            turn.wait().await;
        }
        Ended::Unknown("the work was never done".to_owned())
    }

    /// Ends a run: commits it, or says what it was refused for.
    async fn end_run(
        &self,
        job: &Job,
        fence: &Fence,
        work: &Shared,
        past: &mut Past,
        turn: &mut Turn,
        attempted: Result<Done, Trouble>,
    ) -> Result<Ended, CommitError> {
        let (contended, lost) = {
            let mut work = work.lock();
            (work.contended.take(), std::mem::take(&mut work.lost))
        };
        turn.lose(lost);
        match work.spoiled() {
            Some(Spoiled::Store(reason)) => return Ok(Ended::Unknown(reason)),
            Some(Spoiled::Commit(error)) => {
                turn.lose_by(&error, &Asked::default());
                past.add(work);
                return Err(error);
            }
            Some(Spoiled::Hopeless { reason, message }) => {
                let hopeless = Err(Trouble::Hopeless { reason, message });
                return Ok(self.end(job, fence, work, past, turn, hopeless).await.unwrap_or_else(unknown));
            }
            None => {}
        }
        let attempted = match (attempted, contended) {
            (Err(_), Some(message)) => Err(Trouble::Contended(message)),
            (Err(trouble), None) if trouble.may_come_from_reads() => {
                let outdated = match work.outdated(&self.host).await {
                    Ok(outdated) => outdated,
                    Err(error) => return Ok(Ended::Unknown(error.message)),
                };
                if let Some(error) = lines::overtaking(&job.shop, &outdated) {
                    turn.lose(outdated);
                    past.add(work);
                    return Err(error);
                }
                Err(trouble)
            }
            (attempted, _) => attempted,
        };
        self.end(job, fence, work, past, turn, attempted).await
    }

    /// Commits the end of an attempt. When that is refused, what ran is remembered in `past`.
    async fn end(
        &self,
        job: &Job,
        fence: &Fence,
        work: &Shared,
        past: &mut Past,
        turn: &mut Turn,
        attempted: Result<Done, Trouble>,
    ) -> Result<Ended, CommitError> {
        let remarks = work.lock().take_remarks();
        let (how, outcome, detail) = match self.how(job, attempted) {
            Ok((how, outcome, detail)) => (how, outcome, detail.or(remarks)),
            Err(reason) => return Ok(Ended::Unknown(reason)),
        };
        let (depth, echoes) = work.lock().take_causes();
        let taken = work.take();
        let watch = self.host.watch.get();
        let is_done = matches!(how, How::Done);
        let changes = match watch {
            Some(watch) if is_done && watch.wants_changes() => taken.changes(&echoes),
            _ => Vec::new(),
        };
        past.made.append(&mut work.lock().made);
        let mut unit = if matches!(how, How::Done) {
            taken.into_unit()
        } else {
            Unit { log: taken.log, ..Unit::new(job.shop.clone(), self.host.now_ms()) }
        };
        let ran = unit.log.len();
        unit.log.splice(0..0, past.log.iter().cloned());
        // A job that waits is looked at so often that its waiting would be all that the log has.
        let says = unit.log.is_empty() || matches!(job.kind, JobKind::Delivery | JobKind::Action);
        if says && outcome != WAITS {
            let logged = if is_done { detail.clone() } else { detail.as_ref().map(ending::logged) };
            unit.log.push(log_entry(job, outcome, logged));
        }
        unit.fence = Some(fence.clone());
        unit.finish = Some(Finish { job: job.seq, how: how.clone() });
        let (jobs, before) = (unit.jobs.clone(), past.log.len());
        let all = unit.log.clone();
        let tell = || {
            if let Some(watch) = watch {
                let error = detail.as_ref().filter(|_| !is_done);
                let depth = depth.max(job.depth);
                watch.ended(&Attempt { job, outcome, error, changes: &changes, depth, took_us: past.took_us() });
            }
        };
        match turn.commit(&self.host.store, unit).await {
            Ok(Committed { jobs: seqs, .. }) => {
                tell();
                let made = jobs.into_iter().zip(seqs).filter_map(|(job, seq)| Some((seq?, job)));
                Ok(ended(&how, std::mem::take(&mut past.made).into_iter().chain(made).collect()))
            }
            Err(CommitError::Refused { reason }) if !matches!(how, How::Done) => {
                self.end_plainly(job, fence, how.clone(), all, &reason).await?;
                tell();
                Ok(ended(&how, std::mem::take(&mut past.made)))
            }
            Err(error) => {
                past.log.extend(all.into_iter().skip(before).take(ran));
                Err(error)
            }
        }
    }

    /// Commits an end that was refused for what goes with it: without details, and when even that is refused with nothing but
    /// a text of our own. A job whose end cannot be written would never end.
    async fn end_plainly(
        &self,
        job: &Job,
        fence: &Fence,
        how: How,
        mut log: Vec<NewInvocation>,
        reason: &str,
    ) -> Result<(), CommitError> {
        for entry in &mut log {
            entry.detail = None;
        }
        let nothing = ActionError::permanent(code::VALIDATION_FAILED, format!("the error cannot be kept: {reason}"));
        let plain = with_error(how.clone(), |error| undetailed(&error));
        let bare = with_error(how, |_| error_json(&nothing));
        let mut refused = Ok(());
        for (how, log) in [(plain, log), (bare, Vec::new())] {
            let finish = Some(Finish { job: job.seq, how });
            let fence = Some(fence.clone());
            let unit = Unit { log, fence, finish, ..Unit::new(job.shop.clone(), self.host.now_ms()) };
            refused = self.host.store.commit(unit).await.map(drop);
            if !matches!(refused, Err(CommitError::Refused { .. })) {
                break;
            }
        }
        refused
    }

    /// What becomes of the job, a word for the log and what belongs to it. An error: the store failed.
    fn how(&self, job: &Job, attempted: Result<Done, Trouble>) -> Result<(How, &'static str, Option<Json>), String> {
        let attempts = job.attempts + 1;
        let (how, outcome) = match attempted {
            Ok(Done { outcome, result }) => return Ok((How::Done, outcome, result)),
            Err(Trouble::Lost(reason)) => return Err(reason),
            Err(Trouble::NotInstalled(message)) => self.wait(job, message),
            Err(Trouble::Contended(message)) => {
                let error = Some(error_json(&ActionError::retryable(code::CONFLICT, message)));
                let run_at_ms = self.host.now_ms().saturating_add(CONFLICT_AFTER_MS);
                (How::Again { run_at_ms, attempts: job.attempts, error }, WAITS)
            }
            Err(Trouble::Hopeless { reason, message }) => {
                let error = Some(error_json(&ActionError::permanent(reason, message)));
                (How::Park { attempts, reason: reason.to_owned(), error }, "parked")
            }
            Err(Trouble::Stopped(stopped)) => {
                ending(&stopped, &policy_of(job), attempts, self.host.chance.next(), self.host.now_ms())
            }
        };
        let error = match &how {
            How::Again { error, .. } | How::Park { error, .. } => error.clone(),
            How::Done | How::Started | How::Checkpoint { .. } => None,
        };
        Ok((how, outcome, error))
    }

    /// What becomes of a job that needs what this host does not have: hosts are deployed one after another, so it waits,
    /// which is no attempt, until it is plain that nobody will bring it.
    fn wait(&self, job: &Job, message: String) -> (How, &'static str) {
        let reason = reason::NOT_INSTALLED;
        let now_ms = self.host.now_ms();
        let is_old = now_ms.saturating_sub(job.created_ms) >= NOT_INSTALLED_PARK_AFTER_MS;
        if is_old && !self.is_expected(&job.shop.app) {
            let error = Some(error_json(&ActionError::permanent(reason, message)));
            return (How::Park { attempts: job.attempts + 1, reason: reason.to_owned(), error }, "parked");
        }
        let error = Some(error_json(&ActionError::retryable(reason, message)));
        let run_at_ms = now_ms.saturating_add(NOT_INSTALLED_AFTER_MS);
        (How::Again { run_at_ms, attempts: job.attempts, error }, WAITS)
    }

    /// What a commit that did not happen means for the job.
    async fn not_committed(&self, job: &Job, fence: &Fence, mut past: Past, error: &CommitError) -> Ended {
        let refused = match error {
            CommitError::Fenced { .. }
            | CommitError::JobGone { .. }
            | CommitError::Unavailable { .. }
            | CommitError::Busy { .. } => return unknown(error.clone()),
            CommitError::Conflict { .. }
            | CommitError::NotUnique { .. }
            | CommitError::DuplicateJob { .. }
            | CommitError::Quota(_)
            | CommitError::Refused { .. } => error,
        };
        let work = Shared::new(job.shop.clone(), self.host.now_ms());
        let trouble = if matches!(refused, CommitError::Conflict { .. }) {
            Trouble::Contended(refused.to_string())
        } else {
            // The unit was refused for what it holds: the attempt failed, and its end is committed alone.
            let mut refused = match self.app(&job.shop.app) {
                Some(app) => session::refused(&self.context(&app, &work, Cause::of(job, fence, None)), refused),
                None => work::internal(refused),
            };
            // Another delivery may free the value that a platform has given to somebody else.
            refused.retryable |= job.kind == JobKind::Delivery && matches!(error, CommitError::NotUnique { .. });
            refused.into()
        };
        let mut turn = Turn::new(&self.host.lines, job.shop.clone());
        self.end(job, fence, &work, &mut past, &mut turn, Err(trouble)).await.unwrap_or_else(unknown)
    }

    fn context(&self, app: &Arc<App>, work: &Shared, cause: Cause) -> Context {
        Context {
            host: Arc::clone(&self.host),
            app: Arc::clone(app),
            cause: Arc::new(cause),
            work: work.clone(),
            nested: 0,
            reach: Reach::Shop,
        }
    }

    /// Does the job's work into `work`.
    async fn attempt(
        &self,
        job: &Job,
        fence: &Fence,
        work: &Shared,
        checkpoint: Option<&Json>,
    ) -> Result<Done, Trouble> {
        if job.depth > CAUSAL_DEPTH_MAX {
            return Err(Trouble::too_deep(job.depth));
        }
        let Some(app) = self.app(&job.shop.app) else {
            let message = format!("there is no app `{}` on this host; hint: deploy it and retry", job.shop.app);
            return Err(Trouble::NotInstalled(message));
        };
        let checkpoint = checkpoint.map(Json::to).transpose().map_err(|error| damaged(job, &error))?;
        let context = self.context(&app, work, Cause::of(job, fence, checkpoint));
        let payload = job.payload.as_ref().map(Json::to).transpose().map_err(|error| damaged(job, &error))?;
        let payload: Payload = payload.unwrap_or_default();
        if job.kind == JobKind::Delivery {
            // What it goes back to is known when its record is.
            let outcome = self.deliver(context, job, payload.replay).await?;
            return Ok(Done { outcome, result: None });
        }
        let span = span_of(job);
        traces::follow(&span, payload.trace.as_deref());
        do_job(job, context, payload).instrument(span).await
    }
}

/// Does what a job asks for that is no delivery.
async fn do_job(job: &Job, context: Context, payload: Payload) -> Result<Done, Trouble> {
    let Payload { work, by, continuation, .. } = payload;
    match (job.kind, work, continuation) {
        (JobKind::Action, Some(Enqueued::Action { action, params }), _) => {
            let reach = context.app.reach_of(by.as_deref());
            let result = Context { reach, ..context }.run_named(&action, &params).await?;
            let result = Some(result).filter(|result| result.as_str().len() <= RESULT_BYTES_MAX);
            Ok(Done { outcome: job::DONE, result })
        }
        (JobKind::Action, _, Some(continuation)) => {
            context.continue_run(&continuation).await?;
            Ok(Done { outcome: job::DONE, result: None })
        }
        (JobKind::Success, _, Some(continuation)) => {
            context.continue_success(&continuation).await?;
            Ok(Done { outcome: job::DONE, result: None })
        }
        (JobKind::Call, Some(Enqueued::Call { call }), _) => {
            let result = context.call_later(&by.unwrap_or_default(), &call).await?;
            let result = Some(result).filter(|result| result.as_str().len() <= RESULT_BYTES_MAX);
            Ok(Done { outcome: job::DONE, result })
        }
        _ => Err(damaged(job, &"it does not say what to do")),
    }
}

/// The span of an attempt: whatever is logged in it says whose it is.
fn span_of(job: &Job) -> tracing::Span {
    tracing::info_span!(
        "job",
        app = &*job.shop.app,
        shop.id = &*job.shop.id,
        kind = job.kind.as_str(),
        job.seq = job.seq,
        delivery.seq = job.delivery_seq,
        attempt = job.attempts + 1,
    )
}

fn damaged(job: &Job, why: &dyn std::fmt::Display) -> Trouble {
    Trouble::hopeless(reason::DAMAGED, format!("the job {} cannot be read: {why}", job.seq))
}

impl Cause {
    /// Why a job's work runs, before more is known of it.
    fn of(job: &Job, fence: &Fence, checkpoint: Option<Checkpoint>) -> Self {
        let trigger = serde_json::json!({ "kind": "job", "jobId": job.id });
        Self {
            trigger: Json::of(&trigger).unwrap_or_else(|_| Json::object([])),
            payload: None,
            payload_is_kept: false,
            delivery_seq: job.delivery_seq,
            job_seq: Some(job.seq),
            job_id: job.id.clone(),
            key: format!("job:{}", job.seq),
            attempt: job.attempts + 1,
            depth: job.depth,
            chain: job.chain,
            fence: Some(fence.clone()),
            checkpoint,
            alone: false,
        }
    }
}

/// The lane of a record's deliveries: what a host that takes a delivery in passes on.
pub fn lane_of(model: &str, id: &str) -> String {
    format!("{model} {id}")
}

/// A job that processes a delivery again.
pub fn replay(delivery: &tradewind_store::Delivery, force: bool) -> (Shop, NewJob) {
    let payload = Payload { replay: Some(Replay { force }), ..Payload::default() };
    let payload = Json::of(&payload).ok();
    let job = NewJob {
        lane: delivery.lane.clone(),
        delivery_seq: Some(delivery.seq),
        ..NewJob::new(JobKind::Delivery, payload)
    };
    (delivery.shop.clone(), job)
}
