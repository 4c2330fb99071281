//! What is known of the commerce platforms: how they sign, what they send, how they are called.
//!
//! Knows neither the store nor the sandbox; the pipeline joins the three. To add a platform, add a module with its
//! signature, its headers, its models and mapper, and its client.

pub mod effect;
pub mod mapping;
pub mod shopify;

/// SHA-256 of a body, by which the same one is known again.
pub fn digest(body: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, body);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}
