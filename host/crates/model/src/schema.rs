//! The shape of an app's records, as data: models, their fields, what is unique and what is indexed.
//!
//! A model says how values are checked, stored and compared; it never says where. Deploying a schema is the store's
//! business: it reads the same definitions and makes indexes of them. To add a type of field, add it to [`FieldType`] and
//! follow the compiler.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{ActionError, code};
use crate::near::hint;
use crate::value::ValueType;

/// How many fields a model may declare: a view has a column for each, and PostgreSQL has at most 1,600.
pub const FIELDS_MAX: usize = 500;

/// How many indexes a model may have, unique ones included: each one is paid for at every write.
pub const INDEXES_MAX: usize = 20;

/// How many fields one unique key may have: PostgreSQL takes an index row of 2,704 bytes at most.
pub const UNIQUE_FIELDS_MAX: usize = 4;

/// How long the name of a field or a model may be: PostgreSQL cuts names after 63 bytes, and a view's column is called
/// like the field.
pub const NAME_BYTES_MAX: usize = 60;

/// The fields that every record has. They are columns of their own and never part of a document.
pub const SYSTEM_FIELDS: [&str; 3] = ["id", "createdAt", "updatedAt"];

/// Words of the filter language, which no field may be called.
const FILTER_WORDS: [&str; 3] = ["AND", "OR", "NOT"];

/// A kind of record. Without fields it is schema-less: anything is stored and nothing can be filtered or sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Model {
    /// For example `shopify/product` or `allowed-tag`.
    pub name: String,
    /// Declared fields. A document may have others, which are kept exactly as they are spelled.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// Unique keys of several fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uniques: Vec<Unique>,
}

/// One declared field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FieldText", into = "FieldText")]
pub struct Field {
    /// Letters, digits and `_`.
    pub name: String,
    /// What it holds.
    pub of: FieldType,
    /// Whether a record without a value is refused.
    pub required: bool,
    /// Within what no two records have the same value; none when they may.
    pub unique: Option<UniqueWithin>,
    /// Whether filters and sorts on it are fast. Without an index they read every record of the shop's model.
    pub index: bool,
    /// The platform that owns it, none for the app's own.
    pub source: Option<Source>,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Any text.
    String,
    /// 64 bits, exact.
    Integer,
    /// A double between 1e-59 and 1e100, in either direction.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A point in time, to the millisecond.
    DateTime,
    /// Any JSON value.
    Json,
    /// The id of a record of another model.
    BelongsTo {
        /// The other model.
        model: String,
    },
    /// The records of another model that belong to this one. Not part of the document.
    HasMany {
        /// The other model.
        model: String,
        /// Its field that belongs to this model.
        by: String,
    },
}

impl FieldType {
    /// The name in schemas and messages.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::DateTime => "date-time",
            Self::Json => "json",
            Self::BelongsTo { .. } => "belongs-to",
            Self::HasMany { .. } => "has-many",
        }
    }

    /// How its values are compared, none when the document does not hold them.
    pub fn value_type(&self) -> Option<ValueType> {
        match self {
            Self::String | Self::DateTime | Self::BelongsTo { .. } => Some(ValueType::Text),
            Self::Integer => Some(ValueType::Integer),
            Self::Number => Some(ValueType::Number),
            Self::Boolean => Some(ValueType::Boolean),
            Self::Json => Some(ValueType::Json),
            Self::HasMany { .. } => None,
        }
    }

    /// Whether values have an order, so that they can be sorted, indexed and unique.
    pub fn has_order(&self) -> bool {
        !matches!(self, Self::Json | Self::HasMany { .. })
    }
}

/// Within what a field's value is unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UniqueWithin {
    /// The records of one shop, or of the whole app.
    Scope(Scope),
    /// The records of one shop that have the same values in these fields.
    Fields(Vec<String>),
}

/// How far something reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// One shop.
    #[default]
    Shop,
    /// Every shop of the app.
    App,
}

/// A key that no two records share. Records that have no value in one of the fields share it with nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unique {
    /// In the order of the index.
    pub fields: Vec<String>,
    /// Among which records.
    #[serde(default)]
    pub scope: Scope,
}

/// A platform that owns a field: its values come from there, and writing them here changes nothing there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "their own names")]
pub enum Source {
    Shopify,
    BigCommerce,
}

/// A field as it is written in a schema.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FieldText {
    name: String,
    r#type: TypeText,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    required: bool,
    #[serde(default, skip_serializing_if = "UniqueText::is_none")]
    unique: UniqueText,
    #[serde(default, skip_serializing_if = "is_false")]
    index: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TypeText {
    String,
    Integer,
    Number,
    Boolean,
    DateTime,
    Json,
    BelongsTo,
    HasMany,
}

