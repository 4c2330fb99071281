//! JSON as text: kept as it was spelled, compared by what it means.
//!
//! Values cross the plugin contract, the database and the wire as text, so text is what we keep: nothing is parsed that
//! nobody looks into, and an integer beyond 2^53 stays exact because it never becomes a double.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// How deep [`same`] looks before it calls two different texts different. `serde_json` itself stops parsing at 128.
const COMPARE_DEPTH_MAX: u32 = 128;

/// Members that an object usually has at most. 32: a product has 22.
const MEMBERS_USUAL: usize = 32;

/// How many bytes [`same`] reads before it calls two different texts different: every level of nesting reads what is
/// inside of it once more. 128 MiB: a fifth of a second, and 64 levels of a mebibyte on either side.
const COMPARE_BYTES_MAX: usize = 128 << 20;

/// Text that is known to be one JSON value, without white space around it.
///
/// Cheap to clone. The fields of an object share the object's text.
#[derive(Clone)]
pub struct Json {
    text: Arc<str>,
    start: usize,
    end: usize,
}

/// The text was not one JSON value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON: {reason}")]
pub struct InvalidJson {
    /// What the parser stumbled over, with line and column.
    pub reason: String,
}

impl Json {
    /// Checks that `text` is one JSON value.
    pub fn parse(text: impl Into<Arc<str>>) -> Result<Self, InvalidJson> {
        let text = text.into();
        let raw: &RawValue = serde_json::from_str(&text).map_err(invalid)?;
        let (start, end) = span(&text, raw.get());
        Ok(Self { text, start, end })
    }

    /// The text of any value that serde can write as JSON.
    ///
    /// Fails for maps with keys that are not strings and for numbers that JSON has no spelling for.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, InvalidJson> {
        let text: Arc<str> = serde_json::to_string(value).map_err(invalid)?.into();
        Ok(Self { start: 0, end: text.len(), text })
    }

    /// The text `null`.
    pub fn null() -> Self {
        Self { text: "null".into(), start: 0, end: 4 }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text[self.start..self.end]
    }

    /// Reads the text as a typed value.
    pub fn to<'a, T: Deserialize<'a>>(&'a self) -> Result<T, InvalidJson> {
        serde_json::from_str(self.as_str()).map_err(invalid)
    }

    /// Whether this is the value `null`.
    pub fn is_null(&self) -> bool {
        self.as_str() == "null"
    }

    /// The members of an object in their order, the last of equal names winning; none when this is not an object.
    pub fn members(&self) -> Option<Vec<(String, Self)>> {
        if !self.as_str().starts_with('{') {
            return None;
        }
        let Members(members) = serde_json::from_str(self.as_str()).ok()?;
        Some(members.into_iter().map(|(name, raw)| (name.into_owned(), self.sliced(raw.get()))).collect())
    }

    /// The members of an object in their order, equal names included, without copying anything; none when this is not an
    /// object.
    pub(crate) fn slices(&self) -> Option<Vec<(Cow<'_, str>, &str)>> {
        let Members(members) = serde_json::from_str(self.as_str()).ok()?;
        Some(members.into_iter().map(|(name, raw)| (name, raw.get())).collect())
    }

    /// The part of this text that is `slice`, which [`slices`](Self::slices) gave.
    pub(crate) fn sliced(&self, slice: &str) -> Self {
        let (start, end) = span(&self.text, slice);
        Self { text: Arc::clone(&self.text), start, end }
    }

    /// At least as many as an object has members, without reading it: each takes a colon.
    pub fn members_max(&self) -> usize {
        self.as_str().bytes().filter(|byte| *byte == b':').count()
    }

    /// One member of an object, none when it is not there or this is not an object.
    pub fn member(&self, name: &str) -> Option<Self> {
        let Members(members) = serde_json::from_str(self.as_str()).ok()?;
        members.iter().rev().find(|(key, _)| key == name).map(|(_, raw)| self.sliced(raw.get()))
    }

    /// Writes an object from members that are already JSON.
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, &'a Self)>) -> Self {
        let members: Vec<_> = members.into_iter().collect();
        // Of each: quotes, colon, comma. Names that are escaped are few.
        let bytes = members.iter().map(|(name, value)| name.len() + value.as_str().len() + 4).sum::<usize>();
        let mut text = String::with_capacity(bytes + 2);
        text.push('{');
        for (name, value) in members {
            if text.len() > 1 {
                text.push(',');
            }
            push_string(&mut text, name);
            text.push(':');
            text.push_str(value.as_str());
        }
        text.push('}');
        let text: Arc<str> = text.into();
        Self { start: 0, end: text.len(), text }
    }
}

