//! BigCommerce's REST API, under the same rules as [`shopify`](crate::shopify).

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::host::bigcommerce as host;
use crate::{Error, Result};

/// Which generation of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// The older one, which orders are still in.
    V2,
    /// The present one.
    V3,
}

impl Api {
    fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V3 => "v3",
        }
    }
}

/// A store's client.
pub struct Client(host::Client);

/// The current store's client. An error when there is no current BigCommerce store.
pub fn current() -> Result<Client> {
    maybe_current().ok_or_else(|| Error::new("shop-required", "there is no current BigCommerce store"))
}

/// The current store's client, if there is a current BigCommerce store.
pub fn maybe_current() -> Option<Client> {
    host::Client::current().map(Client)
}

/// The client of a store by our id.
pub fn for_store_id(id: &str) -> Result<Client> {
    Ok(Client(host::Client::for_store_id(id)?))
}

/// The client of a store by its hash.
pub fn for_store_hash(hash: &str) -> Result<Client> {
    Ok(Client(host::Client::for_store_hash(hash)?))
}

impl Client {
    /// Our id of the store.
    pub fn store_id(&self) -> String {
        self.0.store_id()
    }

    /// The store's hash.
    pub fn store_hash(&self) -> String {
        self.0.store_hash()
    }

    /// Sends a request; `options` is `{"path", "query", "body"}`, each optional. Returns the unwrapped data.
    pub fn request<T: DeserializeOwned>(&self, api: Api, method: &str, path: &str, options: &Value) -> Result<T> {
        Ok(serde_json::from_str(&self.0.request(api.name(), method, path, &options.to_string())?)?)
    }

    /// Every page of a list.
    pub fn pages(&self, api: Api, path: &str, options: &Value) -> Result<Pages> {
        Ok(Pages(self.0.pages(api.name(), path, &options.to_string())?))
    }

    /// What the host knows of the budget now.
    pub fn budget(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.0.budget())?)
    }

    /// The store's hash and access token, with the grant `expose-token` only.
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
