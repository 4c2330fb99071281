//! Every bound on a plugin: its name, its unit, its default and the reason for it.
//!
//! To add a limit, add a field with its reason, a variant in [`Limit`], and a hostile plugin that runs into it.

use std::fmt;
use std::time::Duration;

/// The bounds of one invocation. Each is enforced for every call, whoever wrote the plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Milliseconds of wall-clock time, waiting included. Ten seconds: long enough for a handful of platform calls that
    /// wait for a rate budget, short enough that a stuck call does not hold its record's queue.
    pub wall_ms_max: u64,
    /// Milliseconds on a processor, of guest code and of host calls that compute. Two seconds: a thousand times what a
    /// webhook's action needs, so only a loop gets there.
    pub cpu_ms_max: u64,
    /// Milliseconds of wall-clock time over all checkpoints. 15 minutes: what a background action of the reference product
    /// may take; longer work enqueues a job for the rest.
    pub total_ms_max: u64,
    /// Milliseconds on a processor over all checkpoints. 60 seconds: thirty times the usual bound, and a fifteenth of what
    /// one core has in the longest job.
    pub total_cpu_ms_max: u64,
    /// Bytes of all linear memories together. 128 MiB: a Python component begins with about 30 and needs room to work.
    pub memory_bytes_max: u64,
    /// Elements of all tables together. 200,000: a Python component fills some 30,000 function slots.
    pub table_elements_max: u64,
    /// Core instances of one component. 100: a Python component has 38, one for each dynamic library.
    pub core_instances_max: u64,
    /// Component instances inside of one component. 100: toolchains make none to a few; each instantiation multiplies what
    /// is below it, and the compiler walks all of them.
    pub component_instances_max: u64,
    /// Linear memories of one component. 10: toolchains make one or two.
    pub memories_max: u64,
    /// Tables of one component. 50: toolchains make one to a few.
    pub tables_max: u64,
    /// Handles that a plugin may hold at once. 1,000: a plugin works on a few records at a time.
    pub resources_max: u64,
    /// Calls into the host. 100,000: reading every field of a thousand records one at a time. WASI's own calls are not
    /// counted: CPU and wall-clock time bound them.
    pub host_calls_max: u64,
    /// Reads of stored records. 1,000: more belongs in a query or in a job of its own.
    pub reads_max: u64,
    /// Writes of records. 1,000: what one transaction should carry.
    pub writes_max: u64,
    /// Jobs enqueued. 1,000, as for writes.
    pub jobs_max: u64,
    /// What `describe` declares: actions, and all that is said of each. 2,000: a plugin with fifty actions that each look at
    /// forty things. All of it is held to its rules one by one, and stays in memory.
    pub declarations_max: u64,
    /// Calls to platforms. 100: at two a second nobody waits longer than a minute for one shop's budget.
    pub platform_calls_max: u64,
    /// Bytes that one call may hand to the host, or be answered. 16 MiB: the largest webhook that we accept, with room.
    pub call_bytes_max: u64,
    /// Bytes that the host looks at for one host call, beside 16 for each byte of its arguments and of the records that it is
    /// about. 4 MiB: 20 ms; a record is read a few times, and only by a query that was made to be a hundred times.
    pub work_bytes_max: u64,
    /// Bytes that the host keeps on a plugin's behalf: field values, written records, jobs, registrations. 64 MiB: four of
    /// the largest calls; a plugin's own memory ends at about the same.
    pub kept_bytes_max: u64,
    /// Bytes of log entries, standard output and standard error. 256 KiB: a long debug session, not a flood.
    pub log_bytes_max: u64,
    /// Bytes of the result that `run` returns. 1 MiB: it is stored with the job.
    pub result_bytes_max: u64,
    /// Bytes of an error that a plugin returns, details included. 64 KiB: it is stored with the job, and a person reads it.
    pub error_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            wall_ms_max: 10_000,
            cpu_ms_max: 2_000,
            total_ms_max: 15 * 60 * 1_000,
            total_cpu_ms_max: 60_000,
            memory_bytes_max: 128 << 20,
            table_elements_max: 200_000,
            core_instances_max: 100,
            component_instances_max: 100,
            memories_max: 10,
            tables_max: 50,
            resources_max: 1_000,
            host_calls_max: 100_000,
            reads_max: 1_000,
            writes_max: 1_000,
            jobs_max: 1_000,
            declarations_max: 2_000,
            platform_calls_max: 100,
            call_bytes_max: 16 << 20,
            work_bytes_max: 4 << 20,
            kept_bytes_max: 64 << 20,
            log_bytes_max: 256 << 10,
            result_bytes_max: 1 << 20,
            error_bytes_max: 64 << 10,
        }
    }
}

