//! Rules of the repository that no compiler checks: edges between modules, heads and sizes of files, frozen contracts.
//!
//! To add a rule, add a test that collects everything that breaks it and says what to do.

use std::collections::BTreeMap;
use std::fs;

use tradewind_tests::{repository, sha256_hex};

/// Folders that hold no sources of ours.
const NOT_OURS: [&str; 5] = ["target", "node_modules", "__pycache__", ".git", "dist"];

/// Files longer than [`LINES_MAX`], each with the reason.
const LONG: &[(&str, &str)] = &[];

const LINES_MAX: usize = 600;

/// Every file below a folder of the repository whose name ends with one of the endings, by its path from the root.
fn files(folder: &str, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![repository().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("`{}`: {error}", folder.display())) {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !NOT_OURS.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path.strip_prefix(repository()).unwrap().to_string_lossy().into_owned());
            }
        }
    }
    found.sort_unstable();
    found
}

fn sources() -> Vec<String> {
    ["host", "sdk", "plugins", "xtask", "tests"].iter().flat_map(|folder| files(folder, &[".rs"])).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("`{path}`: {error}"))
}

#[track_caller]
fn assert_none(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

/// The lines of a manifest's section.
fn section<'a>(manifest: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let head = format!("[{name}]");
    let lines = manifest.lines().skip_while(move |line| *line != head).skip(1);
    lines.take_while(|line| !line.starts_with('['))
}

/// The names of a manifest's dependencies, for the program itself.
fn dependencies(manifest: &str) -> Vec<&str> {
    let lines = section(manifest, "dependencies").filter(|line| !line.starts_with('#') && line.contains('='));
    lines.filter_map(|line| line.split(['.', ' ', '=']).next()).collect()
}

/// A new edge is a change of the design: it belongs here and into `docs/architecture.md`, with its reason.
#[test]
fn edges_between_crates() {
    // What a dependency may be used by.
    let only = [
        ("wasmtime", &["host/crates/runtime", "tests"][..]),
        ("wasmtime-wasi", &["host/crates/runtime"]),
        ("wasmparser", &["host/crates/runtime"]),
        ("sqlx", &["host/crates/store"]),
    ];
    let never_in_model = ["tokio", "wasmtime", "sqlx", "reqwest", "axum", "async-trait", "rand", "tradewind-runtime"];
    let mut broken = Vec::new();
    for path in files("", &["Cargo.toml"]).into_iter().filter(|path| path != "Cargo.toml") {
        let manifest = read(&path);
        let package = path.trim_end_matches("/Cargo.toml");
        for dependency in dependencies(&manifest) {
            let allowed = only.iter().find(|(name, _)| *name == dependency).is_none_or(|(_, by)| by.contains(&package));
            let pure = package != "host/crates/model" || !never_in_model.contains(&dependency);
            if !allowed || !pure {
                broken.push(format!("`{package}` depends on `{dependency}`"));
            }
        }
    }
    assert_none("an edge that the design does not have", &broken);
}

#[test]
fn the_model_does_no_io() {
    let never = ["std::fs", "std::net", "std::env", "std::process", "SystemTime", "Instant", "std::thread"];
    let mut broken = Vec::new();
    for path in files("host/crates/model/src", &[".rs"]) {
        let text = read(&path);
        broken.extend(never.iter().filter(|name| text.contains(*name)).map(|name| format!("`{path}` uses `{name}`")));
    }
    assert_none("what a decision needs to know is an argument", &broken);
}

#[test]
fn the_sandbox_is_seen_through_its_crate_alone() {
    let sources = sources().into_iter();
    let outside = sources.filter(|path| !path.starts_with("host/crates/runtime/") && !path.starts_with("tests/"));
    let broken: Vec<_> = outside.filter(|path| read(path).contains("wasmtime::")).collect();
    assert_none("only `host/crates/runtime` knows the sandbox", &broken);
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let begins = |path: &String| {
        let text = read(path);
        let first = text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
        first.is_some_and(|line| line.starts_with("//! "))
    };
    let broken: Vec<_> = sources().into_iter().filter(|path| !begins(path)).collect();
    assert_none("a file begins with `//!` and why it exists", &broken);
}

