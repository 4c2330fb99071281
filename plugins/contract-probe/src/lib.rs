//! Calls every function of the contract and returns what it saw: what the host's side of the contract is tested with.
//!
//! Each action calls the functions of one interface and answers a JSON object: a function's name, and what it answered.
//! An error is answered as `{"error": code}`. A function that joins the contract joins one of the modules here; a test
//! compares them with the contract's text.

#![cfg(target_family = "wasm")]

mod http;
mod invocation;
mod platforms;
mod record;
mod storage;
mod surroundings;

use tradewind_sdk::__private::bindings;
use tradewind_sdk::serde_json::{self, Map, Value, json};

use bindings::tradewind::plugin::actions::Invocation;
use bindings::{Error, Guest, Registrar};

type See = fn(&Invocation) -> Seen;

const ACTIONS: &[(&str, See)] = &[
    ("see-record", record::see),
    ("see-save", record::see_save),
    ("see-invocation", invocation::see),
    ("see-data", storage::see_data),
    ("see-queue", storage::see_queue),
    ("see-shopify", platforms::see_shopify),
    ("see-bigcommerce", platforms::see_bigcommerce),
    ("see-http", http::see),
    ("see-surroundings", surroundings::see),
    ("see-time-and-chance", surroundings::see_time_and_chance),
];

/// The action that answers an error of its own.
const FAIL: &str = "fail";

struct Probe;

impl Guest for Probe {
    fn describe(registrar: Registrar) {
        registrar.set_option("title", "\"Contract probe\"");
        registrar.ask("shopify", r#"{"scopes":["read_products"]}"#);
        registrar.action(FAIL);
        for (name, _) in ACTIONS {
            let action = registrar.action(name);
            if *name == "see-record" {
                action.on_model("shopify/product", "update");
                action.on_webhook("shopify", "app/uninstalled");
                action.on_schedule("0 3 * * *");
                action.when_changed(&["title".to_owned(), "price".to_owned()]);
                action.param("limit", r#"{"type":"integer"}"#, true);
                action.set_option("api", "true");
            }
        }
    }

    fn run(action: String, call: Invocation) -> Result<String, Error> {
        match ACTIONS.iter().find(|(name, _)| *name == action) {
            Some((_, see)) => Ok(see(&call).into_json()),
            None => Err(Error {
                code: "probe-failed".to_owned(),
                message: action,
                details: Some(r#"{"known":false}"#.to_owned()),
                retryable: true,
            }),
        }
    }

    /// Has no result, so it logs what it saw.
    fn success(action: String, call: Invocation) -> Result<(), Error> {
        let seen = match action.as_str() {
            "see-record" => record::see_after_commit(&call),
            "see-invocation" => invocation::see(&call),
            _ => Seen::default(),
        };
        surroundings::report(&seen.into_json());
        Ok(())
    }
}

bindings::export!(Probe with_types_in bindings);

/// What was seen so far.
#[derive(Default)]
struct Seen(Map<String, Value>);

impl Seen {
    fn saw(&mut self, what: &str, value: impl Into<Value>) {
        self.0.insert(what.to_owned(), value.into());
    }

    /// JSON text, as the host answered it.
    fn saw_json(&mut self, what: &str, text: &str) {
        self.saw(what, parse(text));
    }

    fn saw_maybe_json(&mut self, what: &str, text: Option<String>) {
        self.saw(what, text.map_or_else(|| json!("none"), |text| parse(&text)));
    }

    /// A fallible function's answer.
    fn saw_answer<T>(&mut self, what: &str, answer: Result<T, Error>, value: impl FnOnce(T) -> Value) {
        self.saw(what, answer.map_or_else(|error| json!({"error": error.code}), value));
    }

    /// A fallible function's JSON text.
    fn saw_json_answer(&mut self, what: &str, answer: Result<String, Error>) {
        self.saw_answer(what, answer, |text| parse(&text));
    }

    /// A fallible function's optional JSON text.
    fn saw_maybe_json_answer(&mut self, what: &str, answer: Result<Option<String>, Error>) {
        self.saw_answer(what, answer, |text| text.map_or_else(|| json!("none"), |text| parse(&text)));
    }

    /// A fallible function without a value.
    fn saw_done(&mut self, what: &str, answer: Result<(), Error>) {
        self.saw_answer(what, answer, |()| json!("done"));
    }

    fn into_json(self) -> String {
        Value::Object(self.0).to_string()
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| json!({"not-json": error.to_string()}))
}
