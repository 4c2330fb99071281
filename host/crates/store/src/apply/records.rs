//! The records of a batch: what was read is looked at again, what was decided is written.

use std::collections::{HashMap, HashSet};

use tradewind_model::RecordKey;

use super::{Blamed, Care, Numbers, Stop, Wrote};
use crate::link::{Kind, Link, Statement, Table, Value};
use crate::unit::{CommitError, Committed, Read, Unit};
use crate::usage::{Usage, text_bytes};

pub(crate) static VERSIONS: Statement = Statement::rows(
    "versions",
    &[Kind::Text, Kind::Text, Kind::Text, Kind::Text],
    "WITH r (app, shop, model, id) AS ({rows}) SELECT c.app, c.shop, c.model, c.id, c.version FROM r, records c \
     WHERE c.app = r.app AND c.shop = r.shop AND c.model = r.model AND c.id = r.id",
);

pub(crate) static INSERT_RECORDS: Statement = Statement::rows(
    "insert records",
    &[Kind::Text, Kind::Text, Kind::Text, Kind::Text, Kind::Int, Kind::Json, Kind::Int, Kind::Int],
    "WITH r (app, shop, model, id, version, doc, platform_updated_us, now_ms) AS ({rows}) \
     INSERT INTO records (app, shop, model, id, version, doc, platform_updated_us, created_ms, updated_ms) \
     SELECT app, shop, model, id, version, doc, platform_updated_us, now_ms, now_ms FROM r WHERE true \
     ON CONFLICT (app, shop, model, id) DO NOTHING RETURNING version",
);

pub(crate) static UPDATE_RECORDS: Statement = Statement::rows(
    "update records",
    &[Kind::Text, Kind::Text, Kind::Text, Kind::Text, Kind::Int, Kind::Int, Kind::Json, Kind::Int, Kind::Int],
    "WITH r (app, shop, model, id, expected, version, doc, platform_updated_us, now_ms) AS ({rows}) \
     UPDATE records SET version = r.version, doc = r.doc, platform_updated_us = r.platform_updated_us, \
     updated_ms = r.now_ms FROM r WHERE records.app = r.app AND records.shop = r.shop AND records.model = r.model \
     AND records.id = r.id AND records.version = r.expected RETURNING records.version",
);

// Differs because only PostgreSQL knows `USING`, and only SQLite has row ids; either finds the rows by their key.
pub(crate) static DELETE_RECORDS: Statement = Statement::differs(
    "delete records",
    &[Kind::Text, Kind::Text, Kind::Text, Kind::Text, Kind::Int],
    "WITH r (app, shop, model, id, expected) AS ({rows}) DELETE FROM records WHERE rowid IN (SELECT c.rowid FROM r \
     CROSS JOIN records c ON c.app = r.app AND c.shop = r.shop AND c.model = r.model AND c.id = r.id \
     AND c.version = r.expected) RETURNING version",
    "WITH r (app, shop, model, id, expected) AS ({rows}) DELETE FROM records c USING r WHERE c.app = r.app \
     AND c.shop = r.shop AND c.model = r.model AND c.id = r.id AND c.version = r.expected RETURNING c.version",
);

// Differs because SQLite knows the length of a text without reading it, unless the text is converted.
pub(crate) static RECORD_BYTES: Statement = Statement::differs(
    "record bytes",
    &[Kind::Text, Kind::Text, Kind::Text, Kind::Text],
    "WITH r (app, shop, model, id) AS ({rows}) SELECT c.app, c.shop, c.model, c.id, octet_length(c.doc) FROM r, records c \
     WHERE c.app = r.app AND c.shop = r.shop AND c.model = r.model AND c.id = r.id",
    "WITH r (app, shop, model, id) AS ({rows}) \
     SELECT c.app, c.shop, c.model, c.id, CAST(octet_length(CAST(c.doc AS text)) AS bigint) FROM r, records c \
     WHERE c.app = r.app AND c.shop = r.shop AND c.model = r.model AND c.id = r.id",
);

/// Counts what the writes change. A document that is replaced is known to most units; the others' are looked at before they
/// are replaced.
pub(super) async fn count_records(link: &mut Link<'_>, units: &[&Unit], usage: &mut [Usage]) -> Result<(), Stop> {
    let mut table = Table::default();
    for unit in units {
        for write in unit.writes.iter().filter(|write| write.expected.is_some() && write.before.is_none()) {
            let key = &write.key;
            table.push([&*unit.shop.app, &*unit.shop.id, &*key.model, &*key.id].map(Value::from));
        }
    }
    let mut unknown = HashMap::new();
    for row in link.fetch_rows(&RECORD_BYTES, &table).await? {
        let key = [row.text(0)?.to_owned(), row.text(1)?.to_owned(), row.text(2)?.to_owned(), row.text(3)?.to_owned()];
        unknown.insert(key, row.int(4)?);
    }
    for (unit, usage) in units.iter().zip(usage) {
        for write in &unit.writes {
            let before = write.expected.map(|_| {
                if let Some(doc) = &write.before {
                    text_bytes(doc.as_str())
                } else {
                    let key = [&*unit.shop.app, &*unit.shop.id, &*write.key.model, &*write.key.id].map(str::to_owned);
                    // One that is gone is a conflict, and nothing of the unit counts.
                    unknown.get(&key).copied().unwrap_or_default()
                }
            });
            usage.replace_record(before, write.doc.as_ref().map(|doc| text_bytes(doc.as_str())));
        }
    }
    Ok(())
}

