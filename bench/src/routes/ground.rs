//! The ground of every case: two links, addresses, two groups of one next hop each, and the prefixes.

use crate::space::ip;
use anyhow::{Context, Result};
use ipnetwork::IpNetwork;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Nexthop objects and groups; the second of each is what routes are moved to.
pub(super) const NEXTHOPS: [u32; 2] = [0x5B00_0001, 0x5B00_0002];
pub(super) const GROUPS: [u32; 2] = [0x5B80_0001, 0x5B80_0002];
/// Gateways for daemons that do not take an IPv6 one for both families: of IPv4 and of IPv6.
pub(super) const PEER_GATEWAYS: [[&str; 2]; 2] = [["192.168.7.2", "192.168.7.3"], ["fd07::2", "fd07::3"]];
/// Preferred sources of both families, on `lo`.
const SOURCE_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// How many routes of which family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) routes: usize,
    pub(super) ipv6: bool,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = if self.ipv6 { "IPv6" } else { "IPv4" };
        match self.routes {
            all if all % 1_000_000 == 0 => write!(f, "{},000,000 {family}", all / 1_000_000),
            all => write!(f, "{},000 {family}", all / 1_000),
        }
    }
}

impl Size {
    /// Host routes in a row.
    pub(super) fn prefixes(self) -> impl Iterator<Item = IpNetwork> + Clone {
        let base_v4 = u32::from(Ipv4Addr::new(10, 1, 0, 0));
        let base_v6 = u128::from(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0));
        (0..self.routes).map(move |at| {
            let address = if self.ipv6 {
                IpAddr::from(Ipv6Addr::from(base_v6 + at as u128))
            } else {
                IpAddr::from(Ipv4Addr::from(base_v4 + at as u32))
            };
            IpNetwork::from(address)
        })
    }

    /// Preferred source of its routes.
    pub(super) fn source(self) -> IpAddr {
        if self.ipv6 { SOURCE_V6.into() } else { SOURCE_V4.into() }
    }

    /// Gateways for daemons.
    pub(super) fn peer_gateways(self) -> [&'static str; 2] {
        PEER_GATEWAYS[usize::from(self.ipv6)]
    }
}

/// Links, addresses and sysctls. The ends of a veth pair have different indexes: equal ones delay carrier events.
pub(super) fn links() -> Result<()> {
    let mut lines = Vec::new();
    for (number, near, far) in [(1, 101, 201), (2, 102, 202)] {
        lines.push(format!("link add eth{number} index {near} type veth peer name far{number} index {far}"));
        lines.push(format!("link set eth{number} up"));
        lines.push(format!("link set far{number} up"));
    }
    lines.push(format!("addr add {SOURCE_V4}/32 dev lo"));
    lines.push(format!("addr add {SOURCE_V6}/128 dev lo nodad"));
    ip(&lines)?;
    for (name, value) in [("net/ipv4/nexthop_compat_mode", "0"), ("net/ipv6/route/max_size", "2147483647")] {
        let path = format!("/proc/sys/{name}");
        std::fs::write(&path, value).with_context(|| path.clone())?;
    }
    Ok(())
}

/// What the agent would have put there before any route.
pub(super) fn nexthops() -> Result<()> {
    let mut lines = Vec::new();
    for (at, id) in NEXTHOPS.into_iter().enumerate() {
        lines.push(format!("nexthop add id {id} via fe80::2 dev eth{} proto 91", at + 1));
    }
    for (id, member) in GROUPS.into_iter().zip(NEXTHOPS) {
        lines.push(format!("nexthop add id {id} group {member} proto 91"));
    }
    ip(&lines)
}
