//! Repair of usage counters that differ from the tables. Only changes by hand, outside of the store, can cause that.
//!
//! One statement counts a shop's rows and reads its counters, both from the same snapshot. The difference is then added to
//! the counters: commits that come in between change both sides alike, so no commit waits while rows are counted.

use tradewind_model::Shop;

use super::{Usage, shop_of, sums};
use crate::committer::Owned;
use crate::error::StoreError;
use crate::link::{Row, Statement};
use crate::store::Store;

macro_rules! count {
    ($before:literal, $after:literal) => {
        concat!(
            "SELECT j.n, j.bytes, r.n, r.bytes, d.bytes, i.bytes, u.jobs, u.job_bytes, u.records, u.record_bytes, \
             u.body_bytes, u.log_bytes FROM \
             (SELECT COUNT(*) AS n, CAST(COALESCE(SUM(bytes), 0) AS bigint) AS bytes FROM ( \
                SELECT q.bytes FROM partitions p JOIN jobs q ON q.part = p.id WHERE q.state = 0 AND q.app = $1 AND q.shop = $2 \
                UNION ALL SELECT bytes FROM jobs WHERE state = 1 AND app = $1 AND shop = $2 \
                UNION ALL SELECT bytes FROM jobs WHERE state = 2 AND app = $1 AND shop = $2) AS all_jobs) AS j, \
             (SELECT COUNT(*) AS n, CAST(COALESCE(SUM(octet_length(",
            $before,
            "doc",
            $after,
            ")), 0) AS bigint) AS bytes FROM records WHERE app = $1 AND shop = $2) AS r, \
             (SELECT CAST(COALESCE(SUM(octet_length(body) + octet_length(",
            $before,
            "headers",
            $after,
            ") + 512), 0) AS bigint) AS bytes FROM deliveries WHERE app = $1 AND shop = $2) AS d, \
             (SELECT CAST(COALESCE(SUM(COALESCE(octet_length(",
            $before,
            "detail",
            $after,
            "), 0) + 256), 0) AS bigint) AS bytes FROM invocations WHERE app = $1 AND shop = $2) AS i, (",
            sums!("SELECT", "FROM usage WHERE app = $1 AND shop = $2"),
            ") AS u"
        )
    };
}

// Differs because SQLite knows the length of a text without reading it, unless the text is converted, and PostgreSQL has no
// length of JSON.
pub(crate) static RECOUNT: Statement = Statement::differs("recount", &[], count!("", ""), count!("CAST(", " AS text)"));

pub(crate) static NEXT_SHOPS: Statement = Statement::both(
    "next shops",
    "SELECT app, shop FROM usage WHERE app > $1 OR (app = $1 AND shop > $2) GROUP BY app, shop ORDER BY app, shop LIMIT $3",
);

// A row for the transaction that adds it to the counters.
pub(crate) static DRIFT: Statement = Statement::both(
    "drift",
    "SELECT CAST($1 AS text), CAST($2 AS text), CAST($3 AS bigint), CAST($4 AS bigint), CAST($5 AS bigint), \
     CAST($6 AS bigint), CAST($7 AS bigint), CAST($8 AS bigint)",
);

/// The outcome of a recount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recount {
    /// The shop.
    pub shop: Shop,
    /// Its usage, counted.
    pub counted: Usage,
    /// The difference that its counters lacked.
    pub drift: Usage,
}

impl Store {
    /// Counts what a shop keeps, without changing anything.
    pub async fn count_usage(&self, shop: &Shop) -> Result<Recount, StoreError> {
        let failed = |source| StoreError::database("counting what a shop keeps", source);
        let rows = self.database.fetch(&RECOUNT, &[(&*shop.app).into(), (&*shop.id).into()]).await.map_err(failed)?;
        let counted = Usage::of_row(&rows[0], 0).map_err(failed)?;
        let known = Usage::of_row(&rows[0], 6).map_err(failed)?;
        Ok(Recount { shop: shop.clone(), counted, drift: counted.minus(known) })
    }

    /// Counts what a shop keeps, and puts its counters right.
    pub async fn recount(&self, shop: &Shop) -> Result<Recount, StoreError> {
        let recount = self.count_usage(shop).await?;
        if recount.drift != Usage::default() {
            let mut values = vec![(&*shop.app).into(), (&*shop.id).into()];
            values.extend(recount.drift.array().map(Owned::from));
            let drift = |row: &Row| Ok((shop_of(row)?, Usage::of_row(row, 2)?));
            let corrected = self.committer.execute_counted(&DRIFT, values, drift).await;
            corrected.map_err(|source| StoreError::database("correcting a shop's usage", source))?;
        }
        Ok(recount)
    }

    /// Shops that keep something, in order, behind `after`.
    pub async fn shops_with_usage(&self, after: Option<&Shop>, limit: u32) -> Result<Vec<Shop>, StoreError> {
        let failed = |source| StoreError::database("listing shops", source);
        let (app, shop) = after.map_or(("", ""), |shop| (&*shop.app, &*shop.id));
        let rows = self.database.fetch(&NEXT_SHOPS, &[app.into(), shop.into(), i64::from(limit).into()]).await;
        rows.map_err(failed)?.iter().map(shop_of).collect::<sqlx::Result<_>>().map_err(failed)
    }
}
