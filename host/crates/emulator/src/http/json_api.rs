//! What the page can do and show, as JSON, for scripts: everything is under `/_emulator/`.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::rest_input::ProductInput;
use super::{JSON, Refusal, read};
use crate::catalog::edit::ProductEdit;
use crate::catalog::{Product, rest};
use crate::error::EmulatorError;
use crate::shop::Plan;
use crate::spelling::array;
use crate::webhooks::{NewSubscription, Topic};
use crate::world::{By, Hub};

type Shared = State<Arc<Hub>>;
type Result<T> = std::result::Result<T, Refusal>;

/// The paths of the JSON API.
pub(super) fn router(hub: &Arc<Hub>) -> Router {
    Router::new()
        .route("/_emulator/apps", post(add_app))
        .route("/_emulator/shops", get(shops).post(add_shop))
        .route("/_emulator/shops/{shop}/installations", post(install))
        .route("/_emulator/shops/{shop}/subscriptions", post(subscribe))
        .route("/_emulator/shops/{shop}/products", get(products).post(create))
        .route("/_emulator/shops/{shop}/products/{id}", get(product).put(edit).delete(delete))
        .route("/_emulator/attempts", get(attempts))
        .with_state(Arc::clone(hub))
}

#[expect(clippy::needless_pass_by_value, reason = "the form that `map_err` takes")]
fn refused(error: EmulatorError) -> Refusal {
    let status = match error {
        EmulatorError::Unknown { .. } => StatusCode::NOT_FOUND,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    Refusal::new(status, json!(error.to_string()))
}

fn answer(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, JSON)], body).into_response()
}

fn ok(body: &Value) -> Response {
    answer(StatusCode::OK, body.to_string())
}

#[derive(Deserialize)]
struct NewApp {
    client_id: String,
    secret: String,
}

async fn add_app(State(hub): Shared, body: Body) -> Result<Response> {
    let new: NewApp = read(body).await?;
    hub.add_app(&new.client_id, &new.secret).map_err(refused)?;
    Ok(answer(StatusCode::CREATED, json!({ "client_id": new.client_id }).to_string()))
}

#[derive(Deserialize)]
struct NewShop {
    domain: String,
    #[serde(default)]
    plus: bool,
    #[serde(default)]
    products: usize,
}

async fn add_shop(State(hub): Shared, body: Body) -> Result<Response> {
    let new: NewShop = read(body).await?;
    let plan = if new.plus { Plan::Plus } else { Plan::Standard };
    hub.add_shop(&new.domain, plan, new.products).map_err(refused)?;
    Ok(answer(StatusCode::CREATED, json!({ "domain": new.domain }).to_string()))
}

#[derive(Deserialize)]
struct NewInstallation {
    client_id: String,
}

async fn install(State(hub): Shared, Path(shop): Path<String>, body: Body) -> Result<Response> {
    let new: NewInstallation = read(body).await?;
    let token = hub.install(&new.client_id, &shop).map_err(refused)?;
    Ok(answer(StatusCode::CREATED, json!({ "access_token": token }).to_string()))
}

#[derive(Deserialize)]
struct NewWebhook {
    client_id: String,
    topic: String,
    address: String,
}

async fn subscribe(State(hub): Shared, Path(shop): Path<String>, body: Body) -> Result<Response> {
    let new: NewWebhook = read(body).await?;
    let unknown =
        || Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, json!(format!("there is no topic `{}`", new.topic)));
    let topic = Topic::named(&new.topic).ok_or_else(unknown)?;
    let made = hub.subscribe(&shop, &new.client_id, NewSubscription::new(topic, new.address)).map_err(refused)?;
    Ok(answer(StatusCode::CREATED, json!({ "id": made.id }).to_string()))
}

async fn shops(State(hub): Shared) -> Response {
    let world = hub.world();
    let shops = world.shops.values().map(|shop| {
        let subscriptions = shop.subscriptions.values().map(
            |known| json!({ "id": known.id, "app": known.app, "topic": known.topic.name(), "address": known.address }),
        );
        json!({
            "domain": shop.domain,
            "name": shop.name,
            "plan": shop.plan.display_name(),
            "products": shop.products.len(),
            "apps": shop.installations.keys().collect::<Vec<_>>(),
            "subscriptions": subscriptions.collect::<Vec<_>>(),
        })
    });
    ok(&json!({ "shops": shops.collect::<Vec<_>>() }))
}

fn texts<'a>(hub: &Hub, shop: &str, products: impl IntoIterator<Item = &'a Product>) -> Result<Vec<String>> {
    let offset = hub.world().shop(shop).map_err(refused)?.offset;
    Ok(products.into_iter().map(|product| rest::product(product, offset).text(&[])).collect())
}

async fn products(State(hub): Shared, Path(shop): Path<String>) -> Result<Response> {
    let products: Vec<_> = hub.world().shop(&shop).map_err(refused)?.products.values().cloned().collect();
    let body = array(texts(&hub, &shop, &products)?);
    Ok(answer(StatusCode::OK, format!("{{\"products\":{body}}}")))
}

fn one(hub: &Hub, shop: &str, status: StatusCode, product: &Product) -> Result<Response> {
    let text = texts(hub, shop, [product])?.concat();
    Ok(answer(status, format!("{{\"product\":{text}}}")))
}

async fn product(State(hub): Shared, Path((shop, id)): Path<(String, u64)>) -> Result<Response> {
    let known = hub.world().shop(&shop).map_err(refused)?.products.get(&id).cloned();
    one(&hub, &shop, StatusCode::OK, &known.ok_or_else(Refusal::not_found)?)
}

async fn create(State(hub): Shared, Path(shop): Path<String>, body: Body) -> Result<Response> {
    let mut edit: ProductEdit = read::<ProductInput>(body).await?.into();
    edit.title.get_or_insert_default();
    let made = hub.create_product(&shop, By::Merchant, &edit).map_err(refused)?;
    one(&hub, &shop, StatusCode::CREATED, &made)
}

async fn edit(State(hub): Shared, Path((shop, id)): Path<(String, u64)>, body: Body) -> Result<Response> {
    let edit: ProductEdit = read::<ProductInput>(body).await?.into();
    let changed = hub.edit_product(&shop, By::Merchant, id, &edit).map_err(refused)?;
    one(&hub, &shop, StatusCode::OK, &changed)
}

async fn delete(State(hub): Shared, Path((shop, id)): Path<(String, u64)>) -> Result<Response> {
    hub.delete_product(&shop, By::Merchant, id).map_err(refused)?;
    Ok(ok(&json!({})))
}

async fn attempts(State(hub): Shared) -> Response {
    let attempts: Vec<_> = hub.world().attempts.iter().rev().cloned().collect();
    ok(&json!({ "attempts": attempts }))
}
