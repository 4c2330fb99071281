//! An app's own models, and the fields that it adds to mirrored ones.
//!
//! A mirrored field may be declared again to index it, to make it unique or required; its type is the platform's.

use std::collections::{BTreeMap, BTreeSet};

use tradewind_model::near::hint;
use tradewind_model::schema::{Field, FieldType, Model, Schema, Unique, UniqueWithin};

use super::document::{Item, Section};
use super::mirror;

/// Something that is wrong with a model, or with one of the fields that were declared for it.
struct Trouble {
    field: Option<usize>,
    text: String,
}

/// The mirrored models of these names together with an app's own.
pub(super) fn schema(chosen: &BTreeSet<String>, own: &[Model]) -> Result<Schema, Vec<String>> {
    let mut models = Models::new(chosen);
    let mut troubles: Vec<_> = own.iter().flat_map(|model| models.add(model)).collect();
    troubles.extend(own.iter().flat_map(|model| models.links(model)));
    if !troubles.is_empty() {
        return Err(troubles.into_iter().map(|trouble| trouble.text).collect());
    }
    models.schema()
}

/// Reads an app's models.
pub(super) fn read(app: &Section<'_>, chosen: &BTreeSet<String>) -> Schema {
    let mut models = Models::new(chosen);
    let read: Vec<_> = app.list("models").iter().filter_map(declared).collect();
    let all_read = read.len() == app.list("models").len();
    let mut sound = all_read;
    let mut note = |declared: &Declared<'_>, troubles: Vec<Trouble>| {
        for trouble in troubles {
            sound = false;
            trouble.field.map_or(&declared.name, |field| &declared.fields[field]).problem(trouble.text);
        }
    };
    for declared in &read {
        note(declared, models.add(&declared.model));
    }
    // A link to a model that could not be read is no mistake of its own.
    for declared in read.iter().filter(|_| all_read) {
        note(declared, models.links(&declared.model));
    }
    if !sound {
        return Schema::default();
    }
    models.schema().unwrap_or_else(|problems| {
        for problem in problems {
            app.problem(problem);
        }
        Schema::default()
    })
}

/// A model as it is declared, with the places of what it has.
struct Declared<'a> {
    model: Model,
    name: Item<'a>,
    fields: Vec<Item<'a>>,
}

const FIELD_KEYS: [&str; 7] = ["name", "type", "model", "by", "required", "unique", "index"];

/// The types of fields, as they are written.
const TYPES: [&str; 8] = ["string", "integer", "number", "boolean", "date-time", "json", "belongs-to", "has-many"];

fn declared<'a>(item: &Item<'a>) -> Option<Declared<'a>> {
    let section = item.section(&["name", "fields", "uniques"])?;
    let name = section.required("name", r#""allowed-tag""#);
    let items = section.list("fields");
    let fields: Vec<Field> = items.iter().filter_map(field).collect();
    let uniques = section.list("uniques");
    let keys: Vec<Unique> = uniques.iter().filter_map(unique).collect();
    let name = name?;
    let model = Model { name: name.text()?.to_owned(), fields, uniques: keys };
    let whole = model.fields.len() == items.len() && model.uniques.len() == uniques.len();
    whole.then_some(Declared { model, name, fields: items })
}

