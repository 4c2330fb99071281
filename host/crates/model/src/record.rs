//! A record with change tracking: what plugins see, and what the pipeline stores afterwards.
//!
//! Each field keeps three values side by side: the present one and those of the two baselines. Whether a field changed
//! is decided when it is set, so asking is free, however often a plugin asks.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::json::{InvalidJson, Json};

/// What changes are measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// The record as it was when the invocation began, before incoming fields were applied.
    Loaded,
    /// The record as it was last saved.
    Persisted,
}

/// Who made a change. The names are persisted and part of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// A merchant or another app, reported by the platform.
    External,
    /// The echo of this plugin's own write to the platform.
    #[serde(rename = "self")]
    Own,
    /// The echo of another plugin's write.
    OtherPlugin,
    /// Set in this invocation.
    Run,
    /// A caller's parameter.
    Api,
    /// A sync's page.
    Sync,
}

impl Origin {
    /// The name that plugins see.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Own => "self",
            Self::OtherPlugin => "other-plugin",
            Self::Run => "run",
            Self::Api => "api",
            Self::Sync => "sync",
        }
    }
}

/// One changed field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The field's name.
    pub field: String,
    /// None when the field was not there.
    pub previous: Option<Json>,
    /// None when the field was removed.
    pub current: Option<Json>,
    /// Who made the change.
    pub origin: Origin,
}

/// A record of a model, with its changes since both baselines.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "five independent facts, none of which is a state of another")]
pub struct ActiveRecord {
    model: String,
    id: String,
    stored: bool,
    empty: bool,
    touched: bool,
    touched_for_host: bool,
    /// Whether the `loaded` baseline was moved.
    flushed: bool,
    fields: IndexMap<Box<str>, Field>,
}

#[derive(Clone, Debug)]
struct Field {
    current: Option<Json>,
    loaded: Option<Json>,
    persisted: Option<Json>,
    /// What is stored, whatever a plugin flushed.
    stored: Option<Json>,
    /// Cached answers to `current != loaded` and `current != persisted`.
    changed_since_loaded: bool,
    changed_since_persisted: bool,
    origin: Origin,
}

impl Field {
    fn baseline(&self, since: Baseline) -> Option<&Json> {
        match since {
            Baseline::Loaded => self.loaded.as_ref(),
            Baseline::Persisted => self.persisted.as_ref(),
        }
    }

    fn changed(&self, since: Baseline) -> bool {
        match since {
            Baseline::Loaded => self.changed_since_loaded,
            Baseline::Persisted => self.changed_since_persisted,
        }
    }

    fn set(&mut self, value: Option<Json>, origin: Origin) {
        self.current = value;
        self.origin = origin;
        self.compare();
    }

    fn compare(&mut self) {
        self.changed_since_loaded = self.current != self.loaded;
        // Mostly the two baselines are one value.
        let is_one = match (&self.loaded, &self.persisted) {
            (Some(loaded), Some(persisted)) => loaded.as_str() == persisted.as_str(),
            (loaded, persisted) => loaded.is_none() && persisted.is_none(),
        };
        self.changed_since_persisted = if is_one { self.changed_since_loaded } else { self.current != self.persisted };
    }
}

impl ActiveRecord {
    /// A record as it is stored. `document` is a JSON object; none for a record that is not stored yet.
    pub fn load(model: &str, id: &str, document: Option<&Json>) -> Result<Self, InvalidJson> {
        let mut record = Self {
            model: model.to_owned(),
            id: id.to_owned(),
            stored: document.is_some(),
            empty: true,
            touched: false,
            touched_for_host: false,
            flushed: false,
            fields: IndexMap::new(),
        };
        for (name, value) in document.map(object_members).transpose()?.unwrap_or_default() {
            record.empty = false;
            let field = Field {
                current: Some(value.clone()),
                loaded: Some(value.clone()),
                persisted: Some(value.clone()),
                stored: Some(value),
                changed_since_loaded: false,
                changed_since_persisted: false,
                origin: Origin::External,
            };
            record.fields.insert(name.into(), field);
        }
        Ok(record)
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The record's id within its shop and model.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether no such record was stored when this one was loaded.
    pub fn is_new(&self) -> bool {
        !self.stored
    }

    /// Whether the record was loaded without any field.
    pub fn is_empty(&self) -> bool {
        self.empty
    }

    /// The names of the fields that are there now, in order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(|(_, field)| field.current.is_some()).map(|(name, _)| &**name)
    }

