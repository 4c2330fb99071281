//! The work of a batch: the jobs that it finishes, the deliveries and jobs that it brings, the log of what ran.

use std::collections::{HashMap, HashSet};

use tradewind_model::{Json, Shop};

use super::{Blamed, Care, Numbers, Stop, Wrote};
use crate::link::{Kind, Link, Statement, Table, Value};
use crate::unit::{CommitError, Committed, Finish, How, Ingested, OnDuplicate, Unit};
use crate::usage::{Usage, job_bytes, text_bytes};

pub(crate) static INSERT_DELIVERIES: Statement = Statement::rows(
    "insert deliveries",
    &[
        Kind::Int,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Bytes,
        Kind::Int,
        Kind::Int,
        Kind::Json,
        Kind::Int,
        Kind::Bytes,
    ],
    "WITH r (seq, app, shop, platform, webhook_id, topic, event_id, lane, body_sha256, received_ms, triggered_ms, headers, \
     body_bytes, body) AS ({rows}) \
     INSERT INTO deliveries (seq, app, shop, platform, webhook_id, topic, event_id, lane, body_sha256, received_ms, \
     triggered_ms, headers, body_bytes, body) SELECT * FROM r WHERE true ON CONFLICT DO NOTHING RETURNING seq",
);

/// Those of some deliveries whose body came first for another shop of the app.
pub(crate) static REPLAYED_BODIES: Statement = Statement::rows(
    "find replayed bodies",
    &[Kind::Int, Kind::Text, Kind::Text, Kind::Bytes],
    "WITH r (seq, app, shop, body_sha256) AS ({rows}) SELECT r.seq FROM r WHERE r.shop <> (SELECT d.shop \
     FROM deliveries d WHERE d.app = r.app AND d.body_sha256 = r.body_sha256 ORDER BY d.seq LIMIT 1)",
);

pub(crate) static INSERT_JOBS: Statement = Statement::rows(
    "insert jobs",
    &[
        Kind::Int,
        Kind::Text,
        Kind::Text,
        Kind::Int,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Int,
        Kind::Int,
        Kind::Text,
        Kind::Int,
        Kind::Int,
        Kind::Int,
        Kind::Int,
        Kind::Int,
        Kind::Int,
        Kind::Json,
        Kind::Json,
        Kind::Int,
        Kind::Text,
        Kind::Int,
    ],
    "WITH r (seq, app, shop, part, kind, lane, queue, queue_bound, rank, id, state, run_at_ms, depth, chain, bytes, \
     delivery_seq, policy, payload, created_ms, reason, parked_ms) AS ({rows}) \
     INSERT INTO jobs (seq, app, shop, part, kind, lane, queue, queue_bound, rank, id, state, run_at_ms, attempts, depth, \
     chain, bytes, delivery_seq, policy, payload, created_ms, reason, parked_ms) \
     SELECT seq, app, shop, part, kind, lane, queue, queue_bound, rank, id, state, run_at_ms, 0, depth, chain, bytes, \
     delivery_seq, policy, payload, created_ms, reason, parked_ms FROM r WHERE true ON CONFLICT DO NOTHING RETURNING seq",
);

pub(crate) static DELETE_JOBS: Statement = Statement::rows(
    "delete jobs",
    &[Kind::Int],
    "WITH r (seq) AS ({rows}) DELETE FROM jobs WHERE seq IN (SELECT seq FROM r) AND state <> 2 RETURNING seq, bytes",
);

pub(crate) static UPDATE_JOBS: Statement = Statement::rows(
    "update jobs",
    &[Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Text, Kind::Json, Kind::Int],
    "WITH r (seq, state, run_at_ms, attempts, reason, error, parked_ms) AS ({rows}) \
     UPDATE jobs SET state = CASE WHEN jobs.lane IS NULL AND r.state = 0 THEN 1 ELSE r.state END, \
     run_at_ms = r.run_at_ms, attempts = r.attempts, reason = r.reason, error = COALESCE(r.error, jobs.error), \
     parked_ms = r.parked_ms, starts = 0 FROM r WHERE jobs.seq = r.seq AND jobs.state <> 2 RETURNING jobs.seq",
);

pub(crate) static START_JOBS: Statement = Statement::rows(
    "start jobs",
    &[Kind::Int],
    "WITH r (seq) AS ({rows}) UPDATE jobs SET starts = jobs.starts + 1 FROM r \
     WHERE jobs.seq = r.seq AND jobs.state <> 2 RETURNING jobs.seq",
);

