//! What can be told from a GraphQL document without its schema.
//!
//! There is one parser, and everything that is decided on a document is decided on what it answers. It is as deep as the
//! document: do not call it on a guest's stack.

use async_graphql_parser::parse_query;
use async_graphql_parser::types::{ExecutableDocument, OperationType};

/// Bytes of a document. 256 KiB: the longest that people write have some tens.
pub const GRAPHQL_BYTES_MAX: usize = 256 << 10;

/// The parsed document; none when the text is none, or too long to be looked at.
pub fn parse(document: &str) -> Option<ExecutableDocument> {
    if document.len() > GRAPHQL_BYTES_MAX {
        return None;
    }
    parse_query(document).ok()
}

/// Whether a document holds a mutation, which is what writes on a platform. One that cannot be parsed may.
pub fn writes(document: Option<&ExecutableDocument>) -> bool {
    document.is_none_or(|document| {
        document.operations.iter().any(|(_, operation)| operation.node.ty == OperationType::Mutation)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(document: &str) -> bool {
        writes(parse(document).as_ref())
    }

    #[test]
    fn mutations_are_found() {
        for document in [
            "mutation { tagsAdd { id } }",
            "  mutation AddTags($id: ID!) { tagsAdd(id: $id) { id } }",
            "# a comment\nmutation{a}",
            "# a comment\rmutation{a}",
            "\u{feff}mutation{a}",
            ",,mutation,{a}",
            "query A { a } mutation B { b }",
            "fragment F on Product { id } mutation { a }",
            "query A($x: String = \"}\") { a } mutation B { b }",
            "query A { a(x: \"\"\" \\\"\"\" } \"\"\") } mutation B { b }",
        ] {
            assert!(check(document), "{document}");
        }
    }

    #[test]
    fn reads_are_not() {
        for document in [
            "{ product(id: 1) { mutation } }",
            "query mutation { a }",
            "query A($mutation: String) { a }",
            "# mutation\n{ a }",
            "fragment mutation on Product { id } { a }",
            "{ a(x: \"mutation\") }",
        ] {
            assert!(!check(document), "{document}");
        }
    }

    #[test]
    fn what_cannot_be_parsed_may_write() {
        for document in ["\"mutation", "", "{", "query A { a } }", "mutation {"] {
            assert!(check(document), "{document}");
        }
        assert!(check(&format!("{{ a }} #{}", "x".repeat(GRAPHQL_BYTES_MAX))));
    }
}
