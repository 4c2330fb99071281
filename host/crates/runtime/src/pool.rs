//! An engine and its pool of slots, sized by what the installed plugins need.
//!
//! The pool reserves address space for its slots when it is made and cannot grow. So every slot offers what the limits
//! allow, but for memories, whose number multiplies the address space: those come in a few steps, and a component that
//! needs more of them than the present pool offers gets a new pool of the larger step. However many plugins are installed,
//! there are no more pools than steps. Plugins stay on the pool that they were installed in, and the machine code is the
//! same for all pools.

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, WasmBacktraceDetails,
};

use crate::check::Needs;
use crate::limits::{Limits, STACK_BYTES_MAX};
use crate::runtime::RuntimeConfig;

/// How much of each slot stays in memory when it is given back, and how the rest is cleaned.
///
/// The default is what `cargo xtask bench runtime --only settings` found, on two cores with Linux 6.18: the best round of
/// `run` on a changed 5 KB body.
///
/// | memory kept | Rust | QuickJS | StarlingMonkey | Python |
/// |---|---|---|---|---|
/// | nothing | 82 µs | 1.68 ms | 4.64 ms | 4.04 ms |
/// | 128 KiB, dirty pages scanned | 58 µs | 1.59 ms | 4.51 ms | 3.94 ms |
/// | 512 KiB, dirty pages scanned | 58 µs | 1.50 ms | 4.20 ms | 3.97 ms |
/// | 2 MiB, dirty pages scanned | 58 µs | 1.49 ms | 4.12 ms | 3.73 ms |
/// | 8 MiB, dirty pages scanned | 58 µs | 1.48 ms | 4.00 ms | 3.75 ms |
/// | 2 MiB, no scan | 74 µs | 1.51 ms | 4.73 ms | 4.29 ms |
///
/// With the scan a slot costs what its guest wrote, however much may be kept: so one pool serves small and large plugins
/// alike. Stacks need no setting: they are never cleaned, and so stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Bytes of each linear memory that are reset by hand instead of being given back to the kernel: they cost no page
    /// fault the next time. 512 KiB: a call of a QuickJS plugin that finds nothing to do takes 104 µs with it, 181 µs
    /// with 128 KiB, and no less with 2 MiB. The pages stay after a peak too: 1,000 slots hold at most 500 MiB.
    pub memory_keep_resident_bytes: usize,
    /// The same for tables. 16 KiB: a small plugin's whole table, which is worth 5 µs; more helps nobody.
    pub table_keep_resident_bytes: usize,
    /// Resets only the pages that were written, by asking the kernel which they are (Linux 6.7), where that works.
    pub scan_dirty_pages: bool,
    /// How many unused slots stay reserved for the plugin that used them last, whose image is in place there.
    pub warm_slots: u32,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            memory_keep_resident_bytes: 512 << 10,
            table_keep_resident_bytes: 16 << 10,
            scan_dirty_pages: true,
            warm_slots: 100,
        }
    }
}

pub(crate) struct Pool {
    pub(crate) engine: Engine,
    /// What one slot offers; none when nothing is pooled.
    pub(crate) needs: Option<Needs>,
}

impl Pool {
    /// `needs` is what one slot must at least offer.
    pub(crate) fn new(config: &RuntimeConfig, needs: Needs) -> wasmtime::Result<Self> {
        let mut engine = compiling(config.count_instructions);
        if !config.pooled {
            engine.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            return Ok(Self { engine: Engine::new(&engine)?, needs: None });
        }
        let needs = offer(&config.limits, needs);
        engine.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(config, needs)));
        Ok(Self { engine: Engine::new(&engine)?, needs: Some(needs) })
    }

    /// Whether a component with these needs fits.
    pub(crate) fn offers(&self, needs: Needs) -> bool {
        self.needs.is_none_or(|offered| offered.max(needs) == offered)
    }
}

/// How many memories a slot offers: the first step that is enough, or else the limit. Toolchains make one or two. Each
/// takes 4 GiB of address space in each slot: with 1,000 slots and all steps, 73 of the 128 TB that a process has.
const MEMORIES: [u64; 3] = [1, 2, 4];

/// What a slot offers to a component with these needs, and to every other one with no more memories in steps.
///
/// All else costs little until it is used, so every pool offers what the limits allow. For 1,000 slots the tables take
/// 80 GB of address space and 3 MB of memory. The core instances also cover the adapters between nested components, which
/// only the compiler sees.
fn offer(limits: &Limits, needs: Needs) -> Needs {
    let memories = MEMORIES.into_iter().find(|step| needs.memories <= *step).unwrap_or(limits.memories_max);
    Needs {
        core_instances: limits.core_instances_max,
        component_instances: limits.component_instances_max,
        memories: memories.min(limits.memories_max),
        tables: limits.tables_max,
        memory_bytes: limits.memory_bytes_max,
        table_elements: limits.table_elements_max,
    }
}

/// What is not set here is at the sandbox's default, which measured best: without copy-on-write images an empty call of a
/// QuickJS plugin takes 228 µs instead of 107, with tables filled at once a Rust plugin's takes 20 µs instead of 12, and
/// dense images, or images in memory files, change nothing.
///
/// It decides the machine code, so a compiler in another process has it too.
pub(crate) fn compiling(counts_instructions: bool) -> Config {
    let mut engine = Config::new();
    engine
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .consume_fuel(counts_instructions)
        .max_wasm_stack(usize::try_from(STACK_BYTES_MAX).unwrap_or(usize::MAX))
        // A backtrace with names needs no debug information; line numbers would need all of it.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        // No plugin runs concurrently with itself, and the store is cheaper without the machinery for it.
        .concurrency_support(false);
    engine
}

fn pooling(config: &RuntimeConfig, needs: Needs) -> PoolingAllocationConfig {
    let slots = config.slots;
    let total = |each: u64| slots.saturating_mul(u32::try_from(each).unwrap_or(u32::MAX));
    let each = |each: u64| u32::try_from(each).unwrap_or(u32::MAX);
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let tuning = &config.tuning;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(total(needs.core_instances))
        .total_memories(total(needs.memories))
        .total_tables(total(needs.tables))
        .total_stacks(slots)
        .max_core_instances_per_component(each(needs.core_instances))
        .max_memories_per_component(each(needs.memories))
        .max_tables_per_component(each(needs.tables))
        .max_memories_per_module(each(needs.memories))
        .max_tables_per_module(each(needs.tables))
        .max_memory_size(bytes(config.limits.memory_bytes_max))
        .table_elements(bytes(config.limits.table_elements_max))
        .linear_memory_keep_resident(tuning.memory_keep_resident_bytes)
        .table_keep_resident(tuning.table_keep_resident_bytes)
        .max_unused_warm_slots(tuning.warm_slots)
        .pagemap_scan(if tuning.scan_dirty_pages { Enabled::Auto } else { Enabled::No });
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_memories_make_a_pool_in_few_steps() {
        let limits = Limits::default();
        let mut offers = Vec::new();
        for memories in 0..=limits.memories_max {
            for tables in 0..=limits.tables_max {
                let needs = Needs { memories, tables, memory_bytes: tables << 16, ..Needs::default() };
                let offered = offer(&limits, needs);
                assert_eq!(offered.max(needs), offered);
                offers.push(offered.memories);
            }
        }
        offers.dedup();
        assert_eq!(offers, [1, 2, 4, limits.memories_max]);
        let least = Limits { memories_max: 3, ..limits };
        assert_eq!(offer(&least, Needs { memories: 3, ..Needs::default() }).memories, 3);
    }
}
