//! The contract's functions with their largest, widest and deepest arguments: `{"heavy": ["create", "wide", 1000]}`. What the
//! host makes of them is what its tests measure; the answer is `"done"`, or the error's code.

use tradewind_sdk::serde_json::{Value, json};

use crate::bindings::Error;
use crate::bindings::tradewind::plugin::actions::{ActiveRecord, Baseline, Invocation};
use crate::bindings::tradewind::plugin::log::{self, Level};
use crate::bindings::tradewind::plugin::{config, data, queue};
use crate::play::failed;

type Ended = Result<(), Error>;

/// Calls one function with arguments of a shape and a size.
pub(crate) fn heavy(call: &Invocation, with: &Value) -> Result<Value, Error> {
    let (name, shape) = (with[0].as_str().unwrap_or_default(), with[1].as_str().unwrap_or_default());
    let size = with[2].as_u64().unwrap_or_default() as usize;
    match call.record() {
        Some(record) => on_record(&record, name, shape, size),
        None => elsewhere(call, name, shape, size),
    }
    .map(|()| json!("done"))
}

/// A JSON object with `size` members or bytes or levels, whose values `number` tells apart.
fn object(shape: &str, size: usize, number: u32) -> String {
    match shape {
        "wide" => format!("{{{}}}", (0..size).map(|at| format!("\"m{at}\":{number}")).collect::<Vec<_>>().join(",")),
        "deep" => format!("{{\"m\":{}{number}{}}}", "[".repeat(size), "]".repeat(size)),
        // The deepest that is read, with all of the size inside: each level reads it once more.
        "deep-and-large" => {
            format!("{{\"m\":{}\"{}\",{number}{}}}", "[".repeat(100), "x".repeat(size), "]".repeat(100))
        }
        _ => format!("{{\"m\":\"{}{number}\"}}", "x".repeat(size)),
    }
}

fn names(size: usize) -> Vec<String> {
    (0..size).map(|at| format!("m{at}")).collect()
}

fn elements(size: usize) -> String {
    let elements = (0..size).map(|at| format!("{{\"id\":\"e{at}\",\"colour\":\"c{at}\",\"note\":\"x\"}}"));
    format!("[{}]", elements.collect::<Vec<_>>().join(","))
}

fn select(size: usize) -> String {
    format!("{{{}}}", (0..size).map(|at| format!("\"m{at}\":true")).collect::<Vec<_>>().join(","))
}

fn on_record(record: &ActiveRecord, name: &str, shape: &str, size: usize) -> Ended {
    record.apply(&object(shape, size, 1))?;
    match name {
        "apply" => {}
        "apply-again" => {
            record.flush(Baseline::Loaded)?;
            // The same in another spelling, so that the texts have to be read.
            record.apply(&object(shape, size, 1).replace(":1", ":1.0").replace(",1]", ",1.0]"))?;
        }
        "changes" => drop(record.changes(Baseline::Loaded)),
        "fields" => drop(record.fields()),
        "flush" => record.flush(Baseline::Loaded)?,
        "revert" => record.revert(None, Baseline::Loaded)?,
        "to-json" => drop(record.to_json()),
        "to-changed-json" => drop(record.to_changed_json(Baseline::Loaded)),
        "get-many" => drop(record.get_many(&names(size))),
        "save" => record.save()?,
        "set-name" => record.set(&"n".repeat(size), "1")?,
        _ => return Err(failed("no-step", name)),
    }
    // Nothing of it is saved.
    record.revert(None, Baseline::Loaded)
}

