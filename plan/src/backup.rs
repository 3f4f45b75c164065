//! Where packets go when a host's only next hop is gone, before anybody has computed anything new.
//!
//! The kernel deletes the next hops of a device that loses its carrier. A group over several devices sheds
//! the leg and lives; a group on one device goes, with all its routes, and the kernel falls to a second
//! route at a worse metric if there is one. So a backup is only looked for where there is exactly one next
//! hop. `alternates` chooses loop-free alternates (RFC 5286): programs carry them. `detours` finds for the
//! rest ways that need forwarding by the incoming interface, `bypasses` leads what is left through tunnels: both
//! are computed and reported, no program carries them yet. `faults` knows what fails together and whether a choice could come back to its host;
//! `coverage` counts. See docs/decisions/0009.

mod alternates;
mod bypasses;
mod coverage;
mod detours;
mod faults;
mod follow;

pub(crate) use alternates::alternates;
pub use coverage::{Coverage, Entry, Kind, Unprotected, coverage};
pub(crate) use faults::Risks;
pub(crate) use follow::{Choice, Marks, follow, follow_cut_off};

#[cfg(test)]
mod tests;
