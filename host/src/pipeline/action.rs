//! Runs the actions of a change: each interested plugin in its turn, in one unit of work.

use std::sync::Arc;

use serde_json::json;
use tracing::Instrument as _;
use tradewind_model::document;
use tradewind_model::{ActionError, ActiveRecord, Json, Origin, RecordKey, code};
use tradewind_runtime::{Invocation, Outcome, Phase, Usage};
use tradewind_store::NewInvocation;

use super::app::Route;
use super::context::{Cause, Context, NESTED_ACTIONS_MAX, Stopped};
use super::echo::{Echoes, origin_for};
use super::saving::check_whole;
use super::session::UnitSession;
use super::work::{Base, internal};
use crate::watch::Invoked;

/// What happens to a record.
pub(crate) struct Event<'a> {
    pub(crate) key: RecordKey,
    /// `create`, `update`, `delete`, or a plugin's own, which brings no values.
    pub(crate) verb: &'a str,
    /// The values that come in, canonical.
    pub(crate) values: Json,
    pub(crate) origin: Origin,
    pub(crate) params: Json,
    /// When the platform changed the record; none leaves the time as it was.
    pub(crate) platform_updated_us: Option<i64>,
    /// The fields whose change is an echo, with the plugin whose write it reports.
    pub(crate) echoes: Echoes,
    /// Whether the actions run. Without them it is only written.
    pub(crate) runs_actions: bool,
}

impl<'a> Event<'a> {
    /// An event without values, whose actions run.
    pub(crate) fn new(key: RecordKey, verb: &'a str, origin: Origin) -> Self {
        Self {
            key,
            verb,
            values: Json::object([]),
            origin,
            params: Json::object([]),
            platform_updated_us: None,
            echoes: Echoes::new(),
            runs_actions: true,
        }
    }
}

/// What an event led to.
#[derive(Debug, Default)]
pub(crate) struct Happened {
    /// What the last action that ran returned.
    pub(crate) result: Option<Json>,
    /// How many actions ran.
    pub(crate) ran: usize,
}

/// How a `run` ended well.
pub(crate) struct Ran {
    pub(crate) result: Json,
    pub(crate) record: Option<ActiveRecord>,
}

impl Context {
    /// Runs the actions of an event and writes the record into the unit of work.
    pub(crate) async fn happen(&self, event: Event<'_>) -> Result<Happened, Stopped> {
        let stored = self.find(&event.key).await?;
        let routes = if event.runs_actions { self.app.actions_on(&event.key.model, event.verb) } else { Vec::new() };
        let doc = stored.as_ref().map(|stored| &stored.doc);
        let updated_us = event.platform_updated_us.or(stored.as_ref().and_then(|stored| stored.platform_updated_us));
        if event.verb == "delete" {
            let record = loaded(&event.key, doc)?;
            let happened = self.run_open(&routes, record, &event).await?;
            self.work.lock().write(event.key, None, None)?;
            return Ok(happened);
        }
        if routes.is_empty() {
            self.write_values(event, doc, updated_us)?;
            return Ok(Happened::default());
        }
        let mut record = loaded(&event.key, doc)?;
        record.apply(&event.values, event.origin).map_err(|error| internal(&error))?;
        let base = Base { before: doc.cloned(), arrived: record.to_json(), updated_us, is_pending: true };
        self.work.lock().set_base(self.nested, &event.key, base);
        self.run_open(&routes, record, &event).await
    }

    /// Runs the actions while their queries see what comes in.
    async fn run_open(&self, routes: &[Route], record: ActiveRecord, event: &Event<'_>) -> Result<Happened, Stopped> {
        self.work.lock().open(self.nested, &event.key, event.verb == "delete");
        let happened = self.run_routes(routes, record, event).await;
        self.work.lock().close();
        happened
    }

    /// Writes the values of an event that no action is interested in.
    fn write_values(
        &self,
        event: Event<'_>,
        stored: Option<&Json>,
        updated_us: Option<i64>,
    ) -> Result<(), ActionError> {
        let model = self.app.schema.model(&event.key.model)?;
        let doc = match stored {
            None => event.values,
            Some(stored) => {
                let changed = document::changed_members(stored, &event.values);
                if changed.is_empty() { stored.clone() } else { document::merged(stored, &changed) }
            }
        };
        check_whole(model, &doc, stored.is_none() && event.origin != Origin::External)?;
        self.work.lock().write(event.key, Some(doc), updated_us)
    }

