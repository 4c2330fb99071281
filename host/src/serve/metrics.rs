//! What a host counts, in the form that Prometheus reads.
//!
//! Names follow Prometheus' rules: a prefix, a unit, `_total` on what only grows. Labels have few values: apps, plugins,
//! outcomes; never shops, of which there may be a hundred thousand.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tradewind_store::{Quota, Usage};

use crate::scheduler::Stats;
use crate::watch::{Attempt, Called, Invoked, Watch};

/// Bounds of durations, in seconds: from what an empty call takes to what a deadline allows.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// How often what was measured is added up. 5 seconds: each duration is kept until then, and nobody has to ask for metrics.
const ADDED_UP_EVERY: Duration = Duration::from_secs(5);

/// Counts what happens.
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Counts from now on. A second one in the same process counts nothing of its own and shows what the first counts.
    pub fn install() -> Self {
        static FIRST: std::sync::OnceLock<PrometheusHandle> = std::sync::OnceLock::new();
        let handle = FIRST.get_or_init(|| {
            let builder = PrometheusBuilder::new();
            let builder = builder.set_buckets_for_metric(Matcher::Suffix("seconds".to_owned()), &SECONDS);
            // Only an empty list of bounds is refused.
            let recorder = builder.unwrap_or_default().build_recorder();
            let handle = recorder.handle();
            // Somebody else in the process listens already: then our counters are theirs.
            let _ = metrics::set_global_recorder(recorder);
            describe();
            handle
        });
        Self(handle.clone())
    }

    /// Adds up what was measured, whether or not somebody asks, until the answer is dropped.
    pub(super) fn add_up(&self) -> JoinSet<()> {
        let handle = self.0.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut turns = interval(ADDED_UP_EVERY);
            turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                turns.tick().await;
                handle.run_upkeep();
            }
        });
        task
    }

    pub(super) fn text(&self, stats: &Stats, commits_waiting: usize, apps_failed: usize, kept: &Kept) -> String {
        kept.show();
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        let set = |name: &'static str, value: u64| gauge!(name).set(value as f64);
        set("tradewind_partitions", stats.partitions);
        set("tradewind_jobs_held", stats.held);
        set("tradewind_job_payload_bytes", stats.payload_bytes);
        set("tradewind_jobs_running", stats.running);
        set("tradewind_commits_waiting", commits_waiting as u64);
        set("tradewind_apps_failed", apps_failed as u64);
        counter!("tradewind_attempts_started_total").absolute(stats.started);
        counter!("tradewind_leases_lost_total").absolute(stats.leases_lost);
        self.0.run_upkeep();
        self.0.render()
    }
}

/// Usage of all shops, and refusals by quota.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    pub(super) usage: Usage,
    /// Of the fullest shop's fullest quota, in thousandths.
    pub(super) fullest_permille: i64,
    pub(super) refusals: Vec<(Arc<str>, Quota, u64)>,
}

impl Kept {
    fn show(&self) {
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        let set = |name: &'static str, value: i64| gauge!(name).set(value as f64);
        set("tradewind_usage_jobs", self.usage.jobs);
        set("tradewind_usage_job_bytes", self.usage.job_bytes);
        set("tradewind_usage_records", self.usage.records);
        set("tradewind_usage_record_bytes", self.usage.record_bytes);
        set("tradewind_usage_body_bytes", self.usage.body_bytes);
        set("tradewind_usage_log_bytes", self.usage.log_bytes);
        #[expect(clippy::cast_precision_loss, reason = "thousandths")]
        gauge!("tradewind_fullest_shop_ratio").set(self.fullest_permille as f64 / 1_000.0);
        for (app, quota, count) in &self.refusals {
            let labels = [("app", app.to_string()), ("limit", quota.name().to_owned())];
            counter!("tradewind_quota_refusals_total", &labels).absolute(*count);
        }
    }
}

