//! What can be said of a component before it is compiled: whether it is one, what it imports and exports, what it needs.
//!
//! Compiling takes seconds and this takes milliseconds, so every problem that can be seen here is reported here, all at
//! once and in words.

use std::fmt;

use serde::{Deserialize, Serialize};
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, Encoding, Instance, KnownCustom,
    Name, NameSectionReader, Parser, Payload,
};

use crate::limits::{COMPONENT_BYTES_MAX, Limit, LimitExceeded, Limits, SYMBOL_BYTES_MAX};

/// Bytes of a WebAssembly page.
const PAGE_BYTES: u64 = 64 << 10;

/// How deep components may nest. 20: toolchains nest two or three levels; each level of a hostile one costs it 15 bytes
/// and the reader a frame.
const NESTING_MAX: usize = 20;

/// What the operator allows a plugin. The names are persisted in configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "a set with names that configurations spell out")]
pub struct Grants {
    /// Records: the interface `data`.
    pub data: bool,
    /// Jobs: the interface `queue`.
    pub queue: bool,
    /// Shopify's API: the interface `shopify`.
    pub shopify: bool,
    /// BigCommerce's API: the interface `bigcommerce`.
    pub bigcommerce: bool,
    /// HTTP to the hosts that the operator names: the interface `http`.
    pub http: bool,
    /// Settings and the secrets that are granted by name: the interface `config`.
    pub config: bool,
    /// Other shops' records and clients than the current shop's.
    pub all_shops: bool,
    /// Reading access tokens through a client's `credentials`.
    pub expose_token: bool,
}

impl Grants {
    /// The names, in the order of the fields.
    pub const NAMES: [&str; 8] =
        ["data", "queue", "shopify", "bigcommerce", "http", "config", "all-shops", "expose-token"];

    /// Every interface. `all-shops` and `expose-token` are never granted without being asked for.
    pub fn usual() -> Self {
        Self { data: true, queue: true, shopify: true, bigcommerce: true, http: true, config: true, ..Self::default() }
    }

    /// Adds a grant by its name; false when there is none of this name.
    pub fn add(&mut self, name: &str) -> bool {
        let grant = match name {
            "data" => &mut self.data,
            "queue" => &mut self.queue,
            "shopify" => &mut self.shopify,
            "bigcommerce" => &mut self.bigcommerce,
            "http" => &mut self.http,
            "config" => &mut self.config,
            "all-shops" => &mut self.all_shops,
            "expose-token" => &mut self.expose_token,
            _ => return false,
        };
        *grant = true;
        true
    }

    /// Whether an interface of the contract may be imported; none when the contract has no such interface.
    fn allows(&self, interface: &str) -> Option<bool> {
        match interface {
            "types" | "registry" | "actions" | "log" => Some(true),
            "data" => Some(self.data),
            "queue" => Some(self.queue),
            "shopify" => Some(self.shopify),
            "bigcommerce" => Some(self.bigcommerce),
            "http" => Some(self.http),
            "config" => Some(self.config),
            _ => None,
        }
    }
}

/// Why a file cannot be installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Problem {
    #[error("the file is not WebAssembly: {reason}; hint: pass the `.wasm` file that your toolchain wrote")]
    NotWasm { reason: String },
    #[error(
        "the file is a core module, not a component; hint: build for `wasm32-wasip2`, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    #[error("the component is damaged or cut off: {reason}; hint: build or copy it again")]
    Damaged { reason: String },
    #[error(
        "it imports `{import}`, which is not granted to it; hint: grant `{grant}`, or remove the calls that need it"
    )]
    NotGranted { import: String, grant: String },
    #[error("it imports `{import}`, which this host does not offer; hint: {hint}")]
    UnknownImport { import: String, hint: &'static str },
    #[error("it does not export the function `{name}`; hint: build it for the world `tradewind:plugin/plugin`")]
    MissingExport { name: &'static str },
    #[error("{0}")]
    Limit(LimitExceeded),
    #[error("its components are nested deeper than {max} levels; hint: build one component from one program", max = NESTING_MAX)]
    Nesting,
    #[error("it passes components around as values; hint: instantiate each component where it is defined")]
    PassedComponent,
    #[error("its types do not fit the contract: {reason}; hint: build it against the `wit/v1` folder of this host")]
    Types { reason: String },
    #[error("it could not be compiled: {reason}")]
    Compile { reason: String },
    #[error(
        "the host has no room for its instances: {reason}; hint: the plugin is not at fault: lower the host's slots, or start it again"
    )]
    Pool { reason: String },
    #[error("its `describe` failed: {0}")]
    Describe(crate::Failure),
    #[error("it describes itself wrongly: {0}")]
    Description(String),
}

