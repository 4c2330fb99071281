//! The committer: every write of the process goes through it.
//!
//! Units that arrive while a transaction is being flushed ride together in the next one. There is no timer: an idle store
//! commits at once, a busy one commits what has gathered, so one fsync serves as many as are waiting for it. Before it takes a
//! batch, a writer lets every task run that is ready to ([`GATHERINGS`]): where the processors are what is short, many of them
//! are about to hand over a unit, and each that rides along is one batch less.
//!
//! Deliveries have a line of their own ([`Line`]): a platform waits for their answers, and nobody for a job's. On PostgreSQL
//! they have writers of their own too, which take no lock of a partition, so that no transaction of jobs delays them. SQLite
//! has one writer: deliveries ride first in each batch, and wait for the one that is being written at most.
//!
//! A shop's units of one line always go through the same writer, in the order in which they were handed over; shops take
//! turns ([`crate::turns`]). On SQLite another connection writes the log back ([`crate::writeback`]).
//!
//! Statements that stand for themselves, the renewal of leases above all, have a writer of their own on PostgreSQL; on SQLite
//! they wait for one batch at most and not for all units that wait: a host whose disk is slow keeps its leases.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tradewind_model::Shop;

use crate::admission;
use crate::apply::{Applied, DEADLOCKS_MAX, apply, begin};
use crate::batch::Batch;
use crate::database::{Connection, Database};
use crate::deploy::{Deployed, Plan, in_one};
use crate::error::StoreError;
use crate::error::{Blame, blame};
use crate::link::{Engine, Link, Row, Statement, Value};
use crate::local::Work;
use crate::turns::{Ride, Turns};
use crate::unit::{CommitError, Unit};
use crate::usage::cache::{Reservation, UsageCache};
use crate::usage::{self, Freed, Line as UsageLine};
use crate::watches::Watches;
use crate::writeback::WriteBack;

/// Units of one line that wait to be written. 10,000: a second of a slow disk. Whoever comes then is told to try again, except
/// for jobs that end, of which there are no more than run at once: to refuse those would do their work again.
pub const COMMITS_WAITING_MAX: usize = 10_000;

/// Bytes of one line that wait to be written. 128 MiB: the same second with large bodies.
pub const BYTES_WAITING_MAX: usize = 128 << 20;

/// Connections of each line that write to PostgreSQL. 2: while one waits for the disk, the other is busy.
const POSTGRES_WRITERS: usize = 2;

/// How long a writer waits before it connects again. A quarter of a second: units that wait for it fail meanwhile.
const RECONNECT_AFTER: Duration = Duration::from_millis(250);

/// How long a writer of PostgreSQL keeps its plans: a second, or 64 transactions, in which 16,000 jobs may arrive. A plan
/// that was made for an empty table reads the whole of a full one, and PostgreSQL by itself looks again after a minute.
/// Making all plans anew takes a millisecond.
const PLANS_MAX_AGE: Duration = Duration::from_secs(1);
const PLANS_MAX_USES: u32 = 64;

/// How often a writer lets others run before it takes a batch. 3: on an idle host a few microseconds; on a busy one a webhook
/// takes a fifth less of the processors' time than with none, and 20 gain no more.
const GATHERINGS: u32 = 3;

/// Units of one shop in one batch that is no small one. 16: on a fast disk they take about as long as their fsync, so
/// that another shop's unit waits for short batches.
const BATCH_SHOP_UNITS_MAX: usize = 16;

/// Units in a batch below which it takes more of whoever is there. 64: a host often has one shop that is busy, and with 16 in
/// each of its batches, a webhook waits twice as long for its answer. Who comes then waits some milliseconds for them.
const BATCH_UNITS_FEW: usize = 64;

/// Units that only bring deliveries, or those that do anything else. Neither line waits behind the other, or is refused for
/// what waits in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Deliveries,
    Jobs,
}

impl Line {
    fn of(unit: &Unit) -> Self {
        if unit.is_delivery() { Self::Deliveries } else { Self::Jobs }
    }
}

/// A unit and whoever waits for it.
type Waiter = (Box<Unit>, Answer);

/// The sender of a unit's result to its caller, and the room that is reserved for the unit.
struct Answer {
    to: oneshot::Sender<Applied>,
    reserved: Option<Reservation>,
}

