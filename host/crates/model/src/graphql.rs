//! What can be told from a GraphQL document without its schema.

/// Whether the document holds a mutation, which is what writes on a platform.
///
/// Looks at the words outside every selection, argument list, string and comment. A document that is not GraphQL is for
/// the platform to refuse.
pub fn writes(document: &str) -> bool {
    let mut depth = 0_u32;
    let mut rest = document;
    while let Some(character) = rest.chars().next() {
        let skip = match character {
            '#' => rest.find(['\n', '\r']).unwrap_or(rest.len()),
            '"' => string_length(rest),
            '{' | '(' | '[' => {
                depth += 1;
                1
            }
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                1
            }
            _ if is_name(character) => {
                let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                // `fragment mutation on …` and `query mutation {…}` only name things so; the word that follows a
                // definition's keyword is its name.
                match (depth, &rest[..length]) {
                    (0, "mutation") => return true,
                    (0, "query" | "subscription" | "fragment") => length + name_length(&rest[length..]),
                    _ => length,
                }
            }
            other => other.len_utf8(),
        };
        rest = &rest[skip..];
    }
    false
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// White space and the name behind it; only the white space when no name follows.
fn name_length(text: &str) -> usize {
    let name = text.trim_start();
    text.len() - name.len() + name.find(|c| !is_name(c)).unwrap_or(name.len())
}

/// The length of the string that `text` begins with, to the end of the text when it is not closed.
fn string_length(text: &str) -> usize {
    if let Some(block) = text.strip_prefix("\"\"\"") {
        let mut from = 0;
        while let Some(end) = block[from..].find("\"\"\"") {
            if !block[..from + end].ends_with('\\') {
                return 3 + from + end + 3;
            }
            from += end + 3;
        }
        return text.len();
    }
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' | '\n' | '\r' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::writes;

    #[test]
    fn mutations_are_found() {
        for document in [
            "mutation { tagsAdd { id } }",
            "  mutation AddTags($id: ID!) { tagsAdd(id: $id) { id } }",
            "# a comment\nmutation{a}",
            "# a comment\rmutation{a}",
            "query A { a } mutation B { b }",
            "fragment F on Product { id } mutation { a }",
            "query A($x: String = \"}\") { a } mutation B { b }",
            "query A { a(x: \"\"\" \\\"\"\" } \"\"\") } mutation B { b }",
        ] {
            assert!(writes(document), "{document}");
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
            "\"mutation",
            "",
        ] {
            assert!(!writes(document), "{document}");
        }
    }
}
