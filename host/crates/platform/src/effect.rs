//! What a call to a platform will change there, as far as can be told before it is sent.
//!
//! The platform reports each change as a webhook, to us too. What is expected of a call is what makes its echo known for an
//! echo, field by field, when it arrives.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use tradewind_model::Json;

/// A record that a call changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The model's name.
    pub model: String,
    /// The record's id.
    pub id: String,
    /// What will have become of its fields. Others may change too: what the platform computes is not known here.
    pub fields: BTreeMap<String, Expected>,
}

/// What will have become of a field. Persisted: variants are only added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Expected {
    /// It has this value.
    Is(Json),
    /// A list that has these words too; no others are new, none is gone.
    Has(Vec<String>),
    /// A list without these words; no others are gone, none is new.
    Lacks(Vec<String>),
    /// It moves with every change, and says nothing by itself.
    Moves,
}

impl Expected {
    /// Whether a change is the one that was expected.
    pub fn explains(&self, previous: Option<&Json>, current: &Json) -> bool {
        match self {
            Self::Is(_) => self.holds(Some(current)),
            Self::Has(words) => {
                let (before, after) = (words_of(previous), words_of(Some(current)));
                before.is_subset(&after) && after.difference(&before).all(|word| has(words, word))
            }
            Self::Lacks(words) => {
                let (before, after) = (words_of(previous), words_of(Some(current)));
                after.is_subset(&before) && before.difference(&after).all(|word| has(words, word))
            }
            Self::Moves => true,
        }
    }

    /// Whether it is so already, so that nothing will be reported.
    pub fn holds(&self, current: Option<&Json>) -> bool {
        match self {
            // A list of words has no order.
            Self::Is(value) => {
                current == Some(value) || (is_words(value) && words_of(current) == words_of(Some(value)))
            }
            Self::Has(words) => {
                let current = words_of(current);
                words.iter().all(|word| current.contains(&word.trim().to_lowercase()))
            }
            Self::Lacks(words) => {
                let current = words_of(current);
                !words.iter().any(|word| current.contains(&word.trim().to_lowercase()))
            }
            Self::Moves => true,
        }
    }
}

/// Whether what several calls were to add to a list of words, and to take from it, explains a change together: the platform
/// reports changes that follow one another closely as one.
pub fn explained_together<'a>(
    expected: impl IntoIterator<Item = &'a Expected>,
    previous: Option<&Json>,
    current: &Json,
) -> bool {
    let (mut added, mut taken) = (Vec::new(), Vec::new());
    for expected in expected {
        match expected {
            Expected::Has(words) => added.extend_from_slice(words),
            Expected::Lacks(words) => taken.extend_from_slice(words),
            Expected::Is(_) | Expected::Moves => {}
        }
    }
    let (before, after) = (words_of(previous), words_of(Some(current)));
    before != after
        && after.difference(&before).all(|word| has(&added, word))
        && before.difference(&after).all(|word| has(&taken, word))
}

impl Effect {
    /// Whether the record is already as the call would make it, as far as that is known.
    pub fn is_done(&self, record: Option<&Json>) -> bool {
        let mut known = self.fields.iter().filter(|(_, expected)| **expected != Expected::Moves).peekable();
        known.peek().is_some()
            && known.all(|(field, expected)| expected.holds(record.and_then(|record| record.member(field)).as_ref()))
    }
}

fn is_words(value: &Json) -> bool {
    value.to::<Vec<String>>().is_ok()
}

/// Platforms compare words whatever their case.
fn has(words: &[String], word: &str) -> bool {
    words.iter().any(|known| known.trim().to_lowercase() == *word)
}

fn words_of(list: Option<&Json>) -> HashSet<String> {
    // What is no list has none; to find that out by an error would take longer.
    let list = list.filter(|list| list.as_str().starts_with('['));
    let words = list.and_then(|list| list.to::<Vec<String>>().ok()).unwrap_or_default();
    words.into_iter().map(|word| word.trim().to_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    #[test]
    fn a_change_is_explained_by_what_was_expected_of_it() {
        let check = |expected: &Expected, previous: &str, current: &str| {
            let previous = Some(json(previous)).filter(|previous| !previous.is_null());
            expected.explains(previous.as_ref(), &json(current))
        };
        let has = Expected::Has(vec!["Straw".to_owned(), "summer".to_owned()]);
        assert!(check(&has, r#"["hat"]"#, r#"["hat","straw","summer"]"#));
        assert!(check(&has, r#"["hat","summer"]"#, r#"["straw","summer","hat"]"#));
        assert!(check(&has, "null", r#"["straw"]"#));
        // Somebody else's word came with ours, or one went.
        assert!(!check(&has, r#"["hat"]"#, r#"["hat","straw","red"]"#));
        assert!(!check(&has, r#"["hat"]"#, r#"["straw","summer"]"#));
        let lacks = Expected::Lacks(vec!["old".to_owned()]);
        assert!(check(&lacks, r#"["hat","old"]"#, r#"["hat"]"#));
        assert!(!check(&lacks, r#"["hat","old"]"#, r#"["hat","old","new"]"#));
        let is = Expected::Is(json("1.50"));
        assert!(check(&is, "1", "1.5"));
        assert!(!check(&is, "1", "2"));
        let list = Expected::Is(json(r#"["Straw","beach"]"#));
        assert!(check(&list, "[]", r#"["beach","Straw"]"#));
    }

    #[test]
    fn calls_close_to_one_another_explain_one_change() {
        let has = |word: &str| Expected::Has(vec![word.to_owned()]);
        let lacks = Expected::Lacks(vec!["old".to_owned()]);
        let check = |expected: &[Expected], current: &str| {
            explained_together(expected, Some(&json(r#"["old"]"#)), &json(current))
        };
        assert!(check(&[has("a"), has("b")], r#"["old","a","b"]"#));
        assert!(check(&[has("a"), lacks.clone()], r#"["a"]"#));
        assert!(!check(&[has("a"), has("b")], r#"["old","a","c"]"#));
        assert!(!check(&[has("a")], r#"["a"]"#));
        assert!(!check(&[has("a")], r#"["old"]"#), "nothing changed");
    }

    #[test]
    fn what_is_so_already_is_not_expected() {
        let effect = |expected: &[(&str, Expected)]| Effect {
            model: "shopify/product".to_owned(),
            id: "1".to_owned(),
            fields: expected.iter().map(|(name, expected)| ((*name).to_owned(), expected.clone())).collect(),
        };
        let record = json(r#"{"tags":["A","b"],"title":"Hat"}"#);
        let tags = |word: &str| ("tags", Expected::Has(vec![word.to_owned()]));
        assert!(effect(&[tags("a"), ("at", Expected::Moves)]).is_done(Some(&record)));
        assert!(!effect(&[tags("c"), ("at", Expected::Moves)]).is_done(Some(&record)));
        assert!(!effect(&[tags("a"), ("title", Expected::Is(json("\"Cap\"")))]).is_done(Some(&record)));
        assert!(!effect(&[tags("a")]).is_done(None));
        assert!(!effect(&[("at", Expected::Moves)]).is_done(Some(&record)), "who knows what it changes");
    }
}