    /// The present value, none when the field is not there.
    pub fn get(&self, field: &str) -> Option<&Json> {
        self.fields.get(field)?.current.as_ref()
    }

    /// Sets a field.
    pub fn set(&mut self, field: &str, value: Json, origin: Origin) {
        self.write(field, Some(value), origin);
    }

    /// Removes a field.
    pub fn unset(&mut self, field: &str, origin: Origin) {
        if self.fields.contains_key(field) {
            self.write(field, None, origin);
        }
    }

    /// Sets each member of a JSON object.
    pub fn apply(&mut self, values: &Json, origin: Origin) -> Result<(), InvalidJson> {
        for (name, value) in object_members(values)? {
            self.write(&name, Some(value), origin);
        }
        Ok(())
    }

    /// Whether the field, or without one any field or the touch mark, changed.
    pub fn changed(&self, field: Option<&str>, since: Baseline) -> bool {
        match field {
            Some(name) => self.fields.get(name).is_some_and(|field| field.changed(since)),
            None => self.touched || self.fields.values().any(|field| field.changed(since)),
        }
    }

    /// Every changed field, in the record's order.
    pub fn changes(&self, since: Baseline) -> impl Iterator<Item = Change> {
        self.fields.iter().filter(move |(_, field)| field.changed(since)).map(move |(name, field)| Change {
            field: name.to_string(),
            previous: field.baseline(since).cloned(),
            current: field.current.clone(),
            origin: field.origin,
        })
    }

    /// One field's change, none when it did not change.
    pub fn change(&self, name: &str, since: Baseline) -> Option<Change> {
        let field = self.fields.get(name).filter(|field| field.changed(since))?;
        Some(Change {
            field: name.to_owned(),
            previous: field.baseline(since).cloned(),
            current: field.current.clone(),
            origin: field.origin,
        })
    }

    /// The field's value in the baseline.
    pub fn previous(&self, field: &str, since: Baseline) -> Option<&Json> {
        self.fields.get(field)?.baseline(since)
    }

    /// Who changed the field since it was loaded; none when it did not change.
    pub fn origin(&self, field: &str) -> Option<Origin> {
        self.fields.get(field).filter(|field| field.changed_since_loaded).map(|field| field.origin)
    }

    /// Says who made a change that came in; a field that a plugin has set since, or that did not change, keeps its origin.
    pub fn set_origin(&mut self, field: &str, origin: Origin) {
        if let Some(field) = self.fields.get_mut(field).filter(|field| field.changed_since_loaded)
            && matches!(field.origin, Origin::External | Origin::Own | Origin::OtherPlugin)
        {
            field.origin = origin;
        }
    }

    /// Takes every field, or one, back to the baseline. Without a field this also undoes [`touch`](Self::touch).
    pub fn revert(&mut self, field: Option<&str>, since: Baseline) {
        let back = |field: &mut Field| {
            field.current = field.baseline(since).cloned();
            field.compare();
        };
        let Some(name) = field else {
            self.touched = false;
            self.touched_for_host = false;
            self.fields.values_mut().for_each(back);
            return;
        };
        if let Some(field) = self.fields.get_mut(name) {
            back(field);
        }
    }

    /// Makes the present state the baseline and clears the touch mark.
    pub fn flush(&mut self, since: Baseline) {
        self.touched = false;
        self.flushed |= since == Baseline::Loaded;
        for field in self.fields.values_mut() {
            match since {
                Baseline::Loaded => field.loaded.clone_from(&field.current),
                Baseline::Persisted => field.persisted.clone_from(&field.current),
            }
            field.compare();
        }
    }

