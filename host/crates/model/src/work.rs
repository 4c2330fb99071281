//! The limit of work of one call: how many bytes it may look at before it is ended.
//!
//! What a call computes on is chosen by somebody else: two hundred conditions look at a record two hundred times. A call therefore begins with a [`Budget`], each
//! document that it is about adds to it ([`allow`]), and whatever reads a text more than once takes from it ([`spend`]). A
//! budget that is spent stays spent: what computes stops at the next step with any answer, and whoever began the call ends
//! it by name instead of using that answer.
//!
//! The budget is that of the thread while the call is polled, and not an argument: a call's work
//! is spread over the whole unit that it writes into, and over the actions that this runs. Outside of a call nothing is counted.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Bytes that a call may look at for each byte of its arguments and of the documents that it is about. 16: parsing, holding
/// to the model, comparing with both baselines and writing takes half of them.
pub const WORK_FACTOR: u64 = 16;

/// What one call may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    max: u64,
    used: u64,
}

thread_local! {
    static CURRENT: Cell<Option<Budget>> = const { Cell::new(None) };
}

impl Budget {
    /// A budget of `base` bytes and the share of a call's arguments.
    pub fn new(base: u64, arguments: usize) -> Self {
        Self { max: base.saturating_add(share(arguments)), used: 0 }
    }

    /// How much the call could look at, what its documents added included.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Whether the call wanted to look at more. What it answered then is not to be used.
    pub fn is_spent(&self) -> bool {
        self.used > self.max
    }

    /// Bytes looked at.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Does a piece of the call's work.
    pub fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        /// Gives the thread the budget back that it had, whatever happens.
        struct Restore(Option<Budget>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let restore = Restore(CURRENT.replace(Some(*self)));
        let done = work();
        if let Some(left) = CURRENT.get() {
            *self = left;
        }
        drop(restore);
        done
    }

    /// Does the work of a future, which answers with what is left of the budget.
    pub fn within<F: Future>(self, work: F) -> Within<F> {
        Within { budget: self, work: Box::pin(work) }
    }
}

/// A future that works within a budget.
#[must_use = "futures do nothing unless they are polled"]
pub struct Within<F> {
    budget: Budget,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Within<F> {
    type Output = (F::Output, Budget);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { budget, work } = &mut *self;
        budget.run(|| work.as_mut().poll(context)).map(|done| (done, *budget))
    }
}

fn share(bytes: usize) -> u64 {
    (bytes as u64).saturating_mul(WORK_FACTOR)
}

/// Adds the share of a document that the present call is about.
pub fn allow(bytes: usize) {
    if let Some(budget) = CURRENT.get() {
        CURRENT.set(Some(Budget { max: budget.max.saturating_add(share(bytes)), ..budget }));
    }
}

/// Takes bytes that are about to be looked at. False: the present call may look at no more, and has to stop.
pub fn spend(bytes: usize) -> bool {
    let Some(budget) = CURRENT.get() else { return true };
    let budget = Budget { used: budget.used.saturating_add(bytes as u64), ..budget };
    CURRENT.set(Some(budget));
    !budget.is_spent()
}

/// Whether the present call may look at no more: nothing that it found out is to be kept.
pub fn is_spent() -> bool {
    CURRENT.get().is_some_and(|budget| budget.is_spent())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_one_budget_and_gives_the_outer_one_back() {
        assert!(spend(usize::MAX) && !is_spent());
        let mut outer = Budget::new(100, 1);
        let inner = outer.run(|| {
            assert!(spend(116));
            let mut inner = Budget::new(10, 0);
            inner.run(|| {
                allow(1);
                assert!(spend(26) && !spend(1) && is_spent());
            });
            assert!(!is_spent());
            inner
        });
        assert!(inner.is_spent() && inner.max() == 26 && !outer.is_spent());
        outer.run(|| assert!(!spend(1)));
        assert!(outer.is_spent() && !is_spent());
    }

    #[test]
    fn what_waits_is_counted_only_while_it_works() {
        let work = async {
            spend(5);
            std::future::ready(()).await;
            spend(6)
        };
        let mut within = std::pin::pin!(Budget::new(10, 0).within(work));
        let mut context = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready((more, budget)) = within.as_mut().poll(&mut context) else { panic!("it waits") };
        assert!(!more && budget.is_spent() && budget.used() == 11);
    }
}
