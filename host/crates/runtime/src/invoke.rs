//! One call of a plugin: a fresh store, a fresh instance, one exported function, and everything dropped afterwards.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tradewind_model::{ActionError, ActiveRecord, Description, Json};
use wasmtime::component::{ResourceTable, ResourceTableError};
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace};

use crate::failure::{Failure, Frames, panic_message};
use crate::gate::Permit;
use crate::host::handles::{Registrar, TheInvocation};
use crate::host::{HostFault, State};
use crate::limits::{
    ERROR_CODE_BYTES_MAX, ERROR_MESSAGE_BYTES_MAX, FRAME_BYTES_MAX, FRAMES_MAX, Limit, LimitExceeded, Limits, TICK,
};
use crate::meter::{Meter, Usage};
use crate::processor::{Measured, Processor};
use crate::runtime::Plugin;
use crate::session::{Level, LogEntry, Session};
use crate::share::Seat;
use crate::text::{shown, start_of};
use crate::wasi::Wasi;

/// Which of the contract's two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the change is committed.
    Run,
    /// After it.
    Success,
}

/// Everything that one call is told.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The action's name.
    pub action: String,
    /// Which call.
    pub phase: Phase,
    /// The caller's parameters, a JSON object.
    pub params: Json,
    /// Why it runs, as the contract's `invocation.trigger` documents it.
    pub trigger: Json,
    /// `create`, `update`, `delete` or the custom verb; none for an action on no model.
    pub verb: Option<String>,
    /// The webhook's body as it arrived.
    pub payload: Option<Json>,
    /// Who is calling.
    pub caller: Option<Json>,
    /// The current shop.
    pub shop: Option<Json>,
    /// The record, incoming fields applied.
    pub record: Option<ActiveRecord>,
    /// What `run` returned, for `success`.
    pub run_result: Option<Json>,
    /// Equal for every attempt of this phase.
    pub idempotency_key: String,
    /// From 1.
    pub attempt: u32,
    /// How many of our own writes stand between this and an outside cause.
    pub depth: u32,
    /// What an earlier attempt's checkpoint stored.
    pub checkpoint_state: Option<Json>,
    /// The time since 1970 that the guest's wall clock begins at.
    pub now: Duration,
    /// Decides every random byte that the guest sees.
    pub seed: u64,
}

impl Invocation {
    /// A call without record, parameters or history. The time and the seed come from the caller.
    pub fn new(action: &str, phase: Phase, now: Duration, seed: u64) -> Self {
        Self {
            action: action.to_owned(),
            phase,
            params: Json::object([]),
            trigger: Json::object([]),
            verb: None,
            payload: None,
            caller: None,
            shop: None,
            record: None,
            run_result: None,
            idempotency_key: String::new(),
            attempt: 1,
            depth: 0,
            checkpoint_state: None,
            now,
            seed,
        }
    }
}

/// How a call ended.
pub struct Outcome {
    /// What `run` returned, `null` after `success`; or why there is no result.
    pub result: Result<Json, Failure>,
    /// The record as the plugin left it. To be thrown away when `result` is a failure.
    pub record: Option<ActiveRecord>,
    /// The session, with whatever it buffered. To be thrown away when `result` is a failure.
    pub session: Box<dyn Session>,
    /// What the call used.
    pub usage: Usage,
}

/// How long after the deadline a host call is given up. Two ticks: guest code that is running ends by itself within one,
/// with a backtrace.
const GIVE_UP_AFTER: Duration = TICK.saturating_mul(2);

pub(crate) async fn call(
    plugin: &Plugin,
    limits: Limits,
    invocation: Invocation,
    session: Box<dyn Session>,
    permit: Permit,
    seat: Seat,
) -> Outcome {
    let (action, phase) = (invocation.action.clone(), invocation.phase);
    let (result_bytes_max, error_bytes_max) = (limits.result_bytes_max, limits.error_bytes_max);
    // The store drops its data before its instances. This one is dropped after the store, in every case, so that nobody
    // is let in before the slot is free.
    let permit = Arc::new(permit);
    let (mut store, processor) = store(plugin, limits, invocation, session, Arc::clone(&permit), seat.clone());
    let ended = guarded(&mut store, processor, seat, async |store| {
        let guest = plugin.pre.instantiate_async(&mut *store).await?;
        store.data_mut().instantiated = true;
        let call = store.data_mut().table.push(TheInvocation)?;
        match phase {
            Phase::Run => guest.call_run(&mut *store, &action, call).await,
            Phase::Success => {
                guest.call_success(&mut *store, &action, call).await.map(|ended| ended.map(|()| String::new()))
            }
        }
    })
    .await;
    let result = match ended {
        Ok(Ok(_)) if phase == Phase::Success => Ok(Json::null()),
        Ok(Ok(text)) if text.len() as u64 > result_bytes_max => {
            let exceeded = LimitExceeded { limit: Limit::ResultBytes, max: result_bytes_max };
            Err(Failure::Limit { exceeded, backtrace: Frames::default(), stderr: store.data().wasi.output.stderr() })
        }
        Ok(Ok(text)) => Json::parse(text).map_err(|error| Failure::InvalidResult { reason: error.reason }),
        Ok(Err(error)) => returned(error, error_bytes_max, &store),
        Err(failure) => Err(failure),
    };
    let usage = usage(plugin, &store);
    let mut state = store.into_data();
    drain_output(&mut state, true);
    let mut record = state.invocation.record;
    if let Some(record) = &mut record {
        record.forget_flushes();
    }
    Outcome { result, record, session: state.session, usage }
}

