//! What a query costs, before and after.
//!
//! The platform documents: a scalar is free, an object one point, a connection by its size, a mutation ten. How a
//! connection's size counts it does not document; the rule here is the one that fits the costs which the platform was
//! recorded to ask for: two, and for each node as many times as its own cost as twice the natural logarithm of the size,
//! rounded down.

use std::collections::HashMap;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
    TypeKind, TypeSystemDefinition,
};
use async_graphql::{Name, Positioned, Value, Variables};

/// Points of one query. 1,000, as the platform documents.
pub(super) const QUERY_POINTS_MAX: u32 = 1_000;

/// Points of a mutation, with the objects that its payload names directly.
const MUTATION_POINTS: u32 = 10;

/// Points of counting a whole list.
const COUNT_POINTS: u32 = 10;

/// Points of a connection without nodes.
const CONNECTION_POINTS: u32 = 2;

/// Objects that were recorded to cost nothing.
const FREE: &[&str] = &["PageInfo", "UserError", "WebhookSubscriptionEndpoint"];

/// Which field gives what: enough of the schema to count.
pub(super) struct Costs {
    /// By type and field: the type that it gives, for objects alone.
    objects: HashMap<String, HashMap<String, String>>,
}

/// One question about one operation.
struct Count<'a> {
    costs: &'a Costs,
    document: &'a ExecutableDocument,
    variables: &'a Variables,
    defaults: HashMap<&'a str, &'a Value>,
}

impl Costs {
    /// Of a schema, by its definition.
    pub(super) fn new(sdl: &str) -> Result<Self, async_graphql::parser::Error> {
        let definitions = parse_schema(sdl)?.definitions;
        let types: Vec<_> = definitions
            .iter()
            .filter_map(|definition| match definition {
                TypeSystemDefinition::Type(definition) => Some(&definition.node),
                _ => None,
            })
            .collect();
        let is_leaf = |kind: &TypeKind| matches!(kind, TypeKind::Scalar | TypeKind::Enum(_));
        let objects: Vec<_> =
            types.iter().filter(|known| !is_leaf(&known.kind)).map(|known| known.name.node.as_str()).collect();
        let mut of_type = HashMap::new();
        for known in &types {
            let fields = match &known.kind {
                TypeKind::Object(object) => &object.fields,
                TypeKind::Interface(interface) => &interface.fields,
                _ => continue,
            };
            let mut of_field = HashMap::new();
            for field in fields {
                let text = field.node.ty.node.to_string();
                let name = text.trim_matches(['[', ']', '!']);
                if objects.contains(&name) {
                    of_field.insert(field.node.name.node.to_string(), name.to_owned());
                }
            }
            of_type.insert(known.name.node.to_string(), of_field);
        }
        Ok(Self { objects: of_type })
    }

    /// Of a schema that nobody knows: everything is one point.
    pub(super) fn none() -> Self {
        Self { objects: HashMap::new() }
    }

    /// What an operation may cost at most.
    pub(super) fn requested(
        &self,
        document: &ExecutableDocument,
        operation: Option<&str>,
        variables: &Variables,
    ) -> u32 {
        self.operation(document, operation, variables, None)
    }

    /// What an operation did cost, by what it gave.
    pub(super) fn actual(
        &self,
        document: &ExecutableDocument,
        operation: Option<&str>,
        variables: &Variables,
        data: &Value,
    ) -> u32 {
        self.operation(document, operation, variables, Some(data))
    }

    fn operation(
        &self,
        document: &ExecutableDocument,
        name: Option<&str>,
        variables: &Variables,
        data: Option<&Value>,
    ) -> u32 {
        let Some(operation) = operation(document, name) else { return 0 };
        let with_default = operation.variable_definitions.iter().filter_map(|definition| {
            let default = definition.node.default_value.as_ref()?;
            Some((definition.node.name.node.as_str(), &default.node))
        });
        let defaults = with_default.collect();
        let count = Count { costs: self, document, variables, defaults };
        let points = match operation.ty {
            OperationType::Mutation => count.mutations(&operation.selection_set.node, data),
            _ => count.selected("QueryRoot", &operation.selection_set.node, data),
        };
        points.max(1)
    }
}

