//! Model and facts in, one program per host out.
//!
//! Pure: no file system, no clock, no randomness, the same bytes on every replica and on an engineer's
//! laptop. The road is `graph` -> `spf` -> `paths` -> `backup` -> `origins` -> `settings` -> `network`, which gives a
//! `program` per host; `incremental` follows changes; `objects` is a program as kernel objects, `digest` names it, `diff`
//! compares two, `forwarding` is what all programs together do; `walk` and `trace` follow packets through it, `check` and
//! `failures` judge it, `load` sends demands through it, `explain` and `what_if` answer questions about it, `impact` says what
//! a change does to the network, `steps` splits it by size, `order` orders it so that nothing loops or is cut off on the way,
//! `proof` checks that; `constrained` finds ways that no program takes.

pub mod backup;
pub mod check;
mod class;
pub mod constrained;
pub mod demands;
pub mod diff;
pub mod digest;
pub mod explain;
pub mod facts;
pub mod failures;
mod forwarding;
mod graph;
pub mod impact;
pub mod incremental;
pub mod load;
pub mod management;
pub mod network;
pub mod objects;
pub mod order;
mod origins;
mod paths;
pub mod program;
pub mod proof;
pub mod reaction;
mod renumber;
mod settings;
pub mod spf;
pub mod steps;
pub mod trace;
pub mod walk;
pub mod what_if;

pub use check::check;
pub use digest::Digest;
pub use facts::Facts;
pub use network::{Network, compile};
pub use objects::Objects;
pub use program::{ClassId, PrefixTable, Program};

#[cfg(test)]
mod tests;
