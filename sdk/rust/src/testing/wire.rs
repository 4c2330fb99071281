//! The contract's functions, answered from memory. Same names and shapes as the generated bindings.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

pub(crate) use super::outside::{bigcommerce, http, shopify};
use super::{Declared, Effect, not_json};
use crate::{Error, Result};

/// The state behind a [`Fake`](super::Fake).
pub(crate) struct Host {
    pub(super) record: Option<FakeRecord>,
    pub(super) stored: BTreeMap<(String, String), Value>,
    pub(super) shop: Option<String>,
    pub(super) answers: Vec<(String, Result<Value>)>,
    pub(super) responses: Vec<(String, u16, String)>,
    pub(super) config: BTreeMap<String, Value>,
    pub(super) secrets: BTreeMap<String, String>,
    pub(super) params: Value,
    pub(super) payload: Option<Value>,
    pub(super) run_result: Option<Value>,
    pub(super) success: bool,
    pub(super) declared: Vec<Declared>,
    pub(super) effects: Vec<Effect>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            record: None,
            stored: BTreeMap::new(),
            shop: Some("fake.myshopify.com".to_owned()),
            answers: Vec::new(),
            responses: Vec::new(),
            config: BTreeMap::new(),
            secrets: BTreeMap::new(),
            params: json!({}),
            payload: None,
            run_result: None,
            success: false,
            declared: Vec::new(),
            effects: Vec::new(),
        }
    }
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// Works on this thread's host.
pub(super) fn with<T>(work: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(work)
}

pub(super) fn parse(text: &str) -> Result<Value> {
    serde_json::from_str(text).map_err(|error| not_json(&error))
}

/// One call as the host makes it.
pub struct RawCall<'a> {
    pub(crate) action: String,
    pub(crate) invocation: &'a Invocation,
}

/// A record with its two baselines.
pub(crate) struct FakeRecord {
    model: String,
    id: String,
    current: Map<String, Value>,
    loaded: Map<String, Value>,
    persisted: Map<String, Value>,
    incoming: Map<String, Value>,
    touched: bool,
}

impl FakeRecord {
    pub(super) fn new(model: &str, id: &str, stored: Value, incoming: Value) -> Self {
        let stored = stored.as_object().cloned().unwrap_or_default();
        let incoming = incoming.as_object().cloned().unwrap_or_default();
        let mut current = stored.clone();
        current.extend(incoming.clone());
        Self {
            model: model.to_owned(),
            id: id.to_owned(),
            current,
            loaded: stored.clone(),
            persisted: stored,
            incoming,
            touched: false,
        }
    }

    pub(super) fn get(&self, field: &str) -> Option<&Value> {
        self.current.get(field)
    }

