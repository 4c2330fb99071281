//! Every hostile action ends in its own clear error, within its limits, and leaves a sandbox that works.
//!
//! To add one: a function in `plugins/hostile`, a line in [`cases`].

use std::time::Duration;

use tradewind_model::{Json, code};
use tradewind_runtime::session::{Answer, LogEntry, Which};
use tradewind_runtime::{Failure, Limits, Outcome, Phase, Session};
use tradewind_tests::{Fixture, install, installed, limits, runtime};

/// What an action does, and how it must end.
struct Case {
    action: &'static str,
    limits: Limits,
    /// The failure's kind.
    kind: &'static str,
    /// What the message says, a limit's name and value above all.
    says: &'static str,
    /// A function in the backtrace; empty where no guest code was running.
    frame: &'static str,
    /// What the caller sees of standard error.
    stderr: &'static str,
}

fn limit(action: &'static str, says: &'static str, frame: &'static str, limits: Limits) -> Case {
    Case { action, limits, kind: "limit", says, frame, stderr: "" }
}

fn trap(action: &'static str, says: &'static str, frame: &'static str) -> Case {
    Case { action, limits: limits(), kind: "trap", says, frame, stderr: "" }
}

fn returned(action: &'static str, says: &'static str) -> Case {
    Case { action, limits: limits(), kind: "returned", says, frame: "", stderr: "" }
}

fn cases() -> Vec<Case> {
    let usual = limits;
    vec![
        limit(
            "endless-loop",
            "`cpu_ms_max` of 50 exceeded",
            "hostile::endless_loop",
            Limits { cpu_ms_max: 50, ..usual() },
        ),
        limit(
            "endless-loop",
            "`total_cpu_ms_max` of 50 exceeded",
            "hostile::endless_loop",
            Limits { total_cpu_ms_max: 50, ..usual() },
        ),
        limit("endless-recursion", "`stack_bytes_max` of 524288 exceeded", "hostile::endless_recursion", usual()),
        trap("large-frames", "out of bounds memory access", "hostile::large_frames"),
        limit("memory-bomb", "`memory_bytes_max` of 134217728 exceeded", "hostile::memory_bomb", usual()),
        limit(
            "memory-bomb",
            "`memory_bytes_max` of 4194304 exceeded",
            "hostile::memory_bomb",
            Limits { memory_bytes_max: 4 << 20, ..usual() },
        ),
        limit("log-flood", "`log_bytes_max` of 262144 exceeded", "hostile::log_flood", usual()),
        limit("stdout-flood", "`log_bytes_max` of 262144 exceeded", "hostile::stdout_flood", usual()),
        Case {
            stderr: "xxxxxxxx",
            ..limit("stderr-flood", "`log_bytes_max` of 262144 exceeded", "hostile::stderr_flood", usual())
        },
        limit("host-call-flood", "`host_calls_max` of 100000 exceeded", "hostile::host_call_flood", usual()),
        limit("read-flood", "`reads_max` of 1000 exceeded", "hostile::read_flood", usual()),
        limit("write-flood", "`writes_max` of 1000 exceeded", "hostile::write_flood", usual()),
        limit("job-flood", "`jobs_max` of 1000 exceeded", "hostile::job_flood", usual()),
        limit("platform-flood", "`platform_calls_max` of 100 exceeded", "hostile::platform_flood", usual()),
        limit("resource-flood", "`resources_max` of 1000 exceeded", "hostile::resource_flood", usual()),
        limit("huge-result", "`result_bytes_max` of 1048576 exceeded", "", usual()),
        limit("huge-argument", "`call_bytes_max` of 16777216 exceeded", "hostile::huge_argument", usual()),
        limit("huge-answer", "`call_bytes_max` of 16777216 exceeded", "hostile::huge_answer", usual()),
        limit("hoard", "`kept_bytes_max` of 67108864 exceeded", "hostile::hoard", usual()),
        Case {
            stderr: "panicked at",
            ..trap("panic", "the plugin panicked: the kettle is empty (plugins/hostile/src/lib.rs:", "hostile::panic")
        },
        trap("trap", "the plugin trapped: wasm `unreachable` instruction executed", "hostile::trap"),
        trap("exit", "the plugin trapped: it ended itself with status 1", "hostile::exit"),
        limit("sleep", "`wall_ms_max` of 100 exceeded", "", Limits { wall_ms_max: 100, ..usual() }),
        limit("slow-host-call", "`wall_ms_max` of 100 exceeded", "", Limits { wall_ms_max: 100, ..usual() }),
        trap("use-after-drop", "unknown handle index", "hostile::use_after_drop"),
        trap("double-drop", "unknown handle index", "hostile::double_drop"),
        trap("invalid-utf8-result", "invalid utf-8", ""),
        trap("invalid-utf8-argument", "invalid utf-8", "hostile::invalid_utf8_argument"),
        Case {
            kind: "invalid-result",
            ..trap(
                "invalid-json-result",
                "`run` returned text that is not JSON: expected value at line 1 column 11",
                "",
            )
        },
        returned("invalid-json-argument", "invalid-json: `value` is not JSON: expected value at line 1 column 1"),
        returned(
            "platform-write-in-run",
            "wrong-phase: a platform cannot be rolled back; hint: write to it in `success`",
        ),
        Case {
            stderr: "so far so good\n",
            ..trap("write-then-panic", "the plugin panicked: no further", "hostile::write_then_panic")
        },
    ]
}

