//! Whether two JSON texts mean the same: numbers by value, objects whatever their key order, strings by their characters, and
//! date-times (RFC 3339) by instant.
//!
//! The last rule is what keeps `2024-05-01T10:00:00-04:00` from a webhook equal to `2024-05-01T14:00:00Z` from a query. Texts
//! that are spelled alike are never read. Others are read once: each is taken apart into a list of its values, in which every
//! value knows where it ends, so that the time is linear in the size of the texts whatever their shape.

use std::borrow::Cow;
use std::collections::HashMap;

/// How deep a comparison looks before it calls two different texts different. 128: `serde_json` itself reads no deeper.
const DEPTH_MAX: u32 = 128;

/// Values that a text may have to be taken apart. 1,000,000: a product with 2,000 variants has 50,000, and each takes 16 bytes
/// meanwhile. Different texts with more are different.
const VALUES_MAX: usize = 1_000_000;

/// Whether two JSON texts mean the same.
pub fn same(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    match (a.as_bytes().first(), b.as_bytes().first()) {
        (Some(b'[' | b'{'), Some(b'[' | b'{')) => {
            let (Some(a), Some(b)) = (Values::of(a), Values::of(b)) else { return false };
            a.same(0, &b, 0, DEPTH_MAX)
        }
        (Some(_), Some(_)) => same_scalar(a, b),
        _ => false,
    }
}

/// The values of a text in their order; the members of an object alternate between names and values.
struct Values<'a> {
    text: &'a str,
    values: Vec<Value>,
}

/// A value, or a member's name.
#[derive(Clone, Copy)]
struct Value {
    start: u32,
    end: u32,
    /// The place of the value behind this one and all that is inside of it.
    next: u32,
}

impl<'a> Values<'a> {
    /// Takes a valid text apart; none when it has too many values.
    fn of(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        let place = |at: usize| u32::try_from(at).ok();
        let (mut values, mut open): (Vec<Value>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut at = 0;
        while at < bytes.len() {
            match bytes[at] {
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => at += 1,
                b']' | b'}' => {
                    at += 1;
                    let closed = open.pop()?;
                    let next = place(values.len())?;
                    let value = values.get_mut(closed)?;
                    (value.end, value.next) = (place(at)?, next);
                }
                first => {
                    if values.len() == VALUES_MAX {
                        return None;
                    }
                    let end = match first {
                        b'[' | b'{' => {
                            open.push(values.len());
                            at + 1
                        }
                        b'"' => string_end(bytes, at),
                        _ => scalar_end(bytes, at),
                    };
                    values.push(Value { start: place(at)?, end: place(end)?, next: place(values.len() + 1)? });
                    at = end;
                }
            }
        }
        open.is_empty().then_some(Self { text, values })
    }

    fn text(&self, at: usize) -> &'a str {
        self.values.get(at).map_or("", |value| &self.text[value.start as usize..value.end as usize])
    }

    /// The places of what is right inside of a value.
    fn inside(&self, of: usize) -> impl Iterator<Item = usize> {
        let end = self.values.get(of).map_or(0, |value| value.next as usize);
        let mut at = of + 1;
        std::iter::from_fn(move || {
            let here = (at < end).then_some(at)?;
            at = self.values.get(here)?.next as usize;
            Some(here)
        })
    }

    fn same(&self, at: usize, other: &Self, other_at: usize, depth: u32) -> bool {
        let (a, b) = (self.text(at), other.text(other_at));
        match (a.as_bytes().first(), b.as_bytes().first()) {
            (Some(b'['), Some(b'[')) if depth > 0 => self.same_array(at, other, other_at, depth - 1),
            (Some(b'{'), Some(b'{')) if depth > 0 => self.same_object(at, other, other_at, depth - 1),
            (Some(b'[' | b'{'), _) | (_, Some(b'[' | b'{')) => false,
            _ => a == b || same_scalar(a, b),
        }
    }

