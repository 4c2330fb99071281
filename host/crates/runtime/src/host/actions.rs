//! `actions`: the invocation and its record.

use tradewind_model::{ActionError, ActiveRecord, Baseline, Json, Origin, code, object};
use wasmtime::component::Resource;

use super::handles::{TheInvocation, TheRecord};
use super::{HostFault, Reply, State, json, name, wit};
use crate::invoke::Phase;
use crate::limits::{FIELD_BYTES, Limit};
use wit::actions as guest;

impl guest::Host for State {}

impl From<guest::Baseline> for Baseline {
    fn from(since: guest::Baseline) -> Self {
        match since {
            guest::Baseline::Loaded => Self::Loaded,
            guest::Baseline::Persisted => Self::Persisted,
        }
    }
}

impl From<tradewind_model::Change> for guest::Change {
    fn from(change: tradewind_model::Change) -> Self {
        Self {
            field: change.field,
            previous: change.previous.as_ref().map(text),
            current: change.current.as_ref().map(text),
            origin: change.origin.as_str().to_owned(),
        }
    }
}

fn text(json: &Json) -> String {
    json.as_str().to_owned()
}

impl State {
    /// The record behind any handle. A handle only exists when there is a record.
    fn record(&mut self) -> wasmtime::Result<&mut ActiveRecord> {
        self.meter.count(Limit::HostCalls)?;
        self.invocation.record.as_mut().ok_or_else(|| wasmtime::format_err!("the invocation has no record"))
    }

    /// The record, when it may be changed.
    fn writable(&mut self) -> Reply<&mut ActiveRecord> {
        if self.invocation.phase == Phase::Success {
            return Err(ActionError::permanent(
                code::WRONG_PHASE,
                "the record is committed; hint: change it in `run`, or call `data.update`",
            )
            .into());
        }
        Ok(self.record()?)
    }
}

impl guest::HostActiveRecord for State {
    fn id(&mut self, _: Resource<TheRecord>) -> wasmtime::Result<String> {
        Ok(self.record()?.id().to_owned())
    }

    fn model(&mut self, _: Resource<TheRecord>) -> wasmtime::Result<String> {
        Ok(self.record()?.model().to_owned())
    }

    fn is_new(&mut self, _: Resource<TheRecord>) -> wasmtime::Result<bool> {
        Ok(self.record()?.is_new())
    }

    fn is_empty(&mut self, _: Resource<TheRecord>) -> wasmtime::Result<bool> {
        Ok(self.record()?.is_empty())
    }

    fn fields(&mut self, _: Resource<TheRecord>) -> wasmtime::Result<Vec<String>> {
        Ok(self.record()?.fields().map(str::to_owned).collect())
    }

    fn get(&mut self, _: Resource<TheRecord>, field: String) -> wasmtime::Result<Option<String>> {
        Ok(self.record()?.get(&field).map(text))
    }

    fn get_many(&mut self, _: Resource<TheRecord>, fields: Vec<String>) -> wasmtime::Result<Vec<Option<String>>> {
        let record = self.record()?;
        let found: Vec<_> = fields.iter().map(|field| record.get(field)).collect();
        // A short name, asked for often, stands for a long value: the sum is bounded before anything is copied.
        let bytes = found.iter().flatten().fold(0, |sum: usize, value| sum.saturating_add(value.as_str().len()));
        let found: Vec<_> = found.into_iter().map(Option::<&Json>::cloned).collect();
        self.meter.answer_bytes(bytes)?;
        Ok(found.iter().map(|value| value.as_ref().map(text)).collect())
    }

    fn set(&mut self, _: Resource<TheRecord>, field: String, value: String) -> Reply<()> {
        name("field", &field)?;
        let value = self.kept_json("value", value)?;
        self.keep_texts([&field])?;
        self.meter.keep_bytes(FIELD_BYTES)?;
        self.writable()?.set(&field, value, Origin::Run);
        Ok(())
    }

    fn unset(&mut self, _: Resource<TheRecord>, field: String) -> Reply<()> {
        name("field", &field)?;
        self.writable()?.unset(&field, Origin::Run);
        Ok(())
    }

    fn apply(&mut self, _: Resource<TheRecord>, values: String) -> Reply<()> {
        let values = self.kept_json("values", values)?;
        let invalid = |problem| ActionError::permanent(code::INVALID_ARGUMENT, problem);
        object::members(&values, "`values`").map_err(invalid)?;
        self.meter.keep_bytes(values.members_max().saturating_mul(FIELD_BYTES))?;
        self.writable()?
            .apply(&values, Origin::Run)
            .map_err(|_| ActionError::permanent(code::INVALID_ARGUMENT, "`values` is not a JSON object").into())
    }

    fn changed(
        &mut self,
        _: Resource<TheRecord>,
        field: Option<String>,
        since: guest::Baseline,
    ) -> wasmtime::Result<bool> {
        Ok(self.record()?.changed(field.as_deref(), since.into()))
    }

    fn changes(&mut self, _: Resource<TheRecord>, since: guest::Baseline) -> wasmtime::Result<Vec<guest::Change>> {
        Ok(self.record()?.changes(since.into()).map(Into::into).collect())
    }

    fn change(
        &mut self,
        _: Resource<TheRecord>,
        field: String,
        since: guest::Baseline,
    ) -> wasmtime::Result<Option<guest::Change>> {
        Ok(self.record()?.change(&field, since.into()).map(Into::into))
    }

