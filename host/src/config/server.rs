//! The server file, `tradewind.toml`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use tracing::Level;
use tradewind_store::{Location, StoreError};

use super::app::{self, App};
use super::document::{Document, FILE_BYTES_MAX, Item, Section, hinted, text_of};
use super::limits::{self, Limits};
use super::problem::{Notes, Problem};
use super::source::{Origin, Sources};

/// What a host listens on, keeps and runs.
#[derive(Clone, Debug)]
pub struct Server {
    /// The store's address, which may hold a password.
    pub store: SecretString,
    /// Its doors.
    pub listen: Listen,
    /// What it takes and keeps at most.
    pub limits: Limits,
    /// How it says what happens.
    pub log: Log,
    /// Where traces go; none when nobody wants them.
    pub traces: Option<Traces>,
    /// What it can make anew.
    pub cache: Cache,
    /// Its apps, in the order of the file.
    pub apps: Vec<App>,
}

/// The addresses that a host listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// For platforms: webhooks.
    pub public: SocketAddr,
    /// For operators: health, readiness, metrics.
    pub admin: SocketAddr,
}

/// How the host's log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// For people or for programs.
    pub format: LogFormat,
    /// What is not worth an entry.
    pub level: Level,
}

/// For whom a log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// People.
    #[default]
    Text,
    /// Programs: an object on each line.
    Json,
}

/// Where traces go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traces {
    /// A collector that speaks OTLP over HTTP.
    pub endpoint: String,
}

/// What can be made anew, kept because that takes time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// The folder of compiled plugins.
    pub artifacts: PathBuf,
}

/// The store when none is named, relative to the file.
const STORE: &str = "sqlite:tradewind.db";

impl Server {
    /// A server with a store and without apps, everything else as by default, relative to the current folder.
    pub fn new(store: impl Into<SecretString>) -> Self {
        Self {
            store: store.into(),
            listen: Listen::default(),
            limits: Limits::default(),
            log: Log::default(),
            traces: None,
            cache: Cache::default(),
            apps: Vec::new(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self { public: SocketAddr::from(([127, 0, 0, 1], 8080)), admin: SocketAddr::from(([127, 0, 0, 1], 9090)) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: Level::INFO }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self { artifacts: PathBuf::from("data/artifacts") }
    }
}

/// The keys of the file.
const KEYS: [&str; 7] = ["store", "apps", "listen", "limits", "log", "traces", "cache"];

/// Reads the limits of a server file, and nothing else of it; none when it cannot be read at all.
pub(super) fn read_limits(path: &Path, notes: &Notes) -> Option<Limits> {
    notes.begin(path);
    let text = readable(path, notes)?;
    let document = Document::new(path, &text, notes);
    let table = document.parse();
    Some(limits::read(&document.section(&table, &KEYS)))
}

/// The text of a file; a problem when there is none.
fn readable(path: &Path, notes: &Notes) -> Option<String> {
    let read = text_of(path, FILE_BYTES_MAX);
    read.map_err(|problem| {
        let text = format!("{problem}; hint: is the path right? `--config` names another one");
        notes.problem(Problem { file: path.to_owned(), place: None, key: String::new(), text });
    })
    .ok()
}

/// Reads a server file and its apps; none when it cannot be read at all.
pub(super) fn read(path: &Path, environment: &dyn Fn(&str) -> Option<OsString>, notes: &Notes) -> Option<Server> {
    notes.begin(path);
    let text = readable(path, notes)?;
    let document = Document::new(path, &text, notes);
    let table = document.parse();
    let section = document.section(&table, &KEYS);
    let sources = Sources { environment, development: false };
    Some(Server {
        store: store(&section, &sources),
        listen: listen(&section),
        limits: limits::read(&section),
        log: log(&section),
        traces: traces(&section),
        cache: cache(&section),
        apps: apps(&section, &sources, notes),
    })
}

fn store(server: &Section<'_>, sources: &Sources<'_>) -> SecretString {
    let folder = server.document().folder();
    let Some(item) = server.get("store") else { return beside(folder, STORE).into() };
    let Some((address, origin)) = sources.text(&item) else { return SecretString::default() };
    match Location::parse(address.expose_secret()) {
        Ok(_) if origin == Origin::Literal => beside(folder, address.expose_secret()).into(),
        Ok(_) => address,
        Err(error) => {
            // The reason speaks of the form alone, and so may be shown.
            let reason = if let StoreError::Location { reason } = error { reason } else { error.to_string() };
            let then = if reason.starts_with("hint: ") { ";" } else { ":" };
            let reason = hinted(&reason, "`sqlite:tradewind.db` or `postgres://user@host/database`");
            item.problem(format!("this is no store{then} {reason}"));
            address
        }
    }
}

/// The address of a store whose file is named relative to a folder.
fn beside(folder: &Path, address: &str) -> String {
    match address.strip_prefix("sqlite:") {
        Some(path) => format!("sqlite:{}", folder.join(path.strip_prefix("//").unwrap_or(path)).display()),
        None => address.to_owned(),
    }
}

fn listen(server: &Section<'_>) -> Listen {
    let mut listen = Listen::default();
    let Some(section) = server.section("listen", &["public", "admin"]) else { return listen };
    let address = |item: &Item<'_>| {
        let text = item.text()?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            let hint = "`127.0.0.1:8080` for this machine alone, `0.0.0.0:8080` for all that can reach it";
            item.problem(format!("`{text}` is no IP address with a port; hint: {hint}"));
        }
        parsed
    };
    let (public, admin) = (section.get("public"), section.get("admin"));
    let read = |item: &Option<Item<'_>>, default| item.as_ref().map_or(Some(default), address);
    let (Some(for_public), Some(for_admin)) = (read(&public, listen.public), read(&admin, listen.admin)) else {
        return listen;
    };
    listen = Listen { public: for_public, admin: for_admin };
    if let Some(item) = admin.as_ref().filter(|_| !for_admin.ip().to_canonical().is_loopback()) {
        item.warn(format!(
            "`{for_admin}` can be reached from other machines, and this door has no authentication; \
             hint: `127.0.0.1:9090`, or a firewall in front of it"
        ));
    }
    if overlap(for_public, for_admin)
        && let Some(item) = admin.or(public)
    {
        item.problem(format!(
            "`{for_admin}` and `{for_public}` are the same door, and what is for operators would be open to everybody; \
             hint: another port"
        ));
    }
    listen
}

