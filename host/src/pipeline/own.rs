//! A unit's own records: as queries see them, and by a unique key, so that each element of a bulk write finds its record
//! without going through all that the others have written.

use tradewind_model::RecordKey;
use tradewind_model::query::{KeyIndex, Own, Query, Row};

use super::work::Work;

/// The unit's own records of a model by a unique key, for the time of one bulk write.
#[derive(Debug, Default)]
pub(crate) struct OwnIndex {
    pub(crate) index: KeyIndex,
    /// How much of the unit's history is in it, since the unit was emptied so often.
    indexed: usize,
    emptied: u32,
}

impl Work {
    /// What the unit did to the records of a model, for queries.
    pub(crate) fn own(&self, model: &str) -> Vec<Own> {
        let of_model = self.written.keys().filter(|key| &*key.model == model);
        of_model.filter_map(|key| self.own_of(key)).collect()
    }

    /// What the unit did to one record, none when it did nothing.
    pub(crate) fn own_of(&self, key: &RecordKey) -> Option<Own> {
        let written = self.written.get(key)?;
        let (shop, id) = (self.shop.id.to_string(), key.id.to_string());
        Some(match self.known(key).flatten() {
            Some(found) if written.doc.is_some() => Own::Written(Row {
                shop,
                id,
                document: found.doc,
                created_ms: found.created_ms,
                updated_ms: found.updated_ms,
            }),
            _ => Own::Deleted { shop, id },
        })
    }

    /// Brings an index of own records of a model up to date.
    pub(crate) fn index_own(&self, own: &mut OwnIndex, model: &str, query: &Query) {
        if own.emptied != self.emptied {
            *own = OwnIndex { emptied: self.emptied, ..OwnIndex::default() };
        }
        for key in self.history.iter().skip(own.indexed).filter(|key| &*key.model == model) {
            let row = match self.own_of(key) {
                Some(Own::Written(row)) => Some(row),
                Some(Own::Deleted { .. }) | None => None,
            };
            own.index.put(query, &key.id, row.as_ref());
        }
        own.indexed = self.history.len();
    }
}
