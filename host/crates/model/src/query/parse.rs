//! From the contract's JSON to a query, with a clear word about every mistake.

use super::cursor::{Cursor, digest};
use super::{
    CONTAINS_BYTES_MAX, Column, Comparison, FILTER_DEPTH_MAX, FILTER_TERMS_MAX, FILTER_VALUES_MAX, Filter,
    PAGE_DEFAULT, PAGE_MAX, QUERY_BYTES_MAX, Query, Reach, SELECT_FIELDS_MAX, SORT_KEYS_MAX, SortKey, Test, invalid,
};
use crate::document::clean;
use crate::error::{ActionError, code};
use crate::json::Json;
use crate::near::hint;
use crate::object;
use crate::schema::{FieldType, Model, Scope};
use crate::value::{self, Key, ValueType};

const MEMBERS: [&str; 9] = ["filter", "sort", "select", "first", "after", "last", "before", "search", "scope"];

/// What a filter's condition may ask of values that have an order, in hints.
const ORDERED: [&str; 4] = ["lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"];

impl Query {
    /// Reads a query; `null` and `{}` ask for the first page of everything, by id.
    /// A query that reaches farther than `reach` is `not-granted`.
    pub fn parse(model: &Model, query: &Json, reach: Reach) -> Result<Self, ActionError> {
        if query.as_str().len() > QUERY_BYTES_MAX {
            return Err(invalid(format!(
                "the query has more than {QUERY_BYTES_MAX} bytes; hint: ask for fewer values at a time"
            )));
        }
        let query = clean(query);
        let none = Json::object([]);
        let query = if query.is_null() { &none } else { &query };
        let given = members(query, "the query", r#"{"filter": {"title": {"equals": "Hat"}}}"#)?;
        if let Some((unknown, _)) = given.iter().find(|(name, _)| !MEMBERS.contains(&name.as_str())) {
            return Err(invalid(format!(
                "a query has no `{}`; {}",
                object::shown(unknown),
                hint(unknown, MEMBERS.into_iter())
            )));
        }
        let part = |name: &str| given.iter().find(|(given, value)| given == name && !value.is_null()).map(|(_, v)| v);
        if part("search").is_some() {
            return Err(ActionError::not_available("search"));
        }
        let filter = match part("filter") {
            Some(filter) => Conditions::of(model).object(filter, 0)?,
            None => Filter::everything(),
        };
        let scope = part("scope").map_or(Ok(Scope::Shop), |scope| parse_scope(scope, reach))?;
        let sort = parse_sort(model, part("sort"), scope)?;
        let select = part("select").map(parse_select).transpose()?.flatten();
        let digest = digest(&model.name, scope, &sort);
        let size = parse_size(part("first"), part("last"))?;
        // A cursor alone says which way.
        let (size, backward) = size.unwrap_or((PAGE_DEFAULT, part("before").is_some()));
        let cursor = parse_cursor(part("after"), part("before"), backward, &sort, &digest)?;
        Ok(Self { filter, sort, select, scope, size, backward, cursor, digest })
    }

    /// The query for the record with these values of a unique key, a JSON object such as `{"storeHash": "abc"}`. `id` is a
    /// key of every model.
    pub fn by_key(model: &Model, key: &Json, scope: Scope) -> Result<Self, ActionError> {
        let key = clean(key);
        let given = members(&key, "the key", r#"{"storeHash": "abc"}"#)?;
        let names: Vec<_> = given.iter().map(|(name, _)| name.as_str()).collect();
        if names != ["id"] && model.unique_key(names.iter().copied()).is_none() {
            let keys = model.unique_keys().into_iter().map(|key| format!("`{}`", key.fields.join("` with `")));
            let keys: Vec<_> = ["`id`".to_owned()].into_iter().chain(keys).collect();
            return Err(invalid(format!(
                "`{}` is no unique key of `{}`; hint: there are {}",
                names.join("` with `"),
                model.name,
                keys.join(", ")
            )));
        }
        let conditions = Conditions::of(model);
        let equal = |(name, value): &(String, Json)| {
            let target = conditions.target(name)?;
            if value.is_null() {
                return Err(invalid(format!("`{name}` of the key is null; hint: only values are unique")));
            }
            Ok(Filter::equal(target.column.clone(), Some(target.key(value)?)))
        };
        let filter = Filter::All(given.iter().map(equal).collect::<Result<_, ActionError>>()?);
        let sort = parse_sort(model, None, scope)?;
        let digest = digest(&model.name, scope, &sort);
        Ok(Self { filter, sort, select: None, scope, size: 1, backward: false, cursor: None, digest })
    }
}

/// Reads the `select` of a query or of options: the names of the fields to show, none when all are.
pub fn parse_select(select: &Json) -> Result<Option<Vec<String>>, ActionError> {
    if select.is_null() {
        return Ok(None);
    }
    let given = members(select, "`select`", r#"{"id": true, "title": true}"#)?;
    if given.is_empty() {
        return Ok(None);
    }
    let mut names = Vec::new();
    for (name, wanted) in given {
        match value::boolean(wanted.as_str()) {
            Some(true) => names.push(name),
            Some(false) => {}
            None => {
                return Err(invalid(format!(
                    "`select.{name}` is neither true nor false; hint: a field is shown whole, and records that it links to \
                     are read by a query of their own"
                )));
            }
        }
    }
    if names.len() > SELECT_FIELDS_MAX {
        return Err(invalid(format!(
            "`select` names {} fields, at most {SELECT_FIELDS_MAX} (`select_fields_max`); hint: leave `select` out for all",
            names.len()
        )));
    }
    if names.is_empty() {
        return Err(invalid(
            "`select` has no field that is true; hint: name the fields to show, or leave `select` out",
        ));
    }
    Ok(Some(names))
}

/// Reads the `scope` of a query or of options: the only place that does, and that holds it to what the caller may reach.
pub fn parse_scope(scope: &Json, reach: Reach) -> Result<Scope, ActionError> {
    match value::string(scope.as_str()).as_deref() {
        Some("shop") => Ok(Scope::Shop),
        Some("app") if reach == Reach::App => Ok(Scope::App),
        Some("app") => Err(ActionError::permanent(
            code::NOT_GRANTED,
            "`scope` is `app`, and reaching every shop's records needs the grant `all-shops`",
        )),
        _ => Err(invalid("`scope` is neither `shop` nor `app`; hint: leave it out for the current shop's records")),
    }
}

fn parse_sort(model: &Model, sort: Option<&Json>, scope: Scope) -> Result<Vec<SortKey>, ActionError> {
    const EXAMPLE: &str = r#"[{"updatedAt": "descending"}]"#;
    let parts: Vec<Json> = match sort {
        None => Vec::new(),
        Some(sort) if sort.as_str().starts_with('{') => vec![sort.clone()],
        Some(sort) => {
            sort.to().map_err(|_| invalid(format!("`sort` is neither an array nor an object; hint: `{EXAMPLE}`")))?
        }
    };
    let conditions = Conditions::of(model);
    let mut keys: Vec<SortKey> = Vec::new();
    for part in &parts {
        for (name, direction) in members(part, "each part of `sort`", EXAMPLE)? {
            let descending = match value::string(direction.as_str()).map(|text| text.to_ascii_lowercase()).as_deref() {
                Some("ascending" | "asc") => false,
                Some("descending" | "desc") => true,
                _ => {
                    return Err(invalid(format!(
                        "`sort` by `{name}` is neither `ascending` nor `descending`; hint: `{EXAMPLE}`"
                    )));
                }
            };
            let Target { column, of, .. } = conditions.target(&name)?;
            if !of.has_order() {
                let of = of.as_str();
                return Err(invalid(format!(
                    "`{name}` is of type `{of}` and has no order; hint: sort by another field"
                )));
            }
            if keys.iter().any(|key| key.column == column) {
                return Err(invalid(format!("`sort` names `{name}` twice; hint: the first place counts")));
            }
            keys.push(SortKey { column, descending });
        }
    }
    if keys.len() > SORT_KEYS_MAX {
        return Err(invalid(format!("`sort` has more than {SORT_KEYS_MAX} fields; hint: the first ones decide")));
    }
    // In the last key's direction, so that one index read forwards or backwards gives the whole order.
    let descending = keys.last().is_some_and(|key| key.descending);
    for column in [Some(Column::Id), (scope == Scope::App).then_some(Column::Shop)].into_iter().flatten() {
        if !keys.iter().any(|key| key.column == column) {
            keys.push(SortKey { column, descending });
        }
    }
    // Nothing behind a unique key decides anything.
    let unique = keys.iter().position(|key| key.column == Column::Id).filter(|_| scope == Scope::Shop);
    keys.truncate(unique.map_or(keys.len(), |id| id + 1));
    Ok(keys)
}

/// How many records, and whether they are the last before the cursor.
fn parse_size(first: Option<&Json>, last: Option<&Json>) -> Result<Option<(usize, bool)>, ActionError> {
    let (name, size, backward) = match (first, last) {
        (Some(_), Some(_)) => return Err(invalid("`first` and `last` exclude each other; hint: leave one out")),
        (None, None) => return Ok(None),
        (Some(first), None) => ("first", first, false),
        (None, Some(last)) => ("last", last, true),
    };
    let size = size.as_str().parse().ok().filter(|size| (1..=PAGE_MAX).contains(size));
    let size = size.ok_or_else(|| {
        invalid(format!("`{name}` is not an integer from 1 to {PAGE_MAX}; hint: go on with the page's cursor for more"))
    })?;
    Ok(Some((size, backward)))
}

fn parse_cursor(
    after: Option<&Json>,
    before: Option<&Json>,
    backward: bool,
    sort: &[SortKey],
    digest: &str,
) -> Result<Option<Cursor>, ActionError> {
    let (name, cursor) = match (after, before) {
        (None, None) => return Ok(None),
        (Some(after), None) if !backward => ("after", after),
        (None, Some(before)) if backward => ("before", before),
        _ => {
            return Err(invalid(
                "cursors go as `first` with `after`, or as `last` with `before`; hint: leave the others out",
            ));
        }
    };
    let text = value::string(cursor.as_str());
    let text = text.ok_or_else(|| invalid(format!("`{name}` is not a string; hint: pass a page's cursor as it is")))?;
    Cursor::decode(&text, name, sort, digest).map(Some)
}

fn members(json: &Json, what: &str, example: &str) -> Result<Vec<(String, Json)>, ActionError> {
    if !json.as_str().starts_with('{') {
        return Err(invalid(format!("{what} is not a JSON object; hint: `{example}`")));
    }
    object::members(json, what).map_err(invalid)
}

/// Reads filters of a model, within their limits.
struct Conditions<'a> {
    model: &'a Model,
    terms: usize,
    values: usize,
}

/// What a condition is about.
struct Target<'a> {
    name: &'a str,
    column: Column,
    of: &'a FieldType,
}

impl<'a> Conditions<'a> {
    fn of(model: &'a Model) -> Self {
        Self { model, terms: 0, values: 0 }
    }

