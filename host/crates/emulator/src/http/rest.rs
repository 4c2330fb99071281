//! The REST Admin API: products, their variants, the shop, webhooks.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::admin::{Admin, Answer, Caller};
use super::rest_input::ProductInput;
use super::rest_list::{Page, Query};
use super::{Refusal, bytes};
use crate::catalog::edit::ProductEdit;
use crate::catalog::{Product, rest};
use crate::error::EmulatorError;
use crate::event::Unsubscribed;
use crate::graphql::Call;
use crate::spelling::{array, spell};
use crate::webhooks::{NewSubscription, Subscription, Topic};
use crate::world::By;

/// The paths below a version.
pub(super) fn router() -> Router<Admin> {
    Router::new()
        .route("/products.json", get(products).post(create_product))
        .route("/products/count.json", get(count_products))
        .route("/products/{id}", get(product).put(update_product).delete(delete_product))
        .route("/products/{id}/variants.json", get(variants))
        .route("/products/{id}/variants/count.json", get(count_variants))
        .route("/variants/{id}", get(variant))
        .route("/shop.json", get(shop))
        .route("/webhooks.json", get(webhooks).post(create_webhook))
        .route("/webhooks/count.json", get(count_webhooks))
        .route("/webhooks/{id}", get(webhook).put(update_webhook).delete(delete_webhook))
}

/// Parts of the path: the version is always one.
type Parts = Path<(String, String)>;

/// `7.json` is 7.
fn number(text: &str) -> Result<u64, Refusal> {
    text.strip_suffix(".json").unwrap_or(text).parse().map_err(|_| Refusal::not_found())
}

/// What the platform says of an error of the emulator.
fn refused(error: EmulatorError) -> Refusal {
    match error {
        EmulatorError::Unknown { .. } => Refusal::not_found(),
        EmulatorError::Invalid(problems) => {
            let mut errors: Map<String, Value> = Map::new();
            for problem in problems {
                let known = errors.entry(problem.field).or_insert_with(|| json!([]));
                if let Value::Array(messages) = known {
                    messages.push(json!(problem.message));
                }
            }
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, Value::Object(errors))
        }
        EmulatorError::Subscription(message) => {
            let message = message.strip_prefix("Address ").unwrap_or(&message).to_owned();
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, json!({ "address": [message] }))
        }
        error => Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, json!({ "base": [error.to_string()] })),
    }
}

/// What is inside of `{"product": …}`.
async fn inside<T: serde::de::DeserializeOwned>(body: Body, name: &str) -> Result<T, Refusal> {
    let bytes = bytes(body).await?;
    let missing = || {
        let mut errors = Map::new();
        errors.insert(name.to_owned(), json!("Required parameter missing or invalid"));
        Refusal::new(StatusCode::BAD_REQUEST, Value::Object(errors))
    };
    let mut outer: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|_| missing())?;
    let inner = outer.remove(name).filter(Value::is_object).ok_or_else(missing)?;
    serde_json::from_value(inner).map_err(|error| {
        let mut errors = Map::new();
        errors.insert(name.to_owned(), json!(error.to_string()));
        Refusal::new(StatusCode::BAD_REQUEST, Value::Object(errors))
    })
}

fn found<T>(value: Option<T>) -> Result<T, Refusal> {
    value.ok_or_else(Refusal::not_found)
}

async fn products(caller: Caller, RawQuery(query): RawQuery) -> Response {
    caller.answer(|call| {
        let query = Query::parse(query.as_deref())?;
        let mut world = call.hub.world();
        let shop = world.shop(&call.shop).map_err(refused)?;
        let Page { items, link } = query.page(shop.products.values(), &call.shop, call.version)?;
        let offset = shop.offset;
        let body = array(items.into_iter().map(|product| rest::product(product, offset).text(&query.fields)));
        Ok(Answer { link, ..Answer::ok(format!("{{\"products\":{body}}}")) })
    })
}

async fn count_products(caller: Caller, RawQuery(query): RawQuery) -> Response {
    caller.answer(|call| {
        let query = Query::parse(query.as_deref())?;
        let mut world = call.hub.world();
        let products = &world.shop(&call.shop).map_err(refused)?.products;
        let count = products.values().filter(|product| query.takes(product)).count();
        Ok(Answer::ok(json!({ "count": count }).to_string()))
    })
}

