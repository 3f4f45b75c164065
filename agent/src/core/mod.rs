//! The agent as a pure machine: `handle(now, event, &mut effects)`.
//!
//! `session` is the machine itself, `ledger` adopts or refuses programs, `reconcile` turns desired and actual
//! objects into ordered operations, `guard` is the host's own veto, `ownership` answers "is this ours?", `local` answers
//! on the host itself.

pub mod config;
pub mod event;
pub mod guard;
pub mod kernel;
pub mod ledger;
mod local;
pub mod ownership;
pub mod reconcile;
mod session;

pub use config::Config;
pub use event::{Effect, Event, LocalAnswer, LocalRequest, Millis};
pub use session::Agent;

#[cfg(test)]
mod tests;
