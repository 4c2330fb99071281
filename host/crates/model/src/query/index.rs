//! A unit's own records by the values of a unique key, so that many upserts do not each look through all of them.

use std::collections::{BTreeSet, HashMap};

use super::page::View;
use super::{Comparison, Filter, Part, Query, Row, Term, Test};
use crate::value::Key;

/// Records by their values of the columns that a query by a key asks for.
#[derive(Clone, Debug, Default)]
pub struct KeyIndex {
    /// The ids of records with these values.
    ids: HashMap<String, BTreeSet<String>>,
    /// The values that a record was last seen with.
    values: HashMap<String, String>,
}

impl KeyIndex {
    /// Notes what a record is now, none when it is deleted. `query` is any of those by the key.
    pub fn put(&mut self, query: &Query, id: &str, row: Option<&Row>) {
        if let Some(before) = self.values.remove(id)
            && let Some(ids) = self.ids.get_mut(&before)
        {
            ids.remove(id);
        }
        if let Some(values) = row.and_then(|row| query.values_of(row)) {
            self.ids.entry(values.clone()).or_default().insert(id.to_owned());
            self.values.insert(id.to_owned(), values);
        }
    }

    /// The ids of the records that the query may match.
    pub fn ids(&self, query: &Query) -> impl Iterator<Item = &str> {
        let wanted = query.values_wanted();
        wanted.and_then(|wanted| self.ids.get(&wanted)).into_iter().flatten().map(String::as_str)
    }
}

impl Query {
    /// The values that a query by a key asks for, as one text.
    fn values_wanted(&self) -> Option<String> {
        let keys: Option<Vec<_>> = self.key_terms()?.map(|term| Some(equal_to(term)?.clone())).collect();
        Some(text(&keys?))
    }

    /// A record's values of the same columns; none when one of them is null.
    fn values_of(&self, row: &Row) -> Option<String> {
        let view = View::of(row);
        let keys: Option<Vec<_>> = self.key_terms()?.map(|term| view.value(&term.column)).collect();
        Some(text(&keys?))
    }

    /// The terms of a query by a key.
    fn key_terms(&self) -> Option<impl Iterator<Item = &Term>> {
        let Filter::All(filters) = &self.filter else { return None };
        let is_key = |filter: &Filter| matches!(filter, Filter::Term(term) if equal_to(term).is_some());
        let terms = filters.iter().filter_map(|filter| if let Filter::Term(term) = filter { Some(term) } else { None });
        filters.iter().all(is_key).then_some(terms)
    }
}

fn equal_to(term: &Term) -> Option<&Key> {
    match &term.test {
        Test::Compare(Comparison::Equal, key) if term.part == Part::Whole => Some(key),
        _ => None,
    }
}

/// One text for values that are equal.
fn text(keys: &[Key]) -> String {
    let spelled = keys.iter().map(|key| match key {
        Key::Text(text) => format!("{}:{text}", text.len()),
        Key::Integer(integer) => format!("i{integer};"),
        // Minus zero is zero.
        Key::Number(number) => format!("n{:?};", number + 0.0),
        Key::Boolean(boolean) => format!("b{boolean};"),
    });
    spelled.collect()
}
