//! JSON as the platform spells it: `/` is written as `\/` and `&` as `\u0026`, and the order of the fields is its own.
//!
//! A receiver that parses a body and writes it again gets other bytes, and its signature no longer holds. That is the
//! point.

use std::io;

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CharEscape, Formatter};

struct Spelling;

impl Formatter for Spelling {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['/', '&']) {
            writer.write_all(&rest.as_bytes()[..at])?;
            writer.write_all(if rest.as_bytes()[at] == b'/' { b"\\/" } else { b"\\u0026" })?;
            rest = &rest[at + 1..];
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        serde_json::ser::CompactFormatter.write_char_escape(writer, escape)
    }
}

/// A value as the platform spells it.
pub(crate) fn spell(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    match value.serialize(&mut Serializer::with_formatter(&mut bytes, Spelling)) {
        Ok(()) => String::from_utf8_lossy(&bytes).into_owned(),
        // Only a map with keys that are no strings, and we make none.
        Err(_) => "null".to_owned(),
    }
}

/// The fields of one object, each already spelled, in the platform's order.
pub(crate) struct Fields(Vec<(&'static str, String)>);

impl Fields {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: &impl Serialize) -> Self {
        self.0.push((name, spell(value)));
        self
    }

    #[must_use]
    pub(crate) fn with_spelled(mut self, name: &'static str, value: String) -> Self {
        self.0.push((name, value));
        self
    }

    /// The object's text with the named fields; with none named, all of them.
    pub(crate) fn text(&self, only: &[String]) -> String {
        let mut text = String::from("{");
        for (name, value) in &self.0 {
            if only.is_empty() || only.iter().any(|wanted| top(wanted) == *name) {
                if text.len() > 1 {
                    text.push(',');
                }
                text.push('"');
                text.push_str(name);
                text.push_str("\":");
                text.push_str(value);
            }
        }
        text.push('}');
        text
    }
}

/// `variants.price` names a part of `variants`; the whole of it is given.
fn top(path: &str) -> &str {
    path.split('.').next().unwrap_or(path).trim()
}

/// Several spelled values as an array.
pub(crate) fn array(values: impl IntoIterator<Item = String>) -> String {
    let values: Vec<_> = values.into_iter().collect();
    format!("[{}]", values.join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Fields, spell};

    #[test]
    fn slashes_and_ampersands_are_escaped_wherever_they_stand() {
        assert_eq!(spell(&"</b> & \"x\"\n/"), r#""<\/b> \u0026 \"x\"\n\/""#);
        assert_eq!(spell(&json!({"a/b": ["&", "é"]})), r#"{"a\/b":["\u0026","é"]}"#);
        let value = json!({"text": "a/b&c", "n": u64::MAX});
        assert_eq!(serde_json::from_str::<Value>(&spell(&value)).unwrap(), value);
    }

    #[test]
    fn fields_keep_their_order_and_can_be_chosen() {
        let fields = Fields::new().with("title", &"x").with("id", &7_u64).with("variants", &[1]);
        assert_eq!(fields.text(&[]), r#"{"title":"x","id":7,"variants":[1]}"#);
        assert_eq!(fields.text(&["id".to_owned(), "variants.price".to_owned()]), r#"{"id":7,"variants":[1]}"#);
    }
}
