//! Shopify.

pub mod client;
mod effects;
mod mapper;
mod models;
mod signature;
mod webhook;

pub use effects::{graphql_effects, rest_effects};
pub use mapper::{Shopify, models, subject};
pub use signature::SigningSecrets;
pub use webhook::{HEADER_BYTES_MAX, Headers, Refusal, Webhook, is_shop_domain, verify};
