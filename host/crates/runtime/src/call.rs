//! Calls to platforms as values: parsed once where a plugin makes them, and checked on what was parsed.

use serde::{Deserialize, Serialize};
use tradewind_model::graphql::GRAPHQL_BYTES_MAX;
use tradewind_model::{ActionError, Json, code, object};

use crate::check::Grants;
use crate::limits::PATH_BYTES_MAX;

/// A commerce platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "their own names")]
pub enum Platform {
    Shopify,
    BigCommerce,
}

impl Platform {
    /// The platform of this name.
    fn named(name: &str) -> Option<Self> {
        [Self::Shopify, Self::BigCommerce].into_iter().find(|platform| platform.as_str() == name)
    }

    /// The name in models, grants and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shopify => "shopify",
            Self::BigCommerce => "bigcommerce",
        }
    }
}

/// A version of BigCommerce's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "their own names")]
pub enum BigCommerceApi {
    V2,
    V3,
}

impl BigCommerceApi {
    /// As it is written in paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }
}

/// One call to a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PlatformCall {
    /// A GraphQL operation.
    Graphql {
        /// The document.
        query: String,
        /// An object, or `null`.
        #[serde(default = "Json::null")]
        variables: Json,
        /// As in the contract's `shopify`.
        #[serde(default = "Json::null", skip_serializing_if = "Json::is_null")]
        options: Json,
    },
    /// A REST request.
    Rest {
        /// For BigCommerce; none for Shopify.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        api: Option<BigCommerceApi>,
        /// In upper case.
        method: String,
        /// Relative to the API's root.
        path: String,
        /// Shopify's query; BigCommerce has it in `options`.
        #[serde(default = "Json::null", skip_serializing_if = "Json::is_null")]
        query: Json,
        /// Shopify's body.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Json>,
        /// As in the contract's interface of the platform.
        #[serde(default = "Json::null", skip_serializing_if = "Json::is_null")]
        options: Json,
    },
}

/// A call to the current shop's platform, to be sent later. Persisted in jobs: members are only added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaterCall {
    /// Where to.
    pub platform: Platform,
    /// What.
    pub call: PlatformCall,
}

fn invalid(message: impl Into<String>) -> ActionError {
    ActionError::permanent(code::INVALID_ARGUMENT, message)
}

impl PlatformCall {
    /// Whether the call is known to change nothing without looking into a document.
    pub fn only_reads(&self) -> bool {
        match self {
            Self::Graphql { .. } => false,
            Self::Rest { method, .. } => method_reads(method),
        }
    }

    /// Refuses a call that leaves the platform's API, which would take the token elsewhere, and a document that is too long to
    /// be looked at.
    pub fn check(&self) -> Result<(), ActionError> {
        match self {
            Self::Graphql { query, .. } if query.len() > GRAPHQL_BYTES_MAX => {
                let bytes = query.len();
                Err(invalid(format!(
                    "the GraphQL document has {bytes} bytes, at most {GRAPHQL_BYTES_MAX} (`graphql_bytes_max`); hint: pass values as variables"
                )))
            }
            Self::Rest { path, .. } if path.len() > PATH_BYTES_MAX => {
                let bytes = path.len();
                Err(invalid(format!(
                    "`path` has {bytes} bytes, at most {PATH_BYTES_MAX} (`path_bytes_max`); hint: pass parameters as the query"
                )))
            }
            Self::Rest { path, .. } if !is_relative(path) => {
                Err(invalid("`path` leaves the API; hint: pass one relative to its root, without `..`"))
            }
            Self::Graphql { .. } | Self::Rest { .. } => Ok(()),
        }
    }
}

impl LaterCall {
    /// Reads the `call` of the contract's `queue.enqueue-call`, and holds it to the grants and to the API.
    pub fn parse(call: &Json, grants: &Grants) -> Result<Self, ActionError> {
        let members = object::members(call, "`call`").map_err(|problem| invalid(format!("{problem}; {HINT}")))?;
        let [platform, graphql, rest] = take(members, "`call`", ["platform", "graphql", "rest"])?;
        let platform = text(platform, "call.platform")?;
        let Some(platform) = Platform::named(&platform) else {
            return Err(invalid("`call.platform` is neither `shopify` nor `bigcommerce`"));
        };
        let granted = match platform {
            Platform::Shopify => grants.shopify,
            Platform::BigCommerce => grants.bigcommerce,
        };
        if !granted {
            let message = format!("enqueueing this call needs the grant `{}`", platform.as_str());
            return Err(ActionError::permanent(code::NOT_GRANTED, message));
        }
        let call = match (graphql, rest) {
            (Some(graphql), None) => graphql_of(&graphql)?,
            (None, Some(rest)) => rest_of(&rest)?,
            _ => return Err(invalid(format!("`call` has neither `graphql` nor `rest`, or both; {HINT}"))),
        };
        call.check()?;
        Ok(Self { platform, call })
    }
}

const HINT: &str = "hint: `{\"platform\": \"shopify\", \"graphql\": {\"query\": …}}`";

fn graphql_of(json: &Json) -> Result<PlatformCall, ActionError> {
    let members = object::members(json, "`call.graphql`").map_err(invalid)?;
    let [query, variables, options] = take(members, "`call.graphql`", ["query", "variables", "options"])?;
    let or_null = |json: Option<Json>| json.unwrap_or_else(Json::null);
    let query = text(query, "call.graphql.query")?;
    Ok(PlatformCall::Graphql { query, variables: or_null(variables), options: or_null(options) })
}

