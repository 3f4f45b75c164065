//! A topology file as network namespaces on this machine, and packet probes between its hosts.

pub mod probe;
