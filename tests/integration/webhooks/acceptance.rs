//! Bodies that the platform documents and that others have received: taken, kept byte for byte, kept once, mapped whole.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tradewind_model::{RecordKey, Shop};
use tradewind_tests::open_door::{Bounds, OpenDoor, shop};
use tradewind_tests::serving::{APP, Happened, SECRET, Served};
use tradewind_tests::stores::on_both;
use tradewind_tests::webhook::Request;
use tradewind_tests::{acceptance, host};

const FILES: [&str; 5] = [
    "webhooks/shopify-docs-2025-01.jsonl",
    "webhooks/shopify-docs-2026-07.jsonl",
    "webhooks/hookdeck-shopify-2023-01.jsonl",
    "webhooks/hookdeck-shopify-2024-10.jsonl",
    "webhooks/shopify-exemplars.jsonl",
];

/// A line of a file. What has no topic is a resource, as an update would carry it.
#[derive(Deserialize)]
struct Line<'a> {
    topic: Option<String>,
    resource: Option<String>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// A body with its topic; where it is from, for messages.
struct Sample {
    from: String,
    topic: String,
    body: String,
}

/// All of them; none when this machine does not have the data.
fn samples() -> Option<Vec<Sample>> {
    let mut samples = Vec::new();
    for file in FILES {
        let text = acceptance::text(file).unwrap()?;
        for (at, line) in text.lines().enumerate() {
            let line_: Line<'_> =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{file}:{}: {error}", at + 1));
            let topic = line_.topic.or(line_.resource.map(|resource| format!("{resource}/update"))).unwrap();
            let body = line_.payload.or(line_.body).unwrap().get().to_owned();
            samples.push(Sample { from: format!("{file}:{}", at + 1), topic, body });
        }
    }
    let raw = "webhooks/raw/orders-create.signed.json";
    samples.push(Sample {
        from: raw.to_owned(),
        topic: "orders/create".to_owned(),
        body: acceptance::text(raw).unwrap()?,
    });
    Some(samples)
}

/// The shop of each sample: one of its own, and the same for equal bodies, which the platform sends under several topics.
fn shops(samples: &[Sample]) -> Vec<String> {
    let first = |sample: &Sample| samples.iter().position(|other| other.body == sample.body).unwrap();
    samples.iter().map(|sample| shop(first(sample))).collect()
}

/// The request of a sample in a shop.
fn request(at: usize, sample: &Sample, shop: &str) -> Request {
    Request::webhook(&Served::path(), SECRET, shop, &format!("w-{at}"), sample.body.as_bytes())
        .with("X-Shopify-Topic", sample.topic.as_bytes())
}

#[tokio::test]
async fn every_published_body_is_taken_and_kept_as_it_came() {
    let Some(samples) = samples() else {
        println!("{}", acceptance::skipped("webhooks::acceptance::every_published_body_is_taken_and_kept_as_it_came"));
        return;
    };
    assert!(samples.len() > 400, "{}", samples.len());
    let shops = shops(&samples);
    let topics: BTreeSet<_> = samples.iter().map(|sample| sample.topic.clone()).collect();
    on_both(async |place| {
        let bounds = Bounds { shops: samples.len(), ..Bounds::default() };
        let door = OpenDoor::open(&place, topics.clone(), bounds).await;
        for (at, sample) in samples.iter().enumerate() {
            let answer = request(at, sample, &shops[at]).send(door.address()).await;
            assert_eq!(answer.status, 200, "{}: {answer:?}", sample.from);
        }
        let parked = door.seen.idle(&door.store).await;
        for (at, sample) in samples.iter().enumerate() {
            let [seq] = door.store.find_delivery(&format!("w-{at}")).await.unwrap()[..] else {
                panic!("{}", sample.from)
            };
            let kept = door.store.delivery(seq).await.unwrap().unwrap();
            assert_eq!(kept.body, sample.body.as_bytes(), "{}", sample.from);
            assert_eq!((kept.topic.as_str(), &*kept.shop.id), (sample.topic.as_str(), shops[at].as_str()));
        }
        // The platform sends them once more.
        for (at, sample) in samples.iter().enumerate() {
            assert_eq!(request(at, sample, &shops[at]).send(door.address()).await.status, 200, "{}", sample.from);
        }
        let duplicates = door.seen.all().iter().filter(|one| **one == Happened::Answered("duplicate")).count();
        assert_eq!(duplicates, samples.len());
        assert_eq!(door.seen.idle(&door.store).await.len(), parked.len());
        assert_eq!(door.seen.delivered().len(), samples.len());
        let unreadable: Vec<_> = parked.iter().map(|job| (&*job.shop.id, job.reason.as_deref(), &job.error)).collect();
        assert!(unreadable.is_empty(), "{unreadable:#?}");
        let mut mapped = 0;
        for (at, sample) in samples.iter().enumerate() {
            let model = match sample.topic.as_str() {
                "products/create" | "products/update" => "shopify/product",
                "shop/update" => "shopify/shop",
                _ => continue,
            };
            let store = Stored { door: &door, shop: Shop::new(APP, shops[at].as_str()), from: &sample.from };
            store.assert_whole(model, None, &sample.body).await;
            mapped += 1;
        }
        assert!(mapped >= 10, "{mapped}");
        door.close().await;
    })
    .await;
}

/// What of a payload is said elsewhere: which variants there are, by the variants.
const IGNORED: [(&str, &str); 2] = [("shopify/product", "variant_gids"), ("shopify/product", "variant_ids")];