/// Where `part`, a slice of `whole`, begins and ends.
fn span(whole: &str, part: &str) -> (usize, usize) {
    let start = part.as_ptr() as usize - whole.as_ptr() as usize;
    (start, start + part.len())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn invalid(error: serde_json::Error) -> InvalidJson {
    InvalidJson { reason: error.to_string() }
}

/// Writes a JSON string. The characters that JSON requires to be escaped are, and no others.
fn push_string(out: &mut String, text: &str) {
    if !text.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return;
    }
    match serde_json::to_string(text) {
        Ok(quoted) => out.push_str(&quoted),
        Err(_) => unreachable!("a string always has a JSON spelling"),
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Equal when they mean the same, see [`same`].
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        let shared = Arc::ptr_eq(&self.text, &other.text) && (self.start, self.end) == (other.start, other.end);
        shared || same(self.as_str(), other.as_str())
    }
}

impl Eq for Json {}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(self.as_str()).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text: Arc<str> = raw.get().into();
        Ok(Self { start: 0, end: text.len(), text })
    }
}

/// An object's members with unparsed values, duplicates included.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

/// A member's name, copied only when it is spelled with escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl<'de> Visitor<'de> for Take {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(name))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(name.to_owned()))
            }
        }
        deserializer.deserialize_str(Take).map(Name)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(MEMBERS_USUAL);
                while let Some((Name(name), raw)) = map.next_entry()? {
                    members.push((name, raw));
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Collect).map(Members)
    }
}

/// Whether two JSON texts mean the same: numbers by value, objects whatever their key order, strings by their
/// characters, and date-times (RFC 3339) by instant.
///
/// The last rule is what keeps `2024-05-01T10:00:00-04:00` from a webhook equal to `2024-05-01T14:00:00Z` from a query.
/// Texts that are spelled alike are never parsed.
pub fn same(a: &str, b: &str) -> bool {
    same_within(a, b, &mut Bounds { depth: COMPARE_DEPTH_MAX, bytes: COMPARE_BYTES_MAX })
}

/// What is left of a comparison's bounds.
struct Bounds {
    depth: u32,
    bytes: usize,
}

fn same_within(a: &str, b: &str, bounds: &mut Bounds) -> bool {
    if a == b {
        return true;
    }
    let Some(bytes) = bounds.bytes.checked_sub(a.len() + b.len()) else { return false };
    bounds.bytes = bytes;
    let (Some(&first_a), Some(&first_b)) = (a.as_bytes().first(), b.as_bytes().first()) else { return false };
    match (first_a, first_b) {
        (b'"', b'"') => same_string(a, b),
        (b'-' | b'0'..=b'9', b'-' | b'0'..=b'9') => Decimal::of(a) == Decimal::of(b),
        (b'[', b'[') | (b'{', b'{') if bounds.depth > 0 => {
            bounds.depth -= 1;
            let same = if first_a == b'[' { same_array(a, b, bounds) } else { same_object(a, b, bounds) };
            bounds.depth += 1;
            same
        }
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

fn same_array(a: &str, b: &str, bounds: &mut Bounds) -> bool {
    let (Ok(a), Ok(b)) = (serde_json::from_str::<Vec<&RawValue>>(a), serde_json::from_str::<Vec<&RawValue>>(b)) else {
        return false;
    };
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| same_within(a.get(), b.get(), bounds))
}

fn same_object(a: &str, b: &str, bounds: &mut Bounds) -> bool {
    let (Ok(Members(a)), Ok(Members(b))) = (serde_json::from_str(a), serde_json::from_str(b)) else { return false };
    let a: HashMap<&str, &RawValue> = a.iter().map(|(name, value)| (&**name, *value)).collect();
    let b: HashMap<&str, &RawValue> = b.iter().map(|(name, value)| (&**name, *value)).collect();
    a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same_within(a.get(), b.get(), bounds)))
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
    fn a_comparison_ends_before_it_has_read_a_text_at_every_level() {
        let deep = |end: &str| format!("{}\"{}\",{end}{}", "[".repeat(100), "x".repeat(1_000), "]".repeat(100));
        let same = |bytes| same_within(&deep("1"), &deep("1.0"), &mut Bounds { depth: COMPARE_DEPTH_MAX, bytes });
        assert!(same(300_000));
        assert!(!same(100_000));
    }

    #[test]
    fn members_share_the_text_and_keep_big_numbers() {
        let json = Json::parse(r#" { "id" : 820982911946154508 , "t\u0069tle" : "x", "id": 1 } "#).unwrap();
        let members = json.members().unwrap();
        let texts: Vec<_> = members.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(texts, [("id", "820982911946154508"), ("title", "\"x\""), ("id", "1")]);
        assert_eq!(json.member("id").unwrap().as_str(), "1");
        assert_eq!(json.member("none"), None);
        assert_eq!(Json::parse("[1]").unwrap().members(), None);
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "{", "nul", "1 2", "{\"a\":}", "\"\u{1}\"", "[1,]", "01"] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
    }
}
