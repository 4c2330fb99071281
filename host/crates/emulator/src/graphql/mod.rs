//! The GraphQL Admin API: what is asked is counted, paid for, executed, and what was paid too much is given back.
//!
//! The types are a part of the platform's own schema and nothing beside it; a test holds that. To add a field, write it where
//! its type is, with the platform's name and nullability.

mod cost;
mod ids;
mod input;
mod mutation;
mod paging;
mod product;
mod query;
mod scalars;
mod search;
mod shop;
mod subscription;

use std::sync::Arc;

use async_graphql::parser::types::{ExecutableDocument, Selection};
use async_graphql::{Context, EmptySubscription, Error, Request, Response, Schema, ServerError, Value, Variables};
use serde::Deserialize;
use serde_json::json;

use self::cost::{Costs, QUERY_POINTS_MAX};
use self::mutation::Mutation;
use self::query::QueryRoot;
use crate::event::Event;
use crate::world::Hub;

/// Levels of a query. 20: deeper than any real one.
const DEPTH_MAX: usize = 20;

/// Where the platform documents its limits; part of two error messages.
const DOCUMENTATION: &str = "https://shopify.dev/api/usage/rate-limits";

/// Who calls, and for which shop.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) hub: Arc<Hub>,
    pub(crate) shop: String,
    pub(crate) app: String,
    pub(crate) version: &'static str,
}

impl Call {
    fn of<'a>(context: &Context<'a>) -> Result<&'a Self, Error> {
        context.data::<Self>()
    }
}

/// The schema and its costs.
pub(crate) struct Api {
    schema: Schema<QueryRoot, Mutation, EmptySubscription>,
    costs: Costs,
}

/// What is posted.
#[derive(Deserialize)]
pub(crate) struct Posted {
    query: String,
    #[serde(default)]
    variables: Option<serde_json::Value>,
    #[serde(default, rename = "operationName")]
    operation: Option<String>,
}

/// The schema that the emulator answers with, in GraphQL's own language.
pub fn sdl() -> String {
    schema().sdl()
}

fn schema() -> Schema<QueryRoot, Mutation, EmptySubscription> {
    Schema::build(QueryRoot, Mutation, EmptySubscription).limit_depth(DEPTH_MAX).disable_suggestions().finish()
}

impl Api {
    pub(crate) fn new() -> Self {
        let schema = schema();
        // Our own schema is printed by the library that reads it; a test holds that it can.
        let costs = Costs::new(&schema.sdl()).unwrap_or_else(|_| Costs::none());
        Self { schema, costs }
    }

