//! Jobs as the database has them: what waits, what is parked, and what operators do with it.
//!
//! Finishing a job is part of a unit ([`crate::Finish`]). There is no state for a running job: whoever owns the partition knows
//! what it runs, and a crash leaves the job as it was.

use tradewind_model::{Json, Shop};

use crate::committer::Owned;
use crate::error::StoreError;
use crate::link::{Row, Statement, Value};
use crate::records::stored_json;
use crate::store::Store;
use crate::unit::JobKind;
use crate::usage::{Freed, freed_job};

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Jobs of one lane run in this order.
    pub seq: i64,
    /// Whose.
    pub shop: Shop,
    /// What it does.
    pub kind: JobKind,
    /// What it works on; none when it may run beside everything. A job with a lane is in no queue.
    pub lane: Option<String>,
    /// The named queue and how many of its jobs may run at once.
    pub queue: Option<(String, u32)>,
    /// 0 before 1 before 2.
    pub rank: u8,
    /// The id that whoever enqueued it knows it by.
    pub id: Option<String>,
    /// Whether it waits, and for what.
    pub state: JobState,
    /// Not before this time, 0 for at once.
    pub run_at_ms: i64,
    /// Attempts that failed.
    pub attempts: u32,
    /// Starts of attempts whose end nobody wrote down, each by another owner of the partition.
    pub starts: u32,
    /// How many of our own writes stand between it and an outside cause.
    pub depth: u32,
    /// The number of jobs that enqueued one another up to it.
    pub chain: u32,
    /// The delivery that it goes back to.
    pub delivery_seq: Option<i64>,
    /// How it is retried, as JSON; none for the default.
    pub policy: Option<Json>,
    /// What it needs to know, as JSON.
    pub payload: Option<Json>,
    /// Where it goes on from when it runs again, as JSON.
    pub checkpoint: Option<Json>,
    /// Why it is parked.
    pub reason: Option<String>,
    /// What went wrong the last time, as JSON.
    pub error: Option<Json>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// When it was parked, in milliseconds since 1970.
    pub parked_ms: Option<i64>,
}

impl Job {
    /// The partition that it lies in. Whoever ends it does so under that partition's lease.
    pub fn partition(&self) -> i64 {
        self.shop.partition_of_job(self.queue.as_ref().map(|(name, _)| name.as_str()))
    }
}

/// What a job waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// For its turn.
    Queued,
    /// For its time.
    Delayed,
    /// For a person.
    Parked,
}

impl JobState {
    /// All of them, in the order of their persisted numbers.
    pub const ALL: [Self; 3] = [Self::Queued, Self::Delayed, Self::Parked];

    /// The name that people use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Delayed => "delayed",
            Self::Parked => "parked",
        }
    }

    fn number(self) -> i64 {
        self as i64
    }
}

/// Which jobs are meant.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// This one.
    pub seq: Option<i64>,
    /// Of this app.
    pub app: Option<String>,
    /// Of this shop of the app.
    pub shop: Option<String>,
    /// In this state.
    pub state: Option<JobState>,
    /// Of this kind.
    pub kind: Option<JobKind>,
    /// In this named queue.
    pub queue: Option<String>,
    /// Parked for this reason.
    pub reason: Option<String>,
    /// With this id.
    pub id: Option<String>,
    /// Created before this time, in milliseconds since 1970.
    pub created_before_ms: Option<i64>,
}

/// A job that an operator has changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangedJob {
    /// Whose.
    pub shop: Shop,
    /// The partition that it lies in, whose owner is to be told.
    pub part: i64,
}

/// The filter's values, `$1` to `$10`, in every statement that takes it. The column comes first, because from it
/// PostgreSQL knows the value's type; `seq` is a range, because that is found by the key whatever the values are.
macro_rules! filtered {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " seq BETWEEN $1 AND $2 AND (app = $3 OR $3 IS NULL) AND (shop = $4 OR $4 IS NULL) \
             AND (state = $5 OR $5 IS NULL) AND (kind = $6 OR $6 IS NULL) AND (queue = $7 OR $7 IS NULL) \
             AND (reason = $8 OR $8 IS NULL) AND (id = $9 OR $9 IS NULL) AND (created_ms < $10 OR $10 IS NULL) ",
            $after
        )
    };
}

