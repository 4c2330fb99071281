//! What is sent: addresses, headers, bodies, and what is refused before it is sent.

use tradewind_model::code;
use tradewind_platform::shopify::client::REQUEST_BYTES_MAX;

use super::*;

#[tokio::test]
async fn a_request_says_who_asks_for_what() {
    let setup =
        Setup::new([Scripted::answer(200, "{}"), Scripted::answer(200, r#"{"data":{}}"#), Scripted::answer(200, "{}")])
            .await;
    let query =
        json(r#"{"ids":[820982911946154508,2],"title":"a b&c","metafield":{"owner_id":1},"none":null,"all":true}"#);
    setup.client.rest("GET", "/products.json", &query, None, &options()).await.unwrap();
    setup.client.graphql(QUERY, &json(r#"{"id":820982911946154508}"#), &options()).await.unwrap();
    let older = Options { api_version: Some("2026-04".to_owned()), ..options() };
    setup
        .client
        .rest("POST", "products/7/images.json", &Json::null(), Some(&json("{ \"a\": 1.10 }")), &older)
        .await
        .unwrap();
    let asked = setup.asked();
    let lines: Vec<_> = asked.iter().map(|asked| format!("{} {}?{}", asked.method, asked.path, asked.query)).collect();
    assert_eq!(
        lines,
        [
            "GET /hats/admin/api/2026-07/products.json?ids=820982911946154508%2C2&title=a+b%26c&metafield%5Bowner_id%5D=1&all=true",
            "POST /hats/admin/api/2026-07/graphql.json?",
            "POST /hats/admin/api/2026-04/products/7/images.json?",
        ]
    );
    let bodies: Vec<_> = asked.iter().map(|asked| asked.body.as_str()).collect();
    let graphql = r#"{"query":"query Shop { shop { id } }","variables":{"id":820982911946154508}}"#;
    assert_eq!(bodies, ["", graphql, "{ \"a\": 1.10 }"]);
    for one in &asked {
        assert_eq!(one.header("x-shopify-access-token"), Some(TOKEN));
        assert_eq!(one.header("user-agent"), Some("Tradewind/test"));
        assert_eq!(one.header("content-type"), (!one.body.is_empty()).then_some("application/json"));
    }
    let report = setup.report();
    assert_eq!(
        (&*report.app, &*report.shop, report.operation.as_str()),
        ("app", "1", "POST products/{id}/images.json")
    );
    assert_eq!((report.status, report.error, report.retries), (Some(200), None, 0));
}

#[tokio::test]
async fn an_idempotency_key_goes_where_the_mutation_takes_it() {
    let keyed = "mutation R($idempotencyKey: String!, $a: Int) { refundCreate(a: $a) @idempotent(key: $idempotencyKey) { id } }";
    let setup = Setup::new([Scripted::answer(200, r#"{"data":{}}"#)]).await;
    let options = Options { idempotency_key: Some("k-1".to_owned()), ..options() };
    setup.client.graphql(keyed, &json(r#"{"idempotencyKey":"x","a":1}"#), &options).await.unwrap();
    assert_eq!(setup.asked()[0].json()["variables"], serde_json::json!({ "a": 1, "idempotencyKey": "k-1" }));
    for refused in [setup.mutate(&options).await, setup.query(&options).await, setup.post(&options).await] {
        let error = refused.unwrap_err();
        assert_eq!(error.code(), code::INVALID_ARGUMENT);
        assert!(error.to_string().contains("hint: "), "{error}");
    }
    assert_eq!(setup.asked().len(), 1, "nothing is sent without the protection that was asked for");
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_sent() {
    let setup = Setup::new([]).await;
    let check = async |client: &Client, method: &str, path: &str, query: &str, options: Options| {
        let error = client.rest(method, path, &json(query), None, &options).await.unwrap_err();
        assert_eq!((error.code(), error.retryable()), (code::INVALID_ARGUMENT, false), "{path}: {error}");
        assert!(!format!("{error:?} {error}").contains(TOKEN), "{error:?}");
    };
    for path in [
        "",
        "/",
        "//evil.example/x",
        "../x.json",
        "a/../../../x.json",
        "a/%2e%2E/%2e%2e/x.json",
        "..\\..\\x.json",
        "a%2f..%2f..%2fb",
        "a/..%5c..%5cb",
        "a.json#b",
    ] {
        check(&setup.client, "GET", path, "null", options()).await;
    }
    check(&setup.client, "get", "a.json", "null", options()).await;
    check(&setup.client, "CONNECT", "a.json", "null", options()).await;
    check(&setup.client, "GET", "a.json", "[1]", options()).await;
    check(&setup.client, "GET", "a.json", r#"{"a":{"b":{"c":1}}}"#, options()).await;
    check(&setup.client, "GET", "a.json", "null", within(0)).await;
    check(&setup.client, "GET", "a.json", "null", retries(13)).await;
    let version = Options { api_version: Some("2026-07/../..".to_owned()), ..options() };
    check(&setup.client, "GET", "a.json", "null", version).await;
    let connection = connection(setup.platform.url(), "app", "1");
    for odd in [
        Connection { base_url: None, domain: "evil.example".into(), ..connection.clone() },
        Connection { base_url: Some("no address".into()), ..connection.clone() },
        Connection { api_version: "latest".into(), ..connection.clone() },
        Connection { token: format!("{TOKEN}\n").into(), ..connection },
    ] {
        check(&setup.api.client(odd), "GET", "a.json", "null", options()).await;
    }
    for variables in ["1", "[]", "\"a\""] {
        let error = setup.client.graphql(QUERY, &json(variables), &options()).await.unwrap_err();
        assert_eq!(error.code(), code::INVALID_ARGUMENT, "{variables}");
    }
    let large = Json::of(&"x".repeat(REQUEST_BYTES_MAX)).unwrap();
    let error = setup.client.rest("POST", "a.json", &Json::null(), Some(&large), &options()).await.unwrap_err();
    assert_eq!(error.code(), code::INVALID_ARGUMENT);
    assert_eq!(setup.asked(), []);
}

#[tokio::test]
async fn the_token_is_seen_by_the_platform_alone() {
    let script = [
        Scripted::answer(401, r#"{"errors":"[API] Invalid API key or access token"}"#),
        Scripted::answer(500, "no").with("Retry-After", "0"),
        Scripted::Break,
        Scripted::answer(429, "").with("Retry-After", "0"),
        Scripted::answer(200, "<html>"),
        Scripted::answer(302, "").with("Location", "http://127.0.0.1:1/"),
        Scripted::Silence,
    ];
    let count = script.len();
    let setup = Setup::new(script).await;
    for _ in 0..count {
        let error = setup.get(&Options { timeout_ms: Some(2_000), ..retries(0) }).await.unwrap_err();
        let crossing = tradewind_model::ActionError::from(&error);
        let seen = format!("{error} {error:?} {crossing:?} {:?} {:?}", error.details(), setup.report());
        assert!(!seen.contains(TOKEN), "{seen}");
    }
    let seen = format!("{:?} {:?} {:?}", setup.api, setup.client, setup.client.connection());
    assert!(seen.contains("REDACTED") && !seen.contains(TOKEN), "{seen}");
    assert!(setup.asked().iter().all(|asked| asked.header("x-shopify-access-token") == Some(TOKEN)));
}
