//! The host side of the contract: one module for each interface, all over one [`State`].
//!
//! What happens here is only translation and accounting. Decisions belong to `model`, effects to the [`Session`].

mod actions;
mod config;
mod data;
pub(crate) mod handles;
mod http;
mod log;
mod platforms;
mod queue;
mod registry;

use tradewind_model::{ActionError, InvalidJson, Json, code};
use wasmtime::component::{HasData, Linker, Resource, ResourceTable, ResourceTableError};

use crate::bindings::tradewind::plugin as wit;
use crate::check::Grants;
use crate::invoke::Invocation;
use crate::limits::{
    ERROR_CODE_BYTES_MAX, ERROR_MESSAGE_BYTES_MAX, Limit, LimitExceeded, NAME_BYTES_MAX, NAMES_MAX, OPTIONS_BYTES_MAX,
};
use crate::meter::Meter;
use crate::session::Session;
use crate::text::start_of;
use crate::wasi::Wasi;

/// Everything that belongs to one invocation's store.
pub(crate) struct State {
    pub(crate) session: Box<dyn Session>,
    pub(crate) invocation: Invocation,
    pub(crate) registration: tradewind_model::Description,
    pub(crate) registration_problems: Vec<String>,
    pub(crate) grants: Grants,
    pub(crate) table: ResourceTable,
    pub(crate) wasi: Wasi,
    pub(crate) meter: Meter,
    /// Whether the guest was there: what goes wrong from then on is the guest's doing.
    pub(crate) instantiated: bool,
}

impl HasData for State {
    type Data<'a> = &'a mut Self;
}

/// Ends an invocation that cannot go on through no fault of the plugin's.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HostFault(pub(crate) String);

/// How a host function ends without a value: with an answer for the plugin, or by ending the plugin.
pub(crate) enum Stop {
    Answer(ActionError),
    Trap(wasmtime::Error),
}