    /// Runs each interested action, and saves the record after each: the next one finds it in the unit of work.
    async fn run_routes(
        &self,
        routes: &[Route],
        mut record: ActiveRecord,
        event: &Event<'_>,
    ) -> Result<Happened, Stopped> {
        let mut happened = Happened::default();
        let mut successes = Vec::new();
        let is_left = event.verb != "delete";
        let (mut saved, mut manual, mut kept) = (false, false, false);
        for route in routes {
            tell_origins(&mut record, route, &event.echoes);
            if !route.action().is_interested(&record, event.verb) {
                self.skipped(route, &event.key);
                continue;
            }
            // Only a platform's change moves on without a plugin: what a plugin asked for is part of its own unit.
            let keeps = event.origin == Origin::External && self.nested == 0 && route.is_set("keep-record");
            let before =
                keeps.then(|| (record.clone(), self.work.mark(), self.work.lock().base(self.nested, &event.key)));
            let ran = match (self.run(route, Some(record), Some(event.verb), &event.params).await, before) {
                (Err(Stopped::Plugin { .. }), Some((before, mark, base))) => {
                    self.work.back_to(mark);
                    if let Some(base) = base {
                        self.work.lock().set_base(self.nested, &event.key, base);
                    }
                    self.run_again_later(route, &before, event.verb, &event.params)?;
                    kept = true;
                    record = before;
                    continue;
                }
                (ran, _) => ran?,
            };
            record = ran.record.ok_or_else(|| lost_record(route))?;
            happened.ran += 1;
            happened.result = Some(ran.result.clone());
            successes.push((route, ran.result));
            if route.is_set("manual-save") {
                manual = true;
            } else if is_left {
                self.save(&record, event.origin).await?;
                saved = true;
            }
            // An action may have deleted the record that it ran on: there is nothing left for the others.
            if saved && self.find(&event.key).await?.is_none() {
                break;
            }
        }
        if is_left && !saved && (kept || !manual) {
            self.save(&record, event.origin).await?;
        }
        for (route, result) in successes {
            tell_origins(&mut record, route, &event.echoes);
            self.succeed_later(route, Some(&record), Some(event.verb), &event.params, result)?;
        }
        Ok(happened)
    }

    fn skipped(&self, route: &Route, key: &RecordKey) {
        let (plugin, action) = (&route.installed.name, route.action());
        let remark = json!({ "skipped": format!("{plugin}/{}", action.name), "record": key.to_string(),
            "unchanged": action.when_changed });
        self.work.lock().remark(remark);
    }

    /// Runs an action that is about no record, and its `success` after the commit.
    pub(crate) async fn run_global(&self, route: &Route, params: &Json) -> Result<Json, Stopped> {
        let ran = self.run(route, None, None, params).await?;
        self.succeed_later(route, None, None, params, ran.result.clone())?;
        Ok(ran.result)
    }

    /// Calls a plugin's `run` in a fresh sandbox.
    pub(crate) async fn run(
        &self,
        route: &Route,
        record: Option<ActiveRecord>,
        verb: Option<&str>,
        params: &Json,
    ) -> Result<Ran, Stopped> {
        if self.nested >= NESTED_ACTIONS_MAX {
            return Err(Stopped::Error(ActionError::permanent(
                code::INVALID_ARGUMENT,
                format!(
                    "`{}` is inside {NESTED_ACTIONS_MAX} other actions already (`nested_actions_max`); hint: does an \
                     action write the record that it runs on? `internal` writes without running actions",
                    route.action().name
                ),
            )));
        }
        let checkpoint =
            self.cause.checkpoint.as_ref().filter(|checkpoint| checkpoint.of == checkpoint_of(route, record.as_ref()));
        let invocation = Invocation {
            checkpoint_state: checkpoint.map(|checkpoint| checkpoint.state.clone()),
            record,
            verb: verb.map(str::to_owned),
            params: params.clone(),
            ..self.invocation(route, Phase::Run)
        };
        let outcome = self.call(route, Phase::Run, invocation).await?;
        Ok(Ran { result: outcome.0, record: outcome.1 })
    }

    /// What every call is told of why it runs.
    pub(crate) fn invocation(&self, route: &Route, phase: Phase) -> Invocation {
        Invocation {
            trigger: self.cause.trigger.clone(),
            payload: self.cause.payload.clone(),
            shop: Json::of(&json!({ "id": &*self.shop().id })).ok(),
            attempt: self.cause.attempt,
            depth: self.cause.depth,
            ..Invocation::new(&route.action().name, phase, self.host.clock.now(), self.host.chance.next())
        }
    }

