//! Write Tradewind action plugins in Rust.
//!
//! An action is a type that implements [`Action`]; [`export!`] makes a plugin of one or more of them.
//!
//! ```
//! use tradewind_sdk::prelude::*;
//!
//! struct UpcaseTitle;
//!
//! impl Action for UpcaseTitle {
//!     const NAME: &'static str = "upcase-title";
//!     type Params = ();
//!
//!     fn declare(action: &Declaration) {
//!         action.on_model("shopify/product", &["upcase"]);
//!     }
//!
//!     fn run(call: &Call<Self>) -> Result<Value> {
//!         let product = call.record()?;
//!         let title: String = product.get("title")?;
//!         product.set("title", title.to_uppercase())?;
//!         Ok(Value::Null)
//!     }
//! }
//!
//! tradewind_sdk::export!(UpcaseTitle);
//! ```
//!
//! `run` happens before the change is committed: what it writes is stored with the change, or nothing is. `success`
//! happens after the commit, at least once: calls that write to a platform go there. Both run in a fresh sandbox each
//! time, so nothing in memory survives from one call to the next.
//!
//! Compiled natively, the same code runs against a [fake host](testing), so that `cargo test` covers a plugin's logic.

#![warn(missing_docs)]
#![cfg_attr(
    not(target_family = "wasm"),
    allow(
        clippy::needless_question_mark,
        clippy::useless_conversion,
        reason = "in a sandbox the host answers with an error type of its own, which `?` turns into ours"
    )
)]

mod action;
pub mod bigcommerce;
pub mod config;
pub mod data;
mod error;
mod host;
pub mod http;
pub mod log;
pub mod queue;
mod record;
pub mod shopify;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use action::{Action, Call, Declaration, Plugin, Registrar};
pub use error::{Error, Result};
pub use record::{Change, Record, Since};
pub use schemars;
pub use serde;
pub use serde_json;

/// What a plugin usually needs.
pub mod prelude {
    pub use crate::{Action, Call, Change, Declaration, Error, Record, Result, Since, log, shopify};
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
    pub use serde_json::{self, Value, json};
}

/// Makes a plugin of the actions that are named.
///
/// `export!(TagProduct, UpcaseTitle)` registers both. `export!(plugin => { … }, TagProduct)` first calls the block with a
/// [`Registrar`], to set options of the plugin as a whole or to ask for capabilities.
#[macro_export]
macro_rules! export {
    ($registrar:ident => $setup:block, $($action:ty),+ $(,)?) => {
        #[doc(hidden)]
        pub struct TradewindPlugin;
        impl $crate::Plugin for TradewindPlugin {
            fn describe($registrar: &$crate::Registrar) {
                $setup
                $( $crate::__private::describe::<$action>($registrar); )+
            }
            fn run(call: &$crate::__private::RawCall) -> $crate::Result<String> {
                $( if call.action() == <$action as $crate::Action>::NAME { return $crate::__private::run::<$action>(call); } )+
                Err($crate::__private::unknown_action(call.action()))
            }
            fn success(call: &$crate::__private::RawCall) -> $crate::Result<()> {
                $( if call.action() == <$action as $crate::Action>::NAME { return $crate::__private::success::<$action>(call); } )+
                Err($crate::__private::unknown_action(call.action()))
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::__private::export_component!(TradewindPlugin);
    };
    ($($action:ty),+ $(,)?) => { $crate::export!(_registrar => {}, $($action),+); };
}

#[doc(hidden)]
pub mod __private {
    pub use crate::action::{describe, run, success, unknown_action};
    #[cfg(target_family = "wasm")]
    pub use crate::export_component;
    pub use crate::host::RawCall;
    #[cfg(target_family = "wasm")]
    pub use crate::host::bindings;
}
