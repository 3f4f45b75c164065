//! Equal index, equal state: two replicas that applied the same log prefix have the same state digest.

use controller::core::Controller;
use plan::Digest;
use std::collections::BTreeMap;

/// Applied index -> the state digest that was seen there first, and by whom.
#[derive(Debug, Default)]
pub struct Digests {
    seen: BTreeMap<u64, (Digest, u64)>,
    last: BTreeMap<u64, u64>,
}

impl Digests {
    /// Looks at one replica.
    ///
    /// # Errors
    /// Its state differs from another replica's at the same index.
    pub fn check(&mut self, id: u64, core: &Controller) -> Result<(), String> {
        let applied = core.applied();
        if self.last.insert(id, applied) == Some(applied) {
            return Ok(());
        }
        let digest = core.state_digest();
        let (first, by) = *self.seen.entry(applied).or_insert((digest, id));
        if first == digest {
            return Ok(());
        }
        Err(format!("replicas {by} and {id} applied up to {applied} and differ: {first} and {digest}"))
    }
}
