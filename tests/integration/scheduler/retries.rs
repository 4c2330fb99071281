//! Jobs that do not end at the first attempt: retried, delayed, parked, and those of which nobody knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tradewind_host::scheduler::{HOST_PANIC, HOST_PANICS_MAX};
use tradewind_store::{JobState, NewJob};
use tradewind_tests::stores::{NOW_MS, action, on_both, shop};

use super::{Act, Frozen, Worker, config, enqueue, eventually, numbers, start, stop, until, until_alone, waiting};

fn in_lane(lane: &str) -> NewJob {
    NewJob { lane: Some(lane.to_owned()), ..action() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_in_retry_holds_its_lane_and_nothing_else() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let says = |job: &tradewind_store::Job| match (job.lane.as_deref(), job.depth, job.attempts) {
            // The first of each lane, and the one without a lane that has a depth, fail twice.
            (_, 7, 0..2) => Act::Retry(1_000),
            _ => Act::Finish,
        };
        let worker = Worker::new(&store, &clock, says);
        let failing = |job: NewJob| NewJob { depth: 7, ..job };
        let jobs = vec![failing(in_lane("a")), in_lane("a"), failing(action()), in_lane("b"), action()];
        let scheduler = start(&worker, config("a"));
        until_alone(&scheduler).await;
        let made = enqueue(&store, &shop(), jobs).await;
        let seqs = numbers(&made);
        scheduler.offer(&shop(), made);
        until("the others are done", || worker.done().len() == 2).await;
        assert_eq!(super::sorted(worker.done()), [seqs[3], seqs[4]]);
        until("those that fail have failed", || worker.ends() == 4).await;
        for starts in [6, 8] {
            // Nothing happens before its time.
            clock.advance(999);
            scheduler.wake();
            eventually("both are put back", async || {
                let waiting = waiting(&store).await;
                waiting.iter().filter(|job| job.run_at_ms == clock.now_ms() + 1).count() == 2
            })
            .await;
            assert_eq!(worker.starts(), starts - 2);
            clock.advance(1);
            scheduler.wake();
            until("both are tried again", || worker.ends() >= starts).await;
        }
        until("all are done", || worker.done().len() == 5).await;
        let done = worker.done();
        let place = |seq| done.iter().position(|done| *done == seq).unwrap();
        assert!(place(seqs[0]) < place(seqs[1]), "{done:?}");
        assert_eq!(waiting(&store).await, []);
        stop(scheduler).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_does_not_start_before_its_time() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let worker = Worker::new(&store, &clock, |_| Act::Finish);
        let at = |ms| NewJob { run_at_ms: NOW_MS + ms, ..action() };
        let before = enqueue(&store, &shop(), vec![at(500), at(1_500)]).await;
        let scheduler = start(&worker, config("a"));
        until_alone(&scheduler).await;
        let made = enqueue(&store, &shop(), vec![at(1_000), NewJob { lane: Some("a".to_owned()), ..at(2_000) }]).await;
        scheduler.offer(&shop(), made.clone());
        let order = [before[0].0, made[0].0, before[1].0, made[1].0];
        for (count, seq) in order.into_iter().enumerate() {
            assert_eq!(worker.done(), order[..count]);
            clock.advance(500);
            scheduler.wake();
            until("the next is done", || worker.done().last() == Some(&seq)).await;
        }
        stop(scheduler).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_job_does_not_hold_its_lane() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let worker = Worker::new(&store, &clock, |job| if job.depth == 7 { Act::Park } else { Act::Finish });
        let made = enqueue(&store, &shop(), vec![NewJob { depth: 7, ..in_lane("a") }, in_lane("a")]).await;
        let scheduler = start(&worker, config("a"));
        until("the second is done", || worker.done() == [made[1].0]).await;
        let left = waiting(&store).await;
        assert_eq!((left.len(), left[0].state), (1, JobState::Parked));
        stop(scheduler).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_takes_nothing_down_and_is_parked_in_the_end() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let worker = Worker::new(&store, &clock, |job| if job.depth == 7 { Act::Panic } else { Act::Finish });
        let scheduler = start(&worker, config("a"));
        until_alone(&scheduler).await;
        let made = enqueue(&store, &shop(), vec![NewJob { depth: 7, ..in_lane("a") }, in_lane("a"), action()]).await;
        scheduler.offer(&shop(), made.clone());
        until("the one beside it is done", || worker.done() == [made[2].0]).await;
        let mut pauses = 0;
        eventually("the next of the lane is done", async || {
            // It does not loop: nothing happens until the clock moves.
            clock.advance(1_000);
            scheduler.wake();
            pauses += 1;
            worker.done() == [made[2].0, made[1].0]
        })
        .await;
        assert!(pauses >= 3);
        let left = waiting(&store).await;
        assert_eq!((left.len(), left[0].reason.as_deref()), (1, Some(HOST_PANIC)));
        assert_eq!(worker.starts(), usize::try_from(HOST_PANICS_MAX).unwrap() + 2);
        assert!(scheduler.stats().alive);
        stop(scheduler).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_end_is_not_known_is_looked_at_again() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let lost = AtomicU32::new(0);
        let says = move |job: &tradewind_store::Job| match job.depth {
            // It is committed with a job of its own, which nobody learns of.
            7 => Act::LoseTheAnswer,
            8 if lost.fetch_add(1, Ordering::SeqCst) < 3 => Act::LoseTheJob,
            _ => Act::Finish,
        };
        let worker = Worker::new(&store, &clock, says);
        let scheduler = start(&worker, config("a"));
        until_alone(&scheduler).await;
        let jobs = vec![NewJob { depth: 7, ..in_lane("a") }, in_lane("a"), NewJob { depth: 8, ..action() }];
        let made = enqueue(&store, &shop(), jobs).await;
        scheduler.offer(&shop(), made);
        eventually("all are done, and the one that was made", async || {
            clock.advance(1_000);
            scheduler.wake();
            worker.done().len() == 4
        })
        .await;
        assert_eq!(waiting(&store).await, []);
        // The one that was committed did not run twice, the one that was not did.
        assert_eq!(worker.starts(), 4 + 3);
        stop(scheduler).await;
    })
    .await;
}
