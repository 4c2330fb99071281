//! What the scheduler asks: which shops have work, what is next, what is due.

use std::collections::BTreeSet;

use tradewind_model::Shop;
use tradewind_store::{CommitError, Fence, How, JobCount, JobFilter, JobKind, JobState, NewJob, Unit, WokenJob};
use tradewind_tests::stores::{
    Build as _, NOW_MS, Place, action, commit, commit_together, enqueue, failed, job, on_both, other_shop, park, shop,
    unit,
};

use super::run_sql;

#[tokio::test]
async fn queued_jobs_of_a_rank_come_by_age_page_by_page() {
    on_both(async |place| {
        let store = place.open().await;
        let ranks = [1_u8, 0, 2, 1, 0, 1, 2, 1, 0];
        let units = ranks.iter().map(|rank| unit().job(NewJob { rank: *rank, ..action() })).collect();
        let seqs: Vec<i64> =
            commit_together(&store, units).await.into_iter().map(|unit| unit.unwrap().jobs[0].unwrap()).collect();
        assert!(seqs.is_sorted());
        // These are not queued, or not here.
        enqueue(&store, NewJob { run_at_ms: NOW_MS + 1, ..action() }).await;
        let parked = enqueue(&store, action()).await;
        commit(&store, unit().finish(parked, park("stuck"))).await;
        commit(&store, unit().of(&other_shop(0)).job(action())).await;

        for rank in 0..4 {
            let queued = ranks.iter().zip(&seqs).filter(|(of, _)| **of == rank);
            let expected: Vec<_> = queued.map(|(_, seq)| *seq).collect();
            for limit in [1, 2, 100] {
                let (mut found, mut from) = (Vec::new(), 0);
                loop {
                    let page = store.queued_jobs(shop().partition(), &shop(), rank, from, limit).await.unwrap();
                    assert!(page.len() <= usize::try_from(limit).unwrap());
                    let Some(last) = page.last() else { break };
                    from = last.seq + 1;
                    found.extend(page.iter().map(|job| job.seq));
                }
                assert_eq!(found, expected, "rank {rank}, {limit} at a time");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn delayed_jobs_become_due() {
    on_both(async |place| {
        let store = place.open().await;
        let part = shop().partition();
        assert_eq!(store.next_due(part, 0).await.unwrap(), None);
        let mut seqs = Vec::new();
        for delay in [30, 10, 20, 10] {
            seqs.push(enqueue(&store, NewJob { run_at_ms: NOW_MS + delay, ..action() }).await);
        }
        commit(&store, unit().of(&other_shop(0)).job(NewJob { run_at_ms: NOW_MS + 1, ..action() })).await;
        let due = async |after, limit| -> Vec<i64> {
            let due = store.due_jobs(part, NOW_MS + after, limit).await.unwrap();
            due.into_iter().map(|job| job.seq).collect()
        };
        assert_eq!(due(9, 10).await, [0; 0]);
        assert_eq!(due(10, 10).await, [seqs[1], seqs[3]]);
        assert_eq!(due(10, 1).await, [seqs[1]]);
        assert_eq!(due(99, 10).await, [seqs[1], seqs[3], seqs[2], seqs[0]]);
        for (now, next) in [(0, Some(10)), (10, Some(20)), (29, Some(30)), (30, None)] {
            assert_eq!(store.next_due(part, NOW_MS + now).await.unwrap(), next.map(|next| NOW_MS + next));
        }
    })
    .await;
}

#[tokio::test]
async fn delayed_jobs_are_woken_together() {
    on_both(async |place| {
        let store = place.open().await;
        let part = shop().partition();
        let mut woken = Vec::new();
        for (delay, rank, lane) in [(30, 2, None), (10, 1, Some("a")), (20, 0, None), (10, 1, None)] {
            let new = NewJob { run_at_ms: NOW_MS + delay, rank, lane: lane.map(str::to_owned), ..action() };
            let seq = enqueue(&store, new).await;
            woken.push(WokenJob { seq, shop: shop(), rank, in_lane: lane.is_some() });
        }
        commit(&store, unit().of(&other_shop(0)).job(NewJob { run_at_ms: NOW_MS + 1, ..action() })).await;
        assert_eq!(store.wake_delayed(part, NOW_MS + 9, 10).await.unwrap(), []);
        assert_eq!(store.wake_delayed(part, NOW_MS + 10, 1).await.unwrap(), woken[1..2]);
        assert_eq!(store.wake_delayed(part, NOW_MS + 29, 10).await.unwrap(), woken[2..]);
        assert_eq!(store.wake_delayed(part, NOW_MS + 29, 10).await.unwrap(), []);
        for one in &woken[1..] {
            let job = job(&store, one.seq).await;
            assert_eq!((job.state, job.run_at_ms), (JobState::Queued, 0));
        }
        // Whoever was frozen since a job was put off does not bring it back.
        commit(&store, unit().finish(woken[2].seq, failed(1, NOW_MS + 99))).await;
        assert_eq!(store.wake_delayed(part, NOW_MS + 29, 10).await.unwrap(), []);
        assert_eq!(store.next_due(part, 0).await.unwrap(), Some(NOW_MS + 30));
        assert_eq!(store.wake_delayed(part, NOW_MS + 99, 10).await.unwrap(), [woken[0].clone(), woken[2].clone()]);
    })
    .await;
}

#[tokio::test]
async fn a_queues_jobs_lie_in_the_queues_partition() {
    on_both(async |place| {
        let store = place.open().await;
        let queued = |run_at_ms| NewJob { queue: Some(("sync".to_owned(), 1)), run_at_ms, ..action() };
        let part = shop().partition_of_job(Some("sync"));
        let shops = [shop(), other_shop(0), other_shop(1)];
        assert!(shops.iter().all(|shop| shop.partition() != part));
        let (mut due, mut delayed) = (Vec::new(), Vec::new());
        for shop in &shops {
            let unit = unit().of(shop).job(queued(0)).job(queued(NOW_MS + 5)).job(action());
            let seqs = commit(&store, unit).await.jobs;
            due.push(seqs[0].unwrap());
            delayed.push(seqs[1].unwrap());
            let own = store.queued_jobs(shop.partition(), shop, 1, 0, 10).await.unwrap();
            assert_eq!(own.iter().map(|job| Some(job.seq)).collect::<Vec<_>>(), [seqs[2]], "of {shop} alone");
            assert_eq!(store.next_due(shop.partition(), 0).await.unwrap(), None);
        }
        let waiting: BTreeSet<_> = store.waiting_shops(part).await.unwrap().into_iter().collect();
        assert_eq!(waiting, shops.iter().cloned().collect());
        for (shop, seq) in shops.iter().zip(&due) {
            let jobs = store.queued_jobs(part, shop, 1, 0, 10).await.unwrap();
            assert_eq!(jobs.iter().map(|job| (job.seq, job.partition())).collect::<Vec<_>>(), [(*seq, part)]);
        }
        assert_eq!(store.next_due(part, 0).await.unwrap(), Some(NOW_MS + 5));
        assert_eq!(store.due_jobs(part, NOW_MS + 5, 10).await.unwrap().len(), 3);
        let woken = store.wake_delayed(part, NOW_MS + 5, 10).await.unwrap();
        assert_eq!(woken.iter().map(|job| job.seq).collect::<Vec<_>>(), delayed);

        // Its end is fenced by the queue's lease, whoever has the shop's.
        let seen = &store.partitions().await.unwrap()[usize::try_from(part).unwrap()];
        let epoch = store.take_partition(seen, "a").await.unwrap().unwrap();
        let ends = |epoch| Unit { fence: Some(Fence { part, epoch }), ..unit().finish(due[0], How::Done) };
        assert_eq!(store.commit(ends(epoch - 1)).await, Err(CommitError::Fenced { part }));
        commit(&store, ends(epoch)).await;
        let in_queue = JobFilter { queue: Some("sync".to_owned()), ..JobFilter::default() };
        let parked = store.park_jobs(&in_queue, "by hand", NOW_MS).await.unwrap();
        assert!(!parked.is_empty() && parked.iter().all(|job| job.part == part));
    })
    .await;
}

/// A page that is asked for is full although what is on it cannot be read: whoever asked goes on. PostgreSQL does not keep
/// what is no JSON.
#[tokio::test]
async fn a_damaged_job_is_parked_and_its_neighbours_run() {
    let place = Place::sqlite();
    let store = place.open().await;
    let mut seqs = Vec::new();
    for number in 0..8 {
        let run_at_ms = if number < 4 { 0 } else { NOW_MS + 1 };
        seqs.push(enqueue(&store, NewJob { run_at_ms, ..action() }).await);
    }
    let damage = format!("update jobs set payload = '{{' where seq in ({}, {})", seqs[0], seqs[5]);
    run_sql(&place, &damage).await;
    let numbers = |jobs: Vec<tradewind_store::Job>| jobs.iter().map(|job| job.seq).collect::<Vec<_>>();
    assert_eq!(numbers(store.queued_jobs(shop().partition(), &shop(), 1, 0, 2).await.unwrap()), seqs[1..3]);
    let due = store.due_jobs(shop().partition(), NOW_MS + 1, 2).await.unwrap();
    assert_eq!(numbers(due), [seqs[4], seqs[6]]);

    let damaged = JobFilter { reason: Some("damaged".to_owned()), ..JobFilter::default() };
    let shown = store.list_jobs(&damaged, i64::MIN, 10).await.unwrap();
    assert!(shown[0].payload.as_ref().unwrap().as_str().contains("is damaged"), "{shown:?}");
    assert_eq!(numbers(shown), [seqs[0], seqs[5]]);
    assert!(store.job(seqs[0]).await.is_err(), "whoever runs jobs never sees half of one");
    // It is parked again when somebody lets it run, and goes when somebody says so.
    store.retry_jobs(&damaged).await.unwrap();
    assert_eq!(store.queued_jobs(shop().partition(), &shop(), 1, 0, 10).await.unwrap().len(), 3);
    assert_eq!(store.purge_jobs(&damaged).await.unwrap().len(), 2);
}

#[tokio::test]
async fn shops_with_work_are_found_whatever_they_have() {
    on_both(async |place| {
        let store = place.open().await;
        let part = 17;
        assert_eq!(store.waiting_shops(part).await.unwrap(), []);
        // Names whose order differs between bytes and languages, in two apps.
        let names = ["a", "B", "é", "Z", "_", "10", "9", ""];
        let in_part = |app: &str, name: &str| {
            (0..10_000)
                .map(|try_| Shop::new(app, format!("{name}{try_}")))
                .find(|shop| shop.partition() == part)
                .unwrap()
        };
        let shops: Vec<_> = names.iter().flat_map(|name| [in_part("App", name), in_part("app", name)]).collect();
        let mut units = Vec::new();
        for (at, shop) in shops.iter().enumerate() {
            units.extend((0..=at * 3).map(|_| unit().of(shop).job(NewJob { rank: 2, ..action() })));
        }
        // No work, or none for now, or not here.
        let idle = in_part("app", "idle");
        units.push(unit().of(&idle).job(NewJob { run_at_ms: NOW_MS + 1, ..action() }));
        units.push(unit().job(action()));
        for committed in commit_together(&store, units).await {
            committed.unwrap();
        }
        let found = store.waiting_shops(part).await.unwrap();
        assert_eq!(found.len(), shops.len());
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), shops.iter().cloned().collect());
        assert_eq!(store.waiting_shops(shop().partition()).await.unwrap(), [shop()]);

        for job in store.queued_jobs(part, &shops[0], 2, 0, 100).await.unwrap() {
            commit(&store, unit().of(&shops[0]).finish(job.seq, How::Done)).await;
        }
        assert_eq!(store.waiting_shops(part).await.unwrap().len(), shops.len() - 1);
    })
    .await;
}

#[tokio::test]
async fn jobs_are_counted() {
    on_both(async |place| {
        let store = place.open().await;
        assert_eq!(store.count_jobs(None, None).await.unwrap(), []);
        let at = |now_ms| Unit { now_ms, ..unit() };
        commit(&store, at(NOW_MS).job(action()).job(action())).await;
        commit(&store, at(NOW_MS - 5).job(action()).job(NewJob::new(JobKind::Call, None))).await;
        let parked = enqueue(&store, action()).await;
        commit(&store, unit().finish(parked, park("stuck"))).await;
        let elsewhere = Shop::new("zebra", "1");
        commit(&store, unit().of(&elsewhere).job(NewJob { run_at_ms: NOW_MS + 1, ..action() })).await;
        let count =
            |shop: &Shop, state, kind, count, oldest_ms| JobCount { shop: shop.clone(), state, kind, count, oldest_ms };
        let here = [
            count(&shop(), JobState::Queued, JobKind::Action, 3, NOW_MS - 5),
            count(&shop(), JobState::Queued, JobKind::Call, 1, NOW_MS - 5),
            count(&shop(), JobState::Parked, JobKind::Action, 1, NOW_MS),
        ];
        let there = count(&elsewhere, JobState::Delayed, JobKind::Action, 1, NOW_MS);
        assert_eq!(store.count_jobs(None, None).await.unwrap(), [&here[..], std::slice::from_ref(&there)].concat());
        assert_eq!(store.count_jobs(Some("tagger"), None).await.unwrap(), here);
        assert_eq!(store.count_jobs(Some("zebra"), Some("1")).await.unwrap(), [there]);
        assert_eq!(store.count_jobs(Some("tagger"), Some("1")).await.unwrap(), []);
    })
    .await;
}