macro_rules! columns {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " seq, app, shop, kind, lane, queue, queue_bound, rank, id, state, run_at_ms, attempts, depth, delivery_seq, \
             CAST(policy AS text), CAST(payload AS text), reason, CAST(error AS text), created_ms, parked_ms, \
             CAST(checkpoint AS text), starts, chain ",
            $after
        )
    };
}

pub(crate) static LIST_JOBS: Statement = Statement::both(
    "list jobs",
    concat!(columns!("SELECT", "FROM jobs WHERE"), filtered!("", "AND seq > $11 ORDER BY seq LIMIT $12")),
);

pub(crate) static COUNT_JOBS: Statement = Statement::both(
    "count jobs",
    "SELECT app, shop, state, kind, COUNT(*), MIN(created_ms) FROM jobs WHERE (app = $1 OR $1 IS NULL) \
     AND (shop = $2 OR $2 IS NULL) GROUP BY app, shop, state, kind ORDER BY app, shop, state, kind",
);

pub(crate) static QUEUED_JOBS: Statement = Statement::both(
    "queued jobs",
    columns!(
        "SELECT",
        "FROM jobs WHERE state = 0 AND part = $1 AND app = $2 AND shop = $3 AND rank = $4 AND seq >= $5 \
         ORDER BY seq LIMIT $6"
    ),
);

pub(crate) static DUE_JOBS: Statement = Statement::both(
    "due jobs",
    columns!("SELECT", "FROM jobs WHERE state = 1 AND part = $1 AND run_at_ms <= $2 ORDER BY run_at_ms, seq LIMIT $3"),
);

// The conditions stand twice: on PostgreSQL another host may have put a job off between the choice and the change, and
// only the outer ones are then looked at again.
pub(crate) static WAKE_JOBS: Statement = Statement::both(
    "wake jobs",
    "UPDATE jobs SET state = 0, run_at_ms = 0 WHERE state = 1 AND run_at_ms <= $2 AND seq IN \
     (SELECT seq FROM jobs WHERE state = 1 AND part = $1 AND run_at_ms <= $2 ORDER BY run_at_ms, seq LIMIT $3) \
     RETURNING seq, app, shop, rank, lane",
);

// What cannot be read keeps everything that it has, for a person to look at.
pub(crate) static PARK_DAMAGED: Statement = Statement::both(
    "park damaged",
    "UPDATE jobs SET state = 2, run_at_ms = 0, reason = 'damaged', parked_ms = $2 WHERE seq = $1 AND state <> 2 \
     RETURNING seq",
);

pub(crate) static LAST_JOB: Statement = Statement::both("last job", "SELECT MAX(seq) FROM jobs");

// The next so many jobs that a filter chooses: where they end, and how many they are.
pub(crate) static PIECE_OF_JOBS: Statement = Statement::both(
    "piece of jobs",
    filtered!("SELECT MAX(seq), COUNT(*) FROM (SELECT seq FROM jobs WHERE", "ORDER BY seq LIMIT $11) AS piece"),
);

pub(crate) static NEXT_DUE: Statement = Statement::both(
    "next due",
    "SELECT run_at_ms FROM jobs WHERE state = 1 AND part = $1 AND run_at_ms > $2 ORDER BY run_at_ms LIMIT 1",
);

// Jumps from shop to shop along the index, whatever the number of their jobs. `(app, shop) > (p.app, p.shop)` would be
// shorter, but SQLite uses no more than `app` of it.
pub(crate) static WAITING_SHOPS: Statement = Statement::both(
    "waiting shops",
    "WITH RECURSIVE first (seq) AS ( \
       SELECT (SELECT j.seq FROM jobs j WHERE j.state = 0 AND j.part = $1 ORDER BY j.app, j.shop, j.rank, j.seq LIMIT 1) \
       UNION ALL \
       SELECT COALESCE( \
         (SELECT j.seq FROM jobs j WHERE j.state = 0 AND j.part = $1 AND j.app = p.app AND j.shop > p.shop \
          ORDER BY j.app, j.shop, j.rank, j.seq LIMIT 1), \
         (SELECT j.seq FROM jobs j WHERE j.state = 0 AND j.part = $1 AND j.app > p.app \
          ORDER BY j.app, j.shop, j.rank, j.seq LIMIT 1)) \
       FROM first JOIN jobs p ON p.seq = first.seq WHERE first.seq IS NOT NULL) \
     SELECT j.app, j.shop FROM first JOIN jobs j ON j.seq = first.seq",
);