#[test]
fn files_are_short() {
    let mut broken = Vec::new();
    for path in sources() {
        let lines = read(&path).lines().count();
        let known = LONG.iter().any(|(long, _)| *long == path);
        if lines > LINES_MAX && !known {
            broken.push(format!("`{path}` has {lines} lines: split it by idea"));
        }
        if lines <= LINES_MAX && known {
            broken.push(format!("`{path}` is no longer long: take it off the list"));
        }
    }
    assert_none("a file has at most 600 lines", &broken);
}

#[test]
fn nothing_is_left_over() {
    // Written in two parts, because this file is searched too.
    let never = [
        ["/wo", "rk/"],
        ["/ro", "ot/"],
        ["/ho", "me/"],
        ["to", "do!("],
        ["db", "g!("],
        ["#[ig", "nore"],
        ["TO", "DO"],
        ["FIX", "ME"],
    ]
    .map(|parts| parts.concat());
    let mut broken = Vec::new();
    for path in files("", &[".rs", ".md", ".toml", ".sh", ".wit", ".json", ".js", ".py"]) {
        if path.ends_with("package-lock.json") {
            continue;
        }
        for (number, line) in read(&path).lines().enumerate() {
            let found = never.iter().filter(|name| line.contains(*name));
            broken.extend(found.map(|name| format!("{path}:{}: `{name}`", number + 1)));
        }
    }
    assert_none("no paths of one machine, nothing unfinished", &broken);
}

#[test]
fn every_dependency_carries_its_reason() {
    let manifest = read("Cargo.toml");
    let mut reason = false;
    let mut broken = Vec::new();
    for line in section(&manifest, "workspace.dependencies") {
        let entry = !line.starts_with('#') && line.contains('=');
        if entry && !reason && !line.contains("path = ") {
            broken.push(line.to_owned());
        }
        // A comment may stand for several lines: `serde` and `serde_json` come together.
        reason = !line.is_empty() && (line.starts_with('#') || (entry && reason));
    }
    assert_none("a dependency has a comment above it that says what it is for", &broken);
}

/// The Rust SDK lists its own versions, because a plugin's author takes the folder out of the workspace.
#[test]
fn the_sdk_agrees_with_the_workspace() {
    let (workspace, sdk) = (read("Cargo.toml"), read("sdk/rust/Cargo.toml"));
    let parse = |line: &str| {
        let (name, rest) = line.split_once(" = ")?;
        let version = rest.split('"').nth(1)?;
        Some((name.to_owned(), version.to_owned()))
    };
    let ours: BTreeMap<_, _> = section(&workspace, "workspace.dependencies").filter_map(parse).collect();
    let broken: Vec<_> = section(&sdk, "dependencies")
        .filter_map(parse)
        .filter(|(name, version)| ours.get(name).is_some_and(|ours| ours != version))
        .map(|(name, version)| format!("`{name}` is {version} in the SDK"))
        .collect();
    assert_none("the SDK's dependencies have the workspace's versions", &broken);
}

/// Compiled plugins depend on every word of a released contract.
#[test]
fn released_contracts_are_frozen() {
    let released = ["wit/v1"];
    for folder in released {
        let digest: String = files(folder, &[".wit"])
            .iter()
            .map(|path| [&sha256_hex(read(path).as_bytes()), "  ", path, "\n"].concat())
            .collect();
        let frozen = fs::read_to_string(repository().join(format!("{folder}.sha256"))).unwrap_or_default();
        assert_eq!(
            digest, frozen,
            "`{folder}` is released and never changes, not even a comment: compiled plugins are held to it.\n\
             hint: for a new contract copy it to a new folder beside it and change that; before the release only: \
             `sha256sum {folder}/*.wit > {folder}.sha256`"
        );
    }
}

