//! Opening, migrating, closing, and how much a store lets wait.

use std::fs;

use tradewind_model::{RecordKey, Shop};
use tradewind_store::{BYTES_WAITING_MAX, COMMITS_WAITING_MAX, CommitError, Location, NewDelivery, Store, StoreError};
use tradewind_tests::repository;
use tradewind_tests::stores::{
    Build as _, Place, action, commit, commit_together, delivery, enqueue, ingest, jobs, on_both, product, record,
    together, unit,
};

use super::run_sql;

#[tokio::test]
async fn every_statement_is_prepared() {
    on_both(async |place| {
        let store = place.open().await;
        assert_eq!(store.check_statements().await.unwrap(), Vec::<String>::new(), "{:?}", place.engine());
        store.ping().await.unwrap();
    })
    .await;
}

#[test]
fn both_databases_have_the_same_migrations() {
    let names = |engine: &str| {
        let folder = fs::read_dir(repository().join("migrations").join(engine)).unwrap();
        let mut names: Vec<_> = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names("sqlite"), names("postgres"));
    for (number, name) in (1..).zip(names("sqlite")) {
        assert!(name.starts_with(&format!("{number:04}_")), "`{name}` is migration {number}");
    }
}

#[tokio::test]
async fn a_store_opens_when_its_tables_are_up_to_date() {
    on_both(async |place| {
        let location = place.location();
        let error = Store::open(&location).await.unwrap_err();
        assert!(error.to_string().ends_with("hint: run `tradewind migrate`"), "{error}");

        let before = Store::migrate(&location).await.unwrap();
        assert_eq!(before.applied, 0);
        let after = Store::migration_state(&location).await.unwrap();
        assert_eq!(after.applied, after.known);
        let files = fs::read_dir(repository().join("migrations/sqlite")).unwrap().count();
        assert_eq!(usize::try_from(after.known).unwrap(), files, "every migration is compiled in");

        let store = Store::open(&location).await.unwrap();
        commit(&store, unit().insert(&product("1"), "{}")).await;
        assert_eq!(Store::migrate(&location).await.unwrap(), after, "a second run does nothing");
        assert!(record(&store, &product("1")).await.is_some());
    })
    .await;
}

