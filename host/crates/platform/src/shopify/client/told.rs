//! What an answer says of the budget: headers, cost, and when to come back.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use tradewind_model::Json;

use super::bucket::Level;

/// `extensions.cost` of a GraphQL answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Cost {
    #[serde(rename = "requestedQueryCost")]
    pub(super) requested: Option<f64>,
    #[serde(rename = "actualQueryCost")]
    pub(super) actual: Option<f64>,
    #[serde(rename = "throttleStatus")]
    status: Option<Status>,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    maximum_available: f64,
    currently_available: f64,
    restore_rate: f64,
}

impl Cost {
    /// Of a GraphQL answer's body; empty when it does not say.
    pub(super) fn of(body: &Json) -> Self {
        let cost = body.member("extensions").and_then(|extensions| extensions.member("cost"));
        cost.and_then(|cost| cost.to().ok()).unwrap_or_default()
    }

    pub(super) fn level(&self) -> Option<Level> {
        let status = self.status?;
        let level = Level {
            available: status.currently_available,
            maximum: status.maximum_available,
            restore_rate: status.restore_rate,
        };
        level.is_sound().then_some(level)
    }

    /// How long a throttled query has to wait, as far as the answer says it: what is missing at the rate of the bucket.
    pub(super) fn wait(&self) -> Option<Duration> {
        let (requested, level) = (self.requested?, self.level()?);
        Duration::try_from_secs_f64(((requested - level.available) / level.restore_rate).max(0.0)).ok()
    }
}

/// The REST bucket, from `X-Shopify-Shop-Api-Call-Limit: used/size`. It refills in twenty seconds, whatever its size.
pub(super) fn rest_level(headers: &HeaderMap) -> Option<Level> {
    const REFILL_SECONDS: f64 = 20.0;
    let text = headers.get("x-shopify-shop-api-call-limit")?.to_str().ok()?;
    let (used, size) = text.split_once('/')?;
    let (used, size): (f64, f64) = (used.trim().parse().ok()?, size.trim().parse().ok()?);
    let level = Level { available: size - used, maximum: size, restore_rate: size / REFILL_SECONDS };
    level.is_sound().then_some(level)
}

/// `Retry-After`: seconds, which Shopify writes with decimals, or a date. A date is compared with the answer's own, so that
/// nobody's clock matters.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let date = |text: &str| -> Option<Timestamp> { rfc2822::DateTimeParser::new().parse_timestamp(text).ok() };
    let (then, now) = (date(text)?, date(headers.get(DATE)?.to_str().ok()?)?);
    Some(Duration::try_from(then.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let check = |value, date, expected: Option<f64>| {
            let headers = headers(&[("retry-after", value), ("date", date)]);
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs_f64), "{value}");
        };
        let date = "Wed, 21 Oct 2026 07:28:00 GMT";
        check("2.0", date, Some(2.0));
        check("0.5", date, Some(0.5));
        check("4", date, Some(4.0));
        check("Wed, 21 Oct 2026 07:28:30 GMT", date, Some(30.0));
        check("Wed, 21 Oct 2026 07:27:00 GMT", date, Some(0.0));
        for odd in ["foobar", "-1", "NaN", "inf", "", "1e300"] {
            check(odd, date, None);
        }
        check("Wed, 21 Oct 2026 07:28:30 GMT", "no date", None);
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn rest_buckets_are_read_from_their_header() {
        let level = |value| rest_level(&headers(&[("x-shopify-shop-api-call-limit", value)]));
        assert_eq!(level("1/40"), Some(Level { available: 39.0, maximum: 40.0, restore_rate: 2.0 }));
        assert_eq!(level("400/400"), Some(Level { available: 0.0, maximum: 400.0, restore_rate: 20.0 }));
        for odd in ["invalid/invalid", "1", "1/0", "/", "1/NaN", ""] {
            assert_eq!(level(odd), None, "{odd}");
        }
    }

    #[test]
    fn costs_are_read_from_extensions() {
        let cost = |text: &str| Cost::of(&Json::parse(text).unwrap());
        let throttled = cost(
            r#"{"extensions":{"cost":{"requestedQueryCost":732,"actualQueryCost":null,
                "throttleStatus":{"maximumAvailable":1000.0,"currentlyAvailable":728,"restoreRate":50.0}}}}"#,
        );
        assert_eq!(throttled.wait(), Some(Duration::from_millis(80)));
        assert_eq!(throttled.level(), Some(Level { available: 728.0, maximum: 1000.0, restore_rate: 50.0 }));
        for odd in ["{}", "[]", r#"{"extensions":{"cost":"x"}}"#, r#"{"extensions":{"cost":{"throttleStatus":null}}}"#]
        {
            assert_eq!(cost(odd), Cost::default(), "{odd}");
        }
    }
}
