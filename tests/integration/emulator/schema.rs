//! The emulator's schema is a part of the platform's own.

use std::collections::BTreeMap;

use async_graphql::Positioned;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{FieldDefinition, InputValueDefinition, TypeKind, TypeSystemDefinition};
use tradewind_tests::acceptance;

/// What a schema says, each thing by its path: `Product.title` gives `String!`.
fn facts(sdl: &str) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    for definition in parse_schema(sdl).unwrap().definitions {
        let TypeSystemDefinition::Type(definition) = definition else { continue };
        let name = definition.node.name.node.to_string();
        match &definition.node.kind {
            TypeKind::Scalar => {
                facts.insert(name, "scalar".to_owned());
            }
            TypeKind::Object(object) => {
                facts.insert(name.clone(), "object".to_owned());
                for interface in &object.implements {
                    facts.insert(format!("{name} implements {}", interface.node), String::new());
                }
                fields(&name, &object.fields, &mut facts);
            }
            TypeKind::Interface(interface) => {
                facts.insert(name.clone(), "interface".to_owned());
                fields(&name, &interface.fields, &mut facts);
            }
            TypeKind::Union(union) => {
                facts.insert(name.clone(), "union".to_owned());
                facts.extend(union.members.iter().map(|member| (format!("{name} = {}", member.node), String::new())));
            }
            TypeKind::Enum(values) => {
                facts.insert(name.clone(), "enum".to_owned());
                facts.extend(
                    values.values.iter().map(|value| (format!("{name}.{}", value.node.value.node), String::new())),
                );
            }
            TypeKind::InputObject(input) => {
                facts.insert(name.clone(), "input".to_owned());
                inputs(&name, &input.fields, &mut facts);
            }
        }
    }
    facts
}

fn fields(of: &str, fields: &[Positioned<FieldDefinition>], facts: &mut BTreeMap<String, String>) {
    for field in fields {
        let path = format!("{of}.{}", field.node.name.node);
        inputs(&path, &field.node.arguments, facts);
        facts.insert(path, field.node.ty.node.to_string());
    }
}

fn inputs(of: &str, inputs: &[Positioned<InputValueDefinition>], facts: &mut BTreeMap<String, String>) {
    for input in inputs {
        let default = input.node.default_value.as_ref().map(|value| format!(" = {}", value.node)).unwrap_or_default();
        facts.insert(format!("{of}({})", input.node.name.node), format!("{}{default}", input.node.ty.node));
    }
}

#[test]
fn every_type_field_and_argument_is_the_platforms_own() {
    let Some(official) = acceptance::text("shopify-admin-graphql/admin-2026-07.graphql.gz").unwrap() else {
        println!("{}", acceptance::skipped("every_type_field_and_argument_is_the_platforms_own"));
        return;
    };
    let (official, ours) = (facts(&official), facts(&tradewind_emulator::sdl()));
    let other = |(path, fact): &(&String, &String)| official.get(*path) != Some(*fact);
    let wrong: Vec<_> =
        ours.iter().filter(other).map(|(path, fact)| format!("{path}: {fact} / {:?}", official.get(path))).collect();
    assert!(wrong.is_empty(), "ours / the platform's:\n{}", wrong.join("\n"));
    assert!(ours.len() > 400, "{}", ours.len());
}

/// An argument that the platform requires is required here: a client that forgets it must learn so.
#[test]
fn what_is_required_there_is_required_here() {
    let Some(official) = acceptance::text("shopify-admin-graphql/admin-2026-07.graphql.gz").unwrap() else {
        println!("{}", acceptance::skipped("what_is_required_there_is_required_here"));
        return;
    };
    let (official, ours) = (facts(&official), facts(&tradewind_emulator::sdl()));
    let required = official.iter().filter(|(path, fact)| path.ends_with(')') && fact.ends_with('!'));
    let missing: Vec<_> = required
        .map(|(path, _)| path)
        .filter(|path| ours.contains_key(path.split('(').next().unwrap()) && !ours.contains_key(*path))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
