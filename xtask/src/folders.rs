//! Folders of files: listed, copied, written so that nobody sees a half of one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A folder for work in progress. It starts empty, also after a run that was interrupted, and is removed at the end.
/// Its name is fixed; the caller sees to it that nobody else works there.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes the folder and those above it.
    pub(crate) fn new(path: PathBuf) -> Result<Self> {
        remove(&path)?;
        make(&path)?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next run.
        let _ = remove(&self.path);
    }
}

/// All files below a folder, sorted; folders that the filter refuses by name are not entered.
pub(crate) fn files_below(folder: &Path, enter: fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let reading = || format!("cannot list `{}`", folder.display());
        for entry in fs::read_dir(&folder).with_context(reading)? {
            let path = entry.with_context(reading)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !path.is_dir() {
                files.push(path);
            } else if enter(&name) {
                folders.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// What lies right inside a folder, sorted; nothing when the folder does not exist.
pub(crate) fn entries_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Copies a folder with all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    for file in files_below(from, |_| true)? {
        let inside = file.strip_prefix(from).context("a file lies below its folder")?;
        copy_file(&file, &to.join(inside))?;
    }
    Ok(())
}

/// Copies a file and makes the folders above it.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        make(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy `{}` to `{}`", from.display(), to.display()))?;
    Ok(())
}

/// Writes a file whole: into a temporary one beside it, which then takes its place.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let writing = || format!("cannot write `{}`", path.display());
    let folder = path.parent().with_context(writing)?;
    make(folder)?;
    let name = path.file_name().with_context(writing)?.to_string_lossy();
    let beside = folder.join(format!(".{name}.{}", std::process::id()));
    fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path)).with_context(writing)
}

/// Makes a folder and those above it.
pub(crate) fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder `{}`", folder.display()))
}

/// Removes a folder with all that is in it; one that does not exist is removed already.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove the folder `{}`", folder.display()))
        }
        _ => Ok(()),
    }
}
