//! `config`: settings and secrets.

use super::{Reply, State, name as name_of, wit};
use crate::limits::Limit;

impl wit::config::Host for State {
    fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.session.config(&name).map(|value| value.as_str().to_owned()))
    }

    fn secret(&mut self, name: String) -> Reply<Option<String>> {
        self.meter.count(Limit::HostCalls)?;
        name_of("name", &name)?;
        Ok(self.session.secret(&name)?)
    }
}
