//! The partitions that this host has, from taking to giving back.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tradewind_model::Shop;
use tradewind_store::{Partition, StoreError};

use super::Runs;
use super::attempt::described;
use super::driver::{Driver, News};
use super::leases::{self, LEASES_CHANGED, Round};
use super::limits::{BEATS_PER_LEASE, LEASES_AT_ONCE_MAX, READ_PAUSE};
use super::reading::{self, Depth, Taken};
use super::runs::Run;

/// A partition that is ours, or is about to be.
#[derive(Debug)]
pub(super) struct Owned {
    /// Under which it was taken.
    pub(super) epoch: i64,
    /// The greatest number of a job when it was taken.
    pub(super) left_over: i64,
    pub(super) state: State,
    /// When it was ours for certain: a renewal that was asked for before does not tell of it.
    since: Instant,
    /// When the first of its delayed jobs is due.
    pub(super) next_due_ms: Option<i64>,
    /// Whether those that are due are being brought to the queue.
    pub(super) waking: bool,
    pub(super) no_wake_before: Instant,
}

/// The stations of a partition on its way.
#[derive(Debug)]
pub(super) enum State {
    /// Being taken. These shops have jobs that whoever looks through it may have missed.
    Taking(HashSet<Shop>),
    /// Its jobs run here.
    Active,
    /// Nothing starts; what runs may do so until then.
    HandingOver(Instant),
    /// Being given back.
    Releasing,
}

impl Owned {
    /// A delayed job becomes due.
    pub(super) fn due(&mut self, run_at_ms: i64) {
        self.next_due_ms = Some(self.next_due_ms.map_or(run_at_ms, |next| next.min(run_at_ms)));
    }
}

impl<R: Runs> Driver<R> {
    /// Beats, gives up what was not renewed in time, and hands over. Says when to come back.
    pub(super) fn keep_leases(&mut self, now: Instant) -> Instant {
        if now >= self.leased_until && !self.owned.is_empty() {
            self.abandon("its renewal took too long");
        }
        if self.next_beat.is_some_and(|at| now >= at) {
            self.next_beat = None;
            let (store, host) = (Arc::clone(&self.store), self.config.host.clone());
            let (lease, leaving) = (self.lease(), self.stopping.is_some());
            self.tasks
                .spawn(async move { News::Beat(now, in_time(lease, leases::beat(&store, &host, leaving)).await) });
        }
        let far = now + self.lease();
        let mut wake_at = self.next_beat.unwrap_or(far);
        if !self.owned.is_empty() {
            wake_at = wake_at.min(self.leased_until);
        }
        wake_at.min(self.give_back(now))
    }

    /// Gives back the partitions that nothing runs in any more.
    fn give_back(&mut self, now: Instant) -> Instant {
        let mut wake_at = now + self.lease();
        let leaving: Vec<(i64, i64, Instant)> = self.owned.iter().filter_map(leaving).collect();
        let mut room = LEASES_AT_ONCE_MAX.saturating_sub(self.moving());
        for (part, epoch, until) in leaving {
            if self.running.values().any(|run| run.fence.part == part) {
                if now >= until {
                    self.forget_starts(part, epoch);
                    self.abort(part);
                } else {
                    wake_at = wake_at.min(until);
                }
                continue;
            }
            if room == 0 {
                continue;
            }
            room -= 1;
            if let Some(owned) = self.owned.get_mut(&part) {
                owned.state = State::Releasing;
            }
            let (store, host, lease) = (Arc::clone(&self.store), self.config.host.clone(), self.lease());
            self.tasks.spawn(async move {
                News::Released(part, in_time(lease, store.release_partition(part, &host, epoch)).await)
            });
        }
        wake_at
    }

    /// A partition was given back, or that failed: then it is taken anew, or runs out.
    pub(super) fn released(&mut self, part: i64, released: Result<bool, String>) {
        if let Err(error) = released {
            self.failed(&error);
        }
        if self.owned.get(&part).is_some_and(|owned| matches!(owned.state, State::Releasing)) {
            self.owned.remove(&part);
        }
        self.announcements.wanted.insert(LEASES_CHANGED);
    }

