//! What a webhook says of itself, in its headers, after its signature has been checked.
//!
//! Two generations of names, matched whatever their case: `X-Shopify-*` for webhooks, `Shopify-*` for the events that came
//! with API 2026-10. A request with `shopify-hmac-sha256` is an event. The signature covers the body alone: what the headers
//! say is believed only as far as the shop that they name is an installed one of the app whose secret signed the body.

use tradewind_model::Json;

use super::signature::{SigningSecrets, is_signature};

/// A request's headers, by lower-case name.
pub trait Headers {
    /// The bytes of the first header of this name.
    fn header(&self, name: &str) -> Option<&[u8]>;

    /// How many headers have this name.
    fn count(&self, name: &str) -> usize;
}

/// A webhook whose body was signed with the app's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// `products/update`; of an event the resource, such as `Product`.
    pub topic: String,
    /// `name.myshopify.com`, in lower case.
    pub shop_domain: String,
    /// Of this delivery on this subscription: the same on each retry.
    pub webhook_id: String,
    /// Of what happened: the same on each subscription that it reaches.
    pub event_id: Option<String>,
    /// When it happened, in milliseconds since 1970.
    pub triggered_ms: Option<i64>,
    /// The headers worth keeping, by their names without a prefix.
    pub kept: Vec<(&'static str, String)>,
}

/// Why a request is not taken for a webhook.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing that could be signed.
    #[error("the body is empty")]
    NoBody,
    /// Nobody signed it.
    #[error("the header `{0}` with the signature is missing")]
    NoSignature(&'static str),
    /// Somebody else signed it, or it was changed on its way.
    #[error("the signature does not fit the body; hint: is the client secret of the connection the app's?")]
    WrongSignature,
    /// Two signatures of two kinds, of which only one can be meant.
    #[error("both `{}` and `{}` are there; hint: a webhook has the one, an event the other", WEBHOOK.signature, EVENT.signature)]
    TwoKinds,
    /// It does not say what it is.
    #[error("headers are missing: {}", .0.join(", "))]
    NoHeaders(Vec<&'static str>),
    /// A header's value is not what it should be.
    #[error("the header `{name}` {problem}")]
    BadHeader {
        /// The header.
        name: &'static str,
        /// In words, to follow the name.
        problem: &'static str,
    },
}

/// The names of one generation.
struct Names {
    signature: &'static str,
    topic: &'static str,
    shop: &'static str,
    version: &'static str,
    webhook_id: &'static str,
    event_id: &'static str,
    triggered: &'static str,
    kept: &'static [(&'static str, &'static str)],
}

const WEBHOOK: Names = Names {
    signature: "x-shopify-hmac-sha256",
    topic: "x-shopify-topic",
    shop: "x-shopify-shop-domain",
    version: "x-shopify-api-version",
    webhook_id: "x-shopify-webhook-id",
    event_id: "x-shopify-event-id",
    triggered: "x-shopify-triggered-at",
    kept: &[
        ("apiVersion", "x-shopify-api-version"),
        ("name", "x-shopify-name"),
        ("triggeredAt", "x-shopify-triggered-at"),
    ],
};

const EVENT: Names = Names {
    signature: "shopify-hmac-sha256",
    topic: "shopify-topic",
    shop: "shopify-shop-domain",
    version: "shopify-api-version",
    webhook_id: "shopify-webhook-id",
    event_id: "shopify-event-id",
    triggered: "shopify-triggered-at",
    kept: &[
        ("apiVersion", "shopify-api-version"),
        ("handle", "shopify-handle"),
        ("action", "shopify-action"),
        ("resourceId", "shopify-resource-id"),
        ("triggeredAt", "shopify-triggered-at"),
    ],
};

/// How long a header's value may be. 400 bytes: ids and topics have 60; keys of the store may have 512.
pub const HEADER_BYTES_MAX: usize = 400;

/// The members of a signed body that name its shop: the object `shop` has the first, the privacy topics have the second.
const SHOP_MEMBERS: [&str; 2] = ["myshopify_domain", "shop_domain"];

/// Checks of the headers what can be checked before the body is read: one signature of one kind, in the right form, and no
/// security header twice or of the other generation. A request that fails costs its sender more than the host.
pub fn check_headers(headers: &impl Headers) -> Result<(), Refusal> {
    let names = names(headers)?;
    let once =
        [names.signature, names.topic, names.shop, names.version, names.webhook_id, names.event_id, names.triggered];
    if let Some(name) = once.into_iter().find(|name| headers.count(name) > 1) {
        return Err(Refusal::BadHeader { name, problem: "is there more than once" });
    }
    let other = if names.signature == WEBHOOK.signature { &EVENT } else { &WEBHOOK };
    let others = [other.topic, other.shop, other.version, other.webhook_id, other.event_id, other.triggered];
    if let Some(name) = others.into_iter().find(|name| headers.count(name) > 0) {
        return Err(Refusal::BadHeader { name, problem: "is of another generation than the signature" });
    }
    let signature = headers.header(names.signature).ok_or(Refusal::NoSignature(names.signature))?;
    if is_signature(signature) { Ok(()) } else { Err(Refusal::WrongSignature) }
}

/// Checks the headers as [`check_headers`] does, then the signature; then reads the headers. Nothing of the body is read,
/// unless the header with the shop's domain is missing: then the signed body may name it, as those of the privacy topics do.
pub fn verify(headers: &impl Headers, body: &[u8], secrets: &SigningSecrets) -> Result<Webhook, Refusal> {
    check_headers(headers)?;
    let names = names(headers)?;
    if body.is_empty() {
        return Err(Refusal::NoBody);
    }
    let signature = headers.header(names.signature).ok_or(Refusal::NoSignature(names.signature))?;
    if !secrets.signed(body, signature) {
        return Err(Refusal::WrongSignature);
    }
    read(headers, names, body)
}

/// The generation of a request: that of its signature.
fn names(headers: &impl Headers) -> Result<&'static Names, Refusal> {
    match (headers.count(WEBHOOK.signature), headers.count(EVENT.signature)) {
        (_, 0) => Ok(&WEBHOOK),
        (0, 1..) => Ok(&EVENT),
        (1.., 1..) => Err(Refusal::TwoKinds),
    }
}

