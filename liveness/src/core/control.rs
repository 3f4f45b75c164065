//! What is said on the control socket: one JSON document a line, both ways.
//!
//! A client says what it wants as a whole, every time; the process answers with all it knows, at once and again after each
//! change. A client that goes away takes nothing with it.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Sessions of one host at most: one for each interface of a large switch.
pub const SESSIONS_MAX: usize = 512;
/// Bytes of a line at most.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// A client's line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Hold these sessions, and tell of every change from now on.
    Watch(Wanted),
    /// Tell once.
    Status,
}

/// All that a client wants. What is not in it leaves through administratively down.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Sessions; the first of those with the same interface and remote address counts.
    pub sessions: Vec<WantedSession>,
}

/// A wanted session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedSession {
    /// Interface name.
    pub interface: String,
    /// Own address on it.
    pub local: IpAddr,
    /// The neighbour's address.
    pub remote: IpAddr,
    /// Between two packets, in both directions, in milliseconds.
    pub interval_ms: u32,
    /// Packets in a row that may be missed.
    pub multiplier: u8,
    /// Waits for the neighbour to begin.
    #[serde(default)]
    pub passive: bool,
}

/// The process's line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// All sessions, sorted by interface and remote address.
    pub sessions: Vec<SessionReport>,
    /// Datagrams that no session took.
    #[serde(default)]
    pub dropped: Dropped,
    /// What the process does without (real-time priority, locked memory), in words.
    #[serde(default)]
    pub lacks: Vec<String>,
}

/// Why datagrams were dropped, and how many, since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// TTL or hop limit other than 255: they did not come from the other end of the link.
    pub far: u64,
    /// No packets that count.
    pub malformed: u64,
    /// For no session of ours.
    pub unknown: u64,
}

/// A session as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionReport {
    /// Interface name.
    pub interface: String,
    /// Own address.
    pub local: IpAddr,
    /// The neighbour's address.
    pub remote: IpAddr,
    /// `admin-down`, `down`, `init` or `up`.
    pub state: String,
    /// Up: true. Was up and then timed out or was signalled down: false. Else nothing is known of the neighbour.
    pub alive: Option<bool>,
    /// One end took it down on purpose.
    pub left: bool,
    /// Why the state changed last.
    pub diagnostic: String,
    /// The same of the other end.
    pub remote_diagnostic: String,
    /// Between two packets sent, in microseconds.
    pub transmit_us: u32,
    /// Silence that makes the neighbour dead, in microseconds; 0: it was not heard yet.
    pub detection_us: u64,
    /// In this state since, in milliseconds.
    pub since_ms: u64,
    /// How often the neighbour was found dead.
    pub failures: u64,
    /// Packets received for it.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Why packets cannot be sent or received at present.
    pub problem: Option<String>,
}
