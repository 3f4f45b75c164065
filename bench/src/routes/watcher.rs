//! Counts the kernel's notifications of routes: the moment of the N-th one is the moment when the table holds all N.

use super::wire::{RTM_DELROUTE, RTM_NEWROUTE, messages, route_of};
use anyhow::{Context, Result, bail};
use ipnetwork::IpNetwork;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::io::ErrorKind;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Room for a million notifications, should the watcher not get a processor for a while.
const SOCKET_BYTES: usize = 1 << 30;
const RECEIVE_BYTES: usize = 256 << 10;
/// `RTNLGRP_IPV4_ROUTE` and `RTNLGRP_IPV6_ROUTE`.
const GROUPS: [u32; 2] = [7, 11];
/// Between two looks at the clock while nothing comes.
const LOOK: i64 = 200;

/// A socket that hears of routes.
pub(super) struct Watcher(Socket);

/// A count that goes on in a thread of its own.
pub(super) struct Count(JoinHandle<Result<Instant>>);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// New ones, and those that replaced another.
    New,
    /// Removed ones.
    Gone,
}

impl Watcher {
    pub(super) fn open() -> Result<Watcher> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        setsockopt(&socket, sockopt::RcvBufForce, &SOCKET_BYTES)?;
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(LOOK))?;
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        Ok(Watcher(socket))
    }

    /// Waits for the N-th host route; the moment when it was heard of.
    fn wait(&self, what: What, routes: usize, limit: Duration) -> Result<Instant> {
        let wanted = if what == What::New { RTM_NEWROUTE } else { RTM_DELROUTE };
        let deadline = Instant::now() + limit;
        let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
        let mut seen = 0;
        while Instant::now() < deadline {
            buffer.clear();
            match self.0.recv(&mut buffer, 0) {
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {
                    continue;
                }
                other => other.context("notifications were lost: SO_RCVBUFFORCE needs root")?,
            };
            let heard = Instant::now();
            seen += messages(&buffer).filter(|(kind, _, body)| *kind == wanted && is_ours(body)).count();
            if seen >= routes {
                return Ok(heard);
            }
        }
        bail!("{seen} of {routes} notifications within {limit:?}")
    }

    /// Counts in a thread of its own, from now on.
    pub(super) fn count(self, what: What, routes: usize, limit: Duration) -> Count {
        Count(std::thread::spawn(move || self.wait(what, routes, limit)))
    }

    /// Waits until one prefix is there again.
    pub(super) fn wait_for(&self, prefix: IpNetwork, limit: Duration) -> Result<Instant> {
        let deadline = Instant::now() + limit;
        let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
        while Instant::now() < deadline {
            buffer.clear();
            match self.0.recv(&mut buffer, 0) {
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {
                    continue;
                }
                other => other?,
            };
            let heard = Instant::now();
            let back = |(kind, _, body): (u16, u32, &[u8])| {
                kind == RTM_NEWROUTE && route_of(body).is_some_and(|(_, found)| found == prefix)
            };
            if messages(&buffer).any(back) {
                return Ok(heard);
            }
        }
        bail!("{prefix} did not come back within {limit:?}")
    }
}

impl Count {
    /// When the last one was heard of.
    pub(super) fn finish(self) -> Result<Instant> {
        self.0.join().unwrap_or_else(|_| bail!("the watcher panicked"))
    }
}

/// Host routes are the benchmark's own.
fn is_ours(body: &[u8]) -> bool {
    matches!(body, [2, 32, ..] | [10, 128, ..]) && body.get(4) != Some(&TABLE_LOCAL)
}

/// `RT_TABLE_LOCAL`: addresses.
const TABLE_LOCAL: u8 = 255;
