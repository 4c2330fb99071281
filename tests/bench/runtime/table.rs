//! The one table that the benchmark prints, in Markdown, so that it reads in a terminal and in the documentation alike.

#![expect(clippy::print_stdout, reason = "printing the table is what the benchmark is for")]

use std::time::Duration;

/// A table whose rows are printed as they come, because the whole takes minutes.
pub(crate) struct Table {
    widths: [usize; 4],
}

impl Table {
    /// Prints the head.
    pub(crate) fn begin() -> Self {
        let table = Self { widths: [66, 12, 12, 0] };
        table.row("what", "median", "best", "compared");
        println!("|{}|{}:|{}:|---|", "-".repeat(68), "-".repeat(13), "-".repeat(13));
        table
    }

    /// Prints a line that names what the following rows have in common.
    pub(crate) fn section(&self, title: &str) {
        self.row(&format!("**{title}**"), "", "", "");
    }

    /// Prints a row.
    pub(crate) fn row(&self, what: &str, median: &str, best: &str, compared: &str) {
        let [first, second, third, _] = self.widths;
        println!("| {what:first$} | {median:>second$} | {best:>third$} | {compared} |");
    }

    /// Prints why something is not there.
    pub(crate) fn skipped(&self, what: &str, reason: &str) {
        self.row(what, "", "", &format!("skipped: {}", reason.replace('\n', "; ")));
    }
}

/// A duration with three significant digits.
pub(crate) fn time(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        0.0..10.0 => format!("{micros:.2} µs"),
        10.0..100.0 => format!("{micros:.1} µs"),
        100.0..1_000.0 => format!("{micros:.0} µs"),
        1_000.0..1_000_000.0 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}