/// How often running guest code can be interrupted. 5 ms: a deadline is at most that late, a neighbour waits at most that
/// long for its turn, and a waking ticker costs less than a thousandth of a core.
pub const TICK: Duration = Duration::from_millis(5);

/// Bytes that the host takes for a field beside its name and its value. Counted against `kept_bytes_max`, so that an object
/// of a million tiny members costs what it takes.
pub(crate) const FIELD_BYTES: usize = 160;

/// Bytes that the host takes for one thing that `describe` declares, beside its texts.
pub(crate) const DECLARED_BYTES: usize = 160;

/// What a log entry costs beside its text, so that a hundred thousand empty ones are not free.
pub(crate) const ENTRY_BYTES: usize = 64;

/// Frames of a backtrace that are kept. 20: the innermost tell where a plugin was.
pub(crate) const FRAMES_MAX: usize = 20;

/// Bytes of a frame. 200: a module and a function with its path.
pub(crate) const FRAME_BYTES_MAX: usize = 200;

/// Bytes of an error's code. 64: some words joined by `-`.
pub(crate) const ERROR_CODE_BYTES_MAX: usize = 64;

/// Bytes of an error's message, whoever it is for. 4 KiB: a few sentences; what is longer is cut.
pub(crate) const ERROR_MESSAGE_BYTES_MAX: usize = 4 << 10;

/// Bytes of standard error that are kept for the error that may come. 16 KiB: a panic's message and its backtrace, which come
/// last.
pub(crate) const STDERR_BYTES_MAX: usize = 16 << 10;

/// Bytes of `options`, of any function. 64 KiB: a `select` of five hundred long names.
pub(crate) const OPTIONS_BYTES_MAX: usize = 64 << 10;

/// Bytes of a GraphQL document. 256 KiB: the platform's own bound is far below.
pub(crate) const GRAPHQL_BYTES_MAX: usize = tradewind_model::graphql::GRAPHQL_BYTES_MAX;

/// Bytes of a URL or a path. 8 KiB: what servers take.
pub(crate) const PATH_BYTES_MAX: usize = 8 << 10;

/// Bytes of all headers of a request to a third party. 64 KiB: what servers take.
pub(crate) const HEADERS_BYTES_MAX: usize = 64 << 10;

/// Bytes of a name: of a model, a field, an action, an id, a method. 1 KiB: twice what the databases keep of a key.
pub(crate) const NAME_BYTES_MAX: usize = 1 << 10;

/// Names in one list: fields to read, fields of a key. 1,000: a record has some dozen fields.
pub(crate) const NAMES_MAX: usize = 1_000;

/// Bytes of stack for guest code, for all plugins alike because it is a property of the engine. 512 KiB: deep recursion
/// in JavaScript needs most of it, endless recursion ends in a millisecond.
pub const STACK_BYTES_MAX: u64 = 512 << 10;

/// Bytes of a function's name in a component: the sandbox copies it for each frame of a backtrace. 64 KiB: the longest that
/// compilers make have 10.
pub(crate) const SYMBOL_BYTES_MAX: u64 = 64 << 10;

/// Bytes of a component file. 64 MiB: Python's is 18, JavaScript's 12; it bounds compile time and memory.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;

/// A limit's identity. The names are part of error messages and of the configuration: never rename one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is documented at the field or constant of the same name")]
pub enum Limit {
    WallMs,
    CpuMs,
    TotalMs,
    TotalCpuMs,
    MemoryBytes,
    TableElements,
    CoreInstances,
    ComponentInstances,
    Memories,
    Tables,
    Resources,
    HostCalls,
    Reads,
    Writes,
    Jobs,
    Declarations,
    PlatformCalls,
    CallBytes,
    KeptBytes,
    LogBytes,
    ResultBytes,
    ErrorBytes,
    WorkBytes,
    SymbolBytes,
    StackBytes,
    ComponentBytes,
    /// The memory of all sandboxes of the host together, see [`RuntimeConfig`](crate::RuntimeConfig).
    SandboxBytes,
}

