//! What queries cost, beside what the platform was recorded to ask for them.

use serde_json::Value;
use tradewind_emulator::{Config, Plan};
use tradewind_tests::acceptance;

use super::{Setup, config};

/// Recorded queries that cost something else here, by the names of their operations, each with the reason.
const KNOWN: &[(&str, &str)] =
    &[("ProductsSearchGrammarRead", "three counts that were free; every other recorded count is ten points")];

#[tokio::test]
async fn queries_cost_what_they_were_recorded_to_cost() {
    let Some(recorded) = acceptance::lines("rate-limit/graphql-query-costs.jsonl.gz").unwrap() else {
        println!("{}", acceptance::skipped("queries_cost_what_they_were_recorded_to_cost"));
        return;
    };
    // Fast, so that no budget is ever used up.
    let setup = Setup::new(Config { speed: 1_000_000, ..config() }, Plan::Plus, 3).await;
    let mut compared = 0;
    let mut wrong = Vec::new();
    for exchange in recorded {
        let query = exchange["query"].as_str().unwrap();
        let answer = setup.graphql(query, exchange["variables"].clone()).await;
        let cost = &answer["extensions"]["cost"]["requestedQueryCost"];
        if cost.is_null() {
            // Refused before it was executed: there is something in it that the emulator does not have.
            assert!(answer["errors"].is_array(), "{answer:#}");
            continue;
        }
        compared += 1;
        let expected = &exchange["cost"]["requestedQueryCost"];
        let known = KNOWN.iter().any(|(name, _)| query.contains(name));
        if cost != expected && !known {
            wrong.push(format!("{cost} instead of {expected}: {query}"));
        }
    }
    println!("{compared} recorded queries compared");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared >= 150, "{compared}");
}

/// An answer with its costs, as one of the platform has them.
#[tokio::test]
async fn costs_have_the_platforms_shape() {
    let setup = Setup::new(config(), Plan::Standard, 3).await;
    let answer = setup.graphql("{ products(first: 250) { nodes { id } } }", Value::Null).await;
    let cost = &answer["extensions"]["cost"];
    assert_eq!(cost["requestedQueryCost"], 13);
    // Three products of 250 are not much: two, and the one that there is at least.
    assert_eq!(cost["actualQueryCost"], 3);
    let status = &cost["throttleStatus"];
    assert_eq!((&status["maximumAvailable"], &status["restoreRate"]), (&2000.0.into(), &100.0.into()));
    let left = status["currentlyAvailable"].as_u64().unwrap();
    assert!((1_996..=2_000).contains(&left), "what was asked too much is given back: {left}");
}
