//! Where the time of one webhook goes: each step that the host takes by itself, alone on one core.

use std::hint::black_box;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tradewind_model::document::{Mode, canonical, changed_members, merged};
use tradewind_model::schema::{Field, FieldType, Model};
use tradewind_model::{ActiveRecord, Json, Origin};
use tradewind_store::compress;

use super::place::body;
use super::table::{Table, time};
use super::turns::{Effort, percentile};

/// How often a step is timed in one round.
const CALLS: u32 = 2_000;

#[expect(clippy::unused_async, reason = "as the other parts")]
pub(crate) async fn measure(effort: Effort, table: &Table) -> anyhow::Result<()> {
    table.section("One webhook of 9 KB, step by step on one core");
    let (old, new) = (body(1, 1), body(1, 2));
    let (old_json, new_json) = (json(&old)?, json(&new)?);
    let model = product();
    let stored = canonical(&model, &old_json, Mode::Lenient)?.document;
    let incoming = canonical(&model, &new_json, Mode::Lenient)?.document;
    let changed = changed_members(&stored, &incoming);
    let step = |what: &str, run: &mut dyn FnMut()| {
        let mut took = Vec::new();
        for _ in 0..effort.of(CALLS) {
            let started = Instant::now();
            run();
            took.push(started.elapsed());
        }
        let best = took.iter().min().copied().unwrap_or(Duration::ZERO);
        table.row(what, &time(percentile(&mut took, 0.5)), &time(best), "");
    };
    step("digest of the body (SHA-256)", &mut || {
        black_box(Sha256::digest(black_box(&new)));
    });
    step("compress the body (LZ4)", &mut || {
        black_box(compress(black_box(&new)));
    });
    step("check that it is JSON", &mut || {
        black_box(json(black_box(&new)).ok());
    });
    step("canonical document", &mut || {
        black_box(canonical(&model, black_box(&new_json), Mode::Lenient).ok());
    });
    step("what changed", &mut || {
        black_box(changed_members(black_box(&stored), black_box(&incoming)));
    });
    step("new document", &mut || {
        black_box(merged(black_box(&stored), black_box(&changed)));
    });
    step("record with change tracking, when a plugin asks", &mut || {
        let record = ActiveRecord::load(&model.name, "1", Some(black_box(&stored)));
        black_box(record.and_then(|mut record| record.apply(&incoming, Origin::External).map(|()| record)).ok());
    });
    Ok(())
}

fn json(body: &[u8]) -> anyhow::Result<Json> {
    Ok(Json::parse(std::str::from_utf8(body)?)?)
}

/// The model that the benchmarks keep.
pub(crate) fn product() -> Model {
    let field = |name: &str, of: FieldType| Field::new(name, of);
    Model {
        name: "shopify/product".to_owned(),
        fields: vec![
            field("title", FieldType::String),
            field("body", FieldType::String),
            field("vendor", FieldType::String),
            field("handle", FieldType::String),
            field("status", FieldType::String),
            field("created_at", FieldType::DateTime),
            field("updated_at", FieldType::DateTime),
            field("variants", FieldType::Json),
        ],
        uniques: Vec::new(),
    }
}
