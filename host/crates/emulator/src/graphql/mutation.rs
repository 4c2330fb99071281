//! What can be changed. What an app did wrong is in `userErrors`, with HTTP 200, as the platform has it.

#![expect(clippy::unused_async, reason = "the library takes async functions alone")]

use async_graphql::{Context, Enum, Error, ErrorExtensions as _, ID, Object, SimpleObject};

use super::Call;
use super::ids;
use super::input::{
    MetafieldsSetInput, ProductCreateInput, ProductDeleteInput, ProductUpdateInput, ProductVariantsBulkInput,
};
use super::product::{Metafield, Product, ProductVariant, variants};
use super::query::Node;
use super::shop::Shop;
use super::subscription::{WebhookSubscription, WebhookSubscriptionInput};
use crate::catalog::edit::{Problem, ProductEdit, same_tag};
use crate::catalog::{self, gid};
use crate::error::EmulatorError;
use crate::event::Unsubscribed;
use crate::webhooks::{NewSubscription, Topic};
use crate::world::By;

/// Values in one call. 25, as the platform documents.
const METAFIELDS_AT_ONCE_MAX: usize = 25;

/// Something that the caller did wrong.
#[derive(Clone, Debug, SimpleObject)]
struct UserError {
    field: Option<Vec<String>>,
    message: String,
}

impl UserError {
    fn new(path: &[&str], message: impl Into<String>) -> Self {
        Self { field: Some(path.iter().map(|part| (*part).to_owned()).collect()), message: message.into() }
    }
}

/// A problem's path and text as GraphQL has them: `body_html` is `descriptionHtml`, and the field's name begins the text.
fn spell(problem: &Problem) -> (String, String) {
    let field = match problem.field {
        "body_html" => "descriptionHtml",
        "product_type" => "productType",
        "compare_at_price" => "compareAtPrice",
        "option_values" => "optionValues",
        field => field,
    };
    let human = problem.field.replace('_', " ");
    let (first, rest) = human.split_at(1);
    let human = if problem.field == "body_html" { "Body (HTML)".to_owned() } else { first.to_uppercase() + rest };
    let message = if problem.message.starts_with('\'') || problem.message == "does not exist" {
        format!("{} {}", human.trim_end_matches('s'), problem.message)
    } else {
        format!("{human} {}", problem.message)
    };
    (field.to_owned(), message)
}

/// What a product's mutation failed of.
fn product_errors(error: EmulatorError) -> Vec<UserError> {
    match error {
        EmulatorError::Invalid(problems) => {
            let spelled = problems.iter().map(spell);
            spelled.map(|(field, message)| UserError::new(&[&field], message)).collect()
        }
        EmulatorError::Unknown { .. } => vec![UserError::new(&["id"], "Product does not exist")],
        error => vec![UserError { field: None, message: error.to_string() }],
    }
}

#[derive(SimpleObject)]
struct ProductCreatePayload {
    product: Option<Product>,
    user_errors: Vec<UserError>,
}

#[derive(SimpleObject)]
struct ProductUpdatePayload {
    product: Option<Product>,
    user_errors: Vec<UserError>,
}

#[derive(SimpleObject)]
struct ProductDeletePayload {
    deleted_product_id: Option<ID>,
    shop: Shop,
    user_errors: Vec<UserError>,
}

#[derive(SimpleObject)]
struct TagsAddPayload {
    node: Option<Node>,
    user_errors: Vec<UserError>,
}

