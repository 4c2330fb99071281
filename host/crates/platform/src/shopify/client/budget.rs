//! One budget and the line in front of it.
//!
//! Callers are served in the order in which they came, whatever they want: a dear query is not starved by cheap ones. The
//! first in the line sleeps until there is enough; it is woken early when an answer changes what is known. Whoever is dropped
//! leaves the line, and what it took goes back: into the budget when nothing was sent, as spent when something was.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::bucket::{Bucket, Level, Taken};
use super::limits::WAITING_MAX;

/// A budget, shared by all who call one shop's one API for one app.
#[derive(Debug)]
pub(super) struct Budget {
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    bucket: Bucket,
    waiting: VecDeque<Waiter>,
    last_ticket: u64,
    used_at: Instant,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    points: f64,
    woken: Arc<Notify>,
}

/// Waiting would take until after the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooLong {
    /// How long it would take from now.
    pub(super) wait: Duration,
}

impl Budget {
    pub(super) fn new(level: Level) -> Self {
        let now = Instant::now();
        let line = Line { bucket: Bucket::new(level, now), waiting: VecDeque::new(), last_ticket: 0, used_at: now };
        Self { line: Mutex::new(line) }
    }

    /// Waits in the line until `points` are there, and takes them.
    pub(super) async fn take(self: &Arc<Self>, points: f64, deadline: Instant) -> Result<Permit, TooLong> {
        let place = self.join(points, deadline)?;
        loop {
            let step = place.step(deadline)?;
            match step {
                Step::Taken(taken) => return Ok(Permit { budget: Arc::clone(self), taken: Some(taken), sent: false }),
                Step::Sleep(wait) => {
                    // Early or late makes no difference: the next step looks again.
                    let _ = tokio::time::timeout(wait, place.woken.notified()).await;
                }
                Step::Behind => place.woken.notified().await,
            }
        }
    }

    fn join(self: &Arc<Self>, points: f64, deadline: Instant) -> Result<Place, TooLong> {
        let mut line = self.lock();
        let now = Instant::now();
        let before: f64 = line.waiting.iter().map(|waiter| waiter.points).sum();
        let wait = line.bucket.wait_behind(before, points, now);
        // Zero waits for nobody, so the deadline does not matter.
        if (!wait.is_zero() && now + wait.min(FAR) > deadline) || line.waiting.len() >= WAITING_MAX {
            return Err(TooLong { wait });
        }
        line.last_ticket += 1;
        line.used_at = now;
        let (ticket, woken) = (line.last_ticket, Arc::new(Notify::new()));
        line.waiting.push_back(Waiter { ticket, points, woken: Arc::clone(&woken) });
        Ok(Place { budget: Arc::clone(self), ticket, woken })
    }

    /// What is known of the budget now; none when the platform has not said anything yet.
    pub(super) fn known(&self) -> Option<Level> {
        self.lock().bucket.known(Instant::now())
    }

    /// Nobody calls for so long.
    pub(super) fn pause(&self, wait: Duration) {
        let mut line = self.lock();
        line.bucket.pause(Instant::now() + wait.min(FAR));
        line.wake();
    }

