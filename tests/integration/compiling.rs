//! Compiling in a process of its own: what takes too long or too much ends by name, and nothing else is concerned.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use tradewind_runtime::{ArtifactCache, Compiler, Grants, Runtime, RuntimeConfig};
use tradewind_tests::components::Component;
use tradewind_tests::{Fixture, limits, plugins_folder};

/// The program beside the tests. `cargo xtask test` builds it.
fn program() -> PathBuf {
    plugins_folder().unwrap().parent().unwrap().join("debug/tradewind")
}

fn compiler() -> Compiler {
    Compiler { program: program(), ms_max: 60_000, memory_bytes_max: 4 << 30 }
}

fn runtime(compiler: Compiler, folder: &Path, pooled: bool) -> Runtime {
    let config =
        RuntimeConfig { limits: limits(), slots: 4, pooled, count_instructions: !pooled, ..RuntimeConfig::default() };
    Runtime::new(config, ArtifactCache::in_folder(folder).unwrap().with_compiler(compiler)).unwrap()
}

/// Why a component cannot be installed.
async fn refused(compiler: Compiler, module: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime(compiler, folder.path(), true);
    let bytes = Component { module, ..Component::default() }.bytes();
    match runtime.install(bytes, Grants::usual()).await {
        Ok(_) => panic!("it is installed"),
        Err(error) => error.to_string(),
    }
}

/// A function of loops inside one another, each of which may be continued from the innermost: what keeps a compiler busy grows
/// with the third power of their number.
fn loops(number: usize) -> String {
    let mut module = "(func (param i32)".to_owned();
    for _ in 0..number {
        module.push_str("(loop ");
    }
    for depth in 0..number {
        let _ = write!(module, "(br_if {depth} (local.get 0))");
    }
    module.extend(std::iter::repeat_n(')', number));
    module + ")"
}

/// Many functions that do a little.
fn functions(number: usize) -> String {
    let one = "(func (param i64 i64) (result i64) (i64.div_s (i64.mul (local.get 0) (local.get 1)) (local.get 0)))";
    one.repeat(number)
}

#[tokio::test]
async fn what_another_process_compiles_works_and_is_cached() {
    for pooled in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime(compiler(), folder.path(), pooled);
        for cached in [false, true] {
            let plugin = runtime.install(Component::default().bytes(), Grants::usual()).await.unwrap();
            assert_eq!(plugin.is_from_cache(), cached);
            let outcome = Fixture::new("odd").call_in(&runtime, &plugin).await;
            assert_eq!(outcome.result.unwrap().as_str(), "null");
        }
    }
}

#[tokio::test]
async fn what_takes_long_to_compile_ends_at_its_deadline() {
    let said = refused(Compiler { ms_max: 1_000, ..compiler() }, &loops(2_000)).await;
    assert!(said.contains("`compile_ms_max`") && said.contains("1000 ms"), "{said}");
}

#[tokio::test]
async fn what_takes_much_memory_to_compile_ends_at_its_bound() {
    let said = refused(Compiler { memory_bytes_max: 64 << 20, ..compiler() }, &functions(20_000)).await;
    assert!(said.contains("`compile_memory_bytes_max`") && said.contains("67108864"), "{said}");
}

#[tokio::test]
async fn a_compiler_that_is_none_is_told() {
    let nowhere = Compiler { program: "/nowhere/tradewind".into(), ..compiler() };
    let said = refused(nowhere, "").await;
    assert!(said.contains("`/nowhere/tradewind`, cannot be started"), "{said}");
    let said = refused(Compiler { program: "/bin/false".into(), ..compiler() }, "").await;
    assert!(said.contains("could not be compiled"), "{said}");
}
