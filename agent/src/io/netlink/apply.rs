//! Operations to batches, in their order. Nothing is decided here: each operation stands alone, and a refused one does not
//! stop the others. Only where the socket itself fails nothing more is sent: what became of that batch is not known, and a
//! reading has to tell.

use super::message::{self, Act, Request};
use super::socket::RequestSocket;
use super::{MayWrite, read, sysctl};
use crate::core::kernel::{Op, OpError, OpResults};

/// Messages in one send: beyond a few hundred nothing is gained (docs/agent.md).
const BATCH_MESSAGES_MAX: usize = 256;
/// Bytes in one send, a message more at most.
const BATCH_BYTES_MAX: usize = 128 << 10;

/// Carries operations out; one result each.
pub(super) fn apply(socket: &mut RequestSocket, may_write: &MayWrite, ops: &[Op]) -> OpResults {
    let mut work =
        Work { socket, may_write, batch: Vec::new(), bytes: 0, results: ops.iter().map(|_| None).collect() };
    let never_sent = match work.carry_out(ops) {
        Ok(()) => "never sent".to_string(),
        Err(why) => format!("never sent: {why}"),
    };
    let never_sent = || Err(OpError { errno: 0, text: never_sent.clone() });
    work.results.into_iter().map(|result| result.unwrap_or_else(never_sent)).collect()
}

struct Work<'a> {
    socket: &'a mut RequestSocket,
    may_write: &'a MayWrite,
    /// What waits to be sent, with the operation's place in `results`.
    batch: Vec<(usize, Request)>,
    bytes: usize,
    results: Vec<Option<Result<(), OpError>>>,
}

impl Work<'_> {
    fn carry_out(&mut self, ops: &[Op]) -> Result<(), String> {
        // Numbers of interfaces are looked up now, where one is needed: one that was made anew has another.
        let mut links = None;
        for (at, op) in ops.iter().enumerate() {
            let act = message::act(op, |name| {
                let links = links.get_or_insert_with(|| read::links(self.socket));
                links.as_ref().ok()?.get(name).map(|link| link.index)
            });
            if let Some(Err(why)) = links {
                return Err(why);
            }
            match act {
                Ok(Act::Send(request)) => {
                    self.bytes += request.bytes();
                    self.batch.push((at, request));
                }
                Ok(Act::Write { sysctl, value }) => {
                    // What comes before a setting is carried out before it.
                    self.send()?;
                    self.results[at] = Some(sysctl::write(sysctl, value));
                }
                Err(refusal) => self.results[at] = Some(Err(refusal)),
            }
            if matches!(op, Op::PutVxlan { .. } | Op::DelVxlan { .. }) {
                // What comes after it may need the new link's number.
                self.send()?;
                links = None;
            }
            if self.batch.len() >= BATCH_MESSAGES_MAX || self.bytes >= BATCH_BYTES_MAX {
                self.send()?;
            }
        }
        self.send()
    }

    fn send(&mut self) -> Result<(), String> {
        // A process that was stopped for a while may no longer be the host's writer.
        (self.may_write)()?;
        self.bytes = 0;
        let (places, requests): (Vec<usize>, Vec<Request>) = self.batch.drain(..).unzip();
        match self.socket.batch(&requests) {
            Ok(mut refusals) => {
                for (at, place) in places.into_iter().enumerate() {
                    self.results[place] = Some(refusals.remove(&at).map_or(Ok(()), Err));
                }
                Ok(())
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                for place in places {
                    let text = format!("the kernel's answer was lost: {error}");
                    self.results[place] = Some(Err(OpError { errno, text }));
                }
                Err(format!("the netlink socket failed before: {error}"))
            }
        }
    }
}
