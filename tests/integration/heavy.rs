//! Every function of the contract with its largest, widest and deepest arguments: the work grows with them and no faster, and
//! what is beyond a bound ends with that limit's name.
//!
//! `plugins/puppet` makes the arguments (`heavy`), the real pipeline does what they ask for. To add a function, add it there
//! and a line to [`GROWING`] and to [`BEYOND`].

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tradewind_model::param_schema::Compiled;
use tradewind_model::{ActionDeclaration, Param};
use tradewind_runtime::Limit;
use tradewind_store::{JobKind, NewJob};
use tradewind_tests::host::{APP, TestHost};
use tradewind_tests::stores::{Place, json as parsed, on_both, shop};

const MODELS: &str = r#"[
    {"name": "thing", "fields": [
        {"name": "colour", "type": "string", "unique": true},
        {"name": "note", "type": "string"},
        {"name": "parts", "type": "has-many", "model": "part", "by": "thing"}]},
    {"name": "part", "fields": [{"name": "thing", "type": "belongs-to", "model": "thing"}]},
    {"name": "bag"}
]"#;

/// Functions on a record, then those on none; the shape; and a size at which the work is more than that of a call alone.
const GROWING: &[(&str, &str, u32)] = &[
    ("apply", "large", 1 << 20),
    ("apply", "wide", 10_000),
    ("apply-again", "large", 1 << 20),
    ("apply-again", "wide", 10_000),
    ("apply-again", "deep", 50),
    ("apply-again", "deep-and-large", 1 << 20),
    ("changes", "wide", 10_000),
    ("fields", "wide", 10_000),
    ("flush", "wide", 10_000),
    ("revert", "wide", 10_000),
    ("to-json", "wide", 10_000),
    ("to-changed-json", "wide", 10_000),
    ("get-many", "wide", 10_000),
    ("save", "wide", 10_000),
    ("save", "large", 1 << 20),
    ("create", "large", 1 << 20),
    ("create", "wide", 10_000),
    ("create", "deep", 50),
    ("update", "large", 1 << 20),
    ("update", "wide", 10_000),
    ("select", "wide", 250),
    ("query", "wide", 2_000),
    ("options", "wide", 2_000),
    ("find-by", "wide", 2_000),
    ("contains", "", 100),
    ("bulk-create", "", 100),
    ("bulk-update", "", 100),
    ("bulk-upsert", "", 100),
    ("bulk-delete", "", 100),
    ("converge", "", 100),
    ("run-bulk", "", 100),
    ("run-action", "wide", 10_000),
    ("enqueue-action", "wide", 10_000),
    ("enqueue-action", "large", 1 << 20),
    ("enqueue-and-cancel", "", 400),
    ("enqueue-options", "wide", 2_000),
    ("upsert-on", "", 50),
    ("log", "large", 50_000),
];

/// What is beyond a bound, and how it ends.
const BEYOND: &[(&str, &str, u32, &str)] = &[
    ("contains-large", "", 1 << 20, "work_bytes_max"),
    ("set-name", "wide", 2_000, "name_bytes_max"),
    ("find-one", "", 2_000, "name_bytes_max"),
    ("model", "", 2_000, "name_bytes_max"),
    ("status", "", 2_000, "name_bytes_max"),
    ("upsert-on", "", 1_001, "names_max"),
    ("options", "large", 70_000, "options_bytes_max"),
    ("select", "", 501, "select_fields_max"),
    ("select", "", 20_000, "options_bytes_max"),
    ("enqueue-options", "large", 70_000, "options_bytes_max"),
    ("query", "large", 140_000, "more than 131072 bytes"),
    ("bulk-create", "", 1_001, "writes_max"),
    ("bulk-update", "", 501, "writes_max"),
    ("bulk-upsert", "", 1_001, "writes_max"),
    ("bulk-delete", "", 1_001, "writes_max"),
    ("converge", "", 1_001, "writes_max"),
    ("run-bulk", "", 1_001, "writes_max"),
    ("enqueue-graphql", "", 300_000, "graphql_bytes_max"),
    ("enqueue-path", "", 10_000, "path_bytes_max"),
    ("error-details", "large", 70_000, "error_bytes_max"),
    ("log", "large", 140_000, "log_bytes_max"),
    ("create", "large", 17 << 20, "call_bytes_max"),
];

/// Functions that work on a record.
fn is_on_record(name: &str) -> bool {
    ["apply", "apply-again", "changes", "fields", "flush", "revert", "to-json", "to-changed-json", "get-many", "save"]
        .contains(&name)
        || name == "set-name"
}

async fn host(place: &Place) -> TestHost {
    let host = TestHost::bare(place).await;
    let puppet = tradewind_tests::installed("puppet").await.unwrap();
    host.install(APP, MODELS, vec![("puppet", puppet)]).await;
    let thing = json!([{"create": ["thing", {"id": "r", "colour": "r"}, {"internal": true}], "or-fail": true}]);
    call(&host, "play", &json!({ "script": thing })).await.unwrap();
    host
}

