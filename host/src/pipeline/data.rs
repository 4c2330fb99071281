//! The contract's `data`: reads and writes of records, through the unit of work.

use std::collections::{BTreeSet, HashMap};

use tradewind_model::document::{Mode, canonical};
use tradewind_model::query::{Own, Query, Reach, Row, parse_scope, parse_select};
use tradewind_model::schema::{FieldType, Model, Scope};
use tradewind_model::{ActionError, Json, Origin, RecordKey, Shop, code, object, work};
use tradewind_runtime::session::{Answer, Page, Which, Write};

use super::action::Event;
use super::context::{Context, Stopped};
use super::own::OwnIndex;
use super::work::{Found, internal};

/// What `options` of a read or write say.
struct Options {
    select: Option<Vec<String>>,
    /// Whether actions run.
    internal: bool,
    scope: Scope,
}

impl Options {
    fn parse(options: &Json, reach: Reach) -> Answer<Self> {
        let mut parsed = Self { select: None, internal: false, scope: Scope::Shop };
        let mut problems = Vec::new();
        let given = object::optional(options, "`options`", &["select", "internal", "scope"], &mut problems);
        if !problems.is_empty() {
            return Err(invalid(problems.join("; ")));
        }
        for (name, value) in given {
            match name.as_str() {
                "select" => parsed.select = parse_select(&value)?,
                "internal" => {
                    parsed.internal =
                        value.to().map_err(|_| invalid("`options.internal` is neither true nor false"))?;
                }
                _ => parsed.scope = parse_scope(&value, reach)?,
            }
        }
        Ok(parsed)
    }
}

fn invalid(message: impl Into<String>) -> ActionError {
    ActionError::permanent(code::INVALID_ARGUMENT, message)
}

fn not_found(key: &RecordKey) -> ActionError {
    ActionError::permanent(code::NOT_FOUND, format!("no `{}` has the id `{}`", key.model, key.id))
}

impl Context {
    pub(crate) async fn find_one(&self, model: &str, which: Which, options: &Json) -> Answer<Option<Json>> {
        let model = self.app.schema.model(model)?;
        let (query, select) = match which {
            Which::Id(id) => {
                let options = Options::parse(options, self.reach)?;
                let key = RecordKey::new(model.name.as_str(), id);
                if options.scope == Scope::Shop {
                    let found = self.find_seen(&key).await?;
                    return Ok(found.map(|found| self.shown(&key, found, options.select.as_deref())));
                }
                let id = Json::of(&*key.id).map_err(|error| internal(&error))?;
                (Query::by_key(model, &Json::object([("id", &id)]), options.scope)?, options.select)
            }
            Which::Key(key) => {
                let options = Options::parse(options, self.reach)?;
                (Query::by_key(model, &key, options.scope)?, options.select)
            }
            Which::First(query) => {
                let query = Query::parse(model, &query, self.reach)?.first_only();
                let select = query.select.clone();
                (query, select)
            }
        };
        let page = self.page_seen(model, &query).await?;
        Ok(page.rows.first().map(|row| row.shown(select.as_deref())))
    }

    pub(crate) async fn find_page(&self, model: &str, query: &Json) -> Answer<Page> {
        let model = self.app.schema.model(model)?;
        let query = Query::parse(model, query, self.reach)?;
        let page = self.page_seen(model, &query).await?;
        Ok(Page {
            records: page.records(query.select.as_deref()),
            has_next: page.has_next,
            has_previous: page.has_previous,
            end_cursor: page.end_cursor,
            start_cursor: page.start_cursor,
        })
    }

    pub(crate) async fn count_records(&self, model: &str, query: &Json) -> Answer<u64> {
        let model = self.app.schema.model(model)?;
        let query = Query::parse(model, query, self.reach)?;
        let (shop, own) = self.own_seen(model);
        self.work.watch(&self.host.store, &model.name, &query, true);
        work::allow(own.iter().map(Own::bytes).sum());
        let ids: Vec<String> = own.iter().map(own_id).map(str::to_owned).collect();
        let stored = self.host.store.search_count(&shop, model, &query, &ids).await;
        let stored = stored.map_err(|error| self.work.query_failed(&error))?;
        Ok(query.overlay_count(stored, &own))
    }