    /// Calls a plugin and notes it in the log. Answers the result and the record.
    pub(crate) async fn call(
        &self,
        route: &Route,
        phase: Phase,
        invocation: Invocation,
    ) -> Result<(Json, Option<ActiveRecord>), Stopped> {
        let name = if phase == Phase::Run { "run" } else { "success" };
        let of = checkpoint_of(route, invocation.record.as_ref());
        let invocation = Invocation { idempotency_key: format!("{}:{of}:{name}", self.cause.key), ..invocation };
        let session = UnitSession::new(self, route, phase, invocation.record.as_ref());
        let shop = self.shop().to_string();
        let runtime = &self.host.runtime;
        let (plugin, action) = (route.installed.name.as_str(), route.action().name.as_str());
        let span = tracing::info_span!("invocation", plugin, action, phase = name, key = invocation.idempotency_key);
        let Outcome { result, record, usage, .. } =
            runtime.invoke(&route.installed.plugin, &shop, invocation, Box::new(session)).instrument(span).await;
        let (outcome, detail) = match &result {
            Ok(result) => ("ok".to_owned(), Some(result.clone()).filter(|result| !result.is_null())),
            Err(failure) => (failure.kind().to_owned(), Some(super::ending::failure_json(failure))),
        };
        if let Some(watch) = self.host.watch.get() {
            watch.invoked(&Invoked {
                shop: &self.shop(),
                delivery_seq: self.cause.delivery_seq,
                plugin: &route.installed.name,
                action: &route.action().name,
                phase: name,
                outcome: &outcome,
                detail: detail.as_ref(),
                usage: &usage,
            });
        }
        let logged = if result.is_ok() { detail } else { detail.as_ref().map(super::ending::logged) };
        self.log_call(route, name, outcome, logged, &usage);
        match result {
            Ok(result) => Ok((result, record)),
            Err(failure) => Err(Stopped::Plugin {
                plugin: route.installed.name.clone(),
                action: route.action().name.clone(),
                failure: Box::new(failure),
            }),
        }
    }

    fn log_call(&self, route: &Route, phase: &'static str, outcome: String, detail: Option<Json>, usage: &Usage) {
        self.work.lock().log.push(NewInvocation {
            delivery_seq: self.cause.delivery_seq,
            job_seq: self.cause.job_seq,
            job_id: self.cause.job_id.clone(),
            plugin: Some(route.installed.name.clone()),
            version: Some(route.installed.version.clone()),
            action: Some(route.action().name.clone()),
            phase: Some(phase),
            outcome,
            detail,
            attempt: self.cause.attempt,
            duration_us: i64::try_from(usage.wall.as_micros()).unwrap_or(i64::MAX),
        });
    }

    /// What runs inside of an action, for what that action asks for.
    pub(crate) fn inside(&self, route: &Route) -> Self {
        let trigger = json!({ "kind": "action", "plugin": route.installed.name, "action": route.action().name });
        let cause = Cause {
            trigger: Json::of(&trigger).unwrap_or_else(|_| Json::object([])),
            payload: None,
            payload_is_kept: false,
            checkpoint: None,
            alone: false,
            ..(*self.cause).clone()
        };
        Self { cause: Arc::new(cause), nested: self.nested + 1, reach: route.installed.reach(), ..self.clone() }
    }
}

/// Tells a plugin which of the changes are its own write's echo, and which another's.
fn tell_origins(record: &mut ActiveRecord, route: &Route, echoes: &Echoes) {
    for (field, by) in echoes {
        record.set_origin(field, origin_for(&route.installed.name, by));
    }
}

/// What tells the calls of one job apart: a checkpoint and an idempotency key belong to one of them.
pub(crate) fn checkpoint_of(route: &Route, record: Option<&ActiveRecord>) -> String {
    let of = format!("{}:{}", route.installed.name, route.action().name);
    record.map_or_else(|| of.clone(), |record| format!("{of}:{}/{}", record.model(), record.id()))
}

pub(crate) fn loaded(key: &RecordKey, doc: Option<&Json>) -> Result<ActiveRecord, ActionError> {
    ActiveRecord::load(&key.model, &key.id, doc).map_err(|error| internal(&error))
}

fn lost_record(route: &Route) -> ActionError {
    let name = &route.installed.name;
    ActionError::permanent(code::INTERNAL, format!("the sandbox of `{name}` did not give the record back"))
}
