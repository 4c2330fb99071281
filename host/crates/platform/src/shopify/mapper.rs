//! From a webhook's body to records.
//!
//! Everything that came becomes a field, in the payload's own spelling: numbers keep their digits, so ids beyond 2^53 stay
//! exact. Products come with their options, variants and images, which are records of their own.
//!
//! The platform's `updated_at` has whole seconds. Two changes within one are told apart by when each happened, which the
//! headers say to the nanosecond: otherwise the echo of a plugin's fast answer would count as stale.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ring::digest;
use serde_json::value::RawValue;
use tradewind_model::value::date_time_us;
use tradewind_model::{InvalidJson, Json, RecordKey};

use super::misfit::misfit;
use super::models::{Nested, Of, TABLES, Table};
use crate::mapping::{Absent, Children, Family, Incoming, Mapper, Mirrored, Report, Saved, Unmappable, Unmapped};

/// Records of a list that come whole, the others by id alone: the platform's bound for variants.
const WHOLE_MAX: usize = 100;

/// Reads the bodies of webhooks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shopify;

impl Mapper for Shopify {
    fn map(&self, report: &Report<'_>) -> Result<Vec<Incoming>, Unmapped> {
        let members = Members::of(report.body)?;
        if let Some(misfit) = misfit(report, &members.members) {
            return Err(misfit.into());
        }
        let Some(table) = Table::of_topic(report.topic) else { return Ok(Vec::new()) };
        let id = members.id()?;
        if report.topic.ends_with("/delete") {
            let deleted_us = report.triggered_ms.map(|ms| ms.saturating_mul(1_000));
            return Ok(vec![Incoming::Deleted { model: table.model.to_owned(), id, deleted_us }]);
        }
        Ok(vec![Incoming::Saved(Reader::of(report).record(table, &members, id, None)?)])
    }

    fn family(&self, report: &Report<'_>, parent: &Saved, children: &Children) -> Result<Family, Unmappable> {
        Reader::of(report).family(parent, children)
    }
}

/// The models that are mirrored, with their topics.
pub fn models() -> Vec<Mirrored> {
    TABLES.iter().map(|table| Mirrored { model: table.schema(), topics: table.topics }).collect()
}

/// The record that a webhook is about, for the order of its work. Holds the whole body to be a JSON object and keeps
/// nothing of it but the `id`. None when no model mirrors the topic, or the body has no id.
pub fn subject(topic: &str, body: &str) -> Result<Option<RecordKey>, InvalidJson> {
    #[derive(serde::Deserialize)]
    struct Subject<'a> {
        #[serde(borrow, default)]
        id: Option<&'a RawValue>,
    }
    // A list would be read as the members in their order.
    if !body.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(InvalidJson { reason: "it is not an object".to_owned() });
    }
    let subject: Subject<'_> = serde_json::from_str(body).map_err(|error| InvalidJson { reason: error.to_string() })?;
    let id = subject.id.and_then(|id| id_text(id.get()));
    Ok(Table::of_topic(topic).zip(id).map(|(table, id)| RecordKey::new(table.model, id)))
}

/// A payload's object.
struct Members<'a> {
    whole: &'a Json,
    members: Vec<(String, Json)>,
}

impl<'a> Members<'a> {
    fn of(whole: &'a Json) -> Result<Self, Unmappable> {
        let members = whole.members().ok_or_else(|| unmappable("the body is not a JSON object".to_owned()))?;
        Ok(Self { whole, members })
    }

    fn get(&self, name: &str) -> Option<&Json> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| value)
    }

    fn id(&self) -> Result<String, Unmappable> {
        let id = self.get("id").and_then(|id| id_text(id.as_str()));
        id.ok_or_else(|| unmappable(format!("`id` is not a number or a text in {}", start_of(self.whole))))
    }

    fn time_us(&self, name: &str) -> Option<i64> {
        date_time_us(&self.get(name)?.to::<String>().ok()?)
    }
}

struct Reader {
    triggered_us: Option<i64>,
}

impl Reader {
    fn of(report: &Report<'_>) -> Self {
        Self { triggered_us: report.triggered_ms.map(|ms| ms.saturating_mul(1_000)) }
    }

