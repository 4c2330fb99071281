//! Queries of the contract as SQL.
//!
//! A query means on both databases what [`Query::matches`] and [`Query::compare`] mean in memory, and a test holds the
//! three against each other. The other rule is that indexes can be used: which is why ranges are asked one after the
//! other, each with a bound of its own on the first sort key, and not as one condition with `OR`.

use std::collections::HashSet;
use std::sync::Arc;

use tradewind_model::query::{Column, Comparison, Filter, Part, Query, Row, SortKey, Term, Test};
use tradewind_model::schema::{Model, Scope};
use tradewind_model::value::{Key, ValueType};
use tradewind_model::{Json, Shop};

use crate::error::StoreError;
use crate::expression::{column_key, column_whole, of_model, unique, unique_operand};
use crate::link::{Engine, Link, Value};
use crate::queries::{Ask, Meter};
use crate::records::stored_json;
use crate::store::Store;

/// Conditions of a query that PostgreSQL evaluates on one record without a look whether it was interrupted. 8: more than
/// queries usually have; on the largest document each takes up to a tenth of a second.
const UNINTERRUPTED_TERMS_MAX: usize = 8;

impl Store {
    /// The stored records that a query's page is made from, in the order in which they are read: what
    /// [`Query::overlay`] takes, together with `own` changes of a unit. Dropping the future ends the query.
    pub async fn search(&self, shop: &Shop, model: &Model, query: &Query, own: usize) -> Result<Vec<Row>, StoreError> {
        let mut pages = Vec::new();
        for range in query.ranges() {
            pages.extend(page(self.engine(), shop, model, query, &range)?);
        }
        let search = Search { pages: pages.into(), max: query.read_max(own), model: model.name.as_str().into() };
        self.queries.run(shop, "searching records", search).await?
    }

    /// How many stored records a query's filter matches, without those of the shop whose ids a unit has changed itself:
    /// what [`Query::overlay_count`] takes. Dropping the future ends the query.
    pub async fn search_count(
        &self,
        shop: &Shop,
        model: &Model,
        query: &Query,
        own_ids: &[String],
    ) -> Result<u64, StoreError> {
        let Some(sql) = count(self.engine(), shop, model, query, own_ids)? else { return Ok(0) };
        self.queries.run(shop, "counting records", Count(sql.into())).await
    }

    /// How the database would go about a search, in its own words: each statement's plan, for whoever wonders which index
    /// it uses.
    pub async fn search_plan(&self, shop: &Shop, model: &Model, query: &Query) -> Result<Vec<String>, StoreError> {
        let mut pages = Vec::new();
        for range in query.ranges() {
            pages.extend(page(self.engine(), shop, model, query, &range)?);
        }
        self.queries.run(shop, "explaining a search", Explain { pages: pages.into(), max: query.read_max(0) }).await
    }
}

/// A statement with its values.
#[derive(Debug)]
struct Prepared {
    /// Before the limit.
    text: String,
    bound: Vec<Bound>,
    /// After the limit.
    end: &'static str,
}

impl Prepared {
    /// The limit is in the text: a plan is made for it, and there are few.
    fn limited(&self, max: usize) -> String {
        format!("{} LIMIT {max}{}", self.text, self.end)
    }

    fn values(&self) -> Vec<Value<'_>> {
        let value = |bound| match bound {
            &Bound::Integer(value) => Value::from(value),
            &Bound::Number(value) => Value::Real(value),
            Bound::Text(value) => Value::from(value.as_str()),
        };
        self.bound.iter().map(value).collect()
    }
}

#[derive(Clone)]
struct Search {
    pages: Arc<[Prepared]>,
    max: usize,
    model: Arc<str>,
}

impl Ask for Search {
    type Found = Result<Vec<Row>, StoreError>;

