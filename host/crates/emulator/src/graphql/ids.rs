//! Names of things across the platform: `gid://shopify/Product/1`.

use async_graphql::{Error, ErrorExtensions as _, ID};

use crate::catalog::gid;

/// The GraphQL form of an id.
pub(super) fn id(kind: &str, number: u64) -> ID {
    ID(gid(kind, number))
}

/// What an id names: its kind and number.
pub(super) fn parse(id: &ID) -> Option<(&str, u64)> {
    let (kind, number) = id.0.strip_prefix("gid://shopify/")?.split_once('/')?;
    Some((kind, number.split('?').next()?.parse().ok()?))
}

/// The number of an id that must be of a kind. The text is the platform's for what is no id at all.
pub(super) fn number(id: &ID, kind: &str) -> Result<u64, Error> {
    match parse(id) {
        Some((found, number)) if found == kind => Ok(number),
        Some(_) => Err(invalid()),
        None => Err(Error::new(format!("Invalid global id '{}'", id.0))),
    }
}

/// An id of the wrong kind.
pub(super) fn invalid() -> Error {
    Error::new("invalid id").extend_with(|_, extensions| extensions.set("code", "RESOURCE_NOT_FOUND"))
}
