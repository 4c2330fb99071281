//! The mirrored models, as tables: each member of a payload, the field it becomes, and the field's type.
//!
//! Field names are those of the reference product's connection: `body_html` is `body`, the platform's own times are
//! `shopifyCreatedAt` and `shopifyUpdatedAt`, references lose their `_id`. A member that no table has is kept under its name
//! in camel case, so that nothing of a payload is lost when the platform adds to it.

use tradewind_model::schema::{Field, FieldType, Model, SYSTEM_FIELDS, Source};

/// The parts of the platform that are mirrored.
pub(crate) const TABLES: &[&Table] = &[&PRODUCT, &VARIANT, &OPTION, &IMAGE, &SHOP];

/// A model as the platform's payloads spell it.
pub(crate) struct Table {
    /// `shopify/product`.
    pub(crate) model: &'static str,
    /// The topics that report its changes, all of `create`, `update` and `delete` that there are.
    pub(crate) topics: &'static [&'static str],
    columns: &'static [Column],
    /// Lists of records that come with it.
    pub(crate) children: &'static [Nested],
    /// Members whose `null` says that they are not shown, and not that there is no value.
    pub(crate) hidden: &'static [&'static str],
    /// Members that say something of the payload and nothing of the record.
    pub(crate) ignored: &'static [&'static str],
}

/// A member of a payload and its field.
struct Column {
    member: &'static str,
    field: &'static str,
    of: Of,
}

/// A list of records in a record.
pub(crate) struct Nested {
    /// The member, and the field that has them.
    pub(crate) member: &'static str,
    /// Their table's model.
    pub(crate) model: &'static str,
    /// Their field that names the parent.
    pub(crate) by: &'static str,
    /// The member that lists those that had no room.
    pub(crate) rest: Option<&'static str>,
}

/// How a member's value becomes a field's.
#[derive(Clone, Copy)]
pub(crate) enum Of {
    Text,
    Integer,
    Number,
    Boolean,
    Time,
    Json,
    /// An id, or an object that has one.
    Id(&'static str),
    /// `"a, b"` or a list: a list.
    Words,
}

impl Of {
    fn field_type(self) -> FieldType {
        match self {
            Self::Text => FieldType::String,
            Self::Integer => FieldType::Integer,
            Self::Number => FieldType::Number,
            Self::Boolean => FieldType::Boolean,
            Self::Time => FieldType::DateTime,
            Self::Json | Self::Words => FieldType::Json,
            Self::Id(model) => FieldType::BelongsTo { model: model.to_owned() },
        }
    }
}

const fn column(member: &'static str, field: &'static str, of: Of) -> Column {
    Column { member, field, of }
}

impl Table {
    /// The table of a model.
    pub(crate) fn of(model: &str) -> Option<&'static Self> {
        TABLES.iter().copied().find(|table| table.model == model)
    }

    /// The field that a member becomes, none for one that no table has.
    pub(crate) fn field(&self, member: &str) -> Option<(&'static str, Of)> {
        self.columns.iter().find(|column| column.member == member).map(|column| (column.field, column.of))
    }

    /// The table of what a topic reports.
    pub(crate) fn of_topic(topic: &str) -> Option<&'static Self> {
        TABLES.iter().copied().find(|table| table.topics.contains(&topic))
    }

    /// Whether a member is one of this model's own, and not of those that every payload has.
    pub(crate) fn marks(&self, member: &str) -> bool {
        let is_common = COMMON_MEMBERS.contains(&member);
        let is_child = self.children.iter().any(|nested| nested.member == member);
        !is_common && (self.field(member).is_some() || is_child || self.ignored.contains(&member))
    }

    /// A name for a member that has no column: not a column's field, nor a system field.
    pub(crate) fn free_name(&self, name: String) -> String {
        let is_taken = self.columns.iter().any(|column| column.field == name) || SYSTEM_FIELDS.contains(&name.as_str());
        if !is_taken {
            return name;
        }
        let mut letters = name.chars();
        let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
        format!("shopify{first}{}", letters.as_str())
    }

    /// Whether a list of children may go on in another member.
    pub(crate) fn has_rest(&self, member: &str) -> bool {
        self.children.iter().any(|nested| nested.member == member && nested.rest.is_some())
    }

    /// The schema: every field is the platform's.
    pub(crate) fn schema(&self) -> Model {
        let field = |name: &str, of| Field { source: Some(Source::Shopify), ..Field::new(name, of) };
        let own = self.columns.iter().map(|column| field(column.field, column.of.field_type()));
        let children = self.children.iter().map(|nested| {
            let of = FieldType::HasMany { model: nested.model.to_owned(), by: nested.by.to_owned() };
            field(nested.member, of)
        });
        let mut fields: Vec<_> = own.chain(children).collect();
        for field in &mut fields {
            // Children are found by their parent at each delivery.
            field.index = TABLES
                .iter()
                .flat_map(|table| table.children)
                .any(|nested| nested.model == self.model && nested.by == field.name);
        }
        Model { name: self.model.to_owned(), fields, uniques: Vec::new() }
    }
}

