//! The query language as data: which records of a model, in which order, which page, which fields.
//!
//! [`Query::parse`] takes the contract's JSON and leaves nothing to check. What it makes has one meaning in two places:
//! the store turns [`Filter`]s and [`SortKey`]s into SQL, and [`Query::overlay`] evaluates the same in memory for a unit's
//! own unwritten changes. Nothing here has a third truth value: null is smaller than every value when sorting, equals only
//! null, and no other comparison with it matches. To add an operator, add it to [`Test`] and follow the compiler.

mod column;
mod cursor;
mod filter;
mod index;
mod interest;
mod page;
mod parse;

pub use column::{Column, SortKey};
pub use cursor::Cursor;
pub use filter::{Comparison, Filter, Part, Term, Test};
pub use index::KeyIndex;
pub use interest::{Interest, RecordWrite};
pub use page::{Own, Page, Row};
pub use parse::{parse_scope, parse_select};

use crate::error::{ActionError, code};
use crate::schema::Scope;

/// How many records a page has when the query does not say.
pub const PAGE_DEFAULT: usize = 50;

/// How many records a page may have: 250 documents of 9 KiB are what a sandbox takes at once. Shopify's own bound.
pub const PAGE_MAX: usize = 250;

/// How long a query's text may be. 128 KiB: two thousand ids of 40 bytes, a cursor and a selection fit in.
pub const QUERY_BYTES_MAX: usize = 128 << 10;

/// How many fields a `select` may name. 500: ten times what a product has.
pub const SELECT_FIELDS_MAX: usize = 500;

/// How deep `AND`, `OR` and `NOT` may be nested. SQLite takes expressions of 1,000 levels, of which each has a few.
pub const FILTER_DEPTH_MAX: usize = 16;

/// How many conditions a filter may have: each is a piece of SQL that is evaluated for each record.
pub const FILTER_TERMS_MAX: usize = 200;

/// How many values the lists of a filter may have together. SQLite binds 32,766 values in a statement.
pub const FILTER_VALUES_MAX: usize = 2_000;

/// Bytes of the text of a `contains`, limit `contains_bytes_max`. 1 KiB: longer texts are found by `equals`; the
/// text is prepared again for each record that it is looked for in.
pub const CONTAINS_BYTES_MAX: usize = 1 << 10;

/// How many fields a query may sort by: a cursor carries a value of each.
pub const SORT_KEYS_MAX: usize = 4;

/// The records that a plugin may ask for. Decided by its grants, and asked where a scope is parsed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// The current shop's alone.
    #[default]
    Shop,
    /// Every shop's of the app: the grant `all-shops`.
    App,
}

/// A checked query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Which records.
    pub filter: Filter,
    /// In which order; ends with a column that no two records share.
    sort: Vec<SortKey>,
    /// Which fields are shown, none for all.
    pub select: Option<Vec<String>>,
    /// Whose records.
    pub scope: Scope,
    /// How many records a page has.
    size: usize,
    /// Whether the page is the last one before its cursor, and not the first one after it.
    backward: bool,
    cursor: Option<Cursor>,
    /// What a cursor must have been made for: model, scope and sort.
    digest: String,
}

impl Query {
    /// The order in which records are read: the query's, turned round for a page that ends before its cursor. Nulls come
    /// first in an ascending key and last in a descending one.
    pub fn order(&self) -> Vec<SortKey> {
        self.sort.iter().map(|key| if self.backward { key.turned() } else { key.clone() }).collect()
    }

    /// Which records come after the cursor, as filters to be read one after the other, each in [`order`](Self::order),
    /// until there are [`read_max`](Self::read_max) records. Each begins with a bound that an index on the first sort key
    /// can take. Does not include [`filter`](Self::filter).
    pub fn ranges(&self) -> Vec<Filter> {
        match &self.cursor {
            Some(cursor) => cursor.ranges(&self.order()),
            None => vec![Filter::everything()],
        }
    }

    /// How many stored records to read for a page, of which `own` are overlaid by own changes: those may all fall away,
    /// and one more tells whether there is another page.
    pub fn read_max(&self, own: usize) -> usize {
        self.size + 1 + own
    }

    /// The same query for its first record alone.
    #[must_use]
    pub fn first_only(mut self) -> Self {
        self.size = 1;
        self
    }
}

fn invalid(message: impl Into<String>) -> ActionError {
    ActionError::permanent(code::INVALID_ARGUMENT, message)
}

#[cfg(test)]
mod tests;
