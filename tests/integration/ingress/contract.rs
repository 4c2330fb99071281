//! Each row of the contract: a request, its status, what is kept of it, and what is said of it.

use tradewind_store::Quotas;
use tradewind_tests::serving::{APP, CONNECTION, Running, SECRET, SHOP, Served, app, connection, server};
use tradewind_tests::stores::{json, on_both};
use tradewind_tests::webhook::{Request, sign};
use tradewind_tests::{host, sha256_hex};

use super::{BODY, Logged, answered, assert_nothing_kept};

#[tokio::test]
async fn a_200_is_on_disk_with_its_job() {
    on_both(async |place| {
        let served = Served::plain(&place).await;
        let request = Served::webhook("w-1", BODY)
            .with("X-Shopify-Event-Id", "e-1")
            .with("X-Shopify-Triggered-At", "2026-05-28T20:26:39.877041743Z")
            .with("X-Shopify-Name", "products");
        let answer = request.send(served.host.public()).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));

        let seq = served.store().find_delivery("w-1").await.unwrap()[0];
        let kept = served.store().delivery(seq).await.unwrap().unwrap();
        // The first who asks may have it from memory.
        assert_eq!(served.store().delivery(seq).await.unwrap().as_ref(), Some(&kept));
        assert_eq!(String::from_utf8(kept.body).unwrap(), BODY);
        assert_eq!((kept.topic.as_str(), &*kept.shop.app, &*kept.shop.id), ("products/update", APP, SHOP));
        assert_eq!((kept.platform.as_str(), kept.event_id.as_deref()), ("shopify", Some("e-1")));
        assert_eq!(kept.triggered_ms, Some(1_779_999_999_877));
        assert_eq!(kept.lane.as_deref(), Some("shopify/product 788032119674292922"));
        let headers = r#"{"apiVersion":"2026-07","name":"products","triggeredAt":"2026-05-28T20:26:39.877041743Z"}"#;
        assert_eq!(host::value(&kept.headers), host::value(&json(headers)));
        // The job waits, or what it did is in the log already: the log is written in the commit that ends it.
        let waits = served.store().jobs_of_delivery(seq, 10).await.unwrap();
        let done = served.store().invocations_of_delivery(seq, 10).await.unwrap();
        assert!(!waits.is_empty() || !done.is_empty());

        assert_eq!(served.idle().await, []);
        assert_eq!(served.seen.delivered(), ["stored"]);
        assert_eq!(answered(&served), ["accepted"]);
        served.host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn the_same_is_kept_once_by_either_key() {
    on_both(async |place| {
        let served = Served::plain(&place).await;
        let first = Served::webhook("w-1", BODY).with("X-Shopify-Event-Id", "e-1");
        let second_subscription = Served::webhook("w-2", BODY).with("X-Shopify-Event-Id", "e-1");
        for request in [&first, &first, &second_subscription, &first] {
            assert_eq!(request.send(served.host.public()).await.status, 200);
        }
        assert_eq!(answered(&served), ["accepted", "duplicate", "duplicate", "duplicate"]);
        assert_eq!(served.deliveries().await.len(), 1);
        served.idle().await;
        assert_eq!(served.seen.delivered(), ["stored"]);

        // Another event, and the same event with another body, are something else.
        let other_event = Served::webhook("w-3", BODY).with("X-Shopify-Event-Id", "e-2");
        let other_body = Served::webhook("w-4", BODY.replace("Hat", "Cap")).with("X-Shopify-Event-Id", "e-1");
        for request in [&other_event, &other_body] {
            assert_eq!(request.send(served.host.public()).await.status, 200);
        }
        assert_eq!(served.deliveries().await.len(), 3);
        served.host.stop().await;
    })
    .await;
}

/// What is processed makes room; when that is not enough, the platform comes again, and nothing is kept.
#[tokio::test]
async fn a_shop_that_is_full_is_answered_503() {
    on_both(async |place| {
        let served = Served::plain(&place).await;
        let send = async |id: &str| Served::webhook(id, BODY).send(served.host.public()).await;
        assert_eq!(send("w-1").await.status, 200);
        served.idle().await;
        served.store().set_quotas(Quotas { shop_body_bytes_max: 1, ..Quotas::default() });
        let answer = send("w-2").await;
        assert_eq!(
            (answer.status, answer.header("retry-after"), answer.body.as_str()),
            (503, Some("5"), "try again later\n")
        );
        assert_eq!(served.deliveries().await.len(), 0, "the first was processed, and is deleted before its time");
        let metrics = Request { method: "GET", path: "/metrics".to_owned(), headers: Vec::new(), body: Vec::new() };
        let metrics = metrics.send(served.host.admin()).await.body;
        let refused = "tradewind_quota_refusals_total{app=\"tagger\",limit=\"shop_body_bytes_max\"} ";
        for metric in [refused, "tradewind_usage_records 1\n", "tradewind_fullest_shop_ratio "] {
            assert!(metrics.contains(metric), "{metric} is missing: {metrics}");
        }
        served.store().set_quotas(Quotas::default());
        assert_eq!(send("w-2").await.status, 200);
        assert_eq!(served.deliveries().await.len(), 1);
        served.idle().await;
        served.host.stop().await;
    })
    .await;
}

/// Many at once, of which each is sent four times: as many are kept as there are.
#[tokio::test]
async fn duplicates_that_come_together_are_one() {
    on_both(async |place| {
        let served = Served::plain(&place).await;
        let requests: Vec<_> = (0..40).map(|at| Served::webhook(&format!("w-{}", at % 10), BODY)).collect();
        let answers = requests.iter().map(|request| request.send(served.host.public()));
        let statuses: Vec<_> = tradewind_tests::stores::together(answers).await.iter().map(|one| one.status).collect();
        assert_eq!(statuses, [200; 40]);
        assert_eq!(served.deliveries().await.len(), 10);
        let accepted = answered(&served).into_iter().filter(|word| *word == "accepted").count();
        assert_eq!(accepted, 10);
        served.idle().await;
        assert_eq!(served.seen.delivered().len(), 10);
        served.host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn each_refusal_has_its_status_and_keeps_nothing() {
    on_both(async |place| {
        let log = Logged::default();
        let _heard = log.listen();
        let served = Served::plain(&place).await;
        let good = || Served::webhook("w-1", BODY);
        let signed = |body: &[u8]| Served::webhook("w-1", body);
        let elsewhere = |path: &str| Request { path: path.to_owned(), ..good() };
        let doubled = |name: &str, value: &str| {
            let mut request = good();
            request.headers.push((name.to_owned(), value.into()));
            request
        };
        let nested = |levels: usize| format!("{{\"id\":1,\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        let path = |app: &str, connection: &str| format!("/webhooks/{app}/{connection}");
        let rows: Vec<(&str, Request, u16, &str, &str)> = vec![
            (
                "another's signature",
                good().with("X-Shopify-Hmac-Sha256", sign("other", BODY.as_bytes())),
                401,
                "unsigned",
                "hint: ",
            ),
            (
                "no signature at all in it",
                good().with("X-Shopify-Hmac-Sha256", "fake"),
                401,
                "unsigned",
                "does not fit",
            ),
            (
                "a signature in hex",
                good().with("X-Shopify-Hmac-Sha256", sha256_hex(BODY.as_bytes())),
                401,
                "unsigned",
                "does not fit",
            ),
            (
                "a body that was changed",
                Request { body: BODY.replace("Hat", "Hut").into(), ..good() },
                401,
                "unsigned",
                "does not fit",
            ),
            ("no signature", good().without("X-Shopify-Hmac-Sha256"), 400, "malformed", "`x-shopify-hmac-sha256`"),
            ("no body", signed(b""), 400, "malformed", "empty"),
            ("no topic", good().without("X-Shopify-Topic"), 400, "malformed", "x-shopify-topic"),
            ("no shop", good().without("X-Shopify-Shop-Domain"), 400, "malformed", "x-shopify-shop-domain"),
            ("two topics", doubled("X-Shopify-Topic", "orders/create"), 400, "malformed", "more than once"),
            ("two shops", doubled("x-shopify-shop-domain", "caps.myshopify.com"), 400, "malformed", "more than once"),
            ("two ids", doubled("X-SHOPIFY-WEBHOOK-ID", "w-1"), 400, "malformed", "more than once"),
            ("two signatures", doubled("X-Shopify-Hmac-Sha256", "fake"), 400, "malformed", "more than once"),
            ("both kinds", doubled("Shopify-Hmac-Sha256", "fake"), 400, "malformed", "both `x-shopify-hmac-sha256`"),
            ("no id", good().without("X-Shopify-Webhook-Id"), 400, "malformed", "x-shopify-webhook-id"),
            ("an empty id", good().with("X-Shopify-Webhook-Id", ""), 400, "malformed", "x-shopify-webhook-id"),
            ("a long id", good().with("X-Shopify-Webhook-Id", "x".repeat(401)), 400, "malformed", "too long"),
            (
                "an id that is not UTF-8",
                good().with("X-Shopify-Webhook-Id", b"w\xff".to_vec()),
                400,
                "malformed",
                "UTF-8",
            ),
            (
                "a shop that is none",
                good().with("X-Shopify-Shop-Domain", "evil.example"),
                400,
                "malformed",
                "x-shopify-shop-domain",
            ),
            (
                "a shop with a path",
                good().with("X-Shopify-Shop-Domain", "a.example/.myshopify.com"),
                400,
                "malformed",
                "x-shopify-shop-domain",
            ),
            (
                "a time that is none",
                good().with("X-Shopify-Triggered-At", "yesterday"),
                400,
                "malformed",
                "x-shopify-triggered-at",
            ),
            ("a text", signed(b"foo=anything"), 400, "malformed", "not JSON"),
            ("half an object", signed(br#"{"id":1"#), 400, "malformed", "not JSON"),
            ("two objects", signed(br#"{"id":1}{"id":2}"#), 400, "malformed", "not JSON"),
            ("a list", signed(b"[1]"), 400, "malformed", "not JSON"),
            ("a number", signed(b"7"), 400, "malformed", "not JSON"),
            ("invalid UTF-8", signed(b"{\"id\":1,\"title\":\"\xff\"}"), 400, "malformed", "UTF-8"),
            ("half a surrogate", Served::webhook("w-surrogate", br#"{"id":1,"title":"\ud800"}"#), 200, "accepted", ""),
            ("nested too deep", signed(nested(100_000).as_bytes()), 400, "malformed", "deeper than 100"),
            ("nested one too deep", signed(nested(100).as_bytes()), 400, "malformed", "deeper than 100"),
            ("another app", elsewhere(&path("other", CONNECTION)), 404, "unknown", "no such app"),
            ("another connection", elsewhere(&path(APP, "other")), 404, "unknown", "no such app"),
            (
                "a shop that is not installed",
                good().with("X-Shopify-Shop-Domain", "caps.myshopify.com"),
                404,
                "unknown",
                "`caps.myshopify.com`",
            ),
            (
                "a topic that nobody wants",
                good().with("X-Shopify-Topic", "orders/create"),
                404,
                "unknown",
                "`orders/create`",
            ),
            (
                "the topic in capitals",
                good().with("X-Shopify-Topic", "PRODUCTS/UPDATE"),
                404,
                "unknown",
                "`PRODUCTS/UPDATE`",
            ),
        ];
        for (what, request, status, word, says) in rows {
            let before = answered(&served).len();
            let answer = request.send(served.host.public()).await;
            assert_eq!(answer.status, status, "{what}: {answer:?}");
            assert_eq!(answered(&served)[before..], [word], "{what}");
            let logged = log.refusals();
            if status == 200 {
                assert_eq!(logged, Vec::<String>::new(), "{what}");
                continue;
            }
            assert!(answer.body.contains(says) && answer.body.ends_with('\n'), "{what}: {:?}", answer.body);
            assert!(logged.len() == 1 && logged[0].contains(&format!("status={status}")), "{what}: {logged:?}");
            assert!(!logged[0].contains("Hat"), "{what}: {logged:?}");
            if word != "accepted" {
                assert_eq!(served.store().find_delivery("w-1").await.unwrap().len(), 0, "{what}");
            }
        }
        // Half a surrogate is JSON, and what it becomes is the mapper's business: it does not end the lane.
        served.idle().await;
        served.host.stop().await;
    })
    .await;
}

/// Some privacy webhooks lack headers: what is signed says the shop, and nothing needs the version.
#[tokio::test]
async fn headers_that_the_platform_leaves_out_are_not_missed() {
    on_both(async |place| {
        let served = Served::plain(&place).await;
        let no_version = Served::webhook("w-1", BODY).without("X-Shopify-API-Version");
        let named = r#"{"id":1,"title":"Hat","shop_id":954889,"shop_domain":"hats.myshopify.com"}"#;
        let no_shop = Served::webhook("w-2", named).without("X-Shopify-Shop-Domain");
        for request in [&no_version, &no_shop] {
            assert_eq!(request.send(served.host.public()).await.status, 200);
        }
        assert_eq!(served.idle().await, []);
        let shops: Vec<_> = served.deliveries().await.iter().map(|one| one.shop.id.to_string()).collect();
        assert_eq!(shops, [SHOP, SHOP]);
        let other = named.replace("hats", "caps");
        let answer = Served::webhook("w-3", other).without("X-Shopify-Shop-Domain").send(served.host.public()).await;
        assert_eq!(answer.status, 404, "{answer:?}");
        served.host.stop().await;
    })
    .await;
}

/// What is not even a webhook's address is no app's business: one line in the log says so, and nothing is kept.
#[tokio::test]
async fn other_methods_and_paths_are_refused() {
    on_both(async |place| {
        let log = Logged::default();
        let _logging = log.listen();
        let one_line = |status: u16| {
            let lines = log.refusals();
            assert!(lines.len() == 1 && lines[0].contains(&format!("status={status}")), "{lines:?}");
        };
        let served = Served::plain(&place).await;
        for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let request = Request { method, ..Served::webhook("w-1", BODY) };
            let answer = request.send(served.host.public()).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("post")), "{method}");
            one_line(405);
        }
        for path in ["/", "/webhooks", "/webhooks/tagger", "/webhooks/tagger/shopify/more", "/metrics", "/health"] {
            let request = Request { path: path.to_owned(), ..Served::webhook("w-1", BODY) };
            assert_eq!(request.send(served.host.public()).await.status, 404, "{path}");
            one_line(404);
        }
        let request = Request { path: "/webhooks/tagger/%ff".to_owned(), ..Served::webhook("w-1", BODY) };
        assert!(matches!(request.send(served.host.public()).await.status, 400 | 404));
        assert_nothing_kept(&served).await;
        served.host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn both_secrets_of_a_rotation_sign_and_no_third() {
    on_both(async |place| {
        let mut rotating = connection();
        rotating.client_secret = "newer".into();
        rotating.previous_client_secret = Some(SECRET.into());
        let apps = vec![app(vec![(CONNECTION, rotating)], Vec::new())];
        let mut served = Served::start(&place, server(&place, apps), Running::new()).await;
        let send = async |served: &Served, id: &str, secret: &str| {
            let request = Served::webhook(id, BODY).with("X-Shopify-Hmac-Sha256", sign(secret, BODY.as_bytes()));
            request.send(served.host.public()).await.status
        };
        assert_eq!(send(&served, "w-1", SECRET).await, 200);
        assert_eq!(send(&served, "w-2", "newer").await, 200);
        assert_eq!(send(&served, "w-3", "oldest").await, 401);

        // The rotation ends while the host runs.
        let mut rotated = connection();
        rotated.client_secret = "newer".into();
        served.host.replace(app(vec![(CONNECTION, rotated)], Vec::new())).await.unwrap();
        assert_eq!(send(&served, "w-4", SECRET).await, 401);
        assert_eq!(send(&served, "w-5", "newer").await, 200);
        assert_eq!(served.deliveries().await.len(), 3);
        served.host.stop().await;
    })
    .await;
}
