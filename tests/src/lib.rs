//! What the integration tests, the benchmarks and the fault runs share: where the built plugins are, how to call one,
//! and a server to keep data in.

pub mod acceptance;
pub mod components;
pub mod faults;
mod fixture;
pub mod host;
pub mod open_door;
pub mod plain;
pub mod postgres;
pub mod serving;
pub mod stores;
pub mod webhook;

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

pub use fixture::{Fixture, NOW, SEED, install, installed, limits, runtime};

/// The folder of the built plugins: `<target>/plugins`, seen from the program that asks.
///
/// Fails with the command that builds them.
pub fn plugins_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let found = program
        .ancestors()
        .map(|folder| folder.join("plugins"))
        .find(|folder| folder.join("product-tagger.wasm").exists());
    found.ok_or_else(|| {
        anyhow::anyhow!("no built plugins beside `{}`; hint: run `cargo xtask plugins`", program.display())
    })
}

/// A built plugin's bytes.
pub fn plugin(name: &str) -> anyhow::Result<Vec<u8>> {
    let path = plugins_folder()?.join(format!("{name}.wasm"));
    std::fs::read(&path)
        .map_err(|error| anyhow::anyhow!("cannot read `{}`: {error}; hint: run `cargo xtask plugins`", path.display()))
}

/// The folder of compiled artifacts that tests and benchmarks share, so that a component is compiled once.
pub fn artifacts_folder() -> anyhow::Result<PathBuf> {
    Ok(plugins_folder()?.with_file_name("artifacts"))
}

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A digest as text, as `sha256sum` writes it.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}