/// Looks whether what was read, and is not written by the same unit, is as it was. A unit without effects was decided on
/// nothing that matters.
pub(super) async fn check_reads(link: &mut Link<'_>, units: &[&Unit]) -> Result<(), Stop> {
    let mut table = Table::default();
    for unit in units {
        for (key, _) in decided_on(unit) {
            table.push([(&*unit.shop.app).into(), (&*unit.shop.id).into(), (&*key.model).into(), (&*key.id).into()]);
        }
    }
    let mut versions = HashMap::new();
    for row in link.fetch_rows(&VERSIONS, &table).await? {
        let key = [row.text(0)?.to_owned(), row.text(1)?.to_owned(), row.text(2)?.to_owned(), row.text(3)?.to_owned()];
        versions.insert(key, row.int(4)?);
    }
    let mut blamed = Blamed::new();
    for (at, unit) in units.iter().enumerate() {
        let is_stale = |(key, version): &(&RecordKey, Option<i64>)| {
            let key = [&*unit.shop.app, &*unit.shop.id, &*key.model, &*key.id].map(str::to_owned);
            versions.get(&key) != version.as_ref()
        };
        blamed.extend(decided_on(unit).find(is_stale).map(|(key, _)| (at, conflict(unit, key))));
    }
    Stop::unless_none(blamed)
}

/// Reads or writes up to which each read is compared with each write.
const SCANNED_MAX: usize = 8;

/// What has to be as the unit saw it and is not held to that by writing it. A record that the unit made and deleted again
/// must not be there.
fn decided_on(unit: &Unit) -> impl Iterator<Item = (&RecordKey, Option<i64>)> {
    let effects = unit.has_effects();
    // Most units write a handful, which is looked through faster than it is hashed.
    let many = unit.reads.len() > SCANNED_MAX && unit.writes.len() > SCANNED_MAX;
    let keys: Option<HashSet<&RecordKey>> = many.then(|| unit.writes.iter().map(|write| &write.key).collect());
    let unwritten = move |read: &&Read| match &keys {
        Some(keys) => !keys.contains(&read.key),
        None => unit.writes.iter().all(|write| write.key != read.key),
    };
    let read = unit.reads.iter().filter(move |read| effects && unwritten(read)).map(|read| (&read.key, read.version));
    let nothing = unit.writes.iter().filter(move |write| effects && write.is_nothing()).map(|write| (&write.key, None));
    read.chain(nothing)
}

/// Writes the records: deletions first, so that a unique value is free for whoever takes it over in the same unit.
pub(super) async fn write_records(
    link: &mut Link<'_>,
    units: &[&Unit],
    care: Care,
    committed: &mut [Committed],
    numbers: &mut Numbers,
) -> Result<(), Stop> {
    let (mut inserts, mut updates, mut deletes) = (Table::default(), Table::default(), Table::default());
    // By what the statement answers with: the new version, for a deletion the old one.
    let mut expected: HashMap<i64, (usize, &RecordKey)> = HashMap::new();
    let mut blamed = Blamed::new();
    for (at, (unit, committed)) in units.iter().zip(committed).enumerate() {
        let now = unit.now_ms.into();
        for write in &unit.writes {
            let version = numbers.next();
            committed.versions.push(version);
            let [app, shop, model, id]: [Value<'_>; 4] =
                [&*unit.shop.app, &*unit.shop.id, &*write.key.model, &*write.key.id].map(Value::from);
            let platform = write.platform_updated_us.into();
            let doc = write.doc.as_ref().map(|doc| Value::from(doc.as_str()));
            let answer = match (write.expected, doc) {
                (None, Some(doc)) => {
                    inserts.push([app, shop, model, id, version.into(), doc, platform, now]);
                    version
                }
                (Some(old), Some(doc)) => {
                    updates.push([app, shop, model, id, old.into(), version.into(), doc, platform, now]);
                    version
                }
                (Some(old), None) => {
                    deletes.push([app, shop, model, id, old.into()]);
                    old
                }
                // Made and deleted in the same unit: nothing to do.
                (None, None) => continue,
            };
            // A version belongs to one record: of two that expect it, the second is wrong at least.
            if expected.insert(answer, (at, &write.key)).is_some() {
                blamed.push((at, conflict(unit, &write.key)));
            }
        }
    }
    Stop::unless_none(blamed)?;
    let mut written = Vec::new();
    for (statement, table) in [(&DELETE_RECORDS, &deletes), (&UPDATE_RECORDS, &updates), (&INSERT_RECORDS, &inserts)] {
        written.push(Wrote::by(link, statement, table, care).await?);
    }
    if written.iter().all(|wrote| matches!(wrote, Wrote::All)) {
        return Ok(());
    }
    expected.retain(|number, _| {
        !written.iter().any(|wrote| matches!(wrote, Wrote::These(these) if these.contains(number)))
    });
    let mut blamed: Blamed = expected.into_values().map(|(at, key)| (at, conflict(units[at], key))).collect();
    // Of several records of one unit, always the same is named.
    blamed.sort_by(|(at, error), (other_at, other)| (at, error.to_string()).cmp(&(other_at, other.to_string())));
    blamed.dedup_by_key(|(at, _)| *at);
    Stop::unless_none(blamed)
}

fn conflict(unit: &Unit, key: &RecordKey) -> CommitError {
    CommitError::Conflict { shop: unit.shop.clone(), key: key.clone() }
}