/// Asks a plugin what it offers. The problems are those of single registrations.
pub(crate) async fn describe(
    plugin: &Plugin,
    limits: Limits,
    invocation: Invocation,
    session: Box<dyn Session>,
    permit: Permit,
    seat: Seat,
) -> Result<(Description, Vec<String>), Failure> {
    // As in `call`.
    let permit = Arc::new(permit);
    let (mut store, processor) = store(plugin, limits, invocation, session, Arc::clone(&permit), seat.clone());
    // A description that followed from the time could fail at any later start.
    store.data_mut().wasi.stop_clock();
    guarded(&mut store, processor, seat, async |store| {
        let guest = plugin.pre.instantiate_async(&mut *store).await?;
        store.data_mut().instantiated = true;
        let registrar = store.data_mut().table.push(Registrar)?;
        guest.call_describe(&mut *store, registrar).await
    })
    .await?;
    let state = store.into_data();
    Ok((state.registration, state.registration_problems))
}

fn store(
    plugin: &Plugin,
    limits: Limits,
    invocation: Invocation,
    session: Box<dyn Session>,
    permit: Arc<Permit>,
    seat: Seat,
) -> (Store<State>, Arc<Processor>) {
    let started = Instant::now();
    let processor = Processor::new(started);
    let wasi = Wasi::new(invocation.now, started, invocation.seed, limits.log_bytes_max);
    let mut table = ResourceTable::new();
    table.set_max_capacity(usize::try_from(limits.resources_max).unwrap_or(usize::MAX));
    let call_bytes_max = usize::try_from(limits.call_bytes_max).unwrap_or(usize::MAX);
    let meter = Meter::new(limits, started, Arc::clone(&processor), wasi.output.clone(), permit);
    let state = State {
        session,
        invocation,
        registration: Description::default(),
        registration_problems: Vec::new(),
        grants: plugin.grants.clone(),
        table,
        wasi,
        meter,
        instantiated: false,
    };
    let mut store = Store::new(plugin.pre.engine(), state);
    store.limiter(|state| &mut state.meter);
    store.set_hostcall_fuel(call_bytes_max);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut context| {
        let ticks = context.data_mut().meter.tick()?;
        // Others on this thread get their turn at each tick. The executor's own way of yielding lets it look at its timers
        // and sockets first, which it otherwise does once in many turns: a turn of a loop lasts a whole tick.
        let yielded = tokio::task::yield_now();
        if ticks < LONG_TICKS {
            return Ok(UpdateDeadline::YieldCustom(1, Box::pin(yielded)));
        }
        let turn = seat.clone().take_turn();
        Ok(UpdateDeadline::YieldCustom(
            1,
            Box::pin(async move {
                yielded.await;
                turn.await;
            }),
        ))
    });
    if plugin.counts_instructions {
        // The counter runs down from the most it can hold.
        drop(store.set_fuel(u64::MAX));
    }
    (store, processor)
}

/// Ticks from which on a call counts as long. 2: the first may come a moment after the call began.
const LONG_TICKS: u32 = 2;

/// A plugin's own error, cut to what is kept of one.
fn returned(
    error: crate::bindings::tradewind::plugin::types::Error,
    max: u64,
    store: &Store<State>,
) -> Result<Json, Failure> {
    let bytes = error.code.len() + error.message.len() + error.details.as_ref().map_or(0, String::len);
    if bytes as u64 > max {
        let exceeded = LimitExceeded { limit: Limit::ErrorBytes, max };
        return Err(Failure::Limit {
            exceeded,
            backtrace: Frames::default(),
            stderr: store.data().wasi.output.stderr(),
        });
    }
    let mut error = ActionError::from(error);
    error.code = start_of(&error.code, ERROR_CODE_BYTES_MAX);
    error.message = start_of(&error.message, ERROR_MESSAGE_BYTES_MAX);
    Err(Failure::Returned(error))
}

