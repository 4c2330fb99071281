//! Writes a batch of units in one transaction.
//!
//! The usual case takes one statement for each kind of thing, whatever the number of units (on SQLite it runs once for each
//! row), and sees from the number of rows that it wrote whether everything was as the units expected. When something was not,
//! the transaction is taken back and done again without the units that are to blame; when only the database knows which that
//! is, the units go one by one, each in a savepoint. Either way the neighbours are committed, in one transaction.
//!
//! No two units of a batch touch the same thing ([`crate::batch`]), so it does not matter that all jobs are finished before
//! the first record is written.

pub(crate) mod records;
pub(crate) mod work;

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::error::{Blame, blame};
use crate::link::{Engine, Kind, Link, Statement, Table};
use crate::unit::{CommitError, Committed, Unit};
use crate::usage::{self, Line as UsageLine, Usage};

pub(crate) type Applied = Result<Committed, CommitError>;

/// How many numbers PostgreSQL's sequence hands out at once. 4,096: a batch of the usual size takes one block, and 64 bits
/// last for two quadrillion batches.
const BLOCK: i64 = 4_096;

// Differs because a sequence needs no lock, and SQLite has none. Both take whole blocks: numbers of the later of two
// batches are larger, which is what keeps a record's jobs in order.
pub(crate) static NUMBERS: Statement = Statement::differs(
    "numbers",
    &[],
    "UPDATE sequence SET next = next + $1 RETURNING next - $1",
    "SELECT nextval('sequence') FROM generate_series(1, $1)",
);

// Differs because only PostgreSQL has several writers. Whoever finishes jobs or writes records holds the partitions of the
// shops and of the jobs, taken in one order: it cannot lose its lease before it commits, nobody else writes what it has
// just looked at, present or absent, and two writers cannot wait for each other.
pub(crate) static FENCES: Statement = Statement::differs(
    "fences",
    &[Kind::Int],
    "WITH r (id) AS ({rows}) SELECT id, epoch FROM partitions WHERE id IN (SELECT id FROM r)",
    "WITH r (id) AS ({rows}) SELECT p.id, p.epoch FROM partitions p WHERE p.id IN (SELECT id FROM r) \
     ORDER BY p.id FOR NO KEY UPDATE OF p",
);

/// How often a batch is begun again that the database chose to end a deadlock. 5: others that were in it have gone on.
pub(crate) const DEADLOCKS_MAX: u32 = 5;

/// The units that are to blame, by their places, and for what.
type Blamed = Vec<(usize, CommitError)>;

/// How an attempt at writing ended early.
enum Stop {
    /// Something was not as these units expected. Never empty.
    Unexpected(Blamed),
    /// Something was not as expected; which, has to be looked at closely.
    Doubt,
    Database(sqlx::Error),
}

impl From<sqlx::Error> for Stop {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// How closely it is looked at what a statement wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    /// Whether it wrote as many rows as it was given: enough, nearly always.
    Count,
    /// Which rows it wrote.
    Name,
}

/// The rows that a statement wrote, by the number that it answers with.
enum Wrote {
    All,
    These(HashSet<i64>),
}

impl Wrote {
    /// Writes a table; in doubt, when it is only counted, everything is taken back.
    async fn by(
        link: &mut Link<'_>,
        statement: &'static Statement,
        table: &Table<'_>,
        care: Care,
    ) -> Result<Self, Stop> {
        if care == Care::Count {
            let count = link.count_rows(statement, table).await?;
            return if count == table.len() { Ok(Self::All) } else { Err(Stop::Doubt) };
        }
        let mut these = HashSet::new();
        for row in link.fetch_rows(statement, table).await? {
            these.insert(row.int(0)?);
        }
        Ok(Self::These(these))
    }

    fn contains(&self, number: i64) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.contains(&number),
        }
    }
}

impl Stop {
    /// Goes on when nobody is to blame.
    fn unless_none(blamed: Blamed) -> Result<(), Self> {
        if blamed.is_empty() { Ok(()) } else { Err(Self::Unexpected(blamed)) }
    }
}

