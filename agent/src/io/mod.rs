//! The shell: everything that touches the world. No decision is taken here.

pub mod conn;
pub mod kernel;
pub mod links;
pub mod liveness;
pub mod local;
pub mod lock;
pub mod lookup;
pub mod marker;
#[cfg(test)]
pub(crate) mod namespace;
pub mod netlink;
pub mod netns;
pub mod notify;
pub mod preflight;
pub mod privilege;
pub mod runtime;
pub mod store;
pub mod thread;
