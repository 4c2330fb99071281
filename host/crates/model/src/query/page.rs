//! Rows in memory, and a unit's own changes laid over what is stored.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use super::{Column, Cursor, Query};
use crate::json::Json;
use crate::value::{self, Key};
use crate::work;

/// A record as a query sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The id of its shop.
    pub shop: String,
    /// Its id within shop and model.
    pub id: String,
    /// Its canonical document.
    pub document: Json,
    /// When it was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last written, in milliseconds since 1970.
    pub updated_ms: i64,
}

/// What a unit of work did to a record of the queried model, in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// Created or updated; the whole record.
    Written(Row),
    /// Deleted.
    Deleted {
        /// The id of its shop.
        shop: String,
        /// Its id.
        id: String,
    },
}

/// One page of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In the query's order.
    pub rows: Vec<Row>,
    /// Whether there is a record after the page.
    pub has_next: bool,
    /// Whether there is a record before the page.
    pub has_previous: bool,
    /// Where the page begins, none when it is empty.
    pub start_cursor: Option<String>,
    /// Where the page ends, none when it is empty.
    pub end_cursor: Option<String>,
}

/// A row whose document was split once, however many values are asked for.
pub(super) struct View<'a> {
    row: &'a Row,
    members: HashMap<Cow<'a, str>, &'a str>,
}

impl<'a> View<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        // A document is canonical: it has each member once.
        Self { row, members: row.document.slices().unwrap_or_default().into_iter().collect() }
    }

    /// The column's whole value.
    pub(super) fn value(&self, column: &Column) -> Option<Key> {
        match column {
            Column::Id => Some(Key::Text(self.row.id.clone())),
            Column::Shop => Some(Key::Text(self.row.shop.clone())),
            Column::CreatedMs => Some(Key::Integer(self.row.created_ms)),
            Column::UpdatedMs => Some(Key::Integer(self.row.updated_ms)),
            Column::Member { name, of } => {
                let json = self.members.get(name.as_str())?;
                work::spend(json.len());
                value::read(*of, json)
            }
        }
    }

    /// The steps that looking for one member and reading it takes at most.
    pub(super) fn work(&self) -> usize {
        // Only scalars are read.
        let scalars = self.members.iter().filter(|(_, json)| !json.starts_with(['{', '[']));
        self.members.len() + scalars.map(|(_, json)| json.len()).max().unwrap_or_default()
    }

    /// What of it is sorted by.
    pub(super) fn key(&self, column: &Column) -> Option<Key> {
        self.value(column).map(|value| column.key(value))
    }
}

impl Row {
    /// The record as it is shown: its id, its document, and its times; only the selected fields of them if any are.
    pub fn shown(&self, select: Option<&[String]>) -> Json {
        let mut text = String::new();
        self.show(&mut text, select.map(Selected::of).as_ref());
        Json::parse(text).unwrap_or_else(|_| Json::null())
    }

    fn show(&self, out: &mut String, select: Option<&Selected<'_>>) {
        let selected = |name: &str| select.is_none_or(|names| names.0.contains(name));
        out.push('{');
        let empty = out.len();
        let mut member = |name: &str, value: &str| {
            if selected(name) {
                out.push_str(if out.len() > empty { "," } else { "" });
                // A name of a JSON member always has a JSON spelling, and writing to a string cannot fail.
                let _ = write!(out, "{}:{value}", serde_json::to_string(name).unwrap_or_default());
            }
        };
        member("id", &serde_json::to_string(&self.id).unwrap_or_default());
        for (name, value) in self.document.slices().unwrap_or_default() {
            member(&name, value);
        }
        member("createdAt", &format!("\"{}\"", value::show_ms(self.created_ms)));
        member("updatedAt", &format!("\"{}\"", value::show_ms(self.updated_ms)));
        out.push('}');
    }
}

/// The names of selected fields, to be asked for.
struct Selected<'a>(HashSet<&'a str>);

impl<'a> Selected<'a> {
    fn of(names: &'a [String]) -> Self {
        Self(names.iter().map(String::as_str).collect())
    }
}

impl Own {
    /// Bytes that a query in memory is about.
    pub fn bytes(&self) -> usize {
        if let Self::Written(row) = self { row.document.as_str().len() } else { 0 }
    }

