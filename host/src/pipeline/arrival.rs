//! What a platform reports of a record: is it news, whose doing is it, who wants to know.

use std::sync::Arc;

use serde_json::json;
use tradewind_model::document::{Mode, canonical, changed_members};
use tradewind_model::schema::{FieldType, Model};
use tradewind_model::{Json, Origin, RecordKey};
use tradewind_platform::mapping::{Incoming, Mapper, Misfit, Report, Saved, Unmappable, Unmapped};

use super::action::Event;
use super::context::{Context, Stopped};
use super::echo::notes_key;
use super::ending::{Trouble, reason};
use super::family::family_key;
use super::work::internal;

/// The model of a record that stands for one that a platform deleted, so that a late update does not bring it back. No
/// model of an app begins with it.
const TOMBSTONE: char = '~';

/// How long a deletion holds that does not say when it was, in milliseconds. A day: platforms send again for some hours.
const UNTIMED_DELETION_MS: i64 = 24 * 60 * 60 * 1_000;

/// How far ahead of its arrival a record's own time may be, in milliseconds; what is later counts as this. A day: clocks and
/// time zones that are set wrong differ by less, and a time of far ahead does not keep later updates away for longer.
const AHEAD_MS_MAX: i64 = 24 * 60 * 60 * 1_000;

/// How deep records belong to one another that are deleted together. 8: deeper than any platform nests; a circle of models
/// ends here too.
const FAMILY_DEPTH_MAX: usize = 8;

/// What became of one change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum News {
    /// Nobody wants to know.
    Nobody,
    /// Not newer than what is stored.
    Stale,
    /// The same as what is stored.
    Unchanged,
    /// Stored; no plugin ran.
    Stored,
    /// Stored, and plugins ran.
    Ran,
}

impl News {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "skipped",
            Self::Stale => "stale",
            Self::Unchanged => "unchanged",
            Self::Stored => "stored",
            Self::Ran => "ran",
        }
    }
}

/// A webhook that is being taken in.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) mapper: &'a dyn Mapper,
    pub(super) report: Report<'a>,
    /// Whether what is stale is taken too.
    pub(super) force: bool,
    /// The latest time that counts, in microseconds since 1970: see [`latest_us`].
    pub(super) latest_us: i64,
}

impl Arrival<'_> {
    /// A payload's own time, as far as it counts.
    pub(super) fn in_time(&self, at_us: Option<i64>) -> Option<i64> {
        at_us.map(|at_us| at_us.min(self.latest_us))
    }
}

/// The latest time that counts of what arrived at this one.
pub(super) fn latest_us(received_ms: i64) -> i64 {
    received_ms.saturating_add(AHEAD_MS_MAX).saturating_mul(1_000)
}

impl From<Unmappable> for Trouble {
    fn from(error: Unmappable) -> Self {
        Self::hopeless(reason::UNREADABLE, error.reason)
    }
}

impl From<Unmapped> for Trouble {
    fn from(error: Unmapped) -> Self {
        match error {
            Unmapped::Unmappable(error) => error.into(),
            Unmapped::Misfit(misfit @ Misfit::OtherShop { .. }) => {
                Self::hopeless(reason::OTHER_SHOP, misfit.to_string())
            }
            Unmapped::Misfit(misfit @ Misfit::WrongShape { .. }) => {
                Self::hopeless(reason::WRONG_SHAPE, misfit.to_string())
            }
        }
    }
}

impl Context {
    /// Takes in one change that a platform reports.
    pub(super) async fn arrived(&self, arrival: Arrival<'_>, change: &Incoming) -> Result<News, Trouble> {
        match change {
            Incoming::Saved(saved) => {
                self.read_together(saved).await?;
                let news = self.saved(saved, arrival.force).await?;
                if news == News::Stale || news == News::Nobody {
                    return Ok(news);
                }
                Ok(news.max(self.family_arrived(arrival, saved).await?))
            }
            Incoming::Deleted { model, id, deleted_us } => {
                Ok(self.deleted(RecordKey::new(model.as_str(), id.as_str()), *deleted_us, arrival.force).await?)
            }
        }
    }

