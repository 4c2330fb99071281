//! The JSON Schema (2020-12) of a parameter: compiled once, bounded in what a validation can cost.
//!
//! A schema is a stranger's program. Applied naively, `{"anyOf": [{"items": {"$ref": "#"}}, {"items": {"$ref": "#"}}]}` looks
//! at a value twice for each level, and `allOf` of definitions that name each other twice doubles with each definition. So the
//! steps that a schema takes for one value are counted before it is accepted: schemas that lead back to themselves may do so
//! in one way for each value, all others are counted path by path. A validation then costs at most these steps for each value
//! inside of the parameter, and a parameter that would cost too many is refused.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::json::Json;

/// Bytes of a schema. 64 KiB: generated schemas of large types have some thousand.
pub const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// Steps that a schema may take for one value. 1,000: a type with hundreds of fields, each with a few conditions.
pub const SCHEMA_STEPS_MAX: u64 = 1_000;

/// Steps of one validation: those of the schema, times the values inside of the parameter. 20,000,000: a second of a processor.
pub const VALIDATION_STEPS_MAX: u64 = 20_000_000;

/// Bytes of a compiled regular expression. 1 MiB: ten times what a pattern for an e-mail address takes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Bytes of a validator's message that are shown. 500: it may quote the value.
const MESSAGE_BYTES_MAX: usize = 500;

/// A schema's validator, made when it is needed first. All are equal: it follows from the schema beside it.
#[derive(Clone, Default)]
pub struct Compiled(OnceLock<Result<Arc<Checked>, String>>);

/// A schema that may be applied.
struct Checked {
    validator: jsonschema::Validator,
    steps: u64,
}

impl Compiled {
    /// What is wrong with the schema itself.
    pub(crate) fn problem(&self, schema: &Json) -> Option<String> {
        self.checked(schema).err()
    }

    /// In which way a value does not fit the schema.
    pub(crate) fn mismatch(&self, schema: &Json, value: &Json) -> Option<String> {
        let checked = match self.checked(schema) {
            Ok(checked) => checked,
            Err(problem) => return Some(format!("its schema cannot be used: {problem}")),
        };
        let steps = checked.steps.saturating_mul(values_max(value.as_str()));
        if steps > VALIDATION_STEPS_MAX {
            return Some(format!(
                "it takes {steps} steps to validate, at most {VALIDATION_STEPS_MAX} (`validation_steps_max`); hint: pass a \
                 smaller value"
            ));
        }
        let value: Value = match value.to() {
            Ok(value) => value,
            Err(error) => return Some(error.to_string()),
        };
        checked.validator.validate(&value).err().map(|error| start_of(&error))
    }

    fn checked(&self, schema: &Json) -> Result<Arc<Checked>, String> {
        self.0.get_or_init(|| compile(schema).map(Arc::new)).clone()
    }
}

fn compile(schema: &Json) -> Result<Checked, String> {
    let bytes = schema.as_str().len();
    if bytes > SCHEMA_BYTES_MAX {
        return Err(format!("it has {bytes} bytes, at most {SCHEMA_BYTES_MAX} (`schema_bytes_max`)"));
    }
    let schema: Value = schema.to().map_err(|error| error.to_string())?;
    let steps = Graph::of(&schema)?.steps()?;
    let patterns = jsonschema::PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
    let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).with_pattern_options(patterns);
    let validator = options.build(&schema).map_err(|error| start_of(&error))?;
    Ok(Checked { validator, steps })
}

/// At least as many as there are values in a text: each but the first stands behind a comma, a colon or an opening bracket.
fn values_max(text: &str) -> u64 {
    let marks = text.bytes().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{'));
    marks.fold(1, |count, _| count + 1)
}

/// The beginning of what something says of itself.
fn start_of(value: &dyn fmt::Display) -> String {
    struct Bounded(String);
    impl fmt::Write for Bounded {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = MESSAGE_BYTES_MAX.saturating_sub(self.0.len());
            let end = text.floor_char_boundary(room.min(text.len()));
            self.0.push_str(&text[..end]);
            if end < text.len() { Err(fmt::Error) } else { Ok(()) }
        }
    }
    let mut bounded = Bounded(String::new());
    if write!(bounded, "{value}").is_err() {
        bounded.0.push('…');
    }
    bounded.0
}

