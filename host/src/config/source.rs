//! Texts that do not have to stand in the file: an environment variable or another file holds them.

use std::ffi::OsString;
use std::path::Path;

use secrecy::SecretString;

use super::document::{Item, text_of};

/// Bytes of a secret in a file of its own. 64 KiB: no key or token is longer; a path that leads elsewhere often is.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Where texts come from, and what may stand in the file itself.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    /// What an environment variable holds.
    pub(super) environment: &'a dyn Fn(&str) -> Option<OsString>,
    /// Whether secrets may stand in the file: on a developer's machine.
    pub(super) development: bool,
}

/// From where a text came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Literal,
    Elsewhere,
}

impl Sources<'_> {
    /// A secret, which no message repeats.
    pub(super) fn secret(&self, item: &Item<'_>) -> Option<SecretString> {
        if item.value().is_str() && !self.development {
            item.problem(
                "a secret does not stand in the file; hint: `{ env = \"NAME\" }` or `{ file = \"path\" }`; on your own \
                 machine, `development = true` at the top allows it",
            );
            return None;
        }
        self.text(item).map(|(text, _)| text)
    }

    /// A text that may stand in the file. As it may hold a password, no message repeats it.
    pub(super) fn text(&self, item: &Item<'_>) -> Option<(SecretString, Origin)> {
        if let Some(text) = item.value().as_str() {
            if text.is_empty() {
                item.problem("it is empty; hint: write the value, or `{ env = \"NAME\" }`");
                return None;
            }
            return Some((text.into(), Origin::Literal));
        }
        if !item.value().is_table() {
            item.problem("it is no text; hint: `\"value\"`, `{ env = \"NAME\" }` or `{ file = \"path\" }`");
            return None;
        }
        let section = item.section(&["env", "file"])?;
        let found = match (section.get("env"), section.get("file")) {
            (Some(name), None) => self.variable(&name),
            (None, Some(path)) => file(&path),
            (None, None) if section.has_unknown() => None,
            _ => {
                item.problem("it names not one source; hint: either `{ env = \"NAME\" }` or `{ file = \"path\" }`");
                None
            }
        };
        found.map(|text| (text, Origin::Elsewhere))
    }

    fn variable(&self, item: &Item<'_>) -> Option<SecretString> {
        let name = item.text()?;
        let is_name = !name.is_empty() && !name.contains(['=', '\0']);
        let value = is_name.then(|| (self.environment)(name)).flatten();
        let problem = match value.map(OsString::into_string) {
            Some(Ok(value)) if !value.is_empty() => return Some(value.into()),
            Some(Ok(_)) => "is empty",
            Some(Err(_)) => "is not UTF-8",
            None => "is not set",
        };
        item.problem(format!("the environment variable `{name}` {problem}; hint: set it where the host is started"));
        None
    }
}

/// Without the one line end that editors and shells put behind it.
fn file(item: &Item<'_>) -> Option<SecretString> {
    let path = item.document().folder().join(Path::new(item.text()?));
    let read = text_of(&path, SECRET_BYTES_MAX).and_then(|text| {
        let line = text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line));
        if line.is_empty() { Err("it is empty".to_owned()) } else { Ok(line.into()) }
    });
    read.map_err(|problem| {
        let hint = "is the path right, relative to this file, and may this user read it?";
        item.problem(format!("the file `{}`: {problem}; hint: {hint}", path.display()));
    })
    .ok()
}
