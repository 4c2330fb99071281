//! Leases: one owner for each partition, and news of work from host to host.

use std::sync::Arc;

use tradewind_store::{Engine, Partition, Store};
use tradewind_tests::stores::{Build as _, action, commit_together, on_both, other_shop, product, together, unit};

async fn partition(store: &Store, id: usize) -> Partition {
    store.partitions().await.unwrap().swap_remove(id)
}

#[tokio::test]
async fn a_partition_is_taken_renewed_and_given_back() {
    on_both(async |place| {
        let store = place.open().await;
        let all = store.partitions().await.unwrap();
        assert_eq!(all.iter().map(|partition| partition.id).collect::<Vec<_>>(), (0..64).collect::<Vec<_>>());
        assert!(all.iter().all(|partition| partition.owner.is_none() && partition.epoch == 0));

        let epoch = store.take_partition(&all[3], "a").await.unwrap().unwrap();
        let taken = partition(&store, 3).await;
        assert_eq!((taken.owner.as_deref(), taken.epoch), (Some("a"), epoch));
        assert_eq!(store.take_partition(&all[3], "b").await.unwrap(), None, "it is not as it was seen");
        assert_eq!(store.renew_leases("b").await.unwrap(), []);
        store.take_partition(&all[5], "a").await.unwrap().unwrap();
        let mut renewed = store.renew_leases("a").await.unwrap();
        renewed.sort_unstable();
        assert_eq!(renewed, [(3, epoch), (5, 1)]);
        assert!(partition(&store, 3).await.beat > taken.beat);
        assert_eq!(store.take_partition(&taken, "b").await.unwrap(), None, "its beat has moved");

        assert!(!store.release_partition(3, "b", epoch).await.unwrap());
        assert!(!store.release_partition(3, "a", epoch + 1).await.unwrap());
        assert!(store.release_partition(3, "a", epoch).await.unwrap());
        let free = partition(&store, 3).await;
        assert!(free.owner.is_none() && free.epoch > epoch);
        let next = store.take_partition(&free, "b").await.unwrap().unwrap();
        assert!(next > epoch);
        assert_eq!(store.renew_leases("a").await.unwrap(), [(5, 1)]);
    })
    .await;
}

#[tokio::test]
async fn of_two_hosts_that_want_a_partition_one_gets_it() {
    on_both(async |place| {
        let (one, other) = (place.open().await, place.open().await);
        for round in 0..10 {
            let seen = one.partitions().await.unwrap();
            let wanted = seen.iter().flat_map(|seen| [(&one, seen, "one"), (&other, seen, "other")]);
            let taken = together(wanted.map(|(store, seen, owner)| store.take_partition(seen, owner))).await;
            for (at, pair) in taken.chunks(2).enumerate() {
                let won = pair.iter().filter(|epoch| epoch.as_ref().unwrap().is_some()).count();
                assert_eq!(won, 1, "partition {at} in round {round}");
            }
            let mine = one.renew_leases("one").await.unwrap();
            let others = other.renew_leases("other").await.unwrap();
            assert_eq!(mine.len() + others.len(), 64);
        }
    })
    .await;
}

/// Renewing locks every partition of a host, and commits lock theirs.
#[tokio::test]
async fn leases_are_renewed_while_units_are_committed() {
    on_both(async |place| {
        let (store, other) = (place.open().await, place.open().await);
        for seen in store.partitions().await.unwrap() {
            store.take_partition(&seen, "a").await.unwrap().unwrap();
        }
        let units =
            |round: u32| (0..40).rev().map(move |shop| unit().of(&other_shop(shop + round)).fenced(1).job(action()));
        for round in 0..20 {
            let renewals = together((0..3).map(|_| other.renew_leases("a")));
            let (commits, renewals) = tokio::join!(commit_together(&store, units(round).collect()), renewals);
            for committed in commits {
                committed.unwrap();
            }
            for renewed in renewals {
                assert_eq!(renewed.unwrap().len(), 64);
            }
        }
    })
    .await;
}

/// On a slow disk, units may wait for longer than a lease is long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_pass_by_the_units_that_wait() {
    on_both(async |place| {
        let store = Arc::new(place.open().await);
        // One whose units go the way of the renewals.
        let shop = (0..40).map(other_shop).find(|shop| shop.partition() % 2 == 0).unwrap();
        let busy = Arc::clone(&store);
        let commits = tokio::spawn(async move {
            let one = |number: u32| busy.commit(unit().of(&shop).insert(&product(&number.to_string()), "{}"));
            together((0..5_000).map(one)).await.into_iter().flatten().count()
        });
        while store.commits_waiting() < 4_000 {
            tokio::task::yield_now().await;
        }
        store.renew_leases("a").await.unwrap();
        let waiting = store.commits_waiting();
        assert!(waiting > 0, "it waited for all of them");
        assert_eq!(commits.await.unwrap(), 5_000);
    })
    .await;
}

#[tokio::test]
async fn hosts_show_that_they_are_there() {
    on_both(async |place| {
        let store = place.open().await;
        for host in ["b", "a", "b"] {
            store.host_beat(host).await.unwrap();
        }
        let hosts = || async { store.hosts().await.unwrap() };
        assert_eq!(hosts().await, [("a".to_owned(), 0), ("b".to_owned(), 1)]);
        store.forget_host("b", 0).await.unwrap();
        assert_eq!(hosts().await.len(), 2, "it moved meanwhile");
        store.forget_host("b", 1).await.unwrap();
        assert_eq!(hosts().await, [("a".to_owned(), 0)]);
    })
    .await;
}

#[tokio::test]
async fn hosts_tell_each_other_of_new_jobs() {
    on_both(async |place| {
        let (store, other) = (place.open().await, place.open().await);
        let heard = store.listen().await.unwrap();
        if place.engine() == Engine::Sqlite {
            assert!(heard.is_none());
            other.announce(7).await.unwrap();
            return;
        }
        let mut heard = heard.unwrap();
        for part in [7, 0, 63] {
            other.announce(part).await.unwrap();
            assert_eq!(heard.next().await.unwrap(), Some(part));
        }
    })
    .await;
}
