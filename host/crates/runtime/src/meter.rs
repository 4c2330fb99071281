//! Counts everything that one invocation uses, and ends it when a limit is reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tradewind_model::work::Budget;
use wasmtime::ResourceLimiter;

use crate::gate::Permit;
use crate::limits::{Limit, LimitExceeded, Limits};
use crate::processor::Processor;
use crate::wasi::Output;

/// What one invocation used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// From entering the sandbox to leaving it.
    pub wall: Duration,
    /// Running on a processor: guest code, and host calls that compute.
    pub cpu: Duration,
    /// The largest sum of all linear memories.
    pub memory_peak_bytes: u64,
    /// Calls into the host.
    pub host_calls: u64,
    /// Reads of stored records.
    pub reads: u64,
    /// Writes of records.
    pub writes: u64,
    /// Jobs enqueued.
    pub jobs: u64,
    /// Calls to platforms.
    pub platform_calls: u64,
    /// Bytes logged and written to the standard streams.
    pub log_bytes: u64,
    /// WebAssembly instructions, where the runtime was made to count them.
    pub instructions: Option<u64>,
}

/// When an invocation's time began, for those who cannot ask its meter while it runs. A checkpoint begins it anew.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// After `started`, in microseconds.
    began_us: AtomicU64,
    max: Duration,
}

impl Clock {
    fn new(started: Instant, max: Duration) -> Self {
        Self { started, began_us: AtomicU64::new(0), max }
    }

    /// When the time is over.
    pub(crate) fn deadline(&self) -> Instant {
        self.started + Duration::from_micros(self.began_us.load(Ordering::Relaxed)) + self.max
    }

