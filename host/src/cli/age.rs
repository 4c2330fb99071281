//! Ages and times as people write and read them.

use tradewind_model::value::show_ms;

const UNITS: [(char, u64); 4] = [('d', 86_400_000), ('h', 3_600_000), ('m', 60_000), ('s', 1_000)];

/// Milliseconds of `90s`, `2h` or `1d12h`.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no length of time; hint: `90s`, `30m`, `2h`, `7d` or `1d12h`");
    let (mut rest, mut sum) = (text, 0_u64);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..end].parse().map_err(|_| wrong())?;
        let unit = rest[end..].chars().next().ok_or_else(wrong)?;
        let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        sum = number.checked_mul(*unit_ms).and_then(|ms| sum.checked_add(ms)).ok_or_else(wrong)?;
        rest = &rest[end + unit.len_utf8()..];
    }
    if text.is_empty() { Err(wrong()) } else { Ok(sum) }
}

/// A length of time in its largest unit, and days only from the third on: `47h`, `2d`.
pub(super) fn show(ms: i64) -> String {
    let ms = ms.max(0).unsigned_abs();
    let (unit, unit_ms) = match ms {
        0..60_000 => UNITS[3],
        60_000..3_600_000 => UNITS[2],
        3_600_000..172_800_000 => UNITS[1],
        _ => UNITS[0],
    };
    format!("{}{unit}", ms / unit_ms)
}

/// `2h ago`.
pub(super) fn ago(now_ms: i64, then_ms: i64) -> String {
    format!("{} ago", show(now_ms.saturating_sub(then_ms)))
}

/// A time with its age: `2026-05-02T09:30:00.000Z (2h ago)`.
pub(super) fn at(now_ms: i64, then_ms: i64) -> String {
    if then_ms > now_ms {
        return format!("{} (in {})", show_ms(then_ms), show(then_ms.saturating_sub(now_ms)));
    }
    format!("{} ({})", show_ms(then_ms), ago(now_ms, then_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(parse(text).ok(), expected, "{text}");
        check("90s", Some(90_000));
        check("2h", Some(7_200_000));
        check("1d12h", Some(129_600_000));
        check("0s", Some(0));
        for wrong in ["", "2", "h", "2x", "-2h", "2 h", "1d12", "99999999999999999999d", "999999999999999d", "2é"] {
            check(wrong, None);
        }
        let shown = [-5, 59_999, 60_000, 3_599_999, 3_600_000, 172_799_999, 172_800_000].map(show);
        assert_eq!(shown, ["0s", "59s", "1m", "59m", "1h", "47h", "2d"]);
        assert_eq!(at(7_200_000, 0), "1970-01-01T00:00:00.000Z (2h ago)");
        assert_eq!(at(0, 300_000), "1970-01-01T00:05:00.000Z (in 5m)");
    }
}