/// Writes the units in one transaction and commits it. Answers what became of each, and the lines of usage that it changed. An error means that it is not known whether anything was written,
/// and that the connection is not to be used again.
pub(crate) async fn apply(link: &mut Link<'_>, units: &[Unit]) -> sqlx::Result<(Vec<Applied>, Vec<UsageLine>)> {
    let mut changed = Vec::new();
    let mut refused: Vec<Option<CommitError>> = vec![None; units.len()];
    let (mut deadlocks, mut care) = (0, Care::Count);
    loop {
        let places: Vec<usize> = (0..units.len()).filter(|at| refused[*at].is_none()).collect();
        let left: Vec<&Unit> = places.iter().map(|at| &units[*at]).collect();
        if left.is_empty() {
            return Ok((refused.into_iter().flatten().map(Err).collect(), Vec::new()));
        }
        changed.clear();
        match attempt(link, &left, care, &mut changed).await {
            Ok(applied) => {
                let mut applied = applied.into_iter();
                let of_unit =
                    |refused: Option<CommitError>| refused.map_or_else(|| applied.next(), |error| Some(Err(error)));
                return Ok((refused.into_iter().filter_map(of_unit).collect(), changed));
            }
            Err(Stop::Unexpected(blamed)) => {
                for (at, error) in blamed {
                    refused[places[at]] = Some(error);
                }
            }
            Err(Stop::Doubt) => care = Care::Name,
            Err(Stop::Database(error)) if blame(&error) == Blame::Deadlock && deadlocks < DEADLOCKS_MAX => {
                deadlocks += 1;
            }
            Err(Stop::Database(error)) => return Err(error),
        }
    }
}

/// Begins a transaction that writes. Differs because SQLite would otherwise take the write lock in the middle, where it cannot
/// wait for it.
pub(crate) fn begin(engine: Engine) -> &'static str {
    if engine == Engine::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" }
}

/// One transaction. When it stops, nothing is written and no transaction is open.
async fn attempt(
    link: &mut Link<'_>,
    units: &[&Unit],
    care: Care,
    changed: &mut Vec<UsageLine>,
) -> Result<Vec<Applied>, Stop> {
    let begin = begin(link.engine());
    link.run(begin).await?;
    let written = match write(link, units, care).await {
        Ok((committed, usage)) => count(link, units, usage, changed).await.map(|()| committed).map_err(Stop::from),
        Err(stop) => Err(stop),
    };
    let stop = match written {
        Ok(committed) => {
            link.run("COMMIT").await?;
            return Ok(committed.into_iter().map(Ok).collect());
        }
        Err(stop) => stop,
    };
    let rolled_back = link.run("ROLLBACK").await;
    let error = match stop {
        Stop::Database(error) => error,
        again @ (Stop::Unexpected(_) | Stop::Doubt) => {
            rolled_back?;
            return Err(again);
        }
    };
    if matches!(blame(&error), Blame::Database | Blame::Deadlock) {
        // The rollback's own error says nothing that this one does not.
        return Err(error.into());
    }
    rolled_back?;
    if let [_] = units {
        return Ok(vec![Err(refusal(&error))]);
    }
    changed.clear();
    link.run(begin).await?;
    match one_by_one(link, units, changed).await {
        Ok(applied) => {
            link.run("COMMIT").await?;
            Ok(applied)
        }
        Err(error) => {
            let _ = link.run("ROLLBACK").await;
            Err(error.into())
        }
    }
}

async fn one_by_one(link: &mut Link<'_>, units: &[&Unit], changed: &mut Vec<UsageLine>) -> sqlx::Result<Vec<Applied>> {
    let mut applied = Vec::with_capacity(units.len());
    let mut counted = vec![Usage::default(); units.len()];
    for (unit, counted) in units.iter().zip(&mut counted) {
        link.run("SAVEPOINT unit").await?;
        let error = match write(link, std::slice::from_ref(unit), Care::Name).await {
            Ok((committed, usage)) => {
                link.run("RELEASE SAVEPOINT unit").await?;
                *counted = usage[0];
                applied.extend(committed.into_iter().map(Ok));
                continue;
            }
            Err(Stop::Database(error)) if matches!(blame(&error), Blame::Database | Blame::Deadlock) => {
                return Err(error);
            }
            Err(Stop::Database(error)) => vec![(0, refusal(&error))],
            Err(Stop::Unexpected(blamed)) => blamed,
            Err(Stop::Doubt) => unreachable!("rows that are named leave no doubt"),
        };
        link.run("ROLLBACK TO SAVEPOINT unit; RELEASE SAVEPOINT unit").await?;
        applied.extend(error.into_iter().take(1).map(|(_, error)| Err(error)));
    }
    count(link, units, counted, changed).await?;
    Ok(applied)
}