    async fn ask(self, link: &mut Link<'_>, meter: &Meter) -> sqlx::Result<Self::Found> {
        let Self { pages, max, model } = self;
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        for page in &*pages {
            let text = page.limited(max - found.len());
            let rows = link.fetch_while(&text, &page.values(), |bytes| meter.has_room(bytes)).await?;
            for row in rows.ok_or_else(ended)? {
                let (shop, id) = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
                // Written between two ranges, a record can be in both.
                if !seen.insert((shop.clone(), id.clone())) {
                    continue;
                }
                let document = match stored_json(row.text(2)?, || format!("the record `{model} {id}` of `{shop}`")) {
                    Ok(document) => document,
                    Err(damaged) => return Ok(Err(damaged)),
                };
                let (created_ms, updated_ms) = (row.int(3)?, row.int(4)?);
                found.push(Row { shop, id, document, created_ms, updated_ms });
            }
            if found.len() >= max {
                break;
            }
        }
        Ok(Ok(found))
    }
}

#[derive(Clone)]
struct Count(Arc<Prepared>);

impl Ask for Count {
    type Found = u64;

    async fn ask(self, link: &mut Link<'_>, _: &Meter) -> sqlx::Result<u64> {
        Ok(link.fetch_text(&self.0.text, &self.0.values()).await?[0].int(0)?.unsigned_abs())
    }
}

#[derive(Clone)]
struct Explain {
    pages: Arc<[Prepared]>,
    max: usize,
}

impl Ask for Explain {
    type Found = Vec<String>;

    async fn ask(self, link: &mut Link<'_>, _: &Meter) -> sqlx::Result<Vec<String>> {
        // Differs because each has its own word and its own columns for it.
        let (explain, at) = match link.engine() {
            Engine::Sqlite => ("EXPLAIN QUERY PLAN", 3),
            Engine::Postgres => ("EXPLAIN", 0),
        };
        let mut plan = Vec::new();
        for page in &*self.pages {
            let text = format!("{explain} {}", page.limited(self.max));
            for row in link.fetch_text(&text, &page.values()).await? {
                plan.push(row.text(at)?.to_owned());
            }
        }
        Ok(plan)
    }
}

/// Stands for the limit that the meter knows.
fn ended() -> sqlx::Error {
    sqlx::Error::Protocol("the query reached a limit".to_owned())
}

/// The statement for one range of a page, none when nothing can be in it.
fn page(
    engine: Engine,
    shop: &Shop,
    model: &Model,
    query: &Query,
    range: &Filter,
) -> Result<Option<Prepared>, StoreError> {
    const COLUMNS: &str = "shop,id,CAST(doc AS text),created_ms,updated_ms";
    let mut sql = Sql::new(engine, model);
    let Some(condition) = sql.condition(shop, query.scope, &[range, &query.filter])? else { return Ok(None) };
    let keys = query.order();
    // Differs because SQLite would sort what is ordered by a null alike, and PostgreSQL would sort it without that key.
    let alike = usize::from(engine == Engine::Sqlite && keys.first().is_some_and(|key| is_null(range, &key.column)));
    let order: Vec<_> = keys.iter().skip(alike).map(|key| order(engine, key)).collect();
    let order = order.join(",");
    // Differs because SQLite keeps what it sorts in memory, and would keep whole documents: it sorts row ids, and reads the
    // documents of those that are left. PostgreSQL sorts large rows on disk.
    let (text, end) = match engine {
        Engine::Sqlite => (
            format!("SELECT {COLUMNS} FROM (SELECT rowid AS row FROM records WHERE {condition} ORDER BY {order}"),
            ") AS page CROSS JOIN records ON records.rowid=page.row",
        ),
        Engine::Postgres => (format!("SELECT {COLUMNS} FROM records WHERE {condition} ORDER BY {order}"), ""),
    };
    Ok(Some(Prepared { text, bound: sql.bound, end }))
}

/// Whether a column is null in all of a range.
fn is_null(range: &Filter, column: &Column) -> bool {
    match range {
        Filter::All(filters) => filters.iter().any(|filter| is_null(filter, column)),
        Filter::Any(_) => false,
        Filter::Term(term) => term.test == Test::IsNull && term.column == *column,
    }
}

