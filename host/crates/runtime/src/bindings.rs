//! The contract as Rust, generated from `wit/v1`.
//!
//! Functions that may wait (storage, platforms, queues) are async on our side; reading and changing the record is not.

wasmtime::component::bindgen!({
    path: "../../../wit/v1",
    world: "plugin",
    imports: {
        "tradewind:plugin/data": async | trappable,
        "tradewind:plugin/queue": async | trappable,
        "tradewind:plugin/shopify": async | trappable,
        "tradewind:plugin/bigcommerce": async | trappable,
        "tradewind:plugin/http": async | trappable,
        "tradewind:plugin/actions.[method]active-record.save": async | trappable,
        "tradewind:plugin/actions.[method]invocation.checkpoint": async | trappable,
        "tradewind:plugin/actions.[method]invocation.payload": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    trappable_error_type: { "tradewind:plugin/types.error" => crate::host::Stop },
    with: {
        "tradewind:plugin/registry.registrar": crate::host::handles::Registrar,
        "tradewind:plugin/registry.declaration": crate::host::handles::Declaration,
        "tradewind:plugin/actions.active-record": crate::host::handles::TheRecord,
        "tradewind:plugin/actions.invocation": crate::host::handles::TheInvocation,
        "tradewind:plugin/data.page": crate::session::Page,
        "tradewind:plugin/shopify.client": crate::session::ClientShop,
        "tradewind:plugin/shopify.pager": crate::host::handles::Pager,
        "tradewind:plugin/http.response": crate::session::HttpResponse,
        "tradewind:plugin/bigcommerce.client": crate::session::ClientShop,
        "tradewind:plugin/bigcommerce.pager": crate::host::handles::Pager,
    },
});
