//! Each mistake: a piece of a right configuration is replaced, and exactly one thing is said, where it is.

use std::path::Path;

use tradewind_host::config;

use super::{APP, edited, environment, fits, says};

/// What was tried and did not say what it should.
#[derive(Default)]
struct Mistakes(Vec<String>);

impl Mistakes {
    /// One mistake is one problem.
    fn check(&mut self, old: &str, new: &str, expected: &str) {
        let folder = edited(old, new);
        let said = match folder.load() {
            Ok(_) => Vec::new(),
            Err(problems) => problems.iter().map(|problem| folder.shown(problem)).collect(),
        };
        self.0.extend(fits(&said, &[expected]).err());
    }

    /// What may be one is one warning.
    fn warns(&mut self, old: &str, new: &str, expected: &str) {
        let folder = edited(old, new);
        match folder.load() {
            Ok((_, warnings)) => {
                let said: Vec<_> = warnings.iter().map(|warning| folder.shown(warning)).collect();
                self.0.extend(fits(&said, &[expected]).err());
            }
            Err(problems) => self.0.push(problems.to_string()),
        }
    }

    #[track_caller]
    fn all_were_as_expected(self) {
        assert!(self.0.is_empty(), "{}", self.0.join("\n\n"));
    }
}

#[test]
fn mistakes_in_the_server_file() {
    let mut mistakes = Mistakes::default();
    let store = r#""sqlite:data/tradewind.db""#;
    mistakes.check("store", "stroe", "tradewind.toml:1:1: stroe: there is no such key; hint: did you mean `store`?");
    mistakes.check(store, r#""mysql://me:hush-x@db""#, "tradewind.toml:1:9: store: this is no store; hint: ");
    mistakes.check(store, r#""postgres://me:hush-x@[db""#, "tradewind.toml:1:9: store: this is no store: ");
    mistakes.check(
        store,
        r#""sqlite:""#,
        "tradewind.toml:1:9: store: this is no store: `sqlite:` names no file; hint: ",
    );
    mistakes.check(store, "5", "tradewind.toml:1:9: store: it is no text; hint: `\"value\"`, `{ env = \"NAME\" }`");
    mistakes.check(
        store,
        "{ env = \"NONE\" }",
        "tradewind.toml:1:17: store.env: the environment variable `NONE` is not set; ",
    );
    mistakes.check(r#"apps = ["tagger"]"#, "", "tradewind.toml:1:1: apps: it is missing; hint: `apps = [");
    mistakes.check(r#"["tagger"]"#, "[]", "tradewind.toml:2:8: apps: there is nothing to run; ");
    mistakes.check(r#"["tagger"]"#, "\"tagger\"", "tradewind.toml:2:8: apps: it is a text and should be a list; ");
    mistakes.check(
        r#"["tagger"]"#,
        r#"["tagger", "caps"]"#,
        "tradewind.toml:2:19: apps[1]: `caps/app.toml`: it cannot be read: ",
    );
    mistakes.check(
        r#"["tagger"]"#,
        r#"["tagger", "tagger"]"#,
        "tradewind.toml:2:19: apps[1]: `tagger` is there twice; ",
    );
    mistakes.check(
        "[listen]",
        "[listne]",
        "tradewind.toml:4:2: listne: there is no such key; hint: did you mean `listen`?",
    );
    mistakes.check(
        "public",
        "pubic",
        "tradewind.toml:5:1: listen.pubic: there is no such key; hint: did you mean `public`?",
    );
    mistakes.check(
        "127.0.0.1:8080",
        "localhost:8080",
        "tradewind.toml:5:10: listen.public: `localhost:8080` is no IP address",
    );
    mistakes.check(
        ":9090",
        ":8080",
        "tradewind.toml:6:9: listen.admin: `127.0.0.1:8080` and `127.0.0.1:8080` are the same door",
    );
    mistakes.check(
        "drain_seconds = 5",
        "drain_ms = 5",
        "tradewind.toml:9:1: limits.drain_ms: there is no such key; hint: ",
    );
    mistakes.check(
        "_seconds = 5",
        "_seconds = 5000",
        "tradewind.toml:9:17: limits.drain_seconds: `5000` is out of range; hint: ",
    );
    mistakes.check(
        "_seconds = 5",
        "_seconds = -5",
        "tradewind.toml:9:17: limits.drain_seconds: `-5` is out of range; hint: ",
    );
    mistakes.check(
        "_seconds = 5",
        "_seconds = \"5\"",
        "tradewind.toml:9:17: limits.drain_seconds: it is a text and should be a ",
    );
    mistakes.check("\"warn\"", "\"warning\"", "tradewind.toml:12:9: log.level: `warning` is not known; hint: ");
    mistakes.check("[log]", "[traces]\n[log]", "tradewind.toml:11:1: traces.endpoint: it is missing; hint: ");
    for wrong in ["4318", "http://", "ftp://a", "http://me@a", "http://a/?b", "http://a b"] {
        let traces = format!("[traces]\nendpoint = {wrong:?}\n[log]");
        mistakes.check(
            "[log]",
            &traces,
            "tradewind.toml:12:12: traces.endpoint: this is no address of a server; hint: ",
        );
    }
    mistakes.check("level = \"warn\"", "level = warn", "tradewind.toml:12:9: this is not TOML: ");

    let nowhere = config::load(Path::new("nowhere.toml"), &environment).unwrap_err();
    says(&[nowhere.to_string()], &["nowhere.toml: it cannot be read: "]);
    mistakes.all_were_as_expected();
}

#[test]
fn mistakes_in_a_connection() {
    let mut mistakes = Mistakes::default();
    let secret = "client_secret = { env = \"SECRET\" }";
    let at_secret = "tagger/app.toml:6:17: connections.main.client_secret: ";
    mistakes.check(
        secret,
        "client_secret = \"hush-literal\"",
        &format!("{at_secret}a secret does not stand in the file; hint: "),
    );
    mistakes.check(secret, "client_secret = 5", &format!("{at_secret}it is no text; hint: "));
    mistakes.check(secret, "client_secret = {}", &format!("{at_secret}it names not one source; hint: "));
    mistakes.check(
        secret,
        "",
        "tagger/app.toml:3:1: connections.main.client_secret: it is missing; hint: `client_secret = { env = ",
    );
    let env = |name: &str| format!("client_secret = {{ env = \"{name}\" }}");
    let at_env = "tagger/app.toml:6:25: connections.main.client_secret.env: the environment variable ";
    mistakes.check(secret, &env("EMPTY"), &format!("{at_env}`EMPTY` is empty; hint: "));
    mistakes.check(secret, &env("NONE"), &format!("{at_env}`NONE` is not set; hint: "));
    mistakes.check(secret, &env("A=B"), &format!("{at_env}`A=B` is not set; hint: "));
    mistakes.check(
        "file = \"token\"",
        "file = \"nothing\"",
        "tagger/app.toml:11:25: connections.main.shops[0].access_token.file: the file `tagger/nothing`: it cannot be read: ",
    );
    mistakes.check(
        "file = \"token\"",
        "file = \"empty\"",
        "tagger/app.toml:11:25: connections.main.shops[0].access_token.file: the file `tagger/empty`: it is empty; ",
    );
    mistakes.check("file = \"token\"", "flie = \"token\"", "tagger/app.toml:11:18: ");

    mistakes.check(
        "[connections.main]",
        "[connections.Main]\nplatform = \"shopify\"\nclient_id = \"1\"\nclient_secret = { env = \"SECRET\" }\n[connections.main]",
        "tagger/app.toml:3:1: connections.Main: `Main` is no name: ",
    );
    mistakes.check(
        "client_id = \"0123\"",
        "client_ids = \"0123\"",
        "tagger/app.toml:5:1: connections.main.client_ids: there is no such key; hint: did you mean `client_id`?",
    );
    mistakes.check(
        "\"shopify\"\n",
        "\"shopfy\"\n",
        "tagger/app.toml:4:12: connections.main.platform: `shopfy` is not known; hint: did you mean `shopify`?",
    );
    let with = |key: &str| format!("{secret}\n{key}");
    mistakes.check(
        secret,
        &with("api_version = \"2026-02\""),
        "tagger/app.toml:7:15: connections.main.api_version: `2026-02` is no version of the API",
    );
    mistakes.check(
        secret,
        &with("api_version = \"2031-01\""),
        "tagger/app.toml:7:15: connections.main.api_version: `2031-01` is not among the versions",
    );
    mistakes.check(
        secret,
        &with("models = [\"shopify/produkt\"]"),
        "tagger/app.toml:7:11: connections.main.models[0]: `shopify/produkt` is not mirrored; hint: did you mean `shopify/product`?",
    );
    mistakes.check(
        "[\"write_products\"]\n",
        "[\"write_orders\"]\nmodels = [\"shopify/product\"]\n",
        "tagger/app.toml:8:11: connections.main.models[0]: `shopify/product` needs the scope `read_products`; ",
    );
    mistakes.check(
        "\"write_products\"]",
        "\"write_products\", \"products\"]",
        "tagger/app.toml:7:29: connections.main.scopes[1]: `products` is no scope; ",
    );
    mistakes.check(
        "\"hats.myshopify.com\"",
        "\"hats.example.com\"",
        "tagger/app.toml:10:10: connections.main.shops[0].domain: `hats.example.com` is not the domain",
    );
    let shop = "[[connections.main.shops]]\n";
    let again = format!("{shop}domain = \"hats.myshopify.com\"\naccess_token = {{ env = \"SECRET\" }}\n{shop}");
    mistakes.check(
        shop,
        &again,
        "tagger/app.toml:13:10: connections.main.shops[1].domain: `hats.myshopify.com` is there twice; ",
    );
    mistakes.check(
        shop,
        &format!("{shop}api_url = \"http://127.0.0.1:4010\"\n"),
        "tagger/app.toml:10:11: connections.main.shops[0].api_url: the token would be sent elsewhere",
    );
    mistakes.all_were_as_expected();
}

#[test]
fn mistakes_in_models() {
    let mut mistakes = Mistakes::default();
    let field = "{ name = \"keyword\", type = \"string\" }";
    let with = |more: &str| format!("{field},\n  {more}");
    mistakes.check(
        "\"allowed-tag\"",
        "\"Allowed\"",
        "tagger/app.toml:14:8: models[0].name: model `Allowed`: its name is not lower-case",
    );
    mistakes.check("name = \"allowed-tag\"\n", "", "tagger/app.toml:13:1: models[0].name: it is missing; ");
    mistakes.check(
        "\"allowed-tag\"",
        "\"shopify/order\"",
        "tagger/app.toml:14:8: models[0].name: model `shopify/order`: this host mirrors no such model",
    );
    mistakes.check(
        "\"allowed-tag\"",
        "\"bigcommerce/product\"",
        "tagger/app.toml:14:8: models[0].name: model `bigcommerce/product`: this host mirrors no such model",
    );
    mistakes.check(
        "[[models]]\n",
        "[[models]]\nname = \"allowed-tag\"\n[[models]]\n",
        "tagger/app.toml:16:8: models[1].name: model `allowed-tag`: it is declared twice; ",
    );
    mistakes.check(
        "name = \"keyword\"",
        "name = \"id\"",
        "tagger/app.toml:16:3: models[0].fields[0]: model `allowed-tag`: `id` is a name of the system; ",
    );
    mistakes.check(field, "{ name = \"keyword\" }", "tagger/app.toml:16:3: models[0].fields[0].type: it is missing; ");
    mistakes.check(
        "type = \"string\"",
        "type = \"strng\"",
        "tagger/app.toml:16:30: models[0].fields[0].type: `strng` is not known; hint: did you mean `string`?",
    );
    mistakes.check(
        "type = \"string\"",
        "type = \"string\", uniq = true",
        "tagger/app.toml:16:40: models[0].fields[0].uniq: there is no such key; hint: did you mean `unique`?",
    );
    mistakes.check("type = \"string\"", "type = \"string\", unique = \"all\"", "tagger/app.toml:16:");
    mistakes.check(
        "type = \"string\"",
        "type = \"string\", index = \"yes\"",
        "tagger/app.toml:16:48: models[0].fields[0].index: it is a text and should be `true` or `false`; ",
    );
    mistakes.check(
        "type = \"string\"",
        "type = \"json\", index = true",
        "tagger/app.toml:16:3: models[0].fields[0]: model `allowed-tag`: field `keyword`: values of type `json`",
    );
    mistakes.check("type = \"string\"", "type = \"belongs-to\"", "tagger/app.toml:16:");
    mistakes.check(
        field,
        &with(field),
        "tagger/app.toml:17:3: models[0].fields[1]: model `allowed-tag`: field `keyword`: it is declared twice; ",
    );
    mistakes.check(
        field,
        &with("{ name = \"product\", type = \"belongs-to\", model = \"shopify/produkt\" }"),
        "tagger/app.toml:17:3: models[0].fields[1]: model `allowed-tag`: field `product`: there is no model `shopify/produkt`; hint: did you mean",
    );
    mistakes.check(
        field,
        &with("{ name = \"uses\", type = \"has-many\", model = \"shopify/shop\", by = \"tag\" }"),
        "tagger/app.toml:17:3: models[0].fields[1]: model `allowed-tag`: field `uses`: `tag` of `shopify/shop` does not belong",
    );
    mistakes.check(
        "\n]\n\n[[plugins]]",
        "\n]\nuniques = [{ fields = [\"keywrd\"] }]\n[[plugins]]",
        "tagger/app.toml:14:8: models[0].name: model `allowed-tag`: unique key `keywrd`: there is no field `keywrd`; ",
    );

    let linked = "{ name = \"keyword\", type = \"strng\" }";
    let link =
        "[[models]]\nname = \"use\"\nfields = [{ name = \"tag\", type = \"belongs-to\", model = \"allowed-tag\" }]\n";
    mistakes.check(
        &format!("{field},\n]\n\n"),
        &format!("{linked},\n]\n{link}\n"),
        "tagger/app.toml:16:30: models[0].fields[0].type: `strng` is not known; ",
    );
    let product = |field: &str| format!("[[models]]\nname = \"shopify/product\"\nfields = [{field}]\n\n[[plugins]]\n");
    let at = "tagger/app.toml:21:11: models[1].fields[0]: model `shopify/product`: field `title`: ";
    mistakes.check(
        "[[plugins]]\n",
        &product("{ name = \"title\", type = \"json\" }"),
        &format!("{at}it is the platform's and of type `string`"),
    );
    let unscoped = edited("[\"write_products\"]", "[]");
    unscoped.write(
        "tagger/app.toml",
        APP.replace("[\"write_products\"]", "[]").replace("\"allowed-tag\"", "\"shopify/product\""),
    );
    says(
        &unscoped.problems(),
        &["tagger/app.toml:14:8: models[0].name: model `shopify/product`: no connection mirrors it; "],
    );

    let folder = edited("[[plugins]]\n", &product("{ name = \"title\", type = \"string\", index = true }"));
    let (server, _) = folder.load().unwrap_or_else(|problems| panic!("{problems}"));
    assert!(server.apps[0].schema.model("shopify/product").unwrap().field("title").unwrap().index);
    mistakes.all_were_as_expected();
}

#[test]
fn mistakes_in_plugins() {
    let mut mistakes = Mistakes::default();
    mistakes.check(
        "\"product-tagger\"",
        "\"Product Tagger\"",
        "tagger/app.toml:20:8: plugins[0].name: `Product Tagger` is no name: ",
    );
    mistakes.check(
        "\"plugin.wasm\"",
        "\"plugins.wasm\"",
        "tagger/app.toml:21:8: plugins[0].file: there is no file `tagger/plugins.wasm`; hint: ",
    );
    mistakes.check(
        "[[plugins]]\n",
        "[[plugins]]\nname = \"product-tagger\"\nfile = \"plugin.wasm\"\n[[plugins]]\n",
        "tagger/app.toml:23:8: plugins[1].name: there are two plugins `product-tagger`; ",
    );
    mistakes.check(
        "\"shopify\", \"config\"",
        "\"shopfy\", \"config\"",
        "tagger/app.toml:22:11: plugins[0].grants[0]: there is no grant `shopfy`; hint: did you mean `shopify`?",
    );
    mistakes.check(
        "{ limit = 5 }",
        "{ limit = nan }",
        "tagger/app.toml:23:20: plugins[0].config.limit: `nan` is no number of JSON; ",
    );
    mistakes.check(
        "{ limit = 5 }",
        "{ limit = 99999999999999999999 }",
        "tagger/app.toml:23:20: plugins[0].config.limit: `99999999999999999999` has more than 64 bits; ",
    );
    mistakes.check(
        "sms = { env = \"SECRET\" }",
        "sms = \"hush-literal\"",
        "tagger/app.toml:24:19: plugins[0].secrets.sms: a secret does not stand in the file; ",
    );
    mistakes.check(
        "wall_ms_max",
        "timeout_ms",
        "tagger/app.toml:25:12: plugins[0].limits.timeout_ms: there is no such key; hint: ",
    );
    mistakes.check(
        "wall_ms_max = 5000",
        "wall_ms_max = 50000",
        "tagger/app.toml:25:26: plugins[0].limits.wall_ms_max: `50000` is out of range; hint: from 1 to 10000",
    );
    mistakes.check(
        "wall_ms_max = 5000",
        "memories_max = 1",
        "tagger/app.toml:25:12: plugins[0].limits.memories_max: there is no such key; ",
    );
    mistakes.all_were_as_expected();
}

#[test]
fn what_may_be_wrong_is_a_warning() {
    let mut mistakes = Mistakes::default();
    for open in ["0.0.0.0:9090", "[::]:9090", "10.0.0.5:9090", "[::ffff:10.0.0.5]:9090"] {
        mistakes.warns(
            "127.0.0.1:9090",
            open,
            &format!("tradewind.toml:6:9: listen.admin: `{open}` can be reached from other machines, and this door has no authentication; "),
        );
    }
    let secret = "client_secret = { env = \"SECRET\" }";
    let with = |key: &str| format!("{secret}\n{key}");
    mistakes.warns(
        secret,
        &with("api_version = \"2025-10\""),
        "tagger/app.toml:7:15: connections.main.api_version: the platform no longer answers `2025-10`",
    );
    mistakes.warns(
        secret,
        &with("models = [\"shopify/product-image\"]"),
        "tagger/app.toml:7:11: connections.main.models[0]: `shopify/product-image` is only reported together with `shopify/product`",
    );
    mistakes.warns(
        "grants = [\"shopify\", \"config\"]\nconfig = { limit = 5 }\n",
        "config = { limit = 5 }\n#",
        "tagger/app.toml:22:10: plugins[0].config: it cannot be read without the grant `config`; ",
    );
    let other = "[connections.other]\nplatform = \"shopify\"\nclient_id = \"1\"\nclient_secret = { env = \"SECRET\" }\nshops = [{ domain = \"hats.myshopify.com\", access_token = { env = \"SECRET\" } }]\n[[models]]\n";
    mistakes.warns(
        "[[models]]\n",
        other,
        "tagger/app.toml:17:10: connections.other.shops[0]: `hats.myshopify.com` is in the connection `main` too",
    );
    mistakes.all_were_as_expected();
}
