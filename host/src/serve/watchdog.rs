//! Ends a process that stands still, so that its supervisor starts it again and other hosts take its partitions.
//!
//! A thread of its own looks at the pulses of both executors. When one of them has not moved for as long as the bound says,
//! nothing in the process can be relied on to mend that.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::workers::Pulse;

/// How often the pulses are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// How much later than asked for the thread may wake before the process counts as having been suspended. 5 seconds: a busy
/// machine is late by milliseconds.
const SUSPENDED: Duration = Duration::from_secs(5);

/// What is done about a process that stands still: it is told what stands, and does not return in a real program.
pub type OnStandstill = Box<dyn Fn(&str) + Send>;

/// The thread that watches. It ends when this is dropped.
pub(super) struct Watchdog {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// An executor that is watched.
struct Watched {
    name: &'static str,
    pulse: Pulse,
    seen: u64,
    since: Instant,
}

impl Watchdog {
    /// Watches executors by their names; each may stand still for `max` at most.
    pub(super) fn start(
        executors: &[(&'static str, Handle)],
        max: Duration,
        on_standstill: OnStandstill,
    ) -> io::Result<Self> {
        let watched = executors.iter().map(|(name, executor)| {
            let pulse = Pulse::default();
            pulse.beat_on(executor, EVERY);
            Watched { name, pulse, seen: 0, since: Instant::now() }
        });
        let watched: Vec<_> = watched.collect();
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new()
            .name("tradewind-watchdog".to_owned())
            .spawn(move || watch(watched, max, &stopped, &on_standstill))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

fn watch(mut watched: Vec<Watched>, max: Duration, stopped: &Receiver<()>, on_standstill: &OnStandstill) {
    let mut woke = Instant::now();
    while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        let now = Instant::now();
        let was_suspended = now.duration_since(woke) > EVERY + SUSPENDED;
        woke = now;
        for executor in &mut watched {
            if let Some(still) = executor.still(now, was_suspended).filter(|still| *still > max) {
                let (name, seconds) = (executor.name, still.as_secs());
                on_standstill(&format!("the {name} executor has stood still for {seconds} s (`watchdog_seconds`)"));
            }
        }
    }
}

impl Watched {
    /// How long the pulse has not moved; none when it has, or when the whole process did not run.
    fn still(&mut self, now: Instant, was_suspended: bool) -> Option<Duration> {
        let count = self.pulse.count();
        if count != self.seen || was_suspended {
            (self.seen, self.since) = (count, now);
            return None;
        }
        Some(now.duration_since(self.since))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the watchdog says nothing that matters at the end.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executor_whose_threads_all_compute_is_found() {
        let idle = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let busy = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (tell, told) = channel();
        let (release, released) = channel::<()>();
        busy.spawn(async move { released.recv().is_err() });
        let executors = [("front", idle.handle().clone()), ("work", busy.handle().clone())];
        let on_standstill = Box::new(move |what: &str| drop(tell.send(what.to_owned())));
        let watchdog = Watchdog::start(&executors, Duration::from_millis(100), on_standstill).unwrap();
        let what = told.recv().unwrap();
        assert!(what.starts_with("the work executor has stood still for "), "{what}");
        drop((release, watchdog));
    }

    #[test]
    fn a_process_that_was_suspended_did_not_stand_still() {
        let started = Instant::now();
        let mut executor = Watched { name: "work", pulse: Pulse::default(), seen: 0, since: started };
        let later = |seconds| started + Duration::from_secs(seconds);
        assert_eq!(executor.still(later(3), false), Some(Duration::from_secs(3)));
        assert_eq!(executor.still(later(3_600), true), None);
        assert_eq!(executor.still(later(3_601), false), Some(Duration::from_secs(1)));
    }
}
