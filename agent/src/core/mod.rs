//! The agent as a pure machine: `handle(now, event, &mut effects)`.
//!
//! `session` is the machine itself, `ledger` adopts or refuses programs, `reconcile` turns desired and actual
//! objects into ordered operations, `guard` is the host's own veto, `ownership` answers "is this ours?".

pub mod event;
pub mod kernel;

pub use event::{Effect, Event, LocalAnswer, LocalRequest, Millis};
