//! Reading and changing the record, against both baselines.

use tradewind_sdk::serde_json::{Value, json};

use crate::bindings::tradewind::plugin::actions::{ActiveRecord, Baseline, Change, Invocation};
use crate::{Seen, parse};

pub(crate) fn see(call: &Invocation) -> Seen {
    let mut seen = Seen::default();
    let Some(record) = call.record() else { return seen };
    see_state(&record, &mut seen);
    seen.saw_done("set", record.set("title", "\"CAP\""));
    seen.saw_done("set-not-json", record.set("title", "CAP"));
    seen.saw_done("set-new", record.set("parentId", "18446744073709551615"));
    seen.saw_done("unset", record.unset("vendor"));
    seen.saw_done("apply", record.apply(r#"{"price":12,"tags":["b"]}"#));
    seen.saw_done("apply-not-an-object", record.apply("[]"));
    seen.saw("changes", changes(&record, Baseline::Loaded));
    // From here on the two baselines differ.
    seen.saw_done("flush", record.flush(Baseline::Persisted));
    seen.saw_done("set-after-flush", record.set("price", "13"));
    seen.saw("changes-persisted", changes(&record, Baseline::Persisted));
    seen.saw("change", change(record.change("price", Baseline::Persisted)));
    seen.saw("change-none", change(record.change("title", Baseline::Persisted)));
    seen.saw_maybe_json("previous-loaded", record.previous("price", Baseline::Loaded));
    seen.saw_maybe_json("previous-persisted", record.previous("price", Baseline::Persisted));
    seen.saw("origin-run", record.origin("price"));
    seen.saw_json("to-changed-json", &record.to_changed_json(Baseline::Loaded));
    seen.saw_json("to-changed-json-persisted", &record.to_changed_json(Baseline::Persisted));
    seen.saw_done("revert-field", record.revert(Some("price"), Baseline::Persisted));
    seen.saw_maybe_json("reverted-field", record.get("price"));
    seen.saw_done("touch", record.touch());
    seen.saw("touched", record.changed(None, Baseline::Persisted));
    seen.saw_done("revert", record.revert(None, Baseline::Persisted));
    seen.saw("untouched", record.changed(None, Baseline::Persisted));
    seen.saw_json("to-json", &record.to_json());
    seen
}

fn see_state(record: &ActiveRecord, seen: &mut Seen) {
    seen.saw("id", record.id());
    seen.saw("model", record.model());
    seen.saw("is-new", record.is_new());
    seen.saw("is-empty", record.is_empty());
    seen.saw("fields", record.fields());
    seen.saw_maybe_json("get", record.get("externalId"));
    seen.saw_maybe_json("get-absent", record.get("nothing"));
    let asked = ["price", "nothing", "title", "price"].map(str::to_owned);
    let many = record.get_many(&asked).into_iter().map(|text| text.map(|text| parse(&text)));
    seen.saw("get-many", many.map(|value| value.unwrap_or_else(|| json!("none"))).collect::<Vec<_>>());
    seen.saw("changed", record.changed(None, Baseline::Loaded));
    seen.saw("changed-price", record.changed(Some("price"), Baseline::Loaded));
    seen.saw("changed-title", record.changed(Some("title"), Baseline::Loaded));
    seen.saw("incoming", changes(record, Baseline::Loaded));
    seen.saw("origin", record.origin("price"));
    seen.saw("origin-none", record.origin("title"));
}

pub(crate) fn see_save(call: &Invocation) -> Seen {
    let mut seen = Seen::default();
    let Some(record) = call.record() else { return seen };
    seen.saw_done("set", record.set("title", "\"CAP\""));
    seen.saw_done("save", record.save());
    seen.saw("changed-loaded", record.changed(None, Baseline::Loaded));
    seen.saw("changed-persisted", record.changed(None, Baseline::Persisted));
    seen
}

/// After the commit every write is refused and every read answers.
pub(crate) fn see_after_commit(call: &Invocation) -> Seen {
    let mut seen = Seen::default();
    let Some(record) = call.record() else { return seen };
    seen.saw_done("set", record.set("title", "\"too late\""));
    seen.saw_done("unset", record.unset("title"));
    seen.saw_done("apply", record.apply(r#"{"title":"too late"}"#));
    seen.saw_done("revert", record.revert(None, Baseline::Loaded));
    seen.saw_done("flush", record.flush(Baseline::Loaded));
    seen.saw_done("touch", record.touch());
    seen.saw_done("save", record.save());
    seen.saw_maybe_json("get", record.get("title"));
    seen.saw("changes", changes(&record, Baseline::Loaded));
    seen
}

fn changes(record: &ActiveRecord, since: Baseline) -> Vec<Value> {
    record.changes(since).into_iter().map(|each| change(Some(each))).collect()
}

fn change(change: Option<Change>) -> Value {
    let Some(Change { field, previous, current, origin }) = change else { return json!("none") };
    let value = |text: Option<String>| text.map_or_else(|| json!("none"), |text| parse(&text));
    json!([field, value(previous), value(current), origin])
}
