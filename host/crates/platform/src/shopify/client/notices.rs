//! What the platform warns of, logged once.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use reqwest::header::HeaderMap;

use super::Connection;
use super::limits::NOTICES_MAX;
use super::request::Request;

/// What was logged already.
#[derive(Debug, Default)]
pub(super) struct Notices(Mutex<HashSet<String>>);

impl Notices {
    /// Logs what the headers of an answer warn of.
    pub(super) fn read(&self, connection: &Connection, request: &Request, headers: &HeaderMap) {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(reason) = header("x-shopify-api-deprecated-reason")
            && self.is_new(reason)
        {
            tracing::warn!(
                app = &*connection.app,
                operation = request.operation,
                reason,
                "Shopify will take away what a call uses; hint: the reason says where to read on"
            );
        }
        let asked = request.url.path().split_once("/admin/api/").and_then(|(_, path)| path.split('/').next());
        if let (Some(asked), Some(answered)) = (asked, header("x-shopify-api-version"))
            && asked != answered
            && self.is_new(&format!("{asked} {answered}"))
        {
            tracing::warn!(
                app = &*connection.app,
                asked,
                answered,
                "Shopify answers with another version of its API; hint: use a version that it still supports"
            );
        }
    }

    fn is_new(&self, notice: &str) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(notice) {
            return false;
        }
        if known.len() >= NOTICES_MAX {
            known.clear();
        }
        known.insert(notice.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_new_once() {
        let notices = Notices::default();
        assert!(notices.is_new("a") && !notices.is_new("a") && notices.is_new("b"));
        for number in 0..2 * NOTICES_MAX {
            assert!(notices.is_new(&number.to_string()));
        }
        assert!(notices.0.lock().unwrap().len() <= NOTICES_MAX);
    }
}
