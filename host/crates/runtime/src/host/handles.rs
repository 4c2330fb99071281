//! What the handles that plugins hold stand for.

#![expect(unreachable_pub, reason = "the generated bindings re-export these, so they cannot be narrower")]

use crate::session::{ClientShop, PlatformList};

/// What `describe` is handed.
pub struct Registrar;

/// One registered action, by its place in the registration.
pub struct Declaration {
    pub(super) index: usize,
}

/// The one invocation that a store belongs to.
pub struct TheInvocation;

/// The one record that an invocation is about: every handle means the same.
pub struct TheRecord;

/// Where a plugin is in a platform's list.
pub struct Pager {
    pub(super) shop: ClientShop,
    pub(super) list: PlatformList,
    pub(super) at: Place,
}

pub(super) enum Place {
    Start,
    Next(String),
    End,
}