/// A session whose reads compute, as much as a test says.
struct Busy(Duration);

#[async_trait::async_trait]
impl Session for Busy {
    fn log(&mut self, _: LogEntry) {}

    async fn find(&mut self, _: &str, _: Which, _: Json) -> Answer<Option<Json>> {
        let began = std::time::Instant::now();
        while began.elapsed() < self.0 {
            std::hint::spin_loop();
        }
        // It waits a moment as well, which does not count.
        tokio::task::yield_now().await;
        Ok(None)
    }
}

/// What the host computes for a call counts as the call's own time.
#[tokio::test]
async fn host_calls_that_compute_count() {
    let limits = Limits { cpu_ms_max: 50, ..limits() };
    let hostile = install(runtime(), "hostile").await.unwrap().with_limits(limits).unwrap();
    for takes in [Duration::from_millis(20), Duration::from_millis(100)] {
        let outcome = runtime().invoke(&hostile, "", fixture("read-flood").invocation, Box::new(Busy(takes))).await;
        let usage = outcome.usage;
        let failure = failure("read-flood", outcome);
        assert!(failure.to_string().contains("limit `cpu_ms_max` of 50 exceeded"), "{failure}");
        assert!(usage.cpu >= Duration::from_millis(50) && usage.reads <= 4, "{usage:?}");
    }
}

