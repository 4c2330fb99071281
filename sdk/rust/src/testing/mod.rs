//! A fake host for unit tests: `cargo test` runs a plugin's logic natively, without a sandbox.
//!
//! ```
//! # use tradewind_sdk::prelude::*;
//! # struct UpcaseTitle;
//! # impl Action for UpcaseTitle {
//! #     const NAME: &'static str = "upcase-title";
//! #     type Params = ();
//! #     fn declare(action: &Declaration) { action.on_model("shopify/product", &["upcase"]); }
//! #     fn run(call: &Call<Self>) -> Result<Value> {
//! #         let product = call.record()?;
//! #         product.set("title", product.get::<String>("title")?.to_uppercase())?;
//! #         Ok(Value::Null)
//! #     }
//! # }
//! use tradewind_sdk::testing::Fake;
//!
//! let fake = Fake::new().record("shopify/product", "1", json!({"title": "hat"}), json!({}));
//! fake.run::<UpcaseTitle>(json!({})).unwrap();
//! assert_eq!(fake.field("title"), json!("HAT"));
//! ```
//!
//! What it does not do: it keeps no unit of work, checks no grants and enforces no limits. `tradewind plugin run` checks
//! grants and limits.

mod outside;
pub(crate) mod wire;

use serde_json::{Map, Value};

use crate::host::RawCall;
use crate::{Action, Error, Result};
use wire::with;

/// A fake host. One for each test: it takes the place of the thread's previous one.
pub struct Fake(());

/// What a plugin did to the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A log entry: its level, message and fields.
    Log(String, String, Value),
    /// A write of a record: the function's name, the model, and its arguments.
    Write(String, String, Value),
    /// A job: the action or `call`, its parameters, and the options.
    Job(String, Value, Value),
    /// A call to a platform: `shopify` or `bigcommerce`, the GraphQL document or `METHOD path`, and its variables or options.
    Call(String, String, Value),
    /// A request to a third party: the method, the URL and the body as text.
    Request(String, String, String),
}

/// What an action says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    /// Models and verbs.
    pub models: Vec<(String, String)>,
    /// Fields of interest.
    pub when_changed: Vec<String>,
    /// Parameters: name, schema, whether it is required.
    pub params: Vec<(String, Value, bool)>,
    /// Platforms and topics.
    pub webhooks: Vec<(String, String)>,
    /// Cron expressions.
    pub schedules: Vec<String>,
    /// Options of the action.
    pub options: Map<String, Value>,
}

impl Default for Fake {
    fn default() -> Self {
        Self::new()
    }
}

impl Fake {
    /// A host with a current Shopify shop `fake.myshopify.com` and nothing else.
    pub fn new() -> Self {
        with(|host| *host = wire::Host::default());
        Self(())
    }

    /// Gives the call a record: as it was stored, and the incoming fields.
    #[must_use]
    pub fn record(self, model: &str, id: &str, stored: Value, incoming: Value) -> Self {
        with(|host| host.record = Some(wire::FakeRecord::new(model, id, stored, incoming)));
        self
    }

    /// Puts a record where `data` finds it.
    #[must_use]
    pub fn stored(self, model: &str, id: &str, document: Value) -> Self {
        with(|host| host.stored.insert((model.to_owned(), id.to_owned()), document));
        self
    }

    /// Prepares the answer to the next platform call whose document or `METHOD path` contains `matching`.
    #[must_use]
    pub fn answer(self, matching: &str, answer: Result<Value>) -> Self {
        with(|host| host.answers.push((matching.to_owned(), answer)));
        self
    }

    /// Prepares the response to the next HTTP request whose URL contains `matching`: its status and body.
    #[must_use]
    pub fn response(self, matching: &str, status: u16, body: &str) -> Self {
        with(|host| host.responses.push((matching.to_owned(), status, body.to_owned())));
        self
    }

    /// Sets a setting.
    #[must_use]
    pub fn setting(self, name: &str, value: Value) -> Self {
        with(|host| host.config.insert(name.to_owned(), value));
        self
    }

    /// Sets a secret.
    #[must_use]
    pub fn secret(self, name: &str, text: &str) -> Self {
        with(|host| host.secrets.insert(name.to_owned(), text.to_owned()));
        self
    }

    /// Gives the call a webhook's body.
    #[must_use]
    pub fn payload(self, body: Value) -> Self {
        with(|host| host.payload = Some(body));
        self
    }

    /// Takes the current shop away.
    #[must_use]
    pub fn without_shop(self) -> Self {
        with(|host| host.shop = None);
        self
    }

    /// Runs an action's `run` and keeps its result for `success`.
    pub fn run<A: Action>(&self, params: Value) -> Result<Value> {
        let result = crate::action::run::<A>(&Self::call::<A>(params, false))?;
        let result: Value = serde_json::from_str(&result)?;
        with(|host| host.run_result = Some(result.clone()));
        Ok(result)
    }

    /// Runs an action's `success`.
    pub fn success<A: Action>(&self, params: Value) -> Result<()> {
        crate::action::success::<A>(&Self::call::<A>(params, true))
    }

    /// Runs `run` and then `success`.
    pub fn both<A: Action>(&self, params: Value) -> Result<Value> {
        let result = self.run::<A>(params.clone())?;
        self.success::<A>(params)?;
        Ok(result)
    }

    /// What the action declares.
    pub fn declared<A: Action>(&self) -> Declared {
        crate::action::describe::<A>(&crate::Registrar::from_host(&wire::registry::Registrar));
        with(|host| host.declared.last().cloned()).unwrap_or_default()
    }

    /// A field of the record as the plugin left it, `null` when it is not there.
    pub fn field(&self, name: &str) -> Value {
        with(|host| host.record.as_ref().and_then(|record| record.get(name).cloned())).unwrap_or(Value::Null)
    }

    /// Everything that the plugin did, in order.
    pub fn effects(&self) -> Vec<Effect> {
        with(|host| host.effects.clone())
    }

    /// The platform calls among the effects: document or `METHOD path`, and variables or options.
    pub fn calls(&self) -> Vec<(String, Value)> {
        let call = |effect| match effect {
            Effect::Call(_, what, with) => Some((what, with)),
            _ => None,
        };
        self.effects().into_iter().filter_map(call).collect()
    }

    fn call<A: Action>(params: Value, success: bool) -> RawCall<'static> {
        with(|host| {
            host.params = params;
            host.success = success;
        });
        RawCall { action: A::NAME.to_owned(), invocation: &wire::Invocation }
    }
}

/// The error for text that is not JSON.
fn not_json(error: &serde_json::Error) -> Error {
    Error::new("invalid-json", error)
}