    /// All the members of a filter object.
    fn object(&mut self, filter: &Json, depth: usize) -> Result<Filter, ActionError> {
        if depth > FILTER_DEPTH_MAX {
            return Err(invalid(format!(
                "the filter is nested deeper than {FILTER_DEPTH_MAX} levels; hint: flatten it"
            )));
        }
        let given = members(filter, "a filter", r#"{"title": {"equals": "Hat"}}"#)?;
        let mut all = Vec::with_capacity(given.len());
        for (name, value) in given {
            all.push(match name.as_str() {
                "AND" => Filter::All(self.list(&name, &value, depth)?),
                "OR" => Filter::Any(self.list(&name, &value, depth)?),
                // Of several none may match.
                "NOT" => Filter::Any(self.list(&name, &value, depth)?).negated(),
                _ => self.field(&name, &value)?,
            });
        }
        // One condition stands for itself: fewer levels for the database.
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::All(all) })
    }

    fn list(&mut self, name: &str, value: &Json, depth: usize) -> Result<Vec<Filter>, ActionError> {
        if value.as_str().starts_with('{') {
            return Ok(vec![self.object(value, depth + 1)?]);
        }
        let filters: Vec<Json> = value.to().map_err(|_| {
            invalid(format!("`{name}` is neither an array of filters nor a filter; hint: `{{\"{name}\": [{{\"title\": {{\"isSet\": true}}}}]}}`"))
        })?;
        filters.iter().map(|filter| self.object(filter, depth + 1)).collect()
    }

