//! What a filter or a sort looks at.

use std::cmp::Ordering;

use crate::value::{Key, ValueType};

/// Something that every record of a model has a value of, or null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// The record's id.
    Id,
    /// The id of its shop; only the last tie break of a query for all shops.
    Shop,
    /// When it was created, in milliseconds.
    CreatedMs,
    /// When it was last written, in milliseconds.
    UpdatedMs,
    /// A declared member of its document.
    Member {
        /// The member's name: letters, digits and `_`.
        name: String,
        /// How it is read.
        of: ValueType,
    },
}

impl Column {
    /// How its values are compared.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::Id | Self::Shop => ValueType::Text,
            Self::CreatedMs | Self::UpdatedMs => ValueType::Integer,
            Self::Member { of, .. } => *of,
        }
    }

    /// Whether it may be null.
    pub fn is_nullable(&self) -> bool {
        matches!(self, Self::Member { .. })
    }

    /// What of a value is sorted by: of members the part that fits into an index, of ids all.
    pub(super) fn key(&self, value: Key) -> Key {
        if self.is_nullable() { value.cut() } else { value }
    }

    /// The name in cursors and messages.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Id => "id",
            // No field has such a name.
            Self::Shop => "shop.id",
            Self::CreatedMs => "createdAt",
            Self::UpdatedMs => "updatedAt",
            Self::Member { name, .. } => name,
        }
    }
}

/// A column to sort by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// Of texts only the key is sorted by, see [`Key::cut`].
    pub column: Column,
    /// Whether large values come first, and nulls last.
    pub descending: bool,
}

impl SortKey {
    pub(super) fn turned(&self) -> Self {
        Self { column: self.column.clone(), descending: !self.descending }
    }

    /// The order of two values of the column.
    pub(super) fn compare(&self, a: Option<&Key>, b: Option<&Key>) -> Ordering {
        let ascending = match (a, b) {
            (Some(a), Some(b)) => a.compare(b),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        if self.descending { ascending.reverse() } else { ascending }
    }
}
