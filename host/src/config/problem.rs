//! What is wrong with files, and where: collected until everything is read.

use std::cell::RefCell;
use std::fmt;
use std::path::{Path, PathBuf};

/// Something that is wrong with a file, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line and column, both from 1, the column in characters; none for a file that cannot be read.
    pub place: Option<(usize, usize)>,
    /// The key with those that it is in, `connections.main.client_id`; empty when it is about the whole file.
    pub key: String,
    /// What is wrong, and what to do.
    pub text: String,
}

/// What does not keep a host from starting, and is worth a look.
pub type Warning = Problem;

/// All that is wrong, in the order of the files.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(&self.0))]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.text)
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    files: RefCell<Vec<PathBuf>>,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Warning>>,
}

impl Notes {
    /// The files are told of in the order in which they are begun.
    pub(super) fn begin(&self, file: &Path) {
        self.files.borrow_mut().push(file.to_owned());
    }

    pub(super) fn problem(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn warning(&self, warning: Warning) {
        self.warnings.borrow_mut().push(warning);
    }

    /// What was read, unless something is wrong.
    pub(super) fn end<T>(self, read: Option<T>) -> Result<(T, Vec<Warning>), Problems> {
        let files = self.files.into_inner();
        let ordered = |mut problems: Vec<Problem>| {
            problems.sort_by_key(|problem| (files.iter().position(|file| *file == problem.file), problem.place));
            problems
        };
        match read {
            Some(read) if self.problems.borrow().is_empty() => Ok((read, ordered(self.warnings.into_inner()))),
            _ => Err(Problems(ordered(self.problems.into_inner()))),
        }
    }
}