// Parked jobs take their place again, with their attempts forgotten; waiting ones lose their delay.
pub(crate) static RETRY_JOBS: Statement = Statement::both(
    "retry jobs",
    filtered!(
        "UPDATE jobs SET state = 0, run_at_ms = 0, attempts = CASE WHEN state = 2 THEN 0 ELSE attempts END, \
         reason = NULL, parked_ms = NULL, starts = 0 WHERE",
        "AND (state = 2 OR run_at_ms > 0) RETURNING app, shop, part"
    ),
);

pub(crate) static PARK_JOBS: Statement = Statement::both(
    "park jobs",
    filtered!(
        "UPDATE jobs SET state = 2, run_at_ms = 0, reason = $11, parked_ms = $12 WHERE",
        "AND state <> 2 RETURNING app, shop, part"
    ),
);

// Only what is parked: what waits is parked first, so that nobody throws away work by a slip.
pub(crate) static PURGE_JOBS: Statement = Statement::both(
    "purge jobs",
    filtered!("DELETE FROM jobs WHERE", "AND state = 2 RETURNING app, shop, part, bytes"),
);

pub(crate) static JOBS_OF_DELIVERY: Statement =
    Statement::both("jobs of delivery", columns!("SELECT", "FROM jobs WHERE delivery_seq = $1 ORDER BY seq LIMIT $2"));

pub(crate) static JOB_BY_ID: Statement =
    Statement::both("job by id", columns!("SELECT", "FROM jobs WHERE app = $1 AND shop = $2 AND id = $3"));

/// How many values a filter has.
const FILTER_VALUES: usize = 10;

impl JobFilter {
    fn values(&self) -> Vec<Owned> {
        let text = |value: &Option<String>| Owned::Text(value.clone());
        vec![
            self.seq.unwrap_or(i64::MIN).into(),
            self.seq.unwrap_or(i64::MAX).into(),
            text(&self.app),
            text(&self.shop),
            Owned::Int(self.state.map(JobState::number)),
            Owned::Text(self.kind.map(|kind| kind.as_str().to_owned())),
            text(&self.queue),
            text(&self.reason),
            text(&self.id),
            Owned::Int(self.created_before_ms),
        ]
    }
}

/// Jobs that one statement of an operator changes. 1,000: some milliseconds, for which commits wait.
const PIECE_ROWS: i64 = 1_000;

/// A job whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WokenJob {
    /// Its number.
    pub seq: i64,
    /// Whose.
    pub shop: Shop,
    /// 0 before 1 before 2.
    pub rank: u8,
    /// Whether it has a lane.
    pub in_lane: bool,
}

/// How many jobs of a kind are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobCount {
    /// Whose.
    pub shop: Shop,
    /// In which state.
    pub state: JobState,
    /// Of which kind.
    pub kind: JobKind,
    /// How many.
    pub count: u64,
    /// When the oldest was created, in milliseconds since 1970.
    pub oldest_ms: i64,
}

impl Store {
    /// Jobs in the order of their creation, beginning behind `after`. JSON that is damaged is shown as a text which says so.
    pub async fn list_jobs(&self, filter: &JobFilter, after: i64, limit: u32) -> Result<Vec<Job>, StoreError> {
        let mut values = filter.values();
        values.extend([after.into(), i64::from(limit).into()]);
        self.read_jobs("listing jobs", &LIST_JOBS, &values, shown_json).await
    }

    /// One job.
    pub async fn job(&self, seq: i64) -> Result<Option<Job>, StoreError> {
        let filter = JobFilter { seq: Some(seq), ..JobFilter::default() };
        let mut values = filter.values();
        values.extend([i64::MIN.into(), 1.into()]);
        Ok(self.read_jobs("reading a job", &LIST_JOBS, &values, kept_json).await?.pop())
    }

    /// The unfinished job of a shop that whoever enqueued it knows by `id`.
    pub async fn job_by_id(&self, shop: &Shop, id: &str) -> Result<Option<Job>, StoreError> {
        // No stored id holds it, and PostgreSQL refuses the question.
        if id.contains('\0') {
            return Ok(None);
        }
        let values = [(&*shop.app).into(), (&*shop.id).into(), id.into()];
        Ok(self.read_jobs("reading a job", &JOB_BY_ID, &values, kept_json).await?.pop())
    }

