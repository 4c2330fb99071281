//! Where the server's programs are, and who may run them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// The server's programs.
pub(super) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Finds them in the places where `cargo xtask setup` looks for them.
    pub(super) fn find() -> anyhow::Result<Self> {
        let said = Command::new("pg_config").arg("--bindir").output().ok();
        let said = said.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
        let mut folders: Vec<PathBuf> = said.into_iter().collect();
        folders.extend(std::env::split_paths(&path()));
        folders.extend(debian());
        let found =
            folders.into_iter().find(|folder| ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file()));
        let folder = found.context(
            "PostgreSQL's `initdb` and `postgres` were not found; hint: `cargo xtask setup` says how to install them",
        )?;
        Ok(Self { folder })
    }

    /// Where a program is. `psql` comes in a package of its own, which may put it elsewhere.
    pub(super) fn path(&self, name: &str) -> String {
        let beside = self.folder.join(name);
        if beside.is_file() { beside.to_string_lossy().into_owned() } else { name.to_owned() }
    }

    /// A program, run by a user in a folder.
    pub(super) fn command(&self, name: &str, user: Option<User>, folder: &Path) -> Command {
        let mut command = Command::new(self.path(name));
        // What programs say is compared.
        command.current_dir(folder).env("LC_ALL", "C");
        if let Some(user) = user {
            user.runs(&mut command);
        }
        command
    }
}

#[expect(clippy::disallowed_methods, reason = "where programs are is a matter of the machine, not of the test")]
fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// Debian keeps the server's programs of each version out of the way of the others. The newest comes first.
fn debian() -> Vec<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|version| version.path()).collect();
    versions.sort_by_key(|path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()));
    versions.into_iter().rev().map(|version| version.join("bin")).collect()
}

/// Who runs the server where we are root, as whom it does not run.
#[derive(Clone, Copy)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl User {
    /// Nobody else than we, unless we are root. `ours` is a file of ours.
    pub(super) fn to_run_as(ours: &Path) -> anyhow::Result<Option<Self>> {
        if fs::metadata(ours)?.uid() != 0 {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (id("-u", name), id("-g", name)) {
                return Ok(Some(Self { uid, gid }));
            }
        }
        bail!("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody`")
    }

    /// Lets a command run as this user.
    pub(super) fn runs(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

fn id(what: &str, user: &str) -> Option<u32> {
    let output = Command::new("id").args([what, user]).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}
