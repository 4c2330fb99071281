//! The shops that are connected, and the clients that reach them. Tokens stay in here.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use serde_json::json;
use tradewind_model::{ActionError, Json, Shop, code};
use tradewind_platform::effect::Effect;
use tradewind_platform::shopify::{self, AdminApi, CallReport, Client, Connection, Observer, Options, PlatformError};
use tradewind_runtime::session::{Answer, ClientShop, ListPage, Platform, PlatformCall, PlatformList, WhichShop};

use super::apps::tenant;
use crate::config::{self, ExposeSecret};
use crate::pipeline::Clients;
use crate::watch::{Called, Watch};

/// Children that one query reads. 100: with all their fields well under the platform's bound of 1,000 points.
const CHILDREN_MAX: usize = 100;

/// The shops of all apps.
pub struct Connections {
    api: AdminApi,
    shops: RwLock<Arc<HashMap<Shop, Client>>>,
}

impl Connections {
    /// No shops yet.
    pub fn new(api: AdminApi) -> Self {
        Self { api, shops: RwLock::default() }
    }

    /// Connects the shops of these apps and no others. Budgets stay as they are.
    pub fn replace(&self, apps: &[config::App]) {
        let mut shops = HashMap::new();
        for app in apps {
            for connection in app.connections.values() {
                for shop in &connection.shops {
                    let tenant = tenant(app, shop);
                    let client = self.api.client(Connection {
                        app: Arc::clone(&tenant.app),
                        shop: Arc::clone(&tenant.id),
                        domain: shop.domain.as_str().into(),
                        token: shop.access_token.clone(),
                        api_version: connection.api_version.as_str().into(),
                        base_url: Some(shop.api_url.as_str().into()),
                    });
                    shops.insert(tenant, client);
                }
            }
        }
        *self.shops.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shops);
    }

    fn shops(&self) -> Arc<HashMap<Shop, Client>> {
        Arc::clone(&self.shops.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn client(&self, app: &str, shop: &str) -> Answer<Client> {
        let gone = || ActionError::permanent(code::NOT_FOUND, format!("the shop `{shop}` is not connected any more"));
        self.shops().get(&Shop::new(app, shop)).cloned().ok_or_else(gone)
    }
}

#[async_trait]
impl Clients for Connections {
    fn find(&self, current: &Shop, platform: Platform, which: &WhichShop) -> Option<ClientShop> {
        if platform != Platform::Shopify {
            return None;
        }
        // A shop's domain is our id of it too.
        let id = match which {
            WhichShop::Current => &*current.id,
            WhichShop::Id(id) | WhichShop::Name(id) => id,
        };
        let shops = self.shops();
        let client = shops.get(&Shop::new(&*current.app, id))?;
        Some(ClientShop { platform, id: id.to_owned(), name: client.connection().domain.to_string() })
    }

    fn writes(&self, _: Platform, call: &PlatformCall) -> bool {
        match call {
            PlatformCall::Graphql { query, .. } => self.api.writes(query),
            PlatformCall::Rest { .. } => !call.only_reads(),
        }
    }

    fn effects(&self, _: Platform, call: &PlatformCall) -> Vec<Effect> {
        match call {
            PlatformCall::Graphql { query, variables, .. } => self.api.effects(query, variables),
            PlatformCall::Rest { method, path, body, .. } => shopify::rest_effects(method, path, body.as_ref()),
        }
    }

    fn created(&self, _: Platform, answer: &Json) -> Vec<Effect> {
        shopify::answer_effects(answer)
    }

    async fn call(&self, app: &str, shop: &ClientShop, call: &PlatformCall) -> Answer<Json> {
        let client = self.client(app, &shop.id)?;
        let answered = match call {
            PlatformCall::Graphql { query, variables, options } => {
                let options = Options::parse(options).map_err(answer)?;
                client.graphql(query, variables, &options).await
            }
            PlatformCall::Rest { method, path, query, body, options, .. } => {
                let options = Options::parse(options).map_err(answer)?;
                client.rest(method, path, query, body.as_ref(), &options).await
            }
        };
        answered.map_err(answer)
    }

    async fn next_page(
        &self,
        app: &str,
        shop: &ClientShop,
        list: &PlatformList,
        cursor: Option<String>,
    ) -> Answer<ListPage> {
        let client = self.client(app, &shop.id)?;
        let cursor = cursor.as_deref();
        let page = match &list.call {
            PlatformCall::Graphql { query, variables, options } => {
                let options = Options::parse(options).map_err(answer)?;
                let path = list.connection.as_deref().unwrap_or_default();
                client.graphql_page(query, variables, path, cursor, &options).await
            }
            PlatformCall::Rest { path, query, options, .. } => {
                let options = Options::parse(options).map_err(answer)?;
                client.rest_page(path, query, cursor, &options).await
            }
        };
        page.map(|page| ListPage { items: page.items, next: page.next }).map_err(answer)
    }

    fn budget(&self, app: &str, shop: &ClientShop) -> Json {
        self.client(app, &shop.id).map_or_else(|_| Json::null(), |client| client.budget())
    }

    fn credentials(&self, app: &str, shop: &ClientShop) -> Answer<Json> {
        let client = self.client(app, &shop.id)?;
        let name = shop.name.split('.').next().unwrap_or_default();
        let credentials = json!({ "shopName": name, "accessToken": client.connection().token.expose_secret() });
        Json::of(&credentials).map_err(|error| ActionError::permanent(code::INTERNAL, error.to_string()))
    }

    async fn children(&self, shop: &Shop, model: &str, ids: &[String]) -> Answer<Json> {
        let client = self.client(&shop.app, &shop.id)?;
        let mut items = Vec::new();
        for ids in ids.chunks(CHILDREN_MAX) {
            let (query, variables) = shopify::children_query(model, ids)
                .ok_or_else(|| ActionError::permanent(code::INTERNAL, format!("`{model}` has no query")))?;
            let data = client.graphql(query, &variables, &Options::default()).await.map_err(answer)?;
            items.extend(shopify::children_of(&data));
        }
        Json::of(&items).map_err(|error| ActionError::permanent(code::INTERNAL, error.to_string()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn answer(error: PlatformError) -> ActionError {
    ActionError::from(&error)
}

/// Tells whoever watches of each call.
pub(super) struct Reports(pub(super) Arc<dyn Watch>);

impl Observer for Reports {
    fn called(&self, report: &CallReport) {
        self.0.called(&Called {
            app: &report.app,
            shop: &report.shop,
            what: &report.operation,
            status: report.status,
            error: report.error,
            cost: report.cost,
            available: report.available,
            maximum: report.maximum,
            retries: report.retries,
            took_us: u64::try_from(report.duration.as_micros()).unwrap_or(u64::MAX),
        });
    }
}
