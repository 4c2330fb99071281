//! Plugins in other languages than Rust: built by their SDK's script, skipped with a reason where their toolchain
//! cannot be had, and built again only when something that goes into them has changed.
//!
//! To add a language: a [`GuestLanguage`] here, a line in `setup`, and a script `build.sh SRC_DIR OUT.wasm` in its SDK,
//! which exits with 3 when its tool is missing and cannot be installed. To add an engine that runs a language: one more
//! [`Engine`], whose name the script takes as its last argument.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::project::Project;
use crate::steps::{Outcome, Step, step};
use crate::{command, folders};

/// A first build downloads its compiler; the longest that was seen took 2 minutes.
const BUILD_LIMIT: Duration = Duration::from_mins(15);

/// Bounds on what npm and pip do without a network, where their own defaults add up to many minutes.
pub(crate) const NETWORK_BOUNDS: [(&str, &str); 4] = [
    ("npm_config_fetch_retries", "1"),
    ("npm_config_fetch_timeout", "60000"),
    ("PIP_RETRIES", "1"),
    ("PIP_DEFAULT_TIMEOUT", "30"),
];

/// What a script exits with when its tool is missing and cannot be installed.
const TOOL_MISSING: i32 = 3;

/// A language that plugins are written in.
pub(crate) struct GuestLanguage {
    name: &'static str,
    /// The file that every plugin of this language has.
    entry: &'static str,
    /// The script that builds one, in the folder of its SDK.
    script: &'static str,
    /// What every plugin is built for, each into a component of its own.
    engines: &'static [Engine],
}

/// What runs a language inside a component.
struct Engine {
    /// The last argument of the script; none when there is nothing to choose from.
    arg: Option<&'static str>,
    /// What the names of its components end with.
    suffix: &'static str,
}

pub(crate) const JAVASCRIPT: GuestLanguage = GuestLanguage {
    name: "JavaScript",
    entry: "plugin.js",
    script: "sdk/javascript/build.sh",
    engines: &[
        Engine { arg: Some("quickjs"), suffix: "" },
        Engine { arg: Some("starlingmonkey"), suffix: "-starlingmonkey" },
    ],
};

pub(crate) const PYTHON: GuestLanguage = GuestLanguage {
    name: "Python",
    entry: "plugin.py",
    script: "sdk/python/build.sh",
    engines: &[Engine { arg: None, suffix: "" }],
};

impl GuestLanguage {
    /// Builds every plugin of this language for every engine, each in a step of its own.
    pub(crate) fn build_all(&self, project: &Project) -> Result<()> {
        for plugin in project.plugins_with(self.entry) {
            for engine in self.engines {
                let name = plugin.file_name().unwrap_or_default().to_string_lossy() + engine.suffix;
                let title = format!("{} plugin `{name}`", self.name);
                step("setup", &title, |step| self.build(project, &plugin, engine, &name, step))?;
            }
        }
        Ok(())
    }

    fn build(&self, project: &Project, plugin: &Path, engine: &Engine, name: &str, step: &Step<'_>) -> Result<Outcome> {
        let script = project.root.join(self.script);
        let sdk = script.parent().context("a script lies in a folder")?;
        if !script.is_file() {
            bail!("there is no `{}` to build `{name}` with", script.display());
        }
        let component = project.plugins_folder().join(format!("{name}.wasm"));
        let stamp_file = component.with_extension("stamp");
        let stamp = stamp(&[plugin, &project.root.join("wit"), sdk])?;
        if component.is_file() && fs::read_to_string(&stamp_file).is_ok_and(|there| there == stamp) {
            return Ok(Outcome::AlreadyThere);
        }
        // Tests must not run against the component of an older source when this build is skipped.
        remove_file(&stamp_file)?;
        remove_file(&component)?;
        folders::make(&project.plugins_folder())?;
        let mut build = Command::new("sh");
        build.current_dir(&project.root).arg(&script).args([plugin, component.as_path()]).args(engine.arg);
        build.envs(NETWORK_BOUNDS);
        step.says(format_args!("building with `{}`", self.script));
        let ended = command::quote_to_end(&mut build, BUILD_LIMIT)?;
        if ended.status.code() == Some(TOOL_MISSING) {
            let reason = ended.lines.last().map_or("its tool is missing", String::as_str);
            return Ok(Outcome::Skipped(format!("{reason}\nhint: see to that, then run `cargo xtask plugins`")));
        }
        if !ended.status.success() {
            bail!(
                "`{name}` does not build ({})\nhint: see above; to build it again: `cargo xtask plugins`",
                ended.status
            );
        }
        if !component.is_file() {
            bail!("`{}` succeeded but wrote no `{}`", self.script, component.display());
        }
        folders::write_whole(&stamp_file, stamp.as_bytes())?;
        Ok(Outcome::Done)
    }
}

/// A hash over the names and contents of all files that go into a plugin.
fn stamp(inputs: &[&Path]) -> Result<String> {
    let mut hash = Sha256::new();
    for folder in inputs {
        for file in folders::files_below(folder, is_source)? {
            let inside = file.strip_prefix(folder).context("a file lies below its folder")?;
            let bytes = fs::read(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
            hash.update(inside.as_os_str().as_encoded_bytes());
            // The zero ends the name, the length the content: no two lists of files look alike.
            hash.update([0]);
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(&bytes);
        }
        hash.update([0xff]);
    }
    Ok(hash.finalize().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")))
}

/// Whether a folder holds what people write, rather than what tools put there.
fn is_source(folder: &str) -> bool {
    !folder.starts_with('.') && !["node_modules", "__pycache__", "venv", "dist", "build", "target"].contains(&folder)
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::stamp;

    #[test]
    fn a_stamp_changes_with_names_and_contents_only() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
            stamp(&[folder.path()]).unwrap()
        };
        let first = write("a.js", "one");
        assert_eq!(first, write("a.js", "one"));
        assert_eq!(first, write("node_modules/b.js", "installed"));
        assert_ne!(first, write("a.js", "two"));
        assert_eq!(first, write("a.js", "one"));
        assert_ne!(first, write("src/b.js", ""));
    }
}
