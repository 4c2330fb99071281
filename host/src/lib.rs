//! Tradewind: runs WebAssembly action plugins for commerce platforms.
//!
//! The layers and what each may know are in `docs/architecture.md`.

pub mod cli;
pub mod config;
pub mod dev;
pub mod ingress;
pub mod pipeline;
mod printable;
pub mod scheduler;
pub mod serve;
mod traces;
pub mod watch;