/// Whether one process cannot listen on both. Port 0 is a new one each time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_machine = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && same_machine
}

fn log(server: &Section<'_>) -> Log {
    let mut log = Log::default();
    let Some(section) = server.section("log", &["format", "level"]) else { return log };
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let levels = [
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
    log.format = section.get("format").and_then(|item| item.word(&formats)).unwrap_or(log.format);
    log.level = section.get("level").and_then(|item| item.word(&levels)).unwrap_or(log.level);
    log
}

fn traces(server: &Section<'_>) -> Option<Traces> {
    let section = server.section("traces", &["endpoint"])?;
    let item = section.required("endpoint", r#""http://127.0.0.1:4318""#)?;
    Some(Traces { endpoint: http_url(&item)? })
}

/// An address that begins with `http://` or `https://`, without a slash at its end.
pub(super) fn http_url(item: &Item<'_>) -> Option<String> {
    let text = item.text()?;
    let rest = ["http://", "https://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or_default()).unwrap_or_default();
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#' | '@');
    if host.is_empty() || text.contains(odd) {
        item.problem("this is no address of a server; hint: `http://127.0.0.1:4318`, without user, `?` or `#`");
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}

fn cache(server: &Section<'_>) -> Cache {
    let section = server.section("cache", &["artifacts"]);
    let item = section.and_then(|section| section.get("artifacts"));
    let folder = item.and_then(|item| {
        let path = item.text()?;
        if path.is_empty() {
            item.problem("it is empty; hint: `artifacts = \"data/artifacts\"`");
        }
        Some(PathBuf::from(path))
    });
    let folder = folder.unwrap_or_else(|| Cache::default().artifacts);
    Cache { artifacts: server.document().folder().join(folder) }
}

fn apps(server: &Section<'_>, sources: &Sources<'_>, notes: &Notes) -> Vec<App> {
    let example = r#"["apps/tagger"]"#;
    let Some(item) = server.required("apps", example) else { return Vec::new() };
    if item.value().as_array().is_some_and(|list| list.is_empty()) {
        item.problem(format!("there is nothing to run; hint: `apps = {example}`"));
    }
    let mut names = BTreeMap::new();
    let mut apps = Vec::new();
    for (item, folder) in item.texts() {
        let folder = server.document().folder().join(folder);
        let path = folder.join(app::FILE);
        match text_of(&path, FILE_BYTES_MAX) {
            Ok(text) => apps.push(app::read(&path, &text, *sources, &mut names, notes)),
            Err(problem) => {
                let hint = "it is a folder with an `app.toml`, relative to this file";
                item.problem(format!("`{}`: {problem}; hint: {hint}", path.display()));
            }
        }
    }
    apps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_are_the_same_when_one_process_cannot_have_both() {
        let check = |a: &str, b: &str, expected: bool| {
            assert_eq!(overlap(a.parse().unwrap(), b.parse().unwrap()), expected, "{a} {b}");
        };
        check("127.0.0.1:80", "127.0.0.1:80", true);
        check("0.0.0.0:80", "127.0.0.1:80", true);
        check("127.0.0.1:80", "[::]:80", true);
        check("127.0.0.1:80", "127.0.0.1:81", false);
        check("127.0.0.1:80", "127.0.0.2:80", false);
        check("127.0.0.1:0", "127.0.0.1:0", false);
    }

    #[test]
    fn files_of_stores_are_beside_the_server_file() {
        let check = |address: &str, expected: &str| assert_eq!(beside(Path::new("etc"), address), expected);
        check("sqlite:data/a.db", "sqlite:etc/data/a.db");
        check("sqlite://a.db", "sqlite:etc/a.db");
        check("sqlite:/var/a.db", "sqlite:/var/a.db");
        check("postgres://db/shop", "postgres://db/shop");
    }
}
