//! From what a caller wants to the request that is sent: addresses, queries, bodies, and whether it may be sent twice.

use async_graphql_parser::types::ExecutableDocument;
use bytes::Bytes;
use reqwest::{Method, Url};
use tradewind_model::graphql::GRAPHQL_BYTES_MAX;
use tradewind_model::{Json, object};

use super::Connection;
use super::budgets::DocumentHash;
use super::document::{Document, KEY_VARIABLE};
use super::error::PlatformError;
use super::limits::REQUEST_BYTES_MAX;
use super::options::{Options, VERSION_HINT, is_api_version};
use super::report::Api;
use crate::shopify::is_shop_domain;

/// A request, ready to be sent as often as it takes.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) api: Api,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Option<Bytes>,
    /// For reports.
    pub(super) operation: String,
    /// GraphQL: what its cost is remembered by.
    pub(super) document: Option<DocumentHash>,
    /// Whether `userErrors` may be in the answer.
    pub(super) writes: bool,
    /// Whether sending it twice does what sending it once does.
    pub(super) repeatable: bool,
}

impl Request {
    /// A GraphQL operation; `parsed` is its query, where that can be parsed.
    ///
    /// An idempotency key is worth something only where the mutation uses it: it becomes `$idempotencyKey`, and a document
    /// that does not take it is refused rather than sent without the protection that was asked for.
    pub(super) fn graphql(
        connection: &Connection,
        query: &str,
        parsed: Option<&ExecutableDocument>,
        variables: &Json,
        options: &Options,
    ) -> Result<Self, PlatformError> {
        if query.len() > GRAPHQL_BYTES_MAX {
            let bytes = query.len();
            let problem = format!(
                "the GraphQL document has {bytes} bytes, at most {GRAPHQL_BYTES_MAX} (`graphql_bytes_max`); hint: pass values as variables"
            );
            return Err(PlatformError::invalid(problem));
        }
        let members = members(variables, "the variables", "`{\"id\": …}`")?;
        let document = Document::of(parsed);
        let mut members: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let key = options.idempotency_key.as_ref().and_then(|key| Json::of(key).ok());
        if let Some(key) = &key {
            if !document.takes_key {
                return Err(PlatformError::invalid(
                    "the operation does not use `idempotencyKey`; hint: declare `$idempotencyKey: String!` and put \
                     `@idempotent(key: $idempotencyKey)` behind the mutation's name, or leave the option out",
                ));
            }
            members.retain(|(name, _)| *name != KEY_VARIABLE);
            members.push((KEY_VARIABLE, key));
        }
        let (variables, text) = (Json::object(members), json_of(query));
        let body = Json::object([("query", &text), ("variables", &variables)]);
        Ok(Self {
            api: Api::Graphql,
            method: Method::POST,
            url: url(connection, "graphql.json", options)?,
            body: Some(bounded(&body)?),
            operation: document.name,
            document: Some(DocumentHash::of(query)),
            writes: document.writes,
            repeatable: !document.writes || document.idempotent,
        })
    }

    /// A REST request. What HTTP calls idempotent may be repeated: the second `PUT` or `DELETE` changes nothing more.
    pub(super) fn rest(
        connection: &Connection,
        method: &str,
        path: &str,
        query: &Query<'_>,
        body: Option<&Json>,
        options: &Options,
    ) -> Result<Self, PlatformError> {
        if options.idempotency_key.is_some() {
            return Err(PlatformError::invalid(
                "Shopify's REST API knows no `idempotencyKey`; hint: use a GraphQL mutation that takes `@idempotent`",
            ));
        }
        let method = match method {
            "GET" => Method::GET,
            "HEAD" => Method::HEAD,
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            "DELETE" => Method::DELETE,
            _ => {
                let problem = format!("`{method}` is not a method; hint: `GET`, `POST`, `PUT` or `DELETE`");
                return Err(PlatformError::invalid(problem));
            }
        };
        let mut url = url(connection, path, options)?;
        query.put(&mut url)?;
        let reads = matches!(method, Method::GET | Method::HEAD);
        Ok(Self {
            api: Api::Rest,
            operation: operation(&method, path),
            repeatable: reads || matches!(method, Method::PUT | Method::DELETE),
            writes: !reads,
            method,
            url,
            body: body.map(bounded).transpose()?,
            document: None,
        })
    }

    /// The host and port, for messages.
    pub(super) fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Whether `other` is below the same root: a place that the token may be taken to.
    pub(super) fn is_beside(&self, other: &Url) -> bool {
        let root = |url: &Url| url.path().split_once("/admin/").map(|(root, _)| root.to_owned());
        self.url.origin() == other.origin() && root(&self.url).is_some() && root(&self.url) == root(other)
    }
}

/// The members of an object that a caller wrote, none of `null`.
fn members(json: &Json, what: &str, example: &str) -> Result<Vec<(String, Json)>, PlatformError> {
    if json.is_null() {
        return Ok(Vec::new());
    }
    if !json.as_str().starts_with('{') {
        return Err(PlatformError::invalid(format!("{what} is not an object; hint: {example} or `null`")));
    }
    object::members(json, what).map_err(PlatformError::invalid)
}