    fn same_array(&self, at: usize, other: &Self, other_at: usize, depth: u32) -> bool {
        let mut others = other.inside(other_at);
        self.inside(at).all(|a| others.next().is_some_and(|b| self.same(a, other, b, depth))) && others.next().is_none()
    }

    fn same_object(&self, at: usize, other: &Self, other_at: usize, depth: u32) -> bool {
        let (members, others) = (self.members(at), other.members(other_at));
        members.len() == others.len()
            && members.iter().all(|(name, a)| others.get(name).is_some_and(|b| self.same(*a, other, *b, depth)))
    }

    /// The places of an object's values by their names; of equal names the last one counts.
    fn members(&self, of: usize) -> HashMap<Cow<'a, str>, usize> {
        let mut places = self.inside(of);
        let mut members = HashMap::new();
        while let (Some(name), Some(value)) = (places.next(), places.next()) {
            members.insert(name_of(self.text(name)), value);
        }
        members
    }
}

/// Where the string ends that begins at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Where a number or a word ends.
fn scalar_end(bytes: &[u8], start: usize) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b':' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
    bytes[start..].iter().position(ends).map_or(bytes.len(), |length| start + length)
}

/// The characters of a member's name, which is copied only when it is spelled with escapes.
fn name_of(quoted: &str) -> Cow<'_, str> {
    let plain = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if plain.contains('\\') {
        return serde_json::from_str::<String>(quoted).map_or(Cow::Borrowed(plain), Cow::Owned);
    }
    Cow::Borrowed(plain)
}

fn same_scalar(a: &str, b: &str) -> bool {
    match (a.as_bytes().first(), b.as_bytes().first()) {
        (Some(b'"'), Some(b'"')) => same_string(a, b),
        (Some(b'-' | b'0'..=b'9'), Some(b'-' | b'0'..=b'9')) => Decimal::of(a) == Decimal::of(b),
        _ => false,
    }
}