/// Members that payloads of every kind have, which say nothing of what it is.
pub(crate) const COMMON_MEMBERS: [&str; 6] =
    ["id", "admin_graphql_api_id", "created_at", "updated_at", "metafields", "private_metafields"];

const GID: Column = column("admin_graphql_api_id", "adminGraphqlApiId", Of::Text);
const CREATED: Column = column("created_at", "shopifyCreatedAt", Of::Time);
const UPDATED: Column = column("updated_at", "shopifyUpdatedAt", Of::Time);
const OF_PRODUCT: Column = column("product_id", "product", Of::Id("shopify/product"));

static PRODUCT: Table = Table {
    model: "shopify/product",
    topics: &["products/create", "products/update", "products/delete"],
    columns: &[
        GID,
        column("body_html", "body", Of::Text),
        column("category", "category", Of::Json),
        CREATED,
        column("handle", "handle", Of::Text),
        column("has_variants_that_requires_components", "hasVariantsThatRequiresComponents", Of::Boolean),
        column("image", "image", Of::Id("shopify/product-image")),
        column("media", "media", Of::Json),
        column("product_type", "productType", Of::Text),
        column("published_at", "publishedAt", Of::Time),
        column("published_scope", "publishedScope", Of::Text),
        column("status", "status", Of::Text),
        column("tags", "tags", Of::Words),
        column("template_suffix", "templateSuffix", Of::Text),
        column("title", "title", Of::Text),
        UPDATED,
        column("vendor", "vendor", Of::Text),
    ],
    children: &[
        Nested { member: "options", model: "shopify/product-option", by: "product", rest: None },
        Nested { member: "variants", model: "shopify/product-variant", by: "product", rest: Some("variant_gids") },
        Nested { member: "images", model: "shopify/product-image", by: "product", rest: None },
    ],
    hidden: &["created_at"],
    // Which variants there are, is in the variants.
    ignored: &["variant_gids", "variant_ids"],
};

static VARIANT: Table = Table {
    model: "shopify/product-variant",
    topics: &[],
    columns: &[
        GID,
        column("barcode", "barcode", Of::Text),
        column("compare_at_price", "compareAtPrice", Of::Text),
        CREATED,
        column("fulfillment_service", "fulfillmentService", Of::Text),
        column("grams", "grams", Of::Integer),
        column("image_id", "image", Of::Id("shopify/product-image")),
        column("inventory_item_id", "inventoryItem", Of::Id("shopify/inventory-item")),
        column("inventory_management", "inventoryManagement", Of::Text),
        column("inventory_policy", "inventoryPolicy", Of::Text),
        column("inventory_quantity", "inventoryQuantity", Of::Integer),
        column("old_inventory_quantity", "oldInventoryQuantity", Of::Integer),
        column("option1", "option1", Of::Text),
        column("option2", "option2", Of::Text),
        column("option3", "option3", Of::Text),
        column("position", "position", Of::Integer),
        column("presentment_prices", "presentmentPrices", Of::Json),
        column("price", "price", Of::Text),
        OF_PRODUCT,
        column("requires_shipping", "requiresShipping", Of::Boolean),
        column("sku", "sku", Of::Text),
        column("tax_code", "taxCode", Of::Text),
        column("taxable", "taxable", Of::Boolean),
        column("title", "title", Of::Text),
        UPDATED,
        column("weight", "weight", Of::Number),
        column("weight_unit", "weightUnit", Of::Text),
    ],
    children: &[],
    hidden: &["created_at", "updated_at"],
    ignored: &[],
};

static OPTION: Table = Table {
    model: "shopify/product-option",
    topics: &[],
    columns: &[
        GID,
        column("name", "name", Of::Text),
        column("position", "position", Of::Integer),
        OF_PRODUCT,
        column("values", "values", Of::Json),
    ],
    children: &[],
    hidden: &[],
    ignored: &[],
};

static IMAGE: Table = Table {
    model: "shopify/product-image",
    topics: &[],
    columns: &[
        GID,
        column("alt", "alt", Of::Text),
        CREATED,
        column("height", "height", Of::Integer),
        column("position", "position", Of::Integer),
        OF_PRODUCT,
        column("src", "source", Of::Text),
        UPDATED,
        column("variant_ids", "variantIds", Of::Json),
        column("width", "width", Of::Integer),
    ],
    children: &[],
    hidden: &["created_at", "updated_at"],
    ignored: &[],
};

