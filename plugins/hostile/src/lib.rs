//! Plugins that misbehave, each in its own way: what the sandbox is tested against.
//!
//! Each action is one function in `ACTIONS`. They speak the raw contract instead of the SDK, because the SDK would not
//! let most of this through. To add one, write the function, name it in the table, and say in the hostile cases of the
//! integration tests how it must end.

#![cfg(target_family = "wasm")]
#![expect(clippy::unnecessary_wraps, reason = "all actions have the same type")]

use std::hint::black_box;
use std::time::Duration;

use tradewind_sdk::__private::bindings;

use bindings::tradewind::plugin::actions::{ActiveRecord, Invocation};
use bindings::tradewind::plugin::log::Level;
use bindings::tradewind::plugin::shopify::Client;
use bindings::tradewind::plugin::{data, log, queue};
use bindings::{Error, Guest, Registrar};

type Ended = Result<String, Error>;
type Misbehave = fn(&Invocation) -> Ended;

const ACTIONS: &[(&str, Misbehave)] = &[
    ("endless-loop", endless_loop),
    ("endless-recursion", endless_recursion),
    ("large-frames", large_frames),
    ("memory-bomb", memory_bomb),
    ("log-flood", log_flood),
    ("stdout-flood", stdout_flood),
    ("stderr-flood", stderr_flood),
    ("host-call-flood", host_call_flood),
    ("read-flood", read_flood),
    ("write-flood", write_flood),
    ("job-flood", job_flood),
    ("platform-flood", platform_flood),
    ("resource-flood", resource_flood),
    ("huge-result", huge_result),
    ("huge-argument", huge_argument),
    ("huge-answer", huge_answer),
    ("hoard", hoard),
    ("deep-json", deep_json),
    ("panic", panic),
    ("trap", trap),
    ("exit", exit),
    ("sleep", sleep),
    ("slow-host-call", slow_host_call),
    ("use-after-drop", use_after_drop),
    ("double-drop", double_drop),
    ("invalid-utf8-result", invalid_utf8_result),
    ("invalid-utf8-argument", invalid_utf8_argument),
    ("invalid-json-result", invalid_json_result),
    ("invalid-json-argument", invalid_json_argument),
    ("platform-write-in-run", platform_write_in_run),
    ("write-then-panic", write_then_panic),
    ("escape", escape),
];

struct Hostile;

impl Guest for Hostile {
    fn describe(registrar: Registrar) {
        for (name, _) in ACTIONS {
            registrar.action(name).on_model("shopify/product", "update");
        }
    }

    fn run(action: String, call: Invocation) -> Ended {
        match ACTIONS.iter().find(|(name, _)| *name == action) {
            Some((_, misbehave)) => misbehave(&call),
            None => Err(error("unknown-action", &action)),
        }
    }

    /// Writes to the record after the commit, whatever the action.
    fn success(_: String, call: Invocation) -> Result<(), Error> {
        record(&call)?.set("title", "\"too late\"")
    }
}

bindings::export!(Hostile with_types_in bindings);

fn error(code: &str, message: &str) -> Error {
    Error { code: code.to_owned(), message: message.to_owned(), details: None, retryable: false }
}

fn record(call: &Invocation) -> Result<ActiveRecord, Error> {
    call.record().ok_or_else(|| error("record-required", "this needs a record"))
}

fn client() -> Result<Client, Error> {
    Client::current().ok_or_else(|| error("shop-required", "this needs a shop"))
}