    /// Marks the record as changed although no field differs.
    pub fn touch(&mut self) {
        self.touched = true;
        self.touched_for_host = true;
    }

    /// Whether somebody marked it as changed, whatever was flushed since.
    pub fn is_touched(&self) -> bool {
        self.touched_for_host
    }

    /// Takes back what was flushed of the `loaded` baseline, which is one plugin's view: what is stored and what the next
    /// plugin sees does not depend on it.
    pub fn forget_flushes(&mut self) {
        self.touched = self.touched_for_host;
        if !std::mem::take(&mut self.flushed) {
            return;
        }
        for field in self.fields.values_mut() {
            field.loaded.clone_from(&field.stored);
            field.compare();
        }
    }

    /// All present fields as an object.
    pub fn to_json(&self) -> Json {
        Json::object(self.fields.iter().filter_map(|(name, field)| Some((&**name, field.current.as_ref()?))))
    }

    /// The changed fields' present values as an object.
    pub fn to_changed_json(&self, since: Baseline) -> Json {
        let changed = self.fields.iter().filter(|(_, field)| field.changed(since));
        Json::object(changed.filter_map(|(name, field)| Some((&**name, field.current.as_ref()?))))
    }

    fn write(&mut self, name: &str, value: Option<Json>, origin: Origin) {
        if let Some(field) = self.fields.get_mut(name) {
            field.set(value, origin);
            return;
        }
        let mut field = Field {
            current: None,
            loaded: None,
            persisted: None,
            stored: None,
            changed_since_loaded: false,
            changed_since_persisted: false,
            origin,
        };
        field.set(value, origin);
        self.fields.insert(name.into(), field);
    }
}

