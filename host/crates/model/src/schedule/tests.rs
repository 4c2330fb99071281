//! Each rule alone, most of them beside a shop that does its worst.

use super::simulation::{Database, shop};
use super::{Forgotten, HELD_PER_RANK_MAX, Head, Offered, Schedule};
use crate::job_options::Priority;
use crate::tenant::Shop;

const HIGH: Priority = Priority::High;
const DEFAULT: Priority = Priority::Default;
const LOW: Priority = Priority::Low;

/// A schedule of many slots over a database, with nothing read yet.
fn over(database: &Database, slots: usize) -> Schedule<()> {
    let mut schedule = Schedule::new(slots, 1_000_000);
    for row in database.rows.values() {
        schedule.more(row.head.part, &row.head.shop, row.head.rank, row.head.seq);
    }
    schedule
}

/// Has all jobs of a shop read that are in no queue.
fn rescan(schedule: &mut Schedule<()>, shop: &Shop) {
    schedule.rescan(shop.partition(), shop, 0);
}

/// Starts what can be started now.
fn starts(schedule: &mut Schedule<()>, now_ms: u64) -> Vec<i64> {
    std::iter::from_fn(|| schedule.next(now_ms)).map(|head| head.seq).collect()
}

#[test]
fn a_lane_runs_in_order_and_waits_for_a_retry_but_not_for_a_parked_job() {
    let mut database = Database::default();
    let jobs: Vec<Head<()>> = (0..4).map(|_| database.insert(&shop(1), Some("a"), None, DEFAULT)).collect();
    let mut schedule = Schedule::new(8, 1_000);
    for job in &jobs {
        assert_eq!(schedule.offer_fresh(job.clone()), Offered::Held);
    }
    assert_eq!(starts(&mut schedule, 0), [1]);
    assert!(schedule.put_back(Head { not_before_ms: 50, ..jobs[0].clone() }, 10));
    assert_eq!((starts(&mut schedule, 49), schedule.wake_at()), (vec![], Some(50)));
    assert_eq!(starts(&mut schedule, 50), [1]);
    assert!(schedule.done(1, 10), "parked");
    database.done_without_start(1);
    database.refill(&mut schedule);
    assert_eq!(starts(&mut schedule, 50), [2]);
    assert_eq!(schedule.forget(&shop(1), 3), Forgotten::Held);
    assert_eq!((schedule.forget(&shop(1), 3), schedule.forget(&shop(1), 2)), (Forgotten::Unknown, Forgotten::Running));
    schedule.done(2, 10);
    assert_eq!(starts(&mut schedule, 50), [4]);
}

#[test]
fn a_queue_is_bounded_over_all_shops_of_an_app() {
    let mut database = Database::default();
    for number in 0..1_000 {
        database.insert(&shop(number), None, Some(("sync", 3)), DEFAULT);
    }
    let other = database.insert(&shop(5), None, None, DEFAULT).seq;
    let mut schedule = over(&database, 8);
    database.refill(&mut schedule);
    let started = starts(&mut schedule, 0);
    assert_eq!(started.len(), 4, "three of the queue and one without");
    assert!(started.contains(&other));
    for seq in started.into_iter().filter(|seq| *seq != other) {
        schedule.done(seq, 10);
    }
    assert_eq!(starts(&mut schedule, 0).len(), 3);
}

#[test]
fn ranks_go_first_but_lower_ones_do_not_starve() {
    let mut database = Database::default();
    let ranks = [LOW, DEFAULT, HIGH];
    for rank in ranks {
        (0..300).for_each(|_| drop(database.insert(&shop(1), None, None, rank)));
    }
    let mut schedule = over(&database, 1);
    let order = database.drain(&mut schedule, &mut 0, usize::MAX);
    let first = |rank: i64| order.iter().take(180).filter(|seq| (*seq - 1) / 300 == rank).count();
    assert_eq!(order[..8], [601, 602, 603, 604, 605, 606, 607, 608]);
    assert_eq!((first(2), first(1), first(0)), (152, 18, 10), "of the first 180");
    assert_eq!(order.len(), 900);
}