/// The statement that counts, none when there is nothing to count.
fn count(
    engine: Engine,
    shop: &Shop,
    model: &Model,
    query: &Query,
    own_ids: &[String],
) -> Result<Option<Prepared>, StoreError> {
    let mut sql = Sql::new(engine, model);
    let Some(condition) = sql.condition(shop, query.scope, &[&query.filter])? else { return Ok(None) };
    let mut text = format!("SELECT count(*) FROM records WHERE {condition}");
    // No record's id has a NUL, and PostgreSQL reads no JSON with one.
    let own_ids: Vec<_> = own_ids.iter().filter(|id| !id.contains('\0')).collect();
    if !own_ids.is_empty() {
        let own_ids = Json::of(&own_ids)
            .map_err(|error| StoreError::Damaged { what: "a list of ids".to_owned(), reason: error.to_string() })?;
        let own_shop = sql.bind(Bound::Text(shop.id.to_string()));
        let ids = sql.bind(Bound::Text(own_ids.as_str().to_owned()));
        // One value, however many there are. Differs because each has its own function to take JSON apart.
        let ids = match engine {
            Engine::Sqlite => format!("SELECT value FROM json_each({ids})"),
            Engine::Postgres => format!("SELECT json_array_elements_text(CAST({ids} AS json))"),
        };
        text.extend([" AND NOT (shop=", &own_shop, " AND id IN (", &ids, "))"]);
    }
    Ok(Some(Prepared { text, bound: sql.bound, end: "" }))
}

fn order(engine: Engine, key: &SortKey) -> String {
    let column = column_key(engine, &key.column);
    // Differs because SQLite takes nulls for the smallest anyway, and PostgreSQL for the largest.
    let nulls = engine == Engine::Postgres && key.column.is_nullable();
    match (key.descending, nulls) {
        (false, false) => column,
        (false, true) => format!("{column} NULLS FIRST"),
        (true, false) => format!("{column} DESC"),
        (true, true) => format!("{column} DESC NULLS LAST"),
    }
}

/// The conditions of a statement that is being put together.
struct Sql<'m> {
    engine: Engine,
    model: &'m Model,
    bound: Vec<Bound>,
    /// Conditions so far.
    terms: usize,
}

/// A value that a statement will be given.
#[derive(Debug)]
enum Bound {
    Text(String),
    Integer(i64),
    Number(f64),
}

/// A condition, with what is known of it: an expression in SQL may be nested so deep and no deeper.
#[derive(Debug, PartialEq)]
enum Condition {
    Always,
    Never,
    When(String),
}

impl<'m> Sql<'m> {
    fn new(engine: Engine, model: &'m Model) -> Self {
        Self { engine, model, bound: Vec::new(), terms: 0 }
    }

    /// The place that stands for a value.
    fn bind(&mut self, value: Bound) -> String {
        self.bound.push(value);
        format!("${}", self.bound.len())
    }

    fn bind_key(&mut self, key: &Key) -> String {
        match key {
            Key::Text(text) => self.bind(Bound::Text(text.clone())),
            Key::Integer(integer) => self.bind(Bound::Integer(*integer)),
            Key::Number(number) => self.bind(Bound::Number(*number)),
            // Differs because SQLite has no booleans.
            Key::Boolean(boolean) => match self.engine {
                Engine::Sqlite => u8::from(*boolean).to_string(),
                Engine::Postgres => boolean.to_string(),
            },
        }
    }

    /// What the records of a query meet, none when there can be none.
    fn condition(&mut self, shop: &Shop, scope: Scope, filters: &[&Filter]) -> Result<Option<String>, StoreError> {
        let mut parts = vec![of_model(&shop.app, &self.model.name)?];
        if scope == Scope::Shop {
            let shop = self.bind(Bound::Text(shop.id.to_string()));
            parts.push(format!("shop={shop}"));
        }
        for filter in filters {
            match self.filter(filter) {
                Condition::Always => {}
                Condition::Never => return Ok(None),
                Condition::When(part) => parts.push(part),
            }
        }
        Ok(Some(parts.join(" AND ")))
    }