    /// The unfinished jobs that go back to a delivery.
    pub async fn jobs_of_delivery(&self, seq: i64, limit: u32) -> Result<Vec<Job>, StoreError> {
        let values = [seq.into(), i64::from(limit).into()];
        self.read_jobs("reading a delivery's jobs", &JOBS_OF_DELIVERY, &values, shown_json).await
    }

    /// How many jobs there are, by shop, state and kind.
    pub async fn count_jobs(&self, app: Option<&str>, shop: Option<&str>) -> Result<Vec<JobCount>, StoreError> {
        let failed = |source| StoreError::database("counting jobs", source);
        let rows = self.database.fetch(&COUNT_JOBS, &[app.into(), shop.into()]).await.map_err(failed)?;
        let of_row = |row: &Row| -> Result<JobCount, StoreError> {
            Ok(JobCount {
                shop: Shop::new(row.text(0).map_err(failed)?, row.text(1).map_err(failed)?),
                state: state_of(row.int(2).map_err(failed)?)?,
                kind: kind_of(row.text(3).map_err(failed)?)?,
                count: u64::try_from(row.int(4).map_err(failed)?).unwrap_or_default(),
                oldest_ms: row.int(5).map_err(failed)?,
            })
        };
        rows.iter().map(of_row).collect()
    }

    /// A shop's queued jobs of one partition and rank in the order of `seq`, beginning with `from_seq`. One that cannot be
    /// read is parked.
    pub async fn queued_jobs(
        &self,
        part: i64,
        shop: &Shop,
        rank: u8,
        from_seq: i64,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        let values = [
            part.into(),
            (&*shop.app).into(),
            (&*shop.id).into(),
            i64::from(rank).into(),
            from_seq.into(),
            i64::from(limit).into(),
        ];
        self.readable_jobs("reading queued jobs", &QUEUED_JOBS, &values, None).await
    }

    /// Delayed jobs of a partition whose time has come, the oldest first. One that cannot be read is parked.
    pub async fn due_jobs(&self, part: i64, now_ms: i64, limit: u32) -> Result<Vec<Job>, StoreError> {
        let values = [part.into(), now_ms.into(), i64::from(limit).into()];
        self.readable_jobs("reading delayed jobs", &DUE_JOBS, &values, Some(now_ms)).await
    }

    /// Queues delayed jobs of a partition whose time has come, the oldest first and all in one commit. Answers them in the
    /// order of their numbers; fewer than `limit` when there are no more. A job that was put off meanwhile stays so.
    pub async fn wake_delayed(&self, part: i64, now_ms: i64, limit: u32) -> Result<Vec<WokenJob>, StoreError> {
        let failed = |source| StoreError::database("waking delayed jobs", source);
        let values = vec![part.into(), now_ms.into(), i64::from(limit).into()];
        let rows = self.committer.execute(&WAKE_JOBS, values).await.map_err(failed)?;
        let of_row = |row: &Row| -> sqlx::Result<WokenJob> {
            let rank = u8::try_from(row.int(3)?).unwrap_or(u8::MAX);
            let in_lane = row.maybe_text(4)?.is_some();
            Ok(WokenJob { seq: row.int(0)?, shop: Shop::new(row.text(1)?, row.text(2)?), rank, in_lane })
        };
        let mut woken = rows.iter().map(of_row).collect::<sqlx::Result<Vec<_>>>().map_err(failed)?;
        woken.sort_unstable_by_key(|job| job.seq);
        Ok(woken)
    }

    /// When the first of a partition's delayed jobs that is not due at `now_ms` is.
    pub async fn next_due(&self, part: i64, now_ms: i64) -> Result<Option<i64>, StoreError> {
        let failed = |source| StoreError::database("reading delayed jobs", source);
        let rows = self.database.fetch(&NEXT_DUE, &[part.into(), now_ms.into()]).await.map_err(failed)?;
        rows.first().map(|row| row.int(0)).transpose().map_err(failed)
    }

    /// The greatest number of a job; 0 when there is none.
    pub async fn last_job(&self) -> Result<i64, StoreError> {
        let failed = |source| StoreError::database("reading the last job", source);
        let rows = self.database.fetch(&LAST_JOB, &[]).await.map_err(failed)?;
        Ok(rows[0].maybe_int(0).map_err(failed)?.unwrap_or_default())
    }