pub(crate) static CHECKPOINT_JOBS: Statement = Statement::rows(
    "checkpoint jobs",
    &[Kind::Int, Kind::Json, Kind::Int],
    "WITH r (seq, checkpoint, bytes) AS ({rows}) UPDATE jobs SET checkpoint = r.checkpoint, bytes = r.bytes FROM r \
     WHERE jobs.seq = r.seq AND jobs.state <> 2 RETURNING jobs.seq",
);

// What a job carries, and what of it is its checkpoint.
pub(crate) static JOB_BYTES: Statement = Statement::rows(
    "job bytes",
    &[Kind::Int],
    "WITH r (seq) AS ({rows}) SELECT j.seq, j.bytes, \
     CAST(COALESCE(octet_length(CAST(j.checkpoint AS text)), 0) AS bigint) FROM r, jobs j WHERE j.seq = r.seq",
);

pub(crate) static CANCEL_JOBS: Statement = Statement::rows(
    "cancel jobs",
    &[Kind::Text, Kind::Text, Kind::Text],
    "WITH r (app, shop, id) AS ({rows}) DELETE FROM jobs WHERE seq IN (SELECT j.seq FROM r, jobs j \
     WHERE j.app = r.app AND j.shop = r.shop AND j.id = r.id) RETURNING app, shop, id, bytes",
);

pub(crate) static INSERT_INVOCATIONS: Statement = Statement::rows(
    "insert invocations",
    &[
        Kind::Int,
        Kind::Text,
        Kind::Text,
        Kind::Int,
        Kind::Int,
        Kind::Int,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Text,
        Kind::Json,
        Kind::Int,
        Kind::Int,
    ],
    "WITH r (seq, app, shop, at_ms, delivery_seq, job_seq, job_id, plugin, version, action, phase, outcome, detail, \
     attempt, duration_us) AS ({rows}) \
     INSERT INTO invocations (seq, app, shop, at_ms, delivery_seq, job_seq, job_id, plugin, version, action, phase, \
     outcome, detail, attempt, duration_us) SELECT * FROM r",
);

/// Deletes the jobs that are done and puts the others where they wait.
pub(super) async fn finish_jobs(
    link: &mut Link<'_>,
    units: &[&Unit],
    care: Care,
    usage: &mut [Usage],
) -> Result<(), Stop> {
    let carried = carried_by_checkpointed(link, units).await?;
    let (mut done, mut started) = (Table::default(), Table::default());
    let (mut changed, mut checkpoints) = (Table::default(), Table::default());
    for (at, unit) in units.iter().enumerate() {
        let Some(Finish { job, how }) = &unit.finish else { continue };
        let (state, run_at_ms, attempts, reason, error) = match how {
            How::Done => {
                done.push([(*job).into()]);
                continue;
            }
            How::Started => {
                started.push([(*job).into()]);
                continue;
            }
            How::Checkpoint { state } => {
                let (bytes, checkpoint) = carried.get(job).copied().unwrap_or_default();
                let grown = text_bytes(state.as_str()) - checkpoint;
                usage[at].job_bytes += grown;
                checkpoints.push([(*job).into(), state.as_str().into(), (bytes + grown).into()]);
                continue;
            }
            // A job with a lane waits in its place, so that whoever reads the queue sees that the lane is blocked; the
            // statement makes it 1 for one without.
            How::Again { attempts, run_at_ms, error } => (0, *run_at_ms, *attempts, None, error),
            How::Park { attempts, reason, error } => (2, 0, *attempts, Some(reason.as_str()), error),
        };
        changed.push([
            (*job).into(),
            state.into(),
            run_at_ms.into(),
            i64::from(attempts).into(),
            reason.into(),
            error.as_ref().map(Json::as_str).into(),
            (state == 2).then_some(unit.now_ms).into(),
        ]);
    }
    let mut deleted = HashMap::new();
    for row in link.fetch_rows(&DELETE_JOBS, &done).await? {
        deleted.insert(row.int(0)?, row.int(1)?);
    }
    if care == Care::Count && deleted.len() < done.len() {
        return Err(Stop::Doubt);
    }
    let mut found = vec![Wrote::These(deleted.keys().copied().collect())];
    for (statement, table) in [(&UPDATE_JOBS, &changed), (&CHECKPOINT_JOBS, &checkpoints), (&START_JOBS, &started)] {
        found.push(Wrote::by(link, statement, table, care).await?);
    }
    let mut blamed = Blamed::new();
    for (at, unit) in units.iter().enumerate() {
        let Some(finish) = &unit.finish else { continue };
        if let Some(bytes) = deleted.get(&finish.job) {
            usage[at].remove_job(*bytes);
        }
        // No two units of a batch finish the same job.
        if !found.iter().any(|found| found.contains(finish.job)) {
            blamed.push((at, CommitError::JobGone { job: finish.job }));
        }
    }
    Stop::unless_none(blamed)
}

