//! The door in front of the pool: a full pool makes callers wait, fairly between shops, instead of failing.
//!
//! Two things are scarce: slots, and the memory of all sandboxes together. Whoever waits, waits in its shop's line; the
//! lines take turns, so a shop with a thousand callers delays another shop's single one by one turn. Two rules keep one
//! neighbour from taking everything: a shop with most of the slots has no turn while another one waits, and a part of
//! the memory is for small calls alone.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The bytes up to which a call is small. 16 MiB: a Rust or QuickJS plugin at its usual work stays below.
const SMALL_BYTES: u64 = 16 << 20;

/// The part of the memory that is left for small calls: one in so many. An eighth: 512 MiB of 4 GiB, where 32 small calls
/// grow to their utmost beside any number of large ones.
const RESERVE_PART: u64 = 8;

/// Admits invocations.
pub(crate) struct Gate {
    state: Mutex<State>,
}

struct State {
    slots_free: u32,
    slots_max: u32,
    bytes_free: u64,
    bytes_max: u64,
    /// How many slots each shop holds that holds any.
    held: HashMap<Arc<str>, u32>,
    /// A line for each shop that has somebody waiting.
    lines: HashMap<Arc<str>, VecDeque<Waiter>>,
    /// Whose turn it is: each shop in `lines`, once.
    turns: VecDeque<Arc<str>>,
}

struct Waiter {
    bytes: u64,
    admit: oneshot::Sender<Permit>,
}

/// The right to one slot and some bytes, given back when dropped.
pub(crate) struct Permit {
    gate: Arc<Gate>,
    shop: Arc<str>,
    /// Changes under the gate's lock only.
    bytes: AtomicU64,
}

/// Dropped when a caller stops waiting: those behind it may fit where it did not.
struct Waiting<'a>(&'a Arc<Gate>);

impl Gate {
    pub(crate) fn new(slots: u32, bytes: u64) -> Arc<Self> {
        let state = State {
            slots_free: slots,
            slots_max: slots,
            bytes_free: bytes,
            bytes_max: bytes,
            held: HashMap::new(),
            lines: HashMap::new(),
            turns: VecDeque::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Waits for a slot and `bytes` of memory. More than there is at all is cut to what there is.
    pub(crate) async fn enter(self: &Arc<Self>, shop: &str, bytes: u64) -> Permit {
        let shop = Arc::<str>::from(shop);
        // Before the receiver, so that it is dropped after it: by then the waiter counts as gone.
        let _waiting;
        let admitted = {
            let mut state = self.lock();
            let bytes = bytes.min(state.bytes_max);
            if state.turns.is_empty() && state.slots_free > 0 && state.fits(bytes) {
                state.take(&shop, bytes);
                return self.permit(shop, bytes);
            }
            let (admit, admitted) = oneshot::channel();
            if !state.lines.contains_key(&shop) {
                state.turns.push_back(Arc::clone(&shop));
            }
            state.lines.entry(shop).or_default().push_back(Waiter { bytes, admit });
            admitted
        };
        _waiting = Waiting(self);
        match admitted.await {
            Ok(permit) => permit,
            // The sender lives in the gate, which `self` keeps alive, until it has sent.
            Err(_) => unreachable!("a waiter is dropped only after it was admitted"),
        }
    }

    fn permit(self: &Arc<Self>, shop: Arc<str>, bytes: u64) -> Permit {
        Permit { gate: Arc::clone(self), shop, bytes: AtomicU64::new(bytes) }
    }

    /// How many wait.
    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.lock().lines.values().map(VecDeque::len).sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(self: &Arc<Self>, shop: &Arc<str>, bytes: u64) {
        self.lock().give_back(shop, bytes);
        self.admit();
    }

    fn admit(self: &Arc<Self>) {
        let admitted = self.lock().admit();
        // Outside of the lock: a caller that has gone away hands its permit back here, which comes to this line again.
        for (shop, waiter) in admitted {
            let permit = self.permit(shop, waiter.bytes);
            drop(waiter.admit.send(permit));
        }
    }
}

impl State {
    fn take(&mut self, shop: &Arc<str>, bytes: u64) {
        self.slots_free -= 1;
        self.bytes_free -= bytes;
        *self.held.entry(Arc::clone(shop)).or_default() += 1;
    }

    fn give_back(&mut self, shop: &Arc<str>, bytes: u64) {
        self.slots_free += 1;
        self.bytes_free += bytes;
        if let Some(held) = self.held.get_mut(shop) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(shop);
            }
        }
    }

