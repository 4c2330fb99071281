//! A delivery's trace, as a collector gets it: the plugin's calls and the webhook that reports them are in it.
//!
//! The program runs by itself, because a process has one place where its spans go. The collector knows nothing of the
//! sender: it reads the bytes that OTLP documents (protobuf over HTTP).

use std::collections::{BTreeSet, HashMap};
use std::net::TcpListener as Port;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tradewind_emulator::{Config, Emulator, NewSubscription, Plan, ProductEdit, Topic};
use tradewind_tests::{NOW, SEED, plugins_folder};

const SHOP: &str = "hats.myshopify.com";

/// How long anything here may take. 60 seconds: it takes five, which is how often spans are sent.
const PATIENCE: Duration = Duration::from_mins(1);

/// A span as far as it matters here.
#[derive(Debug)]
struct Span {
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
}

/// The fields of a protobuf message that have a length: their numbers and bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
    let mut found = Vec::new();
    while let Some(key) = varint(&mut bytes) {
        let length = match key & 7 {
            0 => {
                varint(&mut bytes);
                continue;
            }
            1 => 8,
            5 => 4,
            _ => usize::try_from(varint(&mut bytes).unwrap()).unwrap(),
        };
        let (field, rest) = bytes.split_at(length);
        found.push((key >> 3, field));
        bytes = rest;
    }
    found
}

/// `ExportTraceServiceRequest`: resource spans (1), scope spans (2), spans (2).
fn spans(body: &[u8]) -> Vec<Span> {
    let inner =
        |bytes, number| fields(bytes).into_iter().filter(move |(found, _)| *found == number).map(|(_, field)| field);
    let all = inner(body, 1).flat_map(|resource| inner(resource, 2).collect::<Vec<_>>());
    let all = all.flat_map(|scope| inner(scope, 2).collect::<Vec<_>>());
    let span = |bytes: &[u8]| {
        let known: HashMap<_, _> = fields(bytes).into_iter().rev().collect();
        let field = |number: u64| known.get(&number).map(|field| field.to_vec()).unwrap_or_default();
        Span { trace: field(1), id: field(2), parent: field(4), name: String::from_utf8(field(5)).unwrap() }
    };
    all.map(span).collect()
}

/// Answers every request with an empty 200, and hands its body on.
async fn collect(listener: TcpListener, bodies: mpsc::UnboundedSender<Vec<u8>>) {
    async fn serve(mut stream: TcpStream, bodies: mpsc::UnboundedSender<Vec<u8>>) -> Option<()> {
        let mut buffer = Vec::new();
        loop {
            let head = loop {
                if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                    break end + 4;
                }
                (stream.read_buf(&mut buffer).await.ok()? > 0).then_some(())?;
            };
            let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
            let length = text.lines().find_map(|line| line.strip_prefix("content-length:")).map(str::trim);
            let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or_default();
            while buffer.len() < head + length {
                (stream.read_buf(&mut buffer).await.ok()? > 0).then_some(())?;
            }
            bodies.send(buffer[head..head + length].to_vec()).ok()?;
            buffer.drain(..head + length);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.ok()?;
        }
    }
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, bodies.clone()));
    }
}

/// The program; it ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    Port::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

fn write_files(folder: &Path, api_url: &str, token: &str, ports: [u16; 2], collector: u16) {
    let plugin = plugins_folder().unwrap().join("product-tagger.wasm");
    let server = format!(
        "store = \"sqlite:tradewind.db\"\napps = [\"tagger\"]\n[listen]\npublic = \"127.0.0.1:{}\"\nadmin = \"127.0.0.1:{}\"\n\
         [traces]\nendpoint = \"http://127.0.0.1:{collector}\"\n",
        ports[0], ports[1]
    );
    let app = format!(
        "name = \"tagger\"\ndevelopment = true\n[connections.main]\nplatform = \"shopify\"\nclient_id = \"client\"\n\
         client_secret = \"secret\"\nscopes = [\"read_products\", \"write_products\"]\n[[connections.main.shops]]\n\
         domain = \"{SHOP}\"\naccess_token = \"{token}\"\napi_url = \"{api_url}\"\n[[plugins]]\nname = \"product-tagger\"\n\
         file = {:?}\ngrants = [\"shopify\"]\n",
        plugin.display().to_string()
    );
    std::fs::create_dir(folder.join("tagger")).unwrap();
    std::fs::write(folder.join("tradewind.toml"), server).unwrap();
    std::fs::write(folder.join("tagger/app.toml"), app).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_on_over_the_echo() {
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::start(Config { debounce: Duration::ZERO, ..Config::new(SEED, NOW) }).await.unwrap();
    emulator.add_app("client", "secret").unwrap();
    emulator.add_shop(SHOP, Plan::Standard, 1).unwrap();
    let token = emulator.install("client", SHOP).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let ports = [free_port(), free_port()];
    let collector = listener.local_addr().unwrap().port();
    write_files(folder.path(), &emulator.shop_url(SHOP), &token, ports, collector);
    let (sender, mut bodies) = mpsc::unbounded_channel();
    tokio::spawn(collect(listener, sender));

    let program = plugins_folder().unwrap().parent().unwrap().join("debug/tradewind");
    let run = |command: &str| {
        let mut program = Command::new(&program);
        program.arg(command).current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::null());
        program
    };
    assert!(run("migrate").status().unwrap().success());
    let mut serve = run("serve").spawn().unwrap();
    let mut told = std::io::BufReader::new(serve.stdout.take().unwrap());
    let _program = Program(serve);
    let told = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut told, &mut line).map(|_| line)
    });
    let told = timeout(PATIENCE, told).await.unwrap().unwrap().unwrap();
    assert!(told.starts_with("webhooks come in at"), "{told}");

    let address = format!("http://127.0.0.1:{}/webhooks/tagger/main", ports[0]);
    emulator.subscribe("client", SHOP, NewSubscription::new(Topic::ProductsUpdate, address)).unwrap();
    let product = emulator.products(SHOP).unwrap().remove(0);
    let body_html = Some("<p>straw hats for the summer</p>".to_owned());
    emulator.edit_product(SHOP, product.id, &ProductEdit { body_html, ..ProductEdit::default() }).unwrap();

    // The delivery, `run`, the job of `success`, `success`, and the echo's delivery.
    let mut seen: Vec<Span> = Vec::new();
    while seen.len() < 5 {
        seen.extend(spans(&timeout(PATIENCE, bodies.recv()).await.unwrap().unwrap()));
    }
    let traces: BTreeSet<_> = seen.iter().map(|span| span.trace.clone()).collect();
    assert_eq!(traces.len(), 1, "{seen:?}");
    let by_id: HashMap<_, _> = seen.iter().map(|span| (span.id.clone(), span)).collect();
    let above = |span: &Span| {
        let mut names = Vec::new();
        let mut span = span;
        while let Some(parent) = by_id.get(&span.parent) {
            names.push(parent.name.as_str());
            span = parent;
        }
        names
    };
    let deepest = seen.iter().map(above).max_by_key(Vec::len).unwrap();
    assert_eq!(deepest, ["invocation", "job", "job"], "the echo is below `success`, its job, the delivery");
    emulator.stop().await;
}
