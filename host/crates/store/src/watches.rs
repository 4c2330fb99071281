//! Watches: which answers of queries a unit was decided on, and whether they still hold.
//!
//! A unit asks its queries without a lock. Before its first query is executed it registers a watch with what the answer
//! depends on. The writer of its shop, which commits the shop's units in one order, marks the watches that a commit affects,
//! and refuses a unit whose watch was marked before the unit's turn came. A watch lives as long as somebody may commit what
//! was decided on it. Without watches, a batch costs one atomic load.
//!
//! This is what one process knows: queries of a shop whose units are committed by several hosts, or by both writers of
//! PostgreSQL (a query over every shop), are held against the commits of this host, as far as they are known by then.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tradewind_model::query::{Interest, Query, RecordWrite};
use tradewind_model::schema::Scope;
use tradewind_model::{RecordKey, Shop};

use crate::apply::Applied;
use crate::unit::{CommitError, Unit, Write};

/// Steps of all filters that one watch remembers: terms and listed values. 2,048: a plugin asks a few queries of a few terms.
/// Beyond it, any write to the queried model counts as a change, which costs nothing to find out.
pub const WATCH_STEPS_MAX: usize = 2_048;

/// Queries that one watch remembers apart. 64, for the same reason.
pub const WATCH_QUERIES_MAX: usize = 64;

/// Steps that are made to find out which watches one batch affects: a step reads a byte, or looks at a member. 64 Mi: some tens of
/// milliseconds; 256 products of 9 KB beside 32 watches take half. What is left over counts as affected.
pub(crate) const BATCH_STEPS_MAX: usize = 64 << 20;

/// What a unit's queries were answered, to be held to at its commit. Cheap to clone.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

/// Why the answers of a watch do not hold any more.
#[derive(Clone, Debug)]
pub struct Outdated {
    /// The record that was written meanwhile.
    pub key: RecordKey,
    /// The query that would be answered differently.
    pub interest: Arc<Interest>,
}

struct Inner {
    watches: Arc<Watches>,
    shop: Shop,
    /// Whether a query reaches other shops.
    is_wide: AtomicBool,
    interests: Mutex<Interests>,
    outdated: OnceLock<Outdated>,
}

#[derive(Default)]
struct Interests {
    all: Vec<Arc<Interest>>,
    steps: usize,
}

/// Every watch of a process.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    count: AtomicUsize,
    of_apps: Mutex<HashMap<Arc<str>, Vec<Weak<Inner>>>>,
}

impl Watch {
    /// Remembers a query. Call it before the query is executed: what is committed in between counts.
    pub fn add(&self, model: &str, query: &Query, counts: bool) {
        let interest = query.interest(model, counts);
        if interest.scope == Scope::App {
            self.0.is_wide.store(true, Ordering::SeqCst);
        }
        let mut interests = self.0.interests();
        let is_known = |known: &Arc<Interest>| **known == interest || known.is_all_of(&interest);
        if interests.all.iter().any(is_known) {
            return;
        }
        let steps = interests.steps + interest.steps();
        if steps <= WATCH_STEPS_MAX && interests.all.len() < WATCH_QUERIES_MAX {
            interests.steps = steps;
            interests.all.push(Arc::new(interest));
            return;
        }
        let is_same = |known: &Arc<Interest>| known.model == interest.model && known.scope == interest.scope;
        interests.all.retain(|known| !is_same(known));
        interests.all.push(Arc::new(Interest::everything(&interest.model, interest.scope)));
        interests.steps = interests.all.iter().map(|interest| interest.steps()).sum();
    }

    /// Why the answers do not hold any more; none while they do.
    pub fn outdated(&self) -> Option<&Outdated> {
        self.0.outdated.get()
    }

    /// The query that these writes of a shop would change, with the record.
    pub fn affected_by(&self, shop: &Shop, writes: &[Write]) -> Option<Outdated> {
        self.affected_within(shop, writes, &mut { BATCH_STEPS_MAX })
    }

    /// The same, with the steps that may still be made to find out.
    pub(crate) fn affected_within(&self, shop: &Shop, writes: &[Write], left: &mut usize) -> Option<Outdated> {
        self.0.affected_by(shop, writes, left)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("outdated", &self.outdated()).finish_non_exhaustive()
    }
}

impl Inner {
    fn interests(&self) -> MutexGuard<'_, Interests> {
        self.interests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn affected_by(&self, shop: &Shop, writes: &[Write], left: &mut usize) -> Option<Outdated> {
        let is_own = self.shop == *shop;
        if !is_own && (self.shop.app != shop.app || !self.is_wide.load(Ordering::SeqCst)) {
            return None;
        }
        let interests: Vec<_> = self.interests().all.clone();
        writes.iter().find_map(|write| {
            let concerned = |interest: &&Arc<Interest>| {
                *interest.model == *write.key.model && (is_own || interest.scope == Scope::App)
            };
            let mut concerned = interests.iter().filter(concerned).peekable();
            concerned.peek()?;
            let interest = record_write(shop, write).affects(concerned, left)?;
            Some(Outdated { key: write.key.clone(), interest: Arc::clone(interest) })
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.watches.count.fetch_sub(1, Ordering::SeqCst);
        let mut of_apps = self.watches.lock();
        if let Some(watches) = of_apps.get_mut(&self.shop.app) {
            watches.retain(|watch| watch.strong_count() > 0);
            if watches.is_empty() {
                of_apps.remove(&self.shop.app);
            }
        }
    }
}

/// What a write does to its record, as a query sees it.
pub(crate) fn record_write(shop: &Shop, write: &Write) -> RecordWrite {
    let before = match (write.expected, &write.before) {
        (None, _) => Some(None),
        (Some(_), Some(before)) => Some(Some(before)),
        (Some(_), None) => None,
    };
    RecordWrite::new(&shop.id, &write.key.id, before, write.doc.as_ref())
}

impl Watches {
    /// A watch for the queries of one unit of a shop.
    pub(crate) fn watch(self: &Arc<Self>, shop: Shop) -> Watch {
        self.count.fetch_add(1, Ordering::SeqCst);
        let app = Arc::clone(&shop.app);
        let inner = Arc::new(Inner {
            watches: Arc::clone(self),
            shop,
            is_wide: AtomicBool::new(false),
            interests: Mutex::default(),
            outdated: OnceLock::new(),
        });
        self.lock().entry(app).or_default().push(Arc::downgrade(&inner));
        Watch(inner)
    }

    /// Whether there is any watch.
    pub(crate) fn is_watching(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    /// Marks what the units of a batch have changed. Units of which it is not known whether they were committed count.
    pub(crate) fn mark(&self, units: &[Unit], applied: &[Applied]) {
        if !self.is_watching() {
            return;
        }
        let mut left = BATCH_STEPS_MAX;
        for (unit, applied) in units.iter().zip(applied) {
            let is_written = matches!(applied, Ok(_) | Err(CommitError::Unavailable { .. }));
            if unit.writes.is_empty() || !is_written {
                continue;
            }
            // Outside of the lock, which the last of a watch's owners takes.
            let watches: Vec<_> =
                self.lock().get(&unit.shop.app).into_iter().flatten().filter_map(Weak::upgrade).collect();
            for watch in watches.iter().filter(|watch| watch.outdated.get().is_none()) {
                if let Some(outdated) = watch.affected_by(&unit.shop, &unit.writes, &mut left) {
                    let _ = watch.outdated.set(outdated);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Weak<Inner>>>> {
        self.of_apps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