    /// A page as a plugin sees it, with what comes in for the records whose actions run.
    async fn page_seen(&self, model: &Model, query: &Query) -> Answer<tradewind_model::query::Page> {
        let (shop, own) = self.own_seen(model);
        self.page_over(model, query, &shop, &own).await
    }

    /// A page of what is stored and what the unit has written.
    async fn page(&self, model: &Model, query: &Query) -> Answer<tradewind_model::query::Page> {
        let (shop, own) = {
            let work = self.work.lock();
            (work.shop.clone(), work.own(&model.name))
        };
        self.page_over(model, query, &shop, &own).await
    }

    async fn page_over(
        &self,
        model: &Model,
        query: &Query,
        shop: &Shop,
        own: &[Own],
    ) -> Answer<tradewind_model::query::Page> {
        work::allow(own.iter().map(Own::bytes).sum());
        self.work.watch(&self.host.store, &model.name, query, false);
        let stored = self.host.store.search(shop, model, query, own.len()).await;
        let stored = stored.map_err(|error| self.work.query_failed(&error))?;
        Ok(query.overlay(stored, own))
    }

    fn own_seen(&self, model: &Model) -> (Shop, Vec<Own>) {
        let work = self.work.lock();
        (work.shop.clone(), work.own_seen(&model.name))
    }

    fn shown(&self, key: &RecordKey, found: Found, select: Option<&[String]>) -> Json {
        self.row(key, found).shown(select)
    }

    fn row(&self, key: &RecordKey, found: Found) -> Row {
        Row {
            shop: self.shop().id.to_string(),
            id: key.id.to_string(),
            document: found.doc,
            created_ms: found.created_ms,
            updated_ms: found.updated_ms,
        }
    }

    /// Writes records into the unit of work. All of it is in there afterwards, or nothing is.
    pub(crate) async fn write(&self, model: &str, write: Write, options: &Json) -> Answer<Json> {
        let model = self.app.schema.model(model)?;
        let options = Options::parse(options, self.reach)?;
        if options.scope == Scope::App {
            return Err(ActionError::permanent(
                code::NOT_AVAILABLE,
                "records of another shop cannot be written; hint: enqueue an action for that shop",
            ));
        }
        let mark = self.work.mark();
        let written = self.write_all(model, write, &options).await;
        if written.is_err() {
            self.work.back_to(mark);
        }
        let written = written.map_err(Stopped::into_error)?;
        self.within_quotas(mark).await?;
        Ok(written)
    }

    async fn write_all(&self, model: &Model, write: Write, options: &Options) -> Result<Json, Stopped> {
        match write {
            Write::Create { values } => {
                let key = self.create(model, &values, options).await?;
                self.show(&key, options).await
            }
            Write::Update { id, values } => {
                let key = RecordKey::new(model.name.as_str(), id);
                self.update(model, &key, &values, options).await?;
                self.show(&key, options).await
            }
            Write::Upsert { on, values } => {
                let key = self.upsert(model, &on, &values, options, &mut OwnIndex::default()).await?;
                self.show(&key, options).await
            }
            Write::Delete { id } => {
                self.delete(RecordKey::new(model.name.as_str(), id), options).await?;
                Ok(Json::null())
            }
            Write::Converge { id, field, values } => {
                let parent = RecordKey::new(model.name.as_str(), id);
                let keys = self.converge(model, &parent, &field, &values, options).await?;
                self.show_all(&keys, options).await
            }
            Write::BulkCreate { values } => {
                let mut keys = Vec::new();
                let values = elements(&values)?;
                self.look_ahead(model, &values).await?;
                for values in values {
                    keys.push(self.create(model, &values, options).await?);
                }
                self.show_all(&keys, options).await
            }
            Write::BulkUpdate { values } => {
                let mut keys = Vec::new();
                let values = elements(&values)?;
                self.look_ahead(model, &values).await?;
                for values in values {
                    let id = id_of(&values)?.ok_or_else(|| invalid("an element of `values` has no `id`"))?;
                    let key = RecordKey::new(model.name.as_str(), id);
                    self.update(model, &key, &values, options).await?;
                    keys.push(key);
                }
                self.show_all(&keys, options).await
            }
            Write::BulkUpsert { on, values } => {
                let (mut keys, mut own) = (Vec::new(), OwnIndex::default());
                for values in elements(&values)? {
                    keys.push(self.upsert(model, &on, &values, options, &mut own).await?);
                }
                self.show_all(&keys, options).await
            }
            Write::BulkDelete { ids } => {
                let keys = ids.iter().map(|id| RecordKey::new(model.name.as_str(), id.as_str()));
                self.work.look_ahead(&self.host.store, keys.collect()).await?;
                for id in ids {
                    self.delete(RecordKey::new(model.name.as_str(), id), options).await?;
                }
                Ok(Json::null())
            }
        }
    }

