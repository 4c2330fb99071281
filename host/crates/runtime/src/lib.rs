//! The sandbox: runs one call of a plugin in a fresh instance, bounded in every direction.
//!
//! This is the only crate that knows wasmtime. It knows nothing of storage, HTTP or platforms: what a plugin can do to
//! the world is the trait [`Session`], which somebody else implements.
//!
//! The way of a call: [`Runtime::invoke`] waits at the `gate` for a slot, `invoke` makes a fresh store and instance,
//! the modules of `host` serve the guest's calls, `meter` counts them, `ticker` interrupts loops, and [`Outcome`] brings
//! back the result, the record and the session. Nothing of the instance survives.

mod artifacts;
mod bindings;
mod call;
mod check;
mod compiler;
mod failure;
pub mod fake;
mod gate;
mod host;
mod invoke;
mod limits;
mod meter;
mod pool;
mod processor;
mod runtime;
pub mod session;
mod share;
mod text;
mod ticker;
mod wasi;

pub use artifacts::ArtifactCache;
pub use check::{Grants, Inspection, Needs, Problem, inspect};
pub use compiler::{COMPILE_COMMAND, Compiler, compile_stdin};
pub use failure::{Failure, Frames};
pub use invoke::{Invocation, Outcome, Phase};
pub use limits::{COMPONENT_BYTES_MAX, Limit, LimitExceeded, Limits, STACK_BYTES_MAX, TICK};
pub use meter::Usage;
pub use pool::Tuning;
pub use runtime::{InstallError, Plugin, Runtime, RuntimeConfig};
pub use session::Session;
