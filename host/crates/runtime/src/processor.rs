//! The processor time of one invocation: the time of each poll of its future, guest code and host calls alike.
//!
//! Waiting costs nothing, because nobody polls meanwhile. A host call that computes counts as the guest's own code does,
//! which an interrupt of guest code alone would not see.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::share::Seat;

/// An account of processor time, shared between the future that is measured and whoever looks at it meanwhile.
#[derive(Debug)]
pub(crate) struct Processor {
    epoch: Instant,
    /// Nanoseconds of all polls that are over.
    used_ns: AtomicU64,
    /// When the present poll began, in nanoseconds after `epoch`, plus one; zero when there is none.
    began_ns: AtomicU64,
}

impl Processor {
    pub(crate) fn new(epoch: Instant) -> Arc<Self> {
        Arc::new(Self { epoch, used_ns: AtomicU64::new(0), began_ns: AtomicU64::new(0) })
    }

    /// The time so far, the present poll included.
    pub(crate) fn used(&self) -> Duration {
        let used = Duration::from_nanos(self.used_ns.load(Ordering::Relaxed));
        match self.began_ns.load(Ordering::Relaxed) {
            0 => used,
            began => used + self.epoch.elapsed().saturating_sub(Duration::from_nanos(began - 1)),
        }
    }

    fn begin(&self) {
        self.began_ns.store(nanos(self.epoch.elapsed()) + 1, Ordering::Relaxed);
    }

    fn end(&self) {
        let began = self.began_ns.swap(0, Ordering::Relaxed);
        let ran = nanos(self.epoch.elapsed()).saturating_sub(began.saturating_sub(1));
        self.used_ns.fetch_add(ran, Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1)
}

/// A future whose polls are counted. While it waits it holds no seat.
pub(crate) struct Measured<'a, F> {
    future: Pin<&'a mut F>,
    processor: Arc<Processor>,
    seat: Seat,
}

impl<'a, F> Measured<'a, F> {
    pub(crate) fn new(future: Pin<&'a mut F>, processor: Arc<Processor>, seat: Seat) -> Self {
        Self { future, processor, seat }
    }
}

impl<F: Future> Future for Measured<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.processor.begin();
        let polled = self.future.as_mut().poll(context);
        self.processor.end();
        if polled.is_pending() {
            self.seat.leave();
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_count_and_pauses_do_not() {
        let processor = Processor::new(Instant::now());
        assert_eq!(processor.used(), Duration::ZERO);
        processor.begin();
        while processor.epoch.elapsed() < Duration::from_millis(2) {}
        assert!(processor.used() > Duration::ZERO, "the present poll counts");
        processor.end();
        let used = processor.used();
        while processor.epoch.elapsed() < Duration::from_millis(4) {}
        assert_eq!(processor.used(), used);
    }
}
