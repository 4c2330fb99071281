//! Echoes: webhooks that report what we changed ourselves.
//!
//! Before a call is sent, what it will change is noted beside the record ([`Effect`]), with the plugin that asks for it and
//! how many of our own writes led to it. When the record's next webhooks arrive, each changed field is held against the
//! notes: what a note explains is that plugin's doing. A note also makes the delivery one step deeper, explained or not, so
//! that a circle of answers ends at [`CAUSAL_DEPTH_MAX`](super::CAUSAL_DEPTH_MAX) even where the platform respells what it
//! was sent.
//!
//! Notes are records of the hidden model `~echo`, so they survive a crash, and are used up in the commit of the delivery that
//! they explain. They are read together with the record.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tradewind_model::{ActionError, Json, Origin, RecordKey, Shop, code};
use tradewind_platform::effect::{Effect, Expected};
use tradewind_store::{CommitError, Fence, Unit, Write};

use super::CONFLICT_RERUNS_MAX;
use super::context::{Context, Host, Stopped};
use super::work::internal;
use crate::traces;

/// The model of the notes.
const NOTES: &str = "~echo";

/// How many deliveries of its record a note outlives. 3: the echo may come behind one or two changes that others made at the
/// same time; later ones are not ours.
const ECHO_DELIVERIES_MAX: u32 = 3;

/// How long a note waits for its echo, in milliseconds. 24 hours: the platform's own bound for late webhooks.
const ECHO_WAIT_MS: i64 = 24 * 60 * 60 * 1_000;

/// Notes beside one record. 50: a plugin that writes a record more often than the platform reports it loses the oldest.
const ECHO_NOTES_MAX: usize = 50;

/// The fields of a change that we made ourselves, with the plugin that did.
pub(crate) type Echoes = BTreeMap<String, String>;

/// What of our own doing a delivery goes back to.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// How many of our own writes led to it.
    pub(super) depth: u32,
    /// Where in its trace the last of them was.
    pub(super) trace: Option<String>,
}

/// The notes beside a record. Persisted: members are only added.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    notes: Vec<Note>,
}

/// What is expected of one call.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    /// Whose call.
    plugin: String,
    at_ms: i64,
    /// Of the work that made the call.
    depth: u32,
    /// Deliveries since.
    #[serde(default)]
    seen: u32,
    fields: BTreeMap<String, Expected>,
    /// Where in its trace the call was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

impl Note {
    /// Whether something more can be said of it.
    fn is_open(&self, now_ms: i64) -> bool {
        let waits = self.fields.values().any(|expected| *expected != Expected::Moves);
        let is_young = now_ms.saturating_sub(self.at_ms) < ECHO_WAIT_MS;
        is_young && (self.seen == 0 || (waits && self.seen < ECHO_DELIVERIES_MAX))
    }
}

impl Notes {
    /// Which of the changes the notes explain. What they explain is used up.
    fn explain(&mut self, stored: Option<&Json>, changed: &[(String, Json)]) -> Echoes {
        let mut echoes = Echoes::new();
        for (field, current) in changed {
            let previous = stored.and_then(|stored| stored.member(field));
            for note in &mut self.notes {
                let expected = note.fields.get(field).filter(|expected| **expected != Expected::Moves);
                if expected.is_some_and(|expected| expected.explains(previous.as_ref(), current)) {
                    note.fields.remove(field);
                    echoes.insert(field.clone(), note.plugin.clone());
                    break;
                }
            }
        }
        // What moves with every change is ours when all the rest is.
        let moves = |field: &String| {
            self.notes.iter().find(|note| note.fields.get(field) == Some(&Expected::Moves)).map(|note| &note.plugin)
        };
        let rest: Vec<_> =
            changed.iter().map(|(field, _)| field).filter(|field| !echoes.contains_key(*field)).collect();
        let moved: Option<Vec<_>> = rest.iter().map(|field| Some(((*field).clone(), moves(field)?.clone()))).collect();
        echoes.extend(moved.unwrap_or_default());
        echoes
    }

