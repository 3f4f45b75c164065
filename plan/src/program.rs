//! All that one host must have, as values.
//!
//! A [`Program`] is the host's own part; the [`PrefixTable`] is one for the whole network. Neither knows
//! ifindexes, generations or agents. Everything is sorted, so equal programs are equal bytes.

use crate::{Digest, digest};
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Metric of the route through a class's best group.
pub const METRIC_PRIMARY: u32 = 100;
/// Metric of the route that the kernel falls to when the best group is gone.
pub const METRIC_BACKUP: u32 = 200;
/// The kernel's main table (`RT_TABLE_MAIN`).
pub const TABLE_MAIN: u32 = 254;
/// Nexthop object ids of single next hops: `0x5B000000` to `0x5B7FFFFF`.
pub const NEXTHOP_IDS: std::ops::RangeInclusive<u32> = 0x5B00_0000..=0x5B7F_FFFF;
/// Nexthop object ids of groups: `0x5B800000` to `0x5BFFFFFF`.
pub const GROUP_IDS: std::ops::RangeInclusive<u32> = 0x5B80_0000..=0x5BFF_FFFF;

/// A set of prefixes that every host treats alike. The number is made from the names of the nodes that the
/// prefixes end at, so that adding another node does not renumber it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassId(pub u32);

/// A class's number and what a person calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its number.
    pub id: ClassId,
    /// The destination node's name.
    pub name: String,
}

/// The network-wide table prefix -> class, the same for all hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixTable {
    /// Sorted by id.
    pub classes: Vec<Class>,
    /// Sorted by prefix; each prefix once.
    pub entries: Vec<(IpNetwork, ClassId)>,
}

/// One host's part of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The node's name.
    pub host: String,
    /// What forwarding needs beside routes.
    pub settings: Settings,
    /// Source address of packets that this host sends itself, IPv4 (`RTA_PREFSRC`): its loopback.
    pub preferred_source_v4: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub preferred_source_v6: Option<Ipv6Addr>,
    /// Single next hops, sorted by id.
    pub nexthops: Vec<Nexthop>,
    /// Sets of next hops, sorted by id.
    pub groups: Vec<Group>,
    /// class -> group, sorted by (class, metric, table); a class without an entry has no route here.
    pub classes: Vec<ClassRoute>,
}

/// Host settings: addresses, sysctls, neighbours, MTU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Path below `/proc/sys`, dots as in sysctl(8) (`net.ipv4.ip_forward`) -> value. An interface name
    /// with a dot in it is written with `/` there, as sysctl(8) does.
    pub sysctls: BTreeMap<String, String>,
    /// Interface -> MTU in bytes.
    pub mtus: BTreeMap<String, u32>,
    /// Addresses, sorted.
    pub addresses: Vec<Address>,
    /// Neighbours that the kernel keeps resolved (`NTF_EXT_MANAGED`), sorted.
    pub neighbours: Vec<Neighbour>,
}

/// An address on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Interface name; `lo` for loopbacks.
    pub interface: String,
    /// Address with its prefix length; host bits are the address's own.
    pub address: IpNetwork,
}

/// A neighbour on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// Interface name.
    pub interface: String,
    /// The neighbour's address.
    pub address: IpAddr,
}

/// One next hop (a nexthop object of the kernel).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nexthop {
    /// Object id, in [`NEXTHOP_IDS`].
    pub id: u32,
    /// Interface name.
    pub interface: String,
    /// Gateway; an IPv6 link-local one serves both families.
    pub gateway: IpAddr,
}

/// A set of next hops (a nexthop group of the kernel).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Object id, in [`GROUP_IDS`].
    pub id: u32,
    /// Members, sorted by nexthop id.
    pub members: Vec<Member>,
}

/// A group's member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Id of a [`Nexthop`].
    pub nexthop: u32,
    /// 1 to 256.
    pub weight: u16,
}

/// All prefixes of a class go through a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClassRoute {
    /// The class.
    pub class: ClassId,
    /// Route metric: [`METRIC_PRIMARY`] or [`METRIC_BACKUP`].
    pub metric: u32,
    /// Routing table.
    pub table: u32,
    /// Id of a [`Group`].
    pub group: u32,
}

impl PrefixTable {
    /// Digest of the table: prefixes fall into a fixed number of blocks by their own hash, each block is
    /// hashed alone, then all block digests and the classes together.
    pub fn digest(&self) -> Digest {
        digest::of_table(self)
    }

    /// The class of exactly this prefix.
    pub fn class_of(&self, prefix: &IpNetwork) -> Option<ClassId> {
        let at = self.entries.binary_search_by_key(prefix, |(prefix, _)| *prefix).ok()?;
        Some(self.entries[at].1)
    }

    /// The class's name.
    pub fn class_name(&self, id: ClassId) -> Option<&str> {
        let at = self.classes.binary_search_by_key(&id, |class| class.id).ok()?;
        Some(self.classes[at].name.as_str())
    }
}

impl Program {
    /// Digest of the whole program: of the host's own part and of the table's digest.
    pub fn digest(&self, table: Digest) -> Digest {
        digest::of_program(self, table)
    }

    /// The class's routes, best metric first; none for a class that ends here or cannot be reached.
    pub fn class_routes(&self, class: ClassId) -> &[ClassRoute] {
        let start = self.classes.partition_point(|route| route.class < class);
        let length = self.classes[start..].partition_point(|route| route.class == class);
        &self.classes[start..start + length]
    }

    /// The group with this id.
    pub fn group(&self, id: u32) -> Option<&Group> {
        self.groups.binary_search_by_key(&id, |group| group.id).ok().map(|at| &self.groups[at])
    }

    /// The next hop with this id.
    pub fn nexthop(&self, id: u32) -> Option<&Nexthop> {
        self.nexthops.binary_search_by_key(&id, |nexthop| nexthop.id).ok().map(|at| &self.nexthops[at])
    }
}
