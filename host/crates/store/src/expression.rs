//! How both databases read a field of a stored document, and what things are called that are made for a model.
//!
//! An index serves a query only when both spell an expression the same way, and both must mean what
//! [`tradewind_model::value::read`] means: so each expression is here and nowhere else. What is not of its type is null,
//! and never an error. To add a type, follow the compiler, and let the test run that compares both databases with memory.

use tradewind_model::query::Column;
use tradewind_model::schema::{Model, Scope, Unique};
use tradewind_model::value::{TEXT_KEY_CHARS_MAX, ValueType};

use crate::error::StoreError;
use crate::link::Engine;

/// PostgreSQL cuts longer names.
const NAME_BYTES_MAX: usize = 63;

/// How much of an app's key is in the names of what is made for it: the rest has room for a model's name.
const APP_BYTES_MAX: usize = 32;

/// The longest text that a unique index of PostgreSQL holds as it is, in bytes: four of them and a shop fit into an index
/// row of 2,704 bytes. Of longer ones it holds a digest.
const UNIQUE_TEXT_BYTES_MAX: usize = 255;

/// The whole value of a document's field.
pub(crate) fn whole(engine: Engine, field: &str, of: ValueType) -> String {
    debug_assert!(field.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "`{field}` was checked");
    let template = match (engine, of) {
        (Engine::Sqlite, ValueType::Text) => "(CASE WHEN json_type(doc,'$.{f}')='text' THEN doc->>'$.{f}' END)",
        (Engine::Postgres, ValueType::Text) => {
            "((CASE WHEN json_typeof(doc->'{f}')='string' THEN doc->>'{f}' END) COLLATE \"C\")"
        }
        (Engine::Sqlite, ValueType::Integer) => {
            "(CASE WHEN json_type(doc,'$.{f}')='integer' AND typeof(doc->>'$.{f}')='integer' THEN doc->>'$.{f}' END)"
        }
        (Engine::Postgres, ValueType::Integer) => {
            "(CASE WHEN json_typeof(doc->'{f}')='number' AND doc->>'{f}' ~ '^-?[0-9]{1,19}$' THEN \
             CASE WHEN (doc->>'{f}')::numeric BETWEEN -9223372036854775808 AND 9223372036854775807 \
             THEN (doc->>'{f}')::bigint END END)"
        }
        // What `value::is_plain_number` takes, in the words of each: at most 19 bytes before an exponent from -59 to 99.
        (Engine::Sqlite, ValueType::Number) => {
            "(CASE WHEN json_type(doc,'$.{f}') IN ('integer','real') AND instr(lower(doc->'$.{f}')||'e','e')<=20 \
             AND doc->'$.{f}' NOT GLOB '*[eE]*[0-9][0-9][0-9]' AND doc->'$.{f}' NOT GLOB '*[eE]-[6-9][0-9]' \
             THEN CAST(doc->>'$.{f}' AS REAL) END)"
        }
        (Engine::Postgres, ValueType::Number) => {
            "(CASE WHEN json_typeof(doc->'{f}')='number' \
             AND doc->>'{f}' ~ '^[-0-9.]{1,19}([eE](\\+?[0-9]{1,2}|-[0-5]?[0-9]))?$' THEN (doc->>'{f}')::float8 END)"
        }
        (Engine::Sqlite, ValueType::Boolean) => {
            "(CASE json_type(doc,'$.{f}') WHEN 'true' THEN 1 WHEN 'false' THEN 0 END)"
        }
        (Engine::Postgres, ValueType::Boolean) => {
            "(CASE WHEN json_typeof(doc->'{f}')='boolean' THEN (doc->>'{f}')::boolean END)"
        }
        // Text, and only to ask whether it is there.
        (Engine::Sqlite, ValueType::Json) => "(doc->>'$.{f}')",
        (Engine::Postgres, ValueType::Json) => "(doc->>'{f}')",
    };
    template.replace("{f}", field)
}

/// What of a document's field is sorted by and indexed: of a text its beginning.
pub(crate) fn key(engine: Engine, field: &str, of: ValueType) -> String {
    if of != ValueType::Text {
        return whole(engine, field, of);
    }
    match engine {
        Engine::Sqlite => {
            let text = "(CASE WHEN json_type(doc,'$.{f}')='text' THEN substr(doc->>'$.{f}',1,{max}) END)";
            text.replace("{f}", field).replace("{max}", &TEXT_KEY_CHARS_MAX.to_string())
        }
        Engine::Postgres => {
            let text = "(CASE WHEN json_typeof(doc->'{f}')='string' THEN doc->>'{f}' END)";
            format!("(left({},{TEXT_KEY_CHARS_MAX}) COLLATE \"C\")", text.replace("{f}", field))
        }
    }
}

