//! The same work in fresh isolates of V8: a Node.js process that is asked once per call, so that it takes turns with the
//! sandbox. Its packages and its program are in `bench/node`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tempfile::NamedTempFile;

/// A running Node.js.
pub(crate) struct Node {
    process: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// Kept until the process has read it.
    _body: NamedTempFile,
}

impl Node {
    /// Starts it. Fails with the reason when Node.js or its packages are missing.
    pub(crate) fn start(body: &str) -> anyhow::Result<Self> {
        let folder = tradewind_tests::repository().join("tests/bench/node");
        ensure!(
            folder.join("node_modules/isolated-vm").is_dir(),
            "its packages are missing; hint: `cargo xtask bench runtime` installs them"
        );
        let mut file = NamedTempFile::new()?;
        file.write_all(body.as_bytes())?;
        let mut process = Command::new("node")
            // Isolates and Node.js's own snapshot do not go together.
            .arg("--no-node-snapshot")
            .arg(folder.join("isolate.js"))
            .arg(tradewind_tests::repository().join("plugins/product-tagger-js/keywords.js"))
            .arg(file.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("`node` does not start")?;
        let (Some(ask), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            anyhow::bail!("`node` has no standard streams");
        };
        let mut node = Self { process, ask, answers: BufReader::new(answers), _body: file };
        node.once("isolate").context("`isolated-vm` does not work with this `node`")?;
        Ok(node)
    }

    /// Does the work once in the way that `isolate.js` calls so, and says how long that took.
    pub(crate) fn once(&mut self, way: &str) -> anyhow::Result<Duration> {
        writeln!(self.ask, "{way}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        let (nanos, found) = answer.split_once(' ').context("`node` stopped")?;
        ensure!(found.contains("cotton"), "`node` found {found}");
        Ok(Duration::from_nanos(nanos.parse()?))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
