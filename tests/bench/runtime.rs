//! Placeholder until the table is written.
fn main() {}