    fn filter(&mut self, filter: &Filter) -> Condition {
        let (filters, neutral, decisive, operator) = match filter {
            Filter::Term(term) => return self.interruptible(term),
            Filter::All(filters) => (filters, Condition::Always, Condition::Never, " AND "),
            Filter::Any(filters) => (filters, Condition::Never, Condition::Always, " OR "),
        };
        let bound = self.bound.len();
        let mut parts = Vec::new();
        for filter in filters {
            match self.filter(filter) {
                condition if condition == neutral => {}
                Condition::When(part) => parts.push(part),
                _ => {
                    // A value without its place is an error on SQLite.
                    self.bound.truncate(bound);
                    return decisive;
                }
            }
        }
        match parts.as_slice() {
            [] => neutral,
            [_] => Condition::When(parts.remove(0)),
            _ => Condition::When(format!("({})", parts.join(operator))),
        }
    }

    /// A condition before which PostgreSQL looks whether it was interrupted, when there are many.
    ///
    /// It looks at that between two rows, and reads the whole document for each condition: 200 of them on a document of 8 MiB
    /// take a minute. A subquery is a place where it looks as well. Conditions that an index may serve stay as they are,
    /// as long as they are few.
    fn interruptible(&mut self, term: &Term) -> Condition {
        let condition = self.term(term);
        self.terms += 1;
        match condition {
            Condition::When(text) if self.engine == Engine::Postgres && self.terms > UNINTERRUPTED_TERMS_MAX => {
                Condition::When(format!("CASE WHEN (SELECT created_ms IS NOT NULL) THEN {text} END"))
            }
            condition => condition,
        }
    }

    fn term(&mut self, term: &Term) -> Condition {
        let Term { column, part, test, or_null } = term;
        let is_null = || format!("{} IS NULL", column_key(self.engine, column));
        let is_set = || format!("{} IS NOT NULL", column_key(self.engine, column));
        match test {
            Test::IsNull if !column.is_nullable() => return Condition::Never,
            Test::IsSet if !column.is_nullable() => return Condition::Always,
            Test::IsNull => return Condition::When(is_null()),
            Test::IsSet => return Condition::When(is_set()),
            Test::In(keys) if keys.is_empty() => {
                let null = *or_null && column.is_nullable();
                return if null { Condition::When(is_null()) } else { Condition::Never };
            }
            Test::NotIn(keys) if keys.is_empty() => {
                let any = *or_null || !column.is_nullable();
                return if any { Condition::Always } else { Condition::When(is_set()) };
            }
            _ => {}
        }
        let or_null = (*or_null && column.is_nullable()).then(is_null);
        let condition = match test {
            Test::Compare(Comparison::Equal, key) => self.equal(column, *part, std::slice::from_ref(key)),
            Test::In(keys) => self.equal(column, *part, keys),
            Test::Compare(Comparison::NotEqual, key) => self.not_equal(column, *part, std::slice::from_ref(key)),
            Test::NotIn(keys) => self.not_equal(column, *part, keys),
            Test::Compare(comparison, key) => self.compare(column, *part, *comparison, key),
            Test::Contains(text) => self.contains(column, text),
            Test::NotContains(text) => format!("NOT {}", self.contains(column, text)),
            Test::IsNull | Test::IsSet => unreachable!("answered above"),
        };
        Condition::When(match or_null {
            Some(is_null) => format!("({condition} OR {is_null})"),
            None => condition,
        })
    }

    /// The expression for what of a column a term looks at, when it need not be the one that is indexed.
    fn looked_at(&self, column: &Column, part: Part) -> String {
        match part {
            Part::Key => column_key(self.engine, column),
            Part::Whole => column_whole(self.engine, column),
        }
    }