    fn verb(&self) -> &'static str {
        if self.loaded.is_empty() { "create" } else { "update" }
    }

    fn baseline(&self, since: Baseline) -> &Map<String, Value> {
        match since {
            Baseline::Loaded => &self.loaded,
            Baseline::Persisted => &self.persisted,
        }
    }

    fn change(&self, field: &str, since: Baseline) -> Option<Change> {
        let (previous, current) = (self.baseline(since).get(field), self.current.get(field));
        let text = |value: Option<&Value>| value.map(Value::to_string);
        let origin = if self.incoming.get(field) == current { "external" } else { "run" };
        (previous != current).then(|| Change {
            field: field.to_owned(),
            previous: text(previous),
            current: text(current),
            origin: origin.to_owned(),
        })
    }

    fn changes(&self, since: Baseline) -> Vec<Change> {
        let gone = self.baseline(since).keys().filter(|field| !self.current.contains_key(*field));
        self.current.keys().chain(gone).filter_map(|field| self.change(field, since)).collect()
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Baseline {
    Loaded,
    Persisted,
}

pub(crate) struct Change {
    pub(crate) field: String,
    pub(crate) previous: Option<String>,
    pub(crate) current: Option<String>,
    pub(crate) origin: String,
}

/// The record of the call.
pub(crate) struct ActiveRecord;

fn record<T>(work: impl FnOnce(&mut FakeRecord) -> T) -> T {
    with(|host| work(host.record.as_mut().expect("a handle exists only when there is a record")))
}

fn writable<T>(work: impl FnOnce(&mut FakeRecord) -> T) -> Result<T> {
    if with(|host| host.success) {
        return Err(Error::new("wrong-phase", "the record is committed"));
    }
    Ok(record(work))
}

impl ActiveRecord {
    pub(crate) fn id(&self) -> String {
        record(|record| record.id.clone())
    }
    pub(crate) fn model(&self) -> String {
        record(|record| record.model.clone())
    }
    pub(crate) fn is_new(&self) -> bool {
        record(|record| record.loaded.is_empty())
    }
    pub(crate) fn is_empty(&self) -> bool {
        record(|record| record.loaded.is_empty())
    }
    pub(crate) fn fields(&self) -> Vec<String> {
        record(|record| record.current.keys().cloned().collect())
    }
    pub(crate) fn get(&self, field: &str) -> Option<String> {
        record(|record| record.current.get(field).map(Value::to_string))
    }
    pub(crate) fn set(&self, field: &str, value: &str) -> Result<()> {
        let value = parse(value)?;
        writable(|record| record.current.insert(field.to_owned(), value)).map(drop)
    }
    pub(crate) fn unset(&self, field: &str) -> Result<()> {
        writable(|record| record.current.remove(field)).map(drop)
    }
    pub(crate) fn apply(&self, values: &str) -> Result<()> {
        let Value::Object(values) = parse(values)? else {
            return Err(Error::new("invalid-argument", "`values` is not a JSON object"));
        };
        writable(|record| record.current.extend(values))
    }
    pub(crate) fn changed(&self, field: Option<&str>, since: Baseline) -> bool {
        record(|record| match field {
            Some(field) => record.change(field, since).is_some(),
            None => record.touched || !record.changes(since).is_empty(),
        })
    }
    pub(crate) fn changes(&self, since: Baseline) -> Vec<Change> {
        record(|record| record.changes(since))
    }
    pub(crate) fn change(&self, field: &str, since: Baseline) -> Option<Change> {
        record(|record| record.change(field, since))
    }
    pub(crate) fn previous(&self, field: &str, since: Baseline) -> Option<String> {
        record(|record| record.baseline(since).get(field).map(Value::to_string))
    }
    pub(crate) fn origin(&self, field: &str) -> Option<String> {
        record(|record| record.change(field, Baseline::Loaded).map(|change| change.origin))
    }
    pub(crate) fn revert(&self, field: Option<&str>, since: Baseline) -> Result<()> {
        writable(|record| {
            let baseline = record.baseline(since).clone();
            match field {
                None => (record.current, record.touched) = (baseline, false),
                Some(field) => match baseline.get(field) {
                    Some(value) => drop(record.current.insert(field.to_owned(), value.clone())),
                    None => drop(record.current.remove(field)),
                },
            }
        })
    }
    pub(crate) fn flush(&self, since: Baseline) -> Result<()> {
        writable(|record| {
            record.touched = false;
            match since {
                Baseline::Loaded => record.loaded = record.current.clone(),
                Baseline::Persisted => record.persisted = record.current.clone(),
            }
        })
    }
    pub(crate) fn touch(&self) -> Result<()> {
        writable(|record| record.touched = true)
    }
    pub(crate) fn to_json(&self) -> String {
        record(|record| Value::Object(record.current.clone()).to_string())
    }
    pub(crate) fn to_changed_json(&self, since: Baseline) -> String {
        let changes = self.changes(since).into_iter();
        let fields: Map<_, _> = changes.filter_map(|c| Some((c.field, parse(&c.current?).ok()?))).collect();
        Value::Object(fields).to_string()
    }
    pub(crate) fn save(&self) -> Result<()> {
        let values = parse(&self.to_changed_json(Baseline::Persisted))?;
        let model = writable(|record| {
            record.persisted = record.current.clone();
            record.model.clone()
        })?;
        with(|host| host.effects.push(Effect::Write("save".to_owned(), model, values)));
        Ok(())
    }
}

/// The call.
pub(crate) struct Invocation;

impl Invocation {
    pub(crate) fn params(&self) -> String {
        with(|host| host.params.to_string())
    }
    pub(crate) fn record(&self) -> Option<ActiveRecord> {
        with(|host| host.record.as_ref().map(|_| ActiveRecord))
    }
    pub(crate) fn trigger(&self) -> String {
        json!({"kind": "manual"}).to_string()
    }
    pub(crate) fn verb(&self) -> Option<String> {
        with(|host| host.record.as_ref().map(|record| record.verb().to_owned()))
    }
    pub(crate) fn payload(&self) -> Option<String> {
        with(|host| host.payload.as_ref().map(Value::to_string))
    }
    pub(crate) fn session(&self) -> Option<String> {
        None
    }
    pub(crate) fn shop(&self) -> Option<String> {
        with(|host| {
            host.shop.as_ref().map(|domain| json!({"id": "1", "platform": "shopify", "domain": domain}).to_string())
        })
    }
    pub(crate) fn run_result(&self) -> Option<String> {
        with(|host| host.run_result.as_ref().map(Value::to_string))
    }
    pub(crate) fn idempotency_key(&self) -> String {
        "fake-key".to_owned()
    }
    pub(crate) fn attempt(&self) -> u32 {
        1
    }
    pub(crate) fn depth(&self) -> u32 {
        0
    }
    pub(crate) fn remaining_ms(&self) -> u64 {
        10_000
    }
    pub(crate) fn checkpoint(&self, _: &str) -> Result<()> {
        Err(not_available("invocation.checkpoint"))
    }
    pub(crate) fn checkpoint_state(&self) -> Option<String> {
        None
    }
    pub(crate) fn prevent_cross_shop_access(&self, _: &ActiveRecord) -> Result<()> {
        Ok(())
    }
}

pub(super) fn not_available(what: &str) -> Error {
    Error::new("not-available", format_args!("`{what}` is not available here"))
}

pub(crate) mod registry {
    use super::{Declared, Value, parse, with};

    pub struct Registrar;
    pub(crate) struct Declaration(usize);

    impl Registrar {
        pub(crate) fn action(&self, _: &str) -> Declaration {
            with(|host| {
                host.declared.push(Declared::default());
                Declaration(host.declared.len() - 1)
            })
        }
        pub(crate) fn ask(&self, _: &str, _: &str) {}
        pub(crate) fn set_option(&self, _: &str, _: &str) {}
    }

    impl Declaration {
        fn with(&self, work: impl FnOnce(&mut Declared)) {
            with(|host| work(&mut host.declared[self.0]));
        }
        pub(crate) fn on_model(&self, model: &str, verb: &str) {
            self.with(|declared| declared.models.push((model.to_owned(), verb.to_owned())));
        }
        pub(crate) fn on_webhook(&self, platform: &str, topic: &str) {
            self.with(|declared| declared.webhooks.push((platform.to_owned(), topic.to_owned())));
        }
        pub(crate) fn on_schedule(&self, cron: &str) {
            self.with(|declared| declared.schedules.push(cron.to_owned()));
        }
        pub(crate) fn when_changed(&self, fields: &[String]) {
            self.with(|declared| declared.when_changed.extend_from_slice(fields));
        }
        pub(crate) fn param(&self, name: &str, schema: &str, required: bool) {
            let schema = parse(schema).unwrap_or(Value::Null);
            self.with(|declared| declared.params.push((name.to_owned(), schema, required)));
        }
        pub(crate) fn set_option(&self, name: &str, value: &str) {
            let value = parse(value).unwrap_or(Value::Null);
            self.with(|declared| drop(declared.options.insert(name.to_owned(), value)));
        }
    }
}

pub(crate) mod log {
    use super::{Effect, Value, parse, with};

    /// The severity of a log entry.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[allow(missing_docs, reason = "the field's standard names")]
    pub enum Level {
        Trace,
        Debug,
        Info,
        Warn,
        Error,
    }

    pub(crate) fn enabled(_: Level) -> bool {
        true
    }
    pub(crate) fn write(level: Level, message: &str, fields: &str) {
        let level = format!("{level:?}").to_lowercase();
        let fields = parse(fields).unwrap_or(Value::Null);
        with(|host| host.effects.push(Effect::Log(level, message.to_owned(), fields)));
    }
}

pub(crate) mod config {
    use super::{Result, Value, with};

    pub(crate) fn get(name: &str) -> Option<String> {
        with(|host| host.config.get(name).map(Value::to_string))
    }
    pub(crate) fn secret(name: &str) -> Result<Option<String>> {
        Ok(with(|host| host.secrets.get(name).cloned()))
    }
}

pub(crate) mod data {
    use super::{Effect, Error, Result, Value, json, not_available, parse, with};

    pub(crate) struct Page(String);

    impl Page {
        pub(crate) fn records(&self) -> String {
            self.0.clone()
        }
        pub(crate) fn has_next(&self) -> bool {
            false
        }
        pub(crate) fn end_cursor(&self) -> Option<String> {
            None
        }
    }

    /// The records of a model whose fields equal `key`.
    fn equal_to(model: &str, key: &Value) -> Vec<Value> {
        let equal = |document: &Value| {
            key.as_object().is_none_or(|key| key.iter().all(|(field, value)| document.get(field) == Some(value)))
        };
        with(|host| {
            let of_model = host.stored.iter().filter(|((of, _), _)| of == model);
            of_model.map(|(_, document)| document.clone()).filter(equal).collect()
        })
    }

    /// A query's filter as the values that fields must equal, the only operator that this fake knows.
    fn filtered(model: &str, query: &str) -> Result<Vec<Value>> {
        let query = parse(query)?;
        let mut key = serde_json::Map::new();
        for (field, condition) in query.get("filter").and_then(Value::as_object).into_iter().flatten() {
            let Some(value) = condition.get("equals") else {
                return Err(not_available("a filter other than `equals`"));
            };
            key.insert(field.clone(), value.clone());
        }
        Ok(equal_to(model, &Value::Object(key)))
    }

    pub(crate) fn maybe_find_one(model: &str, id: &str, _: &str) -> Result<Option<String>> {
        Ok(with(|host| host.stored.get(&(model.to_owned(), id.to_owned())).map(Value::to_string)))
    }
    pub(crate) fn find_one(model: &str, id: &str, options: &str) -> Result<String> {
        maybe_find_one(model, id, options)?
            .ok_or_else(|| Error::new("not-found", format_args!("no `{model}` has the id `{id}`")))
    }
    pub(crate) fn maybe_find_by(model: &str, key: &str, _: &str) -> Result<Option<String>> {
        Ok(equal_to(model, &parse(key)?).first().map(Value::to_string))
    }
    pub(crate) fn maybe_find_first(model: &str, query: &str) -> Result<Option<String>> {
        Ok(filtered(model, query)?.first().map(Value::to_string))
    }
    pub(crate) fn find_many(model: &str, query: &str) -> Result<Page> {
        Ok(Page(Value::Array(filtered(model, query)?).to_string()))
    }
    pub(crate) fn count(model: &str, query: &str) -> Result<u64> {
        Ok(filtered(model, query)?.len() as u64)
    }

    fn wrote(function: &str, model: &str, arguments: Value) {
        with(|host| host.effects.push(Effect::Write(function.to_owned(), model.to_owned(), arguments)));
    }

    pub(crate) fn create(model: &str, values: &str, _: &str) -> Result<String> {
        wrote("create", model, parse(values)?);
        Ok(values.to_owned())
    }
    pub(crate) fn update(model: &str, id: &str, values: &str, _: &str) -> Result<String> {
        wrote("update", model, json!({"id": id, "values": parse(values)?}));
        Ok(values.to_owned())
    }
    pub(crate) fn upsert(model: &str, on: &[String], values: &str, _: &str) -> Result<String> {
        wrote("upsert", model, json!({"on": on, "values": parse(values)?}));
        Ok(values.to_owned())
    }
    pub(crate) fn delete(model: &str, id: &str, _: &str) -> Result<()> {
        wrote("delete", model, json!({"id": id}));
        Ok(())
    }
    pub(crate) fn converge(model: &str, id: &str, field: &str, values: &str, _: &str) -> Result<String> {
        wrote("converge", model, json!({"id": id, "field": field, "values": parse(values)?}));
        Ok(values.to_owned())
    }
    pub(crate) fn bulk_create(model: &str, values: &str, _: &str) -> Result<String> {
        wrote("bulk-create", model, parse(values)?);
        Ok(values.to_owned())
    }
    pub(crate) fn bulk_update(model: &str, values: &str, _: &str) -> Result<String> {
        wrote("bulk-update", model, parse(values)?);
        Ok(values.to_owned())
    }
    pub(crate) fn bulk_upsert(model: &str, on: &[String], values: &str, _: &str) -> Result<String> {
        wrote("bulk-upsert", model, json!({"on": on, "values": parse(values)?}));
        Ok(values.to_owned())
    }
    pub(crate) fn bulk_delete(model: &str, ids: &[String], _: &str) -> Result<()> {
        wrote("bulk-delete", model, json!(ids));
        Ok(())
    }
    pub(crate) fn run_action(_: &str, _: &str) -> Result<String> {
        Err(not_available("data.run-action"))
    }
}

pub(crate) mod queue {
    use super::{Effect, Result, not_available, parse, with};

    fn job(what: &str, params: &str, options: &str) -> Result<String> {
        let job = Effect::Job(what.to_owned(), parse(params)?, parse(options)?);
        Ok(with(|host| {
            host.effects.push(job);
            format!("job-{}", host.effects.len())
        }))
    }
    pub(crate) fn enqueue_action(action: &str, params: &str, options: &str) -> Result<String> {
        job(action, params, options)
    }
    pub(crate) fn enqueue_call(call: &str, options: &str) -> Result<String> {
        job("call", call, options)
    }
    pub(crate) fn status(_: &str) -> Result<String> {
        Err(not_available("queue.status"))
    }
    pub(crate) fn cancel(_: &str) -> Result<bool> {
        Err(not_available("queue.cancel"))
    }
}