/// A call in which everything is there that a hostile action asks for.
fn fixture(action: &str) -> Fixture {
    let body = "x".repeat(10_000);
    let mut fixture = Fixture::new(action).product(r#"{"title":"Hat"}"#, &format!(r#"{{"body":"{body}"}}"#));
    // Longer than any deadline here, so only the deadline can end it.
    fixture.session.call_delay = if action == "slow-host-call" { Duration::from_hours(1) } else { Duration::ZERO };
    fixture
}

fn failure(case: &str, outcome: Outcome) -> Failure {
    match outcome.result {
        Ok(result) => panic!("`{case}` ended well: {result}"),
        Err(failure) => failure,
    }
}

async fn check(case: Case) {
    let Case { action, limits, kind, says, frame, stderr } = case;
    let outcome = fixture(action).call_hostile(limits.clone()).await.unwrap();
    let usage = outcome.usage;
    let failure = failure(action, outcome);
    let message = failure.to_string();
    assert_eq!(failure.kind(), kind, "`{action}`: {message}");
    assert!(message.contains(says), "`{action}` says: {message}\nexpected: {says}");
    if kind == "limit" {
        assert!(message.contains("hint: "), "`{action}` says: {message}");
    }
    let frames = failure.backtrace().map(ToString::to_string).unwrap_or_default();
    assert!(frames.contains(frame), "`{action}` has the backtrace\n{frames}without {frame}; it says: {message}");
    assert!(failure.stderr().unwrap_or_default().contains(stderr), "`{action}`: {:?}", failure.stderr());

    assert!(usage.memory_peak_bytes <= limits.memory_bytes_max, "`{action}`: {usage:?}");
    assert!(usage.log_bytes <= limits.log_bytes_max, "`{action}`: {usage:?}");
    // The call that is one too many is counted and not made.
    assert!(usage.host_calls <= limits.host_calls_max + 1, "`{action}`: {usage:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_ends_in_its_own_error() {
    let running: Vec<_> = cases().into_iter().map(|case| tokio::spawn(check(case))).collect();
    for case in running {
        case.await.unwrap();
    }
    good_plugin_works().await;
}

async fn good_plugin_works() {
    let tagger = installed("product-tagger").await.unwrap();
    let call = Fixture::new("tag-product").product("null", r#"{"body":"Straw hats"}"#).params("{}");
    let outcome = call.call(&tagger).await;
    assert_eq!(outcome.result.unwrap().as_str(), r#"{"keywords":["hats","straw"]}"#);
}

#[tokio::test]
async fn every_action_has_a_case() {
    // These have tests of their own, because they end well.
    let others = ["escape", "deep-json"];
    let hostile = installed("hostile").await.unwrap();
    let cases = cases();
    for action in &hostile.description().actions {
        let known = cases.iter().any(|case| case.action == action.name) || others.contains(&action.name.as_str());
        assert!(known, "`{}` has no case", action.name);
    }
}

#[tokio::test]
async fn nothing_of_a_failed_run_is_a_result() {
    let hostile = installed("hostile").await.unwrap();
    let fixture = fixture("write-then-panic");
    let journal = fixture.session.journal.clone();
    let outcome = fixture.call(&hostile).await;
    assert_eq!((outcome.usage.writes, outcome.usage.jobs), (1, 1));
    assert!(matches!(outcome.result, Err(Failure::Trap { .. })));
    // What was printed before the panic reaches the log all the same.
    let entries = journal.entries();
    let lines: Vec<_> = entries.logs.iter().map(|entry| entry.message.as_str()).collect();
    assert_eq!(lines[0], "so far so good");
    assert!(lines.iter().any(|line| line.contains("no further")), "{lines:?}");
}

#[tokio::test]
async fn a_write_after_the_commit_is_refused() {
    let hostile = installed("hostile").await.unwrap();
    let outcome = fixture("endless-loop").success("null").call(&hostile).await;
    let Err(Failure::Returned(error)) = outcome.result else { panic!("{:?}", outcome.result) };
    assert_eq!(error.code, code::WRONG_PHASE);
    assert!(error.message.contains("hint: change it in `run`"), "{}", error.message);
    assert_eq!(outcome.record.unwrap().get("title").map(Json::as_str), Some("\"Hat\""));
}

#[tokio::test]
async fn there_is_no_way_out() {
    let hostile = installed("hostile").await.unwrap();
    let outcome = fixture("escape").call(&hostile).await;
    assert_eq!(outcome.result.unwrap().as_str(), format!("{:?}", [false; 10]));
}

#[tokio::test]
async fn comparing_deep_texts_ends() {
    let hostile = installed("hostile").await.unwrap();
    let outcome = fixture("deep-json").call(&hostile).await;
    assert_eq!(outcome.result.unwrap().as_str(), "null");
}

#[tokio::test]
async fn an_unknown_action_is_an_error() {
    let hostile = installed("hostile").await.unwrap();
    for phase in [Phase::Run, Phase::Success] {
        let mut fixture = fixture("no-such-action");
        fixture.invocation.phase = phase;
        let failure = failure("no-such-action", fixture.call(&hostile).await);
        assert_eq!(
            failure.to_string(),
            "the plugin has no action `no-such-action`; hint: it offers what its `describe` declares"
        );
        assert!(!failure.retryable());
    }
}
