//! Third parties.

use tradewind_sdk::serde_json::json;

use crate::Seen;
use crate::bindings::tradewind::plugin::actions::Invocation;
use crate::bindings::tradewind::plugin::http::{self, Response};

pub(crate) fn see(_: &Invocation) -> Seen {
    let mut seen = Seen::default();
    let headers = [("Accept".to_owned(), "text/plain".to_owned())];
    let send = |method: &str, body: Option<&[u8]>, options: &str| {
        http::send(method, "https://api.example.com/rates", &headers, body, options)
    };
    let whole = |response: Response| {
        json!({
            "status": response.status(),
            "header": response.header("content-TYPE"),
            "header-absent": response.header("nothing"),
            "headers": response.headers(),
            "body": response.body(),
            "text": response.text(),
        })
    };
    seen.saw_answer("send", send("get", None, r#"{"timeoutMs":500}"#), whole);
    seen.saw_answer("send-write", send("post", Some(b"\xff"), "null"), whole);
    seen.saw_answer("send-not-json", send("get", None, "fast"), whole);
    seen
}
