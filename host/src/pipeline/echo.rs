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

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use tradewind_model::schema::FieldType;
use tradewind_model::{ActionError, Json, Origin, RecordKey, Shop, code};
use tradewind_platform::effect::{Effect, Expected, explained_together};
use tradewind_store::{CommitError, Fence, Stored, Unit, Write};

use super::CONFLICT_RERUNS_MAX;
use super::context::{Context, Host, Stopped};
use super::lines::Turn;
use super::work::internal;
use crate::traces;

/// The model of the notes.
const NOTES: &str = "~echo";

/// How many deliveries of its record a note outlives. 3: the echo may come behind one or two changes that others made at the
/// same time; later ones are not ours.
const ECHO_DELIVERIES_MAX: u32 = 3;

/// How long a note waits for its echo, in milliseconds. 24 hours: the platform's own bound for late webhooks.
const ECHO_WAIT_MS: i64 = 24 * 60 * 60 * 1_000;

/// How soon after a call a delivery counts as what it led to, in milliseconds. 10 minutes: what comes later was changed by
/// somebody, and a chain of answers does not wait so long.
const ECHO_SOON_MS: i64 = 10 * 60 * 1_000;

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
        let mut spoken = HashSet::new();
        let expected = |notes: &[Note], field: &str| {
            notes.iter().any(|note| note.fields.get(field).is_some_and(|expected| *expected != Expected::Moves))
        };
        for (field, current) in changed {
            // Most notes are about one field, and finding a value in a document is a walk through it.
            if !expected(&self.notes, field) {
                continue;
            }
            let previous = stored.and_then(|stored| stored.member(field));
            for at in self.explaining(field, previous.as_ref(), current) {
                let note = &mut self.notes[at];
                note.fields.remove(field);
                echoes.insert(field.clone(), note.plugin.clone());
                spoken.insert(at);
            }
        }
        // What moves with every change is ours when all the rest is; only a note that says no more, or one that has just
        // explained something, can say so.
        let says_of = |field: &String| {
            let says = |(at, note): &(usize, &Note)| {
                let is_silent = note.fields.values().all(|expected| *expected == Expected::Moves);
                note.fields.get(field) == Some(&Expected::Moves)
                    && (spoken.contains(at) || (is_silent && note.seen == 0))
            };
            self.notes.iter().enumerate().find(says).map(|(_, note)| &note.plugin)
        };
        let rest: Vec<_> =
            changed.iter().map(|(field, _)| field).filter(|field| !echoes.contains_key(*field)).collect();
        let moved: Option<Vec<_>> =
            rest.iter().map(|field| Some(((*field).clone(), says_of(field)?.clone()))).collect();
        echoes.extend(moved.unwrap_or_default());
        echoes
    }

    /// The places of the notes that explain a field's change, by itself or together.
    fn explaining(&self, field: &str, previous: Option<&Json>, current: &Json) -> Vec<usize> {
        let waiting = self.notes.iter().enumerate().filter_map(|(at, note)| Some((at, note.fields.get(field)?)));
        let waiting: Vec<_> = waiting.filter(|(_, expected)| **expected != Expected::Moves).collect();
        let alone = waiting.iter().rposition(|(_, expected)| expected.explains(previous, current));
        match alone.map(|at| waiting.split_at(at + 1).0) {
            // What was to have another value before has been overtaken.
            Some(until) if matches!(until.last(), Some((_, Expected::Is(_)))) => {
                until.iter().filter(|(_, expected)| matches!(expected, Expected::Is(_))).map(|(at, _)| *at).collect()
            }
            Some(until) => until.last().map(|(at, _)| *at).into_iter().collect(),
            None if explained_together(waiting.iter().map(|(_, expected)| *expected), previous, current) => {
                waiting.iter().filter(|(_, expected)| !matches!(expected, Expected::Is(_))).map(|(at, _)| *at).collect()
            }
            None => Vec::new(),
        }
    }

    /// What a delivery that they are about goes back to: the deepest of those that wait for the first delivery after them.
    fn past(&self, now_ms: i64) -> Past {
        let first = self.notes.iter().filter(|note| note.seen == 0 && now_ms - note.at_ms < ECHO_SOON_MS);
        let deepest = first.max_by_key(|note| note.depth);
        deepest
            .map_or_else(Past::default, |note| Past { depth: note.depth.saturating_add(1), trace: note.trace.clone() })
    }
}