/// Runs guest code under the wall-clock deadline and says in our words how it failed.
async fn guarded<T>(
    store: &mut Store<State>,
    processor: Arc<Processor>,
    seat: Seat,
    call: impl AsyncFnOnce(&mut Store<State>) -> wasmtime::Result<T>,
) -> Result<T, Failure> {
    let clock = store.data().meter.clock();
    let ended = {
        let call = pin!(call(store));
        let mut call = Measured::new(call, processor, seat);
        loop {
            let deadline = clock.deadline() + GIVE_UP_AFTER;
            match tokio::time::timeout_at(deadline.into(), &mut call).await {
                Ok(ended) => break Some(ended),
                // The clock began anew meanwhile.
                Err(_) if clock.deadline() + GIVE_UP_AFTER > deadline => {}
                Err(_) => break None,
            }
        }
    };
    match ended {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(failure(&error, store.data())),
        None => Err(Failure::Limit {
            exceeded: store.data().meter.exceeded(Limit::WallMs),
            backtrace: Frames::default(),
            stderr: store.data().wasi.output.stderr(),
        }),
    }
}

fn failure(error: &wasmtime::Error, state: &State) -> Failure {
    let stderr = state.wasi.output.stderr();
    let backtrace = backtrace(error);
    let limit = |exceeded| Failure::Limit { exceeded, backtrace: backtrace.clone(), stderr: stderr.clone() };
    if let Some(exceeded) = error.downcast_ref::<LimitExceeded>() {
        return limit(*exceeded);
    }
    if let Some(HostFault(message)) = error.downcast_ref() {
        return Failure::Host(message.clone());
    }
    // WASI keeps its handles in the same table as we do, and does not know of our limits.
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return limit(state.meter.exceeded(Limit::Resources));
    }
    let root = shown(error.root_cause(), ERROR_MESSAGE_BYTES_MAX);
    // The sandbox's own error for this has no public type; its first words are stable enough for a test to hold us to.
    if root.starts_with("too much data is being copied") {
        return limit(state.meter.exceeded(Limit::CallBytes));
    }
    let trap = error.downcast_ref::<Trap>();
    if trap == Some(&Trap::StackOverflow) {
        return limit(state.meter.exceeded(Limit::StackBytes));
    }
    // A result that cannot be read (text that is not UTF-8, a wrong pointer) is an error without any frame.
    if trap.is_none() && backtrace.0.is_empty() && !state.instantiated {
        return Failure::Host(shown(format_args!("{error:#}"), ERROR_MESSAGE_BYTES_MAX));
    }
    let message = match error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        Some(exit) => format!("it ended itself with status {}; hint: return a result or an error", exit.0),
        None => start_of(root.trim_start_matches("wasm trap: "), ERROR_MESSAGE_BYTES_MAX),
    };
    let panic = panic_message(&stderr).map(|panic| start_of(&panic, ERROR_MESSAGE_BYTES_MAX));
    Failure::Trap { message, panic, backtrace, stderr }
}

/// Bytes of a function's name that is read as a mangled one. 16 KiB: the names of deep generic types have a few.
const MANGLED_BYTES_MAX: usize = 16 << 10;

fn backtrace(error: &wasmtime::Error) -> Frames {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return Frames::default() };
    let frames = trace.frames().iter().take(FRAMES_MAX).map(|frame| {
        let module = start_of(frame.module().name().unwrap_or("<module>"), FRAME_BYTES_MAX / 4);
        let rest = FRAME_BYTES_MAX - module.len() - 2;
        match frame.func_name() {
            // A mangled name is short in proportion to what it stands for at most; one that is not mangled is shown as it is.
            Some(name) if name.len() > MANGLED_BYTES_MAX => format!("{module}: {}", start_of(name, rest)),
            // The alternate form leaves out the hash that ends a mangled name.
            Some(name) => format!("{module}: {}", shown(format_args!("{:#}", rustc_demangle::demangle(name)), rest)),
            None => format!("{module}: function {}", frame.func_index()),
        }
    });
    Frames(frames.collect())
}

fn usage(plugin: &Plugin, store: &Store<State>) -> Usage {
    let mut usage = store.data().meter.usage();
    // Only then: asking a store that does not count makes an error, whose backtrace costs as much as half a call.
    if plugin.counts_instructions {
        usage.instructions = store.get_fuel().ok().map(|left| u64::MAX - left);
    }
    usage
}

/// Hands what the guest wrote to the standard streams to the log.
pub(crate) fn drain_output(state: &mut State, all: bool) {
    for (error, line) in state.wasi.output.take_lines(all) {
        let level = if error { Level::Warn } else { Level::Info };
        state.session.log(LogEntry { level, message: line, fields: Json::null() });
    }
}
