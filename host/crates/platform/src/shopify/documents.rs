//! GraphQL documents that were parsed before: a plugin's are constants in its source, and to parse one takes a tenth of the
//! time of all else that a call costs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql_parser::types::ExecutableDocument;
use tradewind_model::graphql;

/// Documents that are kept. 128: a host's plugins have some of them together.
const DOCUMENTS_MAX: usize = 128;

/// Bytes of a document that is kept. 4 KiB: a parsed one takes some twenty times as much, so all of them 10 MiB at most.
const DOCUMENT_BYTES_MAX: usize = 4 << 10;

/// Documents by their texts.
#[derive(Debug, Default)]
pub(super) struct Documents(Mutex<HashMap<Box<str>, Arc<ExecutableDocument>>>);

impl Documents {
    /// The parsed document; none when the text is none.
    pub(super) fn parsed(&self, text: &str) -> Option<Arc<ExecutableDocument>> {
        let kept = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = kept().get(text) {
            return Some(Arc::clone(document));
        }
        let document = Arc::new(graphql::parse(text)?);
        if text.len() <= DOCUMENT_BYTES_MAX {
            let mut kept = kept();
            if kept.len() >= DOCUMENTS_MAX {
                // Somebody writes a new document for each call. All go, so that those that are constant come back.
                kept.clear();
            }
            kept.insert(text.into(), Arc::clone(&document));
        }
        Some(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_kept_within_bounds() {
        let documents = Documents::default();
        let text = |number: usize| format!("{{ product(id: {number}) {{ id }} }}");
        for number in 0..DOCUMENTS_MAX * 2 + 10 {
            assert!(documents.parsed(&text(number)).is_some());
        }
        let first = documents.parsed(&text(3)).unwrap();
        assert!(Arc::ptr_eq(&first, &documents.parsed(&text(3)).unwrap()));
        let long = format!("{} #{}", text(1), "x".repeat(DOCUMENT_BYTES_MAX));
        assert!(documents.parsed(&long).is_some() && documents.parsed("not graphql").is_none());
        let kept = documents.0.lock().unwrap();
        assert!(kept.len() <= DOCUMENTS_MAX && kept.contains_key(text(3).as_str()), "{}", kept.len());
        assert!(!kept.contains_key(long.as_str()) && !kept.contains_key("not graphql"));
    }
}