#[derive(SimpleObject)]
struct TagsRemovePayload {
    node: Option<Node>,
    user_errors: Vec<UserError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum ProductVariantsBulkUpdateUserErrorCode {
    GreaterThanOrEqualTo,
    InvalidInput,
    ProductDoesNotExist,
    ProductVariantDoesNotExist,
    ProductVariantIdMissing,
}

#[derive(Clone, Debug, SimpleObject)]
struct ProductVariantsBulkUpdateUserError {
    field: Option<Vec<String>>,
    message: String,
    code: Option<ProductVariantsBulkUpdateUserErrorCode>,
}

#[derive(SimpleObject)]
struct ProductVariantsBulkUpdatePayload {
    product: Option<Product>,
    product_variants: Option<Vec<ProductVariant>>,
    user_errors: Vec<ProductVariantsBulkUpdateUserError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
enum MetafieldsSetUserErrorCode {
    Blank,
    InvalidValue,
    LessThanOrEqualTo,
}

#[derive(Clone, Debug, SimpleObject)]
struct MetafieldsSetUserError {
    field: Option<Vec<String>>,
    message: String,
    code: Option<MetafieldsSetUserErrorCode>,
    element_index: Option<usize>,
}

#[derive(SimpleObject)]
struct MetafieldsSetPayload {
    metafields: Option<Vec<Metafield>>,
    user_errors: Vec<MetafieldsSetUserError>,
}

#[derive(SimpleObject)]
struct WebhookSubscriptionCreatePayload {
    webhook_subscription: Option<WebhookSubscription>,
    user_errors: Vec<UserError>,
}

#[derive(SimpleObject)]
struct WebhookSubscriptionUpdatePayload {
    webhook_subscription: Option<WebhookSubscription>,
    user_errors: Vec<UserError>,
}

#[derive(SimpleObject)]
struct WebhookSubscriptionDeletePayload {
    deleted_webhook_subscription_id: Option<ID>,
    user_errors: Vec<UserError>,
}

/// The platform's text for a mutation without what it is about.
fn missing_product(mutation: &str) -> Error {
    let message = format!("{mutation} must include exactly one of the following arguments: input, product.");
    Error::new(message).extend_with(|_, extensions| extensions.set("code", "INVALID_FIELD_ARGUMENTS"))
}

/// Where changes begin.
pub(super) struct Mutation;

#[Object]
impl Mutation {
    async fn product_create(
        &self,
        context: &Context<'_>,
        product: Option<ProductCreateInput>,
    ) -> Result<Option<ProductCreatePayload>, Error> {
        let call = Call::of(context)?;
        let edit: ProductEdit = product.ok_or_else(|| missing_product("productCreate"))?.into();
        let made = call.hub.create_product(&call.shop, By::App(&call.app), &edit);
        let (product, user_errors) = split(made, product_errors);
        Ok(Some(ProductCreatePayload { product, user_errors }))
    }

    async fn product_update(
        &self,
        context: &Context<'_>,
        product: Option<ProductUpdateInput>,
    ) -> Result<Option<ProductUpdatePayload>, Error> {
        let call = Call::of(context)?;
        let input = product.ok_or_else(|| missing_product("productUpdate"))?;
        let id = input.id.as_ref().map_or(Ok(0), |id| ids::number(id, "Product"))?;
        let changed = call.hub.edit_product(&call.shop, By::App(&call.app), id, &input.into());
        let (product, user_errors) = split(changed, product_errors);
        Ok(Some(ProductUpdatePayload { product, user_errors }))
    }

    async fn product_delete(
        &self,
        context: &Context<'_>,
        input: ProductDeleteInput,
    ) -> Result<Option<ProductDeletePayload>, Error> {
        let call = Call::of(context)?;
        let id = ids::number(&input.id, "Product")?;
        let deleted = call.hub.delete_product(&call.shop, By::App(&call.app), id);
        let (deleted_product_id, user_errors) = match deleted {
            Ok(product) => (Some(ID(gid("Product", product.id))), Vec::new()),
            Err(error) => (None, product_errors(error)),
        };
        let shop = Shop::from(&*call.hub.world().shop(&call.shop)?);
        Ok(Some(ProductDeletePayload { deleted_product_id, shop, user_errors }))
    }

    async fn tags_add(
        &self,
        context: &Context<'_>,
        id: ID,
        tags: Vec<String>,
    ) -> Result<Option<TagsAddPayload>, Error> {
        let call = Call::of(context)?;
        let changed = call.tags(&id, |known| [known, tags.as_slice()].concat())?;
        let (node, user_errors) = split(changed, product_errors);
        Ok(Some(TagsAddPayload { node: node.map(Node::Product), user_errors }))
    }

