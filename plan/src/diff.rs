//! Two programs of a host compared, object by object.

use crate::Objects;

/// What turns one set of objects into another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Objects that only the new side has, and new values of objects that both have.
    pub upsert: Objects,
    /// Objects that only the old side has, with their old values. (Sysctls and MTUs are never removed: a
    /// setting that no program names any more keeps its value.)
    pub remove: Objects,
}

/// Computes `new - old`.
pub fn diff(old: &Objects, new: &Objects) -> Diff {
    let _ = (old, new);
    panic!("not yet")
}

impl Diff {
    /// Number of NEW and DEL object messages that an agent sends for it (a changed object is one message).
    pub fn writes(&self) -> usize {
        panic!("not yet")
    }
}
