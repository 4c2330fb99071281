//! The standard library for the wasm target, built from source and placed into the compiler's folder.
//!
//! Cargo can build the standard library but only for one project at a time and only on request. So an empty project is
//! built that way, and the libraries it leaves behind are put where the compiler looks for those that rustup installs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::folders::{self, Scratch};
use crate::project::Project;
use crate::rust_source::RustSource;
use crate::rustc::{Rustc, TARGET, is_library};

/// It takes half a minute on two cores; a slow machine may take twenty times as long.
const BUILD_LIMIT: Duration = Duration::from_mins(10);

/// The empty project. One codegen unit, as in the libraries that rustup installs.
const MANIFEST: &str = r#"[package]
name = "placeholder"
version = "0.0.0"
edition = "2024"

[lib]
path = "placeholder.rs"

[profile.release]
codegen-units = 1

[workspace]
"#;

/// What rustup installs of the standard library. `test` is for those who compile a plugin's tests to wasm.
const CRATES: &str = "-Zbuild-std=std,panic_abort,proc_macro,test";

/// The file in the target's folder that says that we have built it, and for which compiler.
const MARK: &str = "built-from-source";

/// An archive with nothing in it.
const EMPTY_ARCHIVE: &[u8] = b"!<arch>\n";

/// Whether the target's folder is one that was placed here.
pub(crate) fn is_ours(target_folder: &Path) -> bool {
    target_folder.join(MARK).is_file()
}

/// The place of the target's folder in the compiler's, held open for one that is built.
pub(crate) struct Place {
    target_folder: PathBuf,
    /// Beside the later place, so that a rename suffices.
    beside: Scratch,
}

impl Place {
    /// Finds out whether the compiler's folder may be written to.
    pub(crate) fn open(rustc: &Rustc) -> Result<Self> {
        let beside = Scratch::new(rustc.rustlib().join(format!(".{TARGET}.new")))?;
        Ok(Self { target_folder: rustc.target_folder(), beside })
    }
}

/// Builds the standard library and places it. Nothing is seen at its place before all is there.
pub(crate) fn build(project: &Project, rustc: &Rustc, source: &RustSource, place: &Place) -> Result<()> {
    let scratch = Scratch::new(project.toolchain_folder().join("build"))?;
    compile(project, rustc, source, scratch.path())?;
    let staged = place.beside.path().join(TARGET);
    folders::remove(&staged)?;
    stage(rustc, source, scratch.path(), &staged)?;
    folders::remove(&place.target_folder)?;
    fs::rename(&staged, &place.target_folder)
        .with_context(|| format!("cannot place `{}`", place.target_folder.display()))
}

fn compile(project: &Project, rustc: &Rustc, source: &RustSource, scratch: &Path) -> Result<()> {
    let library = scratch.join("library");
    folders::copy(&source.library, &library)?;
    complete_vendored(&library.join("vendor"))?;
    fs::write(scratch.join("Cargo.toml"), MANIFEST).context("cannot write the empty project")?;
    fs::write(scratch.join("placeholder.rs"), "#![no_std]\n").context("cannot write the empty project")?;
    // Panics name the same paths as with rustup's libraries, whoever built them and wherever.
    let paths = format!("--remap-path-prefix={}=/rustc/{}", scratch.display(), rustc.commit);
    let mut command = project.cargo(["build", "--release", "--target", TARGET, CRATES]);
    command
        .current_dir(scratch)
        // The standard library needs the unstable parts of the compiler that it was made for.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_TESTS_ONLY_SRC_ROOT", &library)
        .env("CARGO_ENCODED_RUSTFLAGS", format!("-Cembed-bitcode=yes\x1f{paths}"))
        .env("CARGO_TARGET_DIR", scratch.join("target"));
    take_vendored(&mut command, &library.join("vendor"));
    command::quote(&mut command, BUILD_LIMIT)
        .with_context(|| format!("cannot build {}; is it of rustc {}?", source.origin, rustc.release))
}

/// Takes the crates that the standard library needs from the source, where it brings them: then no network is needed.
fn take_vendored(command: &mut Command, vendor: &Path) {
    if vendor.is_dir() {
        command
            .args(["--offline", "--config", "source.crates-io.replace-with='vendored'", "--config"])
            .arg(format!("source.vendored.directory='{}'", vendor.display()));
    }
}

/// Debian removes prebuilt objects from sources, here the archive of `cabi_realloc` that `wit-bindgen` brings. For this
/// target nothing refers to it, since wasi-libc has that function, but its build script copies the file.
fn complete_vendored(vendor: &Path) -> Result<()> {
    for folder in folders::entries_in(vendor) {
        let archive = folder.join("src/rt/libwit_bindgen_cabi.a");
        let wit_bindgen = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("wit-bindgen-"));
        if wit_bindgen && archive.parent().is_some_and(Path::is_dir) && !archive.exists() {
            fs::write(&archive, EMPTY_ARCHIVE).with_context(|| format!("cannot write `{}`", archive.display()))?;
        }
    }
    Ok(())
}

/// Lays the target's folder out as rustup does: libraries, and the C library with the start files in `self-contained`.
fn stage(rustc: &Rustc, source: &RustSource, scratch: &Path, staged: &Path) -> Result<()> {
    let lib = staged.join("lib");
    let mut count = 0;
    for file in folders::files_below(&scratch.join("target").join(TARGET), |_| true)? {
        if is_library(&file, "lib") && !is_library(&file, "libplaceholder") {
            folders::copy_file(&file, &lib.join(file.file_name().context("a file has a name")?))?;
            count += 1;
        }
    }
    if count == 0 {
        bail!("cargo built no libraries for `{TARGET}`");
    }
    folders::copy(&source.wasi_libc, &lib.join("self-contained"))?;
    let text = format!("rustc {} ({}), by `cargo xtask setup` from {}\n", rustc.release, rustc.commit, source.origin);
    fs::write(staged.join(MARK), text).context("cannot write the mark of the target's folder")
}
