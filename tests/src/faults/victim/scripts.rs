//! What the webhook of a number has plugins do, and what has to be there afterwards.
//!
//! Two plugins (`puppet` twice, under the names of [`PLUGINS`]) hear each webhook and play one script, each its own steps.
//! Every path that a call can take happens to some numbers: to add one, a part of [`body`], and what it leaves in [`left_by`].

use serde_json::{Value, json};
use tradewind_model::RecordKey;

/// The names that the plugins are installed under, in the order in which they run.
pub(super) const PLUGINS: [&str; 2] = ["one", "two"];

/// The model of what `success` leaves: a record for each key, with the number and the plugin.
pub(super) const EFFECT: &str = "effect";

/// What the app's models are.
pub(super) const MODELS: &str = r#"[
    {"name": "shopify/product"}, {"name": "first"}, {"name": "second"}, {"name": "tally"}, {"name": "kept"}, {"name": "step"},
    {"name": "effect", "fields": [{"name": "of", "type": "integer"}, {"name": "by", "type": "string"}]}
]"#;

/// Steps of a background job, with a checkpoint behind each.
const JOB_STEPS: u32 = 3;

/// The webhook's body: a product, with what is to be done when it has changed.
pub(super) fn body(number: u32, product: u32) -> Value {
    let mut body = json!({
        "id": product.to_string(),
        "number": number,
        "script": run(number, product),
        "scriptAfter": success(number),
    });
    if is_kept(number) {
        body["keep"] = keep(number);
    }
    body
}

/// In one unit: a record of each plugin, the product itself, a count, and a job. The second plugin fails after the first is
/// done with its part.
fn run(number: u32, product: u32) -> Value {
    let [one, two] = PLUGINS;
    let id = number.to_string();
    let mut script = vec![
        json!({"create": ["first", {"id": id}, {"internal": true}], "or-fail": true, "by": one}),
        json!({"add-one": ["tally", product.to_string()], "or-fail": true, "by": one}),
        json!({"create": ["second", {"id": id}, {"internal": true}], "or-fail": true, "by": two}),
        json!({"set": {"numberOfTwo": number}, "or-fail": true, "by": two}),
    ];
    if has_job(number) {
        let options = json!({"id": format!("job-{number}"), "retries": {"initialIntervalMs": 5}});
        script.push(json!({"enqueue": ["play", {"script": job(number)}, options], "or-fail": true, "by": one}));
    }
    if number % 10 == 1 {
        script.push(fail_before(2, two));
    }
    script.into()
}

/// Each plugin's own effect under its key. Some fail afterwards and do it again.
fn success(number: u32) -> Value {
    let effect = |by: &str| {
        let values = json!({"id": "$key", "of": number, "by": by});
        json!({"upsert": [EFFECT, ["id"], values, {"internal": true}], "or-fail": true, "by": by})
    };
    let mut script: Vec<Value> = PLUGINS.into_iter().map(effect).collect();
    if number % 10 == 3 {
        script.push(fail_before(2, PLUGINS[0]));
    }
    script.into()
}

/// An action that may not hold the mirror back: it fails within the delivery, and some fail once more in their own job.
fn keep(number: u32) -> Value {
    let attempt = if number % 20 == 4 { 3 } else { 2 };
    json!([
        {"add-one": ["kept", number.to_string()], "or-fail": true, "by": PLUGINS[0]},
        {"set": {"kept": number}, "or-fail": true, "by": PLUGINS[0]},
        fail_before(attempt, PLUGINS[0]),
    ])
}

/// A job that counts each of its steps, and fails in the middle of the second.
fn job(number: u32) -> Value {
    let lists = (0..JOB_STEPS).map(|step| {
        let count = json!({"add-one": ["step", format!("{number}-{step}")], "or-fail": true});
        if step == 1 { json!([count, fail_before(2, PLUGINS[0])]) } else { json!([count]) }
    });
    json!([{"with-checkpoints": lists.collect::<Vec<_>>(), "or-fail": true}])
}

/// An error that is retried, for all attempts before this one.
fn fail_before(attempt: u32, by: &str) -> Value {
    let fail = json!({"fail": {"code": "not-yet", "retryable": true}});
    json!({"before-attempt": [attempt, [fail]], "or-fail": true, "by": by})
}

fn is_kept(number: u32) -> bool {
    number.is_multiple_of(4)
}

fn has_job(number: u32) -> bool {
    number.is_multiple_of(3)
}

/// The record that says that the first plugin was here.
pub(super) fn first(number: u32) -> RecordKey {
    RecordKey::new("first", number.to_string())
}

/// Every record that may be there if the first plugin's is, and what it counts then; none when it is not there.
pub(super) fn left_by(number: u32) -> Vec<(RecordKey, Option<i64>)> {
    let counted = |is_there: bool| is_there.then_some(1);
    let step = |step| (RecordKey::new("step", format!("{number}-{step}")), counted(has_job(number)));
    let others = [
        (RecordKey::new("second", number.to_string()), Some(0)),
        (RecordKey::new("kept", number.to_string()), counted(is_kept(number))),
    ];
    others.into_iter().chain((0..JOB_STEPS).map(step)).collect()
}
