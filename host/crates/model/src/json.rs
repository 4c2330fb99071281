//! JSON as text: kept as it was spelled, compared by what it means.
//!
//! Values cross the plugin contract, the database and the wire as text, so text is what we keep: nothing is parsed that
//! nobody looks into, and an integer beyond 2^53 stays exact because it never becomes a double.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// Members that an object usually has at most. 32: a product has 22.
const MEMBERS_USUAL: usize = 32;

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

    /// How many elements an array has; none when this is not an array.
    pub fn elements(&self) -> Option<usize> {
        self.to::<Vec<&RawValue>>().ok().map(|elements| elements.len())
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

/// Equal when they mean the same, see [`same`](crate::same::same).
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        let shared = Arc::ptr_eq(&self.text, &other.text) && (self.start, self.end) == (other.start, other.end);
        shared || crate::same::same(self.as_str(), other.as_str())
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

#[cfg(test)]
mod tests {
    use super::*;

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
