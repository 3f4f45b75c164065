//! Liveness as pure machines: bytes, time and wishes come in, packets and verdicts go out.
//!
//! `packet` is the format, `session` one session's state machine, `sessions` all of a host with their demultiplexing,
//! `control` what a client of the process says and hears. No clock, no randomness, no socket, no task.

pub mod control;
pub mod packet;
pub mod session;
pub mod sessions;

/// Monotonic microseconds since the process started. Never a wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub u64);

impl Micros {
    /// So many microseconds later.
    #[must_use]
    pub fn after(self, us: u64) -> Micros {
        Micros(self.0.saturating_add(us))
    }
}