fn elsewhere(call: &Invocation, name: &str, shape: &str, size: usize) -> Ended {
    let options = "{\"internal\":true}";
    match name {
        "params" => drop((call.params(), call.param("script"))),
        "create" => drop(data::create("bag", &object(shape, size, 1), options)?),
        "update" => {
            data::create("bag", "{\"id\":\"u\"}", options)?;
            data::update("bag", "u", &object(shape, size, 1), options)?;
            data::update("bag", "u", &object(shape, size, 2), options)?;
        }
        "select" => {
            data::create("bag", &object("wide", size, 1).replacen('{', "{\"id\":\"s\",", 1), options)?;
            data::find_one("bag", "s", &format!("{{\"select\":{}}}", select(size)))?;
        }
        "options" => drop(data::maybe_find_one("bag", "1", &object(shape, size, 1))?),
        "query" => drop(data::count("thing", &object(shape, size, 1))?),
        "contains" => {
            data::bulk_create("thing", &elements(size), options)?;
            let terms = (0..150).map(|at| format!("{{\"note\":{{\"contains\":\"y{at}\"}}}}")).collect::<Vec<_>>();
            data::count("thing", &format!("{{\"filter\":{{\"OR\":[{}]}}}}", terms.join(",")))?;
        }
        "contains-large" => {
            let large = format!("{{\"id\":\"l\",\"note\":\"{}\"}}", "x".repeat(size));
            data::create("thing", &large, options)?;
            let terms = (0..150).map(|at| format!("{{\"note\":{{\"contains\":\"y{at}\"}}}}")).collect::<Vec<_>>();
            data::count("thing", &format!("{{\"filter\":{{\"OR\":[{}]}}}}", terms.join(",")))?;
        }
        "bulk-create" => drop(data::bulk_create("thing", &elements(size), options)?),
        "bulk-update" => {
            data::bulk_create("thing", &elements(size), options)?;
            data::bulk_update("thing", &elements(size), options)?;
        }
        "bulk-upsert" => drop(data::bulk_upsert("thing", &["colour".to_owned()], &elements(size), options)?),
        "bulk-delete" => data::bulk_delete("thing", &names(size), options)?,
        "upsert-on" => drop(data::upsert("thing", &names(size), &object("wide", size, 1), options)?),
        "converge" => {
            data::create("thing", "{\"id\":\"p\"}", options)?;
            data::converge("thing", "p", "parts", &elements(size).replace("\"colour\"", "\"hue\""), options)?;
        }
        "find-by" => drop(data::maybe_find_by("thing", &object(shape, size, 1), "{}")?),
        "find-one" => drop(data::find_one("thing", &"i".repeat(size), "{}")?),
        "model" => drop(data::count(&"m".repeat(size), "{}")?),
        "run-action" => drop(data::run_action("play", &object(shape, size, 1))?),
        "run-bulk" => drop(data::run_action("thing.bulk-create", &format!("{{\"values\":{}}}", elements(size)))?),
        "enqueue-action" => {
            let params = format!("{{\"script\":[],\"scriptAfter\":{}}}", object(shape, size, 1));
            let id = queue::enqueue_action("play", &params, "{}")?;
            queue::cancel(&id)?;
        }
        "enqueue-and-cancel" => {
            let ids = (0..size).map(|_| queue::enqueue_action("play", "{}", "{}")).collect::<Result<Vec<_>, _>>()?;
            for id in ids {
                queue::cancel(&id)?;
            }
        }
        "enqueue-options" => drop(queue::enqueue_action("play", "{}", &object(shape, size, 1))?),
        "enqueue-graphql" => {
            let query = format!("{{ a(b: \\\"{}\\\") }}", "x".repeat(size));
            let call = format!("{{\"platform\":\"shopify\",\"graphql\":{{\"query\":\"{query}\"}}}}");
            queue::enqueue_call(&call, "{}")?;
        }
        "enqueue-path" => {
            let path = "x".repeat(size);
            let call = format!("{{\"platform\":\"shopify\",\"rest\":{{\"method\":\"GET\",\"path\":\"{path}\"}}}}");
            queue::enqueue_call(&call, "{}")?;
        }
        "status" => drop(queue::status(&"j".repeat(size))?),
        "config" => drop(config::get(&"c".repeat(size))),
        "log" => log::write(Level::Info, &"l".repeat(size), &object(shape, size, 1)),
        "error-details" => return Err(Error { details: Some(object(shape, size, 1)), ..failed("mine", "no") }),
        "error-message" => return Err(failed(&"c".repeat(size), &"m".repeat(size))),
        _ => return Err(failed("no-step", name)),
    }
    Ok(())
}
