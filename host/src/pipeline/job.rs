//! Jobs from a plugin's point of view: enqueued actions, their state, and actions by name.

use serde::{Deserialize, Serialize};
use serde_json::json;
use tradewind_model::job_options::{JobOptions, OnDuplicate as Duplicate, Priority};
use tradewind_model::{ActionError, Json, Origin, RecordKey, Shop, code, object};
use tradewind_runtime::session::{Answer, Work as Enqueued, Write};
use tradewind_store::{Job, JobKind, NewJob, OnDuplicate};

use super::action::Event;
use super::context::{Context, Stopped};
use super::continuation::Continuation;
use super::data::id_of;
use super::work::internal;
use crate::traces;

/// What a job needs to know: one of these. Persisted: members are only added. Not an untagged enum, because serde keeps the
/// values of such a one in a form that has no room for JSON to the letter.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Payload {
    /// What a plugin enqueued: an action or a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) work: Option<Enqueued>,
    /// Where in its trace the work was that enqueued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
    /// The plugin that enqueued it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// A call of its own job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) continuation: Option<Box<Continuation>>,
    /// A delivery that was asked for again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) replay: Option<Replay>,
}

/// How a delivery is processed again.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Replay {
    /// Whether it counts although nothing in it is newer than what is stored.
    pub(crate) force: bool,
}

/// Verbs that every model has.
const VERBS: [&str; 9] =
    ["create", "update", "upsert", "delete", "converge", "bulk-create", "bulk-update", "bulk-upsert", "bulk-delete"];

/// The parameters of such a verb.
fn members_of(verb: &str) -> &'static [&'static str] {
    match verb {
        "create" | "bulk-create" | "bulk-update" => &["values", "options"],
        "update" => &["id", "values", "options"],
        "upsert" | "bulk-upsert" => &["on", "values", "options"],
        "delete" => &["id", "options"],
        "converge" => &["id", "field", "values", "options"],
        _ => &["ids", "options"],
    }
}

impl Context {
    /// Runs an action by its name, `model.verb` or a global action's, in this unit of work.
    pub(crate) async fn run_named(&self, action: &str, params: &Json) -> Result<Json, Stopped> {
        object::members(params, "the parameters").map_err(invalid)?;
        if let Some((model, verb)) = action.rsplit_once('.') {
            if VERBS.contains(&verb) {
                return Ok(self.write_named(model, verb, params).await?);
            }
            return self.run_verb(model, verb, params).await;
        }
        let Some(route) = self.app.action(action) else { return Err(no_action(action).into()) };
        let problems = route.action().param_problems(params);
        if !problems.is_empty() {
            return Err(ActionError::permanent(code::INVALID_ARGUMENT, problems.join("; ")).into());
        }
        self.alone().run_global(&route, params).await
    }

    /// Runs an action of a plugin's own verb on the record that `params.id` names.
    async fn run_verb(&self, model: &str, verb: &str, params: &Json) -> Result<Json, Stopped> {
        let model = self.app.schema.model(model)?;
        let routes = self.app.actions_on(&model.name, verb);
        if routes.is_empty() {
            return Err(no_action(&format!("{}.{verb}", model.name)).into());
        }
        let id = id_of(params)?;
        let id = id.ok_or_else(|| invalid(format!("`{}.{verb}` runs on a record; hint: give its `id`", model.name)))?;
        let key = RecordKey::new(model.name.as_str(), id);
        if self.find(&key).await?.is_none() {
            let message = format!("no `{}` has the id `{}`", key.model, key.id);
            return Err(ActionError::permanent(code::NOT_FOUND, message).into());
        }
        let members = params.members().unwrap_or_default();
        let rest = members.iter().filter(|(name, _)| name != "id").map(|(name, value)| (name.as_str(), value));
        let params = Json::object(rest);
        let problems: Vec<_> = routes.iter().flat_map(|route| route.action().param_problems(&params)).collect();
        if !problems.is_empty() {
            return Err(invalid(problems.join("; ")).into());
        }
        let context = if routes.len() == 1 { self.alone() } else { self.clone() };
        let happened = Box::pin(context.happen(Event { params, ..Event::new(key, verb, Origin::Api) })).await?;
        Ok(happened.result.unwrap_or_else(Json::null))
    }

