//! The agent protocol as values: what an agent says to a controller and the other way round.

use crate::Generation;
use crate::overrides::Override;
use plan::{Digest, PrefixTable, Program};
use std::sync::Arc;

/// Version of this protocol.
pub const PROTOCOL: u32 = 1;

/// What an agent runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Generation of the program in force.
    pub generation: Generation,
    /// Revision of the topology that it was made from.
    pub revision: u64,
    /// The program's digest.
    pub digest: Digest,
    /// Digest of the prefix table.
    pub table_digest: Digest,
    /// Digest of program and overlay as read back from the kernel; equal to `digest` when the kernel holds
    /// the program and nothing is missing.
    pub effective_digest: Digest,
}

/// Agent to controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToController {
    /// First message of a session.
    Hello(Hello),
    /// On a fixed beat.
    Beat(Beat),
    /// Answer to an offer.
    Ack(Ack),
    /// Links changed; all links of the host, sent at once.
    Links(Vec<LinkState>),
}

/// First message of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The host's name.
    pub host: String,
    /// The agent's version.
    pub version: String,
    /// What is in force; `None`: no program yet.
    pub held: Option<Held>,
    /// Highest generation ever accepted.
    pub highest: Generation,
}

/// Sent on a fixed beat, whatever happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// What is in force.
    pub held: Option<Held>,
    /// Highest generation ever accepted.
    pub highest: Generation,
    /// All links of the host, with counters.
    pub links: Vec<LinkState>,
    /// Objects of the program by state.
    pub objects: ObjectCounts,
    /// Object messages sent to the kernel since the agent started.
    pub writes_total: u64,
    /// Milliseconds since the kernel was last read.
    pub applied_age_ms: u64,
    /// Pinned by a local command.
    pub pinned: bool,
    /// Frozen by a local command.
    pub frozen: bool,
}

/// One interface as its host sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Interface name.
    pub interface: String,
    /// Up and with carrier.
    pub carrier: bool,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
}

/// Objects of the program in force, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectCounts {
    /// In the kernel as they should be.
    pub installed: u64,
    /// Waiting for a link, an address or another object.
    pub pending: u64,
    /// Refused by the kernel.
    pub refused: u64,
}

/// Answer to an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The offer's generation.
    pub generation: Generation,
    /// The offer's digest.
    pub digest: Digest,
    /// What came of it.
    pub outcome: Outcome,
    /// What the kernel holds now.
    pub effective_digest: Option<Digest>,
    /// Objects that are not installed.
    pub failures: Vec<ObjectFailure>,
    /// Object messages sent to the kernel for this offer.
    pub writes: u64,
}

/// What came of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The kernel holds the program, but for objects that wait for a dead link.
    Applied,
    /// Same digest as before: the generation was adopted, nothing was written.
    Unchanged,
    /// Older than what this host accepted before.
    Stale {
        /// The fence.
        highest: Generation,
    },
    /// Same generation, other digest.
    Conflict,
    /// The agent's own guard said no.
    RefusedByGuard {
        /// Its name.
        guard: String,
        /// What the program would do.
        value: u64,
        /// What it may do.
        limit: u64,
    },
    /// The program has parts that this agent cannot install.
    Unsupported {
        /// Which.
        detail: String,
    },
    /// The kernel refused objects (listed in `failures`).
    Failed,
    /// The offer left the table out and the agent does not hold it.
    NeedTable,
}

/// One object that is not installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectFailure {
    /// The object in words: `route 10.1.0.0/24 metric 100`.
    pub object: String,
    /// The kernel's own text with the errno, or what the object waits for.
    pub reason: String,
    /// Waits for an event that can cure it.
    pub pending: bool,
}

/// Controller to agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToAgent {
    /// Answer to `Hello`.
    Welcome {
        /// Id of the controller.
        controller: u64,
        /// The beat that it wants, in milliseconds.
        beat_ms: u32,
    },
    /// A program.
    Offer(Box<Offer>),
    /// The controller's half of the beat.
    Pulse {
        /// What this host is assigned.
        assigned: Option<(Generation, Digest)>,
    },
}

/// A program with its right to be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Generation of the release.
    pub generation: Generation,
    /// Revision of the topology.
    pub revision: u64,
    /// The program's digest.
    pub digest: Digest,
    /// Digest of the prefix table.
    pub table_digest: Digest,
    /// The prefix table; `None` when the agent holds it already.
    pub table: Option<Arc<PrefixTable>>,
    /// The host's part.
    pub program: Arc<Program>,
    /// Commit-confirm is armed.
    pub unconfirmed: bool,
    /// Routes that may go beyond the agent's own guard; 0: none.
    pub allowed_removals: u64,
    /// The operator's signed word for a refused change.
    pub overrides: Option<Override>,
}
