//! The shell: sockets, clock, signals, priority. No decision about a neighbour is taken here.

pub mod client;
mod clients;
mod priority;
pub mod runtime;
mod sockets;
