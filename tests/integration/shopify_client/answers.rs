//! What answers mean: a result, an error, another try.

use serde_json::json as value;
use tradewind_model::{ActionError, code};
use tradewind_platform::shopify::client::{CALL_MS_MAX, PLATFORM_RETRIES_MAX, RESPONSE_BYTES_MAX};

use super::*;

/// Again, at once.
fn at_once(status: u16) -> Scripted {
    Scripted::answer(status, r#"{"errors":"busy"}"#).with("Retry-After", "0")
}

fn good() -> Scripted {
    Scripted::answer(200, r#"{"shop":{"id":820982911946154508}}"#)
}

fn good_graphql() -> Scripted {
    Scripted::answer(200, r#"{"data":{"tagsAdd":{"userErrors":[]}}}"#)
}

fn throttled() -> Scripted {
    Scripted::json(&value!({
        "errors": [{ "message": "anything", "extensions": { "code": "THROTTLED" } }],
        "extensions": { "cost": {
            "requestedQueryCost": 10,
            "actualQueryCost": null,
            "throttleStatus": { "maximumAvailable": 1000, "currentlyAvailable": 10, "restoreRate": 50 },
        } },
    }))
}

#[tokio::test]
async fn ids_stay_exact() {
    let setup = Setup::new([
        Scripted::answer(200, r#"{"order":{"id":820982911946154508,"total":1.10}}"#),
        Scripted::answer(200, r#"{"data":{"id":9007199254740993}}"#),
        Scripted::answer(200, ""),
    ])
    .await;
    assert_eq!(setup.get(&options()).await.unwrap().as_str(), r#"{"order":{"id":820982911946154508,"total":1.10}}"#);
    assert_eq!(setup.query(&options()).await.unwrap().as_str(), r#"{"id":9007199254740993}"#);
    assert!(setup.get(&options()).await.unwrap().is_null(), "an empty body");
}

/// What is safe to ask for again is asked for again, and nothing else.
#[tokio::test]
async fn what_may_have_been_done_is_not_done_twice() {
    #[derive(Debug, Clone, Copy)]
    enum Kind {
        Get,
        Post,
        Put,
        Query,
        Mutation,
        Idempotent,
    }
    use Kind::{Get, Idempotent, Mutation, Post, Put, Query};
    const KEYED: &str =
        "mutation R($idempotencyKey: String!) { refundCreate @idempotent(key: $idempotencyKey) { id } }";
    let check = async |kind: Kind, first: Scripted, again: bool| {
        let graphql = matches!(kind, Query | Mutation | Idempotent);
        let setup = Setup::new([first.clone(), if graphql { good_graphql() } else { good() }]).await;
        let body = json("{}");
        let client = &setup.client;
        let result = match kind {
            Get => setup.get(&options()).await,
            Post => setup.post(&options()).await,
            Put => client.rest("PUT", "products/1.json", &Json::null(), Some(&body), &options()).await,
            Query => setup.query(&options()).await,
            Mutation => setup.mutate(&options()).await,
            Idempotent => {
                let options = Options { idempotency_key: Some("k".to_owned()), ..options() };
                client.graphql(KEYED, &Json::null(), &options).await
            }
        };
        let asked = setup.asked();
        assert_eq!((result.is_ok(), asked.len()), (again, if again { 2 } else { 1 }), "{kind:?} {first:?}: {result:?}");
        assert!(asked.iter().all(|one| one.body == asked[0].body && one.path == asked[0].path), "{asked:?}");
        assert_eq!(setup.report().retries, u32::from(again));
        if let Err(error) = result {
            assert!(matches!(error, PlatformError::InDoubt { .. }) && !error.retryable(), "{error:?}");
        }
    };
    let check = &check;
    let doubtful = [408, 500, 502, 503, 504, 522, 524].map(at_once).into_iter().chain([Scripted::Break]);
    let doubtful = doubtful.flat_map(|first| {
        [Get, Put, Query, Idempotent, Post, Mutation]
            .map(|kind| (kind, first.clone(), !matches!(kind, Post | Mutation)))
    });
    let refused = [413, 429, 521].map(at_once);
    let refused = refused
        .into_iter()
        .flat_map(|first| [Get, Post, Put, Query, Mutation, Idempotent].map(|kind| (kind, first.clone(), true)));
    let throttled = [Query, Mutation, Idempotent].map(|kind| (kind, throttled(), true));
    let cases = doubtful.chain(refused).chain(throttled);
    // At the same time: a broken connection is tried again after a second.
    all(cases.map(|(kind, first, again)| async move { check(kind, first, again).await })).await;
}

async fn all(futures: impl IntoIterator<Item = impl Future<Output = ()>>) {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        futures.retain_mut(|future| future.as_mut().poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[tokio::test]
async fn tries_end() {
    let check = async |status, options: Options, tries: u32| {
        let setup = Setup::new(vec![at_once(status); 20]).await;
        let error = setup.get(&options).await.unwrap_err();
        assert_eq!((setup.asked().len(), setup.report().retries), (tries as usize, tries - 1), "{error:?}");
        assert_eq!((error.status(), error.retryable()), (Some(status), true));
    };
    check(503, options(), PLATFORM_RETRIES_MAX + 1).await;
    check(429, options(), PLATFORM_RETRIES_MAX + 1).await;
    check(503, retries(2), 3).await;
    check(429, retries(0), 1).await;
}

#[tokio::test]
async fn refusals_are_told_with_what_to_do() {
    for status in [302, 400, 401, 402, 403, 404, 406, 409, 413, 422, 423, 430, 501] {
        let script = Scripted::answer(status, r#"{"errors":{"title":["is too long"]}}"#)
            .with("Location", "http://127.0.0.1:1/elsewhere");
        let setup = Setup::new([script]).await;
        let error = setup.post(&options()).await.unwrap_err();
        let message = error.to_string();
        assert_eq!((error.status(), error.retryable(), setup.asked().len()), (Some(status), false, 1), "{message}");
        assert!(message.contains("hint: ") && message.contains(&status.to_string()), "{message}");
        assert_eq!(
            error.details().as_str(),
            format!(r#"{{"status":{status},"errors":{{"title":["is too long"]}},"userErrors":null,"data":null}}"#)
        );
        let crossing = ActionError::from(&error);
        assert_eq!((crossing.code.as_str(), crossing.retryable), (code::PLATFORM_ERROR, false));
        assert_eq!(setup.report().error, Some(code::PLATFORM_ERROR));
    }
}

#[tokio::test]
async fn errors_of_an_operation_keep_what_was_done() {
    let answers = [
        value!({ "data": { "a": { "product": { "id": 1 }, "userErrors": [] },
                           "b": { "userErrors": [{ "field": ["title"], "message": "is blank" }] },
                           "c": { "mediaUserErrors": [{ "message": "is no picture" }] } } }),
        value!({ "data": { "a": { "id": 1 }, "b": null },
                 "errors": [{ "message": "Access denied", "path": ["b"], "extensions": { "code": "ACCESS_DENIED" } }] }),
        // Where something was done, nothing is done again.
        value!({ "data": { "a": { "id": 1 } }, "errors": [{ "message": "x", "extensions": { "code": "THROTTLED" } }] }),
        value!({ "errors": [{ "message": "x", "extensions": { "code": "INTERNAL_SERVER_ERROR" } }] }),
        value!({ "data": null, "errors": "Not Found" }),
    ];
    for answer in answers {
        let setup = Setup::new([Scripted::json(&answer)]).await;
        let error = setup.mutate(&options()).await.unwrap_err();
        assert_eq!((error.retryable(), setup.asked().len()), (false, 1), "{error:?}");
        let details: Value = error.details().to().unwrap();
        assert_eq!((&details["data"], &details["errors"]), (&answer["data"], &answer["errors"]), "{error:?}");
        if answer["errors"].is_null() {
            let both = value!([{ "field": ["title"], "message": "is blank" }, { "message": "is no picture" }]);
            assert_eq!(details["userErrors"], both);
            assert_eq!(error.to_string(), "the platform refused the values: is blank (and 1 more)");
        }
    }
    // A field of that name in a query is only a field.
    let setup = Setup::new([Scripted::answer(200, r#"{"data":{"a":{"userErrors":[1]}}}"#)]).await;
    assert!(setup.query(&options()).await.is_ok());
}

#[tokio::test]
async fn answers_that_cannot_be_used_are_errors() {
    let check = async |answer: Scripted, graphql: bool, part: &str| {
        let setup = Setup::new([answer]).await;
        let error = if graphql { setup.query(&options()).await } else { setup.get(&options()).await }.unwrap_err();
        assert!(matches!(error, PlatformError::Unreadable { .. }) && error.to_string().contains(part), "{error}");
        assert_eq!((error.retryable(), setup.asked().len()), (false, 1));
    };
    check(Scripted::answer(200, "<html>"), false, "not JSON: <html>").await;
    check(Scripted::answer(200, "<html>"), true, "not JSON: <html>").await;
    check(Scripted::answer(200, [0xff, 0xfe]), false, "not JSON").await;
    check(Scripted::answer(200, "{}"), true, "neither `data` nor `errors`").await;
    check(Scripted::answer(202, "").with("Location", "http://127.0.0.1:1/admin/api/x"), false, "elsewhere").await;
    let string = |bytes: usize| Scripted::answer(200, format!("\"{}\"", "x".repeat(bytes - 2)));
    check(string(RESPONSE_BYTES_MAX + 1), false, "more than 16 MiB").await;
    let setup = Setup::new([string(RESPONSE_BYTES_MAX)]).await;
    assert_eq!(setup.get(&options()).await.unwrap().as_str().len(), RESPONSE_BYTES_MAX);
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let setup = Setup::new([Scripted::Silence, Scripted::Silence]).await;
    let read = setup.get(&within(50)).await.unwrap_err();
    assert_eq!((read.code(), read.retryable()), (code::TIMED_OUT, true), "{read:?}");
    let write = setup.post(&within(50)).await.unwrap_err();
    assert_eq!((write.code(), write.retryable()), (code::PLATFORM_ERROR, false), "{write:?}");
    assert_eq!(setup.asked().len(), 2);
}

#[tokio::test]
async fn nobody_there_is_told_with_where() {
    let setup = Setup::new([]).await;
    // A port that was free a moment ago.
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let client = setup.api.client(connection(&format!("http://127.0.0.1:{port}"), "app", "2"));
    let error = client.rest("POST", "a.json", &Json::null(), None, &retries(0)).await.unwrap_err();
    assert!(
        matches!(&error, PlatformError::Unreachable { host, .. } if *host == format!("127.0.0.1:{port}")),
        "{error}"
    );
    assert!(error.retryable(), "nothing was sent");
    let crossing = ActionError::from(&error).message;
    assert!(crossing.contains("hint: ") && crossing.ends_with("(os error 111)"), "{crossing}");
    // Who speaks no TLS is not spoken to: the token goes nowhere.
    let client = setup.api.client(connection(&setup.platform.url().replace("http:", "https:"), "app", "3"));
    let error = client.rest("POST", "a.json", &Json::null(), None, &retries(0)).await.unwrap_err();
    assert!(matches!(error, PlatformError::Unreachable { .. }), "{error:?}");
    assert!(!format!("{:?}", setup.asked()).contains(TOKEN));
}

/// A call that would wait longer than it may is told how long, at once: whoever enqueued it can come back then.
#[tokio::test]
async fn waits_beyond_the_deadline_are_told() {
    let check = async |answer: Scripted, graphql: bool, seconds: f64, code: &str| {
        let setup = Setup::new([answer]).await;
        let options = within(CALL_MS_MAX);
        let error = if graphql { setup.query(&options).await } else { setup.get(&options).await }.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs_f64(seconds)), "{error:?}");
        assert_eq!((error.code(), error.retryable(), setup.asked().len()), (code, true, 1));
        let details: Value = error.details().to().unwrap();
        assert_eq!(details["retryAfterMs"].as_f64(), Some(seconds * 1_000.0));
    };
    let after = |status, value| Scripted::answer(status, "busy").with("Retry-After", value);
    check(after(429, "3600.5"), false, 3_600.5, code::RATE_LIMITED).await;
    check(after(429, "3600.5"), true, 3_600.5, code::RATE_LIMITED).await;
    check(after(503, "3600"), false, 3_600.0, code::PLATFORM_ERROR).await;
    let date = after(429, "Wed, 21 Oct 2026 08:28:00 GMT").with("Date", "Wed, 21 Oct 2026 07:28:00 GMT");
    check(date, false, 3_600.0, code::RATE_LIMITED).await;
    let slow = value!({
        "errors": [{ "extensions": { "code": "THROTTLED" } }],
        "extensions": { "cost": {
            "requestedQueryCost": 1000,
            "throttleStatus": { "maximumAvailable": 1000, "currentlyAvailable": 0, "restoreRate": 1 },
        } },
    });
    check(Scripted::json(&slow), true, 1_000.0, code::RATE_LIMITED).await;
}

#[tokio::test]
async fn what_is_accepted_is_asked_for_where_it_will_be() {
    let later = |path: &str| Scripted::answer(202, "").with("Location", path).with("Retry-After", "0");
    let setup = Setup::new([later("/hats/admin/api/2026-07/jobs/7.json"), later("8.json"), good()]).await;
    assert!(setup.post(&options()).await.is_ok());
    let asked: Vec<_> = setup.asked().into_iter().map(|asked| (asked.method, asked.path)).collect();
    let path = |path: &str| format!("/hats/admin/api/2026-07/{path}");
    let expected = [("POST", "products.json"), ("GET", "jobs/7.json"), ("GET", "jobs/8.json")];
    assert_eq!(asked, expected.map(|(method, end)| (method.to_owned(), path(end))));
    // It was accepted: whoever gives up does not know what becomes of it.
    let setup = Setup::new([later("7.json")]).await;
    let error = setup.post(&retries(0)).await.unwrap_err();
    assert!(matches!(error, PlatformError::InDoubt { .. }) && !error.retryable(), "{error:?}");
}

#[tokio::test]
async fn what_is_gone_after_a_lost_answer_was_deleted() {
    let delete = async |script: Vec<Scripted>| {
        let setup = Setup::new(script).await;
        setup.client.rest("DELETE", "products/1.json", &Json::null(), None, &options()).await
    };
    let gone = || Scripted::answer(404, r#"{"errors":"Not Found"}"#);
    assert!(delete(vec![at_once(502), gone()]).await.unwrap().is_null());
    assert_eq!(delete(vec![at_once(429), gone()]).await.unwrap_err().status(), Some(404), "it was never there");
}
