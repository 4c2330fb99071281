//! Shopify.

mod mapper;
mod models;
mod signature;
mod webhook;

pub use mapper::{Shopify, field_of, member_of, models, subject};
pub use signature::SigningSecrets;
pub use webhook::{HEADER_BYTES_MAX, Headers, Refusal, Webhook, is_shop_domain, verify};
