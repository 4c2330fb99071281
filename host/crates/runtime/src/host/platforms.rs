//! `shopify` and `bigcommerce`: the platforms' APIs. The phase rule and the call budget are the same for both.

use tradewind_model::{ActionError, Json, code};
use wasmtime::component::Resource;

use super::handles::{Pager, Place};
use super::{Reply, State, at_most, json, name, options as options_of, wit};
use crate::invoke::Phase;
use crate::limits::{GRAPHQL_BYTES_MAX, Limit, PATH_BYTES_MAX};
use crate::session::{BigCommerceApi, ClientShop, Platform, PlatformCall, PlatformList, WhichShop};

impl State {
    async fn current(&mut self, platform: Platform) -> wasmtime::Result<Option<Resource<ClientShop>>> {
        self.meter.count(Limit::HostCalls)?;
        // There is no error to answer with: a shop that cannot be looked up is no current shop.
        match self.session.shop(platform, WhichShop::Current).await {
            Ok(Some(shop)) => self.keep(shop).map(Some),
            Ok(None) | Err(_) => Ok(None),
        }
    }

    async fn client(&mut self, platform: Platform, which: WhichShop) -> Reply<Resource<ClientShop>> {
        self.meter.count(Limit::HostCalls)?;
        let named = match &which {
            WhichShop::Id(named) | WhichShop::Name(named) => named.clone(),
            WhichShop::Current => String::new(),
        };
        name("shop", &named)?;
        if !self.grants.all_shops {
            let current = self.session.shop(platform, WhichShop::Current).await?;
            // Nothing is looked up: whether another shop exists is already more than the plugin may know.
            return match current.filter(|shop| shop.id == named || shop.name == named) {
                Some(shop) => Ok(self.keep(shop)?),
                None => {
                    Err(ActionError::permanent(code::NOT_GRANTED, "another shop's client needs the grant `all-shops`")
                        .into())
                }
            };
        }
        let shop = self.session.shop(platform, which).await?.ok_or_else(|| {
            ActionError::permanent(code::NOT_FOUND, format!("no {} shop `{named}` is installed", platform.as_str()))
        })?;
        Ok(self.keep(shop)?)
    }

    async fn call(&mut self, client: &Resource<ClientShop>, call: PlatformCall) -> Reply<String> {
        self.meter.count(Limit::PlatformCalls)?;
        let shop = self.admit(client, &call).await?;
        let answer = self.session.call(&shop, call).await?;
        self.meter.answer_bytes(answer.as_str().len())?;
        Ok(answer.as_str().to_owned())
    }

    async fn pages(&mut self, client: &Resource<ClientShop>, list: PlatformList) -> Reply<Resource<Pager>> {
        // Nothing is sent before the first page is asked for.
        let shop = self.admit(client, &list.call).await?;
        Ok(self.keep(Pager { shop, list, at: Place::Start })?)
    }

    /// Holds a call to the phase rule and to the API.
    async fn admit(&mut self, client: &Resource<ClientShop>, call: &PlatformCall) -> Reply<ClientShop> {
        self.meter.count(Limit::HostCalls)?;
        match call {
            PlatformCall::Graphql { query, .. } => {
                at_most("query", query.len(), GRAPHQL_BYTES_MAX, "graphql_bytes_max")?;
            }
            PlatformCall::Rest { method, path, .. } => {
                name("method", method)?;
                at_most("path", path.len(), PATH_BYTES_MAX, "path_bytes_max")?;
            }
        }
        call.check()?;
        let shop = self.table.get(client)?.clone();
        if self.invocation.phase == Phase::Run && self.session.writes(shop.platform, call).await? {
            return Err(ActionError::permanent(
                code::WRONG_PHASE,
                "a platform cannot be rolled back; hint: write to it in `success`, or enqueue the call",
            )
            .into());
        }
        Ok(shop)
    }