/// The query of a REST request.
pub(super) enum Query<'a> {
    /// As a caller writes it: an object, or `null`. Lists are joined with commas, as the API takes them; an object within
    /// becomes `name[member]`.
    Of(&'a Json),
    /// As the platform wrote it into the link to the next page.
    Raw(&'a str),
}

impl Query<'_> {
    fn put(&self, url: &mut Url) -> Result<(), PlatformError> {
        match self {
            Self::Raw(raw) => url.set_query(Some(raw)),
            Self::Of(query) => {
                let mut pairs = Vec::new();
                for (name, value) in members(query, "the query", "`{\"limit\": 50}`")? {
                    if !value.as_str().starts_with('{') {
                        push(&mut pairs, &name, &value)?;
                        continue;
                    }
                    for (member, value) in members(&value, "a part of the query", "`{\"limit\": 50}`")? {
                        push(&mut pairs, &format!("{name}[{member}]"), &value)?;
                    }
                }
                if !pairs.is_empty() {
                    url.query_pairs_mut().extend_pairs(pairs);
                }
            }
        }
        Ok(())
    }
}

fn push(pairs: &mut Vec<(String, String)>, name: &str, value: &Json) -> Result<(), PlatformError> {
    if value.is_null() {
        return Ok(());
    }
    let text = match value.to::<Vec<Json>>() {
        Ok(list) => list.iter().map(scalar).collect::<Option<Vec<_>>>().map(|list| list.join(",")),
        Err(_) => scalar(value),
    };
    let nested = || PlatformError::invalid(format!("`{name}` of the query is nested; hint: texts, numbers and lists"));
    pairs.push((name.to_owned(), text.ok_or_else(nested)?));
    Ok(())
}

/// A text as it is, a number or a truth value as it is spelled.
fn scalar(value: &Json) -> Option<String> {
    match value.as_str().as_bytes().first() {
        Some(b'{' | b'[') => None,
        Some(b'"') => value.to().ok(),
        _ => Some(value.as_str().to_owned()),
    }
}

/// The address of a path below the versioned root of the shop's API.
fn url(connection: &Connection, path: &str, options: &Options) -> Result<Url, PlatformError> {
    options.checked()?;
    let version = options.api_version.as_deref().unwrap_or(&connection.api_version);
    if !is_api_version(version) {
        let problem = format!("the connection's API version is `{version}`; hint: {VERSION_HINT}");
        return Err(PlatformError::invalid(problem));
    }
    let base = match &connection.base_url {
        Some(base) => base.trim_end_matches('/').to_owned(),
        None if is_shop_domain(&connection.domain) => format!("https://{}", connection.domain),
        None => {
            let problem = format!("`{}` is not a shop; hint: `name.myshopify.com`", connection.domain);
            return Err(PlatformError::invalid(problem));
        }
    };
    let root = format!("{base}/admin/api/{version}/");
    let parse = |text: &str| {
        Url::parse(text).map_err(|error| PlatformError::invalid(format!("`{text}` is not an address: {error}")))
    };
    let (root, url) = (parse(&root)?, parse(&format!("{root}{}", path.strip_prefix('/').unwrap_or(path)))?);
    // What climbs out, in whatever spelling, would take the token elsewhere.
    let inside =
        url.origin() == root.origin() && url.path().strip_prefix(root.path()).is_some_and(|path| !path.is_empty());
    let climbs =
        url.path().to_ascii_lowercase().split('/').any(|segment| segment.contains("%2f") || segment.contains("%5c"));
    if !inside || climbs || path.starts_with("//") || url.fragment().is_some() {
        return Err(PlatformError::invalid(format!(
            "`{path}` is not a path of the API; hint: relative to its versioned root, such as `products/1.json`"
        )));
    }
    Ok(url)
}

/// The method and the path, with `{id}` for numbers: few enough to count by.
fn operation(method: &Method, path: &str) -> String {
    let segment = |segment: &str| {
        let (name, ending) = segment.strip_suffix(".json").map_or((segment, ""), |name| (name, ".json"));
        let is_id = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        if is_id { format!("{{id}}{ending}") } else { segment.to_owned() }
    };
    let path = path.split('?').next().unwrap_or_default();
    let path: Vec<String> = path.trim_start_matches('/').split('/').map(segment).collect();
    format!("{method} {}", path.join("/"))
}

fn bounded(body: &Json) -> Result<Bytes, PlatformError> {
    if body.as_str().len() > REQUEST_BYTES_MAX {
        let (bytes, max) = (body.as_str().len(), REQUEST_BYTES_MAX);
        return Err(PlatformError::invalid(format!("the request has {bytes} bytes; hint: at most {max}")));
    }
    Ok(Bytes::copy_from_slice(body.as_str().as_bytes()))
}

fn json_of(text: &str) -> Json {
    Json::of(text).unwrap_or_else(|_| Json::null())
}
