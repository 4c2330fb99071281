//! Shapes that no toolchain makes: many of everything, growth where nobody looks, loops before the first call.

use tradewind_runtime::{ArtifactCache, Grants, InstallError, Limits, Outcome, Plugin, Runtime, RuntimeConfig};
use tradewind_tests::components::Component;
use tradewind_tests::{Fixture, NOW, SEED, limits};

/// A small sandbox with short limits of its own, which compiles anew.
fn runtime() -> Runtime {
    let limits = Limits { cpu_ms_max: 50, ..limits() };
    let config = RuntimeConfig { limits, slots: 4, ..RuntimeConfig::default() };
    Runtime::new(config, ArtifactCache::none()).unwrap()
}

async fn install(runtime: &Runtime, component: Component<'_>) -> Result<Plugin, String> {
    let installed = runtime.install(component.bytes(), Grants::usual(), NOW, SEED).await;
    installed
        .map_err(|InstallError { problems }| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

async fn call(runtime: &Runtime, plugin: &Plugin) -> Outcome {
    Fixture::new("odd").call_in(runtime, plugin).await
}

/// What is wrong with a component is found at install.
#[tokio::test]
async fn refused_at_install() {
    let check = async |component: Component<'_>, expected: &str| {
        let problems = install(&runtime(), component).await.err().unwrap_or_default();
        assert!(problems.contains(expected), "expected: {expected}\nfound: {problems}");
    };
    let memories = "(memory 1)".repeat(10);
    check(Component { module: &memories, ..Component::default() }, "limit `memories_max` of 10 exceeded").await;
    let tables = "(table 1 funcref)".repeat(51);
    check(Component { module: &tables, ..Component::default() }, "limit `tables_max` of 50 exceeded").await;
    let instances = "(core module $empty)".to_owned() + &"(core instance (instantiate $empty))".repeat(99);
    check(Component { last: &instances, ..Component::default() }, "limit `core_instances_max` of 100 exceeded").await;
    check(
        Component { module: "(memory 3000)", ..Component::default() },
        "limit `memory_bytes_max` of 134217728 exceeded",
    )
    .await;
    check(
        Component { module: "(table 200001 funcref)", ..Component::default() },
        "limit `table_elements_max` of 200000 exceeded",
    )
    .await;
    // Each level instantiates the one below twice: a few hundred bytes, 2^40 instances.
    let doubling = (0..40).fold("(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned(), |text, level| {
        let next = level + 1;
        format!(
            "{text}(component $c{next} (alias outer 1 $c{level} (component $c)) (instance (instantiate $c)) (instance (instantiate $c)))"
        )
    }) + "(instance (instantiate $c40))";
    check(Component { last: &doubling, ..Component::default() }, "limit `core_instances_max` of 100 exceeded").await;
    // The start function runs before `describe` can.
    check(
        Component { module: "(func $for-ever (loop (br 0))) (start $for-ever)", ..Component::default() },
        "its `describe` failed: limit `cpu_ms_max` of 50 exceeded",
    )
    .await;
    check(
        Component { describe: "(loop (br 0))", ..Component::default() },
        "its `describe` failed: limit `cpu_ms_max` of 50 exceeded",
    )
    .await;
    // A thousand and more declarations are held at once.
    check(
        Component { describe: "(loop (call $register) (br 0))", ..Component::default() },
        "its `describe` failed: limit `resources_max` of 1000 exceeded",
    )
    .await;
}

/// What only shows at run time ends the call.
#[tokio::test]
async fn ended_at_run_time() {
    let check = async |component: Component<'_>, expected: &str| {
        let runtime = runtime();
        let plugin = install(&runtime, component).await.unwrap();
        let failure = call(&runtime, &plugin).await.result.unwrap_err();
        let message = failure.to_string();
        assert!(message.contains(expected), "expected: {expected}\nfound: {message}");
        let frames = failure.backtrace().map(ToString::to_string).unwrap_or_default();
        assert!(frames.contains("plugin: run"), "{message}: {frames}");
    };
    check(
        Component {
            module: "(table $t 1 funcref)",
            run: "(loop (drop (table.grow $t (ref.null func) (i32.const 1000))) (br 0))",
            ..Component::default()
        },
        "limit `table_elements_max` of 200000 exceeded",
    )
    .await;
    // Each of the two stays below the limit for ever; their sum does not.
    check(
        Component {
            module: "(memory $a 1) (memory $b 1)",
            run: "(loop (drop (memory.grow $a (i32.const 16))) (drop (memory.grow $b (i32.const 16))) (br 0))",
            ..Component::default()
        },
        "limit `memory_bytes_max` of 134217728 exceeded",
    )
    .await;
    check(
        Component { run: "(call $run (i32.const 0) (i32.const 0) (i32.const 0)) (drop)", ..Component::default() },
        "limit `stack_bytes_max` of 524288 exceeded",
    )
    .await;
    check(
        Component { run: "(drop (i32.div_u (i32.const 1) (i32.const 0)))", ..Component::default() },
        "the plugin trapped: integer divide by zero",
    )
    .await;
}

const POLLABLES: Component<'static> = Component {
    outer: r#"
        (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
        (alias export $poll "pollable" (type $pollable))
        (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
            (alias outer 1 $pollable (type $outer-pollable))
            (export "pollable" (type $pollable (eq $outer-pollable)))
            (export "subscribe-duration" (func (param "when" u64) (result (own $pollable))))))
        (core func $subscribe (canon lower (func $clock "subscribe-duration")))"#,
    module: r#"(import "clock" "subscribe" (func $subscribe (param i64) (result i32)))"#,
    with: r#"(with "clock" (instance (export "subscribe" (func $subscribe))))"#,
    run: "(loop (drop (call $subscribe (i64.const 1))) (br 0))",
    last: "",
    describe: "(call $register)",
    action: "odd",
    version: "1.0.0",
    success: true,
};

/// WASI's handles are in the same table as ours, and so under the same limit.
#[tokio::test]
async fn wasi_handles_are_counted() {
    let runtime = runtime();
    let plugin = install(&runtime, POLLABLES).await.unwrap();
    let failure = call(&runtime, &plugin).await.result.unwrap_err();
    assert!(failure.to_string().contains("limit `resources_max` of 1000 exceeded"), "{failure}");
}

/// A guest cannot make the host allocate what it asks for.
#[tokio::test]
async fn randomness_comes_in_bounded_pieces() {
    let runtime = runtime();
    let greedy = Component {
        outer: r#"
            (import "wasi:random/random@0.2.0" (instance $random
                (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
            (core module $heap (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
            (core instance $heap (instantiate $heap))
            (core func $bytes (canon lower (func $random "get-random-bytes")
                (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))"#,
        module: r#"(import "random" "bytes" (func $bytes (param i64 i32)))"#,
        with: r#"(with "random" (instance (export "bytes" (func $bytes))))"#,
        run: "(call $bytes (i64.const 0x1000000000000) (i32.const 16))",
        ..Component::default()
    };
    let plugin = install(&runtime, greedy).await.unwrap();
    let failure = call(&runtime, &plugin).await.result.unwrap_err();
    assert_eq!(failure.kind(), "trap", "{failure}");
}

/// A good component of the same making works.
#[tokio::test]
async fn a_plain_component_works() {
    let runtime = runtime();
    let plugin = install(&runtime, Component::default()).await.unwrap();
    assert_eq!(call(&runtime, &plugin).await.result.unwrap().as_str(), "null");
    let outcome = Fixture::new("odd").success("null").call_in(&runtime, &plugin).await;
    assert_eq!(outcome.result.unwrap().as_str(), "null");
}
