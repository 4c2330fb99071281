//! Where things are: the workspace, its target folder, its plugins, and what the environment says.
//!
//! The only module that reads the environment. Other modules take the values from [`Project`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::{command, folders};

/// The workspace and the surroundings that set-up depends on.
pub(crate) struct Project {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Cargo's target folder, wherever the person has put it.
    pub(crate) target: PathBuf,
    /// The Rust packages below `plugins/` that build to a component.
    pub(crate) rust_plugins: Vec<RustPlugin>,
    environment: Environment,
}

/// A package below `plugins/` with a `cdylib`.
pub(crate) struct RustPlugin {
    /// The package's name, as `product-tagger`.
    pub(crate) package: String,
    /// The name of the file that cargo makes of it, as `product_tagger`.
    pub(crate) artifact: String,
}

/// How a program is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Soon.
    Debug,
    /// As it is shipped.
    Release,
}

struct Environment {
    cargo: PathBuf,
    /// This package. As cargo says now: checkouts that share a target folder share this program too.
    package: PathBuf,
    /// The names of what cargo tells this program of its package.
    of_package: Vec<OsString>,
    cache_folder: Option<PathBuf>,
    rust_source: Option<PathBuf>,
    path: OsString,
}

impl Project {
    /// Asks cargo about the workspace that it runs this program for.
    pub(crate) fn load() -> Result<Self> {
        let environment = read_environment();
        let root = environment.package.parent().context("`xtask` lies in a workspace")?.to_owned();
        let text = command::read(Command::new(&environment.cargo).current_dir(&root).args([
            "metadata",
            "--no-deps",
            "--format-version=1",
        ]))?;
        let metadata: Value = serde_json::from_str(&text).context("`cargo metadata` did not print JSON")?;
        let target = metadata["target_directory"].as_str().context("`cargo metadata` names no target folder")?.into();
        let rust_plugins = rust_plugins(&metadata, &root.join("plugins"));
        Ok(Self { root, target, rust_plugins, environment })
    }

    /// A cargo command in the workspace: the very cargo that runs this program. Not told of the package that it runs: build
    /// scripts look at that, and would run again whenever the same command is typed by hand.
    pub(crate) fn cargo<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(&self.environment.cargo);
        command.current_dir(&self.root).args(args);
        for name in &self.environment.of_package {
            command.env_remove(name);
        }
        command
    }

    /// Builds one of the workspace's programs. All members are selected, as for the tests, so that both share what they
    /// compile: dependencies with other features would be compiled again.
    pub(crate) fn build_program(&self, name: &str, profile: Profile) -> Command {
        let mut build = self.cargo(["build", "--workspace", "--bin", name]);
        if profile == Profile::Release {
            build.arg("--release");
        }
        build
    }

    /// Where such a program lies.
    pub(crate) fn program(&self, name: &str, profile: Profile) -> PathBuf {
        let folder = if profile == Profile::Release { "release" } else { "debug" };
        self.target.join(folder).join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// Where the built plugins are.
    pub(crate) fn plugins_folder(&self) -> PathBuf {
        self.target.join("plugins")
    }

    /// The private folder for what set-up downloads; below the target folder when the person has no cache folder.
    pub(crate) fn toolchain_folder(&self) -> PathBuf {
        self.environment.cache_folder.as_ref().unwrap_or(&self.target).join("tradewind").join("toolchain")
    }

    /// The standard library's source that the person named with `TRADEWIND_RUST_SRC`.
    pub(crate) fn rust_source(&self) -> Option<&Path> {
        self.environment.rust_source.as_deref()
    }

    /// The folders in which the person's programs are.
    pub(crate) fn program_folders(&self) -> impl Iterator<Item = PathBuf> {
        std::env::split_paths(&self.environment.path)
    }

    /// The folders of plugins that hold a file of this name.
    pub(crate) fn plugins_with(&self, file: &str) -> Vec<PathBuf> {
        let mut found = folders::entries_in(&self.root.join("plugins"));
        found.retain(|folder| folder.join(file).is_file());
        found
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of the command line that reads the environment")]
fn read_environment() -> Environment {
    let folder = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    Environment {
        cargo: folder("CARGO").unwrap_or_else(|| PathBuf::from("cargo")),
        of_package: std::env::vars_os().map(|(name, _)| name).filter(is_of_package).collect(),
        package: folder("CARGO_MANIFEST_DIR").unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR"))),
        cache_folder: folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache"))),
        rust_source: folder("TRADEWIND_RUST_SRC").map(|path| std::path::absolute(&path).unwrap_or(path)),
        path: std::env::var_os("PATH").unwrap_or_default(),
    }
}

fn is_of_package(name: &OsString) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix))
}

fn rust_plugins(metadata: &Value, plugins: &Path) -> Vec<RustPlugin> {
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let (Some(name), Some(manifest)) = (package["name"].as_str(), package["manifest_path"].as_str()) else {
            continue;
        };
        let mut targets = package["targets"].as_array().into_iter().flatten();
        let component = targets.find(|target| {
            target["crate_types"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "cdylib"))
        });
        if let Some(artifact) = component.and_then(|target| target["name"].as_str())
            && Path::new(manifest).starts_with(plugins)
        {
            found.push(RustPlugin { package: name.to_owned(), artifact: artifact.replace('-', "_") });
        }
    }
    found
}
