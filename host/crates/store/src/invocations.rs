//! The invocation log: what ran, for which delivery, how long, and what became of it. Written by units
//! ([`crate::Unit::log`]), kept for a time.

use tradewind_model::{Json, Shop};

use crate::error::StoreError;
use crate::link::{Row, Statement};
use crate::records::stored_json;
use crate::store::Store;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedInvocation {
    /// Grows with every entry.
    pub seq: i64,
    /// Whose.
    pub shop: Shop,
    /// When it was committed, in milliseconds since 1970.
    pub at_ms: i64,
    /// The delivery that it goes back to.
    pub delivery_seq: Option<i64>,
    /// The job that it was.
    pub job_seq: Option<i64>,
    /// The plugin; none when no plugin ran.
    pub plugin: Option<String>,
    /// The plugin's version.
    pub version: Option<String>,
    /// The action.
    pub action: Option<String>,
    /// `run` or `success`.
    pub phase: Option<String>,
    /// `ok`, an error's code, or why nothing ran.
    pub outcome: String,
    /// The result or the error.
    pub detail: Option<Json>,
    /// From 1.
    pub attempt: u32,
    /// How long it took, in microseconds.
    pub duration_us: i64,
}

macro_rules! columns {
    ($after:literal) => {
        concat!(
            "SELECT seq, app, shop, at_ms, delivery_seq, job_seq, plugin, version, action, phase, outcome, \
             CAST(detail AS text), attempt, duration_us FROM invocations ",
            $after
        )
    };
}

pub(crate) static OF_DELIVERY: Statement =
    Statement::both("invocations of delivery", columns!("WHERE delivery_seq = $1 ORDER BY seq LIMIT $2"));

pub(crate) static OF_JOB_ID: Statement = Statement::both(
    "invocations of job id",
    columns!("WHERE app = $1 AND shop = $2 AND job_id = $3 ORDER BY seq DESC LIMIT $4"),
);

pub(crate) static PRUNE_INVOCATIONS: Statement = Statement::both(
    "prune invocations",
    "DELETE FROM invocations WHERE seq IN (SELECT seq FROM invocations ORDER BY seq LIMIT $1) AND at_ms < $2 \
     RETURNING app, shop, CAST(COALESCE(octet_length(CAST(detail AS text)), 0) + 256 AS bigint)",
);

impl Store {
    /// What ran for a delivery, the oldest first.
    pub async fn invocations_of_delivery(&self, seq: i64, limit: u32) -> Result<Vec<LoggedInvocation>, StoreError> {
        let rows = self.database.fetch(&OF_DELIVERY, &[seq.into(), i64::from(limit).into()]).await;
        let rows = rows.map_err(|source| StoreError::database("reading the invocation log", source))?;
        rows.iter().map(of_row).collect()
    }

    /// What ran for a job of this id, the newest first.
    pub async fn invocations_of_job(
        &self,
        shop: &Shop,
        id: &str,
        limit: u32,
    ) -> Result<Vec<LoggedInvocation>, StoreError> {
        // No stored id holds it, and PostgreSQL refuses the question.
        if id.contains('\0') {
            return Ok(Vec::new());
        }
        let values = [(&*shop.app).into(), (&*shop.id).into(), id.into(), i64::from(limit).into()];
        let rows = self.database.fetch(&OF_JOB_ID, &values).await;
        let rows = rows.map_err(|source| StoreError::database("reading the invocation log", source))?;
        rows.iter().map(of_row).collect()
    }
}

fn of_row(row: &Row) -> Result<LoggedInvocation, StoreError> {
    let failed = |source| StoreError::database("reading the invocation log", source);
    let text = |at| row.maybe_text(at).map(|text| text.map(str::to_owned)).map_err(failed);
    let seq = row.int(0).map_err(failed)?;
    let detail = row.maybe_text(11).map_err(failed)?;
    Ok(LoggedInvocation {
        seq,
        shop: Shop::new(row.text(1).map_err(failed)?, row.text(2).map_err(failed)?),
        at_ms: row.int(3).map_err(failed)?,
        delivery_seq: row.maybe_int(4).map_err(failed)?,
        job_seq: row.maybe_int(5).map_err(failed)?,
        plugin: text(6)?,
        version: text(7)?,
        action: text(8)?,
        phase: text(9)?,
        outcome: row.text(10).map_err(failed)?.to_owned(),
        detail: detail.map(|detail| stored_json(detail, || format!("the log entry {seq}"))).transpose()?,
        attempt: u32::try_from(row.int(12).map_err(failed)?).unwrap_or(u32::MAX),
        duration_us: row.int(13).map_err(failed)?,
    })
}
