//! The one task that decides: it takes in what has happened, starts what may start, and sleeps until the next thing is due.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tradewind_model::schedule::{Head, Refill, Schedule};
use tradewind_store::{Store, StoreError};

use super::attempt::{Tag, described};
use super::leases::{self, LEASES_CHANGED, Leases, Round};
use super::limits::{LISTEN_PAUSE, READ_PAUSE, TAKEN_IN_MAX};
use super::partitions::{Owned, State, in_time};
use super::reading::{Depth, Looked, Taken, Woken};
use super::runs::{Remembered, Run};
use super::{Config, Message, Runs, Shared};
use crate::pipeline::{Clock, Ended};

/// What a task of ours brings back.
pub(super) enum News {
    Beat(Instant, Result<Round, String>),
    Taken(i64, Result<Option<Taken>, String>),
    Released(i64, Result<bool, String>),
    Refilled(Refill, Result<(Vec<Head<Tag>>, bool), StoreError>),
    Looked(Vec<(Depth, Looked)>, Result<(), StoreError>),
    Woken(i64, i64, Result<(Vec<Woken>, Option<i64>), StoreError>),
    Announced(Result<(), StoreError>),
    /// Nothing to say.
    Over,
}

/// What one task at a time is sent out for, and what has gathered for the next.
#[derive(Debug, Default)]
pub(super) struct Errand<T> {
    pub(super) wanted: T,
    pub(super) under_way: bool,
}

/// The end that was asked for.
pub(super) struct Stopping {
    answer: oneshot::Sender<()>,
}

pub(super) struct Driver<R> {
    pub(super) store: Arc<Store>,
    pub(super) runs: Arc<R>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: Config,
    pub(super) shared: Arc<Shared>,
    pub(super) messages: mpsc::Receiver<Message>,
    pub(super) schedule: Schedule<Tag>,
    pub(super) attempts: JoinSet<Ended>,
    pub(super) running: HashMap<Id, Run>,
    pub(super) remembered: Remembered,
    /// Jobs that this process has started and whose end is not written down: it did not die while they ran.
    pub(super) started_here: HashSet<i64>,
    pub(super) tasks: JoinSet<News>,
    pub(super) owned: BTreeMap<i64, Owned>,
    pub(super) leases: Leases,
    /// When the leases end if they are not renewed.
    pub(super) leased_until: Instant,
    /// When the next beat is due; none while one is under way.
    pub(super) next_beat: Option<Instant>,
    /// Whether the last beat saw more to take than is taken at once.
    pub(super) more_to_take: bool,
    pub(super) next_poll: Instant,
    pub(super) polls: u64,
    /// Partitions to look at.
    pub(super) looks: Errand<BTreeMap<i64, Depth>>,
    /// Partitions whose owners are to be told of new jobs.
    pub(super) announcements: Errand<BTreeSet<i64>>,
    pub(super) refills: usize,
    pub(super) no_refill_before: Instant,
    pub(super) no_start_before: Instant,
    /// Ends in a row that are not known.
    pub(super) unknown: u32,
    /// Whether reading or beating fails.
    pub(super) failing: bool,
    /// The greatest number seen, and what it was at the last polls.
    pub(super) highest: i64,
    pub(super) marks: VecDeque<(Instant, i64)>,
    pub(super) stopping: Option<Stopping>,
}

impl<R: Runs> Driver<R> {
    pub(super) fn new(
        store: Arc<Store>,
        runs: Arc<R>,
        clock: Arc<dyn Clock>,
        config: Config,
        shared: Arc<Shared>,
        sender: mpsc::WeakSender<Message>,
        messages: mpsc::Receiver<Message>,
    ) -> Self {
        let now = Instant::now();
        let mut tasks = JoinSet::new();
        tasks.spawn(listen(Arc::clone(&store), sender));
        Self {
            runs,
            clock,
            shared,
            messages,
            schedule: Schedule::new(config.jobs_in_flight_max, config.jobs_held_max),
            attempts: JoinSet::new(),
            running: HashMap::new(),
            remembered: Remembered::default(),
            started_here: HashSet::new(),
            tasks,
            owned: BTreeMap::new(),
            leases: Leases::new(config.host.clone(), Duration::from_millis(config.lease_ms)),
            leased_until: now,
            next_beat: Some(now),
            more_to_take: false,
            next_poll: now + Duration::from_millis(config.poll_ms),
            polls: 0,
            looks: Errand::default(),
            // A new host: the others look what its share is.
            announcements: Errand { wanted: BTreeSet::from([LEASES_CHANGED]), under_way: false },
            refills: 0,
            no_refill_before: now,
            no_start_before: now,
            unknown: 0,
            failing: false,
            highest: 0,
            marks: VecDeque::new(),
            stopping: None,
            store,
            config,
        }
    }