#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "`unique` is none of `true`, `\"shop\"`, `\"app\"` and a list of fields such as `[\"store\"]`"
)]
enum UniqueText {
    Flag(bool),
    Scope(Scope),
    Fields(Vec<String>),
}

impl Default for UniqueText {
    fn default() -> Self {
        Self::Flag(false)
    }
}

impl UniqueText {
    fn is_none(&self) -> bool {
        matches!(self, Self::Flag(false))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde wants")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl TryFrom<FieldText> for Field {
    type Error = String;

    fn try_from(text: FieldText) -> Result<Self, String> {
        let FieldText { name, r#type, model, by, required, unique, index, source } = text;
        let of = match (r#type, model, by) {
            (TypeText::String, None, None) => FieldType::String,
            (TypeText::Integer, None, None) => FieldType::Integer,
            (TypeText::Number, None, None) => FieldType::Number,
            (TypeText::Boolean, None, None) => FieldType::Boolean,
            (TypeText::DateTime, None, None) => FieldType::DateTime,
            (TypeText::Json, None, None) => FieldType::Json,
            (TypeText::BelongsTo, Some(model), None) => FieldType::BelongsTo { model },
            (TypeText::HasMany, Some(model), Some(by)) => FieldType::HasMany { model, by },
            _ => {
                return Err(format!(
                    "field `{name}` and its type do not go together; hint: `belongs-to` has `model`, `has-many` has \
                     `model` and `by`, the other types have neither"
                ));
            }
        };
        let unique = match unique {
            UniqueText::Flag(false) => None,
            UniqueText::Flag(true) => Some(UniqueWithin::Scope(Scope::Shop)),
            UniqueText::Scope(scope) => Some(UniqueWithin::Scope(scope)),
            UniqueText::Fields(fields) => Some(UniqueWithin::Fields(fields)),
        };
        Ok(Self { name, of, required, unique, index, source })
    }
}

impl From<Field> for FieldText {
    fn from(field: Field) -> Self {
        let Field { name, of, required, unique, index, source } = field;
        let (r#type, model, by) = match of {
            FieldType::String => (TypeText::String, None, None),
            FieldType::Integer => (TypeText::Integer, None, None),
            FieldType::Number => (TypeText::Number, None, None),
            FieldType::Boolean => (TypeText::Boolean, None, None),
            FieldType::DateTime => (TypeText::DateTime, None, None),
            FieldType::Json => (TypeText::Json, None, None),
            FieldType::BelongsTo { model } => (TypeText::BelongsTo, Some(model), None),
            FieldType::HasMany { model, by } => (TypeText::HasMany, Some(model), Some(by)),
        };
        let unique = match unique {
            None => UniqueText::default(),
            Some(UniqueWithin::Scope(scope)) => UniqueText::Scope(scope),
            Some(UniqueWithin::Fields(fields)) => UniqueText::Fields(fields),
        };
        Self { name, r#type, model, by, required, unique, index, source }
    }
}

impl Field {
    /// A field of a type, optional and without an index.
    pub fn new(name: &str, of: FieldType) -> Self {
        Self { name: name.to_owned(), of, required: false, unique: None, index: false, source: None }
    }
}

impl Model {
    /// The declared field of this name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Every unique key, those of single fields first.
    pub fn unique_keys(&self) -> Vec<Unique> {
        let of_field = |field: &Field| match field.unique.clone()? {
            UniqueWithin::Scope(scope) => Some(Unique { fields: vec![field.name.clone()], scope }),
            UniqueWithin::Fields(mut fields) => {
                fields.push(field.name.clone());
                Some(Unique { fields, scope: Scope::Shop })
            }
        };
        self.fields.iter().filter_map(of_field).chain(self.uniques.iter().cloned()).collect()
    }

    /// The unique key of exactly these fields, in whatever order.
    pub fn unique_key<'a>(&self, fields: impl IntoIterator<Item = &'a str>) -> Option<Unique> {
        let fields: BTreeSet<&str> = fields.into_iter().collect();
        self.unique_keys()
            .into_iter()
            .find(|key| key.fields.iter().map(String::as_str).collect::<BTreeSet<_>>() == fields)
    }

    /// The names of the system's and the declared fields.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        SYSTEM_FIELDS.into_iter().chain(self.fields.iter().map(|field| field.name.as_str()))
    }

    /// What is wrong with it by itself, in words; empty when nothing is.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut problem = |text: String| problems.push(format!("model `{}`: {text}", self.name));
        if !is_model_name(&self.name) {
            problem(format!(
                "its name is not lower-case letters, digits and `-`, with at most one `/`, in at most {NAME_BYTES_MAX} \
                 bytes; hint: `allowed-tag` or `shopify/product`"
            ));
        }
        if self.fields.len() > FIELDS_MAX {
            problem(format!(
                "{} fields are more than {FIELDS_MAX}; hint: undeclared fields are stored as well",
                self.fields.len()
            ));
        }
        let keys = self.unique_keys();
        let indexes = keys.len() + self.fields.iter().filter(|field| field.index).count();
        if indexes > INDEXES_MAX {
            problem(format!(
                "{indexes} indexes are more than {INDEXES_MAX}; hint: index what large shops filter or sort by"
            ));
        }
        let mut seen: BTreeMap<String, &str> = BTreeMap::new();
        for field in &self.fields {
            field.problems().into_iter().for_each(&mut problem);
            if let Some(other) = seen.insert(field.name.to_ascii_lowercase(), &field.name) {
                problem(format!(
                    "fields `{other}` and `{}` are the same column of a view; hint: names differ in more than case",
                    field.name
                ));
            }
        }
        for key in &keys {
            self.unique_problems(key).into_iter().for_each(&mut problem);
        }
        problems
    }

