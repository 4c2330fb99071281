//! From a platform's payload to changes of records. One implementation for each platform.

use tradewind_model::Json;
use tradewind_store::Delivery;

/// Says what a delivery means.
pub trait Mapper: Send + Sync {
    /// The changes that a delivery reports, in the order in which they are to be made. `body` is its payload.
    fn map(&self, delivery: &Delivery, body: &Json) -> Result<Vec<Incoming>, Unmappable>;
}

/// One change that a platform reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A record is as follows.
    Saved {
        /// The model's name.
        model: String,
        /// The record's id.
        id: String,
        /// The fields that came, a JSON object.
        values: Json,
        /// When the platform changed it, in microseconds since 1970: what is not newer than what is stored is stale.
        updated_us: Option<i64>,
    },
    /// A record is no more.
    Deleted {
        /// The model's name.
        model: String,
        /// The record's id.
        id: String,
        /// When the platform deleted it, in microseconds since 1970.
        deleted_us: Option<i64>,
    },
}

/// A delivery that nobody can read. It is parked, because the platform would send the same again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unmappable {
    /// What is wrong with it.
    pub reason: String,
}
