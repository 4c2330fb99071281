//! A budget as values: what is left of it, and when there is enough.
//!
//! Both of Shopify's kinds are the same here: points that come back at a steady rate up to a maximum. A REST call costs one
//! point of a bucket that refills in twenty seconds, a GraphQL query what the platform says.

use std::time::Duration;

use tokio::time::Instant;

/// What the platform said of a budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Level {
    /// Points that are left.
    pub(super) available: f64,
    /// Points of a full bucket.
    pub(super) maximum: f64,
    /// Points that come back in a second.
    pub(super) restore_rate: f64,
}

impl Level {
    /// A GraphQL bucket of the smallest plan. A larger one tells itself with its first answer.
    pub(super) const GRAPHQL: Self = Self { available: 2_000.0, maximum: 2_000.0, restore_rate: 100.0 };

    /// A REST bucket of the smallest plan.
    pub(super) const REST: Self = Self { available: 40.0, maximum: 40.0, restore_rate: 2.0 };

    /// Whether the numbers can be reckoned with.
    pub(super) fn is_sound(&self) -> bool {
        let sound = |number: f64| number.is_finite() && number > 0.0;
        self.available.is_finite() && sound(self.maximum) && sound(self.restore_rate)
    }
}

/// A budget and the calls that are on their way.
#[derive(Debug)]
pub(super) struct Bucket {
    level: Level,
    /// When `level.available` was true.
    at: Instant,
    /// Requested by calls that have no answer yet.
    in_flight: f64,
    /// Nobody may call before.
    paused_until: Instant,
    /// Whether `level` is the platform's word.
    known: bool,
    /// Calls so far.
    started: u64,
    /// The last call whose answer set `level`.
    told_by: u64,
}

/// What a call that is on its way took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    points: f64,
    number: u64,
}

impl Bucket {
    pub(super) fn new(level: Level, now: Instant) -> Self {
        Self { level, at: now, in_flight: 0.0, paused_until: now, known: false, started: 0, told_by: 0 }
    }

    /// Points that a call may take now.
    pub(super) fn available(&self, now: Instant) -> f64 {
        self.left(now) - self.in_flight
    }

    /// What the platform would say is left.
    fn left(&self, now: Instant) -> f64 {
        let restored = now.saturating_duration_since(self.at).as_secs_f64() * self.level.restore_rate;
        (self.level.available + restored).min(self.level.maximum)
    }

    /// How long until `points` are there, if nothing else happens. What costs more than a full bucket waits for a full one:
    /// refusing it is the platform's business.
    pub(super) fn wait(&self, points: f64, now: Instant) -> Duration {
        self.wait_behind(0.0, points, now)
    }

    /// The same behind callers who want `before`.
    pub(super) fn wait_behind(&self, before: f64, points: f64, now: Instant) -> Duration {
        let missing = before + points.min(self.level.maximum) - self.available(now);
        let seconds = (missing / self.level.restore_rate).max(0.0);
        let restored = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        restored.max(self.paused_until.saturating_duration_since(now))
    }

    pub(super) fn take(&mut self, points: f64) -> Taken {
        self.in_flight += points;
        self.started += 1;
        Taken { points, number: self.started }
    }

    /// The call was not sent.
    pub(super) fn give_back(&mut self, taken: Taken) {
        // Sums of different order differ in the last bit: never below nothing.
        self.in_flight = (self.in_flight - taken.points).max(0.0);
    }

    /// The call was sent. What it cost is known from its answer, or is what was taken.
    pub(super) fn spent(&mut self, taken: Taken, actual: Option<f64>, now: Instant) {
        self.give_back(taken);
        let actual = actual.filter(|points| points.is_finite()).unwrap_or(taken.points);
        self.level.available = self.left(now) - actual;
        self.at = now;
    }

