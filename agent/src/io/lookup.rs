//! Questions to the kernel about its ways, on a thread of their own: an answer must not wait until a large batch is done.

use crate::core::Event;
use crate::io::netlink::Netlink;
use std::net::IpAddr;
use std::sync::mpsc as blocking;
use tokio::sync::mpsc;

/// Number of the question, and the addresses that it is about.
pub type Question = (u64, Vec<IpAddr>);

/// Starts the thread. It ends when either side of it goes away.
///
/// # Errors
/// The system gives no thread.
pub fn start(
    mut kernel: Netlink,
    questions: blocking::Receiver<Question>,
    events: mpsc::Sender<Event>,
) -> std::io::Result<()> {
    std::thread::Builder::new().name("lookups".to_string()).spawn(move || {
        while let Ok((ask, addresses)) = questions.recv() {
            let ways = kernel.ways(&addresses);
            if events.blocking_send(Event::LookedUp { ask, ways }).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}
