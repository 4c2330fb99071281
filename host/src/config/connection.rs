//! An app's link to a platform, and the shops that it reaches.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::{ExposeSecret, SecretString};
use tradewind_model::near::hint;
use tradewind_platform::shopify;

use super::document::{Item, Section, name_problem};
use super::mirror;
use super::server::http_url;
use super::source::Sources;
use super::version::{self, API_VERSION};

/// A platform that a host connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "their own names")]
pub enum Platform {
    Shopify,
}

impl Platform {
    /// The name in configurations, stored rows and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shopify => "shopify",
        }
    }
}

/// An app's link to a platform.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The platform.
    pub platform: Platform,
    /// The app's id at the platform.
    pub client_id: String,
    /// Signs webhooks.
    pub client_secret: SecretString,
    /// The secret before it, while a rotation goes on.
    pub previous_client_secret: Option<SecretString>,
    /// The version of the platform's API.
    pub api_version: String,
    /// What the app asks merchants for.
    pub scopes: Vec<String>,
    /// What is mirrored.
    pub models: Vec<String>,
    /// The shops that are reached with a token of their own.
    pub shops: Vec<Shop>,
}

/// A shop with the token that it is reached with.
#[derive(Clone, Debug)]
pub struct Shop {
    /// `hats.myshopify.com`.
    pub domain: String,
    /// Lets the app in.
    pub access_token: SecretString,
    /// Where the platform's API is, without a slash at the end.
    pub api_url: String,
}

impl Connection {
    /// A link to Shopify with the usual version, these scopes and all models that they allow.
    pub fn shopify(client_id: &str, client_secret: impl Into<SecretString>, scopes: &[&str]) -> Self {
        Self {
            platform: Platform::Shopify,
            client_id: client_id.to_owned(),
            client_secret: client_secret.into(),
            previous_client_secret: None,
            api_version: API_VERSION.to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            models: allowed(scopes),
            shops: Vec::new(),
        }
    }
}

impl Shop {
    /// A shop at its own address.
    pub fn new(domain: &str, access_token: impl Into<SecretString>) -> Self {
        Self { domain: domain.to_owned(), access_token: access_token.into(), api_url: format!("https://{domain}") }
    }
}

const KEYS: [&str; 8] =
    ["platform", "client_id", "client_secret", "previous_client_secret", "api_version", "scopes", "models", "shops"];

/// Reads an app's connections.
pub(super) fn read(app: &Section<'_>, sources: &Sources<'_>) -> BTreeMap<String, Connection> {
    let Some(connections) = app.get("connections").and_then(|item| item.table()) else { return BTreeMap::new() };
    let mut read = BTreeMap::new();
    let mut shops = BTreeMap::new();
    for (name, item) in connections.items() {
        if let Some(problem) = name_problem(name) {
            item.problem(problem);
        }
        let Some(section) = item.section(&KEYS) else { continue };
        let connection = connection(&section, sources);
        for (shop, item) in connection.shops.iter().zip(section.list("shops")) {
            let other = shops.insert(shop.domain.clone(), name).filter(|other| *other != name);
            if let Some(other) = other {
                item.warn(format!(
                    "`{}` is in the connection `{other}` too, and both write its records; hint: leave it to one",
                    shop.domain
                ));
            }
        }
        read.insert(name.to_owned(), connection);
    }
    read
}

