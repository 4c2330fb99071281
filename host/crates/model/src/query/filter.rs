//! Conditions as a tree that both SQL and memory evaluate alike.

use std::cmp::Ordering;

use super::Column;
use super::page::View;
use crate::value::Key;
use crate::work;

/// Which records. There is no negation: [`Filter::negated`] pushes it down into the terms, where it is exact. An SQL
/// condition that is null therefore never stands under a `NOT`, and counts as false.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of these; everything when there are none.
    All(Vec<Filter>),
    /// At least one of these; nothing when there are none.
    Any(Vec<Filter>),
    /// One condition.
    Term(Term),
}

/// A condition on one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// What is looked at.
    pub column: Column,
    /// How much of it.
    pub part: Part,
    /// What must hold of a value that is there.
    pub test: Test,
    /// Whether null matches as well. Has no meaning beside [`Test::IsNull`] and [`Test::IsSet`].
    pub or_null: bool,
}

/// How much of a text a term looks at; other values are always whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// What is sorted by, see [`Key::cut`].
    Key,
}

/// What must hold of a value. Keys have the type of the term's column.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "their own names")]
pub enum Test {
    IsNull,
    IsSet,
    Compare(Comparison, Key),
    /// Nothing when the list is empty.
    In(Vec<Key>),
    /// Every value when the list is empty.
    NotIn(Vec<Key>),
    /// By characters as they are.
    Contains(String),
    NotContains(String),
}

/// How two values of one type compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "their own names")]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    /// The operator in SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "<>",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }

    fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Test {
    fn negated(self) -> Self {
        match self {
            Self::IsNull => Self::IsSet,
            Self::IsSet => Self::IsNull,
            Self::Compare(comparison, key) => Self::Compare(comparison.negated(), key),
            Self::In(keys) => Self::NotIn(keys),
            Self::NotIn(keys) => Self::In(keys),
            Self::Contains(text) => Self::NotContains(text),
            Self::NotContains(text) => Self::Contains(text),
        }
    }

    fn holds(&self, value: &Key) -> bool {
        let is_in = |keys: &[Key]| keys.iter().any(|key| key.compare(value).is_eq());
        let contains = |part: &str| matches!(value, Key::Text(text) if text.contains(part));
        match self {
            Self::IsNull => false,
            Self::IsSet => true,
            Self::Compare(comparison, key) => comparison.holds(value.compare(key)),
            Self::In(keys) => is_in(keys),
            Self::NotIn(keys) => !is_in(keys),
            Self::Contains(part) => contains(part),
            Self::NotContains(part) => !contains(part),
        }
    }
}

impl Key {
    /// Bytes that a comparison looks at.
    fn bytes(&self) -> usize {
        if let Self::Text(text) = self { text.len() } else { size_of::<Self>() }
    }
}

impl Test {
    /// Bytes that it looks at beside the value.
    fn bytes(&self) -> usize {
        match self {
            Self::IsNull | Self::IsSet => 0,
            Self::Compare(_, key) => key.bytes(),
            Self::In(keys) | Self::NotIn(keys) => keys.len(),
            Self::Contains(part) | Self::NotContains(part) => part.len(),
        }
    }
}

impl Term {
    fn matches(&self, view: &View) -> bool {
        let value = match self.part {
            Part::Whole => view.value(&self.column),
            Part::Key => view.key(&self.column),
        };
        match value {
            // A call that may look at no more stops at any answer.
            Some(value) => work::spend(value.bytes() + self.test.bytes()) && self.test.holds(&value),
            None => match self.test {
                Test::IsNull => true,
                Test::IsSet => false,
                _ => self.or_null,
            },
        }
    }
}

impl Filter {
    /// Matches every record.
    pub fn everything() -> Self {
        Self::All(Vec::new())
    }

    /// Matches no record.
    pub fn nothing() -> Self {
        Self::Any(Vec::new())
    }

    /// A condition on the whole of a column.
    pub fn term(column: Column, test: Test, or_null: bool) -> Self {
        Self::Term(Term { column, part: Part::Whole, test, or_null })
    }

    /// A value that the column has, or null that it has not.
    pub fn equal(column: Column, key: Option<Key>) -> Self {
        match key {
            Some(key) => Self::term(column, Test::Compare(Comparison::Equal, key), false),
            None => Self::term(column, Test::IsNull, false),
        }
    }

    /// Texts that begin with `prefix`: a range, so that an index on the text serves it.
    pub(super) fn starts_with(column: Column, prefix: String) -> Self {
        let end = successor(&prefix);
        let mut range = vec![Self::compare(column.clone(), Comparison::GreaterOrEqual, prefix)];
        range.extend(end.map(|end| Self::compare(column, Comparison::Less, end)));
        Self::All(range)
    }

    fn compare(column: Column, comparison: Comparison, text: String) -> Self {
        Self::term(column, Test::Compare(comparison, Key::Text(text)), false)
    }

    /// Matches exactly what this does not.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::All(filters) => Self::Any(filters.into_iter().map(Self::negated).collect()),
            Self::Any(filters) => Self::All(filters.into_iter().map(Self::negated).collect()),
            Self::Term(term) => Self::Term(Term { test: term.test.negated(), or_null: !term.or_null, ..term }),
        }
    }

    pub(super) fn matches(&self, view: &View) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.matches(view)),
            Self::Any(filters) => filters.iter().any(|filter| filter.matches(view)),
            Self::Term(term) => term.matches(view),
        }
    }
}

/// The smallest text that is larger than every text that begins with `prefix`, none when there is none.
fn successor(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            // The code points in between are no characters.
            '\u{D7FF}' => Some('\u{E000}'),
            char::MAX => None,
            last => char::from_u32(u32::from(last) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_one_begins() {
        let check =
            |prefix: &str, expected: Option<&str>| assert_eq!(successor(prefix).as_deref(), expected, "{prefix:?}");
        check("ab", Some("ac"));
        check("a\u{D7FF}", Some("a\u{E000}"));
        check("a\u{10FFFF}", Some("b"));
        check("\u{7F}", Some("\u{80}"));
        check("\u{10FFFF}", None);
        check("", None);
    }
}