    fn field(&mut self, name: &str, condition: &Json) -> Result<Filter, ActionError> {
        let target = self.target(name)?;
        let example = || format!("{{\"{name}\": {{\"{}\": …}}}}", operators(&target)[0]);
        let mut given = members(condition, &format!("the condition of `{name}`"), &example())?;
        // `{"product": {"id": {"equals": "1"}}}` is the same as `{"product": {"equals": "1"}}`.
        if let (FieldType::BelongsTo { .. }, [(id, inner)]) = (target.of, given.as_slice())
            && id == "id"
        {
            given = members(inner, &format!("the condition of `{name}.id`"), &example())?;
        }
        let mut all = Vec::with_capacity(given.len());
        for (operator, value) in &given {
            self.terms += 1;
            if self.terms > FILTER_TERMS_MAX {
                return Err(invalid(format!(
                    "the filter has more than {FILTER_TERMS_MAX} conditions; hint: `in` takes a list of values"
                )));
            }
            all.push(self.condition(&target, operator, value)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Filter::All(all) })
    }

    fn condition(&mut self, target: &Target, operator: &str, value: &Json) -> Result<Filter, ActionError> {
        let known = operators(target);
        if !known.contains(&operator) {
            let shown = known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
            return Err(invalid(format!(
                "`{}` of type `{}` has no condition `{operator}`; hint: it has {shown}",
                target.name,
                target.of.as_str()
            )));
        }
        let column = || target.column.clone();
        let comparison = match operator {
            "isSet" => {
                let set = value::boolean(value.as_str()).ok_or_else(|| target.mistake(operator, "true or false"))?;
                return Ok(Filter::term(column(), if set { Test::IsSet } else { Test::IsNull }, false));
            }
            "in" | "notIn" => {
                let is_in = self.is_in(target, operator, value)?;
                return Ok(if operator == "in" { is_in } else { is_in.negated() });
            }
            "startsWith" | "contains" => {
                let text = value::string(value.as_str()).ok_or_else(|| target.mistake(operator, "a string"))?;
                if operator == "contains" && text.len() > CONTAINS_BYTES_MAX {
                    return Err(invalid(format!(
                        "`contains` of `{}` has {} bytes, at most {CONTAINS_BYTES_MAX} are looked for \
                         (`contains_bytes_max`); hint: a part of it finds the same records and a few more",
                        target.name,
                        text.len()
                    )));
                }
                return Ok(match operator {
                    "contains" => Filter::term(column(), Test::Contains(text), false),
                    _ => Filter::starts_with(column(), text),
                });
            }
            "equals" | "notEquals" => {
                let key = if value.is_null() { None } else { Some(target.operand(operator, value)?) };
                let equal = Filter::equal(column(), key);
                return Ok(if operator == "equals" { equal } else { equal.negated() });
            }
            "lessThan" | "before" => Comparison::Less,
            "lessThanOrEqual" => Comparison::LessOrEqual,
            "greaterThan" | "after" => Comparison::Greater,
            _ => Comparison::GreaterOrEqual,
        };
        if value.is_null() {
            return Ok(Filter::nothing());
        }
        let key = target.operand(operator, value)?;
        Ok(Filter::term(column(), Test::Compare(comparison, key), false))
    }

