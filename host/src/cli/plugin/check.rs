//! `tradewind plugin check`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tradewind_model::Description;
use tradewind_runtime::{Grants, Inspection, Limits, Plugin, inspect};

use super::{GrantArguments, block_on, install, read, sandbox, show};
use crate::cli::text::one_line;
use crate::cli::{Exit, Fail, Surroundings};

pub(super) const EXAMPLES: &str = "\
Examples:
  tradewind plugin check plugin.wasm
  tradewind plugin check plugin.wasm --grant data --grant shopify";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The component.
    file: PathBuf,
    #[command(flatten)]
    grants: GrantArguments,
    /// Prints one JSON value.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    bytes: u64,
    imports: &'a [String],
    description: &'a Description,
}

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let grants = arguments.grants.grants()?;
    let (plugin, inspection, size) = checked(&arguments.file, grants, surroundings)?;
    if arguments.json {
        let report = Report { bytes: size, imports: &inspection.imports, description: plugin.description() };
        let text = serde_json::to_string_pretty(&report).map_err(Fail::failed)?;
        println!("{text}");
    } else {
        print!("{}", text(&arguments.file, &plugin, &inspection, size));
    }
    Ok(Exit::Fine)
}

/// Installs the component as a host would.
pub(super) fn checked(
    file: &Path,
    grants: Grants,
    surroundings: &Surroundings,
) -> Result<(Plugin, Inspection, u64), Fail> {
    let runtime = sandbox(surroundings)?;
    let bytes = read(file)?;
    let inspection = inspect(&bytes, &grants, &Limits::default()).unwrap_or_default();
    let plugin = block_on(install(&runtime, file, grants))?;
    Ok((plugin, inspection, bytes.len() as u64))
}

/// What a component offers and needs.
pub(super) fn text(file: &Path, plugin: &Plugin, inspection: &Inspection, size: u64) -> String {
    let mut lines = vec![format!("{} can be installed ({})", file.display(), show::bytes(size))];
    lines.extend(offered(plugin.description()));
    let own = inspection.imports.iter().filter_map(|import| import.strip_prefix("tradewind:plugin/"));
    let own: Vec<_> = own.map(|import| import.split('@').next().unwrap_or(import)).collect();
    lines.extend([String::new(), format!("imports  {}", own.join(", "))]);
    lines.push(format!("needs    {}", plugin.needs()));
    printed(&lines)
}

/// Lines of which each stays one: any may hold words of the plugin, and none of those is to look like a line of ours.
fn printed(lines: &[String]) -> String {
    lines.iter().map(|line| one_line(line) + "\n").collect()
}

fn offered(description: &Description) -> Vec<String> {
    let mut lines = Vec::new();
    for action in &description.actions {
        lines.extend([String::new(), format!("action {}", action.name)]);
        for on in &action.models {
            lines.push(format!("  on       {} {}", on.model, on.verb));
        }
        for on in &action.webhooks {
            lines.push(format!("  webhook  {} {}", on.platform, on.topic));
        }
        for cron in &action.schedules {
            lines.push(format!("  schedule {cron}"));
        }
        if !action.when_changed.is_empty() {
            lines.push(format!("  when     {} changed", action.when_changed.join(" or ")));
        }
        for (name, param) in &action.params {
            let required = if param.required { " (required)" } else { "" };
            lines.push(format!("  param    {name}{required} {}", show::value(Some(&param.schema))));
        }
        for (name, value) in &action.options {
            lines.push(format!("  option   {name} {value}"));
        }
    }
    for ask in &description.asks {
        lines.extend([String::new(), format!("asks for {} {}", ask.capability, ask.detail)]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use tradewind_model::{ActionDeclaration, Ask, Json, OnWebhook};

    use super::*;

    #[test]
    fn words_of_a_plugin_stay_in_their_line() {
        let odd = "a\u{1b}[31m\nforged".to_owned();
        let action = ActionDeclaration {
            name: odd.clone(),
            webhooks: vec![OnWebhook { platform: odd.clone(), topic: odd.clone() }],
            schedules: vec![odd.clone()],
            when_changed: vec![odd.clone()],
            ..ActionDeclaration::default()
        };
        let asks = vec![Ask { capability: odd, detail: Json::parse("[\n1]").unwrap() }];
        let text = printed(&offered(&Description { actions: vec![action], asks, ..Description::default() }));
        let shown = "a\\u{1b}[31m\\nforged";
        let expected = [
            String::new(),
            format!("action {shown}"),
            format!("  webhook  {shown} {shown}"),
            format!("  schedule {shown}"),
            format!("  when     {shown} changed"),
            String::new(),
            format!("asks for {shown} [\\n1]"),
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }
}
