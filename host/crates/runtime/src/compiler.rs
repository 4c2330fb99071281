//! Compiles components in a process of its own, which has a deadline and a bound of memory.
//!
//! What compiling takes is not linear in what is compiled: nested blocks of 48 KB keep a processor for minutes. Nothing ends a
//! compiler on a thread, so it is a process: the same program, started again, gets the component on its standard input and
//! writes the machine code to its standard output.

use std::io::{self, Read, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use wasmtime::{Engine, Result, bail, format_err};

use crate::limits::COMPONENT_BYTES_MAX;
use crate::pool;

/// The command of the program that calls [`compile_stdin`].
pub const COMPILE_COMMAND: &str = "compile-component";

/// Bytes of machine code. 1 GiB: the largest component that may be installed makes a third of that.
const ARTIFACT_BYTES_MAX: u64 = 1 << 30;

/// Bytes of what the compiler says. 64 KiB: an error of the compiler is a sentence.
const STDERR_BYTES_MAX: u64 = 64 << 10;

/// Files that the compiler may have open: its standard streams, and what finds the number of processors.
const FILES_MAX: u64 = 32;

/// A program that compiles components, and its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// The program, which has to call [`compile_stdin`] on [`COMPILE_COMMAND`] with the three numbers that follow.
    pub program: PathBuf,
    /// How long it may take, in milliseconds.
    pub ms_max: u64,
    /// Bytes of memory that it may take.
    pub memory_bytes_max: u64,
}

impl Compiler {
    /// The machine code of a component. Blocks the thread.
    pub(crate) fn compile(&self, component: &[u8], counts_instructions: bool) -> Result<Vec<u8>> {
        let numbers = [self.ms_max, self.memory_bytes_max, u64::from(counts_instructions)];
        let child = Command::new(&self.program)
            .arg(COMPILE_COMMAND)
            .args(numbers.map(|number| number.to_string()))
            // It needs none of the host's secrets.
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let program = self.program.display();
        let child = child.map_err(|error| format_err!("the compiler, `{program}`, cannot be started: {error}"))?;
        let (artifact, said, status) = self.talk(child, component)?;
        match artifact {
            // What was cut off is no machine code.
            Some(artifact) if artifact.len() as u64 >= ARTIFACT_BYTES_MAX => {
                bail!("the machine code has {ARTIFACT_BYTES_MAX} bytes or more (`artifact_bytes_max`)")
            }
            Some(artifact) if status.success() => Ok(artifact),
            artifact => Err(self.why(artifact.is_none(), status, &said)),
        }
    }

    /// Hands the component over and waits for the machine code, or for the deadline: then there is none.
    fn talk(&self, mut child: Child, component: &[u8]) -> Result<(Option<Vec<u8>>, String, ExitStatus)> {
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            bail!("the compiler has no standard streams");
        };
        let (sender, artifact) = mpsc::channel();
        thread::scope(|scope| {
            // One that has ended reads no more; why it ended is told below.
            scope.spawn(move || stdin.write_all(component));
            scope.spawn(move || sender.send(read_all(stdout, ARTIFACT_BYTES_MAX)));
            let said = scope.spawn(move || read_all(stderr, STDERR_BYTES_MAX));
            let artifact = match artifact.recv_timeout(Duration::from_millis(self.ms_max)) {
                Ok(artifact) => Some(artifact),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    // It may have ended this moment.
                    let _ = child.kill();
                    None
                }
            };
            let status = child.wait()?;
            let said = said.join().unwrap_or_default();
            Ok((artifact, String::from_utf8_lossy(&said).into_owned(), status))
        })
    }

    fn why(&self, is_late: bool, status: ExitStatus, said: &str) -> wasmtime::Error {
        let signal = status.signal();
        if is_late || signal == Some(Signal::XCPU.as_raw()) {
            return format_err!("compiling takes longer than {} ms (`compile_ms_max`)", self.ms_max);
        }
        if signal.is_some() {
            return format_err!(
                "the compiler was ended: compiling takes more than {} bytes of memory (`compile_memory_bytes_max`), or \
                 the machine has no more: {}",
                self.memory_bytes_max,
                said.trim()
            );
        }
        format_err!("{}", said.trim())
    }
}

/// Reads to the end, and passes over what is too much.
fn read_all(mut from: impl Read, max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Whoever ends in the middle is found out by its status.
    let _ = from.by_ref().take(max).read_to_end(&mut bytes);
    let _ = io::copy(&mut from, &mut io::sink());
    bytes
}

/// Compiles what stands on the standard input to the standard output, within these bounds, for good: the process can do nothing
/// else afterwards.
pub fn compile_stdin(ms_max: u64, memory_bytes_max: u64, counts_instructions: bool) -> Result<()> {
    let processors = thread::available_parallelism().map_or(1, |processors| processors.get() as u64);
    for (resource, max) in [
        // Beside the deadline that the host has, for when the host ends before.
        (Resource::Cpu, (ms_max / 1_000 + 1).saturating_mul(processors)),
        (Resource::Data, memory_bytes_max),
        (Resource::Nofile, FILES_MAX),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) })?;
    }
    let mut component = Vec::new();
    io::stdin().lock().take(COMPONENT_BYTES_MAX).read_to_end(&mut component)?;
    let artifact = Engine::new(&pool::compiling(counts_instructions))?.precompile_component(&component)?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&artifact)?;
    stdout.flush()?;
    Ok(())
}
