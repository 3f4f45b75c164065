//! Laws that hold over the whole road from a topology to its programs.

#![allow(clippy::unwrap_used)]

mod checking;
mod drains;
pub(crate) mod fixture;
pub(crate) mod laws;
pub(crate) mod mixtures;
mod origins;
mod render;
mod routing;
mod samples;
