//! Fresh databases that really write to the disk, and what is written into them.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tradewind_model::{Json, Shop};
use tradewind_store::{Engine, Location, NewDelivery, Store, Unit, compress};
use tradewind_tests::NOW;
use tradewind_tests::postgres::Cluster;

/// Both databases.
pub(crate) const ENGINES: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];

/// Where databases come from.
pub(crate) struct Places {
    cluster: Cluster,
}

/// One database.
pub(crate) struct Place {
    pub(crate) url: String,
    // Goes away with the database.
    _folder: Option<TempDir>,
}

impl Places {
    /// Starts the server.
    pub(crate) fn start() -> anyhow::Result<Self> {
        Ok(Self { cluster: Cluster::start()? })
    }

    /// An empty database.
    pub(crate) fn empty(&self, engine: Engine) -> anyhow::Result<Place> {
        if engine == Engine::Postgres {
            return Ok(Place { url: self.cluster.database("bench")?, _folder: None });
        }
        let folder = tempfile::tempdir()?;
        let url = format!("sqlite:{}", folder.path().join("bench.db").display());
        Ok(Place { url, _folder: Some(folder) })
    }

    /// A database with the store's tables.
    pub(crate) async fn store(&self, engine: Engine) -> anyhow::Result<(Place, Arc<Store>)> {
        let place = self.empty(engine)?;
        let location = Location::parse(&place.url)?;
        Store::migrate(&location).await?;
        let store = Store::open(&location).await?;
        Ok((place, Arc::new(store)))
    }

    /// Writes what the server still has in memory, so that nobody pays for the turn before.
    pub(crate) fn settle(&self, place: &Place) -> anyhow::Result<()> {
        if place.url.starts_with("postgres") {
            self.cluster.psql(&place.url, "CHECKPOINT")?;
        }
        Ok(())
    }
}

/// The name that the table has for a database.
pub(crate) fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "SQLite",
        Engine::Postgres => "PostgreSQL",
    }
}

/// When everything happens, in milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    i64::try_from(NOW.as_millis()).unwrap_or_default()
}

/// The shop that the webhook of this number belongs to: one of 64.
pub(crate) fn shop(number: u32) -> Shop {
    Shop::new("bench", format!("shop-{}", number % 64))
}

/// A product's body of 9 KB, as a platform sends it; each `version` has another title, and every fourth another text.
pub(crate) fn body(id: u32, version: u32) -> Vec<u8> {
    // Prose compresses to a third; what few words make would compress to a tenth.
    let word = |at: u32| {
        let mut mixed = (at ^ (version / 4).wrapping_mul(0x9e37_79b9) ^ id).wrapping_mul(0x85eb_ca6b);
        mixed ^= mixed >> 15;
        let syllables =
            ["ha", "tri", "nel", "so", "um", "bre", "wo", "ste", "ri", "lan", "ka", "mo", "pel", "du", "vi", "gor"];
        let pick = |shift: u32| syllables[(mixed >> shift) as usize % 16];
        format!("{}{}{}", pick(3), pick(9), if mixed.is_multiple_of(3) { pick(17) } else { "" })
    };
    let text: Vec<_> = (0..640_u32).map(word).collect();
    let variants: Vec<String> = (0..16)
        .map(|at| {
            format!(
                "{{\"id\":{},\"product_id\":{id},\"title\":\"Size {at}\",\"price\":\"1{at}.90\",\"sku\":\"HAT-{id}-{at}\",\
                 \"position\":{at},\"inventory_policy\":\"deny\",\"compare_at_price\":null,\"taxable\":true,\
                 \"barcode\":null,\"grams\":120,\"weight\":0.12,\"weight_unit\":\"kg\",\"inventory_quantity\":{at}}}",
                8_000_000_000_000_u64 + u64::from(id) * 100 + at
            )
        })
        .collect();
    let seconds = version % 60;
    let minutes = version / 60 % 60;
    format!(
        "{{\"id\":{id},\"title\":\"Hat {version}\",\"body\":\"<p>{}</p>\",\"vendor\":\"Hats\",\"product_type\":\"hat\",\
         \"created_at\":\"2023-11-14T10:00:00Z\",\"handle\":\"hat-{id}\",\"updated_at\":\"2023-11-14T2{}:{minutes:02}:{seconds:02}Z\",\
         \"tags\":\"summer, straw\",\"status\":\"active\",\"admin_graphql_api_id\":\"gid://shopify/Product/{id}\",\
         \"variants\":[{}]}}",
        text.join(" "),
        version / 3_600 % 4,
        variants.join(",")
    )
    .into_bytes()
}

/// The unit that keeps a webhook: the body verified, digested and compressed, as an ingress does it.
pub(crate) fn delivery(number: u32, id: u32, version: u32) -> Unit {
    let body = body(id, version);
    let mut unit = Unit::new(shop(id), now_ms());
    unit.deliveries.push(NewDelivery {
        platform: "plain".into(),
        webhook_id: format!("{:08x}-4d0c-4ff4-9db7-{number:012x}", number.wrapping_mul(0x9e37_79b9)),
        topic: "products/update".to_owned(),
        event_id: Some(format!("{:08x}-event-{number}", number.wrapping_mul(0x85eb_ca6b))),
        body_sha256: Sha256::digest(&body).into(),
        triggered_ms: Some(now_ms()),
        headers: headers(),
        body_bytes: body.len() as u64,
        body: compress(&body),
        lane: Some(tradewind_host::pipeline::lane_of("shopify/product", &id.to_string())),
        depth: 0,
        parked_if_replayed: None,
    });
    unit
}

fn headers() -> Json {
    let text = r#"{"x-shopify-topic":"products/update","x-shopify-shop-domain":"hats.example","x-shopify-api-version":"2026-10"}"#;
    Json::parse(text).unwrap_or_else(|_| Json::null())
}
