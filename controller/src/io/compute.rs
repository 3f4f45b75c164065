//! The compute thread: programs are computed off the Raft thread, so that no heartbeat waits for them.

use crate::core::{Compiler, ComputeJob, Event};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use tokio::sync::{mpsc, oneshot};

/// The thread's other side.
#[derive(Debug)]
pub struct Compute {
    /// What it shall compute.
    pub jobs: blocking::Sender<ComputeJob>,
    /// Resolves when the thread has ended, also by a panic.
    pub ended: oneshot::Receiver<Infallible>,
}

/// Starts the thread. It ends when either side of it goes away. The core has a handful of jobs out at a time.
///
/// # Errors
/// The system gives no thread.
pub fn start(events: mpsc::Sender<Event>) -> std::io::Result<Compute> {
    let (jobs, queue) = blocking::channel::<ComputeJob>();
    let (end, ended) = oneshot::channel();
    std::thread::Builder::new().name("compute".to_string()).spawn(move || {
        // Dropped with the thread's frame, however that goes.
        let _end = end;
        let mut compiler = Compiler::default();
        while let Ok(ComputeJob { job, topology, facts }) = queue.recv() {
            let network = Arc::new(compiler.compile(&topology, facts));
            if events.blocking_send(Event::Computed { job, network }).is_err() {
                return;
            }
        }
    })?;
    Ok(Compute { jobs, ended })
}
