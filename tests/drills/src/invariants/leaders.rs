//! At most one leader per term (Raft: election safety).

use crate::world::leads;
use std::collections::BTreeMap;
use wire::rest::Status;

/// Term -> the replica that led in it.
#[derive(Debug, Default)]
pub(super) struct Leaders(BTreeMap<u64, u64>);

impl Leaders {
    /// Looks at one replica.
    ///
    /// # Errors
    /// Two replicas lead in one term.
    pub(super) fn check(&mut self, status: &Status) -> Result<(), String> {
        let (id, term) = (status.controller, status.term);
        if !leads(status) {
            return Ok(());
        }
        let first = *self.0.entry(term).or_insert(id);
        if first == id { Ok(()) } else { Err(format!("replicas {first} and {id} both lead in term {term}")) }
    }
}