/// What a component needs from the pool: the sums over everything that one instantiation creates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Core instances.
    pub core_instances: u64,
    /// Component instances: what the compiler walks, and nothing of the pool.
    pub component_instances: u64,
    /// Linear memories.
    pub memories: u64,
    /// Tables.
    pub tables: u64,
    /// Bytes of all memories at the start.
    pub memory_bytes: u64,
    /// Elements of the largest table at the start.
    pub table_elements: u64,
}

impl Needs {
    fn and(self, other: Self) -> Self {
        Self {
            core_instances: self.core_instances.saturating_add(other.core_instances),
            component_instances: self.component_instances.saturating_add(other.component_instances),
            memories: self.memories.saturating_add(other.memories),
            tables: self.tables.saturating_add(other.tables),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            table_elements: self.table_elements.max(other.table_elements),
        }
    }

    /// The needs of whichever needs more, in each direction.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            core_instances: self.core_instances.max(other.core_instances),
            component_instances: self.component_instances.max(other.component_instances),
            memories: self.memories.max(other.memories),
            tables: self.tables.max(other.tables),
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            table_elements: self.table_elements.max(other.table_elements),
        }
    }

    fn exceeding(self, limits: &Limits) -> impl Iterator<Item = LimitExceeded> {
        let pairs = [
            (self.core_instances, Limit::CoreInstances, limits.core_instances_max),
            (self.component_instances, Limit::ComponentInstances, limits.component_instances_max),
            (self.memories, Limit::Memories, limits.memories_max),
            (self.tables, Limit::Tables, limits.tables_max),
            (self.memory_bytes, Limit::MemoryBytes, limits.memory_bytes_max),
            (self.table_elements, Limit::TableElements, limits.table_elements_max),
        ];
        pairs.into_iter().filter(|(need, _, max)| need > max).map(|(_, limit, max)| LimitExceeded { limit, max })
    }
}

/// What a component is, as far as its bytes tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The names of its imports.
    pub imports: Vec<String>,
    /// The names of its exports.
    pub exports: Vec<String>,
    /// What it needs from the pool.
    pub needs: Needs,
}

/// Reads a component and reports every problem that can be seen without compiling it.
pub fn inspect(bytes: &[u8], grants: &Grants, limits: &Limits) -> Result<Inspection, Vec<Problem>> {
    if bytes.len() as u64 > COMPONENT_BYTES_MAX {
        let exceeded = LimitExceeded { limit: Limit::ComponentBytes, max: COMPONENT_BYTES_MAX };
        return Err(vec![Problem::Limit(exceeded)]);
    }
    let inspection = read(bytes).map_err(|problem| vec![problem])?;
    let mut problems: Vec<Problem> =
        inspection.imports.iter().filter_map(|import| import_problem(import, grants)).collect();
    for name in ["describe", "run", "success"] {
        if !inspection.exports.iter().any(|export| export == name) {
            problems.push(Problem::MissingExport { name });
        }
    }
    problems.extend(inspection.needs.exceeding(limits).map(Problem::Limit));
    if problems.is_empty() { Ok(inspection) } else { Err(problems) }
}

