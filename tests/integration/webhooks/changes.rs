//! What a shop may tell: products with everything that belongs to them, in any order, and what is no change at all.

use serde_json::{Value, json};
use tradewind_emulator::{ProductEdit, VariantEdit};
use tradewind_tests::serving::{Happened, SHOP};
use tradewind_tests::stores::on_both;

use super::{Way, heard, probe};

fn variant(choice: &str, price: &str) -> VariantEdit {
    let (choices, price) = (Some(vec![choice.to_owned()]), Some(price.to_owned()));
    VariantEdit { choices, price, ..VariantEdit::default() }
}

fn hat(variants: Vec<VariantEdit>) -> ProductEdit {
    ProductEdit {
        title: Some("Hat".to_owned()),
        options: Some(vec![("Size".to_owned(), Vec::new())]),
        variants,
        ..ProductEdit::default()
    }
}

#[tokio::test]
async fn variants_come_change_and_go_with_their_product() {
    on_both(async |place| {
        let way = Way::new(&place, Vec::new(), 0).await;
        let sizes = ["S", "M", "L"].map(|size| variant(size, "10.00")).to_vec();
        let made = way.emulator.create_product(SHOP, &hat(sizes)).unwrap();
        way.settled_well().await;
        way.assert_mirrored().await;

        let [small, medium, large] = &made.variants[..] else { panic!("{made:#?}") };
        let changed = VariantEdit { id: Some(small.id), price: Some("12.50".to_owned()), ..VariantEdit::default() };
        let kept = VariantEdit { id: Some(large.id), ..VariantEdit::default() };
        let variants = vec![changed, kept, variant("XL", "15.00")];
        way.edit(made.id, &ProductEdit { variants, only_these_variants: true, ..ProductEdit::default() });
        way.settled_well().await;
        let now = way.product(made.id);
        assert_eq!(now.variants.len(), 3);
        way.assert_mirrored().await;
        let of = async |id: u64| way.served.record("shopify/product-variant", &id.to_string()).await;
        assert_eq!(of(small.id).await["price"], "12.50");
        assert_eq!(of(medium.id).await, Value::Null);

        way.emulator.delete_product(SHOP, made.id).unwrap();
        way.settled_well().await;
        way.assert_gone(&now).await;
        // A late report of it does not bring it back.
        let late = json!({ "id": made.id, "title": "Ghost", "updated_at": "2023-11-14T22:13:20Z", "variants": [{ "id": small.id }] });
        way.tell("late", "products/update", late.to_string()).await;
        way.settled_well().await;
        way.assert_gone(&now).await;
        assert_eq!(way.served.seen.delivered().pop().as_deref(), Some("stale"));
        way.stop().await;
    })
    .await;
}

