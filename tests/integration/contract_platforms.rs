//! The rest of the contract as a guest sees it: platforms, settings, logs, time and chance, registration, and a host that
//! offers nothing.

use std::time::Duration;

use serde_json::json;
use tradewind_model::Json;
use tradewind_runtime::session::{Answer, ClientShop, HttpResponse, Level, LogEntry, NoSession, Platform, WhichShop};
use tradewind_runtime::{Failure, Grants, Invocation, Phase, Session};
use tradewind_tests::{Fixture, NOW, SEED, installed, plugin, repository, runtime};

use crate::contract::{assert_seen, see, seen};

fn bigcommerce() -> ClientShop {
    ClientShop { platform: Platform::BigCommerce, id: "1".to_owned(), name: "abc123".to_owned() }
}

#[tokio::test]
async fn shopify() {
    let fixture = Fixture::new("").answer("query Read", r#"{"products":{"nodes":[{"id":820982911946154508}]}}"#);
    let journal = fixture.session.journal.clone();
    let (seen, outcome) = see("see-shopify", fixture).await;
    let refused = json!({"error": "wrong-phase"});
    let expected = json!({
        "for-shop-id": "hats.myshopify.com",
        "for-shop-id-absent": {"error": "not-granted"},
        "for-shop-domain": "hats.myshopify.com",
        "shop-id": "1",
        "shop-domain": "hats.myshopify.com",
        "graphql": {"products": {"nodes": [{"id": 820_982_911_946_154_508_u64}]}},
        "graphql-write": refused,
        "graphql-not-json": {"error": "invalid-json"},
        "rest": {},
        "rest-write": refused,
        "rest-elsewhere": {"error": "invalid-argument"},
        "rest-pages": [true, true],
        "graphql-pages": [true, true],
        "budget": null,
        "credentials": {"error": "not-granted"},
    });
    assert_seen(&seen, &expected);
    // What was refused was not called, but counted: refusals are not a way around the limit.
    assert_eq!(journal.entries().calls.len(), 4);
    assert_eq!(outcome.usage.platform_calls, 7);

    let (seen, _) = see("see-shopify", Fixture::new("").shop(Some(bigcommerce()))).await;
    assert_eq!(seen["current"], "none");
}

#[tokio::test]
async fn bigcommerce_stores() {
    let fixture = Fixture::new("").shop(Some(bigcommerce()));
    let journal = fixture.session.journal.clone();
    let (seen, _) = see("see-bigcommerce", fixture).await;
    let expected = json!({
        "for-store-id": "abc123",
        "for-store-hash": "abc123",
        "for-store-hash-absent": {"error": "not-granted"},
        "store-id": "1",
        "store-hash": "abc123",
        "request": {},
        "request-v2": {},
        "request-v4": {"error": "invalid-argument"},
        "request-write": {"error": "wrong-phase"},
        "pages": [true, true],
        "budget": null,
        "credentials": {"error": "not-granted"},
    });
    assert_seen(&seen, &expected);
    let calls = serde_json::to_value(&journal.entries().calls).unwrap();
    let request =
        json!({"api": "v3", "method": "GET", "path": "/catalog/products/{id}", "options": {"path": {"id": 1}}});
    assert_eq!(calls[0]["call"], json!({"rest": request}));
    assert_eq!(calls[1]["call"]["rest"]["api"], "v2");

    let (seen, _) = see("see-bigcommerce", Fixture::new("")).await;
    assert_eq!(seen["current"], "none");
}

/// Answers with a token whoever asks: only the grant stands between it and the plugin.
struct Generous;

#[async_trait::async_trait]
impl Session for Generous {
    fn log(&mut self, _: LogEntry) {}

    async fn shop(&mut self, platform: Platform, _: WhichShop) -> Answer<Option<ClientShop>> {
        Ok(Some(ClientShop { platform, id: "1".to_owned(), name: "generous".to_owned() }))
    }

    fn credentials(&mut self, _: &ClientShop) -> Answer<Json> {
        Ok(Json::null())
    }
}

#[tokio::test]
async fn tokens_and_other_shops_need_their_grants() {
    let see = async |grants: Grants, session: Box<dyn Session>| {
        let probe = runtime().install(plugin("contract-probe").unwrap(), grants).await.unwrap();
        let invocation = Invocation::new("see-shopify", Phase::Run, NOW, SEED);
        seen(&runtime().invoke(&probe, "generous", invocation, session).await)
    };
    let granted = |name: &str| {
        let mut grants = Grants::usual();
        assert!(grants.add(name));
        grants
    };
    let refused = json!({"error": "not-granted"});
    assert_eq!(see(Grants::usual(), Box::new(Generous)).await["credentials"], refused);
    assert_eq!(see(granted("expose-token"), Box::new(Generous)).await["credentials"], json!(null));
    let one_shop = Fixture::new("").session;
    assert_eq!(see(Grants::usual(), Box::new(one_shop.clone())).await["for-shop-id-absent"], refused);
    let absent = json!({"error": "not-found"});
    assert_eq!(see(granted("all-shops"), Box::new(one_shop)).await["for-shop-id-absent"], absent);
}

#[tokio::test]
async fn third_parties() {
    let mut fixture = Fixture::new("");
    let response = HttpResponse {
        status: 418,
        headers: vec![("Content-Type".to_owned(), "text/plain".to_owned())],
        body: vec![b'o', b'k', 0xff],
    };
    fixture.session.responses.push_back(("api.example.com".to_owned(), response));
    let journal = fixture.session.journal.clone();
    let (seen, _) = see("see-http", fixture).await;
    let expected = json!({
        "send": {
            "status": 418,
            "header": "text/plain",
            "header-absent": null,
            "headers": [["Content-Type", "text/plain"]],
            "body": [111, 107, 255],
            "text": "ok\u{fffd}",
        },
        "send-write": {"error": "wrong-phase"},
        "send-not-json": {"error": "invalid-json"},
    });
    assert_seen(&seen, &expected);
    let requests = serde_json::to_value(&journal.entries().requests).unwrap();
    let request = json!({
        "method": "GET", "url": "https://api.example.com/rates", "headers": [["Accept", "text/plain"]],
        "body": null, "options": {"timeoutMs": 500},
    });
    assert_eq!(requests, json!([request]));
}

#[tokio::test]
async fn surroundings() {
    let mut fixture = Fixture::new("");
    fixture.session.config.insert("colour".to_owned(), Json::parse("\"blue\"").unwrap());
    fixture.session.secrets.insert("password".to_owned(), "swordfish".to_owned());
    let journal = fixture.session.journal.clone();
    let (seen, _) = see("see-surroundings", fixture).await;
    let expected = json!({
        "get": "blue",
        "get-absent": "none",
        "secret": "swordfish",
        "secret-absent": null,
        "enabled": true,
    });
    assert_seen(&seen, &expected);
    let entries = journal.entries();
    let logs: Vec<_> =
        entries.logs.iter().map(|entry| (entry.level, entry.message.as_str(), entry.fields.as_str())).collect();
    let fields = r#"{"n":1}"#;
    let expected = [
        (Level::Trace, "written", fields),
        (Level::Debug, "written", fields),
        (Level::Info, "written", fields),
        (Level::Warn, "written", fields),
        (Level::Error, "written", fields),
        (Level::Info, "raw", r#"{"raw":"not json"}"#),
        (Level::Info, "printed", "null"),
        (Level::Warn, "complained", "null"),
        (Level::Info, "last", "null"),
        (Level::Warn, "unfinished", "null"),
    ];
    assert_eq!(logs, expected);
}

/// The same seed shows the same chance, and the clock begins where it is told to.
#[tokio::test]
async fn time_and_chance_are_arguments() {
    let probe = installed("contract-probe").await.unwrap();
    let see = async |now: Duration, seed: u64| {
        let mut fixture = Fixture::new("see-time-and-chance");
        (fixture.invocation.now, fixture.invocation.seed) = (now, seed);
        seen(&fixture.call(&probe).await)
    };
    let first = see(NOW, 1).await;
    assert_eq!(first["hours-since-1970"], json!(NOW.as_secs() / 3_600));
    assert_eq!(first, see(NOW, 1).await);
    assert_ne!(first["chance"], see(NOW, 2).await["chance"]);
    assert_eq!(see(Duration::ZERO, 1).await["hours-since-1970"], json!(0));
}

#[tokio::test]
async fn registration() {
    let probe = installed("contract-probe").await.unwrap();
    let description = serde_json::to_value(probe.description()).unwrap();
    let expected = json!({
        "name": "see-record",
        "models": [{"model": "shopify/product", "verb": "update"}],
        "webhooks": [{"platform": "shopify", "topic": "app/uninstalled"}],
        "schedules": ["0 3 * * *"],
        "whenChanged": ["title", "price"],
        "params": {"limit": {"schema": {"type": "integer"}, "required": true}},
        "options": {"api": true},
    });
    assert_eq!(description["actions"][1], expected);
    assert_eq!(description["asks"], json!([{"capability": "shopify", "detail": {"scopes": ["read_products"]}}]));
    assert_eq!(description["options"], json!({"title": "Contract probe"}));
}

#[tokio::test]
async fn an_error_of_the_plugin_arrives_whole() {
    let probe = installed("contract-probe").await.unwrap();
    let Err(failure) = Fixture::new("fail").call(&probe).await.result else { panic!("it ended well") };
    match failure {
        Failure::Returned(error) => {
            assert_eq!((error.code.as_str(), error.message.as_str()), ("probe-failed", "fail"));
            assert_eq!(error.details.unwrap().as_str(), r#"{"known":false}"#);
            assert!(error.retryable);
        }
        other => panic!("{other}"),
    }
}

/// A session with a shop and nothing else: what a host answers before it has the rest.
struct Bare;

#[async_trait::async_trait]
impl Session for Bare {
    fn log(&mut self, _: LogEntry) {}

    async fn shop(&mut self, platform: Platform, _: WhichShop) -> Answer<Option<ClientShop>> {
        Ok(Some(ClientShop { platform, id: "1".to_owned(), name: "bare".to_owned() }))
    }
}

/// Every function whose host side is missing says so with the code that the contract documents.
#[tokio::test]
async fn what_is_missing_answers_not_available() {
    let probe = installed("contract-probe").await.unwrap();
    let missing = json!({"error": "not-available"});
    let ask = async |action: &str, session: Box<dyn Session>| {
        let mut invocation = Invocation::new(action, Phase::Run, NOW, SEED);
        invocation.record = Fixture::new("").product("null", "{}").invocation.record;
        seen(&runtime().invoke(&probe, "bare", invocation, session).await)
    };
    // What a session does not decide: refusals of the host itself, and answers without an error.
    let decided = [
        "create-not-json",
        "enqueue-not-json",
        "graphql-write",
        "graphql-not-json",
        "send-write",
        "send-not-json",
        "count-all-shops",
        "rest-write",
        "rest-elsewhere",
        "enqueue-elsewhere",
        "flush",
        "touch",
        "request-v4",
        "request-write",
        "credentials",
        "budget",
        "shop-id",
        "shop-domain",
        "store-id",
        "store-hash",
        "for-shop-id",
        "for-shop-id-absent",
        "for-shop-domain",
        "for-store-id",
        "for-store-hash",
        "for-store-hash-absent",
        "rest-pages",
        "graphql-pages",
        "pages",
    ];
    for action in ["see-data", "see-queue", "see-shopify", "see-bigcommerce", "see-http"] {
        let seen = ask(action, Box::new(Bare)).await;
        for (name, answer) in seen.as_object().unwrap() {
            assert!(decided.contains(&name.as_str()) || *answer == missing, "`{action}`: `{name}` answered {answer}");
        }
    }
    let saved = ask("see-save", Box::new(Bare)).await;
    assert_eq!(saved["save"], missing);
    let alone = ask("see-shopify", Box::new(NoSession)).await;
    assert_eq!((&alone["current"], &alone["for-shop-id"]), (&json!("none"), &json!({"error": "not-granted"})));
    let surroundings = ask("see-surroundings", Box::new(NoSession)).await;
    assert_eq!((&surroundings["get"], &surroundings["secret"]), (&json!("none"), &missing));
}

/// The probe is complete: it calls every function that the contract's text declares.
#[test]
fn every_function_of_the_contract_is_called() {
    let read = |folder: &str, end: &str| {
        let mut text = String::new();
        for entry in std::fs::read_dir(repository().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == end) {
                text += &std::fs::read_to_string(path).unwrap();
            }
        }
        text
    };
    let probe = read("plugins/contract-probe/src", "rs");
    let contract = read("wit/v1", "wit");
    let functions: Vec<_> = contract
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//") && !line.starts_with("export "))
        .filter_map(|line| line.split_once(": func(").or_else(|| line.split_once(": static func(")))
        .map(|(name, _)| name.trim_start_matches('%').replace('-', "_"))
        .collect();
    assert!(functions.len() > 90, "the contract was not understood: {functions:?}");
    let missing: Vec<_> = functions
        .iter()
        .filter(|name| !probe.contains(&format!(".{name}(")) && !probe.contains(&format!("::{name}(")))
        .collect();
    assert!(missing.is_empty(), "`plugins/contract-probe` does not call {missing:?}");
}