fn import_problem(import: &str, grants: &Grants) -> Option<Problem> {
    let unknown = |hint| Some(Problem::UnknownImport { import: import.to_owned(), hint });
    let (path, version) = import.split_once('@').unwrap_or((import, ""));
    if let Some(interface) = path.strip_prefix("tradewind:plugin/") {
        if !version.starts_with("1.") {
            return unknown("this host speaks version 1 of the contract");
        }
        return match grants.allows(interface) {
            Some(true) => None,
            Some(false) => Some(Problem::NotGranted { import: import.to_owned(), grant: interface.to_owned() }),
            None => unknown("it is newer than this host: update the host"),
        };
    }
    let linked = ["wasi:cli/", "wasi:clocks/", "wasi:filesystem/", "wasi:io/", "wasi:random/", "wasi:sockets/"];
    if linked.iter().any(|package| path.starts_with(package)) {
        return if version.starts_with("0.2") { None } else { unknown("build for WASI 0.2 (`wasm32-wasip2`)") };
    }
    if path.starts_with("wasi:http/") {
        return unknown("call platforms through their clients, and others through `tradewind:plugin/http`");
    }
    unknown("a plugin can import WASI 0.2 and the interfaces of `tradewind:plugin`")
}

/// One component that is being read; components nest.
#[derive(Default)]
struct Frame {
    modules: Vec<Needs>,
    components: Vec<Needs>,
    total: Needs,
    /// A core module's own needs, when the frame is one.
    module: Option<Needs>,
}

fn read(bytes: &[u8]) -> Result<Inspection, Problem> {
    if Parser::is_core_wasm(bytes) {
        return Err(Problem::CoreModule);
    }
    if !Parser::is_component(bytes) {
        let reason = match bytes.get(..4) {
            Some(b"\0asm") => "its version is unknown".to_owned(),
            _ => format!("it does not begin with `\\0asm` ({} bytes)", bytes.len()),
        };
        return Err(Problem::NotWasm { reason });
    }
    let mut reader = Reader::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let read = payload.and_then(|payload| reader.payload(payload));
        read.map_err(|error| Problem::Damaged { reason: error.to_string() })?;
        if reader.stack.len() > NESTING_MAX {
            return Err(Problem::Nesting);
        }
        if reader.passed_component {
            return Err(Problem::PassedComponent);
        }
        if reader.symbol_bytes > SYMBOL_BYTES_MAX {
            return Err(Problem::Limit(LimitExceeded { limit: Limit::SymbolBytes, max: SYMBOL_BYTES_MAX }));
        }
    }
    Ok(reader.inspection)
}

/// The longest name in a name section. What cannot be read, the sandbox does not read either.
fn longest_symbol(names: NameSectionReader<'_>) -> u64 {
    let mut longest = 0;
    for part in names.into_iter().map_while(Result::ok) {
        match part {
            Name::Module { name, .. } => longest = longest.max(name.len()),
            Name::Function(functions) => {
                let names = functions.into_iter().map_while(Result::ok);
                longest = names.map(|function| function.name.len()).fold(longest, usize::max);
            }
            _ => {}
        }
    }
    longest as u64
}

#[derive(Default)]
struct Reader {
    stack: Vec<Frame>,
    inspection: Inspection,
    /// Bytes of the longest name of a function or a module.
    symbol_bytes: u64,
    /// Whether a component comes from an argument or out of an instance. No toolchain does that; and what is instantiated
    /// then, and how often, only the compiler could say.
    passed_component: bool,
}

