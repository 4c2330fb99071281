//! Processes a delivery: what changed, is it news, who wants to know.

use std::sync::Arc;

use serde_json::json;
use tradewind_model::document::{Mode, canonical};
use tradewind_model::schema::FieldType;
use tradewind_model::{Json, Origin, RecordKey};
use tradewind_store::{Delivery, Job, StoreError};

use super::Pipeline;
use super::action::Event;
use super::context::{Cause, Context, Stopped};
use super::ending::{Trouble, reason};
use super::job::Replay;
use super::mapper::Incoming;
use super::work::internal;

/// The model of a record that stands for one that a platform deleted, so that a late update does not bring it back. No
/// model of an app begins with it.
const TOMBSTONE: char = '~';

/// How deep records belong to one another that are deleted together. 8: deeper than any platform nests; a circle of models
/// ends here too.
const FAMILY_DEPTH_MAX: usize = 8;

/// What became of one change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum News {
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
    fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "skipped",
            Self::Stale => "stale",
            Self::Unchanged => "unchanged",
            Self::Stored => "stored",
            Self::Ran => "ran",
        }
    }
}

impl Pipeline {
    /// Processes a delivery. Answers one word for the log.
    pub(super) async fn deliver(
        &self,
        context: Context,
        job: &Job,
        replay: Option<Replay>,
    ) -> Result<&'static str, Trouble> {
        let Some(seq) = job.delivery_seq else {
            return Err(Trouble::hopeless(reason::DAMAGED, "the job names no delivery"));
        };
        let delivery = context.delivery(seq).await?;
        let body = body_of(&delivery)?;
        let Some(mapper) = self.mappers.get(&delivery.platform) else {
            let message =
                format!("this host does not know the platform `{}`; hint: connect it and retry", delivery.platform);
            return Err(Trouble::NotInstalled(message));
        };
        let incoming = mapper.map(&delivery, &body);
        let incoming = incoming.map_err(|error| Trouble::hopeless(reason::UNREADABLE, error.reason))?;
        let mut cause = Cause { trigger: trigger_of(&delivery), payload: Some(body), ..(*context.cause).clone() };
        if replay.is_none() {
            // A replay is a deed of its own: who asks for it wants it to be done once more.
            cause.key = format!("delivery:{seq}");
        }
        let context = Context { cause: Arc::new(cause), ..context };
        let force = replay.is_some_and(|replay| replay.force);
        let mut news = News::Nobody;
        for change in incoming {
            news = news.max(match change {
                Incoming::Saved { model, id, values, updated_us } => {
                    context.saved(RecordKey::new(model, id), &values, updated_us, force).await?
                }
                Incoming::Deleted { model, id, deleted_us } => {
                    context.deleted(RecordKey::new(model, id), deleted_us, force).await?
                }
            });
        }
        for route in context.app.actions_for_topic(&delivery.platform, &delivery.topic) {
            context.run_global(&route, &Json::object([])).await?;
            news = News::Ran;
        }
        Ok(news.as_str())
    }
}

impl Context {
    pub(super) async fn delivery(&self, seq: i64) -> Result<Delivery, Trouble> {
        match self.host.store.delivery(seq).await {
            Ok(Some(delivery)) => Ok(delivery),
            Ok(None) => Err(Trouble::hopeless(reason::UNREADABLE, "the delivery is not kept any more")),
            Err(error) if matches!(&*error, StoreError::Damaged { .. }) => {
                Err(Trouble::hopeless(reason::UNREADABLE, internal(&*error).message))
            }
            Err(error) => Err(Trouble::Lost(internal(&*error).message)),
        }
    }

    /// A platform says that a record is as follows.
    async fn saved(
        &self,
        key: RecordKey,
        values: &Json,
        updated_us: Option<i64>,
        force: bool,
    ) -> Result<News, Stopped> {
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
        let canonical = canonical(model, values, Mode::Lenient)?;
        for note in &canonical.notes {
            let remark = json!({ "record": key.to_string(), "field": note.field, "message": note.message });
            self.work.lock().remark(remark);
        }
        let event = Event {
            values: canonical.document,
            platform_updated_us: updated_us,
            ..Event::new(key.clone(), if stored.is_some() { "update" } else { "create" }, Origin::External)
        };
        let before = stored.map(|stored| (stored.doc, stored.platform_updated_us));
        let happened = self.happen(event).await?;
        let after = self.find(&key).await?.map(|found| (found.doc, found.platform_updated_us));
        Ok(match (happened.ran, before == after) {
            (0, true) => News::Unchanged,
            (0, false) => News::Stored,
            _ => News::Ran,
        })
    }

    /// A platform says that a record is no more: it and everything that belongs to it is deleted, children first.
    ///
    /// The later of a deletion and an update wins, whatever the order in which they arrive; of two at the same time, the
    /// deletion. So a late update does not bring a record back, and a late deletion does not take a record that was made
    /// anew under its id. A deletion without a time is final.
    async fn deleted(&self, key: RecordKey, deleted_us: Option<i64>, force: bool) -> Result<News, Stopped> {
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

    async fn delete_with_children(
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
        let happened = self.happen(Event::new(key, "delete", Origin::External)).await?;
        Ok(if happened.ran == 0 { news } else { News::Ran })
    }

    /// Leaves a tombstone. False when there was one that says the same.
    async fn bury(&self, key: &RecordKey, deleted_us: Option<i64>) -> Result<bool, Stopped> {
        let stone = tombstone(key);
        let known_us = self.find(&stone).await?.and_then(|stone| stone.platform_updated_us);
        let buried_us = Some(deleted_us.unwrap_or(i64::MAX)).max(known_us);
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

/// A delivery's body as JSON.
pub(super) fn body_of(delivery: &Delivery) -> Result<Json, Trouble> {
    let unreadable = |what: String| Trouble::hopeless(reason::UNREADABLE, format!("the body is {what}"));
    let text = std::str::from_utf8(&delivery.body).map_err(|error| unreadable(format!("not UTF-8: {error}")))?;
    Json::parse(text).map_err(|error| unreadable(error.to_string()))
}

fn tombstone(key: &RecordKey) -> RecordKey {
    RecordKey::new(format!("{TOMBSTONE}{}", key.model), Arc::clone(&key.id))
}

fn trigger_of(delivery: &Delivery) -> Json {
    let triggered = delivery.triggered_ms.map(tradewind_model::value::show_ms);
    let trigger = json!({
        "kind": "webhook",
        "platform": delivery.platform,
        "topic": delivery.topic,
        "deliveryId": delivery.webhook_id,
        "eventId": delivery.event_id,
        "triggeredAt": triggered,
    });
    Json::of(&trigger).unwrap_or_else(|_| Json::object([]))
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
