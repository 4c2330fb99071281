//! The order in which queries run: one of a shop at a time, two of an app, first come, first served.
//!
//! A query waits in three lines, one behind the other: its shop's, its app's, everybody's. At most one query of a shop stands
//! in its app's line and at most two of an app in the last one, so that shops and apps take turns whatever the number of
//! their queries.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tradewind_model::Shop;

use super::{APP_QUERIES_AT_ONCE_MAX, QUERIES_AT_ONCE_MAX, QUERIES_WAITING_MAX};
use crate::error::{QueryLimit, StoreError};

/// The queries that wait and those that run.
#[derive(Debug)]
pub(super) struct Line {
    shops: Lines<Shop>,
    apps: Lines<Arc<str>>,
    all: Arc<Semaphore>,
}

/// Right to run a query; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    // In this order: whoever is next comes in by the last line first.
    _all: OwnedSemaphorePermit,
    _app: OwnedSemaphorePermit,
    _shop: OwnedSemaphorePermit,
    _in_app: Place<Arc<str>>,
    _in_shop: Place<Shop>,
}

impl Default for Line {
    fn default() -> Self {
        Self { shops: Lines::default(), apps: Lines::default(), all: Arc::new(Semaphore::new(QUERIES_AT_ONCE_MAX)) }
    }
}

impl Line {
    /// Waits for a turn of the shop.
    pub(super) async fn turn(&self, shop: &Shop) -> Result<Turn, StoreError> {
        let (in_shop, before) = self.shops.enter(shop.clone(), 1);
        if before > QUERIES_WAITING_MAX {
            return Err(StoreError::Query(QueryLimit::Waiting { max: QUERIES_WAITING_MAX }));
        }
        let (in_app, _) = self.apps.enter(Arc::clone(&shop.app), APP_QUERIES_AT_ONCE_MAX);
        let closed = |_| StoreError::Closed;
        let of_shop = Arc::clone(&in_shop.line).acquire_owned().await.map_err(closed)?;
        let of_app = Arc::clone(&in_app.line).acquire_owned().await.map_err(closed)?;
        let of_all = Arc::clone(&self.all).acquire_owned().await.map_err(closed)?;
        Ok(Turn { _all: of_all, _app: of_app, _shop: of_shop, _in_app: in_app, _in_shop: in_shop })
    }

    /// Waits until nothing runs, and lets nothing more run.
    pub(super) async fn close(&self) {
        let all = u32::try_from(QUERIES_AT_ONCE_MAX).unwrap_or(u32::MAX);
        let ended = self.all.acquire_many(all).await;
        self.all.close();
        drop(ended);
    }
}

/// Lines by key, and how many stand in each.
type ByKey<K> = Mutex<HashMap<K, (Arc<Semaphore>, usize)>>;

/// Lines by key; each is there as long as somebody stands in it.
#[derive(Debug)]
struct Lines<K>(Arc<ByKey<K>>);

impl<K> Default for Lines<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Clone + Eq + Hash> Lines<K> {
    /// Enters a line in which `at_once` may run, and says how many stand in it.
    fn enter(&self, key: K, at_once: usize) -> (Place<K>, usize)
    where
        K: std::fmt::Debug,
    {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (line, places) = lines.entry(key.clone()).or_insert_with(|| (Arc::new(Semaphore::new(at_once)), 0));
        let before = *places;
        *places += 1;
        let line = Arc::clone(line);
        drop(lines);
        (Place { lines: Arc::clone(&self.0), key, line }, before)
    }
}

/// A place in a line.
#[derive(Debug)]
struct Place<K: Eq + Hash + std::fmt::Debug> {
    lines: Arc<ByKey<K>>,
    key: K,
    line: Arc<Semaphore>,
}

impl<K: Eq + Hash + std::fmt::Debug> Drop for Place<K> {
    fn drop(&mut self) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, places)) = lines.get_mut(&self.key) {
            *places -= 1;
            if *places == 0 {
                lines.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn turn(line: &Line, app: &str, shop: &str) -> Turn {
        line.turn(&Shop::new(app, shop)).await.unwrap()
    }

    /// Returns true if a turn is granted immediately.
    fn is_free(line: &Line, app: &str, shop: &str) -> bool {
        use std::task::{Context, Poll, Waker};
        let turn = std::pin::pin!(turn(line, app, shop));
        matches!(turn.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(_))
    }

    #[tokio::test]
    async fn a_shop_has_one_turn_and_an_app_has_two() {
        let line = Line::default();
        let first = turn(&line, "evil", "1").await;
        assert!(!is_free(&line, "evil", "1") && is_free(&line, "evil", "2"));
        let second = turn(&line, "evil", "2").await;
        assert!(!is_free(&line, "evil", "3") && is_free(&line, "victim", "1"));
        let others = (turn(&line, "victim", "1").await, turn(&line, "third", "1").await);
        assert!(!is_free(&line, "fourth", "1"), "four run");
        drop(others);
        assert!(is_free(&line, "fourth", "1"));
        drop(first);
        assert!(is_free(&line, "evil", "1") && is_free(&line, "evil", "3"));
        drop(second);
        assert!(line.shops.0.lock().unwrap().is_empty() && line.apps.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn shops_of_an_app_take_turns() {
        let line = Arc::new(Line::default());
        let (held, other) = (turn(&line, "app", "held").await, turn(&line, "app", "busy").await);
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for shop in ["busy", "busy", "busy", "quiet"] {
            let (line, order) = (Arc::clone(&line), Arc::clone(&order));
            tasks.push(tokio::spawn(async move {
                let turn = turn(&line, "app", shop).await;
                order.lock().unwrap().push(shop);
                drop(turn);
            }));
            tokio::task::yield_now().await;
        }
        drop(other);
        for task in tasks {
            task.await.unwrap();
        }
        drop(held);
        let order = order.lock().unwrap().clone();
        assert!(order.iter().position(|shop| *shop == "quiet").unwrap() < 2, "{order:?}");
    }

    #[tokio::test]
    async fn a_shop_s_line_is_bounded() {
        let line = Line::default();
        let _first = turn(&line, "app", "shop").await;
        let shop = Shop::new("app", "shop");
        let mut waiting: Vec<_> = (0..QUERIES_WAITING_MAX).map(|_| Box::pin(line.turn(&shop))).collect();
        for turn in &mut waiting {
            assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(turn.as_mut().poll(cx).is_pending())).await);
        }
        let error = line.turn(&shop).await.unwrap_err();
        assert!(error.to_string().contains("`queries_waiting_max`"), "{error}");
        drop(waiting);
        assert_eq!(line.shops.0.lock().unwrap()[&shop].1, 1);
    }
}
