//! Settings, logs, time and chance.

use std::hash::{BuildHasher as _, RandomState};
use std::time::SystemTime;

use crate::Seen;
use crate::bindings::tradewind::plugin::actions::Invocation;
use crate::bindings::tradewind::plugin::{config, log};
use tradewind_sdk::serde_json::json;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the host turns these into log entries")]
pub(crate) fn see(_: &Invocation) -> Seen {
    let mut seen = Seen::default();
    seen.saw_maybe_json("get", config::get("colour"));
    seen.saw_maybe_json("get-absent", config::get("nothing"));
    seen.saw_answer("secret", config::secret("password"), |secret| json!(secret));
    seen.saw_answer("secret-absent", config::secret("nothing"), |secret| json!(secret));
    seen.saw("enabled", log::enabled(log::Level::Trace));
    for level in [log::Level::Trace, log::Level::Debug, log::Level::Info, log::Level::Warn, log::Level::Error] {
        log::write(level, "written", r#"{"n":1}"#);
    }
    log::write(log::Level::Info, "raw", "not json");
    println!("printed");
    eprintln!("complained");
    log::write(log::Level::Info, "last", "null");
    eprint!("unfinished");
    seen
}

/// The first bytes of chance that a program sees, and the second that it believes to be in.
#[expect(clippy::disallowed_methods, reason = "the clock is the host's, and what it says is what is asked here")]
pub(crate) fn see_time_and_chance(_: &Invocation) -> Seen {
    let mut seen = Seen::default();
    seen.saw("chance", RandomState::new().hash_one(0).to_string());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    seen.saw("hours-since-1970", now.map_or(0, |now| now.as_secs() / 3_600));
    seen
}

pub(crate) fn report(text: &str) {
    log::write(log::Level::Info, "success", text);
}
