//! Brings stored records into the form that newly declared types have.
//!
//! Documents are canonical for the models of their time. When a type is declared for a field that had none, the databases
//! must find its values spelled as they compare them: a date-time in UTC, a number in digits. What does not fit the type
//! stays as it is, because a type that was declared by mistake must not destroy anything; queries take it for null.

use std::collections::BTreeMap;

use tradewind_model::document::{Mode, canonical};
use tradewind_model::schema::{FieldType, Model, Schema};
use tradewind_model::{Json, RecordKey, Shop};

use crate::deploy::{Deployed, read};
use crate::error::StoreError;
use crate::link::Statement;
use crate::records::stored_json;
use crate::store::Store;
use crate::unit::{CommitError, Unit, Write};

/// How many records are looked at in one go. 100: with documents of the usual size a megabyte.
const BATCH: i64 = 100;

/// How often a record is tried that others write at the same time. They write it in the new form.
const TRIES_MAX: u32 = 3;

pub(crate) static READ_MODEL: Statement = Statement::both(
    "read model",
    "SELECT shop, id, version, CAST(doc AS text), platform_updated_us FROM records WHERE app = $1 AND model = $2 \
     AND (shop, id) > ($3, $4) ORDER BY shop, id LIMIT $5",
);

// Differs because only PostgreSQL has a type for JSON.
pub(crate) static UPDATE_OBJECTS: Statement = Statement::differs(
    "update objects",
    &[],
    "UPDATE deployments SET objects = $2 WHERE app = $1 AND objects = $3 RETURNING app",
    "UPDATE deployments SET objects = CAST($2 AS json) WHERE app = $1 AND CAST(objects AS text) = $3 RETURNING app",
);

/// A record that is to be written as it should be spelled.
struct Respelled {
    write: Write,
    /// Values that do not fit their types.
    unfit: u64,
}

impl Store {
    /// Respells the records of the models of which a deployment says so, and takes the note away. Safe to be interrupted:
    /// the next deployment goes on.
    pub(crate) async fn respell(
        &self,
        app: &str,
        schema: &Schema,
        now_ms: i64,
        deployed: &mut Deployed,
    ) -> Result<(), StoreError> {
        let noted = {
            let mut reader = self.database.reader().await.map_err(StoreError::connecting)?;
            read(&mut reader.link(), app).await?
        };
        let Some((_, mut objects, stored)) = noted.filter(|(_, objects, _)| !objects.respell.is_empty()) else {
            return Ok(());
        };
        for name in std::mem::take(&mut objects.respell) {
            if let Ok(model) = schema.model(&name) {
                self.respell_model(app, model, now_ms, deployed).await?;
            }
        }
        let objects = serde_json::to_string(&objects).map_err(|error| unfinished(app, &error))?;
        // Another deployment that came in between has its own note, which stays.
        let values = vec![app.into(), objects.as_str().into(), stored.as_str().into()];
        let updated = self.committer.execute(&UPDATE_OBJECTS, values).await;
        updated.map(drop).map_err(|source| StoreError::database("writing down what is deployed", source))
    }

    async fn respell_model(
        &self,
        app: &str,
        model: &Model,
        now_ms: i64,
        deployed: &mut Deployed,
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::database("reading records to respell", source);
        let mut typed = model.clone();
        // Children are no part of a document; a member that is called like them is not to be lost.
        typed.fields.retain(|field| !matches!(field.of, FieldType::HasMany { .. }));
        let mut last = (String::new(), String::new());
        loop {
            let values =
                [app.into(), model.name.as_str().into(), last.0.as_str().into(), last.1.as_str().into(), BATCH.into()];
            let rows = self.database.fetch(&READ_MODEL, &values).await.map_err(failed)?;
            let mut shops: BTreeMap<String, Vec<Respelled>> = BTreeMap::new();
            for row in &rows {
                let (shop, id) = (row.text(0).map_err(failed)?, row.text(1).map_err(failed)?);
                let doc = stored_json(row.text(3).map_err(failed)?, || format!("the record `{} {id}`", model.name))?;
                let key = RecordKey::new(model.name.as_str(), id);
                let (version, updated_us) = (row.int(2).map_err(failed)?, row.maybe_int(4).map_err(failed)?);
                last = (shop.to_owned(), id.to_owned());
                let (document, unfit) = spelled(&typed, &doc);
                match document {
                    None => deployed.unfit += unfit,
                    Some(spelled) => {
                        let write = Write {
                            key,
                            expected: Some(version),
                            before: Some(doc),
                            doc: Some(spelled),
                            platform_updated_us: updated_us,
                        };
                        shops.entry(shop.to_owned()).or_default().push(Respelled { write, unfit });
                    }
                }
            }
            for (shop, records) in shops {
                self.write_respelled(&Shop::new(app, shop), &typed, records, now_ms, deployed).await?;
            }
            if rows.is_empty() {
                return Ok(());
            }
        }
    }