fn product_body(call: &Call, product: &Product, fields: &[String]) -> Result<String, Refusal> {
    let offset = call.hub.world().shop(&call.shop).map_err(refused)?.offset;
    Ok(format!("{{\"product\":{}}}", rest::product(product, offset).text(fields)))
}

fn known(call: &Call, id: u64) -> Result<Product, Refusal> {
    found(call.hub.world().shop(&call.shop).map_err(refused)?.products.get(&id).cloned())
}

async fn product(caller: Caller, Path((_, id)): Parts, RawQuery(query): RawQuery) -> Response {
    caller.answer(|call| {
        let fields = Query::parse(query.as_deref())?.fields;
        Ok(Answer::ok(product_body(call, &known(call, number(&id)?)?, &fields)?))
    })
}

async fn create_product(caller: Caller, body: Body) -> Response {
    let input: Result<ProductInput, _> = inside(body, "product").await;
    caller.answer(|call| {
        let mut edit: ProductEdit = input?.into();
        // A new product without a title is told so.
        edit.title.get_or_insert_default();
        let made = call.hub.create_product(&call.shop, By::App(&call.app), &edit).map_err(refused)?;
        Ok(Answer::created(product_body(call, &made, &[])?))
    })
}

async fn update_product(caller: Caller, Path((_, id)): Parts, body: Body) -> Response {
    let input: Result<ProductInput, _> = inside(body, "product").await;
    caller.answer(|call| {
        let (id, edit) = (number(&id)?, input?.into());
        let changed = call.hub.edit_product(&call.shop, By::App(&call.app), id, &edit).map_err(refused)?;
        Ok(Answer::ok(product_body(call, &changed, &[])?))
    })
}

async fn delete_product(caller: Caller, Path((_, id)): Parts) -> Response {
    caller.answer(|call| {
        call.hub.delete_product(&call.shop, By::App(&call.app), number(&id)?).map_err(refused)?;
        Ok(Answer::ok("{}".to_owned()))
    })
}

fn variant_texts(call: &Call, product: &Product, fields: &[String]) -> Result<Vec<String>, Refusal> {
    let offset = call.hub.world().shop(&call.shop).map_err(refused)?.offset;
    let all = product.variants.iter().enumerate();
    Ok(all.map(|(at, variant)| rest::variant(variant, at, product.id, offset).text(fields)).collect())
}

async fn variants(caller: Caller, Path((_, id)): Parts, RawQuery(query): RawQuery) -> Response {
    caller.answer(|call| {
        let fields = Query::parse(query.as_deref())?.fields;
        let texts = variant_texts(call, &known(call, number(&id)?)?, &fields)?;
        Ok(Answer::ok(format!("{{\"variants\":{}}}", array(texts))))
    })
}

async fn count_variants(caller: Caller, Path((_, id)): Parts) -> Response {
    caller.answer(|call| {
        let count = known(call, number(&id)?)?.variants.len();
        Ok(Answer::ok(json!({ "count": count }).to_string()))
    })
}

async fn variant(caller: Caller, Path((_, id)): Parts) -> Response {
    caller.answer(|call| {
        let id = number(&id)?;
        let at = |product: &Product| product.variants.iter().position(|variant| variant.id == id);
        let holder = {
            let mut world = call.hub.world();
            let products = &world.shop(&call.shop).map_err(refused)?.products;
            products.values().find_map(|product| Some((product.clone(), at(product)?)))
        };
        let (product, at) = found(holder)?;
        let text = found(variant_texts(call, &product, &[])?.into_iter().nth(at))?;
        Ok(Answer::ok(format!("{{\"variant\":{text}}}")))
    })
}

async fn shop(caller: Caller) -> Response {
    caller.answer(|call| {
        let resource = call.hub.world().shop(&call.shop).map_err(refused)?.resource();
        Ok(Answer::ok(format!("{{\"shop\":{}}}", spell(&resource))))
    })
}

/// What is asked of a subscription.
#[derive(Debug, Deserialize)]
struct WebhookInput {
    topic: Option<String>,
    address: Option<String>,
    format: Option<String>,
    fields: Option<Vec<String>>,
    metafield_namespaces: Option<Vec<String>>,
}

impl WebhookInput {
    fn check(&self) -> Result<(), Refusal> {
        match self.format.as_deref() {
            None | Some("json") => Ok(()),
            Some(format) => {
                let message = format!("`{format}` is not sent by the emulator; hint: `json`");
                Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, json!({ "format": [message] })))
            }
        }
    }
}

