//! Webhook subscriptions: as they are asked for and given.

use async_graphql::{Enum, ID, InputObject, SimpleObject, Union};

use super::ids::id;
use super::scalars::{DateTime, UnsignedInt64, Url};
use super::shop::ApiVersion;
use crate::version::VERSIONS;
use crate::webhooks::{self, Topic};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum WebhookSubscriptionFormat {
    Json,
    Xml,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(super) enum WebhookSubscriptionSortKeys {
    CreatedAt,
    Id,
}

/// Who is told what, and where.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct WebhookSubscription {
    pub(super) id: ID,
    legacy_resource_id: UnsignedInt64,
    topic: Topic,
    uri: String,
    #[graphql(deprecation = "Use `uri` instead.")]
    callback_url: Url,
    #[graphql(deprecation = "Use `uri` instead.")]
    endpoint: WebhookSubscriptionEndpoint,
    format: WebhookSubscriptionFormat,
    include_fields: Vec<String>,
    metafield_namespaces: Vec<String>,
    filter: Option<String>,
    name: Option<String>,
    api_version: ApiVersion,
    created_at: DateTime,
    updated_at: DateTime,
}

/// Where a subscription's webhooks go.
#[derive(Clone, Debug, Union)]
enum WebhookSubscriptionEndpoint {
    Http(WebhookHttpEndpoint),
}

/// An address.
#[derive(Clone, Debug, SimpleObject)]
struct WebhookHttpEndpoint {
    callback_url: Url,
}

impl From<&webhooks::Subscription> for WebhookSubscription {
    fn from(known: &webhooks::Subscription) -> Self {
        let address = Url(known.address.clone());
        let version = VERSIONS.iter().find(|version| version.handle == known.api_version).unwrap_or(&VERSIONS[0]);
        Self {
            id: id("WebhookSubscription", known.id),
            legacy_resource_id: UnsignedInt64(known.id.to_string()),
            topic: known.topic,
            uri: known.address.clone(),
            callback_url: address.clone(),
            endpoint: WebhookSubscriptionEndpoint::Http(WebhookHttpEndpoint { callback_url: address }),
            format: WebhookSubscriptionFormat::Json,
            include_fields: known.include_fields.clone(),
            metafield_namespaces: known.metafield_namespaces.clone(),
            filter: None,
            name: known.name.clone(),
            api_version: version.into(),
            created_at: known.created_at.into(),
            updated_at: known.updated_at.into(),
        }
    }
}

/// What is asked of a subscription.
#[derive(Clone, Debug, InputObject)]
pub(super) struct WebhookSubscriptionInput {
    pub(super) uri: Option<String>,
    pub(super) callback_url: Option<Url>,
    pub(super) format: Option<WebhookSubscriptionFormat>,
    pub(super) include_fields: Option<Vec<String>>,
    pub(super) metafield_namespaces: Option<Vec<String>>,
    pub(super) filter: Option<String>,
    pub(super) name: Option<String>,
}

impl WebhookSubscriptionInput {
    pub(super) fn address(&self) -> Option<&str> {
        self.uri.as_deref().or(self.callback_url.as_ref().map(|url| url.0.as_str()))
    }

    /// What the emulator does not do, so that nobody believes it did.
    pub(super) fn unsupported(&self) -> Option<(&'static str, &'static str)> {
        if self.filter.as_ref().is_some_and(|filter| !filter.is_empty()) {
            return Some(("filter", "Filters are not evaluated by the emulator"));
        }
        if self.format == Some(WebhookSubscriptionFormat::Xml) {
            return Some(("format", "The emulator sends JSON alone"));
        }
        None
    }
}
