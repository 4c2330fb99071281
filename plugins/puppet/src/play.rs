//! The steps of a script: `{"create": ["thing", {"colour": "blue"}]}` calls the contract's function of that name.
//!
//! An error is answered as `{"error": code}` and the script goes on, unless the step has `"or-fail": true`. A step with
//! `"expect": value` fails the whole action when the answer is another. A step with `"by": name` is left to the puppet whose
//! setting `name` says so: the others go past it. A step with `"says": true` answers an error's message too. To add a step, add a line to [`step`].

use tradewind_sdk::serde_json::{Value, from_str, json};

use crate::bindings::Error;
use crate::bindings::tradewind::plugin::actions::{ActiveRecord, Baseline, Invocation};
use crate::bindings::tradewind::plugin::log::{self, Level};
use crate::bindings::tradewind::plugin::{config, data, queue, shopify};

type Answer = Result<Value, Error>;

/// Plays a script and answers what each step was answered.
pub(crate) fn play(call: &Invocation, steps: Vec<Value>) -> Result<Vec<Value>, Error> {
    let mut answers = Vec::new();
    for one in steps {
        if one.get("by").is_some_and(|by| *by != maybe(config::get("name"))) {
            continue;
        }
        let name = one.as_object().and_then(|step| step.keys().find(|name| !is_mark(name)).cloned());
        let Some(name) = name else { return Err(failed("no-step", &one.to_string())) };
        // These end the action whatever else the step says.
        if name == "fail" {
            return Err(Error {
                retryable: one[&name]["retryable"] == true,
                // As text, so that they may be deeper than a script.
                details: one[&name]["details"].as_str().map(str::to_owned),
                ..failed(&text(&one[&name]["code"]), "as told")
            });
        }
        let answer = match step(call, &name, &one[&name]) {
            Err(error) if one["or-fail"] == true => return Err(error),
            Err(error) if one["says"] == true => json!({"error": error.code, "message": error.message}),
            Err(error) => json!({"error": error.code}),
            Ok(answer) => answer,
        };
        if one.get("expect").is_some_and(|expected| *expected != answer) {
            return Err(failed("unexpected", &format!("{one} was answered {answer}")));
        }
        answers.push(answer);
    }
    Ok(answers)
}

fn is_mark(name: &str) -> bool {
    matches!(name, "or-fail" | "expect" | "by" | "says")
}

fn step(call: &Invocation, name: &str, with: &Value) -> Answer {
    let a = |at: usize| text(&with[at]);
    // Text is passed as it is: it need not be what anybody would write.
    let options = |at: usize| text(&with[at]);
    match name {
        "create" => parsed(data::create(&a(0), &a(1), &options(2))),
        "update" => parsed(data::update(&a(0), &a(1), &a(2), &options(3))),
        "upsert" => parsed(data::upsert(&a(0), &texts(&with[1]), &a(2), &options(3))),
        "delete" => data::delete(&a(0), &a(1), &options(2)).map(|()| Value::Null),
        "converge" => parsed(data::converge(&a(0), &a(1), &a(2), &a(3), &options(4))),
        "bulk-create" => parsed(data::bulk_create(&a(0), &a(1), &options(2))),
        "bulk-update" => parsed(data::bulk_update(&a(0), &a(1), &options(2))),
        "bulk-upsert" => parsed(data::bulk_upsert(&a(0), &texts(&with[1]), &a(2), &options(3))),
        "bulk-delete" => data::bulk_delete(&a(0), &texts(&with[1]), &options(2)).map(|()| Value::Null),
        "find" => data::maybe_find_one(&a(0), &a(1), &options(2)).map(maybe),
        "find-by" => data::maybe_find_by(&a(0), &a(1), &options(2)).map(maybe),
        "find-first" => data::maybe_find_first(&a(0), &options(1)).map(maybe),
        "find-many" => data::find_many(&a(0), &options(1)).map(|page| parse(&page.records())),
        "count" => data::count(&a(0), &options(1)).map(|count| json!(count)),
        "add-one" => add_one(&a(0), &a(1)),
        "count-vendor" => count_vendor(&text(with)),
        "run-action" => parsed(data::run_action(&a(0), &object(&with[1]))),
        "graphql" => graphql(&a(0), &a(1), &options(2)),
        "enqueue" => queue::enqueue_action(&a(0), &object(&with[1]), &options(2)).map(|id| json!(id)),
        "enqueue-itself" => enqueue_itself(call, with),
        "enqueue-call" => queue::enqueue_call(&a(0), &options(1)).map(|id| json!(id)),
        "status" => parsed(queue::status(&text(with))),
        "cancel" => queue::cancel(&text(with)).map(|cancelled| json!(cancelled)),
        "checkpoint" => call.checkpoint(&with.to_string()).map(|()| Value::Null),
        // What follows is skipped by whoever goes on from a checkpoint.
        "unless-checkpoint" if call.checkpoint_state().is_some() => Ok(Value::Null),
        "unless-checkpoint" => play(call, steps_of(with)).map(Value::Array),
        "with-checkpoints" => with_checkpoints(call, with),
        // `[2, steps]`: steps of the first attempt alone.
        "before-attempt" if with[0].as_u64() <= Some(call.attempt().into()) => Ok(Value::Null),
        "before-attempt" => play(call, steps_of(&with[1])).map(Value::Array),
        "checkpoint-state" => Ok(maybe(call.checkpoint_state())),
        "log" => {
            log::write(Level::Info, &text(with), "null");
            Ok(Value::Null)
        }
        "log-about" => {
            log::write(Level::Info, &about(call).to_string(), "null");
            Ok(Value::Null)
        }
        "trap" => core::arch::wasm32::unreachable(),
        "spin" => loop {
            std::hint::black_box(());
        },
        "about" => Ok(about(call)),
        "heavy" => crate::heavy::heavy(call, with),
        _ => match call.record() {
            Some(record) => on_record(&record, name, with),
            None => Err(failed("no-step", name)),
        },
    }
}

