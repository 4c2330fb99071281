//! Calls that are made in a job of their own: `success` after the commit, and `run` of an action that may not hold the
//! mirror back.
//!
//! The job carries the record as it was committed, because by the time it runs the record may have changed again.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use tradewind_model::{ActionError, ActiveRecord, Baseline, Json, Origin, RecordKey, code};
use tradewind_runtime::{Invocation, Phase};
use tradewind_store::{JobKind, NewJob};

use super::app::Route;
use super::context::{Context, Stopped};
use super::delivery::body_of;
use super::ending::{Trouble, reason};
use super::job::Payload;
use super::work::{Base, Spoiled, internal};
use crate::traces;

/// What such a call needs to know. Persisted: members are only added.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Continuation {
    pub(crate) plugin: String,
    pub(crate) action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verb: Option<String>,
    trigger: Json,
    params: Json,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<Snapshot>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    run_result: Option<Json>,
    /// Whether the delivery's body is the payload.
    #[serde(default)]
    payload: bool,
    /// For `run`: what its attempts have in common with those that were made before it got its own job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// For `run`: how many those were.
    #[serde(default)]
    attempts: u32,
}

/// A record with its changes, as text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    model: String,
    id: String,
    new: bool,
    /// The whole document after the changes.
    doc: Json,
    changes: Vec<SnapshotChange>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct SnapshotChange {
    field: String,
    /// None: the field was not there.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    previous: Option<Json>,
    origin: Origin,
}

/// A member that is there, `null` included.
fn there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

impl Snapshot {
    fn of(record: &ActiveRecord) -> Self {
        let changes = record.changes(Baseline::Loaded).map(|change| SnapshotChange {
            field: change.field,
            previous: change.previous,
            origin: change.origin,
        });
        Self {
            model: record.model().to_owned(),
            id: record.id().to_owned(),
            new: record.is_new(),
            doc: record.to_json(),
            changes: changes.collect(),
        }
    }

    /// The record with its changes, as it was.
    fn restore(&self) -> Result<ActiveRecord, ActionError> {
        let after = self.doc.members().unwrap_or_default();
        let names: HashSet<&str> = self.changes.iter().map(|change| change.field.as_str()).collect();
        let mut before: Vec<(&str, &Json)> = Vec::new();
        let mut changes = self.changes.iter().peekable();
        // What was removed goes back in front of the next change, so that the changes come in the record's order.
        let mut removed_until = |next: Option<&str>, before: &mut Vec<_>| {
            while let Some(change) = changes.next_if(|change| next != Some(change.field.as_str())) {
                before.extend(change.previous.as_ref().map(|previous| (change.field.as_str(), previous)));
            }
            changes.next()
        };
        for (name, value) in &after {
            let change =
                if names.contains(name.as_str()) { removed_until(Some(name.as_str()), &mut before) } else { None };
            match change {
                Some(change) => before.extend(change.previous.as_ref().map(|previous| (name.as_str(), previous))),
                None => before.push((name, value)),
            }
        }
        removed_until(None, &mut before);
        let before = (!self.new).then(|| Json::object(before));
        let mut record =
            ActiveRecord::load(&self.model, &self.id, before.as_ref()).map_err(|error| internal(&error))?;
        let after: HashMap<&str, &Json> = after.iter().map(|(name, value)| (name.as_str(), value)).collect();
        for change in &self.changes {
            match after.get(change.field.as_str()) {
                Some(value) => record.set(&change.field, (*value).clone(), change.origin),
                None => record.unset(&change.field, change.origin),
            }
        }
        Ok(record)
    }
}

impl Context {
    /// Has `success` called after the commit. Those of one record and plugin run in order; a record's deliveries do not
    /// wait for them.
    pub(crate) fn succeed_later(
        &self,
        route: &Route,
        record: Option<&ActiveRecord>,
        verb: Option<&str>,
        params: &Json,
        result: Json,
    ) -> Result<(), ActionError> {
        let continuation = Continuation { run_result: Some(result), ..self.continuation(route, record, verb, params) };
        self.add_continuation(JobKind::Success, continuation)
    }

    /// Has `run` called again, for an action that failed and does not hold the mirror back.
    pub(crate) fn run_again_later(
        &self,
        route: &Route,
        record: &ActiveRecord,
        verb: &str,
        params: &Json,
    ) -> Result<(), ActionError> {
        let continuation = Continuation {
            key: Some(self.cause.key.clone()),
            attempts: self.cause.attempt,
            ..self.continuation(route, Some(record), Some(verb), params)
        };
        self.add_continuation(JobKind::Action, continuation)
    }

    fn continuation(
        &self,
        route: &Route,
        record: Option<&ActiveRecord>,
        verb: Option<&str>,
        params: &Json,
    ) -> Continuation {
        Continuation {
            plugin: route.installed.name.clone(),
            action: route.action().name.clone(),
            verb: verb.map(str::to_owned),
            trigger: self.cause.trigger.clone(),
            params: params.clone(),
            record: record.map(Snapshot::of),
            run_result: None,
            payload: self.cause.payload.is_some() || self.cause.payload_is_kept,
            key: None,
            attempts: 0,
        }
    }

    fn add_continuation(&self, kind: JobKind, continuation: Continuation) -> Result<(), ActionError> {
        let record = continuation.record.as_ref();
        let lane = record.map(|record| format!("{} {} after {}", record.model, record.id, continuation.plugin));
        let payload =
            Payload { continuation: Some(Box::new(continuation)), trace: traces::place(), ..Payload::default() };
        let payload = Json::of(&payload).map_err(|error| internal(&error))?;
        let job = NewJob {
            lane,
            depth: self.cause.depth,
            chain: self.cause.chain,
            delivery_seq: self.cause.delivery_seq,
            ..NewJob::new(kind, Some(payload))
        };
        self.work.lock().add_job(job)
    }

