//! What a plugin says of itself when it is installed.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::object;
use crate::param_schema::Compiled;
use crate::record::{ActiveRecord, Baseline, Origin};

/// Everything that `describe` registered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Description {
    /// The actions, in the order of their registration.
    pub actions: Vec<ActionDeclaration>,
    /// Capabilities that the plugin asks for, with their narrowing details.
    pub asks: Vec<Ask>,
    /// Properties of the plugin as a whole.
    pub options: BTreeMap<String, Json>,
}

/// One action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ActionDeclaration {
    /// Lower-case words joined by `-`.
    pub name: String,
    /// The models and verbs that it runs on.
    pub models: Vec<OnModel>,
    /// Webhook topics that no model mirrors.
    pub webhooks: Vec<OnWebhook>,
    /// Five-field cron expressions, in UTC.
    pub schedules: Vec<String>,
    /// Fields of interest; the call is skipped unless one of them changed. Empty: every change is of interest.
    pub when_changed: Vec<String>,
    /// Parameters by name.
    pub params: BTreeMap<String, Param>,
    /// Properties of the action.
    pub options: BTreeMap<String, Json>,
}

/// One parameter of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    /// Its JSON Schema (2020-12).
    pub schema: Json,
    /// Whether a call without it is refused.
    pub required: bool,
    /// What holds values to the schema.
    #[serde(skip)]
    pub compiled: Compiled,
}

/// A model and what happens to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnModel {
    /// For example `shopify/product`.
    pub model: String,
    /// `create`, `update`, `delete` or a name of the plugin's own.
    pub verb: String,
}

/// A webhook topic of a platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnWebhook {
    /// `shopify` or `bigcommerce`.
    pub platform: String,
    /// The platform's own name of the topic.
    pub topic: String,
}

/// A capability that a plugin asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The grant's name.
    pub capability: String,
    /// What of it, as a JSON value.
    pub detail: Json,
}

impl ActionDeclaration {
    /// Whether the action wants to hear of this record's changes. When it does not, no sandbox is created. A deletion changes
    /// no field and a custom verb was called on purpose, so both always run. What is the echo of the plugin's own write is
    /// no news to it, unless it says so with the option `own-echo`.
    pub fn is_interested(&self, record: &ActiveRecord, verb: &str) -> bool {
        if !matches!(verb, "create" | "update") {
            return true;
        }
        let hears_itself = self.options.get("own-echo").is_some_and(|value| value.as_str() == "true");
        let is_news = |field: &str| hears_itself || record.origin(field) != Some(Origin::Own);
        if self.when_changed.is_empty() {
            let mut changed = record.changes(Baseline::Loaded).peekable();
            return changed.peek().is_none() || changed.any(|change| is_news(&change.field));
        }
        self.when_changed.iter().any(|field| record.changed(Some(field), Baseline::Loaded) && is_news(field))
    }

    /// What is wrong with a caller's parameters, in words; at most [`PROBLEMS_MAX`] of it.
    pub fn param_problems(&self, params: &Json) -> Vec<String> {
        let Some(members) = params.members() else {
            return vec!["the parameters are not a JSON object; hint: `{\"limit\": 5}`".to_owned()];
        };
        if let Some(name) = object::doubled(members.iter().map(|(name, _)| name.as_str())) {
            return vec![object::appears_twice(name, "the parameters")];
        }
        let given: HashMap<&str, &Json> = members.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let missing = self.params.iter().filter(|(name, param)| param.required && !given.contains_key(name.as_str()));
        let missing = missing.map(|(name, _)| format!("parameter `{}` is required", start_of(name)));
        let unknown = members.iter().filter(|(name, _)| !self.params.contains_key(name)).map(|(name, _)| {
            let (name, known) = (start_of(name), self.known_params());
            format!("`{name}` is not a parameter of `{}`; hint: it takes {known}", self.name)
        });
        let invalid = members.iter().filter_map(|(name, value)| {
            let Param { schema, compiled, .. } = self.params.get(name)?;
            Some(format!("parameter `{}`: {}", start_of(name), compiled.mismatch(schema, value)?))
        });
        missing.chain(unknown).chain(invalid).take(PROBLEMS_MAX).collect()
    }

    /// The names of the first parameters, for a hint.
    fn known_params(&self) -> String {
        let known: Vec<_> = self.params.keys().take(PROBLEMS_MAX).map(|name| format!("`{}`", start_of(name))).collect();
        if known.is_empty() { "none".to_owned() } else { known.join(", ") }
    }
}

/// Problems that are told at a time. 20: a person mends one after the other.
pub const PROBLEMS_MAX: usize = 20;

/// Bytes of a name that a message shows. 100: longer than any that is meant.
const SHOWN_BYTES_MAX: usize = 100;

/// As much of a stranger's name as goes into a message.
fn start_of(name: &str) -> &str {
    &name[..name.floor_char_boundary(SHOWN_BYTES_MAX)]
}

/// Names that lead from the beginning, so that a typing error is found at install and not at the first call.
const NAME_BYTES_MAX: usize = 64;

