//! What the replicated state is made of.

use plan::Digest;
use plan::steps::Step;
use std::sync::Arc;
use topology::Topology;
use wire::Generation;
use wire::log::{ChangeState, GuardRecord};
use wire::overrides::Override;

/// An accepted topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IntentRecord {
    pub(crate) revision: u64,
    /// As sent.
    pub(crate) bytes: Arc<Vec<u8>>,
    /// BLAKE3 of `bytes`.
    pub(crate) topology_digest: [u8; 32],
    /// `bytes`, read.
    pub(crate) topology: Arc<Topology>,
    pub(crate) file: String,
    pub(crate) author: String,
    pub(crate) reason: String,
    pub(crate) at_unix_ms: u64,
    pub(crate) change: u64,
    pub(crate) overrides: Option<Override>,
}

/// What began a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// A topology.
    Intent,
    /// A link that went down or came back.
    Failure,
}

/// A change and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChangeRecord {
    pub(crate) number: u64,
    pub(crate) kind: ChangeKind,
    /// Revision that it made, or the head revision when the failure happened.
    pub(crate) revision: u64,
    pub(crate) fact_index: u64,
    pub(crate) author: String,
    pub(crate) reason: String,
    pub(crate) at_unix_ms: u64,
    /// `Proposed`, `Releasing`, `Done` or `Halted`.
    pub(crate) state: ChangeState,
    /// Steps that were released.
    pub(crate) step: u32,
    pub(crate) steps: Vec<Step>,
    pub(crate) detail: String,
    /// Index of its newest release; 0: none.
    pub(crate) release: u64,
    pub(crate) guards: Vec<GuardRecord>,
    pub(crate) evidence: Vec<String>,
    /// With `Failure`.
    pub(crate) link: String,
    pub(crate) down: bool,
    pub(crate) overridden: Vec<String>,
}

impl ChangeRecord {
    /// A change that begins.
    pub(crate) fn new(number: u64, kind: ChangeKind) -> ChangeRecord {
        ChangeRecord {
            number,
            kind,
            revision: 0,
            fact_index: 0,
            author: String::new(),
            reason: String::new(),
            at_unix_ms: 0,
            state: ChangeState::Proposed,
            step: 0,
            steps: Vec::new(),
            detail: String::new(),
            release: 0,
            guards: Vec::new(),
            evidence: Vec::new(),
            link: String::new(),
            down: false,
            overridden: Vec::new(),
        }
    }

    /// Has not reached an end.
    pub(crate) fn runs(&self) -> bool {
        !matches!(self.state, ChangeState::Done | ChangeState::Halted | ChangeState::RolledBack)
    }
}

/// What a host shall run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) revision: u64,
    pub(crate) fact_index: u64,
    pub(crate) generation: Generation,
    pub(crate) digest: Digest,
    /// Of a host that is moved class by class; whole hosts in this version.
    pub(crate) classes_done: Vec<u32>,
}

/// A release as remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReleaseRecord {
    pub(crate) index: u64,
    pub(crate) change: u64,
    /// From 0.
    pub(crate) step: u32,
    /// See `release_digest`.
    pub(crate) digest: Digest,
    /// Outvoted: never served.
    pub(crate) void: bool,
    /// Sorted.
    pub(crate) hosts: Vec<String>,
}

/// What a request with a key came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdempotencyRecord {
    pub(crate) key: String,
    pub(crate) change: u64,
    pub(crate) revision: u64,
    pub(crate) body_digest: [u8; 32],
}

/// A large entry in the making.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChunkRecord {
    pub(crate) id: [u8; 16],
    pub(crate) count: u32,
    /// Those that are there, from the first on.
    pub(crate) parts: Vec<Vec<u8>>,
}

/// An entry that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QuarantineRecord {
    pub(crate) index: u64,
    pub(crate) author: String,
    pub(crate) reason: String,
}