    async fn write_named(&self, model: &str, verb: &str, params: &Json) -> Answer<Json> {
        let mut problems = Vec::new();
        let members = object::optional(params, "the parameters", members_of(verb), &mut problems);
        if !problems.is_empty() {
            return Err(invalid(problems.join("; ")));
        }
        let member = |name: &str| members.iter().find(|(given, _)| given == name).map(|(_, value)| value.clone());
        let needed =
            |name: &str| member(name).ok_or_else(|| invalid(format!("`{model}.{verb}` needs the parameter `{name}`")));
        let text = |name: &str| {
            let value = needed(name)?;
            value.to::<String>().map_err(|_| invalid(format!("the parameter `{name}` is not a text")))
        };
        let texts = |name: &str| {
            let value = needed(name)?;
            value.to::<Vec<String>>().map_err(|_| invalid(format!("the parameter `{name}` is not a list of texts")))
        };
        let write = match verb {
            "create" => Write::Create { values: needed("values")? },
            "update" => Write::Update { id: text("id")?, values: needed("values")? },
            "upsert" => Write::Upsert { on: texts("on")?, values: needed("values")? },
            "delete" => Write::Delete { id: text("id")? },
            "converge" => Write::Converge { id: text("id")?, field: text("field")?, values: needed("values")? },
            "bulk-create" => Write::BulkCreate { values: needed("values")? },
            "bulk-update" => Write::BulkUpdate { values: needed("values")? },
            "bulk-upsert" => Write::BulkUpsert { on: texts("on")?, values: needed("values")? },
            _ => Write::BulkDelete { ids: texts("ids")? },
        };
        self.write(model, write, &member("options").unwrap_or_else(Json::null)).await
    }

    /// Adds a job to the unit of work. `options` has the job's id; nobody else has one that is new.
    pub(crate) async fn enqueue(&self, work: &Enqueued, options: &JobOptions, is_new: bool, by: &str) -> Answer<()> {
        let strict = options.on_duplicate == Duplicate::Error;
        if let Some(id) = options.id.as_ref().filter(|_| !is_new) {
            let (buffered, cancelled) = {
                let work = self.work.lock();
                (work.has_job(id), work.has_cancelled(id))
            };
            // A job may make its successor: it is finished in the same commit.
            let own = self.cause.job_id.as_ref() == Some(id);
            let taken = buffered || (strict && !cancelled && !own && self.stored_job(id).await?.is_some());
            if taken && strict {
                let hint = "hint: `onDuplicateId: \"ignore\"`";
                let message = format!("a job with the id `{id}` is not finished yet; {hint}");
                return Err(ActionError::permanent(code::NOT_UNIQUE, message));
            }
            if taken {
                return Ok(());
            }
        }
        let (kind, lane) = match work {
            Enqueued::Action { action, params } => {
                object::members(params, "the parameters").map_err(invalid)?;
                (JobKind::Action, lane_of_action(action, params, options)?)
            }
            Enqueued::Call { .. } => (JobKind::Call, None),
        };
        let payload =
            Payload { work: Some(work.clone()), by: Some(by.to_owned()), trace: traces::place(), ..Payload::default() };
        let job = NewJob {
            queue: options
                .queue
                .as_ref()
                .map(|queue| (queue.as_str().to_owned(), options.max_concurrency.unwrap_or(1))),
            rank: options.priority.within_lane(lane.is_some()).rank(),
            lane,
            id: options.id.clone(),
            on_duplicate: if strict { OnDuplicate::Error } else { OnDuplicate::Ignore },
            run_at_ms: options.start_at_ms.map_or(0, |ms| i64::try_from(ms).unwrap_or(i64::MAX)),
            depth: self.cause.depth,
            chain: self.next_in_chain()?,
            by_plugin: true,
            policy: Some(Json::of(&options.retries).map_err(|error| internal(&error))?),
            ..NewJob::new(kind, Some(Json::of(&payload).map_err(|error| internal(&error))?))
        };
        let mark = self.work.mark();
        self.work.lock().add_job(job)?;
        self.within_quotas(mark).await
    }

