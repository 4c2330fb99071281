//! The yardstick: a hand-written component that echoes its input, on wasmtime itself, with the engine that the runtime
//! uses and nothing around it.

use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};
use tradewind_runtime::{RuntimeConfig, STACK_BYTES_MAX};
use wasmtime::component::{Component, InstancePre, Linker, TypedFunc};
use wasmtime::{Config, Enabled, Engine, OptLevel, PoolingAllocationConfig, Store};

/// One page of memory, a bump allocator, and a function that hands back what it was given.
const ECHO: &str = r#"
(component
  (core module $echo
    (memory (export "memory") 1)
    (global $free (mut i32) (i32.const 64))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $free)
      (global.set $free (i32.add (global.get $free) (local.get 3))))
    (func (export "echo") (param $at i32) (param $length i32) (result i32)
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (local.get $length))
      (i32.const 0)))
  (core instance $echo (instantiate $echo))
  (func (export "echo") (param "text" string) (result string)
    (canon lift (core func $echo "echo") (memory (core memory $echo "memory"))
      (realloc (core func $echo "realloc")))))
"#;

/// The compiled component.
pub(crate) struct Echo {
    engine: Engine,
    instances: InstancePre<()>,
}

impl Echo {
    /// Compiles it. With `keep_resident`, its slots stay as warm as the runtime's own.
    pub(crate) fn new(keep_resident: bool) -> anyhow::Result<Self> {
        Self::of(ECHO.as_bytes(), keep_resident)
    }

    /// Compiles another component, for [`instantiate`](Self::instantiate): nothing that it imports can be called.
    pub(crate) fn of(bytes: &[u8], keep_resident: bool) -> anyhow::Result<Self> {
        let compile = || -> wasmtime::Result<Self> {
            let engine = Engine::new(&config(keep_resident))?;
            let component = Component::new(&engine, bytes)?;
            let mut linker = Linker::new(&engine);
            linker.define_unknown_imports_as_traps(&component)?;
            let instances = linker.instantiate_pre(&component)?;
            Ok(Self { engine, instances })
        };
        compile().map_err(|error| anyhow!("{error:#}"))
    }

    /// Makes a store and an instance, echoes the text, drops everything.
    pub(crate) async fn fresh(&self, text: &str) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let echoed = self.echo(text).await.map_err(|error| anyhow!("{error:#}"))?;
        let took = started.elapsed();
        ensure!(echoed == text, "the echo differs");
        Ok(took)
    }

    async fn echo(&self, text: &str) -> wasmtime::Result<String> {
        let mut store = self.store();
        let instance = self.instances.instantiate_async(&mut store).await?;
        let echo: TypedFunc<(&str,), (String,)> = instance.get_typed_func(&mut store, "echo")?;
        let (echoed,) = echo.call_async(&mut store, (text,)).await?;
        Ok(echoed)
    }

    /// Only makes the store and the instance, and drops them.
    pub(crate) async fn instantiate(&self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        let mut store = self.store();
        self.instances.instantiate_async(&mut store).await.map_err(|error| anyhow!("{error:#}"))?;
        drop(store);
        Ok(started.elapsed())
    }

    fn store(&self) -> Store<()> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(1);
        store
    }
}

/// What the runtime's own engine is set to, see its module `pool`.
pub(crate) fn config(keep_resident: bool) -> Config {
    let runtime = RuntimeConfig::default();
    let tuning = &runtime.tuning;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(runtime.slots)
        .total_core_instances(runtime.slots * 10)
        .total_memories(runtime.slots)
        .total_tables(runtime.slots * 2)
        .total_stacks(runtime.slots)
        .max_memory_size(usize::try_from(runtime.limits.memory_bytes_max).unwrap_or(usize::MAX))
        .table_elements(usize::try_from(runtime.limits.table_elements_max).unwrap_or(usize::MAX))
        .max_unused_warm_slots(tuning.warm_slots);
    if keep_resident {
        pool.linear_memory_keep_resident(tuning.memory_keep_resident_bytes)
            .table_keep_resident(tuning.table_keep_resident_bytes)
            .pagemap_scan(if tuning.scan_dirty_pages { Enabled::Auto } else { Enabled::No });
    }
    let mut config = Config::new();
    config
        .allocation_strategy(pool)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(usize::try_from(STACK_BYTES_MAX).unwrap_or(usize::MAX))
        .concurrency_support(false);
    config
}