    fn record(
        &self,
        table: &'static Table,
        members: &Members<'_>,
        id: String,
        parent: Option<(&Saved, &Children)>,
    ) -> Result<Saved, Unmappable> {
        let mut values: Vec<(String, Json)> = Vec::with_capacity(members.members.len());
        for (member, value) in &members.members {
            let is_child = table.children.iter().any(|nested| nested.member == member);
            let is_silent = value.is_null() && table.hidden.contains(&member.as_str());
            if member == "id" || is_child || is_silent || table.ignored.contains(&member.as_str()) {
                continue;
            }
            match table.field(member) {
                Some((field, of)) => values.push((field.to_owned(), converted(of, value))),
                None => values.push((table.free_name(camel_case(member)), value.clone())),
            }
        }
        let own_us = members.time_us("updated_at");
        if let Some((parent, children)) = parent
            && !values.iter().any(|(field, _)| *field == children.by)
        {
            values.push((children.by.clone(), Json::of(&parent.id).map_err(|error| unmappable(error.to_string()))?));
        }
        // What has no time of its own is as old as what it came with.
        let updated_us = match (own_us, parent) {
            (Some(second), _) => Some(self.within_second(second)),
            (None, Some((parent, _))) => parent.updated_us,
            (None, None) => self.triggered_us,
        };
        let children = table.children.iter().filter_map(|nested| children(nested, members)).collect();
        let values = Json::object(values.iter().map(|(name, value)| (name.as_str(), value)));
        Ok(Saved { model: table.model.to_owned(), id, values, updated_us, children })
    }

    /// A time of whole seconds, with the part of the second in which it happened; at its end when that is not known to be
    /// within it.
    fn within_second(&self, second_us: i64) -> i64 {
        if second_us % 1_000_000 != 0 {
            return second_us;
        }
        let part = self.triggered_us.map_or(0, |triggered_us| triggered_us.saturating_sub(second_us).clamp(0, 999_999));
        second_us + part
    }

    fn family(&self, parent: &Saved, children: &Children) -> Result<Family, Unmappable> {
        let Some(table) = Table::of(&children.model) else { return Ok(Family::default()) };
        let mut family = Family::default();
        for item in items(&children.list, &children.field)? {
            let members = Members::of(&item)?;
            let id = members.id()?;
            family.records.push(self.record(table, &members, id, Some((parent, children)))?);
        }
        let Some(rest) = &children.rest else {
            // A full list that says nothing of a rest may have one.
            let has_rest = Table::of(&parent.model).is_some_and(|table| table.has_rest(&children.field));
            family.may_be_cut = has_rest && family.records.len() >= WHOLE_MAX;
            return Ok(family);
        };
        let whole: HashSet<String> = family.records.iter().map(|record| record.id.clone()).collect();
        for item in items(rest, &children.field)? {
            let members = Members::of(&item)?;
            let gid = members.get("admin_graphql_api_id").and_then(|gid| gid.to::<String>().ok());
            let Some(id) = gid.as_deref().and_then(|gid| gid.rsplit('/').next()) else { continue };
            if !whole.contains(id) {
                let updated_us = members.time_us("updated_at").map(|second| self.within_second(second));
                family.absent.push(Absent { id: id.to_owned(), updated_us });
            }
        }
        Ok(family)
    }
}

/// What came of one of a record's lists; none when the list did not come, which says nothing of it.
fn children(nested: &'static Nested, members: &Members<'_>) -> Option<Children> {
    let list = members.get(nested.member).filter(|list| !list.is_null())?;
    let rest = nested.rest.and_then(|rest| members.get(rest)).filter(|rest| !rest.is_null());
    let mut digest = digest::Context::new(&digest::SHA256);
    digest.update(list.as_str().as_bytes());
    digest.update(rest.map_or("", Json::as_str).as_bytes());
    Some(Children {
        model: nested.model.to_owned(),
        field: nested.member.to_owned(),
        by: nested.by.to_owned(),
        // Half of it tells as many lists apart as anybody will ever send.
        digest: BASE64.encode(&digest.finish().as_ref()[..16]),
        list: list.clone(),
        rest: rest.cloned(),
    })
}

fn items(list: &Json, member: &str) -> Result<Vec<Json>, Unmappable> {
    let raw: Vec<&RawValue> = list.to().map_err(|_| unmappable(format!("`{member}` is not a list")))?;
    raw.into_iter().map(|item| Json::parse(item.get()).map_err(|error| unmappable(error.to_string()))).collect()
}

