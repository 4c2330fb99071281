//! What runs when: once, in the order of the lanes, within the bounds of the queues, and fairly.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tradewind_host::scheduler::{Config, MESSAGES_MAX, PAYLOADS_BYTES_MAX};
use tradewind_model::{Json, Shop};
use tradewind_store::{JobFilter, NewJob};
use tradewind_tests::stores::{action, on_both};

use super::{
    Act, Began, Frozen, Worker, config, enqueue, eventually, numbers, sorted, start, stop, until, until_alone, waiting,
};

fn shop(number: usize) -> Shop {
    Shop::new("tagger", format!("shop-{number}.example"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_runs_once_and_in_the_order_of_its_lane() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let worker = Worker::new(&store, &clock, |_| Act::Finish);
        let (mut lanes, mut queues) = (HashMap::new(), HashMap::new());
        let mut all = Vec::new();
        let mut make = async |number: usize, scheduler: Option<&tradewind_host::scheduler::Scheduler>| {
            let shop = shop(number % 5);
            let queue = (number.is_multiple_of(4)).then(|| ("sync".to_owned(), 2));
            let lane = (queue.is_none() && !number.is_multiple_of(3)).then(|| format!("product {}", number % 7));
            let rank = if lane.is_some() { 1 } else { u8::try_from(number % 3).unwrap() };
            let made = enqueue(&store, &shop, vec![NewJob { lane: lane.clone(), queue, rank, ..action() }; 3]).await;
            for seq in numbers(&made) {
                lanes.insert(seq, lane.clone().map(|lane| (shop.clone(), lane)));
                queues.insert(seq, number.is_multiple_of(4));
                all.push(seq);
            }
            if let Some(scheduler) = scheduler {
                scheduler.offer(&shop, made);
            }
        };
        for number in 0..40 {
            make(number, None).await;
        }
        let scheduler = start(&worker, config("a"));
        for number in 40..80 {
            make(number, Some(&scheduler)).await;
        }
        until("all jobs are done", || worker.done().len() == all.len()).await;
        stop(scheduler).await;
        assert_eq!(sorted(worker.done()), sorted(all.clone()));
        assert_eq!(waiting(&store).await, []);
        let began = worker.began.lock().unwrap().clone();
        assert_eq!(began.len(), 2 * all.len(), "something ran twice");
        check_lanes(&began, &lanes);
        let mut at_once = 0;
        for (seq, began) in began.iter().filter(|(seq, _)| queues[seq]) {
            at_once = if *began == Began::Start { at_once + 1 } else { at_once - 1 };
            assert!(at_once <= 2, "the queue's bound, at job {seq}");
        }
    })
    .await;
}

