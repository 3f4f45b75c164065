//! Kernel programming over netlink, at the kernel's own speed: many messages in each send, one acknowledgement, errors by
//! number with the kernel's own words. Runs on a thread of its own and blocks there.

#[cfg(feature = "fuzz")]
mod anything;
mod apply;
mod attribute;
mod event;
mod filter;
#[cfg(test)]
mod kind_tests;
mod lookup;
mod message;
mod nexthop;
mod probe;
mod read;
mod rule;
mod seg6;
mod socket;
mod sysctl;
#[cfg(test)]
mod tests;
mod vxlan;

use crate::core::Way;
use crate::core::event::RouteReading;
use crate::core::features::Feature;
use crate::core::kernel::{Actual, Link, Op, OpResults};
use crate::io::kernel::Kernel;
#[cfg(feature = "fuzz")]
pub use anything::read_anything;
pub(crate) use event::{Said, said};
pub(crate) use filter::drop_own_echo;
use socket::RequestSocket;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tracing::warn;

/// The kernel of the network namespace in which it was opened.
pub struct Netlink {
    socket: RequestSocket,
    may_write: MayWrite,
    /// What this kernel cannot do, as far as it was asked for.
    missing: BTreeMap<Feature, String>,
    asked: Asked,
}

/// How far the kernel was asked what it can do. The questions that only requests for new objects can ask come before the first
/// write: an agent that finds all in order sends no such request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    ForReading,
    ForWriting,
}

/// Asked before each batch; says in words why nothing may be written any more.
pub type MayWrite = Box<dyn Fn() -> Result<(), String> + Send>;

impl Netlink {
    /// Opens the socket.
    ///
    /// # Errors
    /// In words: most likely the right `CAP_NET_ADMIN` is missing.
    pub fn open() -> Result<Netlink, String> {
        let socket = RequestSocket::open()
            .map_err(|error| format!("no netlink socket ({error}): the agent needs CAP_NET_ADMIN"))?;
        Ok(Netlink {
            socket,
            may_write: Box::new(|| Ok(())),
            missing: BTreeMap::new(),
            asked: Asked::Nothing,
        })
    }

    /// The same, which asks before each batch whether it still may.
    pub fn asking(self, may_write: MayWrite) -> Netlink {
        Netlink { may_write, ..self }
    }

    /// Counts what the kernel has answered so far: it stands still where the kernel does not answer.
    pub fn steps(&self) -> Arc<AtomicU64> {
        self.socket.steps()
    }

    /// Which way packets to these addresses take now.
    pub fn ways(&mut self, addresses: &[IpAddr]) -> BTreeMap<IpAddr, Way> {
        lookup::ways(&mut self.socket, addresses)
    }

    /// The number by which events that this kernel's own operations cause can be told from others.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }
}

impl Kernel for Netlink {
    fn read_with(&mut self, sysctls: &[String], routes: &RouteReading) -> Result<Actual, String> {
        if self.asked == Asked::Nothing {
            self.missing = probe::missing_for_reading(&mut self.socket);
            self.asked = Asked::ForReading;
        }
        let mut actual = read::read(&mut self.socket, routes, self.missing.clone())?;
        actual.asked_for_features = self.asked == Asked::ForWriting;
        actual.sysctls = sysctl::read(sysctls)?;
        Ok(actual)
    }

    fn links(&mut self) -> Result<BTreeMap<String, Link>, String> {
        read::links(&mut self.socket)
    }

    fn apply(&mut self, ops: &[Op]) -> OpResults {
        if self.asked != Asked::ForWriting && !ops.is_empty() {
            match probe::missing(&mut self.socket) {
                Ok(missing) => {
                    self.missing = missing;
                    self.asked = Asked::ForWriting;
                }
                Err(why) => warn!(%why, "asked again before the next write"),
            }
        }
        apply::apply(&mut self.socket, &self.may_write, ops)
    }
}
