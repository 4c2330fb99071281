//! The form in which a record's document is stored and compared, and what of it changed.
//!
//! A canonical document has each member once, spells declared values in the one way that both databases compare alike, and
//! keeps everything else exactly as it came. A value that came unchanged therefore is the same text, and most deliveries
//! are told from the stored document by comparing texts.

use std::borrow::Cow;
use std::collections::HashSet;

use indexmap::IndexMap;
use serde::Serialize;

use crate::error::{ActionError, code};
use crate::json::Json;
use crate::object;
use crate::same::same;
use crate::schema::{Field, FieldType, Model, SYSTEM_FIELDS};
use crate::value;

/// How long a document may be. A product with 2,000 variants has 3 MiB; a page of 250 documents must fit into memory.
pub const DOCUMENT_BYTES_MAX: usize = 8 << 20;

/// How deep values may be nested in a document. SQLite reads 1,000 levels and JSON libraries of plugins 128.
pub const DOCUMENT_DEPTH_MAX: usize = 128;

/// How strictly values are held to their types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For writes of plugins and callers: what does not fit is refused.
    Strict,
    /// For payloads of platforms, which nobody here can correct: what fits in another spelling is respelled, the rest is
    /// stored as null and noted.
    Lenient,
}

/// Values in their canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical {
    /// An object. Holds neither the system's fields nor children.
    pub document: Json,
    /// The values of `has-many` fields, untouched.
    pub children: Vec<(String, Json)>,
    /// What a lenient reading could not keep.
    pub notes: Vec<FieldProblem>,
}

/// What is wrong with one field's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldProblem {
    /// The field's name.
    pub field: String,
    /// In words, to follow the name.
    pub message: String,
}

/// Brings a record's values, or a part of them, into the form in which they are stored.
///
/// `values` is an object. Answers `validation-failed` with every problem at once.
pub fn canonical(model: &Model, values: &Json, mode: Mode) -> Result<Canonical, ActionError> {
    let cleaned = clean(values);
    check_bounds(model, &cleaned)?;
    let Some(slices) = cleaned.slices() else {
        return Err(ActionError::permanent(
            code::INVALID_ARGUMENT,
            format!("the values of a record of `{}` are not a JSON object; hint: `{{\"title\": \"Hat\"}}`", model.name),
        ));
    };
    let count = slices.len();
    if mode == Mode::Strict
        && let Some(name) = object::doubled(slices.iter().map(|(name, _)| &**name))
    {
        let what = format!("the values of a record of `{}`", model.name);
        return Err(ActionError::permanent(code::INVALID_ARGUMENT, object::appears_twice(name, &what)));
    }
    // In the order in which names first come, with the value that comes last.
    let members: IndexMap<_, _> = slices.into_iter().collect();
    let mut touched = members.len() < count;
    let (mut document, mut children, mut notes) = (Vec::with_capacity(count), Vec::new(), Vec::new());
    for (name, text) in &members {
        if SYSTEM_FIELDS.contains(&&**name) {
            touched = true;
            continue;
        }
        let value = || cleaned.sliced(text);
        let Some(field) = model.field(name) else {
            document.push((name, value()));
            continue;
        };
        if matches!(field.of, FieldType::HasMany { .. }) {
            touched = true;
            children.push((name.to_string(), value()));
            continue;
        }
        match fit(field, text, mode) {
            Fit::Kept => document.push((name, value())),
            Fit::Respelled(text) => {
                touched = true;
                document.push((name, text));
            }
            Fit::Not(message) => {
                touched = true;
                notes.push(FieldProblem { field: name.to_string(), message });
                document.push((name, Json::null()));
            }
        }
    }
    if mode == Mode::Strict && !notes.is_empty() {
        return Err(validation_failed(model, &notes));
    }
    let document =
        if touched { Json::object(document.iter().map(|(name, value)| (&***name, value))) } else { cleaned.clone() };
    Ok(Canonical { document, children, notes })
}

