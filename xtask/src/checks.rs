//! What must hold before a change is good: formatting, lints, documentation, tests. The same at a desk and in CI.

use std::process::Command;

use anyhow::{Result, anyhow};

use crate::project::{Profile, Project};
use crate::setup::{self, Extent};
use crate::steps::{Outcome, step};
use crate::{command, npm};

/// Sets up and runs all checks, up to the first that fails.
pub(crate) fn test(project: &Project, quick: bool, args: &[String]) -> Result<()> {
    if quick {
        setup::run(project, Extent { postgres: false, ..Extent::ALL })?;
    } else {
        setup::run(project, Extent::ALL)?;
        let packages = project.root.join("tests/npm");
        step("setup", "npm packages of the tests", |step| {
            Ok(npm::install(&packages, "the tests that need them say so and pass until then", step))
        })?;
        check("formatting", project.cargo(["fmt", "--all", "--check"]))?;
        check("lints", project.cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
        let mut documentation = project.cargo(["doc", "--workspace", "--no-deps"]);
        documentation.env("RUSTDOCFLAGS", "-D warnings");
        check("documentation", documentation)?;
    }
    // The tests start the program itself, which `cargo test` does not build.
    check("program", project.build_program("tradewind", Profile::Debug))?;
    let mut tests = project.cargo(["test", "--workspace"]);
    if !args.is_empty() {
        tests.arg("--").args(args);
    }
    check("tests", tests)
}

/// Sets up and runs the long fault tests.
pub(crate) fn faults(project: &Project, seconds: u64) -> Result<()> {
    setup::run(project, Extent::ALL)?;
    command::show(&mut project.build_program("faults", Profile::Release))?;
    let mut faults = Command::new(project.program("faults", Profile::Release));
    faults.current_dir(&project.root).arg("--seconds").arg(seconds.to_string());
    check("faults", faults)
}

fn check(name: &str, mut command: Command) -> Result<()> {
    let line = command::line(&command);
    step("test", name, |step| {
        step.says(&line);
        command::show(&mut command).map_err(|error| anyhow!("{error:#}\nhint: to run this step again: {line}"))?;
        Ok(Outcome::Done)
    })?;
    Ok(())
}
