//! The agent: makes one host's kernel hold the host's program, and says what it holds.
//!
//! `core` decides: events in, effects out, no clock, no socket, no task. `io` is the thin shell around it:
//! netlink, links, the store on disk, the connection to controllers, the local socket. `main.rs` wires them.

pub mod core;
pub mod io;
