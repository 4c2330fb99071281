//! `queue`: background work.

use tradewind_model::{ActionError, Json, code};

use super::{Reply, State, name, wit};
use crate::check::Grants;
use crate::limits::Limit;
use crate::session::{Answer, Work, is_relative};

/// Holds a call that is sent later to the rules of one that is sent at once, but for the phase.
fn may_call(grants: &Grants, call: &Json) -> Answer<()> {
    let invalid = |message: &str| Err(ActionError::permanent(code::INVALID_ARGUMENT, message));
    let text = |value: Option<Json>| value.and_then(|value| value.to::<String>().ok());
    let platform = text(call.member("platform")).unwrap_or_default();
    let granted = match platform.as_str() {
        "shopify" => grants.shopify,
        "bigcommerce" => grants.bigcommerce,
        _ => return invalid("`call.platform` is neither `shopify` nor `bigcommerce`"),
    };
    if !granted {
        let message = format!("enqueueing this call needs the grant `{platform}`");
        return Err(ActionError::permanent(code::NOT_GRANTED, message));
    }
    match (call.member("graphql"), call.member("rest")) {
        (Some(_), None) => Ok(()),
        (None, Some(rest)) if text(rest.member("path")).is_some_and(|path| is_relative(&path)) => Ok(()),
        (None, Some(_)) => invalid("`call.rest.path` leaves the API; hint: relative to its root, without `..`"),
        _ => invalid("`call` has neither `graphql` nor `rest`, or both"),
    }
}

impl wit::queue::Host for State {
    async fn enqueue_action(&mut self, action: String, params: String, options: String) -> Reply<String> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Jobs)?;
        name("action", &action)?;
        self.keep_texts([&action])?;
        let work = Work::Action { action, params: self.kept_json("params", params)? };
        let options = self.kept_options(options)?;
        Ok(self.session.enqueue(work, options).await?)
    }

    async fn enqueue_call(&mut self, call: String, options: String) -> Reply<String> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Jobs)?;
        let call = self.kept_json("call", call)?;
        may_call(&self.grants, &call)?;
        let work = Work::Call { call };
        let options = self.kept_options(options)?;
        Ok(self.session.enqueue(work, options).await?)
    }

    async fn status(&mut self, id: String) -> Reply<String> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Reads)?;
        name("id", &id)?;
        Ok(self.session.job_status(&id).await?.as_str().to_owned())
    }

    async fn cancel(&mut self, id: String) -> Reply<bool> {
        self.meter.count(Limit::HostCalls)?;
        self.meter.count(Limit::Writes)?;
        name("id", &id)?;
        Ok(self.session.cancel_job(&id).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_for_later_need_the_platforms_grant() {
        let grants = Grants { queue: true, shopify: true, ..Grants::default() };
        let check = |call: &str, expected: &str| {
            let code =
                may_call(&grants, &Json::parse(call).unwrap()).map_or_else(|error| error.code, |()| String::new());
            assert_eq!(code, expected, "{call}");
        };
        check(r#"{"platform":"shopify","graphql":{"query":"mutation { a }"}}"#, "");
        check(r#"{"platform":"shopify","rest":{"method":"PUT","path":"products/1.json"}}"#, "");
        check(r#"{"platform":"bigcommerce","rest":{"method":"GET","path":"/store"}}"#, code::NOT_GRANTED);
        check(
            r#"{"platform":"shopify","rest":{"method":"GET","path":"https://evil.example"}}"#,
            code::INVALID_ARGUMENT,
        );
        check(r#"{"platform":"shopify","rest":{"method":"GET"}}"#, code::INVALID_ARGUMENT);
        check(r#"{"platform":"shopify"}"#, code::INVALID_ARGUMENT);
        check(r#"{"platform":"other","graphql":{}}"#, code::INVALID_ARGUMENT);
    }
}