/// The shop that a body names as its own, in lower case, by the body's members.
pub(super) fn shop_of<'a>(member: impl Fn(&str) -> Option<&'a Json>) -> Option<String> {
    let named = SHOP_MEMBERS.into_iter().find_map(|name| member(name)?.to::<String>().ok());
    named.map(|shop| shop.to_ascii_lowercase()).filter(|shop| is_shop_domain(shop))
}

/// The webhook's id and the shop's domain as a request has them, for the log of one that was refused; what cannot be read is
/// left out.
pub fn named(headers: &impl Headers) -> (String, String) {
    let names = names(headers).unwrap_or(&WEBHOOK);
    let read = |name| text(headers, name).ok().flatten().unwrap_or_default();
    (read(names.webhook_id), read(names.shop))
}

fn read(headers: &impl Headers, names: &Names, body: &[u8]) -> Result<Webhook, Refusal> {
    let absent = |name: &&'static str| headers.header(name).is_none_or(<[u8]>::is_empty);
    let from_body = if absent(&names.shop) { named_in(body) } else { None };
    let required = [Some(names.shop).filter(|_| from_body.is_none()), Some(names.topic), Some(names.webhook_id)];
    let missing: Vec<_> = required.into_iter().flatten().filter(|name| absent(name)).collect();
    if !missing.is_empty() {
        return Err(Refusal::NoHeaders(missing));
    }
    let maybe = |name| text(headers, name);
    let text = |name| maybe(name).map(Option::unwrap_or_default);
    let shop_domain = match from_body {
        Some(shop) => shop,
        None => text(names.shop)?.to_ascii_lowercase(),
    };
    if !is_shop_domain(&shop_domain) {
        return Err(Refusal::BadHeader { name: names.shop, problem: "is not a shop's domain, `name.myshopify.com`" });
    }
    let triggered = maybe(names.triggered)?.map(|time| {
        tradewind_model::value::date_time_us(&time)
            .map(|us| us / 1_000)
            .ok_or(Refusal::BadHeader { name: names.triggered, problem: "is not a time (RFC 3339)" })
    });
    let mut kept = Vec::new();
    for (short, name) in names.kept {
        kept.extend(maybe(name)?.map(|value| (*short, value)));
    }
    Ok(Webhook {
        topic: text(names.topic)?,
        shop_domain,
        webhook_id: text(names.webhook_id)?,
        event_id: maybe(names.event_id)?,
        triggered_ms: triggered.transpose()?,
        kept,
    })
}

