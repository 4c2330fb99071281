//! Totals that a plugin keeps by counting: products of a few vendors change beside one another, and a record of each vendor has
//! to have the number of its products whenever nothing is on its way.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tradewind_host::pipeline::Ended;

use super::Report;
use crate::host::{APP, TestHost};
use crate::stores::Place;

/// Products that change.
const PRODUCTS: u64 = 100;

/// Jobs that run beside one another.
const AT_A_TIME: usize = 32;

const VENDORS: [&str; 5] = ["ash", "birch", "cedar", "dogwood", "elm"];

const MODELS: &str = r#"[
    {"name": "shopify/product", "fields": [{"name": "vendor", "type": "string", "index": true}]},
    {"name": "shopify/product-variant"}, {"name": "thing"}, {"name": "note"},
    {"name": "total", "fields": [{"name": "count", "type": "integer"}]}
]"#;

/// Rounds of so many edits, until there were as many as that or the time is over. Answers how many totals were wrong, and
/// how many attempts were used.
pub async fn rounds(place: &Place, rounds: u64, edits: u64, length: Duration, seed: u64) -> anyhow::Result<Report> {
    let started = Instant::now();
    let host = TestHost::bare(place).await;
    host.install(APP, MODELS, vec![("puppet", crate::installed("puppet").await?)]).await;
    let mut vendors: HashMap<u64, &str> = HashMap::new();
    let (mut chance, mut done, mut failures, mut edited) = (seed, 0, 0, 0);
    while done < rounds && started.elapsed() < length {
        for _ in 0..edits {
            let (id, vendor) = (next(&mut chance) % PRODUCTS, VENDORS[pick(next(&mut chance))]);
            let count = |vendor: &str| json!({ "count-vendor": vendor, "or-fail": true });
            let mut script = vec![count(vendor)];
            script.extend(vendors.insert(id, vendor).filter(|old| *old != vendor).map(count));
            if next(&mut chance).is_multiple_of(2) {
                script.reverse();
            }
            host.deliver("products/update", &json!({ "id": id, "vendor": vendor, "script": script })).await;
        }
        edited += edits;
        let ends = host.drain_beside(AT_A_TIME).await;
        let unfinished = ends.iter().filter(|end| !matches!(end, Ended::Done(_))).count();
        for ended in ends.iter().filter(|end| !matches!(end, Ended::Done(_))).take(3) {
            complain(&format!("a delivery did not end well: {ended:?}"));
        }
        failures += u64::try_from(unfinished)?;
        for vendor in VENDORS {
            let expected = vendors.values().filter(|of| **of == vendor).count();
            let kept = &host.record("total", vendor).await["count"];
            if *kept != json!(expected) && !(kept.is_null() && expected == 0) {
                complain(&format!("`{vendor}` has {expected} products, its total says {kept}"));
                failures += 1;
            }
        }
        done += 1;
    }
    host.leave_jobs();
    ensure!(!matches!(host.record("total", VENDORS[0]).await, Value::Null), "nothing was counted");
    Ok(Report { did: format!("{edited} edits in {done} rounds counted"), failures })
}

/// Runs rounds of eight edits on a database, a thousand at most.
pub async fn run(place: &Place, length: Duration, seed: u64) -> anyhow::Result<Report> {
    rounds(place, 1_000, 8, length, seed).await.context("keeping totals")
}

#[expect(clippy::print_stdout, reason = "the fault run is a program for people")]
fn complain(what: &str) {
    println!("  NOT AS EXPECTED: {what}");
}

fn pick(number: u64) -> usize {
    usize::try_from(number).unwrap_or_default() % VENDORS.len()
}

/// The next of a row of numbers (`SplitMix64`).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) >> 1
}
