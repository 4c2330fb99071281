//! What the text of a typed value means: one reading for documents, filters, sort keys and cursors.
//!
//! The databases read the same texts with expressions of their own. What counts as a value here is therefore exactly what
//! those expressions take for one, and everything else is null, in memory as in SQL.

use std::cmp::Ordering;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// How many characters of a text take part in sorting and in indexes. PostgreSQL refuses an index row beyond 2,704 bytes:
/// 256 characters of four bytes leave room for the columns that identify the row.
pub const TEXT_KEY_CHARS_MAX: usize = 256;

/// How many characters, sign and point included, a plain number has before its exponent: 17 digits carry a double
/// exactly, and SQLite rounds correctly up to 19.
const NUMBER_MANTISSA_BYTES_MAX: usize = 19;

/// How a value is compared, and which SQL expression reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// By bytes: strings, ids, links, and date-times in their canonical form.
    Text,
    /// 64 bits, exact.
    Integer,
    /// A double.
    Number,
    /// False before true.
    Boolean,
    /// Any value; only whether it is there can be asked.
    Json,
}

/// A typed value, ready to be compared or bound.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is documented at the value type of the same name")]
pub enum Key {
    Text(String),
    Integer(i64),
    Number(f64),
    Boolean(bool),
}

impl Key {
    /// The order of two values of one type. Values of different types have no order and count as equal.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            // Not the total order: minus zero is zero, as in SQL. There is no NaN in JSON.
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            _ => Ordering::Equal,
        }
    }

    /// The part that takes part in sorting: the first [`TEXT_KEY_CHARS_MAX`] characters of a text.
    #[must_use]
    pub fn cut(mut self) -> Self {
        if let Self::Text(text) = &mut self
            && let Some(end) = key_end(text)
        {
            text.truncate(end);
        }
        self
    }

    /// Whether [`cut`](Self::cut) keeps the whole value, with room for one more character: then comparing with the cut
    /// part of a stored value is comparing with all of it.
    pub fn is_whole(&self) -> bool {
        !matches!(self, Self::Text(text) if text.len() >= TEXT_KEY_CHARS_MAX && text.chars().count() >= TEXT_KEY_CHARS_MAX)
    }
}

/// Where the text's key ends, none when the whole text is its key.
fn key_end(text: &str) -> Option<usize> {
    if text.len() <= TEXT_KEY_CHARS_MAX {
        return None;
    }
    text.char_indices().nth(TEXT_KEY_CHARS_MAX).map(|(end, _)| end)
}

/// Reads a stored value. None when it is not of the type, which every comparison takes for null.
pub fn read(of: ValueType, json: &str) -> Option<Key> {
    match of {
        ValueType::Text => string(json).map(Key::Text),
        ValueType::Integer => json.parse().ok().map(Key::Integer),
        ValueType::Number if is_plain_number(json) => json.parse().ok().map(Key::Number),
        ValueType::Number => None,
        ValueType::Boolean => boolean(json).map(Key::Boolean),
        ValueType::Json => (json != "null").then_some(Key::Boolean(true)),
    }
}

/// The characters of a JSON string.
pub(crate) fn string(json: &str) -> Option<String> {
    json.starts_with('"').then(|| serde_json::from_str(json).ok()).flatten()
}

