//! Everything that an invocation tells.

use tradewind_sdk::serde_json::json;

use crate::Seen;
use crate::bindings::tradewind::plugin::actions::Invocation;

pub(crate) fn see(call: &Invocation) -> Seen {
    let mut seen = Seen::default();
    seen.saw_json("params", &call.params());
    seen.saw_maybe_json("param", call.param("limit"));
    seen.saw_maybe_json("param-absent", call.param("nothing"));
    seen.saw_json("trigger", &call.trigger());
    seen.saw("verb", call.verb());
    seen.saw_maybe_json("payload", call.payload());
    seen.saw_maybe_json("session", call.session());
    seen.saw_maybe_json("shop", call.shop());
    seen.saw("record", call.record().map(|record| record.id()));
    seen.saw_maybe_json("run-result", call.run_result());
    seen.saw("idempotency-key", call.idempotency_key());
    seen.saw("attempt", call.attempt());
    seen.saw("depth", call.depth());
    seen.saw("remaining-ms", call.remaining_ms() > 0);
    seen.saw_done("checkpoint", call.checkpoint(r#"{"page":3}"#));
    seen.saw_done("checkpoint-not-json", call.checkpoint("page 3"));
    seen.saw_maybe_json("checkpoint-state", call.checkpoint_state());
    if let Some(record) = call.record() {
        let answer = call.prevent_cross_shop_access(&record);
        seen.saw_answer("prevent-cross-shop-access", answer, |()| json!("done"));
    }
    seen
}
