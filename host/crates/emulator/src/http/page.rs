//! The page: shops, products, a form that edits one as a merchant would, and what webhooks were answered.
//!
//! It is made on the server, needs no script and loads nothing from elsewhere.

use std::sync::Arc;

use axum::Form;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::template::{escape, page, table};
use crate::catalog::edit::{ProductEdit, VariantEdit};
use crate::catalog::{Product, Status};
use crate::error::EmulatorError;
use crate::event::{Answer, Attempt};
use crate::world::{By, Hub};

/// Attempts on the first page. Ten: what just happened.
const LATEST: usize = 10;

/// Products on a shop's page. 250: one page of the platform's own.
const PRODUCTS_SHOWN_MAX: usize = 250;

type Shared = State<Arc<Hub>>;

/// The page's paths.
pub(super) fn router(hub: &Arc<Hub>) -> Router {
    Router::new()
        .route("/", get(shops))
        .route("/webhooks", get(webhooks))
        .route("/shops/{shop}", get(shop).post(create))
        .route("/shops/{shop}/products/{id}", get(product).post(edit))
        .route("/shops/{shop}/products/{id}/delete", post(delete))
        .fallback(|| async { problem(StatusCode::NOT_FOUND, "Nothing is here", "This page does not exist.") })
        .with_state(Arc::clone(hub))
}

fn problem(status: StatusCode, title: &str, text: &str) -> Response {
    (status, Html(page(title, &format!("<p>{}</p>", escape(text))))).into_response()
}

impl IntoResponse for EmulatorError {
    fn into_response(self) -> Response {
        match self {
            Self::Unknown { .. } => problem(StatusCode::NOT_FOUND, "Not found", &self.to_string()),
            _ => problem(StatusCode::UNPROCESSABLE_ENTITY, "That does not go", &self.to_string()),
        }
    }
}

async fn shops(State(hub): Shared) -> Html<String> {
    let world = hub.world();
    let rows = world.shops.values().map(|shop| {
        let apps: Vec<_> = shop.installations.keys().map(|app| escape(app)).collect();
        vec![
            format!("<a href=\"/shops/{0}\">{0}</a>", escape(&shop.domain)),
            escape(&shop.name),
            shop.products.len().to_string(),
            apps.join(", "),
            shop.subscriptions.len().to_string(),
        ]
    });
    let shops = table(&["Shop", "Name", "Products", "Apps", "Subscriptions"], rows);
    let latest = attempts(world.attempts.iter().rev().take(LATEST));
    Html(page("Shops", &format!("{shops}<h2>Latest webhooks</h2>{latest}")))
}

async fn webhooks(State(hub): Shared) -> Html<String> {
    Html(page("Webhooks", &attempts(hub.world().attempts.iter().rev())))
}

fn attempts<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> String {
    let rows = attempts.map(|attempt| {
        let body = format!(
            "<details><summary>{} bytes</summary><pre>{}</pre></details>",
            attempt.body.len(),
            escape(&attempt.body)
        );
        vec![
            format!("<span class=\"soft\">{}</span>", escape(attempt.at.get(11..19).unwrap_or(&attempt.at))),
            escape(&attempt.shop),
            format!("<code>{}</code>", escape(&attempt.topic)),
            format!("<code>{}</code>", escape(&attempt.address)),
            attempt.attempt.to_string(),
            answer(&attempt.answer),
            body,
        ]
    });
    table(&["At", "Shop", "Topic", "To", "Attempt", "Answer", "Body"], rows)
}

fn answer(answer: &Answer) -> String {
    let class = if answer.success() { "good" } else { "bad" };
    let text = match answer {
        Answer::Answered { status, body } if body.is_empty() => status.to_string(),
        Answer::Answered { status, body } => format!("{status} {}", escape(body)),
        Answer::TimedOut => "no answer in time".to_owned(),
        Answer::Failed { reason } => escape(reason),
    };
    format!("<span class=\"{class}\">{text}</span>")
}

async fn shop(State(hub): Shared, Path(domain): Path<String>) -> Result<Html<String>, EmulatorError> {
    let mut world = hub.world();
    let shop = world.shop(&domain)?;
    let rows = shop.products.values().rev().take(PRODUCTS_SHOWN_MAX).map(|product| {
        vec![
            format!("<a href=\"/shops/{domain}/products/{}\">{}</a>", product.id, escape(&product.title)),
            product.status.name().to_owned(),
            escape(&product.vendor),
            escape(&product.tags.join(", ")),
            product.variants.len().to_string(),
        ]
    });
    let products = table(&["Product", "Status", "Vendor", "Tags", "Variants"], rows);
    let rows = shop.subscriptions.values().map(|known| {
        vec![
            format!("<code>{}</code>", known.topic.name()),
            escape(&known.app),
            format!("<code>{}</code>", escape(&known.address)),
        ]
    });
    let subscriptions = table(&["Topic", "App", "Address"], rows);
    let new = format!(
        "<form method=\"post\" action=\"/shops/{domain}\"><label for=\"title\">New product</label>\
         <input id=\"title\" name=\"title\" required maxlength=\"255\"><button>Create</button></form>"
    );
    Ok(Html(page(&shop.name, &format!("{products}{new}<h2>Subscriptions</h2>{subscriptions}"))))
}

