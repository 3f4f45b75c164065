//! The compute thread: programs are computed off the Raft thread, so that no heartbeat waits for them.

use crate::core::{ComputeJob, Event};
use std::sync::Arc;
use std::sync::mpsc as blocking;
use tokio::sync::mpsc;

/// Starts the thread. It ends when either side of it goes away. The core has a handful of jobs out at a time.
///
/// # Errors
/// The system gives no thread.
pub fn start(events: mpsc::Sender<Event>) -> std::io::Result<blocking::Sender<ComputeJob>> {
    let (jobs, queue) = blocking::channel::<ComputeJob>();
    std::thread::Builder::new().name("compute".to_string()).spawn(move || {
        while let Ok(ComputeJob { job, topology, facts }) = queue.recv() {
            let network = Arc::new(plan::compile(&topology, &facts));
            if events.blocking_send(Event::Computed { job, network }).is_err() {
                return;
            }
        }
    })?;
    Ok(jobs)
}
