//! Calls to platforms, by a plugin's session or by a job: what they will change is noted before they are sent.
//!
//! A session's futures are polled on the guest's small stack. Documents of a stranger are parsed elsewhere, by tasks of their
//! own ([`aside`]): a parser that looks how much stack is left would look at the wrong one.

use std::sync::Arc;

use serde::Deserialize;
use tokio::task::JoinSet;
use tracing::Instrument as _;
use tradewind_model::{ActionError, Json, Shop, code};
use tradewind_runtime::session::{Answer, ClientShop, ListPage, Platform, PlatformCall, PlatformList, WhichShop};

use super::clients::Clients;
use super::context::Context;
use super::echo::When;
use super::work::internal;

/// A call as `queue.enqueue-call` takes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LaterCall {
    platform: String,
    #[serde(default)]
    graphql: Option<LaterGraphql>,
    #[serde(default)]
    rest: Option<LaterRest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LaterGraphql {
    query: String,
    #[serde(default = "Json::null")]
    variables: Json,
    #[serde(default = "Json::null")]
    options: Json,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LaterRest {
    method: String,
    path: String,
    #[serde(default = "Json::null")]
    query: Json,
    #[serde(default)]
    body: Option<Json>,
    #[serde(default = "Json::null")]
    options: Json,
}

/// Does the work in a task of its own, which ends with the caller.
async fn aside<T: Send + 'static>(work: impl Future<Output = Answer<T>> + Send + 'static) -> Answer<T> {
    let mut task = JoinSet::new();
    task.spawn(work.in_current_span());
    match task.join_next().await {
        Some(Ok(answer)) => answer,
        Some(Err(error)) => Err(internal(&error)),
        None => Err(ActionError::permanent(code::INTERNAL, "the call was never made")),
    }
}

impl Context {
    fn clients(&self) -> Answer<Arc<dyn Clients>> {
        let missing = || ActionError::permanent(code::NOT_AVAILABLE, "this host has no platform clients");
        self.host.clients.get().cloned().ok_or_else(missing)
    }

    /// Finds a shop whose client a plugin may use.
    pub(super) fn find_client(&self, platform: Platform, which: &WhichShop) -> Option<ClientShop> {
        self.host.clients.get()?.find(&self.shop(), platform, which)
    }

    /// Calls a platform on a plugin's behalf.
    pub(super) async fn call_platform(&self, plugin: &str, shop: &ClientShop, call: &PlatformCall) -> Answer<Json> {
        let (clients, current) = (self.clients()?, self.shop());
        if !call.writes() {
            let (shop, call) = (shop.clone(), call.clone());
            return aside(async move { clients.call(&current.app, &shop, &call).await }).await;
        }
        let target = Shop::new(Arc::clone(&current.app), shop.id.as_str());
        let (effects_of, platform, parsed) = (Arc::clone(&clients), shop.platform, call.clone());
        let effects = aside(async move { Ok(effects_of.effects(platform, &parsed)) }).await?;
        let noted = self.expect(plugin, &target, effects, When::Before).await?;
        let (caller, shop, call) = (Arc::clone(&clients), shop.clone(), call.clone());
        let answered = aside(async move { caller.call(&current.app, &shop, &call).await }).await;
        match &answered {
            Ok(answer) => {
                self.expect(plugin, &target, clients.created(platform, answer), When::Created).await?;
            }
            Err(error) if is_undone(error) => self.unexpect(plugin, &noted).await?,
            Err(_) => {}
        }
        answered
    }

    /// Reads a page of a platform's list.
    pub(super) async fn read_page(
        &self,
        shop: &ClientShop,
        list: &PlatformList,
        cursor: Option<String>,
    ) -> Answer<ListPage> {
        let (clients, current, shop, list) = (self.clients()?, self.shop(), shop.clone(), list.clone());
        aside(async move { clients.next_page(&current.app, &shop, &list, cursor).await }).await
    }

    pub(super) fn budget_of(&self, shop: &ClientShop) -> Json {
        self.host.clients.get().map_or_else(Json::null, |clients| clients.budget(&self.shop().app, shop))
    }

    pub(super) fn credentials_of(&self, shop: &ClientShop) -> Answer<Json> {
        self.clients()?.credentials(&self.shop().app, shop)
    }

    /// Makes a call that was enqueued by a plugin.
    pub(super) async fn call_later(&self, plugin: &str, call: &Json) -> Answer<Json> {
        let (platform, call) = parsed(call)?;
        let missing = || {
            let message = format!("the shop is not connected to {} any more", platform.as_str());
            ActionError::permanent(code::NOT_FOUND, message)
        };
        let shop = self.find_client(platform, &WhichShop::Current).ok_or_else(missing)?;
        self.call_platform(plugin, &shop, &call).await
    }
}

/// Whether a call that failed is known to have changed nothing.
fn is_undone(error: &ActionError) -> bool {
    let detail = |name: &str| error.details.as_ref()?.member(name).filter(|value| !value.is_null());
    match error.code.as_str() {
        code::INVALID_ARGUMENT | code::RATE_LIMITED => true,
        code::PLATFORM_ERROR => {
            let status = detail("status").and_then(|status| status.to::<u16>().ok());
            let is_refused =
                status.is_some_and(|status| status == 200 || (400..500).contains(&status) && status != 408);
            detail("userErrors").is_some() || (is_refused && detail("data").is_none())
        }
        _ => false,
    }
}

fn parsed(call: &Json) -> Answer<(Platform, PlatformCall)> {
    let invalid = |what: String| ActionError::permanent(code::INVALID_ARGUMENT, format!("the call {what}"));
    let later: LaterCall = call.to().map_err(|error| invalid(format!("cannot be read: {error}")))?;
    let platform = match later.platform.as_str() {
        "shopify" => Platform::Shopify,
        "bigcommerce" => Platform::BigCommerce,
        other => return Err(invalid(format!("names the platform `{other}`; hint: `shopify` or `bigcommerce`"))),
    };
    let call = match (later.graphql, later.rest) {
        (Some(LaterGraphql { query, variables, options }), None) => PlatformCall::Graphql { query, variables, options },
        (None, Some(LaterRest { method, path, query, body, options })) => {
            PlatformCall::Rest { api: None, method: method.to_ascii_uppercase(), path, query, body, options }
        }
        _ => return Err(invalid("has neither `graphql` nor `rest`, or both".to_owned())),
    };
    if !call.stays_on_api() {
        return Err(invalid("leaves the API; hint: give a path relative to its root, without `..`".to_owned()));
    }
    Ok((platform, call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_says_what_it_calls() {
        let message = |text: &str| match parsed(&Json::parse(text).unwrap()) {
            Ok((platform, call)) => format!("{} writes: {}", platform.as_str(), call.writes()),
            Err(error) => error.message,
        };
        assert_eq!(message(r#"{"platform":"shopify","graphql":{"query":"mutation { x }"}}"#), "shopify writes: true");
        assert_eq!(
            message(r#"{"platform":"shopify","rest":{"method":"get","path":"shop.json"}}"#),
            "shopify writes: false"
        );
        assert_eq!(
            message(r#"{"platform":"shopify","rest":{"method":"PUT","path":"../x"}}"#),
            "the call leaves the API; hint: give a path relative to its root, without `..`"
        );
        assert_eq!(message(r#"{"platform":"shopify"}"#), "the call has neither `graphql` nor `rest`, or both");
        assert!(message(r#"{"platform":"etsy"}"#).contains("`etsy`"));
        assert!(message("7").starts_with("the call cannot be read"));
    }
}
