//! Entries of the replicated log.

use crate::overrides::Override;
use plan::Digest;
use plan::impact::Verdict;

/// Largest entry that is proposed in one piece; a larger one is cut into [`Command::Chunk`]s.
pub const ENTRY_BYTES_MAX: usize = 512 << 10;
/// Largest entry in all.
pub const ENTRY_BYTES_TOTAL_MAX: usize = 64 << 20;

/// Names one request for ever: its reply is matched by it, on whatever replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub [u8; 16]);

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which request made it.
    pub request_id: RequestId,
    /// The client's key: the same key is applied once. Empty: none.
    pub idempotency_key: String,
    /// Who.
    pub author: String,
    /// Wall clock of the proposer, for people only.
    pub at_unix_ms: u64,
    /// What.
    pub command: Command,
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// First entry of a cluster.
    Found {
        /// Incarnation to begin with.
        incarnation: u64,
        /// The cluster's name.
        cluster: String,
        /// Ed25519 public key of the operator, 32 bytes.
        operator_key: Vec<u8>,
    },
    /// A topology becomes the newest intent.
    Intent(Intent),
    /// Something about the data plane is believed.
    Fact(Fact),
    /// Programs are released to hosts.
    Release(Release),
    /// A release that was outvoted is void.
    Void {
        /// Its index.
        release: u64,
        /// Why.
        reason: String,
    },
    /// A change reached an end.
    Progress {
        /// Its number.
        change: u64,
        /// The state.
        state: ChangeState,
        /// Why, for `Halted`.
        reason: String,
    },
    /// Agents were seen with a generation of a later incarnation than ours.
    RaiseIncarnation {
        /// The new incarnation is above this.
        above: u64,
        /// What was seen.
        reason: String,
    },
    /// A part of a large entry.
    Chunk {
        /// Same for all parts.
        id: [u8; 16],
        /// From 0.
        index: u32,
        /// Number of parts.
        count: u32,
        /// Bytes of an encoded [`Entry`].
        data: Vec<u8>,
    },
}

/// A new topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Head revision on which the guards were judged.
    pub base_revision: u64,
    /// Head revision that the client demanded.
    pub expected_revision: Option<u64>,
    /// The file's bytes, as sent.
    pub topology: Vec<u8>,
    /// The file's name, for diagnostics.
    pub file: String,
    /// Why.
    pub reason: String,
    /// How the guards judged.
    pub guards: Vec<GuardRecord>,
    /// The operator's word.
    pub overrides: Option<Override>,
}

/// A guard's verdict as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardRecord {
    /// Its name.
    pub guard: String,
    /// What the change does.
    pub value: u64,
    /// What it may do.
    pub limit: u64,
    /// Whether it passed.
    pub ok: bool,
}

impl From<&Verdict> for GuardRecord {
    fn from(verdict: &Verdict) -> GuardRecord {
        let Verdict { guard, value, limit, ok } = *verdict;
        GuardRecord { guard: guard.to_string(), value, limit, ok }
    }
}

/// A link went down or came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The link's id.
    pub link: String,
    /// Down, or back.
    pub down: bool,
    /// Who said so, for people.
    pub evidence: Vec<String>,
    /// Index of the facts on which `release` was computed.
    pub base_fact_index: u64,
    /// Index of the newest release on which `release` was computed.
    pub base_release_index: u64,
    /// What is released with it; `None`: no program changes.
    pub release: Option<Release>,
}

/// Programs for hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Number of the change; 0 inside a fact, which makes its own change.
    pub change: u64,
    /// Position of the step, from 0.
    pub step: u32,
    /// All steps of the change, with step 0; empty otherwise.
    pub steps: Vec<plan::steps::Step>,
    /// (host, revision, digest), sorted by host.
    pub hosts: Vec<Assigned>,
    /// Index of the newest release on which it was computed.
    pub base_release_index: u64,
}

/// One host's share of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The host.
    pub host: String,
    /// Revision that its program is made from.
    pub revision: u64,
    /// Digest of its program.
    pub digest: Digest,
}

/// State of a change, as in the REST interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// In the log.
    Proposed,
    /// Steps are known.
    Planned,
    /// A second person agreed.
    Approved,
    /// A step's release is in the log.
    Releasing,
    /// Waiting for the step's hosts.
    Acknowledging,
    /// Waiting for probes.
    Probing,
    /// Waiting out the step's bake time.
    Baking,
    /// All hosts run it.
    Done,
    /// Stopped; hosts stay as they are.
    Halted,
    /// Being undone.
    RollingBack,
    /// Undone.
    RolledBack,
}