/// A JSON boolean.
pub(crate) fn boolean(json: &str) -> Option<bool> {
    match json {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Whether a text is a JSON number.
pub(crate) fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok_and(|raw| raw.get() == text)
}

/// The integer that a JSON number means, however it is spelled; none when it is none or needs more than 64 bits.
pub(crate) fn integer(number: &str) -> Option<i64> {
    if let Ok(integer) = number.parse() {
        return Some(integer);
    }
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let exponent: i64 = exponent.parse().ok()?;
    let digits = [whole, fraction].concat();
    if digits.bytes().all(|byte| matches!(byte, b'0' | b'-')) {
        return Some(0);
    }
    let shift = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    if let Ok(zeros) = usize::try_from(shift) {
        // Nineteen digits is what 64 bits hold.
        return if zeros > 19 { None } else { [digits, "0".repeat(zeros)].concat().parse().ok() };
    }
    // What is left of `1500e-2` when the point has moved must be zeros.
    let cut = digits.len().checked_sub(usize::try_from(shift.unsigned_abs()).ok()?)?;
    let (kept, rest) = digits.split_at_checked(cut)?;
    rest.bytes().all(|byte| byte == b'0').then(|| kept.parse().ok()).flatten()
}

/// Whether every database reads this JSON number as the same double, and none refuses it: at most
/// `NUMBER_MANTISSA_BYTES_MAX` bytes before an exponent between -59 and 99. Measured, not derived: from `e-84` on and
/// from 20 digits on SQLite rounds some numbers to the neighbour.
pub fn is_plain_number(json: &str) -> bool {
    if !json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return false;
    }
    let (mantissa, exponent) = json.split_once(['e', 'E']).unwrap_or((json, "0"));
    let (below, digits) = match exponent.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, exponent.strip_prefix('+').unwrap_or(exponent)),
    };
    let in_range = digits.len() <= 2 && (!below || digits.parse::<u8>().is_ok_and(|digits| digits < 60));
    mantissa.len() <= NUMBER_MANTISSA_BYTES_MAX && in_range
}

/// The plain spelling of a JSON number, none when it is beyond [`is_plain_number`]'s range.
pub(crate) fn plain_number(json: &str) -> Option<String> {
    let number: f64 = json.parse().ok()?;
    let spelled = [format!("{number}"), format!("{number:e}")].into_iter().find(|text| is_plain_number(text))?;
    // A number that only became zero for want of digits is out of range, not zero.
    let lost = number == 0.0 && json.split(['e', 'E']).next()?.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    (number.is_finite() && !lost).then_some(spelled)
}

/// The canonical form of a date-time, for example `2024-05-01T14:00:00.000Z`: in UTC with three digits of a second, finer
/// ones cut, so that the order of texts is the order of times. None when the text is not RFC 3339 or its year has not four
/// digits.
pub fn date_time(text: &str) -> Option<String> {
    spell(text.parse().ok()?)
}

