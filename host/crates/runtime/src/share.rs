//! Shares the processors between calls that compute for long: by app, then by shop, then by call.
//!
//! A call that is found running at a tick gives its thread to others. From the second tick on it also has to take a seat
//! before it goes on, and there are only so many seats: apps take turns, within an app its shops, within a shop its calls.
//! A short call never asks for a seat. So sixty calls of one app that compute for ever occupy the seats of long calls, one
//! tick each, and a call of another app finds a free thread.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The seats of long calls, and the line for them.
#[derive(Debug)]
pub(crate) struct Share {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    apps: Line<Line<VecDeque<oneshot::Sender<Taken>>>>,
}

/// Lines by name that take turns: the first name is next, and goes to the end when more of it wait.
#[derive(Debug, Default)]
struct Line<T> {
    order: VecDeque<Arc<str>>,
    waiting: HashMap<Arc<str>, T>,
}

/// A seat that was taken; free again when dropped.
#[derive(Debug)]
pub(crate) struct Taken(Arc<Share>);

/// The place of one call, with or without a seat. Cheap to clone; all clones are the same place.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    share: Arc<Share>,
    app: Arc<str>,
    shop: Arc<str>,
    taken: Arc<Mutex<Option<Taken>>>,
}

impl Share {
    /// `seats` calls may compute for long at the same time.
    pub(crate) fn new(seats: usize) -> Arc<Self> {
        let apps = Line { order: VecDeque::new(), waiting: HashMap::new() };
        Arc::new(Self { state: Mutex::new(State { free: seats.max(1), apps }) })
    }

    /// The place of a call, which has no seat yet.
    pub(crate) fn seat(self: &Arc<Self>, app: &str, shop: &str) -> Seat {
        Seat { share: Arc::clone(self), app: app.into(), shop: shop.into(), taken: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands free seats to those who wait.
    fn admit(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.lock();
                if state.free == 0 {
                    return;
                }
                let Some(next) = state.next() else { return };
                state.free -= 1;
                next
            };
            // A caller that was cancelled drops the seat, which comes back here.
            drop(next.send(Taken(Arc::clone(self))));
        }
    }
}

impl State {
    /// Takes the call out of the line whose turn it is.
    fn next(&mut self) -> Option<oneshot::Sender<Taken>> {
        self.apps.turn(|shops| {
            let call = shops.turn(|calls| (calls.pop_front(), calls.is_empty()));
            (call, shops.order.is_empty())
        })
    }
}

impl<T> Line<T> {
    /// Takes something of the first in line with `take`, which also says whether nothing of it is left.
    fn turn<R>(&mut self, take: impl FnOnce(&mut T) -> (Option<R>, bool)) -> Option<R> {
        let name = self.order.pop_front()?;
        let (taken, is_empty) = self.waiting.get_mut(&name).map(take)?;
        if is_empty {
            self.waiting.remove(&name);
        } else {
            self.order.push_back(name);
        }
        taken
    }

    /// The line of this name, a new one at the end when there is none.
    fn of(&mut self, name: &Arc<str>) -> &mut T
    where
        T: Default,
    {
        if !self.waiting.contains_key(name) {
            self.order.push_back(Arc::clone(name));
        }
        self.waiting.entry(Arc::clone(name)).or_default()
    }
}

impl Seat {
    /// Gives the seat back, and waits for the next turn of this call.
    pub(crate) async fn take_turn(self) {
        let (admit, admitted) = oneshot::channel();
        // In line before the seat is free, so that the turns go round: this app is behind those that wait already, and not
        // behind the next one too.
        self.share.lock().apps.of(&self.app).of(&self.shop).push_back(admit);
        self.leave();
        self.share.admit();
        // The sender lives in the line, which `self` keeps alive.
        if let Ok(seat) = admitted.await {
            *self.taken() = Some(seat);
        }
    }

    /// Gives the seat back, if there is one.
    pub(crate) fn leave(&self) {
        let taken = self.taken().take();
        drop(taken);
    }

    fn taken(&self) -> MutexGuard<'_, Option<Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.lock().free += 1;
        self.0.admit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Polls every waiting call once in a while; answers whose turns came, in order.
    fn turns(seats: usize, calls: &[(&str, &str)], count: usize) -> Vec<String> {
        let share = Share::new(seats);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let places: Vec<_> = calls.iter().map(|(app, shop)| share.seat(app, shop)).collect();
        let mut waits: Vec<_> = places.iter().map(|place| Some(Box::pin(place.clone().take_turn()))).collect();
        let mut came = Vec::new();
        while came.len() < count {
            for (at, place) in places.iter().enumerate() {
                // Who had a turn computes for one more tick, and asks again.
                let wait = waits[at].get_or_insert_with(|| Box::pin(place.clone().take_turn()));
                if wait.as_mut().poll(&mut context).is_ready() {
                    came.push(format!("{}/{}", calls[at].0, calls[at].1));
                    waits[at] = None;
                }
            }
        }
        came
    }

    #[test]
    fn apps_take_turns_whatever_the_number_of_their_calls() {
        let mut calls = vec![("evil", "a"); 30];
        calls.extend([("evil", "b"); 30]);
        calls.push(("good", "c"));
        let came = turns(1, &calls, 200);
        let of = |name: &str| came.iter().filter(|call| call.starts_with(name)).count();
        assert!(of("good") >= 95, "an app with one call has half of the turns: {}", of("good"));
        let (a, b) = (of("evil/a"), of("evil/b"));
        assert!(a.abs_diff(b) <= 2, "shops of one app take turns: {a}, {b}");
    }

    #[test]
    fn a_call_that_goes_away_leaves_its_place() {
        let share = Share::new(1);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let first = share.seat("a", "1");
        assert!(Box::pin(first.clone().take_turn()).as_mut().poll(&mut context).is_ready());
        let mut gone = Box::pin(share.seat("b", "1").take_turn());
        let mut next = Box::pin(share.seat("c", "1").take_turn());
        assert!(gone.as_mut().poll(&mut context).is_pending() && next.as_mut().poll(&mut context).is_pending());
        drop(gone);
        first.leave();
        assert!(next.as_mut().poll(&mut context).is_ready());
        let state = share.lock();
        assert!(state.apps.order.is_empty() && state.apps.waiting.is_empty());
    }

    #[test]
    fn there_are_as_many_seats_as_were_made() {
        let share = Share::new(2);
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let places: Vec<_> = (0..3).map(|call| share.seat("a", &call.to_string())).collect();
        let mut waits: Vec<_> = places.iter().map(|place| Box::pin(place.clone().take_turn())).collect();
        let ready: Vec<_> = waits.iter_mut().map(|wait| wait.as_mut().poll(&mut context).is_ready()).collect();
        assert_eq!(ready, [true, true, false]);
        places[0].leave();
        places[0].leave();
        assert!(waits[2].as_mut().poll(&mut context).is_ready());
        drop(waits);
        drop(places);
        assert_eq!(share.lock().free, 2);
    }
}