    /// The call was answered with the state of the bucket.
    ///
    /// An answer that was overtaken by the answer to a later call does not know of that call: only its bad news count.
    pub(super) fn told(&mut self, taken: Taken, level: Level, now: Instant) {
        self.give_back(taken);
        if taken.number < self.told_by && level.available > self.left(now) {
            return;
        }
        self.told_by = self.told_by.max(taken.number);
        self.level = Level { available: level.available.min(level.maximum), ..level };
        self.at = now;
        self.known = true;
    }

    /// Nobody may call for a while.
    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(until);
    }

    /// The level now, in flight deducted; none when the platform has not said anything yet.
    pub(super) fn known(&self, now: Instant) -> Option<Level> {
        self.known.then(|| Level { available: self.available(now).max(0.0), ..self.level })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(available: f64) -> (Bucket, Instant) {
        let now = Instant::now();
        (Bucket::new(Level { available, ..Level::GRAPHQL }, now), now)
    }

    #[track_caller]
    fn check(bucket: &Bucket, now: Instant, expected: f64) {
        let available = bucket.available(now);
        assert!((available - expected).abs() < 1e-6, "{available} and {expected}");
    }

    #[test]
    fn points_come_back_up_to_the_maximum() {
        let (bucket, now) = bucket(0.0);
        for (seconds, expected) in [(0, 0.0), (3, 300.0), (20, 2_000.0), (3_600, 2_000.0)] {
            check(&bucket, now + Duration::from_secs(seconds), expected);
        }
    }

    #[test]
    fn what_is_on_its_way_is_not_there() {
        let (mut bucket, now) = bucket(1_000.0);
        let (first, second) = (bucket.take(300.0), bucket.take(500.0));
        check(&bucket, now, 200.0);
        bucket.give_back(first);
        check(&bucket, now, 500.0);
        bucket.spent(second, Some(20.0), now);
        check(&bucket, now, 980.0);
        let lost = bucket.take(100.0);
        bucket.spent(lost, None, now);
        check(&bucket, now, 880.0);
    }

    #[test]
    fn waiting_is_what_is_missing_at_the_rate() {
        let (mut bucket, now) = bucket(50.0);
        assert_eq!(bucket.wait(50.0, now), Duration::ZERO);
        assert_eq!(bucket.wait(150.0, now), Duration::from_secs(1));
        assert_eq!(bucket.wait_behind(200.0, 150.0, now), Duration::from_secs(3));
        let full = Duration::from_millis(19_500);
        assert_eq!(bucket.wait(5_000.0, now), full, "more than a full bucket waits for a full one");
        bucket.pause(now + Duration::from_secs(30));
        assert_eq!(bucket.wait(1.0, now), Duration::from_secs(30));
    }

    #[test]
    fn the_platform_is_believed_unless_it_was_overtaken() {
        let (mut bucket, now) = bucket(2_000.0);
        let (first, second) = (bucket.take(100.0), bucket.take(400.0));
        bucket.told(second, Level { available: 1_500.0, ..Level::GRAPHQL }, now);
        check(&bucket, now, 1_400.0);
        bucket.told(first, Level { available: 1_900.0, ..Level::GRAPHQL }, now);
        check(&bucket, now, 1_500.0);
        let third = bucket.take(10.0);
        bucket.told(third, Level { available: 90.0, maximum: 20_000.0, restore_rate: 1_000.0 }, now);
        check(&bucket, now + Duration::from_secs(1), 1_090.0);
    }

    #[test]
    fn nothing_is_reckoned_with_odd_numbers() {
        for level in [
            Level { available: f64::NAN, ..Level::REST },
            Level { maximum: 0.0, ..Level::REST },
            Level { restore_rate: -1.0, ..Level::REST },
            Level { restore_rate: f64::INFINITY, ..Level::REST },
        ] {
            assert!(!level.is_sound(), "{level:?}");
        }
        assert!(Level::REST.is_sound() && Level { available: -5.0, ..Level::GRAPHQL }.is_sound());
    }
}
