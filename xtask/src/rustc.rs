//! The compiler in use: its version, its folder, and whether it can build plugins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;

/// The target of plugins: components of WASI 0.2.
pub(crate) const TARGET: &str = "wasm32-wasip2";

/// How every component starts: `\0asm`, then version 13 of the binary format, layer 1. A core module has layer 0.
const COMPONENT_HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// Uses what plugins use of the standard library, so that a target that lacks a part of it is noticed here.
const PROBE: &str = r#"
use std::collections::HashMap;

#[unsafe(no_mangle)]
pub extern "C" fn probe(count: u32) -> u32 {
    let squares: HashMap<u32, u32> = (0..count).map(|n| (n, n * n)).collect();
    println!("{:?} {squares:?}", std::time::SystemTime::now());
    squares.get(&7).copied().unwrap_or_else(|| panic!("no square of 7 below {count}"))
}
"#;

/// The compiler that cargo uses here.
pub(crate) struct Rustc {
    /// Its version, as `1.95.0`.
    pub(crate) release: String,
    /// The commit it was built from; its version when it does not say.
    pub(crate) commit: String,
    sysroot: PathBuf,
}

/// Whether the compiler can build plugins.
pub(crate) enum TargetState {
    /// There is no standard library for the target.
    Missing,
    /// There is one, but a plugin does not build with it; the text says why.
    Broken(String),
    /// A plugin builds.
    Works,
}

impl Rustc {
    /// Asks `rustc` about itself.
    pub(crate) fn find() -> Result<Self> {
        let hint = "hint: install Rust with rustup, see `https://rustup.rs`";
        let about = command::read(Command::new("rustc").arg("-vV")).with_context(|| format!("no `rustc`\n{hint}"))?;
        let value = |key: &str| about.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        let release = value("release:").context("`rustc -vV` names no release")?.to_owned();
        let commit = value("commit-hash:").filter(|commit| *commit != "unknown").unwrap_or(&release).to_owned();
        let sysroot = PathBuf::from(command::read(Command::new("rustc").args(["--print", "sysroot"]))?);
        Ok(Self { release, commit, sysroot })
    }

    /// Where the compiler keeps the standard libraries of its targets.
    pub(crate) fn rustlib(&self) -> PathBuf {
        self.sysroot.join("lib").join("rustlib")
    }

    /// Where the compiler looks for the target of plugins.
    pub(crate) fn target_folder(&self) -> PathBuf {
        self.rustlib().join(TARGET)
    }

    /// Looks for the target's standard library, and builds a small component to see whether it works.
    pub(crate) fn target_state(&self) -> TargetState {
        let Ok(entries) = fs::read_dir(self.target_folder().join("lib")) else { return TargetState::Missing };
        if !entries.flatten().any(|entry| is_library(&entry.path(), "libstd-")) {
            return TargetState::Missing;
        }
        match build_probe(&[]) {
            Ok(()) => TargetState::Works,
            Err(error) => TargetState::Broken(format!("{error:#}")),
        }
    }
}

/// Whether a file is a compiled Rust library whose name starts so.
pub(crate) fn is_library(file: &Path, start: &str) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(start) && file.extension().is_some_and(|extension| extension == "rlib")
}

/// Builds a small component with these options more.
pub(crate) fn build_probe(options: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let (source, component) = (folder.path().join("probe.rs"), folder.path().join("probe.wasm"));
    fs::write(&source, PROBE).with_context(|| format!("cannot write `{}`", source.display()))?;
    command::read(
        Command::new("rustc")
            .args(["--edition=2024", "--crate-type=cdylib", "--target", TARGET])
            .args(options)
            .arg("-o")
            .args([&component, &source]),
    )?;
    let bytes = fs::read(&component).with_context(|| format!("cannot read `{}`", component.display()))?;
    if !bytes.starts_with(&COMPONENT_HEADER) {
        bail!("`rustc --target {TARGET}` made something that is not a component");
    }
    Ok(())
}
