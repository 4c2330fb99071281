//! Webhooks through the whole product: an emulated shop, a host, plugins, and what becomes of a change.
//!
//! `acceptance` holds it to bodies that others have published, `changes` to what a shop may tell, `echoes` to what plugins
//! make of it, `trouble` to what goes wrong on the way.

mod acceptance;
mod changes;
mod echoes;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tradewind_emulator::{Config, Emulator, NewSubscription, Plan, Product, ProductEdit, Topic};
use tradewind_host::config::{Plugin, Shop};
use tradewind_host::pipeline::Clock as _;
use tradewind_store::Job;
use tradewind_tests::SEED;
use tradewind_tests::serving::{CLIENT_ID, CONNECTION, Running, SECRET, SHOP, Served, app, connection, plugin, server};
use tradewind_tests::stores::Place;
use tradewind_tests::webhook::{Request, answer};

/// Long enough for two changes of one call to be told together, short enough that nobody waits for it.
const DEBOUNCE: Duration = Duration::from_millis(20);

const TOPICS: [Topic; 4] = [Topic::ProductsCreate, Topic::ProductsUpdate, Topic::ProductsDelete, Topic::ShopUpdate];

/// An emulated shop and a host that serves it.
struct Way {
    emulator: Emulator,
    served: Served,
    token: String,
    clock: Arc<Running>,
}

impl Way {
    /// A shop with so many products that tells the host of everything.
    async fn new(place: &Place, plugins: Vec<Plugin>, products: usize) -> Self {
        let way = Self::silent(place, plugins, products).await;
        for topic in TOPICS {
            way.emulator.subscribe(CLIENT_ID, SHOP, NewSubscription::new(topic, way.served.url())).unwrap();
        }
        way
    }

    /// A shop that tells of nothing by itself: see [`Self::report`].
    async fn silent(place: &Place, plugins: Vec<Plugin>, products: usize) -> Self {
        let clock = Running::new();
        let emulator = Config { debounce: DEBOUNCE, ..Config::new(SEED, clock.now()) };
        let emulator = Emulator::start(emulator).await.unwrap();
        emulator.add_app(CLIENT_ID, SECRET).unwrap();
        emulator.add_shop(SHOP, Plan::Standard, products).unwrap();
        let token = emulator.install(CLIENT_ID, SHOP).unwrap();
        let mut connection = connection();
        connection.shops = vec![Shop { api_url: emulator.shop_url(SHOP), ..Shop::new(SHOP, token.clone()) }];
        let apps = vec![app(vec![(CONNECTION, connection)], plugins)];
        let served = Served::start(place, server(place, apps), Arc::clone(&clock) as _).await;
        Self { emulator, served, token, clock }
    }

    /// Waits until nothing is on its way, and says which jobs are parked.
    async fn settled(&self) -> Vec<Job> {
        loop {
            self.emulator.settled().await;
            let before = self.served.seen.all().len();
            let parked = self.served.idle().await;
            // What jobs did at the shop has its webhooks on the way before they ended.
            let is_quiet = tokio::select! {
                biased;
                () = self.emulator.settled() => self.served.seen.all().len() == before,
                () = std::future::ready(()) => false,
            };
            if is_quiet {
                return parked;
            }
        }
    }

    /// Waits until nothing is on its way, with nothing parked.
    async fn settled_well(&self) {
        let parked = self.settled().await;
        assert!(parked.is_empty(), "{parked:#?}");
    }

    async fn stop(self) {
        self.served.host.stop().await;
        self.emulator.stop().await;
    }

    fn products(&self) -> Vec<Product> {
        self.emulator.products(SHOP).unwrap()
    }

    fn product(&self, id: u64) -> Product {
        self.emulator.product(SHOP, id).unwrap().unwrap()
    }

    /// A merchant changes a product.
    fn edit(&self, id: u64, edit: &ProductEdit) -> Product {
        self.emulator.edit_product(SHOP, id, edit).unwrap()
    }

    fn set_title(&self, id: u64, title: &str) -> Product {
        self.edit(id, &ProductEdit { title: Some(title.to_owned()), ..ProductEdit::default() })
    }

