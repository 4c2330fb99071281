//! Attempts at jobs: how they are started, and what their ends mean for the schedule.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError};
use tokio::time::Instant;
use tradewind_model::Shop;
use tradewind_model::schedule::Head;
use tradewind_store::Fence;

use super::Runs;
use super::attempt::{Suspects, Tag, attempt};
use super::driver::Driver;
use super::limits::{ENDED_MAX, TROUBLE_PAUSE, UNKNOWN_PAUSE, doubled};
use super::partitions::State;
use super::reading::Depth;
use crate::pipeline::Ended;

/// A job that runs.
pub(super) struct Run {
    head: Head<Tag>,
    pub(super) fence: Fence,
    started: Instant,
    pub(super) abort: AbortHandle,
}

impl Run {
    /// The job's number.
    pub(super) fn seq(&self) -> i64 {
        self.head.seq
    }
}

/// The numbers of the last jobs that ended.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    seqs: HashSet<i64>,
    order: VecDeque<i64>,
}

impl Remembered {
    fn add(&mut self, seq: i64) {
        if self.seqs.insert(seq) {
            self.order.push_back(seq);
        }
        if self.order.len() > ENDED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seqs.remove(&oldest);
        }
    }

    pub(super) fn has(&self, seq: i64) -> bool {
        self.seqs.contains(&seq)
    }
}

