//! Who may send what: the connections that webhooks come in by.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use tradewind_model::Shop;
use tradewind_platform::shopify::SigningSecrets;

/// A connection of an app, as its webhooks see it.
#[derive(Clone, Debug)]
pub struct Door {
    /// The app's key.
    pub app: Arc<str>,
    /// The platform's name.
    pub platform: Arc<str>,
    /// Who signs.
    pub secrets: SigningSecrets,
    /// The shops that are installed, by their domains.
    pub shops: HashMap<String, Shop>,
    /// The topics that somebody wants.
    pub topics: HashSet<String>,
    /// Whether the app's plugins cannot be installed: the platform is asked to come again.
    pub closed: bool,
}

/// Every connection, by app and name. Changed whole: a request sees the one or the other.
#[derive(Debug, Default)]
pub struct Doors(RwLock<Arc<HashMap<String, Arc<Door>>>>);

impl Doors {
    /// The connection of an app.
    pub(super) fn find(&self, app: &str, connection: &str) -> Option<Arc<Door>> {
        let doors = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        doors.get(&key(app, connection)).cloned()
    }

    /// Opens these and closes all others.
    pub fn open(&self, doors: impl IntoIterator<Item = (String, Door)>) {
        let doors = doors.into_iter().map(|(connection, door)| (key(&door.app, &connection), Arc::new(door)));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(doors.collect());
    }
}

/// Neither name has a slash.
fn key(app: &str, connection: &str) -> String {
    format!("{app}/{connection}")
}
