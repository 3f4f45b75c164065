//! The replica as a pure machine: `handle(now, event, &mut effects)`.
//!
//! `state` is what the log makes (apply, digest, snapshot), `replica` drives raft-rs, `fleet` turns what
//! agents say into facts, `change` plans, guards, steps and gates. None of them knows a clock, a random
//! generator, a socket or a task: the shell in `io` and the simulator in `tests/drills` run the same code.

pub mod event;

pub use event::{
    AgentSession, ComputeJob, Effect, Event, JobId, Millis, Persist, ReadAnswer, ReadRequest, Reply, Request,
    RequestBody, StoredEntry, StoredSnapshot, StoredState,
};