/// Which required fields a whole document does not have.
pub fn missing(model: &Model, document: &Json) -> Vec<FieldProblem> {
    if !model.fields.iter().any(|field| field.required) {
        return Vec::new();
    }
    let members = document.slices().unwrap_or_default();
    let there =
        |field: &Field| members.iter().rev().find(|(name, _)| *name == field.name).is_some_and(|(_, v)| *v != "null");
    let absent = model.fields.iter().filter(|field| field.required && !there(field));
    absent.map(|field| FieldProblem { field: field.name.clone(), message: "is required".to_owned() }).collect()
}

/// The one error for everything that is wrong with a record's values.
pub fn validation_failed(model: &Model, problems: &[FieldProblem]) -> ActionError {
    let shown: Vec<_> = problems.iter().map(|problem| format!("`{}` {}", problem.field, problem.message)).collect();
    let message = format!("the record does not fit `{}`: {}", model.name, shown.join("; "));
    let error = ActionError::permanent(code::VALIDATION_FAILED, message);
    match Json::of(problems) {
        Ok(details) => error.with_details(details),
        Err(_) => unreachable!("names and sentences always have a JSON spelling"),
    }
}

/// The members of `incoming` that mean something else than in `stored` or are new, in their order. Members that are only
/// stored are no change: what comes may be a part. Both are canonical documents.
pub fn changed_members(stored: &Json, incoming: &Json) -> Vec<(String, Json)> {
    if stored.as_str() == incoming.as_str() {
        return Vec::new();
    }
    let (Some(old), Some(new)) = (stored.slices(), incoming.slices()) else { return Vec::new() };
    let mut changed = Vec::new();
    // Both mostly have the same order, so the next name is where the last one was, plus one.
    let mut at = 0;
    let mut places = None;
    for (name, text) in new {
        if old.get(at).is_none_or(|(stored, _)| *stored != name) {
            let places = places.get_or_insert_with(|| {
                let places = old.iter().enumerate().map(|(place, (name, _))| (&**name, place));
                places.collect::<std::collections::HashMap<_, _>>()
            });
            at = places.get(&*name).copied().unwrap_or(old.len());
        }
        if old.get(at).is_none_or(|(_, stored)| !same(stored, text)) {
            changed.push((name.into_owned(), incoming.sliced(text)));
        }
        at += 1;
    }
    changed
}

/// The names of the members of one object that another does not have.
pub fn removed_members(from: &Json, to: &Json) -> Vec<String> {
    let (Some(from), Some(to)) = (from.slices(), to.slices()) else { return Vec::new() };
    let mut names = None;
    let mut is_left = |place: usize, name: &str| {
        // Both mostly have the same order.
        to.get(place).is_some_and(|(left, _)| *left == name)
            || names.get_or_insert_with(|| to.iter().map(|(left, _)| &**left).collect::<HashSet<_>>()).contains(name)
    };
    let gone = from.iter().enumerate().filter(|(place, (name, _))| !is_left(*place, name));
    gone.map(|(_, (name, _))| name.to_string()).collect()
}

/// The stored document with changed members put in their places and new ones at the end.
pub fn merged(stored: &Json, changed: &[(String, Json)]) -> Json {
    let slices = stored.slices().unwrap_or_default();
    let mut members: IndexMap<Cow<'_, str>, Cow<'_, Json>> =
        slices.into_iter().map(|(name, text)| (name, Cow::Owned(stored.sliced(text)))).collect();
    members.extend(changed.iter().map(|(name, value)| (Cow::Borrowed(name.as_str()), Cow::Borrowed(value))));
    Json::object(members.iter().map(|(name, value)| (&**name, &**value)))
}

