//! Shopify.

pub mod client;
mod documents;
mod effects;
mod hydrate;
mod mapper;
mod misfit;
mod models;
mod signature;
mod webhook;

pub use client::{
    AdminApi, Api, CallReport, Client, Connection, Observer, Options, Page, PlatformError, SetupError, install_tls,
};
pub use effects::{answer_effects, rest_effects};
pub use hydrate::{VARIANTS_QUERY, children_of, children_query};
pub use mapper::{Shopify, models, subject};
pub use signature::SigningSecrets;
pub use webhook::{HEADER_BYTES_MAX, Headers, Refusal, Webhook, check_headers, is_shop_domain, named, verify};
