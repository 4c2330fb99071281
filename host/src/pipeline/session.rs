//! The whole power of a plugin: the runtime's `Session` over a unit of work.
//!
//! In `run` everything is buffered and becomes true when the unit commits. In `success` the change is committed already, so
//! each call is a unit of its own, committed at once, with all that the actions that it runs do.

use std::sync::Arc;

use async_trait::async_trait;
use tradewind_model::job_options::JobOptions;
use tradewind_model::{ActionError, ActiveRecord, Json, Origin, RecordKey, code, work};
use tradewind_runtime::session::{
    Answer, ClientShop, ListPage, LogEntry, Page, Platform, PlatformCall, PlatformList, Which, WhichShop,
    Work as Enqueued, Write,
};
use tradewind_runtime::{Phase, Session};
use tradewind_store::{CommitError, Committed, Finish, How, NewJob, Stored, Unit};

use super::action::checkpoint_of;
use super::app::{Installed, Route};
use super::context::{Checkpoint, Context, Source, Stopped};
use super::lines::{Asked, Places, Turn, overtaking};
use super::quotas::over_quota;
use super::work::{Spoiled, internal};
use super::{CONFLICT_RERUNS_MAX, UNIQUE_RERUNS_MAX};

/// One invocation's session.
pub(crate) struct UnitSession {
    /// What the invocation itself runs in.
    context: Context,
    /// What runs in it.
    inside: Context,
    installed: Arc<Installed>,
    action: String,
    phase: Phase,
    /// The record that it is about.
    about: Option<RecordKey>,
    checkpoint_of: String,
    /// In `success`: what the call that is being made has lost so far.
    turn: Turn,
    /// In `success`: how often the call was made again for a unique value.
    unique_reruns: u32,
}

impl UnitSession {
    pub(crate) fn new(context: &Context, route: &Route, phase: Phase, record: Option<&ActiveRecord>) -> Self {
        Self {
            context: context.clone(),
            inside: context.inside(route),
            installed: Arc::clone(&route.installed),
            action: route.action().name.clone(),
            phase,
            about: record.map(|record| RecordKey::new(record.model(), record.id())),
            checkpoint_of: checkpoint_of(route, record),
            turn: Turn::new(&context.host.lines, context.shop()),
            unique_reruns: 0,
        }
    }

    /// Ends a call: in `success` commits what it buffered, because nothing else will. None: it is to be decided again.
    async fn settle<T>(&mut self, answer: Answer<T>) -> Option<Answer<T>> {
        if self.phase == Phase::Run {
            return Some(answer);
        }
        let settled = match answer {
            Ok(answer) => self.commit_call().await.map(|is_committed| is_committed.then_some(answer)),
            Err(error) => self.give_up(error).await,
        };
        match settled {
            Ok(None) => {
                // What the call read is not needed in line.
                drop(self.take());
                self.turn.wait_in_call().await;
                let mut work = self.context.work.lock();
                (work.watch, work.held) = (self.turn.protect(&self.context.host.store), self.turn.held());
                None
            }
            Ok(Some(answer)) => {
                self.end_call();
                Some(Ok(answer))
            }
            Err(error) => {
                self.end_call();
                Some(Err(error))
            }
        }
    }

    /// Commits what a call buffered. False: it is to be decided again.
    async fn commit_call(&mut self) -> Answer<bool> {
        let work = &self.context.work;
        if let Some(spoiled) = work.lock().forget_spoiled() {
            drop(self.take());
            let (Spoiled::Store(message) | Spoiled::Hopeless { message, .. }) = spoiled else { return Ok(false) };
            return Err(ActionError::retryable(code::INTERNAL, message));
        }
        let may_be_late = work.lock().may_be_late();
        let mut unit = self.take();
        if !unit.has_effects() {
            return Ok(true);
        }
        unit.fence.clone_from(&self.context.cause.fence);
        let jobs = unit.jobs.clone();
        match self.turn.commit(&self.context.host.store, unit).await {
            Ok(committed) => {
                self.remember_made(jobs, &committed);
                Ok(true)
            }
            Err(error @ CommitError::Conflict { .. }) if is_late(&error, may_be_late) => Ok(false),
            Err(error) if is_late(&error, may_be_late) && self.unique_reruns < UNIQUE_RERUNS_MAX => {
                self.unique_reruns += 1;
                Ok(false)
            }
            Err(error) => Err(refused(&self.context, &error)),
        }
    }

