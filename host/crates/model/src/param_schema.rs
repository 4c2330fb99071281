//! JSON Schemas of parameters: compiled once, and refused when holding a value to them could take long.
//!
//! The validator has no limit of its own, so its work is bounded beforehand: `weight` computes from a schema how many steps
//! it takes at most for each byte of a value, and refuses what has no such bound.

mod weight;

use std::fmt::{self, Write as _};
use std::sync::{Arc, OnceLock};

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::json::Json;
use weight::{Weight, weigh};

/// Bytes of one schema. 64 KiB: those of whole platform objects have 10.
pub(crate) const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// Steps that holding one value to its schema may take: what the schema weighs, for each two bytes of the value. 20 million:
/// a second in the worst case, and a hundred times what a parameter takes that a person wrote.
pub(crate) const SCHEMA_STEPS_MAX: u64 = 20_000_000;

/// Schemas that are inside of one another while a value is held to them: each is a few frames of a stack of 1.5 MiB.
const NESTED_MAX: usize = 400;

/// Memory of a compiled pattern. 128 KiB: a hundred letters of any alphabet.
const PATTERN_BYTES_MAX: usize = 128 << 10;

/// Steps up to which a value that does not fit is looked at once more, for words.
const EXPLAINED_STEPS_MAX: u64 = 100_000;

/// Bytes of those words.
const EXPLAINED_BYTES_MAX: usize = 300;

/// A schema that is compiled when it is first asked for, which is when its plugin is installed. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Compiled(Arc<OnceLock<Result<Checked, String>>>);

/// It follows from the schema beside it.
impl PartialEq for Compiled {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Compiled {}

#[derive(Debug)]
struct Checked {
    /// None: every value fits.
    validator: Option<Validator>,
    weight: Weight,
}

impl Compiled {
    /// Compiles the schema, and says why it cannot be used.
    pub(crate) fn problem(&self, schema: &Json) -> Option<String> {
        self.checked(schema).as_ref().err().cloned()
    }

    /// In which way a value does not fit the schema, or that it would take too long to find out.
    pub(crate) fn mismatch(&self, schema: &Json, value: &Json) -> Option<String> {
        let (validator, weight) = match self.checked(schema) {
            Ok(Checked { validator: None, .. }) => return None,
            Ok(Checked { validator: Some(validator), weight }) => (validator, weight),
            Err(reason) => return Some(reason.clone()),
        };
        let depth = depth(value.as_str());
        let steps = weight.steps(value.as_str().len(), depth);
        if steps > SCHEMA_STEPS_MAX || weight.nested(depth) > NESTED_MAX {
            return Some(format!(
                "limit `schema_steps_max` of {SCHEMA_STEPS_MAX} exceeded: the value is too large or too deep for its schema; \
                 hint: pass less, or keep it in a record and pass its id"
            ));
        }
        let Ok(value) = value.to::<Value>() else { return Some("it cannot be read".to_owned()) };
        if validator.is_valid(&value) {
            return None;
        }
        let words = (steps <= EXPLAINED_STEPS_MAX).then(|| validator.validate(&value).err()).flatten();
        let words = words.map(|error| shown(error, EXPLAINED_BYTES_MAX));
        Some(words.unwrap_or_else(|| "it does not fit its schema".to_owned()))
    }

    fn checked(&self, schema: &Json) -> &Result<Checked, String> {
        self.0.get_or_init(|| compile(schema))
    }
}

fn compile(schema: &Json) -> Result<Checked, String> {
    let bytes = schema.as_str().len();
    if bytes > SCHEMA_BYTES_MAX {
        return Err(format!(
            "limit `schema_bytes_max` of {SCHEMA_BYTES_MAX} exceeded: it has {bytes} bytes; hint: leave descriptions out"
        ));
    }
    let schema: Value = schema.to().map_err(|error| error.reason)?;
    let weight = weigh(&schema)?;
    if weight.nested(0) > NESTED_MAX {
        return Err(format!(
            "limit `schema_steps_max` of {SCHEMA_STEPS_MAX} exceeded: more than {NESTED_MAX} schemas are inside of one \
             another; hint: make it flatter"
        ));
    }
    if schema == Value::Bool(true) || schema.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(Checked { validator: None, weight });
    }
    // An engine that takes time in proportion to the text, whatever the pattern.
    let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    let validator =
        jsonschema::options().with_draft(jsonschema::Draft::Draft202012).with_pattern_options(patterns).build(&schema);
    let validator = validator.map_err(|error| shown(error, EXPLAINED_BYTES_MAX))?;
    Ok(Checked { validator: Some(validator), weight })
}

/// The beginning of what something says of itself: no more of it is made.
fn shown(value: impl fmt::Display, bytes: usize) -> String {
    struct Bounded(String, usize);
    impl fmt::Write for Bounded {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = self.1.saturating_sub(self.0.len());
            let end = text.floor_char_boundary(room.min(text.len()));
            self.0.push_str(&text[..end]);
            if end < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut bounded = Bounded(String::new(), bytes);
    if write!(bounded, "{value}").is_err() {
        bounded.0.push('…');
    }
    bounded.0
}

/// How deep valid JSON is nested.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
