//! A session in memory: for tests, and for trying a plugin from the command line.
//!
//! It stores records, answers platform calls from a list of prepared answers, and remembers everything that the plugin
//! did. It is honest about what it does not know: a call without a prepared answer gets an empty success.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tradewind_model::query::{Reach, parse_scope};
use tradewind_model::{ActionError, ActiveRecord, Json, code, graphql, object};

use crate::session::{
    Answer, ClientShop, HttpRequest, HttpResponse, ListPage, LogEntry, Page, Platform, PlatformCall, PlatformList,
    Session, Which, WhichShop, Work, Write,
};

/// Everything that a plugin did, shared between the sessions of one try.
#[derive(Clone, Default)]
pub struct Journal(Arc<Mutex<Entries>>);

/// What a [`Journal`] holds.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entries {
    /// Log entries, standard output and standard error.
    pub logs: Vec<LogEntry>,
    /// Writes of records, in order.
    pub writes: Vec<RecordWrite>,
    /// Jobs, in order.
    pub jobs: Vec<Job>,
    /// Calls to platforms, in order.
    pub calls: Vec<Call>,
    /// Requests to third parties, in order.
    pub requests: Vec<HttpRequest>,
}

/// One write of a record.
#[derive(Clone, Debug, Serialize)]
pub struct RecordWrite {
    /// `create`, `update`, `upsert`, `delete`, `converge`, `save` or a bulk form.
    pub kind: &'static str,
    /// The model's name.
    pub model: String,
    /// The record's id, where the plugin gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The values.
    pub values: Json,
}

/// One enqueued job.
#[derive(Clone, Debug, Serialize)]
pub struct Job {
    /// The id that the plugin was told.
    pub id: String,
    /// What it does.
    pub work: Work,
    /// The queue options.
    pub options: Json,
}

/// One call to a platform.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// The shop's domain or store hash.
    pub shop: String,
    /// The request.
    pub call: PlatformCall,
    /// What the plugin was answered.
    pub answer: Result<Json, ActionError>,
}

/// A prepared answer to a platform call.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PreparedAnswer {
    /// Answers calls whose GraphQL document or REST `METHOD path` contains this text. Empty: any call.
    #[serde(default, rename = "match")]
    pub matching: String,
    /// The success.
    #[serde(default)]
    pub answer: Option<Json>,
    /// Or the error.
    #[serde(default)]
    pub error: Option<ActionError>,
}

/// A session in memory.
#[derive(Clone, Default)]
pub struct FakeSession {
    /// What the plugin did.
    pub journal: Journal,
    /// The records that the plugin may ask for, by its grants.
    pub reach: Reach,
    /// Stored records: model, id, document.
    pub records: BTreeMap<(String, String), Json>,
    /// The current shop, if any.
    pub shop: Option<ClientShop>,
    /// Answers to platform calls. The first that matches is used up.
    pub answers: VecDeque<PreparedAnswer>,
    /// Answers to HTTP requests, by a text that the URL contains. The first that matches is used up.
    pub responses: VecDeque<(String, HttpResponse)>,
    /// Settings.
    pub config: BTreeMap<String, Json>,
    /// Secrets.
    pub secrets: BTreeMap<String, String>,
    /// How long every platform call takes: for testing deadlines inside a host call.
    pub call_delay: Duration,
}

impl Default for ClientShop {
    fn default() -> Self {
        Self { platform: Platform::Shopify, id: "1".to_owned(), name: "fake.myshopify.com".to_owned() }
    }
}