    /// Reads the records that the elements of a bulk write name, in few statements.
    async fn look_ahead(&self, model: &Model, values: &[Json]) -> Answer<()> {
        let ids = values.iter().filter_map(|values| id_of(values).ok().flatten());
        let keys = ids.map(|id| RecordKey::new(model.name.as_str(), id)).collect();
        self.work.look_ahead(&self.host.store, keys).await
    }

    async fn create(&self, model: &Model, values: &Json, options: &Options) -> Result<RecordKey, Stopped> {
        object::members(values, "`values`").map_err(invalid)?;
        let id = id_of(values)?.unwrap_or_else(|| self.host.new_id());
        let key = RecordKey::new(model.name.as_str(), id);
        if self.find(&key).await?.is_some() {
            let message = format!("there is a `{}` with the id `{}`; hint: `update` or `upsert`", key.model, key.id);
            return Err(ActionError::permanent(code::NOT_UNIQUE, message).into());
        }
        self.put(model, &key, "create", values, options).await?;
        Ok(key)
    }

    async fn update(&self, model: &Model, key: &RecordKey, values: &Json, options: &Options) -> Result<(), Stopped> {
        object::members(values, "`values`").map_err(invalid)?;
        if self.find(key).await?.is_none() {
            return Err(not_found(key).into());
        }
        self.put(model, key, "update", values, options).await
    }

    async fn upsert(
        &self,
        model: &Model,
        on: &[String],
        values: &Json,
        options: &Options,
        own: &mut OwnIndex,
    ) -> Result<RecordKey, Stopped> {
        let values = linked(model, values)?;
        // Of equal names the last one counts.
        let given: HashMap<_, _> = values.members().unwrap_or_default().into_iter().collect();
        let members: Vec<_> = on.iter().map(|name| (name.as_str(), given.get(name))).collect();
        let mut key = Vec::new();
        for (name, value) in &members {
            let Some(value) = value.filter(|value| !value.is_null()) else {
                return Err(invalid(format!("`on` names `{name}`, which `values` does not have")).into());
            };
            key.push((*name, value));
        }
        let query = Query::by_key(model, &Json::object(key), Scope::Shop)?;
        let existing = self.first_by_key(model, &query, own).await?;
        let Some(row) = existing else {
            self.work.lock().looked_in_vain();
            return self.create(model, &values, options).await;
        };
        let key = RecordKey::new(model.name.as_str(), row.id);
        // The unit may have read the record before somebody else gave it the key that the query has found, or it is gone.
        if !self.find(&key).await?.is_some_and(|found| query.matches(&self.row(&key, found))) {
            let message = format!("`{key}` was written meanwhile; hint: try again");
            return Err(ActionError::retryable(code::CONFLICT, message).into());
        }
        self.update(model, &key, &values, options).await?;
        Ok(key)
    }

