//! Shopify.