/// The operation that is asked for.
pub(super) fn operation<'a>(document: &'a ExecutableDocument, name: Option<&str>) -> Option<&'a OperationDefinition> {
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), _) => Some(&operation.node),
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name).map(|operation| &operation.node),
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => {
            operations.values().next().map(|operation| &operation.node)
        }
        (DocumentOperations::Multiple(_), None) => None,
    }
}

impl Count<'_> {
    fn mutations(&self, selected: &SelectionSet, data: Option<&Value>) -> u32 {
        let mut points = 0;
        for field in self.fields(selected) {
            let Some(payload) = self.gives("Mutation", field) else { continue };
            let data = data.map(|data| member(data, field));
            points += MUTATION_POINTS;
            for part in self.fields(&field.selection_set.node) {
                let Some(object) = self.gives(payload, part) else { continue };
                let data = data.map(|data| member(data, part));
                // Changed variants are a list that costs a point, unlike what else a payload names.
                points += u32::from(object == "ProductVariant") + self.each(object, &part.selection_set.node, data);
            }
        }
        points
    }

    /// Fields of the type itself add up; of fragments on others the dearest counts.
    fn selected(&self, of: &str, selected: &SelectionSet, data: Option<&Value>) -> u32 {
        let mut points = 0;
        let mut dearest = 0;
        for selection in &selected.items {
            match &selection.node {
                Selection::Field(field) if self.included(&field.node.directives) => {
                    points += self.field(of, &field.node, data);
                }
                Selection::Field(_) => {}
                Selection::InlineFragment(fragment) => {
                    let on = fragment.node.type_condition.as_ref().map_or(of, |on| on.node.on.node.as_str());
                    let cost = self.selected(on, &fragment.node.selection_set.node, data);
                    if on == of { points += cost } else { dearest = dearest.max(cost) }
                }
                Selection::FragmentSpread(spread) => {
                    let Some(fragment) = self.document.fragments.get(&spread.node.fragment_name.node) else { continue };
                    let on = fragment.node.type_condition.node.on.node.as_str();
                    let cost = self.selected(on, &fragment.node.selection_set.node, data);
                    if on == of { points += cost } else { dearest = dearest.max(cost) }
                }
            }
        }
        points + dearest
    }

    fn field(&self, of: &str, field: &Field, data: Option<&Value>) -> u32 {
        if field.name.node.starts_with("__") {
            return self.introspection(field);
        }
        let Some(object) = self.gives(of, field) else { return 0 };
        let data = data.map(|data| member(data, field));
        if of == "QueryRoot" && object == "Count" {
            return COUNT_POINTS;
        }
        if object.ends_with("Connection") {
            return self.connection(object, field, data);
        }
        let own = u32::from(!FREE.contains(&object) && !object.ends_with("UserError"));
        own + self.each(object, &field.selection_set.node, data)
    }

    /// Questions about the schema: a point for each object that is asked for, however many there are.
    fn introspection(&self, field: &Field) -> u32 {
        let inner = self.fields(&field.selection_set.node);
        let points: u32 = inner.iter().map(|inner| self.introspection(inner)).sum();
        points + u32::from(!inner.is_empty())
    }

    /// What is selected of an object, or of the dearest of a list.
    fn each(&self, of: &str, selected: &SelectionSet, data: Option<&Value>) -> u32 {
        match data {
            Some(Value::List(items)) => {
                items.iter().map(|item| self.selected(of, selected, Some(item))).max().unwrap_or_default()
            }
            Some(Value::Null) => 0,
            data => self.selected(of, selected, data),
        }
    }

    /// Before, each node counts as often as the size that was asked for says. After, those that are there count, each for
    /// its share; but that there are no nodes was recorded to cost as much as asked for, and no edges to cost nothing.
    fn connection(&self, of: &str, field: &Field, data: Option<&Value>) -> u32 {
        let asked = ["first", "last"].into_iter().find_map(|name| self.integer(field, name)).unwrap_or_default();
        let mut whole = 0;
        let mut shares = 0;
        for part in self.fields(&field.selection_set.node) {
            let Some(object) = self.gives(of, part) else { continue };
            if object == "PageInfo" {
                continue;
            }
            let is_nodes = part.name.node == "nodes";
            let node = |item: Option<&Value>| {
                if is_nodes {
                    1 + self.each(object, &part.selection_set.node, item)
                } else {
                    self.edge(object, part, item)
                }
            };
            match data.map(|data| member(data, part)) {
                Some(Value::List(items)) if !items.is_empty() || !is_nodes => {
                    shares += items.iter().map(|item| node(Some(item))).sum::<u32>();
                }
                _ => whole += node(None),
            }
        }
        CONNECTION_POINTS + whole * times(asked) + part_of(shares, asked)
    }

    /// The node of an edge.
    fn edge(&self, of: &str, part: &Field, data: Option<&Value>) -> u32 {
        let fields = self.fields(&part.selection_set.node).into_iter();
        let node = |field: &Field| {
            let object = self.gives(of, field)?;
            Some(1 + self.each(object, &field.selection_set.node, data.map(|data| member(data, field))))
        };
        fields.filter_map(node).sum()
    }

    /// Fields that are asked for directly.
    fn fields<'s>(&'s self, selected: &'s SelectionSet) -> Vec<&'s Field> {
        let mut fields = Vec::new();
        for selection in &selected.items {
            match &selection.node {
                Selection::Field(field) if self.included(&field.node.directives) => fields.push(&field.node),
                Selection::Field(_) => {}
                Selection::InlineFragment(fragment) => fields.extend(self.fields(&fragment.node.selection_set.node)),
                Selection::FragmentSpread(spread) => {
                    let fragment = self.document.fragments.get(&spread.node.fragment_name.node);
                    fields.extend(fragment.into_iter().flat_map(|known| self.fields(&known.node.selection_set.node)));
                }
            }
        }
        fields
    }

    fn gives(&self, of: &str, field: &Field) -> Option<&str> {
        self.costs.objects.get(of)?.get(field.name.node.as_str()).map(String::as_str)
    }

    fn included(&self, directives: &[Positioned<async_graphql::parser::types::Directive>]) -> bool {
        directives.iter().all(|directive| {
            let condition = directive.node.get_argument("if");
            let condition =
                condition.and_then(|value| value.node.clone().into_const_with(|name| self.variable(&name)).ok());
            match (directive.node.name.node.as_str(), condition) {
                ("skip", Some(Value::Boolean(skip))) => !skip,
                ("include", Some(Value::Boolean(include))) => include,
                _ => true,
            }
        })
    }

    fn integer(&self, field: &Field, argument: &str) -> Option<usize> {
        let value = field.get_argument(argument)?.node.clone();
        match value.into_const_with(|name| self.variable(&name)).ok()? {
            Value::Number(number) => number.as_u64().and_then(|number| usize::try_from(number).ok()),
            _ => None,
        }
    }

    /// A variable's value, given or by default.
    fn variable(&self, name: &Name) -> Result<Value, ()> {
        let default = || self.defaults.get(name.as_str()).copied();
        self.variables.get(name).or_else(default).cloned().ok_or(())
    }
}