    /// `{"id", "state", "attempts", "result", "error"}` of a job.
    pub(crate) async fn status_of(&self, id: &str) -> Answer<Json> {
        let status = |state: &str, attempts: u32, result: Option<&Json>, error: Option<&Json>| {
            let status = json!({ "id": id, "state": state, "attempts": attempts, "result": result, "error": error });
            Json::of(&status).map_err(|error| internal(&error))
        };
        let (shop, buffered, cancelled) = {
            let work = self.work.lock();
            (work.shop.clone(), work.has_job(id), work.has_cancelled(id))
        };
        if buffered {
            return status("queued", 0, None, None);
        }
        if let Some(job) = self.stored_job(id).await?.filter(|_| !cancelled) {
            return status(job.state.as_str(), job.attempts, None, job.error.as_ref());
        }
        let logged = self.host.store.invocations_of_job(&shop, id, 1).await;
        match logged.map_err(|error| self.work.store_failed(&error))?.first() {
            Some(entry) if entry.outcome == DONE => status("done", entry.attempt, entry.detail.as_ref(), None),
            Some(entry) => status("failed", entry.attempt, None, entry.detail.as_ref()),
            None => Err(no_job(&shop, id)),
        }
    }

    /// Takes back a job that has not started.
    pub(crate) async fn cancel(&self, id: &str) -> Answer<bool> {
        // Both may be there: the unit's own stands aside for a stored one only at the commit.
        let (removed, cancelled) = {
            let mut work = self.work.lock();
            (work.remove_job(id), work.has_cancelled(id))
        };
        let own = self.cause.job_id.as_deref() == Some(id);
        let waits = !own && !cancelled && self.stored_job(id).await?.is_some_and(|job| job.attempts == 0);
        if waits {
            self.work.lock().cancel(id);
        }
        Ok(removed || waits)
    }

    async fn stored_job(&self, id: &str) -> Answer<Option<Job>> {
        let job = self.host.store.job_by_id(&self.shop(), id).await;
        job.map_err(|error| self.work.store_failed(&error))
    }
}

/// The outcome of a job that is done, in the log.
pub(crate) const DONE: &str = "done";

/// The lane of a job that runs an action on a record: jobs of one action on one record run in the order in which they were
/// enqueued, unless the options ask for another order: a priority, a time, or a queue, which runs its jobs as its bound
/// allows. Not the lane of the record's deliveries, which would have to wait for the retries of a plugin's job.
fn lane_of_action(action: &str, params: &Json, options: &JobOptions) -> Answer<Option<String>> {
    let is_on_record = action.contains('.') && params.member("id").is_some();
    let has_order = options.priority != Priority::Default || options.start_at_ms.is_some() || options.queue.is_some();
    if !is_on_record || has_order {
        return Ok(None);
    }
    Ok(id_of(params)?.map(|id| format!("{action} {id}")))
}

fn invalid(message: impl Into<String>) -> ActionError {
    ActionError::permanent(code::INVALID_ARGUMENT, message)
}

fn no_action(name: &str) -> ActionError {
    let hint = "hint: `model.verb`, for example `shopify/product.upcase`, or the name of an action of a plugin";
    ActionError::permanent(code::NOT_FOUND, format!("there is no action `{name}`; {hint}"))
}

fn no_job(shop: &Shop, id: &str) -> ActionError {
    ActionError::permanent(code::NOT_FOUND, format!("there is no job `{id}` of `{shop}`, and the log knows none"))
}
