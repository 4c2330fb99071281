//! Many units in one transaction: each gets its own answer, and none fails for what another did.

use std::collections::HashMap;

use tradewind_store::{CommitError, Committed, Fence, How, NewJob, OnDuplicate, Store, Unit};
use tradewind_tests::stores::{
    Build as _, action, action_called, commit, commit_together, delivery, enqueue, jobs, on_both, other_shop, product,
    record, shop, unit,
};

use super::run_sql;

/// Commits the cases in the middle of good units, all at once, and looks whether each fails as it should, alone.
async fn check(store: &Store, cases: Vec<(&str, Unit, CommitError)>) {
    let good = |case: usize, name: &str| {
        let key = product(&format!("{name} {case}"));
        unit().insert(&key, "1").job(action()).delivery(delivery(&format!("{name} {case}"), b"body"))
    };
    let before = jobs(store).await.len();
    let mut units = Vec::new();
    for (at, (_, bad, _)) in cases.iter().enumerate() {
        units.extend([good(at, "before"), bad.clone(), good(at, "after")]);
    }
    let answers = commit_together(store, units).await;
    for (at, ((case, _, expected), answers)) in cases.iter().zip(answers.chunks(3)).enumerate() {
        assert_eq!(answers[1].as_ref().unwrap_err(), expected, "{case}");
        for (name, answer) in [("before", &answers[0]), ("after", &answers[2])] {
            assert!(answer.is_ok(), "{case}: {name}: {answer:?}");
            assert!(record(store, &product(&format!("{name} {at}"))).await.is_some(), "{case}: {name}");
        }
    }
    assert_eq!(jobs(store).await.len(), before + 4 * cases.len(), "of each good unit two, and none of the others");
    assert_eq!(record(store, &product("never")).await, None);
}

/// Everything that a unit can bring, none of which may be left when it fails.
fn never() -> Unit {
    unit().insert(&product("never"), "1").job(action()).delivery(delivery("never", b"body"))
}

#[tokio::test]
async fn a_unit_that_fails_leaves_its_neighbours() {
    on_both(async |place| {
        let store = place.open().await;
        let key = product("1");
        let version = commit(&store, unit().insert(&key, "1")).await.versions[0];
        enqueue(&store, action_called("taken")).await;
        let gone = enqueue(&store, action()).await;
        commit(&store, unit().finish(gone, How::Done)).await;
        let parked = enqueue(&store, action()).await;
        commit(&store, unit().finish(parked, tradewind_tests::stores::park("stuck"))).await;
        let part = shop().partition();
        let conflict = || CommitError::Conflict { shop: shop(), key: key.clone() };
        let again = How::Again { attempts: 1, run_at_ms: 0, error: None };
        let checkpoint = How::Checkpoint { state: tradewind_tests::stores::json("{}") };
        let fenced = |epoch| never().fenced(epoch);
        let cases = vec![
            ("an old version to update", never().update(&key, version - 1, "2"), conflict()),
            ("an old version to delete", never().delete(&key, version - 1), conflict()),
            ("a record that is there already", never().insert(&key, "2"), conflict()),
            ("an old version that was read", never().read(&key, None), conflict()),
            ("a lease of somebody else", fenced(1), CommitError::Fenced { part }),
            ("a lease that is to come", fenced(-1), CommitError::Fenced { part }),
            ("a job that is gone", never().finish(gone, How::Done), CommitError::JobGone { job: gone }),
            ("a parked job", never().finish(parked, How::Done), CommitError::JobGone { job: parked }),
            ("a parked job again", never().finish(parked, again), CommitError::JobGone { job: parked }),
            ("a parked job's place", never().finish(parked, checkpoint), CommitError::JobGone { job: parked }),
            ("a job's id", never().job(action_called("taken")), CommitError::DuplicateJob { id: "taken".to_owned() }),
            (
                "the same id twice",
                never().job(action_called("twice")).job(action_called("twice")),
                CommitError::DuplicateJob { id: "twice".to_owned() },
            ),
        ];
        for case in &cases {
            check_alone(&store, case).await;
        }
        check(&store, cases).await;
    })
    .await;
}

