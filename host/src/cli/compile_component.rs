//! `tradewind compile-component`, which the host starts for itself: see [`tradewind_runtime::Compiler`].

use tradewind_runtime::compile_stdin;

use super::Exit;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Milliseconds that it may take.
    ms_max: u64,
    /// Bytes of memory that it may take.
    memory_bytes_max: u64,
    /// Whether instructions are counted, 0 or 1.
    counts_instructions: u8,
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let Arguments { ms_max, memory_bytes_max, counts_instructions } = *arguments;
    match compile_stdin(ms_max, memory_bytes_max, counts_instructions != 0) {
        Ok(()) => Exit::Fine,
        Err(error) => {
            eprintln!("{error:#}");
            Exit::NotInstalled
        }
    }
}
