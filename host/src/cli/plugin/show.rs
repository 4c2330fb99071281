//! How things look on a terminal.

use std::time::Duration;

use tradewind_model::Json;
use tradewind_runtime::Usage;

/// The longest value that is shown whole, in characters.
const VALUE_CHARS_MAX: usize = 72;

/// A size with its unit.
pub(in crate::cli) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes >> 10),
        // One decimal, in whole numbers: 1.5 MiB is 15 tenths.
        _ => format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20),
    }
}

/// A duration with a unit that keeps three digits.
pub(in crate::cli) fn duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10),
        _ => format!("{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000),
    }
}

/// A number with its thousands apart.
pub(in crate::cli) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A value, cut when it is long.
pub(super) fn value(value: Option<&Json>) -> String {
    let Some(value) = value else { return "(none)".to_owned() };
    let text = value.as_str();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}… ({})", &text[..end], bytes(text.len() as u64)),
        None => text.to_owned(),
    }
}

/// One line on what a call used.
pub(super) fn usage(usage: &Usage) -> String {
    let mut parts = vec![
        duration(usage.wall),
        format!("{} memory at most", bytes(usage.memory_peak_bytes)),
        format!("{} host calls", number(usage.host_calls)),
    ];
    if let Some(instructions) = usage.instructions {
        parts.push(format!("{} instructions", number(instructions)));
    }
    parts.join(", ")
}

/// Text with every line moved to the right.
pub(super) fn indented(text: &str, by: usize) -> String {
    let margin = " ".repeat(by);
    text.lines().flat_map(|line| [margin.as_str(), line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_times_and_numbers_are_readable() {
        assert_eq!([bytes(0), bytes(2_047), bytes(1_572_864)], ["0 B", "1 KiB", "1.5 MiB"]);
        let micros = |micros| duration(Duration::from_micros(micros));
        assert_eq!([micros(7), micros(2_345), micros(12_340_000)], ["7 µs", "2.34 ms", "12.34 s"]);
        assert_eq!([number(7), number(1_234), number(1_234_567)], ["7", "1,234", "1,234,567"]);
        let long = Json::of(&"é".repeat(200)).unwrap();
        assert!(value(Some(&long)).ends_with("… (402 B)"));
    }
}
