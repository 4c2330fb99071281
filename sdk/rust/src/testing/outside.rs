//! The contract's functions that reach other systems, answered from prepared answers. Same names and shapes as the generated
//! bindings.

use std::cell::RefCell;

use serde_json::json;

use super::Effect;
use super::wire::{not_available, parse, with};
use crate::{Error, Result};

/// Answers a platform call from the prepared answers; an empty object when none matches.
fn platform(platform: &str, what: String, with_values: &str) -> Result<String> {
    let values = parse(with_values)?;
    // A short look, for tests: the host itself reads the document.
    let reads = ["query", "{", "GET ", "HEAD "].iter().any(|start| what.trim_start().starts_with(start));
    with(|host| {
        if !host.success && !reads {
            return Err(Error::new("wrong-phase", "a platform cannot be rolled back; write to it in `success`"));
        }
        let prepared = host.answers.iter().position(|(matching, _)| what.contains(matching.as_str()));
        let answer = prepared.map_or_else(|| Ok(json!({})), |at| host.answers.remove(at).1);
        host.effects.push(Effect::Call(platform.to_owned(), what, values));
        answer.map(|value| value.to_string())
    })
}

/// A list that ends after its first page.
pub(crate) struct OnePage {
    answer: RefCell<Option<Result<String>>>,
}

impl OnePage {
    pub(crate) fn next(&self) -> Result<Option<String>> {
        self.answer.take().transpose()
    }
}

pub(crate) mod shopify {
    use super::{Error, OnePage, RefCell, Result, json, not_available, platform, with};

    pub(crate) struct Client(String);
    pub(crate) type Pager = OnePage;

    impl Client {
        pub(crate) fn current() -> Option<Self> {
            with(|host| host.shop.clone()).map(Self)
        }
        pub(crate) fn for_shop_id(id: &str) -> Result<Self> {
            Self::current().filter(|_| id == "1").ok_or_else(|| no_shop(id))
        }
        pub(crate) fn for_shop_domain(domain: &str) -> Result<Self> {
            Self::current().filter(|client| client.0 == domain).ok_or_else(|| no_shop(domain))
        }
        pub(crate) fn shop_id(&self) -> String {
            "1".to_owned()
        }
        pub(crate) fn shop_domain(&self) -> String {
            self.0.clone()
        }
        pub(crate) fn graphql(&self, query: &str, variables: &str, _: &str) -> Result<String> {
            platform("shopify", query.to_owned(), variables)
        }
        pub(crate) fn rest(
            &self,
            method: &str,
            path: &str,
            query: &str,
            body: Option<&str>,
            _: &str,
        ) -> Result<String> {
            platform("shopify", format!("{method} {path}"), body.unwrap_or(query))
        }
        pub(crate) fn rest_pages(&self, path: &str, query: &str, options: &str) -> Result<Pager> {
            Ok(OnePage { answer: RefCell::new(Some(self.rest("GET", path, query, None, options))) })
        }
        pub(crate) fn graphql_pages(&self, query: &str, variables: &str, _: &str, options: &str) -> Result<Pager> {
            Ok(OnePage { answer: RefCell::new(Some(self.graphql(query, variables, options))) })
        }
        pub(crate) fn budget(&self) -> String {
            json!({}).to_string()
        }
        pub(crate) fn credentials(&self) -> Result<String> {
            Err(not_available("credentials"))
        }
    }

    fn no_shop(name: &str) -> Error {
        Error::new("not-found", format_args!("no Shopify shop `{name}` is installed"))
    }
}

pub(crate) mod bigcommerce {
    use super::{Error, OnePage, RefCell, Result, json, not_available, platform};

    pub(crate) struct Client(String);
    pub(crate) type Pager = OnePage;

    impl Client {
        pub(crate) fn current() -> Option<Self> {
            None
        }
        pub(crate) fn for_store_id(id: &str) -> Result<Self> {
            Err(Error::new("not-found", format_args!("no BigCommerce store `{id}` is installed")))
        }
        /// Any hash is a store here, so that a plugin for BigCommerce can be tested.
        pub(crate) fn for_store_hash(hash: &str) -> Result<Self> {
            Ok(Self(hash.to_owned()))
        }
        pub(crate) fn store_id(&self) -> String {
            "1".to_owned()
        }
        pub(crate) fn store_hash(&self) -> String {
            self.0.clone()
        }
        pub(crate) fn request(&self, _: &str, method: &str, path: &str, options: &str) -> Result<String> {
            platform("bigcommerce", format!("{method} {path}"), options)
        }
        pub(crate) fn pages(&self, api: &str, path: &str, options: &str) -> Result<Pager> {
            Ok(OnePage { answer: RefCell::new(Some(self.request(api, "GET", path, options))) })
        }
        pub(crate) fn budget(&self) -> String {
            json!({}).to_string()
        }
        pub(crate) fn credentials(&self) -> Result<String> {
            Err(not_available("credentials"))
        }
    }
}

pub(crate) mod http {
    use super::{Effect, Error, Result, with};

    pub(crate) struct Response(u16, String);

    impl Response {
        pub(crate) fn status(&self) -> u16 {
            self.0
        }
        pub(crate) fn header(&self, _: &str) -> Option<String> {
            None
        }
        pub(crate) fn body(&self) -> Vec<u8> {
            self.1.clone().into_bytes()
        }
        pub(crate) fn text(&self) -> String {
            self.1.clone()
        }
    }

    pub(crate) fn send(
        method: &str,
        url: &str,
        _: &[(String, String)],
        body: Option<&[u8]>,
        _: &str,
    ) -> Result<Response> {
        let body = String::from_utf8_lossy(body.unwrap_or_default()).into_owned();
        with(|host| {
            if !host.success && !matches!(method, "GET" | "HEAD" | "OPTIONS") {
                return Err(Error::new("wrong-phase", "what was sent cannot be taken back"));
            }
            let prepared = host.responses.iter().position(|(matching, ..)| url.contains(matching.as_str()));
            let response = prepared.map_or((200, String::new()), |at| {
                let (_, status, body) = host.responses.remove(at);
                (status, body)
            });
            host.effects.push(Effect::Request(method.to_owned(), url.to_owned(), body));
            Ok(Response(response.0, response.1))
        })
    }
}
