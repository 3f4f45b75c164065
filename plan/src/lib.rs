//! Model and facts in, one program per host out.
//!
//! Pure: no file system, no clock, no randomness, the same bytes on every replica and on an engineer's
//! laptop. The road is `graph` -> `paths` -> `backup` -> `class` -> `program` -> `objects`; `digest` names
//! a program, `diff` compares two, `impact` says what a change does to the network, `steps` orders it.

pub mod diff;
pub mod digest;
pub mod facts;
pub mod impact;
pub mod network;
pub mod objects;
pub mod program;
pub mod steps;

pub use digest::Digest;
pub use facts::Facts;
pub use network::{Network, compile};
pub use objects::Objects;
pub use program::{ClassId, PrefixTable, Program};
