//! `tradewind check`: reads the configuration as a host would, and shows what would run.

use std::path::{Path, PathBuf};

use tradewind_model::schema::Model;
use tradewind_runtime::{Grants, inspect};

use super::store::without_password;
use super::table::{Lean, Table};
use super::text::{fields, moved, print, printable, section};
use super::{Exit, Fail, Surroundings};
use crate::config::{self, App, Connection, ExposeSecret, Plugin, Server, Warning, webhook_path};

pub(super) const HELP: &str = "\
Examples:
  tradewind check
  tradewind check --config /etc/tradewind/tradewind.toml

It reads the server file, the app files that it names and their plugins. It opens no store, asks no platform and runs no
plugin; secrets are looked up and not shown. Every mistake is told at once, each with its file, line and column.

Exit codes:
  0  a host can run it; there may be warnings
  2  wrong usage, or a file that is not what it should be
  3  a plugin cannot be installed";

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The server file.
    #[arg(long, value_name = "FILE", default_value = "tradewind.toml")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let (server, warnings) = loaded(&arguments.config, surroundings)?;
    for warning in warnings {
        eprintln!("warning: {}", printable(&warning.to_string()));
    }
    print(text(&arguments.config, &server))?;
    Ok(Exit::Fine)
}

/// Reads a configuration whose plugins can be installed, as far as can be told without compiling them.
fn loaded(path: &Path, surroundings: &Surroundings) -> Result<(Server, Vec<Warning>), Fail> {
    let (server, warnings) = configured(path, surroundings)?;
    let problems: Vec<_> = server.apps.iter().flat_map(|app| &app.plugins).flat_map(plugin_problems).collect();
    if !problems.is_empty() {
        return Err(listed(&problems).not_installed());
    }
    Ok((server, warnings))
}

/// Reads a configuration without a look at its plugins.
pub(super) fn configured(path: &Path, surroundings: &Surroundings) -> Result<(Server, Vec<Warning>), Fail> {
    config::load(path, &surroundings.environment).map_err(|problems| listed(problems.iter()))
}

/// Each on a line that begins like a compiler's.
fn listed(problems: impl IntoIterator<Item = impl ToString>) -> Fail {
    let lines: Vec<_> = problems.into_iter().map(|problem| printable(&problem.to_string())).collect();
    Fail::usage(lines.join("\nerror: "))
}

/// What can be said of a plugin without compiling it.
fn plugin_problems(plugin: &Plugin) -> Vec<String> {
    let of_file = |problem: String| format!("{}: {problem}", plugin.file.display());
    match std::fs::read(&plugin.file) {
        Err(error) => vec![of_file(format!("it cannot be read: {error}; hint: may this user read it?"))],
        Ok(bytes) => {
            let problems = inspect(&bytes, &plugin.grants, &plugin.limits).err().unwrap_or_default();
            problems.into_iter().map(|problem| of_file(problem.to_string())).collect()
        }
    }
}

fn text(path: &Path, server: &Server) -> String {
    let mut text = format!("`{}` is fine\n", printable(&path.display().to_string()));
    text += &fields(&[
        ("store", without_password(server.store.expose_secret())),
        ("webhooks", format!("http://{}", server.listen.public)),
        ("admin", format!("http://{}", server.listen.admin)),
        ("traces", server.traces.as_ref().map_or_else(|| "(none)".to_owned(), |traces| traces.endpoint.clone())),
    ]);
    for app in &server.apps {
        section(&mut text, &format!("\napp {}", app.name), &moved(&of_app(app, server)));
    }
    text
}

fn of_app(app: &App, server: &Server) -> String {
    let mut text = String::new();
    for (name, connection) in &app.connections {
        let url = format!("http://{}{}", server.listen.public, webhook_path(&app.name, name));
        section(&mut text, &format!("connection {name}"), &fields(&of_connection(connection, url)));
    }
    let mut models = Table::new(&[("model", Lean::Left), ("fields", Lean::Right), ("of the platform", Lean::Right)]);
    for model in app.schema.models() {
        models.push(&[model.name.clone(), model.fields.len().to_string(), mirrored(model).to_string()]);
    }
    text += &models.text(0);
    for plugin in &app.plugins {
        let about = [("file", plugin.file.display().to_string()), ("grants", granted(&plugin.grants))];
        section(&mut text, &format!("plugin {}", plugin.name), &fields(&about));
    }
    text
}

fn of_connection(connection: &Connection, url: String) -> [(&'static str, String); 4] {
    let shops: Vec<_> = connection.shops.iter().map(|shop| shop.domain.clone()).collect();
    [
        ("platform", format!("{} {}", connection.platform.as_str(), connection.api_version)),
        ("webhooks", url),
        ("scopes", list(&connection.scopes)),
        ("shops", list(&shops)),
    ]
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "(none)".to_owned() } else { names.join(", ") }
}

fn mirrored(model: &Model) -> usize {
    model.fields.iter().filter(|field| field.source.is_some()).count()
}

fn granted(grants: &Grants) -> String {
    let has = |name: &&str| {
        let mut with = grants.clone();
        with.add(name) && with == *grants
    };
    let names: Vec<_> = Grants::NAMES.iter().filter(|name| has(name)).map(|name| (*name).to_owned()).collect();
    list(&names)
}