    /// What a delivery that they are about goes back to: the deepest of them.
    fn past(&self) -> Past {
        let deepest = self.notes.iter().max_by_key(|note| note.depth);
        deepest
            .map_or_else(Past::default, |note| Past { depth: note.depth.saturating_add(1), trace: note.trace.clone() })
    }
}

impl Context {
    /// What of our own doing a delivery about this record goes back to.
    pub(super) async fn past_of(&self, key: &RecordKey) -> Result<Past, Stopped> {
        Ok(self.notes(key).await?.map_or_else(Past::default, |notes| notes.past()))
    }

    /// Which of a record's changes we made ourselves. The notes that say so are used up when the unit is committed.
    pub(super) async fn echoes(
        &self,
        key: &RecordKey,
        stored: Option<&Json>,
        changed: &[(String, Json)],
    ) -> Result<Echoes, Stopped> {
        let Some(mut notes) = self.notes(key).await? else { return Ok(Echoes::new()) };
        let echoes = notes.explain(stored, changed);
        let now_ms = self.host.now_ms();
        for note in &mut notes.notes {
            note.seen += 1;
        }
        notes.notes.retain(|note| note.is_open(now_ms));
        let doc = (!notes.notes.is_empty()).then(|| Json::of(&notes)).transpose();
        self.work.lock().write(notes_key(key), doc.map_err(|error| internal(&error))?, None)?;
        Ok(echoes)
    }

    async fn notes(&self, key: &RecordKey) -> Result<Option<Notes>, Stopped> {
        let found = self.find(&notes_key(key)).await?;
        // Notes that cannot be read say nothing; the record's next note replaces them.
        Ok(found.and_then(|found| found.doc.to().ok()))
    }

    /// Notes what a call will change, before it is sent.
    pub(super) async fn expect(&self, plugin: &str, effects: Vec<Effect>) -> Result<(), ActionError> {
        let mirrored = effects.into_iter().filter(|effect| self.app.schema.model(&effect.model).is_ok());
        let notes = mirrored.map(|Effect { model, id, fields }| {
            let note = Note {
                plugin: plugin.to_owned(),
                at_ms: self.host.now_ms(),
                depth: self.cause.depth,
                seen: 0,
                fields,
                trace: traces::place(),
            };
            (notes_key(&RecordKey::new(model, id)), note)
        });
        let notes: Vec<_> = notes.collect();
        if notes.is_empty() { Ok(()) } else { self.host.note(&self.shop(), self.cause.fence.as_ref(), &notes).await }
    }

    /// Forgets the notes beside a record that is no more.
    pub(super) async fn forget_notes(&self, key: &RecordKey) -> Result<(), Stopped> {
        let key = notes_key(key);
        if self.find(&key).await?.is_some() {
            self.work.lock().write(key, None, None)?;
        }
        Ok(())
    }
}

impl Host {
    /// Adds notes, in a commit of their own.
    async fn note(&self, shop: &Shop, fence: Option<&Fence>, added: &[(RecordKey, Note)]) -> Result<(), ActionError> {
        let keys: Vec<_> = added.iter().map(|(key, _)| key.clone()).collect();
        for _ in 0..=CONFLICT_RERUNS_MAX {
            let stored = self.store.records(shop, &keys).await.map_err(|error| internal(&error))?;
            let mut unit = Unit { fence: fence.cloned(), ..Unit::new(shop.clone(), self.now_ms()) };
            for ((key, note), stored) in added.iter().zip(stored) {
                let mut notes: Notes = stored.as_ref().and_then(|stored| stored.doc.to().ok()).unwrap_or_default();
                let surplus = (notes.notes.len() + 1).saturating_sub(ECHO_NOTES_MAX);
                notes.notes.drain(..surplus);
                notes.notes.push(note.clone());
                let doc = Some(Json::of(&notes).map_err(|error| internal(&error))?);
                let expected = stored.map(|stored| stored.version);
                unit.writes.push(Write { key: key.clone(), expected, doc, platform_updated_us: None });
            }
            match self.store.commit(unit).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(internal(&error)),
            }
        }
        Err(ActionError::retryable(code::CONFLICT, "what the call changes could not be noted; hint: try again later"))
    }
}

