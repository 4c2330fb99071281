//! Queries of the contract as SQL.
//!
//! A query means on both databases what [`Query::matches`] and [`Query::compare`] mean in memory, and a test holds the
//! three against each other. The other rule is that indexes can be used: which is why ranges are asked one after the
//! other, each with a bound of its own on the first sort key, and not as one condition with `OR`.

use std::collections::HashSet;

use tradewind_model::query::{Column, Comparison, Filter, Part, Query, Row, SortKey, Term, Test};
use tradewind_model::schema::{Model, Scope};
use tradewind_model::value::{Key, ValueType};
use tradewind_model::{Json, Shop};

use crate::error::StoreError;
use crate::expression::{column_key, column_whole, of_model, unique, unique_operand};
use crate::link::{Engine, Value};
use crate::records::stored_json;
use crate::store::Store;

impl Store {
    /// The stored records that a query's page is made from, in the order in which they are read: what
    /// [`Query::overlay`] takes, together with `own` changes of a unit.
    pub async fn search(&self, shop: &Shop, model: &Model, query: &Query, own: usize) -> Result<Vec<Row>, StoreError> {
        let failed = |source| StoreError::database("searching records", source);
        let max = query.read_max(own);
        let mut reader = None;
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        for range in query.ranges() {
            let Some(sql) = page(self.engine(), shop, model, query, &range, max - found.len())? else { continue };
            // One reader for all of them.
            let reader = match &mut reader {
                Some(reader) => reader,
                none => none.insert(self.database.reader().await.map_err(StoreError::connecting)?),
            };
            for row in reader.link().fetch_text(&sql.text, &sql.values()).await.map_err(failed)? {
                let text = |at| row.text(at).map_err(failed);
                let (shop, id) = (text(0)?.to_owned(), text(1)?.to_owned());
                // Written between two ranges, a record can be in both.
                if !seen.insert((shop.clone(), id.clone())) {
                    continue;
                }
                let document = stored_json(text(2)?, || format!("the record `{} {id}` of `{shop}`", model.name))?;
                let (created_ms, updated_ms) = (row.int(3).map_err(failed)?, row.int(4).map_err(failed)?);
                found.push(Row { shop, id, document, created_ms, updated_ms });
            }
            if found.len() >= max {
                break;
            }
        }
        Ok(found)
    }

    /// How many stored records a query's filter matches, without those of the shop whose ids a unit has changed itself:
    /// what [`Query::overlay_count`] takes.
    pub async fn search_count(
        &self,
        shop: &Shop,
        model: &Model,
        query: &Query,
        own_ids: &[String],
    ) -> Result<u64, StoreError> {
        let failed = |source| StoreError::database("counting records", source);
        let Some(sql) = count(self.engine(), shop, model, query, own_ids)? else { return Ok(0) };
        let mut reader = self.database.reader().await.map_err(StoreError::connecting)?;
        let rows = reader.link().fetch_text(&sql.text, &sql.values()).await.map_err(failed)?;
        Ok(rows[0].int(0).map_err(failed)?.unsigned_abs())
    }

    /// How the database would go about a search, in its own words: each statement's plan, for whoever wonders which index
    /// it uses.
    pub async fn search_plan(&self, shop: &Shop, model: &Model, query: &Query) -> Result<Vec<String>, StoreError> {
        let failed = |source| StoreError::database("explaining a search", source);
        let mut plan = Vec::new();
        let mut reader = self.database.reader().await.map_err(StoreError::connecting)?;
        for range in query.ranges() {
            let Some(sql) = page(self.engine(), shop, model, query, &range, query.read_max(0))? else { continue };
            // Differs because each has its own word and its own columns for it.
            let (explain, at) = match self.engine() {
                Engine::Sqlite => ("EXPLAIN QUERY PLAN", 3),
                Engine::Postgres => ("EXPLAIN", 0),
            };
            let text = format!("{explain} {}", sql.text);
            for row in reader.link().fetch_text(&text, &sql.values()).await.map_err(failed)? {
                plan.push(row.text(at).map_err(failed)?.to_owned());
            }
        }
        Ok(plan)
    }
}

/// The statement for one range of a page, none when nothing can be in it.
fn page<'m>(
    engine: Engine,
    shop: &Shop,
    model: &'m Model,
    query: &Query,
    range: &Filter,
    max: usize,
) -> Result<Option<Sql<'m>>, StoreError> {
    let mut sql = Sql::new(engine, model);
    sql.text.push_str("SELECT shop,id,CAST(doc AS text),created_ms,updated_ms FROM records WHERE ");
    let Some(condition) = sql.condition(shop, query.scope, &[range, &query.filter])? else { return Ok(None) };
    sql.text.push_str(&condition);
    let keys = query.order();
    // Differs because SQLite would sort what is ordered by a null alike, and PostgreSQL would sort it without that key.
    let alike = usize::from(engine == Engine::Sqlite && keys.first().is_some_and(|key| is_null(range, &key.column)));
    let order: Vec<_> = keys.iter().skip(alike).map(|key| order(engine, key)).collect();
    // The limit is in the text: a plan is made for it, and there are few.
    sql.text.extend([" ORDER BY ", &order.join(","), " LIMIT ", &max.to_string()]);
    Ok(Some(sql))
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
fn count<'m>(
    engine: Engine,
    shop: &Shop,
    model: &'m Model,
    query: &Query,
    own_ids: &[String],
) -> Result<Option<Sql<'m>>, StoreError> {
    let mut sql = Sql::new(engine, model);
    sql.text.push_str("SELECT count(*) FROM records WHERE ");
    let Some(condition) = sql.condition(shop, query.scope, &[&query.filter])? else { return Ok(None) };
    sql.text.push_str(&condition);
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
        sql.text.extend([" AND NOT (shop=", &own_shop, " AND id IN (", &ids, "))"]);
    }
    Ok(Some(sql))
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

/// A statement that is being put together.
struct Sql<'m> {
    engine: Engine,
    model: &'m Model,
    text: String,
    bound: Vec<Bound>,
}

/// A value that a statement will be given.
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
        Self { engine, model, text: String::new(), bound: Vec::new() }
    }

    fn values(&self) -> Vec<Value<'_>> {
        let value = |bound| match bound {
            &Bound::Integer(value) => Value::from(value),
            &Bound::Number(value) => Value::Real(value),
            Bound::Text(value) => Value::from(value.as_str()),
        };
        self.bound.iter().map(value).collect()
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
            Filter::Term(term) => return self.term(term),
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
            Test::Contains(text) => self.contains(column, text, ">0"),
            Test::NotContains(text) => self.contains(column, text, "=0"),
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

    fn contains(&mut self, column: &Column, text: &str, how: &str) -> String {
        let whole = column_whole(self.engine, column);
        let part = self.bind(Bound::Text(text.to_owned()));
        // Differs because each has its own word for it.
        match self.engine {
            Engine::Sqlite => format!("instr({whole},{part}){how}"),
            Engine::Postgres => format!("position({part} in {whole}){how}"),
        }
    }
}