impl Journal {
    /// What happened so far.
    pub fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FakeSession {
    fn record_write(&self, kind: &'static str, model: &str, id: Option<&str>, values: &Json) {
        let write = RecordWrite { kind, model: model.to_owned(), id: id.map(str::to_owned), values: values.clone() };
        self.journal.entries().writes.push(write);
    }

    /// Holds a query or options to what the plugin may reach; this session has one shop's records whatever it is.
    fn check_scope(&self, of: &Json) -> Answer<()> {
        let invalid = |problem| ActionError::permanent(code::INVALID_ARGUMENT, problem);
        if of.is_null() {
            return Ok(());
        }
        let members = object::members(of, "`options`").map_err(invalid)?;
        let scope = members.iter().find(|(name, value)| name == "scope" && !value.is_null());
        scope.map_or(Ok(()), |(_, scope)| parse_scope(scope, self.reach).map(drop))
    }

    /// The records of a model that match a query's `filter` by equality, the only operator that this session knows.
    fn matching(&self, model: &str, query: &Json) -> Answer<Vec<Json>> {
        self.check_scope(query)?;
        let filter = query.member("filter").and_then(|filter| filter.members()).unwrap_or_default();
        let mut found = Vec::new();
        for ((_, _), document) in self.records.iter().filter(|((of, _), _)| of == model) {
            let mut matches = true;
            for (field, condition) in &filter {
                let Some(wanted) = condition.member("equals") else {
                    return Err(ActionError::permanent(
                        code::INVALID_ARGUMENT,
                        format!("the filter on `{field}` is not `equals`, the only one that a try in memory knows"),
                    ));
                };
                matches &= document.member(field).is_some_and(|value| value == wanted);
            }
            if matches {
                found.push(document.clone());
            }
        }
        Ok(found)
    }

    fn put(&mut self, model: &str, id: &str, values: &Json) -> Answer<Json> {
        let not_an_object = |_| ActionError::permanent(code::INVALID_ARGUMENT, "the values are not a JSON object");
        let stored = self.records.get(&(model.to_owned(), id.to_owned()));
        let mut record = ActiveRecord::load(model, id, stored).map_err(not_an_object)?;
        record.apply(values, tradewind_model::Origin::Run).map_err(not_an_object)?;
        if record.get("id").is_none() {
            record.set("id", crate::host::text_as_json(id), tradewind_model::Origin::Run);
        }
        let document = record.to_json();
        self.records.insert((model.to_owned(), id.to_owned()), document.clone());
        Ok(document)
    }

    fn existing(&self, model: &str, id: &str) -> Answer<()> {
        if self.records.contains_key(&(model.to_owned(), id.to_owned())) {
            return Ok(());
        }
        Err(ActionError::permanent(code::NOT_FOUND, format!("no `{model}` has the id `{id}`")))
    }

    /// The id that the values name, or the next free one.
    fn id_of(&self, model: &str, values: &Json) -> String {
        match values.member("id") {
            Some(id) => id.to::<String>().unwrap_or_else(|_| id.as_str().to_owned()),
            None => {
                (1..=u64::MAX).map(|id| id.to_string()).find(|id| self.existing(model, id).is_err()).unwrap_or_default()
            }
        }
    }

    fn each(
        &mut self,
        model: &str,
        values: &Json,
        mut put: impl FnMut(&mut Self, &str, &Json) -> Answer<Json>,
    ) -> Answer<Json> {
        let values: Vec<Json> = values
            .to()
            .map_err(|_| ActionError::permanent(code::INVALID_ARGUMENT, "the values are not a JSON array"))?;
        let written: Answer<Vec<_>> = values.iter().map(|values| put(self, model, values)).collect();
        Json::of(&written?).map_err(|error| ActionError::permanent(code::INTERNAL, error.reason))
    }

    fn create(&mut self, model: &str, values: &Json) -> Answer<Json> {
        let id = self.id_of(model, values);
        if self.existing(model, &id).is_ok() {
            return Err(ActionError::permanent(code::NOT_UNIQUE, format!("`{model}` already has the id `{id}`")));
        }
        self.put(model, &id, values)
    }

    fn update(&mut self, model: &str, values: &Json) -> Answer<Json> {
        let id = self.id_of(model, values);
        self.existing(model, &id)?;
        self.put(model, &id, values)
    }

    fn upsert(&mut self, model: &str, on: &[String], values: &Json) -> Answer<Json> {
        let key: Vec<_> = on.iter().map(|field| (field.as_str(), values.member(field))).collect();
        let found = self.records.iter().find(|((of, _), document)| {
            of == model && key.iter().all(|(field, value)| value.is_some() && document.member(field) == *value)
        });
        let id = found.map_or_else(|| self.id_of(model, values), |((_, id), _)| id.clone());
        self.put(model, &id, values)
    }

    fn delete(&mut self, model: &str, id: &str) -> Answer<Json> {
        self.existing(model, id)?;
        self.records.remove(&(model.to_owned(), id.to_owned()));
        Ok(Json::null())
    }
}

#[async_trait]
impl Session for FakeSession {
    fn log(&mut self, entry: LogEntry) {
        self.journal.entries().logs.push(entry);
    }

