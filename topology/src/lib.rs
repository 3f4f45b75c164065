//! Topology files: text in, a checked model out.
//!
//! Pure: no file system, no clock, no network. [`read`] turns the bytes of one file into either a
//! [`Topology`] that needs no further checks, or every problem that stands in its way at once.
//! `import` turns files of other tools into topology files.
//! `yaml` turns text into trees, `documents` makes one of them, `raw` reads the keys that `keys` lists, `templates` adds
//! what kinds and defaults say, `validate` turns it all into `model`, `diagnostic` is how a problem is told to a person.

mod address;
pub mod diagnostic;
mod documents;
mod format;
pub mod import;
mod keys;
mod loopback;
pub mod model;
mod names;
mod overlap;
mod parts;
mod raw;
mod read;
mod render;
mod schema;
mod suggest;
mod templates;
mod units;
mod validate;
mod yaml;

pub use diagnostic::{Code, DIAGNOSTICS_MAX, Diagnostic, Severity};
pub use documents::join;
pub use format::{FormatOptions, Pins, format, format_part, pins};
pub use model::{
    Addressing, CONTROLLERS_IN_REACH, Controller, Demand, Direction, End, External, InterfaceName, Invariant,
    InvariantRule, Link, LinkGroup, LinkIndex, Liveness, Location, Management, Node, NodeIndex, Safety,
    Selector, Share, Sources, Topology, Zone, ZoneIndex,
};
pub use read::{FILE_BYTES_MAX, FILES_MAX, Reading, read, read_all};
pub use schema::{reference, schema};
