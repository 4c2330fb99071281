//! The `tradewind` program, started as a person starts it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tradewind_tests::components::Component;
use tradewind_tests::{plugins_folder, repository};

/// The program beside the tests. `cargo xtask test` builds it.
fn tradewind() -> Command {
    let program = plugins_folder().unwrap().parent().unwrap().join("debug/tradewind");
    assert!(program.exists(), "no `tradewind` to test; hint: run `cargo build -p tradewind-host`");
    Command::new(program)
}

fn fixture(name: &str) -> PathBuf {
    repository().join("tests/fixtures").join(name)
}

fn built(name: &str) -> PathBuf {
    plugins_folder().unwrap().join(format!("{name}.wasm"))
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// `plugin run` on the sample change of a product.
fn run(plugin: &str, arguments: &[&str]) -> Output {
    let mut command = tradewind();
    command.args(["plugin", "run"]).arg(built(plugin)).args(arguments);
    command.arg("--before").arg(fixture("product-before.json")).arg("--after").arg(fixture("product-after.json"));
    command.output().unwrap()
}

#[test]
fn run_shows_everything_that_an_action_does() {
    let output = run("product-tagger", &["--action", "tag-product"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    for expected in [
        "changes that the action sees\n  body ",
        "  (external)",
        "run       ok ",
        " instructions\n  result {\"keywords\":[\"straw\",\"summer\",\"brim\",\"cotton\",\"days\"]}",
        "success   ok ",
        "platform calls that it would make\n  try.myshopify.com graphql mutation AddTags(",
        "\n    answered {}",
        "logs\n  info  product tagged {\"tags\":5}",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in:\n{text}");
    }
}

#[test]
fn run_prints_json_for_programs() {
    let output = run("title-upcase", &["--json"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["action"], "upcase-title");
    assert_eq!(report["changes"][0]["origin"], "external");
    let write = json!({"field": "title", "previous": "Straw hat", "current": "STRAW HAT", "origin": "run"});
    assert_eq!(report["recordWrites"], json!([write]));
    assert_eq!(report["calls"][0]["call"]["graphql"]["variables"]["product"]["title"], "STRAW HAT");
    assert!(report["run"]["instructions"].as_u64().unwrap() > 1_000);
    assert!(report["run"]["memoryPeakBytes"].as_u64().unwrap() > 65_536);
}

#[test]
fn an_action_without_interest_is_skipped_as_the_host_would() {
    let folder = tempfile::tempdir().unwrap();
    let after = folder.path().join("after.json");
    std::fs::write(&after, r#"{"vendor": "Other"}"#).unwrap();
    let run = |extra: &[&str]| {
        let mut command = tradewind();
        command.args(["plugin", "run"]).arg(built("product-tagger")).arg("--after").arg(&after);
        command.arg("--before").arg(fixture("product-before.json")).args(extra).output().unwrap()
    };
    let skipped = run(&[]);
    assert_eq!(code(&skipped), 0);
    assert!(stdout(&skipped).contains("runs when `body` changed, so no sandbox was created"), "{}", stdout(&skipped));
    assert!(stdout(&run(&["--anyway"])).contains("result {\"keywords\":[]}"));
}

#[test]
fn every_end_has_its_exit_code_and_says_why() {
    let check = |plugin: &str, arguments: &[&str], expected: i32, words: &[&str]| {
        let output = run(plugin, arguments);
        let said = stdout(&output) + &stderr(&output);
        assert_eq!(code(&output), expected, "{arguments:?}:\n{said}");
        for word in words {
            assert!(said.contains(word), "{arguments:?}: {word:?} is missing in:\n{said}");
        }
    };
    let tagger = "product-tagger";
    check(tagger, &["--shop", "none"], 1, &["success   FAILED", "shop-required", "it would not be tried again"]);
    check(tagger, &["--action", "tag"], 2, &["the plugin has no action `tag`; hint: it has `tag-product`"]);
    check(tagger, &["--grant", "shop"], 2, &["there is no grant `shop`; hint: `data`"]);
    check(tagger, &["--grant", "none"], 3, &["imports `tradewind:plugin/shopify@1.0.0`", "hint: grant `shopify`"]);
    check("hostile", &["--action", "panic"], 4, &["the plugin panicked: ", "backtrace", "standard error"]);
    check(
        "hostile",
        &["--action", "endless-loop"],
        5,
        &["limit `cpu_ms_max` of 2000 exceeded", "backtrace", "endless_loop"],
    );
    check("hostile", &[], 2, &["which action? hint: `--action` with one of "]);
}

#[test]
fn bad_files_are_named_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let check = |option: &str, content: &[u8], expected: &str| {
        let path = folder.path().join("bad.json");
        std::fs::write(&path, content).unwrap();
        let mut command = tradewind();
        let output =
            command.args(["plugin", "run"]).arg(built("product-tagger")).arg(option).arg(&path).output().unwrap();
        assert_eq!(code(&output), 2, "{option}");
        assert!(stderr(&output).contains(expected), "{option}: {}", stderr(&output));
    };
    check("--before", b"{", "is not JSON: EOF while parsing an object at line 1 column 1");
    check("--before", b"[1]", "`--before` and `--after` must hold JSON objects");
    check("--after", b"\xff", "is not UTF-8");
    check("--params", b"{\"limits\": 3}", "`limits` is not a parameter of `tag-product`; hint: it takes `limit`");
    check("--params", b"{\"limit\": \"many\"}", "parameter `limit`: \"many\" is not of type \"integer\"");
    check("--answers", b"[{\"mach\": \"x\"}]", "`--answers` is not as it should be: unknown field `mach`");
    check("--config", b"1", "`--config` is not a JSON object");
    let missing = tradewind().args(["plugin", "check", "no-such.wasm"]).output().unwrap();
    assert_eq!(code(&missing), 2);
    assert!(stderr(&missing).contains("cannot read `no-such.wasm`"));
}

#[test]
fn prepared_answers_reach_the_plugin() {
    let folder = tempfile::tempdir().unwrap();
    let answers = folder.path().join("answers.json");
    let error = json!([{"match": "tagsAdd", "error": {"code": "rate-limited", "message": "later", "retryable": true}}]);
    std::fs::write(&answers, error.to_string()).unwrap();
    let output = run("product-tagger", &["--answers", answers.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    assert!(stdout(&output).contains("rate-limited: later\n  it would be tried again"), "{}", stdout(&output));
}

#[test]
fn check_describes_a_component() {
    let output = tradewind().args(["plugin", "check", "--json"]).arg(built("product-tagger")).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["description"]["actions"][0]["whenChanged"], json!(["body"]));
    assert_eq!(
        report["description"]["asks"][0],
        json!({"capability": "shopify", "detail": {"scopes": ["write_products"]}})
    );
}

/// The README's way: new, build, run. The plugin's own tests run too.
#[test]
fn a_new_plugin_works() {
    let folder = tempfile::tempdir().unwrap();
    let target = plugins_folder().unwrap().with_file_name("new-plugin");
    let step = |program: &mut Command, folder: &Path| {
        let output = program.current_dir(folder).env("CARGO_TARGET_DIR", &target).output().unwrap();
        assert_eq!(code(&output), 0, "{program:?}\n{}{}", stdout(&output), stderr(&output));
        stdout(&output)
    };
    step(tradewind().args(["plugin", "new", "demo"]), folder.path());
    let again = tradewind().args(["plugin", "new", "demo"]).current_dir(folder.path()).output().unwrap();
    assert!(code(&again) == 2 && stderr(&again).contains("`demo` is already there; hint: "), "{}", stderr(&again));

    let demo = folder.path().join("demo");
    let described = step(tradewind().args(["plugin", "build"]), &demo);
    assert!(described.contains("action demo\n  on       shopify/product create"), "{described}");
    let sample = ["--before", "before.json", "--after", "after.json"];
    let shown = step(tradewind().args(["plugin", "run", "plugin.wasm"]).args(sample), &demo);
    assert!(shown.contains("record writes\n  handle  \"hat\" → \"straw-hat-large\""), "{shown}");
    step(Command::new(env!("CARGO")).arg("test"), &demo);
}

#[test]
fn new_and_build_refuse_what_cannot_be() {
    let folder = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str], expected: &str| {
        let output = tradewind().arg("plugin").args(arguments).current_dir(folder.path()).output().unwrap();
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(stderr(&output).contains(expected), "{arguments:?}: {}", stderr(&output));
    };
    check(&["new", "My Plugin"], "`My Plugin` is not a plugin's name; hint: ");
    check(&["build"], "holds no `Cargo.toml`, `plugin.js` or `plugin.py`; hint: ");
}

/// A stranger's component is looked at with these commands: nothing of it is obeyed by a terminal, or looks like ours.
#[test]
fn words_of_a_plugin_reach_no_terminal_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("odd.wasm");
    let harmless = |text: &str| {
        assert!(text.chars().all(|c| !c.is_control() || c == '\n'), "{text:?}");
        assert!(text.contains("\\u{1b}[31m"), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
    };
    let odd = Component { action: r"a\1b[31m\0aforged", ..Component::default() };
    std::fs::write(&file, odd.bytes()).unwrap();
    for command in ["check", "run"] {
        let output = tradewind().args(["plugin", command]).arg(&file).output().unwrap();
        assert_eq!(code(&output), 3, "{output:?}");
        harmless(&stderr(&output));
    }
    let module = r#"(func $"f\1b[31m\0aforged" unreachable)"#;
    let odd = Component { module, run: r#"(call $"f\1b[31m\0aforged")"#, ..Component::default() };
    std::fs::write(&file, odd.bytes()).unwrap();
    let output = tradewind().args(["plugin", "run"]).arg(&file).output().unwrap();
    assert_eq!(code(&output), 4, "{output:?}");
    harmless(&stdout(&output));
}
