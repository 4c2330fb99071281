//! Lists that come in pages: where the items are, and where the next page begins.

use reqwest::Url;
use reqwest::header::{HeaderMap, LINK};
use tradewind_model::Json;

use super::error::PlatformError;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// A JSON array.
    pub items: Json,
    /// What the next page is asked for with, none after the last.
    pub next: Option<String>,
}

/// The variable that a cursor becomes.
pub(super) const CURSOR_VARIABLE: &str = "after";

/// A page of a REST list: the body's one array, and the query of the link to the next page.
pub(super) fn rest(body: &Json, headers: &HeaderMap) -> Result<Page, PlatformError> {
    let members = body.members().unwrap_or_default();
    let items = members.into_iter().map(|(_, value)| value).find(is_array);
    let items = items.ok_or_else(|| unusable("it holds no list; hint: pages are for paths that answer with a list"))?;
    Ok(Page { items, next: next_link(headers)? })
}

/// The query of the `Link` to the next page. With `page_info` only `limit` and `fields` may stand, and the platform puts
/// there what belongs there.
fn next_link(headers: &HeaderMap) -> Result<Option<String>, PlatformError> {
    for header in headers.get_all(LINK) {
        let Ok(text) = header.to_str() else { return Err(unusable("its `Link` header is not text")) };
        for (target, parameters) in links(text) {
            let next = parameters.split(';').any(|parameter| {
                let (name, value) = parameter.split_once('=').unwrap_or_default();
                name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"').eq_ignore_ascii_case("next")
            });
            if !next {
                continue;
            }
            let url = Url::parse(target).ok();
            let url = url.filter(|url| url.query_pairs().any(|(name, value)| name == "page_info" && !value.is_empty()));
            // To end here would silently lose the rest of the list.
            let query = url.as_ref().and_then(Url::query);
            let query = query.ok_or_else(|| unusable("its `Link` to the next page has no readable `page_info`"))?;
            return Ok(Some(query.to_owned()));
        }
    }
    Ok(None)
}

/// The targets of a `Link` header with their parameters. Targets may hold commas and semicolons, so they are found by
/// their brackets.
fn links(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, behind) = rest.split_once('<')?;
        let (target, behind) = behind.split_once('>')?;
        let end = behind.find('<').unwrap_or(behind.len());
        let parameters = behind[..end].trim_end().trim_end_matches(',');
        rest = &behind[end..];
        Some((target, parameters))
    })
}

/// A page of the connection at a dotted path of a GraphQL answer's `data`.
pub(super) fn graphql(data: &Json, path: &str, cursor: Option<&str>) -> Result<Page, PlatformError> {
    let mut connection = data.clone();
    for name in path.split('.') {
        if connection.is_null() {
            // The record that the list belongs to is not there.
            return Ok(Page { items: empty(), next: None });
        }
        let missing = || PlatformError::invalid(format!("the answer has no `{name}` of `{path}`; hint: select it"));
        connection = connection.member(name).ok_or_else(missing)?;
    }
    if connection.is_null() {
        return Ok(Page { items: empty(), next: None });
    }
    let items = match (connection.member("nodes").filter(is_array), connection.member("edges")) {
        (Some(nodes), _) => nodes,
        (None, Some(edges)) => nodes_of(&edges, path)?,
        (None, None) => {
            let problem = format!("`{path}` has neither `nodes` nor `edges`; hint: select `nodes {{ … }}`");
            return Err(PlatformError::invalid(problem));
        }
    };
    Ok(Page { items, next: next_cursor(&connection, path, cursor)? })
}

fn next_cursor(connection: &Json, path: &str, cursor: Option<&str>) -> Result<Option<String>, PlatformError> {
    let select = || {
        let hint = "hint: select `pageInfo { hasNextPage endCursor }`";
        PlatformError::invalid(format!("`{path}` does not say where it goes on; {hint}"))
    };
    let info = connection.member("pageInfo").ok_or_else(select)?;
    let more: bool = info.member("hasNextPage").and_then(|more| more.to().ok()).ok_or_else(select)?;
    if !more {
        return Ok(None);
    }
    let next: String = info.member("endCursor").and_then(|next| next.to().ok()).ok_or_else(select)?;
    if Some(next.as_str()) == cursor {
        let problem = format!("`{path}` does not move on; hint: use `$after` in it: `(first: 50, after: $after)`");
        return Err(PlatformError::invalid(problem));
    }
    Ok(Some(next))
}