/// The same value without what PostgreSQL cannot read anywhere inside of a document: an escaped NUL and halves of surrogate
/// pairs become U+FFFD. A value without such is not copied.
pub fn clean(json: &Json) -> Json {
    let text = json.as_str();
    if !text.contains("\\u") {
        return json.clone();
    }
    let broken = broken_escapes(text);
    if broken.is_empty() {
        return json.clone();
    }
    let mut cleaned = String::with_capacity(text.len());
    let mut from = 0;
    for at in broken {
        cleaned.push_str(&text[from..at]);
        cleaned.push_str("\\ufffd");
        // Both spellings have six bytes.
        from = at + 6;
    }
    cleaned.push_str(&text[from..]);
    match Json::parse(cleaned) {
        Ok(json) => json,
        Err(_) => unreachable!("one escape in place of another"),
    }
}

/// Where the escapes of six bytes are that stand for no character.
fn broken_escapes(text: &str) -> Vec<usize> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut broken = Vec::new();
    let mut at = 0;
    // In JSON a backslash is always inside of a string and begins an escape.
    while let Some(next) = text[at..].find('\\') {
        at += next;
        let Some(code) = unit(at) else {
            at += 2;
            continue;
        };
        let pair = matches!(code, 0xD800..=0xDBFF) && matches!(unit(at + 6), Some(0xDC00..=0xDFFF));
        if !pair && matches!(code, 0 | 0xD800..=0xDFFF) {
            broken.push(at);
        }
        at += if pair { 12 } else { 6 };
    }
    broken
}

fn check_bounds(model: &Model, values: &Json) -> Result<(), ActionError> {
    let text = values.as_str();
    let refuse = |what: String, details: String| {
        let message =
            format!("the record of `{}` {what}; hint: keep large values elsewhere and store a link", model.name);
        let details = Json::parse(details).unwrap_or_else(|_| Json::null());
        Err(ActionError::permanent(code::VALIDATION_FAILED, message).with_details(details))
    };
    if text.len() > DOCUMENT_BYTES_MAX {
        return refuse(
            format!("has {} bytes, more than {DOCUMENT_BYTES_MAX}", text.len()),
            format!("{{\"bytesMax\":{DOCUMENT_BYTES_MAX}}}"),
        );
    }
    if is_deeper(text.as_bytes(), DOCUMENT_DEPTH_MAX) {
        return refuse(
            format!("is nested deeper than {DOCUMENT_DEPTH_MAX} levels"),
            format!("{{\"depthMax\":{DOCUMENT_DEPTH_MAX}}}"),
        );
    }
    Ok(())
}

/// Whether valid JSON is nested deeper than `levels`.
fn is_deeper(text: &[u8], levels: usize) -> bool {
    // Counting alone is quick, and most documents have fewer brackets than they may have levels.
    if text.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= levels {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > levels {
            return true;
        }
    }
    false
}

/// What becomes of a value.
enum Fit {
    Kept,
    Respelled(Json),
    Not(String),
}

fn fit(field: &Field, text: &str, mode: Mode) -> Fit {
    if text == "null" {
        let refused = field.required && mode == Mode::Strict;
        return if refused { Fit::Not("is required and cannot be null".to_owned()) } else { Fit::Kept };
    }
    let strict = match &field.of {
        FieldType::String => text.starts_with('"').then_some(Fit::Kept),
        FieldType::Boolean => value::boolean(text).map(|_| Fit::Kept),
        FieldType::Integer => value::is_number(text)
            .then(|| value::integer(text))
            .flatten()
            .map(|integer| spelled(text, integer.to_string())),
        FieldType::Number if value::is_plain_number(text) => Some(Fit::Kept),
        FieldType::Number => value::plain_number(text).map(|number| spelled(text, number)),
        FieldType::DateTime => {
            value::string(text).and_then(|time| value::date_time(&time)).map(|time| spelled(text, quoted(&time)))
        }
        FieldType::BelongsTo { .. } => link(text),
        FieldType::Json | FieldType::HasMany { .. } => Some(Fit::Kept),
    };
    let fit = strict.or_else(|| if mode == Mode::Lenient { coerced(&field.of, text) } else { None });
    fit.unwrap_or_else(|| Fit::Not(format!("must be {}, not {}", expected(&field.of), shown(text))))
}

