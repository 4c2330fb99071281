//! Records and jobs.

use tradewind_sdk::serde_json::json;

use crate::bindings::tradewind::plugin::actions::Invocation;
use crate::bindings::tradewind::plugin::data::{self, Page};
use crate::bindings::tradewind::plugin::queue;
use crate::{Seen, parse};

const MODEL: &str = "thing";
const BLUE: &str = r#"{"filter":{"colour":{"equals":"blue"}}}"#;
const NONE: &str = r#"{"filter":{"colour":{"equals":"none"}}}"#;

pub(crate) fn see_data(_: &Invocation) -> Seen {
    let mut seen = Seen::default();
    let blue = vec!["colour".to_owned()];
    seen.saw_json_answer("create", data::create(MODEL, r#"{"id":"1","colour":"blue"}"#, "null"));
    seen.saw_json_answer("create-again", data::create(MODEL, r#"{"id":"1"}"#, "{}"));
    seen.saw_json_answer("create-not-json", data::create(MODEL, "blue", "null"));
    seen.saw_json_answer("update", data::update(MODEL, "1", r#"{"size":9007199254740993}"#, "null"));
    seen.saw_json_answer("update-absent", data::update(MODEL, "9", "{}", "null"));
    seen.saw_json_answer("upsert", data::upsert(MODEL, &blue, r#"{"colour":"blue","size":2}"#, "null"));
    seen.saw_json_answer("converge", data::converge(MODEL, "1", "parts", r#"[{"id":"5"}]"#, "null"));
    seen.saw_json_answer("bulk-create", data::bulk_create(MODEL, r#"[{"id":"2"},{"id":"3"}]"#, "null"));
    seen.saw_json_answer("bulk-update", data::bulk_update(MODEL, r#"[{"id":"2","colour":"red"}]"#, "null"));
    seen.saw_json_answer("bulk-upsert", data::bulk_upsert(MODEL, &blue, r#"[{"colour":"red","size":1}]"#, "null"));
    seen.saw_json_answer("find-one", data::find_one(MODEL, "1", "null"));
    seen.saw_json_answer("find-one-absent", data::find_one(MODEL, "9", "null"));
    seen.saw_maybe_json_answer("maybe-find-one", data::maybe_find_one(MODEL, "2", "null"));
    seen.saw_maybe_json_answer("maybe-find-one-absent", data::maybe_find_one(MODEL, "9", "null"));
    seen.saw_json_answer("find-by", data::find_by(MODEL, r#"{"colour":"red"}"#, "null"));
    seen.saw_json_answer("find-by-absent", data::find_by(MODEL, r#"{"colour":"none"}"#, "null"));
    seen.saw_maybe_json_answer("maybe-find-by", data::maybe_find_by(MODEL, r#"{"colour":"none"}"#, "null"));
    seen.saw_json_answer("find-first", data::find_first(MODEL, BLUE));
    seen.saw_json_answer("find-first-absent", data::find_first(MODEL, NONE));
    seen.saw_maybe_json_answer("maybe-find-first", data::maybe_find_first(MODEL, NONE));
    seen.saw_answer("count", data::count(MODEL, "null"), |count| json!(count));
    seen.saw_answer("count-all-shops", data::count(MODEL, r#"{"scope":"app"}"#), |count| json!(count));
    seen.saw_answer("find-many", data::find_many(MODEL, BLUE), |page| see_page(&page));
    seen.saw_done("delete", data::delete(MODEL, "1", "null"));
    seen.saw_done("delete-absent", data::delete(MODEL, "1", "null"));
    seen.saw_done("bulk-delete", data::bulk_delete(MODEL, &["2".to_owned(), "3".to_owned()], "null"));
    seen.saw_answer("count-after", data::count(MODEL, "null"), |count| json!(count));
    seen.saw_json_answer("run-action", data::run_action("thing.paint", "{}"));
    seen
}

fn see_page(page: &Page) -> tradewind_sdk::serde_json::Value {
    json!({
        "records": parse(&page.records()),
        "has-next": page.has_next(),
        "has-previous": page.has_previous(),
        "end-cursor": page.end_cursor(),
        "start-cursor": page.start_cursor(),
    })
}

pub(crate) fn see_queue(_: &Invocation) -> Seen {
    let mut seen = Seen::default();
    let once = r#"{"id":"once"}"#;
    let text = |id: String| json!(id);
    seen.saw_answer("enqueue-action", queue::enqueue_action("thing.paint", r#"{"id":"1"}"#, once), text);
    seen.saw_answer("enqueue-again", queue::enqueue_action("thing.paint", "{}", once), text);
    let ignore = r#"{"id":"once","onDuplicateId":"ignore"}"#;
    seen.saw_answer("enqueue-ignored", queue::enqueue_action("thing.paint", "{}", ignore), text);
    let call = r#"{"platform":"shopify","graphql":{"query":"{ shop { name } }"}}"#;
    seen.saw_answer("enqueue-call", queue::enqueue_call(call, "null"), text);
    let away = r#"{"platform":"shopify","rest":{"method":"GET","path":"../oauth"}}"#;
    seen.saw_answer("enqueue-elsewhere", queue::enqueue_call(away, "null"), text);
    let ungranted = r#"{"platform":"bigcommerce","rest":{"method":"GET","path":"/store"}}"#;
    seen.saw_answer("enqueue-other-platform", queue::enqueue_call(ungranted, "null"), text);
    seen.saw_answer("enqueue-not-json", queue::enqueue_call("shopify", "null"), text);
    seen.saw_json_answer("status", queue::status("once"));
    seen.saw_answer("cancel", queue::cancel("once"), |cancelled| json!(cancelled));
    seen
}
