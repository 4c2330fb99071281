//! `tradewind serve`: from files, with its doors, until it is told to stop.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;
use tradewind_emulator::{Config, Emulator, Event, NewSubscription, Plan, ProductEdit, Topic};
use tradewind_store::Engine;
use tradewind_tests::plugins_folder;
use tradewind_tests::serving::{CLIENT_ID, SECRET, SHOP, Served};
use tradewind_tests::stores::{Place, on_both};
use tradewind_tests::webhook::{Answer, PATIENCE, Request};

use super::{Running, serve, tradewind};

/// The files of a host with `product-tagger` for a shop at this address.
fn files(folder: &Path, place: &Place, api_url: &str) -> PathBuf {
    let store = match place {
        Place::Sqlite(_) => format!("sqlite:{}", place.file().display()),
        Place::Postgres(url) => url.clone(),
    };
    let plugin = plugins_folder().unwrap().join("product-tagger.wasm").display().to_string();
    let artifacts = tradewind_tests::artifacts_folder().unwrap().display().to_string();
    let server = folder.join("tradewind.toml");
    let text = format!(
        "store = {store:?}\napps = [\"tagger\"]\n\n[listen]\npublic = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n\n\
         [cache]\nartifacts = {artifacts:?}\n"
    );
    fs::write(&server, text).unwrap();
    fs::create_dir(folder.join("tagger")).unwrap();
    let text = format!(
        "name = \"tagger\"\ndevelopment = true\n\n[connections.shopify]\nplatform = \"shopify\"\nclient_id = {CLIENT_ID:?}\n\
         client_secret = {{ env = \"TAGGER_SECRET\" }}\nscopes = [\"read_products\", \"write_products\"]\n\n\
         [[connections.shopify.shops]]\ndomain = {SHOP:?}\naccess_token = {{ env = \"TAGGER_TOKEN\" }}\napi_url = {api_url:?}\n\n\
         [[plugins]]\nname = \"product-tagger\"\nfile = {plugin:?}\ngrants = [\"shopify\"]\n"
    );
    fs::write(folder.join("tagger/app.toml"), text).unwrap();
    server
}

async fn get(from: std::net::SocketAddr, path: &str) -> Answer {
    let request = Request { method: "GET", path: path.to_owned(), headers: Vec::new(), body: Vec::new() };
    request.send(from).await
}

