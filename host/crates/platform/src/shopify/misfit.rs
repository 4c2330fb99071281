//! Bodies that are signed and yet are not what their headers say.
//!
//! The signature covers the body alone: whoever captures one may send it again with other headers. A body that names its shop
//! or its kind says so if that happens. The platform's own test events look the same, so such a delivery is kept and parked,
//! never refused. Bodies that are equal under several topics, as those of `orders/create` and `orders/paid`, are normal.

use tradewind_model::Json;

use super::models::{COMMON_MEMBERS, Table};
use super::webhook::shop_of;
use crate::mapping::{Misfit, Report};

/// The resource of a topic, which is the part before the slash, and the type in the global ids of its bodies.
const TYPES: [(&str, &str); 10] = [
    ("collections", "Collection"),
    ("customers", "Customer"),
    ("draft_orders", "DraftOrder"),
    ("fulfillments", "Fulfillment"),
    ("inventory_items", "InventoryItem"),
    ("inventory_levels", "InventoryLevel"),
    ("locations", "Location"),
    ("orders", "Order"),
    ("products", "Product"),
    ("refunds", "Refund"),
];

/// Members of the body of a product's deletion. 4: the documented one has one, `id`.
const DELETION_MEMBERS_MAX: usize = 4;

/// Says why a body is not one of its shop or of its topic; none when nothing speaks against it.
pub(super) fn misfit(report: &Report<'_>, members: &[(String, Json)]) -> Option<Misfit> {
    let member = |name: &str| members.iter().find(|(member, _)| member == name).map(|(_, value)| value);
    let named = shop_of(member);
    if let Some(named) = named.as_ref().filter(|named| **named != report.shop) {
        return Some(Misfit::OtherShop { named: named.clone() });
    }
    let shape = |reason: String| Some(Misfit::WrongShape { reason });
    let (resource, event) = report.topic.split_once('/').unwrap_or((report.topic, ""));
    let kind = member("admin_graphql_api_id").and_then(|id| id.to::<String>().ok());
    let kind = kind.as_deref().and_then(|id| id.strip_prefix("gid://shopify/")?.split('/').next());
    let expected = TYPES.iter().find(|(of, _)| *of == resource).map(|(_, kind)| *kind);
    match (resource, kind, expected) {
        ("shop", Some(kind), _) if kind != "Shop" => return shape(format!("it is a `{kind}`, no shop")),
        ("shop", ..) if event == "update" && member("myshopify_domain").is_none() => {
            return shape("a shop has a `myshopify_domain`, this body has none".to_owned());
        }
        ("products", ..) if member("myshopify_domain").is_some() => {
            return shape("it is a shop, no product".to_owned());
        }
        (_, Some(kind), Some(expected)) if kind != expected => {
            return shape(format!("it is a `{kind}`, no `{expected}`"));
        }
        _ => {}
    }
    let is_deletion = report.topic.ends_with("/delete");
    if let Some(table) = Table::of_topic(report.topic).filter(|_| kind.is_none() && !is_deletion)
        && members.iter().any(|(name, _)| !COMMON_MEMBERS.contains(&name.as_str()))
        && !members.iter().any(|(name, _)| table.marks(name))
    {
        return shape(format!("none of its members is one of `{}`", table.model));
    }
    if report.topic == "products/delete" && members.len() > DELETION_MEMBERS_MAX {
        return shape(format!("a deletion has an id and little else, this body has {} members", members.len()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(topic: &str, body: &str) -> Option<&'static str> {
        let body = Json::parse(body).unwrap();
        let report = Report { topic, shop: "hats.myshopify.com", triggered_ms: None, body: &body };
        misfit(&report, &body.members().unwrap()).map(|misfit| match misfit {
            Misfit::OtherShop { .. } => "other shop",
            Misfit::WrongShape { .. } => "wrong shape",
        })
    }

    #[test]
    fn a_body_is_of_its_shop_and_topic() {
        let product = r#"{"id":1,"admin_graphql_api_id":"gid:\/\/shopify\/Product\/1","title":"Hat"}"#;
        let order = r#"{"id":1,"admin_graphql_api_id":"gid://shopify/Order/1","note":""}"#;
        let shop = r#"{"id":1,"myshopify_domain":"hats.myshopify.com","domain":"hats.example"}"#;
        for (topic, body) in [
            ("products/update", product),
            ("products/update", r#"{"id":1,"title":"Hat"}"#),
            ("products/delete", r#"{"id":1}"#),
            ("orders/create", order),
            ("orders/paid", order),
            ("orders/edited", r#"{"order_edit":{"id":1}}"#),
            ("shop/update", shop),
            ("app/uninstalled", shop),
            ("shop/redact", r#"{"shop_id":1,"shop_domain":"Hats.myshopify.com"}"#),
            ("something/else", product),
            // Parts, as subscriptions with chosen fields send them.
            ("products/update", r#"{"id":1}"#),
            ("products/update", r#"{"id":1,"updated_at":"2026-05-01T10:00:00Z","metafields":[]}"#),
            ("products/update", r#"{"id":1,"variants":[]}"#),
            ("products/update", r#"{"id":1,"variant_gids":[],"a_new_member":7}"#),
            ("products/update", r#"{"id":1,"admin_graphql_api_id":"gid://shopify/Product/1","a_new_member":7}"#),
        ] {
            assert_eq!(of(topic, body), None, "{topic} {body}");
        }
        for (topic, body) in [
            ("shop/update", product),
            ("shop/update", r#"{"id":1,"title":"Hat"}"#),
            ("products/update", shop),
            ("products/update", order),
            ("orders/create", product),
            // A cart, a domain and a payment have no global id.
            (
                "products/update",
                r#"{"id":"c1","token":"c1","line_items":[],"note":null,"updated_at":"x","created_at":"x"}"#,
            ),
            ("products/create", r#"{"id":1,"host":"hats.example","ssl_enabled":true}"#),
            ("products/update", r#"{"id":1,"order_id":2,"amount":"1.00","currency":"EUR"}"#),
            ("products/delete", product.replace('}', r#","a":1,"b":2}"#).as_str()),
        ] {
            assert_eq!(of(topic, body), Some("wrong shape"), "{topic} {body}");
        }
        for topic in ["shop/update", "products/update", "app/uninstalled", "shop/redact"] {
            for member in ["myshopify_domain", "shop_domain"] {
                let body = format!(r#"{{"id":1,"{member}":"caps.myshopify.com"}}"#);
                assert_eq!(of(topic, &body), Some("other shop"), "{topic}");
            }
        }
    }
}