/// Of each lane one at a time, in the order of the numbers.
fn check_lanes(began: &[(i64, Began)], lanes: &HashMap<i64, Option<(Shop, String)>>) {
    let mut last: HashMap<&(Shop, String), (i64, Began)> = HashMap::new();
    for (seq, began) in began {
        let Some(lane) = &lanes[seq] else { continue };
        match (last.insert(lane, (*seq, *began)), began) {
            (None, Began::Start) => {}
            (Some((before, Began::End)), Began::Start) => {
                assert!(before < *seq, "{before} ran before {seq} in {lane:?}");
            }
            (Some((before, Began::Start)), Began::End) => assert_eq!(before, *seq, "two at once in {lane:?}"),
            (before, _) => panic!("{before:?}, then {began:?} of {seq} in {lane:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_offered_is_not_read_back() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let worker = Worker::new(&store, &clock, |job| if job.depth == 7 { Act::FinishAndMake } else { Act::Finish });
        let scheduler = start(&worker, Config { poll_ms: 60_000, ..config("a") });
        until_alone(&scheduler).await;
        let before = scheduler.stats();
        for number in 0..50 {
            // Some lie in a queue's partition, and what they make in the shop's.
            let queue = (number % 2 == 0).then(|| ("sync".to_owned(), 4));
            let made = enqueue(&store, &shop(number), vec![NewJob { depth: 7, queue, ..action() }]).await;
            scheduler.offer(&shop(number), made);
        }
        // Each makes another, which the scheduler takes in by itself.
        until("all are done", || worker.done().len() == 100).await;
        let stats = scheduler.stats();
        assert_eq!(stats.handed_over - before.handed_over, 100, "{stats:?}");
        assert_eq!(stats.refills, before.refills, "{stats:?}");
        assert_eq!(stats.last_error, None);
        stop(scheduler).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_room_in_memory_is_read_when_it_is_its_turn() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let large = Json::of(&"x".repeat(PAYLOADS_BYTES_MAX / 8)).unwrap();
        let (whole, is_first) = (large.clone(), AtomicBool::new(true));
        let worker = Worker::new(&store, &clock, move |job| match &job.payload {
            Some(payload) if *payload != whole => Act::Park,
            None => Act::Park,
            Some(_) if is_first.swap(false, Ordering::SeqCst) => Act::Hold,
            Some(_) => Act::Finish,
        });
        let made = |jobs: usize| vec![NewJob { payload: Some(large.clone()), ..action() }; jobs];
        // Some are read, the others offered; one of them runs, and all others wait.
        let read = enqueue(&store, &shop(1), made(12)).await;
        let scheduler = start(&worker, Config { jobs_in_flight_max: 1, poll_ms: 60_000, ..config("a") });
        until("one runs", || worker.starts() == 1).await;
        let offered = enqueue(&store, &shop(2), made(12)).await;
        scheduler.offer(&shop(2), offered.clone());
        eventually("the others wait", async || scheduler.stats().held == 23).await;
        let bytes = usize::try_from(scheduler.stats().payload_bytes).unwrap();
        assert!((PAYLOADS_BYTES_MAX / 2..=PAYLOADS_BYTES_MAX).contains(&bytes), "{bytes}");
        worker.let_go();
        until("all jobs are done", || worker.done().len() == 24).await;
        assert_eq!(sorted(worker.done()), sorted([numbers(&read), numbers(&offered)].concat()));
        eventually("nothing is kept", async || scheduler.stats().payload_bytes == 0).await;
        stop(scheduler).await;
    })
    .await;
}

/// On one thread the driver takes nothing in while the test fills its messages.
#[tokio::test]
async fn an_offer_that_does_not_fit_is_not_overtaken() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let worker = Worker::new(&store, &clock, |_| Act::Finish);
        let scheduler = start(&worker, Config { poll_ms: 60_000, ..config("a") });
        until_alone(&scheduler).await;
        let in_lane = |number: usize| NewJob { lane: Some(format!("product {}", number % 20)), ..action() };
        let mut firsts = enqueue(&store, &shop(1), (0..40).map(in_lane).collect()).await;
        let lanes = firsts.iter().map(|(seq, job)| (*seq, job.lane.clone().map(|lane| (shop(1), lane)))).collect();
        let seconds = firsts.split_off(20);
        for _ in 0..MESSAGES_MAX {
            scheduler.wake();
        }
        scheduler.offer(&shop(1), firsts);
        // Now the driver begins to take in what it was told: there is room again.
        tokio::task::yield_now().await;
        scheduler.offer(&shop(1), seconds);
        until("all jobs are done", || worker.done().len() == 40).await;
        check_lanes(&worker.began.lock().unwrap(), &lanes);
        assert_eq!(scheduler.stats().handed_over, 0, "they were read, in their order");
        stop(scheduler).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_shop_does_not_wait_for_a_large_one() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let worker = Worker::new(&store, &clock, |_| Act::Finish);
        let large = enqueue(&store, &shop(1), vec![action(); 2_000]).await;
        let small = enqueue(&store, &shop(2), vec![action()]).await;
        let scheduler = start(&worker, Config { jobs_in_flight_max: 8, ..config("a") });
        until("all jobs are done", || worker.done().len() == large.len() + 1).await;
        stop(scheduler).await;
        let done = worker.done();
        let place = done.iter().position(|seq| *seq == small[0].0).unwrap();
        // Which of the two partitions is taken first is nobody's business: it is the turn after it was seen that counts.
        let first = done.iter().position(|seq| *seq == large[0].0).unwrap();
        println!("the small shop's job was number {place}, the large shop's first {first}");
        assert!(place < 300, "the small shop's job was number {place}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_operator_lets_run_again_runs() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        let clock = Frozen::new();
        let worker = Worker::new(&store, &clock, |job| if job.error.is_none() { Act::Park } else { Act::Finish });
        let made = enqueue(&store, &shop(1), vec![action(); 3]).await;
        let scheduler = start(&worker, Config { poll_ms: 60_000, ..config("a") });
        eventually("all are parked", async || {
            waiting(&store).await.iter().all(|job| job.state == tradewind_store::JobState::Parked)
        })
        .await;
        store.retry_jobs(&JobFilter { shop: Some("shop-1.example".to_owned()), ..JobFilter::default() }).await.unwrap();
        scheduler.look(shop(1).partition(), &shop(1));
        until("all are done", || sorted(worker.done()) == numbers(&made)).await;
        stop(scheduler).await;
    })
    .await;
}
