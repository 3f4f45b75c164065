//! One replica of the Ballast controller.
//!
//! `core` decides: events in, effects out, no clock, no socket, no task. `io` is the thin shell around it:
//! disk, peers, agents, REST. `main.rs` wires them.

pub mod core;
pub mod io;
