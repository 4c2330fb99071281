//! Compiled components on disk: compiling a JavaScript plugin takes seconds, loading it milliseconds.
//!
//! An artifact is machine code that we run without looking, so the folder is as trusted as the program: it is made for
//! the owner alone. A digest beside each artifact catches files that were cut off or damaged; whatever does not load is
//! a cache miss, never an error.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::compiler::Compiler;

/// Where compiled components are kept.
#[derive(Clone, Debug)]
pub struct ArtifactCache {
    folder: Option<PathBuf>,
    compiler: Option<Compiler>,
}

impl ArtifactCache {
    /// Keeps nothing.
    pub fn none() -> Self {
        Self { folder: None, compiler: None }
    }

    /// Keeps artifacts in `folder`, which is created for the owner alone.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        }
        Ok(Self { folder: Some(folder.to_owned()), compiler: None })
    }

    /// With a compiler in a process of its own; without one it is on a thread of this process, which nothing bounds.
    #[must_use]
    pub fn with_compiler(self, compiler: Compiler) -> Self {
        Self { compiler: Some(compiler), ..self }
    }

    /// The compiled component, and whether it came from the cache. Compiles on this thread, so call it from one that may
    /// block. Keeping the artifact is an attempt: a full disk costs time, not the plugin.
    pub(crate) fn load_or_compile(
        &self,
        engine: &Engine,
        bytes: &[u8],
        counts_instructions: bool,
    ) -> wasmtime::Result<(Component, bool)> {
        let path = self.folder.as_ref().map(|folder| folder.join(key(engine, bytes)));
        if let Some(component) = path.as_ref().and_then(|path| load(engine, path)) {
            return Ok((component, true));
        }
        let artifact = match &self.compiler {
            Some(compiler) => compiler.compile(bytes, counts_instructions)?,
            None => engine.precompile_component(bytes)?,
        };
        if let (Some(folder), Some(path)) = (&self.folder, &path)
            && store(folder, path, &artifact).is_ok()
            && let Some(component) = load(engine, path)
        {
            return Ok((component, false));
        }
        Ok((deserialize(engine, &artifact)?, false))
    }
}

/// The name of an artifact: the component's digest, and everything about the engine that decides the machine code.
fn key(engine: &Engine, bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{}-{:016x}.artifact", hex(&Sha256::digest(bytes)), hasher.finish())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

fn digest_path(path: &Path) -> PathBuf {
    path.with_extension("sha256")
}

fn load(engine: &Engine, path: &Path) -> Option<Component> {
    let expected = fs::read_to_string(digest_path(path)).ok()?;
    let mut file = fs::File::open(path).ok()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match io::Read::read(&mut file, &mut buffer).ok()? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    if hex(&hasher.finalize()) != expected {
        return None;
    }
    deserialize_file(engine, path).ok()
}

#[expect(unsafe_code, reason = "the file is ours: its folder is the owner's alone and its digest was just checked")]
fn deserialize_file(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: the bytes were written by `precompile_component` of an engine with the same compatibility hash.
    unsafe { Component::deserialize_file(engine, path) }
}

#[expect(unsafe_code, reason = "the bytes were made a moment ago, by this engine or our own program")]
fn deserialize(engine: &Engine, artifact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `artifact` is the unchanged output of `precompile_component`, of this engine or of one in our own program.
    unsafe { Component::deserialize(engine, artifact) }
}

/// Writes the artifact and its digest whole or not at all.
fn store(folder: &Path, path: &Path, artifact: &[u8]) -> io::Result<()> {
    let place = |target: &Path, bytes: &[u8]| -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(target).map_err(|error| error.error)?;
        Ok(())
    };
    place(path, artifact)?;
    place(&digest_path(path), hex(&Sha256::digest(artifact)).as_bytes())
}
