//! How what a plugin left of a record becomes what the unit writes.
//!
//! A plugin works on a copy of the record. While it does, the record may be written by others of the same unit (an action
//! that it runs, another plugin), so only what changed in the copy is written, field by field, over what the unit has.

use std::collections::HashSet;

use tradewind_model::document::{self, DOCUMENT_BYTES_MAX, FieldProblem, Mode, canonical};
use tradewind_model::schema::Model;
use tradewind_model::{ActionError, ActiveRecord, Json, Origin, RecordKey};

use super::context::Context;
use super::work::Base;

impl Context {
    /// Writes what changed in a record since it was loaded, or last saved, into the unit of work. A record that the unit
    /// has deleted meanwhile stays deleted.
    pub(crate) async fn save(&self, record: &ActiveRecord, origin: Origin) -> Result<(), ActionError> {
        let model = self.app.schema.model(record.model())?;
        let key = RecordKey::new(record.model(), record.id());
        let current = self.find(&key).await?;
        let now = record.to_json();
        let base = self.work.lock().base(self.nested, &key);
        let base =
            base.unwrap_or(Base { before: None, arrived: Json::object([]), updated_us: None, is_pending: false });
        if current.is_none() && base.before.is_some() {
            return Ok(());
        }
        // What came in was read leniently and is canonical; what a plugin set is held to the model.
        let (set, removed) = difference(&base.arrived, &now);
        let set =
            canonical(model, &Json::object(set.iter().map(|(name, value)| (name.as_str(), value))), Mode::Strict)?;
        let mut problems: Vec<_> = set.children.iter().map(|(name, _)| children_are_apart(name)).collect();
        let required = |name: &String| model.field(name).is_some_and(|field| field.required);
        problems.extend(removed.iter().filter(|name| required(name)).map(|name| is_required(name)));
        if !problems.is_empty() {
            return Err(document::validation_failed(model, &problems));
        }
        let after = changed(&base.arrived, &set.document.members().unwrap_or_default(), &removed);
        let doc = match (&current, &base.before) {
            (None, _) => after.clone(),
            (Some(current), before) => {
                let none = Json::object([]);
                let (set, removed) = difference(before.as_ref().unwrap_or(&none), &after);
                changed(&current.doc, &set, &removed)
            }
        };
        check_whole(model, &doc, current.is_none() && origin != Origin::External)?;
        let mut work = self.work.lock();
        let saved = Base { before: Some(after), arrived: now, updated_us: base.updated_us, is_pending: false };
        work.set_base(self.nested, &key, saved);
        let same = current.as_ref().is_some_and(|current| {
            current.doc.as_str() == doc.as_str() && current.platform_updated_us == base.updated_us
        });
        match (record.is_touched(), same) {
            (true, _) => work.write_touched(key, doc, base.updated_us),
            (false, false) => work.write(key, Some(doc), base.updated_us),
            (false, true) => Ok(()),
        }
    }
}

/// Holds a whole document to what can only be said of a whole. A platform's record is taken as it is, and one that is
/// stored has what is required, or came without it.
pub(crate) fn check_whole(model: &Model, doc: &Json, is_made_here: bool) -> Result<(), ActionError> {
    let mut problems = if is_made_here { document::missing(model, doc) } else { Vec::new() };
    if doc.as_str().len() > DOCUMENT_BYTES_MAX {
        let message = format!("and the others have more than {DOCUMENT_BYTES_MAX} bytes together");
        problems.push(FieldProblem { field: "id".to_owned(), message });
    }
    if problems.is_empty() { Ok(()) } else { Err(document::validation_failed(model, &problems)) }
}

fn children_are_apart(name: &str) -> FieldProblem {
    let message = "holds children, which are no part of the record; hint: `data.converge`".to_owned();
    FieldProblem { field: name.to_owned(), message }
}

fn is_required(name: &str) -> FieldProblem {
    FieldProblem { field: name.to_owned(), message: "is required and cannot be removed".to_owned() }
}

/// What leads from one document to another: members that were set, and names that were removed.
pub(super) fn difference(from: &Json, to: &Json) -> (Vec<(String, Json)>, Vec<String>) {
    if from.as_str() == to.as_str() {
        return (Vec::new(), Vec::new());
    }
    (document::changed_members(from, to), document::removed_members(from, to))
}

/// A document with members set and removed; the text is as it was when there are none.
pub(super) fn changed(doc: &Json, set: &[(String, Json)], removed: &[String]) -> Json {
    let doc = if set.is_empty() { doc.clone() } else { document::merged(doc, set) };
    if removed.is_empty() {
        return doc;
    }
    let removed: HashSet<&str> = removed.iter().map(String::as_str).collect();
    let members = doc.members().unwrap_or_default();
    let left = members.iter().filter(|(name, _)| !removed.contains(name.as_str()));
    Json::object(left.map(|(name, value)| (name.as_str(), value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_leads_from_one_to_the_other() {
        let json = |text: &str| Json::parse(text).unwrap();
        let check = |from: &str, to: &str, expected: &str| {
            let (set, removed) = difference(&json(from), &json(to));
            assert_eq!(changed(&json(from), &set, &removed).as_str(), expected, "{from} to {to}");
        };
        check(r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2}"#);
        check(r#"{"a":1,"b":2}"#, r#"{"b":3,"c":null}"#, r#"{"b":3,"c":null}"#);
        // Another spelling of the same value changes nothing.
        check(r#"{"a":1,"b":{"c":1,"d":2}}"#, r#"{"b":{"d":2,"c":1.0},"a":1e0}"#, r#"{"a":1,"b":{"c":1,"d":2}}"#);
        check("{}", "{}", "{}");
    }
}