    /// Calls `success` for a change that is committed.
    pub(super) async fn continue_success(&self, continuation: &Continuation) -> Result<(), Trouble> {
        let route = self.route_of(continuation)?;
        let context = self.as_before(continuation);
        let invocation = Invocation {
            record: continuation.record.as_ref().map(Snapshot::restore).transpose()?,
            verb: continuation.verb.clone(),
            params: continuation.params.clone(),
            run_result: continuation.run_result.clone(),
            ..context.invocation(&route, Phase::Success)
        };
        context.call(&route, Phase::Success, invocation).await?;
        Ok(())
    }

    /// Calls `run` of an action that could not hold the mirror back, on the record as it was committed then. What the
    /// plugin sets is written over what is stored now.
    pub(super) async fn continue_run(&self, continuation: &Continuation) -> Result<(), Trouble> {
        let route = self.route_of(continuation)?;
        let Some(snapshot) = &continuation.record else {
            let message = "it is about no record".to_owned();
            return Err(Trouble::Hopeless { reason: reason::DAMAGED, message });
        };
        let context = self.as_before(continuation);
        let record = snapshot.restore()?;
        let key = RecordKey::new(record.model(), record.id());
        let stored = context.find(&key).await?;
        let base = Base {
            before: Some(record.to_json()),
            arrived: record.to_json(),
            updated_us: stored.and_then(|stored| stored.platform_updated_us),
            is_pending: false,
        };
        context.work.lock().set_base(context.nested, &key, base);
        let verb = continuation.verb.as_deref();
        let ran = context.alone().run(&route, Some(record), verb, &continuation.params).await?;
        let record = ran.record.as_ref();
        if let Some(record) = record.filter(|_| verb != Some("delete") && !route.is_set("manual-save")) {
            context.save(record, Origin::External).await?;
        }
        Ok(context.succeed_later(&route, record, verb, &continuation.params, ran.result)?)
    }

    /// The context in which the change happened.
    fn as_before(&self, continuation: &Continuation) -> Self {
        let mut cause = (*self.cause).clone();
        cause.trigger = continuation.trigger.clone();
        cause.attempt += continuation.attempts;
        if let Some(key) = &continuation.key {
            cause.key.clone_from(key);
        }
        cause.payload_is_kept = continuation.payload;
        Self { cause: std::sync::Arc::new(cause), ..self.clone() }
    }

    /// The body of the delivery that led here, for a call that asks for it. When it cannot be had, the unit is spoiled: that
    /// is no fault of the plugin's.
    pub(super) async fn kept_payload(&self) -> Result<Option<Json>, ActionError> {
        let Some(delivery) = self.cause.delivery_seq.filter(|_| self.cause.payload_is_kept) else { return Ok(None) };
        let spoiled = match self.delivery(delivery).await.and_then(|delivery| body_of(&delivery)) {
            Ok(body) => return Ok(Some(body)),
            Err(Trouble::Hopeless { reason, message }) => Spoiled::Hopeless { reason, message },
            Err(Trouble::Lost(message) | Trouble::NotInstalled(message) | Trouble::Contended(message)) => {
                Spoiled::Store(message)
            }
            Err(Trouble::Stopped(stopped)) => Spoiled::Store(format!("{stopped:?}")),
        };
        self.work.lock().spoil(spoiled);
        Err(ActionError::retryable(code::INTERNAL, "the webhook's body cannot be read"))
    }

    fn route_of(&self, continuation: &Continuation) -> Result<Route, Trouble> {
        self.app.action_of(&continuation.plugin, &continuation.action).ok_or_else(|| {
            Trouble::NotInstalled(format!(
                "`{}` has no action `{}` any more; hint: install the plugin and retry",
                continuation.plugin, continuation.action
            ))
        })
    }
}

impl From<Stopped> for Trouble {
    fn from(stopped: Stopped) -> Self {
        Self::Stopped(stopped)
    }
}

impl From<ActionError> for Trouble {
    fn from(error: ActionError) -> Self {
        Self::Stopped(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_record_survives_its_job() {
        let stored = json(r#"{"big":18446744073709551615,"gone":1,"was":null,"title":"Hat","absent":null}"#);
        let mut record = ActiveRecord::load("shopify/product", "1", Some(&stored)).unwrap();
        record.apply(&json(r#"{"title":"Cap","new":null,"was":2}"#), Origin::External).unwrap();
        record.set("title", json("\"CAP\""), Origin::Run);
        record.unset("gone", Origin::Run);
        let text = Json::of(&Snapshot::of(&record)).unwrap();
        let restored = text.to::<Snapshot>().unwrap().restore().unwrap();
        let changes = |record: &ActiveRecord| {
            let mut changes: Vec<_> = record.changes(Baseline::Loaded).collect();
            changes.sort_by(|a, b| a.field.cmp(&b.field));
            changes
        };
        assert_eq!(changes(&restored), changes(&record));
        assert_eq!(restored.to_json(), record.to_json());
        assert_eq!(restored.get("big").unwrap().as_str(), "18446744073709551615");
        assert!(!restored.is_new());

        let mut new = ActiveRecord::load("shopify/product", "1", None).unwrap();
        new.apply(&json(r#"{"title":"Hat"}"#), Origin::External).unwrap();
        let restored = Json::of(&Snapshot::of(&new)).unwrap().to::<Snapshot>().unwrap().restore().unwrap();
        assert!(restored.is_new());
        assert_eq!(changes(&restored), changes(&new));
    }
}
