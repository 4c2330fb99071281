//! How jobs come in: offered, read for the schedule, found by looking, or because their time has come.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;
use tradewind_model::Shop;
use tradewind_model::job_options::Priority;
use tradewind_model::schedule::Offered;
use tradewind_store::{NewJob, StoreError};

use super::Runs;
use super::attempt::{committed, head_of};
use super::driver::{Driver, News, after};
use super::limits::{POLLS_PER_FULL, POLLS_PER_RECENT, READ_PAUSE, REFILLS_AT_ONCE_MAX, TRANSACTION_MAX};
use super::partitions::State;
use super::reading::{self, Depth, Looked, Woken};

impl<R: Runs> Driver<R> {
    /// Has queued jobs read for the windows that have room.
    pub(super) fn refill(&mut self) {
        for refill in self.schedule.hungry(REFILLS_AT_ONCE_MAX.saturating_sub(self.refills)) {
            self.refills += 1;
            self.shared.refills.fetch_add(1, Ordering::Relaxed);
            let (store, payloads) = (Arc::clone(&self.store), self.shared.payloads.clone());
            self.tasks.spawn(async move {
                let rows = reading::refill(&store, &refill, &payloads).await;
                News::Refilled(refill, rows)
            });
        }
    }

    /// Has all partitions looked at, for jobs that nobody announced.
    pub(super) fn poll(&mut self, now: Instant) {
        self.next_poll = now + Duration::from_millis(self.config.poll_ms);
        self.polls += 1;
        self.marks.push_back((now, self.highest));
        while self.marks.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= TRANSACTION_MAX) {
            self.marks.pop_front();
        }
        let depth = match self.polls {
            polls if polls.is_multiple_of(POLLS_PER_FULL) => Depth::Full,
            polls if polls.is_multiple_of(POLLS_PER_RECENT) => Depth::Recent,
            _ => Depth::Idle,
        };
        self.look_at_all(depth);
    }

    pub(super) fn look_at_all(&mut self, depth: Depth) {
        let active = self.owned.iter().filter(|(_, owned)| matches!(owned.state, State::Active)).map(|(part, _)| *part);
        for part in active.collect::<Vec<_>>() {
            self.look_at(part, depth);
        }
    }

    pub(super) fn look_at(&mut self, part: i64, depth: Depth) {
        let wanted = self.looks.wanted.entry(part).or_insert(depth);
        *wanted = depth.max(*wanted);
    }

    /// Has the partitions looked at that are to be, one after the other.
    pub(super) fn look(&mut self) {
        if self.looks.under_way || self.looks.wanted.is_empty() || self.stopping.is_some() {
            return;
        }
        self.looks.under_way = true;
        let (store, parts) = (Arc::clone(&self.store), std::mem::take(&mut self.looks.wanted));
        self.tasks.spawn(async move {
            let mut seen = Vec::new();
            for (part, depth) in parts {
                match reading::look(&store, part).await {
                    Ok(looked) => seen.push((depth, looked)),
                    Err(error) => return News::Looked(seen, Err(error)),
                }
            }
            News::Looked(seen, Ok(()))
        });
    }

    /// Takes in what waits in a partition.
    pub(super) fn looked(&mut self, depth: Depth, looked: Looked) {
        let Some(owned) = self.owned.get_mut(&looked.part) else { return };
        if !matches!(owned.state, State::Active) {
            return;
        }
        if let Some(next) = looked.next_due_ms {
            owned.due(next);
        }
        let recent = match self.marks.front() {
            Some((at, seq)) if at.elapsed() >= TRANSACTION_MAX => *seq,
            _ => 0,
        };
        for shop in looked.shops {
            match depth {
                Depth::Idle if self.schedule.has_work(looked.part, &shop) => {}
                Depth::Recent if self.schedule.has_work(looked.part, &shop) => {
                    self.schedule.rescan(looked.part, &shop, recent);
                }
                _ => self.schedule.rescan(looked.part, &shop, 0),
            }
        }
    }

    /// Has delayed jobs brought to the queue that are due, and says when the next are.
    pub(super) fn wake_delayed(&mut self, now: Instant, now_ms: i64) -> Instant {
        let mut wake_at = now + Duration::from_millis(self.config.poll_ms);
        for (part, owned) in &mut self.owned {
            let Some(next_due_ms) = owned.next_due_ms.filter(|_| matches!(owned.state, State::Active) && !owned.waking)
            else {
                continue;
            };
            let at = after(now, next_due_ms.saturating_sub(now_ms)).max(owned.no_wake_before);
            if at > now {
                wake_at = wake_at.min(at);
                continue;
            }
            (owned.waking, owned.next_due_ms) = (true, None);
            let (store, part, epoch) = (Arc::clone(&self.store), *part, owned.epoch);
            self.tasks.spawn(async move { News::Woken(part, epoch, reading::wake(&store, part, now_ms).await) });
        }
        wake_at
    }

    /// Delayed jobs have come to the queue.
    pub(super) fn woken(&mut self, part: i64, epoch: i64, woken: Result<(Vec<Woken>, Option<i64>), StoreError>) {
        let woken = self.read_went(woken);
        let now_ms = self.now_ms();
        let Some(owned) = self.owned.get_mut(&part).filter(|owned| owned.epoch == epoch) else { return };
        owned.waking = false;
        let Some((woken, next_due_ms)) = woken else {
            owned.no_wake_before = Instant::now() + READ_PAUSE;
            owned.due(now_ms);
            // Some may have come to the queue before it failed, and nobody says which.
            self.look_at(part, Depth::Full);
            return;
        };
        if let Some(next) = next_due_ms {
            owned.due(next);
        }
        if matches!(owned.state, State::Active) {
            for Woken { shop, rank, seq } in woken {
                self.schedule.more(part, &shop, rank, seq);
            }
        }
    }

    /// Jobs of a shop that this process has just committed.
    pub(super) fn take_in(&mut self, shop: &Shop, jobs: Vec<(i64, NewJob)>) {
        self.take_in_missed();
        let now_ms = self.now_ms();
        for (seq, new) in jobs {
            let part = new.partition(shop);
            if !self.receives(part, shop) {
                continue;
            }
            self.highest = self.highest.max(seq);
            if self.remembered.has(seq) {
                // It was read between its commit and now, and has ended already.
                continue;
            }
            if new.run_at_ms > 0 {
                let run_at_ms = new.run_at_ms;
                self.due(part, run_at_ms);
                if run_at_ms > now_ms {
                    continue;
                }
                // Its time came between the commit's clock and now: it is delayed, or it is queued.
                self.schedule.more(part, shop, Priority::of_rank(new.rank), seq);
                continue;
            }
            let job = committed(shop, seq, new, now_ms);
            let offered = self.schedule.offer_fresh(head_of(job, false, &self.shared.payloads));
            if offered == Offered::Held {
                self.shared.handed_over.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Has read what did not fit among the messages, before anything that was offered later can start.
    pub(super) fn take_in_missed(&mut self) {
        for ((part, shop), seq) in self.shared.missed.take() {
            self.read_anew(part, &shop, seq);
        }
    }

    /// Has a shop's jobs in a partition read from a number on. Those that are offered meanwhile come in their turn.
    pub(super) fn read_anew(&mut self, part: i64, shop: &Shop, seq: i64) {
        if self.receives(part, shop) {
            self.schedule.rescan(part, shop, seq);
            // Some may be delayed.
            self.look_at(part, Depth::Idle);
        }
    }

    /// Whether a partition's jobs are taken in here. If not, whoever is to run the shop's jobs learns that there are some.
    fn receives(&mut self, part: i64, shop: &Shop) -> bool {
        match self.owned.get_mut(&part).map(|owned| &mut owned.state) {
            Some(State::Active) => return true,
            // Whoever looks through the partition may have begun before they were committed.
            Some(State::Taking(late)) => {
                late.insert(shop.clone());
            }
            // Whoever gets it next looks through it.
            Some(State::HandingOver(_) | State::Releasing) => {}
            None => {
                self.announcements.wanted.insert(part);
            }
        }
        false
    }

    /// A delayed job of a partition becomes due.
    pub(super) fn due(&mut self, part: i64, run_at_ms: i64) {
        if let Some(owned) = self.owned.get_mut(&part) {
            owned.due(run_at_ms);
        }
    }

    /// Tells other hosts of jobs in their partitions, once for all that have gathered.
    pub(super) fn announce(&mut self) {
        if self.announcements.under_way || self.announcements.wanted.is_empty() {
            return;
        }
        self.announcements.under_way = true;
        let (store, parts) = (Arc::clone(&self.store), std::mem::take(&mut self.announcements.wanted));
        self.tasks.spawn(async move {
            for part in parts {
                if let Err(error) = store.announce(part).await {
                    return News::Announced(Err(error));
                }
            }
            News::Announced(Ok(()))
        });
    }
}
