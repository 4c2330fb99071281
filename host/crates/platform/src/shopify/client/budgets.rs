//! The budgets of all apps and shops of the process, and what documents are known to cost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest;

use super::bucket::Level;
use super::budget::Budget;
use super::limits::{BUDGET_IDLE, BUDGETS_SWEEP_MIN, COST_UNKNOWN, COSTS_MAX};
use super::report::Api;

/// What may still be asked of each shop, shared by everything in the process.
#[derive(Debug)]
pub(super) struct Budgets {
    known: Mutex<Known>,
    costs: Mutex<Costs>,
}

#[derive(Debug)]
struct Known {
    budgets: HashMap<Key, Arc<Budget>>,
    sweep_at: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    app: Arc<str>,
    shop: Arc<str>,
    api: Api,
}

impl Default for Budgets {
    fn default() -> Self {
        let known = Known { budgets: HashMap::new(), sweep_at: BUDGETS_SWEEP_MIN };
        Self { known: Mutex::new(known), costs: Mutex::default() }
    }
}

impl Budgets {
    /// The budget of an app at a shop.
    pub(super) fn of(&self, app: &Arc<str>, shop: &Arc<str>, api: Api) -> Arc<Budget> {
        let key = Key { app: Arc::clone(app), shop: Arc::clone(shop), api };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = known.budgets.get(&key) {
            return Arc::clone(budget);
        }
        if known.budgets.len() >= known.sweep_at {
            known.budgets.retain(|_, budget| Arc::strong_count(budget) > 1 || budget.is_used(BUDGET_IDLE));
            // Twice as many before the next look, so that looking costs each new budget a constant.
            known.sweep_at = (known.budgets.len() * 2).max(BUDGETS_SWEEP_MIN);
        }
        let level = match api {
            Api::Graphql => Level::GRAPHQL,
            Api::Rest => Level::REST,
        };
        Arc::clone(known.budgets.entry(key).or_insert_with(|| Arc::new(Budget::new(level))))
    }

    /// What is known of a budget, without making one.
    pub(super) fn level(&self, app: &Arc<str>, shop: &Arc<str>, api: Api) -> Option<Level> {
        let key = Key { app: Arc::clone(app), shop: Arc::clone(shop), api };
        let budget = self.known.lock().unwrap_or_else(PoisonError::into_inner).budgets.get(&key).cloned();
        budget?.known()
    }

    /// What a document is taken to cost.
    pub(super) fn cost(&self, document: &DocumentHash) -> f64 {
        self.costs.lock().unwrap_or_else(PoisonError::into_inner).get(document).unwrap_or(COST_UNKNOWN)
    }

    /// The platform said what a document costs.
    pub(super) fn learn(&self, document: DocumentHash, cost: f64) {
        if cost.is_finite() && cost >= 0.0 {
            self.costs.lock().unwrap_or_else(PoisonError::into_inner).learn(document, cost);
        }
    }
}

/// A GraphQL document by its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DocumentHash([u8; 32]);

impl DocumentHash {
    pub(super) fn of(document: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, document.as_bytes()).as_ref());
        Self(hash)
    }
}

/// Costs by document. When the young half is full the old one is forgotten, but for what is still asked for.
#[derive(Debug, Default)]
struct Costs {
    young: HashMap<DocumentHash, f64>,
    old: HashMap<DocumentHash, f64>,
}

impl Costs {
    fn get(&mut self, document: &DocumentHash) -> Option<f64> {
        if let Some(cost) = self.young.get(document) {
            return Some(*cost);
        }
        let cost = *self.old.get(document)?;
        self.learn(*document, cost);
        Some(cost)
    }

    fn learn(&mut self, document: DocumentHash, cost: f64) {
        if self.young.len() >= COSTS_MAX && !self.young.contains_key(&document) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(document, cost);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, advance};

    use super::*;

    #[track_caller]
    fn check(budgets: &Budgets, document: &DocumentHash, expected: f64) {
        let cost = budgets.cost(document);
        assert!((cost - expected).abs() < 1e-6, "{cost} and {expected}");
    }

    #[test]
    fn costs_are_remembered_while_they_are_asked_for() {
        let budgets = Budgets::default();
        let hot = DocumentHash::of("{ shop { id } }");
        check(&budgets, &hot, COST_UNKNOWN);
        budgets.learn(hot, 3.0);
        budgets.learn(hot, f64::NAN);
        for number in 0..10 * COSTS_MAX {
            check(&budgets, &hot, 3.0);
            budgets.learn(DocumentHash::of(&number.to_string()), 1.0);
        }
        let costs = budgets.costs.lock().unwrap();
        assert!(costs.young.len() <= COSTS_MAX && costs.old.len() <= COSTS_MAX);
        assert!(!costs.young.contains_key(&DocumentHash::of("0")) && !costs.old.contains_key(&DocumentHash::of("0")));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_budgets_are_forgotten() {
        let budgets = Budgets::default();
        let app: Arc<str> = "app".into();
        let shop = |number: usize| Arc::from(number.to_string());
        let held = budgets.of(&app, &shop(0), Api::Rest);
        let _permit = held.take(1.0, Instant::now() + Duration::from_secs(1)).await.unwrap();
        for number in 1..BUDGETS_SWEEP_MIN {
            budgets.of(&app, &shop(number), Api::Rest);
        }
        advance(BUDGET_IDLE).await;
        budgets.of(&app, &shop(BUDGETS_SWEEP_MIN), Api::Rest);
        assert_eq!(budgets.known.lock().unwrap().budgets.len(), 2, "the one that is held, and the new one");
        assert!(Arc::ptr_eq(&held, &budgets.of(&app, &shop(0), Api::Rest)));
        assert!(!Arc::ptr_eq(&held, &budgets.of(&app, &shop(0), Api::Graphql)));
    }
}
