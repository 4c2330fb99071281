//! Usage of each shop: counters in the database that are in step with its tables, because each change of a table changes them
//! in the same transaction.
//!
//! A batch knows what each of its units did ([`crate::apply`]) and changes the counters with one statement at its end, the
//! last one of the transaction: a transaction that waits for a counter holds no lock that another one waits for which holds a
//! counter. What deletes rows outside of units, such as retention and operators, does so by [`Committer::execute_counted`].
//!
//! A shop's usage is the sum of its lines. Those of PostgreSQL's deliveries are apart, so that a delivery waits for no
//! transaction of jobs, and seldom for deliveries of another host.
//!
//! [`Committer::execute_counted`]: crate::committer::Committer::execute_counted

pub(crate) mod cache;
pub(crate) mod recount;
pub(crate) mod room;

use std::collections::BTreeMap;

use tradewind_model::Shop;

use crate::error::StoreError;
use crate::link::{Engine, Kind, Link, Row, Statement, Table};
use crate::quotas::Quotas;
use crate::store::Store;
use crate::unit::{How, JobKind, NewDelivery, NewInvocation, NewJob, Unit};

/// Bytes that a delivery takes beside its body and its headers. 512: ids, topic, digest and its entries in four indexes.
pub(crate) const DELIVERY_ROW_BYTES: i64 = 512;

/// Bytes that an entry of the invocation log takes beside its detail. 256: numbers, names and its entries in three indexes.
pub(crate) const LOG_ROW_BYTES: i64 = 256;

/// Usage of a shop, or a change of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Unfinished jobs: queued, delayed and parked.
    pub jobs: i64,
    /// Bytes of their policies, payloads and checkpoints.
    pub job_bytes: i64,
    /// Records, the host's own notes included.
    pub records: i64,
    /// Bytes of their documents.
    pub record_bytes: i64,
    /// Bytes of kept deliveries: bodies as they are compressed, headers, and 512 for each.
    pub body_bytes: i64,
    /// Bytes of the invocation log: details, and 256 for each entry.
    pub log_bytes: i64,
}

/// The number of counters.
const COUNTERS: usize = 6;

impl Usage {
    pub(crate) fn array(self) -> [i64; COUNTERS] {
        [self.jobs, self.job_bytes, self.records, self.record_bytes, self.body_bytes, self.log_bytes]
    }

    fn of_array([jobs, job_bytes, records, record_bytes, body_bytes, log_bytes]: [i64; COUNTERS]) -> Self {
        Self { jobs, job_bytes, records, record_bytes, body_bytes, log_bytes }
    }

    /// The counters of a row, beginning with column `first`.
    fn of_row(row: &Row, first: usize) -> sqlx::Result<Self> {
        let mut counters = [0; COUNTERS];
        for (at, counter) in counters.iter_mut().enumerate() {
            *counter = row.int(first + at)?;
        }
        Ok(Self::of_array(counters))
    }

    fn zip(self, other: Self, with: fn(i64, i64) -> i64) -> Self {
        let (mut counters, other) = (self.array(), other.array());
        counters.iter_mut().zip(other).for_each(|(counter, other)| *counter = with(*counter, other));
        Self::of_array(counters)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, i64::saturating_add)
    }

    /// The difference of both.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, i64::saturating_sub)
    }

    /// The counters that grow; 0 for the others.
    fn growth(self) -> Self {
        self.zip(Self::default(), i64::max)
    }

    pub(crate) fn add_job(&mut self, bytes: i64) {
        self.jobs += 1;
        self.job_bytes += bytes;
    }

    pub(crate) fn remove_job(&mut self, bytes: i64) {
        self.jobs -= 1;
        self.job_bytes -= bytes;
    }

    pub(crate) fn add_delivery(&mut self, delivery: &NewDelivery) {
        self.jobs += 1;
        self.body_bytes += len(&delivery.body) + len(delivery.headers.as_str().as_bytes()) + DELIVERY_ROW_BYTES;
    }

    pub(crate) fn add_log(&mut self, entry: &NewInvocation) {
        self.log_bytes += entry.detail.as_ref().map_or(0, |detail| len(detail.as_str().as_bytes())) + LOG_ROW_BYTES;
    }

    /// A record's document is replaced; none where there is no record.
    pub(crate) fn replace_record(&mut self, before: Option<i64>, after: Option<i64>) {
        self.records += i64::from(after.is_some()) - i64::from(before.is_some());
        self.record_bytes += after.unwrap_or_default() - before.unwrap_or_default();
    }
}

