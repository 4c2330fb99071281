//! The configuration: each mistake with its message and its place, all of them at once, and no secret in any of it.

mod guide;
mod mistakes;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use tradewind_host::config::{
    self, App, Connection, ExposeSecret as _, LogFormat, Platform, Plugin, Problems, Server, Shop, Warning,
    webhook_path,
};
use tradewind_model::schema::{Field, FieldType, Model};
use tradewind_runtime::Limits;

const SERVER: &str = r#"store = "sqlite:data/tradewind.db"
apps = ["tagger"]

[listen]
public = "127.0.0.1:8080"
admin = "127.0.0.1:9090"

[limits]
drain_seconds = 5

[log]
level = "warn"
"#;

const APP: &str = r#"name = "tagger"

[connections.main]
platform = "shopify"
client_id = "0123"
client_secret = { env = "SECRET" }
scopes = ["write_products"]

[[connections.main.shops]]
domain = "hats.myshopify.com"
access_token = { file = "token" }

[[models]]
name = "allowed-tag"
fields = [
  { name = "keyword", type = "string" },
]

[[plugins]]
name = "product-tagger"
file = "plugin.wasm"
grants = ["shopify", "config"]
config = { limit = 5 }
secrets = { sms = { env = "SECRET" } }
limits = { wall_ms_max = 5000 }
"#;

/// Every secret begins so, wherever it comes from.
const SECRET: &str = "hush-";

fn environment(name: &str) -> Option<OsString> {
    match name {
        "SECRET" => Some("hush-environment".into()),
        "DATABASE_URL" => Some("postgres://me:hush-password@db/shop".into()),
        "EMPTY" => Some("".into()),
        _ => None,
    }
}

/// A folder with a configuration, and where it is.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(server: &str, app: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("tradewind.toml", server);
        folder.write("tagger/app.toml", app);
        folder.write("tagger/token", "hush-file\n");
        folder.write("tagger/empty", "\n");
        folder.write("tagger/plugin.wasm", "");
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, file: &str, contents: impl AsRef<[u8]>) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, contents).unwrap();
    }

    fn load(&self) -> Result<(Server, Vec<Warning>), Problems> {
        config::load(&self.path().join("tradewind.toml"), &environment)
    }

    /// What is said, with the paths relative to the folder.
    fn shown(&self, said: &impl ToString) -> String {
        said.to_string().replace(&format!("{}/", self.path().display()), "")
    }

    #[track_caller]
    fn problems(&self) -> Vec<String> {
        let problems = self.load().expect_err("something is wrong");
        problems.iter().map(|problem| self.shown(problem)).collect()
    }
}

/// The base with a piece of one file in another's place. Nothing else has the piece.
#[track_caller]
fn edited(old: &str, new: &str) -> Folder {
    let count = |text: &str| text.matches(old).count();
    assert_eq!(count(SERVER) + count(APP), 1, "{old:?}");
    Folder::new(&SERVER.replace(old, new), &APP.replace(old, new))
}

/// Whether what is said begins so, says what to do, and no secret.
fn fits(said: &[String], expected: &[&str]) -> Result<(), String> {
    let begins = said.len() == expected.len() && said.iter().zip(expected).all(|(said, begin)| said.starts_with(begin));
    let helps = said.iter().all(|said| said.contains("hint: ") && !said.contains(SECRET));
    if begins && helps { Ok(()) } else { Err(format!("expected {expected:#?}\nbut it said {said:#?}")) }
}

#[track_caller]
fn says(said: &[String], expected: &[&str]) {
    fits(said, expected).unwrap_or_else(|problem| panic!("{problem}"));
}