/// What a plugin is told of who changed a field.
pub(super) fn origin_for(plugin: &str, by: &str) -> Origin {
    if plugin == by { Origin::Own } else { Origin::OtherPlugin }
}

/// Where the notes of a record are.
pub(super) fn notes_key(key: &RecordKey) -> RecordKey {
    RecordKey::new(NOTES, format!("{}/{}", key.model, key.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn note(plugin: &str, depth: u32, fields: &[(&str, Expected)]) -> Note {
        let fields = fields.iter().map(|(name, expected)| ((*name).to_owned(), expected.clone())).collect();
        Note { plugin: plugin.to_owned(), at_ms: 0, depth, seen: 0, fields, trace: None }
    }

    fn changed(fields: &[(&str, &str)]) -> Vec<(String, Json)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), json(value))).collect()
    }

    fn shown(echoes: &Echoes) -> Vec<String> {
        echoes.iter().map(|(field, plugin)| format!("{field} by {plugin}")).collect()
    }

    #[test]
    fn each_field_is_explained_by_itself() {
        let stored = json(r#"{"tags":["a"],"title":"Hat"}"#);
        let tags = || ("tags", Expected::Has(vec!["b".to_owned()]));
        let mut notes = Notes { notes: vec![note("tagger", 0, &[tags(), ("at", Expected::Moves)])] };
        let echoes = notes.explain(Some(&stored), &changed(&[("tags", r#"["a","b"]"#), ("at", "2")]));
        assert_eq!(shown(&echoes), ["at by tagger", "tags by tagger"]);
        // It is used up.
        assert!(notes.explain(Some(&stored), &changed(&[("tags", r#"["a","b"]"#)])).is_empty());

        // A merchant's change that comes with it stays the merchant's, and so does the time.
        let mut notes = Notes { notes: vec![note("tagger", 0, &[tags(), ("at", Expected::Moves)])] };
        let both = changed(&[("title", "\"Cap\""), ("tags", r#"["a","b"]"#), ("at", "2")]);
        assert_eq!(shown(&notes.explain(Some(&stored), &both)), ["tags by tagger"]);
    }

    #[test]
    fn two_plugins_are_told_apart() {
        let mut notes = Notes {
            notes: vec![
                note("a", 0, &[("title", Expected::Is(json("\"A\"")))]),
                note("b", 2, &[("body", Expected::Is(json("\"B\"")))]),
            ],
        };
        assert_eq!(notes.past().depth, 3);
        let echoes = notes.explain(None, &changed(&[("title", "\"A\""), ("body", "\"B\"")]));
        assert_eq!(shown(&echoes), ["body by b", "title by a"]);
        assert_eq!(origin_for("a", &echoes["title"]), Origin::Own);
        assert_eq!(origin_for("a", &echoes["body"]), Origin::OtherPlugin);
    }

    #[test]
    fn a_note_is_open_until_it_is_explained_or_old() {
        let mut open = note("a", 0, &[("title", Expected::Is(json("1"))), ("at", Expected::Moves)]);
        assert!(open.is_open(1));
        open.seen = 1;
        assert!(open.is_open(1));
        open.fields.remove("title");
        assert!(!open.is_open(1));
        let mut touched = note("a", 0, &[]);
        assert!(touched.is_open(1) && !touched.is_open(ECHO_WAIT_MS));
        touched.seen = 1;
        assert!(!touched.is_open(1));
    }
}