    /// The record that a query by a unique key finds. Of the unit's own records only those are looked at that may be it.
    async fn first_by_key(&self, model: &Model, query: &Query, own: &mut OwnIndex) -> Answer<Option<Row>> {
        let (shop, mut ids) = {
            let work = self.work.lock();
            work.index_own(own, &model.name, query);
            (work.shop.clone(), own.index.ids(query).map(str::to_owned).collect::<BTreeSet<_>>())
        };
        self.work.watch(&self.host.store, &model.name, query, false);
        let stored = self.host.store.search(&shop, model, query, 0).await;
        let stored = stored.map_err(|error| self.work.query_failed(&error))?;
        ids.extend(stored.iter().map(|row| row.id.clone()));
        let own: Vec<_> = {
            let work = self.work.lock();
            let keys = ids.into_iter().map(|id| RecordKey::new(model.name.as_str(), id));
            keys.filter_map(|key| work.own_of(&key)).collect()
        };
        Ok(query.overlay(stored, &own).rows.into_iter().next())
    }

    async fn delete(&self, key: RecordKey, options: &Options) -> Result<(), Stopped> {
        if self.find(&key).await?.is_none() {
            return Err(not_found(&key).into());
        }
        let event = Event { runs_actions: !options.internal, ..Event::new(key, "delete", Origin::Api) };
        Box::pin(self.happen(event)).await.map(drop)
    }

    /// Creates, updates and deletes children until they match `values`.
    async fn converge(
        &self,
        model: &Model,
        parent: &RecordKey,
        field: &str,
        values: &Json,
        options: &Options,
    ) -> Result<Vec<RecordKey>, Stopped> {
        let Some(FieldType::HasMany { model: child, by }) = model.field(field).map(|field| &field.of) else {
            return Err(invalid(format!("`{field}` of `{}` does not hold children", model.name)).into());
        };
        if self.find(parent).await?.is_none() {
            return Err(not_found(parent).into());
        }
        let child = self.app.schema.model(child)?;
        let parent_id = Json::of(&*parent.id).map_err(|error| internal(&error))?;
        let mut leftover = self.children(child, by, &parent_id).await?;
        let mut keys = Vec::new();
        for values in elements(values)? {
            let members = values.members().unwrap_or_default();
            let members = members.iter().filter(|(name, _)| name != by).map(|(name, value)| (name.as_str(), value));
            let values = Json::object(members.chain([(by.as_str(), &parent_id)]));
            let id = id_of(&values)?;
            let known = id.as_ref().and_then(|id| leftover.iter().position(|child| child == id));
            if let Some(known) = known {
                leftover.swap_remove(known);
            }
            let key = id.filter(|_| known.is_some()).map(|id| RecordKey::new(child.name.as_str(), id));
            keys.push(match key {
                // The query that knows it may be older, or newer, than what the unit has read of it.
                Some(key) if self.find(&key).await?.is_some() => {
                    self.update(child, &key, &values, options).await?;
                    key
                }
                _ => self.create(child, &values, options).await?,
            });
        }
        for id in leftover {
            let key = RecordKey::new(child.name.as_str(), id);
            if self.find(&key).await?.is_some() {
                self.delete(key, options).await?;
            }
        }
        Ok(keys)
    }

    /// The ids of the records of `child` whose field `by` names the parent.
    pub(crate) async fn children(&self, child: &Model, by: &str, parent: &Json) -> Result<Vec<String>, ActionError> {
        let filter = Json::object([(by, &Json::object([("equals", parent)]))]);
        let mut after = None;
        let mut ids = Vec::new();
        loop {
            let first = Json::of(&250).map_err(|error| internal(&error))?;
            let mut query = vec![("filter", &filter), ("first", &first)];
            query.extend(after.as_ref().map(|cursor| ("after", cursor)));
            let page = self.page(child, &Query::parse(child, &Json::object(query), Reach::Shop)?).await?;
            ids.extend(page.rows.into_iter().map(|row| row.id));
            match page.end_cursor.filter(|_| page.has_next) {
                Some(cursor) => after = Some(Json::of(&cursor).map_err(|error| internal(&error))?),
                None => return Ok(ids),
            }
        }
    }

