//! Exit codes, which scripts depend on: never change the meaning of one.

use std::fmt;
use std::process::ExitCode;

use tradewind_runtime::{Failure, InstallError};

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Fine = 0,
    /// The plugin returned an error of its own.
    Returned = 1,
    /// The command was used wrongly, or a file that it was given is not what it should be.
    Usage = 2,
    /// The plugin cannot be installed.
    NotInstalled = 3,
    /// The plugin panicked, trapped or returned something that is not JSON.
    Trapped = 4,
    /// The plugin ran into a limit.
    Limit = 5,
    /// Something around the plugin failed: a file, a tool, the host.
    Failed = 6,
}

/// The part of `--help` that explains the codes.
pub(crate) const HELP: &str = "\
Exit codes:
  0  all went well
  1  the plugin returned an error
  2  wrong usage, or a file that is not what it should be
  3  the plugin cannot be installed
  4  the plugin panicked, trapped or returned something that is not JSON
  5  the plugin ran into a limit
  6  a file, a tool or the host failed";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&Failure> for Exit {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Returned(_) => Self::Returned,
            Failure::Limit { .. } => Self::Limit,
            Failure::Trap { .. } | Failure::InvalidResult { .. } => Self::Trapped,
            Failure::NoAction(_) => Self::Usage,
            Failure::Host(_) => Self::Failed,
        }
    }
}

/// An error with the code that it ends the program with.
#[derive(Debug)]
pub(crate) struct Fail {
    pub(crate) exit: Exit,
    error: anyhow::Error,
}

impl Fail {
    /// The person who called can mend it.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, error: anyhow::anyhow!("{message}") }
    }

    /// Something around the plugin failed.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, error: anyhow::anyhow!("{message}") }
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
    }
}

impl From<InstallError> for Fail {
    fn from(error: InstallError) -> Self {
        Self { exit: Exit::NotInstalled, error: error.into() }
    }
}