    fn unique_problems(&self, key: &Unique) -> Vec<String> {
        let mut problems = Vec::new();
        let shown = format!("unique key `{}`", key.fields.join("`, `"));
        if key.fields.is_empty() || key.fields.len() > UNIQUE_FIELDS_MAX {
            problems.push(format!(
                "{shown} has not one to {UNIQUE_FIELDS_MAX} fields; hint: name the fields that identify"
            ));
        }
        if key.fields.iter().collect::<BTreeSet<_>>().len() < key.fields.len() {
            problems.push(format!("{shown} names a field twice; hint: a field's own name is part of its key already"));
        }
        for name in &key.fields {
            match self.field(name) {
                None => problems.push(format!("{shown}: there is no field `{name}`; {}", hint(name, self.declared()))),
                Some(field) if !field.of.has_order() => problems.push(format!(
                    "{shown}: `{name}` is of type `{}`, whose values cannot be unique; hint: use a string field",
                    field.of.as_str()
                )),
                Some(_) => {}
            }
        }
        problems
    }

    fn declared(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name.as_str())
    }
}

impl Field {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let name = &self.name;
        let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
        let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !starts || !rest || name.len() > NAME_BYTES_MAX {
            problems.push(format!(
                "field name `{name}` is not letters, digits and `_`, beginning with no digit, in at most \
                 {NAME_BYTES_MAX} bytes; hint: `inventoryQuantity`"
            ));
        }
        // Without case, because a view's columns have none.
        if SYSTEM_FIELDS.iter().any(|system| name.eq_ignore_ascii_case(system)) || FILTER_WORDS.contains(&name.as_str())
        {
            problems.push(format!("`{name}` is a name of the system; hint: every record has it without declaring it"));
        }
        if self.index && !self.of.has_order() {
            problems.push(format!(
                "field `{name}`: values of type `{}` have no order to index; hint: leave out `index`",
                self.of.as_str()
            ));
        }
        if self.required && matches!(self.of, FieldType::HasMany { .. }) {
            problems.push(format!("field `{name}`: children are not part of the record; hint: leave out `required`"));
        }
        problems
    }
}

/// The models of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    models: BTreeMap<String, Model>,
}

impl Schema {
    /// Takes models that fit together. Otherwise tells everything that is wrong, in words.
    pub fn new(models: impl IntoIterator<Item = Model>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut schema = Self::default();
        for model in models {
            problems.extend(model.problems());
            if let Some(other) = schema.models.insert(model.name.clone(), model) {
                problems.push(format!("model `{}` is declared twice; hint: keep one", other.name));
            }
        }
        for model in schema.models.values() {
            for field in &model.fields {
                problems.extend(
                    schema
                        .link_problem(model, field)
                        .map(|problem| format!("model `{}`: field `{}`: {problem}", model.name, field.name)),
                );
            }
        }
        if problems.is_empty() { Ok(schema) } else { Err(problems) }
    }

