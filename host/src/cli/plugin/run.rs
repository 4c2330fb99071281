//! `tradewind plugin run`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tradewind_model::query::Reach;
use tradewind_model::{ActionDeclaration, ActiveRecord, Change, Json};
use tradewind_runtime::fake::{FakeSession, PreparedAnswer};
use tradewind_runtime::session::{ClientShop, Platform, PlatformCall, Work};
use tradewind_runtime::{Failure, Plugin};

use super::try_out::{Ended, Report, Try, incoming_record, try_out};
use super::{GrantArguments, block_on, install, read, sandbox, show};
use crate::cli::text::{one_line, printable};
use crate::cli::{Exit, Fail, Surroundings};

pub(super) const EXAMPLES: &str = "\
Examples:
  tradewind plugin run plugin.wasm --action tag-product --before before.json --after after.json
  tradewind plugin run plugin.wasm --action upcase-title --before product.json --json

The action sees the record of `--before`, with the fields of `--after` as the incoming change. `--answers` is a JSON
array: [{\"match\": \"tagsAdd\", \"answer\": {…}}, {\"match\": \"GET products\", \"error\": {\"code\": …, \"message\": …}}].";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The component.
    file: PathBuf,
    /// The action's name. Not needed when the plugin has only one.
    #[arg(long)]
    action: Option<String>,
    /// A JSON file: the record as it is stored. Without it the record is new.
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// A JSON file: the incoming fields.
    #[arg(long, value_name = "FILE")]
    after: Option<PathBuf>,
    /// A JSON file: the parameters.
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// A JSON file: answers to platform calls, each used once. Other calls are answered with `{}`.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// A JSON file: the plugin's settings, an object.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The record's model; the action's first one when not given.
    #[arg(long)]
    model: Option<String>,
    /// What happens to the record: `create`, `update`, `delete` or a custom verb. Without it, what the action is declared for.
    #[arg(long)]
    verb: Option<String>,
    /// The record's id; the `id` of `--before` or `--after`, or 1, when not given.
    #[arg(long)]
    id: Option<String>,
    /// The current shop's domain, or `none`.
    #[arg(long, default_value = "try.myshopify.com")]
    shop: String,
    /// Runs the action although no field that it cares for changed.
    #[arg(long)]
    anyway: bool,
    /// Decides every random number that the plugin sees.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    grants: GrantArguments,
    /// Prints one JSON value.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, surroundings: &Surroundings) -> Result<Exit, Fail> {
    let grants = arguments.grants.grants()?;
    let reach = if grants.all_shops { Reach::App } else { Reach::Shop };
    let session = FakeSession { reach, ..arguments.session()? };
    let params = json_file(arguments.params.as_deref())?.unwrap_or_else(|| Json::object([]));
    let runtime = sandbox(surroundings)?;
    let report = block_on(async {
        let plugin = install(&runtime, &arguments.file, grants).await?;
        let action = arguments.action(&plugin)?;
        let problems = action.param_problems(&params);
        if !problems.is_empty() {
            return Err(Fail::usage(problems.join("\n       ")));
        }
        let shop = session.shop.as_ref().map(shop_json);
        let record = arguments.record(action)?;
        let verb = record.as_ref().map(|record| arguments.verb(action, record));
        let (now, seed, anyway) = (surroundings.now, arguments.seed, arguments.anyway);
        let of =
            Try { runtime: &runtime, plugin: &plugin, action, record, verb, params, shop, session, now, seed, anyway };
        Ok(try_out(of).await)
    })?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report).map_err(Fail::failed)?);
    } else {
        print!("{}", printable(&text(&report)));
    }
    Ok(report.failure().map_or(Exit::Fine, Exit::from))
}

impl Arguments {
    fn session(&self) -> Result<FakeSession, Fail> {
        let shop = (self.shop != "none").then(|| ClientShop {
            platform: Platform::Shopify,
            id: "1".to_owned(),
            name: self.shop.clone(),
        });
        let answers = match json_file(self.answers.as_deref())? {
            Some(json) => json.to::<VecDeque<PreparedAnswer>>().map_err(|error| {
                Fail::usage(format_args!("`--answers` is not as it should be: {}; hint: see `--help`", error.reason))
            })?,
            None => VecDeque::new(),
        };
        let config = match json_file(self.config.as_deref())? {
            Some(json) => json.members().ok_or_else(|| Fail::usage("`--config` is not a JSON object"))?,
            None => Vec::new(),
        };
        Ok(FakeSession { shop, answers, config: config.into_iter().collect(), ..FakeSession::default() })
    }

