//! WASI 0.2 with nothing behind it: no files, no sockets, no environment; a clock and randomness of ours; standard
//! output and standard error into the log, bounded.
//!
//! It is made at the first use, because most plugins never ask.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use crate::host::State;
use crate::limits::{ENTRY_BYTES, Limit, LimitExceeded, STDERR_BYTES_MAX};

/// How many random bytes one call may ask for. 64 KiB: what `crypto.getRandomValues` gives at most on the web. Each byte
/// is made while no tick can interrupt: WASI's default of 64 MiB takes seconds.
const RANDOM_BYTES_MAX: u64 = 64 << 10;

/// One invocation's WASI.
pub(crate) struct Wasi {
    context: Option<WasiCtx>,
    seed: u64,
    clock: Clock,
    pub(crate) output: Output,
}

impl Wasi {
    /// `now` is the time since 1970 at `started`; `seed` decides every random byte.
    pub(crate) fn new(now: Duration, started: Instant, seed: u64, log_bytes_max: u64) -> Self {
        Self { context: None, seed, clock: Clock { now, started: Some(started) }, output: Output::new(log_bytes_max) }
    }

    /// The same with a clock that stands still.
    pub(crate) fn stop_clock(&mut self) {
        self.clock.started = None;
    }

    fn build(seed: u64, clock: Clock, output: &Output) -> WasiCtx {
        let stream = |error| Stream { output: output.clone(), error };
        WasiCtx::builder()
            .stdout(stream(false))
            .stderr(stream(true))
            .wall_clock(clock)
            .monotonic_clock(clock)
            .secure_random(StdRng::seed_from_u64(seed))
            .insecure_random(StdRng::seed_from_u64(!seed))
            .max_random_size(RANDOM_BYTES_MAX)
            .insecure_random_seed(u128::from(seed))
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build()
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let Wasi { context, seed, clock, output } = &mut self.wasi;
        let ctx = context.get_or_insert_with(|| Wasi::build(*seed, *clock, output));
        WasiCtxView { ctx, table: &mut self.table }
    }
}

/// What a guest can tell of the time. 1 millisecond: enough for an age or a pause, too little to measure what the processor
/// does for others.
const CLOCK_RESOLUTION: Duration = Duration::from_millis(1);

/// A time as a guest is told it.
fn coarse(time: Duration) -> Duration {
    let rest = time.as_nanos() % CLOCK_RESOLUTION.as_nanos();
    time.saturating_sub(Duration::from_nanos(u64::try_from(rest).unwrap_or_default()))
}

/// The time as one invocation sees it.
#[derive(Clone, Copy)]
struct Clock {
    now: Duration,
    /// None when it stands still.
    started: Option<Instant>,
}

impl Clock {
    fn elapsed(&self) -> Duration {
        self.started.map(|started| started.elapsed()).unwrap_or_default()
    }
}

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        CLOCK_RESOLUTION
    }

    fn now(&self) -> Duration {
        coarse(self.now + self.elapsed())
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        u64::try_from(CLOCK_RESOLUTION.as_nanos()).unwrap_or(u64::MAX)
    }

    fn now(&self) -> u64 {
        u64::try_from(coarse(self.elapsed()).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// What the guest wrote, and the one budget that it shares with the log.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<Written>>);

struct Written {
    bytes_left: u64,
    bytes_max: u64,
    /// Standard output and standard error, not yet handed to the log.
    pending: [Vec<u8>; 2],
    /// The end of standard error, for the error that may come.
    stderr: Vec<u8>,
}

impl Output {
    fn new(bytes_max: u64) -> Self {
        let written =
            Written { bytes_left: bytes_max, bytes_max, pending: [Vec::new(), Vec::new()], stderr: Vec::new() };
        Self(Arc::new(Mutex::new(written)))
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `bytes` from the budget.
    pub(crate) fn spend(&self, bytes: usize) -> Result<(), LimitExceeded> {
        self.lock().spend(bytes)
    }

    /// How many bytes were logged.
    pub(crate) fn spent(&self) -> u64 {
        let written = self.lock();
        written.bytes_max - written.bytes_left
    }

    /// The end of what is on standard error so far.
    pub(crate) fn stderr(&self) -> String {
        let written = self.lock();
        let start = written.stderr.len().saturating_sub(STDERR_BYTES_MAX);
        String::from_utf8_lossy(&written.stderr[start..]).into_owned()
    }

    /// The lines written since the last call: (on standard error, line). `all` takes an unfinished last line too.
    pub(crate) fn take_lines(&self, all: bool) -> Vec<(bool, String)> {
        let mut written = self.lock();
        let mut lines = Vec::new();
        for (error, pending) in [false, true].into_iter().zip(&mut written.pending) {
            let end =
                if all { pending.len() } else { pending.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1) };
            let complete: Vec<u8> = pending.drain(..end).collect();
            lines.extend(String::from_utf8_lossy(&complete).lines().map(|line| (error, line.to_owned())));
        }
        lines
    }
}

impl Written {
    /// Keeps the end of standard error. Twice as much is held before the beginning is let go, so that each byte moves once.
    fn keep_stderr(&mut self, bytes: &[u8]) {
        self.stderr.extend_from_slice(bytes);
        if self.stderr.len() > 2 * STDERR_BYTES_MAX {
            self.stderr.drain(..self.stderr.len() - STDERR_BYTES_MAX);
        }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), LimitExceeded> {
        let exceeded = LimitExceeded { limit: Limit::LogBytes, max: self.bytes_max };
        self.bytes_left = self.bytes_left.checked_sub(bytes as u64).ok_or(exceeded)?;
        Ok(())
    }
}

/// Standard output or standard error.
#[derive(Clone)]
struct Stream {
    output: Output,
    error: bool,
}

impl Stream {
    fn push(&self, bytes: &[u8]) -> Result<(), LimitExceeded> {
        let mut written = self.output.lock();
        // Each line becomes an entry.
        let lines = bytes.split(|byte| *byte == b'\n').count() - 1;
        written.spend(bytes.len() + lines * ENTRY_BYTES)?;
        written.pending[usize::from(self.error)].extend_from_slice(bytes);
        if self.error {
            written.keep_stderr(bytes);
        }
        Ok(())
    }
}

/// How many bytes one write may bring. 64 KiB: the usual buffer of a standard library.
const WRITE_BYTES_MAX: usize = 64 << 10;

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> Result<(), StreamError> {
        self.push(&bytes).map_err(|exceeded| StreamError::Trap(exceeded.into()))
    }

    fn flush(&mut self) -> Result<(), StreamError> {
        Ok(())
    }

    fn check_write(&mut self) -> Result<usize, StreamError> {
        Ok(WRITE_BYTES_MAX)
    }
}

#[async_trait::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(self.push(bytes).map(|()| bytes.len()).map_err(std::io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_lines_are_not_free() {
        let stream = Stream { output: Output::new(10 * ENTRY_BYTES as u64), error: false };
        assert!(stream.push(b"\n\n\n\n").is_ok());
        assert_eq!(stream.output.spent(), 4 * (ENTRY_BYTES as u64 + 1));
        assert!(stream.push(b"\n\n\n\n\n\n").is_err());
    }
}
