//! Lists that come in pages.

use tradewind_emulator::{Config, Emulator, Plan};
use tradewind_platform::shopify::client::Page;
use tradewind_tests::{NOW, SEED};

use super::*;

#[tokio::test]
async fn rest_lists_follow_the_next_link() {
    let link = |query: &str, rel: &str| {
        format!("<https://hats.myshopify.com/admin/api/2026-07/products.json?{query}>; rel=\"{rel}\"")
    };
    let setup = Setup::new([
        Scripted::answer(200, r#"{"products":[{"id":820982911946154508},{"id":2}]}"#)
            .with("Link", &link("limit=2&fields=id,title&page_info=abc", "next")),
        Scripted::answer(200, r#"{"products":[{"id":3}]}"#).with("Link", &link("limit=2&page_info=xyz", "previous")),
    ])
    .await;
    let query = json(r#"{"limit":2,"fields":["id","title"],"status":"active"}"#);
    let page =
        async |cursor: Option<&str>| setup.client.rest_page("products.json", &query, cursor, &options()).await.unwrap();
    let first = page(None).await;
    assert_eq!(first.items.as_str(), r#"[{"id":820982911946154508},{"id":2}]"#);
    let second = page(first.next.as_deref()).await;
    assert_eq!(second, Page { items: json(r#"[{"id":3}]"#), next: None });
    let queries: Vec<_> = setup.asked().into_iter().map(|asked| asked.query).collect();
    // Beside `page_info` the platform takes only `limit` and `fields`.
    assert_eq!(queries, ["limit=2&fields=id%2Ctitle&status=active", "limit=2&fields=id,title&page_info=abc"]);
}

#[tokio::test]
async fn graphql_lists_go_on_behind_the_cursor() {
    let page = |nodes: &str, more: bool, cursor: &str| {
        let info = format!(r#"{{"hasNextPage":{more},"endCursor":"{cursor}"}}"#);
        Scripted::answer(
            200,
            format!(r#"{{"data":{{"product":{{"variants":{{"nodes":{nodes},"pageInfo":{info}}}}}}}}}"#),
        )
    };
    let setup = Setup::new([page(r#"[{"id":9007199254740993}]"#, true, "c1"), page("[]", false, "c2")]).await;
    let query = "query V($id: ID!, $after: String) { product(id: $id) { variants(first: 1, after: $after) { nodes { id } \
                 pageInfo { hasNextPage endCursor } } } }";
    let read = async |cursor: Option<&str>| {
        setup
            .client
            .graphql_page(query, &json(r#"{"id":1,"after":"from-here"}"#), "product.variants", cursor, &options())
            .await
            .unwrap()
    };
    let first = read(None).await;
    assert_eq!((first.items.as_str(), first.next.as_deref()), (r#"[{"id":9007199254740993}]"#, Some("c1")));
    assert_eq!(read(first.next.as_deref()).await.next, None);
    let variables: Vec<_> = setup.asked().iter().map(|asked| asked.json()["variables"].to_string()).collect();
    assert_eq!(variables, [r#"{"after":"from-here","id":1}"#, r#"{"after":"c1","id":1}"#]);
}

#[tokio::test]
async fn a_list_that_cannot_go_on_does_not_end_silently() {
    let setup = Setup::new([
        Scripted::answer(200, r#"{"products":[]}"#).with("Link", "<https://hats.example/products.json>; rel=\"next\""),
        Scripted::answer(200, r#"{"count":1}"#),
        Scripted::answer(200, r#"{"data":{"shop":{"id":1}}}"#),
    ])
    .await;
    let rest = async || setup.client.rest_page("products.json", &Json::null(), None, &options()).await;
    assert!(rest().await.unwrap_err().to_string().contains("page_info"));
    assert!(rest().await.unwrap_err().to_string().contains("no list"));
    let graphql = setup.client.graphql_page(QUERY, &Json::null(), "products", None, &options()).await;
    assert!(graphql.unwrap_err().to_string().contains("no `products`"));
}

/// The emulator, which shares nothing with the client, has the same idea of pages.
#[tokio::test]
async fn both_kinds_of_lists_give_all_there_is() {
    const SHOP: &str = "hats.myshopify.com";
    let emulator = Emulator::start(Config::new(SEED, NOW)).await.unwrap();
    emulator.add_app("key", "secret").unwrap();
    emulator.add_shop(SHOP, Plan::Standard, 5).unwrap();
    let token = emulator.install("key", SHOP).unwrap();
    let setup = Setup::new([]).await;
    let base_url = Some(emulator.shop_url(SHOP).into());
    let client = setup.api.client(Connection { token: token.into(), base_url, ..connection("", "app", "1") });
    let query = "query P($after: String) { products(first: 2, after: $after) { nodes { legacyResourceId } \
                 pageInfo { hasNextPage endCursor } } }";
    let (mut rest, mut graphql, mut pages) = (Vec::new(), Vec::new(), 0);
    let (mut rest_cursor, mut graphql_cursor) = (None, None);
    loop {
        let limit = json(r#"{"limit":2}"#);
        let rest_page = client.rest_page("products.json", &limit, rest_cursor.as_deref(), &options()).await.unwrap();
        let cursor = graphql_cursor.as_deref();
        let graphql_page = client.graphql_page(query, &Json::null(), "products", cursor, &options()).await.unwrap();
        rest.extend(rest_page.items.to::<Vec<Json>>().unwrap().iter().map(|item| text(item, "id")));
        graphql.extend(graphql_page.items.to::<Vec<Json>>().unwrap().iter().map(|item| text(item, "legacyResourceId")));
        pages += 1;
        (rest_cursor, graphql_cursor) = (rest_page.next, graphql_page.next);
        assert_eq!(rest_cursor.is_some(), graphql_cursor.is_some());
        if rest_cursor.is_none() {
            break;
        }
    }
    assert_eq!(pages, 3);
    let there: Vec<_> = emulator.products(SHOP).unwrap().iter().map(|product| product.id.to_string()).collect();
    for mut listed in [rest, graphql] {
        listed.sort_unstable();
        let mut there = there.clone();
        there.sort_unstable();
        assert_eq!(listed, there);
    }
    emulator.stop().await;
}

fn text(item: &Json, name: &str) -> String {
    item.member(name).unwrap().as_str().trim_matches('"').to_owned()
}