    async fn tags_remove(
        &self,
        context: &Context<'_>,
        id: ID,
        tags: Vec<String>,
    ) -> Result<Option<TagsRemovePayload>, Error> {
        let call = Call::of(context)?;
        let tags = catalog::edit::tidy_tags(&tags);
        let stays = |known: &&String| !tags.iter().any(|tag| same_tag(tag, known));
        let changed = call.tags(&id, |known| known.iter().filter(stays).cloned().collect())?;
        let (node, user_errors) = split(changed, product_errors);
        Ok(Some(TagsRemovePayload { node: node.map(Node::Product), user_errors }))
    }

    async fn product_variants_bulk_update(
        &self,
        context: &Context<'_>,
        product_id: ID,
        variants: Vec<ProductVariantsBulkInput>,
    ) -> Result<Option<ProductVariantsBulkUpdatePayload>, Error> {
        let call = Call::of(context)?;
        Ok(Some(call.change_variants(ids::number(&product_id, "Product")?, variants)))
    }

    async fn metafields_set(
        &self,
        context: &Context<'_>,
        metafields: Vec<MetafieldsSetInput>,
    ) -> Result<Option<MetafieldsSetPayload>, Error> {
        Ok(Some(Call::of(context)?.set_metafields(metafields)))
    }

    async fn webhook_subscription_create(
        &self,
        context: &Context<'_>,
        topic: Topic,
        webhook_subscription: WebhookSubscriptionInput,
    ) -> Result<Option<WebhookSubscriptionCreatePayload>, Error> {
        let call = Call::of(context)?;
        let made = call.subscribe(topic, webhook_subscription);
        let (webhook_subscription, user_errors) = split_errors(made);
        Ok(Some(WebhookSubscriptionCreatePayload { webhook_subscription, user_errors }))
    }

    async fn webhook_subscription_update(
        &self,
        context: &Context<'_>,
        id: ID,
        webhook_subscription: WebhookSubscriptionInput,
    ) -> Result<Option<WebhookSubscriptionUpdatePayload>, Error> {
        let call = Call::of(context)?;
        let changed = call.change_subscription(ids::number(&id, "WebhookSubscription")?, webhook_subscription);
        let (webhook_subscription, user_errors) = split_errors(changed);
        Ok(Some(WebhookSubscriptionUpdatePayload { webhook_subscription, user_errors }))
    }

    async fn webhook_subscription_delete(
        &self,
        context: &Context<'_>,
        id: ID,
    ) -> Result<Option<WebhookSubscriptionDeletePayload>, Error> {
        let call = Call::of(context)?;
        let number = ids::number(&id, "WebhookSubscription")?;
        let gone = call.hub.unsubscribe(&call.shop, &call.app, number, Unsubscribed::Asked);
        let user_errors = if gone { Vec::new() } else { vec![no_subscription()] };
        Ok(Some(WebhookSubscriptionDeletePayload { deleted_webhook_subscription_id: gone.then_some(id), user_errors }))
    }
}

fn no_subscription() -> UserError {
    UserError::new(&["id"], "Webhook subscription does not exist")
}

/// What a mutation gives, or what was wrong.
fn split<T, N: From<T>>(
    result: Result<T, EmulatorError>,
    errors: impl FnOnce(EmulatorError) -> Vec<UserError>,
) -> (Option<N>, Vec<UserError>) {
    match result {
        Ok(value) => (Some(value.into()), Vec::new()),
        Err(error) => (None, errors(error)),
    }
}

fn split_errors<T>(result: Result<T, Vec<UserError>>) -> (Option<T>, Vec<UserError>) {
    match result {
        Ok(value) => (Some(value), Vec::new()),
        Err(errors) => (None, errors),
    }
}

impl Call {
    /// Changes the tags of a product. Nothing else of the emulator has any.
    fn tags(
        &self,
        id: &ID,
        change: impl FnOnce(&[String]) -> Vec<String>,
    ) -> Result<Result<catalog::Product, EmulatorError>, Error> {
        let Some(("Product", number)) = ids::parse(id) else { return Err(ids::invalid()) };
        let known = self.hub.world().shop(&self.shop)?.products.get(&number).map(|product| product.tags.clone());
        let edit = ProductEdit { tags: Some(change(&known.unwrap_or_default())), ..ProductEdit::default() };
        Ok(self.hub.edit_product(&self.shop, By::App(&self.app), number, &edit))
    }

