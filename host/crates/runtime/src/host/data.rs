//! `data`: the app's records.

use tradewind_model::{ActionError, Json, code};
use wasmtime::component::Resource;

use super::{Reply, State, json, name, names, options as options_of, wit, within_budget};
use crate::limits::Limit;
use crate::session::{Page, Which, Write};
use wit::data as guest;

impl State {
    async fn find(&mut self, model: &str, which: Which, options: Json) -> Reply<Option<String>> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Reads)?;
        name("model", model)?;
        if let Which::Id(id) = &which {
            name("id", id)?;
        }
        let bytes = options.as_str().len() + which.bytes();
        let found = within_budget!(self, bytes, self.session.find(model, which, options))?;
        self.meter.answer_bytes(found.as_ref().map_or(0, |record| record.as_str().len()))?;
        Ok(found.map(|record| record.as_str().to_owned()))
    }

    async fn find_or_fail(&mut self, model: &str, which: Which, options: Json) -> Reply<String> {
        let what = match &which {
            Which::Id(id) => format!("no `{model}` has the id `{id}`"),
            Which::Key(key) => format!("no `{model}` has the key `{key}`"),
            Which::First(_) => format!("no `{model}` matches the query"),
        };
        let found = self.find(model, which, options).await?;
        found.ok_or_else(|| ActionError::permanent(code::NOT_FOUND, what).into())
    }

    async fn write(&mut self, model: &str, write: Write, options: String) -> Reply<String> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count_many(Limit::Writes, records_of(&write))?;
        self.meter.keep_bytes(model.len())?;
        name("model", model)?;
        match &write {
            Write::Update { id, .. } | Write::Delete { id } => {
                name("id", id)?;
                self.keep_texts([id])?;
            }
            Write::Converge { id, field, .. } => {
                name("id", id)?;
                name("field", field)?;
                self.keep_texts([id, field])?;
            }
            Write::Upsert { on, .. } | Write::BulkUpsert { on, .. } => {
                names("on", on)?;
                self.keep_texts(on)?;
            }
            Write::BulkDelete { ids } => {
                ids.iter().try_for_each(|id| name("ids", id))?;
                self.keep_texts(ids)?;
            }
            Write::Create { .. } | Write::BulkCreate { .. } | Write::BulkUpdate { .. } => {}
        }
        let options = options_of(options)?;
        let bytes = options.as_str().len() + write.bytes();
        let written = within_budget!(self, bytes, self.session.write(model, write, options))?;
        self.meter.answer_bytes(written.as_str().len())?;
        Ok(written.as_str().to_owned())
    }
}

/// Records that a write is about: a bulk form counts as each of its elements, what cannot be read as one.
fn records_of(write: &Write) -> usize {
    match write {
        Write::BulkCreate { values }
        | Write::BulkUpdate { values }
        | Write::BulkUpsert { values, .. }
        | Write::Converge { values, .. } => values.elements().unwrap_or(1).max(1),
        Write::BulkDelete { ids } => ids.len().max(1),
        Write::Create { .. } | Write::Update { .. } | Write::Upsert { .. } | Write::Delete { .. } => 1,
    }
}

/// How many records an action writes by its name: the verbs that every model has are writes like those of their own names.
fn writes_of(action: &str, params: &Json) -> usize {
    let verb = action.rsplit_once('.').map_or("", |(_, verb)| verb);
    let elements = |name: &str| params.member(name).map_or(1, |values| values.elements().unwrap_or(1).max(1));
    match verb {
        "create" | "update" | "upsert" | "delete" => 1,
        "converge" | "bulk-create" | "bulk-update" | "bulk-upsert" => elements("values"),
        "bulk-delete" => elements("ids"),
        _ => 0,
    }
}

impl guest::Host for State {
    async fn find_one(&mut self, model: String, id: String, options: String) -> Reply<String> {
        self.find_or_fail(&model, Which::Id(id), options_of(options)?).await
    }

    async fn maybe_find_one(&mut self, model: String, id: String, options: String) -> Reply<Option<String>> {
        self.find(&model, Which::Id(id), options_of(options)?).await
    }

    async fn find_by(&mut self, model: String, key: String, options: String) -> Reply<String> {
        self.find_or_fail(&model, Which::Key(json("key", key)?), options_of(options)?).await
    }

    async fn maybe_find_by(&mut self, model: String, key: String, options: String) -> Reply<Option<String>> {
        self.find(&model, Which::Key(json("key", key)?), options_of(options)?).await
    }