impl From<ActionError> for Stop {
    fn from(error: ActionError) -> Self {
        Self::Answer(error)
    }
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl From<LimitExceeded> for Stop {
    fn from(exceeded: LimitExceeded) -> Self {
        Self::Trap(exceeded.into())
    }
}

impl From<ResourceTableError> for Stop {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl From<InvalidJson> for Stop {
    fn from(error: InvalidJson) -> Self {
        Self::Answer(ActionError::permanent(code::INVALID_JSON, error.reason))
    }
}

pub(crate) type Reply<T> = Result<T, Stop>;

/// Awaits a call of the session, within what a host call may look at whose arguments have this many bytes.
macro_rules! within_budget {
    ($state:expr, $bytes:expr, $call:expr) => {{
        let (answer, budget) = $state.meter.work($bytes).within($call).await;
        $crate::meter::settle(&budget)?;
        answer
    }};
}
use within_budget;

impl State {
    /// Keeps a value on the plugin's behalf.
    fn keep<T: Send + 'static>(&mut self, value: T) -> wasmtime::Result<Resource<T>> {
        match self.table.push(value) {
            Ok(handle) => Ok(handle),
            Err(ResourceTableError::Full) => Err(self.meter.exceeded(Limit::Resources).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a JSON argument that stays with the host, and counts its bytes.
    fn kept_json(&mut self, name: &str, text: String) -> Reply<Json> {
        self.meter.keep_bytes(text.len())?;
        json(name, text)
    }

    /// Reads `options` that stay with the host, and counts their bytes.
    fn kept_options(&mut self, text: String) -> Reply<Json> {
        self.meter.keep_bytes(text.len())?;
        options(text)
    }

    /// Counts the bytes of names and other texts that stay with the host.
    fn keep_texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a String>) -> Result<(), LimitExceeded> {
        let bytes = texts.into_iter().fold(0, |sum: usize, text| sum.saturating_add(text.len()));
        self.meter.keep_bytes(bytes)
    }
}

/// Refuses an argument that is longer than anything that is meant, before anything else looks at it.
fn at_most(what: &str, bytes: usize, max: usize, limit: &str) -> Reply<()> {
    if bytes <= max {
        return Ok(());
    }
    let message = format!("`{what}` has {bytes} bytes, at most {max} (`{limit}`); hint: pass less at a time");
    Err(ActionError::permanent(code::INVALID_ARGUMENT, message).into())
}

/// Refuses a name, an id or a method that is longer than any.
fn name(what: &str, text: &str) -> Reply<()> {
    at_most(what, text.len(), NAME_BYTES_MAX, "name_bytes_max")
}

/// The same for a list of names.
fn names(what: &str, list: &[String]) -> Reply<()> {
    if list.len() > NAMES_MAX {
        let message =
            format!("`{what}` has {} names, at most {NAMES_MAX} (`names_max`); hint: pass less at a time", list.len());
        return Err(ActionError::permanent(code::INVALID_ARGUMENT, message).into());
    }
    list.iter().try_for_each(|text| name(what, text))
}

/// Reads `options`, of any function.
fn options(text: String) -> Reply<Json> {
    at_most("options", text.len(), OPTIONS_BYTES_MAX, "options_bytes_max")?;
    json("options", text)
}

/// Reads a JSON argument and names it when it is not one.
fn json(name: &str, text: String) -> Reply<Json> {
    Json::parse(text).map_err(|error| {
        Stop::Answer(ActionError::permanent(code::INVALID_JSON, format!("`{name}` is not JSON: {}", error.reason)))
    })
}

/// Links exactly what was granted: what is not linked cannot be called, whatever the checks above said.
pub(crate) fn link(linker: &mut Linker<State>, grants: &Grants) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wit::types::add_to_linker::<State, State>(linker, |state| state)?;
    wit::registry::add_to_linker::<State, State>(linker, |state| state)?;
    wit::actions::add_to_linker::<State, State>(linker, |state| state)?;
    wit::log::add_to_linker::<State, State>(linker, |state| state)?;
    if grants.data {
        wit::data::add_to_linker::<State, State>(linker, |state| state)?;
    }
    if grants.queue {
        wit::queue::add_to_linker::<State, State>(linker, |state| state)?;
    }
    if grants.shopify {
        wit::shopify::add_to_linker::<State, State>(linker, |state| state)?;
    }
    if grants.bigcommerce {
        wit::bigcommerce::add_to_linker::<State, State>(linker, |state| state)?;
    }
    if grants.http {
        wit::http::add_to_linker::<State, State>(linker, |state| state)?;
    }
    if grants.config {
        wit::config::add_to_linker::<State, State>(linker, |state| state)?;
    }
    Ok(())
}

impl wit::types::Host for State {
    fn convert_error(&mut self, stop: Stop) -> wasmtime::Result<wit::types::Error> {
        match stop {
            Stop::Answer(error) => {
                // An error may quote what the guest passed, which may be as large as a call.
                let details = error.details.filter(|details| self.meter.answer_bytes(details.as_str().len()).is_ok());
                Ok(wit::types::Error {
                    code: start_of(&error.code, ERROR_CODE_BYTES_MAX),
                    message: start_of(&error.message, ERROR_MESSAGE_BYTES_MAX),
                    details: details.map(|details| details.as_str().to_owned()),
                    retryable: error.retryable,
                })
            }
            Stop::Trap(error) => Err(error),
        }
    }
}

impl From<wit::types::Error> for ActionError {
    fn from(error: wit::types::Error) -> Self {
        let wit::types::Error { code, message, details, retryable } = error;
        // Details that are not JSON are kept as a string rather than lost.
        let details = details.map(|text| Json::parse(text.as_str()).unwrap_or_else(|_| text_as_json(&text)));
        Self { code, message, details, retryable }
    }
}

/// Text as a JSON string.
pub(crate) fn text_as_json(text: &str) -> Json {
    Json::of(text).unwrap_or_else(|_| Json::null())
}
