//! All inputs and all outputs of the core: the one place to read what a replica can be told and can do.

use plan::{Facts, Network};
use std::sync::Arc;
use topology::Topology;
use wire::agent::{ToAgent, ToController};
use wire::log::RequestId;
use wire::peer::{ClientAnswer, ClientRequest, PeerMessage};

/// Monotonic milliseconds since the process started. Never a wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

/// Names one agent's stream on this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentSession(pub u64);

/// Names one computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// What a replica is told.
#[derive(Debug)]
pub enum Event {
    /// Time passed (at least every 10 ms; the core counts Raft ticks itself by `now`).
    Tick {
        /// Wall clock, for entries' `at_unix_ms` alone.
        unix_ms: u64,
    },
    /// A peer's message.
    Peer(PeerMessage),
    /// The connection to a peer was refused or broke: it may be dead.
    PeerLost {
        /// Its id.
        peer: u64,
    },
    /// Everything up to and including this [`Persist::number`] is on disk.
    Persisted {
        /// The newest finished one.
        number: u64,
    },
    /// A computation is done.
    Computed {
        /// Which.
        job: JobId,
        /// The programs.
        network: Arc<Network>,
    },
    /// An agent's stream began; its certificate names the host.
    AgentOpened {
        /// The stream.
        session: AgentSession,
        /// The host that the certificate names.
        host: String,
    },
    /// An agent's message.
    Agent {
        /// The stream.
        session: AgentSession,
        /// What it says.
        message: ToController,
    },
    /// An agent's stream ended.
    AgentClosed {
        /// The stream.
        session: AgentSession,
    },
    /// A client's request.
    Request(Request),
}

/// A client's request.
#[derive(Debug)]
pub struct Request {
    /// Unique; made by the shell from randomness.
    pub id: RequestId,
    /// What is asked.
    pub body: RequestBody,
}

/// What is asked.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time on its way through a channel")]
pub enum RequestBody {
    /// Goes through the leader and the log.
    Write(ClientRequest),
    /// Answered from this replica's applied state.
    Read(ReadRequest),
}

/// A read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadRequest {
    /// The newest topology's text.
    Topology,
    /// All changes that are kept.
    Changes,
    /// One change.
    Change(u64),
    /// The replica's and the cluster's state.
    Status,
    /// All hosts.
    Hosts,
    /// One host.
    Host(String),
    /// The program assigned to a host.
    Program(String),
    /// All links.
    Links,
    /// Paths between two nodes under the newest topology and facts.
    Paths {
        /// From.
        from: String,
        /// To.
        to: String,
    },
}

/// Answer to a read.
#[derive(Clone, Debug, PartialEq)]
pub enum ReadAnswer {
    /// The text, its file name and its revision.
    Topology {
        /// Bytes as they were sent.
        bytes: Arc<Vec<u8>>,
        /// Name as it was sent.
        file: String,
        /// The revision.
        revision: u64,
    },
    /// See `wire::rest`.
    Changes(wire::rest::Changes),
    /// See `wire::rest`.
    Change(wire::rest::Change),
    /// See `wire::rest`; the shell fills in `memory_bytes`.
    Status(wire::rest::Status),
    /// See `wire::rest`.
    Hosts(wire::rest::Hosts),
    /// See `wire::rest`.
    Host(wire::rest::Host),
    /// See `wire::rest`.
    Program(wire::rest::ProgramDocument),
    /// See `wire::rest`.
    Links(wire::rest::Links),
    /// See `wire::rest`.
    Paths(wire::rest::Paths),
    /// No such thing (yet), in words.
    NotFound(String),
}

/// Answer to a request.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one at a time on its way through a channel")]
pub enum Reply {
    /// To a write.
    Write(ClientAnswer),
    /// To a read.
    Read(ReadAnswer),
}

/// What a replica does.
#[derive(Debug)]
pub enum Effect {
    /// Send to a peer; may be lost.
    SendPeer {
        /// Its id.
        to: u64,
        /// The message.
        message: PeerMessage,
    },
    /// Write to the log; answered by [`Event::Persisted`], in order.
    Persist(Persist),
    /// Forget the log up to and including `index`; a snapshot of it is already handed over by `Persist`.
    Compact {
        /// The last entry to forget.
        index: u64,
    },
    /// Compute programs; answered by [`Event::Computed`].
    Compute(ComputeJob),
    /// Send to an agent. Only the newest offer of a session matters.
    SendAgent {
        /// The stream.
        session: AgentSession,
        /// The message.
        message: ToAgent,
    },
    /// End an agent's stream.
    CloseAgent {
        /// The stream.
        session: AgentSession,
        /// Why.
        reason: String,
    },
    /// Answer a request.
    Reply {
        /// Which.
        id: RequestId,
        /// The answer.
        reply: Reply,
    },
}

/// Something for the disk. Parts are written in the order clearing, snapshot, entries, hard state, then synced
/// once.
#[derive(Debug)]
pub struct Persist {
    /// Number to confirm; grows.
    pub number: u64,
    /// All stored entries are forgotten first: the snapshot came from the leader and takes their place, those
    /// with a higher index too. In one atomic write with the snapshot.
    pub clear_entries: bool,
    /// Replaces everything before it: (index, term, encoded `wire::snapshot`, encoded raft ConfState).
    pub snapshot: Option<StoredSnapshot>,
    /// raft-rs entries, encoded; they replace stored ones from the first index on.
    pub entries: Vec<StoredEntry>,
    /// raft-rs hard state, encoded.
    pub hard_state: Option<Vec<u8>>,
    /// False: no fsync is needed before confirming.
    pub sync: bool,
}

/// A raft-rs entry as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Raft index.
    pub index: u64,
    /// raft-rs `Entry`, encoded.
    pub bytes: Vec<u8>,
}

/// A snapshot as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSnapshot {
    /// Raft index.
    pub index: u64,
    /// Raft term at that index.
    pub term: u64,
    /// raft-rs `ConfState`, encoded.
    pub conf_state: Vec<u8>,
    /// `wire::snapshot` bytes.
    pub data: Vec<u8>,
}

/// What a disk gives back at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredState {
    /// Newest snapshot.
    pub snapshot: Option<StoredSnapshot>,
    /// Entries after it, without gaps.
    pub entries: Vec<StoredEntry>,
    /// Hard state.
    pub hard_state: Option<Vec<u8>>,
}

/// A computation.
#[derive(Clone, Debug)]
pub struct ComputeJob {
    /// Its name.
    pub job: JobId,
    /// The topology.
    pub topology: Arc<Topology>,
    /// The facts.
    pub facts: Facts,
}