/// Kept when it is spelled like this already.
fn spelled(text: &str, canonical: String) -> Fit {
    if text == canonical { Fit::Kept } else { Fit::Respelled(Json::parse(canonical).unwrap_or_else(|_| Json::null())) }
}

fn quoted(text: &str) -> String {
    match serde_json::to_string(text) {
        Ok(quoted) => quoted,
        Err(_) => unreachable!("a string always has a JSON spelling"),
    }
}

/// An id, or `{"_link": id}`.
fn link(text: &str) -> Option<Fit> {
    if text.starts_with('"') {
        return Some(Fit::Kept);
    }
    let [(name, id)] = <[_; 1]>::try_from(Json::parse(text).ok()?.members()?).ok()?;
    (name == "_link" && (id.is_null() || id.as_str().starts_with('"'))).then_some(Fit::Respelled(id))
}

/// What a platform meant that spells a value as another type, when nothing is lost by it.
fn coerced(of: &FieldType, text: &str) -> Option<Fit> {
    let inner = value::string(text);
    let number = inner.as_deref().filter(|inner| value::is_number(inner));
    let respelled = match of {
        FieldType::String | FieldType::BelongsTo { .. } => value::is_number(text).then(|| quoted(text)),
        FieldType::Integer => number.and_then(value::integer).map(|integer| integer.to_string()),
        FieldType::Number if number.is_some_and(value::is_plain_number) => number.map(str::to_owned),
        FieldType::Number => number.and_then(value::plain_number),
        FieldType::Boolean => inner.filter(|inner| value::boolean(inner).is_some()),
        FieldType::DateTime => inner.and_then(|inner| value::date_time_of_mail(&inner)).map(|time| quoted(&time)),
        FieldType::Json | FieldType::HasMany { .. } => None,
    };
    respelled.map(|respelled| spelled(text, respelled))
}

fn expected(of: &FieldType) -> &'static str {
    match of {
        FieldType::String => "a string",
        FieldType::Integer => "an integer of 64 bits",
        FieldType::Number => "a number between 1e-59 and 1e100",
        FieldType::Boolean => "true or false",
        FieldType::DateTime => "a date-time such as `2024-05-01T14:00:00Z`",
        FieldType::BelongsTo { .. } => "the id of a record, as a string",
        FieldType::Json | FieldType::HasMany { .. } => "a JSON value",
    }
}

