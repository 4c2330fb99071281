//! One plugin in three languages behaves the same: the cases are data, in `tests/fixtures/conformance`.

use serde::Deserialize;
use serde_json::{Value, json};
use tradewind_model::{ActionError, Json};
use tradewind_runtime::fake::PreparedAnswer;
use tradewind_runtime::{Failure, Plugin};
use tradewind_tests::{Fixture, installed, plugin, repository};

/// The Rust plugin is always built; the others only where their toolchains can be had.
const PLUGINS: [&str; 4] =
    ["product-tagger", "product-tagger-js", "product-tagger-js-starlingmonkey", "product-tagger-py"];

/// A product changes, and what `run` and then `success` make of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The product as it is stored, none when it is new.
    before: Option<Json>,
    /// The incoming fields.
    after: Option<Json>,
    /// In place of `after`: a body that is too long to write down.
    repeat: Option<Repeat>,
    /// The caller's parameters.
    params: Option<Json>,
    /// Whether there is a current shop.
    #[serde(default = "Case::in_a_shop")]
    shop: bool,
    /// The platform's answer, when it is not a success.
    refuses: Option<ActionError>,
    /// What `run` returns.
    result: Json,
    /// The tags that the one call to the platform sets, none when there is no call.
    tags: Option<Json>,
    /// How `success` fails, when it does: the message only where it is the host's.
    error: Option<ExpectedError>,
}

#[derive(Deserialize)]
struct Repeat {
    body: String,
    times: usize,
}

#[derive(Deserialize)]
struct ExpectedError {
    code: String,
    message: Option<String>,
    details: Option<Json>,
    retryable: bool,
}

impl Case {
    fn in_a_shop() -> bool {
        true
    }

    fn fixture(&self) -> Fixture {
        let repeated = self.repeat.as_ref().map(|repeat| json!({"body": repeat.body.repeat(repeat.times)}).to_string());
        let after = self.after.as_ref().map(ToString::to_string).or(repeated).unwrap();
        let before = self.before.as_ref().map_or("null", Json::as_str);
        let params = self.params.as_ref().map_or("{}", Json::as_str);
        let mut fixture = Fixture::new("tag-product").product(before, &after).params(params);
        if !self.shop {
            fixture = fixture.shop(None);
        }
        if let Some(error) = &self.refuses {
            let answer = PreparedAnswer { matching: "tagsAdd".to_owned(), answer: None, error: Some(error.clone()) };
            fixture.session.answers.push_back(answer);
        }
        fixture
    }
}

async fn check(plugin: &Plugin, language: &str, case: &Case) {
    let name = format!("{language}: {}", case.name);
    let fixture = case.fixture();
    let outcome = fixture.clone().call(plugin).await;
    let result = outcome.result.unwrap_or_else(|failure| panic!("{name}: {failure}\n{:?}", failure.stderr()));
    assert_eq!(result, case.result, "{name}");
    assert_eq!(outcome.usage.platform_calls, 0, "{name}");

    let journal = fixture.session.journal.clone();
    let outcome = fixture.success(result.as_str()).call(plugin).await;
    match (&outcome.result, &case.error) {
        (Ok(_), None) => {}
        (Err(Failure::Returned(error)), Some(expected)) => {
            assert_eq!((&error.code, error.retryable), (&expected.code, expected.retryable), "{name}: {error}");
            assert_eq!(error.details, expected.details, "{name}: {error}");
            let message = expected.message.as_ref().unwrap_or(&error.message);
            assert_eq!(&error.message, message, "{name}");
        }
        (result, _) => panic!("{name}: {result:?}"),
    }
    let entries = journal.entries();
    let calls: Vec<Value> = entries.calls.iter().map(|call| serde_json::to_value(&call.call).unwrap()).collect();
    let Some(tags) = &case.tags else { return assert!(calls.is_empty(), "{name}: {calls:?}") };
    let variables = json!({"id": "gid://shopify/Product/42", "tags": tags.to::<Value>().unwrap()});
    assert_eq!(calls.len(), 1, "{name}");
    assert_eq!(calls[0]["graphql"]["variables"], variables, "{name}");
    assert!(calls[0]["graphql"]["query"].as_str().unwrap().starts_with("mutation AddTags("), "{name}");
    if case.error.is_none() {
        let logs: Vec<_> = entries.logs.iter().map(|entry| (entry.message.as_str(), &entry.fields)).collect();
        let fields = Json::of(&json!({"tags": tags.to::<Vec<String>>().unwrap().len()})).unwrap();
        assert_eq!(logs, [("product tagged", &fields)], "{name}");
    }
}

fn built(name: &str) -> bool {
    let built = plugin(name).is_ok();
    if !built {
        println!("skipped: `{name}` is not built; hint: `cargo xtask plugins` says why");
    }
    built
}

async fn check_all(name: &str) {
    if !built(name) {
        return;
    }
    let path = repository().join("tests/fixtures/conformance/product-tagger.json");
    let cases: Vec<Case> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let plugin = installed(name).await.unwrap();
    for case in &cases {
        check(&plugin, name, case).await;
    }
}

#[tokio::test]
async fn rust() {
    assert!(built("product-tagger"), "the plugins are not built; hint: `cargo xtask plugins`");
    check_all("product-tagger").await;
}

#[tokio::test]
async fn javascript() {
    check_all("product-tagger-js").await;
}

#[tokio::test]
async fn javascript_by_its_other_engine() {
    check_all("product-tagger-js-starlingmonkey").await;
}

#[tokio::test]
async fn python() {
    check_all("product-tagger-py").await;
}

/// They describe themselves alike. Of a parameter's schema, what callers are held to is compared: a language may say more
/// about its types.
#[tokio::test]
async fn descriptions() {
    let mut described = Vec::new();
    for name in PLUGINS.into_iter().filter(|name| built(name)) {
        let mut description = serde_json::to_value(installed(name).await.unwrap().description()).unwrap();
        let schema = &mut description["actions"][0]["params"]["limit"]["schema"];
        *schema = ["type", "minimum", "maximum", "default"].iter().map(|key| (*key, schema[*key].clone())).collect();
        described.push((name, description));
    }
    let expected = json!({
        "actions": [{
            "name": "tag-product",
            "models": [
                {"model": "shopify/product", "verb": "create"},
                {"model": "shopify/product", "verb": "update"},
            ],
            "webhooks": [],
            "schedules": [],
            "whenChanged": ["body"],
            "params": {
                "limit": {
                    "schema": {"type": "integer", "minimum": 1, "maximum": 20, "default": 5},
                    "required": false,
                },
            },
            "options": {},
        }],
        "asks": [{"capability": "shopify", "detail": {"scopes": ["write_products"]}}],
        "options": {"title": "Product tagger"},
    });
    for (name, description) in described {
        assert_eq!(description, expected, "`{name}`");
    }
}
