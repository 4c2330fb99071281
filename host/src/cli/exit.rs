//! Exit codes, which scripts depend on: never change the meaning of one.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use tradewind_runtime::{Failure, InstallError};
use tradewind_store::{CommitError, StoreError};

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Fine = 0,
    /// The plugin returned an error of its own.
    Returned = 1,
    /// The command was used wrongly, or a file or a store that it was given is not what it should be.
    Usage = 2,
    /// The plugin cannot be installed.
    NotInstalled = 3,
    /// The plugin panicked, trapped or returned something that is not JSON.
    Trapped = 4,
    /// The plugin ran into a limit.
    Limit = 5,
    /// Something around the plugin failed: a file, a tool, the store, the host.
    Failed = 6,
    /// The host stood still and ended itself.
    Standstill = 7,
}

/// The part of `--help` that explains the codes.
pub(crate) const HELP: &str = "\
Exit codes:
  0  all went well
  1  the plugin returned an error
  2  wrong usage, or a file or a store that is not what it should be
  3  the plugin cannot be installed
  4  the plugin panicked, trapped or returned something that is not JSON
  5  the plugin ran into a limit
  6  a file, a tool, the store or the host failed";

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

    /// The same, for what keeps a plugin from being installed.
    pub(crate) fn not_installed(self) -> Self {
        Self { exit: Exit::NotInstalled, ..self }
    }

    /// Something kept a host from starting.
    pub(crate) fn from_start(error: anyhow::Error) -> Self {
        let exit = match error.downcast_ref::<StoreError>() {
            Some(StoreError::Location { .. } | StoreError::NotMigrated { .. }) => Exit::Usage,
            _ if error.downcast_ref::<InstallError>().is_some() => Exit::NotInstalled,
            _ => Exit::Failed,
        };
        Self { exit, error }
    }

    /// The same with more said.
    pub(crate) fn map(self, text: impl FnOnce(String) -> String) -> Self {
        let text = text(self.to_string());
        Self { exit: self.exit, error: anyhow::anyhow!("{text}") }
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

impl From<StoreError> for Fail {
    fn from(error: StoreError) -> Self {
        let text = chain(&error);
        match error {
            StoreError::Location { .. } | StoreError::NotMigrated { .. } => Self::usage(text),
            _ => Self::failed(text),
        }
    }
}

impl From<Arc<StoreError>> for Fail {
    fn from(error: Arc<StoreError>) -> Self {
        Self::failed(chain(&*error))
    }
}

impl From<CommitError> for Fail {
    fn from(error: CommitError) -> Self {
        Self::failed(chain(&error))
    }
}

/// An error with its sources. A source whose text its error repeats is said once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        source = error.source();
    }
    text
}
