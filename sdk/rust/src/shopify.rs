//! Shopify's Admin API. The host holds the token, waits for the shop's budget and retries what is worth it.
//!
//! Calls that write are refused with `wrong-phase` during `run`.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::host::{shopify as host, text};
use crate::{Error, Result};

/// A shop's client.
pub struct Client(host::Client);

/// The current shop's client. An error when there is no current Shopify shop.
pub fn current() -> Result<Client> {
    maybe_current().ok_or_else(|| Error::new("shop-required", "there is no current Shopify shop"))
}

/// The current shop's client, if there is a current Shopify shop.
pub fn maybe_current() -> Option<Client> {
    host::Client::current().map(Client)
}

/// The client of a shop by our id.
pub fn for_shop_id(id: &str) -> Result<Client> {
    Ok(Client(host::Client::for_shop_id(id)?))
}

/// The client of a shop by its `name.myshopify.com`.
pub fn for_shop_domain(domain: &str) -> Result<Client> {
    Ok(Client(host::Client::for_shop_domain(domain)?))
}

impl Client {
    /// Our id of the shop.
    pub fn shop_id(&self) -> String {
        self.0.shop_id()
    }

    /// The shop's `name.myshopify.com`.
    pub fn shop_domain(&self) -> String {
        self.0.shop_domain()
    }

    /// Runs a GraphQL operation and returns its `data`. A mutation's `userErrors` are an error.
    pub fn graphql<T: DeserializeOwned>(&self, query: &str, variables: &impl Serialize) -> Result<T> {
        self.graphql_with(query, variables, &Value::Null)
    }

    /// Like [`graphql`](Self::graphql), with the options `{"timeoutMs", "apiVersion", "idempotencyKey", "retries"}`.
    pub fn graphql_with<T: DeserializeOwned>(
        &self,
        query: &str,
        variables: &impl Serialize,
        options: &Value,
    ) -> Result<T> {
        Ok(serde_json::from_str(&self.0.graphql(query, &text(variables)?, &options.to_string())?)?)
    }

    /// Sends a REST request; `path` is relative to the versioned root.
    pub fn rest<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        query: &Value,
        body: Option<&Value>,
    ) -> Result<T> {
        let body = body.map(Value::to_string);
        Ok(serde_json::from_str(&self.0.rest(method, path, &query.to_string(), body.as_deref(), "null")?)?)
    }

    /// Reads a REST resource: `get("products/1.json")`.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.rest("GET", path, &Value::Null, None)
    }

    /// Creates a REST resource: `post("products.json", &json!({"product": {…}}))`.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        self.rest("POST", path, &Value::Null, Some(body))
    }

    /// Updates a REST resource.
    pub fn put<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T> {
        self.rest("PUT", path, &Value::Null, Some(body))
    }

    /// Deletes a REST resource.
    pub fn delete(&self, path: &str) -> Result<()> {
        self.rest::<Value>("DELETE", path, &Value::Null, None).map(drop)
    }

    /// Every page of a REST list.
    pub fn rest_pages(&self, path: &str, query: &Value) -> Result<Pages> {
        Ok(Pages(self.0.rest_pages(path, &query.to_string(), "null")?))
    }

    /// Every page of the connection at the dotted `path` of a query that takes `$after`.
    pub fn graphql_pages(&self, query: &str, variables: &impl Serialize, path: &str) -> Result<Pages> {
        Ok(Pages(self.0.graphql_pages(query, &text(variables)?, path, "null")?))
    }

    /// What the host knows of the budget now.
    pub fn budget(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.0.budget())?)
    }

    /// The shop's name and access token, with the grant `expose-token` only.
    pub fn credentials(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.0.credentials()?)?)
    }
}

/// The pages of a list, each a vector of items.
pub struct Pages(host::Pager);

impl Iterator for Pages {
    type Item = Result<Vec<Value>>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.next() {
            Ok(None) => None,
            Ok(Some(text)) => Some(serde_json::from_str(&text).map_err(Error::from)),
            Err(error) => Some(Err(error.into())),
        }
    }
}
