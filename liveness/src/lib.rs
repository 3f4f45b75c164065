//! Whether the neighbour at the other end of a link is alive: BFD (RFC 5880, RFC 5881) in a small process of its own, so
//! that an agent's restart is no departure for the neighbours.
//!
//! It never touches routes, and never concludes anything for the agent: it reports.

pub mod core;
pub mod io;
