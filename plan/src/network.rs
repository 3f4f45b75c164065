//! Compiling: a topology and the facts about it to one program per host.

use crate::{Digest, Facts, PrefixTable, Program};
use std::sync::Arc;
use topology::Topology;

/// The programs of all hosts under one topology and one set of facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The table that all programs share.
    pub table: Arc<PrefixTable>,
    /// `table.digest()`.
    pub table_digest: Digest,
    /// One per node, sorted by host name.
    pub programs: Vec<Arc<Program>>,
    /// Whole-program digests, in the order of `programs`.
    pub digests: Vec<Digest>,
}

impl Network {
    /// The program and digest of `host`.
    pub fn host(&self, host: &str) -> Option<(&Arc<Program>, Digest)> {
        let at = self.programs.binary_search_by(|program| program.host.as_str().cmp(host)).ok()?;
        Some((&self.programs[at], self.digests[at]))
    }
}

/// Computes all programs. Total: any checked topology compiles.
pub fn compile(topology: &Topology, facts: &Facts) -> Network {
    let _ = (topology, facts);
    panic!("not yet")
}