    fn key(&self) -> (&str, &str) {
        match self {
            Self::Written(row) => (&row.shop, &row.id),
            Self::Deleted { shop, id } => (shop, id),
        }
    }
}

impl Page {
    /// The records as a JSON array.
    pub fn records(&self, select: Option<&[String]>) -> Json {
        let select = select.map(Selected::of);
        let mut text = String::from("[");
        for row in &self.rows {
            text.push_str(if text.len() > 1 { "," } else { "" });
            row.show(&mut text, select.as_ref());
        }
        text.push(']');
        Json::parse(text).unwrap_or_else(|_| Json::null())
    }
}

impl Query {
    /// Whether a record is one of those that the query asks for, on whatever page.
    pub fn matches(&self, row: &Row) -> bool {
        self.filter.matches(&View::of(row))
    }

    /// The query's order of two records.
    pub fn compare(&self, a: &Row, b: &Row) -> Ordering {
        self.compare_places(&self.place(a), &self.place(b))
    }

    /// The page that a unit of work sees. `stored` is what [`ranges`](Self::ranges) and [`filter`](Self::filter) match of
    /// what is stored, in [`order`](Self::order), at most [`read_max`](Self::read_max)`(own.len())` rows. `own` has one entry
    /// for each record of the model that the unit changed; records of other shops than the query reaches are left out by
    /// the caller.
    pub fn overlay(&self, mut stored: Vec<Row>, own: &[Own]) -> Page {
        if !own.is_empty() {
            let changed: HashSet<_> = own.iter().map(Own::key).collect();
            stored.retain(|row| !changed.contains(&(row.shop.as_str(), row.id.as_str())));
            // Places are kept beside the rows, because taking them out of a document costs more than comparing them.
            let mut rows: Vec<_> = stored.into_iter().map(|row| (self.place(&row), row)).collect();
            for own in own {
                let Own::Written(row) = own else { continue };
                let place = self.place(row);
                let after = self.cursor.as_ref().is_none_or(|cursor| self.compare_read(&place, cursor).is_gt());
                if after && self.matches(row) {
                    rows.push((place, row.clone()));
                }
            }
            rows.sort_by(|(a, _), (b, _)| self.compare_read(a, b));
            stored = rows.into_iter().map(|(_, row)| row).collect();
        }
        self.page(stored)
    }

    /// How many records a unit of work sees, when `stored` of those that it did not change match.
    pub fn overlay_count(&self, stored: u64, own: &[Own]) -> u64 {
        let matching = own.iter().filter(|own| matches!(own, Own::Written(row) if self.matches(row)));
        stored + matching.map(|_| 1).sum::<u64>()
    }

    /// Cuts rows that come after the cursor, in the order in which they are read, to a page.
    ///
    /// The direction that was read knows whether there is more. The other one has what the cursor named, at least when
    /// the cursor was taken.
    fn page(&self, mut rows: Vec<Row>) -> Page {
        let more = rows.len() > self.size;
        rows.truncate(self.size);
        let behind = self.cursor.is_some();
        let (has_next, has_previous) = if self.backward { (behind, more) } else { (more, behind) };
        if self.backward {
            rows.reverse();
        }
        let cursor = |row: Option<&Row>| row.map(|row| self.place(row).encode(&self.digest));
        let (start_cursor, end_cursor) = (cursor(rows.first()), cursor(rows.last()));
        Page { rows, has_next, has_previous, start_cursor, end_cursor }
    }

    /// Where a record is in the query's order.
    pub(super) fn place(&self, row: &Row) -> Cursor {
        let view = View::of(row);
        Cursor { keys: self.sort.iter().map(|key| view.key(&key.column)).collect() }
    }

    fn compare_places(&self, a: &Cursor, b: &Cursor) -> Ordering {
        let pairs = self.sort.iter().zip(a.keys.iter().zip(&b.keys));
        pairs.fold(Ordering::Equal, |order, (sort, (a, b))| order.then_with(|| sort.compare(a.as_ref(), b.as_ref())))
    }

    /// The same in the order in which records are read.
    fn compare_read(&self, a: &Cursor, b: &Cursor) -> Ordering {
        let order = self.compare_places(a, b);
        if self.backward { order.reverse() } else { order }
    }
}