    async fn find_first(&mut self, model: String, query: String) -> Reply<String> {
        self.find_or_fail(&model, Which::First(json("query", query)?), Json::null()).await
    }

    async fn maybe_find_first(&mut self, model: String, query: String) -> Reply<Option<String>> {
        self.find(&model, Which::First(json("query", query)?), Json::null()).await
    }

    async fn find_many(&mut self, model: String, query: String) -> Reply<Resource<Page>> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Reads)?;
        name("model", &model)?;
        let query = json("query", query)?;
        let bytes = query.as_str().len();
        let page = within_budget!(self, bytes, self.session.find_many(&model, query))?;
        let cursors = [&page.end_cursor, &page.start_cursor].into_iter().flatten().map(String::len);
        let bytes = page.records.as_str().len() + cursors.sum::<usize>();
        self.meter.answer_bytes(bytes)?;
        self.meter.keep_bytes(bytes)?;
        Ok(self.keep(page)?)
    }

    async fn count(&mut self, model: String, query: String) -> Reply<u64> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Reads)?;
        name("model", &model)?;
        let query = json("query", query)?;
        let bytes = query.as_str().len();
        Ok(within_budget!(self, bytes, self.session.count(&model, query))?)
    }

    async fn create(&mut self, model: String, values: String, options: String) -> Reply<String> {
        let write = Write::Create { values: self.kept_json("values", values)? };
        self.write(&model, write, options).await
    }

    async fn update(&mut self, model: String, id: String, values: String, options: String) -> Reply<String> {
        let write = Write::Update { id, values: self.kept_json("values", values)? };
        self.write(&model, write, options).await
    }

    async fn upsert(&mut self, model: String, on: Vec<String>, values: String, options: String) -> Reply<String> {
        let write = Write::Upsert { on, values: self.kept_json("values", values)? };
        self.write(&model, write, options).await
    }

    async fn delete(&mut self, model: String, id: String, options: String) -> Reply<()> {
        self.write(&model, Write::Delete { id }, options).await.map(drop)
    }

    async fn converge(
        &mut self,
        model: String,
        id: String,
        field: String,
        values: String,
        options: String,
    ) -> Reply<String> {
        let write = Write::Converge { id, field, values: self.kept_json("values", values)? };
        self.write(&model, write, options).await
    }

    async fn bulk_create(&mut self, model: String, values: String, options: String) -> Reply<String> {
        let write = Write::BulkCreate { values: self.kept_json("values", values)? };
        self.write(&model, write, options).await
    }

    async fn bulk_update(&mut self, model: String, values: String, options: String) -> Reply<String> {
        let write = Write::BulkUpdate { values: self.kept_json("values", values)? };
        self.write(&model, write, options).await
    }

    async fn bulk_upsert(&mut self, model: String, on: Vec<String>, values: String, options: String) -> Reply<String> {
        let write = Write::BulkUpsert { on, values: self.kept_json("values", values)? };
        self.write(&model, write, options).await
    }

    async fn bulk_delete(&mut self, model: String, ids: Vec<String>, options: String) -> Reply<()> {
        self.write(&model, Write::BulkDelete { ids }, options).await.map(drop)
    }

    async fn run_action(&mut self, action: String, params: String) -> Reply<String> {
        self.meter.count(Limit::HostCalls)?;
        name("action", &action)?;
        let params = json("params", params)?;
        self.meter.count_many(Limit::Writes, writes_of(&action, &params))?;
        let bytes = params.as_str().len();
        let result = within_budget!(self, bytes, self.session.run_action(&action, params))?;
        self.meter.answer_bytes(result.as_str().len())?;
        Ok(result.as_str().to_owned())
    }
}

impl guest::HostPage for State {
    async fn records(&mut self, page: Resource<Page>) -> wasmtime::Result<String> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.table.get(&page)?.records.as_str().to_owned())
    }

    async fn has_next(&mut self, page: Resource<Page>) -> wasmtime::Result<bool> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.table.get(&page)?.has_next)
    }

    async fn has_previous(&mut self, page: Resource<Page>) -> wasmtime::Result<bool> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.table.get(&page)?.has_previous)
    }

    async fn end_cursor(&mut self, page: Resource<Page>) -> wasmtime::Result<Option<String>> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.table.get(&page)?.end_cursor.clone())
    }

    async fn start_cursor(&mut self, page: Resource<Page>) -> wasmtime::Result<Option<String>> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.table.get(&page)?.start_cursor.clone())
    }

    async fn drop(&mut self, page: Resource<Page>) -> wasmtime::Result<()> {
        self.table.delete(page)?;
        Ok(())
    }
}