    /// What a call that has `bytes` in all must leave free.
    fn reserve(&self, bytes: u64) -> u64 {
        if bytes > SMALL_BYTES { self.bytes_max / RESERVE_PART } else { 0 }
    }

    /// Whether there is memory for one more call. Alone, everybody fits: what nobody uses is kept for nobody.
    fn fits(&self, bytes: u64) -> bool {
        let alone = self.slots_free == self.slots_max;
        let reserve = if alone { 0 } else { self.reserve(bytes) };
        bytes.saturating_add(reserve) <= self.bytes_free
    }

    /// The place in `turns` of the shop to be served next: the first, unless it holds more than half of the slots and
    /// others wait. Only one shop can hold that many, so the second is never such a one.
    fn next(&self) -> usize {
        let held = self.turns.front().and_then(|shop| self.held.get(shop)).copied().unwrap_or(0);
        usize::from(self.turns.len() > 1 && held > self.slots_max / 2)
    }

    /// Takes from the lines whoever fits, in turn. The first that does not fit stops it, so that a large plugin is not
    /// overtaken for ever by small ones. Who has gone away is taken out and admitted to nothing.
    fn admit(&mut self) -> Vec<(Arc<str>, Waiter)> {
        let mut admitted = Vec::new();
        while self.slots_free > 0 {
            let next = self.next();
            let Some(shop) = self.turns.get(next).map(Arc::clone) else { break };
            let Some(line) = self.lines.get_mut(&shop) else { break };
            while line.pop_front_if(|waiter| waiter.admit.is_closed()).is_some() {}
            if let Some(bytes) = line.front().map(|waiter| waiter.bytes) {
                if !self.fits(bytes) {
                    break;
                }
                self.take(&shop, bytes);
            }
            let Some(line) = self.lines.get_mut(&shop) else { break };
            admitted.extend(line.pop_front().map(|waiter| (Arc::clone(&shop), waiter)));
            let last_of_line = line.is_empty();
            self.turns.remove(next);
            if last_of_line {
                self.lines.remove(&shop);
            } else {
                self.turns.push_back(shop);
            }
        }
        admitted
    }
}

