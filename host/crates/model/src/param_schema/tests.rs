//! Schemas that are taken and refused, and that none of those that are taken takes longer than its weight says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonschema::{Keyword, ValidationError};
use serde_json::{Value, json};

use super::weight::weigh;
use super::*;

fn problem(schema: &Value, value: &Value) -> Option<String> {
    let compiled = Compiled::default();
    compiled.mismatch(&Json::of(schema).unwrap(), &Json::of(value).unwrap())
}

#[track_caller]
fn refused(schema: &Value, says: &str) {
    let reason = Compiled::default().problem(&Json::of(schema).unwrap()).unwrap_or_default();
    assert!(reason.contains(says), "{reason}\nexpected: {says}");
}

#[track_caller]
fn taken(schema: &Value) {
    assert_eq!(Compiled::default().problem(&Json::of(schema).unwrap()), None);
}

/// An array in an array, and so on.
fn deep(levels: usize, last: &Value) -> Value {
    (0..levels).fold(last.clone(), |value, _| json!([value]))
}

#[test]
fn usual_schemas_are_taken_and_hold() {
    let tree = json!({"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}});
    let any_json = json!({"anyOf": [{"type": ["string", "number", "boolean", "null"]},
        {"type": "array", "items": {"$ref": "#"}}, {"type": "object", "additionalProperties": {"$ref": "#"}}]});
    let expression = json!({"$ref": "#/$defs/e", "$defs": {"e": {"oneOf": [{"type": "number"},
        {"type": "object", "required": ["and"], "properties": {"and": {"items": {"$ref": "#/$defs/e"}}}},
        {"type": "object", "required": ["not"], "properties": {"not": {"$ref": "#/$defs/e"}}}]}}});
    for schema in [&tree, &any_json, &expression] {
        taken(schema);
    }
    assert_eq!(problem(&any_json, &deep(100, &json!({"a": [1, "x", null]}))), None);
    assert_eq!(problem(&expression, &json!({"and": [1, {"not": {"and": [2]}}]})), None);
    assert!(problem(&expression, &json!({"and": [1, {"not": "x"}]})).is_some());
    assert_eq!(problem(&json!({"pattern": "^[a-z]{3}$"}), &json!("abc")), None);
    let words = problem(&json!({"type": "string"}), &json!(["x".repeat(10_000)])).unwrap();
    assert!(words.len() <= EXPLAINED_BYTES_MAX + 3, "{words}");
}

#[test]
fn what_doubles_is_refused() {
    let arrays = json!({"type": "array", "items": {"$ref": "#"}});
    refused(&json!({"anyOf": [{"const": 5}, arrays, arrays]}), "`schema_steps_max`");
    refused(&json!({"oneOf": [arrays, {"items": {"$ref": "#"}}, {"contains": {"$ref": "#"}}]}), "`schema_steps_max`");
    refused(&json!({"properties": {"a": {"$ref": "#"}}, "patternProperties": {"a": {"$ref": "#"}}}), "several ways");
    refused(
        &json!({"allOf": [{"properties": {"a": {"$ref": "#"}}}, {"additionalProperties": {"$ref": "#"}}]}),
        "several",
    );
    refused(&json!({"unevaluatedItems": false, "items": {"$ref": "#"}}), "`unevaluatedItems`");
    // Each of a chain of lists begins the next one anew at each level.
    let chain = json!({"$ref": "#/$defs/l0", "$defs": (0..20).map(|at| {
        let next = json!({"$ref": format!("#/$defs/l{}", (at + 1).min(19))});
        let same = json!({"$ref": format!("#/$defs/l{at}")});
        let all = if at == 19 { json!([true]) } else { json!([next]) };
        (format!("l{at}"), json!({"items": same, "allOf": all}))
    }).collect::<serde_json::Map<_, _>>()});
    assert!(problem(&chain, &deep(60, &json!(1))).unwrap().contains("`schema_steps_max`"));
    // Without any cycle.
    let levels = (0..40).map(|level| {
        let next = json!({"$ref": format!("#/$defs/l{}", level + 1)});
        (format!("l{level}"), json!({"anyOf": [next, next]}))
    });
    let mut defs: serde_json::Map<String, Value> = levels.collect();
    defs.insert("l40".to_owned(), json!({"const": 1}));
    refused(&json!({"$ref": "#/$defs/l0", "$defs": defs}), "in too many ways");
    refused(&json!({"$ref": "#"}), "without going into the value");
    refused(&json!({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#"}}}}), "without going into");
    refused(&json!({"$ref": "https://example.com/x"}), "not a part of it");
    refused(&json!({"items": {"$dynamicRef": "#a"}}), "`$dynamicRef`");
    refused(&json!({"enum": ["x".repeat(SCHEMA_BYTES_MAX)]}), "`schema_bytes_max` of 65536 exceeded");
    refused(&json!({"allOf": (0..60).map(|n| json!({"pattern": format!("a{n}")})).collect::<Vec<_>>()}), "60 patterns");
    refused(&json!({"pattern": "(\\w{100}){100}"}), "");
    refused(&json!({"allOf": (0..3_000).map(|_| json!({})).collect::<Vec<_>>()}), "more than 2000 schemas");
}

#[test]
fn values_too_large_for_their_schema_are_refused_by_name() {
    let members: Vec<_> = (0..500).map(|number| json!({"not": {"const": number}})).collect();
    let schema = json!({"items": {"allOf": members}});
    assert_eq!(problem(&schema, &json!([1_000, 2_000])), None);
    let large: Vec<_> = (0..100_000).collect();
    assert!(problem(&schema, &json!(large)).unwrap().contains("limit `schema_steps_max` of 20000000 exceeded"));
}

/// Counts how often the validator comes to a leaf.
struct Counts(Arc<AtomicU64>, bool);

impl<'i> Keyword<'i> for Counts {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(value) { Ok(()) } else { Err(ValidationError::custom("no")) }
    }

    fn is_valid(&self, _: &'i Value) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.1
    }
}

/// Numbers that follow from one another.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

const DEFINITIONS: usize = 5;

fn schema(numbers: &mut Numbers, depth: usize) -> Value {
    let next = |numbers: &mut Numbers| schema(numbers, depth + 1);
    match if depth > 3 { numbers.below(4) } else { numbers.below(16) } {
        0 | 1 => json!({"$ref": format!("#/$defs/d{}", numbers.below(DEFINITIONS))}),
        2 => json!({"counts": true}),
        3 => json!({"counts": false}),
        4 | 5 => json!({"anyOf": [next(numbers), next(numbers)]}),
        6 => json!({"oneOf": [next(numbers), next(numbers)]}),
        7 => json!({"allOf": [next(numbers), next(numbers)]}),
        8 => json!({"not": next(numbers)}),
        9 => json!({"if": next(numbers), "then": next(numbers), "else": next(numbers)}),
        10 | 11 => json!({"items": next(numbers)}),
        12 => json!({"prefixItems": [next(numbers), next(numbers)], "items": next(numbers)}),
        13 => json!({"contains": next(numbers)}),
        14 => json!({"anyOf": [next(numbers), next(numbers)], "unevaluatedItems": next(numbers)}),
        _ => json!({"properties": {"a": next(numbers), "b": next(numbers)}, "additionalProperties": next(numbers)}),
    }
}

fn value(numbers: &mut Numbers, depth: usize) -> Value {
    match numbers.below(if depth > 8 { 1 } else { 4 }) {
        0 => json!(1),
        1 => json!({"a": value(numbers, depth + 1), "b": value(numbers, depth + 1), "c": value(numbers, depth + 1)}),
        _ => json!([value(numbers, depth + 1), value(numbers, depth + 1)]),
    }
}

/// No schema that is taken makes more steps than it weighs, in either of the validator's two ways.
#[test]
fn no_schema_takes_more_steps_than_it_weighs() {
    let mut numbers = Numbers(7);
    let (mut weighed, mut most) = (0, 0);
    for _ in 0..3_000 {
        let definitions = (0..DEFINITIONS).map(|number| (format!("d{number}"), schema(&mut numbers, 1)));
        let schema = json!({"$ref": "#/$defs/d0", "$defs": definitions.collect::<serde_json::Map<_, _>>()});
        let Ok(weight) = weigh(&schema) else { continue };
        weighed += 1;
        let count = Arc::new(AtomicU64::new(0));
        let counts = Arc::clone(&count);
        let options = jsonschema::options().with_keyword("counts", move |_, value: &Value, _| {
            Ok(Box::new(Counts(Arc::clone(&counts), *value == true)))
        });
        let validator = options.build(&schema).unwrap();
        for value in [value(&mut numbers, 0), deep(100, &json!(1)), json!([[[[[1, 2], 3], 4], 5], {"a": {"b": [1]}}])] {
            let text = Json::of(&value).unwrap();
            let allowed = weight.steps(text.as_str().len(), depth(text.as_str()));
            count.store(0, Ordering::Relaxed);
            let is_valid = validator.is_valid(&value);
            let steps = count.load(Ordering::Relaxed);
            assert!(steps <= allowed, "{steps} steps, {allowed} allowed: {schema} for {value}");
            most = most.max(steps.saturating_mul(100) / allowed);
            if allowed <= EXPLAINED_STEPS_MAX {
                count.store(0, Ordering::Relaxed);
                assert_eq!(validator.validate(&value).is_ok(), is_valid);
                let steps = count.load(Ordering::Relaxed);
                let levels = depth(text.as_str()) as u64 + 2;
                assert!(steps <= allowed * levels, "{steps} steps in words: {schema} for {value}");
            }
        }
    }
    assert!(weighed > 300, "{weighed} schemas were taken");
    assert!(most >= 1, "no schema takes a hundredth of its weight");
}
