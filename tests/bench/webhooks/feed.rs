//! The webhooks that are sent: numbered, each the same whenever it is asked for, and signed before the time is taken.

use tradewind_platform::shopify::SigningSecrets;

use super::side::{CONNECTION_PATH, SECRET};

/// Shops that the products belong to.
pub(crate) const SHOPS: u32 = 64;

/// How often a product may be reported. 10: every webhook makes the action call the platform, and no echo of these calls
/// comes back; what is still deeper counts as a circle of answers and is parked.
pub(crate) const VERSIONS_MAX: u32 = 10;

/// Different descriptions. More than versions, so that each version of a product has another.
const TEXTS: usize = 61;

/// Words of a description. 260: with the variants it makes 8.9 KB.
const WORDS: usize = 260;

const VARIANTS: u64 = 8;

/// Webhooks about so many products.
pub(crate) struct Feed {
    products: u32,
    texts: Vec<String>,
    /// What follows the own fields of a product.
    children: Vec<String>,
    signatures: Vec<String>,
}

impl Feed {
    /// The first `products` webhooks make as many products, all that follow change them in turn.
    pub(crate) fn new(products: u32, webhooks: u32) -> Self {
        assert!(webhooks <= products * VERSIONS_MAX, "{webhooks} webhooks need more than {products} products");
        let texts = (0..TEXTS).map(text).collect();
        let children = (0..products).map(|at| children(product_id(at))).collect();
        let mut feed = Self { products, texts, children, signatures: Vec::new() };
        let secrets = SigningSecrets::new(SECRET, None);
        let mut body = Vec::new();
        for number in 0..webhooks {
            body.clear();
            feed.write_body(number, &mut body);
            feed.signatures.push(secrets.sign(&body));
        }
        feed
    }

    /// Products that there are.
    pub(crate) fn products(&self) -> u32 {
        self.products
    }

    /// Webhooks that there are.
    pub(crate) fn webhooks(&self) -> u32 {
        u32::try_from(self.signatures.len()).unwrap_or(u32::MAX)
    }

    /// The shop of a webhook.
    pub(crate) fn shop(number: u32) -> String {
        format!("shop-{}.myshopify.com", number % SHOPS)
    }

