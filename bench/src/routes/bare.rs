//! The ceiling: prebuilt route messages, many in each send, one acknowledgement a send, nothing else.

use super::wire::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, RTM_DELROUTE,
    RTM_NEWROUTE, Route, append_dump, append_route, messages,
};
use anyhow::{Result, bail, ensure};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt};

/// Messages in one send: more gain nothing.
const BATCH: usize = 256;
const SOCKET_BYTES: usize = 8 << 20;
const RECEIVE_BYTES: usize = 256 << 10;

/// What is done with each route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// A new one.
    Add,
    /// Another group.
    Replace,
    /// Gone.
    Delete,
}

/// One socket.
pub(super) struct Bare {
    socket: Socket,
    port: u32,
}

/// Messages ready to be sent: bytes of each send and the number of its last message.
pub(super) struct Prebuilt(Vec<(Vec<u8>, u32)>);

impl Bare {
    pub(super) fn open() -> Result<Bare> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        let port = socket.bind_auto()?.port_number();
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        socket.set_netlink_get_strict_chk(true)?;
        setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BYTES)?;
        setsockopt(&socket, sockopt::SndBufForce, &SOCKET_BYTES)?;
        Ok(Bare { socket, port })
    }

    /// Its address, for listeners that do not want to hear of it.
    pub(super) fn port(&self) -> u32 {
        self.port
    }

    /// Builds all messages.
    pub(super) fn prebuild(routes: impl Iterator<Item = Route>, verb: Verb) -> Prebuilt {
        let (kind, flags) = match verb {
            Verb::Add => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL),
            Verb::Replace => (RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE),
            Verb::Delete => (RTM_DELROUTE, 0),
        };
        let mut sends = Vec::new();
        let mut routes = routes.zip(1u32..).peekable();
        while routes.peek().is_some() {
            let (mut bytes, mut last) = (Vec::new(), 0);
            for at in 0..BATCH {
                let Some((route, sequence)) = routes.next() else { break };
                let ack = if at == BATCH - 1 || routes.peek().is_none() { NLM_F_ACK } else { 0 };
                append_route(&mut bytes, kind, NLM_F_REQUEST | flags | ack, sequence, &route);
                last = sequence;
            }
            sends.push((bytes, last));
        }
        Prebuilt(sends)
    }

    /// Sends all; an error of any message fails the whole.
    pub(super) fn send(&self, prebuilt: &Prebuilt) -> Result<()> {
        let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
        for (bytes, last) in &prebuilt.0 {
            self.socket.send(bytes, 0)?;
            let mut answered = false;
            while !answered {
                buffer.clear();
                self.socket.recv(&mut buffer, 0)?;
                for (kind, sequence, body) in messages(&buffer) {
                    let errno = body.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                    ensure!(
                        kind != NLMSG_ERROR || errno == 0,
                        "the kernel refused a message: errno {}",
                        -errno
                    );
                    answered |= sequence == *last;
                }
            }
        }
        Ok(())
    }

    /// Number of routes of the main table, counted and not understood.
    pub(super) fn dump(&self, ipv6: bool) -> Result<usize> {
        let mut question = Vec::new();
        append_dump(&mut question, ipv6, 1);
        self.socket.send(&question, 0)?;
        let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
        let mut routes = 0;
        loop {
            buffer.clear();
            self.socket.recv(&mut buffer, 0)?;
            for (kind, _, _) in messages(&buffer) {
                match kind {
                    RTM_NEWROUTE => routes += 1,
                    NLMSG_DONE => return Ok(routes),
                    NLMSG_ERROR => bail!("the kernel refused to list its routes"),
                    _ => {}
                }
            }
        }
    }
}