    fn begin_anew(&self, now: Instant) {
        let began = now.saturating_duration_since(self.started).as_micros();
        self.began_us.store(u64::try_from(began).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// One invocation's account.
pub(crate) struct Meter {
    limits: Limits,
    started: Instant,
    clock: Arc<Clock>,
    processor: Arc<Processor>,
    /// Processor time before the clock began anew.
    cpu_before: Duration,
    /// Ticks in which guest code was found running, since the call waited last.
    ticks: u32,
    memory_bytes: u64,
    memory_peak_bytes: u64,
    table_elements: u64,
    host_calls: u64,
    reads: u64,
    writes: u64,
    jobs: u64,
    declarations: u64,
    platform_calls: u64,
    kept_bytes: u64,
    output: Output,
    permit: Arc<Permit>,
}

impl Meter {
    pub(crate) fn new(
        limits: Limits,
        started: Instant,
        processor: Arc<Processor>,
        output: Output,
        permit: Arc<Permit>,
    ) -> Self {
        let clock = Arc::new(Clock::new(started, Duration::from_millis(limits.wall_ms_max)));
        Self {
            limits,
            started,
            clock,
            processor,
            cpu_before: Duration::ZERO,
            ticks: 0,
            memory_bytes: 0,
            memory_peak_bytes: 0,
            table_elements: 0,
            host_calls: 0,
            reads: 0,
            writes: 0,
            jobs: 0,
            declarations: 0,
            platform_calls: 0,
            kept_bytes: 0,
            output,
            permit,
        }
    }

    /// The error for a limit that was reached.
    pub(crate) fn exceeded(&self, limit: Limit) -> LimitExceeded {
        let limits = &self.limits;
        let max = match limit {
            Limit::WallMs => limits.wall_ms_max,
            Limit::CpuMs => limits.cpu_ms_max,
            Limit::TotalMs => limits.total_ms_max,
            Limit::TotalCpuMs => limits.total_cpu_ms_max,
            Limit::MemoryBytes => limits.memory_bytes_max,
            Limit::TableElements => limits.table_elements_max,
            Limit::CoreInstances => limits.core_instances_max,
            Limit::ComponentInstances => limits.component_instances_max,
            Limit::Memories => limits.memories_max,
            Limit::Tables => limits.tables_max,
            Limit::Resources => limits.resources_max,
            Limit::HostCalls => limits.host_calls_max,
            Limit::Reads => limits.reads_max,
            Limit::Writes => limits.writes_max,
            Limit::Jobs => limits.jobs_max,
            Limit::Declarations => limits.declarations_max,
            Limit::PlatformCalls => limits.platform_calls_max,
            Limit::CallBytes => limits.call_bytes_max,
            Limit::KeptBytes => limits.kept_bytes_max,
            Limit::LogBytes => limits.log_bytes_max,
            Limit::ResultBytes => limits.result_bytes_max,
            Limit::ErrorBytes => limits.error_bytes_max,
            Limit::WorkBytes => limits.work_bytes_max,
            Limit::SymbolBytes => crate::limits::SYMBOL_BYTES_MAX,
            Limit::StackBytes => crate::limits::STACK_BYTES_MAX,
            Limit::ComponentBytes => crate::limits::COMPONENT_BYTES_MAX,
            Limit::SandboxBytes => self.permit.bytes_max(),
        };
        LimitExceeded { limit, max }
    }

    /// Counts one of the things that are counted one by one.
    pub(crate) fn count(&mut self, limit: Limit) -> Result<(), LimitExceeded> {
        self.count_many(limit, 1)
    }

    /// Counts several of the things that are counted one by one.
    pub(crate) fn count_many(&mut self, limit: Limit, count: usize) -> Result<(), LimitExceeded> {
        let (counter, max) = match limit {
            Limit::HostCalls => (&mut self.host_calls, self.limits.host_calls_max),
            Limit::Reads => (&mut self.reads, self.limits.reads_max),
            Limit::Writes => (&mut self.writes, self.limits.writes_max),
            Limit::Jobs => (&mut self.jobs, self.limits.jobs_max),
            Limit::Declarations => (&mut self.declarations, self.limits.declarations_max),
            Limit::PlatformCalls => (&mut self.platform_calls, self.limits.platform_calls_max),
            _ => unreachable!("`{}` is not counted one by one", limit.name()),
        };
        *counter = counter.saturating_add(count as u64);
        if *counter > max { Err(LimitExceeded { limit, max }) } else { Ok(()) }
    }

    /// What one host call may look at whose arguments have `bytes`.
    pub(crate) fn work(&self, bytes: usize) -> Budget {
        Budget::new(self.limits.work_bytes_max, bytes)
    }

    /// Takes the bytes of a log entry.
    pub(crate) fn log_bytes(&mut self, bytes: usize) -> Result<(), LimitExceeded> {
        self.output.spend(bytes)
    }

    /// Takes bytes that the host will hold until the invocation ends.
    pub(crate) fn keep_bytes(&mut self, bytes: usize) -> Result<(), LimitExceeded> {
        self.kept_bytes = self.kept_bytes.saturating_add(bytes as u64);
        if self.kept_bytes > self.limits.kept_bytes_max { Err(self.exceeded(Limit::KeptBytes)) } else { Ok(()) }
    }

    /// Holds an answer that is larger than its question to the bound of a call, before it is made.
    pub(crate) fn answer_bytes(&self, bytes: usize) -> Result<(), LimitExceeded> {
        if bytes as u64 > self.limits.call_bytes_max { Err(self.exceeded(Limit::CallBytes)) } else { Ok(()) }
    }

    /// Called for each tick in which guest code was found running. Answers how many there were.
    pub(crate) fn tick(&mut self) -> Result<u32, LimitExceeded> {
        self.check_time()?;
        self.ticks = self.ticks.saturating_add(1);
        Ok(self.ticks)
    }

    /// Ends a call whose time is over: at each tick, and after each host call that computed for long.
    pub(crate) fn check_time(&self) -> Result<(), LimitExceeded> {
        let limits = &self.limits;
        let cpu = self.processor.used();
        let over = |used: Duration, max_ms: u64| used > Duration::from_millis(max_ms);
        if self.remaining().is_zero() {
            return Err(self.exceeded(Limit::WallMs));
        }
        if over(cpu.saturating_sub(self.cpu_before), limits.cpu_ms_max) {
            return Err(self.exceeded(Limit::CpuMs));
        }
        if over(cpu, limits.total_cpu_ms_max) {
            return Err(self.exceeded(Limit::TotalCpuMs));
        }
        if over(self.started.elapsed(), limits.total_ms_max) {
            return Err(self.exceeded(Limit::TotalMs));
        }
        Ok(())
    }

    /// Wall-clock time left.
    pub(crate) fn remaining(&self) -> Duration {
        self.clock.deadline().saturating_duration_since(Instant::now())
    }

    /// The clock, to be looked at while the guest runs.
    pub(crate) fn clock(&self) -> Arc<Clock> {
        Arc::clone(&self.clock)
    }

    /// Gives the invocation its time again, of the wall clock and of the processor: a part of its work is kept. The bounds
    /// of its total time stay as they are.
    pub(crate) fn begin_anew(&mut self) -> Result<(), LimitExceeded> {
        self.check_time()?;
        self.clock.begin_anew(Instant::now());
        self.cpu_before = self.processor.used();
        Ok(())
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage {
            wall: self.started.elapsed(),
            cpu: self.processor.used(),
            memory_peak_bytes: self.memory_peak_bytes,
            host_calls: self.host_calls,
            reads: self.reads,
            writes: self.writes,
            jobs: self.jobs,
            platform_calls: self.platform_calls,
            log_bytes: self.output.spent(),
            instructions: None,
        }
    }
}

/// Ends the call whose budget is spent: it has no answer.
pub(crate) fn settle(budget: &Budget) -> Result<(), LimitExceeded> {
    if budget.is_spent() { Err(LimitExceeded { limit: Limit::WorkBytes, max: budget.max() }) } else { Ok(()) }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let after = self.memory_bytes.saturating_add((desired - current) as u64);
        if after > self.limits.memory_bytes_max {
            // An error instead of a refusal: a guest that is told "no" aborts with a message that helps nobody.
            return Err(self.exceeded(Limit::MemoryBytes).into());
        }
        let uncovered = after.saturating_sub(self.permit.bytes());
        if uncovered > 0 && !self.permit.grow(uncovered) {
            return Err(self.exceeded(Limit::SandboxBytes).into());
        }
        self.memory_bytes = after;
        self.memory_peak_bytes = self.memory_peak_bytes.max(after);
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let after = self.table_elements.saturating_add((desired - current) as u64);
        if after > self.limits.table_elements_max {
            return Err(self.exceeded(Limit::TableElements).into());
        }
        self.table_elements = after;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_begins_anew_has_its_whole_time_again() {
        let started = Instant::now();
        let clock = Clock::new(started, Duration::from_secs(5));
        assert_eq!(clock.deadline() - started, Duration::from_secs(5));
        clock.begin_anew(started + Duration::from_secs(4));
        assert_eq!(clock.deadline() - started, Duration::from_secs(9));
    }
}
