//! Runs one action on one change, as the pipeline would, against a session in memory.

use std::time::Duration;

use serde::Serialize;
use tradewind_model::{ActionDeclaration, ActionError, ActiveRecord, Baseline, Change, InvalidJson, Json, Origin};
use tradewind_runtime::fake::{Entries, FakeSession};
use tradewind_runtime::{Failure, Invocation, Outcome, Phase, Plugin, Runtime, Usage};

/// What is tried.
pub(super) struct Try<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) plugin: &'a Plugin,
    pub(super) action: &'a ActionDeclaration,
    pub(super) record: Option<ActiveRecord>,
    /// `create`, `update`, `delete` or the custom verb.
    pub(super) verb: Option<String>,
    pub(super) params: Json,
    pub(super) shop: Option<Json>,
    pub(super) session: FakeSession,
    pub(super) now: Duration,
    pub(super) seed: u64,
    /// Runs the action although none of its fields of interest changed.
    pub(super) anyway: bool,
}

/// Everything that happened.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// The action's name.
    pub(super) action: String,
    /// What the action saw changed before it ran.
    pub(super) changes: Vec<Change>,
    /// The fields that the action cares for, when none of them changed: it did not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) skipped: Option<Vec<String>>,
    /// The call before the commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<Ended>,
    /// What `run` changed in the record.
    pub(super) record_writes: Vec<Change>,
    /// The call after the commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) success: Option<Ended>,
    /// Logs, other writes, jobs and platform calls, in order.
    #[serde(flatten)]
    pub(super) journal: Entries,
}

/// How one call ended.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Ended {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<Failed>,
    pub(super) wall_us: u64,
    pub(super) memory_peak_bytes: u64,
    pub(super) host_calls: u64,
    pub(super) platform_calls: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) instructions: Option<u64>,
    #[serde(skip)]
    pub(super) usage: Usage,
    #[serde(skip)]
    pub(super) failure: Option<Failure>,
}

/// Why a call has no result.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failed {
    /// `returned`, `limit`, `trap`, `invalid-result` or `host`.
    kind: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    returned: Option<ActionError>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backtrace: Vec<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    stderr: String,
}

impl Report {
    /// The failure that ended the try, if one did.
    pub(super) fn failure(&self) -> Option<&Failure> {
        [&self.run, &self.success].into_iter().flatten().find_map(|ended| ended.failure.as_ref())
    }
}

/// The record as it comes to the action: as stored, with the incoming fields applied.
pub(super) fn incoming_record(
    model: &str,
    id: &str,
    stored: Option<&Json>,
    incoming: Option<&Json>,
) -> Result<ActiveRecord, InvalidJson> {
    let mut record = ActiveRecord::load(model, id, stored)?;
    if let Some(incoming) = incoming {
        record.apply(incoming, Origin::External)?;
    }
    Ok(record)
}

/// Runs `run` and, when it succeeds, `success`.
pub(super) async fn try_out(of: Try<'_>) -> Report {
    let changes = of.record.iter().flat_map(|record| record.changes(Baseline::Loaded)).collect();
    let mut report = Report {
        action: of.action.name.clone(),
        changes,
        skipped: None,
        run: None,
        record_writes: Vec::new(),
        success: None,
        journal: Entries::default(),
    };
    let uninteresting = of
        .record
        .as_ref()
        .is_some_and(|record| !of.action.is_interested(record, of.verb.as_deref().unwrap_or_default()));
    if uninteresting && !of.anyway {
        report.skipped = Some(of.action.when_changed.clone());
        return report;
    }
    let journal = of.session.journal.clone();
    let before = of.record.clone();
    let outcome = of.call(Phase::Run, of.record.clone(), None, Box::new(of.session.clone())).await;
    let Outcome { result, record, session, usage } = outcome;
    let run_result = result.as_ref().ok().cloned();
    report.run = Some(Ended::of(result, usage));
    if run_result.is_some() {
        report.record_writes = before.iter().zip(&record).flat_map(|(before, after)| written(before, after)).collect();
        let committed = record.map(|mut record| {
            record.flush(Baseline::Persisted);
            record
        });
        let outcome = of.call(Phase::Success, committed, run_result, session).await;
        report.success = Some(Ended::of(outcome.result, outcome.usage));
    }
    report.journal = journal.entries().clone();
    report
}

impl Try<'_> {
    async fn call(
        &self,
        phase: Phase,
        record: Option<ActiveRecord>,
        run_result: Option<Json>,
        session: Box<dyn tradewind_runtime::Session>,
    ) -> Outcome {
        let key = if phase == Phase::Run { "try-run" } else { "try-success" };
        let invocation = Invocation {
            params: self.params.clone(),
            trigger: Json::object([("kind", &Json::of("manual").unwrap_or_else(|_| Json::null()))]),
            verb: self.verb.clone(),
            shop: self.shop.clone(),
            record,
            run_result,
            idempotency_key: key.to_owned(),
            ..Invocation::new(&self.action.name, phase, self.now, self.seed)
        };
        self.runtime.invoke(self.plugin, "", invocation, session).await
    }
}

impl Ended {
    fn of(result: Result<Json, Failure>, usage: Usage) -> Self {
        let failure = result.as_ref().err().cloned();
        let error = failure.as_ref().map(|failure| Failed {
            kind: failure.kind(),
            message: failure.to_string(),
            returned: if let Failure::Returned(error) = failure { Some(error.clone()) } else { None },
            backtrace: failure.backtrace().map(|frames| frames.0.clone()).unwrap_or_default(),
            stderr: failure.stderr().unwrap_or_default().to_owned(),
        });
        Self {
            result: result.ok(),
            error,
            wall_us: u64::try_from(usage.wall.as_micros()).unwrap_or(u64::MAX),
            memory_peak_bytes: usage.memory_peak_bytes,
            host_calls: usage.host_calls,
            platform_calls: usage.platform_calls,
            instructions: usage.instructions,
            usage,
            failure,
        }
    }
}

/// What the action itself changed: the fields in which the record differs from how it came in.
fn written(before: &ActiveRecord, after: &ActiveRecord) -> Vec<Change> {
    let gone = before.fields().filter(|field| after.get(field).is_none());
    let fields = after.fields().chain(gone).filter(|field| before.get(field) != after.get(field));
    let change = |field: &str| Change {
        field: field.to_owned(),
        previous: before.get(field).cloned(),
        current: after.get(field).cloned(),
        origin: Origin::Run,
    };
    fields.map(change).collect()
}
