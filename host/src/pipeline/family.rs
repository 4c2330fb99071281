//! Records that come with their parent: a product's variants, options, images.
//!
//! Most deliveries of a parent change none of them. A digest of each list is kept beside the parent, and while it stays the
//! same the children are neither read nor compared. When it differs, each child is taken in like a record of its own, and
//! those that are no longer listed are deleted.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::json;
use tradewind_model::{Json, RecordKey};
use tradewind_platform::mapping::{Children, Saved};

use super::arrival::{Arrival, News, tombstone};
use super::context::{Context, Stopped};
use super::echo::notes_key;
use super::ending::Trouble;
use super::work::internal;

/// The model of the record that knows a parent's lists. No model of an app begins with `^`. Not with `~`: what does is
/// deleted with age, and this lives as long as the parent.
const FAMILIES: &str = "^family";

/// What is known of a parent's lists, by the parent's field. Persisted: members are only added.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Lists(BTreeMap<String, List>);

#[derive(Debug, Serialize, Deserialize)]
struct List {
    /// Of the list as it came last.
    digest: String,
    /// Whose ids it had.
    ids: Vec<String>,
}

impl Context {
    /// Takes in the children that came with a record.
    pub(super) async fn family_arrived(&self, arrival: Arrival<'_>, parent: &Saved) -> Result<News, Trouble> {
        let mut news = News::Nobody;
        let mirrored = parent.children.iter().filter(|children| self.app.schema.model(&children.model).is_ok());
        let mirrored: Vec<_> = mirrored.collect();
        if mirrored.is_empty() {
            return Ok(news);
        }
        let parent_key = RecordKey::new(parent.model.as_str(), parent.id.as_str());
        let key = family_key(&parent_key);
        let known = self.find(&key).await?;
        let mut lists = known.as_ref().and_then(|found| found.doc.to::<Lists>().ok()).unwrap_or_default();
        let mut is_new = false;
        for children in mirrored {
            let known = lists.0.get(&children.field);
            if !arrival.force && known.is_some_and(|list| list.digest == children.digest) {
                continue;
            }
            let before = match known {
                Some(list) => list.ids.clone(),
                // Nothing is known, which does not mean that there are none.
                None => self.children_of(&parent_key, children).await?,
            };
            let (children_news, ids) = self.list_arrived(arrival, parent, children, &before).await?;
            news = news.max(children_news);
            lists.0.insert(children.field.clone(), List { digest: children.digest.clone(), ids });
            is_new = true;
        }
        if is_new {
            let doc = Json::of(&lists).map_err(|error| internal(&error))?;
            self.work.lock().write(key, Some(doc), parent.updated_us)?;
        }
        Ok(news)
    }

    /// The children that are stored.
    async fn children_of(&self, parent: &RecordKey, children: &Children) -> Result<Vec<String>, Stopped> {
        if self.find(parent).await?.is_none() {
            return Ok(Vec::new());
        }
        let id = Json::of(&*parent.id).map_err(|error| internal(&error))?;
        Ok(self.children(self.app.schema.model(&children.model)?, &children.by, &id).await?)
    }

    /// Takes in one list. Answers the ids that it has.
    async fn list_arrived(
        &self,
        arrival: Arrival<'_>,
        parent: &Saved,
        children: &Children,
        before: &[String],
    ) -> Result<(News, Vec<String>), Trouble> {
        let mut family = arrival.mapper.family(&arrival.report, parent, children)?;
        let times = family.records.iter_mut().map(|record| &mut record.updated_us);
        for at_us in times.chain(family.absent.iter_mut().map(|absent| &mut absent.updated_us)) {
            *at_us = arrival.in_time(*at_us);
        }
        let key = |id: &str| RecordKey::new(children.model.as_str(), id);
        let mut ids: Vec<String> = family.records.iter().map(|record| record.id.clone()).collect();
        ids.extend(family.absent.iter().map(|absent| absent.id.clone()));
        if family.may_be_cut {
            ids.extend(before.iter().filter(|id| !family.records.iter().any(|record| record.id == **id)).cloned());
        }
        let listed: HashSet<&str> = ids.iter().map(String::as_str).collect();
        let gone: Vec<&String> = before.iter().filter(|id| !listed.contains(id.as_str())).collect();
        // With all that is looked at for each of them, in one go.
        let all = ids.iter().chain(gone.iter().copied()).map(|id| key(id));
        let all = all.flat_map(|key| [notes_key(&key), tombstone(&key), key]);
        self.work.look_ahead(&self.host.store, all.collect()).await?;

        let mut news = News::Nobody;
        for record in &family.records {
            news = news.max(self.saved(record, arrival.force).await?);
        }
        for id in gone {
            if self.find(&key(id)).await?.is_some() {
                self.bury(&key(id), parent.updated_us).await?;
                news = news.max(self.delete_with_children(key(id), parent.updated_us, 0).await?);
            }
        }
        let mut unread = Vec::new();
        for absent in &family.absent {
            let known_us = self.find(&key(&absent.id)).await?.map(|found| found.platform_updated_us);
            let is_known = known_us.is_some_and(|known| known.is_some() && known >= absent.updated_us);
            if !is_known {
                unread.push(absent.id.clone());
            }
        }
        if !unread.is_empty() {
            news = news.max(self.fetch_absent(arrival, parent, children, &unread).await?);
        }
        Ok((news, ids))
    }

    /// Reads children from the platform that a payload had no room for.
    async fn fetch_absent(
        &self,
        arrival: Arrival<'_>,
        parent: &Saved,
        children: &Children,
        ids: &[String],
    ) -> Result<News, Trouble> {
        let Some(clients) = self.host.clients.get() else {
            let remark = json!({ "notRead": ids.len(), "of": children.model, "because": "no platform client" });
            self.work.lock().remark(remark);
            return Ok(News::Nobody);
        };
        let shop = self.shop();
        let list = clients.children(&shop, &children.model, ids).await.map_err(Stopped::from)?;
        let children = Children { list, rest: None, ..children.clone() };
        let mut news = News::Nobody;
        for record in arrival.mapper.family(&arrival.report, parent, &children)?.records {
            news = news.max(self.saved(&record, arrival.force).await?);
        }
        Ok(news)
    }

    /// Forgets the lists of a record that is no more.
    pub(super) async fn forget_family(&self, parent: &RecordKey) -> Result<(), Stopped> {
        let key = family_key(parent);
        if self.find(&key).await?.is_some() {
            self.work.lock().write(key, None, None)?;
        }
        Ok(())
    }
}

/// Where what is known of a record's lists is.
pub(super) fn family_key(parent: &RecordKey) -> RecordKey {
    RecordKey::new(FAMILIES, format!("{}/{}", parent.model, parent.id))
}