    fn is_in(&mut self, target: &Target, operator: &str, value: &Json) -> Result<Filter, ActionError> {
        let values: Vec<Json> = value.to().map_err(|_| target.mistake(operator, "an array"))?;
        self.values += values.len();
        if self.values > FILTER_VALUES_MAX {
            return Err(invalid(format!(
                "the filter's lists have more than {FILTER_VALUES_MAX} values; hint: ask for fewer at a time"
            )));
        }
        let or_null = values.iter().any(Json::is_null);
        let keys = values.iter().filter(|value| !value.is_null()).map(|value| target.operand(operator, value));
        Ok(Filter::term(target.column.clone(), Test::In(keys.collect::<Result<_, _>>()?), or_null))
    }

    /// The column of a field, or of the link that `shopId` means when `shop` belongs to another model.
    fn target<'n>(&self, name: &'n str) -> Result<Target<'n>, ActionError>
    where
        'a: 'n,
    {
        let system = |column, of| Ok(Target { name, column, of });
        match name {
            "id" => return system(Column::Id, &FieldType::String),
            "createdAt" => return system(Column::CreatedMs, &FieldType::DateTime),
            "updatedAt" => return system(Column::UpdatedMs, &FieldType::DateTime),
            _ => {}
        }
        let link = || {
            let field = self.model.field(name.strip_suffix("Id")?)?;
            matches!(field.of, FieldType::BelongsTo { .. }).then_some(field)
        };
        let Some(field) = self.model.field(name).or_else(link) else {
            return Err(invalid(format!(
                "`{}` declares no field `{}`; {}",
                self.model.name,
                object::shown(name),
                hint(name, self.model.names())
            )));
        };
        let Some(of) = field.of.value_type() else {
            return Err(invalid(format!(
                "`{name}` is a list of children, which this record does not hold; hint: query the children by their link"
            )));
        };
        Ok(Target { name, column: Column::Member { name: field.name.clone(), of }, of: &field.of })
    }
}