    /// The shops that have queued jobs in a partition.
    pub async fn waiting_shops(&self, part: i64) -> Result<Vec<Shop>, StoreError> {
        let failed = |source| StoreError::database("looking for shops with jobs", source);
        let rows = self.database.fetch(&WAITING_SHOPS, &[part.into()]).await.map_err(failed)?;
        rows.iter().map(|row| Ok(Shop::new(row.text(0)?, row.text(1)?))).collect::<sqlx::Result<_>>().map_err(failed)
    }

    /// Lets parked jobs run again, and waiting ones at once. Answers each of them.
    ///
    /// Like [`Self::park_jobs`] and [`Self::purge_jobs`] it changes many jobs piece by piece, so that nobody waits for all of
    /// them: what an error interrupts is done in part, and is gone on with by doing it again.
    pub async fn retry_jobs(&self, filter: &JobFilter) -> Result<Vec<ChangedJob>, StoreError> {
        let changed = self.change_pieces(&RETRY_JOBS, filter.values(), None).await;
        changed.map_err(|source| StoreError::database("retrying jobs", source))
    }

    /// Parks jobs that wait. Answers each of them.
    pub async fn park_jobs(
        &self,
        filter: &JobFilter,
        reason: &str,
        now_ms: i64,
    ) -> Result<Vec<ChangedJob>, StoreError> {
        let mut values = filter.values();
        values.extend([reason.into(), now_ms.into()]);
        let changed = self.change_pieces(&PARK_JOBS, values, None).await;
        changed.map_err(|source| StoreError::database("parking jobs", source))
    }

    /// Deletes parked jobs for good. Answers each of them.
    pub async fn purge_jobs(&self, filter: &JobFilter) -> Result<Vec<ChangedJob>, StoreError> {
        let changed = self.change_pieces(&PURGE_JOBS, filter.values(), Some(freed_job)).await;
        changed.map_err(|source| StoreError::database("purging jobs", source))
    }

    /// Changes the jobs that `values` choose, [`PIECE_ROWS`] at a time; not those that come meanwhile.
    async fn change_pieces(
        &self,
        statement: &'static Statement,
        mut values: Vec<Owned>,
        freed: Option<Freed>,
    ) -> sqlx::Result<Vec<ChangedJob>> {
        let mut changed: Vec<ChangedJob> = Vec::new();
        // A single job is a piece of its own.
        let mut is_last = matches!(values[..], [Owned::Int(from), Owned::Int(to), ..] if from == to);
        if !is_last {
            let Some(end) = self.database.fetch(&LAST_JOB, &[]).await?[0].maybe_int(0)? else { return Ok(changed) };
            values[1] = end.into();
        }
        let end = values[1].clone();
        loop {
            let mut piece_end = None;
            if !is_last {
                let chosen = values[..FILTER_VALUES].iter().chain([&end]);
                let mut chosen: Vec<Value<'_>> = chosen.map(Owned::value).collect();
                (chosen[1], chosen[FILTER_VALUES]) = (end.value(), PIECE_ROWS.into());
                let piece = self.database.fetch(&PIECE_OF_JOBS, &chosen).await?;
                piece_end = piece[0].maybe_int(0)?;
                if piece_end.is_none() {
                    return Ok(changed);
                }
                is_last = piece[0].int(1)? < PIECE_ROWS;
            }
            values[1] = piece_end.map_or_else(|| end.clone(), Owned::from);
            for row in self.committer.run_alone(statement, values.clone(), freed).await? {
                let (app, shop) = (row.text(0)?, row.text(1)?);
                // Mostly the same as the one before, of which a copy costs nothing.
                let known = changed.last().map(|last| &last.shop);
                let known = known.filter(|last| *last.app == *app && *last.id == *shop).cloned();
                let shop = known.unwrap_or_else(|| Shop::new(app, shop));
                changed.push(ChangedJob { shop, part: row.int(2)? });
            }
            if is_last {
                return Ok(changed);
            }
            values[0] = Owned::Int(piece_end.map(|end| end.saturating_add(1)));
        }
    }