impl Answer {
    fn send(self, applied: Applied) -> Result<(), Applied> {
        if applied.is_ok()
            && let Some(reserved) = self.reserved
        {
            reserved.committed();
        }
        self.to.send(applied)
    }
}

/// What a writer is asked for.
enum Request {
    /// To commit a unit, together with others.
    Unit(Waiter),
    /// To deploy models in one transaction.
    Deploy(Box<Plan>, oneshot::Sender<Result<Deployed, StoreError>>),
}

/// One statement that stands for itself: leases, what operators do, retention.
struct Single {
    statement: &'static Statement,
    values: Vec<Owned>,
    /// What the rows that it answers with change of the usage.
    freed: Option<Freed>,
    answer: oneshot::Sender<sqlx::Result<Vec<Row>>>,
}

/// A value that waits with its statement.
#[derive(Clone, Debug)]
pub(crate) enum Owned {
    Int(Option<i64>),
    Text(Option<String>),
}

impl Owned {
    pub(crate) fn value(&self) -> Value<'_> {
        match self {
            Self::Int(value) => Value::Int(*value),
            Self::Text(value) => Value::Text(value.as_deref()),
        }
    }
}

impl From<i64> for Owned {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<&str> for Owned {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

/// Hands units to the writers.
#[derive(Debug)]
pub(crate) struct Committer {
    /// Of jobs and deployments, and on SQLite of everything else.
    writers: Vec<Inlet>,
    /// Of deliveries alone. None on SQLite.
    delivery_writers: Vec<Inlet>,
    /// Of statements that stand for themselves. None on SQLite.
    single_writer: Option<Inlet>,
    waiting: Arc<[Waiting; 2]>,
    tasks: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

/// The ways to a writer.
#[derive(Debug)]
struct Inlet {
    requests: mpsc::UnboundedSender<Request>,
    /// Passes by what waits in the other.
    singles: mpsc::UnboundedSender<Single>,
}

#[derive(Debug, Default)]
struct Waiting {
    units: AtomicUsize,
    bytes: AtomicUsize,
}

impl Committer {
    /// Starts the writers. They connect when there is something to write.
    pub(crate) fn start(database: &Database, watches: &Arc<Watches>, usage: &Arc<UsageCache>) -> Self {
        let waiting: Arc<[Waiting; 2]> = Arc::default();
        let mut tasks = Vec::new();
        let mut start = || {
            let (requests_in, requests) = mpsc::unbounded_channel();
            let (singles_in, singles) = mpsc::unbounded_channel();
            let writer = Writer {
                database: database.clone(),
                connection: None,
                write_back: (database.engine() == Engine::Sqlite).then(|| WriteBack::start(database)),
                planned: Instant::now(),
                plan_uses: 0,
                requests,
                singles,
                deliveries: Turns::new(BATCH_SHOP_UNITS_MAX, BATCH_UNITS_FEW),
                jobs: Turns::new(BATCH_SHOP_UNITS_MAX, BATCH_UNITS_FEW),
                jobs_are_next: false,
                waiting: Arc::clone(&waiting),
                watches: Arc::clone(watches),
                usage: Arc::clone(usage),
            };
            tasks.push(tokio::spawn(writer.run()));
            Inlet { requests: requests_in, singles: singles_in }
        };
        let (jobs, deliveries) = match database.engine() {
            Engine::Sqlite => (1, 0),
            Engine::Postgres => (POSTGRES_WRITERS, POSTGRES_WRITERS),
        };
        let writers = (0..jobs).map(|_| start()).collect();
        let delivery_writers = (0..deliveries).map(|_| start()).collect();
        let single_writer = (deliveries > 0).then(&mut start);
        Self { writers, delivery_writers, single_writer, waiting, tasks: tasks.into() }
    }

