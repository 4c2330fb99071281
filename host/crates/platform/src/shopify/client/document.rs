//! What a GraphQL document says of itself: its name, whether it writes, whether it may be sent twice.

use async_graphql_parser::types::{ExecutableDocument, Field, OperationType, Selection};
use async_graphql_value::{Name, Value};
use tradewind_model::graphql;

/// The variable that an idempotency key becomes.
pub(super) const KEY_VARIABLE: &str = "idempotencyKey";

/// A document as far as the client looks into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    /// The operation's name, or its first field's.
    pub(super) name: String,
    /// Whether it holds a mutation.
    pub(super) writes: bool,
    /// Whether every mutation in it has `@idempotent`, so that the platform does it once however often it is asked.
    pub(super) idempotent: bool,
    /// Whether an `@idempotent` takes its key from `$idempotencyKey`.
    pub(super) takes_key: bool,
}

impl Document {
    /// A document that cannot be parsed is for the platform to refuse; it counts as a write.
    pub(super) fn of(parsed: Option<&ExecutableDocument>) -> Self {
        let writes = graphql::writes(parsed);
        let Some(parsed) = parsed else {
            return Self { name: "graphql".to_owned(), writes, idempotent: false, takes_key: false };
        };
        let mut operations: Vec<_> = parsed.operations.iter().collect();
        operations.sort_by_key(|(_, operation)| operation.pos);
        let name = operations.first().and_then(|(name, operation)| {
            let first = operation.node.selection_set.node.items.iter().find_map(|item| field(&item.node));
            name.or(first.map(|field| &field.name.node))
        });
        let name = name.map_or("graphql", Name::as_str).to_owned();
        let mut document = Self { name, writes, idempotent: true, takes_key: false };
        for (_, operation) in operations.iter().filter(|(_, operation)| operation.node.ty == OperationType::Mutation) {
            for item in &operation.node.selection_set.node.items {
                match field(&item.node).and_then(key) {
                    Some(key) => document.takes_key |= *key == Value::Variable(Name::new(KEY_VARIABLE)),
                    None => document.idempotent = false,
                }
            }
        }
        document.idempotent &= document.writes;
        document
    }
}

/// Mutations in fragments are not looked into: they count as not idempotent.
fn field(selection: &Selection) -> Option<&Field> {
    match selection {
        Selection::Field(field) => Some(&field.node),
        Selection::FragmentSpread(_) | Selection::InlineFragment(_) => None,
    }
}

/// The key of a field's `@idempotent`.
fn key(field: &Field) -> Option<&Value> {
    let directive = field.directives.iter().find(|directive| directive.node.name.node == "idempotent")?;
    let (_, key) = directive.node.arguments.iter().find(|(name, _)| name.node == "key")?;
    Some(&key.node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_say_what_they_are() {
        let check = |text: &str, name: &str, writes: bool, idempotent: bool, takes_key: bool| {
            let expected = Document { name: name.to_owned(), writes, idempotent, takes_key };
            let parsed = async_graphql_parser::parse_query(text).ok();
            assert_eq!(Document::of(parsed.as_ref()), expected, "{text}");
        };
        check("{ shop { id } }", "shop", false, false, false);
        check(
            "query Products($after: String) { products(after: $after) { nodes { id } } }",
            "Products",
            false,
            false,
            false,
        );
        check("mutation { a: tagsAdd(id: 1) { userErrors { message } } }", "tagsAdd", true, false, false);
        let key = "mutation R($idempotencyKey: String!) { refundCreate @idempotent(key: $idempotencyKey) { id } }";
        check(key, "R", true, true, true);
        check("mutation R { refundCreate @idempotent(key: \"k\") { id } }", "R", true, true, false);
        check("mutation { a @idempotent(key: $idempotencyKey) { id } b { id } }", "a", true, false, true);
        check("mutation { a @idempotent { id } }", "a", true, false, false);
        check("mutation { ...F } fragment F on Mutation { a { id } }", "graphql", true, false, false);
        check("mutation {", "graphql", true, false, false);
        check("", "graphql", true, false, false);
    }
}