/// A part of an answer, under the name that it was asked for.
fn member<'a>(data: &'a Value, field: &Field) -> &'a Value {
    let name: &Name = field.alias.as_ref().map_or(&field.name.node, |alias| &alias.node);
    match data {
        Value::Object(members) => members.get(name).unwrap_or(&Value::Null),
        _ => &Value::Null,
    }
}

/// How often a node counts in a connection of a size.
fn times(size: usize) -> u32 {
    if size == 0 { 0 } else { part_of(u32::try_from(size).unwrap_or(u32::MAX), size) }
}

/// What nodes cost that a connection of a size gave: as much of the whole as they are of it, and one at least.
fn part_of(nodes: u32, size: usize) -> u32 {
    if nodes == 0 || size == 0 {
        return 0;
    }
    let size = f64::from(u16::try_from(size).unwrap_or(u16::MAX));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative; a query's points are few"
    )]
    let part = (2.0 * size.ln() * f64::from(nodes) / size) as u32;
    part.max(1)
}

#[cfg(test)]
mod tests {
    use super::times;

    #[test]
    fn sizes_count_less_and_less() {
        let recorded = [(0, 0), (1, 1), (2, 1), (3, 2), (5, 3), (10, 4), (50, 7), (100, 9), (250, 11)];
        for (size, expected) in recorded {
            assert_eq!(times(size), expected, "{size}");
        }
    }
}
