//! Messages between controllers.

use crate::agent::ToController;
use crate::log::RequestId;
use crate::overrides::Override;
use plan::Digest;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerMessage {
    /// Id of the sender.
    pub from: u64,
    /// What it says.
    pub body: PeerBody,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerBody {
    /// A raft-rs message in its own encoding.
    Raft(Vec<u8>),
    /// What the sender computed for a release.
    Vote {
        /// Raft index of the release.
        release: u64,
        /// Digest over the release's hosts and their program digests, as the sender computed them.
        digest: Digest,
    },
    /// A write on its way to the leader.
    Forward {
        /// The request.
        request_id: RequestId,
        /// What is asked.
        request: ClientRequest,
    },
    /// The leader's answer, where no log entry carries it.
    ForwardReply {
        /// The request.
        request_id: RequestId,
        /// The answer.
        answer: ClientAnswer,
    },
    /// What a host's agent said to the sender; soft state.
    Observation {
        /// The host.
        host: String,
        /// Whether its session with the sender lives.
        connected: bool,
        /// Its last message; `None` when only the session changed.
        message: Option<ToController>,
    },
}

/// A client's write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientRequest {
    /// Who.
    pub author: String,
    /// Empty: none.
    pub idempotency_key: String,
    /// What.
    pub body: ClientBody,
}

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientBody {
    /// Make a topology the newest intent.
    PutTopology {
        /// The file's bytes.
        topology: Vec<u8>,
        /// The file's name.
        file: String,
        /// Why.
        reason: String,
        /// Head revision that the client saw.
        expected_revision: Option<u64>,
        /// Only say what would happen.
        dry_run: bool,
        /// The operator's word.
        overrides: Option<Override>,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAnswer {
    /// `accepted`, `dry_run`, or a problem's stable code (see `rest::Problem`).
    pub code: String,
    /// Number of the change.
    pub change: u64,
    /// Revision that it made; for a stale writer the head revision.
    pub revision: u64,
    /// For people.
    pub detail: String,
    /// With a guard's refusal.
    pub guard: Option<crate::log::GuardRecord>,
    /// JSON, where the answer carries a document (dry run, diagnostics).
    pub body: Vec<u8>,
}
