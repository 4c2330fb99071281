//! The most steps that holding a value to a schema takes, computed from the schema alone.
//!
//! Schemas refer to one another, so they are a graph. An edge is either about the same value (`anyOf`, `$ref`) or about a part
//! of it (`items`, `properties`). Without a cycle the steps at one value are a sum over all ways through the graph, which
//! doubles with each pair of references; that sum is bounded. In a cycle they double with each level of the value instead,
//! unless every part of a value is reached in one way only; that is what a cycle is held to.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Schemas inside of one schema.
const SCHEMAS_MAX: usize = 2_000;

/// Patterns of one schema. 50: each takes a millisecond to compile, and a page of memory.
const PATTERNS_MAX: u64 = 50;

/// Steps at one value.
const WEIGHT_MAX: u64 = 1_000_000;

/// Steps that a pattern takes for two bytes: its automaton has a few thousand states at most, and mostly is in one.
const PATTERN_WEIGHT: u64 = 64;

/// What a schema weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight {
    /// Steps for each two bytes of a value.
    steps: u64,
    /// Cycles that lead to one another: each begins anew at each level of the value.
    cycles: u32,
    /// Schemas inside of one another, without those of cycles.
    nested: usize,
    /// Schemas of cycles that are inside of one another at each level of a value.
    each_level: usize,
}

impl Weight {
    /// Steps for a value at most.
    pub(super) fn steps(&self, bytes: usize, depth: usize) -> u64 {
        // No part of a value is shorter than `1,` or `[]`.
        let size = bytes as u64 / 2 + 1;
        let again = (depth as u64 + 1).saturating_pow(self.cycles.saturating_sub(1));
        self.steps.saturating_mul(size).saturating_mul(again)
    }

    /// Schemas that are inside of one another for a value of this depth.
    pub(super) fn nested(&self, depth: usize) -> usize {
        self.nested.saturating_add(self.each_level.saturating_mul(depth + 1))
    }
}

/// Which part of a value an edge leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To<'a> {
    /// The same value.
    Same,
    /// One element, or all that no other edge of the schema names.
    Element(Option<usize>),
    AnyElement,
    /// One member, or all that no other edge of the schema names.
    Member(Option<&'a str>),
    AnyMember,
}

struct Node<'a> {
    weight: u64,
    edges: Vec<(To<'a>, usize)>,
    /// Whether it looks at what others of the same value have looked at.
    looks_again: bool,
}

/// How often the parts of one kind are reached: those with a name, and the others.
#[derive(Clone, Debug, Default)]
struct Reached<K> {
    named: HashMap<K, u64>,
    rest: u64,
}

impl<K: std::hash::Hash + Eq + Copy> Reached<K> {
    fn of(&self, name: K) -> u64 {
        self.named.get(&name).copied().unwrap_or(self.rest)
    }

    fn add(&mut self, other: &Self) {
        let names: Vec<K> = self.named.keys().chain(other.named.keys()).copied().collect();
        let sums = names.into_iter().map(|name| (name, self.of(name).saturating_add(other.of(name))));
        self.named = sums.collect::<Vec<_>>().into_iter().collect();
        self.rest = self.rest.saturating_add(other.rest);
    }

    fn most(&self) -> u64 {
        self.named.values().copied().max().unwrap_or(0).max(self.rest)
    }
}

/// Weighs a schema, or says why it has no weight.
pub(super) fn weigh(schema: &Value) -> Result<Weight, String> {
    let graph = Graph::of(schema)?;
    let components = graph.components();
    Weigher { graph: &graph, components: &components, weights: HashMap::new() }.weigh()
}

struct Graph<'a> {
    root: &'a Value,
    nodes: Vec<Node<'a>>,
    /// By the address of the schema.
    places: HashMap<*const Value, usize>,
    /// Those whose edges are not known yet.
    open: Vec<&'a Value>,
    patterns: u64,
}

impl<'a> Graph<'a> {
    fn of(root: &'a Value) -> Result<Self, String> {
        let mut graph = Self { root, nodes: Vec::new(), places: HashMap::new(), open: Vec::new(), patterns: 0 };
        graph.place(root)?;
        while let Some(schema) = graph.open.pop() {
            graph.read(schema)?;
        }
        if graph.patterns > PATTERNS_MAX {
            return Err(too_much(&format!("it has {} patterns, more than {PATTERNS_MAX}", graph.patterns)));
        }
        Ok(graph)
    }