/// Computes for ever.
fn endless_loop(_: &Invocation) -> Ended {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Calls itself for ever, with small frames: the stack of the sandbox ends first.
fn endless_recursion(_: &Invocation) -> Ended {
    #[expect(unconditional_recursion, reason = "it is what this is for")]
    fn deeper(depth: u64) -> u64 {
        // What happens after the call keeps it from becoming a loop.
        black_box(deeper(black_box(depth) + 1)) ^ depth
    }
    Ok(deeper(0).to_string())
}

/// Calls itself for ever, with frames so large that the program's own stack in linear memory ends first.
fn large_frames(_: &Invocation) -> Ended {
    #[expect(unconditional_recursion, reason = "it is what this is for")]
    fn deeper(depth: u8) -> u8 {
        let frame = black_box([depth; 4 << 10]);
        black_box(deeper(depth.wrapping_add(1))) ^ frame[usize::from(depth)]
    }
    Ok(deeper(0).to_string())
}

/// Allocates and touches memory for ever.
fn memory_bomb(_: &Invocation) -> Ended {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Logs for ever.
fn log_flood(_: &Invocation) -> Ended {
    let message = "x".repeat(1_000);
    loop {
        log::write(Level::Info, &message, "null");
    }
}

/// Prints for ever.
#[expect(clippy::print_stdout, reason = "it is what this is for")]
fn stdout_flood(_: &Invocation) -> Ended {
    let message = "x".repeat(1_000);
    loop {
        println!("{message}");
    }
}

/// Complains for ever.
#[expect(clippy::print_stderr, reason = "it is what this is for")]
fn stderr_flood(_: &Invocation) -> Ended {
    let message = "x".repeat(1_000);
    loop {
        eprintln!("{message}");
    }
}

/// Calls the host for ever.
fn host_call_flood(call: &Invocation) -> Ended {
    loop {
        black_box(call.attempt());
    }
}

/// Reads records for ever.
fn read_flood(_: &Invocation) -> Ended {
    loop {
        data::maybe_find_one("thing", "1", "null")?;
    }
}

/// Writes records for ever.
fn write_flood(_: &Invocation) -> Ended {
    loop {
        data::upsert("thing", &["id".to_owned()], "{\"id\":\"1\"}", "null")?;
    }
}

/// Enqueues jobs for ever.
fn job_flood(_: &Invocation) -> Ended {
    loop {
        queue::enqueue_action("hostile", "{}", "null")?;
    }
}

/// Calls a platform for ever.
fn platform_flood(_: &Invocation) -> Ended {
    let client = client()?;
    loop {
        client.graphql("query { shop { name } }", "null", "null")?;
    }
}

/// Holds on to handles for ever.
fn resource_flood(call: &Invocation) -> Ended {
    let mut hoard = Vec::new();
    loop {
        hoard.push(call.record());
    }
}

/// Returns 2 MiB.
fn huge_result(_: &Invocation) -> Ended {
    Ok(format!("\"{}\"", "x".repeat(2 << 20)))
}

/// Passes 17 MiB in one call.
fn huge_argument(call: &Invocation) -> Ended {
    record(call)?.set("title", &format!("\"{}\"", "x".repeat(17 << 20)))?;
    Ok("null".to_owned())
}

/// Asks for one field a hundred thousand times in one call: a small question with an answer that fills the host.
fn huge_answer(call: &Invocation) -> Ended {
    let fields = vec!["body".to_owned(); 100_000];
    Ok(record(call)?.get_many(&fields).len().to_string())
}

/// Lets the host keep a mebibyte more with every call.
fn hoard(call: &Invocation) -> Ended {
    let record = record(call)?;
    let value = format!("\"{}\"", "x".repeat(1 << 20));
    for index in 0_u64.. {
        record.set(&format!("field{index}"), &value)?;
    }
    Ok("null".to_owned())
}

/// Sets a field to two large, deep texts that mean the same: comparing them is the host's work.
fn deep_json(call: &Invocation) -> Ended {
    let record = record(call)?;
    let nested = |last: &str| format!("{}\"{}\",{last}{}", "[".repeat(127), "x".repeat(7 << 20), "]".repeat(127));
    record.set("deep", &nested("1"))?;
    record.flush(bindings::tradewind::plugin::actions::Baseline::Loaded)?;
    record.set("deep", &nested("1.0"))?;
    Ok("null".to_owned())
}

/// Panics with a message.
fn panic(_: &Invocation) -> Ended {
    panic!("the kettle is empty")
}

/// Traps without a word.
fn trap(_: &Invocation) -> Ended {
    core::arch::wasm32::unreachable()
}

/// Ends the process that it thinks it is.
fn exit(_: &Invocation) -> Ended {
    std::process::exit(3)
}

/// Sleeps for an hour inside of the host.
fn sleep(_: &Invocation) -> Ended {
    std::thread::sleep(Duration::from_hours(1));
    Ok("null".to_owned())
}

/// Waits for a platform that the test makes slow.
fn slow_host_call(_: &Invocation) -> Ended {
    client()?.graphql("query { shop { name } }", "null", "null")
}

/// Uses a handle that it has given back.
fn use_after_drop(_: &Invocation) -> Ended {
    let client = client()?;
    let handle = client.handle();
    drop(client);
    #[expect(unsafe_code, reason = "a handle that is not valid is what this is for")]
    // SAFETY: none; the sandbox has to see to it.
    let ghost = unsafe { Client::from_handle(handle) };
    Ok(ghost.shop_domain())
}

/// Gives a handle back twice.
fn double_drop(_: &Invocation) -> Ended {
    let client = client()?;
    #[expect(unsafe_code, reason = "a handle that is not valid is what this is for")]
    // SAFETY: none; the sandbox has to see to it.
    let twin = unsafe { Client::from_handle(client.handle()) };
    drop(client);
    drop(twin);
    Ok("null".to_owned())
}

fn not_utf8() -> String {
    #[expect(unsafe_code, reason = "text that is not text is what this is for")]
    // SAFETY: none; nothing looks into it before the host does.
    unsafe {
        String::from_utf8_unchecked(vec![b'"', 0xff, 0xfe, b'"'])
    }
}

/// Returns bytes that are not UTF-8.
fn invalid_utf8_result(_: &Invocation) -> Ended {
    Ok(not_utf8())
}

/// Passes bytes that are not UTF-8.
fn invalid_utf8_argument(_: &Invocation) -> Ended {
    log::write(Level::Info, &not_utf8(), "null");
    Ok("null".to_owned())
}

/// Returns text that is not JSON.
fn invalid_json_result(_: &Invocation) -> Ended {
    Ok("{\"title\": Hat}".to_owned())
}

/// Passes text that is not JSON.
fn invalid_json_argument(call: &Invocation) -> Ended {
    record(call)?.set("title", "Hat")?;
    Ok("null".to_owned())
}

/// Writes to a platform before the commit.
fn platform_write_in_run(_: &Invocation) -> Ended {
    client()?.graphql("mutation { productDelete(input: {id: \"1\"}) { deletedProductId } }", "null", "null")
}

/// Does its work and then fails: nothing of it may stay.
#[expect(clippy::print_stderr, reason = "the caller gets to see it")]
fn write_then_panic(call: &Invocation) -> Ended {
    record(call)?.set("title", "\"half done\"")?;
    data::create("thing", "{\"id\":\"1\"}", "null")?;
    queue::enqueue_action("hostile", "{}", "null")?;
    eprintln!("so far so good");
    panic!("no further")
}

/// Looks for a way out: files, sockets, names, the environment, arguments. Answers what it found.
fn escape(_: &Invocation) -> Ended {
    let found = [
        std::fs::read_dir("/").is_ok(),
        std::fs::read_dir(".").is_ok(),
        std::fs::write("out.txt", "x").is_ok(),
        std::net::TcpStream::connect("127.0.0.1:80").is_ok(),
        std::net::TcpListener::bind("127.0.0.1:0").is_ok(),
        std::net::UdpSocket::bind("127.0.0.1:0").is_ok(),
        std::net::ToSocketAddrs::to_socket_addrs("localhost:80").is_ok(),
        std::env::vars_os().next().is_some(),
        std::env::args_os().next().is_some(),
        std::io::Read::read(&mut std::io::stdin(), &mut [0; 1]).is_ok_and(|read| read > 0),
    ];
    Ok(format!("{found:?}"))
}