    /// A beat is over.
    pub(super) fn beaten(&mut self, started: Instant, round: Result<Round, String>) {
        let interval = self.lease() / BEATS_PER_LEASE;
        let round = match round {
            Ok(round) => round,
            Err(error) => {
                self.failed(&error);
                self.next_beat = Some(Instant::now() + interval.min(READ_PAUSE));
                return;
            }
        };
        self.succeeded();
        self.next_beat = Some(started + interval);
        self.leased_until = round.asked + self.lease();
        let lost: Vec<i64> = self.owned.iter().filter(|entry| is_lost(entry, &round)).map(|(part, _)| *part).collect();
        for part in lost {
            self.lose(part, "somebody else has it");
        }
        if self.stopping.is_some() {
            return;
        }
        let active =
            self.owned.values().filter(|owned| matches!(owned.state, State::Active | State::Taking(_))).count();
        let owned = &self.owned;
        let wanted = self.leases.decide(&round, active, |part| owned.contains_key(&part));
        for (host, beat) in wanted.gone {
            tracing::warn!(host, "a host is gone");
            let store = Arc::clone(&self.store);
            // What is not forgotten now is forgotten at the next beat.
            self.tasks.spawn(async move { store.forget_host(&host, beat).await.map_or(News::Over, |()| News::Over) });
        }
        let room = LEASES_AT_ONCE_MAX.saturating_sub(self.moving());
        for seen in wanted.free.into_iter().take(room) {
            let (store, host, lease) = (Arc::clone(&self.store), self.config.host.clone(), self.lease());
            self.tasks.spawn(async move {
                News::Released(seen.id, in_time(lease, store.release_partition(seen.id, &host, seen.epoch)).await)
            });
        }
        self.more_to_take = wanted.take.len() > room;
        for seen in wanted.take.into_iter().take(room) {
            self.take(seen);
        }
        let until = Instant::now() + Duration::from_millis(self.config.hand_over_ms);
        self.hand_over(&self.least_busy(wanted.surplus), until);
    }

    /// Has the next beat now, unless one is under way.
    pub(super) fn beat_soon(&mut self) {
        self.next_beat = self.next_beat.map(|at| at.min(Instant::now()));
    }

    fn take(&mut self, seen: Partition) {
        let part = seen.id;
        let now = Instant::now();
        self.owned.insert(
            part,
            Owned {
                epoch: seen.epoch + 1,
                left_over: 0,
                state: State::Taking(HashSet::new()),
                since: now,
                next_due_ms: None,
                waking: false,
                no_wake_before: now,
            },
        );
        let (store, host, lease) = (Arc::clone(&self.store), self.config.host.clone(), self.lease());
        self.tasks.spawn(async move { News::Taken(part, in_time(lease, reading::take(&store, &seen, &host)).await) });
    }

    /// A partition was taken, or somebody was faster.
    pub(super) fn taken(&mut self, part: i64, taken: Result<Option<Taken>, String>) {
        let Some(owned) = self.owned.get_mut(&part) else { return };
        let State::Taking(late) = &mut owned.state else { return };
        let late = std::mem::take(late);
        match taken {
            Ok(Some(Taken { epoch, left_over, looked })) if epoch == owned.epoch => {
                owned.state = State::Active;
                owned.left_over = left_over;
                owned.since = Instant::now();
                self.looked(Depth::Full, looked);
                for shop in late {
                    self.schedule.rescan(part, &shop, 0);
                }
            }
            not_taken => {
                self.owned.remove(&part);
                if !late.is_empty() {
                    self.announcements.wanted.insert(part);
                }
                // Perhaps it is ours all the same: then it is taken anew at the next beat.
                if let Err(error) = not_taken {
                    self.failed(&error);
                }
            }
        }
        if self.more_to_take && self.moving() == 0 {
            self.beat_soon();
        }
    }

    /// Leases that are being taken or given back.
    fn moving(&self) -> usize {
        let moving = |owned: &&Owned| matches!(owned.state, State::Taking(_) | State::Releasing);
        self.owned.values().filter(moving).count()
    }

