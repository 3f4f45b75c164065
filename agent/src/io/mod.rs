//! The shell: everything that touches the world. No decision is taken here.

pub mod conn;
pub mod kernel;
pub mod links;
pub mod local;
#[cfg(test)]
pub(crate) mod namespace;
pub mod netlink;
pub mod runtime;
pub mod store;
pub mod thread;
