//! The shop, the app that asks, and the versions.

use async_graphql::{Enum, ID, SimpleObject};

use super::ids::id;
use super::scalars::{DateTime, Url};
use crate::shop::{self, Plan};
use crate::version::Version;
use crate::world::App as KnownApp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum CurrencyCode {
    #[graphql(name = "USD")]
    UnitedStatesDollar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum WeightUnit {
    Kilograms,
}

/// The shop.
#[derive(Clone, Debug, SimpleObject)]
#[expect(clippy::struct_field_names, reason = "the platform's own names")]
pub(super) struct Shop {
    pub(super) id: ID,
    name: String,
    email: String,
    contact_email: String,
    myshopify_domain: String,
    url: Url,
    primary_domain: Domain,
    currency_code: CurrencyCode,
    weight_unit: WeightUnit,
    iana_timezone: String,
    timezone_abbreviation: String,
    timezone_offset: String,
    taxes_included: bool,
    tax_shipping: bool,
    shop_owner_name: String,
    plan: ShopPlan,
    created_at: DateTime,
    updated_at: DateTime,
}

/// Where buyers find the shop.
#[derive(Clone, Debug, SimpleObject)]
struct Domain {
    id: ID,
    host: String,
    url: Url,
    ssl_enabled: bool,
}

/// What the shop pays for.
#[derive(Clone, Debug, SimpleObject)]
struct ShopPlan {
    #[graphql(deprecation = "Use `publicDisplayName` instead.")]
    display_name: String,
    public_display_name: String,
    partner_development: bool,
    shopify_plus: bool,
}

impl From<&shop::Shop> for Shop {
    fn from(shop: &shop::Shop) -> Self {
        let url = Url(format!("https://{}", shop.domain));
        let plan = shop.plan.display_name().to_owned();
        Self {
            id: id("Shop", shop.id),
            name: shop.name.clone(),
            email: format!("owner@{}", shop.domain),
            contact_email: format!("owner@{}", shop.domain),
            myshopify_domain: shop.domain.clone(),
            url: url.clone(),
            primary_domain: Domain { id: id("Domain", shop.id), host: shop.domain.clone(), url, ssl_enabled: true },
            currency_code: CurrencyCode::UnitedStatesDollar,
            weight_unit: WeightUnit::Kilograms,
            iana_timezone: "America/Toronto".to_owned(),
            timezone_abbreviation: "EST".to_owned(),
            timezone_offset: "-0500".to_owned(),
            taxes_included: false,
            tax_shipping: false,
            shop_owner_name: "Sam Example".to_owned(),
            plan: ShopPlan {
                display_name: plan.clone(),
                public_display_name: plan,
                partner_development: false,
                shopify_plus: shop.plan == Plan::Plus,
            },
            created_at: shop.created_at.into(),
            updated_at: shop.updated_at.into(),
        }
    }
}

/// The app that asks, in the shop.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct AppInstallation {
    id: ID,
    app: App,
    access_scopes: Vec<AccessScope>,
}

/// An app.
#[derive(Clone, Debug, SimpleObject)]
struct App {
    id: ID,
    api_key: String,
    handle: Option<String>,
    title: String,
}

/// What an app may do.
#[derive(Clone, Debug, SimpleObject)]
struct AccessScope {
    handle: String,
    description: String,
}

impl AppInstallation {
    pub(super) fn new(installation: u64, app: &KnownApp) -> Self {
        let scope = |handle: &str, description: &str| AccessScope {
            handle: handle.to_owned(),
            description: description.to_owned(),
        };
        Self {
            id: id("AppInstallation", installation),
            app: App {
                id: id("App", app.id),
                api_key: app.client_id.clone(),
                handle: Some(app.client_id.to_lowercase()),
                title: app.client_id.clone(),
            },
            access_scopes: vec![scope("read_products", "Read products"), scope("write_products", "Modify products")],
        }
    }
}

/// A version of the API.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct ApiVersion {
    handle: String,
    display_name: String,
    supported: bool,
}

impl From<&Version> for ApiVersion {
    fn from(version: &Version) -> Self {
        Self {
            handle: version.handle.to_owned(),
            display_name: version.display_name.to_owned(),
            supported: version.supported,
        }
    }
}
