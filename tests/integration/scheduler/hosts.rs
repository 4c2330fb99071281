//! Several hosts on one database: they share, they take over, and whoever was thought dead cannot write.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tradewind_host::scheduler::{BEATS_PER_LEASE, Config, HOST_DIED};
use tradewind_store::CommitError;
use tradewind_tests::stores::{action, on_both, shop};

use super::{
    Act, Frozen, PATIENCE, Worker, brief, config, enqueue, eventually, numbers, sorted, start, stop, until,
    until_alone, until_empty, waiting,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_share_the_partitions_and_the_jobs() {
    on_both(async |place| {
        let (one, two) = (Arc::new(place.open().await), Arc::new(place.open().await));
        let clock = Frozen::new();
        let (worker, other_worker) =
            (Worker::new(&one, &clock, |_| Act::Finish), Worker::new(&two, &clock, |_| Act::Finish));
        let scheduler = start(&worker, brief("a"));
        until_alone(&scheduler).await;
        let other = start(&other_worker, brief("b"));
        eventually("they have half each", async || {
            scheduler.stats().partitions == 32 && other.stats().partitions == 32
        })
        .await;
        let mut all = HashSet::new();
        for number in 0..60 {
            let shop = tradewind_model::Shop::new("tagger", format!("shop-{number}.example"));
            let made = enqueue(&one, &shop, vec![action(); 5]).await;
            all.extend(numbers(&made));
            // Also what belongs to the other: it is told.
            scheduler.offer(&shop, made);
        }
        until_empty(&one).await;
        // The database knows of an end before whoever waits for it does.
        until("all are counted", || worker.done().len() + other_worker.done().len() >= all.len()).await;
        assert!(!worker.done().is_empty() && !other_worker.done().is_empty());
        let done: HashSet<i64> = worker.done().into_iter().chain(other_worker.done()).collect();
        assert_eq!(done.len(), worker.done().len() + other_worker.done().len(), "something was done twice");
        assert!(done.is_subset(&all), "{done:?}");
        stop(scheduler).await;
        // At once: nobody waits for the lease.
        until_alone(&other).await;
        stop(other).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_host_was_running_runs_elsewhere_and_only_there() {
    on_both(async |place| {
        let (one, two) = (Arc::new(place.open().await), Arc::new(place.open().await));
        let clock = Frozen::new();
        let worker = Worker::new(&one, &clock, |_| Act::HoldWhatever);
        let other_worker = Worker::new(&two, &clock, |_| Act::Finish);
        let scheduler = start(&worker, brief("a"));
        until_alone(&scheduler).await;
        let made = enqueue(&one, &shop(), vec![action(); 20]).await;
        scheduler.offer(&shop(), made.clone());
        until("they run", || worker.starts() == 20).await;
        // Like a crash, but for the jobs that go on, as on a host that was frozen.
        drop(scheduler);
        let other = start(&other_worker, brief("b"));
        until_empty(&two).await;
        until_alone(&other).await;
        worker.let_go();
        until("the first host has tried to commit", || worker.refused.lock().unwrap().len() == 20).await;
        let refused = worker.refused.lock().unwrap().clone();
        assert!(refused.iter().all(|error| matches!(error, CommitError::Fenced { .. })), "{refused:?}");
        assert!(worker.done().is_empty());
        assert!(sorted(other_worker.done()).iter().all(|seq| numbers(&made).contains(seq)));
        stop(other).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_told_that_it_was_replaced_lets_go() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let first = Arc::new(AtomicBool::new(true));
        let says =
            move |_: &tradewind_store::Job| if first.swap(false, Ordering::SeqCst) { Act::Hold } else { Act::Finish };
        let worker = Worker::new(&store, &clock, says);
        // Its next beat is far away: it learns of its loss by the commit that is refused.
        let scheduler = start(&worker, config("a"));
        until_alone(&scheduler).await;
        let made = enqueue(&store, &shop(), vec![action()]).await;
        scheduler.offer(&shop(), made.clone());
        until("it runs", || worker.starts() == 1).await;
        let seen = store.partitions().await.unwrap();
        let part = &seen[usize::try_from(shop().partition()).unwrap()];
        let epoch = store.take_partition(part, "b").await.unwrap().unwrap();
        worker.let_go();
        eventually("the lease is lost", async || scheduler.stats().leases_lost == 1).await;
        assert!(worker.done().is_empty());
        // It is given back, and the job runs.
        assert!(store.release_partition(part.id, "b", epoch).await.unwrap());
        store.announce(-1).await.unwrap();
        if place.engine() == tradewind_store::Engine::Postgres {
            until("the job is done", || worker.done() == numbers(&made)).await;
        }
        stop(scheduler).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_stop_waits_and_loses_nothing() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let worker = Worker::new(&store, &clock, |job| if job.depth == 7 { Act::Hold } else { Act::Finish });
        let scheduler = start(&worker, Config { jobs_in_flight_max: 4, ..config("a") });
        until_alone(&scheduler).await;
        let held = tradewind_store::NewJob { depth: 7, ..action() };
        let made = enqueue(&store, &shop(), vec![held.clone(), held, action(), action()]).await;
        scheduler.offer(&shop(), made.clone());
        until("two run and the others are done", || worker.done().len() == 2).await;
        let stopping = tokio::spawn(async move { scheduler.stop(PATIENCE).await });
        eventually("what does not run is free at once", async || {
            let owners = store.partitions().await.unwrap();
            owners.iter().filter(|partition| partition.owner.is_some()).count() == 1
        })
        .await;
        // Committed while it stops: for whoever comes next.
        let late = enqueue(&store, &shop(), vec![action()]).await;
        worker.let_go();
        stopping.await.unwrap();
        assert_eq!(worker.done().len(), 4);
        assert_eq!(waiting(&store).await.len(), 1);
        assert!(store.partitions().await.unwrap().iter().all(|partition| partition.owner.is_none()));
        assert_eq!(store.hosts().await.unwrap(), []);
        let next = start(&worker, config("b"));
        until("the late one is done", || worker.done().last() == Some(&late[0].0)).await;
        stop(next).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_ever() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let worker = Worker::new(&store, &clock, |_| Act::Hold);
        let scheduler = start(&worker, config("a"));
        until_alone(&scheduler).await;
        let made = enqueue(&store, &shop(), vec![action()]).await;
        scheduler.offer(&shop(), made);
        until("it runs", || worker.starts() == 1).await;
        scheduler.stop(std::time::Duration::ZERO).await;
        assert_eq!(waiting(&store).await.len(), 1);
        assert!(store.partitions().await.unwrap().iter().all(|partition| partition.owner.is_none()));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_hosts_die_is_parked_and_its_neighbours_are_done() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let mut killer = 0;
        // Each host dies while it runs the killer; on the first one the others run beside it.
        for (host, beside) in [("a", 4), ("b", 4), ("c", 1)] {
            let is_first = host == "a";
            let says =
                move |job: &tradewind_store::Job| if is_first || job.depth == 7 { Act::Hold } else { Act::Finish };
            let worker = Worker::new(&store, &clock, says);
            let scheduler = start(&worker, brief(host));
            until_alone(&scheduler).await;
            if is_first {
                let job = tradewind_store::NewJob { depth: 7, ..action() };
                let made = enqueue(&store, &shop(), vec![job, action(), action(), action()]).await;
                killer = made[0].0;
                scheduler.offer(&shop(), made);
            }
            until("they run", || worker.starts() == beside).await;
            if host == "b" {
                until("the others are done", || worker.done().len() == 3).await;
            }
            // Like a crash: nothing is given back.
            drop(scheduler);
        }
        let worker = Worker::new(&store, &clock, |_| Act::Finish);
        let scheduler = start(&worker, brief("d"));
        eventually("the killer is parked", async || {
            waiting(&store).await.iter().all(|job| job.state == tradewind_store::JobState::Parked)
        })
        .await;
        let left = waiting(&store).await;
        assert_eq!(left.iter().map(|job| job.seq).collect::<Vec<_>>(), [killer]);
        assert_eq!(left[0].reason.as_deref(), Some(HOST_DIED));
        assert_eq!(worker.starts(), 0, "it was run a fourth time");
        // An operator who lets it run again lets it run.
        store.retry_jobs(&tradewind_store::JobFilter::default()).await.unwrap();
        scheduler.look(shop().partition(), &shop());
        until("it is done", || worker.done() == [killer]).await;
        stop(scheduler).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_stop_in_order_are_no_deaths() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        enqueue(&store, &shop(), vec![action()]).await;
        for host in ["a", "b", "c", "d"] {
            let worker = Worker::new(&store, &clock, |_| Act::Hold);
            let scheduler = start(&worker, config(host));
            until_alone(&scheduler).await;
            until("it runs", || worker.starts() == 1).await;
            scheduler.stop(std::time::Duration::ZERO).await;
        }
        let left = waiting(&store).await;
        assert_eq!((left.len(), left[0].reason.as_deref()), (1, None));
    })
    .await;
}

#[test]
fn a_dead_host_is_taken_over_within_ten_seconds() {
    let config = Config::new("a");
    // Others look once in a beat, and see that nothing has moved for a lease; then they take all partitions in four rounds.
    let found_ms = config.lease_ms + config.lease_ms / u64::from(BEATS_PER_LEASE);
    assert!(found_ms <= 9_000, "{found_ms} ms");
}
