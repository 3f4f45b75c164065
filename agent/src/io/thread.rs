//! The kernel's threads. One takes what the core asks of the kernel, one thing after the other, and answers with events;
//! the other one reads links alone: news of a lost carrier must not wait until a large batch is done.

use crate::core::Event;
use crate::core::kernel::Op;
use crate::io::kernel::Kernel;
use std::sync::mpsc as blocking;
use tokio::sync::mpsc;

/// What the core asks of the kernel.
#[derive(Debug)]
pub enum Ask {
    /// A complete reading, with these sysctls.
    Read(Vec<String>),
    /// A numbered batch of operations.
    Apply(u64, Vec<Op>),
}

/// Starts the thread. It ends when either side of it goes away.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    mut kernel: Box<dyn Kernel>,
    asks: blocking::Receiver<Ask>,
    events: mpsc::Sender<Event>,
) -> std::io::Result<()> {
    std::thread::Builder::new().name("kernel".to_string()).spawn(move || {
        while let Ok(ask) = asks.recv() {
            let event = match ask {
                Ask::Read(sysctls) => Event::KernelRead(kernel.read(&sysctls).map(Box::new)),
                Ask::Apply(batch, ops) => Event::Applied { batch, results: kernel.apply(&ops) },
            };
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Starts the thread that reads the links whenever it is asked. It ends when either side of it goes away.
///
/// # Errors
/// The system gives no thread.
pub fn start_links(
    mut kernel: Box<dyn Kernel>,
    asks: blocking::Receiver<()>,
    events: mpsc::Sender<Event>,
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
            if events.blocking_send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
