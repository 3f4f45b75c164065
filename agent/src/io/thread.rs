//! The kernel's threads. One takes what the core asks of the kernel, one thing after the other, and answers with events; a
//! second of the same kind takes repairs, and a third reads links alone: neither may wait until a large batch is done.

use crate::core::Event;
use crate::core::event::RouteReading;
use crate::core::kernel::Op;
use crate::io::kernel::Kernel;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as blocking;
use tokio::sync::{mpsc, oneshot};

/// What the core asks of the kernel.
#[derive(Debug)]
pub enum Ask {
    /// A complete reading, with these sysctls and what is asked for of routes.
    Read(Vec<String>, RouteReading),
    /// A numbered batch of operations.
    Apply(u64, Vec<Op>),
}

/// How far a thread has come with what it was asked, for the watchdog.
#[derive(Clone, Debug)]
pub struct Progress {
    asked: Arc<AtomicU64>,
    answered: Arc<AtomicU64>,
    /// Stands still where the kernel does not answer.
    steps: Arc<AtomicU64>,
}

impl Progress {
    /// A thread that was asked nothing yet; `steps` grows with whatever it does.
    pub fn new(steps: Arc<AtomicU64>) -> Progress {
        Progress { asked: Arc::default(), answered: Arc::default(), steps }
    }

    /// It was asked something more.
    pub fn ask(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    /// What it has done, which grows while it works; `None`: it has nothing to do.
    pub fn done(&self) -> Option<u64> {
        let answered = self.answered.load(Ordering::Relaxed);
        let busy = self.asked.load(Ordering::Relaxed) != answered;
        busy.then(|| answered.wrapping_add(self.steps.load(Ordering::Relaxed)))
    }
}

/// Starts the thread. It ends when either side of it goes away, or when `may_write` says that another agent writes here now:
/// the reason then comes out of the receiver.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    name: &str,
    mut kernel: Box<dyn Kernel>,
    may_write: impl Fn() -> Result<(), String> + Send + 'static,
    asks: blocking::Receiver<Ask>,
    events: mpsc::Sender<Event>,
    progress: Progress,
) -> std::io::Result<oneshot::Receiver<String>> {
    let (ended, end) = oneshot::channel();
    std::thread::Builder::new().name(name.to_string()).spawn(move || {
        while let Ok(ask) = asks.recv() {
            if let Err(why) = may_write() {
                // Nobody listens when the process ends anyway.
                let _ = ended.send(why);
                return;
            }
            let event = match ask {
                Ask::Read(sysctls, routes) => {
                    Event::KernelRead(kernel.read_with(&sysctls, &routes).map(Box::new))
                }
                Ask::Apply(batch, ops) => Event::Applied { batch, results: kernel.apply(&ops) },
            };
            progress.answer();
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(end)
}

/// Starts the thread that reads the links whenever it is asked. It ends when either side of it goes away.
///
/// # Errors
/// The system gives no thread.
pub fn start_links(
    mut kernel: Box<dyn Kernel>,
    asks: blocking::Receiver<()>,
    events: mpsc::Sender<Event>,
    progress: Progress,
) -> std::io::Result<()> {
    std::thread::Builder::new().name("links".to_string()).spawn(move || {
        while asks.recv().is_ok() {
            let event = match kernel.links() {
                Ok(links) => Event::LinksChanged(links),
                Err(why) => {
                    tracing::warn!(%why, "the links could not be read");
                    Event::KernelChanged
                }
            };
            progress.answer();
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
