//! Where a page ended: the values of the sort keys of its last record. A page that goes on from there neither skips nor
//! repeats a record that stayed where it was, whatever was written meanwhile.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Column, Comparison, Filter, Part, SortKey, Term, Test, invalid};
use crate::document::clean;
use crate::error::ActionError;
use crate::json::Json;
use crate::schema::Scope;
use crate::value::{self, Key, ValueType};

/// A place in the order of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// One for each sort key, none for null.
    pub keys: Vec<Option<Key>>,
}

impl Cursor {
    /// The cursor as plugins pass it: a JSON array of the digest and the keys, in base64url.
    pub(super) fn encode(&self, digest: &str) -> String {
        let key = |key: &Option<Key>| match key {
            None => Json::null(),
            // Numbers as text: JSON readers round some doubles to the neighbour.
            Some(Key::Number(number)) => text(&format!("{number:e}")),
            Some(Key::Text(value)) => text(value),
            Some(Key::Integer(integer)) => raw(integer.to_string()),
            Some(Key::Boolean(boolean)) => raw(boolean.to_string()),
        };
        let parts: Vec<_> = [text(digest)].into_iter().chain(self.keys.iter().map(key)).collect();
        let json: Vec<_> = parts.iter().map(Json::as_str).collect();
        URL_SAFE_NO_PAD.encode(format!("[{}]", json.join(",")))
    }

    /// Reads a cursor of a query with this sort.
    pub(super) fn decode(text: &str, name: &str, sort: &[SortKey], digest: &str) -> Result<Self, ActionError> {
        let parts = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let parts = parts.and_then(|text| Json::parse(text).ok()).and_then(|json| clean(&json).to::<Vec<Json>>().ok());
        let broken = || {
            invalid(format!("`{name}` is no cursor; hint: pass the `end-cursor` or `start-cursor` of a page as it is"))
        };
        let parts = parts.ok_or_else(broken)?;
        let (made_for, keys) = parts.split_first().ok_or_else(broken)?;
        if value::string(made_for.as_str()).as_deref() != Some(digest) {
            return Err(invalid(format!(
                "`{name}` is a cursor of another query; hint: keep `sort` and the model while going through pages"
            )));
        }
        let key = |(json, key): (&Json, &SortKey)| {
            if json.is_null() {
                return key.column.is_nullable().then_some(None);
            }
            read(&key.column, json.as_str()).map(Some)
        };
        let keys: Option<Vec<_>> = keys.iter().zip(sort).map(key).collect();
        keys.filter(|keys| keys.len() == sort.len() && parts.len() == sort.len() + 1)
            .map(|keys| Self { keys })
            .ok_or_else(broken)
    }

    /// See [`Query::ranges`](super::Query::ranges).
    pub(super) fn ranges(&self, order: &[SortKey]) -> Vec<Filter> {
        let places: Vec<_> = order.iter().zip(&self.keys).collect();
        let Some(((first, key), rest)) = places.split_first() else { return vec![Filter::everything()] };
        let set = || of_null(&first.column, Test::IsSet);
        let null = || of_null(&first.column, Test::IsNull);
        match (first.descending, key) {
            (true, Some(key)) if first.column.is_nullable() => vec![beyond_value(first, key, rest), null()],
            (_, Some(key)) => vec![beyond_value(first, key, rest)],
            (false, None) => vec![Filter::All(vec![null(), beyond(rest)]), set()],
            (true, None) => vec![Filter::All(vec![null(), beyond(rest)])],
        }
    }
}

/// Which records come after the place that these values of these sort keys name.
fn beyond(keys: &[(&SortKey, &Option<Key>)]) -> Filter {
    let Some(((sort, key), rest)) = keys.split_first() else { return Filter::nothing() };
    let null = || of_null(&sort.column, Test::IsNull);
    match (sort.descending, key) {
        (true, Some(key)) if sort.column.is_nullable() => Filter::Any(vec![beyond_value(sort, key, rest), null()]),
        (_, Some(key)) => beyond_value(sort, key, rest),
        (false, None) => Filter::Any(vec![of_null(&sort.column, Test::IsSet), Filter::All(vec![null(), beyond(rest)])]),
        (true, None) => Filter::All(vec![null(), beyond(rest)]),
    }
}

/// The same among the records that have a value: `key >= v and (key > v or …)`, so that an index finds the beginning.
fn beyond_value(sort: &SortKey, key: &Key, rest: &[(&SortKey, &Option<Key>)]) -> Filter {
    let (beyond_it, from_it) = if sort.descending {
        (Comparison::Less, Comparison::LessOrEqual)
    } else {
        (Comparison::Greater, Comparison::GreaterOrEqual)
    };
    let compare = |comparison| {
        let test = Test::Compare(comparison, key.clone());
        Filter::Term(Term { column: sort.column.clone(), part: Part::Key, test, or_null: false })
    };
    if rest.is_empty() {
        return compare(beyond_it);
    }
    Filter::All(vec![compare(from_it), Filter::Any(vec![compare(beyond_it), beyond(rest)])])
}

fn of_null(column: &Column, test: Test) -> Filter {
    Filter::Term(Term { column: column.clone(), part: Part::Key, test, or_null: false })
}

fn read(column: &Column, json: &str) -> Option<Key> {
    match column.value_type() {
        ValueType::Number => {
            let number: f64 = value::string(json)?.parse().ok()?;
            number.is_finite().then_some(Key::Number(number))
        }
        ValueType::Json => None,
        of => value::read(of, json).map(|key| column.key(key)),
    }
}

fn text(text: &str) -> Json {
    match Json::of(text) {
        Ok(json) => json,
        Err(_) => unreachable!("a string always has a JSON spelling"),
    }
}

fn raw(text: String) -> Json {
    Json::parse(text).unwrap_or_else(|_| Json::null())
}

/// A short name of what a cursor must have been made for: FNV-1a, 64 bits. It keeps mistakes out, not attackers, who can
/// read no more with a made-up cursor than with a filter.
pub(super) fn digest(model: &str, scope: Scope, sort: &[SortKey]) -> String {
    let keys = sort.iter().map(|key| format!("{}:{:?}:{}", key.column.name(), key.column.value_type(), key.descending));
    let spec = [model.to_owned(), format!("{scope:?}")].into_iter().chain(keys).collect::<Vec<_>>().join("|");
    let hash = spec
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
