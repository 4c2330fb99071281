//! Lines of units that lost a conflict, so that each of them runs once more and is not overtaken again.
//!
//! The first run of a unit is optimistic. A unit that is refused because a record, or the answer of a query, is not what it
//! was decided on waits in the line of what it lost, and runs again when its turn has come. Before any unit is handed to
//! the committer, it is held against the lines of its shop: one that reads or writes a record in whose line somebody else
//! is, or that would change the answer of such a query, joins the line instead of committing.
//!
//! Nobody waits in one line while holding another: a unit that loses something more gives everything up, and takes its turn
//! in all of its lines anew, in one order. Lines are first come, first served, exist only while somebody is in them, and
//! are of this process: jobs of a shop in named queues may run on other hosts. The versions in the database decide, and a
//! unit that is refused all the same runs again.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash as _, Hasher as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tradewind_model::query::Interest;
use tradewind_model::{RecordKey, Shop};
use tradewind_store::{CommitError, Committed, Outdated, Store, Unit, Watch};

/// How long a call that holds a sandbox waits in a line, in milliseconds. 1,000: a unit is in its turn for some milliseconds.
/// The one whose turn it is may itself be waiting for a sandbox: who holds one goes past it then.
const LINE_WAIT_IN_CALL_MS_MAX: u64 = 1_000;

/// What units wait for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Record(RecordKey),
    /// The answer of a query, by the model and a digest of its filter.
    Query(String, u64),
}

/// Places, each query's with what its answer depends on.
pub(crate) type Places = BTreeMap<Place, Option<Arc<Interest>>>;

/// The lines of a process.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Lines that exist, to pass by quickly.
    count: AtomicUsize,
    shops: Mutex<HashMap<Shop, BTreeMap<Place, Line>>>,
}

#[derive(Debug, Default)]
struct Line {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Units that wait or have their turn.
    units: usize,
    interest: Option<Arc<Interest>>,
    /// The queries of the unit whose turn it is.
    watch: Option<Watch>,
}

/// A unit's place in a line. Leaves it when dropped.
#[derive(Debug)]
struct InLine {
    lines: Arc<Lines>,
    shop: Shop,
    place: Place,
    turn: Option<OwnedMutexGuard<()>>,
}

/// What one piece of work has lost so far, and its turns.
#[derive(Debug)]
pub(crate) struct Turn {
    lines: Arc<Lines>,
    shop: Shop,
    lost: Places,
    held: Vec<InLine>,
    /// Whether it commits without looking at the lines.
    goes_past: bool,
}

/// The queries of a unit that is on its way, and the records that it touches.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    watch: Option<Watch>,
    keys: Vec<RecordKey>,
}

impl Asked {
    pub(crate) fn of(unit: &Unit) -> Self {
        let Some(watch) = unit.queries.clone() else { return Self::default() };
        let keys = unit.reads.iter().map(|read| &read.key).chain(unit.writes.iter().map(|write| &write.key));
        Self { watch: Some(watch), keys: keys.cloned().collect() }
    }

    /// The line of a query whose answer is another now.
    pub(crate) fn outdated(&self) -> Option<(Place, Option<Arc<Interest>>)> {
        Some(place_of(self.watch.as_ref()?.outdated()?, |key| self.keys.contains(key)))
    }
}

/// The line of a query whose answer is another now; that of the record that changed it, when the unit touches the record too.
/// All that contend for one record are in one line then.
pub(crate) fn place_of(outdated: &Outdated, is_touched: impl Fn(&RecordKey) -> bool) -> (Place, Option<Arc<Interest>>) {
    if is_touched(&outdated.key) {
        return (Place::Record(outdated.key.clone()), None);
    }
    let interest = Arc::clone(&outdated.interest);
    let mut digest = DefaultHasher::new();
    // A digest that two queries share makes one line of two.
    format!("{interest:?}").hash(&mut digest);
    (Place::Query(interest.model.clone(), digest.finish()), Some(interest))
}

impl Lines {
    /// The lines that a unit would overtake somebody in. `held` are those in which it has its turn.
    pub(crate) fn overtaken_by(&self, unit: &Unit, held: &Places) -> Places {
        let mut found = Places::new();
        if self.count.load(Ordering::SeqCst) == 0 || !unit.has_effects() {
            return found;
        }
        let mut queries = Vec::new();
        {
            let shops = self.lock();
            let Some(lines) = shops.get(&unit.shop) else { return found };
            let keys = unit.reads.iter().map(|read| &read.key).chain(unit.writes.iter().map(|write| &write.key));
            let places = keys.map(|key| Place::Record(key.clone()));
            found.extend(
                places.filter(|place| lines.contains_key(place) && !held.contains_key(place)).map(|at| (at, None)),
            );
            let others =
                lines.iter().filter(|(place, _)| matches!(place, Place::Query(..)) && !held.contains_key(place));
            queries.extend(others.map(|(place, line)| (place.clone(), line.interest.clone(), line.watch.clone())));
        }
        // Their filters are evaluated outside of the lock.
        for (place, interest, watch) in queries {
            let is_affected = interest.as_ref().is_some_and(|interest| unit.changes(interest))
                || watch.is_some_and(|watch| watch.affected_by(&unit.shop, &unit.writes).is_some());
            if is_affected {
                found.insert(place, interest);
            }
        }
        found
    }

