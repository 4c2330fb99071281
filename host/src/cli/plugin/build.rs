//! `tradewind plugin build`: whatever language the folder is in, its component lands in `plugin.wasm`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use tradewind_runtime::Grants;

use super::{check, new};
use crate::cli::{Exit, Fail, Surroundings};

pub(super) const EXAMPLES: &str = "\
Examples:
  tradewind plugin build
  tradewind plugin build plugins/demo

The folder holds a `Cargo.toml` (Rust), a `plugin.js` (JavaScript) or a `plugin.py` (Python).";

/// The target that Rust plugins are built for.
const TARGET: &str = "wasm32-wasip2";

/// Where the component lands, in the plugin's folder.
pub(super) const OUTPUT: &str = "plugin.wasm";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The plugin's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
}

/// What tells that a folder is a plugin's, by language.
pub(super) const PROJECT_FILES: [&str; 3] = ["Cargo.toml", "plugin.js", "plugin.py"];

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let output = built(&arguments.folder, surroundings)?;
    // Everything but the access token is granted here: what an operator grants is decided at install.
    let (plugin, inspection, size) = check::checked(&output, Grants::usual(), surroundings)?;
    print!("{}", check::text(&output, &plugin, &inspection, size));
    Ok(Exit::Fine)
}

/// Builds a folder's plugin and answers where the component is.
pub(super) fn built(folder: &Path, surroundings: &Surroundings) -> Result<PathBuf, Fail> {
    let output = folder.join(OUTPUT);
    let has = |name: &str| folder.join(name).is_file();
    if has("Cargo.toml") {
        let built = cargo(folder)?;
        std::fs::copy(&built, &output)
            .map_err(|error| Fail::failed(format_args!("cannot write `{}`: {error}", output.display())))?;
    } else if has("plugin.js") {
        script("javascript", folder, &output, surroundings)?;
    } else if has("plugin.py") {
        script("python", folder, &output, surroundings)?;
    } else {
        return Err(Fail::usage(format_args!(
            "`{}` holds no `Cargo.toml`, `plugin.js` or `plugin.py`; hint: go to the plugin's folder, or make one with \
             `tradewind plugin new NAME`",
            folder.display()
        )));
    }
    Ok(output)
}

/// One of the messages that cargo writes as JSON.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Builds a Rust plugin and returns where cargo put it.
fn cargo(folder: &Path) -> Result<PathBuf, Fail> {
    let built = Command::new("cargo")
        .args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"])
        .current_dir(folder)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => Fail::failed("`cargo` is not installed; hint: install Rust from `rustup.rs`"),
            _ => Fail::failed(format_args!("cannot run `cargo`: {error}")),
        })?;
    if !built.status.success() {
        let hint = if has_target() {
            "the messages above say what to mend".to_owned()
        } else {
            format!("the target is missing: run `rustup target add {TARGET}`")
        };
        return Err(Fail::failed(format_args!("cargo could not build the plugin; hint: {hint}")));
    }
    let messages = built.stdout.split(|byte| *byte == b'\n');
    let messages = messages.filter_map(|line| serde_json::from_slice::<Message>(line).ok());
    let mut artifacts =
        messages.filter(|message| message.reason == "compiler-artifact").flat_map(|message| message.filenames);
    artifacts.rfind(|file| file.extension().is_some_and(|extension| extension == "wasm")).ok_or_else(|| {
        Fail::usage(
            "cargo built no `.wasm`; hint: the plugin's `Cargo.toml` needs `[lib]` with `crate-type = [\"cdylib\"]`",
        )
    })
}

/// Whether the compiler has a standard library for the target. When it cannot be asked, it is not the target's fault.
fn has_target() -> bool {
    let libraries = Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).output();
    libraries.map_or(true, |output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

/// Builds a plugin with the script of its language's SDK, which is part of this program.
fn script(language: &str, folder: &Path, output: &Path, surroundings: &Surroundings) -> Result<(), Fail> {
    let kit = surroundings.cache.join(concat!("sdk-", env!("CARGO_PKG_VERSION")));
    new::write_kit(&kit)?;
    let script = kit.join("sdk").join(language).join("build.sh");
    let status = Command::new("sh").arg(&script).arg(folder).arg(output).status();
    let status = status.map_err(|error| Fail::failed(format_args!("cannot run `{}`: {error}", script.display())))?;
    if status.success() {
        return Ok(());
    }
    Err(Fail::failed(format_args!(
        "the {language} plugin could not be built; hint: the messages above say what to mend"
    )))
}