    /// Runs until it is stopped.
    pub(super) async fn drive(mut self) {
        let mut timer = Box::pin(sleep_until(Instant::now()));
        loop {
            let now = Instant::now();
            let wake_at = self.advance(now);
            if self.stopping.is_some() && self.owned.is_empty() && self.running.is_empty() {
                break;
            }
            if timer.deadline() != wake_at {
                timer.as_mut().reset(wake_at);
            }
            tokio::select! {
                Some(ended) = self.attempts.join_next_with_id() => self.ended(ended),
                Some(message) = self.messages.recv() => self.told(message),
                Some(news) = self.tasks.join_next() => self.heard(news),
                () = &mut timer => {}
            }
            // What has happened meanwhile is taken in together, and what it makes possible is started together.
            for _ in 0..TAKEN_IN_MAX {
                let Ok(message) = self.messages.try_recv() else { break };
                self.told(message);
            }
            for _ in 0..TAKEN_IN_MAX {
                let Some(ended) = self.attempts.try_join_next_with_id() else { break };
                self.ended(ended);
            }
        }
        // A beat or an announcement that is under way would list us again.
        self.tasks.shutdown().await;
        if let Err(error) = in_time(self.lease(), leases::leave(&self.store, &self.config.host)).await {
            self.failed(&error);
        }
        if let Some(Stopping { answer, .. }) = self.stopping.take() {
            self.show();
            // Whoever has gone away does not want to know.
            let _ = answer.send(());
        }
    }

    /// Does everything that is due, and says when the next thing is.
    fn advance(&mut self, now: Instant) -> Instant {
        let now_ms = self.now_ms();
        let mut wake_at = self.keep_leases(now);
        if now >= self.next_poll {
            self.poll(now);
        }
        wake_at = wake_at.min(self.next_poll).min(self.wake_delayed(now, now_ms));
        if self.stopping.is_none() {
            self.take_in_missed();
            if now >= self.no_start_before {
                self.start(now, now_ms);
            } else {
                wake_at = wake_at.min(self.no_start_before);
            }
            if now >= self.no_refill_before {
                self.refill();
            } else {
                wake_at = wake_at.min(self.no_refill_before);
            }
            if let Some(at_ms) = self.schedule.wake_at() {
                wake_at = wake_at.min(after(now, i64::try_from(at_ms).unwrap_or(i64::MAX).saturating_sub(now_ms)));
            }
        }
        self.look();
        self.announce();
        self.show();
        wake_at
    }

    fn told(&mut self, message: Message) {
        match message {
            Message::Offer(shop, jobs) => self.take_in(&shop, jobs),
            Message::Look(part, shop) => self.read_anew(part, &shop, 0),
            Message::Announced(Some(LEASES_CHANGED)) => self.beat_soon(),
            Message::Announced(Some(code)) if code < LEASES_CHANGED => self.look_at(changed(code), Depth::Full),
            Message::Announced(Some(part)) if self.owned.contains_key(&part) => self.look_at(part, Depth::Recent),
            Message::Announced(Some(_)) | Message::Wake => {}
            Message::Announced(None) => self.look_at_all(Depth::Recent),
            Message::Stop(deadline, answer) => self.stop(Instant::now() + deadline, answer),
        }
    }

    fn stop(&mut self, deadline: Instant, answer: oneshot::Sender<()>) {
        self.stopping = Some(Stopping { answer });
        let all: Vec<i64> = self.owned.keys().copied().collect();
        self.hand_over(&all, deadline);
    }

