//! The GraphQL Admin API, as a client sees it.

use serde_json::{Value, json};
use tradewind_emulator::{Plan, Topic};

use super::receiver::Receiver;
use super::{APP, SHOP, Setup, config};

#[tokio::test]
async fn a_product_from_beginning_to_end() {
    let setup = Setup::new(config(), Plan::Standard, 0).await;
    let create = "mutation($product: ProductCreateInput) { productCreate(product: $product) {
        product { id title handle status tags descriptionHtml vendor options { name values }
                  variants(first: 5) { nodes { id price } } } userErrors { field message } } }";
    let product =
        json!({ "title": "Wool Hat", "tags": ["b", "A"], "descriptionHtml": "<p>Warm</p>", "status": "DRAFT" });
    let made = setup.data(create, json!({ "product": product })).await["productCreate"]["product"].clone();
    assert_eq!(
        (&made["handle"], &made["tags"], &made["status"]),
        (&json!("wool-hat"), &json!(["A", "b"]), &json!("DRAFT"))
    );
    let id = made["id"].clone();

    let update = "mutation($product: ProductUpdateInput) { productUpdate(product: $product) {
        product { title vendor } userErrors { field message } } }";
    let changed = setup.data(update, json!({ "product": { "id": id, "title": "Felt Hat", "vendor": "Acme" } })).await;
    assert_eq!(changed["productUpdate"]["product"], json!({ "title": "Felt Hat", "vendor": "Acme" }));

    let add = "mutation($id: ID!, $tags: [String!]!) { tagsAdd(id: $id, tags: $tags) {
        node { ... on Product { tags } } userErrors { message } } }";
    let tagged = setup.data(add, json!({ "id": id, "tags": "new, a" })).await;
    assert_eq!(tagged["tagsAdd"]["node"]["tags"], json!(["A", "b", "new"]));
    let remove = add.replace("tagsAdd", "tagsRemove");
    let tagged = setup.data(&remove, json!({ "id": id, "tags": ["NEW", "B"] })).await;
    assert_eq!(tagged["tagsRemove"]["node"]["tags"], json!(["A"]));

    let variant = made["variants"]["nodes"][0]["id"].clone();
    let price = "mutation($id: ID!, $variants: [ProductVariantsBulkInput!]!) {
        productVariantsBulkUpdate(productId: $id, variants: $variants) {
            productVariants { price sku } userErrors { field message code } } }";
    let variants = json!([{ "id": variant, "price": "12.5", "inventoryItem": { "sku": "HAT" } }]);
    let priced = setup.data(price, json!({ "id": id, "variants": variants })).await;
    assert_eq!(priced["productVariantsBulkUpdate"]["productVariants"], json!([{ "price": "12.50", "sku": "HAT" }]));

    let set = "mutation($metafields: [MetafieldsSetInput!]!) { metafieldsSet(metafields: $metafields) {
        metafields { namespace key value type } userErrors { field message } } }";
    let field = json!({ "ownerId": id, "namespace": "care", "key": "wash", "type": "number_integer", "value": "30" });
    let answer = setup.data(set, json!({ "metafields": [field] })).await;
    assert_eq!(answer["metafieldsSet"]["userErrors"], json!([]));
    let read = "query($id: ID!) { product(id: $id) { metafield(namespace: \"care\", key: \"wash\") { jsonValue } } }";
    assert_eq!(setup.data(read, json!({ "id": id })).await["product"]["metafield"]["jsonValue"], 30);

    let delete = "mutation($input: ProductDeleteInput!) { productDelete(input: $input) {
        deletedProductId userErrors { field message } } }";
    let gone = setup.data(delete, json!({ "input": { "id": id } })).await;
    assert_eq!(gone["productDelete"]["deletedProductId"], id);
    assert_eq!(setup.data(read, json!({ "id": id })).await["product"], Value::Null);
    let gone = setup.data(delete, json!({ "input": { "id": id } })).await;
    let error = json!([{ "field": ["id"], "message": "Product does not exist" }]);
    assert_eq!(gone["productDelete"]["userErrors"], error);
}

