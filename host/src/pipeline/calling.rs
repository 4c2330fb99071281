//! Calls to platforms, by a plugin's session or by a job: what they will change is noted before they are sent.
//!
//! A session's futures are polled on the guest's small stack. Documents of a stranger are parsed elsewhere, by tasks of their
//! own ([`aside`]): a parser that looks how much stack is left would look at the wrong one.

use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::Instrument as _;
use tradewind_model::{ActionError, Json, Shop, code};
use tradewind_runtime::session::{
    Answer, ClientShop, LaterCall, ListPage, Platform, PlatformCall, PlatformList, WhichShop,
};

use super::clients::Clients;
use super::context::Context;
use super::echo::When;
use super::work::internal;

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

    /// Whether a call changes something on its platform.
    pub(super) async fn call_writes(&self, platform: Platform, call: &PlatformCall) -> Answer<bool> {
        if call.only_reads() {
            return Ok(false);
        }
        let (clients, call) = (self.clients()?, call.clone());
        aside(async move { Ok(clients.writes(platform, &call)) }).await
    }

    /// Calls a platform on a plugin's behalf.
    pub(super) async fn call_platform(&self, plugin: &str, shop: &ClientShop, call: &PlatformCall) -> Answer<Json> {
        let (clients, current) = (self.clients()?, self.shop());
        if !self.call_writes(shop.platform, call).await? {
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
    pub(super) async fn call_later(&self, plugin: &str, LaterCall { platform, call }: &LaterCall) -> Answer<Json> {
        let missing = || {
            let message = format!("the shop is not connected to {} any more", platform.as_str());
            ActionError::permanent(code::NOT_FOUND, message)
        };
        let shop = self.find_client(*platform, &WhichShop::Current).ok_or_else(missing)?;
        self.call_platform(plugin, &shop, call).await
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