    fn change_variants(&self, product: u64, inputs: Vec<ProductVariantsBulkInput>) -> ProductVariantsBulkUpdatePayload {
        use ProductVariantsBulkUpdateUserErrorCode as Code;
        let error = |path: Vec<String>, message: String, code| ProductVariantsBulkUpdateUserError {
            field: Some(path),
            message,
            code: Some(code),
        };
        let failed =
            |user_errors| ProductVariantsBulkUpdatePayload { product: None, product_variants: None, user_errors };
        let at = |index: usize, field: &str| vec!["variants".to_owned(), index.to_string(), field.to_owned()];
        let missing = inputs.iter().position(|input| input.id.is_none());
        if let Some(index) = missing {
            let message = "Product variant is missing ID attribute".to_owned();
            return failed(vec![error(at(index, "id"), message, Code::ProductVariantIdMissing)]);
        }
        let wanted: Vec<_> = inputs.iter().filter_map(|input| input.id.as_ref().and_then(ids::parse)).collect();
        let wanted: Vec<u64> = wanted.into_iter().map(|(_, number)| number).collect();
        let edit = ProductEdit { variants: inputs.into_iter().map(Into::into).collect(), ..ProductEdit::default() };
        let changed = match self.hub.edit_product(&self.shop, By::App(&self.app), product, &edit) {
            Ok(changed) => changed,
            Err(EmulatorError::Invalid(problems)) => {
                let spelled = problems.iter().map(|problem| {
                    let index = problem.index.unwrap_or_default();
                    let (field, message) = spell(problem);
                    match problem.field {
                        "variants" => {
                            let message = "Product variant does not exist".to_owned();
                            error(at(index, "id"), message, Code::ProductVariantDoesNotExist)
                        }
                        "price" | "compare_at_price" => error(at(index, &field), message, Code::GreaterThanOrEqualTo),
                        _ => error(at(index, &field), message, Code::InvalidInput),
                    }
                });
                return failed(spelled.collect());
            }
            Err(_) => {
                let message = "Product does not exist".to_owned();
                return failed(vec![error(vec!["productId".to_owned()], message, Code::ProductDoesNotExist)]);
            }
        };
        let of_id = |number: &u64| changed.variants.iter().position(|variant| variant.id == *number);
        let all: Vec<_> = variants(&changed).collect();
        let product_variants = wanted.iter().filter_map(of_id).filter_map(|at| all.get(at).cloned()).collect();
        ProductVariantsBulkUpdatePayload {
            product: Some(changed.into()),
            product_variants: Some(product_variants),
            user_errors: Vec::new(),
        }
    }