fn field(item: &Item<'_>) -> Option<Field> {
    let section = item.section(&FIELD_KEYS)?;
    let name = section.required("name", r#""keyword""#);
    let of = section.required("type", r#""string""#)?.word(&TYPES.map(|name| (name, ())));
    name?.text()?;
    of?;
    let flags = ["required", "index"].map(|name| section.get(name).is_none_or(|item| item.flag().is_some()));
    let names = ["model", "by"].map(|name| section.get(name).is_none_or(|item| item.text().is_some()));
    let sound = !section.has_unknown() && flags.into_iter().chain(names).all(|sound| sound);
    if sound { item.read(r#"`unique = "shop"`, or one of the others"#) } else { None }
}

fn unique(item: &Item<'_>) -> Option<Unique> {
    let section = item.section(&["fields", "scope"])?;
    section.required("fields", r#"["keyword", "language"]"#)?;
    let hint = r#"`{ fields = ["keyword", "language"], scope = "shop" }`"#;
    if section.has_unknown() { None } else { item.read(hint) }
}

/// The models so far.
struct Models {
    all: BTreeMap<String, Model>,
    /// Those that were declared, mirrored ones included.
    declared: BTreeSet<String>,
}

impl Models {
    fn new(chosen: &BTreeSet<String>) -> Self {
        let all = mirror::chosen(chosen).into_iter().map(|model| (model.name.clone(), model)).collect();
        Self { all, declared: BTreeSet::new() }
    }

    /// Adds a model, or the fields that are declared for a mirrored one.
    fn add(&mut self, own: &Model) -> Vec<Trouble> {
        let name = &own.name;
        let of_model = |text: String| vec![Trouble { field: None, text: format!("model `{name}`: {text}") }];
        if !self.declared.insert(name.clone()) {
            return of_model("it is declared twice; hint: keep one, with the fields of both".to_owned());
        }
        let of_platform = name.split_once('/').is_some_and(|(prefix, _)| mirror::PREFIXES.contains(&prefix));
        let mirrored = mirror::all();
        if of_platform && !self.all.contains_key(name) {
            return of_model(if mirrored.iter().any(|model| model.name == *name) {
                "no connection mirrors it; hint: add it to the `models` and its scope to the `scopes` of a connection"
                    .to_owned()
            } else {
                let names = hint(name, mirrored.iter().map(|model| model.name.as_str()));
                format!("this host mirrors no such model, and the name is the platform's; {names}")
            });
        }
        let model = self.all.entry(name.clone()).or_insert_with(|| Model { name: name.clone(), ..Model::default() });
        let mut troubles = extend(model, own, mirrored.iter().find(|model| model.name == *name));
        let found = |problem: &String| troubles.iter().any(|trouble| trouble.text == *problem);
        let others: Vec<_> = model.problems().into_iter().filter(|problem| !found(problem)).collect();
        troubles.extend(others.into_iter().map(|text| Trouble { field: None, text }));
        troubles
    }

    /// Declared fields that lead to no model, or are not led back to.
    fn links(&self, own: &Model) -> Vec<Trouble> {
        let mut troubles = Vec::new();
        for (at, field) in own.fields.iter().enumerate() {
            let (FieldType::BelongsTo { model: to } | FieldType::HasMany { model: to, .. }) = &field.of else {
                continue;
            };
            let text = match (self.all.get(to), &field.of) {
                (None, _) => format!("there is no model `{to}`; {}", hint(to, self.all.keys().map(String::as_str))),
                (Some(other), FieldType::HasMany { by, .. }) => {
                    let back = FieldType::BelongsTo { model: own.name.clone() };
                    if other.field(by).is_some_and(|field| field.of == back) {
                        continue;
                    }
                    let example = format!(r#"{{ name = "{by}", type = "belongs-to", model = "{}" }}"#, own.name);
                    format!("`{by}` of `{to}` does not belong to this model; hint: declare `{example}` there")
                }
                _ => continue,
            };
            let text = format!("model `{}`: field `{}`: {text}", own.name, field.name);
            troubles.push(Trouble { field: Some(at), text });
        }
        troubles
    }

    fn schema(self) -> Result<Schema, Vec<String>> {
        Schema::new(self.all.into_values())
    }
}

/// Adds what is declared to a model. `whole` is the mirrored model with the lists that were left out.
fn extend(model: &mut Model, own: &Model, whole: Option<&Model>) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, field) in own.fields.iter().enumerate() {
        let name = &field.name;
        let mut trouble = |text: String| troubles.push(Trouble { field: Some(at), text });
        alone(&model.name, field).into_iter().for_each(&mut trouble);
        let mut trouble = |text: &str| trouble(format!("model `{}`: field `{name}`: {text}", model.name));
        if !seen.insert(name) {
            trouble("it is declared twice; hint: keep one");
            continue;
        }
        let of_platform = whole.and_then(|whole| whole.field(name));
        match (model.fields.iter_mut().find(|known| known.name == *name), of_platform) {
            (Some(known), Some(_)) if known.of == field.of => {
                known.required = field.required;
                known.unique.clone_from(&field.unique);
                known.index |= field.index;
            }
            (Some(known), Some(_)) => trouble(&format!(
                "it is the platform's and of type `{}`, which cannot be changed; hint: that type, or another name",
                known.of.as_str()
            )),
            (None, Some(_)) => trouble("it is the platform's list of a model that is not mirrored; hint: another name"),
            _ => model.fields.push(field.clone()),
        }
    }
    model.uniques.extend(own.uniques.iter().cloned());
    troubles
}

/// What is wrong with a field whatever else its model has.
fn alone(model: &str, field: &Field) -> Vec<String> {
    let unique = field.unique.clone().filter(|unique| matches!(unique, UniqueWithin::Scope(_)));
    let alone = |fields| Model { name: model.to_owned(), fields, uniques: Vec::new() }.problems();
    let of_model = alone(Vec::new());
    let found = alone(vec![Field { unique, ..field.clone() }]);
    found.into_iter().filter(|problem| !of_model.contains(problem)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_a_field_can_be_written() {
        for name in TYPES {
            let more = match name {
                "belongs-to" => r#","model":"a""#,
                "has-many" => r#","model":"a","by":"b""#,
                _ => "",
            };
            let text = format!(r#"{{"name":"a","type":"{name}"{more}}}"#);
            let field: Field = serde_json::from_str(&text).unwrap();
            assert_eq!(field.of.as_str(), name);
        }
    }

    #[test]
    fn fields_of_the_platform_keep_their_type_and_take_the_rest() {
        let chosen = BTreeSet::from(["shopify/product".to_owned()]);
        let handle = Field { index: true, required: true, ..Field::new("handle", FieldType::String) };
        let note = Field::new("note", FieldType::String);
        let own = |fields| vec![Model { name: "shopify/product".to_owned(), fields, uniques: Vec::new() }];
        let extended = schema(&chosen, &own(vec![handle, note])).unwrap();
        let product = extended.model("shopify/product").unwrap();
        let handle = product.field("handle").unwrap();
        assert!(handle.index && handle.required && handle.source.is_some());
        assert_eq!(product.field("note").unwrap().source, None);
        assert!(product.field("variants").is_none() && product.field("title").is_some());

        let wrong = [("title", FieldType::Json, "cannot be changed"), ("variants", FieldType::Json, "another name")];
        for (name, of, expected) in wrong {
            let problems = schema(&chosen, &own(vec![Field::new(name, of)])).unwrap_err();
            assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
        }
    }
}
