//! The memory that requests may take before anybody has checked who sent them, with a share for each sender and each app.
//!
//! Everybody who knows a path can send a body, and until it is whole it cannot be told from a webhook. So a sender that takes
//! its share is refused while others are not, and so is what is sent to one app.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Memory of all requests that arrive or wait for the disk, in KiB. 256 MiB: a second of a fast network, twice.
pub const BODIES_KIB_MAX: u32 = 256 << 10;

/// The same of the requests of one address. A quarter of all: who comes through one proxy still has 64 MiB.
pub const PEER_KIB_MAX: u32 = BODIES_KIB_MAX / 4;

/// The same of the requests to one app. Half of all: more than one sender can fill.
pub const APP_KIB_MAX: u32 = BODIES_KIB_MAX / 2;

/// How much memory requests may take, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomBounds {
    /// All of them.
    pub bodies_kib_max: u32,
    /// Those of one address.
    pub peer_kib_max: u32,
    /// Those to one app.
    pub app_kib_max: u32,
}

impl Default for RoomBounds {
    fn default() -> Self {
        Self { bodies_kib_max: BODIES_KIB_MAX, peer_kib_max: PEER_KIB_MAX, app_kib_max: APP_KIB_MAX }
    }
}

/// What each request takes beside its body, in KiB. 32: the buffer of its head, so that requests without bodies count too.
const REQUEST_KIB: u32 = 32;

/// The memory of requests.
#[derive(Debug, Default)]
pub(super) struct Room {
    bounds: RoomBounds,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    kib: u32,
    by_peer: HashMap<IpAddr, u32>,
    by_app: HashMap<Arc<str>, u32>,
}

/// There is no room; the name of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full(pub(super) &'static str);

/// The memory of one request, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    room: &'a Room,
    peer: IpAddr,
    app: Arc<str>,
    bytes: usize,
    kib: u32,
}

impl Room {
    pub(super) fn new(bounds: RoomBounds) -> Self {
        Self { bounds, taken: Mutex::default() }
    }

    /// Takes room for a request without its body.
    pub(super) fn enter(&self, peer: IpAddr, app: &Arc<str>) -> Result<Held<'_>, Full> {
        let mut held = Held { room: self, peer, app: Arc::clone(app), bytes: 0, kib: 0 };
        held.take(REQUEST_KIB)?;
        Ok(held)
    }
}

impl Held<'_> {
    /// Takes room for so many bytes more: as many whole KiB as all of them are, however small the pieces in which they come.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        self.bytes = self.bytes.saturating_add(bytes);
        let kib = u32::try_from(self.bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX).saturating_add(REQUEST_KIB);
        if kib > self.kib { self.take(kib - self.kib) } else { Ok(()) }
    }

    fn take(&mut self, kib: u32) -> Result<(), Full> {
        let bounds = self.room.bounds;
        let mut taken = self.room.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let (of_peer, of_app) = (taken.by_peer.get(&self.peer), taken.by_app.get(&self.app));
        for (now, max, name) in [
            (taken.kib, bounds.bodies_kib_max, "bodies_kib_max"),
            (of_peer.copied().unwrap_or(0), bounds.peer_kib_max, "peer_kib_max"),
            (of_app.copied().unwrap_or(0), bounds.app_kib_max, "app_kib_max"),
        ] {
            if now.saturating_add(kib) > max {
                return Err(Full(name));
            }
        }
        taken.kib += kib;
        *taken.by_peer.entry(self.peer).or_default() += kib;
        *taken.by_app.entry(Arc::clone(&self.app)).or_default() += kib;
        self.kib += kib;
        Ok(())
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut taken = self.room.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.kib -= self.kib;
        give_back(&mut taken.by_peer, &self.peer, self.kib);
        give_back(&mut taken.by_app, &self.app, self.kib);
    }
}

/// Gives a share back, and forgets one that is empty: senders choose how many there are.
fn give_back<K: std::hash::Hash + Eq>(shares: &mut HashMap<K, u32>, of: &K, kib: u32) {
    if let Some(share) = shares.get_mut(of) {
        *share -= kib;
        if *share == 0 {
            shares.remove(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn bytes_count_and_not_the_pieces_in_which_they_come() {
        let (room, app) = (Room::default(), Arc::from("a"));
        let mut held = room.enter(peer(1), &app).unwrap();
        for _ in 0..10_000 {
            held.grow(1).unwrap();
        }
        assert_eq!(held.kib, REQUEST_KIB + 10);
        assert_eq!(room.taken.lock().unwrap().kib, held.kib);
        drop(held);
        let taken = room.taken.lock().unwrap();
        assert_eq!((taken.kib, taken.by_peer.len(), taken.by_app.len()), (0, 0, 0));
    }

    #[test]
    fn a_sender_and_an_app_fill_their_shares_and_nobody_elses() {
        let (room, app, other) = (Room::default(), Arc::from("a"), Arc::from("b"));
        let fill = |peer, of: &Arc<str>| {
            let mut held = Vec::new();
            loop {
                match room.enter(peer, of).and_then(|mut one| one.grow(1 << 20).map(|()| one)) {
                    Ok(one) => held.push(one),
                    Err(full) => return (held, full),
                }
            }
        };
        let (first, bound) = fill(peer(1), &app);
        assert_eq!(bound, Full("peer_kib_max"));
        assert!(room.enter(peer(2), &app).unwrap().grow(1 << 20).is_ok());
        let (second, bound) = fill(peer(2), &app);
        assert!(matches!(bound.0, "peer_kib_max" | "app_kib_max"), "{bound:?}");
        let (third, bound) = fill(peer(3), &app);
        assert_eq!(bound, Full("app_kib_max"));
        assert!(room.enter(peer(3), &other).unwrap().grow(1 << 20).is_ok());
        drop((first, second, third));
        assert_eq!(fill(peer(3), &app).1, Full("peer_kib_max"));
        assert_eq!(room.taken.lock().unwrap().kib, 0);
    }
}
