//! A leaky bucket: what is left of a budget that refills steadily.

use std::time::Duration;

/// The budget of one app in one shop, in requests or in points. Times are the emulator's, since its start.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    size: f64,
    per_second: f64,
    available: f64,
    at: Duration,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn new(size: u32, per_second: u32) -> Self {
        Self { size: size.into(), per_second: per_second.into(), available: size.into(), at: Duration::ZERO }
    }

    /// Takes what something costs, or nothing when there is not enough.
    pub(crate) fn take(&mut self, cost: u32, now: Duration) -> bool {
        let available = self.available(now);
        let enough = available >= f64::from(cost);
        if enough {
            self.available = available - f64::from(cost);
        }
        enough
    }

    /// Gives back what was taken and not used.
    pub(crate) fn give_back(&mut self, cost: u32, now: Duration) {
        self.available = (self.available(now) + f64::from(cost)).min(self.size);
    }

    /// What is left at a time.
    pub(crate) fn available(&mut self, now: Duration) -> f64 {
        let since = now.saturating_sub(self.at).as_secs_f64();
        self.available = (self.available + since * self.per_second).min(self.size);
        self.at = self.at.max(now);
        self.available
    }

    /// What is left at a time, in whole points.
    pub(crate) fn whole(&mut self, now: Duration) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the size")]
        let whole = self.available(now) as u32;
        whole
    }

    /// What it holds, in whole points.
    pub(crate) fn whole_size(&self) -> u32 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "made of a u32")]
        let whole = self.size as u32;
        whole
    }

    pub(crate) fn size(&self) -> f64 {
        self.size
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Bucket;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_taken_comes_back_with_time_and_never_more() {
        let mut bucket = Bucket::new(40, 2);
        assert!(bucket.take(40, SECOND) && !bucket.take(1, SECOND));
        assert!(bucket.take(2, SECOND * 2) && !bucket.take(1, SECOND * 2));
        assert!(bucket.available(SECOND * 1_000) <= 40.0);
        assert!(!bucket.take(41, SECOND * 1_000), "more than the bucket holds is never there");
    }

    #[test]
    fn what_is_given_back_can_be_taken() {
        let mut bucket = Bucket::new(100, 1);
        assert!(bucket.take(100, SECOND));
        bucket.give_back(60, SECOND);
        assert!(bucket.take(60, SECOND) && !bucket.take(1, SECOND));
        bucket.give_back(500, SECOND);
        assert!(!bucket.take(101, SECOND));
    }
}
