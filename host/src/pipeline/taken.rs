//! What was taken out of a unit of work, on its way to the committer.

use std::collections::HashMap;

use indexmap::IndexMap;
use tradewind_model::document::changed_members;
use tradewind_model::{Json, RecordKey, Shop};
use tradewind_store::{NewInvocation, NewJob, Read, Stored, Unit, Watch, Write};

use super::echo::Echoes;
use super::work::Written;
use crate::watch::{Changed, ChangedField};

/// The content of a unit of work.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(super) shop: Shop,
    pub(super) now_ms: i64,
    pub(super) seen: HashMap<RecordKey, Option<Stored>>,
    pub(super) watch: Option<Watch>,
    pub(super) written: IndexMap<RecordKey, Written>,
    pub(super) jobs: Vec<NewJob>,
    pub(super) cancels: Vec<String>,
    pub(crate) log: Vec<NewInvocation>,
}

impl Taken {
    /// The record as the store had it when it was read; the outer option is none when it was not.
    #[expect(clippy::option_option, reason = "not asked for is not the same as not there")]
    pub(crate) fn seen(&self, key: &RecordKey) -> Option<Option<Stored>> {
        self.seen.get(key).cloned()
    }

    /// What is to be checked and written.
    pub(crate) fn into_unit(mut self) -> Unit {
        let mut unit = Unit::new(self.shop, self.now_ms);
        for (key, written) in self.written {
            let stored = self.seen.get(&key).and_then(|seen| seen.as_ref());
            let unchanged = match (stored, &written.doc) {
                (None, None) => true,
                (Some(stored), Some(doc)) => {
                    stored.doc.as_str() == doc.as_str()
                        && stored.platform_updated_us == written.platform_updated_us
                        && !written.touched
                }
                _ => false,
            };
            if !unchanged {
                unit.writes.push(Write {
                    key,
                    expected: stored.map(|stored| stored.version),
                    before: stored.map(|stored| stored.doc.clone()),
                    doc: written.doc,
                    platform_updated_us: written.platform_updated_us,
                });
            }
        }
        let version = |stored: Option<Stored>| stored.map(|stored| stored.version);
        // What is written is checked by the version that the write expects.
        for write in &unit.writes {
            self.seen.remove(&write.key);
        }
        unit.reads = self.seen.into_iter().map(|(key, stored)| Read { key, version: version(stored) }).collect();
        unit.queries = self.watch;
        unit.jobs = self.jobs;
        unit.cancels = self.cancels;
        unit.log = self.log;
        unit
    }

    /// What is different in the records that are written, without the host's own.
    pub(crate) fn changes(&self, echoes: &HashMap<RecordKey, Echoes>) -> Vec<Changed> {
        let own = |key: &RecordKey| key.model.starts_with(['~', '^']);
        let changes = self.written.iter().filter(|(key, _)| !own(key)).filter_map(|(key, written)| {
            let stored = self.seen.get(key).and_then(|seen| seen.as_ref()).map(|stored| &stored.doc);
            let empty = Json::object([]);
            let after = written.doc.as_ref();
            let changed = changed_members(stored.unwrap_or(&empty), after.unwrap_or(&empty));
            let fields = changed.into_iter().map(|(name, value)| ChangedField {
                before: stored.and_then(|stored| stored.member(&name)),
                after: Some(value),
                echo_of: echoes.get(key).and_then(|echoes| echoes.get(&name)).cloned(),
                name,
            });
            let fields: Vec<_> = fields.collect();
            let (created, deleted) = (stored.is_none() && after.is_some(), stored.is_some() && after.is_none());
            let is_news = created || deleted || !fields.is_empty();
            is_news.then(|| Changed { key: key.clone(), deleted, created, fields })
        });
        changes.collect()
    }
}
