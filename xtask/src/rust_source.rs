//! The source of the standard library, of exactly the compiler's version, and the C library that it stands on.
//!
//! The compiler refuses libraries that another version has built, and a version's source builds with no other compiler.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::folders::{self, Scratch};
use crate::project::Project;
use crate::rustc::{Rustc, TARGET};
use crate::steps::Step;
use crate::{command, debian};

/// Unpacking some 70 MB.
const UNPACK_LIMIT: Duration = Duration::from_mins(5);

/// A source to build from.
pub(crate) struct RustSource {
    /// What a person calls it.
    pub(crate) origin: String,
    /// The folder with `std`, `core` and the others.
    pub(crate) library: PathBuf,
    /// The folder with `libc.a` and the start files of wasi-libc.
    pub(crate) wasi_libc: PathBuf,
    /// Holds the folders above when they are temporary.
    _unpacked: Option<Scratch>,
}

impl RustSource {
    fn new(origin: String, library: PathBuf, wasi_libc: PathBuf, unpacked: Option<Scratch>) -> Result<Self> {
        for file in [library.join("std").join("Cargo.toml"), wasi_libc.join("libc.a")] {
            if !file.is_file() {
                bail!("{origin} holds no `{}`", file.display());
            }
        }
        Ok(Self { origin, library, wasi_libc, _unpacked: unpacked })
    }

    /// A folder that holds `library/` and `wasm32-wasip2/`.
    fn in_folder(origin: String, folder: &Path, unpacked: Option<Scratch>) -> Result<Self> {
        Self::new(origin, folder.join("library"), folder.join(TARGET), unpacked)
    }
}

/// The folder or archive that the person named.
pub(crate) fn from_person(project: &Project, _: &Rustc, step: &Step<'_>) -> Result<RustSource> {
    let Some(path) = project.rust_source() else { bail!("the variable is not set") };
    let origin = format!("`{}`", path.display());
    if path.is_dir() {
        return RustSource::in_folder(origin, path, None);
    }
    if !path.is_file() {
        bail!("there is no {origin}");
    }
    step.says(format_args!("unpacking {origin}"));
    let folder = private_folder(project)?;
    let mut unpack = Command::new("tar");
    unpack.arg("-xJf").arg(path).arg("-C").arg(folder.path());
    command::quote(&mut unpack, UNPACK_LIMIT).with_context(|| format!("cannot unpack {origin}"))?;
    let unpacked = folder.path().to_owned();
    RustSource::in_folder(origin, &unpacked, Some(folder))
}

/// The compiler's own `rust-src` component, with the C library from Debian.
pub(crate) fn from_rustup(project: &Project, rustc: &Rustc, step: &Step<'_>) -> Result<RustSource> {
    let library = rustc.rustlib().join("src/rust/library");
    if !library.is_dir() {
        bail!("the component is not installed");
    }
    let folder = private_folder(project)?;
    let archive = debian::Archive::open(folder.path(), step)?;
    let wasi_libc = archive.unpack(&[debian::wasi_libc(&archive)?], step)?.join(debian::WASI_LIBC_FOLDER);
    RustSource::new("rustup's `rust-src`".to_owned(), library, wasi_libc, Some(folder))
}

/// Debian's packages. What was downloaded once is kept: a compiler of this version may be installed again.
pub(crate) fn from_debian(project: &Project, rustc: &Rustc, step: &Step<'_>) -> Result<RustSource> {
    let origin = format!("Debian's `rust-src` {}", rustc.release);
    let kept = project.toolchain_folder().join(format!("debian-{}", rustc.release));
    if !kept.is_dir() {
        let folder = private_folder(project)?;
        let archive = debian::Archive::open(folder.path(), step)?;
        let packages = [debian::rust_src(&archive, &rustc.release)?, debian::wasi_libc(&archive)?];
        let unpacked = archive.unpack(&packages, step)?;
        let source = folder.path().join("source");
        folders::make(&source)?;
        move_folder(&unpacked.join(debian::rust_src_folder(&rustc.release)), &source.join("library"))?;
        move_folder(&unpacked.join(debian::WASI_LIBC_FOLDER), &source.join(TARGET))?;
        move_folder(&source, &kept)?;
    }
    RustSource::in_folder(origin, &kept, None)
}

fn private_folder(project: &Project) -> Result<Scratch> {
    Scratch::new(project.toolchain_folder().join("source"))
}

fn move_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).with_context(|| format!("cannot move `{}` to `{}`", from.display(), to.display()))
}