    /// Reads what a delivery of a record needs, in one turn of the store.
    async fn read_together(&self, saved: &Saved) -> Result<(), Stopped> {
        let key = RecordKey::new(saved.model.as_str(), saved.id.as_str());
        let (notes, family) = (notes_key(&key), family_key(&key));
        let no_family = saved.children.is_empty();
        let family = async { if no_family { Ok(None) } else { self.find(&family).await } };
        let (record, notes, family) = tokio::join!(self.find(&key), self.find(&notes), family);
        record.and(notes).and(family)?;
        Ok(())
    }

    /// A platform says that a record is as follows.
    pub(super) async fn saved(&self, saved: &Saved, force: bool) -> Result<News, Stopped> {
        let key = RecordKey::new(saved.model.as_str(), saved.id.as_str());
        let updated_us = saved.updated_us;
        let Ok(model) = self.app.schema.model(&key.model) else { return Ok(self.not_mirrored(&key)) };
        let stored = self.find(&key).await?;
        let known_us = match &stored {
            Some(stored) => stored.platform_updated_us,
            None => self.find(&tombstone(&key)).await?.and_then(|stone| stone.platform_updated_us),
        };
        let is_stale = matches!((updated_us, known_us), (Some(updated), Some(known)) if updated <= known);
        if is_stale && !force {
            return Ok(News::Stale);
        }
        let canonical = canonical(model, &saved.values, Mode::Lenient)?;
        for note in &canonical.notes {
            let remark = json!({ "record": key.to_string(), "field": note.field, "message": note.message });
            self.work.lock().remark(remark);
        }
        let arrived = self.without_own_fields(model, canonical.document);
        let empty = Json::object([]);
        let changed = changed_members(stored.as_ref().map_or(&empty, |stored| &stored.doc), &arrived);
        let echoes = self.echoes(&key, stored.as_ref().map(|stored| &stored.doc), &changed).await?;
        if !echoes.is_empty() {
            self.work.lock().remark(json!({ "echo": echoes, "record": key.to_string() }));
        }
        self.work.lock().note_echo(&key, &echoes, self.cause.depth);
        let event = Event {
            values: arrived,
            platform_updated_us: updated_us,
            echoes,
            ..Event::new(key.clone(), if stored.is_some() { "update" } else { "create" }, Origin::External)
        };
        let happened = self.happen(event).await?;
        if happened.ran > 0 {
            return Ok(News::Ran);
        }
        let is_same = match (&stored, self.find(&key).await?) {
            // What means the same is kept in the spelling that is stored.
            (Some(before), Some(after)) => {
                before.doc.as_str() == after.doc.as_str() && before.platform_updated_us == after.platform_updated_us
            }
            (before, after) => before.is_none() && after.is_none(),
        };
        Ok(if is_same { News::Unchanged } else { News::Stored })
    }

    /// What a platform says of a record, without what has the name of a field that the app itself made: the platform has
    /// begun to send something new, and what the app keeps there stays.
    fn without_own_fields(&self, model: &Model, values: Json) -> Json {
        let is_own = |name: &str| model.field(name).is_some_and(|field| field.source.is_none());
        if model.fields.iter().all(|field| field.source.is_some())
            || model.fields.iter().all(|field| field.source.is_none())
        {
            return values;
        }
        let members = values.members().unwrap_or_default();
        let (own, platform): (Vec<_>, Vec<_>) = members.iter().partition(|(name, _)| is_own(name));
        if own.is_empty() {
            return values;
        }
        for (name, _) in own {
            let message = "came from the platform too, which is left out; hint: the app's own field needs another name";
            self.work.lock().remark(json!({ "record": model.name, "field": name, "message": message }));
        }
        Json::object(platform.into_iter().map(|(name, value)| (name.as_str(), value)))
    }

