//! Structured logs: `log::info!("product tagged", tags = tags.len(), product = id)`.
//!
//! The host adds the shop, delivery and invocation ids. Bodies, tokens and customer data do not belong in a log.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::host::log as host;

pub use host::Level;

/// Whether anybody would see an entry of this level.
pub fn enabled(level: Level) -> bool {
    host::enabled(level)
}

/// Writes an entry. The macros are shorter.
pub fn write(level: Level, message: &str, fields: Map<String, Value>) {
    host::write(level, message, &Value::Object(fields).to_string());
}

#[doc(hidden)]
pub fn field(fields: &mut Map<String, Value>, name: &str, value: impl Serialize) {
    let value = serde_json::to_value(value).unwrap_or_else(|error| Value::String(error.to_string()));
    fields.insert(name.to_owned(), value);
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident, $message:expr $(, $name:ident = $value:expr)* $(,)?) => {{
        if $crate::log::enabled($crate::log::Level::$level) {
            #[allow(unused_mut, reason = "there may be no fields")]
            let mut fields = $crate::serde_json::Map::new();
            $( $crate::log::field(&mut fields, stringify!($name), &$value); )*
            $crate::log::write($crate::log::Level::$level, &$message.to_string(), fields);
        }
    }};
}

/// Writes an entry of the level `trace`.
#[macro_export]
#[doc(hidden)]
macro_rules! __trace { ($($entry:tt)+) => { $crate::__log!(Trace, $($entry)+) }; }
/// Writes an entry of the level `debug`.
#[macro_export]
#[doc(hidden)]
macro_rules! __debug { ($($entry:tt)+) => { $crate::__log!(Debug, $($entry)+) }; }
/// Writes an entry of the level `info`.
#[macro_export]
#[doc(hidden)]
macro_rules! __info { ($($entry:tt)+) => { $crate::__log!(Info, $($entry)+) }; }
/// Writes an entry of the level `warn`.
#[macro_export]
#[doc(hidden)]
macro_rules! __warn { ($($entry:tt)+) => { $crate::__log!(Warn, $($entry)+) }; }
/// Writes an entry of the level `error`.
#[macro_export]
#[doc(hidden)]
macro_rules! __error { ($($entry:tt)+) => { $crate::__log!(Error, $($entry)+) }; }

pub use crate::{__debug as debug, __error as error, __info as info, __trace as trace, __warn as warn};
