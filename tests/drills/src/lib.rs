//! A deterministic simulator around the real cores of controller and agent.
//!
//! One thread, one seeded event heap, virtual time, no async runtime. Everything between the cores goes through
//! `wire`'s bytes. Doubles stand only at the edge: network, disk, kernel, clock. A seed replays to the same trace, event
//! for event.

pub mod disk;
pub mod heap;
pub mod invariants;
pub mod kernel;
pub mod random;
pub mod world;
