//! Equal index, equal state: two replicas that applied the same log prefix have the same state digest.

use std::collections::BTreeMap;
use wire::rest::Status;

/// Applied index -> the state digest that was seen there first, and by whom.
#[derive(Debug, Default)]
pub(super) struct Digests(BTreeMap<u64, (String, u64)>);

impl Digests {
    /// Looks at one replica.
    ///
    /// # Errors
    /// Its state differs from another replica's at the same index.
    pub(super) fn check(&mut self, status: &Status) -> Result<(), String> {
        let (id, applied, digest) = (status.controller, status.applied, &status.state_digest);
        let (first, by) = self.0.entry(applied).or_insert_with(|| (digest.clone(), id));
        if first == digest {
            return Ok(());
        }
        Err(format!("replicas {by} and {id} applied up to {applied} and differ: {first} and {digest}"))
    }
}
