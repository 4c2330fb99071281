//! The query language by cases: what is refused, what matches, and that pages fit together.

use super::*;
use crate::json::Json;
use crate::schema::Model;

fn model() -> Model {
    let text = r#"{"name":"product","fields":[
        {"name":"title","type":"string"},
        {"name":"stock","type":"integer"},
        {"name":"price","type":"number"},
        {"name":"live","type":"boolean"},
        {"name":"at","type":"date-time"},
        {"name":"raw","type":"json"},
        {"name":"code","type":"string","unique":true},
        {"name":"shop","type":"belongs-to","model":"shop"},
        {"name":"variants","type":"has-many","model":"variant","by":"product"}
    ],"uniques":[{"fields":["shop","stock"]}]}"#;
    serde_json::from_str(text).unwrap()
}

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

fn query(text: &str) -> Query {
    Query::parse(&model(), &json(text), Reach::App).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn row(id: &str, document: &str) -> Row {
    Row {
        shop: "s".to_owned(),
        id: id.to_owned(),
        document: json(document),
        created_ms: 1_714_572_000_000,
        updated_ms: 5,
    }
}

#[test]
fn every_mistake_has_its_own_words() {
    let check = |text: &str, expected: &str| {
        let error = Query::parse(&model(), &json(text), Reach::App).unwrap_err();
        assert!(error.message.contains(expected), "{text}: {error}");
        assert!(error.code == code::NOT_AVAILABLE || error.message.contains("hint: "), "{text}: {error}");
    };
    check("[]", "the query is not a JSON object");
    check(r#"{"filters":{}}"#, "a query has no `filters`; hint: did you mean `filter`?");
    check(r#"{"search":"hat"}"#, "`search` is not available");
    check(r#"{"filter":[]}"#, "a filter is not a JSON object");
    check(r#"{"filter":{"titel":{"equals":"a"}}}"#, "declares no field `titel`; hint: did you mean `title`?");
    check(
        r#"{"filter":{"title":"Hat"}}"#,
        r#"the condition of `title` is not a JSON object; hint: `{"title": {"equals": …}}`"#,
    );
    check(r#"{"filter":{"title":null}}"#, "the condition of `title` is not");
    check(
        r#"{"filter":{"title":{"like":"a"}}}"#,
        "`title` of type `string` has no condition `like`; hint: it has `equals`",
    );
    check(r#"{"filter":{"live":{"lessThan":true}}}"#, "`live` of type `boolean` has no condition `lessThan`");
    check(r#"{"filter":{"raw":{"equals":1}}}"#, "it has `isSet`");
    check(r#"{"filter":{"stock":{"equals":"1"}}}"#, "`equals` of `stock` is not an integer of 64 bits");
    check(r#"{"filter":{"stock":{"lessThan":1.5}}}"#, "`lessThan` of `stock` is not an integer");
    check(r#"{"filter":{"price":{"in":[1,"2"]}}}"#, "`in` of `price` is not a number");
    check(r#"{"filter":{"price":{"in":1}}}"#, "`in` of `price` is not an array");
    check(r#"{"filter":{"at":{"before":"2024-05-01"}}}"#, "`before` of `at` is not a date-time");
    check(r#"{"filter":{"createdAt":{"after":5}}}"#, "`after` of `createdAt` is not a date-time");
    check(r#"{"filter":{"title":{"isSet":1}}}"#, "`isSet` of `title` is not true or false");
    check(r#"{"filter":{"title":{"startsWith":null}}}"#, "`startsWith` of `title` is not a string");
    check(r#"{"filter":{"variants":{"isSet":true}}}"#, "`variants` is a list of children");
    check(r#"{"filter":{"OR":5}}"#, "`OR` is neither an array of filters nor a filter");
    for (text, name) in [
        (r#"{"first":1,"first":2}"#, "first"),
        (r#"{"scope":"app","scope":null}"#, "scope"),
        (r#"{"scope":"shop","sc\u006fpe":"app"}"#, "scope"),
        (r#"{"filter":{"title":{"equals":"a"},"title":{"equals":"b"}}}"#, "title"),
        (r#"{"filter":{"title":{"equals":"a","equals":"b"}}}"#, "equals"),
        (r#"{"filter":{"AND":[],"AND":[]}}"#, "AND"),
        (r#"{"filter":{"NOT":{"shop":{"id":{"isSet":true,"isSet":true}}}}}"#, "isSet"),
        (r#"{"sort":{"title":"asc","title":"desc"}}"#, "title"),
        (r#"{"select":{"id":true,"id":false}}"#, "id"),
    ] {
        check(text, &format!("`{name}` appears twice in "));
    }
    check(r#"{"filter":{"AND":[null]}}"#, "a filter is not a JSON object");
    check(r#"{"filter":{"shop":{"id":null}}}"#, "the condition of `shop.id` is not a JSON object");
    check(r#"{"sort":[null]}"#, "each part of `sort` is not a JSON object");
    check(r#"{"scope":{"app":null}}"#, "`scope` is neither");
    check(r#"{"scope":["app"]}"#, "`scope` is neither");
    check(r#"{"scope":"APP"}"#, "`scope` is neither");
    check(r#"{"sort":"title"}"#, "`sort` is neither an array nor an object");
    check(r#"{"sort":[{"title":"up"}]}"#, "neither `ascending` nor `descending`");
    check(r#"{"sort":[{"raw":"ascending"}]}"#, "`raw` is of type `json` and has no order");
    check(r#"{"sort":[{"title":"asc"},{"title":"desc"}]}"#, "names `title` twice");
    check(r#"{"sort":{"title":"asc","stock":"asc","price":"asc","live":"asc","at":"asc"}}"#, "more than 4 fields");
    check(r#"{"select":["title"]}"#, "`select` is not a JSON object");
    check(r#"{"select":{"raw":{"a":true}}}"#, "`select.raw` is neither true nor false");
    check(r#"{"select":{"raw":false}}"#, "no field that is true");
    check(r#"{"first":1,"last":1}"#, "`first` and `last` exclude each other");
    check(r#"{"first":0}"#, "`first` is not an integer from 1 to 250");
    check(r#"{"last":251}"#, "`last` is not an integer from 1 to 250");
    check(r#"{"first":5,"before":"x"}"#, "`first` with `after`");
    check(r#"{"after":"x","before":"x"}"#, "`first` with `after`");
    check(r#"{"after":5}"#, "`after` is not a string");
    check(r#"{"after":"x"}"#, "`after` is no cursor");
    check(r#"{"scope":"world"}"#, "`scope` is neither");
    let nested = |levels: usize| format!("{{\"filter\":{}{{}}{}}}", "{\"NOT\":".repeat(levels), "}".repeat(levels));
    query(&nested(FILTER_DEPTH_MAX));
    check(&nested(FILTER_DEPTH_MAX + 1), "nested deeper than 16");
    check(
        &format!(r#"{{"filter":{{"OR":[{}{{}}]}}}}"#, r#"{"title":{"isSet":true}},"#.repeat(201)),
        "more than 200 conditions",
    );
    check(&format!(r#"{{"filter":{{"stock":{{"in":[{}1]}}}}}}"#, "1,".repeat(2_000)), "more than 2000 values");
    check(
        &format!(r#"{{"filter":{{"title":{{"equals":"{}"}}}}}}"#, "x".repeat(QUERY_BYTES_MAX)),
        "more than 131072 bytes",
    );
    let contains = |bytes: usize| format!(r#"{{"filter":{{"title":{{"contains":"{}"}}}}}}"#, "x".repeat(bytes));
    query(&contains(CONTAINS_BYTES_MAX));
    check(&contains(CONTAINS_BYTES_MAX + 1), "at most 1024 are looked for (`contains_bytes_max`)");
}

#[test]
fn conditions_match_as_written_and_null_is_a_value() {
    let rows = [
        row(
            "1",
            r#"{"title":"Hat","stock":5,"price":9.5,"live":true,"at":"2024-05-01T14:00:00.000Z","shop":"7","raw":{}}"#,
        ),
        row("2", r#"{"title":"hat","stock":9007199254740993,"price":-0.0,"live":false,"raw":null}"#),
        row("3", r#"{"title":null,"stock":"5","price":1e400,"live":1,"at":null}"#),
        row("4", "{}"),
    ];
    let check = |filter: &str, expected: &str| {
        let matching = |text: String| {
            let query = query(&text);
            rows.iter().filter(|row| query.matches(row)).map(|row| row.id.as_str()).collect::<String>()
        };
        let matched = matching(format!(r#"{{"filter":{filter}}}"#));
        assert_eq!(matched, expected, "{filter}");
        let others: String = ["1", "2", "3", "4"].into_iter().filter(|id| !matched.contains(id)).collect();
        assert_eq!(matching(format!(r#"{{"filter":{{"NOT":{filter}}}}}"#)), others, "not {filter}");
    };
    check("{}", "1234");
    check(r#"{"title":{"equals":"Hat"}}"#, "1");
    check(r#"{"title":{"notEquals":"Hat"}}"#, "234");
    check(r#"{"title":{"equals":null}}"#, "34");
    check(r#"{"title":{"notEquals":null}}"#, "12");
    check(r#"{"title":{"in":["Hat","x"]}}"#, "1");
    check(r#"{"title":{"in":["Hat",null]}}"#, "134");
    check(r#"{"title":{"in":[]}}"#, "");
    check(r#"{"title":{"notIn":["Hat"]}}"#, "234");
    check(r#"{"title":{"notIn":["Hat",null]}}"#, "2");
    check(r#"{"title":{"isSet":true}}"#, "12");
    check(r#"{"title":{"lessThan":"a"}}"#, "1");
    check(r#"{"title":{"greaterThanOrEqual":"hat"}}"#, "2");
    check(r#"{"title":{"lessThan":null}}"#, "");
    check(r#"{"title":{"startsWith":"H"}}"#, "1");
    check(r#"{"title":{"startsWith":""}}"#, "12");
    check(r#"{"title":{"contains":"at"}}"#, "12");
    check(r#"{"title":{"contains":"AT"}}"#, "");
    check(r#"{"stock":{"equals":9007199254740992}}"#, "");
    check(r#"{"stock":{"equals":9007199254740993}}"#, "2");
    check(r#"{"stock":{"greaterThan":4,"lessThanOrEqual":5.0}}"#, "1");
    check(r#"{"price":{"equals":0}}"#, "2");
    check(r#"{"price":{"lessThan":1e1}}"#, "12");
    check(r#"{"live":{"equals":false}}"#, "2");
    check(r#"{"at":{"after":"2024-05-01T09:59:59-04:00"}}"#, "1");
    check(r#"{"at":{"before":"2024-05-01T14:00:00.0009Z"}}"#, "");
    check(r#"{"raw":{"isSet":true}}"#, "1");
    check(r#"{"shop":{"equals":"7"}}"#, "1");
    check(r#"{"shopId":{"in":["7"]}}"#, "1");
    check(r#"{"shop":{"id":{"equals":"7"}}}"#, "1");
    check(r#"{"id":{"greaterThan":"2"}}"#, "34");
    check(r#"{"createdAt":{"equals":"2024-05-01T10:00:00-04:00"}}"#, "1234");
    check(r#"{"updatedAt":{"lessThan":"1970-01-01T00:00:00.006Z"},"id":{"notEquals":"4"}}"#, "123");
    check(r#"{"OR":[{"id":{"equals":"1"}},{"live":{"equals":false}}]}"#, "12");
    check(r#"{"OR":[]}"#, "");
    check(r#"{"AND":[{"id":{"notEquals":"1"}},{"title":{"isSet":true}}]}"#, "2");
    check(r#"{"NOT":[{"id":{"equals":"1"}},{"id":{"equals":"2"}}]}"#, "34");
}

#[test]
fn the_order_is_total_and_nulls_are_smallest() {
    let long = |end: &str| format!(r#"{{"title":"{}{end}"}}"#, "é".repeat(256));
    let check = |sort: &str, documents: &[&str], expected: &[usize]| {
        let query = query(&format!(r#"{{"sort":{sort}}}"#));
        let mut rows: Vec<_> =
            documents.iter().enumerate().map(|(i, document)| row(&i.to_string(), document)).collect();
        rows.reverse();
        rows.sort_by(|a, b| query.compare(a, b));
        let order: Vec<usize> = rows.iter().map(|row| row.id.parse().unwrap()).collect();
        assert_eq!(order, expected, "{sort}");
    };
    let titles = [r#"{"title":"b"}"#, r#"{"title":null}"#, r#"{"title":"B"}"#, "{}", r#"{"title":"b"}"#];
    check(r#"[{"title":"ascending"}]"#, &titles, &[1, 3, 2, 0, 4]);
    check(r#"{"title":"Descending"}"#, &titles, &[4, 0, 2, 3, 1]);
    check(r#"[{"title":"asc"},{"id":"desc"}]"#, &titles, &[3, 1, 2, 4, 0]);
    check("[]", &titles, &[0, 1, 2, 3, 4]);
    check(r#"{"live":"asc"}"#, &[r#"{"live":true}"#, r#"{"live":false}"#, "{}"], &[2, 1, 0]);
    check(r#"{"price":"asc"}"#, &[r#"{"price":1e1}"#, r#"{"price":9}"#, r#"{"price":-0.5}"#], &[2, 1, 0]);
    // Only the first 256 characters are sorted by.
    check(r#"{"title":"asc"}"#, &[&long("b"), &long("a")], &[0, 1]);
}

#[test]
fn a_record_is_found_by_its_key() {
    let check = |key: &str, expected: Result<&str, &str>| {
        let found = Query::by_key(&model(), &json(key), Scope::Shop);
        let rows = [row("1", r#"{"code":"a","shop":"7","stock":1}"#), row("2", r#"{"code":"b","shop":"7","stock":2}"#)];
        match (found, expected) {
            (Ok(query), Ok(expected)) => {
                let ids: String = rows.iter().filter(|row| query.matches(row)).map(|row| row.id.as_str()).collect();
                assert_eq!(ids, expected, "{key}");
            }
            (Err(error), Err(expected)) => assert!(error.message.contains(expected), "{key}: {error}"),
            (found, _) => panic!("{key}: {found:?}"),
        }
    };
    check(r#"{"code":"b"}"#, Ok("2"));
    check(r#"{"id":"1"}"#, Ok("1"));
    check(r#"{"stock":2,"shop":"7"}"#, Ok("2"));
    check(
        r#"{"shop":"7"}"#,
        Err("`shop` is no unique key of `product`; hint: there are `id`, `code`, `shop` with `stock`"),
    );
    check(r#"{"code":1}"#, Err("`code` of the key is not a string"));
    check(r#"{"code":null}"#, Err("`code` of the key is null"));
    check("{}", Err("is no unique key"));
}

#[test]
fn records_are_shown_whole_or_in_part() {
    let shown = row("1", r#"{ "title":"Hat", "n": 820982911946154508 }"#);
    let check = |select: Option<&str>, expected: &str| {
        let select = select.and_then(|select| parse_select(&json(select)).unwrap());
        assert_eq!(shown.shown(select.as_deref()).as_str(), expected);
    };
    let times = r#""createdAt":"2024-05-01T14:00:00.000Z","updatedAt":"1970-01-01T00:00:00.005Z""#;
    check(None, &format!(r#"{{"id":"1","title":"Hat","n":820982911946154508,{times}}}"#));
    check(Some("{}"), &format!(r#"{{"id":"1","title":"Hat","n":820982911946154508,{times}}}"#));
    check(
        Some(r#"{"n":true,"title":false,"updatedAt":true,"gone":true}"#),
        r#"{"n":820982911946154508,"updatedAt":"1970-01-01T00:00:00.005Z"}"#,
    );
}

/// A small generator, so that the cases are the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.roll(from.len() as u64)).unwrap()]
    }

    fn row(&mut self, id: &str) -> Row {
        let title = self.pick(&["null", "\"a\"", "\"A\"", "\"ab\"", "\"é\"", "\"\""]);
        let stock = self.pick(&["null", "1", "2", "-3"]);
        let price = self.pick(&["0.5", "1e1", "null", "10"]);
        let mut row = row(id, &format!(r#"{{"title":{title},"stock":{stock},"price":{price}}}"#));
        row.created_ms = i64::try_from(self.roll(3)).unwrap();
        row
    }
}

/// What the store answers: filter, ranges one after the other, order, limit.
fn read(query: &Query, stored: &[Row], own: usize) -> Vec<Row> {
    let mut found = Vec::new();
    for range in query.ranges() {
        let hits = |row: &&Row| query.matches(row) && Query { filter: range.clone(), ..query.clone() }.matches(row);
        let mut rows: Vec<_> = stored.iter().filter(hits).cloned().collect();
        rows.sort_by(|a, b| if query.backward { query.compare(b, a) } else { query.compare(a, b) });
        found.extend(rows);
    }
    found.truncate(query.read_max(own));
    found
}

/// Whatever the sort, the direction and the unit's own changes: pages put together are the whole list in its order.
#[test]
fn pages_fit_together_with_own_changes_over_them() {
    let sorts = [
        "[]",
        r#"[{"title":"asc"}]"#,
        r#"[{"title":"desc"}]"#,
        r#"[{"stock":"desc"},{"title":"asc"}]"#,
        r#"[{"price":"asc"},{"stock":"desc"}]"#,
        r#"[{"createdAt":"desc"},{"title":"desc"}]"#,
        r#"[{"id":"desc"}]"#,
    ];
    let filters = ["{}", r#"{"stock":{"notEquals":2}}"#, r#"{"title":{"isSet":true}}"#];
    let mut dice = Dice(7);
    for round in 0..600 {
        let stored: Vec<_> = (0..dice.roll(14)).map(|id| dice.row(&id.to_string())).collect();
        let mut own = Vec::new();
        for id in 0..16 {
            match dice.roll(5) {
                0 => own.push(Own::Written(dice.row(&id.to_string()))),
                1 => own.push(Own::Deleted { shop: "s".to_owned(), id: id.to_string() }),
                _ => {}
            }
        }
        let (sort, filter) = (dice.pick(&sorts), dice.pick(&filters));
        let (size, backward) = (1 + dice.roll(5), dice.roll(2) == 1);
        let (count, to) = if backward { ("last", "before") } else { ("first", "after") };
        let base = format!(r#"{{"sort":{sort},"filter":{filter},"{count}":{size}"#);

        let all = query(&format!("{base}}}"));
        let unchanged = |row: &&Row| {
            !own.iter()
                .any(|own| matches!(own, Own::Written(Row { id, .. }) | Own::Deleted { id, .. } if *id == row.id))
        };
        let mut expected: Vec<Row> = stored.iter().filter(unchanged).cloned().collect();
        let mut kept = expected.clone();
        kept.retain(|row| all.matches(row));
        expected
            .extend(own.iter().filter_map(|own| if let Own::Written(row) = own { Some(row.clone()) } else { None }));
        expected.retain(|row| all.matches(row));
        expected.sort_by(|a, b| all.compare(a, b));
        assert_eq!(all.overlay_count(kept.len() as u64, &own), expected.len() as u64);

        let mut seen: Vec<Row> = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let text = cursor.as_ref().map_or(format!("{base}}}"), |cursor| format!(r#"{base},"{to}":"{cursor}"}}"#));
            let query = query(&text);
            let page = query.overlay(read(&query, &stored, own.len()), &own);
            assert!(page.rows.len() as u64 <= size, "round {round}");
            let (more, behind) =
                if backward { (page.has_previous, page.has_next) } else { (page.has_next, page.has_previous) };
            assert_eq!(behind, cursor.is_some(), "round {round}");
            if backward {
                seen.splice(0..0, page.rows);
                cursor = page.start_cursor;
            } else {
                seen.extend(page.rows);
                cursor = page.end_cursor;
            }
            assert_eq!(more, seen.len() < expected.len(), "round {round}");
            if !more {
                break;
            }
        }
        assert_eq!(seen, expected, "round {round}: {base}");
    }
}

#[test]
fn a_cursor_belongs_to_its_sort() {
    let sorted = query(r#"{"sort":[{"price":"asc"},{"at":"desc"},{"live":"asc"}],"first":1}"#);
    let hat = row("h\u{e9}\"", r#"{"price":0.1,"at":null,"live":true}"#);
    let page = sorted.overlay(vec![hat.clone()], &[]);
    let cursor = page.end_cursor.unwrap();
    assert!(cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{cursor}");
    let after = |sort: &str, cursor: &str| {
        Query::parse(&model(), &json(&format!(r#"{{"sort":{sort},"after":"{cursor}"}}"#)), Reach::Shop)
    };
    let same = after(r#"[{"price":"asc"},{"at":"desc"},{"live":"asc"}]"#, &cursor).unwrap();
    assert_eq!(same.cursor, Some(same.place(&hat)));
    let other = after(r#"[{"price":"desc"}]"#, &cursor).unwrap_err();
    assert!(other.message.contains("is a cursor of another query"), "{other}");
    assert!(after("[]", &cursor[1..]).unwrap_err().message.contains("is no cursor"));
    let app = Query::parse(&model(), &json(&format!(r#"{{"scope":"app","after":"{cursor}"}}"#)), Reach::App);
    assert!(app.unwrap_err().message.contains("another query"));
}

#[test]
fn a_query_for_all_shops_tells_equal_ids_apart() {
    let all = query(r#"{"scope":"app","sort":{"title":"desc"},"first":1}"#);
    assert_eq!(all.order().len(), 3);
    let other = Row { shop: "t".to_owned(), ..row("1", r#"{"title":"a"}"#) };
    let rows = [other.clone(), row("1", r#"{"title":"a"}"#)];
    let page = all.overlay(read(&all, &rows, 0), &[]);
    assert_eq!((page.rows[0].shop.as_str(), page.has_next), ("t", true));
    let next = query(&format!(r#"{{"scope":"app","sort":{{"title":"desc"}},"after":"{}"}}"#, page.end_cursor.unwrap()));
    let page = next.overlay(read(&next, &rows, 0), &[]);
    assert_eq!((page.rows[0].shop.as_str(), page.has_next), ("s", false));
}

#[test]
fn every_shops_records_take_the_grant() {
    let parse = |text: &str, reach| Query::parse(&model(), &json(text), reach).map(|query| query.scope);
    assert_eq!(parse(r#"{"scope":"app"}"#, Reach::App), Ok(Scope::App));
    assert_eq!(parse(r#"{"scope":"app"}"#, Reach::Shop).unwrap_err().code, code::NOT_GRANTED);
    assert_eq!(parse(r#"{"sc\u006fpe":"\u0061pp"}"#, Reach::Shop).unwrap_err().code, code::NOT_GRANTED);
    for text in ["null", "{}", r#"{"scope":null}"#, r#"{"scope":"shop"}"#] {
        assert_eq!(parse(text, Reach::Shop), Ok(Scope::Shop), "{text}");
    }
}

#[test]
fn an_index_finds_what_a_query_by_a_key_matches() {
    let model = model();
    let by = |key: &str| Query::by_key(&model, &Json::parse(key).unwrap(), Scope::Shop).unwrap();
    let mut index = KeyIndex::default();
    let ids = |index: &KeyIndex, query: &Query| index.ids(query).map(str::to_owned).collect::<Vec<_>>();
    let any = by(r#"{"id":"1"}"#);
    for id in ["1", "2", "2"] {
        index.put(&any, id, Some(&row(id, r#"{"title":"a"}"#)));
    }
    assert_eq!(ids(&index, &any), ["1"]);
    assert_eq!(ids(&index, &by(r#"{"id":"2"}"#)), ["2"]);
    assert_eq!(ids(&index, &by(r#"{"id":"3"}"#)), [""; 0]);
    index.put(&any, "2", None);
    assert_eq!(ids(&index, &by(r#"{"id":"2"}"#)), [""; 0]);
}
