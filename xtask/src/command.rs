//! Other programs: started in one of three ways, and their failures as errors that name the command.
//!
//! - [`show`]: the program has the terminal, as if the person had typed it.
//! - [`quote`]: its lines are printed with a margin, it is stopped at a limit, and an error carries its last lines.
//! - [`read`]: it is silent, and its output is the value.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, PipeReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The last lines of a program that an error repeats: enough for a compiler's last message.
const LINES_KEPT_MAX: usize = 12;

/// How often a bounded program is asked whether it has ended.
const POLL: Duration = Duration::from_millis(20);

/// Runs the program on this terminal.
pub(crate) fn show(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("{}", failed(command, status));
    }
    Ok(())
}

/// Runs the program silently and returns what it wrote to its standard output, trimmed.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        bail!("{}: {}", failed(command, output.status), String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout).with_context(|| format!("`{}` did not print text", words(command)))?;
    Ok(text.trim().to_owned())
}

/// How a quoted program ended.
pub(crate) struct Ended {
    /// Its exit status.
    pub(crate) status: ExitStatus,
    /// Its last lines.
    pub(crate) lines: Vec<String>,
}

/// Runs the program, prints its lines with a margin, and kills it (and nothing else) when it exceeds the limit.
pub(crate) fn quote(command: &mut Command, limit: Duration) -> Result<()> {
    let ended = quote_to_end(command, limit)?;
    if !ended.status.success() {
        bail!("{}{}", failed(command, ended.status), indented(ended.lines.iter().map(String::as_str)));
    }
    Ok(())
}

/// As [`quote`], for programs whose exit status means more than success or failure.
pub(crate) fn quote_to_end(command: &mut Command, limit: Duration) -> Result<Ended> {
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    command.stdin(Stdio::null()).stdout(writer.try_clone().context("cannot share a pipe")?).stderr(writer);
    let child = command.spawn().with_context(|| cannot_start(command))?;
    // The command holds the pipe's writing end: while it does, the reader would never see the end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let printer = thread::spawn(move || print_lines(reader));
    let Some(status) = wait(child, limit).with_context(|| format!("cannot wait for `{}`", words(command)))? else {
        // The printer is left alone: a grandchild may keep the pipe open for as long as it likes.
        bail!("`{}` did not end within {} s and was stopped", words(command), limit.as_secs());
    };
    let Ok(lines) = printer.join() else { bail!("cannot print the lines of `{}`", words(command)) };
    Ok(Ended { status, lines: lines.into() })
}

/// Waits for the program to end, up to the limit; then it is stopped and there is no status.
fn wait(mut child: Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(POLL);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

/// Prints lines until there are no more, and returns the last.
fn print_lines(reader: PipeReader) -> VecDeque<String> {
    let mut kept = VecDeque::new();
    for line in BufReader::new(reader).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        println!("  | {line}");
        if kept.len() == LINES_KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(line);
    }
    kept
}

/// Whether a program with arguments that do nothing, as `npm --version`, can be started and succeeds.
pub(crate) fn starts(words: &[&str]) -> bool {
    let [program, args @ ..] = words else { return false };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    let set = |(name, value): (&OsStr, Option<&OsStr>)| {
        value.map(|value| format!("{}={} ", name.display(), quoted(&value.to_string_lossy())))
    };
    let variables: String = command.get_envs().filter_map(set).collect();
    variables + &words(command)
}

/// The program and its arguments, which is what an error names.
fn words(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| quoted(&arg.to_string_lossy())));
    words.join(" ")
}

/// Lines below a message, each with a margin.
pub(crate) fn indented<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.fold(String::new(), |text, line| text + "\n    " + line)
}

fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=+./:,@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", words(command))
}

fn failed(command: &Command, status: ExitStatus) -> String {
    format!("`{}` failed ({status})", words(command))
}