impl Description {
    /// What is wrong with it, in words; empty when nothing is.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.actions.is_empty() {
            problems.push("`describe` declares no action; hint: call `registrar.action(…)` for each".to_owned());
        }
        let mut names = HashSet::new();
        for action in &self.actions {
            let name = start_of(&action.name);
            if !is_name(&action.name) {
                problems.push(format!(
                    "action name `{name}` is not lower-case letters and digits in words joined by `-`, at most \
                     {NAME_BYTES_MAX} bytes; hint: `tag-product`"
                ));
            }
            if !names.insert(name) {
                problems.push(format!("action `{name}` is declared twice; hint: give each action its own name"));
            }
            for OnModel { model, verb } in &action.models {
                if !model.split('/').all(is_name) || !is_name(verb) {
                    problems.push(format!(
                        "action `{name}`: `{}` `{}` is not a model and a verb; hint: `shopify/product` `update`",
                        start_of(model),
                        start_of(verb)
                    ));
                }
            }
            for schedule in &action.schedules {
                if schedule.split_whitespace().count() != 5 {
                    problems.push(format!(
                        "action `{name}`: schedule `{}` has not five fields; hint: `0 3 * * *` is daily at 03:00 UTC",
                        start_of(schedule)
                    ));
                }
            }
            for (param, Param { schema, compiled, .. }) in &action.params {
                if let Some(reason) = compiled.problem(schema) {
                    let param = start_of(param);
                    problems
                        .push(format!("action `{name}`: the schema of parameter `{param}` cannot be used: {reason}"));
                }
            }
            if problems.len() > PROBLEMS_MAX {
                break;
            }
        }
        problems
    }
}

/// Lower-case letters and digits in words joined by `-`, beginning with a letter.
fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text
            .split('-')
            .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interest_follows_the_declared_fields() {
        let stored = Json::parse(r#"{"title":"Hat","body":"x"}"#).unwrap();
        let mut record = ActiveRecord::load("shopify/product", "1", Some(&stored)).unwrap();
        record.set("title", Json::parse("\"Cap\"").unwrap(), Origin::External);
        let wants = |fields: &[&str]| ActionDeclaration {
            when_changed: fields.iter().map(|field| (*field).to_owned()).collect(),
            ..ActionDeclaration::default()
        };
        assert!(wants(&[]).is_interested(&record, "update"));
        assert!(wants(&["body", "title"]).is_interested(&record, "create"));
        assert!(!wants(&["body"]).is_interested(&record, "update"));
        assert!(wants(&["body"]).is_interested(&record, "delete") && wants(&["body"]).is_interested(&record, "upcase"));
    }

    #[test]
    fn the_echo_of_its_own_write_is_no_news_to_an_action() {
        let record = |origin| {
            let mut record = ActiveRecord::load("shopify/product", "1", Some(&Json::parse("{}").unwrap())).unwrap();
            record.apply(&Json::parse(r#"{"tags":["a"],"title":"Hat"}"#).unwrap(), Origin::External).unwrap();
            record.set_origin("tags", origin);
            record
        };
        let on = |fields: &[&str], own_echo: bool| ActionDeclaration {
            when_changed: fields.iter().map(|field| (*field).to_owned()).collect(),
            options: [("own-echo".to_owned(), Json::parse(own_echo.to_string()).unwrap())].into(),
            ..ActionDeclaration::default()
        };
        assert!(!on(&["tags"], false).is_interested(&record(Origin::Own), "update"));
        assert!(on(&["tags"], true).is_interested(&record(Origin::Own), "update"));
        assert!(on(&["tags"], false).is_interested(&record(Origin::OtherPlugin), "update"));
        assert!(on(&["tags", "title"], false).is_interested(&record(Origin::Own), "update"));
        assert!(on(&[], false).is_interested(&record(Origin::Own), "update"));
        let mut all = record(Origin::Own);
        all.set_origin("title", Origin::Own);
        assert!(!on(&[], false).is_interested(&all, "update"));
    }

    #[test]
    fn parameters_are_held_to_the_declaration() {
        let param =
            |schema, required| Param { schema: Json::parse(schema).unwrap(), required, compiled: Compiled::default() };
        let limit = param(r#"{"type":"integer","minimum":1}"#, false);
        let params = [("limit".to_owned(), limit), ("shop".to_owned(), param("true", true))].into();
        let action = ActionDeclaration { name: "a".to_owned(), params, ..ActionDeclaration::default() };
        let check =
            |text: &str, expected: &[&str]| assert_eq!(action.param_problems(&Json::parse(text).unwrap()), expected);
        check(r#"{"shop":1}"#, &[]);
        check(
            r#"{"limit":1,"limits":2}"#,
            &["parameter `shop` is required", "`limits` is not a parameter of `a`; hint: it takes `limit`, `shop`"],
        );
        check(r#"{"shop":1,"limit":"5"}"#, &["parameter `limit`: \"5\" is not of type \"integer\""]);
        check(r#"{"shop":1,"limit":0}"#, &["parameter `limit`: 0 is less than the minimum of 1"]);
        check("[]", &["the parameters are not a JSON object; hint: `{\"limit\": 5}`"]);
    }

    #[test]
    fn problems_are_all_reported_at_once() {
        let action = |name: &str| ActionDeclaration { name: name.to_owned(), ..ActionDeclaration::default() };
        let on = |model: &str, verb: &str| OnModel { model: model.to_owned(), verb: verb.to_owned() };
        let good = ActionDeclaration {
            models: vec![on("shopify/product", "create"), on("allowed-tag", "upcase")],
            schedules: vec!["*/5 * * * *".to_owned()],
            ..action("tag-product-2")
        };
        assert_eq!(Description { actions: vec![good], ..Description::default() }.problems(), [""; 0]);

        let bad = ActionDeclaration {
            models: vec![on("Product", "create"), on("a", "")],
            schedules: vec!["daily".to_owned()],
            params: [(
                "limit".to_owned(),
                Param { schema: Json::parse("5").unwrap(), required: false, compiled: Compiled::default() },
            )]
            .into(),
            ..action("Tag Product")
        };
        let description = Description { actions: vec![bad, action("a"), action("a")], ..Description::default() };
        assert_eq!(description.problems().len(), 6, "{:#?}", description.problems());
        assert_eq!(Description::default().problems().len(), 1);
    }
}
