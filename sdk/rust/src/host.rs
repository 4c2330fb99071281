//! The line between the SDK and whatever is behind it: the contract's bindings in a sandbox, a fake host in a test.
//!
//! Everything above this module is the same in both.

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::testing::wire::*;
#[cfg(target_family = "wasm")]
pub(crate) use guest::*;

#[cfg(not(target_family = "wasm"))]
pub use crate::testing::wire::RawCall;
#[cfg(target_family = "wasm")]
pub use guest::{RawCall, bindings};

/// JSON text that the host takes: an object for functions that need one.
pub(crate) fn text<T: serde::Serialize + ?Sized>(value: &T) -> crate::Result<String> {
    Ok(serde_json::to_string(value)?)
}

#[cfg(target_family = "wasm")]
mod guest {
    use crate::Error;

    /// Generated from the contract.
    pub mod bindings {
        #![allow(missing_docs, clippy::all, reason = "generated code")]
        wit_bindgen::generate!({
            path: "../../wit/v1",
            world: "plugin",
            pub_export_macro: true,
            default_bindings_module: "tradewind_sdk::__private::bindings",
        });
    }

    pub(crate) use bindings::tradewind::plugin::actions::{ActiveRecord, Baseline, Change, Invocation};
    pub(crate) use bindings::tradewind::plugin::{bigcommerce, config, data, http, log, queue, registry, shopify};

    /// The contract's error.
    pub(crate) type Answer = bindings::tradewind::plugin::types::Error;

    impl From<Error> for Answer {
        fn from(error: Error) -> Self {
            let details = error.details.map(|value| value.to_string());
            Self { code: error.code, message: error.message, details, retryable: error.retryable }
        }
    }

    /// One call as the host makes it.
    pub struct RawCall<'a> {
        pub(crate) action: String,
        pub(crate) invocation: &'a Invocation,
    }

    /// Joins a plugin to the component's exports.
    #[macro_export]
    #[doc(hidden)]
    macro_rules! export_component {
        ($plugin:ty) => {
            struct TradewindExports;
            const _: () = {
                use $crate::__private::bindings;
                impl bindings::Guest for TradewindExports {
                    fn describe(registrar: bindings::Registrar) {
                        <$plugin as $crate::Plugin>::describe(&$crate::Registrar::from_host(&registrar));
                    }
                    fn run(action: String, call: bindings::Invocation) -> Result<String, bindings::Error> {
                        Ok(<$plugin as $crate::Plugin>::run(&$crate::__private::RawCall::from_host(action, &call))?)
                    }
                    fn success(action: String, call: bindings::Invocation) -> Result<(), bindings::Error> {
                        Ok(<$plugin as $crate::Plugin>::success(&$crate::__private::RawCall::from_host(action, &call))?)
                    }
                }
            };
            $crate::__private::bindings::export!(TradewindExports with_types_in $crate::__private::bindings);
        };
    }

    impl<'a> RawCall<'a> {
        #[doc(hidden)]
        pub fn from_host(action: String, invocation: &'a Invocation) -> Self {
            Self { action, invocation }
        }
    }
}

impl RawCall<'_> {
    /// The action's name.
    pub fn action(&self) -> &str {
        &self.action
    }
}