    fn config(&mut self, name: &str) -> Option<Json> {
        self.config.get(name).cloned()
    }

    fn secret(&mut self, name: &str) -> Answer<Option<String>> {
        Ok(self.secrets.get(name).cloned())
    }

    async fn find(&mut self, model: &str, which: Which, options: Json) -> Answer<Option<Json>> {
        self.check_scope(&options)?;
        match which {
            Which::Id(id) => Ok(self.records.get(&(model.to_owned(), id)).cloned()),
            Which::First(query) => Ok(self.matching(model, &query)?.into_iter().next()),
            Which::Key(key) => {
                let key = key
                    .members()
                    .ok_or_else(|| ActionError::permanent(code::INVALID_ARGUMENT, "`key` is not a JSON object"))?;
                let mut of_model = self.records.iter().filter(|((of, _), _)| of == model);
                let found = of_model.find(|(_, document)| {
                    key.iter().all(|(field, value)| document.member(field).as_ref() == Some(value))
                });
                Ok(found.map(|(_, document)| document.clone()))
            }
        }
    }

    async fn find_many(&mut self, model: &str, query: Json) -> Answer<Page> {
        let records = self.matching(model, &query)?;
        let records = Json::of(&records).map_err(|error| ActionError::permanent(code::INTERNAL, error.reason))?;
        Ok(Page { records, has_next: false, has_previous: false, end_cursor: None, start_cursor: None })
    }

    async fn count(&mut self, model: &str, query: Json) -> Answer<u64> {
        Ok(self.matching(model, &query)?.len() as u64)
    }

    async fn write(&mut self, model: &str, write: Write, options: Json) -> Answer<Json> {
        self.check_scope(&options)?;
        match write {
            Write::Create { values } => {
                self.record_write("create", model, None, &values);
                self.create(model, &values)
            }
            Write::Update { id, values } => {
                self.record_write("update", model, Some(&id), &values);
                self.existing(model, &id)?;
                self.put(model, &id, &values)
            }
            Write::Upsert { on, values } => {
                self.record_write("upsert", model, None, &values);
                self.upsert(model, &on, &values)
            }
            Write::Delete { id } => {
                self.record_write("delete", model, Some(&id), &Json::null());
                self.delete(model, &id)
            }
            Write::Converge { id, field, values } => {
                self.record_write("converge", model, Some(&id), &Json::object([(field.as_str(), &values)]));
                Ok(values)
            }
            Write::BulkCreate { values } => {
                self.record_write("bulk-create", model, None, &values);
                self.each(model, &values, Self::create)
            }
            Write::BulkUpdate { values } => {
                self.record_write("bulk-update", model, None, &values);
                self.each(model, &values, Self::update)
            }
            Write::BulkUpsert { on, values } => {
                self.record_write("bulk-upsert", model, None, &values);
                self.each(model, &values, |this, model, values| this.upsert(model, &on, values))
            }
            Write::BulkDelete { ids } => {
                let values = Json::of(&ids).map_err(|error| ActionError::permanent(code::INTERNAL, error.reason))?;
                self.record_write("bulk-delete", model, None, &values);
                for id in &ids {
                    self.delete(model, id)?;
                }
                Ok(Json::null())
            }
        }
    }

