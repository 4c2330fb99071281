//! Deliveries have a line of their own: they wait for no unit of a job, and neither line is refused for the other.

use std::task::Poll;

use sqlx::{Connection as _, PgConnection};
use tradewind_store::{COMMITS_WAITING_MAX, CommitError, Ingested};
use tradewind_tests::stores::{
    Build as _, Place, action, commit_together, delivery, ingest, on_both, other_shop, product, shop, unit,
};

/// A job's transaction waits for a lock: the partition is held by another session. The same shop's deliveries go on.
#[tokio::test]
async fn a_delivery_does_not_wait_for_a_transaction_of_jobs() {
    let place = Place::postgres();
    let Place::Postgres(url) = &place else { unreachable!("it was made as one") };
    let store = place.open().await;
    let mut other = PgConnection::connect(url).await.unwrap();
    let hold = format!("begin; select * from partitions where id = {} for update", shop().partition());
    sqlx::raw_sql(sqlx::AssertSqlSafe(hold)).execute(&mut other).await.unwrap();
    let mut waits = Box::pin(store.commit(unit().insert(&product("1"), "1").job(action())));
    std::future::poll_fn(|cx| {
        assert!(waits.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    let mut seqs = Vec::new();
    for id in 0..20 {
        let (seq, job) = ingest(&store, delivery(&id.to_string(), b"{}")).await;
        seqs.extend([seq, job]);
    }
    assert!(seqs.is_sorted(), "{seqs:?}");
    std::future::poll_fn(|cx| {
        assert!(waits.as_mut().poll(cx).is_pending(), "nobody has given the partition free");
        Poll::Ready(())
    })
    .await;
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    waits.await.unwrap();
}

/// Nor does the renewal of a lease, whichever writer waits.
#[tokio::test]
async fn leases_do_not_wait_for_a_transaction_of_jobs() {
    let place = Place::postgres();
    let Place::Postgres(url) = &place else { unreachable!("it was made as one") };
    let store = place.open().await;
    let shops = [shop(), other_shop(0), other_shop(1), other_shop(2), other_shop(3)];
    let held: Vec<i64> = shops.iter().map(tradewind_model::Shop::partition).collect();
    let partitions = store.partitions().await.unwrap();
    let own = partitions.iter().find(|partition| !held.contains(&partition.id)).unwrap();
    store.take_partition(own, "host").await.unwrap().unwrap();
    let mut other = PgConnection::connect(url).await.unwrap();
    let lock = format!("begin; select * from partitions where id <> {} for update", own.id);
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut other).await.unwrap();
    let units = shops.iter().map(|shop| unit().of(shop).insert(&product("1"), "1"));
    let mut blocked: Vec<_> = units.map(|unit| Box::pin(store.commit(unit))).collect();
    for _ in 0..5 {
        for commit in &mut blocked {
            std::future::poll_fn(|cx| {
                assert!(commit.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        assert_eq!(store.renew_leases("host").await.unwrap().len(), 1);
    }
    sqlx::raw_sql("rollback").execute(&mut other).await.unwrap();
    for commit in blocked {
        commit.await.unwrap();
    }
}

/// On SQLite, whose only writer takes them first, whatever waits before them.
#[tokio::test]
async fn deliveries_ride_first() {
    let place = Place::sqlite();
    let store = place.open().await;
    let jobs = (0..600).map(|_| unit().job(action()));
    let deliveries = (0..3).map(|id| unit().delivery(delivery(&id.to_string(), b"{}")));
    let mut answers = commit_together(&store, jobs.chain(deliveries).collect()).await;
    let deliveries: Vec<_> = answers.split_off(600).into_iter().map(|answer| answer.unwrap().deliveries[0]).collect();
    let first_job = answers.into_iter().filter_map(|answer| answer.unwrap().jobs[0]).min().unwrap();
    let mut last = 0;
    for ingested in deliveries {
        let Ingested::New { seq, job } = ingested else { panic!("all are new") };
        assert!(last < seq && job < first_job, "{seq}, {job}, jobs from {first_job}");
        last = job;
    }
}

/// Deliveries that never pause, as far as one batch can tell, leave a part of it to jobs; and a unit that is larger than that
/// part is next.
#[tokio::test]
async fn jobs_go_on_beside_deliveries() {
    let place = Place::sqlite();
    let store = place.open().await;
    let large = format!(r#""{}""#, "x".repeat(15 << 20));
    let units = (0..1_000).map(|id| unit().delivery(delivery(&id.to_string(), b"{}")));
    let units: Vec<_> =
        [unit().insert(&product("1"), &large).job(action()), unit().job(action())].into_iter().chain(units).collect();
    let answers = commit_together(&store, units).await;
    let deliveries: Vec<_> = answers[2..]
        .iter()
        .map(|answer| match answer.as_ref().unwrap().deliveries[0] {
            Ingested::New { seq, .. } => seq,
            ref other => panic!("{other:?}"),
        })
        .collect();
    for answer in &answers[..2] {
        let job = answer.as_ref().unwrap().jobs[0].unwrap();
        let before = deliveries.iter().filter(|seq| **seq < job).count();
        assert!(before < 600, "{before} deliveries came first");
    }
}

#[tokio::test]
async fn each_line_has_room_of_its_own() {
    on_both(async |place| {
        let store = place.open().await;
        let busy = |answer: &Result<_, CommitError>| matches!(answer, Err(CommitError::Busy { .. }));
        let jobs = (0..=COMMITS_WAITING_MAX).map(|_| unit().read(&product("1"), None));
        let mut answers = commit_together(&store, jobs.chain([unit().delivery(delivery("1", b"{}"))]).collect()).await;
        assert!(answers.pop().unwrap().is_ok(), "a delivery is not refused for jobs");
        assert!(busy(&answers[COMMITS_WAITING_MAX]) && answers.iter().filter(|answer| busy(answer)).count() == 1);

        // The same delivery again and again: what waits is what is counted.
        let again = (0..=COMMITS_WAITING_MAX).map(|_| unit().delivery(delivery("1", b"{}")));
        let mut answers = commit_together(&store, again.chain([unit().job(action())]).collect()).await;
        assert!(answers.pop().unwrap().is_ok(), "a job is not refused for deliveries");
        assert!(busy(&answers[COMMITS_WAITING_MAX]) && answers.iter().filter(|answer| busy(answer)).count() == 1);
        assert_eq!(store.commits_waiting(), 0);
    })
    .await;
}