fn webhook_resource(call: &Call, known: &Subscription) -> Result<Value, Refusal> {
    let offset = call.hub.world().shop(&call.shop).map_err(refused)?.offset;
    Ok(json!({
        "id": known.id,
        "address": known.address,
        "topic": known.topic.name(),
        "created_at": rest::local(known.created_at, offset),
        "updated_at": rest::local(known.updated_at, offset),
        "format": "json",
        "fields": known.include_fields,
        "metafield_namespaces": known.metafield_namespaces,
        "api_version": known.api_version,
        "private_metafield_namespaces": [],
    }))
}

fn subscriptions(call: &Call) -> Result<Vec<Subscription>, Refusal> {
    let mut world = call.hub.world();
    let all = world.shop(&call.shop).map_err(refused)?.subscriptions.values();
    Ok(all.filter(|known| known.app == call.app).cloned().collect())
}

async fn webhooks(caller: Caller, RawQuery(query): RawQuery) -> Response {
    caller.answer(|call| {
        let query = Query::parse(query.as_deref())?;
        let all = subscriptions(call)?;
        let taken = all.iter().filter(|known| {
            known.id > query.since_id
                && query.topic.as_ref().is_none_or(|topic| known.topic.name() == topic)
                && query.address.as_ref().is_none_or(|address| known.address == *address)
        });
        let resources: Result<Vec<_>, _> = taken.take(query.limit).map(|known| webhook_resource(call, known)).collect();
        Ok(Answer::ok(format!("{{\"webhooks\":{}}}", spell(&resources?))))
    })
}

async fn count_webhooks(caller: Caller, RawQuery(query): RawQuery) -> Response {
    caller.answer(|call| {
        let topic = Query::parse(query.as_deref())?.topic;
        let all = subscriptions(call)?;
        let count = all.iter().filter(|known| topic.as_ref().is_none_or(|topic| known.topic.name() == topic)).count();
        Ok(Answer::ok(json!({ "count": count }).to_string()))
    })
}

fn webhook_answer(call: &Call, known: &Subscription) -> Result<String, Refusal> {
    Ok(format!("{{\"webhook\":{}}}", spell(&webhook_resource(call, known)?)))
}

async fn webhook(caller: Caller, Path((_, id)): Parts) -> Response {
    caller.answer(|call| {
        let id = number(&id)?;
        let known = subscriptions(call)?.into_iter().find(|known| known.id == id);
        Ok(Answer::ok(webhook_answer(call, &found(known)?)?))
    })
}

async fn create_webhook(caller: Caller, body: Body) -> Response {
    let input: Result<WebhookInput, _> = inside(body, "webhook").await;
    caller.answer(|call| {
        let input = input?;
        input.check()?;
        let name = input.topic.unwrap_or_default();
        let unknown_topic = || {
            let message = format!("Invalid topic specified: {name}. Does it exist?");
            Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, json!({ "topic": [message] }))
        };
        let new = NewSubscription {
            include_fields: input.fields.unwrap_or_default(),
            metafield_namespaces: input.metafield_namespaces.unwrap_or_default(),
            api_version: call.version,
            ..NewSubscription::new(Topic::named(&name).ok_or_else(unknown_topic)?, input.address.unwrap_or_default())
        };
        let made = call.hub.subscribe(&call.shop, &call.app, new).map_err(refused)?;
        Ok(Answer::created(webhook_answer(call, &made)?))
    })
}

async fn update_webhook(caller: Caller, Path((_, id)): Parts, body: Body) -> Response {
    let input: Result<WebhookInput, _> = inside(body, "webhook").await;
    caller.answer(|call| {
        let (id, input) = (number(&id)?, input?);
        input.check()?;
        let changed = call.hub.change_subscription(&call.shop, &call.app, id, |known| {
            known.address = input.address.unwrap_or_else(|| known.address.clone());
            known.include_fields = input.fields.unwrap_or_else(|| known.include_fields.clone());
            known.metafield_namespaces =
                input.metafield_namespaces.unwrap_or_else(|| known.metafield_namespaces.clone());
            known.api_version = call.version;
        });
        Ok(Answer::ok(webhook_answer(call, &changed.map_err(refused)?)?))
    })
}

async fn delete_webhook(caller: Caller, Path((_, id)): Parts) -> Response {
    caller.answer(|call| {
        if !call.hub.unsubscribe(&call.shop, &call.app, number(&id)?, Unsubscribed::Asked) {
            return Err(Refusal::not_found());
        }
        Ok(Answer::ok("{}".to_owned()))
    })
}
