//! Which units may ride together: as many as fit, as long as no two touch the same thing.
//!
//! A batch is written kind by kind: all jobs are finished, then all reads are checked, then all records are written. That
//! gives the same as one unit after the other only if none depends on what an earlier one of the batch does. A unit that
//! does waits for the next batch: also one that has asked a query which an earlier one answers differently.

use std::collections::HashSet;
use std::sync::Arc;

use tradewind_model::{RecordKey, Shop};

use crate::turns::Ride;
use crate::unit::{OnDuplicate, Unit, Write};
use crate::watches::BATCH_STEPS_MAX;

/// Units in one transaction. 256: beyond it the fsync is a small part of the time, and whoever came first waits longer.
pub(crate) const BATCH_UNITS_MAX: usize = 256;

/// Bytes in one transaction. 16 MiB: some 1,800 usual webhooks, and what a slow disk writes in a tenth of a second.
pub(crate) const BATCH_BYTES_MAX: usize = 16 << 20;

/// Units of deliveries in a batch, and their bytes, beyond which jobs that wait have the rest. Three quarters: jobs are
/// finished while webhooks never pause.
const BATCH_DELIVERIES_MAX: usize = BATCH_UNITS_MAX / 4 * 3;
const BATCH_DELIVERIES_BYTES_MAX: usize = BATCH_BYTES_MAX / 4 * 3;

type Tenant = (Arc<str>, Arc<str>);

/// What the units of a batch touch so far.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    units: usize,
    bytes: usize,
    written: HashSet<(Tenant, RecordKey)>,
    finished: HashSet<i64>,
    enqueued: HashSet<(Tenant, String)>,
    cancelled: HashSet<(Tenant, String)>,
    /// Whether units may have asked queries.
    is_watched: bool,
    /// What the units write, when they may.
    changes: Vec<(Shop, Vec<Write>)>,
    /// Steps that may still be made to find out what they change.
    steps_left: usize,
}

impl Batch {
    /// An empty batch; `is_watched` says whether units may have asked queries.
    pub(crate) fn new(is_watched: bool) -> Self {
        Self { is_watched, steps_left: BATCH_STEPS_MAX, ..Self::default() }
    }

    /// Takes a unit in, unless it does not fit or depends on what is in the batch. The first always fits.
    pub(crate) fn ride(&mut self, unit: &Unit) -> Ride {
        let bytes = unit.bytes();
        if self.units > 0 {
            if self.units == BATCH_UNITS_MAX || self.bytes + bytes > BATCH_BYTES_MAX {
                return Ride::Full;
            }
            if !self.is_free_of(unit) || self.changes_answers_of(unit) {
                return Ride::Depends;
            }
        }
        self.units += 1;
        self.bytes += bytes;
        let tenant = || (Arc::clone(&unit.shop.app), Arc::clone(&unit.shop.id));
        self.written.extend(unit.writes.iter().map(|write| (tenant(), write.key.clone())));
        self.finished.extend(unit.finish.as_ref().map(|finish| finish.job));
        self.enqueued.extend(unit.jobs.iter().filter_map(|job| Some((tenant(), job.id.clone()?))));
        self.cancelled.extend(unit.cancels.iter().map(|id| (tenant(), id.clone())));
        if self.is_watched && !unit.writes.is_empty() {
            self.changes.push((unit.shop.clone(), unit.writes.clone()));
        }
        Ride::Taken
    }

    /// Whether a query of the unit has another answer after what is in the batch.
    fn changes_answers_of(&mut self, unit: &Unit) -> bool {
        let Some(watch) = &unit.queries else { return false };
        let left = &mut self.steps_left;
        self.changes.iter().any(|(shop, writes)| watch.affected_within(shop, writes, left).is_some())
    }

    /// Returns true while deliveries leave a part of the batch to units of jobs.
    pub(crate) fn has_room_for_jobs(&self) -> bool {
        self.units < BATCH_DELIVERIES_MAX && self.bytes < BATCH_DELIVERIES_BYTES_MAX
    }

    fn is_free_of(&self, unit: &Unit) -> bool {
        let tenant = || (Arc::clone(&unit.shop.app), Arc::clone(&unit.shop.id));
        let records = || unit.reads.iter().map(|read| &read.key).chain(unit.writes.iter().map(|write| &write.key));
        let depends_on_record =
            !self.written.is_empty() && records().any(|key| self.written.contains(&(tenant(), key.clone())));
        let depends_on_finish = unit.finish.as_ref().is_some_and(|finish| self.finished.contains(&finish.job));
        // A job whose duplicate is ignored gets on with one of the same batch.
        let strict = unit.jobs.iter().filter(|job| job.on_duplicate == OnDuplicate::Error);
        let depends_on_job = !self.enqueued.is_empty()
            && strict
                .filter_map(|job| job.id.as_ref())
                .chain(&unit.cancels)
                .any(|id| self.enqueued.contains(&(tenant(), id.clone())));
        let depends_on_cancel = !self.cancelled.is_empty()
            && unit.cancels.iter().any(|id| self.cancelled.contains(&(tenant(), id.clone())));
        !(depends_on_record || depends_on_finish || depends_on_job || depends_on_cancel)
    }
}
