//! The agent's ledger: what is in force, what was confirmed, the fence.

use crate::Generation;
use plan::{Digest, PrefixTable, Program};
use std::sync::Arc;

/// How many former digests are remembered: a return to one of them does not count for the agent's guard.
pub const KNOWN_DIGESTS_MAX: usize = 32;

/// All that an agent must know after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Whose it is.
    pub host: String,
    /// Highest generation ever accepted.
    pub highest: Generation,
    /// The program in force.
    pub running: Option<Kept>,
    /// The newest program under which a round trip to a controller was completed.
    pub confirmed: Option<Kept>,
    /// Digests that were in force, newest first, at most [`KNOWN_DIGESTS_MAX`].
    pub known_digests: Vec<Digest>,
    /// Highest revision for which an override was used: none is used twice.
    pub override_revision_used: u64,
}

/// A program as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its generation.
    pub generation: Generation,
    /// Its revision.
    pub revision: u64,
    /// Its digest.
    pub digest: Digest,
    /// The prefix table.
    pub table: Arc<PrefixTable>,
    /// The host's part.
    pub program: Arc<Program>,
}
