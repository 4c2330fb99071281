//! What comes in for a record while its actions run: their reads see it, although it is written only after them.
//!
//! Reads lay what came in, and is not saved yet, over what the unit has of the record. Nothing is written by it: an action
//! that saves by itself, or fails, leaves no more than it did. A record that is being deleted is not there.

use tradewind_model::query::{Own, Row};
use tradewind_model::{ActionError, RecordKey};

use super::context::Context;
use super::saving::{changed, difference};
use super::work::{Found, Work};

/// A record whose actions run.
#[derive(Debug)]
pub(crate) struct Open {
    nested: u32,
    key: RecordKey,
    is_leaving: bool,
}

impl Context {
    /// A record by its key as a plugin sees it.
    pub(crate) async fn find_seen(&self, key: &RecordKey) -> Result<Option<Found>, ActionError> {
        let found = self.find(key).await?;
        Ok(self.work.lock().with_incoming(key, found))
    }
}

impl Work {
    /// Begins to run the actions of a record.
    pub(crate) fn open(&mut self, nested: u32, key: &RecordKey, is_leaving: bool) {
        self.open.push(Open { nested, key: key.clone(), is_leaving });
    }

    /// Ends what was opened last.
    pub(crate) fn close(&mut self) {
        self.open.pop();
    }

    /// What the unit did to the records of a model, with what comes in.
    pub(crate) fn own_seen(&self, model: &str) -> Vec<Own> {
        let mut own = self.own(model);
        for open in self.open.iter().filter(|open| &*open.key.model == model) {
            // It was read before its actions ran.
            let Some(known) = self.known(&open.key) else { continue };
            let (shop, id) = (self.shop.id.to_string(), open.key.id.to_string());
            own.retain(|own| match own {
                Own::Written(row) => row.id != id,
                Own::Deleted { id: deleted, .. } => *deleted != id,
            });
            own.push(match self.with_incoming(&open.key, known) {
                None => Own::Deleted { shop, id },
                Some(Found { doc: document, created_ms, updated_ms, .. }) => {
                    Own::Written(Row { shop, id, document, created_ms, updated_ms })
                }
            });
        }
        own
    }

    /// A record with what comes in for it.
    fn with_incoming(&self, key: &RecordKey, mut found: Option<Found>) -> Option<Found> {
        for open in self.open.iter().filter(|open| open.key == *key) {
            if open.is_leaving {
                return None;
            }
            let Some(base) = self.bases.get(&(open.nested, key.clone())).filter(|base| base.is_pending) else {
                continue;
            };
            found = match (found, &base.before) {
                (Some(found), Some(before)) => {
                    let (set, removed) = difference(before, &base.arrived);
                    let doc = changed(&found.doc, &set, &removed);
                    Some(Found { doc, updated_ms: self.now_ms, ..found })
                }
                // The unit has made it, and what comes in is laid over.
                (Some(found), None) => {
                    let (set, _) = difference(&found.doc, &base.arrived);
                    Some(Found { doc: changed(&found.doc, &set, &[]), ..found })
                }
                (None, None) => Some(Found {
                    doc: base.arrived.clone(),
                    platform_updated_us: base.updated_us,
                    created_ms: self.now_ms,
                    updated_ms: self.now_ms,
                }),
                // The unit has deleted it.
                (None, Some(_)) => None,
            };
        }
        found
    }
}
