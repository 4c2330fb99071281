//! Odd payloads for the mapper: none breaks it, what it cannot read it says, and what it answers is what came.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tradewind_model::Json;
use tradewind_platform::mapping::{Incoming, Mapper as _, Report as Told, Saved};
use tradewind_platform::shopify::{Shopify, subject};

use super::Report;
use super::mutation::{damaged, mutated, product, start_of};

/// How many times its payload an answer may be long, in bytes. 8: a child repeats its parent's id and some names.
const ANSWER_TIMES_MAX: usize = 8;

const TOPICS: [&str; 5] = ["products/create", "products/update", "products/delete", "shop/update", "orders/create"];

/// Maps odd payloads until the time is up, and at least `times`.
#[expect(clippy::print_stdout, reason = "a program for people")]
pub fn run(length: Duration, times: u64, seed: u64) -> Result<Report> {
    let until = Instant::now() + length;
    let mut rng = StdRng::seed_from_u64(seed ^ 0x6d61_7070);
    let (mut payloads, mut records, mut unreadable, mut failures) = (0, 0, 0, 0);
    while payloads < times || Instant::now() < until {
        let topic = TOPICS.choose(&mut rng).copied().unwrap_or_default();
        let triggered_ms = [None, Some(0), Some(i64::MAX), Some(i64::MIN), Some(1_777_629_600_250)];
        let triggered_ms = triggered_ms.choose(&mut rng).copied().flatten();
        let mut text = mutated(&product(rng.random_range(1..u64::MAX >> 1)), &mut rng);
        if rng.random_ratio(1, 3) {
            text = String::from_utf8_lossy(&damaged(text.as_bytes(), &mut rng)).into_owned();
        }
        payloads += 1;
        let mapped = catch_unwind(AssertUnwindSafe(|| check(topic, triggered_ms, &text)));
        match mapped {
            Ok(Ok(Some(count))) => records += count,
            Ok(Ok(None)) => unreadable += 1,
            Ok(Err(error)) => {
                println!("  NOT AS EXPECTED: {error:#}: {topic} {}", start_of(&text));
                failures += 1;
            }
            Err(_) => {
                println!("  NOT AS EXPECTED: a panic: {topic} {triggered_ms:?} {}", start_of(&text));
                failures += 1;
            }
        }
    }
    ensure!(records > 0 && unreadable > 0, "{records} records, {unreadable} unreadable: nothing was tried");
    Ok(Report { did: format!("{payloads} odd payloads: {records} records, {unreadable} unreadable"), failures })
}

/// How many records came of it; none when it says that it cannot be read.
fn check(topic: &str, triggered_ms: Option<i64>, text: &str) -> Result<Option<u64>> {
    let found = subject(topic, text);
    let Ok(body) = Json::parse(text) else {
        // What the door lets through, everybody behind it can read.
        ensure!(found.is_err(), "the door takes what is no JSON");
        return Ok(None);
    };
    // The door refuses what has two of an `id`.
    let Ok(found) = found else { return Ok(None) };
    let report = Told { topic, shop: "hats.myshopify.com", triggered_ms, body: &body };
    let mapped = Shopify.map(&report);
    ensure!(mapped == Shopify.map(&report), "the same becomes something else");
    let Ok(changes) = mapped else { return Ok(None) };
    let mut records = 0;
    let mut bytes = 0;
    for change in &changes {
        let (Incoming::Saved(Saved { model, id, .. }) | Incoming::Deleted { model, id, .. }) = change;
        let key = found.as_ref().map(ToString::to_string);
        ensure!(key == Some(format!("{model} {id}")), "the lane is {key:?}, the record {model} {id}");
        records += 1;
        let Incoming::Saved(saved) = change else { continue };
        bytes += checked(saved)?;
        for children in &saved.children {
            let Ok(family) = Shopify.family(&report, saved, children) else { continue };
            for record in &family.records {
                bytes += checked(record)?;
                records += 1;
            }
        }
    }
    ensure!(bytes <= ANSWER_TIMES_MAX * text.len() + 4_096, "{} bytes became {bytes}", text.len());
    Ok(Some(records))
}

/// The bytes of a record that is one.
fn checked(saved: &Saved) -> Result<usize> {
    ensure!(!saved.id.is_empty(), "a record without an id");
    ensure!(saved.values.members().is_some(), "{} {} is no object: {}", saved.model, saved.id, saved.values);
    ensure!(Json::parse(saved.values.as_str()).is_ok(), "{} {} is no JSON: {}", saved.model, saved.id, saved.values);
    Ok(saved.values.as_str().len())
}
