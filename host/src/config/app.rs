//! An app: its connections, models and plugins, as its folder's `app.toml` says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tradewind_model::schema::{Model, Schema};

use super::connection::{self, Connection};
use super::document::{Document, name_problem};
use super::models;
use super::plugin::{self, Plugin};
use super::problem::Notes;
use super::source::Sources;

/// The file in an app's folder.
pub(super) const FILE: &str = "app.toml";

/// One developer's project on the host.
#[derive(Clone, Debug)]
pub struct App {
    /// Its key: part of URLs and of every row that belongs to it.
    pub name: String,
    /// Its links to platforms, by their names.
    pub connections: BTreeMap<String, Connection>,
    /// The models that its connections mirror, and its own.
    pub schema: Schema,
    /// Its plugins, in the order of the file.
    pub plugins: Vec<Plugin>,
    /// The folder that it came from.
    pub folder: PathBuf,
}

impl App {
    /// An app that is made without a file. `own` are its models, and fields that it adds to mirrored ones.
    pub fn new(
        name: &str,
        connections: BTreeMap<String, Connection>,
        own: impl IntoIterator<Item = Model>,
        plugins: Vec<Plugin>,
        folder: &Path,
    ) -> Result<Self, Vec<String>> {
        let names = [name].into_iter().chain(connections.keys().map(String::as_str));
        let mut problems: Vec<_> = names.filter_map(name_problem).collect();
        let own: Vec<_> = own.into_iter().collect();
        let schema = models::schema(&chosen(&connections), &own).unwrap_or_else(|found| {
            problems.extend(found);
            Schema::default()
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { name: name.to_owned(), connections, schema, plugins, folder: folder.to_owned() })
    }
}

/// The path that a connection's webhooks are sent to.
pub fn webhook_path(app: &str, connection: &str) -> String {
    format!("/webhooks/{app}/{connection}")
}

fn chosen(connections: &BTreeMap<String, Connection>) -> BTreeSet<String> {
    connections.values().flat_map(|connection| connection.models.iter().cloned()).collect()
}

/// Reads an app's file. `names` are those of the apps before it, with their files.
pub(super) fn read(
    path: &Path,
    text: &str,
    sources: Sources<'_>,
    names: &mut BTreeMap<String, PathBuf>,
    notes: &Notes,
) -> App {
    notes.begin(path);
    let document = Document::new(path, text, notes);
    let table = document.parse();
    let app = document.section(&table, &["name", "development", "connections", "models", "plugins"]);
    let name = app.required("name", r#""tagger""#).and_then(|item| {
        let name = item.name()?;
        if let Some(other) = names.insert(name.to_owned(), path.to_owned()) {
            item.problem(format!("`{}` is called `{name}` too; hint: another name", other.display()));
        }
        Some(name.to_owned())
    });
    let development = app.get("development").and_then(|item| item.flag()).unwrap_or_default();
    let sources = Sources { development, ..sources };
    let connections = connection::read(&app, &sources);
    App {
        name: name.unwrap_or_default(),
        schema: models::read(&app, &chosen(&connections)),
        connections,
        plugins: plugin::read(&app, &sources),
        folder: document.folder().to_owned(),
    }
}
