//! Text for a terminal: what came from outside must not be obeyed by it, and what is long is bounded.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};

use serde::Serialize;
use tradewind_model::Json;

use super::Fail;
pub(super) use crate::printable::{one_line, printable};

/// The longest value in a table, in characters: four of them fit on a wide terminal.
pub(super) const CELL_CHARS_MAX: usize = 48;

/// The most lines of a JSON value that are shown.
const JSON_LINES_MAX: usize = 60;

/// The most frames of a backtrace that are shown.
const FRAMES_MAX: usize = 30;

/// Writes to standard output. That whoever read it has gone away, as in `… | head`, is no failure.
pub(super) fn print(text: impl AsRef<[u8]>) -> Result<(), Fail> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Fail::failed(format_args!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// One line with one JSON value.
pub(super) fn json_line(value: &impl Serialize) -> Result<String, Fail> {
    let line = serde_json::to_string(value).map_err(Fail::failed)?;
    // A payload may have been stored with line ends between its values; inside of texts they are escaped.
    Ok(line.replace(['\n', '\r'], " ") + "\n")
}

/// Text on one line and not longer than a table has room for.
pub(super) fn cell(text: &str) -> String {
    let text = one_line(text);
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some(_) => text.chars().take(CELL_CHARS_MAX - 1).chain(['…']).collect(),
        None => text,
    }
}

/// Names with their values, the values below one another.
pub(super) fn fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for (name, value) in fields {
        // Writing into a `String` cannot fail.
        let _ = writeln!(text, "  {:<width$}  {}", printable(name), printable(value).replace('\n', "\\n"));
    }
    text
}

/// A head, and what stands below it.
pub(super) fn section(text: &mut String, head: &str, below: &str) {
    for part in [head, "\n", below] {
        text.push_str(part);
    }
}

/// Text moved to the right, as what stands below a head is.
pub(super) fn moved(text: &str) -> String {
    text.lines().flat_map(|line| ["  ", line, "\n"]).collect()
}

/// `1 job`, `2 jobs`.
pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", super::plugin::show::number(count), if count == 1 { one } else { many })
}

/// An error as jobs and the log keep it: its code and message, then its backtrace.
pub(super) fn error(error: &Json) -> String {
    let text = |name: &str| error.member(name).and_then(|value| value.to::<String>().ok());
    let Some(message) = text("message") else { return pretty(error) };
    let mut lines = match text("code") {
        Some(code) => vec![format!("{code}: {message}")],
        None => vec![message],
    };
    let frames = error.member("backtrace").and_then(|frames| frames.to::<Vec<String>>().ok()).unwrap_or_default();
    if !frames.is_empty() {
        lines.push("backtrace".to_owned());
    }
    lines.extend(frames.iter().take(FRAMES_MAX).map(|frame| format!("  {frame}")));
    if frames.len() > FRAMES_MAX {
        lines.push(format!("  … {} more", frames.len() - FRAMES_MAX));
    }
    if let Some(detail) = error.member("detail").filter(|detail| !detail.is_null()) {
        lines.push(format!("detail {}", detail.as_str()));
    }
    printable(&(lines.join("\n") + "\n"))
}

/// JSON over several lines, its values spelled as they are. Long ones are cut.
pub(super) fn pretty(json: &Json) -> String {
    let whole = indented(json.as_str());
    let lines = whole.lines().count();
    let mut text: String = whole.lines().take(JSON_LINES_MAX).flat_map(|line| [line, "\n"]).collect();
    if lines > JSON_LINES_MAX {
        let _ = writeln!(text, "… {} more lines; hint: `--json` shows all", lines - JSON_LINES_MAX);
    }
    printable(&text)
}

/// Breaks the lines of a JSON text where its values begin and end. The text is known to be JSON.
fn indented(json: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0_usize);
    let (mut in_text, mut escaped) = (false, false);
    let mut chars = json.chars().filter(|c| !matches!(c, '\n' | '\r')).peekable();
    while let Some(c) = chars.next() {
        if in_text {
            in_text = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            out.push(c);
            continue;
        }
        let line = |out: &mut String, depth: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        };
        match c {
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_whitespace()).is_some() {}
                if let Some(end) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_whitespace() => {}
            c => {
                in_text = c == '"';
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_laid_out_as_it_is_spelled() {
        let check = |json: &str, expected: &str| assert_eq!(indented(json), expected, "{json}");
        check(
            r#"{"a": [1.50,{}, [ ]],"b":{"c":"x, \"{y\\"}}"#,
            "{\n  \"a\": [\n    1.50,\n    {},\n    []\n  ],\n  \"b\": {\n    \"c\": \"x, \\\"{y\\\\\"\n  }\n}",
        );
        check("12345678901234567890", "12345678901234567890");
        let long = Json::of(&vec![0; 500]).unwrap();
        let text = pretty(&long);
        assert_eq!(text.lines().count(), JSON_LINES_MAX + 1);
        assert!(text.ends_with("… 442 more lines; hint: `--json` shows all\n"), "{text}");
    }

    #[test]
    fn errors_have_their_backtrace() {
        let json = Json::parse(r#"{"code":"trap","message":"the plugin panicked","backtrace":["a::b","c"]}"#).unwrap();
        assert_eq!(error(&json), "trap: the plugin panicked\nbacktrace\n  a::b\n  c\n");
        assert_eq!(error(&Json::parse("[1]").unwrap()), "[\n  1\n]\n");
    }
}