/// A webhook has a hundred variants in full. The others are asked for.
#[tokio::test]
async fn a_product_with_many_variants_is_read_whole() {
    on_both(async |place| {
        let way = Way::new(&place, Vec::new(), 0).await;
        let variants = (0..150).map(|size| variant(&size.to_string(), "10.00")).collect();
        let made = way.emulator.create_product(SHOP, &hat(variants)).unwrap();
        way.settled_well().await;
        assert_eq!(way.product(made.id).variants.len(), 150);
        way.assert_mirrored().await;
        let asked = |way: &Way| {
            let is_asking =
                |one: &&Happened| matches!(one, Happened::Called { what, .. } if what == "TradewindVariants");
            way.served.seen.all().iter().filter(is_asking).count()
        };
        assert_eq!(asked(&way), 1);

        // Nothing is asked for again while they are the same. What has changed is taken from the payload where it is whole; of
        // those that it only names, it has the time in whole seconds, and a second change within one cannot be seen.
        way.set_title(made.id, "Cap");
        way.settled_well().await;
        assert_eq!(asked(&way), 1);
        let first = made.variants.first().unwrap().id;
        let changed = VariantEdit { id: Some(first), price: Some("99.00".to_owned()), ..VariantEdit::default() };
        way.edit(made.id, &ProductEdit { variants: vec![changed], ..ProductEdit::default() });
        way.settled_well().await;
        way.assert_mirrored().await;

        let whole = way.product(made.id);
        way.emulator.delete_product(SHOP, made.id).unwrap();
        way.settled_well().await;
        way.assert_gone(&whole).await;
        way.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_shop_is_mirrored() {
    on_both(async |place| {
        let way = Way::new(&place, Vec::new(), 0).await;
        way.emulator.rename_shop(SHOP, "Fine hats").unwrap();
        way.settled_well().await;
        let id = way.ask("GET", "shop.json", "").await["shop"]["id"].to_string();
        let shop = way.served.record("shopify/shop", &id).await;
        assert_eq!((&shop["name"], &shop["myshopifyDomain"]), (&json!("Fine hats"), &json!(SHOP)));
        way.stop().await;
    })
    .await;
}

/// Three states and a deletion, in whatever order they come: the newest stays.
#[tokio::test]
async fn the_newest_stays_in_whatever_order() {
    on_both(async |place| {
        let way = Way::silent(&place, Vec::new(), 0).await;
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for (at, order) in orders.iter().enumerate() {
            let id = 9_007_199_254_740_993_u64 + u64::try_from(at).unwrap();
            for step in order {
                let body = json!({ "id": id, "title": format!("state {step}"), "updated_at": format!("2023-11-14T10:00:0{step}Z"),
                    "variants": [{ "id": id, "price": format!("{step}.00"), "updated_at": format!("2023-11-14T10:00:0{step}Z") }] });
                way.tell(&format!("w-{id}-{step}"), "products/update", body.to_string()).await;
                way.settled_well().await;
            }
            let id = id.to_string();
            assert_eq!(way.served.record("shopify/product", &id).await["title"], "state 2", "{order:?}");
            assert_eq!(way.served.record("shopify/product-variant", &id).await["price"], "2.00", "{order:?}");

            // Older than what is there, a deletion is late; newer, it is final for what is older.
            let delete = json!({ "id": id.parse::<u64>().unwrap() }).to_string();
            for (second, is_there) in [("01", true), ("03", false)] {
                let request = tradewind_tests::serving::Served::webhook(&format!("d-{id}-{second}"), delete.clone())
                    .with("X-Shopify-Topic", "products/delete")
                    .with("X-Shopify-Triggered-At", format!("2023-11-14T10:00:{second}Z"));
                assert_eq!(request.send(way.served.host.public()).await.status, 200);
                way.settled_well().await;
                let record = way.served.record("shopify/product", &id).await;
                assert_eq!(record.is_object(), is_there, "{order:?} {second}: {record:#}");
            }
            let body = json!({ "id": id.parse::<u64>().unwrap(), "title": "again", "updated_at": "2023-11-14T10:00:04Z" });
            way.tell(&format!("w-{id}-again"), "products/create", body.to_string()).await;
            way.settled_well().await;
            assert_eq!(way.served.record("shopify/product", &id).await["title"], "again");
        }
        way.stop().await;
    })
    .await;
}

/// Some members are null because the reader may not see them, or the platform does not say them here.
#[tokio::test]
async fn what_is_hidden_is_no_change() {
    on_both(async |place| {
        let way = Way::silent(&place, vec![probe(&[])], 0).await;
        let body = |second: u32, created: Value| {
            json!({ "id": 1, "title": "Hat", "created_at": created, "updated_at": format!("2026-05-01T10:00:0{second}Z"),
                "variants": [{ "id": 2, "price": "1.00", "created_at": created, "updated_at": created }] })
            .to_string()
        };
        way.tell("w-1", "products/create", body(0, json!("2026-05-01T09:00:00Z"))).await;
        way.settled_well().await;
        way.tell("w-2", "products/update", body(1, Value::Null)).await;
        way.settled_well().await;
        let last = heard(&way).pop().unwrap();
        assert_eq!(last["changes"], json!({ "shopifyUpdatedAt": "external" }));
        for (model, id) in [("shopify/product", "1"), ("shopify/product-variant", "2")] {
            let record = way.served.record(model, id).await;
            assert_eq!(record["shopifyCreatedAt"], "2026-05-01T09:00:00.000Z", "{model}");
        }
        // Where a null says that there is nothing, it is a change.
        way.tell("w-3", "products/update", json!({ "id": 1, "title": null, "updated_at": "2026-05-01T10:00:02Z" }).to_string()).await;
        way.settled_well().await;
        assert_eq!(way.served.record("shopify/product", "1").await["title"], Value::Null);
        assert_eq!(heard(&way).pop().unwrap()["changes"]["title"], "external");
        way.stop().await;
    })
    .await;
}
