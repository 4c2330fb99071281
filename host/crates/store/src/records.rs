//! Records: documents by app, shop, model and id, with the version that a commit checks.

use std::collections::HashMap;

use tradewind_model::{Json, RecordKey, Shop};

use crate::error::StoreError;
use crate::link::{Kind, Row, Statement, Table};

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Grows with every write, and is never used twice for the same key.
    pub version: i64,
    /// The document, without `id`.
    pub doc: Json,
    /// When the platform says that it changed, in microseconds since 1970.
    pub platform_updated_us: Option<i64>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970.
    pub updated_ms: i64,
}

pub(crate) static READ_RECORDS: Statement = Statement::rows(
    "read records",
    &[Kind::Text, Kind::Text, Kind::Text, Kind::Text],
    "WITH r (app, shop, model, id) AS ({rows}) \
     SELECT c.app, c.shop, c.model, c.id, c.version, CAST(c.doc AS text), c.platform_updated_us, c.created_ms, c.updated_ms \
     FROM r, records c WHERE c.app = r.app AND c.shop = r.shop AND c.model = r.model AND c.id = r.id",
);

/// The rows of [`READ_RECORDS`].
pub(crate) fn table_of(keys: &[(Shop, RecordKey)]) -> Table<'_> {
    let mut table = Table::default();
    for (shop, key) in keys {
        table.push([&*shop.app, &*shop.id, &*key.model, &*key.id].map(Into::into));
    }
    table
}

/// What [`READ_RECORDS`] answers; records that are not there are not in it.
pub(crate) fn found(rows: Vec<Row>) -> Result<HashMap<(Shop, RecordKey), Stored>, StoreError> {
    let failed = |source| StoreError::database("reading records", source);
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let text = |at| row.text(at).map_err(failed);
        let shop = Shop::new(text(0)?, text(1)?);
        let key = RecordKey::new(text(2)?, text(3)?);
        let doc = stored_json(text(5)?, || format!("the record `{key}` of `{shop}`"))?;
        let stored = Stored {
            version: row.int(4).map_err(failed)?,
            doc,
            platform_updated_us: row.maybe_int(6).map_err(failed)?,
            created_ms: row.int(7).map_err(failed)?,
            updated_ms: row.int(8).map_err(failed)?,
        };
        found.insert((shop, key), stored);
    }
    Ok(found)
}

/// JSON that we once wrote.
pub(crate) fn stored_json(text: &str, what: impl FnOnce() -> String) -> Result<Json, StoreError> {
    Json::parse(text).map_err(|error| StoreError::Damaged { what: what(), reason: error.to_string() })
}

// What a host leaves for itself beside records, such as that one was deleted, has a model that begins with `~`.
pub(crate) static PRUNE_NOTES: Statement = Statement::both(
    "prune notes",
    "DELETE FROM records WHERE (app, shop, model, id) IN (SELECT app, shop, model, id FROM records \
     WHERE model >= '~' AND updated_ms < $2 ORDER BY updated_ms LIMIT $1) \
     RETURNING app, shop, CAST(octet_length(CAST(doc AS text)) AS bigint)",
);