fn object_members(document: &Json) -> Result<Vec<(String, Json)>, InvalidJson> {
    document.members().ok_or_else(|| InvalidJson { reason: "expected an object".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).unwrap()
    }

    fn product() -> ActiveRecord {
        let stored = json(r#"{"title":"Hat","price":10,"tags":["a"],"updatedAt":"2024-05-01T14:00:00Z"}"#);
        ActiveRecord::load("shopify/product", "1", Some(&stored)).unwrap()
    }

    fn names(record: &ActiveRecord, since: Baseline) -> Vec<String> {
        record.changes(since).map(|change| change.field).collect()
    }

    #[test]
    fn incoming_fields_that_mean_the_same_are_no_change() {
        let mut record = product();
        let incoming = json(r#"{"price":10.0,"tags":[ "a" ],"updatedAt":"2024-05-01T10:00:00-04:00","title":"Hat"}"#);
        record.apply(&incoming, Origin::External).unwrap();
        assert!(!record.changed(None, Baseline::Loaded));
        assert_eq!(record.origin("price"), None);
    }

    #[test]
    fn changes_carry_previous_current_and_origin() {
        let mut record = product();
        record.apply(&json(r#"{"title":"Cap","vendor":"us"}"#), Origin::External).unwrap();
        record.set("price", json("11"), Origin::Run);
        record.unset("tags", Origin::Run);
        record.unset("nothing", Origin::Run);
        let changes: Vec<_> = record.changes(Baseline::Loaded).collect();
        let expected = [
            ("title", Some("\"Hat\""), Some("\"Cap\""), Origin::External),
            ("price", Some("10"), Some("11"), Origin::Run),
            ("tags", Some("[\"a\"]"), None, Origin::Run),
            ("vendor", None, Some("\"us\""), Origin::External),
        ];
        let expected: Vec<_> = expected
            .map(|(field, previous, current, origin)| Change {
                field: field.to_owned(),
                previous: previous.map(json),
                current: current.map(json),
                origin,
            })
            .into();
        assert_eq!(changes, expected);
        assert_eq!(record.to_changed_json(Baseline::Loaded).as_str(), r#"{"title":"Cap","price":11,"vendor":"us"}"#);
        assert_eq!(
            record.to_json().as_str(),
            r#"{"title":"Cap","price":11,"updatedAt":"2024-05-01T14:00:00Z","vendor":"us"}"#
        );
        assert_eq!(record.fields().collect::<Vec<_>>(), ["title", "price", "updatedAt", "vendor"]);
        assert_eq!(record.change("price", Baseline::Loaded).unwrap().origin, Origin::Run);
        assert_eq!(record.change("updatedAt", Baseline::Loaded), None);
    }

    #[test]
    fn the_baselines_move_apart() {
        let mut record = product();
        record.set("title", json("\"Cap\""), Origin::Run);
        record.flush(Baseline::Persisted);
        record.set("price", json("11"), Origin::Run);
        assert_eq!(names(&record, Baseline::Loaded), ["title", "price"]);
        assert_eq!(names(&record, Baseline::Persisted), ["price"]);
        assert_eq!(record.previous("title", Baseline::Loaded).unwrap().as_str(), "\"Hat\"");
        assert_eq!(record.previous("title", Baseline::Persisted).unwrap().as_str(), "\"Cap\"");

        record.revert(None, Baseline::Persisted);
        assert_eq!(names(&record, Baseline::Loaded), ["title"]);
        record.revert(None, Baseline::Loaded);
        assert_eq!(names(&record, Baseline::Loaded), [""; 0]);
        assert_eq!(names(&record, Baseline::Persisted), ["title"]);
    }

    #[test]
    fn a_field_set_back_is_no_change_and_one_field_reverts_alone() {
        let mut record = product();
        record.set("title", json("\"Cap\""), Origin::Run);
        record.set("title", json("\"H\\u0061t\""), Origin::Run);
        assert!(!record.changed(Some("title"), Baseline::Loaded));
        record.set("title", json("\"Cap\""), Origin::Run);
        record.set("new", json("1"), Origin::Run);
        record.revert(Some("title"), Baseline::Loaded);
        assert_eq!(names(&record, Baseline::Loaded), ["new"]);
        record.revert(None, Baseline::Loaded);
        assert_eq!(record.get("new"), None);
    }

    #[test]
    fn touch_changes_the_record_but_no_field() {
        let mut record = product();
        record.touch();
        assert!(record.changed(None, Baseline::Loaded) && record.changed(None, Baseline::Persisted));
        assert!(!record.changed(Some("title"), Baseline::Loaded));
        assert_eq!(names(&record, Baseline::Loaded), [""; 0]);
        record.flush(Baseline::Loaded);
        assert!(!record.changed(None, Baseline::Loaded));
        record.touch();
        record.revert(None, Baseline::Loaded);
        record.forget_flushes();
        assert!(!record.changed(None, Baseline::Loaded));
    }

    #[test]
    fn a_flush_is_forgotten_after_the_plugin() {
        let mut record = product();
        record.set("title", json("\"Cap\""), Origin::External);
        record.touch();
        record.flush(Baseline::Loaded);
        record.set("price", json("11"), Origin::Run);
        assert_eq!(names(&record, Baseline::Loaded), ["price"]);
        record.forget_flushes();
        assert_eq!(names(&record, Baseline::Loaded), ["title", "price"]);
        assert_eq!(record.origin("title"), Some(Origin::External));
        assert!(record.changed(None, Baseline::Loaded));
    }

    #[test]
    fn new_and_empty_are_different_things() {
        let new = ActiveRecord::load("m", "1", None).unwrap();
        assert!(new.is_new() && new.is_empty());
        let empty = ActiveRecord::load("m", "1", Some(&json("{}"))).unwrap();
        assert!(!empty.is_new() && empty.is_empty());
        assert!(!product().is_new() && !product().is_empty());
        assert!(ActiveRecord::load("m", "1", Some(&json("[]"))).is_err());
    }
}