/// Whose `null` does not say that there is nothing.
const HIDDEN: [&str; 7] =
    ["created_at", "updated_at", "domain", "myshopify_domain", "email", "customer_email", "phone"];

/// A product's lists, which are records of their own.
const CHILDREN: [(&str, &str); 3] = [
    ("options", "shopify/product-option"),
    ("variants", "shopify/product-variant"),
    ("images", "shopify/product-image"),
];

struct Stored<'a> {
    door: &'a OpenDoor,
    shop: Shop,
    from: &'a str,
}

impl Stored<'_> {
    /// Every member of a payload is in the record, in a child, or is ignored on purpose.
    async fn assert_whole(&self, model: &str, parent: Option<&str>, payload: &str) {
        let raw: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(payload).unwrap();
        let id = raw["id"].get().trim_matches('"').to_owned();
        let key = RecordKey::new(model, id.as_str());
        let stored = self.door.store.record(&self.shop, &key).await.unwrap();
        let stored = stored.unwrap_or_else(|| panic!("{}: `{key}` is not there", self.from));
        let record: Map<String, Value> = serde_json::from_str(stored.doc.as_str()).unwrap();
        if let Some(parent) = parent {
            assert_eq!(record["product"], parent, "{}: {key}", self.from);
        }
        for (member, raw) in raw {
            let value: Value = serde_json::from_str(raw.get()).unwrap();
            let child = CHILDREN.iter().find(|(list, _)| model == "shopify/product" && *list == member);
            if let Some((_, child)) = child {
                let children: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap();
                let ids: Vec<Value> = serde_json::from_str::<Vec<Value>>(raw.get()).unwrap();
                let ids: BTreeSet<_> = ids.iter().map(|one| one["id"].to_string()).collect();
                if ids.len() < children.len() {
                    // Whoever published it has made all ids the same.
                    continue;
                }
                for one in children {
                    Box::pin(self.assert_whole(child, Some(&id), one.get())).await;
                }
                continue;
            }
            let is_ignored = member == "id" || IGNORED.contains(&(model, member.as_str()));
            if is_ignored || value.is_null() && HIDDEN.contains(&member.as_str()) {
                continue;
            }
            let (field, expected) = field_of(&member, raw.get(), value);
            let Some(found) = record.get(&field) else {
                panic!("{}: `{member}` of {key} is lost: {}", self.from, stored.doc.as_str());
            };
            assert!(is_same(&expected, found), "{}: `{member}` of {key}: {expected} became {found}", self.from);
        }
    }
}

/// The field of a member, and the value that it should have.
fn field_of(member: &str, raw: &str, value: Value) -> (String, Value) {
    let id = |raw: &str| json!(raw.trim_matches('"'));
    match member {
        "body_html" => ("body".to_owned(), value),
        "created_at" => ("shopifyCreatedAt".to_owned(), value),
        "updated_at" => ("shopifyUpdatedAt".to_owned(), value),
        "src" => ("source".to_owned(), value),
        "product_id" | "image_id" | "inventory_item_id" | "primary_location_id" => {
            let field = camel_case(member.trim_end_matches("_id"));
            (field, if value.is_null() { value } else { id(raw) })
        }
        "image" => {
            let image: Option<std::collections::BTreeMap<String, &RawValue>> = serde_json::from_str(raw).unwrap();
            ("image".to_owned(), image.map_or(Value::Null, |image| id(image["id"].get())))
        }
        "tags" => {
            let words =
                value.as_str().map(|words| words.split(',').map(str::trim).filter(|word| !word.is_empty()).collect());
            ("tags".to_owned(), words.map_or(value.clone(), |words: Vec<&str>| json!(words)))
        }
        other => (camel_case(other), value),
    }
}

/// Equal, or the same instant, or nothing.
fn is_same(expected: &Value, found: &Value) -> bool {
    let time = |value: &Value| tradewind_model::value::date_time_us(value.as_str()?);
    expected == found || time(expected).is_some() && time(expected) == time(found)
}

fn camel_case(member: &str) -> String {
    let mut words = member.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        name + &head.to_uppercase() + tail
    })
}

/// Numbers beyond what a double holds are kept digit by digit, as ids and as values.
#[tokio::test]
async fn large_numbers_are_exact() {
    on_both(async |place| {
        let door = OpenDoor::open(&place, ["products/update".to_owned()], Bounds::default()).await;
        let large = "18446744073709551615";
        let body = format!(
            r#"{{"id":{large},"title":"Hat","some_id":9007199254740993,"amount":1.10,"image":{{"id":9007199254740995}},"variants":[{{"id":9007199254740997,"inventory_item_id":9007199254740999,"weight":0.1}}]}}"#
        );
        assert_eq!(Served::webhook("w-1", body.clone()).send(door.address()).await.status, 200);
        assert_eq!(door.seen.idle(&door.store).await, []);
        let record = async |model: &str, id: &str| {
            let found = door.store.record(&Shop::new(APP, shop(0)), &RecordKey::new(model, id)).await.unwrap();
            found.unwrap_or_else(|| panic!("{model} {id}")).doc
        };
        let product = record("shopify/product", large).await;
        for part in [r#""someId":9007199254740993"#, r#""amount":1.10"#, r#""image":"9007199254740995""#] {
            assert!(product.as_str().contains(part), "{part}: {product}");
        }
        let variant = record("shopify/product-variant", "9007199254740997").await;
        assert_eq!(host::value(&variant)["product"], large);
        assert!(variant.as_str().contains(r#""inventoryItem":"9007199254740999""#), "{variant}");
        door.close().await;
    })
    .await;
}
