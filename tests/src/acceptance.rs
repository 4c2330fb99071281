//! Third-party facts to test against: documented payloads, schemas, recorded exchanges. They are not ours, so they are not
//! in the repository.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use flate2::read::GzDecoder;

/// Where the data is looked for, when not in the folder `shared/data` beside the repository.
const VARIABLE: &str = "TRADEWIND_ACCEPTANCE_DATA";

/// Bytes of one unpacked file. 64 MiB: the largest has 10.
const BYTES_MAX: u64 = 64 << 20;

/// A file's text, unpacked. `None` when this machine does not have the data at all: the test says so and is over.
pub fn text(name: &str) -> anyhow::Result<Option<String>> {
    let Some(folder) = folder() else { return Ok(None) };
    let path = folder.join(name);
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut text = String::new();
    if path.extension().is_some_and(|ending| ending == "gz") {
        let mut unpacked = GzDecoder::new(bytes.as_slice()).take(BYTES_MAX);
        unpacked.read_to_string(&mut text).with_context(|| format!("cannot unpack `{}`", path.display()))?;
    } else {
        text = String::from_utf8(bytes).with_context(|| format!("`{}` is not text", path.display()))?;
    }
    Ok(Some(text))
}

/// The lines of a file, each a JSON value.
pub fn lines(name: &str) -> anyhow::Result<Option<Vec<serde_json::Value>>> {
    let Some(text) = text(name)? else { return Ok(None) };
    let values: Result<_, _> = text.lines().map(serde_json::from_str).collect();
    Ok(Some(values.with_context(|| format!("a line of `{name}` is not JSON"))?))
}

/// What to say when the data is not there.
pub fn skipped(test: &str) -> String {
    format!("SKIPPED: `{test}` needs the acceptance data; hint: name its folder in {VARIABLE}")
}

fn folder() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "a test's entry; nothing of the product reads this")]
    let named = std::env::var_os(VARIABLE).map(PathBuf::from);
    let beside = || crate::repository().parent().map(|parent| parent.join("shared/data"));
    named.or_else(beside).filter(|folder| folder.is_dir())
}
