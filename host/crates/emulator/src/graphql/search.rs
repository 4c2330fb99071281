//! The search of lists, as far as the emulator goes: `field:value` with comparisons, words, and all of them together.
//!
//! What it does not know is an error and not a list without a filter, which would teach a client the wrong thing.

use async_graphql::Error;
use jiff::{Timestamp, civil::Date};

use crate::catalog::Product;

/// One condition.
#[derive(Debug)]
struct Term {
    field: String,
    comparison: Comparison,
    value: String,
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    More,
    MoreOrEqual,
}

impl Comparison {
    fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::More => left > right,
            Self::MoreOrEqual => left >= right,
        }
    }
}

/// Conditions that must all hold.
#[derive(Debug, Default)]
pub(super) struct Search(Vec<Term>);

impl Search {
    pub(super) fn parse(query: Option<&str>) -> Result<Self, Error> {
        let mut terms = Vec::new();
        for word in words(query.unwrap_or_default()) {
            if word == "AND" {
                continue;
            }
            if matches!(word.as_str(), "OR" | "NOT") || word.starts_with(['-', '(']) {
                return Err(Error::new(format!("the emulator's search knows no `{word}`; hint: filter what you get")));
            }
            terms.push(term(&word));
        }
        Ok(Self(terms))
    }

    pub(super) fn finds(&self, product: &Product) -> Result<bool, Error> {
        for term in &self.0 {
            if !holds(term, product)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Split at spaces that are not quoted; the quotes go.
fn words(query: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in query.chars() {
        match letter {
            '\'' | '"' if quote == Some(letter) => quote = None,
            '\'' | '"' if quote.is_none() => quote = Some(letter),
            ' ' if quote.is_none() => words.push(String::new()),
            letter => words.last_mut().into_iter().for_each(|word| word.push(letter)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn term(word: &str) -> Term {
    let (field, value) = word.split_once(':').unwrap_or(("", word));
    let signs = [
        (">=", Comparison::MoreOrEqual),
        ("<=", Comparison::LessOrEqual),
        (">", Comparison::More),
        ("<", Comparison::Less),
    ];
    let sign = signs.into_iter().find_map(|(sign, comparison)| Some((comparison, value.strip_prefix(sign)?)));
    let (comparison, value) = sign.unwrap_or((Comparison::Equal, value));
    Term { field: field.to_owned(), comparison, value: value.to_owned() }
}

fn holds(term: &Term, product: &Product) -> Result<bool, Error> {
    let text = |field: &str| matches(&term.value, field);
    let time = |field: Timestamp| match instant(&term.value) {
        Some(value) => Ok(term.comparison.holds(&field, &value)),
        None => Err(Error::new(format!("`{}` is no time", term.value))),
    };
    match term.field.as_str() {
        "" | "title" => Ok(text(&product.title) || product.title.to_lowercase().contains(&term.value.to_lowercase())),
        "id" => match term.value.parse::<u64>() {
            Ok(id) => Ok(term.comparison.holds(&product.id, &id)),
            Err(_) => Err(Error::new(format!("`{}` is no id", term.value))),
        },
        "handle" => Ok(text(&product.handle)),
        "vendor" => Ok(text(&product.vendor)),
        "product_type" => Ok(text(&product.product_type)),
        "status" => Ok(term.value.split(',').any(|status| matches(status, product.status.name()))),
        "tag" => Ok(product.tags.iter().any(|tag| text(tag))),
        "sku" => Ok(product.variants.iter().filter_map(|variant| variant.sku.as_ref()).any(|sku| text(sku))),
        "created_at" => time(product.created_at),
        "updated_at" => time(product.updated_at),
        field => Err(Error::new(format!(
            "the emulator's search knows no `{field}`; hint: it knows title, id, handle, vendor, product_type, status, tag, \
             sku, created_at and updated_at"
        ))),
    }
}

/// Equal whatever the case; a trailing `*` takes any ending.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    pattern.strip_suffix('*').map_or(pattern == text, |prefix| text.starts_with(prefix))
}

fn instant(text: &str) -> Option<Timestamp> {
    let day = || text.parse::<Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|day| day.timestamp());
    text.parse().ok().or_else(day)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::Search;
    use crate::catalog::edit::blank;

    #[test]
    fn what_a_search_finds() {
        let mut product = blank(7, "Acme & Co", Timestamp::from_second(1_700_000_000).unwrap());
        "Wool Hat".clone_into(&mut product.title);
        product.tags = vec!["New".to_owned()];
        let cases = [
            ("", true),
            ("tag:new status:active", true),
            ("tag:old", false),
            ("vendor:'Acme & Co' AND id:>6", true),
            ("updated_at:>=2023-11-14", true),
            ("updated_at:>'2023-11-15T00:00:00Z'", false),
            ("wool", true),
            ("title:Wo*", true),
            ("id:<7", false),
        ];
        for (query, expected) in cases {
            assert_eq!(Search::parse(Some(query)).unwrap().finds(&product).unwrap(), expected, "{query}");
        }
        assert!(Search::parse(Some("a OR b")).is_err());
        assert!(Search::parse(Some("colour:red")).unwrap().finds(&product).is_err());
    }
}
