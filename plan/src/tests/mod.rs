//! Laws that hold over the whole road from a topology to its programs.

#![allow(clippy::unwrap_used)]

mod laws;
mod routing;