fn named_in(body: &[u8]) -> Option<String> {
    let members = Json::parse(std::str::from_utf8(body).ok()?).ok()?.members()?;
    shop_of(|name| members.iter().find(|(member, _)| member == name).map(|(_, value)| value))
}

fn text(headers: &impl Headers, name: &'static str) -> Result<Option<String>, Refusal> {
    let bad = |problem| Refusal::BadHeader { name, problem };
    let Some(value) = headers.header(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    if value.len() > HEADER_BYTES_MAX {
        return Err(bad("is too long"));
    }
    let value = std::str::from_utf8(value).map_err(|_| bad("is not UTF-8"))?;
    if value.chars().any(char::is_control) {
        return Err(bad("holds a control character"));
    }
    Ok(Some(value.to_owned()))
}

/// Whether a text is the domain that the platform gives each shop: it becomes part of a URL to which a token is sent.
pub fn is_shop_domain(domain: &str) -> bool {
    let ends = [".myshopify.com", ".myshopify.io", ".shopify.com"];
    let Some(name) = ends.into_iter().find_map(|end| domain.strip_suffix(end)) else { return false };
    name.len() <= 100
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Headers for Vec<(String, String)> {
        fn header(&self, name: &str) -> Option<&[u8]> {
            self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_bytes())
        }

        fn count(&self, name: &str) -> usize {
            self.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count()
        }
    }

    const BODY: &[u8] = b"{\"id\":1}";

    fn secrets() -> SigningSecrets {
        SigningSecrets::new("secret", None)
    }

    fn request() -> Vec<(String, String)> {
        let signature = secrets().sign(BODY);
        [
            ("X-Shopify-Hmac-Sha256", &*signature),
            ("X-Shopify-Topic", "products/update"),
            ("X-Shopify-Shop-Domain", "Hats.myshopify.com"),
            ("X-Shopify-API-Version", "2026-10"),
            ("X-Shopify-Webhook-Id", "w-1"),
            ("X-Shopify-Triggered-At", "2026-05-01T10:00:00.877041743Z"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    fn with(name: &str, value: &str) -> Result<Webhook, Refusal> {
        let mut request = request();
        request.retain(|(known, _)| known != name);
        if !value.is_empty() {
            request.push((name.to_owned(), value.to_owned()));
        }
        verify(&request, BODY, &secrets())
    }

    #[test]
    fn a_signed_webhook_says_what_it_is() {
        let webhook = verify(&request(), BODY, &secrets()).unwrap();
        assert_eq!((webhook.topic.as_str(), webhook.shop_domain.as_str()), ("products/update", "hats.myshopify.com"));
        assert_eq!(webhook.triggered_ms, Some(1_777_629_600_877));
        assert_eq!(webhook.event_id, None);
        assert_eq!(webhook.kept[0], ("apiVersion", "2026-10".to_owned()));
    }

    #[test]
    fn whatever_is_wrong_has_its_own_refusal() {
        let refused = |name, value: &str| with(name, value).unwrap_err();
        assert_eq!(refused("X-Shopify-Hmac-Sha256", ""), Refusal::NoSignature("x-shopify-hmac-sha256"));
        assert_eq!(refused("X-Shopify-Hmac-Sha256", "fake"), Refusal::WrongSignature);
        assert_eq!(refused("X-Shopify-Topic", ""), Refusal::NoHeaders(vec!["x-shopify-topic"]));
        let bad = |name, value: &str| match refused(name, value) {
            Refusal::BadHeader { name, .. } => name,
            other => panic!("{other}"),
        };
        assert_eq!(bad("X-Shopify-Shop-Domain", "evil.example"), "x-shopify-shop-domain");
        assert_eq!(bad("X-Shopify-Shop-Domain", "a.example/.myshopify.com"), "x-shopify-shop-domain");
        assert_eq!(bad("X-Shopify-Triggered-At", "yesterday"), "x-shopify-triggered-at");
        let long = "x".repeat(HEADER_BYTES_MAX + 1);
        assert_eq!(bad("X-Shopify-Webhook-Id", &long), "x-shopify-webhook-id");
        assert_eq!(bad("X-Shopify-Topic", "products\u{7}"), "x-shopify-topic");
        assert_eq!(verify(&request(), b"", &secrets()), Err(Refusal::NoBody));
    }

    #[test]
    fn what_only_the_headers_say_is_refused_before_the_body() {
        assert_eq!(check_headers(&request()), Ok(()));
        let doubled = |name: &str| {
            let mut request = request();
            request.push((name.to_owned(), "another".to_owned()));
            check_headers(&request)
        };
        let mut with_event = request();
        with_event.extend(["a", "b"].map(|id| ("X-Shopify-Event-Id".to_owned(), id.to_owned())));
        assert!(matches!(check_headers(&with_event), Err(Refusal::BadHeader { name: "x-shopify-event-id", .. })));
        let names = ["Hmac-Sha256", "Topic", "Shop-Domain", "API-Version", "Webhook-Id", "Triggered-At"];
        for name in names.map(|name| format!("X-Shopify-{name}")) {
            assert!(matches!(doubled(&name), Err(Refusal::BadHeader { .. })), "{name}");
        }
        assert_eq!(doubled("Shopify-Hmac-Sha256"), Err(Refusal::TwoKinds));
        assert_eq!(doubled("X-Shopify-Name"), Ok(()));
        for name in ["topic", "shop-domain", "api-version", "webhook-id", "event-id", "triggered-at"] {
            let refused = doubled(&format!("Shopify-{name}")).unwrap_err().to_string();
            assert_eq!(refused, format!("the header `shopify-{name}` is of another generation than the signature"));
        }
        for form in ["fake", "=", &"A".repeat(44), &format!("{}!=", "A".repeat(42)), &"A".repeat(1_000)] {
            let mut request = request();
            request[0].1 = (*form).to_owned();
            assert_eq!(check_headers(&request), Err(Refusal::WrongSignature), "{form}");
        }
    }

    #[test]
    fn a_shop_that_no_header_names_is_the_signed_bodys() {
        let without = |body: &[u8]| {
            let mut request = request();
            request.retain(|(name, _)| name != "X-Shopify-Shop-Domain" && name != "X-Shopify-API-Version");
            request[0].1 = secrets().sign(body);
            verify(&request, body, &secrets())
        };
        for member in SHOP_MEMBERS {
            let body = format!(r#"{{"shop_id":954889,"{member}":"Hats.myshopify.com"}}"#);
            assert_eq!(without(body.as_bytes()).unwrap().shop_domain, "hats.myshopify.com");
        }
        let missing = Err(Refusal::NoHeaders(vec!["x-shopify-shop-domain"]));
        for body in [&br#"{"shop_domain":"evil.example"}"#[..], br#"{"shop_domain":7}"#, br#"{"id":1}"#, b"[]", b"{"] {
            assert_eq!(without(body), missing);
        }
    }

    #[test]
    fn a_request_with_the_new_signature_is_an_event() {
        let signature = secrets().sign(BODY);
        let event = [
            ("shopify-hmac-sha256", &*signature),
            ("shopify-topic", "Product"),
            ("shopify-shop-domain", "hats.myshopify.com"),
            ("shopify-api-version", "2026-10"),
            ("shopify-webhook-id", "w-2"),
            ("shopify-action", "update"),
        ];
        let event = event.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let webhook = verify(&event, BODY, &secrets()).unwrap();
        assert_eq!(webhook.kept[1], ("action", "update".to_owned()));
        assert_eq!(named(&event), ("w-2".to_owned(), "hats.myshopify.com".to_owned()));
        let long = vec![("X-Shopify-Webhook-Id".to_owned(), "x".repeat(HEADER_BYTES_MAX + 1))];
        assert_eq!(named(&long), (String::new(), String::new()));
    }
}