    /// Whether it was used within `idle`, or is being waited for.
    pub(super) fn is_used(&self, idle: Duration) -> bool {
        let line = self.lock();
        !line.waiting.is_empty() || line.used_at.elapsed() < idle
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // What the lock guards is whole after each statement, so a panic elsewhere leaves nothing half done.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Longer than any deadline, and short enough that adding it to an instant is always possible.
pub(super) const FAR: Duration = Duration::from_hours(24 * 365);

impl Line {
    /// Lets the first look again.
    fn wake(&self) {
        if let Some(first) = self.waiting.front() {
            first.woken.notify_one();
        }
    }
}

/// What the one who waits does next.
enum Step {
    Taken(Taken),
    Sleep(Duration),
    Behind,
}

/// A place in the line, left when dropped.
struct Place {
    budget: Arc<Budget>,
    ticket: u64,
    woken: Arc<Notify>,
}

impl Place {
    fn step(&self, deadline: Instant) -> Result<Step, TooLong> {
        let mut line = self.budget.lock();
        let Some(first) = line.waiting.front().filter(|first| first.ticket == self.ticket) else {
            return Ok(Step::Behind);
        };
        let (points, now) = (first.points, Instant::now());
        let wait = line.bucket.wait(points, now);
        if wait.is_zero() {
            line.used_at = now;
            return Ok(Step::Taken(line.bucket.take(points)));
        }
        if now + wait.min(FAR) > deadline {
            return Err(TooLong { wait });
        }
        Ok(Step::Sleep(wait))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut line = self.budget.lock();
        line.waiting.retain(|waiter| waiter.ticket != self.ticket);
        line.wake();
    }
}

/// The right to send one call. Says what became of it before it is dropped, or when.
#[derive(Debug)]
pub(super) struct Permit {
    budget: Arc<Budget>,
    taken: Option<Taken>,
    sent: bool,
}

impl Permit {
    /// From now on the platform may have counted the call.
    pub(super) fn sending(&mut self) {
        self.sent = true;
    }

    /// The platform never saw it.
    pub(super) fn unsent(mut self) {
        self.sent = false;
    }

    /// It was answered: with the state of the bucket, or only with what it cost, or with neither. Answers what is known now.
    pub(super) fn answered(mut self, level: Option<Level>, actual: Option<f64>) -> Option<Level> {
        let taken = self.taken.take()?;
        let mut line = self.budget.lock();
        let now = Instant::now();
        match level.filter(Level::is_sound) {
            Some(level) => line.bucket.told(taken, level, now),
            None => line.bucket.spent(taken, actual, now),
        }
        line.wake();
        line.bucket.known(now)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(taken) = self.taken.take() else { return };
        let mut line = self.budget.lock();
        if self.sent {
            line.bucket.spent(taken, None, Instant::now());
        } else {
            line.bucket.give_back(taken);
        }
        line.wake();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SMALL: Level = Level { available: 100.0, maximum: 100.0, restore_rate: 10.0 };

    fn within(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    #[track_caller]
    fn check(budget: &Budget, expected: f64) {
        let available = budget.lock().bucket.available(Instant::now());
        assert!((available - expected).abs() < 1e-6, "{available} and {expected}");
    }

    #[tokio::test(start_paused = true)]
    async fn callers_are_served_in_order() {
        let budget = Arc::new(Budget::new(SMALL));
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        let began = Instant::now();
        let mut tasks = Vec::new();
        for (name, points) in [("a", 100.0), ("dear", 80.0), ("cheap", 1.0), ("last", 9.0)] {
            let (budget, done) = (Arc::clone(&budget), done.clone());
            tasks.push(tokio::spawn(async move {
                let mut permit = budget.take(points, within(60)).await.unwrap();
                permit.sending();
                done.send((name, began.elapsed().as_millis())).unwrap();
            }));
            // Each is in the line before the next one comes.
            tokio::task::yield_now().await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        let mut served = Vec::new();
        while let Ok(one) = order.try_recv() {
            served.push(one);
        }
        let names: Vec<_> = served.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["a", "dear", "cheap", "last"]);
        // The clock is paused, so these are sums: 80 points at 10 a second, then 1, then 9.
        let about = |at: u128, expected: u128| at.abs_diff(expected) <= 3;
        assert!(about(served[1].1, 8_000) && about(served[2].1, 8_100) && about(served[3].1, 9_000), "{served:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_is_told_at_once() {
        let budget = Arc::new(Budget::new(SMALL));
        let mut permit = budget.take(100.0, within(1)).await.unwrap();
        permit.sending();
        drop(permit);
        let began = Instant::now();
        let refused = budget.take(50.0, within(4)).await.unwrap_err();
        assert_eq!((refused.wait, began.elapsed()), (Duration::from_secs(5), Duration::ZERO));
        assert!(budget.take(50.0, within(6)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_dropped_leaves_the_line_and_gives_back() {
        let budget = Arc::new(Budget::new(SMALL));
        let held = budget.take(100.0, within(1)).await.unwrap();
        let gone = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(100.0, within(3_600)).await.map(drop) }
        });
        let next = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(100.0, within(3_600)).await }
        });
        while budget.lock().waiting.len() < 2 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(budget.lock().waiting.len(), 1);
        let began = Instant::now();
        drop(held);
        let permit = next.await.unwrap().unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "what was not sent is there again");
        check(&budget, 0.0);
        drop(permit);
        check(&budget, 100.0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_and_dropped_is_spent() {
        let budget = Arc::new(Budget::new(SMALL));
        let mut permit = budget.take(60.0, within(1)).await.unwrap();
        permit.sending();
        drop(permit);
        check(&budget, 40.0);
        advance(Duration::from_secs(6)).await;
        check(&budget, 100.0);
        let mut permit = budget.take(60.0, within(1)).await.unwrap();
        permit.sending();
        permit.unsent();
        check(&budget, 100.0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_wakes_who_waits() {
        let budget = Arc::new(Budget::new(SMALL));
        let mut held = budget.take(100.0, within(1)).await.unwrap();
        held.sending();
        let waiting = tokio::spawn({
            let budget = Arc::clone(&budget);
            async move { budget.take(90.0, within(3_600)).await.map(drop) }
        });
        while budget.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        let began = Instant::now();
        held.answered(Some(Level { available: 95.0, ..SMALL }), None);
        waiting.await.unwrap().unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everybody() {
        let budget = Arc::new(Budget::new(SMALL));
        budget.pause(Duration::from_secs(7));
        assert_eq!(budget.take(1.0, within(5)).await.unwrap_err().wait, Duration::from_secs(7));
        let began = Instant::now();
        assert!(budget.take(1.0, within(10)).await.is_ok());
        assert!(began.elapsed() >= Duration::from_secs(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_not_endless() {
        let budget = Arc::new(Budget::new(SMALL));
        let places: Vec<_> = (0..WAITING_MAX).map(|_| budget.join(0.01, within(3_600)).unwrap()).collect();
        assert!(budget.take(0.01, within(3_600)).await.is_err());
        drop(places);
        assert!(budget.take(0.01, within(3_600)).await.is_ok());
    }
}
