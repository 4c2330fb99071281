//! A platform of the tests' own: the body of a webhook is the record.
//!
//! Topics are `products/create`, `products/update` and `products/delete`; the body is an object with `id`, `updated_at`
//! (RFC 3339) and whatever fields the record has. It stands for a platform where only what comes after the mapping is tested.

use tradewind_platform::mapping::{Children, Family, Incoming, Mapper, Report, Saved, Unmappable, Unmapped};

/// Maps a body to the one record of `shopify/product` that it is.
pub struct PlainMapper;

impl Mapper for PlainMapper {
    fn map(&self, report: &Report<'_>) -> Result<Vec<Incoming>, Unmapped> {
        let body = report.body;
        let unmappable = |what: &str| Unmappable { reason: format!("the body has no {what}") };
        let id = body.member("id").ok_or_else(|| unmappable("`id`"))?;
        let id = id.to::<String>().unwrap_or_else(|_| id.as_str().to_owned());
        let updated_at = body.member("updated_at").and_then(|time| time.to::<String>().ok());
        let updated_us = updated_at.map(|time| tradewind_model::value::date_time_us(&time));
        let updated_us = updated_us.map(|time| time.ok_or_else(|| unmappable("readable `updated_at`"))).transpose()?;
        let model = "shopify/product".to_owned();
        if report.topic.ends_with("/delete") {
            let deleted_us = updated_us.or(report.triggered_ms.map(|ms| ms * 1_000));
            return Ok(vec![Incoming::Deleted { model, id, deleted_us }]);
        }
        Ok(vec![Incoming::Saved(Saved { model, id, values: body.clone(), updated_us, children: Vec::new() })])
    }

    fn family(&self, _: &Report<'_>, _: &Saved, _: &Children) -> Result<Family, Unmappable> {
        Ok(Family::default())
    }
}
