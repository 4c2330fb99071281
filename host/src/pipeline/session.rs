//! The whole power of a plugin: the runtime's `Session` over a unit of work.
//!
//! In `run` everything is buffered and becomes true when the unit commits. In `success` the change is committed already, so
//! each call is a unit of its own, committed at once, with all that the actions that it runs do.

use std::sync::Arc;

use async_trait::async_trait;
use tradewind_model::job_options::JobOptions;
use tradewind_model::{ActionError, ActiveRecord, Json, Origin, RecordKey, code};
use tradewind_runtime::session::{
    Answer, ClientShop, ListPage, LogEntry, Page, Platform, PlatformCall, PlatformList, Which, WhichShop,
    Work as Enqueued, Write,
};
use tradewind_runtime::{Phase, Session};
use tradewind_store::{CommitError, Committed, Finish, How, Stored, Unit};

use super::CONFLICT_RERUNS_MAX;
use super::action::checkpoint_of;
use super::app::{Installed, Route};
use super::context::{Checkpoint, Context, Source, Stopped};
use super::work::{Spoiled, internal};

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
        }
    }

    /// Commits what the last call buffered, when nothing else will. False: it is to be decided again.
    async fn settle(&self) -> Answer<bool> {
        if self.phase == Phase::Run {
            return Ok(true);
        }
        let work = &self.context.work;
        if let Some(spoiled) = work.lock().forget_spoiled() {
            self.give_up();
            let (Spoiled::Store(message) | Spoiled::Hopeless { message, .. }) = spoiled else { return Ok(false) };
            return Err(ActionError::retryable(code::INTERNAL, message));
        }
        let may_be_late = work.lock().may_be_late();
        let mut unit = self.take();
        if unit.writes.is_empty() && unit.jobs.is_empty() && unit.cancels.is_empty() {
            return Ok(true);
        }
        unit.fence.clone_from(&self.context.cause.fence);
        match self.commit(unit).await {
            Ok(_) => Ok(true),
            Err(error) if is_late(&error, may_be_late) => Ok(false),
            Err(error) => Err(refused(&self.context, &error)),
        }
    }

    /// In `success`: throws away what a call buffered that failed.
    fn give_up(&self) {
        if self.phase == Phase::Success {
            drop(self.take());
            self.context.work.lock().forget_spoiled();
        }
    }

    /// Takes everything out but the log: what ran is logged when the job ends.
    fn take(&self) -> Unit {
        let mut unit = self.context.work.take().into_unit();
        self.context.work.lock().log.append(&mut unit.log);
        unit
    }

    /// Commits before the job ends, and remembers the jobs that it made.
    async fn commit(&self, unit: Unit) -> Result<Committed, CommitError> {
        let jobs = unit.jobs.clone();
        let committed = self.context.host.store.commit(unit).await?;
        let made = jobs.into_iter().zip(&committed.jobs).filter_map(|(job, seq)| Some(((*seq)?, job)));
        self.context.work.lock().made.extend(made);
        Ok(committed)
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
        let committed = match self.commit(unit).await {
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
            let answer = $call;
            if answer.is_err() {
                $self.give_up();
            }
            let answer = answer?;
            if $self.settle().await? {
                return Ok(answer);
            }
        }
        Err(ActionError::retryable(code::CONFLICT, "somebody else wrote the record each time; hint: try again later"))
    }};
}

/// Whether a commit was refused because somebody else was faster, so that deciding again may help.
pub(crate) fn is_late(error: &CommitError, looked_in_vain: bool) -> bool {
    match error {
        CommitError::Conflict { .. } | CommitError::DuplicateJob { .. } => true,
        CommitError::NotUnique { .. } => looked_in_vain,
        CommitError::Fenced { .. }
        | CommitError::JobGone { .. }
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
        let by = &self.installed.name;
        settled!(self, self.inside.enqueue(&work, &options, is_new, by).await.map(|()| id.clone()))
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