/// A value as its field holds it. What does not fit is left as it came: the field's type says so when it is stored.
fn converted(of: Of, value: &Json) -> Json {
    let text = |text: &str| Json::of(text).ok();
    let converted = match of {
        Of::Id(_) => {
            let inner = value.member("id");
            id_text(inner.as_ref().unwrap_or(value).as_str()).and_then(|id| text(&id))
        }
        Of::Words => value.to::<String>().ok().and_then(|words| {
            let words: Vec<_> = words.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
            Json::of(&words).ok()
        }),
        Of::Text | Of::Integer | Of::Number | Of::Boolean | Of::Time | Of::Json => None,
    };
    converted.unwrap_or_else(|| value.clone())
}

/// A payload member's value as the field of the model holds it.
pub(super) fn as_field(model: &str, member: &str, value: &Json) -> Json {
    match Table::of(model).and_then(|table| table.field(member)) {
        Some((_, of)) => converted(of, value),
        None => value.clone(),
    }
}

/// An id as text: digits, or what a string says.
fn id_text(json: &str) -> Option<String> {
    if !json.is_empty() && json.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(json.to_owned());
    }
    serde_json::from_str::<String>(json).ok().filter(|id| !id.is_empty())
}

fn camel_case(member: &str) -> String {
    let mut name = String::with_capacity(member.len());
    let mut up = false;
    for c in member.chars() {
        if c == '_' && !name.is_empty() {
            up = true;
        } else if std::mem::take(&mut up) {
            name.extend(c.to_uppercase());
        } else {
            name.push(c);
        }
    }
    name
}

fn start_of(json: &Json) -> String {
    json.as_str().chars().take(60).collect()
}

