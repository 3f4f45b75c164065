//! At most one leader per term (Raft: election safety).

use controller::core::Controller;
use std::collections::BTreeMap;

/// Term -> the replica that led in it.
#[derive(Debug, Default)]
pub struct Leaders(BTreeMap<u64, u64>);

impl Leaders {
    /// Looks at one replica.
    ///
    /// # Errors
    /// Two replicas lead in one term.
    pub fn check(&mut self, id: u64, core: &Controller) -> Result<(), String> {
        if !core.is_leader() {
            return Ok(());
        }
        let first = *self.0.entry(core.term()).or_insert(id);
        if first == id { Ok(()) } else { Err(format!("replicas {first} and {id} both lead in term {}", core.term())) }
    }
}