    /// The active partitions with the fewest running jobs.
    fn least_busy(&self, count: usize) -> Vec<i64> {
        let running = |part: i64| self.running.values().filter(|run| run.fence.part == part).count();
        let active = self.owned.iter().filter(|(_, owned)| matches!(owned.state, State::Active));
        let mut by_runs: Vec<(usize, i64)> = active.map(|(part, _)| (running(*part), *part)).collect();
        by_runs.sort_unstable();
        by_runs.into_iter().take(count).map(|(_, part)| part).collect()
    }

    /// Starts nothing more of these partitions, and gives each back when nothing of it runs.
    pub(super) fn hand_over(&mut self, parts: &[i64], until: Instant) {
        for part in parts {
            match self.owned.get_mut(part).map(|owned| &mut owned.state) {
                Some(state @ State::Active) => *state = State::HandingOver(until),
                // It is not known whether it is ours. If it is, it runs out.
                Some(State::Taking(_)) => {
                    self.owned.remove(part);
                }
                Some(State::HandingOver(_) | State::Releasing) | None => {}
            }
        }
        if !parts.is_empty() {
            self.schedule.drop_partitions(|part| parts.contains(&part));
        }
    }

    /// A partition is not ours any more.
    pub(super) fn lose(&mut self, part: i64, why: &str) {
        let Some(Owned { state, .. }) = self.owned.remove(&part) else { return };
        if matches!(state, State::Releasing | State::Taking(_)) {
            return;
        }
        tracing::warn!(host = self.config.host, partition = part, why, "lease lost");
        self.shared.leases_lost.fetch_add(1, Ordering::Relaxed);
        self.schedule.drop_partitions(|dropped| dropped == part);
        self.abort(part);
        self.beat_soon();
    }

    /// Without any lease, until a beat says otherwise.
    pub(super) fn abandon(&mut self, why: &str) {
        tracing::warn!(host = self.config.host, partitions = self.owned.len(), why, "all leases lost");
        self.shared.leases_lost.fetch_add(self.owned.len() as u64, Ordering::Relaxed);
        self.remember(why);
        self.owned.clear();
        self.schedule.drop_partitions(|_| true);
        self.started_here.extend(self.running.values().map(Run::seq));
        self.attempts.abort_all();
    }

    /// Aborts what runs of a partition. It did not kill this host: should it start here again, that is no second start.
    fn abort(&mut self, part: i64) {
        for run in self.running.values().filter(|run| run.fence.part == part) {
            self.started_here.insert(run.seq());
            run.abort.abort();
        }
    }

    /// Takes back that jobs of a partition were started, before they are aborted in an orderly way.
    fn forget_starts(&mut self, part: i64, epoch: i64) {
        let running = self.running.values().filter(|run| run.fence.part == part && run.fence.epoch == epoch);
        let started: Vec<i64> = running.map(Run::seq).collect();
        let store = Arc::clone(&self.store);
        // What is not taken back counts as one start more than there was.
        self.tasks.spawn(async move { store.forget_starts(&started).await.map_or(News::Over, |()| News::Over) });
    }

    pub(super) fn lease(&self) -> Duration {
        Duration::from_millis(self.config.lease_ms)
    }
}

/// A partition that is on its way out: its epoch, and how long it waits.
fn leaving((part, owned): (&i64, &Owned)) -> Option<(i64, i64, Instant)> {
    match owned.state {
        State::HandingOver(until) => Some((*part, owned.epoch, until)),
        _ => None,
    }
}

/// Whether a renewal that should have found the partition did not.
fn is_lost((part, owned): &(&i64, &Owned), round: &Round) -> bool {
    let settled = matches!(owned.state, State::Active | State::HandingOver(_)) && owned.since < round.asked;
    settled && !round.own.contains(&(**part, owned.epoch))
}

/// What the store answers, if it does so within a lease: later, nobody knows what is ours.
pub(super) async fn in_time<T>(
    lease: Duration,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, String> {
    match timeout(lease, asked).await {
        Ok(answered) => answered.map_err(|error| described(&error)),
        Err(_) => Err(format!("the store did not answer within {} ms", lease.as_millis())),
    }
}