/// Plays one list of steps after another, with a checkpoint behind each, and goes on behind the last checkpoint.
fn with_checkpoints(call: &Invocation, lists: &Value) -> Answer {
    let done = call.checkpoint_state().and_then(|state| state.parse().ok()).unwrap_or(0);
    for (at, steps) in lists.as_array().into_iter().flatten().enumerate().skip(done) {
        play(call, steps_of(steps))?;
        call.checkpoint(&(at + 1).to_string())?;
    }
    Ok(Value::Null)
}

/// Calls the current shop's platform.
fn graphql(query: &str, variables: &str, options: &str) -> Answer {
    let Some(client) = shopify::Client::current() else { return Err(failed("no-client", "there is no current shop")) };
    parsed(client.graphql(query, variables, options))
}

/// Counts the products of a vendor, and keeps the count in a record of that vendor: what a plugin does that keeps a total.
fn count_vendor(vendor: &str) -> Answer {
    let count = data::count("shopify/product", &json!({"filter": {"vendor": {"equals": vendor}}}).to_string())?;
    let total = json!({"id": vendor, "count": count}).to_string();
    parsed(data::upsert("total", &["id".to_owned()], &total, &json!({"internal": true}).to_string()))
}

/// Adds one to the `count` of a record, which begins with this one.
fn add_one(model: &str, id: &str) -> Answer {
    let count = data::maybe_find_one(model, id, "{}")?.and_then(|record| parse(&record)["count"].as_i64());
    let next = json!({"id": id, "count": count.unwrap_or(0) + 1}).to_string();
    parsed(data::upsert(model, &["id".to_owned()], &next, &json!({"internal": true}).to_string()))
}

fn on_record(record: &ActiveRecord, name: &str, with: &Value) -> Answer {
    let done = |answer: Result<(), Error>| answer.map(|()| Value::Null);
    match name {
        "set" => done(record.apply(&with.to_string())),
        "unset" => done(record.unset(&text(with))),
        "touch" => done(record.touch()),
        "save" => done(record.save()),
        "revert" => done(record.revert(None, Baseline::Loaded)),
        "flush" => done(record.flush(Baseline::Loaded)),
        "get" => Ok(maybe(record.get(&text(with)))),
        "record" => Ok(parse(&record.to_json())),
        "is-new" => Ok(json!(record.is_new())),
        "changed" => {
            let changes = record.changes(Baseline::Loaded).into_iter();
            Ok(changes.map(|change| json!([change.field, change.origin])).collect())
        }
        "previous" => Ok(maybe(record.previous(&text(with), Baseline::Loaded))),
        _ => Err(failed("no-step", name)),
    }
}

fn about(call: &Invocation) -> Value {
    json!({
        "trigger": parse(&call.trigger()),
        "verb": call.verb(),
        "params": parse(&call.params()),
        "payload": maybe(call.payload()),
        "shop": maybe(call.shop()),
        "result": maybe(call.run_result()),
        "key": call.idempotency_key(),
        "attempt": call.attempt(),
        "depth": call.depth(),
    })
}

pub(crate) fn failed(code: &str, message: &str) -> Error {
    Error { code: code.to_owned(), message: message.to_owned(), details: None, retryable: false }
}

fn steps_of(steps: &Value) -> Vec<Value> {
    steps.as_array().cloned().unwrap_or_default()
}

/// A string as it is, anything else as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().map(|values| values.iter().map(text).collect()).unwrap_or_default()
}

/// Enqueues a job that does the same as this one, as often as `with` says.
fn enqueue_itself(call: &Invocation, with: &Value) -> Answer {
    for _ in 0..with.as_u64().unwrap_or_default() {
        queue::enqueue_action("play", &call.params(), "null")?;
    }
    Ok(Value::Null)
}

fn object(value: &Value) -> String {
    if value.is_null() { "{}".to_owned() } else { text(value) }
}

fn parsed(answer: Result<String, Error>) -> Answer {
    answer.map(|text| parse(&text))
}

fn maybe(text: Option<String>) -> Value {
    text.map_or(Value::Null, |text| parse(&text))
}

fn parse(text: &str) -> Value {
    from_str(text).unwrap_or_else(|_| json!(text))
}