fn nodes_of(edges: &Json, path: &str) -> Result<Json, PlatformError> {
    let edges: Vec<Json> = edges.to().unwrap_or_default();
    let nodes: Option<Vec<Json>> = edges.iter().map(|edge| edge.member("node")).collect();
    let nodes = nodes.and_then(|nodes| Json::of(&nodes).ok());
    nodes.ok_or_else(|| PlatformError::invalid(format!("the edges of `{path}` have no `node`; hint: select it")))
}

fn is_array(json: &Json) -> bool {
    json.as_str().starts_with('[')
}

fn empty() -> Json {
    Json::of::<[u8]>(&[]).unwrap_or_else(|_| Json::null())
}

fn unusable(problem: &str) -> PlatformError {
    PlatformError::Unreadable { status: 200, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn linked(link: &'static str) -> Result<Option<String>, PlatformError> {
        next_link(&[(LINK, HeaderValue::from_static(link))].into_iter().collect())
    }

    #[test]
    fn the_next_link_is_found_among_others() {
        let check = |link, expected: Option<&str>| assert_eq!(linked(link).unwrap().as_deref(), expected, "{link}");
        check("", None);
        check("<https://a.example/p.json?page_info=x&limit=3>; rel=\"previous\"", None);
        check(
            "<https://a.example/p.json?page_info=x&fields=id,title>; rel=\"previous\", \
             <https://a.example/p.json?page_info=y&fields=id,title>; rel=\"next\"",
            Some("page_info=y&fields=id,title"),
        );
        check("<https://a.example/p.json?limit=3&page_info=a;b>; rel=next", Some("limit=3&page_info=a;b"));
        assert_eq!(next_link(&HeaderMap::new()).unwrap(), None);
        for odd in ["<:invalid.url>; rel=\"next\"", "<https://a.example/p.json?limit=3>; rel=\"next\""] {
            assert!(linked(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn connections_are_found_at_their_path() {
        let page = |data: &str, path, cursor| {
            graphql(&Json::parse(data).unwrap(), path, cursor).map_err(|error| error.to_string())
        };
        let check = |data, path, items: &str, next: Option<&str>| {
            let expected = Page { items: Json::parse(items).unwrap(), next: next.map(str::to_owned) };
            assert_eq!(page(data, path, Some("before")), Ok(expected), "{data}");
        };
        let more =
            r#"{"products":{"nodes":[{"id":820982911946154508}],"pageInfo":{"hasNextPage":true,"endCursor":"c"}}}"#;
        check(more, "products", r#"[{"id":820982911946154508}]"#, Some("c"));
        let last = r#"{"product":{"variants":{"edges":[{"node":{"id":1}},{"node":{"id":2}}],"pageInfo":{"hasNextPage":false,"endCursor":"c"}}}}"#;
        check(last, "product.variants", r#"[{"id":1},{"id":2}]"#, None);
        check(r#"{"product":null}"#, "product.variants", "[]", None);
        check(r#"{"product":{"variants":null}}"#, "product.variants", "[]", None);
        let refuse = |data, path, cursor, part: &str| {
            let error = page(data, path, cursor).unwrap_err();
            assert!(error.contains(part) && error.contains("hint:"), "{error}");
        };
        refuse(more, "orders", None, "no `orders`");
        refuse(more, "products", Some("c"), "does not move on");
        refuse(r#"{"products":{"nodes":[]}}"#, "products", None, "where it goes on");
        refuse(r#"{"products":{"pageInfo":{"hasNextPage":false}}}"#, "products", None, "neither `nodes` nor `edges`");
    }
}
