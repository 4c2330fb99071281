//! Options, queries and parameters in every odd spelling, for every function that takes them: nothing reaches another shop
//! without the grant, nothing another app, and what is refused is named.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tradewind_host::pipeline::Ended;
use tradewind_model::Shop;
use tradewind_runtime::Grants;
use tradewind_store::Unit;
use tradewind_tests::host::{APP, TestHost, value};
use tradewind_tests::runtime;
use tradewind_tests::stores::{Build as _, NOW_MS, Place, commit, on_both, other_shop, product, shop};

const MODELS: &str = r#"[
    {"name": "shopify/product", "fields": [
        {"name": "title", "type": "string"}, {"name": "code", "type": "string", "unique": true},
        {"name": "variants", "type": "has-many", "model": "shopify/product-variant", "by": "product"}]},
    {"name": "shopify/product-variant", "fields": [{"name": "product", "type": "belongs-to", "model": "shopify/product"}]},
    {"name": "thing"}, {"name": "note"}
]"#;

/// A name in the spellings that mean it, and in those that do not.
fn escaped(name: &str) -> String {
    format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..])
}

/// An odd object: its text, and the member that has to be named when it is refused, if it has to be.
struct Odd {
    text: String,
    doubled: bool,
    /// Whether it may be read as asking for every shop.
    asks_for_all: bool,
}

