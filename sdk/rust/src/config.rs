//! What the operator configured for this plugin. There is no environment.

use serde::de::DeserializeOwned;

use crate::Result;
use crate::host::config as host;

/// A setting, none when it is not set.
pub fn get<T: DeserializeOwned>(name: &str) -> Result<Option<T>> {
    Ok(host::get(name).map(|text| serde_json::from_str(&text)).transpose()?)
}

/// A secret, none when it is not set.
pub fn secret(name: &str) -> Result<Option<String>> {
    Ok(host::secret(name)?)
}