    /// A request to the shop's API.
    async fn ask(&self, method: &'static str, path: &str, body: &str) -> Value {
        let path = format!("/{SHOP}/admin/api/2026-07/{path}");
        let request = Request { method, path, headers: Vec::new(), body: body.as_bytes().to_vec() }
            .with("X-Shopify-Access-Token", self.token.as_str())
            .with("Content-Type", "application/json");
        let mut stream = TcpStream::connect(self.emulator.address()).await.unwrap();
        stream.write_all(&request.bytes()).await.unwrap();
        let answer = answer(&mut stream).await.unwrap();
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    /// Tells the host of a product as it is now, as the shop would.
    async fn report(&self, id: u64, webhook_id: &str) {
        let product = self.ask("GET", &format!("products/{id}.json"), "").await["product"].to_string();
        // The time in the body has whole seconds; this tells what happened within one apart.
        let now_ms = i64::try_from(self.clock.now().as_millis()).unwrap();
        let request = Served::webhook(webhook_id, product)
            .with("X-Shopify-Triggered-At", tradewind_model::value::show_ms(now_ms));
        let answer = request.send(self.served.host.public()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Tells the host of anything.
    async fn tell(&self, webhook_id: &str, topic: &str, body: impl Into<Vec<u8>>) {
        let request = Served::webhook(webhook_id, body).with("X-Shopify-Topic", topic);
        let answer = request.send(self.served.host.public()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// The host has every product of the shop as the shop has it.
    async fn assert_mirrored(&self) {
        for product in self.products() {
            self.assert_product_mirrored(&product).await;
        }
    }

    async fn assert_product_mirrored(&self, product: &Product) {
        let id = product.id.to_string();
        let record = self.served.record("shopify/product", &id).await;
        assert_eq!(record["title"], *product.title, "{record:#}");
        assert_eq!(record["body"], *product.body_html, "{record:#}");
        assert_eq!(record["vendor"], *product.vendor, "{record:#}");
        assert_eq!(record["tags"], serde_json::json!(product.tags), "{record:#}");
        for variant in &product.variants {
            let stored = self.served.record("shopify/product-variant", &variant.id.to_string()).await;
            assert_eq!(stored["product"], *id, "{}: {stored:#}", variant.id);
            assert_eq!(stored["price"], *variant.price, "{}: {stored:#}", variant.id);
            assert_eq!(stored["title"], *variant.title(), "{}: {stored:#}", variant.id);
            assert_eq!(stored["inventoryItem"], *variant.inventory_item_id.to_string(), "{}: {stored:#}", variant.id);
        }
        for option in &product.options {
            let stored = self.served.record("shopify/product-option", &option.id.to_string()).await;
            assert_eq!((&stored["product"], &stored["name"]), (&id.clone().into(), &option.name.clone().into()));
        }
        for image in &product.images {
            let stored = self.served.record("shopify/product-image", &image.id.to_string()).await;
            assert_eq!((&stored["product"], &stored["source"]), (&id.clone().into(), &image.src.clone().into()));
        }
    }

    /// Nothing of a product is left.
    async fn assert_gone(&self, product: &Product) {
        let ids = |model: &'static str, ids: Vec<u64>| ids.into_iter().map(move |id| (model, id));
        let all = ids("shopify/product", vec![product.id])
            .chain(ids("shopify/product-variant", product.variants.iter().map(|one| one.id).collect()))
            .chain(ids("shopify/product-option", product.options.iter().map(|one| one.id).collect()))
            .chain(ids("shopify/product-image", product.images.iter().map(|one| one.id).collect()));
        for (model, id) in all {
            assert_eq!(self.served.record(model, &id.to_string()).await, Value::Null, "{model} {id}");
        }
    }
}

/// The plugin that hears and answers, with these settings switched on.
fn probe(settings: &[&str]) -> Plugin {
    let mut probe = plugin("shop-probe");
    let on = || tradewind_tests::stores::json("true");
    probe.config = settings.iter().map(|setting| ((*setting).to_owned(), on())).collect();
    probe
}

/// What `hear` was told each time, in order.
fn heard(way: &Way) -> Vec<Value> {
    way.served.seen.returned("shop-probe/hear").into_iter().map(|(_, told)| told).collect()
}
