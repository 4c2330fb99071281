//! `PostgreSQL`'s programs. Tests start a server of their own with them and throw it away; none has to run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::command;
use crate::project::Project;
use crate::steps::{Outcome, Step};

/// The package and what it needs are some 60 MB.
const INSTALL_LIMIT: Duration = Duration::from_mins(15);

/// Finds the server, or installs it where that is allowed.
pub(crate) fn ensure(project: &Project, step: &Step<'_>) -> Result<Outcome> {
    if is_there(project) {
        return Ok(Outcome::AlreadyThere);
    }
    let mut why = "PostgreSQL's `initdb` and `postgres` were not found".to_owned();
    if command::starts(&["apt-get", "--version"]) && is_root() {
        step.says("installing the package `postgresql`");
        match install() {
            Ok(()) if is_there(project) => return Ok(Outcome::Done),
            Ok(()) => why.push_str(", also after the package was installed"),
            Err(error) => why = format!("{why}, and the package cannot be installed: {error:#}"),
        }
    }
    bail!(
        "{why}\nhint: install the server's package and run this again, or leave it out with `cargo xtask setup \
         --no-postgres`\n  Debian, Ubuntu: sudo apt-get install postgresql\n  Fedora: sudo dnf install \
         postgresql-server\n  macOS: brew install postgresql@17"
    )
}

fn is_there(project: &Project) -> bool {
    let mut folders: Vec<PathBuf> = Vec::new();
    folders.extend(command::read(Command::new("pg_config").arg("--bindir")).ok().map(PathBuf::from));
    folders.extend(project.program_folders());
    // Debian keeps the server's programs of each version out of the way of the others.
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    folders.iter().any(|folder| holds_server(folder))
}

fn holds_server(folder: &Path) -> bool {
    folder.join("initdb").is_file() && folder.join("postgres").is_file()
}

fn is_root() -> bool {
    command::read(Command::new("id").arg("-u")).is_ok_and(|id| id == "0")
}

/// Installs the package; a machine that has never fetched its lists of packages does so first.
fn install() -> Result<()> {
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
        command::quote(&mut command, INSTALL_LIMIT)
    };
    let install = ["install", "-y", "--no-install-recommends", "postgresql"];
    if apt(&install).is_ok() {
        return Ok(());
    }
    apt(&["update"])?;
    apt(&install)
}
