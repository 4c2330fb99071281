//! What goes wrong, made to go wrong: in a short form as tests, at length by `cargo xtask faults`.
//!
//! Each module is one kind of fault. All but `sandbox`, `ingress`, `mapper` and `totals` let a [`victim`](mod@victim) take in webhooks and process them, do
//! something terrible to it, and look afterwards: whatever was acknowledged is in the data, once, and nothing is there by
//! half. To add a kind: a module with a `run`, and a line in `bin/faults.rs` and in the integration test.

mod crowd;
pub mod disk;
pub mod frozen;
pub mod ingress;
pub mod kill;
pub mod mapper;
mod memory;
mod mutation;
pub mod sandbox;
pub mod server;
pub mod totals;
pub mod victim;

use std::path::Path;
use std::time::Instant;

pub use crowd::Start;
pub use victim::Load;

/// What a run of faults did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In numbers, for people.
    pub did: String,
    /// How many things were not as expected. Each was printed.
    pub failures: u64,
}

/// How to start a victim of `program` on a store, that counts.
pub fn start_of(program: &Path, store: &str) -> Start {
    Start {
        program: program.to_owned(),
        around: Vec::new(),
        store: store.to_owned(),
        lease_ms: 150,
        load: Load::Counting,
        began: Instant::now(),
    }
}