    fn place(&mut self, schema: &'a Value) -> Result<usize, String> {
        if let Some(place) = self.places.get(&std::ptr::from_ref(schema)) {
            return Ok(*place);
        }
        let place = self.nodes.len();
        if place == SCHEMAS_MAX {
            return Err(too_much(&format!("it has more than {SCHEMAS_MAX} schemas")));
        }
        self.places.insert(schema, place);
        self.nodes.push(Node { weight: 1, edges: Vec::new(), looks_again: false });
        self.open.push(schema);
        Ok(place)
    }

    fn read(&mut self, schema: &'a Value) -> Result<(), String> {
        let Some(members) = schema.as_object() else { return Ok(()) };
        let place = self.place(schema)?;
        self.refuse_names(schema, members)?;
        let mut weight = 1;
        for (keyword, value) in members {
            match keyword.as_str() {
                "$ref" => {
                    let target = self.resolve(value)?;
                    self.edge(place, To::Same, target)?;
                }
                "allOf" | "anyOf" | "oneOf" => self.each(place, value, |_| To::Same)?,
                "not" | "if" | "then" | "else" => self.edge(place, To::Same, value)?,
                "dependentSchemas" | "dependencies" => self.members(place, value, |_| To::Same)?,
                "prefixItems" => self.each(place, value, |at| To::Element(Some(at)))?,
                "items" if value.is_array() => self.each(place, value, |at| To::Element(Some(at)))?,
                "items" | "additionalItems" => self.edge(place, To::Element(None), value)?,
                "contains" | "unevaluatedItems" => self.edge(place, To::AnyElement, value)?,
                "properties" => self.members(place, value, |name| To::Member(Some(name)))?,
                "additionalProperties" => self.edge(place, To::Member(None), value)?,
                "patternProperties" => {
                    let patterns = value.as_object().map_or(0, Map::len) as u64;
                    self.patterns += patterns;
                    weight += patterns * PATTERN_WEIGHT;
                    self.members(place, value, |_| To::AnyMember)?;
                }
                "unevaluatedProperties" | "propertyNames" => self.edge(place, To::AnyMember, value)?,
                "pattern" => {
                    self.patterns += 1;
                    weight += PATTERN_WEIGHT;
                }
                "format" => weight += 16,
                "uniqueItems" => weight += 64,
                "const" | "enum" | "required" | "dependentRequired" => weight += bytes(value) / 32,
                _ => {}
            }
            if matches!(keyword.as_str(), "unevaluatedItems" | "unevaluatedProperties") {
                self.nodes[place].looks_again = true;
            }
        }
        self.nodes[place].weight = weight;
        Ok(())
    }

    /// A reference has to be readable here, as the validator reads it.
    fn refuse_names(&self, schema: &Value, members: &Map<String, Value>) -> Result<(), String> {
        let is_root = std::ptr::eq(schema, self.root);
        let found = ["$dynamicRef", "$recursiveRef", "$id", "id", "$schema"].into_iter().find(|name| {
            let is_text = members.get(*name).is_some_and(Value::is_string);
            is_text && !(is_root && matches!(*name, "$schema" | "$id"))
        });
        match found {
            Some(name) => Err(format!("it has `{name}`; hint: refer to parts of the schema by `#/$defs/…` alone")),
            None => Ok(()),
        }
    }