impl Permit {
    /// What all permits together can cover.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.gate.lock().bytes_max
    }

    /// How many bytes the permit covers.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Covers `bytes` more, if the host has them. A call that is no longer small leaves the reserve alone.
    pub(crate) fn grow(&self, bytes: u64) -> bool {
        let mut state = self.gate.lock();
        let reserve = state.reserve(self.bytes().saturating_add(bytes));
        if state.bytes_free < bytes.saturating_add(reserve) {
            return false;
        }
        state.bytes_free -= bytes;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.leave(&self.shop, self.bytes());
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.admit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets everything that can go on go on, once.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn shops_take_turns() {
        let gate = Gate::new(1, 100);
        let first = gate.enter("big", 1).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        for shop in ["big", "big", "big", "small"] {
            let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
            tokio::spawn(async move {
                let _permit = gate.enter(shop, 1).await;
                order.lock().unwrap().push(shop);
            });
            settle().await;
        }
        assert_eq!(gate.waiting(), 4);
        drop(first);
        settle().await;
        assert_eq!(*order.lock().unwrap(), ["big", "small", "big", "big"]);
    }

    #[tokio::test]
    async fn memory_is_shared_and_given_back() {
        let gate = Gate::new(10, 100);
        let first = gate.enter("a", 60).await;
        assert!(!first.grow(41) && first.grow(10));
        let large = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter("b", 50).await.bytes() }
        });
        settle().await;
        let small = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter("c", 1).await.bytes() }
        });
        settle().await;
        assert_eq!(gate.waiting(), 2, "a small one does not overtake");
        drop(first);
        assert_eq!((large.await.unwrap(), small.await.unwrap()), (50, 1));
        assert_eq!(gate.enter("d", 1_000).await.bytes(), 100, "more than there is");
    }

    #[tokio::test]
    async fn a_crowd_that_goes_away_is_taken_out_at_once() {
        let gate = Gate::new(1, 100);
        let first = gate.enter("a", 1).await;
        let mut crowd: Vec<_> = (0..100_000).map(|_| Box::pin(gate.enter("b", 1))).collect();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(crowd.iter_mut().all(|caller| caller.as_mut().poll(&mut context).is_pending()));
        assert_eq!(gate.waiting(), 100_000);
        drop(crowd);
        // One by one, each would hand its permit to the next from within the drop of its own.
        drop(first);
        assert_eq!(gate.waiting(), 0);
        assert_eq!(gate.enter("c", 100).await.bytes(), 100);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_leaves_its_place() {
        let gate = Gate::new(1, 100);
        let first = gate.enter("a", 1).await;
        let gone = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter("b", 1).await.bytes() }
        });
        settle().await;
        gone.abort();
        settle().await;
        drop(first);
        assert_eq!(gate.enter("c", 100).await.bytes(), 100);
    }

    /// Enters in a task, reports the shop when it is in, and stays.
    fn caller(gate: &Arc<Gate>, shop: &'static str, bytes: u64, order: &Arc<Mutex<Vec<&'static str>>>) {
        let (gate, order) = (Arc::clone(gate), Arc::clone(order));
        tokio::spawn(async move {
            let _permit = gate.enter(shop, bytes).await;
            order.lock().unwrap().push(shop);
            std::future::pending::<()>().await;
        });
    }

    #[tokio::test]
    async fn large_calls_leave_a_reserve() {
        let gate = Gate::new(10, 16 * SMALL_BYTES);
        let large = gate.enter("bomb", SMALL_BYTES).await;
        let small = gate.enter("good", 1).await;
        // An eighth of sixteen is two.
        assert!(large.grow(13 * SMALL_BYTES - 1) && !large.grow(1));
        assert!(small.grow(SMALL_BYTES - 1) && !small.grow(1), "small ones use the reserve, up to their size");
        let order = Arc::default();
        caller(&gate, "large", SMALL_BYTES + 1, &order);
        settle().await;
        assert!(order.lock().unwrap().is_empty());
        drop((large, small));
        settle().await;
        assert_eq!(*order.lock().unwrap(), ["large"]);
    }

    #[tokio::test]
    async fn alone_a_call_may_need_everything() {
        let gate = Gate::new(10, 2 * SMALL_BYTES);
        let first = gate.enter("a", 2 * SMALL_BYTES).await;
        let order = Arc::default();
        caller(&gate, "b", 2 * SMALL_BYTES, &order);
        settle().await;
        assert!(order.lock().unwrap().is_empty());
        drop(first);
        settle().await;
        assert_eq!(*order.lock().unwrap(), ["b"]);
    }

    #[tokio::test]
    async fn a_shop_with_most_of_the_slots_has_no_turn_while_others_wait() {
        let gate = Gate::new(4, 100);
        let mut busy = Vec::new();
        for _ in 0..4 {
            busy.push(gate.enter("busy", 1).await);
        }
        let order = Arc::default();
        for shop in ["busy", "busy", "quiet", "calm"] {
            caller(&gate, shop, 1, &order);
            settle().await;
        }
        // It holds three, and the others come before those that were in line first.
        busy.pop();
        settle().await;
        assert_eq!(*order.lock().unwrap(), ["quiet"]);
        // It holds two: half is its share.
        busy.pop();
        settle().await;
        assert_eq!(*order.lock().unwrap(), ["quiet", "busy"]);
        busy.pop();
        settle().await;
        assert_eq!(*order.lock().unwrap(), ["quiet", "busy", "calm"]);
        // Nobody else waits: it may have all.
        busy.pop();
        settle().await;
        assert_eq!(*order.lock().unwrap(), ["quiet", "busy", "calm", "busy"]);
        assert_eq!(gate.lock().held.values().sum::<u32>(), 4);
    }

    #[tokio::test]
    async fn who_goes_away_blocks_nobody() {
        let gate = Gate::new(10, 100);
        let _first = gate.enter("a", 60).await;
        let mut large = Box::pin(gate.enter("b", 50));
        let mut small = Box::pin(gate.enter("c", 1));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(large.as_mut().poll(&mut context).is_pending());
        assert!(small.as_mut().poll(&mut context).is_pending());
        drop(large);
        assert!(small.as_mut().poll(&mut context).is_ready(), "nobody has left");
    }
}