fn same_string(a: &str, b: &str) -> bool {
    if differ_plainly(a.as_bytes(), b.as_bytes()) {
        return false;
    }
    let (Ok(a), Ok(b)) = (serde_json::from_str::<String>(a), serde_json::from_str::<String>(b)) else { return false };
    if a == b {
        return true;
    }
    match (instant(&a), instant(&b)) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// Bytes of a string that may be a date-time, quotes included. 64: with nanoseconds and a zone it has 37.
const INSTANT_BYTES_MAX: usize = 64;

/// Whether two spellings of strings, which are not the same text, part where neither has an escape: then they mean
/// different texts, and most long ones are told apart without being read. What is short, or has a `T` where a date-time has it,
/// may be one.
fn differ_plainly(a: &[u8], b: &[u8]) -> bool {
    /// Bytes of the longest escape, a pair of surrogates.
    const ESCAPE: usize = 12;
    let may_be_instant = |text: &[u8]| text.len() <= INSTANT_BYTES_MAX || text.get(11) == Some(&b'T');
    if may_be_instant(a) && may_be_instant(b) {
        return false;
    }
    let Some(at) = a.iter().zip(b).position(|(a, b)| a != b) else { return false };
    let near = |text: &[u8]| text[at.saturating_sub(ESCAPE)..=at].contains(&b'\\');
    !near(a) && !near(b)
}

/// The instant that a string names when it is an RFC 3339 date-time.
fn instant(text: &str) -> Option<jiff::Timestamp> {
    // `2024-05-01T14:00:00Z` is the shortest; the cheap look saves parsing prose.
    let bytes = text.as_bytes();
    if bytes.len() < 20 || bytes[4] != b'-' || bytes[10] != b'T' {
        return None;
    }
    text.parse().ok()
}

/// A JSON number by value: `0.digits × 10^exponent`, without zeros on either side of the digits.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// Reads the text of a valid JSON number.
    fn of(text: &str) -> Self {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        // An exponent beyond 64 bits saturates: such numbers compare by their digits, which no real value notices.
        let exponent = exponent.parse().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
        let digits: String = [whole, fraction].concat();
        let leading = digits.len() - digits.trim_start_matches('0').len();
        let digits = digits.trim_matches('0').to_owned();
        if digits.is_empty() {
            return Self { negative: false, digits, exponent: 0 };
        }
        let point = i64::try_from(whole.len()).unwrap_or(i64::MAX) - i64::try_from(leading).unwrap_or(i64::MAX);
        Self { negative, digits, exponent: exponent.saturating_add(point) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_means_the_same() {
        let check = |a: &str, b: &str, expected: bool| {
            assert_eq!(same(a, b), expected, "{a} and {b}");
            assert_eq!(same(b, a), expected, "{b} and {a}");
        };
        check("1", "1.0", true);
        check("100", "1e2", true);
        check("0.001", "1E-3", true);
        check("-0", "0.0e7", true);
        check("10", "1", false);
        check("-1", "1", false);
        check("1e99999999999999999999", "1", false);
        check("820982911946154508", "820982911946154509", false);
        check(r#""a""#, r#""\u0061""#, true);
        check(r#""\/x""#, r#""/x""#, true);
        check(r#""a""#, r#""b""#, false);
        let long = |end: &str| format!("\"{}{end}{}\"", "x".repeat(100), "y".repeat(100));
        check(&long("a"), &long("b"), false);
        check(&long("a"), &long("aa"), false);
        let zone = "[America/Argentina/ComodRivadavia]";
        let (here, there) = (format!("\"2024-05-01T10:00:00.000000000-03:00{zone}\""), "\"2024-05-01T13:00:00Z\"");
        check(&here, &format!("\"2024-05-01T10:00:00-03:00{zone}\""), true);
        check(&here, there, true);
        check(&long("a"), &long(r"\u0061"), true);
        check(&long(r"\u0061"), &long(r"\u0062"), false);
        check(&long(r"\ud83d\ude00"), &long("\u{1f600}"), true);
        check(&long(r"\ud83d\ude00z"), &long(r"\uD83D\uDE00z"), true);
        check(&long(r"\ud83d\ude00 and then some"), &long("\u{1f600} and then none"), false);
        check(r#""2024-05-01T10:00:00-04:00""#, r#""2024-05-01T14:00:00.000Z""#, true);
        check(r#""2024-05-01T10:00:00-04:00""#, r#""2024-05-01T10:00:00Z""#, false);
        check(r#""2024-05-01""#, r#""2024-05-01T00:00:00Z""#, false);
        check(r#"{"a":1,"b":[1,2]}"#, r#"{ "b": [1.0, 2], "a": 1 }"#, true);
        check(r#"{"a":1}"#, r#"{"a":1,"b":null}"#, false);
        check(r#"{"a":2,"a":1}"#, r#"{"a":1}"#, true);
        check("[1,2]", "[2,1]", false);
        check("[1]", "[1,1]", false);
        check("null", "false", false);
        check("1", r#""1""#, false);
    }

    #[test]
    fn deep_texts_do_not_overflow_the_stack() {
        let deep = |space: &str| format!("{}{space}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(!same(&deep(""), &deep(" ")));
    }

    #[test]
    fn a_text_is_read_once_whatever_its_depth() {
        // At every level all that is inside would be read once more: a hundred times as much.
        let deep = |levels: usize, end: &str| {
            let inside = "7,".repeat(100_000);
            format!("{}{inside}{end}{}", "[".repeat(levels), "]".repeat(levels))
        };
        assert!(same(&deep(100, "1"), &deep(100, "1.0")));
        assert!(!same(&deep(100, "1"), &deep(100, "2")));
        assert!(!same(&deep(200, "1"), &deep(200, "1.0")), "deeper than a comparison looks");
        let many = |end: &str| format!("[{}{end}]", "1,".repeat(VALUES_MAX));
        assert!(!same(&many("1"), &many("1.0")), "more values than are taken apart");
        assert!(same(&many("1"), &many("1")));
    }
}
