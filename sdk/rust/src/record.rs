//! The record that an action is about.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::host::{self, text};
use crate::{Error, Result};

/// What changes are measured against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Since {
    /// The record as it was before the incoming fields were applied.
    #[default]
    Loaded,
    /// The record as it was last saved.
    Persisted,
}

impl Since {
    fn to_host(self) -> host::Baseline {
        match self {
            Self::Loaded => host::Baseline::Loaded,
            Self::Persisted => host::Baseline::Persisted,
        }
    }
}

/// One changed field.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The field's name.
    pub field: String,
    /// None when the field was not there.
    pub previous: Option<Value>,
    /// None when the field was removed.
    pub current: Option<Value>,
    /// Who made the change: `external`, `self`, `other-plugin`, `run`, `api`, `sync`.
    pub origin: String,
}

/// A record with change tracking. Fields are read one at a time from the host, so look only at those that you need.
pub struct Record(host::ActiveRecord);

impl Record {
    pub(crate) fn from_host(record: host::ActiveRecord) -> Self {
        Self(record)
    }

    pub(crate) fn to_host(&self) -> &host::ActiveRecord {
        &self.0
    }

    /// The record's id.
    pub fn id(&self) -> String {
        self.0.id()
    }

    /// The model's name.
    pub fn model(&self) -> String {
        self.0.model()
    }

    /// Whether no such record was stored before this call.
    pub fn is_new(&self) -> bool {
        self.0.is_new()
    }

    /// Whether the record was loaded without any field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of the fields that are there now.
    pub fn fields(&self) -> Vec<String> {
        self.0.fields()
    }

    /// A field as a Rust type. An absent field reads as `null`, so `Option<T>` takes it.
    pub fn get<T: DeserializeOwned>(&self, field: &str) -> Result<T> {
        read(field, self.0.get(field).as_deref().unwrap_or("null"))
    }

    /// Sets a field.
    pub fn set<T: Serialize>(&self, field: &str, value: T) -> Result<()> {
        Ok(self.0.set(field, &text(&value)?)?)
    }

    /// Removes a field.
    pub fn unset(&self, field: &str) -> Result<()> {
        Ok(self.0.unset(field)?)
    }

    /// Sets each member of an object.
    pub fn apply<T: Serialize>(&self, values: &T) -> Result<()> {
        Ok(self.0.apply(&text(values)?)?)
    }

    /// Whether the field changed since the record was loaded.
    pub fn changed(&self, field: &str) -> bool {
        self.changed_since(Some(field), Since::Loaded)
    }

    /// Whether the field, or without one anything, changed since the baseline.
    pub fn changed_since(&self, field: Option<&str>, since: Since) -> bool {
        self.0.changed(field, since.to_host())
    }

    /// Every field that changed since the record was loaded.
    pub fn changes(&self) -> Result<Vec<Change>> {
        self.changes_since(Since::Loaded)
    }

    /// Every field that changed since the baseline.
    pub fn changes_since(&self, since: Since) -> Result<Vec<Change>> {
        self.0.changes(since.to_host()).into_iter().map(change).collect()
    }

    /// One field's change, none when it did not change.
    pub fn change(&self, field: &str, since: Since) -> Result<Option<Change>> {
        self.0.change(field, since.to_host()).map(change).transpose()
    }

    /// The field's value before it changed.
    pub fn previous<T: DeserializeOwned>(&self, field: &str) -> Result<T> {
        read(field, self.0.previous(field, host::Baseline::Loaded).as_deref().unwrap_or("null"))
    }

    /// Who changed the field; none when it did not change.
    pub fn origin(&self, field: &str) -> Option<String> {
        self.0.origin(field)
    }

    /// Takes the field, or without one everything, back to the baseline.
    pub fn revert(&self, field: Option<&str>, since: Since) -> Result<()> {
        Ok(self.0.revert(field, since.to_host())?)
    }

    /// Makes the present state the baseline.
    pub fn flush(&self, since: Since) -> Result<()> {
        Ok(self.0.flush(since.to_host())?)
    }

    /// Marks the record as changed although no field differs.
    pub fn touch(&self) -> Result<()> {
        Ok(self.0.touch()?)
    }

    /// The whole record as a Rust type.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T> {
        Ok(serde_json::from_str(&self.0.to_json())?)
    }

    /// The changed fields' present values as an object.
    pub fn to_changed_json(&self, since: Since) -> Result<Value> {
        Ok(serde_json::from_str(&self.0.to_changed_json(since.to_host()))?)
    }

    /// Writes the record into the unit of work now. The host saves a changed record after `run` anyway.
    pub fn save(&self) -> Result<()> {
        Ok(self.0.save()?)
    }
}

fn read<T: DeserializeOwned>(field: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::new("unexpected-value", format_args!("field `{field}`: {error}")))
}

fn change(change: host::Change) -> Result<Change> {
    let value = |text: Option<String>| text.map(|text| serde_json::from_str(&text)).transpose();
    Ok(Change {
        field: change.field,
        previous: value(change.previous)?,
        current: value(change.current)?,
        origin: change.origin,
    })
}