    async fn next(&mut self, handle: &Resource<Pager>) -> Reply<Option<String>> {
        self.meter.count(Limit::HostCalls)?;
        let pager = self.table.get_mut(handle)?;
        let cursor = match &pager.at {
            Place::Start => None,
            Place::Next(cursor) => Some(cursor.clone()),
            Place::End => return Ok(None),
        };
        self.meter.count(Limit::PlatformCalls)?;
        let page = self.session.next_page(&pager.shop, &pager.list, cursor).await?;
        self.meter.answer_bytes(page.items.as_str().len())?;
        pager.at = page.next.map_or(Place::End, Place::Next);
        Ok(Some(page.items.as_str().to_owned()))
    }

    fn shop_of(&mut self, client: &Resource<ClientShop>) -> wasmtime::Result<&ClientShop> {
        self.meter.count(Limit::HostCalls)?;
        Ok(self.table.get(client)?)
    }

    fn budget_of(&mut self, client: &Resource<ClientShop>) -> wasmtime::Result<String> {
        let shop = self.shop_of(client)?.clone();
        Ok(self.session.budget(&shop).as_str().to_owned())
    }

    fn credentials_of(&mut self, client: &Resource<ClientShop>) -> Reply<String> {
        let shop = self.shop_of(client)?.clone();
        if !self.grants.expose_token {
            return Err(ActionError::permanent(
                code::NOT_GRANTED,
                "reading an access token needs the grant `expose-token`",
            )
            .into());
        }
        Ok(self.session.credentials(&shop)?.as_str().to_owned())
    }
}

impl wit::shopify::Host for State {}

impl wit::shopify::HostClient for State {
    async fn current(&mut self) -> wasmtime::Result<Option<Resource<ClientShop>>> {
        State::current(self, Platform::Shopify).await
    }

    async fn for_shop_id(&mut self, id: String) -> Reply<Resource<ClientShop>> {
        self.client(Platform::Shopify, WhichShop::Id(id)).await
    }

    async fn for_shop_domain(&mut self, domain: String) -> Reply<Resource<ClientShop>> {
        self.client(Platform::Shopify, WhichShop::Name(domain)).await
    }

    async fn shop_id(&mut self, client: Resource<ClientShop>) -> wasmtime::Result<String> {
        Ok(self.shop_of(&client)?.id.clone())
    }

    async fn shop_domain(&mut self, client: Resource<ClientShop>) -> wasmtime::Result<String> {
        Ok(self.shop_of(&client)?.name.clone())
    }

    async fn graphql(
        &mut self,
        client: Resource<ClientShop>,
        query: String,
        variables: String,
        options: String,
    ) -> Reply<String> {
        let (variables, options) = (json("variables", variables)?, options_of(options)?);
        self.call(&client, PlatformCall::Graphql { query, variables, options }).await
    }

    async fn rest(
        &mut self,
        client: Resource<ClientShop>,
        method: String,
        path: String,
        query: String,
        body: Option<String>,
        options: String,
    ) -> Reply<String> {
        let body = body.map(|body| json("body", body)).transpose()?;
        let (query, options) = (json("query", query)?, options_of(options)?);
        let method = method.to_ascii_uppercase();
        self.call(&client, PlatformCall::Rest { api: None, method, path, query, body, options }).await
    }

    async fn rest_pages(
        &mut self,
        client: Resource<ClientShop>,
        path: String,
        query: String,
        options: String,
    ) -> Reply<Resource<Pager>> {
        let (query, options) = (self.kept_json("query", query)?, self.kept_options(options)?);
        self.keep_texts([&path])?;
        let method = "GET".to_owned();
        let call = PlatformCall::Rest { api: None, method, path, query, body: None, options };
        self.pages(&client, PlatformList { call, connection: None }).await
    }

    async fn graphql_pages(
        &mut self,
        client: Resource<ClientShop>,
        query: String,
        variables: String,
        path: String,
        options: String,
    ) -> Reply<Resource<Pager>> {
        self.keep_texts([&query, &path])?;
        let (variables, options) = (self.kept_json("variables", variables)?, self.kept_options(options)?);
        let call = PlatformCall::Graphql { query, variables, options };
        self.pages(&client, PlatformList { call, connection: Some(path) }).await
    }

