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
            Self::Is(value) => value == current,
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
}

/// Platforms compare words whatever their case.
fn has(words: &[String], word: &str) -> bool {
    words.iter().any(|known| known.trim().to_lowercase() == *word)
}

fn words_of(list: Option<&Json>) -> HashSet<String> {
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
    }
}