#[test]
fn a_shop_with_a_hundred_thousand_jobs_does_not_hold_up_another() {
    for (lane, queue) in [(None, None), (Some("one"), None), (None, Some(("one", 1)))] {
        let mut database = Database::default();
        (0..100_000).for_each(|_| drop(database.insert(&shop(1), lane, queue, DEFAULT)));
        let mut schedule = Schedule::new(4, 1_000_000);
        schedule.rescan(shop(1).partition_of_job(queue.map(|(name, _)| name)), &shop(1), 0);
        let mut now_ms = 0;
        database.drain(&mut schedule, &mut now_ms, 50);
        let small = database.insert(&shop(2), None, None, DEFAULT);
        let same = database.insert(&shop(1), Some("other"), None, DEFAULT);
        schedule.offer_fresh(small.clone());
        schedule.offer_fresh(same.clone());
        let order = database.drain(&mut schedule, &mut now_ms, 1_000);
        assert!(order[..2].contains(&small.seq), "{order:?}");
        // Without lane and queue, the shop's own jobs are in their order; else reading goes past the one strand.
        assert_eq!(order.contains(&same.seq), lane.is_some() || queue.is_some());
        assert!(schedule.held() <= HELD_PER_RANK_MAX, "{}", schedule.held());
        assert!(order.iter().filter(|seq| **seq != same.seq && **seq != small.seq).is_sorted());
    }
}

#[test]
fn shops_share_run_time_and_not_starts() {
    let mut database = Database::default();
    for number in [1, 2] {
        (0..2_000).for_each(|_| drop(database.insert(&shop(number), None, None, DEFAULT)));
    }
    let mut schedule = over(&database, 1);
    let mut ran_us = [0_u64; 2];
    for _ in 0..1_000 {
        database.refill(&mut schedule);
        let head = schedule.next(0).unwrap();
        let slow = head.shop == shop(1);
        let cost = if slow { 100_000 } else { 1_000 };
        ran_us[usize::from(slow)] += cost;
        schedule.done(head.seq, cost);
        database.done_without_start(head.seq);
    }
    assert!(ran_us[0].abs_diff(ran_us[1]) <= 200_000, "{ran_us:?}");
}

#[test]
fn idleness_saves_nothing_up() {
    let mut database = Database::default();
    let first = database.insert(&shop(2), None, None, DEFAULT);
    (0..400).for_each(|_| drop(database.insert(&shop(1), None, None, DEFAULT)));
    let mut schedule = over(&database, 1);
    assert!(database.drain(&mut schedule, &mut 0, 200).contains(&first.seq));
    for _ in 0..200 {
        let head = database.insert(&shop(2), None, None, DEFAULT);
        schedule.offer_fresh(head);
    }
    let order = database.drain(&mut schedule, &mut 0, 100);
    let late = order.iter().filter(|seq| **seq > 401).count();
    assert!((48..=52).contains(&late), "{late} of 100");
}

#[test]
fn a_shop_takes_its_share_of_the_slots_and_never_the_last() {
    let mut database = Database::default();
    for number in [1, 2, 3] {
        (0..100).for_each(|_| drop(database.insert(&shop(number), None, None, DEFAULT)));
    }
    let mut schedule = Schedule::new(16, 1_000);
    rescan(&mut schedule, &shop(1));
    database.refill(&mut schedule);
    assert_eq!(starts(&mut schedule, 0).len(), 12, "alone: all but a quarter");
    rescan(&mut schedule, &shop(2));
    rescan(&mut schedule, &shop(3));
    database.refill(&mut schedule);
    assert_eq!(starts(&mut schedule, 0).len(), 2, "each of the others at once");
    for seq in 1..=12 {
        schedule.done(seq, 1_000);
    }
    let started = starts(&mut schedule, 0);
    let of = |shop: i64| started.iter().filter(|seq| (*seq - 1) / 100 == shop).count();
    assert!((0..3).all(|shop| of(shop) <= 8), "{started:?}");
}