/// The conditions that a type has.
fn operators(target: &Target) -> Vec<&'static str> {
    let equality: &[_] = &["equals", "notEquals", "in", "notIn", "isSet"];
    let more: &[&[_]] = match target.of {
        FieldType::String => &[equality, &ORDERED, &["startsWith", "contains"]],
        FieldType::Integer | FieldType::Number => &[equality, &ORDERED],
        FieldType::DateTime => &[equality, &ORDERED, &["before", "after"]],
        FieldType::Boolean | FieldType::BelongsTo { .. } => &[equality],
        FieldType::Json | FieldType::HasMany { .. } => &[&["isSet"]],
    };
    more.concat()
}

impl Target<'_> {
    fn mistake(&self, operator: &str, expected: &str) -> ActionError {
        invalid(format!(
            "`{operator}` of `{}` is not {expected}; hint: the field is of type `{}`",
            self.name,
            self.of.as_str()
        ))
    }

    fn operand(&self, operator: &str, value: &Json) -> Result<Key, ActionError> {
        let (key, expected) = self.read(value.as_str());
        key.ok_or_else(|| self.mistake(operator, expected))
    }

    /// A value of a unique key.
    fn key(&self, value: &Json) -> Result<Key, ActionError> {
        let (key, expected) = self.read(value.as_str());
        key.ok_or_else(|| {
            invalid(format!(
                "`{}` of the key is not {expected}; hint: the field is of type `{}`",
                self.name,
                self.of.as_str()
            ))
        })
    }

    /// A value to compare the column with, or what was expected.
    fn read(&self, json: &str) -> (Option<Key>, &'static str) {
        match (self.of, self.column.value_type()) {
            (FieldType::DateTime, ValueType::Integer) => {
                let ms = value::string(json).and_then(|text| value::date_time_ms(&text));
                (ms.map(Key::Integer), "a date-time such as `2024-05-01T14:00:00Z`")
            }
            (FieldType::DateTime, _) => {
                let time = value::string(json).and_then(|text| value::date_time(&text));
                (time.map(Key::Text), "a date-time such as `2024-05-01T14:00:00Z`")
            }
            (_, ValueType::Text) => (value::string(json).map(Key::Text), "a string"),
            (_, ValueType::Integer) => {
                let integer = value::is_number(json).then(|| value::integer(json)).flatten();
                (integer.map(Key::Integer), "an integer of 64 bits")
            }
            (_, ValueType::Number) => {
                let number = value::is_number(json).then(|| json.parse().ok()).flatten();
                (number.filter(|number: &f64| number.is_finite()).map(Key::Number), "a number")
            }
            (_, ValueType::Boolean) => (value::boolean(json).map(Key::Boolean), "true or false"),
            (_, ValueType::Json) => (None, "a value that can be compared"),
        }
    }
}