/// The jobs that the units make checkpoints of: what they carry, and what of it is the checkpoint before.
async fn carried_by_checkpointed(link: &mut Link<'_>, units: &[&Unit]) -> Result<HashMap<i64, (i64, i64)>, Stop> {
    let mut table = Table::default();
    for finish in units.iter().filter_map(|unit| unit.finish.as_ref()) {
        if matches!(finish.how, How::Checkpoint { .. }) {
            table.push([finish.job.into()]);
        }
    }
    let mut carried = HashMap::new();
    for row in link.fetch_rows(&JOB_BYTES, &table).await? {
        carried.insert(row.int(0)?, (row.int(1)?, row.int(2)?));
    }
    Ok(carried)
}

/// Counts what came in: jobs that are not there twice, deliveries that are no duplicates, entries of the log.
pub(super) fn count_new(unit: &Unit, committed: &Committed, usage: &mut Usage) {
    for (delivery, ingested) in unit.deliveries.iter().zip(&committed.deliveries) {
        if matches!(ingested, Ingested::New { .. } | Ingested::Parked { .. }) {
            usage.add_delivery(delivery);
        }
    }
    for (job, seq) in unit.jobs.iter().zip(&committed.jobs) {
        if seq.is_some() {
            usage.add_job(job_bytes(job));
        }
    }
    unit.log.iter().for_each(|entry| usage.add_log(entry));
}

pub(super) async fn cancel_jobs(
    link: &mut Link<'_>,
    units: &[&Unit],
    usage: &mut [Usage],
) -> Result<Vec<Vec<bool>>, Stop> {
    let mut table = Table::default();
    for unit in units {
        for id in &unit.cancels {
            table.push([(&*unit.shop.app).into(), (&*unit.shop.id).into(), id.as_str().into()]);
        }
    }
    let mut found = HashMap::new();
    for row in link.fetch_rows(&CANCEL_JOBS, &table).await? {
        found.insert([row.text(0)?, row.text(1)?, row.text(2)?].map(str::to_owned), row.int(3)?);
    }
    let was_there = |shop: &Shop, id: &str| found.get(&[&*shop.app, &*shop.id, id].map(str::to_owned)).copied();
    let mut cancelled = Vec::with_capacity(units.len());
    for (unit, usage) in units.iter().zip(usage) {
        // The same id twice in one unit takes back one job.
        let freed: HashMap<_, _> =
            unit.cancels.iter().filter_map(|id| Some((id, was_there(&unit.shop, id)?))).collect();
        for bytes in freed.values() {
            usage.remove_job(*bytes);
        }
        cancelled.push(unit.cancels.iter().map(|id| freed.contains_key(id)).collect());
    }
    Ok(cancelled)
}

pub(super) async fn write_deliveries_and_jobs(
    link: &mut Link<'_>,
    units: &[&Unit],
    care: Care,
    committed: &mut [Committed],
    numbers: &mut Numbers,
) -> Result<(), Stop> {
    let new = insert_deliveries(link, units, care, committed, numbers).await?;
    let replayed = replayed(link, units, committed, &new).await?;
    let mut table = Table::default();
    for (unit, committed) in units.iter().zip(&mut *committed) {
        for (delivery, ingested) in unit.deliveries.iter().zip(&mut committed.deliveries) {
            let Ingested::New { seq, job } = *ingested else { continue };
            if !new.contains(seq) {
                *ingested = Ingested::Duplicate;
                continue;
            }
            let reason = delivery.parked_if_replayed.filter(|_| replayed.contains(&seq));
            if reason.is_some() {
                *ingested = Ingested::Parked { seq, job };
            }
            table.push([
                job.into(),
                (&*unit.shop.app).into(),
                (&*unit.shop.id).into(),
                unit.shop.partition().into(),
                "delivery".into(),
                delivery.lane.as_deref().into(),
                Value::Text(None),
                Value::Int(None),
                1.into(),
                Value::Text(None),
                if reason.is_some() { 2 } else { 0 }.into(),
                0.into(),
                i64::from(delivery.depth).into(),
                0.into(),
                0.into(),
                seq.into(),
                Value::Text(None),
                Value::Text(None),
                unit.now_ms.into(),
                reason.into(),
                reason.map(|_| unit.now_ms).into(),
            ]);
        }
        for (job, seq) in unit.jobs.iter().zip(&committed.jobs) {
            let delayed = job.run_at_ms > unit.now_ms;
            table.push([
                (*seq).into(),
                (&*unit.shop.app).into(),
                (&*unit.shop.id).into(),
                job.partition(&unit.shop).into(),
                job.kind.as_str().into(),
                job.lane.as_deref().into(),
                job.queue.as_ref().map(|(name, _)| name.as_str()).into(),
                job.queue.as_ref().map(|(_, bound)| i64::from(*bound)).into(),
                i64::from(job.rank).into(),
                job.id.as_deref().into(),
                i64::from(delayed).into(),
                if delayed { job.run_at_ms } else { 0 }.into(),
                i64::from(job.depth).into(),
                i64::from(job.chain).into(),
                job_bytes(job).into(),
                job.delivery_seq.into(),
                job.policy.as_ref().map(Json::as_str).into(),
                job.payload.as_ref().map(Json::as_str).into(),
                unit.now_ms.into(),
                Value::Text(None),
                Value::Int(None),
            ]);
        }
    }
    let inserted = Wrote::by(link, &INSERT_JOBS, &table, care).await?;
    let mut blamed = Blamed::new();
    for (at, (unit, committed)) in units.iter().zip(committed).enumerate() {
        for (job, seq) in unit.jobs.iter().zip(&mut committed.jobs) {
            if seq.is_some_and(|seq| inserted.contains(seq)) {
                continue;
            }
            *seq = None;
            if job.on_duplicate == OnDuplicate::Error {
                let id = job.id.clone().unwrap_or_default();
                blamed.push((at, CommitError::DuplicateJob { id }));
                break;
            }
        }
    }
    Stop::unless_none(blamed)
}