#[test]
fn lanes_in_retry_do_not_hide_the_others() {
    let mut database = Database::default();
    let lanes = 2_000;
    for lane in (0..lanes).flat_map(|lane| [lane; 3]) {
        database.insert(&shop(1), Some(&format!("{lane}")), None, DEFAULT);
    }
    let good = database.insert(&shop(1), Some("good"), None, DEFAULT).seq;
    let mut schedule = over(&database, 4);
    let mut starts = 0;
    loop {
        database.refill(&mut schedule);
        let Some(head) = schedule.next(0) else { break };
        starts += 1;
        if head.seq == good {
            break;
        }
        let not_before_ms = 1_000_000;
        database.retry(head.seq, not_before_ms);
        assert!(schedule.put_back(Head { not_before_ms, ..head }, 10));
    }
    assert_eq!((starts, schedule.wake_at()), (lanes + 1, Some(1_000_000)));
    assert!(schedule.held() <= lanes, "one for each lane in retry: {}", schedule.held());
}

#[test]
fn what_ended_during_a_read_does_not_run_again() {
    let mut database = Database::default();
    let jobs: Vec<_> = (0..3).map(|_| database.insert(&shop(1), None, None, DEFAULT)).collect();
    let mut schedule = Schedule::new(8, 1_000);
    for job in &jobs[..2] {
        schedule.offer_fresh(job.clone());
    }
    rescan(&mut schedule, &shop(1));
    let refills = schedule.hungry(9);
    assert_eq!(refills.len(), 3, "one for each rank");
    let answers: Vec<_> = refills.iter().map(|refill| database.read(refill)).collect();
    assert_eq!(starts(&mut schedule, 0), [1, 2]);
    schedule.done(1, 10);
    let fresh = database.insert(&shop(1), None, None, DEFAULT);
    assert_eq!(schedule.offer_fresh(fresh), Offered::Spilled, "there are others before it");
    for (refill, (rows, end)) in refills.iter().zip(answers) {
        schedule.refill(refill, rows.clone(), end);
        assert_eq!(schedule.refill(refill, rows, end), super::Refilled::default(), "answered already");
    }
    assert_eq!(starts(&mut schedule, 0), [3]);
    database.done_without_start(1);
    assert_eq!(database.refill(&mut schedule), 1, "for the one that came meanwhile");
    assert_eq!(starts(&mut schedule, 0), [4]);
}

#[test]
fn a_full_schedule_still_reads_a_little_for_each_shop() {
    let mut database = Database::default();
    for number in 0..100 {
        (0..100).for_each(|_| drop(database.insert(&shop(number), None, None, DEFAULT)));
    }
    let mut schedule = Schedule::new(2, 300);
    for number in 0..100 {
        rescan(&mut schedule, &shop(number));
    }
    while database.refill(&mut schedule) > 0 {}
    assert!(schedule.held() <= 300 + 256 + 100 * super::HELD_PER_RANK_TIGHT, "{}", schedule.held());
    let order = database.drain(&mut schedule, &mut 0, 300);
    let shops: std::collections::HashSet<_> = order.iter().map(|seq| (*seq - 1) / 100).collect();
    assert_eq!(shops.len(), 100);
}

#[test]
fn a_dropped_partition_is_gone_with_all_that_runs_and_nothing_else() {
    let mut database = Database::default();
    for number in [1, 2] {
        (0..3).for_each(|_| drop(database.insert(&shop(number), None, Some(("sync", 2)), DEFAULT)));
    }
    (0..2).for_each(|_| drop(database.insert(&shop(1), Some("a"), None, DEFAULT)));
    let queue = shop(1).partition_of_job(Some("sync"));
    assert!(![1, 2].map(|number| shop(number).partition()).contains(&queue));
    let mut schedule = over(&database, 8);
    database.refill(&mut schedule);
    assert_eq!(starts(&mut schedule, 0), [1, 4, 7], "one of each shop, and then the lane's first");
    let mut dropped = schedule.drop_partitions(|part| part == queue);
    dropped.sort_unstable();
    assert_eq!(dropped, [1, 4]);
    assert_eq!((schedule.shops(), schedule.running(), schedule.held()), (1, 1, 1), "the lane of the first shop");
    assert!(schedule.has_work(shop(1).partition(), &shop(1)) && !schedule.has_work(queue, &shop(1)));
    assert!(schedule.done(7, 10), "what runs elsewhere goes on");
    assert_eq!(starts(&mut schedule, 0), [8]);
    // It comes back, with the queue's places free.
    for number in [1, 2] {
        schedule.rescan(queue, &shop(number), 0);
    }
    database.refill(&mut schedule);
    assert_eq!(starts(&mut schedule, 0).len(), 2);
    assert_eq!(schedule.drop_partitions(|_| true).len(), 3);
    assert_eq!((schedule.shops(), schedule.running(), schedule.held()), (0, 0, 0));
}