    fn resolve(&self, reference: &Value) -> Result<&'a Value, String> {
        let text = reference.as_str().unwrap_or_default();
        let pointer = text.strip_prefix('#').filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let pointer = pointer.filter(|pointer| !pointer.contains('%'));
        let target = pointer.and_then(|pointer| self.root.pointer(pointer));
        target.ok_or_else(|| {
            let text = &text[..text.floor_char_boundary(100)];
            format!("it refers to `{text}`, which is not a part of it; hint: `#/$defs/…`")
        })
    }

    fn edge(&mut self, from: usize, to: To<'a>, schema: &'a Value) -> Result<(), String> {
        let target = self.place(schema)?;
        self.nodes[from].edges.push((to, target));
        Ok(())
    }

    fn each(&mut self, from: usize, list: &'a Value, to: impl Fn(usize) -> To<'a>) -> Result<(), String> {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().enumerate().try_for_each(|(at, schema)| self.edge(from, to(at), schema))
    }

    fn members(&mut self, from: usize, object: &'a Value, to: impl Fn(&'a str) -> To<'a>) -> Result<(), String> {
        let Some(object) = object.as_object() else { return Ok(()) };
        object.iter().try_for_each(|(name, schema)| self.edge(from, to(name), schema))
    }

    /// The number of each schema's cycle: two have the same one when each leads to the other. By Tarjan, without recursion.
    fn components(&self) -> Vec<usize> {
        let count = self.nodes.len();
        let (mut order, mut low, mut component) = (vec![usize::MAX; count], vec![0; count], vec![usize::MAX; count]);
        let (mut stack, mut path, mut next, mut components) = (Vec::new(), vec![(0, 0)], 0, 0);
        while let Some((node, edge)) = path.pop() {
            if edge == 0 {
                (order[node], low[node]) = (next, next);
                next += 1;
                stack.push(node);
            }
            if let Some((_, target)) = self.nodes[node].edges.get(edge) {
                path.push((node, edge + 1));
                if order[*target] == usize::MAX {
                    path.push((*target, 0));
                } else if component[*target] == usize::MAX {
                    low[node] = low[node].min(order[*target]);
                }
                continue;
            }
            if low[node] == order[node] {
                while let Some(member) = stack.pop() {
                    component[member] = components;
                    if member == node {
                        break;
                    }
                }
                components += 1;
            }
            if let Some((parent, _)) = path.last() {
                low[*parent] = low[*parent].min(low[node]);
            }
        }
        component
    }
}

struct Weigher<'g, 'a> {
    graph: &'g Graph<'a>,
    components: &'g [usize],
    /// Of the components that are weighed.
    weights: HashMap<usize, Weight>,
}

/// What the schemas of one cycle find at one value: steps, and how often they reach each part within the cycle.
#[derive(Clone, Default)]
struct Here<'a> {
    steps: u64,
    /// Schemas inside of one another at this value.
    nested: usize,
    elements: Reached<usize>,
    members: Reached<&'a str>,
}