/// What a subschema is applied to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The value itself.
    Same,
    /// Each member of an object by one subschema at most.
    Member,
    /// Members of an object, beside other subschemas.
    MoreMembers,
    /// Each element of an array by one subschema at most.
    Element,
    /// Elements of an array, beside other subschemas.
    MoreElements,
}

/// The subschemas of a schema by their JSON pointers, and which applies which.
struct Graph<'a> {
    root: &'a Value,
    places: HashMap<String, usize>,
    /// Of each subschema: what it applies to what.
    edges: Vec<Vec<(Target, usize)>>,
}

impl<'a> Graph<'a> {
    fn of(root: &'a Value) -> Result<Self, String> {
        let mut graph = Self { root, places: HashMap::from([(String::new(), 0)]), edges: vec![Vec::new()] };
        let mut open = vec![(String::new(), root)];
        while let Some((pointer, schema)) = open.pop() {
            let at = graph.places[&pointer];
            for (target, to) in children(&pointer, schema)? {
                let known = graph.places.get(&to).copied();
                let place = match known {
                    Some(place) => place,
                    None => {
                        let schema = graph.find(&to).ok_or_else(|| format!("`$ref` to `#{to}` leads nowhere"))?;
                        let place = graph.edges.len();
                        graph.edges.push(Vec::new());
                        graph.places.insert(to.clone(), place);
                        open.push((to, schema));
                        place
                    }
                };
                graph.edges[at].push((target, place));
            }
        }
        Ok(graph)
    }

    fn find(&self, pointer: &str) -> Option<&'a Value> {
        self.root.pointer(pointer)
    }

    /// The steps that the schema takes for one value.
    fn steps(&self) -> Result<u64, String> {
        let components = self.components();
        let count = components.iter().max().map_or(0, |max| max + 1);
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (place, component) in components.iter().enumerate() {
            members[*component].push(place);
        }
        // Components are numbered so that what a component applies has a lower number.
        let mut steps: Vec<u64> = Vec::with_capacity(count);
        for members in &members {
            let mut sum = 0_u64;
            for place in members {
                sum = sum.saturating_add(1);
                let is_inside = |to: usize| components[to] == components[*place];
                let ways =
                    |target| self.edges[*place].iter().filter(|(of, to)| *of == target && is_inside(*to)).count();
                let members = ways(Target::Member).min(1) + ways(Target::MoreMembers);
                let elements = ways(Target::Element).min(1) + ways(Target::MoreElements);
                if ways(Target::Same) + members.max(elements) > 1 {
                    return Err("it leads back to itself in more than one way for the same value, so that a validation would \
                                take twice as long with each level (`schema_steps_max`); hint: refer to itself once, without \
                                another `anyOf`, `allOf`, `oneOf` or `not` around it"
                        .to_owned());
                }
                for (_, to) in self.edges[*place].iter().filter(|(_, to)| !is_inside(*to)) {
                    sum = sum.saturating_add(steps[components[*to]]);
                }
            }
            steps.push(sum);
        }
        let steps = steps.get(components[0]).copied().unwrap_or_default();
        if steps > SCHEMA_STEPS_MAX {
            return Err(format!(
                "it takes {steps} steps for one value, at most {SCHEMA_STEPS_MAX} (`schema_steps_max`); hint: accept any JSON \
                 and look at it in the plugin"
            ));
        }
        Ok(steps)
    }

    /// The strongly connected component of each subschema (Tarjan), numbered from those that apply no other.
    fn components(&self) -> Vec<usize> {
        const NONE: usize = usize::MAX;
        let count = self.edges.len();
        let (mut index, mut low, mut component) = (vec![NONE; count], vec![0; count], vec![NONE; count]);
        let (mut stack, mut calls, mut next_index, mut next_component) = (Vec::new(), Vec::new(), 0, 0);
        for root in 0..count {
            if index[root] != NONE {
                continue;
            }
            calls.push((root, 0));
            while let Some((place, edge)) = calls.pop() {
                if edge == 0 {
                    (index[place], low[place]) = (next_index, next_index);
                    next_index += 1;
                    stack.push(place);
                }
                if let Some(&(_, to)) = self.edges[place].get(edge) {
                    calls.push((place, edge + 1));
                    if index[to] == NONE {
                        calls.push((to, 0));
                    } else if component[to] == NONE {
                        low[place] = low[place].min(index[to]);
                    }
                    continue;
                }
                if low[place] == index[place] {
                    while let Some(member) = stack.pop() {
                        component[member] = next_component;
                        if member == place {
                            break;
                        }
                    }
                    next_component += 1;
                }
                if let Some((parent, _)) = calls.last() {
                    low[*parent] = low[*parent].min(low[place]);
                }
            }
        }
        component
    }
}