    fn action<'a>(&self, plugin: &'a Plugin) -> Result<&'a ActionDeclaration, Fail> {
        let actions = &plugin.description().actions;
        let names = || actions.iter().map(|action| format!("`{}`", action.name)).collect::<Vec<_>>().join(", ");
        match (&self.action, actions.as_slice()) {
            (None, [only]) => Ok(only),
            (None, _) => Err(Fail::usage(format_args!("which action? hint: `--action` with one of {}", names()))),
            (Some(name), _) => plugin.action(name).ok_or_else(|| {
                Fail::usage(format_args!("the plugin has no action `{name}`; hint: it has {}", names()))
            }),
        }
    }

    /// The record that the action is about; none when no file was given and the action is on no model.
    fn record(&self, action: &ActionDeclaration) -> Result<Option<ActiveRecord>, Fail> {
        let (before, after) = (json_file(self.before.as_deref())?, json_file(self.after.as_deref())?);
        let declared = action.models.first().map(|on| on.model.as_str());
        let Some(model) = self.model.as_deref().or(declared) else {
            if before.is_some() || after.is_some() {
                return Err(Fail::usage(format_args!(
                    "`{}` is on no model, so it takes no record; hint: `--model` names one anyway",
                    action.name
                )));
            }
            return Ok(None);
        };
        let given = [&before, &after].into_iter().flatten().find_map(|document| document.member("id"));
        let id = given.map(|id| id.to::<String>().unwrap_or_else(|_| id.as_str().to_owned()));
        let id = self.id.clone().or(id).unwrap_or_else(|| "1".to_owned());
        let record = incoming_record(model, &id, before.as_ref(), after.as_ref());
        record
            .map(Some)
            .map_err(|_| Fail::usage("`--before` and `--after` must hold JSON objects; hint: `{\"title\": \"Hat\"}`"))
    }
}

impl Arguments {
    /// The verb that was given, or the one of the action's that fits the record best.
    fn verb(&self, action: &ActionDeclaration, record: &ActiveRecord) -> String {
        let natural = if record.is_new() { "create" } else { "update" };
        let mut declared = action.models.iter().filter(|on| on.model == record.model()).map(|on| on.verb.as_str());
        let first = declared.clone().next().unwrap_or(natural);
        let fits = if declared.any(|verb| verb == natural) { natural } else { first };
        self.verb.clone().unwrap_or_else(|| fits.to_owned())
    }
}

fn shop_json(shop: &ClientShop) -> Json {
    let value = serde_json::json!({"id": shop.id, "platform": shop.platform.as_str(), "domain": shop.name});
    Json::of(&value).unwrap_or_else(|_| Json::null())
}

fn json_file(path: Option<&Path>) -> Result<Option<Json>, Fail> {
    let Some(path) = path else { return Ok(None) };
    let bytes = read(path)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Fail::usage(format_args!("`{}` is not UTF-8; hint: save it as UTF-8", path.display())))?;
    let parsed = Json::parse(text.trim_start_matches('\u{feff}'));
    parsed.map(Some).map_err(|error| {
        Fail::usage(format_args!(
            "`{}` is not JSON: {}; hint: the file holds one JSON value",
            path.display(),
            error.reason
        ))
    })
}