#[test]
fn each_partition_is_read_by_itself() {
    let mut database = Database::default();
    let queued: Vec<_> = (0..2).map(|_| database.insert(&shop(1), None, Some(("sync", 9)), DEFAULT)).collect();
    let own = database.insert(&shop(1), None, None, DEFAULT);
    assert_ne!(own.part, queued[0].part);
    let mut schedule = Schedule::new(8, 1_000);
    // What is unread in one is nothing to the other.
    schedule.more(queued[0].part, &shop(1), DEFAULT, 1);
    assert_eq!(schedule.offer_fresh(own), Offered::Held);
    assert_eq!(schedule.offer_fresh(queued[1].clone()), Offered::Spilled);
    let refills = schedule.hungry(9);
    assert_eq!(refills.iter().map(|refill| refill.part).collect::<Vec<_>>(), [queued[0].part]);
    let (rows, end) = database.read(&refills[0]);
    assert_eq!((rows.len(), end), (2, true));
    schedule.refill(&refills[0], rows, end);
    assert_eq!(starts(&mut schedule, 0), [1, 2, 3]);
}

#[test]
fn a_shops_run_time_counts_over_all_its_partitions() {
    let mut database = Database::default();
    for queue in [None, Some(("sync", 9)), Some(("export", 9))] {
        (0..200).for_each(|_| drop(database.insert(&shop(1), None, queue, DEFAULT)));
    }
    (0..200).for_each(|_| drop(database.insert(&shop(2), None, None, DEFAULT)));
    let parts: std::collections::HashSet<_> = database.rows.values().map(|row| row.head.part).collect();
    assert_eq!(parts.len(), 4);
    let mut schedule = over(&database, 1);
    let order = database.drain(&mut schedule, &mut 0, 200);
    let second = order.iter().filter(|seq| **seq > 600).count();
    assert!((98..=102).contains(&second), "{second} of 200");
}

#[test]
fn a_shop_never_has_more_than_three_quarters_of_the_slots() {
    for (slots, most) in [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (8, 6), (64, 48), (256, 192)] {
        let mut database = Database::default();
        for number in 0..slots {
            // In partitions of its own, too: the bound is the shop's.
            let queue = if number % 2 == 0 { None } else { Some(("sync", 1_000)) };
            (0..2).for_each(|_| drop(database.insert(&shop(1), None, queue, DEFAULT)));
        }
        let mut schedule = over(&database, slots);
        while database.refill(&mut schedule) > 0 {}
        assert_eq!(starts(&mut schedule, 0).len(), most, "alone with {slots} slots");
        assert_eq!(schedule.wake_at(), None);
        // Nothing of it has to end for the others.
        for number in 0..slots - most {
            let other = database.insert(&shop(2 + number as u64), None, None, DEFAULT);
            assert_eq!(schedule.offer_fresh(other.clone()), Offered::Held);
            assert_eq!(starts(&mut schedule, 0), [other.seq], "beside {most} of {slots}");
        }
        assert_eq!(schedule.running(), slots);
        let first = database.rows.values().map(|row| row.head.seq).min().unwrap();
        assert!(schedule.done(first, 10));
        if slots == most {
            assert_eq!(starts(&mut schedule, 0).len(), 1, "its own place");
        }
    }
}