    async fn read_jobs(
        &self,
        doing: &'static str,
        statement: &'static Statement,
        values: &[Owned],
        json: ReadJson,
    ) -> Result<Vec<Job>, StoreError> {
        let values: Vec<Value<'_>> = values.iter().map(Owned::value).collect();
        let rows = self.database.fetch(statement, &values).await;
        let rows = rows.map_err(|source| StoreError::database(doing, source))?;
        rows.iter().map(|row| of_row(row, json)).collect()
    }

    /// Jobs that are to run. What cannot be read is parked, and the page is read again without it: a page that is not full
    /// tells whoever asked that there are no more.
    async fn readable_jobs(
        &self,
        doing: &'static str,
        statement: &'static Statement,
        values: &[Value<'_>],
        now_ms: Option<i64>,
    ) -> Result<Vec<Job>, StoreError> {
        let failed = |source| StoreError::database(doing, source);
        loop {
            let rows = self.database.fetch(statement, values).await.map_err(failed)?;
            let (mut jobs, mut damaged) = (Vec::with_capacity(rows.len()), Vec::new());
            for row in &rows {
                match of_row(row, kept_json) {
                    Ok(job) => jobs.push(job),
                    Err(StoreError::Damaged { .. }) => damaged.push(row.int(0).map_err(failed)?),
                    Err(error) => return Err(error),
                }
            }
            if damaged.is_empty() {
                return Ok(jobs);
            }
            for seq in damaged {
                let values = vec![seq.into(), Owned::Int(now_ms)];
                self.committer.execute(&PARK_DAMAGED, values).await.map_err(failed)?;
            }
        }
    }
}

/// How a job's JSON is read.
type ReadJson = fn(&str, i64) -> Result<Json, StoreError>;

/// As it was kept.
fn kept_json(text: &str, seq: i64) -> Result<Json, StoreError> {
    stored_json(text, || format!("the job {seq}"))
}

/// For people, who are to see a job that cannot run.
fn shown_json(text: &str, seq: i64) -> Result<Json, StoreError> {
    kept_json(text, seq).or_else(|damaged| {
        let said = Json::of(&damaged.to_string());
        said.map_err(|_| damaged)
    })
}

fn of_row(row: &Row, read_json: ReadJson) -> Result<Job, StoreError> {
    let failed = |source| StoreError::database("reading a job", source);
    let text = |at| row.maybe_text(at).map(|text| text.map(str::to_owned)).map_err(failed);
    let int = |at| row.int(at).map_err(failed);
    let seq = int(0)?;
    let json = |at| -> Result<Option<Json>, StoreError> {
        let text = row.maybe_text(at).map_err(failed)?;
        text.map(|text| read_json(text, seq)).transpose()
    };
    let count = |at| Ok(u32::try_from(int(at)?).unwrap_or(u32::MAX));
    let bound = row.maybe_int(6).map_err(failed)?.and_then(|bound| u32::try_from(bound).ok());
    Ok(Job {
        seq,
        shop: Shop::new(row.text(1).map_err(failed)?, row.text(2).map_err(failed)?),
        kind: kind_of(row.text(3).map_err(failed)?)?,
        lane: text(4)?,
        queue: text(5)?.map(|name| (name, bound.unwrap_or(1))),
        rank: u8::try_from(int(7)?).unwrap_or(u8::MAX),
        id: text(8)?,
        state: state_of(int(9)?)?,
        run_at_ms: int(10)?,
        attempts: count(11)?,
        depth: count(12)?,
        delivery_seq: row.maybe_int(13).map_err(failed)?,
        policy: json(14)?,
        payload: json(15)?,
        reason: text(16)?,
        error: json(17)?,
        created_ms: int(18)?,
        parked_ms: row.maybe_int(19).map_err(failed)?,
        checkpoint: json(20)?,
        starts: count(21)?,
        chain: count(22)?,
    })
}

fn state_of(number: i64) -> Result<JobState, StoreError> {
    let damaged = || StoreError::Damaged { what: "a job".to_owned(), reason: format!("its state is {number}") };
    JobState::ALL.into_iter().find(|state| state.number() == number).ok_or_else(damaged)
}

fn kind_of(name: &str) -> Result<JobKind, StoreError> {
    let damaged = || StoreError::Damaged { what: "a job".to_owned(), reason: format!("its kind is `{name}`") };
    JobKind::parse(name).ok_or_else(damaged)
}