    async fn save(&mut self, record: &ActiveRecord) -> Answer<()> {
        let values = record.to_changed_json(tradewind_model::Baseline::Persisted);
        self.record_write("save", record.model(), Some(record.id()), &values);
        self.put(record.model(), record.id(), &values).map(drop)
    }

    async fn enqueue(&mut self, work: Work, options: Json) -> Answer<String> {
        let mut entries = self.journal.entries();
        let wanted = options.member("id").and_then(|id| id.to::<String>().ok());
        let taken = wanted.as_ref().is_some_and(|id| entries.jobs.iter().any(|job| job.id == *id));
        let ignore = options.member("onDuplicateId").is_some_and(|policy| policy.as_str() == "\"ignore\"");
        match wanted {
            Some(id) if taken && ignore => Ok(id),
            Some(id) if taken => {
                Err(ActionError::permanent(code::NOT_UNIQUE, format!("a job `{id}` is already waiting")))
            }
            wanted => {
                let id = wanted.unwrap_or_else(|| format!("job-{}", entries.jobs.len() + 1));
                entries.jobs.push(Job { id: id.clone(), work, options });
                Ok(id)
            }
        }
    }

    async fn shop(&mut self, platform: Platform, which: WhichShop) -> Answer<Option<ClientShop>> {
        let shop = self.shop.clone().filter(|shop| shop.platform == platform);
        Ok(shop.filter(|shop| match &which {
            WhichShop::Current => true,
            WhichShop::Id(id) => shop.id == *id,
            WhichShop::Name(name) => shop.name == *name,
        }))
    }

    async fn writes(&mut self, _: Platform, call: &PlatformCall) -> Answer<bool> {
        let PlatformCall::Graphql { query, .. } = call else { return Ok(!call.only_reads()) };
        let query = query.clone();
        // A task of its own: the guest's stack is small.
        let parsed = tokio::spawn(async move { graphql::writes(graphql::parse(&query).as_ref()) });
        Ok(parsed.await.unwrap_or(true))
    }

    async fn call(&mut self, shop: &ClientShop, call: PlatformCall) -> Answer<Json> {
        if !self.call_delay.is_zero() {
            tokio::time::sleep(self.call_delay).await;
        }
        let described = match &call {
            PlatformCall::Graphql { query, .. } => query.clone(),
            PlatformCall::Rest { method, path, .. } => format!("{method} {path}"),
        };
        let prepared = self.answers.iter().position(|answer| described.contains(&answer.matching));
        let answer = match prepared.and_then(|at| self.answers.remove(at)) {
            Some(PreparedAnswer { error: Some(error), .. }) => Err(error),
            Some(PreparedAnswer { answer, .. }) => Ok(answer.unwrap_or_else(Json::null)),
            None => Ok(Json::object([])),
        };
        self.journal.entries().calls.push(Call { shop: shop.name.clone(), call, answer: answer.clone() });
        answer
    }

    async fn send_http(&mut self, request: HttpRequest) -> Answer<HttpResponse> {
        let prepared = self.responses.iter().position(|(matching, _)| request.url.contains(matching));
        let response = prepared.and_then(|at| self.responses.remove(at)).map(|(_, response)| response);
        self.journal.entries().requests.push(request);
        Ok(response.unwrap_or(HttpResponse { status: 200, ..HttpResponse::default() }))
    }

    async fn next_page(&mut self, shop: &ClientShop, list: &PlatformList, _: Option<String>) -> Answer<ListPage> {
        let items = self.call(shop, list.call.clone()).await?;
        Ok(ListPage { items, next: None })
    }
}