    fn is_in_use(&self, shop: &Shop, keys: &[RecordKey]) -> bool {
        if self.count.load(Ordering::SeqCst) == 0 {
            return false;
        }
        let shops = self.lock();
        let Some(lines) = shops.get(shop) else { return false };
        keys.iter().any(|key| lines.contains_key(&Place::Record(key.clone())))
    }

    fn join(
        self: &Arc<Self>,
        shop: &Shop,
        place: &Place,
        interest: Option<&Arc<Interest>>,
    ) -> (InLine, Arc<tokio::sync::Mutex<()>>) {
        let mut shops = self.lock();
        let lines = shops.entry(shop.clone()).or_default();
        let line = lines.entry(place.clone()).or_insert_with(|| {
            self.count.fetch_add(1, Ordering::SeqCst);
            Line { interest: interest.cloned(), ..Line::default() }
        });
        line.units += 1;
        let in_line = InLine { lines: Arc::clone(self), shop: shop.clone(), place: place.clone(), turn: None };
        (in_line, Arc::clone(&line.turn))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Shop, BTreeMap<Place, Line>>> {
        self.shops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let mut shops = self.lines.lock();
        let Some(lines) = shops.get_mut(&self.shop) else { return };
        let Some(line) = lines.get_mut(&self.place) else { return };
        if self.turn.is_some() {
            line.watch = None;
        }
        line.units -= 1;
        if line.units == 0 {
            lines.remove(&self.place);
            self.lines.count.fetch_sub(1, Ordering::SeqCst);
        }
        if lines.is_empty() {
            shops.remove(&self.shop);
        }
    }
}

impl Turn {
    pub(crate) fn new(lines: &Arc<Lines>, shop: Shop) -> Self {
        Self { lines: Arc::clone(lines), shop, lost: Places::new(), held: Vec::new(), goes_past: false }
    }

    /// The lines in which it has its turn.
    pub(crate) fn held(&self) -> Places {
        self.held.iter().map(|held| (held.place.clone(), None)).collect()
    }

    /// Notes what was lost. False when it is not known.
    pub(crate) fn lose(&mut self, places: Places) -> bool {
        let is_something = !places.is_empty();
        self.lost.extend(places);
        is_something
    }

    /// Notes what a commit was refused for.
    pub(crate) fn lose_by(&mut self, error: &CommitError, asked: &Asked) {
        if let CommitError::Conflict { shop, key } = error
            && *shop == self.shop
        {
            self.lost.extend([asked.outdated().unwrap_or_else(|| (Place::Record(key.clone()), None))]);
        }
    }

    /// Gives all turns up, and waits for the turn in all lines of what was lost, in their order.
    pub(crate) async fn wait(&mut self) {
        self.leave();
        for (place, interest) in &self.lost {
            let (mut in_line, turn) = self.lines.join(&self.shop, place, interest.as_ref());
            in_line.turn = Some(turn.lock_owned().await);
            self.held.push(in_line);
        }
    }

    /// The same for a call that holds a sandbox: it does not wait for long, and then commits whoever is in line.
    pub(crate) async fn wait_in_call(&mut self) {
        let waited = tokio::time::timeout(Duration::from_millis(LINE_WAIT_IN_CALL_MS_MAX), self.wait()).await;
        self.goes_past = waited.is_err();
        if self.goes_past {
            self.leave();
        }
    }

    /// Joins the lines of these records when there are any: what is certain to wait need not run first.
    pub(crate) async fn join_behind(&mut self, keys: &[RecordKey]) -> bool {
        if !self.lines.is_in_use(&self.shop, keys) {
            return false;
        }
        self.lost.extend(keys.iter().map(|key| (Place::Record(key.clone()), None)));
        self.wait_in_call().await;
        true
    }

    /// Gives all turns up.
    pub(crate) fn leave(&mut self) {
        self.held.clear();
    }

    /// Ends with what was lost: what comes next is another unit.
    pub(crate) fn end(&mut self) {
        self.leave();
        self.lost.clear();
        self.goes_past = false;
    }

    /// Protects the queries of the unit that runs now, when it has its turn in the line of one. Answers the watch for them.
    pub(crate) fn protect(&self, store: &Store) -> Option<Watch> {
        let queries = || self.held.iter().filter(|held| matches!(held.place, Place::Query(..)));
        queries().next()?;
        let watch = store.watch(&self.shop);
        let mut shops = self.lines.lock();
        let lines = shops.get_mut(&self.shop)?;
        for held in queries() {
            if let Some(line) = lines.get_mut(&held.place) {
                line.watch = Some(watch.clone());
            }
        }
        Some(watch)
    }

    /// Commits a unit, unless it would overtake somebody in a line.
    pub(crate) async fn commit(&mut self, store: &Store, unit: Unit) -> Result<Committed, CommitError> {
        if !self.goes_past {
            let overtaken = self.lines.overtaken_by(&unit, &self.held());
            if let Some(error) = overtaking(&self.shop, &overtaken) {
                self.lost.extend(overtaken);
                return Err(error);
            }
        }
        let asked = Asked::of(&unit);
        let committed = store.commit(unit).await;
        if let Err(error) = &committed {
            self.lose_by(error, &asked);
        }
        committed
    }
}

/// The conflict that a unit has with those whom it would overtake.
pub(crate) fn overtaking(shop: &Shop, overtaken: &Places) -> Option<CommitError> {
    let key = match overtaken.keys().next()? {
        Place::Record(key) => key.clone(),
        Place::Query(model, _) => RecordKey::new(model.as_str(), ""),
    };
    Some(CommitError::Conflict { shop: shop.clone(), key })
}