#[test]
fn what_is_right_becomes_typed() {
    let folder = Folder::new(SERVER, APP);
    let (server, warnings) = folder.load().unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(warnings, []);
    assert_eq!(folder.shown(&server.store.expose_secret()), "sqlite:data/tradewind.db");
    assert_eq!((server.listen.public.port(), server.listen.admin.port()), (8080, 9090));
    assert_eq!((server.limits.drain_seconds, server.limits.deliveries_days), (5, 14));
    assert_eq!((server.log.format, server.log.level.to_string()), (LogFormat::Text, "WARN".to_owned()));
    assert_eq!((server.traces, folder.shown(&server.cache.artifacts.display())), (None, "data/artifacts".to_owned()));

    let [app] = &*server.apps else { panic!("{:?}", server.apps) };
    assert_eq!((&*app.name, &*folder.shown(&app.folder.display())), ("tagger", "tagger"));
    let main = &app.connections["main"];
    assert_eq!((main.platform, &*main.client_id, &*main.api_version), (Platform::Shopify, "0123", config::API_VERSION));
    assert_eq!((main.client_secret.expose_secret(), main.models.len()), ("hush-environment", 5));
    let [shop] = &*main.shops else { panic!("{:?}", main.shops) };
    assert_eq!((&*shop.domain, &*shop.api_url), ("hats.myshopify.com", "https://hats.myshopify.com"));
    assert_eq!(shop.access_token.expose_secret(), "hush-file", "without the line end");
    assert_eq!(app.schema.models().count(), 6);
    let [plugin] = &*app.plugins else { panic!("{:?}", app.plugins) };
    assert!(plugin.grants.shopify && plugin.grants.config && !plugin.grants.data);
    assert_eq!((plugin.config["limit"].as_str(), plugin.secrets["sms"].expose_secret()), ("5", "hush-environment"));
    assert_eq!(plugin.limits, Limits { wall_ms_max: 5_000, ..Limits::default() });
}

#[test]
fn no_secret_is_in_what_is_shown() {
    let folder = edited(r#""sqlite:data/tradewind.db""#, r#"{ env = "DATABASE_URL" }"#);
    let (server, _) = folder.load().unwrap();
    assert_eq!(server.store.expose_secret(), "postgres://me:hush-password@db/shop");
    let shown = format!("{server:?} {server:#?}");
    assert!(shown.contains("hats.myshopify.com") && !shown.contains(SECRET), "{shown}");
}

#[test]
fn all_mistakes_of_all_files_come_at_once() {
    let server = SERVER.replace("[\"tagger\"]", "[\"tagger\", \"caps\", \"none\"]").replace("level", "levle");
    let folder = Folder::new(&server, &APP.replace("\"0123\"", "5").replace("\"shopify\", ", "\"shop\", "));
    folder.write("caps/app.toml", "name = \"tagger\"\nplugin = []\n");
    let expected = [
        "tradewind.toml:2:27: apps[2]: `none/app.toml`: it cannot be read: ",
        "tradewind.toml:12:1: log.levle: there is no such key; hint: did you mean `level`?",
        "tagger/app.toml:5:13: connections.main.client_id: it is no text; ",
        "tagger/app.toml:22:11: plugins[0].grants[0]: there is no grant `shop`; ",
        "caps/app.toml:1:8: name: `tagger/app.toml` is called `tagger` too; ",
        "caps/app.toml:2:1: plugin: there is no such key; hint: did you mean `plugins`?",
    ];
    says(&folder.problems(), &expected);
}

#[test]
fn a_developers_machine_may_have_more() {
    let app = APP
        .replace("{ env = \"SECRET\" }", "\"hush-literal\"")
        .replace("name = \"tagger\"", "name = \"tagger\"\ndevelopment = true")
        .replace("access_token", "api_url = \"http://127.0.0.1:4010/hats/\"\naccess_token");
    let (server, _) = Folder::new(SERVER, &app).load().unwrap_or_else(|problems| panic!("{problems}"));
    let main = &server.apps[0].connections["main"];
    assert_eq!(main.shops[0].api_url, "http://127.0.0.1:4010/hats");
    assert_eq!(main.client_secret.expose_secret(), "hush-literal");
    assert!(!format!("{server:?}").contains(SECRET));
}

#[test]
fn everything_can_be_made_without_a_file() {
    let mut main = Connection::shopify("1", "hush-code", &["read_products"]);
    main.shops.push(Shop::new("hats.myshopify.com", "hush-code"));
    let connections = BTreeMap::from([("main".to_owned(), main)]);
    let own = |name: &str| Model {
        name: name.to_owned(),
        fields: vec![Field::new("a", FieldType::String)],
        ..Model::default()
    };
    let plugins = vec![Plugin::new("tagger", Path::new("tagger.wasm"))];
    let app =
        App::new("dev", connections.clone(), vec![own("note"), own("shopify/shop")], plugins, Path::new("")).unwrap();
    assert!(app.schema.model("shopify/shop").unwrap().field("a").is_some());
    assert_eq!(webhook_path(&app.name, "main"), "/webhooks/dev/main");
    let problems = App::new("De v", connections, vec![own("shopify/order")], Vec::new(), Path::new("")).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    let server = Server { apps: vec![app], ..Server::new("sqlite:hush-path") };
    assert!(!format!("{server:?}").contains(SECRET));
}