static SHOP: Table = Table {
    model: "shopify/shop",
    topics: &["shop/update"],
    columns: &[
        column("address1", "address1", Of::Text),
        column("address2", "address2", Of::Text),
        column("auto_configure_tax_inclusivity", "autoConfigureTaxInclusivity", Of::Boolean),
        column("checkout_api_supported", "checkoutApiSupported", Of::Boolean),
        column("city", "city", Of::Text),
        column("cookie_consent_level", "cookieConsentLevel", Of::Text),
        column("country", "country", Of::Text),
        column("country_code", "countryCode", Of::Text),
        column("country_name", "countryName", Of::Text),
        column("county_taxes", "countyTaxes", Of::Boolean),
        CREATED,
        column("currency", "currency", Of::Text),
        column("customer_email", "customerEmail", Of::Text),
        column("domain", "domain", Of::Text),
        column("eligible_for_payments", "eligibleForPayments", Of::Boolean),
        column("email", "email", Of::Text),
        column("enabled_presentment_currencies", "enabledPresentmentCurrencies", Of::Json),
        column("finances", "finances", Of::Boolean),
        column("force_ssl", "forceSsl", Of::Boolean),
        column("google_apps_domain", "googleAppsDomain", Of::Text),
        column("google_apps_login_enabled", "googleAppsLoginEnabled", Of::Boolean),
        column("has_discounts", "hasDiscounts", Of::Boolean),
        column("has_gift_cards", "hasGiftCards", Of::Boolean),
        column("has_storefront", "hasStorefront", Of::Boolean),
        column("iana_timezone", "ianaTimezone", Of::Text),
        column("latitude", "latitude", Of::Number),
        column("longitude", "longitude", Of::Number),
        column("marketing_sms_consent_enabled_at_checkout", "marketingSmsConsentEnabledAtCheckout", Of::Boolean),
        column("money_format", "moneyFormat", Of::Text),
        column("money_in_emails_format", "moneyInEmailsFormat", Of::Text),
        column("money_with_currency_format", "moneyWithCurrencyFormat", Of::Text),
        column("money_with_currency_in_emails_format", "moneyWithCurrencyInEmailsFormat", Of::Text),
        column("multi_location_enabled", "multiLocationEnabled", Of::Boolean),
        column("myshopify_domain", "myshopifyDomain", Of::Text),
        column("name", "name", Of::Text),
        column("password_enabled", "passwordEnabled", Of::Boolean),
        column("phone", "phone", Of::Text),
        column("plan_display_name", "planDisplayName", Of::Text),
        column("plan_name", "planName", Of::Text),
        column("pre_launch_enabled", "preLaunchEnabled", Of::Boolean),
        column("primary_locale", "primaryLocale", Of::Text),
        column("primary_location_id", "primaryLocation", Of::Id("shopify/location")),
        column("province", "province", Of::Text),
        column("province_code", "provinceCode", Of::Text),
        column("requires_extra_payments_agreement", "requiresExtraPaymentsAgreement", Of::Boolean),
        column("setup_required", "setupRequired", Of::Boolean),
        column("shop_owner", "shopOwner", Of::Text),
        column("source", "source", Of::Text),
        column("tax_shipping", "taxShipping", Of::Boolean),
        column("taxes_included", "taxesIncluded", Of::Boolean),
        column("timezone", "timezone", Of::Text),
        column("transactional_sms_disabled", "transactionalSmsDisabled", Of::Boolean),
        UPDATED,
        column("visitor_tracking_consent_preference", "visitorTrackingConsentPreference", Of::Text),
        column("weight_unit", "weightUnit", Of::Text),
        column("zip", "zip", Of::Text),
    ],
    children: &[],
    // The documented samples of the topic show them as null; no shop is without them.
    hidden: &["created_at", "updated_at", "domain", "myshopify_domain", "email", "customer_email", "phone"],
    ignored: &[],
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_table_is_a_schema_without_problems() {
        for table in TABLES {
            let schema = table.schema();
            assert_eq!(schema.problems(), Vec::<String>::new(), "{}", table.model);
            let members: HashSet<_> = table.columns.iter().map(|column| column.member).collect();
            assert_eq!(members.len(), table.columns.len(), "{}", table.model);
            for hidden in table.hidden {
                assert!(table.field(hidden).is_some(), "{} hides `{hidden}`", table.model);
            }
            for nested in table.children {
                let child = Table::of(nested.model).unwrap();
                assert!(child.columns.iter().any(|column| column.field == nested.by), "{}", nested.model);
            }
        }
    }

    #[test]
    fn children_are_found_by_an_index() {
        let variants = Table::of("shopify/product-variant").unwrap().schema();
        assert!(variants.field("product").unwrap().index);
        assert!(!variants.field("image").unwrap().index);
    }
}
