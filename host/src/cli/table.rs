//! Rows of text in columns.

use super::text::cell;

/// Which side of its column a value leans to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lean {
    Left,
    /// Numbers, so that their digits stand below one another.
    Right,
}

/// A table that grows by rows.
pub(super) struct Table {
    columns: &'static [(&'static str, Lean)],
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads.
    pub(super) fn new(columns: &'static [(&'static str, Lean)]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// A row with a value for each column. What is long is cut, what a terminal would obey is escaped.
    pub(super) fn push<const N: usize>(&mut self, row: &[String; N]) {
        debug_assert_eq!(N, self.columns.len());
        self.rows.push(row.iter().map(|value| cell(value)).collect());
    }

    /// The lines, each moved to the right by `margin`.
    pub(super) fn text(&self, margin: usize) -> String {
        let heads: Vec<String> = self.columns.iter().map(|(head, _)| (*head).to_owned()).collect();
        let lines = || std::iter::once(&heads).chain(&self.rows);
        let widths: Vec<usize> = (0..heads.len())
            .map(|column| lines().map(|line| line[column].chars().count()).max().unwrap_or_default())
            .collect();
        let mut text = String::new();
        for line in lines() {
            let mut out = " ".repeat(margin);
            for ((value, width), (_, lean)) in line.iter().zip(&widths).zip(self.columns) {
                let space = " ".repeat(width - value.chars().count());
                let (before, after) = if *lean == Lean::Right { (&*space, "") } else { ("", &*space) };
                out.extend([before, value, after, "  "]);
            }
            text.push_str(out.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_harmless() {
        let mut table = Table::new(&[("seq", Lean::Right), ("shop", Lean::Left), ("why", Lean::Left)]);
        table.push(&["7".to_owned(), "hüte".to_owned(), String::new()]);
        table.push(&["1234".to_owned(), "a\u{1b}[2J\nb".to_owned(), "x".repeat(100)]);
        let expected = format!(
            " seq  shop           why\n   7  hüte\n1234  a\\u{{1b}}[2J\\nb  {}…\n",
            "x".repeat(super::super::text::CELL_CHARS_MAX - 1)
        );
        assert_eq!(table.text(0), expected);
    }
}
