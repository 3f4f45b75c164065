//! The agent as a pure machine: `handle(now, event, &mut effects)`.
//!
//! `session` is the machine itself, `ledger` adopts or refuses programs, `reconcile` turns desired and actual
//! objects into ordered operations, `memory` is what follows from the disk, `confirm` the proof that a controller answers,
//! `hold` what a person on the host holds, `questions` what is asked of the kernel and by whom, `why` one destination, `guard` is the host's own veto, `ownership` answers "is this ours?", `local` answers
//! on the host itself.

pub mod config;
mod confirm;
pub mod damping;
pub mod event;
pub mod features;
pub mod fights;
pub mod guard;
mod health;
pub mod histogram;
pub mod hold;
pub mod kernel;
pub mod ledger;
mod local;
mod memory;
pub mod mirror;
pub mod neighbours;
pub mod ownership;
pub mod provision;
mod questions;
pub mod reconcile;
pub mod repair;
mod report;
mod session;
pub mod states;
pub mod wanted;
pub mod way;
mod why;
mod work;

pub use config::Config;
pub use event::{Effect, Event, LocalAnswer, LocalRequest, Millis};
pub use hold::{Act, Verb};
pub use session::Agent;
pub use way::{Way, WayRoute};
pub use why::destination;

#[cfg(test)]
mod tests;
