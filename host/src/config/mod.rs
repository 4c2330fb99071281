//! The configuration: what a host listens on, keeps and runs, read from `tradewind.toml` and each app's `app.toml`.
//!
//! It reads files and decides; it opens no store, no socket and no sandbox. Either everything is right and there are typed
//! values, or all that is wrong is told at once, each with its place. Every type can be made without a file, too.
//!
//! To add a key: a field with its meaning, a line where its section is read, a row in `docs/configuration.md`, and a case
//! in `tests/integration/config.rs` for what can be wrong with it.

mod app;
mod connection;
mod document;
mod limits;
mod mirror;
mod models;
mod plugin;
mod problem;
mod server;
mod source;
mod version;

use std::ffi::OsString;
use std::path::Path;

pub use app::{App, webhook_path};
pub use connection::{Connection, Platform, Shop};
pub use limits::Limits;
pub use plugin::Plugin;
pub use problem::{Problem, Problems, Warning};
pub use secrecy::{ExposeSecret, SecretString};
pub use server::{Cache, Listen, Log, LogFormat, Server, Traces};
pub use version::API_VERSION;

/// Reads a server file and the apps that it names. `environment` is what an environment variable holds.
pub fn load(path: &Path, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<(Server, Vec<Warning>), Problems> {
    let notes = problem::Notes::default();
    let server = server::read(path, environment, &notes);
    notes.end(server)
}

/// Reads the limits of a server file, whatever else is wrong with it.
pub fn load_limits(path: &Path) -> Result<Limits, Problems> {
    let notes = problem::Notes::default();
    let limits = server::read_limits(path, &notes);
    notes.end(limits).map(|(limits, _)| limits)
}