async fn check_alone(store: &Store, (case, unit, expected): &(&str, Unit, CommitError)) {
    assert_eq!(store.commit(unit.clone()).await.unwrap_err(), *expected, "{case}, alone");
    assert_eq!(record(store, &product("never")).await, None, "{case}, alone");
}

#[tokio::test]
async fn a_value_that_is_taken_fails_alone() {
    on_both(async |place| {
        let store = place.open().await;
        run_sql(&place, "create unique index one_title on records (app, shop, (doc ->> 'title'))").await;
        let hat = commit(&store, unit().insert(&product("1"), r#"{"title":"Hat"}"#)).await.versions[0];
        let taken = CommitError::NotUnique { index: "one_title".to_owned() };
        let cases = vec![("a title", never().insert(&product("2"), r#"{"title":"Hat"}"#), taken.clone())];
        check_alone(&store, &cases[0]).await;
        check(&store, cases).await;

        // Of two that want the same, the first has it.
        let cap = |id: &str| unit().insert(&product(id), r#"{"title":"Cap"}"#);
        let answers = commit_together(&store, vec![cap("3"), cap("4"), cap("5").of(&other_shop(0))]).await;
        assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
        assert_eq!(answers[1], Err(taken));
        // Whoever deletes frees the value for the same unit.
        commit(&store, unit().insert(&product("6"), r#"{"title":"Hat"}"#).delete(&product("1"), hat)).await;
    })
    .await;
}

#[tokio::test]
async fn ids_of_jobs_within_a_batch() {
    on_both(async |place| {
        let store = place.open().await;
        let ignored = |id: &str| NewJob { on_duplicate: OnDuplicate::Ignore, ..action_called(id) };
        let taken = |id: &str| Err(CommitError::DuplicateJob { id: id.to_owned() });
        let answers = commit_together(
            &store,
            vec![
                unit().job(action_called("a")),
                unit().job(action_called("a")),
                unit().job(ignored("a")).job(ignored("b")),
                unit().job(ignored("b")).job(ignored("b")),
                unit().job(action_called("a")).of(&other_shop(0)),
                unit().cancel("a").cancel("c"),
                unit().job(action_called("a")),
                unit().cancel("a").job(action_called("a")),
            ],
        )
        .await;
        assert_eq!(answers[1], taken("a"));
        let jobs_of = |at: usize| -> Vec<bool> {
            let Committed { jobs, .. } = answers[at].as_ref().unwrap();
            jobs.iter().map(Option::is_some).collect()
        };
        assert_eq!(
            (jobs_of(0), jobs_of(2), jobs_of(3), jobs_of(4)),
            (vec![true], vec![false, true], vec![false; 2], vec![true])
        );
        assert_eq!(answers[5].as_ref().unwrap().cancelled, [true, false]);
        assert_eq!(jobs_of(6), [true]);
        assert_eq!((&answers[7].as_ref().unwrap().cancelled, jobs_of(7)), (&vec![true], vec![true]));
        let mut ids: HashMap<_, usize> = HashMap::new();
        for job in jobs(&store).await {
            *ids.entry(job.id.unwrap()).or_default() += 1;
        }
        assert_eq!(ids, HashMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]));
    })
    .await;
}

#[tokio::test]
async fn a_job_is_finished_once() {
    on_both(async |place| {
        let store = place.open().await;
        let job = enqueue(&store, action()).await;
        let finish = |id: &str| unit().insert(&product(id), "1").finish(job, How::Done);
        let answers = commit_together(&store, ["1", "2", "3"].map(finish).to_vec()).await;
        assert!(answers[0].is_ok(), "{answers:?}");
        assert_eq!(answers[1..], [Err(CommitError::JobGone { job }), Err(CommitError::JobGone { job })]);
        assert!(record(&store, &product("2")).await.is_none() && record(&store, &product("1")).await.is_some());
    })
    .await;
}

/// More of everything than a statement takes at once, in one unit.
#[tokio::test]
async fn a_large_unit_is_one_unit() {
    on_both(async |place| {
        let store = place.open().await;
        let mut large = unit();
        for id in 0..5_000 {
            large = large.insert(&product(&id.to_string()), "1").job(action());
        }
        let committed = commit(&store, large).await;
        assert!(committed.versions.is_sorted() && committed.jobs.is_sorted());
        let mut next = unit();
        for (id, version) in committed.versions.iter().enumerate() {
            let key = product(&id.to_string());
            next = if id % 2 == 0 { next.update(&key, *version, "2") } else { next.delete(&key, *version) };
        }
        let mut wrong = next.clone();
        wrong.writes[4_321].expected = Some(0);
        let key = wrong.writes[4_321].key.clone();
        assert_eq!(store.commit(wrong).await, Err(CommitError::Conflict { shop: shop(), key }));
        assert_eq!(record(&store, &product("0")).await.unwrap().doc.as_str(), "1");
        commit(&store, next).await;
        assert_eq!(record(&store, &product("0")).await.unwrap().doc.as_str(), "2");
        assert_eq!(record(&store, &product("4999")).await, None);
        assert_eq!(jobs(&store).await.len(), 5_000);
    })
    .await;
}

/// Two hosts that write the same things in opposite order get in each other's way, and neither is stuck or fails for it.
#[tokio::test]
async fn two_writers_do_not_wait_for_each_other() {
    on_both(async |place| {
        let (store, other) = (place.open().await, place.open().await);
        let shops: Vec<_> = (0..40).map(other_shop).collect();
        for round in 0..5 {
            let id = format!("round {round}");
            let unit_of = |shop| unit().of(shop).insert(&product(&id), "1").delivery(delivery(&id, b""));
            let forward = shops.iter().map(|shop| store.commit(unit_of(shop)));
            let backward = shops.iter().rev().map(|shop| other.commit(unit_of(shop)));
            let answers = tradewind_tests::stores::together(forward.chain(backward)).await;
            let won = answers.iter().filter(|answer| answer.is_ok()).count();
            let lost = answers.iter().filter(|answer| matches!(answer, Err(CommitError::Conflict { .. }))).count();
            assert_eq!((won, lost), (40, 40), "{answers:?}");
            assert_eq!(jobs(&store).await.len(), 40 * (round + 1));
        }
    })
    .await;
}

/// The absence of a record is held as its presence is, against a writer of another host.
#[tokio::test]
async fn two_writers_do_not_both_find_nothing() {
    on_both(async |place| {
        let (store, other) = (place.open().await, place.open().await);
        for round in 0..50 {
            let (left, right) = (product(&format!("left {round}")), product(&format!("right {round}")));
            let one = store.commit(unit().read(&left, None).insert(&right, "1"));
            let two = other.commit(unit().read(&right, None).insert(&left, "1"));
            let answers = tradewind_tests::stores::together(
                [Box::pin(one), Box::pin(two)] as [std::pin::Pin<Box<dyn Future<Output = _>>>; 2]
            )
            .await;
            assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{round}: {answers:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_fenced_host_cannot_commit_and_its_neighbours_can() {
    on_both(async |place| {
        let store = place.open().await;
        let here = shop().partition();
        let free = store.partitions().await.unwrap();
        let old = store.take_partition(&free[usize::try_from(here).unwrap()], "a").await.unwrap().unwrap();
        let seen = store.partitions().await.unwrap();
        let new = store.take_partition(&seen[usize::try_from(here).unwrap()], "b").await.unwrap().unwrap();
        assert!(new > old);
        let (first, second) = (enqueue(&store, action()).await, enqueue(&store, action()).await);
        let answers = commit_together(
            &store,
            vec![
                unit().fenced(old).finish(first, How::Done).insert(&product("1"), "1"),
                unit().fenced(new).finish(second, How::Done).insert(&product("2"), "1"),
                unit().insert(&product("3"), "1"),
                Unit { fence: Some(Fence { part: 99, epoch: 0 }), ..unit() },
            ],
        )
        .await;
        assert_eq!(answers[0], Err(CommitError::Fenced { part: here }));
        assert!(answers[1].is_ok() && answers[2].is_ok(), "{answers:?}");
        assert_eq!(answers[3], Err(CommitError::Fenced { part: 99 }));
        assert_eq!(record(&store, &product("1")).await, None);
        assert_eq!(jobs(&store).await.iter().map(|job| job.seq).collect::<Vec<_>>(), [first]);
    })
    .await;
}