impl Context {
    /// What of our own doing a delivery about this record goes back to.
    pub(super) async fn past_of(&self, key: &RecordKey) -> Result<Past, Stopped> {
        Ok(self.notes(key).await?.map_or_else(Past::default, |notes| notes.past(self.host.now_ms())))
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

    /// Notes what a call to a shop will change, before it is sent: not what is so already, which nobody will report.
    pub(super) async fn expect(
        &self,
        plugin: &str,
        shop: &Shop,
        effects: Vec<Effect>,
        when: When,
    ) -> Result<Noted, ActionError> {
        let mirrored = effects.into_iter().filter(|effect| self.app.schema.model(&effect.model).is_ok());
        let mirrored: Vec<_> = mirrored.collect();
        let keys: Vec<_> =
            mirrored.iter().map(|effect| RecordKey::new(effect.model.as_str(), effect.id.as_str())).collect();
        // The records with what is noted beside them, in one turn of the store.
        let both: Vec<_> = keys.iter().cloned().chain(keys.iter().map(notes_key)).collect();
        let stored = self.host.store.records(shop, &both).await.map_err(|error| internal(&*error))?;
        let stored: HashMap<_, _> = both.into_iter().zip(stored).collect();
        let mut expected: BTreeMap<RecordKey, BTreeMap<String, Expected>> = BTreeMap::new();
        for (key, effect) in keys.into_iter().zip(mirrored) {
            let stored = stored.get(&key).cloned().flatten();
            let doc = stored.as_ref().map(|stored| &stored.doc);
            if effect.is_done(doc) || (when == When::Created && doc.is_some()) {
                continue;
            }
            // A child's change is reported with its parent.
            for parent in doc.into_iter().flat_map(|doc| self.parents_of(&effect.model, doc)) {
                let moves = effect.fields.iter().filter(|(_, expected)| **expected == Expected::Moves);
                expected.entry(parent).or_default().extend(moves.map(|(name, value)| (name.clone(), value.clone())));
            }
            expected.entry(key).or_default().extend(effect.fields);
        }
        let at_ms = self.host.now_ms();
        let note = |fields| Note {
            plugin: plugin.to_owned(),
            at_ms,
            depth: self.cause.depth,
            seen: 0,
            fields,
            trace: traces::place(),
        };
        let notes: Vec<_> = expected.into_iter().map(|(key, fields)| (notes_key(&key), note(fields))).collect();
        let fence = self.cause.fence.as_ref().filter(|_| *shop == self.shop());
        let expectation = Noted { shop: shop.clone(), keys: notes.iter().map(|(key, _)| key.clone()).collect(), at_ms };
        if !notes.is_empty() {
            self.note(shop, fence, &expectation.keys, stored, |at, known| known.add(notes[at].1.clone())).await?;
        }
        Ok(expectation)
    }

    /// Takes notes back, of a call that is known to have changed nothing.
    pub(super) async fn unexpect(&self, plugin: &str, noted: &Noted) -> Result<(), ActionError> {
        if noted.keys.is_empty() {
            return Ok(());
        }
        let is_it = |note: &Note| note.plugin == plugin && note.at_ms == noted.at_ms;
        let fence = self.cause.fence.as_ref().filter(|_| noted.shop == self.shop());
        let change = |_, known: &mut Notes| known.notes.retain(|note| !is_it(note));
        self.note(&noted.shop, fence, &noted.keys, HashMap::new(), change).await
    }

    /// Takes all notes beside a record back at once: a chain of answers has ended with it, and what comes next is news.
    pub(super) async fn end_chain(&self, key: &RecordKey) -> Result<(), ActionError> {
        let fence = self.cause.fence.as_ref();
        let forget = |_, known: &mut Notes| known.notes.clear();
        self.note(&self.shop(), fence, &[notes_key(key)], HashMap::new(), forget).await
    }

    /// The records that one belongs to, as those that have it say.
    fn parents_of(&self, child: &str, doc: &Json) -> Vec<RecordKey> {
        let mut parents = Vec::new();
        for model in self.app.schema.models() {
            for field in &model.fields {
                let FieldType::HasMany { model: of, by } = &field.of else { continue };
                let parent = doc.member(by).filter(|_| of == child).and_then(|id| id.to::<String>().ok());
                parents.extend(parent.map(|id| RecordKey::new(model.name.as_str(), id)));
            }
        }
        parents
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

/// What is expected of a call that was noted.
#[derive(Debug)]
pub(super) struct Noted {
    shop: Shop,
    keys: Vec<RecordKey>,
    at_ms: i64,
}

/// When it is known what a call changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Before it is sent.
    Before,
    /// From its answer: records that were not there before.
    Created,
}

impl Notes {
    fn add(&mut self, note: Note) {
        let surplus = (self.notes.len() + 1).saturating_sub(ECHO_NOTES_MAX);
        self.notes.drain(..surplus);
        self.notes.push(note);
    }
}

/// What a plugin learns when others noted something each time.
const NOT_NOTED: &str = "what the call changes could not be noted; hint: the job runs again without using an attempt";

impl Context {
    /// Changes notes, in a commit of their own. When others were faster each time, the job runs again without an attempt.
    async fn note(
        &self,
        shop: &Shop,
        fence: Option<&Fence>,
        keys: &[RecordKey],
        known: HashMap<RecordKey, Option<Stored>>,
        change: impl Fn(usize, &mut Notes),
    ) -> Result<(), ActionError> {
        let noted = self.host.note(shop, fence, keys, known, change).await;
        if noted.as_ref().is_err_and(|error| error.code == code::CONFLICT) {
            self.work.lock().contended = Some(NOT_NOTED.to_owned());
        }
        noted
    }
}

impl Host {
    /// Changes notes, in a commit of their own. `known` may have what was read of them just before.
    async fn note(
        &self,
        shop: &Shop,
        fence: Option<&Fence>,
        keys: &[RecordKey],
        mut known: HashMap<RecordKey, Option<Stored>>,
        change: impl Fn(usize, &mut Notes),
    ) -> Result<(), ActionError> {
        let mut turn = Turn::new(&self.lines, shop.clone());
        if turn.join_behind(keys).await {
            known.clear();
        }
        for _ in 0..=CONFLICT_RERUNS_MAX {
            let unknown: Vec<_> = keys.iter().filter(|key| !known.contains_key(key)).cloned().collect();
            let stored = self.store.records(shop, &unknown).await.map_err(|error| internal(&*error))?;
            known.extend(unknown.into_iter().zip(stored));
            let mut unit = Unit { fence: fence.cloned(), ..Unit::new(shop.clone(), self.now_ms()) };
            for (at, key) in keys.iter().enumerate() {
                let stored = known.remove(key).flatten();
                let mut notes: Notes = stored.as_ref().and_then(|stored| stored.doc.to().ok()).unwrap_or_default();
                change(at, &mut notes);
                let doc = (!notes.notes.is_empty()).then(|| Json::of(&notes)).transpose();
                let doc = doc.map_err(|error| internal(&error))?;
                let (expected, before) = stored.map(|stored| (stored.version, stored.doc)).unzip();
                if doc.is_some() || expected.is_some() {
                    unit.writes.push(Write { key: key.clone(), expected, before, doc, platform_updated_us: None });
                }
            }
            if unit.writes.is_empty() {
                return Ok(());
            }
            match turn.commit(&self.store, unit).await {
                Ok(_) => return Ok(()),
                Err(CommitError::Conflict { .. }) => turn.wait_in_call().await,
                Err(error) => return Err(internal(&error)),
            }
        }
        Err(ActionError::retryable(code::CONFLICT, NOT_NOTED))
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
    fn what_only_moves_says_nothing_for_a_note_that_waits() {
        let waits = || note("tagger", 0, &[("tags", Expected::Has(vec!["b".to_owned()])), ("at", Expected::Moves)]);
        let stored = json(r#"{"tags":["a"],"at":1}"#);
        let mut notes = Notes { notes: vec![waits()] };
        assert!(notes.explain(Some(&stored), &changed(&[("at", "2")])).is_empty(), "a merchant's change of a child");
        let mut touched = Notes { notes: vec![note("tagger", 0, &[("at", Expected::Moves)])] };
        assert_eq!(shown(&touched.explain(Some(&stored), &changed(&[("at", "2")]))), ["at by tagger"]);
    }

    #[test]
    fn changes_that_the_platform_collapses_are_explained_together() {
        let adds = |plugin, word: &str| note(plugin, 0, &[("tags", Expected::Has(vec![word.to_owned()]))]);
        let mut notes = Notes { notes: vec![adds("a", "x"), adds("a", "y")] };
        let stored = json(r#"{"tags":[]}"#);
        assert_eq!(shown(&notes.explain(Some(&stored), &changed(&[("tags", r#"["x","y"]"#)]))), ["tags by a"]);
        assert!(notes.notes.iter().all(|note| note.fields.is_empty()));
        let is = |value: &str| note("a", 0, &[("title", Expected::Is(json(value)))]);
        let mut notes = Notes { notes: vec![is("1"), is("2")] };
        assert_eq!(shown(&notes.explain(Some(&stored), &changed(&[("title", "2")]))), ["title by a"]);
        assert!(notes.notes.iter().all(|note| note.fields.is_empty()), "the first was overtaken");
    }

    #[test]
    fn two_plugins_are_told_apart() {
        let mut notes = Notes {
            notes: vec![
                note("a", 0, &[("title", Expected::Is(json("\"A\"")))]),
                note("b", 2, &[("body", Expected::Is(json("\"B\"")))]),
            ],
        };
        assert_eq!(notes.past(1).depth, 3);
        assert_eq!(notes.past(ECHO_SOON_MS).depth, 0, "that was somebody else");
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