    /// The request with this webhook, as it goes over the wire.
    pub(crate) fn write_request(&self, number: u32, host: &str, body: &mut Vec<u8>, request: &mut Vec<u8>) {
        body.clear();
        self.write_body(number, body);
        let version = number / self.products;
        let head = format!(
            "POST {CONNECTION_PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
             User-Agent: Shopify-Captain-Hook\r\nAccept: */*\r\nX-Shopify-Topic: products/update\r\n\
             X-Shopify-Hmac-Sha256: {}\r\nX-Shopify-Shop-Domain: {}\r\nX-Shopify-API-Version: 2026-07\r\n\
             X-Shopify-Webhook-Id: {:08x}-4d0c-4ff4-9db7-{number:012x}\r\n\
             X-Shopify-Event-Id: {:08x}-7a1b-41c5-b0aa-{number:012x}\r\nX-Shopify-Triggered-At: {}\r\n\
             Content-Length: {}\r\n\r\n",
            self.signatures[number as usize],
            Self::shop(number),
            number.wrapping_mul(0x9e37_79b9),
            number.wrapping_mul(0x85eb_ca6b),
            time(version),
            body.len(),
        );
        request.clear();
        request.extend_from_slice(head.as_bytes());
        request.extend_from_slice(body);
    }

    /// The body of a webhook.
    pub(crate) fn write_body(&self, number: u32, body: &mut Vec<u8>) {
        let (product, version) = (number % self.products, number / self.products);
        let id = product_id(product);
        let text = &self.texts[(product as usize * 7 + version as usize) % TEXTS];
        let own = format!(
            "{{\"id\":{id},\"title\":\"Straw hat {version}\",\"body_html\":\"{text}\",\"vendor\":\"Hats\",\
             \"product_type\":\"hat\",\"created_at\":\"2025-11-14T10:00:00Z\",\"handle\":\"straw-hat-{product}\",\
             \"updated_at\":\"{}\",\"published_at\":\"2025-11-14T10:00:00Z\",\"template_suffix\":null,\
             \"published_scope\":\"web\",\"tags\":\"straw, summer\",\"status\":\"active\",\
             \"admin_graphql_api_id\":\"gid://shopify/Product/{id}\",",
            time(version)
        );
        body.extend_from_slice(own.as_bytes());
        body.extend_from_slice(self.children[product as usize].as_bytes());
    }
}

fn product_id(product: u32) -> u64 {
    7_000_000_000_000 + u64::from(product)
}

/// When a version of a product was made.
fn time(version: u32) -> String {
    format!("2026-05-01T10:{:02}:{:02}Z", version / 60, version % 60)
}

/// A description. Prose compresses to a third; what few words make would compress to a tenth.
fn text(seed: usize) -> String {
    const SYLLABLES: [&str; 16] =
        ["ha", "tri", "nel", "so", "um", "bre", "wo", "ste", "ri", "lan", "ka", "mo", "pel", "du", "vi", "gor"];
    let mut state = 0x9e37_79b9_u32.wrapping_mul(u32::try_from(seed).unwrap_or_default() + 1);
    let mut pick = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        SYLLABLES[(state >> 28) as usize]
    };
    let words: Vec<String> = (0..WORDS)
        .map(|at| {
            let third = if at % 3 == 0 { pick() } else { "" };
            format!("{}{}{third}", pick(), pick())
        })
        .collect();
    format!("<p>{}</p>", words.join(" "))
}

fn children(product: u64) -> String {
    let gid = |kind: &str, id: u64| format!("gid://shopify/{kind}/{id}");
    let first = product * 10;
    let variants: Vec<String> = (0..VARIANTS)
        .map(|at| {
            let id = first + at;
            format!(
                "{{\"admin_graphql_api_id\":\"{}\",\"barcode\":null,\"compare_at_price\":null,\
                 \"created_at\":\"2025-11-14T10:00:00Z\",\"id\":{id},\"inventory_policy\":\"deny\",\"position\":{},\
                 \"price\":\"1{at}.90\",\"product_id\":{product},\"sku\":\"HAT-{id}\",\"taxable\":true,\
                 \"title\":\"Size {at}\",\"updated_at\":\"2026-04-01T10:00:00Z\",\"option1\":\"Size {at}\",\
                 \"option2\":null,\"option3\":null,\"image_id\":null,\"inventory_item_id\":{},\
                 \"inventory_quantity\":{at},\"old_inventory_quantity\":{at}}}",
                gid("ProductVariant", id),
                at + 1,
                id + 1_000
            )
        })
        .collect();
    let gids: Vec<String> = (0..VARIANTS)
        .map(|at| {
            let gid = gid("ProductVariant", first + at);
            format!("{{\"admin_graphql_api_id\":\"{gid}\",\"updated_at\":\"2026-04-01T10:00:00Z\"}}")
        })
        .collect();
    let sizes: Vec<String> = (0..VARIANTS).map(|at| format!("\"Size {at}\"")).collect();
    let images: Vec<String> = (0..3)
        .map(|at| {
            format!(
                "{{\"id\":{},\"alt\":null,\"position\":{},\"product_id\":{product},\"created_at\":\"2025-11-14T10:00:00Z\",\
                 \"updated_at\":\"2025-11-14T10:00:00Z\",\"admin_graphql_api_id\":\"{}\",\"width\":1200,\"height\":900,\
                 \"src\":\"https://cdn.example/files/hat-{product}-{at}.jpg\",\"variant_ids\":[]}}",
                first + at,
                at + 1,
                gid("MediaImage", first + at)
            )
        })
        .collect();
    format!(
        "\"variants\":[{}],\"options\":[{{\"name\":\"Size\",\"id\":{first},\"product_id\":{product},\"position\":1,\
         \"values\":[{}]}}],\"images\":[{}],\"image\":{},\"media\":[],\"variant_gids\":[{}]}}",
        variants.join(","),
        sizes.join(","),
        images.join(","),
        images[0],
        gids.join(",")
    )
}
