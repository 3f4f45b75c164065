//! Messages between controllers.

use crate::DecodeError;
use crate::agent::{ToController, read_override, write_override};
use crate::convert::Format;
use crate::log::{RequestId, read_guard, write_guard};
use crate::overrides::Override;
use crate::proto::replica::v1 as proto;
use plan::Digest;
use prost::Message;

/// Version of this protocol.
pub const PROTOCOL: u32 = 1;

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

const PEER: Format = Format("peer message");

impl PeerMessage {
    /// Bytes of protocol version 1.
    pub fn encode(&self) -> Vec<u8> {
        proto::PeerMessage::from(self).encode_to_vec()
    }

    /// Reads what [`PeerMessage::encode`] writes.
    ///
    /// # Errors
    /// The bytes are not such a message, or of a newer protocol.
    pub fn decode(bytes: &[u8]) -> Result<PeerMessage, DecodeError> {
        PEER.message::<proto::PeerMessage>(bytes)?.try_into()
    }
}

impl From<&PeerMessage> for proto::PeerMessage {
    fn from(message: &PeerMessage) -> proto::PeerMessage {
        use proto::peer_message::Body;
        let body = match &message.body {
            PeerBody::Raft(bytes) => Body::Raft(bytes.clone()),
            PeerBody::Vote { release, digest } => {
                Body::Vote(proto::DigestVote { release: *release, digest: digest.0.to_vec() })
            }
            PeerBody::Forward { request_id, request } => Body::Forward(proto::Forward {
                request_id: request_id.0.to_vec(),
                request: write_request(request).encode_to_vec(),
            }),
            PeerBody::ForwardReply { request_id, answer } => Body::ForwardReply(proto::ForwardReply {
                request_id: request_id.0.to_vec(),
                answer: write_answer(answer).encode_to_vec(),
            }),
            PeerBody::Observation { host, connected, message } => Body::Observation(proto::Observation {
                host: host.clone(),
                connected: *connected,
                message: message.as_ref().map(Into::into),
            }),
        };
        proto::PeerMessage { version: PROTOCOL, from: message.from, body: Some(body) }
    }
}

impl TryFrom<proto::PeerMessage> for PeerMessage {
    type Error = DecodeError;

    fn try_from(message: proto::PeerMessage) -> Result<PeerMessage, DecodeError> {
        use proto::peer_message::Body;
        PEER.version(message.version, PROTOCOL)?;
        let body = match PEER.need(message.body, "its body")? {
            Body::Raft(bytes) => PeerBody::Raft(bytes),
            Body::Vote(vote) => {
                PeerBody::Vote { release: vote.release, digest: PEER.digest(&vote.digest, "vote.digest")? }
            }
            Body::Forward(forward) => PeerBody::Forward {
                request_id: RequestId(PEER.array(&forward.request_id, "forward.request_id")?),
                request: read_request(PEER.message(&forward.request)?)?,
            },
            Body::ForwardReply(reply) => PeerBody::ForwardReply {
                request_id: RequestId(PEER.array(&reply.request_id, "reply.request_id")?),
                answer: read_answer(PEER.message(&reply.answer)?),
            },
            Body::Observation(observation) => PeerBody::Observation {
                host: observation.host,
                connected: observation.connected,
                message: observation.message.map(TryInto::try_into).transpose()?,
            },
        };
        Ok(PeerMessage { from: message.from, body })
    }
}

fn write_request(request: &ClientRequest) -> proto::ClientRequest {
    let ClientBody::PutTopology { topology, file, reason, expected_revision, dry_run, overrides } =
        request.body.clone();
    let put = proto::PutTopology {
        topology,
        file,
        reason,
        has_expected_revision: expected_revision.is_some(),
        expected_revision: expected_revision.unwrap_or(0),
        dry_run,
        r#override: overrides.as_ref().map(write_override),
    };
    proto::ClientRequest {
        author: request.author.clone(),
        idempotency_key: request.idempotency_key.clone(),
        body: Some(proto::client_request::Body::PutTopology(put)),
    }
}

fn read_request(request: proto::ClientRequest) -> Result<ClientRequest, DecodeError> {
    let proto::client_request::Body::PutTopology(put) = PEER.need(request.body, "the request's body")?;
    let body = ClientBody::PutTopology {
        topology: put.topology,
        file: put.file,
        reason: put.reason,
        expected_revision: put.has_expected_revision.then_some(put.expected_revision),
        dry_run: put.dry_run,
        overrides: put.r#override.map(|word| read_override(PEER, word)).transpose()?,
    };
    Ok(ClientRequest { author: request.author, idempotency_key: request.idempotency_key, body })
}

fn write_answer(answer: &ClientAnswer) -> proto::ClientAnswer {
    let guard = answer.guard.as_ref().map(write_guard).unwrap_or_default();
    proto::ClientAnswer {
        code: answer.code.clone(),
        change: answer.change,
        revision: answer.revision,
        detail: answer.detail.clone(),
        guard: guard.guard,
        guard_value: guard.value,
        guard_limit: guard.limit,
        body: answer.body.clone(),
    }
}

/// A guard in an answer is one that refused.
fn read_answer(answer: proto::ClientAnswer) -> ClientAnswer {
    let proto::ClientAnswer { code, change, revision, detail, guard, guard_value, guard_limit, body } =
        answer;
    let guard = (!guard.is_empty())
        .then(|| read_guard(proto::GuardRecord { guard, value: guard_value, limit: guard_limit, ok: false }));
    ClientAnswer { code, change, revision, detail, guard, body }
}