/// What kind of value a text is. Values themselves are customers' data and stay out of messages.
fn shown(text: &str) -> &'static str {
    match text.as_bytes().first() {
        Some(b'"') => "this string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        _ => "this number",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let text = r#"{"name":"product","fields":[
            {"name":"title","type":"string","required":true},
            {"name":"stock","type":"integer"},
            {"name":"price","type":"number"},
            {"name":"live","type":"boolean"},
            {"name":"at","type":"date-time"},
            {"name":"raw","type":"json"},
            {"name":"shop","type":"belongs-to","model":"shop"},
            {"name":"variants","type":"has-many","model":"variant","by":"product"}
        ]}"#;
        serde_json::from_str(text).unwrap()
    }

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    #[test]
    fn documents_have_one_form() {
        let check = |mode, text: &str, expected: &str| {
            let canonical = canonical(&model(), &json(text), mode).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(canonical.document.as_str(), expected, "{text}");
            assert_eq!(canonical.notes, [], "{text}");
        };
        let both = |text: &str, expected: &str| {
            check(Mode::Strict, text, expected);
            check(Mode::Lenient, text, expected);
        };
        both(r#" {"other": 820982911946154508, "x":[ 1 ]} "#, r#"{"other": 820982911946154508, "x":[ 1 ]}"#);
        let twice = r#"{"id":"1","a":1,"createdAt":"x","b":2,"updatedAt":null,"\u0061":3}"#;
        check(Mode::Lenient, twice, r#"{"a":3,"b":2}"#);
        let error = canonical(&model(), &json(twice), Mode::Strict).unwrap_err();
        let expected = "`a` appears twice in the values of a record of `product`; hint: keep one";
        assert_eq!((error.code.as_str(), error.message.as_str()), (code::INVALID_ARGUMENT, expected));
        both(r#"{"at":"2024-05-01T10:00:00-04:00"}"#, r#"{"at":"2024-05-01T14:00:00.000Z"}"#);
        both(r#"{"stock":10.0}"#, r#"{"stock":10}"#);
        both(r#"{"stock":-0,"price":-0}"#, r#"{"stock":0,"price":-0}"#);
        both(r#"{"price":10.50}"#, r#"{"price":10.50}"#);
        both(r#"{"price":0.30000000000000000000001}"#, r#"{"price":0.3}"#);
        both(r#"{"shop":{"_link":"5"}}"#, r#"{"shop":"5"}"#);
        both(r#"{"shop":{"_link":null},"raw":{"_link":1}}"#, r#"{"shop":null,"raw":{"_link":1}}"#);
        both(
            r#"{"live":null,"at":null,"stock":null,"raw":null}"#,
            r#"{"live":null,"at":null,"stock":null,"raw":null}"#,
        );
        check(Mode::Lenient, r#"{"title":12.50}"#, r#"{"title":"12.50"}"#);
        check(
            Mode::Lenient,
            r#"{"stock":"12","price":"10.00","live":"true"}"#,
            r#"{"stock":12,"price":10.00,"live":true}"#,
        );
        check(Mode::Lenient, r#"{"shop":820982911946154508}"#, r#"{"shop":"820982911946154508"}"#);
        check(Mode::Lenient, r#"{"at":"Tue, 20 Nov 2012 00:00:00 +0000"}"#, r#"{"at":"2012-11-20T00:00:00.000Z"}"#);
        check(Mode::Lenient, r#"{"title":null}"#, r#"{"title":null}"#);
    }

    #[test]
    fn children_are_told_apart() {
        let both =
            canonical(&model(), &json(r#"{"variants":{"_converge":{"values":[]}},"title":"Hat"}"#), Mode::Strict)
                .unwrap();
        assert_eq!(both.document.as_str(), r#"{"title":"Hat"}"#);
        assert_eq!(both.children, [("variants".to_owned(), json(r#"{"_converge":{"values":[]}}"#))]);
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let text = r#"{"title":null,"stock":"1","price":"2","live":1,"at":"2024-05-01","shop":5,"raw":[],"other":0}"#;
        let error = canonical(&model(), &json(text), Mode::Strict).unwrap_err();
        assert_eq!(error.code, code::VALIDATION_FAILED);
        let details: Vec<Json> = error.details.unwrap().to().unwrap();
        let fields: Vec<_> = details.iter().map(|detail| detail.member("field").unwrap().to_string()).collect();
        assert_eq!(fields, ["title", "stock", "price", "live", "at", "shop"].map(|name| format!("\"{name}\"")));
        assert_eq!(
            details[1].as_str(),
            r#"{"field":"stock","message":"must be an integer of 64 bits, not this string"}"#
        );
        let lenient =
            canonical(&model(), &json(r#"{"title":"a","stock":1.5,"live":7,"price":1e400}"#), Mode::Lenient).unwrap();
        assert_eq!(lenient.document.as_str(), r#"{"title":"a","stock":null,"live":null,"price":null}"#);
        assert_eq!(lenient.notes.len(), 3);
        assert_eq!(canonical(&model(), &json("[]"), Mode::Lenient).unwrap_err().code, code::INVALID_ARGUMENT);
    }

    #[test]
    fn required_fields_are_missed_in_whole_documents() {
        let check = |text: &str, expected: usize| assert_eq!(missing(&model(), &json(text)).len(), expected, "{text}");
        check(r#"{"title":"a"}"#, 0);
        check(r#"{"title":null}"#, 1);
        check("{}", 1);
    }

    #[test]
    fn bounds_hold_in_both_modes() {
        let refused = |text: String| {
            let values = Json::parse(text).unwrap();
            [Mode::Strict, Mode::Lenient]
                .map(|mode| canonical(&model(), &values, mode).map_err(|error| error.code).err())
        };
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        let failed = || Some(code::VALIDATION_FAILED.to_owned());
        assert_eq!(refused(deep(DOCUMENT_DEPTH_MAX)), [None, None]);
        assert_eq!(refused(deep(DOCUMENT_DEPTH_MAX + 1)), [failed(), failed()]);
        assert_eq!(refused(format!(r#"{{"a":"{}","b":[[]]}}"#, "[\\\"{".repeat(200))), [None, None]);
        assert_eq!(refused(format!(r#"{{"a":"{}"}}"#, "x".repeat(DOCUMENT_BYTES_MAX))), [failed(), failed()]);
    }

    #[test]
    fn texts_that_a_database_cannot_read_are_replaced() {
        let check = |text: &str, expected: &str| assert_eq!(clean(&json(text)).as_str(), expected);
        check(r#"{"a":"\u0041\ud83d\ude00\n"}"#, r#"{"a":"\u0041\ud83d\ude00\n"}"#);
        check(r#"{"a":["x\u0000y"]}"#, r#"{"a":["x\ufffdy"]}"#);
        check(r#"{"\u0000":1}"#, r#"{"\ufffd":1}"#);
        check(
            r#"["\ud83d","\uDE00","\ud83d\ud83d\ude00","\ude00\ud83d"]"#,
            r#"["\ufffd","\ufffd","\ufffd\ud83d\ude00","\ufffd\ufffd"]"#,
        );
        check(r#"["\\u0000\\\u0000\"\u0000"]"#, r#"["\\u0000\\\ufffd\"\ufffd"]"#);
        check(r#"["\ud83d\\ude00"]"#, r#"["\ufffd\\ude00"]"#);
        let same = json(r#"{"a":"\u0041"}"#);
        assert_eq!(clean(&same).as_str().as_ptr(), same.as_str().as_ptr());
        let written = canonical(&model(), &json(r#"{"a\ud800":1,"b":"\ud800"}"#), Mode::Strict).unwrap();
        assert_eq!(written.document.as_str(), r#"{"a\ufffd":1,"b":"\ufffd"}"#);
    }

    #[test]
    fn changes_are_what_means_something_else() {
        let check = |stored: &str, incoming: &str, expected: &str| {
            let changed = changed_members(&json(stored), &json(incoming));
            let shown = Json::object(changed.iter().map(|(name, value)| (name.as_str(), value)));
            assert_eq!(shown.as_str(), expected, "{stored} and {incoming}");
        };
        check(r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#, "{}");
        check(r#"{"a":1,"b":2}"#, r#"{"b":2.0,"a":1}"#, "{}");
        check(r#"{"a":1,"b":2,"c":3}"#, r#"{"c":4,"b":2}"#, r#"{"c":4}"#);
        check(r#"{"a":1}"#, r#"{"new":null,"a":2}"#, r#"{"new":null,"a":2}"#);
        check(r#"{"at":"2024-05-01T14:00:00.000Z"}"#, r#"{"at":"2024-05-01T10:00:00-04:00"}"#, "{}");
        check(r#"{"\u0061":[1]}"#, r#"{"a":[ 1 ]}"#, "{}");
        check("{}", "{}", "{}");
        let stored = json(r#"{"a":1,"b":2}"#);
        let changed = changed_members(&stored, &json(r#"{"c":3,"a":4}"#));
        assert_eq!(merged(&stored, &changed).as_str(), r#"{"a":4,"b":2,"c":3}"#);
    }
}