/// What of a document's field must be unique.
pub(crate) fn unique(engine: Engine, field: &str, of: ValueType) -> String {
    let whole = whole(engine, field, of);
    if engine == Engine::Sqlite || of != ValueType::Text {
        return whole;
    }
    format!(
        "((CASE WHEN octet_length({whole})<={UNIQUE_TEXT_BYTES_MAX} THEN {whole} ELSE 'md5:'||md5({whole}) END) \
         COLLATE \"C\")"
    )
}

/// What a text is compared with when it is looked for by [`unique`], around `?`; and whether that alone tells.
pub(crate) fn unique_operand(engine: Engine, text: &str) -> (&'static str, bool) {
    match engine {
        Engine::Sqlite => ("?", true),
        Engine::Postgres if text.len() > UNIQUE_TEXT_BYTES_MAX => ("('md5:'||md5(?))", false),
        // It could be the digest of another.
        Engine::Postgres => ("?", !text.starts_with("md5:")),
    }
}

/// A column as [`key`] does a field.
pub(crate) fn column_key(engine: Engine, column: &Column) -> String {
    match column {
        Column::Id => "id".to_owned(),
        Column::Shop => "shop".to_owned(),
        Column::CreatedMs => "created_ms".to_owned(),
        Column::UpdatedMs => "updated_ms".to_owned(),
        Column::Member { name, of } => key(engine, name, *of),
    }
}

/// A column as [`whole`] does a field.
pub(crate) fn column_whole(engine: Engine, column: &Column) -> String {
    match column {
        Column::Member { name, of } => whole(engine, name, *of),
        system => column_key(engine, system),
    }
}

/// The condition that all the records of an app's model meet. Its names are part of the text and not bound, because a
/// database that does not know them while it plans cannot use an index that holds one model.
pub(crate) fn of_model(app: &str, model: &str) -> Result<String, StoreError> {
    Ok(format!("app={} AND model={}", literal(app)?, literal(model)?))
}

/// A name of an app or a model as a literal.
fn literal(name: &str) -> Result<String, StoreError> {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'/');
    if name.is_empty() || !name.bytes().all(known) {
        return Err(StoreError::Name { name: name.to_owned() });
    }
    Ok(format!("'{name}'"))
}

/// How many records of a model a large shop has, as SQLite is told.
pub(crate) const RECORDS_OF_A_MODEL: u32 = 5_000;

/// An index that is wanted for a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) model: String,
    /// Empty for one that only makes queries fast.
    pub(crate) unique: Option<Unique>,
    /// What comes after `ON`.
    target: String,
    /// How many records of a large shop have the same value, roughly.
    alike: u32,
}

impl Index {
    /// The index that filters and sorts on a field use.
    pub(crate) fn of_field(
        engine: Engine,
        app: &str,
        model: &str,
        field: &str,
        of: ValueType,
    ) -> Result<Self, StoreError> {
        // Differs because nulls are smallest on SQLite anyway, and largest on PostgreSQL unless it is told otherwise.
        let nulls = if engine == Engine::Postgres { " NULLS FIRST" } else { "" };
        let condition = of_model(app, model)?;
        let target = format!("records (shop,{}{nulls},id) WHERE {condition}", key(engine, field, of));
        let name = index_name("index", app, model, field, &target);
        let alike = if of == ValueType::Boolean { RECORDS_OF_A_MODEL / 2 } else { 10 };
        Ok(Self { name, model: model.to_owned(), unique: None, target, alike })
    }

    /// The index that keeps a key unique.
    pub(crate) fn of_unique(engine: Engine, app: &str, model: &Model, unique: &Unique) -> Result<Self, StoreError> {
        let parts: Vec<_> = unique_parts(engine, model, unique);
        let target = format!("records ({}) WHERE {}", parts.join(","), of_model(app, &model.name)?);
        let name = index_name("unique", app, &model.name, &unique.fields.join("+"), &target);
        Ok(Self { name, model: model.name.clone(), unique: Some(unique.clone()), target, alike: 1 })
    }