/// What each metric counts, as it is shown beside it.
fn describe() {
    describe_counter!("tradewind_webhooks_total", "Requests for webhooks, by what they were answered.");
    describe_counter!("tradewind_jobs_total", "Attempts at jobs, by how they ended.");
    describe_histogram!("tradewind_job_seconds", Unit::Seconds, "How long attempts at jobs took, with their commit.");
    describe_counter!("tradewind_invocations_total", "Calls of plugins.");
    describe_histogram!("tradewind_invocation_seconds", Unit::Seconds, "How long calls of plugins took.");
    describe_counter!("tradewind_platform_calls_total", "Calls to platforms, by the last answer's status.");
    describe_counter!("tradewind_platform_retries_total", "How often calls to platforms were sent again.");
    describe_histogram!("tradewind_platform_call_seconds", Unit::Seconds, "How long calls took, with all waiting.");
    describe_gauge!("tradewind_partitions", "Partitions that this host works on.");
    describe_gauge!("tradewind_jobs_held", "Jobs in memory that wait.");
    describe_gauge!("tradewind_job_payload_bytes", "Bytes of what jobs carry that are in memory.");
    describe_gauge!("tradewind_jobs_running", "Jobs that run.");
    describe_gauge!("tradewind_commits_waiting", "Units that wait for the disk.");
    describe_gauge!("tradewind_apps_failed", "Apps whose plugins cannot be installed.");
    describe_counter!("tradewind_attempts_started_total", "Attempts that were started.");
    describe_counter!("tradewind_leases_lost_total", "Times that a partition's lease was lost.");
    describe_gauge!("tradewind_usage_jobs", "Unfinished jobs of all shops, parked ones included.");
    describe_gauge!("tradewind_usage_job_bytes", Unit::Bytes, "Bytes of what unfinished jobs carry.");
    describe_gauge!("tradewind_usage_records", "Records of all shops.");
    describe_gauge!("tradewind_usage_record_bytes", Unit::Bytes, "Bytes of records.");
    describe_gauge!("tradewind_usage_body_bytes", Unit::Bytes, "Bytes of kept webhooks.");
    describe_gauge!("tradewind_usage_log_bytes", Unit::Bytes, "Bytes of the log of invocations.");
    describe_gauge!("tradewind_fullest_shop_ratio", "How full the fullest quota of the fullest shop is.");
    describe_counter!("tradewind_quota_refusals_total", "Calls and commits that a shop's quota refused.");
}

fn seconds(us: u64) -> f64 {
    Duration::from_micros(us).as_secs_f64()
}

impl Watch for Metrics {
    fn answered(&self, app: &str, word: &'static str) {
        counter!("tradewind_webhooks_total", "app" => app.to_owned(), "answer" => word).increment(1);
    }

    fn invoked(&self, invoked: &Invoked<'_>) {
        let labels = [
            ("app", invoked.shop.app.to_string()),
            ("plugin", invoked.plugin.to_owned()),
            ("action", invoked.action.to_owned()),
            ("phase", invoked.phase.to_owned()),
        ];
        let outcome = if invoked.outcome == "ok" { "ok" } else { "failed" };
        let [app, plugin, action, phase] = labels.clone();
        let counted = [app, plugin, action, phase, ("outcome", outcome.to_owned())];
        counter!("tradewind_invocations_total", &counted).increment(1);
        histogram!("tradewind_invocation_seconds", &labels).record(invoked.usage.wall.as_secs_f64());
    }

    fn called(&self, called: &Called<'_>) {
        let status = called.status.map_or_else(|| "none".to_owned(), |status| status.to_string());
        let app = called.app.to_owned();
        counter!("tradewind_platform_calls_total", "app" => app.clone(), "status" => status).increment(1);
        counter!("tradewind_platform_retries_total", "app" => app.clone()).increment(called.retries.into());
        histogram!("tradewind_platform_call_seconds", "app" => app).record(seconds(called.took_us));
    }

    fn ended(&self, attempt: &Attempt<'_>) {
        let app = attempt.job.shop.app.to_string();
        let labels = [
            ("app", app.clone()),
            ("kind", attempt.job.kind.as_str().to_owned()),
            ("outcome", attempt.outcome.to_owned()),
        ];
        counter!("tradewind_jobs_total", &labels).increment(1);
        let kind = attempt.job.kind.as_str();
        histogram!("tradewind_job_seconds", "app" => app, "kind" => kind).record(seconds(attempt.took_us));
    }
}