    /// Runs the verb's actions on a record with new values, and its children's.
    async fn put(
        &self,
        model: &Model,
        key: &RecordKey,
        verb: &str,
        values: &Json,
        options: &Options,
    ) -> Result<(), Stopped> {
        let canonical = canonical(model, &linked(model, values)?, Mode::Strict)?;
        let event = Event {
            values: canonical.document,
            runs_actions: !options.internal,
            ..Event::new(key.clone(), verb, Origin::Api)
        };
        Box::pin(self.happen(event)).await?;
        for (field, children) in canonical.children {
            let values = only_member(&children, "_converge").and_then(|converge| only_member(&converge, "values"));
            let values = values.ok_or_else(|| {
                invalid(format!("`{field}` holds children; hint: `{{\"_converge\": {{\"values\": […]}}}}`"))
            })?;
            Box::pin(self.converge(model, key, &field, &values, options)).await?;
        }
        Ok(())
    }

    async fn show(&self, key: &RecordKey, options: &Options) -> Result<Json, Stopped> {
        let found = self.find(key).await?;
        // An action of the record's own may have deleted it.
        Ok(found.map_or_else(Json::null, |found| self.shown(key, found, options.select.as_deref())))
    }

    async fn show_all(&self, keys: &[RecordKey], options: &Options) -> Result<Json, Stopped> {
        let mut shown = Vec::new();
        for key in keys {
            shown.push(self.show(key, options).await?);
        }
        Ok(Json::of(&shown).map_err(|error| internal(&error))?)
    }
}

fn own_id(own: &Own) -> &str {
    match own {
        Own::Written(row) => &row.id,
        Own::Deleted { id, .. } => id,
    }
}

fn elements(values: &Json) -> Answer<Vec<Json>> {
    let elements: Vec<Json> = values.to().map_err(|_| invalid("`values` is not a JSON array"))?;
    elements
        .iter()
        .try_for_each(|values| object::members(values, "an element of `values`").map(drop))
        .map_err(invalid)?;
    Ok(elements)
}

/// The `id` that values carry, as text; none without one.
pub(crate) fn id_of(values: &Json) -> Answer<Option<String>> {
    let Some(id) = values.member("id").filter(|id| !id.is_null()) else { return Ok(None) };
    let text = id.as_str();
    let number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = if number { Ok(text.to_owned()) } else { id.to::<String>() };
    match id {
        Ok(id) if !id.is_empty() => Ok(Some(id)),
        _ => Err(invalid(format!("the id `{text}` is neither a text nor a whole number"))),
    }
}

/// The one member that an object has, when it has this name.
fn only_member(json: &Json, name: &str) -> Option<Json> {
    let [(given, value)] = <[_; 1]>::try_from(json.members()?).ok()?;
    (given == name).then_some(value)
}

/// Values with `{"_link": "id"}` replaced by the id.
fn linked(model: &Model, values: &Json) -> Answer<Json> {
    let what = format!("the values of a record of `{}`", model.name);
    let members = object::members(values, &what).map_err(invalid)?;
    let mut found = false;
    let mut plain = Vec::new();
    for (name, value) in members {
        let belongs = matches!(model.field(&name).map(|field| &field.of), Some(FieldType::BelongsTo { .. }));
        match only_member(&value, "_link").filter(|_| belongs) {
            Some(link) => {
                found = true;
                let id = id_of(&Json::object([("id", &link)]))?;
                plain.push((name, Json::of(&id).map_err(|error| internal(&error))?));
            }
            None => plain.push((name, value)),
        }
    }
    Ok(if found { Json::object(plain.iter().map(|(name, value)| (name.as_str(), value))) } else { values.clone() })
}