    /// All or none: what is wrong with one keeps the others from being set.
    fn set_metafields(&self, inputs: Vec<MetafieldsSetInput>) -> MetafieldsSetPayload {
        use MetafieldsSetUserErrorCode as Code;
        let error = |index: usize, field: &str, message: &str, code| MetafieldsSetUserError {
            field: Some(vec!["metafields".to_owned(), index.to_string(), field.to_owned()]),
            message: message.to_owned(),
            code: Some(code),
            element_index: None,
        };
        if inputs.len() > METAFIELDS_AT_ONCE_MAX {
            let message = format!("Exceeded the maximum metafields input limit of {METAFIELDS_AT_ONCE_MAX}.");
            let field = Some(vec!["metafields".to_owned()]);
            let code = Some(Code::LessThanOrEqualTo);
            let too_many = MetafieldsSetUserError { field, message, code, element_index: None };
            return MetafieldsSetPayload { metafields: None, user_errors: vec![too_many] };
        }
        let mut user_errors = Vec::new();
        let mut edits: Vec<(u64, ProductEdit)> = Vec::new();
        for (index, input) in inputs.into_iter().enumerate() {
            let owner = match ids::parse(&input.owner_id) {
                Some(("Product", number)) => Some(number),
                _ => None,
            };
            let there =
                |number: &u64| self.hub.world().shop(&self.shop).is_ok_and(|shop| shop.products.contains_key(number));
            match owner.filter(there) {
                Some(owner) => match edits.iter_mut().find(|(known, _)| *known == owner) {
                    Some((_, edit)) => edit.metafields.push(input.into()),
                    None => {
                        edits.push((owner, ProductEdit { metafields: vec![input.into()], ..ProductEdit::default() }));
                    }
                },
                None => user_errors.push(error(index, "ownerId", "Owner does not exist.", Code::InvalidValue)),
            }
        }
        let mut metafields = Vec::new();
        if user_errors.is_empty() {
            for (owner, edit) in edits {
                match self.hub.edit_product(&self.shop, By::App(&self.app), owner, &edit) {
                    Ok(product) => {
                        let of_edit = edit.metafields.iter().filter_map(|set| {
                            let same =
                                |known: &&catalog::Metafield| known.namespace == set.namespace && known.key == set.key;
                            product.metafields.iter().find(same)
                        });
                        metafields.extend(of_edit.map(Metafield::from));
                    }
                    Err(_) => user_errors.push(error(0, "type", "Type can't be blank", Code::Blank)),
                }
            }
        }
        let metafields = user_errors.is_empty().then_some(metafields);
        MetafieldsSetPayload { metafields, user_errors }
    }

    fn subscribe(&self, topic: Topic, input: WebhookSubscriptionInput) -> Result<WebhookSubscription, Vec<UserError>> {
        refuse_unsupported(&input)?;
        let address = input.address().unwrap_or_default().to_owned();
        let new = NewSubscription {
            topic,
            address,
            include_fields: input.include_fields.unwrap_or_default(),
            metafield_namespaces: input.metafield_namespaces.unwrap_or_default(),
            name: input.name,
            api_version: self.version,
        };
        let made = self.hub.subscribe(&self.shop, &self.app, new).map_err(subscription_errors)?;
        Ok((&made).into())
    }

    fn change_subscription(
        &self,
        id: u64,
        input: WebhookSubscriptionInput,
    ) -> Result<WebhookSubscription, Vec<UserError>> {
        refuse_unsupported(&input)?;
        let address = input.address().map(str::to_owned);
        let changed = self.hub.change_subscription(&self.shop, &self.app, id, |known| {
            known.address = address.unwrap_or_else(|| known.address.clone());
            known.include_fields = input.include_fields.unwrap_or_else(|| known.include_fields.clone());
            known.metafield_namespaces =
                input.metafield_namespaces.unwrap_or_else(|| known.metafield_namespaces.clone());
            known.name = input.name.or_else(|| known.name.clone());
            known.api_version = self.version;
        });
        Ok((&changed.map_err(subscription_errors)?).into())
    }
}

fn refuse_unsupported(input: &WebhookSubscriptionInput) -> Result<(), Vec<UserError>> {
    match input.unsupported() {
        Some((field, message)) => Err(vec![UserError::new(&["webhookSubscription", field], message)]),
        None => Ok(()),
    }
}

fn subscription_errors(error: EmulatorError) -> Vec<UserError> {
    match error {
        EmulatorError::Unknown { what: "subscription", .. } => vec![no_subscription()],
        EmulatorError::Subscription(message) => {
            vec![UserError::new(&["webhookSubscription", "callbackUrl"], message)]
        }
        error => vec![UserError { field: None, message: error.to_string() }],
    }
}
