//! Which jobs are meant, and how many they are.

use tradewind_store::{JobFilter, JobKind, JobState, Store};

use crate::cli::problems::Problems;
use crate::cli::{Fail, age};

const KINDS: [JobKind; 4] = [JobKind::Delivery, JobKind::Action, JobKind::Success, JobKind::Call];

/// How many jobs are read to count them where no statement does. 10,000: a second, and nobody needs it more exactly.
const COUNTED_MAX: u64 = 10_000;

/// Jobs that are read at once to count them.
const PAGE: u32 = 500;

#[derive(clap::Args)]
pub(super) struct FilterArguments {
    /// Jobs of this app.
    #[arg(long)]
    app: Option<String>,
    /// Jobs of this shop.
    #[arg(long)]
    shop: Option<String>,
    /// Jobs that are `queued`, `delayed` or `parked`.
    #[arg(long)]
    state: Option<String>,
    /// Jobs that process a `delivery`, run an `action` or its `success`, or make a platform `call`.
    #[arg(long)]
    kind: Option<String>,
    /// Jobs in this named queue.
    #[arg(long)]
    queue: Option<String>,
    /// Jobs with the id that whoever enqueued them gave.
    #[arg(long)]
    id: Option<String>,
    /// Jobs that were created longer ago than this: `90s`, `30m`, `2h`, `7d`.
    #[arg(long, value_name = "AGE")]
    older_than: Option<String>,
}

impl FilterArguments {
    pub(super) fn is_empty(&self) -> bool {
        let Self { app, shop, state, kind, queue, id, older_than } = self;
        [app, shop, state, kind, queue, id, older_than].into_iter().all(Option::is_none)
    }

    pub(super) fn filter(&self, reason: Option<&String>, now_ms: i64, problems: &mut Problems) -> JobFilter {
        let state = self.state.as_ref().and_then(|name| {
            let state = JobState::ALL.into_iter().find(|state| state.as_str() == name);
            one_of(state, "state", name, &JobState::ALL.map(JobState::as_str), problems)
        });
        let kind = self.kind.as_ref().and_then(|name| {
            let kind = KINDS.into_iter().find(|kind| kind.as_str() == name);
            one_of(kind, "kind", name, &KINDS.map(JobKind::as_str), problems)
        });
        let older_than = self.older_than.as_deref().map(|text| problems.take(age::parse(text)));
        let created_before_ms = older_than.map(|ms| now_ms.saturating_sub_unsigned(ms));
        JobFilter {
            seq: None,
            app: self.app.clone(),
            shop: self.shop.clone(),
            state,
            kind,
            queue: self.queue.clone(),
            reason: reason.cloned(),
            id: self.id.clone(),
            created_before_ms,
        }
    }
}

fn one_of<T>(found: Option<T>, what: &str, given: &str, known: &[&str], problems: &mut Problems) -> Option<T> {
    if found.is_none() {
        problems.add(format_args!("there is no {what} `{given}`; hint: `{}`", known.join("`, `")));
    }
    found
}

/// Jobs by state.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) queued: u64,
    pub(super) delayed: u64,
    pub(super) parked: u64,
    /// Whether there are more than were counted.
    pub(super) more: bool,
}

impl Counts {
    pub(super) async fn of(store: &Store, filter: &JobFilter) -> Result<Self, Fail> {
        let mut counts = Self::default();
        if let JobFilter { seq: None, queue: None, reason: None, id: None, created_before_ms: None, .. } = filter {
            for count in store.count_jobs(filter.app.as_deref(), filter.shop.as_deref()).await? {
                let is_meant = filter.state.is_none_or(|state| state == count.state)
                    && filter.kind.is_none_or(|kind| kind == count.kind);
                if is_meant {
                    counts.add(count.state, count.count);
                }
            }
            return Ok(counts);
        }
        let mut after = i64::MIN;
        while counts.all() < COUNTED_MAX {
            let page = store.list_jobs(filter, after, PAGE).await?;
            for job in &page {
                counts.add(job.state, 1);
            }
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = last.seq,
                _ => return Ok(counts),
            }
        }
        counts.more = true;
        Ok(counts)
    }

    pub(super) fn add(&mut self, state: JobState, count: u64) {
        let sum = match state {
            JobState::Queued => &mut self.queued,
            JobState::Delayed => &mut self.delayed,
            JobState::Parked => &mut self.parked,
        };
        *sum = sum.saturating_add(count);
    }

    pub(super) fn all(&self) -> u64 {
        self.queued.saturating_add(self.delayed).saturating_add(self.parked)
    }

    /// `at least ` when there are more.
    pub(super) fn at_least(&self) -> &'static str {
        if self.more { "at least " } else { "" }
    }
}
