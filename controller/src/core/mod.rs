//! The replica as a pure machine: `handle(now, event, &mut effects)`.
//!
//! `state` is what the log makes (apply, digest, snapshot), `replica` drives raft-rs, `fleet` turns what
//! agents say into facts, `change` plans, guards, steps and gates. None of them knows a clock, a random
//! generator, a socket or a task: the shell in `io` and the simulator in `tests/drills` run the same code.

pub mod config;
pub mod event;

pub use config::{Config, Limits, StartError};
pub use event::{
    AgentSession, ComputeJob, Effect, Event, JobId, Millis, Persist, ReadAnswer, ReadRequest, Reply, Request,
    RequestBody, StoredEntry, StoredSnapshot, StoredState,
};

/// One replica.
#[derive(Debug)]
pub struct Controller {
    config: Config,
}

impl Controller {
    /// A replica over what its disk gave back (empty at the first start).
    pub fn new(
        config: Config,
        _stored: StoredState,
        _now: Millis,
        _out: &mut Vec<Effect>,
    ) -> Result<Controller, StartError> {
        if !config.peers.contains(&config.id) {
            let why = "its id is not among the members: name all of them, itself included".to_string();
            return Err(StartError::Config { id: config.id, why });
        }
        Ok(Controller { config })
    }

    /// Takes one event and appends what is to be done. Never blocks, never panics on any event.
    pub fn handle(&mut self, _now: Millis, _event: Event, _out: &mut Vec<Effect>) {
        tracing::trace!(id = self.config.id, "event");
    }
}
