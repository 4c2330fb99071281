//! What calls share: the budget of an app at a shop, in both directions.

use std::sync::Arc;

use super::*;

/// A shop whose bucket is empty and gains a point a second, where the query is known to cost a hundred.
async fn exhausted() -> Setup {
    let setup = Setup::new([Scripted::json(&costed(100.0, 0.0, 1.0))]).await;
    setup.query(&options()).await.unwrap();
    setup
}

/// How long a call would have to wait now. Answered at once: the call may not wait at all.
async fn would_wait(client: &Client) -> Duration {
    wait(client.graphql(QUERY, &Json::null(), &within(1)).await)
}

/// Looks again until the line is as expected.
async fn until(client: &Client, expected: impl Fn(Duration) -> bool) {
    while !expected(would_wait(client).await) {
        tokio::task::yield_now().await;
    }
}

const ONE: Duration = Duration::from_secs(100);

#[tokio::test]
async fn two_callers_share_one_budget_and_a_dropped_one_gives_back() {
    let setup = exhausted().await;
    // Another client of the same app and shop, as another plugin or the host has it.
    let other = setup.api.client(connection(setup.platform.url(), "app", "1"));
    let alone = would_wait(&other).await;
    assert!(alone <= ONE, "{alone:?}");
    let first = tokio::spawn({
        let client = setup.client.clone();
        async move { client.graphql(QUERY, &Json::null(), &within(600_000)).await }
    });
    until(&other, |wait| wait > ONE).await;
    assert!(would_wait(&other).await <= 2 * ONE);
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert!(would_wait(&other).await <= ONE, "the place is free again");
    assert_eq!(setup.asked().len(), 1, "nobody was let through");
}

#[tokio::test]
async fn budgets_are_of_an_app_at_a_shop_by_kind() {
    let setup = exhausted().await;
    for (app, shop) in [("other", "1"), ("app", "2")] {
        setup.platform.push(Scripted::json(&costed(100.0, 900.0, 50.0)));
        let client = setup.api.client(connection(setup.platform.url(), app, shop));
        assert!(client.graphql(QUERY, &Json::null(), &within(60_000)).await.is_ok(), "{app} {shop}");
    }
    setup.platform.push(Scripted::answer(200, "{}").with("X-Shopify-Shop-Api-Call-Limit", "3/80"));
    assert!(setup.get(&options()).await.is_ok(), "REST has its own");
    would_wait(&setup.client).await;
}

#[tokio::test]
async fn a_full_rest_bucket_holds_everybody() {
    let answer = Scripted::answer(200, "{}").with("X-Shopify-Shop-Api-Call-Limit", "40/40").with("Retry-After", "50");
    let setup = Setup::new([answer]).await;
    let began = std::time::Instant::now();
    setup.get(&options()).await.unwrap();
    let wait = wait(setup.get(&within(1)).await);
    // 50 seconds from the answer, which was not before the first call began.
    assert!(wait <= Duration::from_secs(50) && wait + began.elapsed() >= Duration::from_secs(50), "{wait:?}");
    assert_eq!(setup.asked().len(), 1);
}

#[tokio::test]
async fn calls_on_their_way_are_counted() {
    let setup = Setup::new([Scripted::json(&costed(1000.0, 1000.0, 1.0)), Scripted::Silence]).await;
    setup.query(&options()).await.unwrap();
    let silent = tokio::spawn({
        let client = setup.client.clone();
        async move { client.graphql(QUERY, &Json::null(), &options()).await }
    });
    setup.platform.was_asked(2).await;
    assert!(would_wait(&setup.client).await > 9 * ONE);
    silent.abort();
    assert!(silent.await.unwrap_err().is_cancelled());
    // It was sent, so it may have cost what was asked for.
    assert!(would_wait(&setup.client).await > 9 * ONE);
}

#[tokio::test]
async fn what_is_known_of_a_budget_can_be_read() {
    let setup = Setup::new([
        Scripted::json(&costed(3.0, 1000.0, 50.0)),
        Scripted::answer(422, "{}").with("X-Shopify-Shop-Api-Call-Limit", "0/80"),
    ])
    .await;
    assert_eq!(setup.client.budget().as_str(), r#"{"graphql":null,"rest":null}"#);
    setup.query(&options()).await.unwrap();
    let report = setup.report();
    assert_eq!((report.cost, report.available, report.maximum), (Some(3.0), Some(1000.0), Some(1000.0)));
    setup.get(&options()).await.unwrap_err();
    assert_eq!(
        setup.client.budget().as_str(),
        r#"{"graphql":{"available":1000.0,"maximum":1000.0,"restoreRate":50.0},"rest":{"used":0.0,"maximum":80.0}}"#
    );
}

/// Many at once, and each is answered: the budget is waited for, not run into.
#[tokio::test]
async fn a_crowd_gets_through() {
    let script = (0..40).map(|_| Scripted::json(&costed(10.0, 1000.0, 1000.0)));
    let setup = Arc::new(Setup::new(script).await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let setup = Arc::clone(&setup);
        tasks.spawn(async move { setup.query(&options()).await });
    }
    while let Some(result) = tasks.join_next().await {
        assert!(result.unwrap().is_ok());
    }
    assert_eq!(setup.asked().len(), 40);
}
