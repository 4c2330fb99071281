//! From a platform's payload to changes of records: what every platform's mapper answers.

use tradewind_model::Json;
use tradewind_model::schema::Model;

/// Says what a platform's webhooks mean. One implementation for each platform.
pub trait Mapper: Send + Sync {
    /// The changes that a webhook reports, in the order in which they are to be made.
    fn map(&self, report: &Report<'_>) -> Result<Vec<Incoming>, Unmapped>;

    /// The records of one of a record's lists. Read only when the list is not the one that was read last.
    fn family(&self, report: &Report<'_>, parent: &Saved, children: &Children) -> Result<Family, Unmappable>;
}

/// A webhook as a mapper reads it.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The platform's name of the topic.
    pub topic: &'a str,
    /// The platform's id of the shop for which it came.
    pub shop: &'a str,
    /// When it happened, in milliseconds since 1970.
    pub triggered_ms: Option<i64>,
    /// The payload.
    pub body: &'a Json,
}

/// One change that a platform reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A record is as follows.
    Saved(Saved),
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

/// A record as a platform reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The model's name.
    pub model: String,
    /// The record's id.
    pub id: String,
    /// The fields that came, a JSON object.
    pub values: Json,
    /// When the platform changed it, in microseconds since 1970: what is not newer than what is stored is stale.
    pub updated_us: Option<i64>,
    /// Records that belong to it and came with it. They are as old as their parent: with a stale one they are passed by.
    pub children: Vec<Children>,
}

/// The records of one model that belong to a record, as they came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Children {
    /// Their model's name.
    pub model: String,
    /// The parent's field that has them.
    pub field: String,
    /// Their field that names the parent.
    pub by: String,
    /// A digest of all that came of them: equal ones are the same records.
    pub digest: String,
    /// Their list, as it came.
    pub list: Json,
    /// The list of those that had no room, as it came.
    pub rest: Option<Json>,
}

/// The records of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Family {
    /// Those that came whole.
    pub records: Vec<Saved>,
    /// Those that are there and did not come: the payload has no room for them.
    pub absent: Vec<Absent>,
    /// Whether there may be others that the payload does not even name: then nobody is gone for not being named.
    pub may_be_cut: bool,
}

/// A record that a payload names and does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Its id.
    pub id: String,
    /// When the platform changed it, in microseconds since 1970.
    pub updated_us: Option<i64>,
}

/// A webhook that nobody can read. It is parked, because the platform would send the same again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unmappable {
    /// What is wrong with it.
    pub reason: String,
}

/// A body that does not belong to the headers with which it came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It names another shop as its own.
    #[error("the body is one of `{named}`, its headers say another shop")]
    OtherShop {
        /// The shop that the body names.
        named: String,
    },
    /// It has not the shape of its topic.
    #[error("the body is not one of its topic: {reason}")]
    WrongShape {
        /// What is different.
        reason: String,
    },
}

/// Why a webhook is not applied. It is parked: the platform would send the same again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmapped {
    /// It cannot be read.
    #[error(transparent)]
    Unmappable(#[from] Unmappable),
    /// Its headers say something else.
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

/// A platform's model with what is known of it beyond the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// Its schema, every field marked with its source.
    pub model: Model,
    /// The topics that report changes of it.
    pub topics: &'static [&'static str],
}
