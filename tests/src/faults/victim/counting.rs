//! A job whose effects can be counted, without a plugin.
//!
//! A webhook's job adds one to a counter of its record and writes that it was here; a second job, enqueued in the same
//! commit, adds one to another counter and writes that too. If one of these happened twice, or one without the other, the
//! sums differ. Before that it notes the epoch of its lease, in a commit that nothing but the lease protects: an epoch that
//! goes down was written by a host that had lost it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tradewind_host::pipeline::Ended;
use tradewind_host::scheduler::Runs;
use tradewind_model::{Json, RecordKey, Shop};
use tradewind_store::{CommitError, Fence, Finish, How, Job, JobKind, NewDelivery, NewJob, Read, Store, Unit, Write};

use super::{SHOPS, count_of, now_ms, shop_of, webhook};

/// Records of each shop that webhooks are about.
const RECORDS: u32 = 5;

/// The shop and the record that the webhook of this number is about.
fn place_of(number: u32) -> (Shop, u32) {
    (shop_of(number), number / SHOPS % RECORDS)
}

fn seen(number: u32) -> RecordKey {
    RecordKey::new("seen", number.to_string())
}

fn followed(number: u32) -> RecordKey {
    RecordKey::new("followed", number.to_string())
}

/// The webhook of this number.
pub(super) fn delivery(number: u32) -> NewDelivery {
    let body = format!("{{\"number\":{number},\"text\":\"{}\"}}", "straw ".repeat(1 + number as usize % 400));
    webhook(number, "records/update", &body, format!("record {}", place_of(number).1))
}

/// Whether the effects of these webhooks are there once. `sent` have numbers below this one, and `acknowledged` were promised
/// to be processed.
pub(super) async fn check(store: &Store, sent: u32, acknowledged: &BTreeSet<u32>) -> anyhow::Result<()> {
    let mut counted: BTreeMap<(Shop, u32), (i64, i64)> = BTreeMap::new();
    for shop in (0..SHOPS).map(|number| place_of(number).0) {
        let of_shop: Vec<u32> = (0..sent).filter(|number| place_of(*number).0 == shop).collect();
        for some in of_shop.chunks(1_000) {
            let keys: Vec<_> = some.iter().flat_map(|number| [seen(*number), followed(*number)]).collect();
            let found = store.records(&shop, &keys).await?;
            for (number, found) in some.iter().zip(found.chunks_exact(2)) {
                let both = (found[0].is_some(), found[1].is_some());
                ensure!(both.0 == both.1, "webhook {number} left {both:?}: half of its effects");
                let wanted = acknowledged.contains(number);
                ensure!(both.0 || !wanted, "webhook {number} was acknowledged and left nothing");
                let counts = counted.entry((shop.clone(), place_of(*number).1)).or_default();
                *counts = (counts.0 + i64::from(both.0), counts.1 + i64::from(both.1));
            }
        }
    }
    for shop in (0..SHOPS).map(|number| place_of(number).0) {
        let noted = store.records(&shop, &[epoch_key()]).await?.pop().flatten();
        let went_down = noted.and_then(|noted| noted.doc.member("wentDown")?.to::<bool>().ok());
        ensure!(went_down != Some(true), "a host wrote for {shop} after it had lost its lease");
    }
    for ((shop, record), expected) in counted {
        let keys = [counter("count", record), counter("follow-count", record)];
        let found = store.records(&shop, &keys).await?;
        let count = |at: usize| found[at].as_ref().map_or(0, |stored| count_of(&stored.doc));
        let counts = (count(0), count(1));
        ensure!(
            counts == expected,
            "record {record} of {shop} counts {counts:?}, and {expected:?} webhooks were there"
        );
    }
    Ok(())
}

fn epoch_key() -> RecordKey {
    RecordKey::new("epoch", "1")
}

fn counter(model: &str, record: u32) -> RecordKey {
    RecordKey::new(model, record.to_string())
}

/// Runs the jobs of a victim.
pub(super) struct Counting {
    pub(super) store: Arc<Store>,
}