/// One line for each module, in the section of its crate; a small module may share the line of its folder.
#[test]
fn the_architecture_names_every_module() {
    let architecture = fs::read_to_string(repository().join("docs/architecture.md")).unwrap_or_default();
    let crates = fs::read_dir(repository().join("host/crates")).unwrap();
    let crates = crates.map(|entry| format!("host/crates/{}", entry.unwrap().file_name().to_string_lossy()));
    let mut broken = Vec::new();
    for package in crates.chain(["host".to_owned()]) {
        let head = format!("### `{package}`");
        let lines = architecture.lines().skip_while(|line| *line != head).skip(1);
        let rows: Vec<_> = lines.take_while(|line| !line.starts_with('#')).collect();
        let row = |module: &str| rows.iter().find(|row| row.starts_with(&format!("| `{module}` |")));
        for path in files(&format!("{package}/src"), &[".rs"]) {
            let module = module_name(path.strip_prefix(&format!("{package}/src/")).unwrap());
            let in_folder =
                module.rsplit_once('/').and_then(|(folder, name)| Some(row(folder)?.contains(&format!("`{name}`"))));
            if !module.is_empty() && row(module).is_none() && in_folder != Some(true) {
                broken.push(format!("`{module}` of `{package}`"));
            }
        }
    }
    assert_none("`docs/architecture.md` does not name these modules", &broken);
}

/// `host/mod.rs` is `host`, `host/data.rs` is `host/data`, the crate's root is nothing.
fn module_name(path: &str) -> &str {
    let module = path.trim_end_matches(".rs");
    if matches!(module, "lib" | "main") { "" } else { module.trim_end_matches("/mod") }
}

/// Requirements that `docs/features.md` lists.
const REQUIREMENTS: usize = 164;

/// Whether there is a test of a name, which is a path of modules.
fn tests_by_name() -> impl Fn(&str) -> bool {
    let tests: Vec<(String, String)> = sources().into_iter().map(|path| (module_path(&path), read(&path))).collect();
    move |name| {
        let (module, function) = name.rsplit_once("::").unwrap_or(("", name));
        let declared = format!("fn {function}(");
        let module = module.strip_suffix("::tests").unwrap_or(module);
        // Unit tests stand in the file of what they test, or in `tests.rs` beside it.
        tests.iter().any(|(path, source)| {
            let path = path.strip_suffix("::tests").unwrap_or(path);
            path.ends_with(module) && source.contains(&declared)
        })
    }
}

#[test]
fn every_promise_is_held_by_a_test_that_exists() {
    let (text, exists) = (read("docs/security.md"), tests_by_name());
    let names: Vec<&str> = text.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
    assert!(names.len() > 40, "{}", names.len());
    let broken = names.into_iter().filter(|name| !exists(name)).map(|name| format!("there is no test `{name}`"));
    assert_none("`docs/security.md` names tests", &broken.collect::<Vec<_>>());
}

#[test]
fn every_feature_is_shown_by_a_test_that_exists() {
    let (text, exists) = (read("docs/features.md"), tests_by_name());
    let mut broken = Vec::new();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| R")).collect();
    for (at, row) in rows.iter().enumerate() {
        if !row.starts_with(&format!("| R{} |", at + 1)) {
            broken.push(format!("row {} is `{row}`", at + 1));
        }
        let shown = row.rsplit(" | ").next().unwrap_or_default();
        let names: Vec<&str> = shown.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
        if names.is_empty() && !shown.starts_with("not yet") {
            broken.push(format!("no test shows `{row}`"));
        }
        broken.extend(names.into_iter().filter(|name| !exists(name)).map(|name| format!("there is no test `{name}`")));
    }
    if rows.len() != REQUIREMENTS {
        broken.push(format!("there are {} rows, and {REQUIREMENTS} requirements", rows.len()));
    }
    assert_none("docs/features.md lists each requirement with its test, or `not yet`", &broken);
}

/// A file's module, as the names of its tests begin: without the folder of its crate and the endings of files.
fn module_path(path: &str) -> String {
    let path = path.strip_suffix("/mod.rs").or_else(|| path.strip_suffix(".rs")).unwrap_or(path);
    path.replace('/', "::")
}
