//! Named queues: their bounds hold over all shops and all hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tradewind_host::pipeline::{Clock, Ended};
use tradewind_host::scheduler::{Config, Runs, Scheduler};
use tradewind_model::Shop;
use tradewind_store::{CommitError, Fence, Finish, How, Job, NewJob, Store, Unit};
use tradewind_tests::stores::{action, on_both};

use super::{Frozen, config, enqueue, eventually, numbers, stop, until_empty, waiting};

/// What runs, on whatever host.
#[derive(Default)]
struct Gauge {
    /// Jobs of each queue that run now.
    running: Mutex<BTreeMap<String, u32>>,
    /// Jobs that ran beside more of their queue than it allows.
    excess: Mutex<Vec<i64>>,
}

/// A job that runs; dropped with it, also when it is aborted.
struct Running<'a>(&'a Gauge, String);

impl Gauge {
    fn begin(&self, job: &Job) -> Option<Running<'_>> {
        let (queue, bound) = job.queue.clone()?;
        let mut all = self.running.lock().unwrap();
        let running = all.entry(queue.clone()).or_default();
        *running += 1;
        if *running > bound {
            self.excess.lock().unwrap().push(job.seq);
        }
        drop(all);
        Some(Running(self, queue))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap().get_mut(&self.1).unwrap() -= 1;
    }
}

/// One host's runs.
struct Host {
    store: Arc<Store>,
    clock: Arc<Frozen>,
    gauge: Arc<Gauge>,
    /// The jobs that it has done, and whether they were in a queue.
    done: Mutex<Vec<(i64, bool)>>,
}

/// What the scheduler is given of it.
struct Hand(Arc<Host>);

impl Runs for Hand {
    async fn run(&self, job: &Job, fence: Fence) -> Ended {
        let host = &self.0;
        let _running = host.gauge.begin(job);
        // Whoever may start another one has the time to.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        assert_eq!(fence.part, job.partition());
        let mut unit = Unit::new(job.shop.clone(), host.clock.now_ms());
        (unit.fence, unit.finish) = (Some(fence), Some(Finish { job: job.seq, how: How::Done }));
        match host.store.commit(unit).await {
            Ok(_) => {
                host.done.lock().unwrap().push((job.seq, job.queue.is_some()));
                Ended::Done(Vec::new())
            }
            Err(CommitError::Fenced { .. }) => Ended::Fenced,
            Err(error) => Ended::Unknown(error.to_string()),
        }
    }
}

impl Host {
    fn new(store: &Arc<Store>, clock: &Arc<Frozen>, gauge: &Arc<Gauge>) -> Arc<Self> {
        let (store, clock, gauge) = (Arc::clone(store), Arc::clone(clock), Arc::clone(gauge));
        Arc::new(Self { store, clock, gauge, done: Mutex::default() })
    }

    /// Its leases are not lost to a pause of a busy machine, and it soon sees who else is there.
    fn start(self: &Arc<Self>, name: &str) -> Scheduler {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let config = Config { lease_ms: 10_000, ..config(name) };
        Scheduler::start(Arc::clone(&self.store), Arc::new(Hand(Arc::clone(self))), clock, config)
    }

    fn done(&self) -> Vec<(i64, bool)> {
        self.done.lock().unwrap().clone()
    }
}

fn shop(number: usize) -> Shop {
    Shop::new("tagger", format!("shop-{number}.example"))
}

/// One more queue than a host has partitions, no two in the same: whoever has half of them has one of these.
fn queues() -> Vec<String> {
    let mut parts = BTreeSet::new();
    let names = (0..).map(|number| format!("queue {number}"));
    names.filter(|name| parts.insert(shop(0).partition_of_job(Some(name)))).take(33).collect()
}

/// Commits a job of each queue and some without, of several shops, and offers them to either host.
async fn fill(store: &Store, hosts: [&Scheduler; 2]) -> BTreeSet<i64> {
    let mut all = BTreeSet::new();
    for number in 0..6 {
        let in_queues = queues().into_iter().map(|name| NewJob { queue: Some((name, 1)), ..action() });
        let jobs = in_queues.chain(std::iter::repeat_n(action(), 4)).collect();
        let made = enqueue(store, &shop(number), jobs).await;
        all.extend(numbers(&made));
        hosts[number % 2].offer(&shop(number), made);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queues_bound_holds_over_all_hosts() {
    on_both(async |place| {
        let (one, two) = (Arc::new(place.open().await), Arc::new(place.open().await));
        let (clock, gauge) = (Frozen::new(), Arc::new(Gauge::default()));
        let hosts = [Host::new(&one, &clock, &gauge), Host::new(&two, &clock, &gauge)];
        let [a, b] = [hosts[0].start("a"), hosts[1].start("b")];
        eventually("they have half each", async || [&a, &b].iter().all(|host| host.stats().partitions == 32)).await;
        let done = || hosts.iter().flat_map(|host| host.done()).map(|(seq, _)| seq).collect::<Vec<_>>();

        let mut all = fill(&one, [&a, &b]).await;
        eventually("all are done", async || done().len() >= all.len()).await;
        assert_eq!(waiting(&one).await, []);
        assert_eq!(done().into_iter().collect::<BTreeSet<_>>(), all);
        for host in &hosts {
            assert!(host.done().iter().any(|(_, queued)| *queued), "a host has run no job of a queue");
        }
        assert!([&a, &b].iter().all(|host| host.stats().partitions == 32));

        // One of them leaves in the middle, and its queues go on elsewhere.
        all.extend(fill(&one, [&b, &a]).await);
        stop(a).await;
        until_empty(&one).await;
        eventually("all are done", async || done().len() >= all.len()).await;
        assert_eq!(done().len(), all.len(), "something was done twice");
        assert_eq!(*gauge.excess.lock().unwrap(), [0; 0], "these ran beside another one of their queue");
        stop(b).await;
    })
    .await;
}
