//! Who shares a sandbox with hostile plugins, a full pool or a busy shop still gets its turn.
//!
//! What is asserted is completion and order, never time. The executor of these tests has one thread and runs tasks in the
//! order in which they were spawned.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tradewind_runtime::session::{ClientShop, Platform};
use tradewind_runtime::{ArtifactCache, Failure, Grants, Limit, Limits, Plugin, Runtime, RuntimeConfig};
use tradewind_tests::components::Component;
use tradewind_tests::{Fixture, artifacts_folder, install, limits, runtime};

fn small(slots: u32, sandbox_bytes_max: u64) -> Arc<Runtime> {
    let config = RuntimeConfig { limits: limits(), slots, sandbox_bytes_max, ..RuntimeConfig::default() };
    let artifacts = ArtifactCache::in_folder(&artifacts_folder().unwrap()).unwrap();
    Arc::new(Runtime::new(config, artifacts).unwrap())
}

fn good(shop: &str) -> Fixture {
    let shop = ClientShop { platform: Platform::Shopify, id: shop.to_owned(), name: shop.to_owned() };
    Fixture::new("tag-product").product("null", r#"{"body":"Straw hats"}"#).shop(Some(shop))
}

async fn assert_good(runtime: &Runtime, plugin: &Plugin, shop: &str) {
    let outcome = good(shop).call_in(runtime, plugin).await;
    assert_eq!(outcome.result.unwrap().as_str(), r#"{"keywords":["hats","straw"]}"#);
}

async fn hostile_with(runtime: &Runtime, limits: Limits) -> Arc<Plugin> {
    Arc::new(install(runtime, "hostile").await.unwrap().with_limits(limits).unwrap())
}

/// All on one thread, and the loops come first: they are interrupted, or nobody else would get there before they end.
#[tokio::test]
async fn good_calls_complete_beside_endless_loops() {
    let tagger = Arc::new(install(runtime(), "product-tagger").await.unwrap());
    let hostile = hostile_with(runtime(), Limits { cpu_ms_max: 200, ..limits() }).await;
    let ends = Arc::new(Mutex::new(Vec::new()));
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let (hostile, ends) = (Arc::clone(&hostile), Arc::clone(&ends));
        calls.spawn(async move {
            let failure = Fixture::new("endless-loop").call(&hostile).await.result.unwrap_err();
            assert!(matches!(&failure, Failure::Limit { exceeded, .. } if exceeded.limit == Limit::CpuMs), "{failure}");
            ends.lock().unwrap().push("loop");
        });
    }
    for _ in 0..10 {
        let (tagger, ends) = (Arc::clone(&tagger), Arc::clone(&ends));
        calls.spawn(async move {
            assert_good(runtime(), &tagger, "neighbour").await;
            ends.lock().unwrap().push("good");
        });
    }
    calls.join_all().await;
    assert_eq!(ends.lock().unwrap()[..10], ["good"; 10]);
}

#[tokio::test]
async fn the_deadline_names_itself() {
    let hostile = hostile_with(runtime(), Limits { wall_ms_max: 100, ..limits() }).await;
    for action in ["endless-loop", "sleep"] {
        let failure = Fixture::new(action).call(&hostile).await.result.unwrap_err();
        assert!(failure.to_string().starts_with("limit `wall_ms_max` of 100 exceeded; hint: "), "{failure}");
        assert!(failure.retryable());
    }
}

#[tokio::test]
async fn a_full_pool_makes_callers_wait() {
    let runtime = small(2, 4 << 30);
    let tagger = Arc::new(install(&runtime, "product-tagger").await.unwrap());
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (runtime, tagger) = (Arc::clone(&runtime), Arc::clone(&tagger));
        calls.spawn(async move { assert_good(&runtime, &tagger, "hats").await });
    }
    assert_eq!(calls.join_all().await.len(), 50);
}

