//! What the shell tells an agent before its life begins.

use std::net::IpAddr;

/// Settings of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The host's name, as in the topology.
    pub host: String,
    /// The agent's version, for people.
    pub version: String,
    /// The operator's Ed25519 public key; without one no override is accepted.
    pub operator_key: Option<[u8; 32]>,
    /// Routes that a program may have without the operator's word.
    pub routes_max: u64,
    /// Addresses of the controllers; no program moves the way to them.
    pub controllers: Vec<IpAddr>,
    /// Between two beats, until a controller wants another, in milliseconds.
    pub beat_ms: u64,
    /// Between two full audits of the kernel, in milliseconds.
    pub audit_ms: u64,
    /// Between two readings that kernel events ask for, in milliseconds.
    pub audit_ms_min: u64,
    /// What was found on the host before the start; said in the status.
    pub warnings: Vec<Warning>,
}

/// Something on the host that gets into the way of the agent's routes, or of packets that take them.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Warning {
    /// What it is: `systemd-networkd`, `rp_filter`.
    pub name: String,
    /// What it does, in words.
    pub text: String,
    /// What to change, and where.
    pub setting: String,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            host: String::new(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            operator_key: None,
            routes_max: crate::core::guard::MAX_ROUTES_DEFAULT,
            controllers: Vec::new(),
            beat_ms: 500,
            audit_ms: 60_000,
            audit_ms_min: 50,
            warnings: Vec::new(),
        }
    }
}