fn connection(section: &Section<'_>, sources: &Sources<'_>) -> Connection {
    let platform = section.required("platform", r#""shopify""#);
    let platform = platform.and_then(|item| item.word(&[(Platform::Shopify.as_str(), Platform::Shopify)]));
    let client_id = section.required("client_id", r#""…""#).and_then(|item| sources.text(&item));
    let secret = section.required("client_secret", r#"{ env = "SHOPIFY_CLIENT_SECRET" }"#);
    let scopes = scopes(section);
    Connection {
        platform: platform.unwrap_or(Platform::Shopify),
        client_id: client_id.map(|(id, _)| id.expose_secret().to_owned()).unwrap_or_default(),
        client_secret: secret.and_then(|item| sources.secret(&item)).unwrap_or_default(),
        previous_client_secret: section.get("previous_client_secret").and_then(|item| sources.secret(&item)),
        api_version: section
            .get("api_version")
            .and_then(|item| version::read(&item))
            .unwrap_or_else(|| API_VERSION.to_owned()),
        models: models(section, &scopes),
        shops: shops(section, sources),
        scopes: scopes.into_iter().map(str::to_owned).collect(),
    }
}

fn scopes<'a>(section: &Section<'a>) -> Vec<&'a str> {
    let Some(item) = section.get("scopes") else { return Vec::new() };
    let mut scopes = Vec::new();
    for (item, scope) in item.texts() {
        let name = scope.strip_prefix("unauthenticated_").unwrap_or(scope);
        let name = ["read_", "write_"].into_iter().find_map(|verb| name.strip_prefix(verb)).unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            item.problem(format!("`{scope}` is no scope; hint: `read_products` or `write_products`"));
        }
        scopes.push(scope);
    }
    scopes
}

/// The models that these scopes allow.
fn allowed(scopes: &[&str]) -> Vec<String> {
    let names = mirror::all().into_iter().map(|model| model.name);
    names.filter(|model| mirror::missing_scope(model, scopes.iter().copied()).is_none()).collect()
}

fn models(section: &Section<'_>, scopes: &[&str]) -> Vec<String> {
    let Some(item) = section.get("models") else { return allowed(scopes) };
    let known: BTreeSet<_> = mirror::all().into_iter().map(|model| model.name).collect();
    let named = item.texts();
    for (item, name) in &named {
        if !known.contains(*name) {
            item.problem(format!("`{name}` is not mirrored; {}", hint(name, known.iter().map(String::as_str))));
        }
        if let Some(scope) = mirror::missing_scope(name, scopes.iter().copied()) {
            item.problem(format!("`{name}` needs the scope `{scope}`; hint: add it to `scopes`"));
        }
        if let Some(parent) = mirror::parent(name).filter(|parent| !named.iter().any(|(_, name)| name == parent)) {
            item.warn(format!(
                "`{name}` is only reported together with `{parent}`, which is not mirrored; hint: add it"
            ));
        }
    }
    named.into_iter().map(|(_, name)| name.to_owned()).collect()
}

fn shops(section: &Section<'_>, sources: &Sources<'_>) -> Vec<Shop> {
    let mut domains = BTreeSet::new();
    let mut shops = Vec::new();
    for item in section.list("shops") {
        let Some(section) = item.section(&["domain", "access_token", "api_url"]) else { continue };
        let domain = section.required("domain", r#""hats.myshopify.com""#).and_then(|item| domain(&item));
        if let (Some(domain), Some(item)) = (&domain, section.get("domain"))
            && !domains.insert(domain.clone())
        {
            item.problem(format!("`{domain}` is there twice; hint: keep one"));
        }
        let domain = domain.unwrap_or_default();
        let token = section.required("access_token", r#"{ env = "HATS_TOKEN" }"#);
        let token = token.and_then(|item| sources.secret(&item)).unwrap_or_default();
        let api_url = section.get("api_url").and_then(|item| api_url(&item, sources));
        let usual = Shop::new(&domain, token);
        shops.push(Shop { api_url: api_url.unwrap_or_else(|| usual.api_url.clone()), ..usual });
    }
    shops
}

fn domain(item: &Item<'_>) -> Option<String> {
    let domain = item.text()?;
    if !shopify::is_shop_domain(domain) {
        item.problem(format!(
            "`{domain}` is not the domain that the platform gives a shop; hint: `hats.myshopify.com`, in lower case"
        ));
        return None;
    }
    Some(domain.to_owned())
}

/// The token is sent there: elsewhere than to the platform only on a developer's machine.
fn api_url(item: &Item<'_>, sources: &Sources<'_>) -> Option<String> {
    if !sources.development {
        item.problem(
            "the token would be sent elsewhere than to the platform; hint: leave it out; for an emulator, \
             `development = true` at the top of the file",
        );
        return None;
    }
    http_url(item)
}
