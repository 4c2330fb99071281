//! The one task that decides: it takes in what has happened, starts what may start, and sleeps until the next thing is due.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tradewind_model::Shop;
use tradewind_model::schedule::{Head, Offered, Refill, Schedule};
use tradewind_store::{NewJob, Store, StoreError};

use super::attempt::{Tag, committed, described, head_of};
use super::leases::{self, LEASES_CHANGED, Leases, Round};
use super::limits::{
    LISTEN_PAUSE, POLLS_PER_FULL, POLLS_PER_RECENT, READ_PAUSE, REFILLS_AT_ONCE_MAX, TAKEN_IN_MAX, TRANSACTION_MAX,
};
use super::partitions::{Owned, State, in_time};
use super::reading::{self, Depth, Looked, Taken, Woken};
use super::runs::Run;
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
    under_way: bool,
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
    messages: mpsc::Receiver<Message>,
    pub(super) schedule: Schedule<Tag>,
    pub(super) attempts: JoinSet<Ended>,
    pub(super) running: HashMap<Id, Run>,
    pub(super) tasks: JoinSet<News>,
    pub(super) owned: BTreeMap<i64, Owned>,
    pub(super) leases: Leases,
    /// When the leases end if they are not renewed.
    pub(super) leased_until: Instant,
    /// When the next beat is due; none while one is under way.
    pub(super) next_beat: Option<Instant>,
    /// Whether the last beat saw more to take than is taken at once.
    pub(super) more_to_take: bool,
    next_poll: Instant,
    polls: u64,
    /// Partitions to look at.
    looks: Errand<BTreeMap<i64, Depth>>,
    /// Partitions whose owners are to be told of new jobs.
    pub(super) announcements: Errand<BTreeSet<i64>>,
    refills: usize,
    no_refill_before: Instant,
    pub(super) no_start_before: Instant,
    /// Ends in a row that are not known.
    pub(super) unknown: u32,
    /// Whether reading or beating fails.
    failing: bool,
    /// The greatest number seen, and what it was at the last polls.
    highest: i64,
    marks: VecDeque<(Instant, i64)>,
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

    /// Has queued jobs read for the windows that have room.
    fn refill(&mut self) {
        for refill in self.schedule.hungry(REFILLS_AT_ONCE_MAX.saturating_sub(self.refills)) {
            self.refills += 1;
            self.shared.refills.fetch_add(1, Ordering::Relaxed);
            let store = Arc::clone(&self.store);
            self.tasks.spawn(async move {
                let rows = reading::refill(&store, &refill).await;
                News::Refilled(refill, rows)
            });
        }
    }

    /// Has all partitions looked at, for jobs that nobody announced.
    fn poll(&mut self, now: Instant) {
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

    fn look_at_all(&mut self, depth: Depth) {
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
    fn look(&mut self) {
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
                Depth::Idle if self.schedule.has_work(&shop) => {}
                Depth::Recent if self.schedule.has_work(&shop) => self.schedule.rescan(&shop, recent),
                _ => self.schedule.rescan(&shop, 0),
            }
        }
    }

    /// Has delayed jobs brought to the queue that are due, and says when the next are.
    fn wake_delayed(&mut self, now: Instant, now_ms: i64) -> Instant {
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
    fn woken(&mut self, part: i64, epoch: i64, woken: Result<(Vec<Woken>, Option<i64>), StoreError>) {
        let woken = self.read_went(woken);
        let now_ms = self.now_ms();
        let Some(owned) = self.owned.get_mut(&part).filter(|owned| owned.epoch == epoch) else { return };
        owned.waking = false;
        let Some((woken, next_due_ms)) = woken else {
            owned.no_wake_before = Instant::now() + READ_PAUSE;
            owned.due(now_ms);
            return;
        };
        if let Some(next) = next_due_ms {
            owned.due(next);
        }
        if matches!(owned.state, State::Active) {
            for Woken { shop, rank, seq } in woken {
                self.schedule.more(&shop, rank, seq);
            }
        }
    }

    /// Jobs of a shop that this process has just committed.
    pub(super) fn take_in(&mut self, shop: &Shop, jobs: Vec<(i64, NewJob)>) {
        let part = shop.partition();
        match self.owned.get_mut(&part).map(|owned| &mut owned.state) {
            Some(State::Active) => {}
            // Whoever looks through the partition may have begun before they were committed.
            Some(State::Taking(late)) => {
                late.insert(shop.clone());
                return;
            }
            // Whoever gets it next looks through it.
            Some(State::HandingOver(_) | State::Releasing) => return,
            None => {
                self.announcements.wanted.insert(part);
                return;
            }
        }
        let now_ms = self.now_ms();
        for (seq, new) in jobs {
            self.highest = self.highest.max(seq);
            if new.run_at_ms > 0 {
                let run_at_ms = new.run_at_ms;
                self.due(part, run_at_ms);
                if run_at_ms > now_ms {
                    continue;
                }
                // Its time came between the commit's clock and now: it is delayed, or it is queued.
                self.schedule.more(shop, head_of(committed(shop, seq, new, now_ms)).rank, seq);
                continue;
            }
            let offered = self.schedule.offer_fresh(head_of(committed(shop, seq, new, now_ms)));
            if offered == Offered::Held {
                self.shared.handed_over.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A delayed job of a partition becomes due.
    pub(super) fn due(&mut self, part: i64, run_at_ms: i64) {
        if let Some(owned) = self.owned.get_mut(&part) {
            owned.due(run_at_ms);
        }
    }

    /// Tells other hosts of jobs in their partitions, once for all that have gathered.
    fn announce(&mut self) {
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

    fn told(&mut self, message: Message) {
        match message {
            Message::Offer(shop, jobs) => self.take_in(&shop, jobs),
            Message::Look(shop) => match self.owned.get(&shop.partition()).map(|owned| &owned.state) {
                Some(State::Active) => {
                    self.schedule.rescan(&shop, 0);
                    self.look_at(shop.partition(), Depth::Idle);
                }
                Some(_) => self.take_in(&shop, Vec::new()),
                None => {
                    self.announcements.wanted.insert(shop.partition());
                }
            },
            Message::Announced(Some(LEASES_CHANGED)) => self.beat_soon(),
            Message::Announced(Some(part)) if self.owned.contains_key(&part) => self.look_at(part, Depth::Recent),
            Message::Announced(Some(_)) | Message::Wake => {}
            Message::Announced(None) => self.look_at_all(Depth::Recent),
            Message::Stop(deadline, answer) => self.stop(Instant::now() + deadline, answer),
        }
        if self.shared.missed.swap(false, Ordering::Acquire) {
            self.look_at_all(Depth::Recent);
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
    fn read_went<T>(&mut self, read: Result<T, StoreError>) -> Option<T> {
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

/// The moment that is so many milliseconds from now; at most a day, so that it always exists.
fn after(now: Instant, ms: i64) -> Instant {
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
