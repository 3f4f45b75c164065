//! Kernel programming over netlink, at the kernel's own speed: many messages in each send, one acknowledgement, errors by
//! number with the kernel's own words. Runs on a thread of its own and blocks there.

mod attribute;
mod message;
mod nexthop;
mod read;
mod socket;
mod sysctl;
#[cfg(test)]
mod tests;

use crate::core::kernel::{Actual, Link, Op, OpError, OpResults};
use crate::io::kernel::Kernel;
use message::Request;
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
        let indexes = self.links();
        let index =
            |name: &str| indexes.as_ref().ok().and_then(|links| links.get(name)).map(|link| link.index);
        let mut results: Vec<Option<Result<(), OpError>>> = ops.iter().map(|_| None).collect();
        let mut requests: Vec<Request> = Vec::new();
        let mut places = Vec::new();
        for (at, op) in ops.iter().enumerate() {
            match message::request(op, index) {
                Ok(Some(request)) => {
                    places.push(at);
                    requests.push(request);
                }
                Ok(None) => {
                    // What comes before a setting is carried out before it.
                    self.flush(&mut requests, &mut places, &mut results);
                    if let Op::SetSysctl { name, value } = op {
                        results[at] = Some(sysctl::write(name, value));
                    }
                }
                Err(refusal) => results[at] = Some(Err(refusal)),
            }
        }
        self.flush(&mut requests, &mut places, &mut results);
        let unanswered = || Err(OpError { errno: 0, text: "never carried out".to_string() });
        results.into_iter().map(|result| result.unwrap_or_else(unanswered)).collect()
    }
}

impl Netlink {
    fn flush(
        &mut self,
        requests: &mut Vec<Request>,
        places: &mut Vec<usize>,
        results: &mut [Option<Result<(), OpError>>],
    ) {
        let answers = self.socket.carry_out(requests);
        for (place, answer) in places.drain(..).zip(answers) {
            results[place] = Some(answer);
        }
        requests.clear();
    }
}