    /// One of some values. Says it once for each index that may help, and once more when none of those tells for sure.
    fn equal(&mut self, column: &Column, part: Part, keys: &[Key]) -> String {
        let Column::Member { name, of: ValueType::Text } = column else {
            let expression = column_key(self.engine, column);
            return self.one_of(&expression, keys);
        };
        if part == Part::Key {
            let expression = column_key(self.engine, column);
            return self.one_of(&expression, keys);
        }
        let mut parts = Vec::new();
        let mut is_exact = false;
        if self.model.unique_keys().iter().any(|key| key.fields.contains(name)) {
            is_exact = true;
            let mut operands = Vec::new();
            for key in keys {
                let Key::Text(text) = key else { continue };
                let (operand, tells) = unique_operand(self.engine, text);
                is_exact &= tells;
                operands.push(operand.replace('?', &self.bind_key(key)));
            }
            parts.push(format!("{} IN ({})", unique(self.engine, name, ValueType::Text), operands.join(",")));
        }
        if !is_exact || self.model.field(name).is_some_and(|field| field.index) {
            let cut: Vec<_> = keys.iter().map(|key| key.clone().cut()).collect();
            let expression = column_key(self.engine, column);
            parts.push(self.one_of(&expression, &cut));
            if !is_exact && !keys.iter().all(Key::is_whole) {
                let expression = column_whole(self.engine, column);
                parts.push(self.one_of(&expression, keys));
            }
        }
        if parts.len() == 1 { parts.remove(0) } else { format!("({})", parts.join(" AND ")) }
    }

    fn one_of(&mut self, expression: &str, keys: &[Key]) -> String {
        match keys {
            [key] => format!("{expression}={}", self.bind_key(key)),
            keys => format!("{expression} IN ({})", self.list(keys)),
        }
    }

    /// None of some values. No index helps with that.
    fn not_equal(&mut self, column: &Column, part: Part, keys: &[Key]) -> String {
        let expression = self.looked_at(column, part);
        match keys {
            [key] => format!("{expression}<>{}", self.bind_key(key)),
            keys => format!("{expression} NOT IN ({})", self.list(keys)),
        }
    }

    /// Filled up with its last value to a power of two, so that lists of all lengths are few statements.
    fn list(&mut self, keys: &[Key]) -> String {
        let missing = keys.len().next_power_of_two() - keys.len();
        let mut places: Vec<_> = keys.iter().map(|key| self.bind_key(key)).collect();
        if let Some(last) = places.last().cloned() {
            places.extend(std::iter::repeat_n(last, missing));
        }
        places.join(",")
    }

    fn compare(&mut self, column: &Column, part: Part, comparison: Comparison, key: &Key) -> String {
        let expression = column_key(self.engine, column);
        // What is not a document's text is whole in its key.
        if part == Part::Key || key.is_whole() || !column.is_nullable() {
            return format!("{expression}{}{}", comparison.as_str(), self.bind_key(key));
        }
        // The key tells where to look, and the whole text the rest.
        let around = match comparison {
            Comparison::Less => Comparison::LessOrEqual,
            Comparison::Greater => Comparison::GreaterOrEqual,
            other => other,
        };
        let cut = self.bind_key(&key.clone().cut());
        let whole = column_whole(self.engine, column);
        format!("({expression}{}{cut} AND {whole}{}{})", around.as_str(), comparison.as_str(), self.bind_key(key))
    }

    fn contains(&mut self, column: &Column, text: &str) -> String {
        let whole = column_whole(self.engine, column);
        // Differs because each has its own way in linear time: on SQLite a function of ours, on PostgreSQL a regular expression
        // that is literal (`***=`). `instr` and `position` take the product of the lengths, and nothing interrupts them.
        match self.engine {
            Engine::Sqlite => format!("contains_text({whole},{})", self.bind(Bound::Text(text.to_owned()))),
            Engine::Postgres => format!("({whole} ~ {})", self.bind(Bound::Text(format!("***={text}")))),
        }
    }
}