    /// How many records it has, and how many have the same first column, the same first two, and so on: as SQLite writes
    /// it down.
    pub(crate) fn estimate(&self) -> String {
        let Some(key) = &self.unique else { return format!("100000 {RECORDS_OF_A_MODEL} {} 1", self.alike) };
        let shop = if key.scope == Scope::Shop { vec![RECORDS_OF_A_MODEL] } else { Vec::new() };
        let fields = (0..key.fields.len()).rev().map(|left| if left == 0 { 1 } else { 10 });
        let counts: Vec<_> =
            [100_000].into_iter().chain(shop).chain(fields).map(|count: u32| count.to_string()).collect();
        counts.join(" ")
    }

    /// The statement that makes it.
    pub(crate) fn create(&self, concurrently: bool) -> String {
        let unique = if self.unique.is_some() { "UNIQUE " } else { "" };
        let concurrently = if concurrently { "CONCURRENTLY " } else { "" };
        format!("CREATE {unique}INDEX {concurrently}\"{}\" ON {}", self.name, self.target)
    }
}

/// What a unique key consists of: the shop within which it is unique, and its fields.
pub(crate) fn unique_parts(engine: Engine, model: &Model, key: &Unique) -> Vec<String> {
    let field = |name: &String| Some(unique(engine, name, model.field(name)?.of.value_type()?));
    let shop = (key.scope == Scope::Shop).then(|| "shop".to_owned());
    shop.into_iter().chain(key.fields.iter().filter_map(field)).collect()
}

/// How the names of an app's indexes begin, and nobody else's.
pub(crate) fn index_prefixes(app: &str) -> [String; 2] {
    ["index", "unique"].map(|kind| format!("{kind}/{}/", app_part(app)))
}

/// For example `index/tagger/shopify/product/title~0123456789abcdef`. Ends with a digest of all that the index is, so that
/// another definition is another index.
fn index_name(kind: &str, app: &str, model: &str, fields: &str, target: &str) -> String {
    let name = format!("{kind}/{}/{model}/{fields}", app_part(app));
    cut_name(&name, &format!("{kind} {app} {target}"))
}

/// `<app>/<model>`, for example `tagger/shopify/product`; a name too long for that ends with a digest of it.
pub(crate) fn view_name(app: &str, model: &str) -> String {
    let name = format!("{}/{model}", app_part(app));
    if name.len() <= NAME_BYTES_MAX { name } else { cut_name(&name, &format!("view {app} {model}")) }
}

/// An app's key as it begins names: no two apps have the same, and it has no `/`.
fn app_part(app: &str) -> String {
    let app_ = app.replace('/', "_");
    if app.len() <= APP_BYTES_MAX { app_ } else { format!("{}~{:016x}", &app_[..APP_BYTES_MAX - 17], digest(app)) }
}

fn cut_name(name: &str, digested: &str) -> String {
    let end = name.len().min(NAME_BYTES_MAX - 17);
    format!("{}~{:016x}", &name[..end], digest(digested))
}

/// FNV-1a, 64 bits: the same in every build, because it is part of names that last.
pub(crate) fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_tell_apps_and_definitions_apart() {
        let index =
            |app: &str, field: &str, of| Index::of_field(Engine::Sqlite, app, "shopify/product", field, of).unwrap();
        let title = index("tagger", "title", ValueType::Text);
        assert!(title.name.starts_with("index/tagger/shopify/product/title~"), "{}", title.name);
        assert_ne!(title.name, index("tagger", "title", ValueType::Integer).name);
        let long = "a-very-long-key-of-an-app-that-goes-on-and-on";
        let field = "x".repeat(60);
        for app in ["tagger", long, "a/b"] {
            let name = index(app, &field, ValueType::Text).name;
            assert!(name.len() <= NAME_BYTES_MAX, "{name}");
            let owns = |app: &str| index_prefixes(app).iter().any(|prefix| name.starts_with(prefix));
            assert!(owns(app) && !owns("tag") && !owns(&format!("{long}-2")), "{name}");
        }
        assert_eq!(view_name("tagger", "shopify/product"), "tagger/shopify/product");
        let long = view_name("tagger", &field);
        assert!(long.len() == NAME_BYTES_MAX && long.starts_with("tagger/xxx"), "{long}");
        assert_ne!(long, view_name("tagger", &"x".repeat(59)));
    }

    #[test]
    fn only_names_become_literals() {
        assert_eq!(of_model("tagger", "shopify/product").unwrap(), "app='tagger' AND model='shopify/product'");
        for name in ["", "Tagger", "a'b", "a b", "a\\", "ä", "a\0"] {
            assert!(of_model(name, "m").is_err() && of_model("a", name).is_err(), "{name:?}");
        }
    }
}