/// Runs an action once. Answers the microseconds that it took, or the job's error.
async fn call(host: &TestHost, action: &str, params: &Value) -> Result<i64, String> {
    static CALLS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let id = format!("call-{}", CALLS.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    let work = json!({"work": {"action": {"action": action, "params": params}}});
    let once = parsed(r#"{"retryCount": 0}"#);
    let job = NewJob {
        id: Some(id.clone()),
        policy: Some(once),
        ..NewJob::new(JobKind::Action, Some(parsed(&work.to_string())))
    };
    host.enqueue(&shop(), job).await;
    host.drain().await;
    if let Some(job) = host.jobs().await.into_iter().find(|job| job.id.as_deref() == Some(&id)) {
        return Err(job.error.map_or_else(String::new, |error| error.to_string()));
    }
    let logged = host.store.invocations_of_job(&shop(), &id, 10).await.unwrap();
    Ok(logged.iter().map(|entry| entry.duration_us).max().unwrap_or_default())
}

async fn heavy(host: &TestHost, name: &str, shape: &str, size: u32, or_fail: bool) -> Result<i64, String> {
    // A mistake in the arguments is an answer, and no failure, where what matters is what it costs to find out.
    let script = json!([{"heavy": [name, shape, size], "or-fail": or_fail}]);
    let mut params = json!({ "script": script });
    if is_on_record(name) {
        params["id"] = json!("r");
        return call(host, "thing.perform", &params).await;
    }
    call(host, "play", &params).await
}

/// Takes back what the calls wrote, so that each finds the same.
async fn clean(host: &TestHost, name: &str, size: u32) {
    let ids: Vec<_> = (0..size).map(|at| format!("e{at}")).collect();
    let steps = match name {
        "bulk-create" | "bulk-update" | "bulk-upsert" | "run-bulk" | "contains" => {
            json!(ids.iter().map(|id| json!({"delete": ["thing", id, {"internal": true}]})).collect::<Vec<_>>())
        }
        "converge" => {
            json!([{"converge": ["thing", "p", "parts", [], {"internal": true}]}, {"delete": ["thing", "p"]}])
        }
        "select" => json!([{"delete": ["bag", "s"]}]),
        "update" => json!([{"delete": ["bag", "u"]}]),
        _ => return,
    };
    call(host, "play", &json!({ "script": steps })).await.unwrap();
}

/// Twice the size takes at most two and a half times the time. Tried again while other tests run beside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_grows_with_the_arguments() {
    const TRIES: usize = 8;
    /// What a call takes in any case, and what a busy machine adds.
    const NOISE_US: i64 = 5_000;
    on_both(async |place| {
        let host = host(&place).await;
        for (name, shape, size) in GROWING {
            for attempt in 1..=TRIES {
                let (mut once, mut twice) = (i64::MAX, i64::MAX);
                for (size, best) in [(*size, &mut once), (size * 2, &mut twice)] {
                    for _ in 0..2 {
                        let took = heavy(&host, name, shape, size, false).await;
                        *best = (*best).min(took.unwrap_or_else(|error| panic!("`{name}` {shape} {size}: {error}")));
                        clean(&host, name, size).await;
                    }
                }
                if twice <= once * 5 / 2 + NOISE_US {
                    break;
                }
                assert!(attempt < TRIES, "`{name}` {shape} {size}: {once} us, and {twice} us for twice the size");
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_beyond_a_bound_ends_with_its_name() {
    on_both(async |place| {
        let host = host(&place).await;
        for (name, shape, size, limit) in BEYOND {
            let error = heavy(&host, name, shape, *size, true).await.expect_err(name);
            assert!(error.contains(limit), "`{name}` {shape} {size} ends with {error}, expected {limit}");
            assert!(error.len() < 8 << 10, "`{name}`: {} bytes", error.len());
        }
        // What has no limit of its own is cut.
        let error = heavy(&host, "error-message", "", 20_000, true).await.unwrap_err();
        assert!(error.len() < 6 << 10 && error.contains("ccc…") && error.contains("mmm…"), "{}", error.len());
        // The sandbox is as good as new.
        heavy(&host, "create", "wide", 10, true).await.unwrap();
    })
    .await;
}

/// An array in an array, and so on.
fn deep(levels: usize, last: &Value) -> Value {
    (0..levels).fold(last.clone(), |value, _| json!([value]))
}

/// The deepest schema and value that are taken fit on the stack that a guest's call leaves to the host.
#[test]
fn holding_to_the_deepest_schema_needs_little_stack() {
    let round = (0..60).fold(json!({"items": {"$ref": "#"}}), |schema, _| json!({"allOf": [schema]}));
    let chain = (0..60).fold(json!({"type": "integer"}), |schema, _| json!({ "items": schema }));
    let check = move || {
        for (schema, levels, is_taken) in [(&round, 4, true), (&round, 120, false), (&chain, 60, true)] {
            let params = [(
                "deep".to_owned(),
                Param { schema: parsed(&schema.to_string()), required: false, compiled: Compiled::default() },
            )]
            .into();
            let action = ActionDeclaration { name: "a".to_owned(), params, ..ActionDeclaration::default() };
            let problems = action.param_problems(&parsed(&json!({"deep": deep(levels, &json!(1))}).to_string()));
            assert_eq!(problems.is_empty(), is_taken, "{problems:?}");
            assert!(problems.iter().all(|problem| problem.contains("`schema_steps_max`")), "{problems:?}");
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(check).unwrap().join().unwrap();
}

/// No limit without something that runs into it, here or in the other tests of hostile plugins.
#[test]
fn every_limit_has_a_case() {
    let here = BEYOND.iter().map(|(.., limit)| *limit);
    let tests = ["hostile.rs", "odd_components.rs"].map(|file| {
        let path = tradewind_tests::repository().join("tests/integration").join(file);
        std::fs::read_to_string(path).unwrap()
    });
    let here: BTreeSet<_> = here.collect();
    let held = |name: &str| here.contains(name) || tests.iter().any(|text| text.contains(name));
    // How much the host has for all sandboxes together is not a plugin's to reach: `neighbours` fills it. The time over all
    // checkpoints is that of jobs, which the pipeline has.
    let of_a_call = Limit::ALL.into_iter().filter(|limit| !matches!(limit, Limit::SandboxBytes | Limit::TotalMs));
    let missing: Vec<_> = of_a_call.map(Limit::name).filter(|name| !held(name)).collect();
    assert_eq!(missing, [""; 0]);
}