/// The canonical form of a date-time that is spelled as in e-mail (RFC 2822), as BigCommerce's older API does.
pub(crate) fn date_time_of_mail(text: &str) -> Option<String> {
    spell(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
}

/// Milliseconds since 1970 of a date-time, finer digits cut.
pub fn date_time_ms(text: &str) -> Option<i64> {
    let time: Timestamp = text.parse().ok()?;
    let below = time.subsec_nanosecond() % 1_000_000 < 0;
    Some(time.as_millisecond() - i64::from(below))
}

/// Microseconds since 1970 of a date-time, finer digits cut. None when the text is not RFC 3339.
pub fn date_time_us(text: &str) -> Option<i64> {
    let time: Timestamp = text.parse().ok()?;
    i64::try_from(time.as_nanosecond().div_euclid(1_000)).ok()
}

/// Milliseconds since 1970 as a date-time; times beyond what has a spelling are taken to the nearest that has.
pub fn show_ms(ms: i64) -> String {
    let nearest = if ms < 0 { "0000-01-01T00:00:00.000Z" } else { "9999-12-31T23:59:59.999Z" };
    Timestamp::from_millisecond(ms).ok().and_then(spell).unwrap_or_else(|| nearest.to_owned())
}

fn spell(time: Timestamp) -> Option<String> {
    let time: DateTime = Offset::UTC.to_datetime(time);
    if time.year() < 0 {
        return None;
    }
    Some(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        time.year(),
        time.month(),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.subsec_nanosecond() / 1_000_000
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_in_any_spelling() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(integer(text), expected, "{text}");
        check("0", Some(0));
        check("-0", Some(0));
        check("-0.0e9", Some(0));
        check("10.0", Some(10));
        check("1e2", Some(100));
        check("1500E-2", Some(15));
        check("-1.5e1", Some(-15));
        check("1501e-2", None);
        check("0.5", None);
        check("1e-1", None);
        check("-1e-1", None);
        check("-1e-3", None);
        check("9223372036854775807", Some(i64::MAX));
        check("9223372036854775807.000", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        check("9223372036854775808", None);
        check("1e19", None);
        check("1e99999999999999999999", None);
    }

    #[test]
    fn numbers_are_plain_or_respelled() {
        let check = |text: &str, plain: bool, respelled: Option<&str>| {
            assert_eq!(is_plain_number(text), plain, "{text}");
            assert_eq!(plain_number(text).as_deref(), respelled, "{text}");
            assert!(respelled.is_none_or(|text| is_plain_number(text) && is_number(text)), "{text}");
        };
        check("10.50", true, Some("10.5"));
        check("-1.2345678901234567", true, Some("-1.2345678901234567"));
        check("0.1000000000000000055511151231257827021181583404541015625", false, Some("0.1"));
        check("0.00012345678901234567", false, Some("1.2345678901234567e-4"));
        check("1e99", true, Some("1e99"));
        check("1e100", false, None);
        check("1e-59", true, Some("1e-59"));
        check("1e-60", false, None);
        check("1e0001", false, Some("10"));
        check("1e400", false, None);
        check("1e-400", false, None);
        check("0e-400", false, Some("0"));
        check("\"1\"", false, None);
    }

    #[test]
    fn date_times_have_one_spelling() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(date_time(text).as_deref(), expected, "{text}");
        check("2024-05-01T10:00:00-04:00", Some("2024-05-01T14:00:00.000Z"));
        check("2024-05-01T14:00:00.1239999Z", Some("2024-05-01T14:00:00.123Z"));
        check("1969-12-31T23:59:59.9999Z", Some("1969-12-31T23:59:59.999Z"));
        check("0000-01-01T00:00:00Z", Some("0000-01-01T00:00:00.000Z"));
        check("-000001-01-01T00:00:00Z", None);
        check("2024-05-01", None);
        check("2024-13-01T00:00:00Z", None);
        check("2024-05-01T14:00:00", None);
        assert_eq!(date_time_ms("1969-12-31T23:59:59.9999Z"), Some(-1));
        assert_eq!(date_time_ms("2024-05-01T14:00:00.1239Z"), Some(1_714_572_000_123));
        assert_eq!(show_ms(1_714_572_000_123), "2024-05-01T14:00:00.123Z");
        assert_eq!(show_ms(i64::MIN), "0000-01-01T00:00:00.000Z");
        let mail = date_time_of_mail("Tue, 20 Nov 2012 00:00:00 +0000");
        assert_eq!(mail.as_deref(), Some("2012-11-20T00:00:00.000Z"));
    }

    #[test]
    fn stored_values_are_read_as_the_databases_read_them() {
        let check = |of, json: &str, expected: Option<Key>| assert_eq!(read(of, json), expected, "{json}");
        check(ValueType::Text, r#""a\u00e9""#, Some(Key::Text("aé".to_owned())));
        check(ValueType::Text, "1", None);
        check(ValueType::Integer, "820982911946154508", Some(Key::Integer(820_982_911_946_154_508)));
        check(ValueType::Integer, "10.0", None);
        check(ValueType::Integer, "9223372036854775808", None);
        check(ValueType::Number, "10", Some(Key::Number(10.0)));
        check(ValueType::Number, "1e400", None);
        check(ValueType::Boolean, "true", Some(Key::Boolean(true)));
        check(ValueType::Boolean, "1", None);
        check(ValueType::Json, "null", None);
        check(ValueType::Json, "[]", Some(Key::Boolean(true)));
    }

    #[test]
    fn keys_are_cut_by_characters() {
        let text = |of: &str, chars: usize| Key::Text(of.repeat(chars));
        assert_eq!(text("é", 300).cut(), text("é", 256));
        assert_eq!(text("é", 256).cut(), text("é", 256));
        assert!(text("é", 255).is_whole() && !text("é", 256).is_whole() && !text("a", 256).is_whole());
        assert_eq!(Key::Number(-0.0).compare(&Key::Number(0.0)), Ordering::Equal);
        assert_eq!(text("Z", 1).compare(&text("a", 1)), Ordering::Less);
    }
}
