//! A topology file as network namespaces on this machine: hosts, cables, a management network apart, certificates,
//! controllers and agents as real processes; and packet probes between the hosts.
//!
//! Nothing of a lab is in the root namespace but the names of its namespaces and listening sockets on loopback.

pub mod certificates;
pub mod echo;
pub mod in_band;
mod ip;
pub mod lab;
pub mod names;
pub mod probe;
mod process;
pub mod record;

pub use crate::lab::{Binaries, End, Lab, Options};
pub use crate::process::Process;