/// Every odd spelling of one member with a value.
fn odd(name: &str, given: &str) -> Vec<Odd> {
    let all = name == "scope" && given == "\"app\"";
    let of = |text: String, doubled, asks_for_all| Odd { text, doubled, asks_for_all };
    let plain = |text: String| of(text, false, false);
    let twice = |text: String| of(text, true, false);
    let spelled = escaped(name);
    vec![
        of(format!(r#"{{"{name}":{given}}}"#), false, all),
        of(format!(r#"{{"{spelled}":{given}}}"#), false, all),
        plain(format!(r#"{{"{name}":null}}"#)),
        twice(format!(r#"{{"{name}":{given},"{name}":null}}"#)),
        twice(format!(r#"{{"{name}":null,"{name}":{given}}}"#)),
        twice(format!(r#"{{"{name}":{given},"{spelled}":{given}}}"#)),
        twice(format!(r#"{{"{spelled}":null,"{name}":{given}}}"#)),
        plain(format!(r#"{{"{}":{given}}}"#, name.to_uppercase())),
        plain(format!(r#"{{" {name}":{given}}}"#)),
        plain(format!(r#"{{"{name}":[{given}]}}"#)),
        plain(format!(r#"{{"{name}":{{"app":null}}}}"#)),
        plain(format!(r#"{{"{name}":{{"{name}":{given}}}}}"#)),
        plain(format!(r#"{{"options":{{"{name}":{given}}}}}"#)),
        plain(format!(r#"[{{"{name}":{given}}}]"#)),
        plain(format!(r#"{{"{name}":7}}"#)),
        plain(format!(r#"{{"{name}":true}}"#)),
        plain(format!(r#"{{"{name}":"APP"}}"#)),
        plain(format!(r#"{{"{name}":"{}"}}"#, "x".repeat(300))),
    ]
}

/// Members with a value of each.
type Members = Vec<(&'static str, &'static str)>;

/// Each function with a place for the odd text, and the members that its object has.
fn functions() -> Vec<(Value, &'static str, Members)> {
    let options = || vec![("scope", "\"app\""), ("select", r#"{"id":true}"#), ("internal", "true")];
    let query = || {
        vec![
            ("scope", "\"app\""),
            ("select", r#"{"title":true}"#),
            ("filter", r#"{"title":{"contains":"secret"}}"#),
            ("sort", r#"{"title":"asc"}"#),
            ("first", "5"),
            ("last", "5"),
            ("after", "\"x\""),
            ("before", "\"x\""),
            ("search", "\"x\""),
        ]
    };
    let job = || {
        vec![
            ("id", "\"j\""),
            ("queue", "\"q\""),
            ("priority", "\"low\""),
            ("retries", "1"),
            ("onDuplicateId", "\"ignore\""),
            ("startAt", "\"2030-01-01T00:00:00Z\""),
        ]
    };
    let p = "shopify/product";
    vec![
        (json!({"find": [p, "9", "ODD"]}), "", options()),
        (json!({"find-by": [p, {"id": "9"}, "ODD"]}), "", options()),
        (json!({"find-by": [p, "ODD", null]}), "", vec![("id", "\"9\""), ("code", "\"9\"")]),
        (json!({"find-first": [p, "ODD"]}), "", query()),
        (json!({"find-many": [p, "ODD"]}), "", query()),
        (json!({"count": [p, "ODD"]}), "", query()),
        (json!({"create": [p, {"title": "mine"}, "ODD"]}), "", options()),
        (json!({"create": [p, "ODD", {"internal": true}]}), "", vec![("title", "\"mine\""), ("id", "\"m\"")]),
        (json!({"update": [p, "9", {"title": "overwritten"}, "ODD"]}), "", options()),
        (json!({"upsert": [p, ["id"], {"id": "9", "title": "mine"}, "ODD"]}), "", options()),
        (json!({"delete": [p, "9", "ODD"]}), "", options()),
        (json!({"converge": [p, "9", "variants", [], "ODD"]}), "", options()),
        (json!({"bulk-create": [p, [], "ODD"]}), "", options()),
        (json!({"bulk-update": [p, [{"id": "9", "title": "overwritten"}], "ODD"]}), "", options()),
        (json!({"bulk-upsert": [p, ["id"], [], "ODD"]}), "", options()),
        (json!({"bulk-delete": [p, ["9"], "ODD"]}), "", options()),
        (
            json!({"run-action": ["shopify/product.update", "ODD"]}),
            r#"{"id":"9","values":{"title":"overwritten"},"options":ODD}"#,
            options(),
        ),
        (
            json!({"run-action": ["shopify/product.create", "ODD"]}),
            "",
            vec![("values", "{}"), ("options", r#"{"scope":"app"}"#)],
        ),
        (json!({"enqueue": ["play", {}, "ODD"]}), "", job()),
        (json!({"enqueue": ["play", "ODD", null]}), "", vec![("script", "[]")]),
        (
            json!({"enqueue-call": ["ODD", null]}),
            "",
            vec![("platform", "\"bigcommerce\""), ("graphql", r#"{"query":"{a}"}"#)],
        ),
        (
            json!({"enqueue-call": ["ODD", null]}),
            r#"{"platform":"shopify","rest":ODD}"#,
            vec![("path", "\"//evil\""), ("method", "\"GET\"")],
        ),
        (json!({"enqueue-call": ["ODD", null]}), r#"{"platform":"shopify","graphql":ODD}"#, vec![("query", "\"{a}\"")]),
        (json!({"enqueue-call": [r#"{"platform":"shopify","graphql":{"query":"{a}"}}"#, "ODD"]}), "", job()),
    ]
}

/// Puts the odd text into its place.
fn put(step: &Value, frame: &str, odd: &str) -> Value {
    let text = if frame.is_empty() { odd.to_owned() } else { frame.replace("ODD", odd) };
    let mut step = step.clone();
    for arguments in step.as_object_mut().unwrap().values_mut() {
        for argument in arguments.as_array_mut().unwrap() {
            if *argument == json!("ODD") {
                *argument = Value::String(text.clone());
            }
        }
    }
    step["says"] = json!(true);
    step
}

async fn host_of(place: &Place, all_shops: bool) -> TestHost {
    let host = TestHost::bare(place).await;
    let grants = Grants { all_shops, ..Grants::usual() };
    for app in [APP, "other"] {
        let bytes = tradewind_tests::plugin("puppet").unwrap();
        let puppet = runtime().install(bytes, grants.clone()).await.unwrap();
        host.install(app, MODELS, vec![("puppet", puppet.into())]).await;
    }
    let foreign = Shop::new("other", &*shop().id);
    for (at, of) in [other_shop(0), foreign].iter().enumerate() {
        let document = format!(r#"{{"title":"secret {at}","code":"9"}}"#);
        commit(&host.store, Unit::new(of.clone(), NOW_MS).insert(&product("9"), &document)).await;
    }
    host
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_crosses_to_another_shop_or_app() {
    // The grant decides, and nothing else.
    for all_shops in [false, true] {
        on_both(async |place| {
            let host = host_of(&place, all_shops).await;
            let (mut steps, mut expected) = (Vec::new(), Vec::new());
            for (step, frame, members) in functions() {
                for (name, given) in members {
                    for odd in odd(name, given) {
                        steps.push(put(&step, frame, &odd.text));
                        expected.push((name, odd));
                    }
                }
            }
            let mut refused = BTreeSet::new();
            for (steps, expected) in steps.chunks(60).zip(expected.chunks(60)) {
                let id = format!("own-{}", refused.len());
                let seq = host.deliver("products/update", &json!({"id": id, "script": steps})).await;
                let jobs = host.jobs().await;
                let job = jobs.into_iter().find(|job| job.delivery_seq == Some(seq)).unwrap();
                let ended = host.run(&job).await;
                assert!(matches!(ended, Ended::Done(_)), "{ended:?} {:?}", host.jobs().await[0].error);
                let answers = host.result_of(seq, "follow").await;
                for ((step, (name, odd)), answer) in steps.iter().zip(expected).zip(answers.as_array().unwrap()) {
                    let text = answer.to_string();
                    assert!(!text.contains("secret 1"), "another app: {step} {text}");
                    let may_see = all_shops && odd.asks_for_all;
                    assert!(may_see || !text.contains("secret 0"), "another shop: {step} {text}");
                    if odd.doubled {
                        assert_eq!(answer["error"], "invalid-argument", "{step} {text}");
                        let named = format!("`{name}` appears twice");
                        assert!(answer["message"].as_str().unwrap().contains(&named), "{step} {text}");
                    }
                    if odd.asks_for_all && !all_shops {
                        assert_eq!(answer["error"], "not-granted", "{step} {text}");
                    }
                    refused.extend(answer["error"].as_str().map(|_| step.to_string()));
                }
                // Jobs that were made have odd options too.
                host.leave_jobs();
                host.store.purge_jobs(&tradewind_store::JobFilter::default()).await.unwrap();
                for job in host.jobs().await {
                    host.run(&job).await;
                }
            }
            for (at, of) in [other_shop(0), Shop::new("other", &*shop().id)].iter().enumerate() {
                let record = host.store.record(of, &product("9")).await.unwrap().unwrap();
                assert_eq!(value(&record.doc)["title"], format!("secret {at}"));
            }
            assert!(refused.len() > 200, "{}", refused.len());
        })
        .await;
    }
}