    fn previous(
        &mut self,
        _: Resource<TheRecord>,
        field: String,
        since: guest::Baseline,
    ) -> wasmtime::Result<Option<String>> {
        Ok(self.record()?.previous(&field, since.into()).map(text))
    }

    fn origin(&mut self, _: Resource<TheRecord>, field: String) -> wasmtime::Result<Option<String>> {
        Ok(self.record()?.origin(&field).map(|origin| origin.as_str().to_owned()))
    }

    fn revert(&mut self, _: Resource<TheRecord>, field: Option<String>, since: guest::Baseline) -> Reply<()> {
        self.writable()?.revert(field.as_deref(), since.into());
        Ok(())
    }

    fn flush(&mut self, _: Resource<TheRecord>, since: guest::Baseline) -> Reply<()> {
        self.writable()?.flush(since.into());
        Ok(())
    }

    fn touch(&mut self, _: Resource<TheRecord>) -> Reply<()> {
        self.writable()?.touch();
        Ok(())
    }

    fn to_json(&mut self, _: Resource<TheRecord>) -> wasmtime::Result<String> {
        Ok(text(&self.record()?.to_json()))
    }

    fn to_changed_json(&mut self, _: Resource<TheRecord>, since: guest::Baseline) -> wasmtime::Result<String> {
        Ok(text(&self.record()?.to_changed_json(since.into())))
    }

    async fn save(&mut self, _: Resource<TheRecord>) -> Reply<()> {
        self.writable()?;
        self.meter.count(Limit::Writes)?;
        if let Some(record) = self.invocation.record.as_mut() {
            self.session.save(record).await?;
            record.flush(Baseline::Persisted);
        }
        Ok(())
    }

    fn drop(&mut self, handle: Resource<TheRecord>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl guest::HostInvocation for State {
    fn params(&mut self, _: Resource<TheInvocation>) -> wasmtime::Result<String> {
        self.meter.count(Limit::HostCalls)?;
        Ok(text(&self.invocation.params))
    }

    fn param(&mut self, _: Resource<TheInvocation>, name: String) -> wasmtime::Result<Option<String>> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.invocation.params.member(&name).as_ref().map(text))
    }

    fn trigger(&mut self, _: Resource<TheInvocation>) -> wasmtime::Result<String> {
        self.meter.count(Limit::HostCalls)?;
        Ok(text(&self.invocation.trigger))
    }

    fn verb(&mut self, _: Resource<TheInvocation>) -> wasmtime::Result<Option<String>> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.invocation.verb.clone())
    }

    async fn payload(&mut self, _: Resource<TheInvocation>) -> wasmtime::Result<Option<String>> {
        self.meter.count(Limit::HostCalls)?;
        if self.invocation.payload.is_none() {
            self.invocation.payload = self.session.payload().await.map_err(|error| HostFault(error.message))?;
        }
        Ok(self.invocation.payload.as_ref().map(text))
    }

    fn session(&mut self, _: Resource<TheInvocation>) -> wasmtime::Result<Option<String>> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.invocation.caller.as_ref().map(text))
    }

    fn shop(&mut self, _: Resource<TheInvocation>) -> wasmtime::Result<Option<String>> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.invocation.shop.as_ref().map(text))
    }

    fn record(&mut self, _: Resource<TheInvocation>) -> wasmtime::Result<Option<Resource<TheRecord>>> {
        self.meter.count(Limit::HostCalls)?;
        if self.invocation.record.is_none() {
            return Ok(None);
        }
        self.keep(TheRecord).map(Some)
    }

    fn run_result(&mut self, _: Resource<TheInvocation>) -> wasmtime::Result<Option<String>> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.invocation.run_result.as_ref().map(text))
    }

    fn idempotency_key(&mut self, _: Resource<TheInvocation>) -> wasmtime::Result<String> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.invocation.idempotency_key.clone())
    }

    fn attempt(&mut self, _: Resource<TheInvocation>) -> wasmtime::Result<u32> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.invocation.attempt)
    }

    fn depth(&mut self, _: Resource<TheInvocation>) -> wasmtime::Result<u32> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.invocation.depth)
    }

    fn remaining_ms(&mut self, _: Resource<TheInvocation>) -> wasmtime::Result<u64> {
        self.meter.count(Limit::HostCalls)?;
        Ok(u64::try_from(self.meter.remaining().as_millis()).unwrap_or(u64::MAX))
    }

    async fn checkpoint(&mut self, _: Resource<TheInvocation>, state: String) -> Reply<()> {
        self.meter.count(Limit::HostCalls)?;
        let state = json("state", state)?;
        if state.as_str().starts_with('{') {
            let invalid = |problem| ActionError::permanent(code::INVALID_ARGUMENT, problem);
            object::members(&state, "`state`").map_err(invalid)?;
        }
        self.session.checkpoint(state).await?;
        Ok(self.meter.begin_anew()?)
    }

    fn checkpoint_state(&mut self, _: Resource<TheInvocation>) -> wasmtime::Result<Option<String>> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.invocation.checkpoint_state.as_ref().map(text))
    }

    fn prevent_cross_shop_access(&mut self, _: Resource<TheInvocation>, _: Resource<TheRecord>) -> Reply<()> {
        // The only record a plugin can hold a handle to was loaded through the current shop.
        self.meter.count(Limit::HostCalls)?;
        Ok(())
    }

    fn drop(&mut self, handle: Resource<TheInvocation>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
