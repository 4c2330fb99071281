//! What is known of the commerce platforms: how they sign, what they send, how they are called.
//!
//! Knows neither the store nor the sandbox; the pipeline joins the three. To add a platform, add a module with its
//! signature, its headers, its models and mapper, and its client.

pub mod effect;
pub mod mapping;
pub mod shopify;
