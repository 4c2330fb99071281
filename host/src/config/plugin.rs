//! A plugin that an app has installed: its file, what it is granted, and what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use toml::de::DeValue;
use tradewind_model::Json;
use tradewind_model::near::hint;
use tradewind_runtime::{Grants, Limit, Limits};

use super::document::{Item, Section};
use super::source::Sources;

/// A plugin of an app.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Its name within the app.
    pub name: String,
    /// The component.
    pub file: PathBuf,
    /// What it may import.
    pub grants: Grants,
    /// Settings, as its `config` interface answers them.
    pub config: BTreeMap<String, Json>,
    /// Secrets that it may ask for by name.
    pub secrets: BTreeMap<String, SecretString>,
    /// The bounds of each of its calls, none of them above the host's own.
    pub limits: Limits,
}

impl Plugin {
    /// A plugin with the usual grants and limits, and nothing to be told.
    pub fn new(name: &str, file: &Path) -> Self {
        Self {
            name: name.to_owned(),
            file: file.to_owned(),
            grants: Grants::usual(),
            config: BTreeMap::new(),
            secrets: BTreeMap::new(),
            limits: Limits::default(),
        }
    }
}

/// Reads an app's plugins.
pub(super) fn read(app: &Section<'_>, sources: &Sources<'_>) -> Vec<Plugin> {
    let mut names = BTreeSet::new();
    let mut plugins = Vec::new();
    for item in app.list("plugins") {
        let Some(section) = item.section(&["name", "file", "grants", "config", "secrets", "limits"]) else { continue };
        let name = section.required("name", r#""product-tagger""#).and_then(|item| {
            let name = item.name()?;
            if !names.insert(name) {
                item.problem(format!("there are two plugins `{name}`; hint: keep one, or give it another name"));
            }
            Some(name.to_owned())
        });
        let example = r#""plugins/product_tagger.wasm""#;
        let grants = grants(&section);
        plugins.push(Plugin {
            name: name.unwrap_or_default(),
            file: section.required("file", example).and_then(|item| file(&item)).unwrap_or_default(),
            config: config(&section),
            secrets: secrets(&section, sources),
            limits: limits(&section),
            grants,
        });
        for told in ["config", "secrets"].into_iter().filter_map(|name| section.get(name)) {
            if !plugins.last().is_some_and(|plugin| plugin.grants.config) {
                told.warn("it cannot be read without the grant `config`; hint: `grants = [\"config\"]`");
            }
        }
    }
    plugins
}

fn file(item: &Item<'_>) -> Option<PathBuf> {
    let path = item.document().folder().join(item.text()?);
    if !path.is_file() {
        let hint = "relative to this file; `tradewind plugin build` makes it";
        item.problem(format!("there is no file `{}`; hint: {hint}", path.display()));
        return None;
    }
    Some(path)
}

fn grants(plugin: &Section<'_>) -> Grants {
    let mut grants = Grants::default();
    let named = plugin.get("grants").map(|item| item.texts()).unwrap_or_default();
    for (item, name) in named {
        if !grants.add(name) {
            item.problem(format!("there is no grant `{name}`; {}", hint(name, Grants::NAMES.into_iter())));
        }
    }
    grants
}

fn config(plugin: &Section<'_>) -> BTreeMap<String, Json> {
    let Some(section) = plugin.get("config").and_then(|item| item.table()) else { return BTreeMap::new() };
    let value = |(name, item): (&str, Item<'_>)| match json(item.value()).map(|value| Json::of(&value)) {
        Ok(Ok(value)) => Some((name.to_owned(), value)),
        Ok(Err(error)) => {
            item.problem(format!("it cannot be written as JSON: {}", error.reason));
            None
        }
        Err(problem) => {
            item.problem(problem);
            None
        }
    };
    section.items().filter_map(value).collect()
}

/// A value as JSON. Times are texts.
fn json(value: &DeValue<'_>) -> Result<serde_json::Value, String> {
    Ok(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map(Into::into)
            .or_else(|_| u64::from_str_radix(integer.as_str(), integer.radix()).map(Into::into))
            .map_err(|_| format!("`{integer}` has more than 64 bits; hint: write it in quotes"))?,
        DeValue::Float(float) => {
            let number = float.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            number.ok_or_else(|| format!("`{float}` is no number of JSON; hint: write it in quotes"))?.into()
        }
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(list) => list.iter().map(|value| json(value.get_ref())).collect::<Result<Vec<_>, _>>()?.into(),
        DeValue::Table(table) => {
            let member = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
                let name: &std::borrow::Cow<'_, str> = name.get_ref();
                json(value.get_ref()).map(|value| (name.to_string(), value))
            };
            serde_json::Value::Object(table.iter().map(member).collect::<Result<_, _>>()?)
        }
    })
}

fn secrets(plugin: &Section<'_>, sources: &Sources<'_>) -> BTreeMap<String, SecretString> {
    let Some(section) = plugin.get("secrets").and_then(|item| item.table()) else { return BTreeMap::new() };
    section.items().filter_map(|(name, item)| Some((name.to_owned(), sources.secret(&item)?))).collect()
}

/// Where a limit is kept.
type Field = fn(&mut Limits) -> &mut u64;

/// The limits of a call. Those of a component's own shape are the host's alone, because its pool is sized by them.
const LIMITS: &[(Limit, Field)] = &[
    (Limit::WallMs, |limits| &mut limits.wall_ms_max),
    (Limit::CpuMs, |limits| &mut limits.cpu_ms_max),
    (Limit::MemoryBytes, |limits| &mut limits.memory_bytes_max),
    (Limit::TableElements, |limits| &mut limits.table_elements_max),
    (Limit::Resources, |limits| &mut limits.resources_max),
    (Limit::HostCalls, |limits| &mut limits.host_calls_max),
    (Limit::Reads, |limits| &mut limits.reads_max),
    (Limit::Writes, |limits| &mut limits.writes_max),
    (Limit::Jobs, |limits| &mut limits.jobs_max),
    (Limit::PlatformCalls, |limits| &mut limits.platform_calls_max),
    (Limit::CallBytes, |limits| &mut limits.call_bytes_max),
    (Limit::WorkBytes, |limits| &mut limits.work_bytes_max),
    (Limit::KeptBytes, |limits| &mut limits.kept_bytes_max),
    (Limit::LogBytes, |limits| &mut limits.log_bytes_max),
    (Limit::ResultBytes, |limits| &mut limits.result_bytes_max),
];

fn limits(plugin: &Section<'_>) -> Limits {
    let mut limits = Limits::default();
    let known: Vec<_> = LIMITS.iter().map(|(limit, _)| limit.name()).collect();
    let Some(section) = plugin.section("limits", &known) else { return limits };
    for (limit, field) in LIMITS {
        let field = field(&mut limits);
        if let Some(value) = section.get(limit.name()).and_then(|item| item.number(1..=*field)) {
            *field = value;
        }
    }
    limits
}
