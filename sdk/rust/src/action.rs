//! Actions, how they are declared, and how they are called.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::host::{RawCall, text};
use crate::{Error, Record, Result, host};

/// A named piece of code that runs on a record, a webhook, a schedule or a call.
pub trait Action: Sized {
    /// The name: lower-case words joined by `-`.
    const NAME: &'static str;

    /// The parameters; `()` for none. Their JSON Schema is taken from the type, and callers are held to it.
    type Params: DeserializeOwned + JsonSchema;

    /// Says what the action runs on. Called once, when the plugin is installed.
    fn declare(action: &Declaration);

    /// Before the change is committed. What it returns is the action's result.
    fn run(call: &Call<Self>) -> Result<Value> {
        let _ = call;
        Ok(Value::Null)
    }

    /// After the commit, at least once: calls that write to a platform go here.
    fn success(call: &Call<Self>) -> Result<()> {
        let _ = call;
        Ok(())
    }
}

/// A whole plugin. Implemented by [`export!`](crate::export).
pub trait Plugin {
    /// Registers every action.
    fn describe(registrar: &Registrar);
    /// Dispatches `run`.
    fn run(call: &RawCall<'_>) -> Result<String>;
    /// Dispatches `success`.
    fn success(call: &RawCall<'_>) -> Result<()>;
}

/// What a plugin says of itself as a whole.
pub struct Registrar<'a>(&'a host::registry::Registrar);

impl<'a> Registrar<'a> {
    #[doc(hidden)]
    pub fn from_host(registrar: &'a host::registry::Registrar) -> Self {
        Self(registrar)
    }

    /// Asks for a capability, for example `ask("shopify", json!({"scopes": ["write_products"]}))`.
    pub fn ask(&self, capability: &str, detail: Value) -> &Self {
        self.0.ask(capability, &detail.to_string());
        self
    }

    /// Sets a property of the plugin: `title`, `summary`, `homepage`, `config-schema`.
    pub fn option(&self, name: &str, value: impl Into<Value>) -> &Self {
        self.0.set_option(name, &value.into().to_string());
        self
    }
}

/// What an action runs on.
pub struct Declaration(host::registry::Declaration);

impl Declaration {
    /// On records of `model`, for each of the verbs: `create`, `update`, `delete`, or a name of the action's own.
    pub fn on_model(&self, model: &str, verbs: &[&str]) -> &Self {
        for verb in verbs {
            self.0.on_model(model, verb);
        }
        self
    }

    /// For a webhook topic that no model mirrors.
    pub fn on_webhook(&self, platform: &str, topic: &str) -> &Self {
        self.0.on_webhook(platform, topic);
        self
    }

    /// At the times of a five-field cron expression, in UTC.
    pub fn on_schedule(&self, cron: &str) -> &Self {
        self.0.on_schedule(cron);
        self
    }

    /// Only when one of these fields changed; otherwise no sandbox is created.
    pub fn when_changed(&self, fields: &[&str]) -> &Self {
        let fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        self.0.when_changed(&fields);
        self
    }

    /// Sets a property of the action: `api`, `timeout-ms`, `keep-record`, `manual-save`, `order`.
    pub fn option(&self, name: &str, value: impl Into<Value>) -> &Self {
        self.0.set_option(name, &value.into().to_string());
        self
    }
}

/// One call of an action.
pub struct Call<'a, A: Action> {
    raw: &'a RawCall<'a>,
    action: PhantomData<A>,
}

