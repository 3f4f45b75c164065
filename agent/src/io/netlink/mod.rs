//! Kernel programming over netlink, at the kernel's own speed: many messages in each send, one acknowledgement, errors by
//! number with the kernel's own words. Runs on a thread of its own and blocks there.

mod apply;
mod attribute;
mod filter;
mod message;
mod nexthop;
mod read;
mod socket;
mod sysctl;
#[cfg(test)]
mod tests;

use crate::core::kernel::{Actual, Link, Op, OpResults};
use crate::io::kernel::Kernel;
pub(crate) use filter::drop_own_echo;
use socket::RequestSocket;
use std::collections::BTreeMap;

/// The kernel of the network namespace in which it was opened.
pub struct Netlink {
    socket: RequestSocket,
}

impl Netlink {
    /// Opens the socket.
    ///
    /// # Errors
    /// In words: most likely the right `CAP_NET_ADMIN` is missing.
    pub fn open() -> Result<Netlink, String> {
        let socket = RequestSocket::open()
            .map_err(|error| format!("no netlink socket ({error}): the agent needs CAP_NET_ADMIN"))?;
        Ok(Netlink { socket })
    }

    /// The number by which events that this kernel's own operations cause can be told from others.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }
}

/// Ids of the nexthop objects that events speak of, without those that requests from `own_port` caused.
pub(crate) fn nexthops_in_events(events: &[u8], own_port: u32) -> impl Iterator<Item = u32> {
    socket::messages(events)
        .filter(move |message| message.port != own_port)
        .filter(|message| [nexthop::RTM_NEWNEXTHOP, nexthop::RTM_DELNEXTHOP].contains(&message.kind))
        .filter_map(|message| nexthop::id(message.body))
}

impl Kernel for Netlink {
    fn read(&mut self, sysctls: &[String]) -> Result<Actual, String> {
        let mut actual = read::read(&mut self.socket)?;
        actual.sysctls = sysctl::read(sysctls)?;
        Ok(actual)
    }

    fn links(&mut self) -> Result<BTreeMap<String, Link>, String> {
        read::links(&mut self.socket)
    }

    fn apply(&mut self, ops: &[Op]) -> OpResults {
        apply::apply(&mut self.socket, ops)
    }
}