/// An edit of a product becomes a tag in the shop.
async fn assert_tags(emulator: &Emulator, word: &str) {
    let product = emulator.products(SHOP).unwrap()[0].id;
    let mut events = emulator.events();
    let body_html = Some(format!("<p>{word} {word}</p>"));
    emulator.edit_product(SHOP, product, &ProductEdit { body_html, ..ProductEdit::default() }).unwrap();
    let tagged =
        async { while !matches!(events.recv().await.unwrap(), Event::Changed { by, .. } if by == CLIENT_ID) {} };
    timeout(PATIENCE, tagged).await.unwrap_or_else(|_| panic!("no tag `{word}`: {:#?}", emulator.attempts()));
    let tags = emulator.product(SHOP, product).unwrap().unwrap().tags;
    assert!(tags.iter().any(|tag| tag == word), "{tags:?}");
    emulator.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_serves_until_it_is_stopped_and_the_next_goes_on() {
    on_both(async |place| {
        let emulator = Config { debounce: Duration::ZERO, ..Config::new(7, tradewind_tests::NOW) };
        let emulator = Emulator::start(emulator).await.unwrap();
        emulator.add_app(CLIENT_ID, SECRET).unwrap();
        emulator.add_shop(SHOP, Plan::Standard, 1).unwrap();
        let token = emulator.install(CLIENT_ID, SHOP).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = files(folder.path(), &place, &emulator.shop_url(SHOP));
        let start = || {
            let mut command = serve(&config);
            command.env("TAGGER_SECRET", SECRET).env("TAGGER_TOKEN", &token);
            command
        };

        // Before the store is there, it says what to do.
        let refused = start().output().unwrap();
        let errors = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(2) && errors.contains("`tradewind migrate`"), "{errors}");
        drop(place.open().await);

        let first = Running::start(start());
        let subscribe = |running: &Running| {
            let address = format!("http://{}{}", running.public, Served::path());
            let new = NewSubscription::new(Topic::ProductsUpdate, address);
            emulator.subscribe(CLIENT_ID, SHOP, new).unwrap();
        };
        subscribe(&first);
        assert_eq!((get(first.admin, "/health").await.status, get(first.admin, "/ready").await.status), (200, 200));
        assert_eq!(get(first.public, "/metrics").await.status, 404, "what is for operators is not for everybody");
        assert_tags(&emulator, "first").await;
        for counter in [
            "tradewind_webhooks_total{app=\"tagger\",answer=\"accepted\"}",
            "tradewind_jobs_total",
            "tradewind_invocations_total",
            "tradewind_platform_calls_total",
            "tradewind_partitions ",
        ] {
            // The shop knows of a call before the host has counted it.
            let counted = async { while !get(first.admin, "/metrics").await.body.contains(counter) {} };
            assert!(timeout(PATIENCE, counted).await.is_ok(), "{counter} is missing");
        }
        let (ended, first_log) = first.terminate();
        assert_eq!(ended.code(), Some(0), "{first_log}");

        // What comes meanwhile is sent again by the platform; the next start is another address here.
        for (id, _) in emulator.subscriptions(CLIENT_ID, SHOP).unwrap() {
            let path = format!("/{SHOP}/admin/api/2026-07/webhooks/{id}.json");
            let request = Request { method: "DELETE", path, headers: Vec::new(), body: Vec::new() };
            let answer = request.with("X-Shopify-Access-Token", token.as_str()).send(emulator.address()).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let second = Running::start(start());
        subscribe(&second);
        assert_tags(&emulator, "second").await;
        let mut logs = first_log;
        if place.engine() == Engine::Postgres {
            // A third one takes over from a running one.
            let third = Running::start(start());
            let (ended, log) = second.terminate();
            assert_eq!(ended.code(), Some(0), "{log}");
            logs += &log;
            let owns_all = async { while get(third.admin, "/ready").await.body != "ready: 64 partitions\n" {} };
            timeout(PATIENCE, owns_all).await.unwrap();
            let (ended, log) = third.terminate();
            assert_eq!(ended.code(), Some(0), "{log}");
            logs += &log;
        } else {
            let (ended, log) = second.terminate();
            assert_eq!(ended.code(), Some(0), "{log}");
            logs += &log;
        }
        assert!(logs.contains("stopping") && logs.len() > 5_000, "{logs}");
        assert!(!logs.contains(&*token) && !logs.contains(SECRET), "a secret is in the log");
        emulator.stop().await;
    })
    .await;
}

/// A disk that is full: the platform is asked to come again, and what was acknowledged is there afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_acknowledges_nothing_that_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let config = files(folder.path(), &Place::sqlite(), "http://127.0.0.1:9");
    let text = fs::read_to_string(&config).unwrap();
    let store = format!("sqlite:{}", disk.join("tradewind.db").display());
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(&config, format!("store = {store:?}\n{rest}")).unwrap();

    // A file system of 24 MiB of its own, most of which is taken.
    let script = format!(
        "mount -t tmpfs -o size=24m none {disk} && dd if=/dev/zero of={disk}/ballast bs=1M count=16 2>/dev/null && \
         {program} migrate --store {store} >/dev/null && exec {program} serve --config {config}",
        disk = disk.display(),
        program = tradewind().get_program().display(),
        config = config.display(),
    );
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    command.env("TAGGER_SECRET", SECRET).env("TAGGER_TOKEN", "token").env("TRADEWIND_LOG", "error");
    let running = Running::start(command);

    // Noise, so that it takes the room that it has.
    let mut noise = 1_u64;
    let mut body = |id: u32| {
        let word = |_| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            format!("{noise:016x}")
        };
        format!(r#"{{"id":{id},"title":"{}"}}"#, (0..8_000).map(word).collect::<String>())
    };
    let (mut acknowledged, mut refused) = (Vec::new(), None);
    for id in 0..1_000 {
        let request = Served::webhook(&format!("w-{id}"), body(id));
        let answer = request.send(running.public).await;
        if answer.status != 200 {
            assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")), "{answer:?}");
            refused = Some(request);
            break;
        }
        acknowledged.push(request);
    }
    let refused = refused.unwrap_or_else(|| panic!("the disk does not become full"));
    // There is room again, and the platform comes again.
    let root = format!("/proc/{}/root", running.child.id());
    fs::remove_file(Path::new(&root).join(disk.strip_prefix("/").unwrap()).join("ballast")).unwrap();
    let taken = async { while refused.send(running.public).await.status != 200 {} };
    timeout(PATIENCE, taken).await.unwrap();
    // Every one that was acknowledged is a duplicate now: it is there.
    for request in &acknowledged {
        assert_eq!(request.send(running.public).await.status, 200);
    }
    let metrics = get(running.admin, "/metrics").await.body;
    let duplicates =
        format!("tradewind_webhooks_total{{app=\"tagger\",answer=\"duplicate\"}} {}\n", acknowledged.len());
    assert!(!acknowledged.is_empty() && metrics.contains(&duplicates), "{duplicates}{metrics}");
    let (ended, log) = running.terminate();
    assert_eq!(ended.code(), Some(0), "{log}");
}
