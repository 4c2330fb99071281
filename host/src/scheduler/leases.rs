//! Which partitions a host takes and gives back: decisions on what the database showed, and when.
//!
//! Nobody's clock is compared with anybody else's. A host counts as gone when its beat stood still for a lease of our own
//! time: from when we first saw the value until we last asked. A host's own lease begins when it asked for its renewal, so it
//! ends before anybody can take over.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;
use tradewind_model::tenant::PARTITIONS;
use tradewind_store::{Partition, Store, StoreError};

/// What is announced in a partition's place when a host comes or goes: the others look what their share is now.
pub(crate) const LEASES_CHANGED: i64 = -1;

/// What one beat brought.
#[derive(Debug)]
pub(crate) struct Round {
    /// Before anything was asked.
    pub(crate) asked: Instant,
    /// After everything was answered.
    pub(crate) answered: Instant,
    /// Our partitions with their epochs, at the renewal.
    pub(crate) own: Vec<(i64, i64)>,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) hosts: Vec<(String, i64)>,
}

/// Renews the leases and looks at the others'. A host that is leaving no longer shows that it is there.
pub(crate) async fn beat(store: &Store, host: &str, leaving: bool) -> Result<Round, StoreError> {
    let asked = Instant::now();
    let own = store.renew_leases(host).await?;
    if !leaving {
        store.host_beat(host).await?;
    }
    let partitions = store.partitions().await?;
    let hosts = store.hosts().await?;
    Ok(Round { asked, answered: Instant::now(), own, partitions, hosts })
}

/// Takes a host off the list, so that its share is the others', and tells them.
pub(crate) async fn leave(store: &Store, host: &str) -> Result<(), StoreError> {
    if let Some((_, beat)) = store.hosts().await?.into_iter().find(|(listed, _)| listed == host) {
        store.forget_host(host, beat).await?;
    }
    store.announce(LEASES_CHANGED).await
}

/// Values that move while somebody is alive, and since when each has stood still.
#[derive(Debug)]
struct Watch<K, V>(HashMap<K, (V, Instant)>);

impl<K: Hash + Eq, V: PartialEq> Watch<K, V> {
    /// How long the value has stood still, now that a round has shown it.
    fn still(&mut self, key: K, value: V, round: &Round) -> Duration {
        match self.0.entry(key) {
            Entry::Occupied(seen) if seen.get().0 == value => round.asked.saturating_duration_since(seen.get().1),
            entry => {
                entry.insert_entry((value, round.answered));
                Duration::ZERO
            }
        }
    }
}

/// What to do about the leases.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Free ones, those of the dead, and ours that we do not work on: to be taken, as they were seen.
    pub(crate) take: Vec<Partition>,
    /// Ours that we do not work on and have no room for: nobody else can take them while our beat moves.
    pub(crate) free: Vec<Partition>,
    /// How many of ours are somebody else's share.
    pub(crate) surplus: usize,
    /// Hosts that are gone, with the beat at which they stopped.
    pub(crate) gone: Vec<(String, i64)>,
}

/// The others, as they were seen over time.
#[derive(Debug)]
pub(crate) struct Leases {
    host: String,
    lease: Duration,
    partitions: Watch<i64, (i64, i64)>,
    hosts: Watch<String, i64>,
}

impl Leases {
    pub(crate) fn new(host: String, lease: Duration) -> Self {
        Self { host, lease, partitions: Watch(HashMap::new()), hosts: Watch(HashMap::new()) }
    }

