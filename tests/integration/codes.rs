//! What the documents say of error codes and limits is what the program has.

use std::collections::BTreeSet;

use tradewind_model::code;
use tradewind_runtime::Limit;
use tradewind_tests::repository;

#[test]
fn every_code_is_documented_and_every_documented_code_exists() {
    let contract = std::fs::read_to_string(repository().join("wit/v1/types.wit")).unwrap();
    let rows = contract.lines().filter_map(|line| line.trim().strip_prefix("/// | `"));
    let rows: Vec<Vec<_>> = rows.map(|row| row.split('|').map(str::trim).collect()).collect();
    for row in &rows {
        assert!(row.len() == 4 && ["yes", "no", "depends"].contains(&row[2]), "not a row of the table: {row:?}");
    }
    let documented: BTreeSet<_> = rows.iter().map(|row| row[0].trim_end_matches('`')).collect();
    assert_eq!(documented.len(), rows.len(), "a code is documented twice");
    assert_eq!(documented, code::ALL.into_iter().collect());
}

#[test]
fn every_limit_and_every_code_is_in_the_guide() {
    let guide = std::fs::read_to_string(repository().join("docs/plugin-guide.md")).unwrap();
    // How much the host has for all sandboxes together is the operator's business.
    let of_a_call = Limit::ALL.into_iter().filter(|limit| *limit != Limit::SandboxBytes);
    let names = of_a_call.map(Limit::name).chain(code::ALL);
    let missing: Vec<_> = names.filter(|name| !guide.contains(&format!("`{name}`"))).collect();
    assert_eq!(missing, [""; 0]);
}
