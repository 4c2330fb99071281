//! What a shop keeps is counted in step with what is there, and bounded by quotas.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::{Connection as _, PgConnection};
use tradewind_model::{RecordKey, Shop};
use tradewind_store::{
    CommitError, Committed, Growth, How, JobFilter, JobKind, NewInvocation, NewJob, Quota, QuotaExceeded, Quotas,
    Store, Unit, Usage, Write,
};
use tradewind_tests::stores::{
    Build as _, NOW_MS, Place, action, action_called, commit, commit_together, delivery, enqueue, jobs, json, on_both,
    other_shop, park, product, shop, together, unit,
};

use super::run_sql;

/// A job that a plugin enqueues.
fn by_plugin() -> NewJob {
    NewJob { by_plugin: true, ..action() }
}

fn entry(detail: usize) -> NewInvocation {
    NewInvocation {
        delivery_seq: None,
        job_seq: None,
        job_id: None,
        plugin: Some("tagger".to_owned()),
        version: None,
        action: None,
        phase: Some("run"),
        outcome: "ok".to_owned(),
        detail: Some(json(&format!("\"{}\"", "é".repeat(detail)))),
        attempt: 1,
        duration_us: 7,
    }
}

fn logging(detail: usize) -> Unit {
    Unit { log: vec![entry(detail)], ..unit() }
}

/// What a shop keeps, which is what a recount finds.
async fn kept(store: &Store, of: &Shop) -> Usage {
    let counted = store.count_usage(of).await.unwrap();
    assert_eq!(counted.drift, Usage::default(), "{of} keeps {:?}", counted.counted);
    assert_eq!(store.usage(of).await.unwrap(), counted.counted);
    counted.counted
}

/// How a commit was refused, as a person reads it.
fn refused(answer: Result<Committed, CommitError>) -> String {
    match answer {
        Err(error @ CommitError::Quota(_)) => error.to_string(),
        answer => panic!("{answer:?}"),
    }
}

