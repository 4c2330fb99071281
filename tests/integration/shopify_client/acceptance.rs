//! The client held to what other clients of the platform are tested with.

use serde_json::json as value;
use tradewind_tests::acceptance;

use super::*;

fn cases(kind: &str) -> Option<Vec<Value>> {
    let Some(text) = acceptance::text("rate-limit/cases.json").unwrap() else {
        println!("{}", acceptance::skipped(kind));
        return None;
    };
    let cases: Value = serde_json::from_str(&text).unwrap();
    let cases = cases[kind].as_array().unwrap().clone();
    assert!(cases.len() > 5, "the cases are there");
    Some(cases)
}

/// A case's answer. Headers that a PHP server has renamed get their names back.
fn scripted(case: &Value) -> Scripted {
    let body = match &case["body"] {
        Value::Null => "{}".to_owned(),
        Value::String(text) => text.clone(),
        body => body.to_string(),
    };
    let status = case["status"].as_u64().unwrap_or(200);
    let mut answer = Scripted::answer(u16::try_from(status).unwrap(), body);
    for (name, value) in case["headers"].as_object().into_iter().flatten() {
        let name = name.strip_prefix("http_").map_or_else(|| name.clone(), |name| name.replace('_', "-"));
        answer = answer.with(&name, value.as_str().unwrap());
    }
    answer
}

/// The first of the members that the cases' clients call a number by.
fn number(expect: &Value, names: &[&str]) -> Option<f64> {
    names.iter().find_map(|name| expect[*name].as_f64())
}

#[tokio::test]
async fn rest_limits_are_read_as_others_read_them() {
    let Some(cases) = cases("rest") else { return };
    for case in &cases {
        let (expect, status) = (&case["expect"], case["status"].as_u64().unwrap());
        let setup = Setup::new([scripted(case)]).await;
        // Too short to wait for anything: what would be waited for is in the error.
        let result = setup.get(&within(400)).await;
        let after = match status {
            429 => Some(wait(result)),
            200 => result.map(|_| None).unwrap(),
            _ => {
                assert_eq!(u64::from(result.unwrap_err().status().unwrap()), status, "{case}");
                None
            }
        };
        assert_eq!(setup.asked().len(), 1, "{case}");
        if status == 429 {
            // Where it says nothing readable, two seconds.
            let expected = number(expect, &["retry_after_seconds"]).unwrap_or(2.0);
            assert_eq!(after, Some(Duration::from_secs_f64(expected)), "{case}");
        }
        let used = number(expect, &["current", "made", "request_count"]);
        let size = number(expect, &["max", "limit", "bucket_size"]).filter(|size| *size > 0.0);
        let report = setup.report();
        assert_eq!(report.maximum, size, "{case}");
        if let (Some(used), Some(size)) = (used, size) {
            assert_eq!(report.available, Some(size - used), "{case}");
        }
    }
}

#[tokio::test]
async fn graphql_costs_are_read_as_others_read_them() {
    let Some(cases) = cases("graphql") else { return };
    let mut tasks = tokio::task::JoinSet::new();
    for case in cases {
        // At the same time: some wait for a second or two.
        tasks.spawn(async move { graphql_case(case).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn graphql_case(mut case: Value) {
    let expect = case["expect"].clone();
    if !case["cost"].is_null() {
        let errors = value!([{ "message": "Throttled", "extensions": { "code": "THROTTLED" } }]);
        case["body"] = value!({ "errors": errors, "extensions": { "cost": case["cost"] } });
    } else if case["body"].is_object() && case["body"]["errors"].is_null() {
        // The cases leave out what is not about limits.
        case["body"]["data"] = value!({});
    }
    let setup = Setup::new([scripted(&case), Scripted::answer(200, r#"{"data":{}}"#)]).await;
    if let Some(seconds) = number(&expect, &["retry_after_seconds"]) {
        let result = setup.query(&within(400)).await;
        assert_eq!(wait(result), Duration::from_secs_f64(seconds), "{case}");
        return;
    }
    let result = setup.query(&options()).await;
    match expect.as_str() {
        Some("retry") => {
            assert!(result.is_ok(), "{case}: {result:?}");
            assert_eq!((setup.asked().len(), setup.report().retries), (2, 1), "{case}");
        }
        Some("unchanged") => {
            assert!(result.is_ok(), "{case}: {result:?}");
            assert_eq!(setup.report().maximum, None, "{case}");
        }
        Some(other) => {
            assert_eq!(other, "GraphqlQueryError, NO retry");
            assert!(matches!(result, Err(PlatformError::Graphql { .. })), "{case}: {result:?}");
            assert_eq!(setup.asked().len(), 1, "{case}");
        }
        None => {
            assert!(result.is_ok(), "{case}: {result:?}");
            let report = setup.report();
            assert_eq!(report.cost, number(&expect, &["actualQueryCost"]), "{case}");
            assert_eq!(report.available, number(&expect, &["remaining"]), "{case}");
            assert_eq!(report.maximum, number(&expect, &["max"]), "{case}");
            assert_eq!(setup.asked().len(), 1, "{case}");
        }
    }
}

/// Requests that official clients send are sent so by ours: method, path, query, body.
#[tokio::test]
async fn recorded_requests_are_sent_as_recorded() {
    let Some(lines) = acceptance::lines("shopify-rest-recordings/2026-07.jsonl.gz").unwrap() else {
        println!("{}", acceptance::skipped("recorded_requests_are_sent_as_recorded"));
        return;
    };
    let ours = ["product", "variant", "webhook", "shop"];
    let recorded: Vec<_> = lines.iter().filter(|line| ours.contains(&line["resource"].as_str().unwrap())).collect();
    assert!(recorded.len() > 40, "{}", recorded.len());
    let setup = Setup::new([]).await;
    for line in recorded {
        let (request, response) = (&line["request"], &line["response"]);
        // An empty bucket each time, so that nobody waits.
        setup.platform.push(Scripted::json(response).with("X-Shopify-Shop-Api-Call-Limit", "1/40"));
        let path = request["path"].as_str().unwrap().strip_prefix("/admin/api/2026-07/").unwrap();
        let query = request["query"].as_str().unwrap();
        let pairs: serde_json::Map<_, _> = form(query).into_iter().map(|(name, text)| (name, text.into())).collect();
        let body = Some(&request["body"]).filter(|body| !body.is_null()).map(|body| Json::of(body).unwrap());
        let method = request["method"].as_str().unwrap();
        let answer =
            setup.client.rest(method, path, &Json::of(&pairs).unwrap(), body.as_ref(), &options()).await.unwrap();
        assert_eq!(answer.to::<Value>().unwrap(), *response, "{line}");
        let asked = setup.asked().pop().unwrap();
        assert_eq!(asked.method, method);
        assert_eq!(asked.path, format!("/hats{}", request["path"].as_str().unwrap()));
        assert_eq!(asked.query, query);
        assert_eq!(asked.json(), request["body"]);
    }
}

/// The pairs of a form-encoded text.
fn form(text: &str) -> Vec<(String, String)> {
    let url = reqwest::Url::parse(&format!("http://127.0.0.1/?{text}")).unwrap();
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}