    fn heard(&mut self, news: Result<News, JoinError>) {
        match news {
            Ok(News::Beat(started, round)) => self.beaten(started, round),
            Ok(News::Taken(part, taken)) => self.taken(part, taken),
            Ok(News::Released(part, released)) => self.released(part, released),
            Ok(News::Refilled(refill, rows)) => {
                self.refills = self.refills.saturating_sub(1);
                match self.read_went(rows) {
                    Some((heads, end)) => {
                        self.highest = heads.last().map_or(self.highest, |head| head.seq.max(self.highest));
                        self.schedule.refill(&refill, heads, end);
                    }
                    None => self.schedule.unanswered(&refill),
                }
            }
            Ok(News::Looked(seen, all)) => {
                self.looks.under_way = false;
                for (depth, looked) in seen {
                    self.looked(depth, looked);
                }
                if self.read_went(all).is_none() {
                    self.next_poll = self.next_poll.min(Instant::now() + READ_PAUSE);
                }
            }
            Ok(News::Woken(part, epoch, woken)) => self.woken(part, epoch, woken),
            Ok(News::Announced(announced)) => {
                self.announcements.under_way = false;
                // Who was not told finds the jobs by polling.
                self.read_went(announced);
            }
            Ok(News::Over) => {}
            Err(error) => {
                // A task of ours panicked: nothing that was under way is certain.
                self.failed(&error.to_string());
                (self.looks.under_way, self.announcements.under_way, self.refills) = (false, false, 0);
                self.abandon("a fault of our own");
                self.next_beat.get_or_insert(Instant::now() + READ_PAUSE);
            }
        }
    }

    /// Looks whether a read succeeded; after one that failed, reading rests for a moment.
    pub(super) fn read_went<T>(&mut self, read: Result<T, StoreError>) -> Option<T> {
        match read {
            Ok(read) => {
                self.succeeded();
                Some(read)
            }
            Err(error) => {
                self.no_refill_before = Instant::now() + READ_PAUSE;
                self.failed(&described(&error));
                None
            }
        }
    }

    /// Says once that the store does not do what it should.
    pub(super) fn failed(&mut self, error: &str) {
        if !self.failing {
            self.failing = true;
            tracing::warn!(host = self.config.host, error, "the scheduler has trouble with the store");
        }
        self.remember(error);
    }

    pub(super) fn remember(&self, error: &str) {
        *self.shared.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_owned());
    }

    /// Says once that it does again.
    pub(super) fn succeeded(&mut self) {
        if self.failing {
            self.failing = false;
            tracing::info!(host = self.config.host, "the scheduler's trouble with the store is over");
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now().as_millis()).unwrap_or(i64::MAX)
    }

    fn show(&self) {
        let show = |counter: &AtomicU64, count: usize| counter.store(count as u64, Ordering::Relaxed);
        let active = self.owned.values().filter(|owned| matches!(owned.state, State::Active)).count();
        show(&self.shared.partitions, active);
        show(&self.shared.held, self.schedule.held());
        show(&self.shared.running, self.running.len());
    }
}

/// What is announced of a partition in which an operator changed jobs, old ones among them; and back again.
pub fn changed(part: i64) -> i64 {
    LEASES_CHANGED - 1 - part
}

/// The moment that is so many milliseconds from now; at most a day, so that it always exists.
pub(super) fn after(now: Instant, ms: i64) -> Instant {
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    now + Duration::from_millis(u64::try_from(ms).unwrap_or_default().min(DAY_MS))
}

/// Passes on what other hosts announce, for as long as anybody wants to know.
async fn listen(store: Arc<Store>, sender: mpsc::WeakSender<Message>) -> News {
    loop {
        if let Ok(announcements) = store.listen().await {
            let Some(mut announcements) = announcements else { return News::Over };
            // Whatever was announced before.
            let mut announced = Some(None);
            while let Some(part) = announced {
                let Some(sender) = sender.upgrade() else { return News::Over };
                if sender.send(Message::Announced(part)).await.is_err() {
                    return News::Over;
                }
                drop(sender);
                announced = announcements.next().await.ok();
            }
        }
        // Whoever beats and reads says that the store is away; meanwhile the poll finds what is announced.
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}
