//! The door in front of the pool: a full pool makes callers wait, fairly between shops, instead of failing.
//!
//! Two things are scarce: slots, and the memory of all sandboxes together. Whoever waits, waits in its shop's line; the
//! lines take turns, so a shop with a thousand callers delays another shop's single one by one turn.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Admits invocations.
pub(crate) struct Gate {
    state: Mutex<State>,
}

struct State {
    slots_free: u32,
    bytes_free: u64,
    bytes_max: u64,
    /// A line for each shop that has somebody waiting.
    lines: HashMap<String, VecDeque<Waiter>>,
    /// Whose turn it is: each shop in `lines`, once.
    turns: VecDeque<String>,
}

struct Waiter {
    bytes: u64,
    admit: oneshot::Sender<Permit>,
}

/// The right to one slot and some bytes, given back when dropped.
pub(crate) struct Permit {
    gate: Arc<Gate>,
    bytes: u64,
}

impl Gate {
    pub(crate) fn new(slots: u32, bytes: u64) -> Arc<Self> {
        let state = State {
            slots_free: slots,
            bytes_free: bytes,
            bytes_max: bytes,
            lines: HashMap::new(),
            turns: VecDeque::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Waits for a slot and `bytes` of memory. More than there is at all is cut to what there is.
    pub(crate) async fn enter(self: &Arc<Self>, shop: &str, bytes: u64) -> Permit {
        let admitted = {
            let mut state = self.lock();
            let bytes = bytes.min(state.bytes_max);
            if state.turns.is_empty() && state.slots_free > 0 && state.bytes_free >= bytes {
                state.slots_free -= 1;
                state.bytes_free -= bytes;
                return Permit { gate: Arc::clone(self), bytes };
            }
            let (admit, admitted) = oneshot::channel();
            if !state.lines.contains_key(shop) {
                state.turns.push_back(shop.to_owned());
            }
            state.lines.entry(shop.to_owned()).or_default().push_back(Waiter { bytes, admit });
            admitted
        };
        match admitted.await {
            Ok(permit) => permit,
            // The sender lives in the gate, which `self` keeps alive, until it has sent.
            Err(_) => unreachable!("a waiter is dropped only after it was admitted"),
        }
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

    fn leave(self: &Arc<Self>, bytes: u64) {
        let admitted = {
            let mut state = self.lock();
            state.slots_free += 1;
            state.bytes_free += bytes;
            state.admit()
        };
        // Outside of the lock: a caller that has gone away hands its permit back here, which comes to this line again.
        for waiter in admitted {
            let permit = Permit { gate: Arc::clone(self), bytes: waiter.bytes };
            drop(waiter.admit.send(permit));
        }
    }
}

impl State {
    /// Takes from the lines whoever fits, in turn. The first that does not fit stops it, so that a large plugin is not
    /// overtaken for ever by small ones. Who has gone away is taken out and admitted to nothing.
    fn admit(&mut self) -> Vec<Waiter> {
        let mut admitted = Vec::new();
        while self.slots_free > 0 {
            let Some(shop) = self.turns.front() else { break };
            let Some(line) = self.lines.get_mut(shop) else { break };
            while line.pop_front_if(|waiter| waiter.admit.is_closed()).is_some() {}
            if !line.is_empty() {
                let Some(waiter) = line.pop_front_if(|waiter| waiter.bytes <= self.bytes_free) else { break };
                self.slots_free -= 1;
                self.bytes_free -= waiter.bytes;
                admitted.push(waiter);
            }
            let last_of_line = line.is_empty();
            if let Some(shop) = self.turns.pop_front() {
                if last_of_line {
                    self.lines.remove(&shop);
                } else {
                    self.turns.push_back(shop);
                }
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
        self.bytes
    }

    /// Covers `bytes` more, if the host has them.
    pub(crate) fn grow(&mut self, bytes: u64) -> bool {
        let mut state = self.gate.lock();
        if state.bytes_free < bytes {
            return false;
        }
        state.bytes_free -= bytes;
        self.bytes += bytes;
        true
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.leave(self.bytes);
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
        let mut first = gate.enter("a", 60).await;
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
}