    async fn budget(&mut self, client: Resource<ClientShop>) -> wasmtime::Result<String> {
        self.budget_of(&client)
    }

    async fn credentials(&mut self, client: Resource<ClientShop>) -> Reply<String> {
        self.credentials_of(&client)
    }

    async fn drop(&mut self, client: Resource<ClientShop>) -> wasmtime::Result<()> {
        self.table.delete(client)?;
        Ok(())
    }
}

impl wit::shopify::HostPager for State {
    async fn next(&mut self, pager: Resource<Pager>) -> Reply<Option<String>> {
        State::next(self, &pager).await
    }

    async fn drop(&mut self, pager: Resource<Pager>) -> wasmtime::Result<()> {
        self.table.delete(pager)?;
        Ok(())
    }
}

fn bigcommerce_call(api: &str, method: &str, path: String, options: Json) -> Reply<PlatformCall> {
    let api = match api {
        "v2" => BigCommerceApi::V2,
        "v3" => BigCommerceApi::V3,
        other => {
            let message = format!("there is no API `{other}`; hint: `v2` or `v3`");
            return Err(ActionError::permanent(code::INVALID_ARGUMENT, message).into());
        }
    };
    let method = method.to_ascii_uppercase();
    Ok(PlatformCall::Rest { api: Some(api), method, path, query: Json::null(), body: None, options })
}

impl wit::bigcommerce::Host for State {}

impl wit::bigcommerce::HostClient for State {
    async fn current(&mut self) -> wasmtime::Result<Option<Resource<ClientShop>>> {
        State::current(self, Platform::BigCommerce).await
    }

    async fn for_store_id(&mut self, id: String) -> Reply<Resource<ClientShop>> {
        self.client(Platform::BigCommerce, WhichShop::Id(id)).await
    }

    async fn for_store_hash(&mut self, hash: String) -> Reply<Resource<ClientShop>> {
        self.client(Platform::BigCommerce, WhichShop::Name(hash)).await
    }

    async fn store_id(&mut self, client: Resource<ClientShop>) -> wasmtime::Result<String> {
        Ok(self.shop_of(&client)?.id.clone())
    }

    async fn store_hash(&mut self, client: Resource<ClientShop>) -> wasmtime::Result<String> {
        Ok(self.shop_of(&client)?.name.clone())
    }

    async fn request(
        &mut self,
        client: Resource<ClientShop>,
        api: String,
        method: String,
        path: String,
        options: String,
    ) -> Reply<String> {
        let call = bigcommerce_call(&api, &method, path, options_of(options)?)?;
        self.call(&client, call).await
    }

    async fn pages(
        &mut self,
        client: Resource<ClientShop>,
        api: String,
        path: String,
        options: String,
    ) -> Reply<Resource<Pager>> {
        self.keep_texts([&path])?;
        let call = bigcommerce_call(&api, "GET", path, self.kept_options(options)?)?;
        State::pages(self, &client, PlatformList { call, connection: None }).await
    }

    async fn budget(&mut self, client: Resource<ClientShop>) -> wasmtime::Result<String> {
        self.budget_of(&client)
    }

    async fn credentials(&mut self, client: Resource<ClientShop>) -> Reply<String> {
        self.credentials_of(&client)
    }

    async fn drop(&mut self, client: Resource<ClientShop>) -> wasmtime::Result<()> {
        self.table.delete(client)?;
        Ok(())
    }
}

impl wit::bigcommerce::HostPager for State {
    async fn next(&mut self, pager: Resource<Pager>) -> Reply<Option<String>> {
        State::next(self, &pager).await
    }

    async fn drop(&mut self, pager: Resource<Pager>) -> wasmtime::Result<()> {
        self.table.delete(pager)?;
        Ok(())
    }
}
