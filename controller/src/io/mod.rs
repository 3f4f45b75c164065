//! The shell: everything that touches the world. No decision is taken here.

pub mod agents;
pub mod compute;
pub mod disk;
pub mod metrics;
pub mod peers;
pub mod problem;
pub mod rest;
pub mod runtime;
pub mod secrets;