impl<R: Runs> Driver<R> {
    /// Starts what may start.
    pub(super) fn start(&mut self, now: Instant, now_ms: i64) {
        // Runs that were aborted, or that a partition on its way out waits for, have their slots until they end.
        while self.attempts.len() < self.config.jobs_in_flight_max
            && let Some(head) = self.schedule.next(u64::try_from(now_ms).unwrap_or_default())
        {
            let part = head.part;
            let Some(owned) = self.owned.get(&part) else {
                self.schedule.done(head.seq, 0);
                continue;
            };
            let fence = Fence { part, epoch: owned.epoch };
            let is_left_over = head.seq <= owned.left_over && !self.started_here.remove(&head.seq);
            let (store, runs, shared) = (Arc::clone(&self.store), Arc::clone(&self.runs), Arc::clone(&self.shared));
            let (tag, held) = (head.tag.clone(), fence.clone());
            let deaths_max = self.config.deaths_max;
            let attempt = async move {
                let suspects = is_left_over.then_some(Suspects { alone: &shared.suspects, deaths_max });
                attempt(&store, &*runs, tag, held, now_ms, suspects).await
            };
            let abort = match &self.config.workers {
                Some(workers) => self.attempts.spawn_on(attempt, workers),
                None => self.attempts.spawn(attempt),
            };
            self.running.insert(abort.id(), Run { head, fence, started: now, abort });
            self.shared.started.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An attempt is over.
    pub(super) fn ended(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (id, ended) = match ended {
            Ok((id, ended)) => (id, Ok(ended)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(Run { head, fence, started, .. }) = self.running.remove(&id) else { return };
        let owned = self.owned.get(&fence.part).filter(|owned| owned.epoch == fence.epoch);
        if !owned.is_some_and(|owned| matches!(owned.state, State::Active)) {
            // Its partition is gone or on its way out, and the schedule knows nothing of the job any more. What it made may
            // lie in others.
            if let Ok(Ended::Done(made) | Ended::Again { made, .. } | Ended::Parked { made, .. }) = ended {
                self.take_in(&head.shop, made);
            }
            return;
        }
        let ran_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        match ended {
            Ok(Ended::Unknown(reason)) => self.ended_unknown(head, ran_us, &reason),
            Ok(ended) => self.ended_known(head, ran_us, ended),
            Err(error) if error.is_panic() => self.panicked(head, ran_us, &error),
            // Only runs of partitions that are gone are aborted; whatever it was, the job is there and is tried again.
            Err(error) => self.ended_unknown(head, ran_us, &error.to_string()),
        }
    }

    fn ended_known(&mut self, mut head: Head<Tag>, ran_us: u64, ended: Ended) {
        if self.unknown > 0 {
            self.unknown = 0;
            tracing::info!(host = self.config.host, "the ends of jobs are known again");
        }
        let (seq, part, shop) = (head.seq, head.part, head.shop.clone());
        if head.tag.was_read {
            self.remembered.add(seq);
        }
        match ended {
            Ended::Done(made) => {
                self.schedule.done(seq, ran_us);
                self.take_in(&shop, made);
            }
            Ended::Again { run_at_ms, made, .. } => {
                if head.lane.is_some() {
                    // It keeps its place, and its lane waits. What the attempt changed of it is read when it is its turn.
                    head.not_before_ms = u64::try_from(run_at_ms).unwrap_or_default();
                    head.tag = Tag { unknown: 0, ..head.tag.to_read_again() };
                    self.schedule.put_back(head, ran_us);
                } else {
                    self.schedule.done(seq, ran_us);
                    self.due(part, run_at_ms);
                }
                self.take_in(&shop, made);
            }
            Ended::Parked { reason, made } => {
                tracing::warn!(app = &*shop.app, shop.id = &*shop.id, job.seq = seq, reason, "job parked");
                self.schedule.done(seq, ran_us);
                self.take_in(&shop, made);
            }
            Ended::Gone => {
                self.schedule.done(seq, ran_us);
                if head.tag.unknown > 0 {
                    // It was committed after all, and nobody has said what jobs it made.
                    self.look_for_made(part, &shop, seq);
                }
            }
            Ended::Fenced => self.lose(part, "somebody else has it"),
            Ended::Unknown(reason) => self.ended_unknown(head, ran_us, &reason),
        }
    }

    /// Has jobs looked for that an attempt may have made: those of the shop's partition and of its own come before what is
    /// offered from now on; those of other queues may be in any partition.
    fn look_for_made(&mut self, part: i64, shop: &Shop, seq: i64) {
        for part in BTreeSet::from([part, shop.partition()]) {
            self.read_anew(part, shop, seq);
        }
        self.look_at_all(Depth::Recent);
    }

    /// The job may be done or not: it waits for a while, and is read again before it runs.
    fn ended_unknown(&mut self, mut head: Head<Tag>, ran_us: u64, reason: &str) {
        let now = Instant::now();
        if now >= self.no_start_before {
            // The first after a pause: what was running beside it tells nothing new.
            if self.unknown == 0 {
                tracing::warn!(
                    app = &*head.shop.app,
                    shop.id = &*head.shop.id,
                    job.seq = head.seq,
                    reason,
                    "the end of a job is not known"
                );
            }
            self.no_start_before = now + doubled(TROUBLE_PAUSE, self.unknown);
            self.unknown = self.unknown.saturating_add(1);
            self.remember(reason);
        }
        // It may have made jobs that nobody has told of: whatever comes now waits until they are read.
        self.look_for_made(head.part, &head.shop, head.seq);
        self.started_here.insert(head.seq);
        let pause = doubled(UNKNOWN_PAUSE, head.tag.unknown);
        head.tag = Tag { unknown: head.tag.unknown.saturating_add(1), ..head.tag.to_read_again() };
        self.put_back_after(head, ran_us, pause);
    }

    /// The host has a fault that this job finds. Others go on.
    fn panicked(&mut self, mut head: Head<Tag>, ran_us: u64, error: &JoinError) {
        let error = error.to_string();
        tracing::error!(
            app = &*head.shop.app,
            shop.id = &*head.shop.id,
            job.seq = head.seq,
            error,
            "the host panicked in a job"
        );
        self.remember(&error);
        self.started_here.insert(head.seq);
        let pause = doubled(UNKNOWN_PAUSE, head.tag.panics);
        head.tag = Tag { panics: head.tag.panics.saturating_add(1), ..head.tag.to_read_again() };
        self.put_back_after(head, ran_us, pause);
    }

    fn put_back_after(&mut self, mut head: Head<Tag>, ran_us: u64, pause: Duration) {
        let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
        head.not_before_ms = u64::try_from(self.now_ms().saturating_add(pause_ms)).unwrap_or_default();
        self.schedule.put_back(head, ran_us);
    }
}
