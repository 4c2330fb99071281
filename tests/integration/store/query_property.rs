//! Random queries over random records: SQLite, PostgreSQL and plain memory must give the same pages and the same counts.
//!
//! The documents are what stored documents are and a little worse: wrong types, numbers that hardly any format holds, long
//! texts that differ late. A failure says the seed of its round, which `check` repeats alone.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::ops::Range;

use tradewind_model::document::{Mode, canonical, clean};
use tradewind_model::query::{Own, Query, Reach, Row};
use tradewind_model::schema::{Field, FieldType, Model, Schema, Scope, Unique};
use tradewind_model::value::show_ms;
use tradewind_model::{Json, RecordKey, Shop};
use tradewind_store::{Location, Store, Unit};
use tradewind_tests::postgres::shared;
use tradewind_tests::stores::{Build as _, NOW_MS, Place, commit_together, json};

/// Rounds of a usual run: each has an app of its own, so all of them share two databases.
const ROUNDS: u64 = 2;

/// Queries of a round, before its models are deployed and again afterwards.
const QUERIES: u64 = 10;

/// Records of a round, before and again afterwards.
const RECORDS: u64 = 40;

#[tokio::test]
async fn both_databases_answer_as_memory_does() {
    check(0..ROUNDS).await;
}

/// Texts are compared by their bytes whatever the order of the database's own language is.
#[tokio::test]
async fn a_collation_changes_no_answer() {
    let options = "template template0 encoding 'UTF8' locale_provider icu icu_locale 'de-u-kn-ks-level1'";
    let url = shared().database_with("collated", options).unwrap();
    check_on(Place::sqlite(), Place::Postgres(url), 0..ROUNDS).await;
}

async fn check(seeds: Range<u64>) {
    check_on(Place::sqlite(), Place::postgres(), seeds).await;
}

async fn check_on(sqlite: Place, postgres: Place, seeds: Range<u64>) {
    let usual = postgres.open().await;
    // A server with so few records reads and sorts all of them, unless it may not.
    let Place::Postgres(url) = &postgres else { unreachable!("it was made as one") };
    let url = format!("{url}?options[enable_seqscan]=off&options[enable_sort]=off&options[jit]=off");
    let forced = Store::open(&Location::parse(&url).unwrap()).await.unwrap();
    let sqlite = sqlite.open().await;
    for seed in seeds {
        Round::new(seed).run([&sqlite, if seed % 2 == 0 { &usual } else { &forced }]).await;
    }
}

/// A small generator, so that the cases are the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn one_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        *self.choose(from)
    }

    fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.roll(from.len() as u64)).unwrap()]
    }
}

/// One app, its models, its records.
struct Round {
    seed: u64,
    dice: Dice,
    app: String,
    model: Model,
    rows: Vec<Row>,
    ids: u64,
}

const SHOPS: [&str; 2] = ["hats.example", "shoes.example"];