fn len(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

/// Bytes of a text, as the counters have them.
pub(crate) fn text_bytes(text: &str) -> i64 {
    len(text.as_bytes())
}

/// Bytes that a job carries when it is made.
pub(crate) fn job_bytes(job: &NewJob) -> i64 {
    let json = [&job.policy, &job.payload].into_iter().flatten();
    json.map(|json| text_bytes(json.as_str())).sum()
}

/// The change that a unit would make to its shop's usage, as far as it is known before the commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    /// The change. Of records only those that are not the host's own.
    pub usage: Usage,
    /// Jobs among them that a plugin enqueued.
    pub plugin_jobs: u32,
    /// Bytes of these.
    pub plugin_job_bytes: i64,
}

impl Growth {
    pub(crate) fn of(unit: &Unit) -> Self {
        let mut growth = Self::default();
        for delivery in &unit.deliveries {
            growth.usage.add_delivery(delivery);
        }
        unit.jobs.iter().for_each(|job| growth.add_job(job));
        unit.log.iter().for_each(|entry| growth.usage.add_log(entry));
        for write in unit.writes.iter().filter(|write| !is_own(&write.key.model)) {
            // A document that is not known is taken for an empty one.
            let before = write.expected.map(|_| write.before.as_ref().map_or(0, |doc| text_bytes(doc.as_str())));
            growth.usage.replace_record(before, write.doc.as_ref().map(|doc| text_bytes(doc.as_str())));
        }
        match unit.finish.as_ref().map(|finish| &finish.how) {
            Some(How::Done) => growth.usage.jobs -= 1,
            Some(How::Checkpoint { state }) => growth.usage.job_bytes += text_bytes(state.as_str()),
            Some(How::Started | How::Again { .. } | How::Park { .. }) | None => {}
        }
        growth
    }

    /// A job that the unit enqueues.
    pub fn add_job(&mut self, job: &NewJob) {
        let bytes = job_bytes(job);
        self.usage.add_job(bytes);
        if job.is_plugins() {
            self.plugin_jobs += 1;
            self.plugin_job_bytes += bytes;
        }
    }

    /// A job that it does not enqueue after all.
    pub fn remove_job(&mut self, job: &NewJob) {
        let bytes = job_bytes(job);
        self.usage.remove_job(bytes);
        if job.is_plugins() {
            self.plugin_jobs -= 1;
            self.plugin_job_bytes -= bytes;
        }
    }

    /// A record of this model whose document is replaced, by the bytes of both; none where there is no record.
    pub fn replace_record(&mut self, model: &str, before: Option<usize>, after: Option<usize>) {
        let bytes = |bytes: Option<usize>| bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        if !is_own(model) {
            self.usage.replace_record(bytes(before), bytes(after));
        }
    }
}

impl NewJob {
    /// True for a job that a plugin enqueued: it is bound by the share of plugins. The others are the host's own promises.
    fn is_plugins(&self) -> bool {
        self.by_plugin && matches!(self.kind, JobKind::Action | JobKind::Call)
    }
}

/// True for models of the host's own notes: counted, and never refused.
fn is_own(model: &str) -> bool {
    model.starts_with(['~', '^'])
}

/// A line of a shop as a transaction left it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    shop: Shop,
    number: i64,
    /// Grows with each change of the line.
    version: i64,
    usage: Usage,
}

macro_rules! change {
    ($line:literal) => {
        concat!(
            "WITH r (app, shop, line, jobs, job_bytes, records, record_bytes, body_bytes, log_bytes) AS ({rows}) \
             INSERT INTO usage AS u (app, shop, line, version, jobs, job_bytes, records, record_bytes, body_bytes, \
             log_bytes) SELECT app, shop, ",
            $line,
            ", 1, jobs, job_bytes, records, record_bytes, body_bytes, log_bytes FROM r WHERE true \
             ON CONFLICT (app, shop, line) DO UPDATE SET version = u.version + 1, jobs = u.jobs + excluded.jobs, \
             job_bytes = u.job_bytes + excluded.job_bytes, records = u.records + excluded.records, \
             record_bytes = u.record_bytes + excluded.record_bytes, body_bytes = u.body_bytes + excluded.body_bytes, \
             log_bytes = u.log_bytes + excluded.log_bytes \
             RETURNING app, shop, line, version, jobs, job_bytes, records, record_bytes, body_bytes, log_bytes"
        )
    };
}

