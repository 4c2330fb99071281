//! A shop: what it sells, which apps it has, and what each of them may still ask for.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use jiff::tz::Offset;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::bucket::Bucket;
use crate::catalog::Product;
use crate::catalog::rest::local;
use crate::webhooks::pending::Pending;
use crate::webhooks::{Faults, Subscription};

/// What a shop pays for, and so how fast its apps may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// 2,000 points that refill at 100 a second; 40 requests that refill at 2 a second.
    Standard,
    /// 20,000 points that refill at 1,000 a second; 400 requests that refill at 20 a second.
    Plus,
}

impl Plan {
    /// Points of GraphQL: how many at once, how many a second.
    pub(crate) fn graphql(self) -> Bucket {
        match self {
            Self::Standard => Bucket::new(2_000, 100),
            Self::Plus => Bucket::new(20_000, 1_000),
        }
    }

    /// Requests of REST: how many at once, how many a second.
    pub(crate) fn rest(self) -> Bucket {
        match self {
            Self::Standard => Bucket::new(40, 2),
            Self::Plus => Bucket::new(400, 20),
        }
    }

    pub(crate) fn display_name(self) -> &'static str {
        match self {
            Self::Standard => "Basic",
            Self::Plus => "Shopify Plus",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Standard => "basic",
            Self::Plus => "shopify_plus",
        }
    }
}

/// An app in a shop.
#[derive(Debug)]
pub(crate) struct Installation {
    pub(crate) id: u64,
    pub(crate) token: String,
    pub(crate) graphql: Bucket,
    pub(crate) rest: Bucket,
}

#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) id: u64,
    pub(crate) domain: String,
    pub(crate) name: String,
    pub(crate) plan: Plan,
    pub(crate) offset: Offset,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) products: BTreeMap<u64, Product>,
    /// By client id.
    pub(crate) installations: BTreeMap<String, Installation>,
    pub(crate) subscriptions: BTreeMap<u64, Subscription>,
    /// Updates that wait for others of the same product.
    pub(crate) pending: HashMap<(u64, u64), Pending>,
    pub(crate) faults: Faults,
    /// Decides what the faults hit.
    pub(crate) chance: StdRng,
}

impl Shop {
    /// The shop as its resource and its webhooks write it down.
    pub(crate) fn resource(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "email": format!("owner@{}", self.domain),
            "domain": self.domain,
            "myshopify_domain": self.domain,
            "province": "Ontario",
            "province_code": "ON",
            "country": "CA",
            "country_code": "CA",
            "country_name": "Canada",
            "address1": "150 Elgin Street",
            "address2": null,
            "city": "Ottawa",
            "zip": "K2P 1L4",
            "phone": null,
            "source": null,
            "latitude": null,
            "longitude": null,
            "primary_locale": "en",
            "created_at": local(self.created_at, self.offset),
            "updated_at": local(self.updated_at, self.offset),
            "currency": "USD",
            "customer_email": null,
            "timezone": format!("(GMT{}) Emulated", self.offset),
            "iana_timezone": "America/Toronto",
            "shop_owner": "Sam Example",
            "money_format": "${{amount}}",
            "money_with_currency_format": "${{amount}} USD",
            "weight_unit": "kg",
            "taxes_included": false,
            "plan_name": self.plan.name(),
            "plan_display_name": self.plan.display_name(),
            "has_storefront": true,
            "finances": true,
            "primary_location_id": self.id + 1,
            "enabled_presentment_currencies": ["USD"],
        })
    }
}
