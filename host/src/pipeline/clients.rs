//! What the pipeline asks of the platforms' clients. The implementation holds the tokens and the budgets.

use async_trait::async_trait;
use tradewind_model::{Json, Shop};
use tradewind_platform::effect::Effect;
use tradewind_runtime::session::{Answer, ClientShop, ListPage, Platform, PlatformCall, PlatformList, WhichShop};

/// The clients of all shops that are connected.
#[async_trait]
pub trait Clients: Send + Sync {
    /// Finds a shop of the app by how a plugin names it; none when it is not connected. `current` is the shop whose work is
    /// being done.
    fn find(&self, current: &Shop, platform: Platform, which: &WhichShop) -> Option<ClientShop>;

    /// Whether a call changes something on its platform; one that cannot be understood does.
    fn writes(&self, platform: Platform, call: &PlatformCall) -> bool;

    /// What a call will change, as far as can be told.
    fn effects(&self, platform: Platform, call: &PlatformCall) -> Vec<Effect>;

    /// The records that an answer to a call that writes names: what it created has an id only now.
    fn created(&self, platform: Platform, answer: &Json) -> Vec<Effect>;

    /// Calls a shop's platform. Waits for the budget and retries what is worth it.
    async fn call(&self, app: &str, shop: &ClientShop, call: &PlatformCall) -> Answer<Json>;

    /// Reads a page of a list.
    async fn next_page(
        &self,
        app: &str,
        shop: &ClientShop,
        list: &PlatformList,
        cursor: Option<String>,
    ) -> Answer<ListPage>;

    /// What is known of a shop's budget.
    fn budget(&self, app: &str, shop: &ClientShop) -> Json;

    /// A shop's name and access token, for a plugin that was granted to see it.
    fn credentials(&self, app: &str, shop: &ClientShop) -> Answer<Json>;

    /// Reads records that a webhook names and has no room for, as a list in the form of the webhook's own.
    async fn children(&self, shop: &Shop, model: &str, ids: &[String]) -> Answer<Json>;
}