#[tokio::test]
async fn each_thing_is_counted() {
    on_both(async |place| {
        let store = place.open().await;
        let payload = NewJob { policy: Some(json("[1]")), ..action_called("a") };
        let carries = i64::try_from(payload.payload.as_ref().unwrap().as_str().len()).unwrap() + 3;
        let job = enqueue(&store, payload.clone()).await;
        let mut expected = Usage { jobs: 1, job_bytes: carries, ..Usage::default() };
        assert_eq!(kept(&store, &shop()).await, expected);
        // A checkpoint replaces the one before it.
        for (state, bytes) in [("[1,2,3]", 7), ("\"é\"", 4)] {
            commit(&store, unit().finish(job, How::Checkpoint { state: json(state) })).await;
            assert_eq!(kept(&store, &shop()).await.job_bytes, carries + bytes);
        }
        commit(&store, unit().finish(job, park("stuck"))).await;
        assert_eq!(kept(&store, &shop()).await.jobs, 1, "what is parked takes room");
        store.purge_jobs(&JobFilter::default()).await.unwrap();
        let cancelled = enqueue(&store, payload).await;
        assert_eq!(kept(&store, &shop()).await, expected, "{cancelled}");
        commit(&store, unit().cancel("a").cancel("b")).await;
        expected = Usage::default();
        assert_eq!(kept(&store, &shop()).await, expected);
        // Documents that a unit knows, and those that it does not.
        let (hat, cap) = (product("hat"), RecordKey::new("~note", "cap"));
        let versions = commit(&store, unit().insert(&hat, r#"{"title":"é"}"#).insert(&cap, "{}")).await.versions;
        expected = Usage { records: 2, record_bytes: 16, ..expected };
        assert_eq!(kept(&store, &shop()).await, expected);
        let mut known = unit().update(&hat, versions[0], "{}").delete(&cap, versions[1]);
        known.writes[0].before = Some(json(r#"{"title":"é"}"#));
        let hat_version = commit(&store, known).await.versions[0];
        expected = Usage { records: 1, record_bytes: 2, ..expected };
        assert_eq!(kept(&store, &shop()).await, expected);
        commit(&store, unit().delete(&hat, hat_version)).await;
        assert_eq!(kept(&store, &shop()).await, Usage::default());
        // A delivery with its job; the second time nothing.
        let headers = i64::try_from(delivery("1", b"x").headers.as_str().len()).unwrap();
        let body = i64::try_from(delivery("1", b"x").body.len()).unwrap();
        commit(&store, unit().delivery(delivery("1", b"x"))).await;
        commit(&store, unit().delivery(delivery("1", b"x"))).await;
        expected = Usage { jobs: 1, body_bytes: body + headers + 512, ..Usage::default() };
        assert_eq!(kept(&store, &shop()).await, expected);
        commit(&store, logging(3)).await;
        expected.log_bytes = 8 + 256;
        assert_eq!(kept(&store, &shop()).await, expected);
        assert_eq!(kept(&store, &other_shop(1)).await, Usage::default());
    })
    .await;
}

/// A unit of anything, drawn from a seed.
fn drawn(rng: &mut StdRng, store_jobs: &[(Shop, i64)], at: i64) -> Unit {
    let of = other_shop(rng.random_range(1..4));
    let mut drawn = Unit::new(of.clone(), NOW_MS + at);
    let own: Vec<_> = store_jobs.iter().filter(|(shop, _)| *shop == of).collect();
    if rng.random_bool(0.4) && !own.is_empty() {
        let how = match rng.random_range(0..5) {
            0 => How::Checkpoint { state: json(&format!("\"{}\"", "x".repeat(rng.random_range(0..90)))) },
            1 => park("stuck"),
            2 => How::Again { attempts: 1, run_at_ms: NOW_MS, error: None },
            _ => How::Done,
        };
        drawn = drawn.finish(own[rng.random_range(0..own.len())].1, how);
    }
    for id in 0..4 {
        if rng.random_bool(0.2) {
            let model = ["shopify/product", "~deleted"][rng.random_range(0..2)];
            let doc = json(&format!("\"{}\"", "é".repeat(rng.random_range(0..50))));
            let doc = rng.random_bool(0.8).then_some(doc);
            let key = RecordKey::new(model, format!("{id}"));
            // Mostly wrong, so that many units fail.
            let expected = rng.random_bool(0.3).then(|| rng.random_range(1..400));
            drawn.writes.push(Write { key, expected, before: None, doc, platform_updated_us: None });
        }
    }
    for _ in 0..rng.random_range(0..3) {
        let id = rng.random_range(0..60_u32).to_string();
        drawn = drawn.delivery(delivery(&id, "x".repeat(rng.random_range(0..200)).as_bytes()));
    }
    for _ in 0..rng.random_range(0..3) {
        let id = rng.random_bool(0.5).then(|| rng.random_range(0..5_u32).to_string());
        let on_duplicate = if rng.random_bool(0.5) {
            tradewind_store::OnDuplicate::Ignore
        } else {
            tradewind_store::OnDuplicate::Error
        };
        drawn = drawn.job(NewJob { id, on_duplicate, ..by_plugin() });
    }
    if rng.random_bool(0.2) {
        drawn = drawn.cancel(&rng.random_range(0..5_u32).to_string());
    }
    if rng.random_bool(0.5) {
        drawn.log.push(entry(rng.random_range(0..60)));
    }
    drawn
}

/// Retention, operators and a host that dies between the batches.
#[tokio::test]
async fn usage_is_what_a_recount_finds_whatever_happened() {
    on_both(async |place| {
        for seed in [3, 4] {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut store = place.open().await;
            store.set_quotas(Quotas { shop_body_bytes_max: 20_000, shop_log_bytes_max: 9_000, ..Quotas::default() });
            let (mut committed, mut failed) = (0, 0);
            for batch in 0..60 {
                let known: Vec<_> = jobs(&store).await.into_iter().map(|job| (job.shop, job.seq)).collect();
                let units: Vec<_> = (0..rng.random_range(1..8)).map(|_| drawn(&mut rng, &known, batch)).collect();
                if rng.random_bool(0.1) {
                    // Handed over, and nobody waits for what becomes of them.
                    for unit in units {
                        let _ = tokio::time::timeout(std::time::Duration::ZERO, store.commit(unit)).await;
                    }
                    drop(store);
                    store = place.open().await;
                    store.set_quotas(Quotas { shop_log_bytes_max: 9_000, ..Quotas::default() });
                } else {
                    for answer in commit_together(&store, units).await {
                        if answer.is_ok() { committed += 1 } else { failed += 1 }
                    }
                }
                match rng.random_range(0..12) {
                    0 => drop(store.purge_jobs(&JobFilter::default()).await.unwrap()),
                    1 => drop(store.retry_jobs(&JobFilter::default()).await.unwrap()),
                    2 => drop(store.prune(NOW_MS + batch, NOW_MS + batch - 5, NOW_MS + batch - 5).await.unwrap()),
                    _ => {}
                }
            }
            assert!(committed > 60 && failed > 20, "{committed} and {failed}");
            store.close().await;
            let store = place.open().await;
            for number in 1..4 {
                let kept = kept(&store, &other_shop(number)).await;
                assert!(kept.jobs > 0 && kept.body_bytes > 0 && kept.log_bytes > 0, "{kept:?}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn many_units_at_once_do_not_overshoot() {
    on_both(async |place| {
        let store = place.open().await;
        let quotas = Quotas { shop_jobs_waiting_max: 50, shop_records_max: 10, ..Quotas::default() };
        store.set_quotas(quotas);
        let answers = commit_together(&store, vec![unit().job(by_plugin()); 256]).await;
        let made: Vec<i64> = answers.iter().flatten().filter_map(|committed| committed.jobs[0]).collect();
        assert_eq!((made.len(), kept(&store, &shop()).await.jobs), (50, 50));
        let full = |added: u64| {
            CommitError::Quota(QuotaExceeded { quota: Quota::JobsWaiting, max: 50, used: 50, added })
        };
        assert!(answers.iter().all(|answer| answer.is_ok() || *answer == Err(full(1))), "{answers:?}");
        assert_eq!(
            refused(store.commit(unit().job(by_plugin()).job(by_plugin())).await),
            "the shop has 50 unfinished jobs and 2 more were to come, at most 50 may be (`shop_jobs_waiting_max`); hint: \
             enqueue one job for many records, or wait until some are done"
        );
        // Another shop does not notice.
        commit(&store, unit().of(&other_shop(1)).job(by_plugin())).await;
        // A job that ends leaves its room to another.
        commit(&store, unit().finish(made[1], How::Done)).await;
        let answers = commit_together(&store, vec![unit().job(by_plugin()); 9]).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        // The host's own promises are kept, up to as much again.
        let success = || NewJob::new(JobKind::Success, None);
        let answers = commit_together(&store, (0..40).map(|_| unit().job(success())).collect()).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let answers =
            commit_together(&store, (0..20).map(|at| unit().delivery(delivery(&at.to_string(), b"x"))).collect()).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10, "{answers:?}");
        assert_eq!(kept(&store, &shop()).await.jobs, 100);
        // The same for records.
        let insert = |id: u32| unit().insert(&product(&id.to_string()), "{}");
        let answers = commit_together(&store, (0..256).map(insert).collect()).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10);
        assert_eq!(kept(&store, &shop()).await.records, 10);
        assert_eq!(
            store.quota_refusals().into_iter().map(|(app, quota, count)| (app.to_string(), quota, count)).collect::<Vec<_>>(),
            [("tagger".to_owned(), Quota::JobsWaiting, 206 + 1 + 8 + 10), ("tagger".to_owned(), Quota::Records, 246)]
        );
    })
    .await;
}

#[tokio::test]
async fn each_quota_says_what_is_full() {
    on_both(async |place| {
        let store = place.open().await;
        store.set_quotas(Quotas {
            shop_job_bytes_max: 100,
            shop_jobs_per_minute_max: 20,
            shop_records_max: 2,
            shop_record_bytes_max: 20,
            ..Quotas::default()
        });
        let large = NewJob { payload: Some(json(&format!("\"{}\"", "x".repeat(99)))), ..by_plugin() };
        assert_eq!(
            refused(store.commit(unit().job(large)).await),
            "the shop has 0 bytes of unfinished jobs and 101 more were to come, at most 100 may be (`shop_job_bytes_max`); \
             hint: enqueue ids instead of documents, or wait until some jobs are done"
        );
        let light = || NewJob { payload: None, ..by_plugin() };
        for _ in 0..20 {
            let job = commit(&store, unit().job(light())).await.jobs[0].unwrap();
            commit(&store, unit().finish(job, How::Done)).await;
        }
        let now = |ms: i64| Unit { now_ms: NOW_MS + ms, ..unit() };
        assert_eq!(
            refused(store.commit(now(2_999).job(light())).await),
            "the shop has 20 jobs enqueued within a minute and 1 more were to come, at most 20 may be \
             (`shop_jobs_per_minute_max`); hint: enqueue one job for many records, or try again in a minute"
        );
        commit(&store, now(3_000).job(light())).await;
        let (hat, cap) = (product("hat"), product("cap"));
        let version = commit(&store, unit().insert(&hat, "{}")).await.versions[0];
        assert_eq!(
            refused(store.commit(unit().insert(&cap, r#"{"title":"a large cap"}"#)).await),
            "the shop has 2 bytes of records and 23 more were to come, at most 20 may be (`shop_record_bytes_max`); hint: \
             keep less in each record, or delete records that are not needed"
        );
        commit(&store, unit().insert(&cap, "{}")).await;
        assert_eq!(
            refused(store.commit(unit().insert(&product("fez"), "1")).await),
            "the shop has 2 records and 1 more were to come, at most 2 may be (`shop_records_max`); hint: delete records \
             that are not needed"
        );
        // The host's own notes are kept, and what makes room is always welcome.
        commit(&store, unit().insert(&RecordKey::new("~deleted", "1"), r#"{"a":"much longer than it may be"}"#)).await;
        commit(&store, unit().delete(&hat, version)).await;
        let growth = Growth { usage: Usage { records: 1, ..Usage::default() }, ..Growth::default() };
        assert!(matches!(store.check_quotas(&shop(), &growth, NOW_MS).await, Err(CommitError::Quota(_))));
        assert_eq!(store.check_quotas(&other_shop(1), &growth, NOW_MS).await, Ok(()));
        kept(&store, &shop()).await;
    })
    .await;
}

#[tokio::test]
async fn the_oldest_webhooks_make_room_and_those_with_jobs_stay() {
    on_both(async |place| {
        let store = place.open().await;
        store.set_quotas(Quotas { shop_body_bytes_max: 16_000, ..Quotas::default() });
        let keep = async |id: u32| {
            // Nothing in it repeats, so that it stays as large as it is.
            let mut rng = StdRng::seed_from_u64(id.into());
            let body: Vec<u8> = (0..400).map(|_| rng.random_range(0..=255)).collect();
            store.commit(unit().delivery(delivery(&id.to_string(), &body))).await
        };
        let mut seqs = Vec::new();
        for id in 0..100 {
            let committed = keep(id).await.unwrap();
            let tradewind_store::Ingested::New { seq, job } = committed.deliveries[0] else { panic!("{committed:?}") };
            seqs.push(seq);
            // The first one waits for a person.
            let how = if id == 0 { park("stuck") } else { How::Done };
            commit(&store, unit().finish(job, how)).await;
            assert!(kept(&store, &shop()).await.body_bytes <= 16_000);
        }
        let there = async |seq: i64| store.delivery(seq).await.unwrap().is_some();
        assert!(there(seqs[0]).await && !there(seqs[1]).await && there(seqs[99]).await && there(seqs[90]).await);
        // When all of them have jobs, nothing more is kept for this shop.
        let mut last = None;
        for id in 100..200 {
            last = Some(keep(id).await);
            if last.as_ref().is_some_and(Result::is_err) {
                break;
            }
        }
        let Some(Err(CommitError::Quota(exceeded))) = last else { panic!("{last:?}") };
        assert_eq!((exceeded.quota, exceeded.max), (Quota::BodyBytes, 16_000));
        assert!(exceeded.to_string().ends_with(
            "at most 16000 may be (`shop_body_bytes_max`); hint: every kept webhook still has a job; run, retry or purge them"
        ));
        assert!(kept(&store, &shop()).await.body_bytes > 14_000);
        commit(&store, unit().of(&other_shop(1)).delivery(delivery("1", &[7; 4_000]))).await;
    })
    .await;
}

#[tokio::test]
async fn the_oldest_entries_of_the_log_make_room() {
    on_both(async |place| {
        let store = place.open().await;
        store.set_quotas(Quotas { shop_log_bytes_max: 300_000, ..Quotas::default() });
        commit(&store, Unit { log: vec![entry(1)], ..unit().of(&other_shop(1)) }).await;
        for _ in 0..40 {
            commit(&store, Unit { log: vec![entry(5); 50], ..unit() }).await;
            assert!(kept(&store, &shop()).await.log_bytes <= 300_000);
        }
        assert!(kept(&store, &shop()).await.log_bytes > 250_000, "no more is deleted than has to be");
        assert_eq!(kept(&store, &other_shop(1)).await.log_bytes, 256 + 4, "of another shop nothing is deleted");
    })
    .await;
}

#[tokio::test]
async fn what_another_host_did_is_seen_before_a_unit_is_refused() {
    on_both(async |place| {
        let (here, there) = (place.open().await, place.open().await);
        let quotas = Quotas { shop_jobs_waiting_max: 5, ..Quotas::default() };
        here.set_quotas(quotas);
        there.set_quotas(quotas);
        let seqs = commit(&here, (0..5).fold(unit(), |unit, _| unit.job(by_plugin()))).await.jobs;
        refused(there.commit(unit().job(by_plugin())).await);
        for seq in seqs.into_iter().flatten() {
            commit(&here, unit().finish(seq, How::Done)).await;
        }
        // It looks again when what it knows is a second old.
        let mut answer = there.commit(unit().job(by_plugin())).await;
        while answer.is_err() {
            tokio::task::yield_now().await;
            answer = there.commit(unit().job(by_plugin())).await;
        }
        assert_eq!(kept(&there, &shop()).await.jobs, 1);
    })
    .await;
}

/// A delivery waits for no transaction of jobs that has counted already.
#[tokio::test]
async fn a_delivery_does_not_wait_for_the_counters_of_jobs() {
    let place = Place::postgres();
    let Place::Postgres(url) = &place else { unreachable!("it was asked for") };
    let store = place.open().await;
    enqueue(&store, action()).await;
    let mut job = PgConnection::connect(url).await.unwrap();
    let count = "BEGIN; UPDATE usage SET jobs = jobs + 1, version = version + 1 WHERE line = 0";
    sqlx::raw_sql(count).execute(&mut job).await.unwrap();
    commit(&store, unit().delivery(delivery("1", b"x"))).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut job).await.unwrap();
    assert_eq!(kept(&store, &shop()).await.jobs, 2);
}

#[tokio::test]
async fn counters_that_are_wrong_are_put_right_beside_the_traffic() {
    on_both(async |place| {
        let store = place.open().await;
        for number in 0..3 {
            let of = other_shop(number);
            commit(&store, unit().of(&of).job(action()).insert(&product("1"), "{}").delivery(delivery("1", b"x")))
                .await;
        }
        run_sql(&place, "DELETE FROM jobs; UPDATE usage SET record_bytes = record_bytes + 7, log_bytes = -3").await;
        let mut after = None;
        let mut shops = Vec::new();
        loop {
            let next = store.shops_with_usage(after.as_ref(), 2).await.unwrap();
            let Some(last) = next.last() else { break };
            after = Some(last.clone());
            shops.extend(next);
        }
        assert_eq!(shops.len(), 3);
        for of in &shops {
            let (recount, committed) =
                tokio::join!(store.recount(of), store.commit(unit().of(of).insert(&product("2"), "{}")));
            assert!(committed.is_ok());
            let drift = recount.unwrap().drift;
            assert_eq!((drift.record_bytes, drift.log_bytes), (-7, 3), "{drift:?}");
            assert!(drift.jobs < 0 && drift.records == 0);
            assert_eq!(kept(&store, of).await.records, 2);
        }
        let fullest = store.fullest_shops(&Quotas { shop_records_max: 8, ..Quotas::default() }, None, None, 2).await;
        let fullest = fullest.unwrap();
        assert_eq!((fullest.len(), fullest[0].share_permille), (2, 250), "{fullest:?}");
        assert_eq!(store.total_usage().await.unwrap().records, 6);
        drop(together([store.ping()]).await);
    })
    .await;
}