    /// Throws away what a call buffered that failed. None: what it read is not so any more, and it is to be decided again.
    async fn give_up<T>(&mut self, error: ActionError) -> Answer<Option<T>> {
        let is_spoiled = self.context.work.lock().forget_spoiled().is_some();
        let outdated =
            if is_spoiled { Ok(Places::new()) } else { self.context.work.outdated(&self.context.host).await };
        drop(self.take());
        self.context.work.lock().forget_spoiled();
        if self.turn.lose(outdated.unwrap_or_default()) { Ok(None) } else { Err(error) }
    }

    /// What comes next is another unit.
    fn end_call(&mut self) {
        self.turn.end();
        self.unique_reruns = 0;
        let mut work = self.context.work.lock();
        (work.watch, work.held) = (None, Places::new());
    }

    /// What a plugin learns of a call that was overtaken each time. The job runs again, whatever the plugin makes of it.
    fn overtaken(&mut self) -> ActionError {
        self.end_call();
        let message = "the call was overtaken each time; hint: the job runs again without using an attempt";
        self.context.work.lock().contended = Some(message.to_owned());
        ActionError::retryable(code::CONFLICT, message)
    }

    /// Takes everything out but the log: what ran is logged when the job ends.
    fn take(&self) -> Unit {
        let mut unit = self.context.work.take().into_unit();
        self.context.work.lock().log.append(&mut unit.log);
        unit
    }

    /// Remembers the jobs of a commit before the end.
    fn remember_made(&self, jobs: Vec<NewJob>, committed: &Committed) {
        let made = jobs.into_iter().zip(&committed.jobs).filter_map(|(job, seq)| Some(((*seq)?, job)));
        self.context.work.lock().made.extend(made);
    }

    /// Commits a part of the job's work before its end, unless it would overtake somebody in a line.
    async fn commit_early(&self, unit: Unit) -> Result<Committed, CommitError> {
        let work = &self.context.work;
        let held = work.lock().held.clone();
        let overtaken = self.context.host.lines.overtaken_by(&unit, &held);
        if let Some(error) = overtaking(&unit.shop, &overtaken) {
            work.lock().lost.extend(overtaken);
            return Err(error);
        }
        let (jobs, asked) = (unit.jobs.clone(), Asked::of(&unit));
        let committed = self.context.host.store.commit(unit).await;
        match &committed {
            Ok(committed) => self.remember_made(jobs, committed),
            Err(_) => work.lock().lost.extend(asked.outdated()),
        }
        committed
    }

    /// Commits what was written so far with the place to go on from.
    async fn store_checkpoint(&self, state: Json) -> Result<(), CommitError> {
        let work = &self.context.work;
        let checkpoint = Checkpoint { of: self.checkpoint_of.clone(), state };
        let checkpoint = Json::of(&checkpoint).map_err(|error| CommitError::Refused { reason: error.reason })?;
        let taken = work.take();
        // Everything else is read anew, but the plugin goes on with its record.
        let about = self.about.as_ref().and_then(|key| Some((key, taken.seen(key)?)));
        let mut unit = taken.into_unit();
        let (now_ms, log) = (unit.now_ms, unit.log.clone());
        let written = about.as_ref().and_then(|(key, _)| unit.writes.iter().position(|write| write.key == **key));
        let document = written.map(|at| (unit.writes[at].doc.clone(), unit.writes[at].platform_updated_us));
        unit.fence.clone_from(&self.context.cause.fence);
        let job = self.context.cause.job_seq.unwrap_or_default();
        unit.finish = Some(Finish { job, how: How::Checkpoint { state: checkpoint.clone() } });
        let committed = match self.commit_early(unit).await {
            Ok(committed) => committed,
            Err(error) => {
                work.lock().log.extend(log);
                return Err(error);
            }
        };
        let mut work = work.lock();
        work.checkpoint = Some(checkpoint);
        if let Some((key, stored)) = about {
            let stored = match (written, document) {
                (Some(at), Some((doc, platform_updated_us))) => doc.map(|doc| Stored {
                    version: committed.versions[at],
                    doc,
                    platform_updated_us,
                    created_ms: stored.map_or(now_ms, |stored| stored.created_ms),
                    updated_ms: now_ms,
                }),
                _ => stored,
            };
            work.see(key.clone(), stored);
        }
        Ok(())
    }