fn text(report: &Report) -> String {
    let mut out = String::new();
    section(&mut out, "changes that the action sees", &changes(&report.changes, true));
    if let Some(fields) = &report.skipped {
        let (fields, action) = (one_line(&fields.join("`, `")), one_line(&report.action));
        // Writing into a `String` cannot fail.
        let _ = writeln!(
            out,
            "skipped   `{action}` runs when `{fields}` changed, so no sandbox was created; hint: `--anyway` runs it"
        );
        return out;
    }
    ended(&mut out, "run", report.run.as_ref());
    section(&mut out, "record writes", &changes(&report.record_writes, false));
    ended(&mut out, "success", report.success.as_ref());
    let journal = &report.journal;
    let writes = journal.writes.iter().map(|write| {
        let id = write.id.as_deref().unwrap_or_default();
        format!("{} {} {id} {}", write.kind, write.model, show::value(Some(&write.values)))
    });
    section(&mut out, "other writes", &writes.collect::<Vec<_>>());
    let jobs = journal.jobs.iter().map(|job| match &job.work {
        Work::Action { action, params } => format!("{} {action} {}", job.id, show::value(Some(params))),
        Work::Call { call } => format!("{} {} call {}", job.id, call.platform.as_str(), request(&call.call)),
    });
    section(&mut out, "jobs", &jobs.collect::<Vec<_>>());
    let calls = journal.calls.iter().flat_map(|call| {
        let answer = match &call.answer {
            Ok(answer) => show::value(Some(answer)),
            Err(error) => format!("error {error}"),
        };
        [format!("{} {}", call.shop, request(&call.call)), format!("  answered {answer}")]
    });
    section(&mut out, "platform calls that it would make", &calls.collect::<Vec<_>>());
    let requests = journal.requests.iter().map(|request| {
        let bytes = request.body.as_ref().map_or(0, Vec::len);
        format!("{} {} ({})", request.method, request.url, show::bytes(bytes as u64))
    });
    section(&mut out, "requests that it would send", &requests.collect::<Vec<_>>());
    let logs = journal.logs.iter().map(|entry| {
        let level = format!("{:?}", entry.level).to_lowercase();
        let fields = if entry.fields.is_null() { String::new() } else { entry.fields.to_string() };
        format!("{level:<5} {} {fields}", entry.message).trim_end().to_owned()
    });
    section(&mut out, "logs", &logs.collect::<Vec<_>>());
    out
}

fn section(out: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    out.push_str(title);
    out.push('\n');
    for line in lines {
        out.push_str(&show::indented(line, 2));
    }
}

fn changes(changes: &[Change], with_origin: bool) -> Vec<String> {
    let width = changes.iter().map(|change| change.field.chars().count()).max().unwrap_or_default();
    let line = |change: &Change| {
        let (previous, current) = (show::value(change.previous.as_ref()), show::value(change.current.as_ref()));
        let origin = if with_origin { format!("  ({})", change.origin.as_str()) } else { String::new() };
        format!("{:width$}  {previous} → {current}{origin}", change.field)
    };
    changes.iter().map(line).collect()
}

fn ended(out: &mut String, phase: &str, ended: Option<&Ended>) {
    let Some(ended) = ended else { return };
    let usage = show::usage(&ended.usage);
    match &ended.failure {
        None => {
            let _ = writeln!(out, "{phase:<9} ok      {usage}");
            if let Some(result) = ended.result.as_ref().filter(|_| phase == "run") {
                out.push_str(&show::indented(&format!("result {}", show::value(Some(result))), 2));
            }
        }
        Some(failure) => {
            let _ = writeln!(out, "{phase:<9} FAILED  {usage}");
            out.push_str(&show::indented(&failure.to_string(), 2));
            explain(out, phase, failure);
        }
    }
}

fn explain(out: &mut String, phase: &str, failure: &Failure) {
    if let Failure::Returned(error) = failure {
        let retry = if error.retryable { "it would be tried again" } else { "it would not be tried again" };
        out.push_str(&show::indented(retry, 2));
        if let Some(details) = &error.details {
            out.push_str(&show::indented(&format!("details {details}"), 2));
        }
    }
    if let Some(frames) = failure.backtrace().filter(|frames| !frames.0.is_empty()) {
        out.push_str("  backtrace\n");
        out.push_str(&show::indented(&frames.to_string(), 2));
    }
    if let Some(stderr) = failure.stderr().filter(|stderr| !stderr.is_empty()) {
        out.push_str("  standard error\n");
        out.push_str(&show::indented(stderr, 4));
    }
    out.push_str(if phase == "run" {
        "  nothing of what it wrote would be kept\n"
    } else {
        "  what `run` wrote is committed\n"
    });
}

fn request(call: &PlatformCall) -> String {
    match call {
        PlatformCall::Graphql { query, variables, .. } => {
            format!("graphql {query}\n  variables {}", show::value(Some(variables)))
        }
        PlatformCall::Rest { api, method, path, query, options, body } => {
            let api = api.map(|api| format!("{} ", api.as_str())).unwrap_or_default();
            let body = body.as_ref().map(|body| format!(" {}", show::value(Some(body)))).unwrap_or_default();
            let given = [query, options].into_iter().filter(|json| !json.is_null());
            let given = given.flat_map(|json| [" ".to_owned(), show::value(Some(json))]).collect::<String>();
            format!("{api}{method} {path}{given}{body}")
        }
    }
}
