//! What is refused at install: each problem in words, all of them at once.

use tradewind_runtime::{COMPONENT_BYTES_MAX, Grants, InstallError};
use tradewind_tests::components::Component;
use tradewind_tests::{plugin, runtime};

async fn problems(bytes: Vec<u8>, grants: Grants) -> Vec<String> {
    match runtime().install(bytes, grants).await {
        Ok(_) => Vec::new(),
        Err(InstallError { problems }) => problems.iter().map(ToString::to_string).collect(),
    }
}

async fn check(bytes: impl Into<Vec<u8>>, expected: &[&str]) {
    let problems = problems(bytes.into(), Grants::usual()).await;
    assert_eq!(problems, expected);
}

async fn check_text(text: &str, expected: &[&str]) {
    check(wat::parse_str(text).unwrap(), expected).await;
}

#[tokio::test]
async fn what_is_no_component() {
    const HINT: &str = "hint: pass the `.wasm` file that your toolchain wrote";
    check([], &[&format!("the file is not WebAssembly: it does not begin with `\\0asm` (0 bytes); {HINT}")]).await;
    check(
        "#!/bin/sh\n",
        &[&format!("the file is not WebAssembly: it does not begin with `\\0asm` (10 bytes); {HINT}")],
    )
    .await;
    check(b"\0asm\x63\0\0\0", &[&format!("the file is not WebAssembly: its version is unknown; {HINT}")]).await;
    check_text(
        "(module)",
        &["the file is a core module, not a component; hint: build for `wasm32-wasip2`, or wrap it with `wasm-tools component new`"],
    )
    .await;
    let too_large = usize::try_from(COMPONENT_BYTES_MAX).unwrap() + 1;
    check(
        vec![0; too_large],
        &["limit `component_bytes_max` of 67108864 exceeded; hint: strip debug information, and leave out what the plugin does not use"],
    )
    .await;
}

#[tokio::test]
async fn a_damaged_component() {
    let whole = plugin("product-tagger").unwrap();
    // The last cut takes one byte of the last section, the name of the component.
    for length in [9, 100, 1_000, whole.len() / 2, whole.len() - 1] {
        let problems = problems(whole[..length].to_vec(), Grants::usual()).await;
        assert_eq!(problems.len(), 1, "cut at {length}: {problems:?}");
        let damaged = problems[0].starts_with("the component is damaged or cut off: ")
            && problems[0].ends_with("; hint: build or copy it again");
        assert!(damaged, "cut at {length}: {problems:?}");
    }
    // A cut between two sections leaves a component that lacks its end.
    let problems = problems(whole[..8].to_vec(), Grants::usual()).await;
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].starts_with("it does not export the function `describe`"), "{problems:?}");
}

#[tokio::test]
async fn every_import_and_export_problem_at_once() {
    let spoiled = Component {
        outer: r#"
            (import "tradewind:plugin/data@2.0.0" (instance))
            (import "tradewind:plugin/telepathy@1.0.0" (instance))
            (import "wasi:http/types@0.2.0" (instance))
            (import "wasi:clocks/wall-clock@0.3.0" (instance))
            (import "acme:magic/spells@1.0.0" (instance))
            (import "spells" (func))
            (import "tradewind:plugin/config@1.0.0" (instance))
            (import "tradewind:plugin/shopify@1.9.0" (instance))"#,
        success: false,
        ..Component::default()
    };
    let problems = problems(spoiled.bytes(), Grants::default()).await;
    let expected = [
        "it imports `tradewind:plugin/data@2.0.0`, which this host does not offer; hint: this host speaks version 1 of the contract",
        "it imports `tradewind:plugin/telepathy@1.0.0`, which this host does not offer; hint: it is newer than this host: update the host",
        "it imports `wasi:http/types@0.2.0`, which this host does not offer; hint: call platforms through their clients, and others through `tradewind:plugin/http`",
        "it imports `wasi:clocks/wall-clock@0.3.0`, which this host does not offer; hint: build for WASI 0.2 (`wasm32-wasip2`)",
        "it imports `acme:magic/spells@1.0.0`, which this host does not offer; hint: a plugin can import WASI 0.2 and the interfaces of `tradewind:plugin`",
        "it imports `spells`, which this host does not offer; hint: a plugin can import WASI 0.2 and the interfaces of `tradewind:plugin`",
        "it imports `tradewind:plugin/config@1.0.0`, which is not granted to it; hint: grant `config`, or remove the calls that need it",
        "it imports `tradewind:plugin/shopify@1.9.0`, which is not granted to it; hint: grant `shopify`, or remove the calls that need it",
        "it does not export the function `success`; hint: build it for the world `tradewind:plugin/plugin`",
    ];
    assert_eq!(problems, expected);
}

#[tokio::test]
async fn a_built_plugin_without_its_grant() {
    let problems = problems(plugin("product-tagger").unwrap(), Grants::default()).await;
    assert_eq!(
        problems,
        [
            "it imports `tradewind:plugin/shopify@1.0.0`, which is not granted to it; hint: grant `shopify`, or remove the calls that need it"
        ]
    );
}

#[tokio::test]
async fn exports_of_other_types() {
    let text = r#"(component
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (export "describe" (func $f)) (export "run" (func $f)) (export "success" (func $f)))"#;
    let problems = problems(wat::parse_str(text).unwrap(), Grants::usual()).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    let says = problems[0].starts_with("its types do not fit the contract: ")
        && problems[0].contains("describe")
        && problems[0].ends_with("; hint: build it against the `wit/v1` folder of this host");
    assert!(says, "{problems:?}");
}

#[tokio::test]
async fn descriptions_that_say_too_little_or_too_much() {
    let nothing = Component { describe: "", ..Component::default() };
    check(
        nothing.bytes(),
        &["it describes itself wrongly: `describe` declares no action; hint: call `registrar.action(…)` for each"],
    )
    .await;
    let twice = Component { describe: "(call $register) (call $register)", ..Component::default() };
    check(
        twice.bytes(),
        &["it describes itself wrongly: action `odd` is declared twice; hint: give each action its own name"],
    )
    .await;
    let shouting = Component { action: "Odd One", ..Component::default() };
    check(
        shouting.bytes(),
        &["it describes itself wrongly: action name `Odd One` is not lower-case letters and digits in words joined by `-`, at most 64 bytes; hint: `tag-product`"],
    )
    .await;
    let trapping = Component { describe: "(unreachable)", ..Component::default() };
    check(trapping.bytes(), &["its `describe` failed: the plugin trapped: wasm `unreachable` instruction executed"])
        .await;
}

#[tokio::test]
async fn a_plain_component_has_no_problem() {
    check(Component::default().bytes(), &[]).await;
}
