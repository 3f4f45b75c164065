//! One binary for all tests that need more than one crate.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints why it was skipped"
)]

mod agent_mutations;
mod agent_process;
mod backups;
mod cli;
mod format;
mod igp;
mod import;
mod import_counts;
mod in_band;
mod judged;
mod lab_local;
mod lab_main;
mod lab_verbs;
mod liveness;
mod packaging;
mod rest;
mod tidy;
mod world;
