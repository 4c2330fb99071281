//! Placeholder until the runs are written.
fn main() {}