    /// Decides on a round, working on `active` partitions; `ours` are those that we work on, take or give back.
    pub(crate) fn decide(&mut self, round: &Round, active: usize, ours: impl Fn(i64) -> bool) -> Wanted {
        let mut wanted = Wanted::default();
        let mut live = 1;
        for (host, beat) in round.hosts.iter().filter(|(host, _)| *host != self.host) {
            if self.hosts.still(host.clone(), *beat, round) < self.lease {
                live += 1;
            } else {
                wanted.gone.push((host.clone(), *beat));
            }
        }
        self.hosts.0.retain(|host, _| round.hosts.iter().any(|(seen, _)| seen == host));
        let share = usize::try_from(PARTITIONS).unwrap_or(usize::MAX).div_ceil(live);
        wanted.surplus = active.saturating_sub(share);
        let mut room = share.saturating_sub(active);
        for partition in &round.partitions {
            let still = self.partitions.still(partition.id, (partition.epoch, partition.beat), round);
            let free = match &partition.owner {
                None => true,
                Some(owner) if *owner == self.host => true,
                Some(_) => still >= self.lease,
            };
            if !free || ours(partition.id) {
                continue;
            }
            if room > 0 {
                room -= 1;
                wanted.take.push(partition.clone());
            } else if partition.owner.as_ref() == Some(&self.host) {
                wanted.free.push(partition.clone());
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    /// All partitions of these owners, with one beat for each, and the hosts that showed themselves.
    fn round(at: Instant, owners: &[(&str, i64)], hosts: &[(&str, i64)]) -> Round {
        let partition = |id: i64| {
            let (owner, beat) = owners[usize::try_from(id).unwrap() % owners.len()];
            Partition { id, owner: Some(owner.to_owned()).filter(|owner| !owner.is_empty()), epoch: 1, beat }
        };
        let hosts = hosts.iter().map(|(host, beat)| ((*host).to_owned(), *beat)).collect();
        Round { asked: at, answered: at, own: Vec::new(), partitions: (0..PARTITIONS).map(partition).collect(), hosts }
    }

    fn taken(wanted: &Wanted) -> usize {
        wanted.take.len()
    }

    #[test]
    fn what_is_free_is_taken_up_to_a_fair_share() {
        let start = Instant::now();
        let check = |hosts: &[(&str, i64)], active, expected: (usize, usize)| {
            let mut leases = Leases::new("a".to_owned(), LEASE);
            let wanted = leases.decide(&round(start, &[("", 0)], hosts), active, |_| false);
            assert_eq!((taken(&wanted), wanted.surplus), expected, "{hosts:?} {active}");
        };
        check(&[], 0, (64, 0));
        check(&[("a", 3)], 0, (64, 0));
        check(&[("a", 3), ("b", 1)], 0, (32, 0));
        check(&[("a", 3), ("b", 1), ("c", 1)], 0, (22, 0));
        check(&[("a", 3), ("b", 1)], 64, (0, 32));
        check(&[("a", 3), ("b", 1)], 30, (2, 0));
    }

    #[test]
    fn a_beat_that_stands_still_for_a_lease_is_a_dead_host() {
        let start = Instant::now();
        let mut leases = Leases::new("a".to_owned(), LEASE);
        let mut see = |after_ms, owners: &[(&str, i64)], hosts: &[(&str, i64)]| {
            let at = start + Duration::from_millis(after_ms);
            leases.decide(&round(at, owners, hosts), 32, |_| false)
        };
        // Both are seen for the first time: they may have died long ago, but nobody knows.
        assert_eq!(taken(&see(0, &[("b", 7)], &[("b", 7)])), 0);
        assert_eq!(taken(&see(9_999, &[("b", 7)], &[("b", 7)])), 0);
        // It moved.
        assert_eq!(taken(&see(10_000, &[("b", 8)], &[("b", 8)])), 0);
        assert_eq!(taken(&see(19_999, &[("b", 8)], &[("b", 8)])), 0);
        let wanted = see(20_000, &[("b", 8)], &[("b", 8)]);
        assert_eq!((taken(&wanted), wanted.gone), (32, vec![("b".to_owned(), 8)]));
        // A host that is gone and comes back is seen anew.
        assert_eq!(taken(&see(20_001, &[("b", 8)], &[])), 32);
        assert_eq!(see(20_002, &[("b", 9)], &[("b", 9)]).gone, []);
    }

    #[test]
    fn what_is_ours_by_name_alone_and_beyond_our_share_is_given_back() {
        let start = Instant::now();
        let mut leases = Leases::new("a".to_owned(), LEASE);
        // The answer to a taking was lost while others filled the share.
        let wanted = leases.decide(&round(start, &[("a", 1)], &[("a", 1), ("b", 1)]), 32, |id| id < 32);
        assert_eq!((taken(&wanted), wanted.free.len()), (0, 32));
        assert!(wanted.free.iter().all(|partition| partition.id >= 32));
    }

    #[test]
    fn what_is_ours_is_taken_anew_only_when_we_do_not_work_on_it() {
        let start = Instant::now();
        let mut leases = Leases::new("a".to_owned(), LEASE);
        let wanted = leases.decide(&round(start, &[("a", 1), ("b", 1)], &[("a", 1)]), 32, |id| id != 2);
        assert_eq!(wanted.take.iter().map(|partition| partition.id).collect::<Vec<_>>(), [2]);
    }
}
