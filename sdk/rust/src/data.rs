//! The app's records, seen through this call's own unwritten changes, and always through the current shop.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Result;
use crate::host::{data as host, text};

/// One page of a query.
pub struct Page<T> {
    /// The records.
    pub records: Vec<T>,
    /// Whether there is a page behind this one.
    pub has_next: bool,
    /// What to pass as `after` for the next page.
    pub end_cursor: Option<String>,
}

/// Reads a record by its id. `not-found` when there is none.
pub fn find_one<T: DeserializeOwned>(model: &str, id: &str) -> Result<T> {
    Ok(serde_json::from_str(&host::find_one(model, id, "null")?)?)
}

/// Reads a record by its id.
pub fn maybe_find_one<T: DeserializeOwned>(model: &str, id: &str) -> Result<Option<T>> {
    option(host::maybe_find_one(model, id, "null")?)
}

/// Reads a record by the values of a unique key, for example `json!({"storeHash": hash})`.
pub fn maybe_find_by<T: DeserializeOwned>(model: &str, key: &Value) -> Result<Option<T>> {
    option(host::maybe_find_by(model, &key.to_string(), "null")?)
}

/// The first record that a query matches.
pub fn maybe_find_first<T: DeserializeOwned>(model: &str, query: &Value) -> Result<Option<T>> {
    option(host::maybe_find_first(model, &query.to_string())?)
}

/// One page of the records that a query matches, for example
/// `json!({"filter": {"vendor": {"equals": "Acme"}}, "sort": [{"title": "ascending"}], "first": 50})`.
pub fn find_many<T: DeserializeOwned>(model: &str, query: &Value) -> Result<Page<T>> {
    let page = host::find_many(model, &query.to_string())?;
    Ok(Page {
        records: serde_json::from_str(&page.records())?,
        has_next: page.has_next(),
        end_cursor: page.end_cursor(),
    })
}

/// How many records a query matches.
pub fn count(model: &str, query: &Value) -> Result<u64> {
    Ok(host::count(model, &query.to_string())?)
}

/// Creates a record and runs its `create` actions.
pub fn create<T: DeserializeOwned>(model: &str, values: &impl Serialize) -> Result<T> {
    Ok(serde_json::from_str(&host::create(model, &text(values)?, "null")?)?)
}

/// Updates a record and runs its `update` actions.
pub fn update<T: DeserializeOwned>(model: &str, id: &str, values: &impl Serialize) -> Result<T> {
    Ok(serde_json::from_str(&host::update(model, id, &text(values)?, "null")?)?)
}

/// Creates or updates by the fields named in `on`.
pub fn upsert<T: DeserializeOwned>(model: &str, on: &[&str], values: &impl Serialize) -> Result<T> {
    Ok(serde_json::from_str(&host::upsert(model, &owned(on), &text(values)?, "null")?)?)
}

/// Deletes a record and runs its `delete` actions.
pub fn delete(model: &str, id: &str) -> Result<()> {
    Ok(host::delete(model, id, "null")?)
}

/// Creates, updates and deletes the children that `field` of the parent lists, until they match `values`.
pub fn converge<T: DeserializeOwned>(model: &str, id: &str, field: &str, values: &impl Serialize) -> Result<T> {
    Ok(serde_json::from_str(&host::converge(model, id, field, &text(values)?, "null")?)?)
}

/// Creates several records; all of them or none.
pub fn bulk_create<T: DeserializeOwned>(model: &str, values: &impl Serialize) -> Result<Vec<T>> {
    Ok(serde_json::from_str(&host::bulk_create(model, &text(values)?, "null")?)?)
}

/// Updates several records, each with its `id`; all of them or none.
pub fn bulk_update<T: DeserializeOwned>(model: &str, values: &impl Serialize) -> Result<Vec<T>> {
    Ok(serde_json::from_str(&host::bulk_update(model, &text(values)?, "null")?)?)
}

/// Creates or updates several records; all of them or none.
pub fn bulk_upsert<T: DeserializeOwned>(model: &str, on: &[&str], values: &impl Serialize) -> Result<Vec<T>> {
    Ok(serde_json::from_str(&host::bulk_upsert(model, &owned(on), &text(values)?, "null")?)?)
}

/// Deletes several records; all of them or none.
pub fn bulk_delete(model: &str, ids: &[&str]) -> Result<()> {
    Ok(host::bulk_delete(model, &owned(ids), "null")?)
}

/// Runs another action of the app inside this unit of work. `action` is `model.verb` or a global action's name.
pub fn run_action<T: DeserializeOwned>(action: &str, params: &impl Serialize) -> Result<T> {
    Ok(serde_json::from_str(&host::run_action(action, &text(params)?)?)?)
}

fn option<T: DeserializeOwned>(found: Option<String>) -> Result<Option<T>> {
    Ok(found.map(|text| serde_json::from_str(&text)).transpose()?)
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
