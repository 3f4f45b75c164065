//! Topology files: text in, a checked model out.
//!
//! Pure: no file system, no clock, no network. [`read`] turns the bytes of one file into either a
//! [`Topology`] that needs no further checks, or every problem that stands in its way at once.
//! `raw` is the shape of the YAML, `validate` turns it into `model`, `diagnostic` is how a problem
//! is told to a person.

pub mod diagnostic;
pub mod model;
mod raw;
mod read;
mod validate;

pub use diagnostic::{Code, Diagnostic, Severity};
pub use model::{
    Addressing, Direction, End, InterfaceName, Link, LinkIndex, Management, Node, NodeIndex, Safety, Share,
    Topology, Zone, ZoneIndex,
};
pub use read::{FILE_BYTES_MAX, Reading, read};