fn unmappable(reason: String) -> Unmappable {
    Unmappable { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRODUCT: &str = r#"{"id":9007199254740993,"title":"Hat","body_html":"<p>A hat<\/p>","tags":"summer, straw",
        "created_at":null,"updated_at":"2026-05-01T10:00:00Z","published_at":null,"brand_new":{"a":1.10},
        "image":{"id":77,"src":"a.png"},"images":[{"id":77,"src":"a.png","variant_ids":[8007199254740993]}],
        "options":[{"id":5,"product_id":9007199254740993,"name":"Size","position":1,"values":["S","M"]}],
        "variants":[{"id":8007199254740993,"price":"19.90","updated_at":"2026-04-30T10:00:00Z","image_id":null}],
        "variant_gids":[{"admin_graphql_api_id":"gid:\/\/shopify\/ProductVariant\/8007199254740993","updated_at":"2026-04-30T10:00:00Z"},
                        {"admin_graphql_api_id":"gid:\/\/shopify\/ProductVariant\/8007199254740994","updated_at":"2026-04-30T11:00:00Z"}]}"#;

    fn mapped(topic: &str, body: &str, triggered_ms: Option<i64>) -> Result<Vec<Incoming>, Unmapped> {
        Shopify.map(&Report { topic, shop: "hats.myshopify.com", triggered_ms, body: &Json::parse(body).unwrap() })
    }

    fn families(body: &str) -> Vec<Family> {
        let body = Json::parse(body).unwrap();
        let report = Report { topic: "products/update", shop: "hats.myshopify.com", triggered_ms: None, body: &body };
        let Incoming::Saved(parent) = Shopify.map(&report).unwrap().remove(0) else { panic!("deleted") };
        parent.children.iter().map(|children| Shopify.family(&report, &parent, children).unwrap()).collect()
    }

    fn saved(body: &str, triggered_ms: Option<i64>) -> Saved {
        match mapped("products/update", body, triggered_ms).unwrap().remove(0) {
            Incoming::Saved(saved) => saved,
            Incoming::Deleted { .. } => panic!("deleted"),
        }
    }

    #[test]
    fn a_product_becomes_a_record_and_its_children() {
        let product = saved(PRODUCT, None);
        assert_eq!((product.model.as_str(), product.id.as_str()), ("shopify/product", "9007199254740993"));
        assert_eq!(
            product.values.as_str(),
            r#"{"title":"Hat","body":"<p>A hat<\/p>","tags":["summer","straw"],"shopifyUpdatedAt":"2026-05-01T10:00:00Z","publishedAt":null,"brandNew":{"a":1.10},"image":"77"}"#
        );
        let families = families(PRODUCT);
        let [options, variants, images] = &families[..] else { panic!("{families:?}") };
        assert_eq!(options.records[0].updated_us, product.updated_us);
        assert_eq!(
            variants.records[0].values.as_str(),
            r#"{"price":"19.90","shopifyUpdatedAt":"2026-04-30T10:00:00Z","image":null,"product":"9007199254740993"}"#
        );
        assert_eq!(variants.absent.iter().map(|absent| absent.id.as_str()).collect::<Vec<_>>(), ["8007199254740994"]);
        assert_eq!(images.records[0].values.member("variantIds").unwrap().as_str(), "[8007199254740993]");
    }

    #[test]
    fn changes_within_a_second_have_an_order() {
        let second = 1_777_629_600_000;
        let at = |triggered_ms| saved(PRODUCT, triggered_ms).updated_us.unwrap() - second * 1_000;
        assert_eq!(at(None), 0);
        assert_eq!(at(Some(second + 250)), 250_000);
        assert_eq!(at(Some(second + 900)), 900_000);
        // A clock that is behind, and a delivery long after.
        assert_eq!(at(Some(second - 5)), 0);
        assert_eq!(at(Some(second + 60_000)), 999_999);
    }

    #[test]
    fn a_member_that_no_table_has_takes_no_name_of_another() {
        let product = saved(r#"{"id":1,"body":"new","body_html":"old","createdAt":"x"}"#, None);
        assert_eq!(product.values.as_str(), r#"{"shopifyBody":"new","body":"old","shopifyCreatedAt":"x"}"#);
    }

    #[test]
    fn lists_that_did_not_come_say_nothing() {
        assert_eq!(saved(r#"{"id":1,"title":"Hat"}"#, None).children, []);
        assert_eq!(families(r#"{"id":1,"variants":[]}"#), [Family::default()]);
    }

    #[test]
    fn a_deletion_is_as_old_as_it_happened() {
        let expected =
            Incoming::Deleted { model: "shopify/product".to_owned(), id: "7".to_owned(), deleted_us: Some(5_000) };
        assert_eq!(mapped("products/delete", r#"{"id":7}"#, Some(5)), Ok(vec![expected]));
        let refused = mapped("products/delete", PRODUCT, Some(5)).unwrap_err();
        assert!(refused.to_string().contains("members"), "{refused}");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let reason = |body| mapped("products/update", body, None).unwrap_err().to_string();
        assert_eq!(reason("[]"), "the body is not a JSON object");
        assert_eq!(reason(r#"{"title":"Hat"}"#), r#"`id` is not a number or a text in {"title":"Hat"}"#);
        let body = Json::parse(r#"{"id":1,"variants":7}"#).unwrap();
        let report = Report { topic: "products/update", shop: "hats.myshopify.com", triggered_ms: None, body: &body };
        let parent = saved(body.as_str(), None);
        let refused = Shopify.family(&report, &parent, &parent.children[0]).unwrap_err();
        assert_eq!(refused.reason, "`variants` is not a list");
        assert_eq!(mapped("orders/create", r#"{"id":1}"#, None), Ok(Vec::new()));
    }

    #[test]
    fn a_list_is_told_from_another_without_reading_it() {
        let digest = |body: &str| saved(body, None).children[0].digest.clone();
        let one = digest(r#"{"id":1,"variants":[{"id":2}]}"#);
        assert_eq!(one, digest(r#"{"id":1,"title":"Hat","variants":[{"id":2}]}"#));
        assert_ne!(one, digest(r#"{"id":1,"variants":[{"id":3}]}"#));
        assert_ne!(one, digest(r#"{"id":1,"variants":[{"id":2}],"variant_gids":[]}"#));
    }

    #[test]
    fn the_subject_is_found_without_reading_the_rest() {
        let product = subject("products/update", PRODUCT).unwrap().unwrap();
        assert_eq!(product.to_string(), "shopify/product 9007199254740993");
        assert_eq!(subject("orders/create", PRODUCT).unwrap(), None);
        assert_eq!(subject("products/update", "{}").unwrap(), None);
        for wrong in ["", "7", "[]", "[1]", "{\"id\":1", "{\"id\":1} x", "{\"a\":nul}"] {
            assert!(subject("products/update", wrong).is_err(), "{wrong}");
        }
    }
}