/// Numbers what the units bring, in the order in which they were handed over; inserts the deliveries that are not there yet
/// and answers their numbers.
async fn insert_deliveries(
    link: &mut Link<'_>,
    units: &[&Unit],
    care: Care,
    committed: &mut [Committed],
    numbers: &mut Numbers,
) -> Result<Wrote, Stop> {
    let mut table = Table::default();
    for (unit, committed) in units.iter().zip(committed) {
        for delivery in &unit.deliveries {
            let (seq, job) = (numbers.next(), numbers.next());
            committed.deliveries.push(Ingested::New { seq, job });
            table.push([
                seq.into(),
                (&*unit.shop.app).into(),
                (&*unit.shop.id).into(),
                (&*delivery.platform).into(),
                delivery.webhook_id.as_str().into(),
                delivery.topic.as_str().into(),
                delivery.event_id.as_deref().into(),
                delivery.lane.as_deref().into(),
                delivery.body_sha256.as_slice().into(),
                unit.now_ms.into(),
                delivery.triggered_ms.into(),
                delivery.headers.as_str().into(),
                i64::try_from(delivery.body_bytes).unwrap_or(i64::MAX).into(),
                (&*delivery.body).into(),
            ]);
        }
        committed.jobs.extend(unit.jobs.iter().map(|_| Some(numbers.next())));
    }
    Wrote::by(link, &INSERT_DELIVERIES, &table, care).await
}

/// The numbers of the new deliveries that are to be parked when replayed, and are. Two hosts that take the same body in at
/// the same instant may both see none.
async fn replayed(
    link: &mut Link<'_>,
    units: &[&Unit],
    committed: &[Committed],
    new: &Wrote,
) -> Result<HashSet<i64>, Stop> {
    let mut table = Table::default();
    for (unit, committed) in units.iter().zip(committed) {
        for (delivery, ingested) in unit.deliveries.iter().zip(&committed.deliveries) {
            let Ingested::New { seq, .. } = *ingested else { continue };
            if delivery.parked_if_replayed.is_some() && new.contains(seq) {
                let (app, shop) = (&*unit.shop.app, &*unit.shop.id);
                table.push([seq.into(), app.into(), shop.into(), delivery.body_sha256.as_slice().into()]);
            }
        }
    }
    let rows = link.fetch_rows(&REPLAYED_BODIES, &table).await?;
    Ok(rows.iter().map(|row| row.int(0)).collect::<Result<_, _>>()?)
}

pub(super) async fn write_log(link: &mut Link<'_>, units: &[&Unit], numbers: &mut Numbers) -> Result<(), Stop> {
    let mut table = Table::default();
    for unit in units {
        for entry in &unit.log {
            table.push([
                numbers.next().into(),
                (&*unit.shop.app).into(),
                (&*unit.shop.id).into(),
                unit.now_ms.into(),
                entry.delivery_seq.into(),
                entry.job_seq.into(),
                entry.job_id.as_deref().into(),
                entry.plugin.as_deref().into(),
                entry.version.as_deref().into(),
                entry.action.as_deref().into(),
                entry.phase.into(),
                entry.outcome.as_str().into(),
                entry.detail.as_ref().map(Json::as_str).into(),
                i64::from(entry.attempt).into(),
                entry.duration_us.into(),
            ]);
        }
    }
    link.count_rows(&INSERT_INVOCATIONS, &table).await?;
    Ok(())
}