#[tokio::test]
async fn mistakes_are_user_errors() {
    let setup = Setup::new(config(), Plan::Standard, 1).await;
    let create = "mutation($product: ProductCreateInput) { productCreate(product: $product) {
        product { id } userErrors { field message } } }";
    let refused = setup.data(create, json!({ "product": { "vendor": "Acme" } })).await;
    let expected =
        json!({ "product": null, "userErrors": [{ "field": ["title"], "message": "Title can't be blank" }] });
    assert_eq!(refused["productCreate"], expected);

    let product = setup.some_product();
    let price = "mutation($id: ID!, $variants: [ProductVariantsBulkInput!]!) {
        productVariantsBulkUpdate(productId: $id, variants: $variants) { userErrors { field message code } } }";
    let id = format!("gid://shopify/Product/{}", product.id);
    let unknown = json!([{ "id": "gid://shopify/ProductVariant/1", "price": "1" }]);
    let refused = setup.data(price, json!({ "id": id, "variants": unknown })).await;
    let error = json!([{
        "field": ["variants", "0", "id"],
        "message": "Product variant does not exist",
        "code": "PRODUCT_VARIANT_DOES_NOT_EXIST",
    }]);
    assert_eq!(refused["productVariantsBulkUpdate"]["userErrors"], error);
    let variant = format!("gid://shopify/ProductVariant/{}", product.variants[0].id);
    let cheap = json!([{ "id": variant, "price": "-1" }]);
    let refused = setup.data(price, json!({ "id": id, "variants": cheap })).await;
    assert_eq!(refused["productVariantsBulkUpdate"]["userErrors"][0]["code"], "GREATER_THAN_OR_EQUAL_TO");
}

#[tokio::test]
async fn mistakes_in_a_query_are_errors_with_http_200() {
    let setup = Setup::new(config(), Plan::Standard, 1).await;
    let cases = [
        ("{ product(id: \"gid://shopify/Product/1\") { nothing } }", "Field 'nothing' doesn't exist on type 'Product'"),
        ("{ products { nodes { id } } }", "you must provide one of first or last"),
        ("mutation { productCreate { product { id } } }", "productCreate must include exactly one of the following"),
        ("mutation { tagsAdd(id: \"gid://shopify/Nothing/1\", tags: []) { node { id } } }", "invalid id"),
        ("{ products(first: 251) { nodes { id } } }", "251 is more than a page can have"),
    ];
    for (query, expected) in cases {
        let answer = setup.graphql(query, Value::Null).await;
        let message = answer["errors"][0]["message"].as_str().unwrap_or_default();
        assert!(message.starts_with(expected), "{query}: {answer:#}");
    }
}

#[tokio::test]
async fn pages_show_every_product_once() {
    let setup = Setup::new(config(), Plan::Plus, 23).await;
    let query = "query($after: String, $reverse: Boolean) {
        products(first: 5, after: $after, reverse: $reverse, sortKey: TITLE) {
            edges { cursor node { legacyResourceId title } } pageInfo { hasNextPage endCursor } } }";
    for reverse in [false, true] {
        let mut after = Value::Null;
        let mut found = Vec::new();
        loop {
            let data = setup.data(query, json!({ "after": after, "reverse": reverse })).await;
            let page = &data["products"];
            let edges = page["edges"].as_array().unwrap();
            found.extend(edges.iter().map(|edge| edge["node"]["legacyResourceId"].as_str().unwrap().to_owned()));
            after = page["pageInfo"]["endCursor"].clone();
            if page["pageInfo"]["hasNextPage"] == false {
                break;
            }
        }
        let mut products = setup.emulator.products(SHOP).unwrap();
        products.sort_by_key(|product| (product.title.to_lowercase(), product.id));
        if reverse {
            products.reverse();
        }
        let expected: Vec<_> = products.iter().map(|product| product.id.to_string()).collect();
        assert_eq!(found, expected, "reverse: {reverse}");
        assert!(products.iter().any(|product| product.id > 1 << 53), "some ids are too large for a double");
    }
}

