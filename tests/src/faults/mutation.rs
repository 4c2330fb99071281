//! Valid input, damaged by a seeded hand: what the parts `ingress` and `mapper` feed.

use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use serde_json::{Map, Value, json};

/// Values that somebody did not think of.
const ODD: [&str; 16] = [
    "null",
    "true",
    "-1",
    "0",
    "18446744073709551616",
    "9007199254740993",
    "1e400",
    "-0.0",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"gid://shopify/ProductVariant/\"",
    "\"9999-12-31T23:59:60Z\"",
    "[]",
    "{}",
    "[[[[{\"id\":[]}]]]]",
];

/// A product as a shop tells of it, with everything that belongs to it.
pub(super) fn product(id: u64) -> Value {
    let variant = |at: u64| {
        json!({ "id": id + at, "product_id": id, "title": "S / red", "price": "19.90", "image_id": null, "position": at,
            "updated_at": "2026-05-01T10:00:00-04:00", "created_at": null, "inventory_item_id": id + 100 + at })
    };
    let gid = |at: u64| {
        let gid = format!("gid://shopify/ProductVariant/{}", id + at);
        json!({ "admin_graphql_api_id": gid, "updated_at": "2026-05-01T14:00:00.000Z" })
    };
    json!({ "id": id, "title": "Hat", "body_html": "<p>Straw & ribbon</p>", "tags": "summer, straw", "status": "active",
        "created_at": "2026-04-30T10:00:00Z", "updated_at": "2026-05-01T10:00:00Z", "published_at": null,
        "image": { "id": id + 50, "src": "a.png" }, "images": [{ "id": id + 50, "variant_ids": [id + 1], "src": "a.png" }],
        "options": [{ "id": id + 60, "product_id": id, "name": "Size", "position": 1, "values": ["S", "M"] }],
        "variants": [variant(1), variant(2)], "variant_gids": [gid(1), gid(2), gid(3)] })
}

/// The text of a value in which some things are others.
pub(super) fn mutated(value: &Value, rng: &mut StdRng) -> String {
    let mut value = value.clone();
    let mut marks = 0;
    for _ in 0..rng.random_range(0..4) {
        let depth = rng.random_range(1..4);
        mutate(&mut value, depth, &mut marks, rng);
    }
    let mut text = value.to_string();
    for mark in 0..marks {
        text = text.replacen(&mark_of(mark), ODD.choose(rng).unwrap_or(&"null"), 1);
    }
    text
}

/// A text that stands for something that no `Value` holds.
fn mark_of(mark: usize) -> String {
    format!("\"~odd {mark}~\"")
}

fn mutate(value: &mut Value, depth: usize, marks: &mut usize, rng: &mut StdRng) {
    let inner = match value {
        Value::Object(members) if depth > 0 && !members.is_empty() => {
            let at = rng.random_range(0..members.len());
            if rng.random_ratio(1, 8) {
                renamed(members, at, rng);
                return;
            }
            members.values_mut().nth(at)
        }
        Value::Array(items) if depth > 0 && !items.is_empty() => {
            let at = rng.random_range(0..items.len());
            if rng.random_ratio(1, 8) {
                let again = items[at].clone();
                items.extend(std::iter::repeat_n(again, rng.random_range(1..300)));
                return;
            }
            items.get_mut(at)
        }
        _ => None,
    };
    if let Some(inner) = inner {
        mutate(inner, depth - 1, marks, rng);
    } else {
        *value = json!(format!("~odd {marks}~"));
        *marks += 1;
    }
}

/// A member under another name, or gone.
fn renamed(members: &mut Map<String, Value>, at: usize, rng: &mut StdRng) {
    let Some(name) = members.keys().nth(at).cloned() else { return };
    let value = members.remove(&name).unwrap_or_default();
    let names = ["", "_", "__proto__", "a_b__c_", "ünïcode_ñame", "id", "product_id", "variants", "x\u{0}y"];
    if let Some(other) = names.choose(rng).filter(|_| rng.random_ratio(2, 3)) {
        members.insert((*other).to_owned(), value);
    }
}

/// Bytes with some of them flipped, cut off, doubled, or pushed aside by others.
pub(super) fn damaged(bytes: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..rng.random_range(1..4) {
        if bytes.is_empty() {
            return bytes;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..4) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes.truncate(at),
            2 => {
                let end = rng.random_range(at..bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let odd =
                    [b"\r\n".as_slice(), b"\0", b"\xff", b"{", b"]", b"\"", b"\r\nTransfer-Encoding: chunked", b": "];
                let odd = odd.choose(rng).copied().unwrap_or_default();
                bytes.splice(at..at, odd.iter().copied());
            }
        }
    }
    bytes
}

/// As much of an input as a person looks at.
pub(super) fn start_of(text: &str) -> String {
    text.chars().take(600).collect()
}