// Differs because only PostgreSQL has several connections that write: those of deliveries are spread over 16 lines, so that
// hosts which take in deliveries of one shop seldom wait for one another's commit.
pub(crate) static CHANGE_USAGE: Statement = Statement::differs(
    "change usage",
    &[Kind::Text, Kind::Text, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Int],
    change!("line"),
    change!("CASE WHEN line = 0 THEN 0 ELSE 1 + pg_backend_pid() % 16 END"),
);

pub(crate) static READ_USAGE: Statement = Statement::both(
    "read usage",
    "SELECT app, shop, line, version, jobs, job_bytes, records, record_bytes, body_bytes, log_bytes FROM usage \
     WHERE app = $1 AND shop = $2",
);

macro_rules! sums {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " CAST(COALESCE(SUM(jobs), 0) AS bigint) AS jobs, CAST(COALESCE(SUM(job_bytes), 0) AS bigint) AS job_bytes, \
             CAST(COALESCE(SUM(records), 0) AS bigint) AS records, \
             CAST(COALESCE(SUM(record_bytes), 0) AS bigint) AS record_bytes, \
             CAST(COALESCE(SUM(body_bytes), 0) AS bigint) AS body_bytes, \
             CAST(COALESCE(SUM(log_bytes), 0) AS bigint) AS log_bytes ",
            $after
        )
    };
}
pub(crate) use sums;

pub(crate) static TOTAL_USAGE: Statement = Statement::both("total usage", sums!("SELECT", "FROM usage"));

macro_rules! fullest {
    ($greatest:literal) => {
        concat!(
            "SELECT app, shop, jobs, job_bytes, records, record_bytes, body_bytes, log_bytes, ",
            $greatest,
            "(jobs * 1000 / $1, job_bytes * 1000 / $2, records * 1000 / $3, record_bytes * 1000 / $4, \
             body_bytes * 1000 / $5, log_bytes * 1000 / $6) AS share FROM (",
            sums!("SELECT app, shop,", "FROM usage"),
            " WHERE (app = $7 OR $7 IS NULL) AND (shop = $8 OR $8 IS NULL) GROUP BY app, shop) AS shops \
             ORDER BY share DESC, app, shop LIMIT $9"
        )
    };
}

// Differs because the databases have different names for the largest of several values.
pub(crate) static FULLEST_SHOPS: Statement =
    Statement::differs("fullest shops", &[], fullest!("MAX"), fullest!("GREATEST"));

/// Adds up what several units did, and writes it. The lines as they are afterwards are added to `changed`.
pub(crate) async fn change(
    link: &mut Link<'_>,
    deltas: impl IntoIterator<Item = (&Shop, i64, Usage)>,
    changed: &mut Vec<Line>,
) -> sqlx::Result<()> {
    let is_apart = link.engine() == Engine::Postgres;
    // In the order of their keys: two transactions that change several take them in one order.
    let mut lines: BTreeMap<(&Shop, i64), Usage> = BTreeMap::new();
    for (shop, line, usage) in deltas {
        if usage != Usage::default() {
            let sum = lines.entry((shop, if is_apart { line } else { 0 })).or_default();
            *sum = sum.plus(usage);
        }
    }
    let mut table = Table::default();
    for ((shop, line), usage) in &lines {
        let [jobs, job_bytes, records, record_bytes, body_bytes, log_bytes] = usage.array();
        table.push([
            (&*shop.app).into(),
            (&*shop.id).into(),
            (*line).into(),
            jobs.into(),
            job_bytes.into(),
            records.into(),
            record_bytes.into(),
            body_bytes.into(),
            log_bytes.into(),
        ]);
    }
    for row in link.fetch_rows(&CHANGE_USAGE, &table).await? {
        changed.push(line_of(&row)?);
    }
    Ok(())
}