#[tokio::test]
async fn subscriptions_are_made_listed_and_ended() {
    let setup = Setup::new(config(), Plan::Standard, 1).await;
    let receiver = Receiver::accepting().await;
    let create = "mutation($topic: WebhookSubscriptionTopic!, $webhook: WebhookSubscriptionInput!) {
        webhookSubscriptionCreate(topic: $topic, webhookSubscription: $webhook) {
            webhookSubscription { id topic uri } userErrors { field message } } }";
    let variables = json!({ "topic": "PRODUCTS_UPDATE", "webhook": { "uri": receiver.url(), "name": "mine" } });
    let made = setup.data(create, variables.clone()).await;
    let id = made["webhookSubscriptionCreate"]["webhookSubscription"]["id"].clone();
    let again = setup.data(create, variables).await;
    let error = json!([{
        "field": ["webhookSubscription", "callbackUrl"],
        "message": "Address for this topic has already been taken",
    }]);
    assert_eq!(again["webhookSubscriptionCreate"]["userErrors"], error);

    setup.merchant_sets_title(setup.some_product().id, "Hat");
    assert_eq!(receiver.wait_for(1).await[0].header("x-shopify-name"), "mine");

    let list = "{ webhookSubscriptions(first: 9, topics: [PRODUCTS_UPDATE]) {
        nodes { id topic endpoint { ... on WebhookHttpEndpoint { callbackUrl } } } } }";
    let expected = json!([{ "id": id, "topic": "PRODUCTS_UPDATE", "endpoint": { "callbackUrl": receiver.url() } }]);
    assert_eq!(setup.data(list, Value::Null).await["webhookSubscriptions"]["nodes"], expected);

    let delete = "mutation($id: ID!) { webhookSubscriptionDelete(id: $id) {
        deletedWebhookSubscriptionId userErrors { field message } } }";
    let gone = setup.data(delete, json!({ "id": id })).await;
    assert_eq!(gone["webhookSubscriptionDelete"]["deletedWebhookSubscriptionId"], id);
    let gone = setup.data(delete, json!({ "id": id })).await;
    assert_eq!(gone["webhookSubscriptionDelete"]["userErrors"][0]["message"], "Webhook subscription does not exist");
}

/// So many points, all of them used.
fn points(count: usize) -> String {
    let fields: Vec<_> = (0..count).map(|number| format!("s{number}: shop {{ id }}")).collect();
    let fields = fields.join(" ");
    format!("{{ {fields} }}")
}

#[tokio::test]
async fn who_asks_for_too_much_is_throttled() {
    let setup = Setup::new(config(), Plan::Standard, 0).await;
    let answer = setup.graphql(&points(1_001), Value::Null).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "MAX_COST_EXCEEDED");
    for _ in 0..2 {
        assert_eq!(setup.graphql(&points(1_000), Value::Null).await["extensions"]["cost"]["actualQueryCost"], 1_000);
    }
    // A thousand points come back in ten seconds, which three requests do not take.
    let answer = setup.graphql(&points(1_000), Value::Null).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "THROTTLED");
    let cost = &answer["extensions"]["cost"];
    assert_eq!((&cost["requestedQueryCost"], &cost["actualQueryCost"]), (&json!(1_000), &Value::Null));
    assert!(cost["throttleStatus"]["currentlyAvailable"].as_f64() < Some(1_000.0));
    // Another app has a budget of its own.
    setup.emulator.add_app("other", "secret").unwrap();
    let token = setup.emulator.install("other", SHOP).unwrap();
    let other = Setup { token, ..setup };
    assert_eq!(other.graphql(&points(1_000), Value::Null).await["errors"], Value::Null);
}

#[tokio::test]
async fn a_budget_refills_with_the_emulators_time() {
    let fast = tradewind_emulator::Config { speed: 100_000, ..config() };
    let setup = Setup::new(fast, Plan::Standard, 0).await;
    for _ in 0..20 {
        assert_eq!(setup.graphql(&points(1_000), Value::Null).await["errors"], Value::Null);
    }
}

#[tokio::test]
async fn who_asks_and_where() {
    let setup = Setup::new(config(), Plan::Plus, 1).await;
    let query = "{ shop { myshopifyDomain plan { shopifyPlus } } currentAppInstallation { app { apiKey } }
        publicApiVersions { handle supported } }";
    let data = setup.data(query, Value::Null).await;
    assert_eq!(data["shop"], json!({ "myshopifyDomain": SHOP, "plan": { "shopifyPlus": true } }));
    assert_eq!(data["currentAppInstallation"]["app"]["apiKey"], APP);
    assert!(data["publicApiVersions"].as_array().unwrap().contains(&json!({ "handle": "2026-07", "supported": true })));
    // What somebody else subscribed to is not seen.
    setup.emulator.add_app("other", "secret").unwrap();
    setup.emulator.install("other", SHOP).unwrap();
    let new = tradewind_emulator::NewSubscription::new(Topic::ShopUpdate, "http://127.0.0.1:1/");
    setup.emulator.subscribe("other", SHOP, new).unwrap();
    let list = "{ webhookSubscriptions(first: 9) { nodes { id } } }";
    assert_eq!(setup.data(list, Value::Null).await["webhookSubscriptions"]["nodes"], json!([]));
}
