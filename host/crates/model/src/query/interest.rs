//! The part of a query's answer that a write can change, to tell whether an answer still holds.
//!
//! An interest errs on the side of a change: what is expensive to find out, or cannot be known, counts as one. It never
//! overlooks a change.

use super::page::{Row, View};
use super::{Column, Filter, Query, Test};
use crate::json::Json;
use crate::schema::Scope;

/// Bytes of a text that count as one more step of a filter. 64: about what comparing them costs beside the lookup.
const STEP_BYTES: usize = 64;

/// The records whose writes change what a query answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Interest {
    /// The model's name.
    pub model: String,
    /// Whose records.
    pub scope: Scope,
    /// None: every record of the model.
    filter: Option<Filter>,
    /// Whether only the number of matching records matters.
    counts: bool,
    steps: usize,
}

/// What a write does to one record.
#[derive(Debug)]
pub struct RecordWrite {
    /// Before and after; none when it is not there.
    rows: [Option<Row>; 2],
    /// Whether what was there before is known.
    knows_before: bool,
}

impl Query {
    /// What the query's answer depends on; for a count, only which records match.
    pub fn interest(&self, model: &str, counts: bool) -> Interest {
        // A write does not know all times of its record.
        let filter = (!uses_times(&self.filter)).then(|| self.filter.clone());
        let steps = filter.as_ref().map_or(0, steps_of);
        Interest { model: model.to_owned(), scope: self.scope, filter, counts, steps }
    }
}

impl Interest {
    /// Every record of a model.
    pub fn everything(model: &str, scope: Scope) -> Self {
        Self { model: model.to_owned(), scope, filter: None, counts: false, steps: 0 }
    }

    /// Whether this is every record of the other's model.
    pub fn is_all_of(&self, other: &Self) -> bool {
        self.filter.is_none() && !self.counts && self.model == other.model && self.scope == other.scope
    }

    /// The size of the filter: terms, listed values, and their bytes.
    pub fn steps(&self) -> usize {
        self.steps
    }

    fn is_affected(
        &self,
        views: &[Option<View<'_>>; 2],
        write: &RecordWrite,
        largest: usize,
        left: &mut usize,
    ) -> bool {
        let Some(filter) = &self.filter else { return true };
        if !write.knows_before {
            return true;
        }
        let Some(rest) = left.checked_sub(self.steps.saturating_mul(largest)) else { return true };
        *left = rest;
        let [before, after] = views.each_ref().map(|view| view.as_ref().is_some_and(|view| filter.matches(view)));
        if self.counts { before != after } else { before || after }
    }
}

impl RecordWrite {
    /// A write of the record `id` of `shop`. `before` is none when it is not known what it replaces.
    pub fn new(shop: &str, id: &str, before: Option<Option<&Json>>, after: Option<&Json>) -> Self {
        let row = |document: &Json| Row {
            shop: shop.to_owned(),
            id: id.to_owned(),
            document: document.clone(),
            created_ms: 0,
            updated_ms: 0,
        };
        Self { rows: [before.flatten().map(row), after.map(row)], knows_before: before.is_some() }
    }

    /// The first of these interests in the record's model that the write affects. `left` are the steps that may still be
    /// made to find out; when they are used up, the answer is that it does.
    pub fn affects<T: AsRef<Interest>>(&self, interests: impl IntoIterator<Item = T>, left: &mut usize) -> Option<T> {
        let mut views = None;
        for interest in interests {
            let (views, largest) = views.get_or_insert_with(|| {
                let views = self.rows.each_ref().map(|row| row.as_ref().map(View::of));
                let largest = views.iter().flatten().map(View::work).max().unwrap_or_default();
                (views, largest)
            });
            if interest.as_ref().is_affected(views, self, *largest, left) {
                return Some(interest);
            }
        }
        None
    }
}

impl AsRef<Self> for Interest {
    fn as_ref(&self) -> &Self {
        self
    }
}

fn uses_times(filter: &Filter) -> bool {
    match filter {
        Filter::All(filters) | Filter::Any(filters) => filters.iter().any(uses_times),
        Filter::Term(term) => matches!(term.column, Column::CreatedMs | Column::UpdatedMs),
    }
}

fn steps_of(filter: &Filter) -> usize {
    use crate::value::Key;
    let text = |text: &str| 1 + text.len() / STEP_BYTES;
    let key = |of: &Key| if let Key::Text(of) = of { text(of) } else { 1 };
    match filter {
        Filter::All(filters) | Filter::Any(filters) => filters.iter().map(steps_of).sum(),
        Filter::Term(term) => match &term.test {
            Test::IsNull | Test::IsSet => 1,
            Test::Compare(_, with) => 1 + key(with),
            Test::In(keys) | Test::NotIn(keys) => 1 + keys.iter().map(key).sum::<usize>(),
            Test::Contains(part) | Test::NotContains(part) => 1 + text(part),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Model;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn model() -> Model {
        let text = r#"{"name":"thing","fields":[{"name":"colour","type":"string"},{"name":"size","type":"integer"}]}"#;
        json(text).to().unwrap()
    }

    fn affects(query: &str, counts: bool, knows: bool, before: Option<&str>, after: Option<&str>) -> bool {
        let interest =
            Query::parse(&model(), &json(query), crate::query::Reach::App).unwrap().interest("thing", counts);
        let (before, after) = (before.map(json), after.map(json));
        let write = RecordWrite::new("shop", "1", knows.then_some(before.as_ref()), after.as_ref());
        write.affects([&interest], &mut 1_000_000).is_some()
    }

    #[test]
    fn a_write_affects_what_it_matches_before_or_after() {
        let blue = r#"{"filter":{"colour":{"equals":"blue"}}}"#;
        let check = |counts, before: Option<&str>, after: Option<&str>, expected: bool| {
            assert_eq!(affects(blue, counts, true, before, after), expected, "{counts} {before:?} {after:?}");
        };
        let (is_blue, is_larger, is_red) =
            (r#"{"colour":"blue"}"#, r#"{"colour":"blue","size":2}"#, r#"{"colour":"red"}"#);
        for counts in [true, false] {
            check(counts, None, Some(is_blue), true);
            check(counts, Some(is_blue), None, true);
            check(counts, Some(is_blue), Some(is_red), true);
            check(counts, Some(is_red), Some(is_blue), true);
            check(counts, Some(is_red), Some(is_red), false);
            check(counts, None, Some(is_red), false);
        }
        check(true, Some(is_blue), Some(is_larger), false);
        check(false, Some(is_blue), Some(is_larger), true);
    }

    #[test]
    fn what_is_not_known_counts_as_a_change() {
        let blue = r#"{"filter":{"colour":{"equals":"blue"}}}"#;
        assert!(affects(blue, true, false, None, Some(r#"{"colour":"red"}"#)));
        let old = r#"{"filter":{"createdAt":{"before":"2020-01-01T00:00:00Z"}}}"#;
        assert!(affects(old, true, true, None, Some("{}")));
        let interest = Query::parse(&model(), &json(blue), crate::query::Reach::Shop).unwrap().interest("thing", true);
        let red = json(r#"{"colour":"red"}"#);
        let write = RecordWrite::new("shop", "1", Some(Some(&red)), Some(&red));
        assert!(write.affects([&interest], &mut 1_000).is_none());
        assert!(write.affects([&interest], &mut 1).is_some(), "no steps are left");
    }
}
