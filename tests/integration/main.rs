//! The product seen from outside, in one program.
//!
//! A module for each idea. To add one: data first, one function that checks a case, and nothing that sleeps.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "all of this program is a test")]
// The `json!` of a whole answer nests deeper than the usual.
#![recursion_limit = "256"]

mod cache;
mod check;
mod cli;
mod codes;
mod compiling;
mod config;
mod conformance;
mod contract;
mod contract_platforms;
mod emulator;
mod faults;
mod heavy;
mod hostile;
mod ingress;
mod installing;
mod neighbours;
mod npm;
mod odd_components;
mod pipeline;
mod postgres_cluster;
mod program;
mod scheduler;
mod shopify_client;
mod store;
mod store_cli;
mod tidy;
mod traces;
mod webhooks;