impl Runs for Counting {
    async fn run(&self, job: &Job, fence: Fence) -> Ended {
        for _ in 0..10 {
            match self.attempt(job, &fence).await {
                Ok(ended) => return ended,
                Err(Some(CommitError::Conflict { .. })) => {}
                Err(Some(CommitError::Fenced { .. })) => return Ended::Fenced,
                Err(Some(CommitError::JobGone { .. })) => return Ended::Gone,
                Err(error) => return Ended::Unknown(format!("{error:?}")),
            }
        }
        Ended::Unknown("each commit was in conflict".to_owned())
    }
}

impl Counting {
    async fn attempt(&self, job: &Job, fence: &Fence) -> Result<Ended, Option<CommitError>> {
        let number = self.number_of(job).await.map_err(|_| None)?;
        let (shop, record) = place_of(number);
        let (mark, count) = match job.kind {
            JobKind::Delivery => (seen(number), counter("count", record)),
            _ => (followed(number), counter("follow-count", record)),
        };
        let stored = self.store.record(&shop, &count).await.map_err(|_| None)?;
        self.note_epoch(&shop, fence).await?;
        // As long as a plugin would take: something may happen to the process here.
        tokio::time::sleep(Duration::from_millis(u64::from(number) % 4)).await;
        let next = stored.as_ref().map_or(0, |stored| count_of(&stored.doc)) + 1;
        let mut unit = Unit::new(shop, now_ms());
        let version = stored.map(|stored| stored.version);
        unit.reads.push(Read { key: count.clone(), version });
        let doc = |text: String| Json::parse(text).ok();
        unit.writes.push(Write {
            before: None,
            key: count,
            expected: version,
            doc: doc(format!("{{\"count\":{next}}}")),
            platform_updated_us: None,
        });
        unit.writes.push(Write {
            before: None,
            key: mark,
            expected: None,
            doc: doc("{}".to_owned()),
            platform_updated_us: None,
        });
        if job.kind == JobKind::Delivery {
            let follow = NewJob {
                lane: Some(format!("follow {record}")),
                ..NewJob::new(JobKind::Action, doc(number.to_string()))
            };
            unit.jobs.push(follow);
        }
        (unit.fence, unit.finish) = (Some(fence.clone()), Some(Finish { job: job.seq, how: How::Done }));
        let jobs = unit.jobs.clone();
        let committed = self.store.commit(unit).await.map_err(Some)?;
        let made = committed.jobs.into_iter().zip(jobs);
        Ok(Ended::Done(made.filter_map(|(seq, job)| Some((seq?, job))).collect()))
    }

    async fn note_epoch(&self, shop: &Shop, fence: &Fence) -> Result<(), Option<CommitError>> {
        // Long enough for the lease to go to somebody else between two steps of a job.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let stored = self.store.record(shop, &epoch_key()).await.map_err(|_| None)?;
        let noted = stored.as_ref().map_or(0, |stored| count_of(&stored.doc));
        let went_down = noted > fence.epoch;
        if noted == fence.epoch {
            return Ok(());
        }
        let mut unit = Unit::new(shop.clone(), now_ms());
        unit.writes.push(Write {
            before: None,
            key: epoch_key(),
            expected: stored.map(|stored| stored.version),
            doc: Json::parse(format!("{{\"count\":{},\"wentDown\":{went_down}}}", fence.epoch)).ok(),
            platform_updated_us: None,
        });
        unit.fence = Some(fence.clone());
        match self.store.commit(unit).await {
            // Another job of the shop has noted it meanwhile.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(Some(error)),
        }
    }

    async fn number_of(&self, job: &Job) -> anyhow::Result<u32> {
        if let Some(payload) = &job.payload {
            return Ok(payload.to()?);
        }
        let delivery = self.store.delivery(job.delivery_seq.context("no delivery")?).await?;
        let body = Json::parse(String::from_utf8(delivery.context("no body")?.body)?)?;
        Ok(body.member("number").context("no number")?.to()?)
    }
}
