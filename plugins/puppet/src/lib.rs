//! Does what a script says: what the host's pipeline is tested with.
//!
//! Each action finds its script, a JSON array of steps (`play`), in a field of its record or in the parameter `script`,
//! and returns the array of the steps' answers. After the commit it plays the script of the same name with `After` behind it.
//! An action that finds no script returns `null`. In a script, `"$key"` is the call's idempotency key. To try another kind of
//! action, add a line to `ACTIONS`.

#![cfg(target_family = "wasm")]

mod heavy;
mod play;

use tradewind_sdk::__private::bindings;
use tradewind_sdk::serde_json::Value;

use bindings::tradewind::plugin::actions::Invocation;
use bindings::{Error, Guest, Registrar};

/// An action on records of products, or on none.
struct Role {
    name: &'static str,
    /// The field, or parameter, with the script.
    script: &'static str,
    models: &'static [&'static str],
    verbs: &'static [&'static str],
    /// Whether only a changed script calls it.
    when_changed: &'static [&'static str],
    options: &'static [(&'static str, &'static str)],
}

const NOWHERE: Role = Role { name: "", script: "script", models: &[], verbs: &[], when_changed: &[], options: &[] };
const PRODUCT: &str = "shopify/product";
const VARIANT: &str = "shopify/product-variant";
const SAVES: &[&str] = &["create", "update"];

const ACTIONS: &[Role] = &[
    Role { name: "play", ..NOWHERE },
    Role { name: "follow", models: &[PRODUCT, VARIANT, "thing"], verbs: &["create", "update", "delete"], ..NOWHERE },
    Role { name: "perform", models: &[PRODUCT, "thing"], verbs: &["perform"], ..NOWHERE },
    Role {
        name: "first",
        script: "first",
        models: &[PRODUCT],
        verbs: SAVES,
        when_changed: &["first"],
        options: &[("order", "-1")],
    },
    Role {
        name: "last",
        script: "last",
        models: &[PRODUCT],
        verbs: SAVES,
        when_changed: &["last"],
        options: &[("order", "1")],
    },
    Role {
        name: "keep",
        script: "keep",
        models: &[PRODUCT],
        verbs: SAVES,
        when_changed: &["keep"],
        options: &[("keep-record", "true")],
    },
    Role {
        name: "keep-deleted",
        script: "keepDeleted",
        models: &[PRODUCT],
        verbs: &["delete"],
        options: &[("keep-record", "true")],
        ..NOWHERE
    },
    Role {
        name: "manual",
        script: "script",
        models: &["note"],
        verbs: SAVES,
        options: &[("manual-save", "true")],
        ..NOWHERE
    },
];

struct Puppet;

impl Guest for Puppet {
    fn describe(registrar: Registrar) {
        for role in ACTIONS {
            let action = registrar.action(role.name);
            for (model, verb) in role.models.iter().flat_map(|model| role.verbs.iter().map(move |verb| (model, verb))) {
                action.on_model(model, verb);
            }
            if !role.when_changed.is_empty() {
                action.when_changed(&role.when_changed.iter().map(|&field| field.to_owned()).collect::<Vec<_>>());
            }
            if role.models.is_empty() {
                action.on_webhook("shopify", "app/uninstalled");
            }
            for (name, value) in role.options {
                action.set_option(name, value);
            }
            action.param(role.script, "true", false);
            action.param(&after(role.script), "true", false);
        }
    }

    fn run(action: String, call: Invocation) -> Result<String, Error> {
        let Some(role) = ACTIONS.iter().find(|role| role.name == action) else {
            return Err(play::failed("unknown-action", &action));
        };
        Ok(match script(&call, role.script)? {
            Some(steps) => Value::Array(play::play(&call, steps)?).to_string(),
            None => "null".to_owned(),
        })
    }

    fn success(action: String, call: Invocation) -> Result<(), Error> {
        let Some(role) = ACTIONS.iter().find(|role| role.name == action) else { return Ok(()) };
        match script(&call, &after(role.script))? {
            Some(steps) => play::play(&call, steps).map(drop),
            None => Ok(()),
        }
    }
}

bindings::export!(Puppet with_types_in bindings);

fn after(script: &str) -> String {
    format!("{script}After")
}

/// The steps that the parameter or the record's field of this name holds.
fn script(call: &Invocation, name: &str) -> Result<Option<Vec<Value>>, Error> {
    let text = call.param(name).or_else(|| call.record()?.get(name));
    let Some(text) = text.filter(|text| text != "null") else { return Ok(None) };
    let key = Value::from(call.idempotency_key()).to_string();
    let steps = tradewind_sdk::serde_json::from_str(&text.replace("\"$key\"", &key));
    steps.map(Some).map_err(|error| play::failed("no-script", &error.to_string()))
}