    /// Commits a unit and answers when it is on disk.
    pub(crate) async fn commit(&self, unit: Unit, reserved: Option<Reservation>) -> Applied {
        admission::check(&unit)?;
        let line = Line::of(&unit);
        let (bytes, waiting) = (unit.bytes(), &self.waiting[line as usize]);
        let units_waiting = waiting.units.fetch_add(1, Ordering::Relaxed) + 1;
        let bytes_waiting = waiting.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let is_much = units_waiting > COMMITS_WAITING_MAX || (bytes_waiting > BYTES_WAITING_MAX && units_waiting > 1);
        if is_much && unit.fence.is_none() {
            waiting.leave(bytes);
            return Err(CommitError::Busy { waiting: units_waiting });
        }
        let (to, answered) = oneshot::channel();
        let answer = Answer { to, reserved };
        let has_own = line == Line::Deliveries && !self.delivery_writers.is_empty();
        let writers = if has_own { &self.delivery_writers } else { &self.writers };
        let writer = &writers[writer_of(&unit.shop, writers.len())];
        if writer.requests.send(Request::Unit((Box::new(unit), answer))).is_err() {
            waiting.leave(bytes);
            return Err(closed());
        }
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Runs a statement in a transaction of its own, before the units that wait.
    pub(crate) async fn execute(&self, statement: &'static Statement, values: Vec<Owned>) -> sqlx::Result<Vec<Row>> {
        self.run_alone(statement, values, None).await
    }

    /// The same for a statement that deletes what the usage counts: `freed` says what each row of its answer changes, and
    /// that is written in the same transaction.
    pub(crate) async fn execute_counted(
        &self,
        statement: &'static Statement,
        values: Vec<Owned>,
        freed: Freed,
    ) -> sqlx::Result<Vec<Row>> {
        self.run_alone(statement, values, Some(freed)).await
    }

    /// Both of these.
    pub(crate) async fn run_alone(
        &self,
        statement: &'static Statement,
        values: Vec<Owned>,
        freed: Option<Freed>,
    ) -> sqlx::Result<Vec<Row>> {
        let (answer, answered) = oneshot::channel();
        let closed = || sqlx::Error::WorkerCrashed;
        // A counted one may wait for a batch that changes the same counters, for which no lease is to wait.
        let own = self.single_writer.as_ref().filter(|_| freed.is_none());
        let writer = own.unwrap_or(&self.writers[0]);
        writer.singles.send(Single { statement, values, freed, answer }).map_err(|_| closed())?;
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Deploys models in one transaction, for which everything else waits.
    pub(crate) async fn deploy(&self, plan: Plan) -> Result<Deployed, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.writers[0].requests.send(Request::Deploy(Box::new(plan), answer)).map_err(|_| StoreError::Closed)?;
        answered.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Units that wait or are being written.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.iter().map(|line| line.units.load(Ordering::Relaxed)).sum()
    }

    /// Takes nothing more, writes what was handed over, and ends.
    pub(crate) async fn close(mut self) {
        self.writers.clear();
        self.delivery_writers.clear();
        self.single_writer = None;
        for task in std::mem::take(self.tasks.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)) {
            // A writer that was aborted has answered nobody, and its callers know.
            let _ = task.await;
        }
    }
}

impl Waiting {
    fn leave(&self, bytes: usize) {
        self.units.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn writer_of(shop: &Shop, writers: usize) -> usize {
    usize::try_from(shop.partition()).unwrap_or_default() % writers
}

fn closed() -> CommitError {
    CommitError::Unavailable { reason: "the store is closed".to_owned() }
}

struct WriteUnits(Arc<Vec<Unit>>);

impl Work for WriteUnits {
    type Done = (Vec<Applied>, Vec<UsageLine>);

    async fn on(self, link: &mut Link<'_>) -> sqlx::Result<Self::Done> {
        apply(link, &self.0).await
    }
}

struct Execute(&'static Statement, Vec<Owned>);

impl Work for Execute {
    type Done = Vec<Row>;

    async fn on(self, link: &mut Link<'_>) -> sqlx::Result<Self::Done> {
        let values: Vec<_> = self.1.iter().map(Owned::value).collect();
        for _ in 0..DEADLOCKS_MAX {
            match link.fetch(self.0, &values).await {
                Err(error) if blame(&error) == Blame::Deadlock => {}
                answer => return answer,
            }
        }
        link.fetch(self.0, &values).await
    }
}

/// A statement whose answer says what it changed of the usage.
struct ExecuteCounted(Execute, Freed);

impl Work for ExecuteCounted {
    type Done = (Vec<Row>, Vec<UsageLine>);

    async fn on(self, link: &mut Link<'_>) -> sqlx::Result<Self::Done> {
        let mut deadlocks = 0;
        loop {
            match self.attempt(link).await {
                Err(error) if blame(&error) == Blame::Deadlock && deadlocks < DEADLOCKS_MAX => {
                    link.run("ROLLBACK").await?;
                    deadlocks += 1;
                }
                done => return done,
            }
        }
    }
}

impl ExecuteCounted {
    /// One transaction. After an error it is still open, and the connection is not used again.
    async fn attempt(&self, link: &mut Link<'_>) -> sqlx::Result<<Self as Work>::Done> {
        let Self(Execute(statement, values), freed) = self;
        link.run(begin(link.engine())).await?;
        let values: Vec<_> = values.iter().map(Owned::value).collect();
        let rows = link.fetch(statement, &values).await?;
        let freed: Vec<_> = rows.iter().map(freed).collect::<sqlx::Result<_>>()?;
        let mut changed = Vec::new();
        usage::change(link, freed.iter().map(|(shop, usage)| (shop, 0, *usage)), &mut changed).await?;
        link.run("COMMIT").await?;
        Ok((rows, changed))
    }
}

struct Deploy(Box<Plan>);

impl Work for Deploy {
    type Done = Result<Deployed, StoreError>;

    async fn on(self, link: &mut Link<'_>) -> sqlx::Result<Self::Done> {
        Ok(in_one(link, &self.0).await)
    }
}

/// One connection and those who wait for it.
struct Writer {
    database: Database,
    connection: Option<Connection>,
    /// On SQLite.
    write_back: Option<WriteBack>,
    planned: Instant,
    plan_uses: u32,
    requests: mpsc::UnboundedReceiver<Request>,
    singles: mpsc::UnboundedReceiver<Single>,
    deliveries: Turns<Waiter>,
    jobs: Turns<Waiter>,
    /// Set when the last batch had no room for any job unit.
    jobs_are_next: bool,
    waiting: Arc<[Waiting; 2]>,
    watches: Arc<Watches>,
    usage: Arc<UsageCache>,
}

impl Writer {
    async fn run(mut self) {
        loop {
            // As many as wait now: units wait for these, and not for those that come meanwhile.
            for _ in 0..self.singles.len() {
                if let Ok(single) = self.singles.try_recv() {
                    self.run_single(single).await;
                }
            }
            self.take_in_all().await;
            if !self.deliveries.is_empty() || !self.jobs.is_empty() {
                for _ in 0..GATHERINGS {
                    tokio::task::yield_now().await;
                }
                self.take_in_all().await;
                self.write_batch().await;
                continue;
            }
            tokio::select! {
                biased;
                Some(single) = self.singles.recv() => self.run_single(single).await,
                Some(request) = self.requests.recv() => self.take_in(request).await,
                else => break,
            }
        }
        if let Some(write_back) = self.write_back {
            write_back.close().await;
        }
        if let Some(connection) = self.connection {
            let _ = connection.close().await;
        }
    }

    async fn take_in_all(&mut self) {
        while let Ok(request) = self.requests.try_recv() {
            self.take_in(request).await;
        }
    }

    /// A unit waits for its shop's turn; a deployment is for all shops, and comes at once.
    async fn take_in(&mut self, request: Request) {
        match request {
            Request::Unit(waiter) => {
                let shop = waiter.0.shop.clone();
                match Line::of(&waiter.0) {
                    Line::Deliveries => self.deliveries.push(&shop, waiter),
                    Line::Jobs => self.jobs.push(&shop, waiter),
                }
            }
            Request::Deploy(plan, answer) => {
                // Whoever has gone away does not want to know.
                let _ = answer.send(self.deploy(plan).await);
            }
        }
    }

    async fn write_batch(&mut self) {
        let mut batch = Batch::new(self.watches.is_watching());
        // Deliveries that never end leave room for jobs.
        let is_shared = !self.jobs.is_empty();
        // What is refused anyway holds nobody back.
        let ride = |batch: &mut Batch, unit: &Unit| {
            if unit.outdated().is_some() { Ride::Taken } else { batch.ride(unit) }
        };
        let mut waiters = Vec::new();
        if std::mem::take(&mut self.jobs_are_next) {
            waiters = self.jobs.next_batch(|(unit, _)| ride(&mut batch, unit));
        }
        waiters.extend(self.deliveries.next_batch(|(unit, _)| {
            if is_shared && !batch.has_room_for_jobs() { Ride::Full } else { batch.ride(unit) }
        }));
        let before = waiters.len();
        waiters.extend(self.jobs.next_batch(|(unit, _)| ride(&mut batch, unit)));
        // A unit that is larger than the jobs' part of a batch would wait for as long as deliveries come.
        self.jobs_are_next = is_shared && waiters.len() == before && !self.jobs.is_empty();
        let waiters = waiters.into_iter().filter_map(|waiter| self.refuse_outdated(waiter)).collect::<Vec<_>>();
        if waiters.is_empty() {
            return;
        }
        let (units, answers): (Vec<_>, Vec<_>) = waiters.into_iter().map(|(unit, answer)| (*unit, answer)).unzip();
        let leaving: Vec<_> = units.iter().map(|unit| (Line::of(unit), unit.bytes())).collect();
        let applied = self.write(units).await;
        for (((line, bytes), answer), applied) in leaving.into_iter().zip(answers).zip(applied) {
            self.waiting[line as usize].leave(bytes);
            let _ = answer.send(applied);
        }
    }

    /// Answers a unit that was decided on what a query would not answer any more.
    fn refuse_outdated(&self, (unit, answer): Waiter) -> Option<Waiter> {
        let Some(error) = unit.outdated() else { return Some((unit, answer)) };
        self.waiting[Line::of(&unit) as usize].leave(unit.bytes());
        let _ = answer.send(Err(error));
        None
    }

    async fn run_single(&mut self, Single { statement, values, freed, answer }: Single) {
        let execute = Execute(statement, values);
        let done = match freed {
            None => self.on_link(execute).await,
            Some(freed) => self.on_link(ExecuteCounted(execute, freed)).await.map(|(rows, changed)| {
                self.usage.learn(&changed);
                rows
            }),
        };
        // Whoever has gone away does not want to know.
        let _ = answer.send(done);
    }

    async fn write(&mut self, units: Vec<Unit>) -> Vec<Applied> {
        let units = Arc::new(units);
        let applied = match self.on_link(WriteUnits(Arc::clone(&units))).await {
            Ok((applied, changed)) => {
                self.usage.learn(&changed);
                applied
            }
            Err(error) => {
                // They may have been committed nevertheless.
                for unit in units.iter() {
                    self.usage.forget(&unit.shop);
                }
                vec![Err(CommitError::Unavailable { reason: error.to_string() }); units.len()]
            }
        };
        self.watches.mark(&units, &applied);
        applied
    }

    async fn deploy(&mut self, plan: Box<Plan>) -> Result<Deployed, StoreError> {
        let deployed = self.on_link(Deploy(plan)).await.map_err(StoreError::connecting)?;
        if deployed.is_err() {
            self.connection = None;
        }
        deployed
    }

    /// Has work done on the connection, which is not used again after an error: what is left of it is not known. Work that
    /// panics ends one batch, and not the writing of all that come after it.
    async fn on_link<W: Work>(&mut self, work: W) -> sqlx::Result<W::Done> {
        let (connection, done) = self.connect().await?.lend(work).await?;
        self.connection = Some(connection);
        if let Some(write_back) = &self.write_back {
            write_back.committed();
        }
        Ok(done)
    }

    /// Takes the connection, or makes a new one.
    async fn connect(&mut self) -> sqlx::Result<Connection> {
        self.forget_plans().await;
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let connected = self.database.connect_writer().await;
        if connected.is_err() {
            tokio::time::sleep(RECONNECT_AFTER).await;
        }
        connected
    }

    /// Has PostgreSQL plan anew from time to time. That also shows after a pause whether the connection is still there,
    /// before a unit depends on it.
    async fn forget_plans(&mut self) {
        self.plan_uses += 1;
        let is_old = self.plan_uses > PLANS_MAX_USES || self.planned.elapsed() > PLANS_MAX_AGE;
        let Some(connection @ Connection::Postgres(_)) = self.connection.as_mut().filter(|_| is_old) else { return };
        if connection.link().run("DISCARD PLANS").await.is_err() {
            self.connection = None;
        }
        self.planned = Instant::now();
        self.plan_uses = 0;
    }
}
