//! `registry`: what `describe` registers. Problems are collected, so that all of them are reported at once.

use tradewind_model::param_schema::Compiled;
use tradewind_model::{ActionDeclaration, Ask, Json, OnModel, OnWebhook, Param};
use wasmtime::component::Resource;

use super::handles::{Declaration, Registrar};
use super::{State, wit};
use crate::limits::{DECLARED_BYTES, Limit};
use crate::text::start_of;
use wit::registry as guest;

impl guest::Host for State {}

/// Bytes of a name that a problem shows. 100: longer than any that is meant.
const NAME_SHOWN_BYTES: usize = 100;

fn named(what: &str, name: &str) -> String {
    format!("{what} `{}`", start_of(name, NAME_SHOWN_BYTES))
}

impl State {
    fn registered_json(&mut self, what: &str, text: String) -> wasmtime::Result<Option<Json>> {
        // The message of a problem is about as long as what it is about.
        self.meter.keep_bytes(what.len() + text.len() + DECLARED_BYTES)?;
        match Json::parse(text) {
            Ok(json) => Ok(Some(json)),
            Err(error) => {
                if self.registration_problems.len() < tradewind_model::declaration::PROBLEMS_MAX {
                    self.registration_problems.push(format!("{what} is not JSON: {}", error.reason));
                }
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
        self.meter.keep_bytes(DECLARED_BYTES)?;
        let index = self.table.get(handle)?.index;
        Ok(&mut self.registration.actions[index])
    }
}

impl guest::HostRegistrar for State {
    fn action(&mut self, _: Resource<Registrar>, name: String) -> wasmtime::Result<Resource<Declaration>> {
        self.meter.count(Limit::HostCalls)?;
        self.keep_texts([&name])?;
        self.meter.count(Limit::Declarations)?;
        let index = self.registration.actions.len();
        let handle = self.keep(Declaration { index })?;
        self.registration.actions.push(ActionDeclaration { name, ..ActionDeclaration::default() });
        Ok(handle)
    }

    fn ask(&mut self, _: Resource<Registrar>, capability: String, detail: String) -> wasmtime::Result<()> {
        self.meter.count(Limit::HostCalls)?;
        if let Some(detail) = self.registered_json(
            &format!("the detail of asking for `{}`", start_of(&capability, NAME_SHOWN_BYTES)),
            detail,
        )? {
            self.meter.count(Limit::Declarations)?;
            self.keep_texts([&capability])?;
            self.registration.asks.push(Ask { capability, detail });
        }
        Ok(())
    }

    fn set_option(&mut self, _: Resource<Registrar>, name: String, value: String) -> wasmtime::Result<()> {
        self.meter.count(Limit::HostCalls)?;
        if let Some(value) = self.registered_json(&named("option", &name), value)? {
            self.meter.count(Limit::Declarations)?;
            self.keep_texts([&name])?;
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
        self.meter.count(Limit::Declarations)?;
        self.declared(&handle, [&model, &verb])?.models.push(OnModel { model, verb });
        Ok(())
    }

    fn on_webhook(&mut self, handle: Resource<Declaration>, platform: String, topic: String) -> wasmtime::Result<()> {
        self.meter.count(Limit::Declarations)?;
        self.declared(&handle, [&platform, &topic])?.webhooks.push(OnWebhook { platform, topic });
        Ok(())
    }

    fn on_schedule(&mut self, handle: Resource<Declaration>, cron: String) -> wasmtime::Result<()> {
        self.meter.count(Limit::Declarations)?;
        self.declared(&handle, [&cron])?.schedules.push(cron);
        Ok(())
    }

    fn when_changed(&mut self, handle: Resource<Declaration>, fields: Vec<String>) -> wasmtime::Result<()> {
        self.meter.count_many(Limit::Declarations, fields.len())?;
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
        if let Some(schema) = self.registered_json(&named("the schema of parameter", &name), schema)? {
            self.meter.count(Limit::Declarations)?;
            let param = Param { schema, required, compiled: Compiled::default() };
            self.declared(&handle, [&name])?.params.insert(name, param);
        }
        Ok(())
    }

    fn set_option(&mut self, handle: Resource<Declaration>, name: String, value: String) -> wasmtime::Result<()> {
        if let Some(value) = self.registered_json(&named("option", &name), value)? {
            self.meter.count(Limit::Declarations)?;
            self.declared(&handle, [&name])?.options.insert(name, value);
        }
        Ok(())
    }

    fn drop(&mut self, handle: Resource<Declaration>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}