    fn link_problem(&self, model: &Model, field: &Field) -> Option<String> {
        let (FieldType::BelongsTo { model: to } | FieldType::HasMany { model: to, .. }) = &field.of else {
            return None;
        };
        let Some(other) = self.models.get(to) else {
            return Some(format!("there is no model `{to}`; {}", hint(to, self.names())));
        };
        let FieldType::HasMany { by, .. } = &field.of else { return None };
        let back = other.field(by).is_some_and(|back| back.of == FieldType::BelongsTo { model: model.name.clone() });
        let example = format!(r#"{{"name":"{by}","type":"belongs-to","model":"{}"}}"#, model.name);
        (!back).then(|| format!("`{by}` of `{to}` does not belong to this model; hint: declare `{example}` there"))
    }

    /// The model of this name.
    pub fn model(&self, name: &str) -> Result<&Model, ActionError> {
        self.models.get(name).ok_or_else(|| {
            ActionError::permanent(code::NOT_FOUND, format!("there is no model `{name}`; {}", hint(name, self.names())))
        })
    }

    /// Every model, by name.
    pub fn models(&self) -> impl Iterator<Item = &Model> {
        self.models.values()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.models.keys().map(String::as_str)
    }
}

fn is_model_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.len() <= NAME_BYTES_MAX && name.split('/').count() <= 2 && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(text: &str) -> Model {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_schema_is_data() {
        let text = r#"{"name":"shopify/product","fields":[
            {"name":"title","type":"string","required":true,"index":true,"source":"shopify"},
            {"name":"handle","type":"string","unique":true},
            {"name":"code","type":"integer","unique":"app"},
            {"name":"slug","type":"string","unique":["shop","code"]},
            {"name":"shop","type":"belongs-to","model":"shop"},
            {"name":"variants","type":"has-many","model":"shopify/product-variant","by":"product"}
        ],"uniques":[{"fields":["title","code"],"scope":"app"}]}"#;
        let product = model(text);
        assert_eq!(product.problems(), [""; 0]);
        assert_eq!(model(&serde_json::to_string(&product).unwrap()), product);
        let keys: Vec<_> = product.unique_keys().into_iter().map(|key| (key.fields.join("+"), key.scope)).collect();
        let expected = [
            ("handle", Scope::Shop),
            ("code", Scope::App),
            ("shop+code+slug", Scope::Shop),
            ("title+code", Scope::App),
        ];
        assert_eq!(keys, expected.map(|(fields, scope)| (fields.to_owned(), scope)));
        assert!(product.unique_key(["code", "title"]).is_some() && product.unique_key(["title"]).is_none());
        assert_eq!(model(r#"{"name":"note"}"#).problems(), [""; 0]);
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        let check = |text: &str, expected: &str| {
            let error = serde_json::from_str::<Model>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(r#"{"name":"a","field":[]}"#, "unknown field `field`, expected one of `name`, `fields`, `uniques`");
        check(r#"{"name":"a","fields":[{"name":"b","type":"text"}]}"#, "unknown variant `text`");
        check(r#"{"name":"a","fields":[{"name":"b","type":"string","uniq":true}]}"#, "unknown field `uniq`");
        check(r#"{"name":"a","fields":[{"name":"b","type":"string","unique":"all"}]}"#, "`unique` is none of");
        check(r#"{"name":"a","fields":[{"name":"b","type":"belongs-to"}]}"#, "hint: `belongs-to` has `model`");
        check(r#"{"name":"a","fields":[{"name":"b","type":"string","model":"c"}]}"#, "have neither");
    }

    #[test]
    fn problems_are_all_reported_at_once() {
        let bad = model(
            r#"{"name":"Shop/a/b","fields":[
            {"name":"2nd","type":"string"},
            {"name":"createdat","type":"string"},
            {"name":"AND","type":"string"},
            {"name":"Title","type":"string"},{"name":"title","type":"string"},
            {"name":"raw","type":"json","index":true,"unique":true},
            {"name":"children","type":"has-many","model":"a","by":"b","required":true},
            {"name":"slug","type":"string","unique":["slug","titel"]}
        ],"uniques":[{"fields":[]}]}"#,
        );
        let problems = bad.problems();
        let expected = [
            "its name is not",
            "`2nd` is not letters",
            "`createdat` is a name of the system",
            "`AND` is a name of the system",
            "`Title` and `title` are the same column",
            "type `json` have no order",
            "children are not part",
            "type `json`, whose values cannot be unique",
            "names a field twice",
            "no field `titel`; hint: did you mean `",
            "not one to 4 fields",
        ];
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for expected in expected {
            assert!(problems.iter().any(|problem| problem.contains(expected)), "{expected}: {problems:#?}");
        }
    }

    #[test]
    fn models_fit_together() {
        let product =
            r#"{"name":"product","fields":[{"name":"variants","type":"has-many","model":"variant","by":"product"}]}"#;
        let variant = r#"{"name":"variant","fields":[{"name":"product","type":"belongs-to","model":"product"}]}"#;
        let schema = Schema::new([model(product), model(variant)]).unwrap();
        assert_eq!(schema.models().count(), 2);
        assert_eq!(
            schema.model("varient").unwrap_err().message,
            "there is no model `varient`; hint: did you mean `variant`?"
        );
        let alone = Schema::new([model(product), model(product)]).unwrap_err();
        assert_eq!(alone.len(), 2, "{alone:?}");
        let loose = variant.replace(r#","model":"product""#, r#","model":"variant""#);
        let loose = Schema::new([model(product), model(&loose)]).unwrap_err();
        assert!(loose[0].contains("hint: declare"), "{loose:?}");
    }
}
