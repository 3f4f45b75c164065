//! One blocking netlink socket: many messages in one send, errors matched by number, dumps that are whole or not at all.

use super::attribute::{Attributes, array, number};
use super::message::Request;
use crate::core::kernel::OpError;
use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Room for the kernel's answers, also for a thousand errors.
const SOCKET_BYTES: usize = 8 << 20;
/// One receive; the kernel fills up to 32 KiB in a dump.
const RECEIVE_BYTES: usize = 64 << 10;
/// The kernel answers at once; so long only under a lock that something else holds.
const ANSWER_SECONDS_MAX: i64 = 10;
/// Readings that were interrupted by a change are begun again so often.
const DUMP_ATTEMPTS: u32 = 8;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const HEADER_BYTES: usize = 16;
/// Extended acknowledgement: the kernel's own words.
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The socket.
pub(super) struct RequestSocket {
    socket: Socket,
    port: u32,
    sequence: u32,
    /// Answers received: the watchdog's evidence that the kernel answers.
    steps: Arc<AtomicU64>,
    /// What is sent and what is received, used again and again.
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
}

impl RequestSocket {
    pub(super) fn open() -> io::Result<RequestSocket> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BYTES)?;
        setsockopt(&socket, sockopt::SndBufForce, &SOCKET_BYTES)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(ANSWER_SECONDS_MAX))?;
        Ok(RequestSocket {
            socket,
            port,
            sequence: 0,
            steps: Arc::default(),
            outgoing: Vec::new(),
            incoming: Vec::with_capacity(RECEIVE_BYTES),
        })
    }

    /// The socket's own address: events that its requests cause carry it.
    pub(super) fn port(&self) -> u32 {
        self.port
    }

    pub(super) fn steps(&self) -> Arc<AtomicU64> {
        self.steps.clone()
    }

    /// Sends a batch, each message standing alone, and reads until the last one's acknowledgement; position -> refusal.
    pub(super) fn batch(&mut self, batch: &[Request]) -> io::Result<BTreeMap<usize, OpError>> {
        let Some(last) = batch.len().checked_sub(1) else { return Ok(BTreeMap::new()) };
        self.drain()?;
        let first = self.sequence.wrapping_add(1);
        self.outgoing.clear();
        for (at, request) in batch.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let ack = if at == last { NLM_F_ACK } else { 0 };
            request.append(&mut self.outgoing, self.sequence, ack);
        }
        let sent = self.socket.send(&self.outgoing, 0)?;
        if sent != self.outgoing.len() {
            return Err(io::Error::other("the kernel took only a part of a batch"));
        }
        let mut refusals = BTreeMap::new();
        let mut answered = false;
        while !answered {
            self.receive()?;
            for message in messages(&self.incoming) {
                let at = message.sequence.wrapping_sub(first) as usize;
                if message.kind != NLMSG_ERROR || at > last {
                    continue;
                }
                if let Some(refusal) = refusal(message.body) {
                    refusals.insert(at, refusal);
                }
                answered |= at == last;
            }
        }
        Ok(refusals)
    }

    /// Reads a whole dump, message type and body of each entry; one that was interrupted is begun again, a bounded number of times.
    pub(super) fn dump(
        &mut self,
        request: &Request,
        mut each: impl FnMut(u16, &[u8]),
        mut restart: impl FnMut(),
    ) -> io::Result<()> {
        for _ in 0..DUMP_ATTEMPTS {
            if self.dump_once(request, &mut each)? {
                return Ok(());
            }
            restart();
        }
        Err(io::Error::other("the kernel's tables change faster than they can be read"))
    }

    /// Whether the dump was whole.
    fn dump_once(&mut self, request: &Request, each: &mut impl FnMut(u16, &[u8])) -> io::Result<bool> {
        self.drain()?;
        self.sequence = self.sequence.wrapping_add(1);
        self.outgoing.clear();
        request.append(&mut self.outgoing, self.sequence, NLM_F_DUMP);
        self.socket.send(&self.outgoing, 0)?;
        let mut whole = true;
        loop {
            self.receive()?;
            for Message { kind, flags, sequence, body, .. } in messages(&self.incoming) {
                if sequence != self.sequence {
                    continue;
                }
                whole &= flags & NLM_F_DUMP_INTR == 0;
                match kind {
                    NLMSG_DONE => return done(body).map(|()| whole),
                    NLMSG_ERROR => {
                        let text =
                            refusal(body).map_or_else(|| "no answer".to_string(), |refusal| refusal.text);
                        return Err(io::Error::other(text));
                    }
                    kind => each(kind, body),
                }
            }
        }
    }

    /// One question that one message answers: the answer's body, or the kernel's refusal.
    pub(super) fn ask(&mut self, request: &Request, answer: u16) -> io::Result<Result<Vec<u8>, OpError>> {
        self.drain()?;
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        request.append(&mut bytes, self.sequence, 0);
        self.socket.send(&bytes, 0)?;
        loop {
            self.receive()?;
            for message in messages(&self.incoming).filter(|message| message.sequence == self.sequence) {
                if message.kind == answer {
                    return Ok(Ok(message.body.to_vec()));
                }
                if message.kind == NLMSG_ERROR
                    && let Some(refusal) = refusal(message.body)
                {
                    return Ok(Err(refusal));
                }
            }
        }
    }

    /// Waits for the kernel's next words and leaves them in `incoming`.
    fn receive(&mut self) -> io::Result<()> {
        loop {
            self.incoming.clear();
            match self.socket.recv(&mut self.incoming, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
                Ok(_) => {
                    self.steps.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            }
        }
    }

    /// Throws away what an earlier, broken-off exchange left behind.
    fn drain(&mut self) -> io::Result<()> {
        const DONT_WAIT: i32 = 0x40;
        loop {
            self.incoming.clear();
            match self.socket.recv(&mut self.incoming, DONT_WAIT) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Answers were lost with the exchange that is thrown away.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// `struct nlmsghdr` and what follows it.
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    /// Of the socket whose request is answered, or caused the event; 0 when the kernel acted by itself.
    pub(super) port: u32,
    pub(super) body: &'a [u8],
}

/// All messages; what is damaged ends the list.
pub(super) fn messages(mut buffer: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = number(buffer, 0)? as usize;
        let [kind, flags] = [4, 6].map(|at| array(buffer, at).map(u16::from_ne_bytes));
        let message = Message {
            kind: kind?,
            flags: flags?,
            sequence: number(buffer, 8)?,
            port: number(buffer, 12)?,
            body: buffer.get(HEADER_BYTES..length)?,
        };
        buffer = buffer.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(message)
    })
}

/// What a `struct nlmsgerr` says: i32 -errno, the request's header, extended acknowledgement; `None`: done.
pub(super) fn refusal(body: &[u8]) -> Option<OpError> {
    let errno = array(body, 0).map_or(0, i32::from_ne_bytes).saturating_neg();
    if errno == 0 {
        return None;
    }
    let words = Attributes(body.get(4 + HEADER_BYTES..).unwrap_or(&[]))
        .find(NLMSGERR_ATTR_MSG)
        .map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').to_string());
    let text = words.unwrap_or_else(|| nix::errno::Errno::from_raw(errno).desc().to_string());
    Some(OpError { errno, text })
}

/// The end of a dump carries an errno of its own.
fn done(body: &[u8]) -> io::Result<()> {
    match array(body, 0).map_or(0, i32::from_ne_bytes) {
        errno if errno < 0 => Err(io::Error::from_raw_os_error(-errno)),
        _ => Ok(()),
    }
}