    /// A platform says that a record is no more: it and everything that belongs to it is deleted, children first.
    ///
    /// The later of a deletion and an update wins, whatever the order in which they arrive; of two at the same time, the
    /// deletion. So a late update does not bring a record back, and a late deletion does not take a record that was made
    /// anew under its id. A deletion without a time keeps updates away that are older than a day after its arrival: the header
    /// with the time is not signed, and whoever leaves it out cannot keep a record away for ever.
    pub(super) async fn deleted(&self, key: RecordKey, deleted_us: Option<i64>, force: bool) -> Result<News, Stopped> {
        if self.app.schema.model(&key.model).is_err() {
            return Ok(self.not_mirrored(&key));
        }
        let stored = self.find(&key).await?;
        let known_us = stored.as_ref().and_then(|stored| stored.platform_updated_us);
        let is_stale = matches!((deleted_us, known_us), (Some(deleted), Some(known)) if deleted < known);
        if is_stale && !force {
            return Ok(News::Stale);
        }
        let buried = self.bury(&key, deleted_us).await?;
        if stored.is_none() {
            return Ok(if buried { News::Stored } else { News::Unchanged });
        }
        self.delete_with_children(key, deleted_us, 0).await
    }

    pub(super) async fn delete_with_children(
        &self,
        key: RecordKey,
        deleted_us: Option<i64>,
        depth: usize,
    ) -> Result<News, Stopped> {
        let model = self.app.schema.model(&key.model)?;
        let id = Json::of(&*key.id).map_err(|error| internal(&error))?;
        let mut news = News::Stored;
        for field in &model.fields {
            let FieldType::HasMany { model: child, by } = &field.of else { continue };
            if depth >= FAMILY_DEPTH_MAX {
                break;
            }
            let child = self.app.schema.model(child)?;
            for child_id in self.children(child, by, &id).await? {
                let child_key = RecordKey::new(child.name.as_str(), child_id);
                // A query may know a child that the unit, or somebody else meanwhile, has deleted.
                if self.find(&child_key).await?.is_none() {
                    continue;
                }
                self.bury(&child_key, deleted_us).await?;
                news = news.max(Box::pin(self.delete_with_children(child_key, deleted_us, depth + 1)).await?);
            }
        }
        self.forget_family(&key).await?;
        self.forget_notes(&key).await?;
        let happened = self.happen(Event::new(key, "delete", Origin::External)).await?;
        Ok(if happened.ran == 0 { news } else { News::Ran })
    }

    /// Leaves a tombstone. False when there was one that says the same.
    pub(super) async fn bury(&self, key: &RecordKey, deleted_us: Option<i64>) -> Result<bool, Stopped> {
        let stone = tombstone(key);
        let known_us = self.find(&stone).await?.and_then(|stone| stone.platform_updated_us);
        let last_us = self.work.lock().now_ms.saturating_add(UNTIMED_DELETION_MS).saturating_mul(1_000);
        let buried_us = Some(deleted_us.unwrap_or(last_us)).max(known_us);
        if buried_us == known_us {
            return Ok(false);
        }
        self.work.lock().write(stone, Some(Json::object([])), buried_us)?;
        Ok(true)
    }

    /// A change of a record whose model the app does not have is nobody's.
    fn not_mirrored(&self, key: &RecordKey) -> News {
        let hint = "the app has no such model";
        self.work.lock().remark(json!({ "skipped": key.to_string(), "because": hint }));
        News::Nobody
    }
}

/// Where it is remembered that a record was deleted.
pub(super) fn tombstone(key: &RecordKey) -> RecordKey {
    RecordKey::new(format!("{TOMBSTONE}{}", key.model), Arc::clone(&key.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_is_no_model() {
        let key = RecordKey::new("shopify/product", "1");
        assert_eq!(tombstone(&key).to_string(), "~shopify/product 1");
        assert!(!tombstone(&key).model.starts_with(|first: char| first.is_ascii_lowercase()));
    }
}
