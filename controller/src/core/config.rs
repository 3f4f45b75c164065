//! What a replica is told before it starts, and why it can refuse to. Reads no file and no environment.

/// Settings of one replica.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its id, from 1.
    pub id: u64,
    /// Ids of all members, itself included; one member is a cluster of one.
    pub peers: Vec<u64>,
    /// The cluster's name; the same on all members.
    pub cluster: String,
    /// Ed25519 public key of the operator (RFC 8032), whose overrides are believed.
    pub operator_key: [u8; 32],
    /// From the shell's randomness, another one at each start: request ids and election times follow from it.
    pub seed: u64,
    /// Length of one Raft tick in milliseconds.
    pub tick_ms: u64,
    /// Ticks without a leader before an election; the real number is drawn from this one to twice of it.
    pub election_ticks: usize,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// The beat that agents are asked for, in milliseconds.
    pub beat_ms: u32,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds of what a replica keeps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A snapshot is taken after so many applied entries.
    pub snapshot_entries: u64,
    /// A snapshot is taken after so many bytes of applied entries.
    pub snapshot_bytes: u64,
    /// Entries that stay behind a snapshot, so that a follower that is a little late needs none.
    pub kept_entries: u64,
    /// Client writes in work at the same time; more are answered `no_leader`.
    pub requests: usize,
    /// Agents' sessions at the same time; more are closed.
    pub sessions: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            snapshot_entries: 1_024,
            snapshot_bytes: 64 << 20,
            kept_entries: 256,
            requests: 1_024,
            sessions: 16_384,
        }
    }
}

impl Config {
    /// Settings with the defaults of a data centre: 50 ms ticks, elections after 0.5 to 1 s, a beat of 500 ms.
    pub fn new(id: u64, peers: Vec<u64>, cluster: &str, operator_key: [u8; 32], seed: u64) -> Config {
        Config {
            id,
            peers,
            cluster: cluster.to_string(),
            operator_key,
            seed,
            tick_ms: 50,
            election_ticks: 10,
            heartbeat_ticks: 2,
            beat_ms: 500,
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// Whether a replica can work with these settings.
    pub(crate) fn check(&self) -> Result<(), StartError> {
        let bad = |why: &str| Err(StartError::Config { id: self.id, why: why.to_string() });
        if self.id == 0 || self.peers.contains(&0) {
            return bad("ids of controllers begin with 1");
        }
        if !self.peers.contains(&self.id) {
            return bad("its id is not among the members: name all of them, itself included");
        }
        let mut sorted = self.peers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != self.peers.len() {
            return bad("a member is named twice");
        }
        if self.heartbeat_ticks == 0 || self.election_ticks <= self.heartbeat_ticks {
            return bad("an election must take more ticks than a heartbeat, and a heartbeat at least one");
        }
        if self.tick_ms == 0 || self.beat_ms == 0 {
            return bad("a tick and a beat take at least one millisecond");
        }
        Ok(())
    }
}

/// Why a replica does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The settings contradict themselves: correct them.
    #[error("the settings of controller {id} cannot work: {why}")]
    Config {
        /// The replica.
        id: u64,
        /// What is wrong and what to do.
        why: String,
    },
    /// What the disk gave back is not a log of ours.
    #[error(
        "the stored log cannot be used: {why}; the other controllers and all hosts carry on without this one: \
         keep the data directory for a look at it, and bring this controller back from a copy of its disk"
    )]
    Stored {
        /// What is wrong.
        why: String,
    },
}
