//! `registry`: what `describe` registers. Problems are collected, so that all of them are reported at once.

use tradewind_model::{ActionDeclaration, Ask, Json, OnModel, OnWebhook, Param};
use wasmtime::component::Resource;

use super::handles::{Declaration, Registrar};
use super::{State, wit};
use crate::limits::Limit;
use wit::registry as guest;

impl guest::Host for State {}

impl State {
    fn registered_json(&mut self, what: &str, text: String) -> wasmtime::Result<Option<Json>> {
        // The message of a problem is about as long as what it is about.
        self.meter.keep_bytes(what.len() + text.len())?;
        match Json::parse(text) {
            Ok(json) => Ok(Some(json)),
            Err(error) => {
                self.registration_problems.push(format!("{what} is not JSON: {}", error.reason));
                Ok(None)
            }
        }
    }

    /// A declaration that is about to keep `texts`.
    fn declared<'a>(
        &mut self,
        handle: &Resource<Declaration>,
        texts: impl IntoIterator<Item = &'a String>,
    ) -> wasmtime::Result<&mut ActionDeclaration> {
        self.meter.count(Limit::HostCalls)?;
        self.keep_texts(texts)?;
        let index = self.table.get(handle)?.index;
        Ok(&mut self.registration.actions[index])
    }
}

impl guest::HostRegistrar for State {
    fn action(&mut self, _: Resource<Registrar>, name: String) -> wasmtime::Result<Resource<Declaration>> {
        self.meter.count(Limit::HostCalls)?;
        self.keep_texts([&name])?;
        let index = self.registration.actions.len();
        let handle = self.keep(Declaration { index })?;
        self.registration.actions.push(ActionDeclaration { name, ..ActionDeclaration::default() });
        Ok(handle)
    }

    fn ask(&mut self, _: Resource<Registrar>, capability: String, detail: String) -> wasmtime::Result<()> {
        self.meter.count(Limit::HostCalls)?;
        if let Some(detail) = self.registered_json(&format!("the detail of asking for `{capability}`"), detail)? {
            self.registration.asks.push(Ask { capability, detail });
        }
        Ok(())
    }

    fn set_option(&mut self, _: Resource<Registrar>, name: String, value: String) -> wasmtime::Result<()> {
        self.meter.count(Limit::HostCalls)?;
        if let Some(value) = self.registered_json(&format!("option `{name}`"), value)? {
            self.registration.options.insert(name, value);
        }
        Ok(())
    }

    fn drop(&mut self, handle: Resource<Registrar>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl guest::HostDeclaration for State {
    fn on_model(&mut self, handle: Resource<Declaration>, model: String, verb: String) -> wasmtime::Result<()> {
        self.declared(&handle, [&model, &verb])?.models.push(OnModel { model, verb });
        Ok(())
    }

    fn on_webhook(&mut self, handle: Resource<Declaration>, platform: String, topic: String) -> wasmtime::Result<()> {
        self.declared(&handle, [&platform, &topic])?.webhooks.push(OnWebhook { platform, topic });
        Ok(())
    }

    fn on_schedule(&mut self, handle: Resource<Declaration>, cron: String) -> wasmtime::Result<()> {
        self.declared(&handle, [&cron])?.schedules.push(cron);
        Ok(())
    }

    fn when_changed(&mut self, handle: Resource<Declaration>, fields: Vec<String>) -> wasmtime::Result<()> {
        self.declared(&handle, &fields)?.when_changed.extend(fields);
        Ok(())
    }

    fn param(
        &mut self,
        handle: Resource<Declaration>,
        name: String,
        schema: String,
        required: bool,
    ) -> wasmtime::Result<()> {
        if let Some(schema) = self.registered_json(&format!("the schema of parameter `{name}`"), schema)? {
            self.declared(&handle, [&name])?.params.insert(name, Param { schema, required });
        }
        Ok(())
    }

    fn set_option(&mut self, handle: Resource<Declaration>, name: String, value: String) -> wasmtime::Result<()> {
        if let Some(value) = self.registered_json(&format!("option `{name}`"), value)? {
            self.declared(&handle, [&name])?.options.insert(name, value);
        }
        Ok(())
    }

    fn drop(&mut self, handle: Resource<Declaration>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