fn rest_of(json: &Json) -> Result<PlatformCall, ActionError> {
    let members = object::members(json, "`call.rest`").map_err(invalid)?;
    let known = ["method", "path", "query", "body", "options"];
    let [method, path, query, body, options] = take(members, "`call.rest`", known)?;
    let method = text(method, "call.rest.method")?.to_ascii_uppercase();
    let path = text(path, "call.rest.path")?;
    let or_null = |json: Option<Json>| json.unwrap_or_else(Json::null);
    Ok(PlatformCall::Rest { api: None, method, path, query: or_null(query), body, options: or_null(options) })
}

/// The members of these names, each none when it is not there or `null`; others are refused.
fn take<const N: usize>(
    members: Vec<(String, Json)>,
    what: &str,
    known: [&str; N],
) -> Result<[Option<Json>; N], ActionError> {
    let mut taken = [const { None }; N];
    for (name, value) in members {
        let Some(at) = known.iter().position(|known| *known == name) else {
            let hint = tradewind_model::near::hint(&name, known.into_iter());
            return Err(invalid(format!("{what} has no `{}`; {hint}", object::shown(&name))));
        };
        taken[at] = Some(value).filter(|value| !value.is_null());
    }
    Ok(taken)
}

fn text(value: Option<Json>, name: &str) -> Result<String, ActionError> {
    let text = value.and_then(|value| value.to::<String>().ok());
    text.ok_or_else(|| invalid(format!("`{name}` is not a string")))
}

/// Whether an HTTP method only reads.
pub(crate) fn method_reads(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

/// Whether a REST path is relative and climbs nowhere, however it is spelled.
pub(crate) fn is_relative(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace(['\\', '\t', '\n', '\r'], "/");
    let scheme = path.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':'));
    !scheme && !path.starts_with("//") && path.split(['/', '?', '#']).all(|segment| segment != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_for_later_are_read_once_and_need_the_platforms_grant() {
        let grants = Grants { queue: true, shopify: true, ..Grants::default() };
        let check = |text: &str, expected: Result<&str, &str>| {
            let parsed = LaterCall::parse(&Json::parse(text).unwrap(), &grants);
            match (&parsed, expected) {
                (Ok(call), Ok(expected)) => {
                    let stored = Json::of(call).unwrap();
                    assert_eq!(stored.as_str(), expected);
                    assert_eq!(stored.to::<LaterCall>().unwrap(), *call, "{text}");
                }
                (Err(error), Err(expected)) => {
                    assert!(format!("{}: {}", error.code, error.message).contains(expected), "{text}: {error}");
                }
                _ => panic!("{text}: {parsed:?}"),
            }
        };
        check(
            r#"{"platform":"shopify","rest":null,"graphql":{"query":"mutation { a }","variables":{"id":9007199254740993}}}"#,
            Ok(
                r#"{"platform":"shopify","call":{"graphql":{"query":"mutation { a }","variables":{"id":9007199254740993}}}}"#,
            ),
        );
        check(
            r#"{"platform":"shopify","rest":{"method":"put","path":"products/1.json","body":{"a":1.0}}}"#,
            Ok(r#"{"platform":"shopify","call":{"rest":{"method":"PUT","path":"products/1.json","body":{"a":1.0}}}}"#),
        );
        check(r#"{"platform":"bigcommerce","rest":{"method":"GET","path":"/store"}}"#, Err("not-granted: "));
        check(
            r#"{"platform":"shopify","platf\u006frm":"bigcommerce","graphql":{"query":"{a}"}}"#,
            Err("`platform` appears twice"),
        );
        check(
            r#"{"platform":"shopify","rest":{"method":"GET","path":"a","path":"//evil"}}"#,
            Err("`path` appears twice"),
        );
        check(
            r#"{"platform":"shopify","rest":{"method":"GET","path":"https://evil.example"}}"#,
            Err("`path` leaves the API"),
        );
        check(r#"{"platform":"shopify","rest":{"method":"GET"}}"#, Err("`call.rest.path` is not a string"));
        check(
            r#"{"platform":"shopify","rest":{"method":"GET","Path":"x"}}"#,
            Err("has no `Path`; hint: did you mean `path`?"),
        );
        check(r#"{"platform":"shopify"}"#, Err("has neither `graphql` nor `rest`, or both"));
        check(r#"{"platform":["shopify"],"graphql":{"query":"{a}"}}"#, Err("`call.platform` is not a string"));
        check(r#"{"platform":"other","graphql":{}}"#, Err("neither `shopify` nor `bigcommerce`"));
        check("7", Err("`call` is not a JSON object"));
        let long =
            format!(r#"{{"platform":"shopify","graphql":{{"query":"{{ {} }}"}}}}"#, "a ".repeat(GRAPHQL_BYTES_MAX));
        check(&long, Err("at most 262144 (`graphql_bytes_max`)"));
    }

    #[test]
    fn paths_stay_on_the_api() {
        for path in ["products/1.json", "/catalog/products", "orders.json?since=2024-01-01T00:00:00Z", "a..b/c"] {
            assert!(is_relative(path), "{path}");
        }
        for path in ["https://evil.example/x", "//evil.example", "../../oauth", "a/%2E%2e/b", "a\\..\\b", "HTTP:x"] {
            assert!(!is_relative(path), "{path}");
        }
    }
}
