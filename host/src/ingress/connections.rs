//! The connections of a server: a bound of all, a share for each peer, and who has to go when there is no place.
//!
//! A connection is busy from the head of a request to its answer, and idles otherwise: also while a head is on its way. One
//! that idles can be closed at any time without losing anything, so the longest idle makes room for who comes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

/// Connections at once. 4,096: with the buffers of their heads 128 MiB when all are busy.
pub const CONNECTIONS_MAX: usize = 4_096;

/// Bits of an IPv6 address that tell senders apart. 64: a network hands out the rest to one customer, as many as it likes.
const IPV6_PREFIX_BITS: u32 = 64;

/// Connections of one address at once. Half of all: who comes through one proxy still has 2,048.
pub const PEER_CONNECTIONS_MAX: usize = CONNECTIONS_MAX / 2;

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionBounds {
    /// At once.
    pub all: usize,
    /// Of one address at once.
    pub peer: usize,
}

impl Default for ConnectionBounds {
    fn default() -> Self {
        Self { all: CONNECTIONS_MAX, peer: PEER_CONNECTIONS_MAX }
    }
}

/// The sender behind an address, for shares: an IPv4 address, or the network of an IPv6 one.
pub(super) fn sender_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - IPV6_PREFIX_BITS)))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    bounds: ConnectionBounds,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    by_id: HashMap<u64, Connection>,
    by_peer: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Connection {
    peer: IpAddr,
    /// Since when it idles; none while it is busy.
    idle_since: Option<Instant>,
    close: Arc<Notify>,
}

/// The place of a connection, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    connections: Arc<Connections>,
    id: u64,
    peer: IpAddr,
    close: Arc<Notify>,
}

/// A request that a connection is busy with, until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Held>);

impl Connections {
    pub(super) fn new(bounds: ConnectionBounds) -> Arc<Self> {
        Arc::new(Self { bounds, open: Mutex::default() })
    }

    /// Gives a connection a place. Where there is none the longest idle has to go, of the same peer when it is the peer's
    /// share that is full; none when all are busy.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Arc<Held>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_peer = open.by_peer.get(&peer).copied().unwrap_or(0);
        if of_peer >= self.bounds.peer {
            open.close_idle(|one| one.peer == peer)?;
        } else if open.by_id.len() >= self.bounds.all {
            open.close_idle(|_| true)?;
        }
        let (id, close) = (open.next, Arc::new(Notify::new()));
        open.next += 1;
        open.by_id.insert(id, Connection { peer, idle_since: Some(Instant::now()), close: Arc::clone(&close) });
        *open.by_peer.entry(peer).or_default() += 1;
        Some(Arc::new(Held { connections: Arc::clone(self), id, peer, close }))
    }
}

impl Open {
    fn close_idle(&mut self, of: impl Fn(&Connection) -> bool) -> Option<()> {
        let idle = self.by_id.iter().filter(|(_, one)| of(one));
        let idle = idle.filter_map(|(id, one)| Some((one.idle_since?, *id)));
        let (_, id) = idle.min()?;
        self.remove(id)?.close.notify_one();
        Some(())
    }

    fn remove(&mut self, id: u64) -> Option<Connection> {
        let connection = self.by_id.remove(&id)?;
        if let Some(count) = self.by_peer.get_mut(&connection.peer) {
            *count -= 1;
            if *count == 0 {
                self.by_peer.remove(&connection.peer);
            }
        }
        Some(connection)
    }
}

impl Held {
    /// Whose connection it is.
    pub(super) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Begins a request.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.set_idle(None);
        Busy(Arc::clone(self))
    }

    /// Waits until somebody else needs the place.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    fn set_idle(&self, since: Option<Instant>) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = open.by_id.get_mut(&self.id) {
            connection.idle_since = since;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.set_idle(Some(Instant::now()));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.connections.open.lock().unwrap_or_else(PoisonError::into_inner).remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    async fn is_closed(held: &Held) -> bool {
        tokio::time::timeout(Duration::ZERO, held.closed()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_makes_room() {
        let connections = Connections::new(ConnectionBounds { all: 4, peer: 3 });
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(connections.enter(peer(1)).unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // The share of the peer: its first is busy, so its second goes.
        let busy = held[0].busy();
        held.push(connections.enter(peer(1)).unwrap());
        assert!(is_closed(&held[1]).await && !is_closed(&held[0]).await && !is_closed(&held[2]).await);
        tokio::time::advance(Duration::from_secs(1)).await;

        // All of them: the longest idle goes, whoever has it.
        held.push(connections.enter(peer(2)).unwrap());
        held.push(connections.enter(peer(3)).unwrap());
        assert!(is_closed(&held[2]).await);
        // Who was busy last idles the shortest.
        tokio::time::advance(Duration::from_secs(1)).await;
        drop(busy);
        held.push(connections.enter(peer(3)).unwrap());
        assert!(is_closed(&held[3]).await && !is_closed(&held[0]).await);
        drop(held);
        let open = connections.open.lock().unwrap();
        assert!(open.by_id.is_empty() && open.by_peer.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_sender() {
        let check = |address: &str, expected: &str| {
            assert_eq!(sender_of(address.parse().unwrap()), expected.parse::<IpAddr>().unwrap(), "{address}");
        };
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
        check("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::");
        check("2001:db8:1:3::1", "2001:db8:1:3::");
        check("::ffff:192.0.2.7", "192.0.2.7");
        check("192.0.2.7", "192.0.2.7");
    }

    #[tokio::test]
    async fn who_is_busy_is_never_closed() {
        let connections = Connections::new(ConnectionBounds { all: 2, peer: 1 });
        let first = connections.enter(peer(1)).unwrap();
        let busy = first.busy();
        assert!(connections.enter(peer(1)).is_none());
        let second = connections.enter(peer(2)).unwrap();
        let _also_busy = second.busy();
        assert!(connections.enter(peer(3)).is_none());
        drop(busy);
        assert!(connections.enter(peer(3)).is_some());
        assert!(is_closed(&first).await && !is_closed(&second).await);
    }
}