    /// Answers with the text of a JSON object.
    pub(crate) async fn answer(&self, call: Call, posted: Posted) -> String {
        let variables = Variables::from_json(posted.variables.unwrap_or_default());
        let mut request = Request::new(posted.query).variables(variables.clone());
        let document = match request.parsed_query() {
            Ok(document) => document.clone(),
            Err(error) => return failed(&[error]),
        };
        let operation = posted.operation.as_deref();
        if let Some(operation) = operation {
            request = request.operation_name(operation);
        }
        let named = name(&document, operation);
        let requested = self.costs.requested(&document, operation, &variables);
        if requested > QUERY_POINTS_MAX {
            return too_dear(requested);
        }
        let Some(paid) = call.pay(requested) else { return String::from(r#"{"errors":"Not Found"}"#) };
        if !paid {
            call.told(named, 0, true);
            return throttled(requested, &call.status());
        }
        let mut response = self.schema.execute(request.data(call.clone())).await;
        let refused = !response.errors.is_empty() && response.errors.iter().all(|error| error.path.is_empty());
        if refused {
            // What was never executed costs nothing, and its answer says nothing of costs.
            call.give_back(requested);
            call.told(named, 0, false);
            return failed(&response.errors);
        }
        let actual = self.costs.actual(&document, operation, &variables, &response.data).min(requested);
        call.give_back(requested - actual);
        call.told(named, actual, false);
        let cost = json!({
            "requestedQueryCost": requested,
            "actualQueryCost": actual,
            "throttleStatus": call.status(),
        });
        response.extensions.clear();
        answered(&response, &cost)
    }
}

impl Call {
    /// Takes points from the app's budget in the shop. Nothing when the app is no longer there.
    fn pay(&self, points: u32) -> Option<bool> {
        let now = self.hub.clock.elapsed();
        Some(self.hub.world().installation(&self.shop, &self.app).ok()?.graphql.take(points, now))
    }

    fn give_back(&self, points: u32) {
        let now = self.hub.clock.elapsed();
        if let Ok(installation) = self.hub.world().installation(&self.shop, &self.app) {
            installation.graphql.give_back(points, now);
        }
    }

    /// The platform gives whole numbers for what is left, and decimals for what does not change.
    fn status(&self) -> serde_json::Value {
        let now = self.hub.clock.elapsed();
        let mut world = self.hub.world();
        let Ok(installation) = world.installation(&self.shop, &self.app) else { return json!(null) };
        let bucket = &mut installation.graphql;
        json!({
            "maximumAvailable": bucket.size(),
            "currentlyAvailable": bucket.whole(now),
            "restoreRate": bucket.per_second(),
        })
    }

    fn told(&self, call: String, cost: u32, throttled: bool) {
        let now = self.hub.clock.elapsed();
        let left = self.hub.world().installation(&self.shop, &self.app).map(|known| known.graphql.whole(now));
        self.hub.tell(Event::Called {
            shop: self.shop.clone(),
            app: self.app.clone(),
            call,
            status: 200,
            cost,
            left: left.unwrap_or_default(),
            throttled,
        });
    }
}

/// For the live feed: the fields that are asked for.
fn name(document: &ExecutableDocument, operation: Option<&str>) -> String {
    let operation = cost::operation(document, operation);
    let fields = operation.iter().flat_map(|operation| &operation.selection_set.node.items);
    let names = fields.filter_map(|selection| match &selection.node {
        Selection::Field(field) => Some(field.node.name.node.as_str()),
        _ => None,
    });
    let names: Vec<_> = names.take(5).collect();
    format!("graphql {}", names.join(" "))
}

fn answered(response: &Response, cost: &serde_json::Value) -> String {
    let mut body = format!("{{\"data\":{}", text(&response.data));
    if !response.errors.is_empty() {
        body.push_str(",\"errors\":");
        body.push_str(&text(&response.errors));
    }
    format!("{body},\"extensions\":{{\"cost\":{cost}}}}}")
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

/// A query that was not executed.
fn failed(errors: &[ServerError]) -> String {
    let errors: Vec<_> = errors.iter().map(in_its_words).collect();
    json!({ "errors": errors }).to_string()
}

/// The platform's own text and code for the mistake that is made most.
fn in_its_words(error: &ServerError) -> serde_json::Value {
    let mut error = json!(error);
    let message = error["message"].as_str().unwrap_or_default().to_owned();
    let quoted: Vec<_> = message.split('"').collect();
    if let ["Unknown field ", field, " on type ", of, ..] = quoted[..] {
        error["message"] = json!(format!("Field '{field}' doesn't exist on type '{of}'"));
        error["extensions"] = json!({ "code": "undefinedField", "typeName": of, "fieldName": field });
    }
    error
}

fn too_dear(cost: u32) -> String {
    let message = format!(
        "Query cost is {cost}, which exceeds the single query max cost limit ({QUERY_POINTS_MAX}).\n\nSee {DOCUMENTATION} \
         for how the cost of a query is calculated."
    );
    let extensions = json!({
        "code": "MAX_COST_EXCEEDED",
        "cost": cost,
        "maxCost": QUERY_POINTS_MAX,
        "documentation": DOCUMENTATION,
    });
    json!({ "errors": [{ "message": message, "extensions": extensions }] }).to_string()
}

fn throttled(requested: u32, status: &serde_json::Value) -> String {
    let extensions = json!({ "code": "THROTTLED", "documentation": DOCUMENTATION });
    json!({
        "errors": [{ "message": "Throttled", "extensions": extensions }],
        "extensions": {
            "cost": { "requestedQueryCost": requested, "actualQueryCost": Value::Null, "throttleStatus": status },
        },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use async_graphql::Variables;
    use async_graphql::parser::parse_query;

    use super::cost::Costs;
    use super::sdl;

    #[test]
    fn what_queries_cost() {
        let costs = Costs::new(&sdl()).unwrap();
        let cases = [
            ("{ shop { id name } }", 1),
            ("{ products(first: 250) { nodes { id } pageInfo { hasNextPage } } }", 13),
            ("{ product(id: 1) { id variants(first: 10) { nodes { id } } } }", 7),
            ("mutation { productCreate { product { id } userErrors { field message } } }", 10),
            ("mutation { productCreate { product { variants(first: 1) { edges { node { id } } } } } }", 13),
            ("query Q($n: Int = 3) { products(first: $n) { nodes { id } } }", 4),
            ("{ a: shop { id } shop { plan { shopifyPlus } } }", 3),
            ("fragment P on Product { variants(first: 1) { nodes { id } } } { node(id: 1) { id ...P } }", 4),
            ("{ shop @skip(if: true) { id } }", 1),
        ];
        for (query, expected) in cases {
            let document = parse_query(query).unwrap();
            assert_eq!(costs.requested(&document, None, &Variables::default()), expected, "{query}");
        }
    }
}