impl Round {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let model = model(&mut dice);
        Self { seed, dice, app: format!("app-{seed}"), model, rows: Vec::new(), ids: 0 }
    }

    async fn run(&mut self, databases: [&Store; 2]) {
        let schema = Schema::new([self.model.clone(), Model { name: "b".into(), ..Model::default() }]).unwrap();
        for deployed in [false, true] {
            let units: Vec<_> = (0..RECORDS).flat_map(|_| self.record()).collect();
            for store in databases {
                for committed in commit_together(store, units.clone()).await {
                    committed.unwrap();
                }
            }
            for _ in 0..QUERIES {
                self.query(databases).await;
            }
            if !deployed {
                for store in databases {
                    store.deploy(&self.app, &schema, NOW_MS + 9).await.unwrap();
                }
                self.reread(databases).await;
            }
        }
    }

    /// Makes a record, and beside it two that no query of this app and model may find.
    fn record(&mut self) -> Vec<Unit> {
        self.ids += 1;
        let mut id = match self.dice.roll(4) {
            0 => format!("{:03}", self.ids),
            1 => format!("é{}", self.ids),
            2 => format!("Z{}", self.ids),
            _ => self.ids.to_string(),
        };
        let shop = self.dice.pick(&SHOPS).to_owned();
        if let Some(last) = self.rows.last().map(|row| row.id.clone()).filter(|_| self.dice.one_in(4)) {
            // The same id in the other shop.
            if self.rows.iter().all(|row| row.shop != shop || row.id != last) {
                id = last;
            }
        }
        let document = document(&mut self.dice, &self.model, &format!("{}{}", self.ids, shop));
        let created_ms = NOW_MS + i64::try_from(self.dice.roll(4)).unwrap();
        let places = [(&*self.app, &*self.model.name), (&*self.app, "b"), ("another", &format!("m-{}", self.seed))];
        let units = places.map(|(app, model)| {
            let unit = Unit::new(Shop::new(app, shop.as_str()), created_ms);
            unit.insert(&RecordKey::new(model, id.as_str()), document.as_str())
        });
        self.rows.push(Row { shop, id, document, created_ms, updated_ms: created_ms });
        units.into()
    }

    /// Takes over what a deployment has made of the records, which must be the same in both databases.
    async fn reread(&mut self, databases: [&Store; 2]) {
        for row in &mut self.rows {
            let key = RecordKey::new(self.model.name.as_str(), row.id.as_str());
            let shop = Shop::new(self.app.as_str(), row.shop.as_str());
            let mut found = Vec::new();
            for store in databases {
                let stored = store.record(&shop, &key).await.unwrap().unwrap();
                found.push((stored.doc, stored.updated_ms));
            }
            assert_eq!(found[0], found[1], "seed {}", self.seed);
            (row.document, row.updated_ms) = found.remove(0);
        }
    }

    /// Walks through a random query's pages.
    async fn query(&mut self, databases: [&Store; 2]) {
        let dice = &mut self.dice;
        let shop = dice.pick(&SHOPS).to_owned();
        let own = own(dice, &self.model, &self.rows, &shop);
        let size = 1 + dice.roll(30);
        let backward = dice.one_in(2);
        let base = query_text(dice, &self.model, &self.rows, size, backward);
        let shop = Shop::new(self.app.as_str(), shop);
        let all = Query::parse(&self.model, &json(&format!("{base}}}")), Reach::App)
            .unwrap_or_else(|error| panic!("{error}: {base}"));
        let expected = in_memory(&all, &self.rows, &own, &shop);
        for store in databases {
            let what = || format!("seed {} on {:?}: {base}}}", self.seed, store.engine());
            let ids: Vec<_> = own.iter().map(|own| place(own).1.to_owned()).collect();
            let count = store.search_count(&shop, &self.model, &all, &ids).await;
            let count = count.unwrap_or_else(|error| panic!("{error:?}, {}", what()));
            assert_eq!(all.overlay_count(count, &own), expected.len() as u64, "{}", what());
            let to = if backward { "before" } else { "after" };
            let mut cursor: Option<String> = None;
            let mut seen: Vec<Row> = Vec::new();
            loop {
                let next = cursor.as_ref().map(|cursor| format!(r#","{to}":"{cursor}""#)).unwrap_or_default();
                let query = Query::parse(&self.model, &json(&format!("{base}{next}}}")), Reach::App).unwrap();
                let found = store.search(&shop, &self.model, &query, own.len()).await;
                let found = found.unwrap_or_else(|error| panic!("{error:?}, {}", what()));
                assert!(found.len() <= query.read_max(own.len()), "{}", what());
                let page = query.overlay(found, &own);
                let behind = if backward { page.has_next } else { page.has_previous };
                assert_eq!(behind, cursor.is_some(), "{}", what());
                let more = if backward { page.has_previous } else { page.has_next };
                if backward {
                    seen.splice(0..0, page.rows);
                    cursor = page.start_cursor;
                } else {
                    seen.extend(page.rows);
                    cursor = page.end_cursor;
                }
                assert_eq!(more, seen.len() < expected.len(), "after {} of {}, {}", seen.len(), expected.len(), what());
                if !more {
                    break;
                }
            }
            if seen != expected {
                let list = |rows: &[Row]| rows.iter().fold(String::new(), |all, row| format!("{all}\n{row:?}"));
                panic!("{}\nfound{}\nexpected{}", what(), list(&seen), list(&expected));
            }
        }
    }
}

/// What a query finds in all, the plain way.
fn in_memory(query: &Query, rows: &[Row], own: &[Own], shop: &Shop) -> Vec<Row> {
    let changed: HashSet<_> = own.iter().map(place).collect();
    let stored = rows.iter().filter(|row| !changed.contains(&(row.shop.as_str(), row.id.as_str())));
    let written = own.iter().filter_map(|own| if let Own::Written(row) = own { Some(row) } else { None });
    let reached = |row: &&Row| query.scope == Scope::App || row.shop == *shop.id;
    let mut found: Vec<Row> = stored.chain(written).filter(reached).filter(|row| query.matches(row)).cloned().collect();
    found.sort_by(|a, b| query.compare(a, b));
    assert!(found.windows(2).all(|pair| query.compare(&pair[0], &pair[1]) == Ordering::Less), "the order is total");
    found
}

fn place(own: &Own) -> (&str, &str) {
    match own {
        Own::Written(row) => (&row.shop, &row.id),
        Own::Deleted { shop, id } => (shop, id),
    }
}

/// A model with a field or two of each type, and a key of all that is unique.
fn model(dice: &mut Dice) -> Model {
    let link = FieldType::BelongsTo { model: "b".to_owned() };
    let types = [
        ("title", FieldType::String),
        ("A_1", FieldType::String),
        ("stock", FieldType::Integer),
        ("_n", FieldType::Number),
        ("price", FieldType::Number),
        ("live", FieldType::Boolean),
        ("at", FieldType::DateTime),
        ("raw", FieldType::Json),
        ("parent", link),
    ];
    let fields = types.into_iter().map(|(name, of)| {
        let mut field = Field::new(name, of);
        field.index = field.of.has_order() && dice.one_in(2);
        field
    });
    let mut fields: Vec<_> = fields.collect();
    fields.push(Field { index: dice.one_in(2), ..Field::new("code", FieldType::String) });
    let scope = if dice.one_in(2) { Scope::App } else { Scope::Shop };
    let uniques = vec![Unique { fields: vec!["code".to_owned()], scope }];
    Model { name: "shopify/thing".to_owned(), fields, uniques }
}

/// A text of many shapes; spelled as JSON.
fn text(dice: &mut Dice) -> String {
    let pieces = [
        "a",
        "A",
        "b",
        "é",
        "e\\u0301",
        "\\u0041",
        "😀",
        "\\ud83d\\ude00",
        "\\u0000",
        "\\ud800",
        "\u{e000}",
        "\u{ffff}",
    ];
    let more = ["\\n", "'", "%", "_", "$1", "?", "\\\"", "\\\\", " ", "\u{10ffff}", "\u{7f}", "\u{80}", "ß", "md5:"];
    let long = dice.one_in(3);
    let mut text = String::new();
    if long {
        // 254 to 258 characters that are the same, so that the texts differ around where their keys end.
        let piece = if dice.one_in(4) { "é" } else { "x" };
        text.push_str(&piece.repeat(usize::try_from(254 + dice.roll(5)).unwrap()));
    }
    for _ in 0..dice.roll(4) {
        text.push_str(if dice.one_in(2) { dice.pick(&pieces[..]) } else { dice.pick(&more[..]) });
    }
    format!("\"{text}\"")
}

fn integer(dice: &mut Dice) -> String {
    let odd =
        ["9007199254740991", "9007199254740993", "-9223372036854775808", "9223372036854775807", "820982911946154508"];
    if dice.one_in(3) { dice.pick(&odd).to_owned() } else { (i64::try_from(dice.roll(7)).unwrap() - 3).to_string() }
}

fn number(dice: &mut Dice) -> String {
    let odd = [
        "0.1",
        "0.30000000000000004",
        "1e99",
        "-1e99",
        "1e-59",
        "1.7976931348623157e9",
        "10.50",
        "1e1",
        "-0",
        "0.0",
        "-0.0",
    ];
    let long = ["9007199254740993", "0.1234567890123456", "123456789012345678.9", "1e22", "4.35", "2.5E+3", "-1.5e-5"];
    match dice.roll(3) {
        0 => dice.pick(&odd).to_owned(),
        1 => dice.pick(&long).to_owned(),
        _ => integer(dice),
    }
}

/// Numbers that no canonical document has where a type is declared.
fn odd_number(dice: &mut Dice) -> String {
    let odd =
        ["1e400", "-1e400", "1e-400", "9223372036854775808", "-9223372036854775809", "1e100", "1e-60", "10.0", "5e0"];
    let more = ["18446744073709551616", "123456789012345678901234567890", "0.00000000000000000000000000001", "1E0005"];
    if dice.one_in(2) { dice.pick(&odd).to_owned() } else { dice.pick(&more).to_owned() }
}

fn time(dice: &mut Dice) -> String {
    let odd = [
        "0000-01-01T00:00:00.000Z",
        "9999-12-30T00:00:00.000Z",
        "2024-05-01T10:00:00-04:00",
        "2024-05-01T14:00:00.0009Z",
    ];
    let ms = NOW_MS + i64::try_from(dice.roll(4)).unwrap();
    if dice.one_in(3) { format!("\"{}\"", dice.pick(&odd)) } else { format!("\"{}\"", show_ms(ms)) }
}

/// A value that fits a type, as documents and operands have it.
fn value(dice: &mut Dice, of: &FieldType) -> String {
    match of {
        FieldType::String => text(dice),
        FieldType::Integer => integer(dice),
        FieldType::Number => number(dice),
        FieldType::Boolean => dice.pick(&["true", "false"]).to_owned(),
        FieldType::DateTime => time(dice),
        FieldType::BelongsTo { .. } => format!("\"{}\"", dice.roll(5)),
        _ => dice.pick(&["[]", "{}", "\"\"", "0", "false", "[null]", r#"{"a":{"b":[1,2.50]}}"#]).to_owned(),
    }
}

/// Half of the documents are canonical; of the others one value in four is odd.
fn document(dice: &mut Dice, model: &Model, unique: &str) -> Json {
    let canon = dice.one_in(2);
    let mut text = String::from("{");
    for field in &model.fields {
        let value = match dice.roll(10) {
            0 => continue,
            1 => "null".to_owned(),
            _ if field.name == "code" => {
                let long = if dice.one_in(3) { "y".repeat(250 + unique.len()) } else { String::new() };
                format!("\"{long}{unique}\"")
            }
            2 if !canon => odd_number(dice),
            3 if !canon => {
                let other = dice.choose(&model.fields).of.clone();
                value(dice, &other)
            }
            _ => value(dice, &field.of),
        };
        let comma = if text.len() > 1 { "," } else { "" };
        let name = if dice.one_in(20) { field.name.replace('t', "\\u0074") } else { field.name.clone() };
        let _ = write!(text, "{comma}\"{name}\":{value}");
    }
    let values = clean(&json(&format!("{text}}}")));
    if canon { canonical(model, &values, Mode::Lenient).unwrap().document } else { values }
}

/// What a unit has changed and not yet committed.
fn own(dice: &mut Dice, model: &Model, rows: &[Row], shop: &str) -> Vec<Own> {
    if dice.one_in(2) {
        return Vec::new();
    }
    let mut ids: HashSet<String> = HashSet::new();
    let mut own = Vec::new();
    for new in 0..dice.roll(12) {
        let there: Vec<_> = rows.iter().filter(|row| row.shop == shop).collect();
        let id = if dice.one_in(3) || there.is_empty() { format!("new-{new}") } else { dice.choose(&there).id.clone() };
        if !ids.insert(id.clone()) {
            continue;
        }
        let shop = shop.to_owned();
        own.push(if dice.one_in(3) {
            Own::Deleted { shop, id }
        } else {
            let document = document(dice, model, &format!("own{id}"));
            Own::Written(Row { shop, id, document, created_ms: NOW_MS, updated_ms: NOW_MS + 1 })
        });
    }
    own
}

/// A query without its cursor and without its last brace.
fn query_text(dice: &mut Dice, model: &Model, rows: &[Row], size: u64, backward: bool) -> String {
    let count = if backward { "last" } else { "first" };
    let mut text = format!(r#"{{"{count}":{size}"#);
    if !dice.one_in(5) {
        let _ = write!(text, r#","filter":{}"#, filter(dice, model, rows, 3));
    }
    let mut names: Vec<&str> =
        model.fields.iter().filter(|field| field.of.has_order()).map(|field| &*field.name).collect();
    names.extend(["id", "createdAt", "updatedAt"]);
    let mut keys = Vec::new();
    for _ in 0..dice.roll(4) {
        let name = names.swap_remove(usize::try_from(dice.roll(names.len() as u64)).unwrap());
        keys.push(format!(r#"{{"{name}":"{}"}}"#, dice.pick(&["ascending", "descending"])));
    }
    let _ = write!(text, r#","sort":[{}]"#, keys.join(","));
    if dice.one_in(4) {
        text.push_str(r#","select":{"id":true,"title":true}"#);
    }
    if dice.one_in(4) {
        text.push_str(r#","scope":"app""#);
    }
    text
}

fn filter(dice: &mut Dice, model: &Model, rows: &[Row], depth: u32) -> String {
    if depth > 0 && dice.one_in(2) {
        let word = dice.pick(&["AND", "OR", "NOT"]);
        let inner: Vec<_> = (0..dice.roll(4)).map(|_| filter(dice, model, rows, depth - 1)).collect();
        return format!(r#"{{"{word}":[{}]}}"#, inner.join(","));
    }
    // Each member once.
    let conditions: BTreeMap<_, _> = (0..=dice.roll(2)).map(|_| condition(dice, model, rows)).collect();
    let conditions: Vec<_> = conditions.into_iter().map(|(name, test)| format!("\"{name}\":{test}")).collect();
    format!("{{{}}}", conditions.join(","))
}

fn condition(dice: &mut Dice, model: &Model, rows: &[Row]) -> (String, String) {
    let system = [Field::new("id", FieldType::String), Field::new("createdAt", FieldType::DateTime)];
    let field = match dice.roll(8) {
        0 => dice.choose(&system),
        // Texts, which have the most to go wrong.
        1..=3 => dice.choose(&model.fields[..2]),
        _ => dice.choose(&model.fields),
    };
    let mut operators = vec!["isSet"];
    if field.of.has_order() {
        operators.extend(["equals", "notEquals", "in", "notIn"]);
    }
    if !matches!(field.of, FieldType::Json | FieldType::Boolean | FieldType::BelongsTo { .. }) {
        operators.extend(["lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"]);
    }
    if field.of == FieldType::String {
        operators.extend(["startsWith", "contains"]);
    }
    if field.of == FieldType::DateTime {
        operators.extend(["before", "after"]);
    }
    let operator = dice.pick(&operators);
    let operand = match operator {
        "isSet" => dice.pick(&["true", "false"]).to_owned(),
        "in" | "notIn" => {
            let values: Vec<_> = (0..dice.roll(6)).map(|_| operand(dice, field, rows, true)).collect();
            format!("[{}]", values.join(","))
        }
        "startsWith" | "contains" => operand(dice, field, rows, false),
        _ => operand(dice, field, rows, true),
    };
    (field.name.clone(), format!(r#"{{"{operator}":{operand}}}"#))
}

/// A value to compare with: often one that a record has, else some.
fn operand(dice: &mut Dice, field: &Field, rows: &[Row], or_null: bool) -> String {
    if or_null && dice.one_in(8) {
        return "null".to_owned();
    }
    let fits = |value: &Json| {
        let test = json(&format!(r#"{{"filter":{{"{}":{{"equals":{value}}}}}}}"#, field.name));
        let model = Model { name: "m".to_owned(), fields: vec![field.clone()], uniques: Vec::new() };
        !value.is_null() && Query::parse(&model, &test, Reach::App).is_ok()
    };
    let from = dice.choose(rows);
    let stored =
        if field.name == "id" { Some(json(&format!("\"{}\"", from.id))) } else { from.document.member(&field.name) };
    match stored.filter(|value| !dice.one_in(3) && field.of.has_order() && fits(value)) {
        Some(value) => value.to_string(),
        None => value(dice, &field.of),
    }
}