impl Reader {
    fn payload(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        let outermost = self.stack.len() == 1;
        match payload {
            Payload::Version { encoding, .. } => {
                let module = (encoding == Encoding::Module).then(|| Needs { core_instances: 1, ..Needs::default() });
                self.stack.push(Frame { module, ..Frame::default() });
            }
            Payload::End(_) => self.end(),
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    self.symbol_bytes = self.symbol_bytes.max(longest_symbol(names));
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    let memory = memory?;
                    let page = memory.page_size_log2.map_or(PAGE_BYTES, |log2| 1 << log2.min(63));
                    let memory_bytes = memory.initial.saturating_mul(page);
                    self.add_to_module(Needs { memories: 1, memory_bytes, ..Needs::default() });
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    let table_elements = table?.ty.initial;
                    self.add_to_module(Needs { tables: 1, table_elements, ..Needs::default() });
                }
            }
            Payload::InstanceSection(instances) => {
                for instance in instances {
                    if let Instance::Instantiate { module_index, .. } = instance? {
                        self.instantiate(module_index, |frame| &frame.modules, Needs::default());
                    }
                }
            }
            Payload::ComponentInstanceSection(instances) => {
                for instance in instances {
                    if let ComponentInstance::Instantiate { component_index, .. } = instance? {
                        let itself = Needs { component_instances: 1, ..Needs::default() };
                        self.instantiate(component_index, |frame| &frame.components, itself);
                    }
                }
            }
            Payload::ComponentAliasSection(aliases) => {
                for alias in aliases {
                    self.alias(&alias?);
                }
            }
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    let import = import?;
                    // The world's own type imports only give names to types of the interfaces.
                    if outermost && import.ty.kind() != ComponentExternalKind::Type {
                        self.inspection.imports.push(import.name.name.to_owned());
                    }
                    match import.ty.kind() {
                        ComponentExternalKind::Module => self.unknown_module(),
                        ComponentExternalKind::Component => self.passed_component = true,
                        _ => {}
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if outermost {
                        self.inspection.exports.push(export.name.name.to_owned());
                    }
                    self.exported(export.kind, export.index);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self) {
        let Some(frame) = self.stack.pop() else { return };
        let Some(parent) = self.stack.last_mut() else {
            self.inspection.needs = frame.total;
            return;
        };
        match frame.module {
            Some(module) => parent.modules.push(module),
            None => parent.components.push(frame.total),
        }
    }

    fn add_to_module(&mut self, needs: Needs) {
        if let Some(module) = self.stack.last_mut().and_then(|frame| frame.module.as_mut()) {
            *module = module.and(needs);
        }
    }

    fn instantiate(&mut self, index: u32, kind: fn(&Frame) -> &Vec<Needs>, itself: Needs) {
        if let Some(frame) = self.stack.last_mut() {
            let needs = kind(frame).get(index as usize).copied().unwrap_or_default();
            frame.total = frame.total.and(itself).and(needs);
        }
    }

    /// An export is one more item, with an index of its own.
    fn exported(&mut self, kind: ComponentExternalKind, index: u32) {
        let Some(frame) = self.stack.last_mut() else { return };
        let items = match kind {
            ComponentExternalKind::Module => &mut frame.modules,
            ComponentExternalKind::Component => &mut frame.components,
            _ => return,
        };
        let needs = items.get(index as usize).copied().unwrap_or_default();
        items.push(needs);
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) {
        match *alias {
            ComponentAlias::Outer { kind, count, index } => {
                let outer = self.stack.len().checked_sub(1 + count as usize).and_then(|at| self.stack.get(at));
                let (needs, modules) = match kind {
                    ComponentOuterAliasKind::CoreModule => (outer.and_then(|o| o.modules.get(index as usize)), true),
                    ComponentOuterAliasKind::Component => (outer.and_then(|o| o.components.get(index as usize)), false),
                    _ => return,
                };
                let needs = needs.copied().unwrap_or_default();
                if let Some(frame) = self.stack.last_mut() {
                    if modules { frame.modules.push(needs) } else { frame.components.push(needs) }
                }
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => {
                self.unknown_module();
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Component, .. } => {
                self.passed_component = true;
            }
            _ => {}
        }
    }

    /// A module whose definition is elsewhere: counted as the largest one seen so far.
    fn unknown_module(&mut self) {
        if let Some(frame) = self.stack.last_mut() {
            let least = Needs { core_instances: 1, ..Needs::default() };
            let largest = frame.modules.iter().copied().fold(least, Needs::max);
            frame.modules.push(largest);
        }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { core_instances, component_instances, memories, tables, memory_bytes, table_elements } = *self;
        let counted = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        f.write_str(&counted(core_instances, "core instance"))?;
        if component_instances > 0 {
            write!(f, ", {}", counted(component_instances, "component instance"))?;
        }
        let memories = if memories == 1 { "1 memory".to_owned() } else { format!("{memories} memories") };
        write!(f, ", {memories} ({} KiB), {}", memory_bytes >> 10, counted(tables, "table"))?;
        write!(f, " ({})", counted(table_elements, "element"))
    }
}
