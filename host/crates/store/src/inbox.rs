//! The inbox: verified webhooks as they arrived, kept for looking at and for replay.
//!
//! They come in through the committer ([`crate::Unit::deliveries`]), which keeps each once: by the platform's delivery id, and
//! by what happened, on which topic, with which body, for platforms that send the same event under another id.

use std::collections::HashMap;

use tradewind_model::{Json, Shop};

use crate::database::Database;
use crate::error::StoreError;
use crate::link::{Kind, Row, Statement, Table};
use crate::records::stored_json;

/// A webhook as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Grows with every delivery.
    pub seq: i64,
    /// Whose.
    pub shop: Shop,
    /// `shopify` or `bigcommerce`.
    pub platform: String,
    /// The platform's id of this delivery.
    pub webhook_id: String,
    /// The platform's name of the topic.
    pub topic: String,
    /// The platform's id of what happened.
    pub event_id: Option<String>,
    /// The record that it is about, as its job has it.
    pub lane: Option<String>,
    /// Milliseconds since 1970.
    pub received_ms: i64,
    /// When it happened, in milliseconds since 1970.
    pub triggered_ms: Option<i64>,
    /// The headers that were kept, a JSON object.
    pub headers: Json,
    /// The bytes as they arrived. Empty in lists.
    pub body: Vec<u8>,
    /// How many they are.
    pub body_bytes: u64,
}

/// Which deliveries to list.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    /// Of this app.
    pub app: Option<String>,
    /// Of this shop of the app.
    pub shop: Option<String>,
    /// With this topic.
    pub topic: Option<String>,
    /// Older than this one: where the page before ended.
    pub before: Option<i64>,
}

/// The most bytes that a kept body claims to have. 64 MiB: more was never accepted, so the row is damaged.
const BODY_BYTES_MAX: u32 = 64 << 20;

pub(crate) static READ_DELIVERIES: Statement = Statement::rows(
    "read deliveries",
    &[Kind::Int],
    "WITH r (seq) AS ({rows}) \
     SELECT d.seq, d.app, d.shop, d.platform, d.webhook_id, d.topic, d.event_id, d.received_ms, d.triggered_ms, \
     CAST(d.headers AS text), d.body_bytes, d.lane, d.body FROM r, deliveries d WHERE d.seq = r.seq",
);

// Without the body: lists do not show it.
pub(crate) static LIST_DELIVERIES: Statement = Statement::both(
    "list deliveries",
    "SELECT seq, app, shop, platform, webhook_id, topic, event_id, received_ms, triggered_ms, CAST(headers AS text), \
     body_bytes, lane FROM deliveries WHERE (app = $1 OR $1 IS NULL) AND (shop = $2 OR $2 IS NULL) \
     AND (topic = $3 OR $3 IS NULL) AND seq < $4 ORDER BY seq DESC LIMIT $5",
);

pub(crate) static FIND_DELIVERY: Statement =
    Statement::both("find delivery", "SELECT seq FROM deliveries WHERE webhook_id = $1 ORDER BY seq DESC LIMIT 2");

// The next so many deliveries: where they end, and whether any is old.
pub(crate) static OLD_DELIVERIES: Statement = Statement::both(
    "old deliveries",
    "SELECT MAX(seq), MIN(received_ms) FROM (SELECT seq, received_ms FROM deliveries WHERE seq > $1 ORDER BY seq LIMIT $2) AS d",
);

// What waits or is parked still needs its body.
pub(crate) static PRUNE_DELIVERIES: Statement = Statement::both(
    "prune deliveries",
    "DELETE FROM deliveries WHERE seq > $1 AND seq <= $2 AND received_ms < $3 \
     AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.delivery_seq = deliveries.seq) \
     RETURNING app, shop, CAST(octet_length(body) + octet_length(CAST(headers AS text)) + 512 AS bigint)",
);

/// The rows of [`READ_DELIVERIES`].
pub(crate) fn table_of(seqs: &[i64]) -> Table<'static> {
    let mut table = Table::default();
    for seq in seqs {
        table.push([(*seq).into()]);
    }
    table
}

/// What [`READ_DELIVERIES`] answers; deliveries that are not there are not in it.
pub(crate) fn found(rows: Vec<Row>) -> Result<HashMap<i64, Delivery>, StoreError> {
    let failed = |source| StoreError::database("reading deliveries", source);
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let mut delivery = of_row(&row)?;
        delivery.body = decompress(row.bytes(12).map_err(failed)?, delivery.seq)?;
        found.insert(delivery.seq, delivery);
    }
    Ok(found)
}

pub(crate) async fn list(
    database: &Database,
    filter: &DeliveryFilter,
    limit: u32,
) -> Result<Vec<Delivery>, StoreError> {
    let values = [
        filter.app.as_deref().into(),
        filter.shop.as_deref().into(),
        filter.topic.as_deref().into(),
        filter.before.unwrap_or(i64::MAX).into(),
        i64::from(limit).into(),
    ];
    let rows = database.fetch(&LIST_DELIVERIES, &values).await;
    rows.map_err(|source| StoreError::database("listing deliveries", source))?.iter().map(of_row).collect()
}

fn of_row(row: &Row) -> Result<Delivery, StoreError> {
    let failed = |source| StoreError::database("reading deliveries", source);
    let text = |at| row.text(at).map(str::to_owned).map_err(failed);
    let seq = row.int(0).map_err(failed)?;
    Ok(Delivery {
        seq,
        shop: Shop::new(text(1)?, text(2)?),
        platform: text(3)?,
        webhook_id: text(4)?,
        topic: text(5)?,
        event_id: row.maybe_text(6).map_err(failed)?.map(str::to_owned),
        lane: row.maybe_text(11).map_err(failed)?.map(str::to_owned),
        received_ms: row.int(7).map_err(failed)?,
        triggered_ms: row.maybe_int(8).map_err(failed)?,
        headers: stored_json(&text(9)?, || format!("the headers of delivery {seq}"))?,
        body: Vec::new(),
        body_bytes: u64::try_from(row.int(10).map_err(failed)?).unwrap_or_default(),
    })
}

fn decompress(body: &[u8], seq: i64) -> Result<Vec<u8>, StoreError> {
    let damaged = |reason: String| StoreError::Damaged { what: format!("the body of delivery {seq}"), reason };
    let claimed = body.first_chunk::<4>().map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes));
    if claimed > BODY_BYTES_MAX {
        return Err(damaged(format!("it claims to have {claimed} bytes")));
    }
    lz4_flex::decompress_size_prepended(body).map_err(|error| damaged(error.to_string()))
}