impl<A: Action> Call<'_, A> {
    /// The caller's parameters.
    pub fn params(&self) -> Result<A::Params> {
        let params = self.raw.invocation.params();
        // `()` is written `null`, but the host passes an object in every case.
        if std::mem::size_of::<A::Params>() == 0
            && let Ok(params) = serde_json::from_str("null")
        {
            return Ok(params);
        }
        Ok(serde_json::from_str(&params)?)
    }

    /// The record that the action is about. An error for a global action.
    pub fn record(&self) -> Result<Record> {
        self.maybe_record()
            .ok_or_else(|| Error::new("record-required", format_args!("`{}` runs on a record", self.raw.action)))
    }

    /// The record that the action is about, if it is about one.
    pub fn maybe_record(&self) -> Option<Record> {
        self.raw.invocation.record().map(Record::from_host)
    }

    /// Why this runs: `{"kind": "webhook", "topic": …}` and the like.
    pub fn trigger(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.raw.invocation.trigger())?)
    }

    /// `create`, `update`, `delete` or the custom verb that was called; none for an action on no model.
    pub fn verb(&self) -> Option<String> {
        self.raw.invocation.verb()
    }

    /// The webhook's body as it arrived; none for every other trigger.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        Ok(self.raw.invocation.payload().map(|text| serde_json::from_str(&text)).transpose()?)
    }

    /// Who is calling, if anybody is.
    pub fn session(&self) -> Result<Option<Value>> {
        Ok(self.raw.invocation.session().map(|text| serde_json::from_str(&text)).transpose()?)
    }

    /// The current shop, if there is one.
    pub fn shop(&self) -> Result<Option<Value>> {
        Ok(self.raw.invocation.shop().map(|text| serde_json::from_str(&text)).transpose()?)
    }

    /// In `success`: what `run` returned.
    pub fn run_result<T: DeserializeOwned>(&self) -> Result<T> {
        let text = self.raw.invocation.run_result();
        Ok(serde_json::from_str(text.as_deref().unwrap_or("null"))?)
    }

    /// Equal for every attempt of this phase: pass it to whatever must not happen twice.
    pub fn idempotency_key(&self) -> String {
        self.raw.invocation.idempotency_key()
    }

    /// 1 for the first attempt.
    pub fn attempt(&self) -> u32 {
        self.raw.invocation.attempt()
    }

    /// How many of our own writes stand between this call and an outside cause.
    pub fn depth(&self) -> u32 {
        self.raw.invocation.depth()
    }

    /// Milliseconds left.
    pub fn remaining_ms(&self) -> u64 {
        self.raw.invocation.remaining_ms()
    }

    /// Long background work: stores `state` and what was written so far, and starts the clock anew.
    pub fn checkpoint<T: serde::Serialize>(&self, state: &T) -> Result<()> {
        Ok(self.raw.invocation.checkpoint(&text(state)?)?)
    }

    /// What the last checkpoint of an earlier attempt stored.
    pub fn checkpoint_state<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        Ok(self.raw.invocation.checkpoint_state().map(|text| serde_json::from_str(&text)).transpose()?)
    }

    /// An error when the record belongs to another shop than the current one. The host checks this on every read and
    /// write anyway.
    pub fn prevent_cross_shop_access(&self, record: &Record) -> Result<()> {
        Ok(self.raw.invocation.prevent_cross_shop_access(record.to_host())?)
    }
}

#[doc(hidden)]
pub fn describe<A: Action>(registrar: &Registrar<'_>) {
    let declaration = Declaration(registrar.0.action(A::NAME));
    A::declare(&declaration);
    let schema = schemars::schema_for!(A::Params);
    let Some(Value::Object(properties)) = schema.get("properties") else { return };
    let required = schema.get("required").and_then(Value::as_array);
    for (name, property) in properties {
        let mut property = property.clone();
        // A parameter's schema stands alone, so it takes the definitions that it may refer to along.
        if let (Value::Object(property), Some(definitions)) = (&mut property, schema.get("$defs")) {
            property.insert("$defs".to_owned(), definitions.clone());
        }
        let required = required.is_some_and(|required| required.iter().any(|field| field == name));
        declaration.0.param(name, &property.to_string(), required);
    }
}

#[doc(hidden)]
pub fn run<A: Action>(raw: &RawCall<'_>) -> Result<String> {
    let result = A::run(&Call { raw, action: PhantomData })?;
    text(&result)
}

#[doc(hidden)]
pub fn success<A: Action>(raw: &RawCall<'_>) -> Result<()> {
    A::success(&Call { raw, action: PhantomData })
}

#[doc(hidden)]
pub fn unknown_action(name: &str) -> Error {
    Error::new("unknown-action", format_args!("this plugin has no action `{name}`"))
}
