//! The cases of the platform's own libraries, with their verdicts.

use serde_json::Value;
use tradewind_tests::acceptance;
use tradewind_tests::serving::{Running, SHOP, Served, app, connection, server};
use tradewind_tests::stores::on_both;
use tradewind_tests::webhook::Request;

/// A host with a connection for each secret, named `c-0`, `c-1`, ….
async fn host_with(place: &tradewind_tests::stores::Place, secrets: &[&str]) -> Served {
    let connections = secrets.iter().enumerate().map(|(at, secret)| {
        let mut one = connection();
        one.client_secret = (*secret).into();
        // The domain of one of the cases.
        one.shops.push(tradewind_host::config::Shop::new("shop1.myshopify.io", "token"));
        one.shops.push(tradewind_host::config::Shop::new("shop1.myshopify.com", "token"));
        (format!("c-{at}"), one)
    });
    let connections: Vec<_> = connections.collect();
    let connections = connections.iter().map(|(name, one)| (name.as_str(), one.clone())).collect();
    Served::start(place, server(place, vec![app(connections, Vec::new())]), Running::new()).await
}

/// The body of a case: in it, or in a file with this digest.
fn body(case: &Value) -> Vec<u8> {
    if let Some(body) = case["body"].as_str() {
        return body.as_bytes().to_vec();
    }
    let raw = acceptance::text("webhooks/raw/orders-create.signed.json").unwrap().unwrap();
    assert_eq!(tradewind_tests::sha256_hex(raw.as_bytes()), case["body_sha256"], "{case:#}");
    raw.into_bytes()
}

#[tokio::test]
async fn signatures() {
    let Some(text) = acceptance::text("vectors/shopify-webhook-hmac.json").unwrap() else {
        println!("{}", acceptance::skipped("ingress::vectors::signatures"));
        return;
    };
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let secrets: Vec<&str> = cases.iter().map(|case| case["secret"].as_str().unwrap()).collect();
    on_both(async |place| {
        let served = host_with(&place, &secrets).await;
        let (mut taken, mut refused) = (0, 0);
        for (at, case) in cases.iter().enumerate() {
            let body = body(case);
            let is_object = serde_json::from_slice::<serde_json::Map<String, Value>>(&body).is_ok();
            let signature = case["header"].as_str().unwrap();
            let path = format!("/webhooks/{}/c-{at}", tradewind_tests::serving::APP);
            let request = Request::webhook(&path, "unused", SHOP, &format!("w-{at}"), body.clone())
                .with("X-Shopify-Hmac-Sha256", signature);
            let answer = request.send(served.host.public()).await;
            // A body that nobody signs is missing, and one that is signed is still to be JSON.
            let expected = match (case["valid"].as_bool().unwrap(), body.is_empty(), is_object) {
                (_, true, _) | (true, _, false) => 400,
                (false, ..) => 401,
                (true, _, true) => 200,
            };
            assert_eq!(answer.status, expected, "{case:#}\n{answer:?}");
            let is_kept = !served.store().find_delivery(&format!("w-{at}")).await.unwrap().is_empty();
            assert_eq!(is_kept, expected == 200, "{case:#}");
            if expected == 400 && !body.is_empty() {
                assert!(answer.body.contains("not JSON"), "{answer:?}");
            }
            if expected == 200 { taken += 1 } else { refused += 1 }
        }
        assert!(taken >= 3 && refused >= 8, "{taken} taken, {refused} refused");
        served.host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn headers_of_both_generations() {
    let Some(text) = acceptance::text("vectors/shopify-webhook-request-validation.json").unwrap() else {
        println!("{}", acceptance::skipped("ingress::vectors::headers_of_both_generations"));
        return;
    };
    let vectors: Value = serde_json::from_str(&text).unwrap();
    let secret = vectors["api_secret"].as_str().unwrap();
    on_both(async |place| {
        let served = host_with(&place, &[secret]).await;
        let path = format!("/webhooks/{}/c-0", tradewind_tests::serving::APP);
        let mut checked = 0;
        for case in vectors["cases"].as_array().unwrap() {
            let (request, prefix) = request(&vectors, case, &path);
            let id = request.headers.iter().find(|(name, _)| name.to_ascii_lowercase().ends_with("webhook-id"));
            let id = id.map(|(_, id)| String::from_utf8(id.clone()).unwrap());
            let answer = request.send(served.host.public()).await;
            match (case["expect"]["reason"].as_str(), prefix) {
                // The platform leaves it out of privacy webhooks, and nothing here needs it.
                (Some("missing_headers"), _) if is_version(&case["expect"]["missingHeaders"]) => {
                    assert!(matches!(answer.status, 200 | 404), "{case:#}\n{answer:?}");
                }
                (Some("missing_headers"), _) => {
                    assert_eq!(answer.status, 400, "{case:#}\n{answer:?}");
                    for missing in case["expect"]["missingHeaders"].as_array().unwrap() {
                        let missing = missing.as_str().unwrap().to_lowercase();
                        assert_eq!(answer.body, format!("headers are missing: {missing}\n"), "{case:#}");
                    }
                }
                (Some("missing_hmac"), _) => assert_eq!(answer.status, 400, "{case:#}\n{answer:?}"),
                (Some("invalid_hmac"), _) => assert_eq!(answer.status, 401, "{case:#}\n{answer:?}"),
                (None, "x-shopify-") => {
                    assert_eq!(answer.status, 200, "{case:#}\n{answer:?}");
                    let seq = served.store().find_delivery(id.as_deref().unwrap()).await.unwrap()[0];
                    let kept = served.store().delivery(seq).await.unwrap().unwrap();
                    assert_eq!(&*kept.shop.id, case["expect"]["domain"].as_str().unwrap());
                    let version = kept.headers.member("apiVersion").unwrap().to::<String>().unwrap();
                    assert_eq!(version, case["expect"]["apiVersion"].as_str().unwrap());
                }
                // An event is understood, and its topic is a resource, which nobody asked for.
                (None, _) => {
                    assert_eq!((answer.status, answer.body.as_str()), (404, "nobody here wants the topic `Product`\n"));
                }
                other => panic!("{other:?}: {case:#}"),
            }
            checked += 1;
        }
        assert!(checked >= 11, "{checked}");
        // The valid one, and the one without a version.
        assert_eq!(served.deliveries().await.len(), 2);
        served.host.stop().await;
    })
    .await;
}

fn is_version(missing: &Value) -> bool {
    missing[0].as_str().is_some_and(|name| name.to_lowercase().ends_with("-api-version")) && missing[1].is_null()
}

/// The request of a case, and the prefix of its headers' names.
fn request(vectors: &Value, case: &Value, path: &str) -> (Request, &'static str) {
    let is_event = case["events"] == true;
    let prefix = if is_event { "shopify-" } else { "x-shopify-" };
    let body = vectors["raw_body"].as_str().unwrap().as_bytes().to_vec();
    let mut request = Request { method: "POST", path: path.to_owned(), headers: Vec::new(), body };
    for (name, value) in [
        ("hmac-sha256", vectors["hmac"].as_str().unwrap()),
        ("topic", if is_event { "Product" } else { "products/create" }),
        ("shop-domain", "shop1.myshopify.com"),
        ("api-version", "2026-10"),
        ("webhook-id", if is_event { "event-1" } else { "123456789" }),
    ] {
        request = request.with(&format!("{prefix}{name}"), value);
    }
    for (name, value) in case["set"].as_object().into_iter().flatten() {
        request = request.with(name, value.as_str().unwrap());
    }
    if let Some(name) = case["drop"].as_str() {
        request = request.without(name);
    }
    (request, prefix)
}
