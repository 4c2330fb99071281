//! Hand-written components: shapes that no toolchain makes.
//!
//! All begin as a plugin with one action, `odd`, whose `run` returns `null`; each test spoils its own part.

/// The parts of a hand-written component.
#[derive(Clone, Copy)]
pub struct Component<'a> {
    /// Imports and definitions at the level of the component, before everything else.
    pub outer: &'a str,
    /// Definitions inside of the core module: imports first.
    pub module: &'a str,
    /// What the core module is instantiated with: `(with …)` clauses.
    pub with: &'a str,
    /// Definitions at the level of the component, after everything else.
    pub last: &'a str,
    /// The body of `describe`, which may call `$register`, or `$declare` for a handle and `$when-changed` with it.
    pub describe: &'a str,
    /// The body of `run`, before it returns.
    pub run: &'a str,
    /// The actions' name.
    pub action: &'a str,
    /// The version of the contract's `actions` interface.
    pub version: &'a str,
    /// Whether `success` is exported.
    pub success: bool,
}

impl Default for Component<'_> {
    fn default() -> Self {
        Self {
            outer: "",
            module: "",
            with: "",
            last: "",
            describe: "(call $register)",
            run: "",
            action: "odd",
            version: "1.0.0",
            success: true,
        }
    }
}

impl Component<'_> {
    /// The component's bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let text = self.text();
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn text(&self) -> String {
        let Self { outer, module, with, last, describe, run, action, version, success } = *self;
        let action_bytes = action.len();
        let success = if success { r#"(export "success" (func $success))"# } else { "" };
        format!(
            r#"(component
  {outer}
  (import "tradewind:plugin/types@{version}" (instance $types
    (type $error-record (record
      (field "code" string) (field "message" string) (field "details" (option string)) (field "retryable" bool)))
    (export "error" (type (eq $error-record)))))
  (import "tradewind:plugin/registry@{version}" (instance $registry
    (export "registrar" (type $registrar (sub resource)))
    (export "declaration" (type $declaration (sub resource)))
    (export "[method]registrar.action"
      (func (param "self" (borrow $registrar)) (param "name" string) (result (own $declaration))))
    (export "[method]declaration.when-changed"
      (func (param "self" (borrow $declaration)) (param "fields" (list string))))))
  (import "tradewind:plugin/actions@{version}" (instance $actions (export "invocation" (type (sub resource)))))
  (alias export $types "error" (type $error))
  (alias export $registry "registrar" (type $registrar))
  (alias export $actions "invocation" (type $invocation))
  (alias export $registry "[method]registrar.action" (func $action))
  (alias export $registry "[method]declaration.when-changed" (func $when-changed))

  (core module $memory
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
    (data (i32.const 16) "\00\00\00\00\40\00\00\00\04\00\00\00")
    (data (i32.const 64) "null")
    (data (i32.const 128) "{action}"))
  (core instance $memory (instantiate $memory))
  (core func $action (canon lower (func $action) (memory (core memory $memory "memory"))))
  (core func $when-changed (canon lower (func $when-changed) (memory (core memory $memory "memory"))))

  (core module $plugin
    (import "host" "action" (func $action (param i32 i32 i32) (result i32)))
    (import "host" "when-changed" (func $when-changed (param i32 i32 i32)))
    (import "memory" "memory" (memory 1))
    {module}
    (global $registrar (mut i32) (i32.const 0))
    (func $declare (result i32) (call $action (global.get $registrar) (i32.const 128) (i32.const {action_bytes})))
    (func $register (drop (call $action (global.get $registrar) (i32.const 128) (i32.const {action_bytes}))))
    (func $describe (export "describe") (param i32) (global.set $registrar (local.get 0)) {describe})
    (func $run (export "run") (param i32 i32 i32) (result i32) {run} (i32.const 16))
    (func $success (export "success") (param i32 i32 i32) (result i32) (i32.const 32)))
  (core instance $plugin (instantiate $plugin
    (with "host" (instance (export "action" (func $action)) (export "when-changed" (func $when-changed))))
    (with "memory" (instance $memory))
    {with}))

  (func $describe (param "registrar" (own $registrar)) (canon lift (core func $plugin "describe")))
  (func $run (param "action" string) (param "call" (own $invocation)) (result (result string (error $error)))
    (canon lift (core func $plugin "run") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (func $success (param "action" string) (param "call" (own $invocation)) (result (result (error $error)))
    (canon lift (core func $plugin "success") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
  (export "describe" (func $describe))
  (export "run" (func $run))
  {success}
  {last}
)"#
        )
    }
}