#[derive(Deserialize)]
struct NewForm {
    title: String,
}

async fn create(
    State(hub): Shared,
    Path(domain): Path<String>,
    Form(form): Form<NewForm>,
) -> Result<Redirect, EmulatorError> {
    let edit = ProductEdit { title: Some(form.title), ..ProductEdit::default() };
    let product = hub.create_product(&domain, By::Merchant, &edit)?;
    Ok(Redirect::to(&format!("/shops/{domain}/products/{}", product.id)))
}

async fn product(State(hub): Shared, Path((domain, id)): Path<(String, u64)>) -> Result<Html<String>, EmulatorError> {
    let known = hub.world().shop(&domain)?.products.get(&id).cloned();
    let known = known.ok_or_else(|| EmulatorError::Unknown { what: "product", name: id.to_string() })?;
    Ok(Html(page(&known.title, &form(&domain, &known))))
}

fn form(domain: &str, product: &Product) -> String {
    let line = |name: &str, label: &str, value: &str| {
        let value = escape(value);
        format!(
            "<label for=\"{name}\">{label}</label><input id=\"{name}\" name=\"{name}\" value=\"{value}\" maxlength=\"255\">"
        )
    };
    let statuses: String = [Status::Active, Status::Draft, Status::Archived]
        .into_iter()
        .map(|status| {
            let selected = if status == product.status { " selected" } else { "" };
            ["<option", selected, ">", status.name(), "</option>"].concat()
        })
        .collect();
    let price = product.variants.first().map(|variant| variant.price.as_str()).unwrap_or_default();
    let action = format!("/shops/{}/products/{}", escape(domain), product.id);
    format!(
        "<p class=\"soft\">{} · <code>{}</code> · changed {}</p><form method=\"post\" action=\"{action}\">{}\
         <label for=\"body_html\">Description, as HTML</label>\
         <textarea id=\"body_html\" name=\"body_html\">{}</textarea>\
         <div class=\"row\"><div>{}</div><div>{}</div><div>{}</div></div>{}\
         <label for=\"status\">Status</label><select id=\"status\" name=\"status\">{statuses}</select>\
         <button>Save, as the merchant</button></form>\
         <form method=\"post\" action=\"{action}/delete\"><button>Delete</button></form>",
        escape(domain),
        product.id,
        product.updated_at,
        line("title", "Title", &product.title),
        escape(&product.body_html),
        line("vendor", "Vendor", &product.vendor),
        line("product_type", "Type", &product.product_type),
        line("price", "Price of the first variant", price),
        line("tags", "Tags, separated by commas", &product.tags.join(", ")),
    )
}

#[derive(Deserialize)]
struct EditForm {
    title: String,
    body_html: String,
    vendor: String,
    product_type: String,
    price: String,
    tags: String,
    status: String,
}

async fn edit(
    State(hub): Shared,
    Path((domain, id)): Path<(String, u64)>,
    Form(form): Form<EditForm>,
) -> Result<Redirect, EmulatorError> {
    let known = hub.world().shop(&domain)?.products.get(&id).cloned();
    let first = known.and_then(|product| product.variants.first().map(|variant| variant.id));
    let price = first.map(|id| VariantEdit { id: Some(id), price: Some(form.price), ..VariantEdit::default() });
    let edit = ProductEdit {
        title: Some(form.title),
        // A browser sends line ends as two letters, which nobody typed.
        body_html: Some(form.body_html.replace("\r\n", "\n")),
        vendor: Some(form.vendor),
        product_type: Some(form.product_type),
        tags: Some(vec![form.tags]),
        status: Status::named(&form.status),
        variants: price.into_iter().collect(),
        ..ProductEdit::default()
    };
    hub.edit_product(&domain, By::Merchant, id, &edit)?;
    Ok(Redirect::to(&format!("/shops/{domain}/products/{id}")))
}

async fn delete(State(hub): Shared, Path((domain, id)): Path<(String, u64)>) -> Result<Redirect, EmulatorError> {
    hub.delete_product(&domain, By::Merchant, id)?;
    Ok(Redirect::to(&format!("/shops/{domain}")))
}
