//! The wasm target: from rustup, or its standard library built once from source where rustup cannot reach its server.
//!
//! After either way plain `cargo build --target wasm32-wasip2` works, with no variables and no flags. To add a
//! place to look for the source: a function in `rust_source`, and a line in [`SOURCES`].

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::project::Project;
use crate::rust_source::{self, RustSource};
use crate::rustc::{Rustc, TARGET, TargetState};
use crate::steps::{Outcome, Step};
use crate::{command, folders, rustc, std_build};

/// The download is about 25 MB, which takes 170 s at 150 KB/s. A network that swallows packets ends here.
const RUSTUP_LIMIT: Duration = Duration::from_mins(3);

/// Finds the standard library's source, or says why it cannot.
type FindSource = fn(&Project, &Rustc, &Step<'_>) -> Result<RustSource>;

/// Where the source is looked for, each by the name that a person reads when it fails.
const SOURCES: [(&str, FindSource); 3] = [
    ("build from `TRADEWIND_RUST_SRC`", rust_source::from_person),
    ("build from rustup's `rust-src`", rust_source::from_rustup),
    ("build from Debian's packages", rust_source::from_debian),
];

/// Makes the target work, in the first way that does.
pub(crate) fn ensure(project: &Project, step: &Step<'_>) -> Result<Outcome> {
    let rustc = Rustc::find()?;
    if matches!(rustc.target_state(), TargetState::Works) {
        return Ok(Outcome::AlreadyThere);
    }
    let _alone = lock(&project.toolchain_folder())?;
    // Another set-up may have placed the target while this one waited.
    match rustc.target_state() {
        TargetState::Works => return Ok(Outcome::AlreadyThere),
        TargetState::Broken(reason) => remove_broken(&rustc, step, &reason)?,
        TargetState::Missing => {}
    }
    install(project, &rustc, step)?;
    // What was built with another standard library cannot be linked with this one.
    folders::remove(&project.target.join(TARGET))?;
    Ok(Outcome::Done)
}

fn install(project: &Project, rustc: &Rustc, step: &Step<'_>) -> Result<()> {
    let Err(error) = add_with_rustup(step).and_then(|()| works(rustc)) else { return Ok(()) };
    let mut failures = vec![format!("- rustup: {error:#}")];
    // Asked for first, so that a folder that we may not write to costs no download and no build.
    let place = match std_build::Place::open(rustc) {
        Ok(place) => place,
        Err(error) => bail!(
            "cannot get the target `{TARGET}`{}\n    - build from source: {error:#}\nhint: run `rustup target add \
             {TARGET}`, or `cargo xtask setup` as a user who may write there",
            command::indented(failures.iter().flat_map(|failure| failure.lines()))
        ),
    };
    for (name, find) in SOURCES {
        let built = find(project, rustc, step).and_then(|source| {
            step.says(format_args!("building the standard library from {} (about a minute, once)", source.origin));
            std_build::build(project, rustc, &source, &place)
        });
        match built.and_then(|()| works(rustc)) {
            Ok(()) => return Ok(()),
            Err(error) => failures.push(format!("- {name}: {error:#}")),
        }
    }
    bail!(
        "no way to get the target `{TARGET}` for rustc {} worked{}\nhint: run `rustup target add {TARGET}` where the \
         network allows it, or `TRADEWIND_RUST_SRC=FOLDER_OR_TAR_XZ cargo xtask setup` (see `cargo xtask help setup`)",
        rustc.release,
        command::indented(failures.iter().flat_map(|failure| failure.lines())),
    )
}

fn add_with_rustup(step: &Step<'_>) -> Result<()> {
    if !command::starts(&["rustup", "--version"]) {
        bail!("there is no `rustup` on this machine");
    }
    step.says("installing with rustup");
    // A backtrace of rustup's own says nothing to the person who waits for it.
    command::quote(Command::new("rustup").args(["target", "add", TARGET]).env("RUST_BACKTRACE", "0"), RUSTUP_LIMIT)
}

fn works(rustc: &Rustc) -> Result<()> {
    match rustc.target_state() {
        // Plugins are optimised as one program, which needs a standard library that carries LLVM's bitcode.
        TargetState::Works => rustc::build_probe(&["-Copt-level=3", "-Clto=fat"]),
        TargetState::Broken(reason) => bail!("the target is there but does not work: {reason}"),
        TargetState::Missing => bail!("nothing was placed into `{}`", rustc.target_folder().display()),
    }
}

/// A target of our own that an update of the compiler left behind is in the way of its successor. One that is not our
/// own is the person's to remove.
fn remove_broken(rustc: &Rustc, step: &Step<'_>, reason: &str) -> Result<()> {
    let folder = rustc.target_folder();
    if !std_build::is_ours(&folder) {
        bail!(
            "the target `{TARGET}` in `{}` does not work: {reason}\nhint: run `rustup target remove {TARGET}`, then \
             `cargo xtask setup`",
            folder.display()
        );
    }
    step.says("removing the one that was built for another compiler");
    folders::remove(&folder)
}

/// One set-up at a time changes the toolchain.
fn lock(folder: &Path) -> Result<File> {
    folders::make(folder)?;
    let path = folder.join("lock");
    let locking = || format!("cannot lock `{}`", path.display());
    let file = File::create(&path).with_context(locking)?;
    file.lock().with_context(locking)?;
    Ok(file)
}