    async fn run_named(&self, action: &str, params: &Json) -> Answer<Json> {
        let mark = self.inside.work.mark();
        let ran = Box::pin(self.inside.run_named(action, params)).await;
        if ran.is_err() {
            self.inside.work.back_to(mark);
        }
        ran.map_err(Stopped::into_error)
    }
}

/// Calls something that buffers, and commits it in `success`; again when somebody else was faster.
macro_rules! settled {
    ($self:ident, $call:expr) => {{
        for _ in 0..=CONFLICT_RERUNS_MAX {
            // What a call found out that looked at too much is nothing to commit. The sandbox ends it by name.
            let answer = $call.and_then(within_work);
            if let Some(settled) = $self.settle(answer).await {
                return settled;
            }
        }
        Err($self.overtaken())
    }};
}

/// Takes an answer back of a call that looked at too much. Nobody sees the error: the invocation ends.
fn within_work<T>(answer: T) -> Answer<T> {
    if work::is_spent() {
        return Err(ActionError::permanent(code::INVALID_ARGUMENT, "the call looked at too much (`work_bytes_max`)"));
    }
    Ok(answer)
}

/// Whether a commit was refused because somebody else was faster, so that deciding again may help.
pub(crate) fn is_late(error: &CommitError, looked_in_vain: bool) -> bool {
    match error {
        CommitError::Conflict { .. } | CommitError::DuplicateJob { .. } => true,
        CommitError::NotUnique { .. } => looked_in_vain,
        CommitError::Fenced { .. }
        | CommitError::JobGone { .. }
        | CommitError::Quota(_)
        | CommitError::Refused { .. }
        | CommitError::Unavailable { .. }
        | CommitError::Busy { .. } => false,
    }
}

/// What a plugin learns of a commit that did not happen.
pub(crate) fn refused(context: &Context, error: &CommitError) -> ActionError {
    match error {
        CommitError::NotUnique { index } => {
            let key = context.host.store.unique_key_of(&context.app.key, &context.app.schema, index);
            let key = key.map_or_else(
                || format!("the unique index `{index}`"),
                |(model, fields)| format!("`{}` of `{model}`", fields.join("` with `")),
            );
            ActionError::permanent(code::NOT_UNIQUE, format!("another record has the same {key}"))
        }
        CommitError::DuplicateJob { id } => ActionError::permanent(
            code::NOT_UNIQUE,
            format!("a job with the id `{id}` is not finished yet; hint: `onDuplicateId: \"ignore\"`"),
        ),
        CommitError::Conflict { key, .. } => {
            ActionError::retryable(code::CONFLICT, format!("`{key}` was written meanwhile"))
        }
        CommitError::Quota(exceeded) => over_quota(exceeded),
        CommitError::Refused { .. } => ActionError::permanent(code::VALIDATION_FAILED, error.to_string()),
        CommitError::Fenced { .. }
        | CommitError::JobGone { .. }
        | CommitError::Unavailable { .. }
        | CommitError::Busy { .. } => internal(error),
    }
}

