//! Usage of shops, beside their quotas.

use std::path::Path;

use serde::Serialize;
use tradewind_model::Shop;
use tradewind_store::{Quota, Quotas, ShopUsage, Store, Usage};

use super::Finding;
use crate::cli::Fail;
use crate::cli::plugin::show::{bytes, number};
use crate::cli::text::{plural, printable};
use crate::config;

/// Shops that are shown when none is named. 3: one shop is mostly what fills a host.
const SHOWN: u32 = 3;

/// Shops of one name that are shown: one of each app.
const NAMED_MAX: u32 = 100;

/// Shops whose names one statement reads.
const PAGE: u32 = 100;

/// Thousandths of a quota from which a shop is worth a warning: 800, while there is time to act.
const NEARLY_FULL_PERMILLE: i64 = 800;

/// The quotas that the counters are compared with, in the counters' order.
const COUNTED: [Quota; 6] =
    [Quota::JobsWaiting, Quota::JobBytes, Quota::Records, Quota::RecordBytes, Quota::BodyBytes, Quota::LogBytes];

/// The arguments that concern usage.
pub(super) struct Question<'a> {
    pub(super) quotas: Quotas,
    pub(super) shop: Option<&'a str>,
    pub(super) recount: bool,
}

/// A shop's usage for programs: the names of the members are for ever.
#[derive(Serialize)]
pub(super) struct UsageJson {
    app: String,
    shop: String,
    share_permille: i64,
    quotas: Vec<QuotaJson>,
}

#[derive(Serialize)]
struct QuotaJson {
    limit: &'static str,
    used: i64,
    max: u64,
}

/// The quotas of a server file, or the defaults.
pub(super) fn quotas_of(config: Option<&Path>) -> Result<Quotas, Fail> {
    let Some(path) = config else { return Ok(Quotas::default()) };
    let limits = config::load_limits(path).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(|problem| printable(&problem.to_string())).collect();
        Fail::usage(lines.join("\nerror: "))
    })?;
    Ok(limits.quotas)
}

pub(super) async fn findings(store: &Store, question: &Question<'_>) -> Result<Vec<Finding>, Fail> {
    let mut findings = Vec::new();
    if question.recount {
        findings.push(recount(store, question.shop).await?);
    }
    let limit = if question.shop.is_some() { NAMED_MAX } else { SHOWN };
    let shops = store.fullest_shops(&question.quotas, None, question.shop, limit).await?;
    if shops.is_empty() {
        let says = question
            .shop
            .map_or_else(|| "no shop keeps anything".to_owned(), |shop| format!("the shop `{shop}` keeps nothing"));
        findings.push(Finding::ok("usage", says));
    }
    findings.extend(shops.iter().map(|shop| finding(shop, question)));
    Ok(findings)
}

fn finding(kept: &ShopUsage, question: &Question<'_>) -> Finding {
    let used = used(&kept.usage);
    // Finer than what is shown, so that the first of several that are nearly empty is told from the others.
    let share = |(quota, used): &(Quota, i64)| {
        i128::from(*used) * 1_000_000_000 / i128::from(question.quotas.of(*quota).max(1))
    };
    let says = if question.shop.is_some() {
        let each = COUNTED.into_iter().zip(used).map(|(quota, used)| shown(quota, used, question.quotas.of(quota)));
        format!("`{}` keeps {}", kept.shop, each.collect::<Vec<_>>().join(", "))
    } else {
        let fullest = COUNTED.into_iter().zip(used).max_by_key(share).unwrap_or((Quota::JobsWaiting, 0));
        format!("`{}` keeps {}", kept.shop, shown(fullest.0, fullest.1, question.quotas.of(fullest.0)))
    };
    let mut finding = if kept.share_permille >= NEARLY_FULL_PERMILLE {
        Finding::warn("usage", says, "what is full is refused; `--shop` shows all quotas, `[limits]` raises them")
    } else {
        Finding::ok("usage", says)
    };
    finding.usage = Some(json(kept, &question.quotas));
    finding
}

fn used(usage: &Usage) -> [i64; 6] {
    [usage.jobs, usage.job_bytes, usage.records, usage.record_bytes, usage.body_bytes, usage.log_bytes]
}

/// `12 of 100,000 unfinished jobs (shop_jobs_waiting_max)`.
fn shown(quota: Quota, used: i64, max: u64) -> String {
    let used = u64::try_from(used).unwrap_or_default();
    let is_bytes = quota.name().contains("_bytes_");
    let (value, of): (fn(u64) -> String, _) = if is_bytes { (bytes, "of ") } else { (number, "") };
    let unit = quota.unit().trim_start_matches("bytes of ");
    format!("{} of {} {of}{unit} (`{}`)", value(used), value(max), quota.name())
}

fn json(kept: &ShopUsage, quotas: &Quotas) -> UsageJson {
    let each = COUNTED.into_iter().zip(used(&kept.usage));
    let each = each.map(|(quota, used)| QuotaJson { limit: quota.name(), used, max: quotas.of(quota) });
    UsageJson {
        app: kept.shop.app.to_string(),
        shop: kept.shop.id.to_string(),
        share_permille: kept.share_permille,
        quotas: each.collect(),
    }
}

/// Puts the counters of shops right.
async fn recount(store: &Store, only: Option<&str>) -> Result<Finding, Fail> {
    let (mut counted, mut corrected) = (0_u64, 0_u64);
    let mut after: Option<Shop> = None;
    loop {
        let shops = store.shops_with_usage(after.as_ref(), PAGE).await?;
        for shop in shops.iter().filter(|shop| only.is_none_or(|only| *shop.id == *only)) {
            counted += 1;
            corrected += u64::from(store.recount(shop).await?.drift != Usage::default());
        }
        match shops.last() {
            Some(last) => after = Some(last.clone()),
            None => break,
        }
    }
    let says =
        format!("{}, {} put right", plural(counted, "shop was counted", "shops were counted"), number(corrected));
    Ok(Finding::ok("recount", says))
}
