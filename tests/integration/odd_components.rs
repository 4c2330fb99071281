//! Shapes that no toolchain makes: many of everything, growth where nobody looks, loops before the first call.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tradewind_model::Json;
use tradewind_runtime::COMPONENT_BYTES_MAX;
use tradewind_runtime::session::HttpResponse;
use tradewind_runtime::{ArtifactCache, Grants, InstallError, Limits, Outcome, Plugin, Runtime, RuntimeConfig};
use tradewind_tests::components::Component;
use tradewind_tests::{Fixture, limits};

/// A small sandbox with short limits of its own, which compiles anew.
fn runtime() -> Runtime {
    let limits = Limits { cpu_ms_max: 50, ..limits() };
    let config = RuntimeConfig { limits, slots: 4, ..RuntimeConfig::default() };
    Runtime::new(config, ArtifactCache::none()).unwrap()
}

async fn install(runtime: &Runtime, component: Component<'_>) -> Result<Plugin, String> {
    let installed = runtime.install(component.bytes(), Grants::usual()).await;
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
    // The same without anything inside, under a name of its own at each level.
    let empty = (0..40).fold("(component $c0)".to_owned(), |text, level| {
        let next = level + 1;
        format!(
            r#"{text}(export $e{level} "c{level}" (component $c{level}))(component $c{next} (alias outer 1 $e{level} (component $c)) (instance (instantiate $c)) (instance (instantiate $c)))"#
        )
    }) + "(instance (instantiate $c40))";
    check(Component { last: &empty, ..Component::default() }, "limit `component_instances_max` of 100 exceeded").await;
    let passed = "it passes components around as values";
    let argument =
        "(component $c (import \"c\" (component $c)) (instance (instantiate $c)) (instance (instantiate $c)))";
    check(Component { last: argument, ..Component::default() }, passed).await;
    let result = "(component $c (component $d) (export \"d\" (component $d))) (instance $i (instantiate $c))
        (alias export $i \"d\" (component $d))";
    check(Component { last: result, ..Component::default() }, passed).await;
    let deep = "(component ".repeat(30) + &")".repeat(30);
    check(Component { last: &deep, ..Component::default() }, "its components are nested deeper than 20 levels").await;
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

/// What `describe` registers is bounded by its number and by its bytes, however little each part says.
#[tokio::test]
async fn descriptions_are_bounded() {
    // A name of 60 KB is copied a thousand times: that may take longer than a loop may.
    let config = RuntimeConfig { limits: limits(), slots: 4, ..RuntimeConfig::default() };
    let runtime = Runtime::new(config, ArtifactCache::none()).unwrap();
    let check = async |describe: &str, expected: &str| {
        let problems = install(&runtime, Component { describe, ..Component::default() }).await.err();
        let problems = problems.unwrap_or_default();
        assert!(problems.contains(expected), "expected: {expected}\nfound: {problems}");
    };
    // Six thousand empty texts: the memory there is zero.
    let fields = "(call $when-changed (call $declare) (i32.const 1024) (i32.const 6000))";
    check(fields, "limit `declarations_max` of 2000 exceeded").await;
    let again = "(loop (call $when-changed (call $declare) (i32.const 1024) (i32.const 100)) (br 0))";
    check(again, "limit `declarations_max` of 2000 exceeded").await;
    let names = "(loop (drop (call $action (global.get $registrar) (i32.const 1024) (i32.const 60000))) (br 0))";
    check(names, "limit `resources_max` of 1000 exceeded").await;
    let few = "(call $when-changed (call $declare) (i32.const 1024) (i32.const 100))";
    assert!(install(&runtime, Component { describe: few, ..Component::default() }).await.is_ok());
}

/// The name of a function that stands for a type of 2^40 parts.
fn doubling_name() -> String {
    let mut name = "INvC1a1f".to_owned();
    let mut last = name.len();
    name.push_str("TuuE");
    for _ in 0..40 {
        let next = name.len();
        // A reference to what begins at a place, in base 62: zero is `_`, and each number is one less than it says.
        let place = base_62(last - 1);
        name.extend(["TB", &place, "_B", &place, "_E"]);
        last = next;
    }
    format!("_R{name}E")
}

fn base_62(mut number: usize) -> String {
    let digits = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut text = Vec::new();
    loop {
        text.insert(0, digits[number % 62]);
        number /= 62;
        if number == 0 {
            return String::from_utf8(text).unwrap();
        }
    }
}

/// A function's name may be long, or stand for a longer one: a backtrace has the beginning of it.
#[tokio::test]
async fn names_of_functions_are_cut() {
    for name in ["x".repeat(60_000), doubling_name()] {
        let module = format!("(func ${name} (result i32) (i32.add (i32.const 1) (call ${name})))");
        let run = format!("(drop (call ${name}))");
        let runtime = runtime();
        let component = Component { module: &module, run: &run, ..Component::default() };
        let plugin = install(&runtime, component).await.unwrap();
        let failure = call(&runtime, &plugin).await.result.unwrap_err();
        assert!(failure.to_string().contains("`stack_bytes_max`"), "{failure}");
        let frames = &failure.backtrace().unwrap().0;
        assert!(frames.len() <= 20 && frames[0].ends_with('…'), "{} {}", frames.len(), frames[0]);
        assert!(frames.iter().all(|frame| frame.len() <= 200), "{frames:?}");
    }
    let module = format!("(func ${})", "x".repeat(70_000));
    let problems = install(&runtime(), Component { module: &module, ..Component::default() }).await.err().unwrap();
    assert!(problems.contains("limit `symbol_bytes_max` of 65536 exceeded"), "{problems}");
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

/// A guest cannot make the host allocate what it asks for, nor work on it for long.
#[tokio::test]
async fn randomness_comes_in_bounded_pieces() {
    let check = async |bytes: u64| {
        let run = format!("(call $bytes (i64.const {bytes}) (i32.const 16))");
        let runtime = runtime();
        let plugin = install(&runtime, Component { run: &run, ..RANDOM }).await.unwrap();
        call(&runtime, &plugin).await.result.map_err(|failure| failure.to_string())
    };
    assert_eq!(check(64 << 10).await.unwrap().as_str(), "null");
    for too_many in [(64 << 10) + 1, 1 << 48] {
        let failure = check(too_many).await.unwrap_err();
        assert_eq!(failure, format!("the plugin trapped: requested len {too_many} exceeds limit 65536"));
    }
}

const RANDOM: Component<'static> = Component {
    outer: r#"
            (import "wasi:random/random@0.2.0" (instance $random
                (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
            (core module $heap (memory (export "memory") 2)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
            (core instance $heap (instantiate $heap))
            (core func $bytes (canon lower (func $random "get-random-bytes")
                (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))"#,
    module: r#"(import "random" "bytes" (func $bytes (param i64 i32)))"#,
    with: r#"(with "random" (instance (export "bytes" (func $bytes))))"#,
    run: "",
    last: "",
    describe: "(call $register)",
    action: "odd",
    version: "1.0.0",
    success: true,
};

const PAGES: Component<'static> = Component {
    outer: r#"
        (import "tradewind:plugin/data@1.0.0" (instance $data
            (type $record (record
                (field "code" string) (field "message" string) (field "details" (option string)) (field "retryable" bool)))
            (export "error" (type $error (eq $record)))
            (export "page" (type $page (sub resource)))
            (export "find-many" (func (param "model" string) (param "query" string)
                (result (result (own $page) (error $error)))))))
        (core module $heap (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
            (data (i32.const 64) "{}"))
        (core instance $heap (instantiate $heap))
        (core func $find (canon lower (func $data "find-many")
            (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))"#,
    module: r#"(import "data" "find" (func $find (param i32 i32 i32 i32 i32)))"#,
    with: r#"(with "data" (instance (export "find" (func $find))))"#,
    run: "(loop (call $find (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 2) (i32.const 128)) (br 0))",
    ..RANDOM
};

const RESPONSES: Component<'static> = Component {
    outer: r#"
        (import "tradewind:plugin/http@1.0.0" (instance $http
            (type $record (record
                (field "code" string) (field "message" string) (field "details" (option string)) (field "retryable" bool)))
            (export "error" (type $error (eq $record)))
            (export "response" (type $response (sub resource)))
            (export "send" (func (param "method" string) (param "url" string)
                (param "headers" (list (tuple string string))) (param "body" (option (list u8))) (param "options" string)
                (result (result (own $response) (error $error)))))))
        (core module $heap (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
            (data (i32.const 64) "{}GET"))
        (core instance $heap (instantiate $heap))
        (core func $send (canon lower (func $http "send")
            (memory (core memory $heap "memory")) (realloc (core func $heap "realloc"))))"#,
    module: r#"(import "http" "send" (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#,
    with: r#"(with "http" (instance (export "send" (func $send))))"#,
    run: "(loop (call $send (i32.const 66) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64) (i32.const 2) (i32.const 128)) (br 0))",
    ..RANDOM
};

/// A handle is small, what the host keeps behind it is not.
#[tokio::test]
async fn what_handles_stand_for_is_counted() {
    let runtime = runtime();
    let check = async |component: Component<'_>, limits: Limits, expected: &str| {
        let plugin = install(&runtime, component).await.unwrap().with_limits(limits).unwrap();
        let mut fixture = Fixture::new("odd");
        let text = "x".repeat(10_000);
        let record = Json::parse(format!(r#"{{"text":"{text}"}}"#)).unwrap();
        fixture.session.records.insert((String::new(), "1".to_owned()), record);
        let response = HttpResponse { status: 200, headers: Vec::new(), body: text.into_bytes() };
        fixture.session.responses.extend((0..50).map(|_| (String::new(), response.clone())));
        let failure = fixture.call_in(&runtime, &plugin).await.result.unwrap_err();
        assert!(failure.to_string().contains(expected), "expected: {expected}\nfound: {failure}");
    };
    for component in [PAGES, RESPONSES] {
        let kept = Limits { kept_bytes_max: 100_000, ..limits() };
        check(component, kept, "limit `kept_bytes_max` of 100000 exceeded").await;
        let answered = Limits { call_bytes_max: 10_000 - 1, ..limits() };
        check(component, answered, "limit `call_bytes_max` of 9999 exceeded").await;
    }
}

/// A file that is too large is not read.
#[tokio::test]
async fn files_are_bounded() {
    let bytes = vec![0; usize::try_from(COMPONENT_BYTES_MAX).unwrap() + 1];
    let problems = runtime().install(bytes, Grants::usual()).await.err().unwrap().to_string();
    assert!(problems.contains("limit `component_bytes_max` of 67108864 exceeded"), "{problems}");
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

/// A description that followed from the time could fail at any later start.
#[tokio::test]
async fn describe_sees_a_time_that_stands_still() {
    let outer = r#"
      (import "wasi:clocks/monotonic-clock@0.2.0" (instance $monotonic (export "now" (func (result u64)))))
      (import "wasi:clocks/wall-clock@0.2.0" (instance $wall
        (type $record (record (field "seconds" u64) (field "nanoseconds" u32)))
        (export "datetime" (type $datetime (eq $record)))
        (export "now" (func (result $datetime)))))
      (import "wasi:random/random@0.2.0" (instance $random (export "get-random-u64" (func (result u64)))))
      (core module $room (memory (export "memory") 1))
      (core instance $room (instantiate $room))
      (core func $monotonic (canon lower (func $monotonic "now")))
      (core func $random (canon lower (func $random "get-random-u64")))
      (core func $wall (canon lower (func $wall "now") (memory (core memory $room "memory"))))"#;
    let module = r#"
      (import "clocks" "monotonic" (func $monotonic (result i64)))
      (import "clocks" "wall" (func $wall (param i32)))
      (import "clocks" "random" (func $random (result i64)))
      (import "room" "memory" (memory $room 1))
      (global $turns (mut i32) (i32.const 0))"#;
    let with = r#"
      (with "clocks" (instance
        (export "monotonic" (func $monotonic)) (export "wall" (func $wall)) (export "random" (func $random))))
      (with "room" (instance $room))"#;
    let random = StdRng::seed_from_u64(0).next_u64().cast_signed();
    let describe = format!(
        r"
            (loop $again
              (if (i64.ne (call $monotonic) (i64.const 0)) (then unreachable))
              (call $wall (i32.const 8))
              (if (i64.ne (i64.load $room (i32.const 8)) (i64.const 946684800)) (then unreachable))
              (if (i32.load $room (i32.const 16)) (then unreachable))
              (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
              (br_if $again (i32.lt_u (global.get $turns) (i32.const 2000))))
            (if (i64.ne (call $random) (i64.const {random})) (then unreachable))
            (call $register)"
    );
    let plugin =
        install(&runtime(), Component { outer, module, with, describe: &describe, ..Component::default() }).await;
    assert_eq!(plugin.unwrap().description().actions[0].name, "odd");
}