#[async_trait]
impl Session for UnitSession {
    fn log(&mut self, entry: LogEntry) {
        let shop = self.context.shop();
        let source = Source {
            shop: &shop,
            plugin: &self.installed.name,
            action: &self.action,
            delivery_seq: self.context.cause.delivery_seq,
            job_seq: self.context.cause.job_seq,
        };
        self.context.host.log.log(&source, entry);
    }

    async fn payload(&mut self) -> Answer<Option<Json>> {
        self.context.kept_payload().await
    }

    fn config(&mut self, name: &str) -> Option<Json> {
        self.installed.config.get(name).cloned()
    }

    fn secret(&mut self, name: &str) -> Answer<Option<String>> {
        Ok(self.installed.secrets.get(name).cloned())
    }

    async fn find(&mut self, model: &str, which: Which, options: Json) -> Answer<Option<Json>> {
        settled!(self, self.inside.find_one(model, which.clone(), &options).await)
    }

    async fn find_many(&mut self, model: &str, query: Json) -> Answer<Page> {
        settled!(self, self.inside.find_page(model, &query).await)
    }

    async fn count(&mut self, model: &str, query: Json) -> Answer<u64> {
        settled!(self, self.inside.count_records(model, &query).await)
    }

    async fn write(&mut self, model: &str, write: Write, options: Json) -> Answer<Json> {
        settled!(self, self.inside.write(model, write.clone(), &options).await)
    }

    async fn run_action(&mut self, action: &str, params: Json) -> Answer<Json> {
        settled!(self, self.run_named(action, &params).await)
    }

    async fn save(&mut self, record: &ActiveRecord) -> Answer<()> {
        self.context.save(record, Origin::Run).await
    }

    async fn checkpoint(&mut self, state: Json) -> Answer<()> {
        // For background jobs: `Cause::alone` says why only for them.
        if self.phase != Phase::Run || !self.context.cause.alone || self.context.cause.job_seq.is_none() {
            return Err(ActionError::not_available("invocation.checkpoint"));
        }
        // Without this the plugin could go on from a checkpoint that does not hold what the plugin believes.
        if self.context.work.spoiled().is_some() {
            return Err(ActionError::retryable(
                code::INTERNAL,
                "the store failed before; nothing can be kept any more",
            ));
        }
        let stored = self.store_checkpoint(state).await;
        stored.map_err(|error| {
            let answer = refused(&self.context, &error);
            self.context.work.lock().spoil(Spoiled::Commit(error));
            answer
        })
    }

    async fn enqueue(&mut self, work: Enqueued, options: Json) -> Answer<String> {
        let mut options = JobOptions::parse(&options)?;
        let is_new = options.id.is_none();
        let id = options.id.get_or_insert_with(|| self.context.host.new_id()).clone();
        let by = self.installed.name.clone();
        settled!(self, self.inside.enqueue(&work, &options, is_new, &by).await.map(|()| id.clone()))
    }

    async fn job_status(&mut self, id: &str) -> Answer<Json> {
        settled!(self, self.inside.status_of(id).await)
    }

    async fn cancel_job(&mut self, id: &str) -> Answer<bool> {
        settled!(self, self.inside.cancel(id).await)
    }

    async fn shop(&mut self, platform: Platform, which: WhichShop) -> Answer<Option<ClientShop>> {
        Ok(self.context.find_client(platform, &which))
    }

    async fn writes(&mut self, platform: Platform, call: &PlatformCall) -> Answer<bool> {
        self.context.call_writes(platform, call).await
    }

    async fn call(&mut self, shop: &ClientShop, call: PlatformCall) -> Answer<Json> {
        self.context.call_platform(&self.installed.name, shop, &call).await
    }

    async fn next_page(&mut self, shop: &ClientShop, list: &PlatformList, cursor: Option<String>) -> Answer<ListPage> {
        self.context.read_page(shop, list, cursor).await
    }

    fn budget(&mut self, shop: &ClientShop) -> Json {
        self.context.budget_of(shop)
    }

    fn credentials(&mut self, shop: &ClientShop) -> Answer<Json> {
        self.context.credentials_of(shop)
    }
}
