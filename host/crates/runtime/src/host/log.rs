//! `log`: structured entries, bounded in bytes together with standard output and standard error.

use tradewind_model::Json;

use super::{State, text_as_json, wit};
use crate::invoke::drain_output;
use crate::limits::{ENTRY_BYTES, Limit};
use crate::session::{Level, LogEntry};
use wit::log as guest;

impl From<guest::Level> for Level {
    fn from(level: guest::Level) -> Self {
        match level {
            guest::Level::Trace => Self::Trace,
            guest::Level::Debug => Self::Debug,
            guest::Level::Info => Self::Info,
            guest::Level::Warn => Self::Warn,
            guest::Level::Error => Self::Error,
        }
    }
}

impl guest::Host for State {
    fn enabled(&mut self, level: guest::Level) -> wasmtime::Result<bool> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.session.log_enabled(level.into()))
    }

    fn write(&mut self, level: guest::Level, message: String, fields: String) -> wasmtime::Result<()> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.log_bytes(message.len() + fields.len() + ENTRY_BYTES)?;
        // What was printed before comes before.
        drain_output(self, false);
        // A log call has no error to answer with, so what is not JSON is kept as it is.
        let fields = Json::parse(fields.as_str()).unwrap_or_else(|_| Json::object([("raw", &text_as_json(&fields))]));
        self.session.log(LogEntry { level: level.into(), message, fields });
        Ok(())
    }
}