impl<'a> Weigher<'_, 'a> {
    fn weigh(&mut self) -> Result<Weight, String> {
        // Components are numbered so that each leads only to smaller ones.
        let count = self.components.iter().copied().max().map_or(0, |last| last + 1);
        let mut members = vec![Vec::new(); count];
        for (node, component) in self.components.iter().enumerate() {
            members[*component].push(node);
        }
        for (component, nodes) in members.iter().enumerate() {
            self.weigh_component(component, nodes)?;
        }
        Ok(self.weights[&self.components[0]])
    }

    fn weigh_component(&mut self, component: usize, nodes: &[usize]) -> Result<(), String> {
        let inside = |target: usize| self.components[target] == component;
        let edges = |node: usize| self.graph.nodes[node].edges.iter();
        let is_cycle = nodes.iter().any(|node| edges(*node).any(|(_, target)| inside(*target)));
        let sorted = self.by_place(nodes, component)?;
        let mut here: HashMap<usize, Here<'a>> = HashMap::new();
        let mut all = Weight { steps: 0, cycles: 0, nested: 0, each_level: 0 };
        let mut own = 0;
        for node in sorted {
            let found = self.at(node, component, &here);
            if found.steps > WEIGHT_MAX {
                return Err(too_much("its schemas refer to one another in too many ways"));
            }
            if is_cycle && (found.elements.most() > 1 || found.members.most() > 1) {
                return Err(too_much("it refers to itself in several ways for the same part of a value"));
            }
            if is_cycle && self.graph.nodes[node].looks_again {
                return Err(too_much("it refers to itself beside `unevaluatedItems` or `unevaluatedProperties`"));
            }
            all.steps = all.steps.max(found.steps);
            own = own.max(found.nested);
            for (_, target) in edges(node).filter(|(_, target)| !inside(*target)) {
                let below = self.weights[&self.components[*target]];
                all.cycles = all.cycles.max(below.cycles);
                all.nested = all.nested.max(below.nested);
                all.each_level = all.each_level.max(below.each_level);
            }
            here.insert(node, found);
        }
        if is_cycle {
            all.cycles += 1;
            all.each_level += own;
        } else {
            all.nested += own;
        }
        self.weights.insert(component, all);
        Ok(())
    }

    /// The schemas of a component, each behind those that it holds the same value to.
    fn by_place(&self, nodes: &[usize], component: usize) -> Result<Vec<usize>, String> {
        let same = |node: usize| {
            let edges = self.graph.nodes[node].edges.iter();
            edges.filter(|(to, target)| *to == To::Same && self.components[*target] == component).map(|(_, t)| *t)
        };
        // How many of a schema's edges are not yet done.
        let mut left: HashMap<usize, usize> = nodes.iter().map(|node| (*node, same(*node).count())).collect();
        let mut before: HashMap<usize, Vec<usize>> = HashMap::new();
        for node in nodes {
            same(*node).for_each(|target| before.entry(target).or_default().push(*node));
        }
        let mut ready: Vec<usize> = nodes.iter().copied().filter(|node| left[node] == 0).collect();
        let mut sorted = Vec::with_capacity(nodes.len());
        while let Some(node) = ready.pop() {
            sorted.push(node);
            for parent in before.get(&node).into_iter().flatten() {
                if let Some(left) = left.get_mut(parent) {
                    *left -= 1;
                    if *left == 0 {
                        ready.push(*parent);
                    }
                }
            }
        }
        if sorted.len() < nodes.len() {
            return Err(
                "it refers to itself without going into the value; hint: refer to itself inside of `items` or \
                        `properties`"
                    .to_owned(),
            );
        }
        Ok(sorted)
    }

    /// What one schema finds at a value, when it is known of those that it holds the same value to.
    fn at(&self, node: usize, component: usize, here: &HashMap<usize, Here<'a>>) -> Here<'a> {
        let Node { weight, edges, looks_again } = &self.graph.nodes[node];
        let mut found = Here { steps: *weight, nested: 1, ..Here::default() };
        let mut below = 0;
        let (mut elements, mut members) = (Reached::default(), Reached::default());
        let (mut any_element, mut any_member) = (0, 0);
        for (to, target) in edges {
            let inside = self.components[*target] == component;
            if !inside {
                let of_target = self.weights[&self.components[*target]];
                found.steps = found.steps.saturating_add(of_target.steps);
                below = below.max(of_target.nested + of_target.each_level);
            }
            let reached = u64::from(inside);
            match to {
                To::Same if inside => {
                    let of_target = &here[target];
                    found.steps = found.steps.saturating_add(of_target.steps);
                    found.nested = found.nested.max(of_target.nested + 1);
                    found.elements.add(&of_target.elements);
                    found.members.add(&of_target.members);
                }
                To::Same => {}
                To::Element(Some(at)) => *elements.named.entry(*at).or_default() += reached,
                To::Element(None) => elements.rest += reached,
                To::AnyElement => any_element += reached,
                To::Member(Some(name)) => *members.named.entry(*name).or_default() += reached,
                To::Member(None) => members.rest += reached,
                To::AnyMember => any_member += reached,
            }
        }
        elements.add(&Reached { rest: any_element, ..Reached::default() });
        members.add(&Reached { rest: any_member, ..Reached::default() });
        found.elements.add(&elements);
        found.members.add(&members);
        if *looks_again {
            // What lies below is looked at once more for each level of schemas that are about the same value.
            found.steps = found.steps.saturating_mul(below as u64 + 2);
        }
        found
    }
}

fn bytes(value: &Value) -> u64 {
    serde_json::to_string(value).map_or(u64::MAX / 64, |text| text.len() as u64)
}

fn too_much(why: &str) -> String {
    let max = super::SCHEMA_STEPS_MAX;
    format!(
        "limit `schema_steps_max` of {max} exceeded: {why}; hint: say less in the schema and check the rest in `run`"
    )
}