/// The pointers of the subschemas that a schema applies, and to what.
fn children(pointer: &str, schema: &Value) -> Result<Vec<(Target, String)>, String> {
    let Value::Object(keywords) = schema else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (keyword, value) in keywords {
        let here = || format!("{pointer}/{}", escaped(keyword));
        match keyword.as_str() {
            "$ref" => {
                let to = value
                    .as_str()
                    .and_then(|to| to.strip_prefix('#'))
                    .filter(|to| to.is_empty() || to.starts_with('/'));
                let to =
                    to.ok_or("`$ref` is not the place of a definition in the same schema; hint: `#/$defs/name`")?;
                found.push((Target::Same, to.to_owned()));
            }
            "$dynamicRef" | "$recursiveRef" | "$id" | "$anchor" | "$dynamicAnchor" | "$recursiveAnchor" => {
                return Err(format!("`{keyword}` is not supported; hint: `$ref` to `#/$defs/name`"));
            }
            "allOf" | "anyOf" | "oneOf" => listed(&here(), value, Target::Same, &mut found),
            "not" | "if" | "then" | "else" => found.push((Target::Same, here())),
            "dependentSchemas" | "dependencies" => named(&here(), value, Target::Same, &mut found),
            "properties" => named(&here(), value, Target::Member, &mut found),
            "additionalProperties" => found.push((Target::Member, here())),
            "patternProperties" => named(&here(), value, Target::MoreMembers, &mut found),
            "unevaluatedProperties" | "propertyNames" => found.push((Target::MoreMembers, here())),
            "prefixItems" => listed(&here(), value, Target::Element, &mut found),
            "items" | "additionalItems" if value.is_array() => listed(&here(), value, Target::Element, &mut found),
            "items" | "additionalItems" => found.push((Target::Element, here())),
            "contains" | "unevaluatedItems" => found.push((Target::MoreElements, here())),
            _ => {}
        }
    }
    Ok(found)
}

fn listed(pointer: &str, value: &Value, target: Target, found: &mut Vec<(Target, String)>) {
    let count = value.as_array().map_or(0, Vec::len);
    found.extend((0..count).map(|at| (target, format!("{pointer}/{at}"))));
}

fn named(pointer: &str, value: &Value, target: Target, found: &mut Vec<(Target, String)>) {
    let names = value.as_object().into_iter().flat_map(|members| members.keys());
    found.extend(names.map(|name| (target, format!("{pointer}/{}", escaped(name)))));
}

/// A name as it stands in a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Compiled")
    }
}

impl PartialEq for Compiled {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Compiled {}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(schema: &str) -> Option<String> {
        Compiled::default().problem(&Json::parse(schema).unwrap())
    }

    fn mismatch(schema: &str, value: &str) -> Option<String> {
        Compiled::default().mismatch(&Json::parse(schema).unwrap(), &Json::parse(value).unwrap())
    }