    /// Writes all of them together, or each by itself when that is refused.
    async fn write_respelled(
        &self,
        shop: &Shop,
        model: &Model,
        records: Vec<Respelled>,
        now_ms: i64,
        deployed: &mut Deployed,
    ) -> Result<(), StoreError> {
        let mut unit = Unit::new(shop.clone(), now_ms);
        unit.writes = records.iter().map(|record| record.write.clone()).collect();
        if self.commit(unit).await.is_ok() {
            deployed.respelled += records.len() as u64;
            deployed.unfit += records.iter().map(|record| record.unfit).sum::<u64>();
            return Ok(());
        }
        for record in records {
            self.write_one(shop, model, record, now_ms, deployed).await?;
        }
        Ok(())
    }

    async fn write_one(
        &self,
        shop: &Shop,
        model: &Model,
        mut record: Respelled,
        now_ms: i64,
        deployed: &mut Deployed,
    ) -> Result<(), StoreError> {
        for _ in 0..TRIES_MAX {
            let mut unit = Unit::new(shop.clone(), now_ms);
            unit.writes.push(record.write.clone());
            match self.commit(unit).await {
                Ok(_) => {
                    deployed.respelled += 1;
                    deployed.unfit += record.unfit;
                    return Ok(());
                }
                Err(CommitError::Conflict { .. }) => {}
                // In the new form it is no longer unique, or too much: it stays as it is.
                Err(CommitError::NotUnique { .. } | CommitError::Refused { .. }) => {
                    deployed.unfit += 1;
                    return Ok(());
                }
                Err(error) => return Err(unfinished(&shop.app, &error)),
            }
            let key = record.write.key.clone();
            let read = self.record(shop, &key).await;
            let Some(stored) = read.map_err(|error| unfinished(&shop.app, &error))? else { return Ok(()) };
            let (document, still_unfit) = spelled(model, &stored.doc);
            let Some(doc) = document else {
                deployed.unfit += still_unfit;
                return Ok(());
            };
            let platform_updated_us = stored.platform_updated_us;
            let write = Write {
                key,
                expected: Some(stored.version),
                before: Some(stored.doc),
                doc: Some(doc),
                platform_updated_us,
            };
            record = Respelled { write, unfit: still_unfit };
        }
        Ok(())
    }
}

fn unfinished(app: &str, error: &dyn std::fmt::Display) -> StoreError {
    let reason = format!("their records are not all respelled: {error}; hint: deploy again, it goes on from here");
    StoreError::Deploy { app: app.to_owned(), reason }
}

/// The document as the model spells it, none when it is that already; and how many of its values do not fit.
fn spelled(model: &Model, document: &Json) -> (Option<Json>, u64) {
    // Beyond the bounds of documents: nothing of ours has written it.
    let Ok(canonical) = canonical(model, document, Mode::Lenient) else { return (None, 0) };
    let unfit = canonical.notes.len() as u64;
    let mut spelled = canonical.document;
    if unfit > 0 {
        let kept =
            |name: &str| canonical.notes.iter().any(|note| note.field == name).then(|| document.member(name)).flatten();
        let members = spelled.members().unwrap_or_default();
        let members: Vec<_> = members.into_iter().map(|(name, value)| (kept(&name).unwrap_or(value), name)).collect();
        spelled = Json::object(members.iter().map(|(value, name)| (name.as_str(), value)));
    }
    ((spelled.as_str() != document.as_str()).then_some(spelled), unfit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_respelled_and_the_rest_is_kept() {
        let text = r#"{"name":"m","fields":[{"name":"at","type":"date-time"},{"name":"n","type":"integer"}]}"#;
        let model: Model = serde_json::from_str(text).unwrap();
        let check = |document: &str, expected: Option<&str>, unfit| {
            let (spelled, found) = spelled(&model, &Json::parse(document).unwrap());
            assert_eq!((spelled.as_ref().map(Json::as_str), found), (expected, unfit), "{document}");
        };
        check(r#"{"at":"2024-05-01T14:00:00.000Z","n":1, "x": 1.0}"#, None, 0);
        check(r#"{"at":"2024-05-01T10:00:00-04:00","n":"7"}"#, Some(r#"{"at":"2024-05-01T14:00:00.000Z","n":7}"#), 0);
        check(r#"{"at":"soon","n":"many"}"#, None, 2);
        check(r#"{"x":1,"at":"soon","n":"7"}"#, Some(r#"{"x":1,"at":"soon","n":7}"#), 1);
    }
}