impl Limit {
    /// All of them, for the documentation and its test.
    pub const ALL: [Self; 27] = [
        Self::WallMs,
        Self::CpuMs,
        Self::TotalMs,
        Self::TotalCpuMs,
        Self::MemoryBytes,
        Self::TableElements,
        Self::CoreInstances,
        Self::ComponentInstances,
        Self::Memories,
        Self::Tables,
        Self::Resources,
        Self::HostCalls,
        Self::Reads,
        Self::Writes,
        Self::Jobs,
        Self::Declarations,
        Self::PlatformCalls,
        Self::CallBytes,
        Self::KeptBytes,
        Self::LogBytes,
        Self::ResultBytes,
        Self::ErrorBytes,
        Self::WorkBytes,
        Self::SymbolBytes,
        Self::StackBytes,
        Self::ComponentBytes,
        Self::SandboxBytes,
    ];

    /// The name in configuration and messages, with its unit last.
    pub fn name(self) -> &'static str {
        match self {
            Self::WallMs => "wall_ms_max",
            Self::CpuMs => "cpu_ms_max",
            Self::TotalMs => "total_ms_max",
            Self::TotalCpuMs => "total_cpu_ms_max",
            Self::MemoryBytes => "memory_bytes_max",
            Self::TableElements => "table_elements_max",
            Self::CoreInstances => "core_instances_max",
            Self::ComponentInstances => "component_instances_max",
            Self::Memories => "memories_max",
            Self::Tables => "tables_max",
            Self::Resources => "resources_max",
            Self::HostCalls => "host_calls_max",
            Self::Reads => "reads_max",
            Self::Writes => "writes_max",
            Self::Jobs => "jobs_max",
            Self::Declarations => "declarations_max",
            Self::PlatformCalls => "platform_calls_max",
            Self::CallBytes => "call_bytes_max",
            Self::KeptBytes => "kept_bytes_max",
            Self::LogBytes => "log_bytes_max",
            Self::ResultBytes => "result_bytes_max",
            Self::ErrorBytes => "error_bytes_max",
            Self::WorkBytes => "work_bytes_max",
            Self::SymbolBytes => "symbol_bytes_max",
            Self::StackBytes => "stack_bytes_max",
            Self::ComponentBytes => "component_bytes_max",
            Self::SandboxBytes => "sandbox_bytes_max",
        }
    }

    /// What the plugin's developer can do about it.
    fn hint(self) -> &'static str {
        match self {
            Self::WallMs => "do less in one call, or move long work into a job",
            Self::CpuMs => "look for a loop that does not end; the backtrace shows where it was",
            Self::TotalMs | Self::TotalCpuMs => "enqueue a job for the rest; it begins with its own time",
            Self::MemoryBytes => "work on smaller pieces, or ask the operator to raise it",
            Self::TableElements => "a table that grows at run time is unusual: check the toolchain",
            Self::CoreInstances | Self::ComponentInstances | Self::Memories | Self::Tables => {
                "build one component from one program instead of linking many modules"
            }
            Self::Resources => "drop records, pages and clients when you are done with them",
            Self::HostCalls => "read several fields with one `get-many`, several records with one query",
            Self::Reads => "read several records with one query",
            Self::Writes => "split the work into several jobs",
            Self::Jobs => "enqueue one job that enqueues the next ones",
            Self::Declarations => "declare fewer actions, fields and parameters, or split the plugin",
            Self::PlatformCalls => "use a bulk call of the platform, or enqueue calls with `queue.enqueue-call`",
            Self::CallBytes => "pass smaller pieces",
            Self::KeptBytes => "split the work into several jobs, each with its own part of the data",
            Self::LogBytes => "log less; bodies and whole records do not belong in a log",
            Self::ResultBytes => "return an id and keep the data in a record",
            Self::WorkBytes => "ask with fewer conditions, or before writing many records",
            Self::SymbolBytes => "strip the names of generated functions",
            Self::ErrorBytes => "say in one sentence what was wrong; bodies and records do not belong in an error",
            Self::StackBytes => "look for a recursion that does not end; the backtrace shows it",
            Self::ComponentBytes => "strip debug information, and leave out what the plugin does not use",
            Self::SandboxBytes => "the host is full: it is tried again; the operator can raise it",
        }
    }
}

/// A plugin ran into one of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitExceeded {
    /// Which.
    pub limit: Limit,
    /// Its value, in the unit that its name ends with.
    pub max: u64,
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, max } = self;
        write!(f, "limit `{}` of {max} exceeded; hint: {}", limit.name(), limit.hint())
    }
}

impl std::error::Error for LimitExceeded {}