/// What a unit is told whose values the database refuses.
fn refusal(error: &sqlx::Error) -> CommitError {
    match blame(error) {
        Blame::NotUnique(index) => CommitError::NotUnique { index },
        Blame::Values | Blame::Database | Blame::Deadlock => CommitError::Refused { reason: error.to_string() },
    }
}

/// Changes the usage by what each unit did: the last statement of a transaction.
async fn count(
    link: &mut Link<'_>,
    units: &[&Unit],
    counted: Vec<Usage>,
    changed: &mut Vec<UsageLine>,
) -> sqlx::Result<()> {
    let apart = |unit: &Unit| i64::from(unit.is_delivery());
    let deltas = units.iter().zip(counted).map(|(unit, usage)| (&unit.shop, apart(unit), usage));
    usage::change(link, deltas, changed).await
}

/// Writes the units into the open transaction. Answers what each changes of its shop's usage, too.
async fn write(link: &mut Link<'_>, units: &[&Unit], care: Care) -> Result<(Vec<Committed>, Vec<Usage>), Stop> {
    let mut usage = vec![Usage::default(); units.len()];
    check_fences(link, units).await?;
    work::finish_jobs(link, units, care, &mut usage).await?;
    let cancelled = work::cancel_jobs(link, units, &mut usage).await?;
    records::check_reads(link, units).await?;
    let numbers = units.iter().map(|unit| {
        // A delivery has its own and its job's.
        2 * unit.deliveries.len() + unit.jobs.len() + unit.writes.len() + unit.log.len()
    });
    let mut numbers = Numbers::take(link, numbers.sum()).await?;
    let with_cancelled = |cancelled| Committed { cancelled, ..Committed::default() };
    let mut committed: Vec<_> = cancelled.into_iter().map(with_cancelled).collect();
    records::count_records(link, units, &mut usage).await?;
    records::write_records(link, units, care, &mut committed, &mut numbers).await?;
    work::write_deliveries_and_jobs(link, units, care, &mut committed, &mut numbers).await?;
    work::write_log(link, units, &mut numbers).await?;
    for ((unit, committed), usage) in units.iter().zip(&committed).zip(&mut usage) {
        work::count_new(unit, committed, usage);
    }
    Ok((committed, usage))
}

/// Holds the partitions of whoever does more than hand in deliveries and jobs, and looks at the leases.
async fn check_fences(link: &mut Link<'_>, units: &[&Unit]) -> Result<(), Stop> {
    let holds = |unit: &&&Unit| unit.fence.is_some() || !unit.writes.is_empty() || !unit.reads.is_empty();
    let fenced = units.iter().filter_map(|unit| unit.fence.as_ref()).map(|fence| fence.part);
    let parts: BTreeSet<i64> = units.iter().filter(holds).map(|unit| unit.shop.partition()).chain(fenced).collect();
    let mut table = Table::default();
    for part in parts {
        table.push([part.into()]);
    }
    let mut epochs = HashMap::new();
    for row in link.fetch_rows(&FENCES, &table).await? {
        epochs.insert(row.int(0)?, row.int(1)?);
    }
    let mut blamed = Blamed::new();
    for (at, unit) in units.iter().enumerate() {
        let Some(fence) = &unit.fence else { continue };
        if epochs.get(&fence.part) != Some(&fence.epoch) {
            blamed.push((at, CommitError::Fenced { part: fence.part }));
        }
    }
    Stop::unless_none(blamed)
}

/// Fresh numbers for rows and versions, in order.
struct Numbers {
    /// First numbers of the blocks that are not begun yet, the next one last.
    blocks: Vec<i64>,
    next: i64,
    end: i64,
}

impl Numbers {
    async fn take(link: &mut Link<'_>, count: usize) -> Result<Self, Stop> {
        let mut numbers = Self { blocks: Vec::new(), next: 0, end: 0 };
        if count == 0 {
            return Ok(numbers);
        }
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        if link.engine() == Engine::Sqlite {
            numbers.next = link.fetch(&NUMBERS, &[count.into()]).await?[0].int(0)?;
            numbers.end = numbers.next + count;
            return Ok(numbers);
        }
        let blocks = (count + BLOCK - 1) / BLOCK;
        for row in link.fetch(&NUMBERS, &[blocks.into()]).await? {
            numbers.blocks.push(row.int(0)? * BLOCK);
        }
        numbers.blocks.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }

    fn next(&mut self) -> i64 {
        if self.next == self.end {
            self.next = self.blocks.pop().expect("as many numbers were taken as the units need");
            self.end = self.next + BLOCK;
        }
        self.next += 1;
        self.next - 1
    }
}
