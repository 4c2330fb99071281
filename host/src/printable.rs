//! Text of others, made harmless for a terminal and for a line of a log.

/// Text with everything escaped that a terminal would obey, but for the ends of lines.
pub(crate) fn printable(text: &str) -> String {
    escaped(text, |c| c == '\n')
}

/// The same on one line.
pub(crate) fn one_line(text: &str) -> String {
    escaped(text, |_| false)
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // Marks of direction make a text look like another; some viewers end a line at U+2028 and U+2029.
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() || turns) && !stays(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing() {
        assert_eq!(printable("a\u{1b}[31m\u{202e}\tb\n\r"), "a\\u{1b}[31m\\u{202e}\\tb\n\\r");
        assert_eq!(one_line("a\nb\u{2028}\u{9b}c é"), "a\\nb\\u{2028}\\u{9b}c é");
    }
}
