//! The guide to the configuration, and `tradewind check` on its example.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use tradewind_host::config::{self, ExposeSecret as _};
use tradewind_runtime::Limits;
use tradewind_tests::{plugin, plugins_folder, repository};

use super::{Folder, SECRET};

/// The blocks of the guide's example, each with the file that it is.
fn example() -> Vec<(String, String)> {
    let guide = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let parts: Vec<_> = guide.split("```toml\n").collect();
    let file = |parts: &[&str]| {
        let name = parts[0].trim_end().lines().last().unwrap().trim_matches(['`', ':']).to_owned();
        (name, parts[1].split("```").next().unwrap().to_owned())
    };
    parts.windows(2).map(file).collect()
}

fn example_folder() -> Folder {
    let folder = Folder::new("", "");
    for (name, text) in example() {
        folder.write(&name, text);
    }
    folder.write("apps/tagger/secrets/previous", "hush-previous\n");
    folder.write("apps/tagger/plugins/product_tagger.wasm", plugin("product-tagger").unwrap());
    folder
}

#[test]
fn the_example_of_the_guide_loads() {
    let folder = example_folder();
    let environment = |_: &str| Some(OsString::from("hush-example"));
    let loaded = config::load(&folder.path().join("tradewind.toml"), &environment);
    let (server, warnings) = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(warnings, []);
    assert_eq!(server.limits, config::Limits::default(), "the example shows the defaults");
    let previous = server.apps[0].connections["main"].previous_client_secret.as_ref().unwrap();
    assert_eq!(previous.expose_secret(), "hush-previous");
}

/// Every default in a table of limits is the one that holds, and every key of the tables is in the example.
#[test]
fn the_tables_of_the_guide_say_what_is() {
    let guide = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let (server, calls) = (config::Limits::default(), Limits::default());
    let held = [
        ("body_bytes_max", server.body_bytes_max),
        ("body_rate_bytes_min", server.body_rate_bytes_min),
        ("bodies_kib_max", server.bodies_kib_max),
        ("peer_kib_max", server.peer_kib_max),
        ("app_kib_max", server.app_kib_max),
        ("connections_max", server.connections_max),
        ("peer_connections_max", server.peer_connections_max),
        ("deliveries_days", server.deliveries_days),
        ("invocations_days", server.invocations_days),
        ("tombstones_days", server.tombstones_days),
        ("sandbox_bytes_max", server.sandbox_bytes_max),
        ("drain_seconds", server.drain_seconds),
        ("wall_ms_max", calls.wall_ms_max),
        ("cpu_ms_max", calls.cpu_ms_max),
        ("memory_bytes_max", calls.memory_bytes_max),
        ("table_elements_max", calls.table_elements_max),
        ("resources_max", calls.resources_max),
        ("host_calls_max", calls.host_calls_max),
        ("reads_max", calls.reads_max),
        ("writes_max", calls.writes_max),
        ("jobs_max", calls.jobs_max),
        ("platform_calls_max", calls.platform_calls_max),
        ("call_bytes_max", calls.call_bytes_max),
        ("work_bytes_max", calls.work_bytes_max),
        ("kept_bytes_max", calls.kept_bytes_max),
        ("log_bytes_max", calls.log_bytes_max),
        ("result_bytes_max", calls.result_bytes_max),
    ];
    for (name, default) in held {
        assert!(guide.contains(&format!("\n| `{name}` | {default} | ")), "`{name}` is {default}");
    }
    let limit_of_a_call = |name: &str| held.iter().skip(12).any(|(limit, _)| *limit == name);
    let shown: String = example().into_iter().map(|(_, text)| text).collect();
    for row in guide.lines().filter_map(|line| line.strip_prefix("| `")) {
        let key = row.split('`').next().unwrap().rsplit('.').next().unwrap();
        // Those with which a source begins, and those of a developer's machine, are shown elsewhere.
        let elsewhere = key.starts_with('{') || ["development", "api_url"].contains(&key) || limit_of_a_call(key);
        let has = shown.contains(&format!("{key} = "))
            || shown.contains(&format!(".{key}]]"))
            || shown.contains(&format!("[[{key}]]"));
        assert!(elsewhere || has, "the example has no `{key}`");
    }
}

fn tradewind(folder: &Folder) -> Command {
    let program = plugins_folder().unwrap().parent().unwrap().join("debug/tradewind");
    assert!(program.exists(), "no `tradewind` to test; hint: run `cargo build -p tradewind-host`");
    let mut command = Command::new(program);
    command.current_dir(folder.path()).arg("check");
    for name in ["SHOPIFY_CLIENT_SECRET", "HATS_TOKEN", "SMS_KEY"] {
        command.env(name, "hush-example");
    }
    command
}

/// The command's exit code, and all that it printed.
#[track_caller]
fn prints(command: &mut Command, code: i32, expected: &[&str]) {
    let output = command.output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    for expected in expected {
        assert!(said.contains(expected), "{expected:?} is missing in:\n{said}");
    }
    assert!(!said.contains(SECRET), "{said}");
}

#[test]
fn check_shows_what_would_run() {
    let folder = example_folder();
    let expected = [
        "`tradewind.toml` is fine\n",
        "  store     sqlite:data/tradewind.db\n",
        "app tagger\n  connection main\n    platform  shopify 2026-10\n",
        "    webhooks  http://127.0.0.1:8080/webhooks/tagger/main\n",
        "    shops     hats.myshopify.com\n",
        "  allowed-tag ",
        "  plugin product-tagger\n    file    apps/tagger/plugins/product_tagger.wasm\n    grants  shopify, config\n",
    ];
    prints(&mut tradewind(&folder), 0, &expected);
    let wrong = "error: apps/tagger/app.toml:6:25: connections.main.client_secret.env: the environment variable \
                 `SHOPIFY_CLIENT_SECRET` is not set; hint: ";
    let unset =
        "error: apps/tagger/app.toml:14:24: connections.main.shops[0].access_token.env: the environment variable";
    prints(tradewind(&folder).env_remove("SHOPIFY_CLIENT_SECRET").env_remove("HATS_TOKEN"), 2, &[wrong, unset]);
    prints(tradewind(&folder).args(["--config", "nowhere.toml"]), 2, &["error: nowhere.toml: it cannot be read: "]);
    let ungranted = fs::read_to_string(folder.path().join("apps/tagger/app.toml")).unwrap();
    folder.write("apps/tagger/app.toml", ungranted.replace("\"shopify\", \"config\"", "\"config\""));
    let refused = "error: apps/tagger/plugins/product_tagger.wasm: it imports `tradewind:plugin/shopify@";
    prints(&mut tradewind(&folder), 3, &[refused, "hint: grant `shopify`"]);
}
