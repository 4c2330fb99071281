//! One binary for all integration tests: linking the engine takes longer than running them.