#[tokio::test]
async fn two_programs_migrate_at_once() {
    on_both(async |place| {
        let location = place.location();
        for migrated in together((0..4).map(|_| Store::migrate(&location))).await {
            migrated.unwrap();
        }
        Store::open(&location).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    on_both(async |place| {
        place.open().await.close().await;
        let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
                     values (9999, 'newer', true, '', 0)";
        run_sql(&place, newer).await;
        let opened = Store::open(&place.location()).await.map(drop);
        for refused in [opened, Store::migrate(&place.location()).await.map(drop)] {
            let error = refused.unwrap_err();
            assert!(matches!(error, StoreError::NotMigrated { applied: 9999, .. }), "{error:?}");
            assert!(error.to_string().ends_with("hint: run the newer program that migrated it"), "{error}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_was_cut_is_made_again() {
    let place = Place::postgres();
    let store = place.open().await;
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity \
               where datname = current_database() and pid <> pg_backend_pid()";
    enqueue(&store, action()).await;
    let (shop, key) = (Shop::new("app", "shop"), RecordKey::new("thing", "1"));
    let read = async || {
        // Two at once: each of those who read in rounds keeps a connection.
        for _ in 0..4 {
            let (one, other) = tokio::join!(store.record(&shop, &key), store.record(&shop, &key));
            assert_eq!((one.unwrap(), other.unwrap()), (None, None));
        }
    };
    read().await;
    run_sql(&place, cut).await;
    read().await;
    // This one may have been on its way, for all that the store knows; unless it has just looked.
    let answer = store.commit(unit().job(action())).await;
    assert!(matches!(answer, Ok(_) | Err(CommitError::Unavailable { .. })), "{answer:?}");
    enqueue(&store, action()).await;
    assert_eq!(jobs(&store).await.len(), 2 + usize::from(answer.is_ok()));
}

#[tokio::test]
async fn what_was_handed_over_is_written_before_the_store_closes() {
    on_both(async |place| {
        let store = place.open().await;
        {
            // Callers that go away after they handed over.
            let mut commits: Vec<_> = (0..300).map(|_| Box::pin(store.commit(unit().job(action())))).collect();
            std::future::poll_fn(|cx| {
                for commit in &mut commits {
                    assert!(commit.as_mut().poll(cx).is_pending());
                }
                std::task::Poll::Ready(())
            })
            .await;
            assert_eq!(store.commits_waiting(), 300);
        }
        store.close().await;
        assert_eq!(jobs(&place.open().await).await.len(), 300);
    })
    .await;
}

#[tokio::test]
async fn whoever_comes_when_too_much_waits_is_told_to_come_again() {
    on_both(async |place| {
        let store = place.open().await;
        let many = (0..COMMITS_WAITING_MAX + 2).map(|_| unit().read(&product("1"), None));
        // The end of a job is taken all the same: there are not many, and its work is done already.
        let mut answers = commit_together(&store, many.chain([unit().fenced(0)]).collect()).await;
        assert!(answers.pop().is_some_and(|answer| answer.is_ok()));
        let busy = |answer: &&Result<_, CommitError>| matches!(answer, Err(CommitError::Busy { .. }));
        assert_eq!(answers.iter().filter(busy).count(), 2);
        assert!(answers[COMMITS_WAITING_MAX..].iter().all(|answer| busy(&answer)), "the last ones");
        assert_eq!(store.commits_waiting(), 0);

        let body: std::sync::Arc<[u8]> = vec![0; BYTES_WAITING_MAX / 2 + 1].into();
        let large = |id: &str| {
            let new = NewDelivery { body: body.clone(), ..delivery(id, b"") };
            unit().delivery(new).job(action()).read(&product("1"), Some(0))
        };
        let answers = commit_together(&store, vec![large("2"), large("3"), large("4"), large("5")]).await;
        let conflict = |answer: &Result<_, CommitError>| matches!(answer, Err(CommitError::Conflict { .. }));
        assert!(conflict(&answers[0]), "{:?}", answers[0]);
        assert!(answers[1..].iter().all(|answer| busy(&answer)), "{answers:?}");
        // One that is larger than everything may wait alone, so that it can be written at all.
        let body: std::sync::Arc<[u8]> = vec![0; BYTES_WAITING_MAX + 1].into();
        let alone =
            unit().delivery(NewDelivery { body, ..delivery("6", b"") }).read(&product("1"), Some(0)).job(action());
        assert!(conflict(&store.commit(alone).await));
        assert_eq!(store.commits_waiting(), 0);
        ingest(&store, delivery("1", b"{}")).await;
    })
    .await;
}

/// What was committed outlives a loss of power, whatever the server does for others.
#[tokio::test]
async fn commits_are_durable() {
    on_both(async |place| {
        let store = place.open().await;
        let settings = store.durability().await.unwrap();
        let settings = settings.each_ref().map(|setting| (setting.name, setting.value.as_str(), setting.is_safe));
        let Place::Postgres(url) = &place else {
            assert_eq!(settings, [("synchronous", "2", true), ("journal_mode", "wal", true)]);
            return;
        };
        // The server of the tests may be one that forgets.
        assert_eq!(settings[0], ("synchronous_commit", "on", true));
        assert_eq!((settings[1].0, settings[1].2), ("fsync", settings[1].1 == "on"));
        for (asked, given) in [("off", "on"), ("remote_apply", "remote_apply"), ("local", "local")] {
            let url = format!("{url}?options[synchronous_commit]={asked}");
            let store = Store::open(&Location::parse(&url).unwrap()).await.unwrap();
            let settings = store.durability().await.unwrap();
            assert_eq!((settings[0].value.as_str(), settings[0].is_safe), (given, true), "{asked}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_store_is_opened_twice() {
    on_both(async |place| {
        let (store, other) = (place.open().await, place.open().await);
        let writes = |store, from: u32| {
            (from..from + 100)
                .map(move |id| commit(store, unit().insert(&product(&id.to_string()), "{}").job(action())))
        };
        together(writes(&store, 0).chain(writes(&other, 100))).await;
        let mut seqs: Vec<_> = jobs(&store).await.iter().map(|job| job.seq).collect();
        seqs.dedup();
        assert_eq!(seqs.len(), 200);
        assert_eq!(jobs(&other).await, jobs(&store).await);
        for id in 0..200 {
            assert!(record(&store, &product(&id.to_string())).await.is_some());
        }
    })
    .await;
}

/// The files hold customers' data: they are private to their owner, also those that were created with a wider mode.
#[cfg(unix)]
#[tokio::test]
async fn files_are_their_owner_s_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::sqlite();
    let files = ["", "-wal", "-shm"].map(|suffix| format!("{}{suffix}", place.file().display()));
    let mode = |file: &String| fs::metadata(file).unwrap().permissions().mode() & 0o777;
    let store = place.open().await;
    enqueue(&store, action()).await;
    assert_eq!(files.each_ref().map(mode), [0o600; 3]);
    for file in &files {
        fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
    }
    let other = Store::open(&place.location()).await.unwrap();
    assert_eq!(files.each_ref().map(mode), [0o600; 3], "while it is open");
    for store in [store, other] {
        store.close().await;
    }
    fs::set_permissions(&files[0], fs::Permissions::from_mode(0o644)).unwrap();
    Store::migration_state(&place.location()).await.unwrap();
    assert_eq!(mode(&files[0]), 0o600);
}