/// A row of [`CHANGE_USAGE`] or [`READ_USAGE`].
fn line_of(row: &Row) -> sqlx::Result<Line> {
    let shop = Shop::new(row.text(0)?, row.text(1)?);
    Ok(Line { shop, number: row.int(2)?, version: row.int(3)?, usage: Usage::of_row(row, 4)? })
}

/// Reads from a row of a statement's answer the deletion that it reports.
pub(crate) type Freed = fn(&Row) -> sqlx::Result<(Shop, Usage)>;

/// A delivery, by `app, shop, bytes`.
pub(crate) fn freed_delivery(row: &Row) -> sqlx::Result<(Shop, Usage)> {
    Ok((shop_of(row)?, Usage { body_bytes: -row.int(2)?, ..Usage::default() }))
}

/// An entry of the log, by `app, shop, bytes`.
pub(crate) fn freed_log(row: &Row) -> sqlx::Result<(Shop, Usage)> {
    Ok((shop_of(row)?, Usage { log_bytes: -row.int(2)?, ..Usage::default() }))
}

/// A record, by `app, shop, bytes`.
pub(crate) fn freed_record(row: &Row) -> sqlx::Result<(Shop, Usage)> {
    Ok((shop_of(row)?, Usage { records: -1, record_bytes: -row.int(2)?, ..Usage::default() }))
}

/// A job, by `app, shop, part, bytes`.
pub(crate) fn freed_job(row: &Row) -> sqlx::Result<(Shop, Usage)> {
    Ok((shop_of(row)?, Usage { jobs: -1, job_bytes: -row.int(3)?, ..Usage::default() }))
}

fn shop_of(row: &Row) -> sqlx::Result<Shop> {
    Ok(Shop::new(row.text(0)?, row.text(1)?))
}

/// A shop's usage and how full it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShopUsage {
    /// The shop.
    pub shop: Shop,
    /// Its usage.
    pub usage: Usage,
    /// Of the quota that is the fullest, in thousandths.
    pub share_permille: i64,
}

impl Store {
    /// Reads a shop's usage from the database.
    pub async fn usage(&self, shop: &Shop) -> Result<Usage, StoreError> {
        let lines = self.read_lines(shop).await?;
        Ok(lines.iter().fold(Usage::default(), |sum, line| sum.plus(line.usage)))
    }

    /// The usage of all shops together.
    pub async fn total_usage(&self) -> Result<Usage, StoreError> {
        let failed = |source| StoreError::database("reading the usage of all shops", source);
        let rows = self.database.fetch(&TOTAL_USAGE, &[]).await.map_err(failed)?;
        Usage::of_row(&rows[0], 0).map_err(failed)
    }

    /// The shops that are the nearest to one of the quotas, the fullest first. Only those of an app, or one shop of it, when
    /// these are named.
    pub async fn fullest_shops(
        &self,
        quotas: &Quotas,
        app: Option<&str>,
        shop: Option<&str>,
        limit: u32,
    ) -> Result<Vec<ShopUsage>, StoreError> {
        let failed = |source| StoreError::database("reading the usage of shops", source);
        let max = |max: u64| i64::try_from(max.max(1)).unwrap_or(i64::MAX).into();
        let values = [
            max(quotas.shop_jobs_waiting_max),
            max(quotas.shop_job_bytes_max),
            max(quotas.shop_records_max),
            max(quotas.shop_record_bytes_max),
            max(quotas.shop_body_bytes_max),
            max(quotas.shop_log_bytes_max),
            app.into(),
            shop.into(),
            i64::from(limit).into(),
        ];
        let rows = self.database.fetch(&FULLEST_SHOPS, &values).await.map_err(failed)?;
        let of_row = |row: &Row| -> sqlx::Result<ShopUsage> {
            Ok(ShopUsage { shop: shop_of(row)?, usage: Usage::of_row(row, 2)?, share_permille: row.int(8)? })
        };
        rows.iter().map(of_row).collect::<sqlx::Result<_>>().map_err(failed)
    }

    pub(crate) async fn read_lines(&self, shop: &Shop) -> Result<Vec<Line>, StoreError> {
        let failed = |source| StoreError::database("reading a shop's usage", source);
        let rows =
            self.database.fetch(&READ_USAGE, &[(&*shop.app).into(), (&*shop.id).into()]).await.map_err(failed)?;
        rows.iter().map(line_of).collect::<sqlx::Result<_>>().map_err(failed)
    }
}