    #[test]
    fn usual_schemas_are_accepted() {
        for schema in [
            "true",
            r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"string","pattern":"^[a-z]+$"}}}}"#,
            // A tree, as generators write recursive types.
            r##"{"$ref":"#/$defs/node","$defs":{"node":{"properties":{"left":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]},
                "right":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}}}}}"##,
            r##"{"$ref":"#/$defs/list","$defs":{"list":{"type":"array","items":{"$ref":"#/$defs/list"}}}}"##,
        ] {
            assert_eq!(problem(schema), None, "{schema}");
        }
        assert_eq!(mismatch(r#"{"type":"string","pattern":"^a+$"}"#, r#""aaa""#), None);
    }

    #[test]
    fn what_would_double_with_each_level_is_refused() {
        for schema in [
            r##"{"anyOf":[{"const":5},{"type":"array","items":{"$ref":"#"}},{"type":"array","items":{"$ref":"#"}}]}"##,
            r##"{"oneOf":[{"items":{"$ref":"#"}},{"items":{"$ref":"#"}},{"items":{"$ref":"#"}}]}"##,
            r##"{"items":{"$ref":"#"},"contains":{"$ref":"#"}}"##,
            r##"{"properties":{"a":{"$ref":"#"}},"patternProperties":{"a":{"$ref":"#"}}}"##,
            r##"{"if":{"items":{"$ref":"#"}},"then":{"items":{"$ref":"#"}}}"##,
            r##"{"allOf":[{"$ref":"#/$defs/a"}],"items":{"$ref":"#/$defs/a"},"$defs":{"a":{"$ref":"#"}}}"##,
            r##"{"$ref":"#/$defs/a","$defs":{"a":{"not":{"$ref":"#/$defs/b"},"items":{"$ref":"#/$defs/b"}},"b":{"$ref":"#/$defs/a"}}}"##,
        ] {
            let problem = problem(schema).unwrap_or_default();
            assert!(problem.contains("`schema_steps_max`"), "{schema}: {problem}");
        }
    }

    #[test]
    fn definitions_that_name_each_other_twice_are_counted_path_by_path() {
        let chain = |length: usize| {
            let definition = |at: usize| {
                let next = at + 1;
                format!("\"d{at}\":{{\"allOf\":[{{\"$ref\":\"#/$defs/d{next}\"}},{{\"$ref\":\"#/$defs/d{next}\"}}]}}")
            };
            let all: Vec<_> = (0..length).map(definition).collect();
            format!("{{\"$ref\":\"#/$defs/d0\",\"$defs\":{{{},\"d{length}\":true}}}}", all.join(","))
        };
        assert_eq!(problem(&chain(5)), None);
        for length in [20, 300] {
            assert!(problem(&chain(length)).unwrap().contains("`schema_steps_max`"), "{length}");
        }
    }

    #[test]
    fn a_value_of_any_depth_takes_as_many_steps_as_it_has_values() {
        let schema = r##"{"anyOf":[{"type":"string"},{"type":"array","items":{"$ref":"#"}}]}"##;
        let deep = format!("{}\"x\"{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(mismatch(schema, &deep), None);
        let large = format!("[{}0]", "0,".repeat(10_000_000));
        assert!(mismatch(schema, &large).unwrap().contains("`validation_steps_max`"));
    }

    #[test]
    fn what_is_not_supported_says_so() {
        let check = |schema: &str, expected: &str| {
            let problem = problem(schema).unwrap_or_default();
            assert!(problem.contains(expected), "{schema}: {problem}");
        };
        check(r#"{"$ref":"https://example.com/schema.json"}"#, "not the place of a definition");
        check(r##"{"$ref":"#/$defs/none"}"##, "leads nowhere");
        check(r##"{"$dynamicRef":"#a"}"##, "`$dynamicRef` is not supported");
        check(&format!("{{\"description\":\"{}\"}}", "x".repeat(SCHEMA_BYTES_MAX)), "`schema_bytes_max`");
        check(r#"{"type":5}"#, "");
        check(r#"{"pattern":"(?=x)"}"#, "is not a \"regex\"");
        let long = mismatch(r#"{"const":1}"#, &format!("\"{}\"", "x".repeat(10_000))).unwrap();
        assert!(long.len() < MESSAGE_BYTES_MAX + 10, "{}", long.len());
    }
}