#[tokio::test]
async fn memory_of_all_sandboxes_is_bounded() {
    // 64 MiB for everybody: one bomb, allowed 128 MiB by its own limit, runs into the host's.
    let runtime = small(10, 64 << 20);
    let hostile = hostile_with(&runtime, limits()).await;
    let tagger = install(&runtime, "product-tagger").await.unwrap();
    let failure = Fixture::new("memory-bomb").call_in(&runtime, &hostile).await.result.unwrap_err();
    assert!(failure.to_string().starts_with("limit `sandbox_bytes_max` of 67108864 exceeded"), "{failure}");
    assert!(failure.retryable(), "another attempt may find room");
    assert_good(&runtime, &tagger, "hats").await;
}

/// A shop with twenty calls in line delays another shop's single one by a turn, not by twenty.
#[tokio::test]
async fn shops_take_turns() {
    let runtime = small(2, 4 << 30);
    let tagger = Arc::new(install(&runtime, "product-tagger").await.unwrap());
    let hostile = hostile_with(&runtime, Limits { cpu_ms_max: 50, ..limits() }).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut calls = JoinSet::new();
    // Both slots are taken by loops while the others line up.
    for _ in 0..2 {
        let (runtime, hostile) = (Arc::clone(&runtime), Arc::clone(&hostile));
        calls.spawn(async move {
            Fixture::new("endless-loop").call_in(&runtime, &hostile).await.result.unwrap_err();
        });
    }
    for name in std::iter::repeat_n("busy", 20).chain(["quiet"]) {
        let (runtime, tagger, order) = (Arc::clone(&runtime), Arc::clone(&tagger), Arc::clone(&order));
        calls.spawn(async move {
            assert_good(&runtime, &tagger, name).await;
            order.lock().unwrap().push(name);
        });
    }
    calls.join_all().await;
    let order = order.lock().unwrap();
    let turn = order.iter().position(|name| *name == "quiet").unwrap();
    // Its turn is the second. A call that is interrupted by a tick may finish after later ones; without turns it would be the
    // twenty-first.
    assert!(turn <= 10, "the quiet shop came after {turn} calls of the busy one: {order:?}");
}

/// A call that goes away leaves its slot before the next one is let in: there is one slot, and whoever has its turn finds
/// it free.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_call_leaves_before_the_next_one_enters() {
    let runtime = small(1, 4 << 30);
    // Much to clean takes a while. It comes first, so that both are in its larger pool.
    let filling = Component {
        module: "(memory $filled 1000)",
        run: "(memory.fill $filled (i32.const 0) (i32.const 1) (i32.const 65536000)) (loop (br 0))",
        ..Component::default()
    };
    let filling = runtime.install(filling.bytes(), Grants::usual()).await.unwrap();
    let tagger = install(&runtime, "product-tagger").await.unwrap();
    let handle = tokio::runtime::Handle::current();
    let cancelling = std::thread::spawn({
        let runtime = Arc::clone(&runtime);
        move || {
            for _ in 0..20 {
                let call = Fixture::new("odd").call_in(&runtime, &filling);
                assert!(
                    handle.block_on(async { tokio::time::timeout(Duration::from_millis(50), call).await }).is_err()
                );
            }
        }
    });
    while !cancelling.is_finished() {
        assert_good(&runtime, &tagger, "hats").await;
    }
    cancelling.join().unwrap();
}

/// Callers that go away, waiting or running, leave nothing behind: no slot, no memory.
#[tokio::test]
async fn cancelled_calls_give_everything_back() {
    let runtime = small(2, 16 << 20);
    let tagger = Arc::new(install(&runtime, "product-tagger").await.unwrap());
    let hostile = hostile_with(&runtime, limits()).await;
    let mut calls = JoinSet::new();
    for index in 0..2_000 {
        let (runtime, hostile) = (Arc::clone(&runtime), Arc::clone(&hostile));
        let action = if index % 2 == 0 { "endless-loop" } else { "sleep" };
        calls.spawn(async move { Fixture::new(action).call_in(&runtime, &hostile).await.result });
    }
    // It runs after everybody before it is in line or running.
    tokio::spawn(async {}).await.unwrap();
    calls.shutdown().await;
    for _ in 0..4 {
        assert_good(&runtime, &tagger, "hats").await;
    }
}
