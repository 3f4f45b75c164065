//! All that one host must have, as values.
//!
//! A [`Program`] is the host's own part; the [`PrefixTable`] is one for the whole network. Neither knows
//! ifindexes, generations or agents. Everything is sorted, so equal programs are equal bytes.

use crate::{Digest, digest};
use ipnetwork::IpNetwork;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

/// Metric of the route through a class's best group.
pub const METRIC_PRIMARY: u32 = 100;
/// Metric of the route that the kernel falls to when the best group is gone.
pub const METRIC_BACKUP: u32 = 200;
/// The kernel's main table (`RT_TABLE_MAIN`).
pub const TABLE_MAIN: u32 = 254;
/// Nexthop object ids of single next hops: `0x5B000000` to `0x5B7FFFFF`.
pub const NEXTHOP_IDS: RangeInclusive<u32> = 0x5B00_0000..=0x5B7F_FFFF;
/// Nexthop object ids of groups: `0x5B800000` to `0x5BFFFFFF`.
pub const GROUP_IDS: RangeInclusive<u32> = 0x5B80_0000..=0x5BFF_FFFF;
/// Routing tables that are Ballast's alone, for routes that rules lead to. So few that an agent can look into each.
pub const OWN_TABLES: RangeInclusive<u32> = 91_000..=91_254;
/// The table of local segments. A rule of its own, without an interface, leads to it where a host has segments.
pub const TABLE_SEGMENTS: u32 = 91_255;
/// Priority of that rule.
pub const RULE_PRIORITY_SEGMENTS: u32 = 9_199;
/// Priorities of rules that Ballast owns: after the table of local addresses (0), before the main table (32766).
pub const RULE_PRIORITIES: RangeInclusive<u32> = 9_100..=9_199;
/// Names of VXLAN links that Ballast makes begin so.
pub const VXLAN_NAME_PREFIX: &str = "blx";
/// Longest name of an interface, bytes (`IFNAMSIZ` - 1).
pub const INTERFACE_NAME_BYTES_MAX: usize = 15;
/// Most segments of one encapsulation.
pub const SEGMENTS_MAX: usize = 8;

/// Members of one group at most. The kernel takes 8,191 (a netlink attribute's length), but one object of more than about
/// 4,070 makes every dump of nexthop objects end with `EMSGSIZE`, and the mixture of an old and a new group has to fit as well.
pub const GROUP_MEMBERS_MAX: usize = 2_000;

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
    /// Which table a packet's route is looked up in, by the interface that it came in by; sorted.
    pub rules: Vec<Rule>,
    /// Routes that end here with a loss on purpose, sorted by (table, prefix, metric).
    pub discards: Vec<Discard>,
    /// SRv6 segments that end here, sorted by address.
    pub local_segments: Vec<LocalSegment>,
    /// VXLAN links, sorted by name.
    pub vxlans: Vec<Vxlan>,
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
    /// Links that are watched by BFD, sorted.
    pub liveness: Vec<Liveness>,
}

/// A BFD session (RFC 5880) with the far end of a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Liveness {
    /// Interface name.
    pub interface: String,
    /// Desired transmit and required receive interval, milliseconds.
    pub interval_ms: u32,
    /// So many intervals without a packet, and the link is dead.
    pub multiplier: u8,
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
    /// What packets are wrapped in before they leave.
    pub encapsulation: Option<Encapsulation>,
}

/// What a packet is wrapped in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encapsulation {
    /// SRv6 (RFC 8754, RFC 8986 H.Encaps): an outer IPv6 header, with a segment routing header.
    Seg6 {
        /// In the order in which they are visited; 1 to [`SEGMENTS_MAX`].
        segments: Vec<Ipv6Addr>,
    },
}

/// A set of next hops (a nexthop group of the kernel).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Object id, in [`GROUP_IDS`].
    pub id: u32,
    /// Members, sorted by nexthop id.
    pub members: Vec<Member>,
    /// Live flows keep their next hop when members come and go; `None`: flows are spread by hash over the members.
    /// Only the same id keeps them: the id of a resilient group must not follow from its members.
    pub resilient: Option<Resilient>,
    /// Path MTU in bytes that routes through this group carry (`RTAX_MTU`), for groups of tunnels; `None`: the link's.
    pub route_mtu_bytes: Option<NonZeroU32>,
}

/// Options of a resilient group (`linux/nexthop.h`, `NHA_RES_GROUP`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resilient {
    /// Hash buckets, 1 to 65535; at least as many as members.
    pub buckets: u16,
    /// A bucket without traffic for so long may move to another member, milliseconds; a multiple of 10.
    pub idle_timer_ms: u32,
    /// So long after the group became unbalanced, buckets move even with traffic, milliseconds; a multiple of
    /// 10; 0: never.
    pub unbalanced_timer_ms: u32,
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
    /// Routing table: [`TABLE_MAIN`] or one of [`OWN_TABLES`].
    pub table: u32,
    /// Id of a [`Group`].
    pub group: u32,
}

/// A rule (`ip rule`), made for both families.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// In [`RULE_PRIORITIES`]; lower is looked at first.
    pub priority: u32,
    /// Packets that came in by this interface ... (Empty, only in the rule of [`TABLE_SEGMENTS`]: all packets.)
    pub incoming_interface: String,
    /// ... are looked up in this table first, one of [`OWN_TABLES`].
    pub table: u32,
}

/// A route that drops what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Discard {
    /// Routing table: [`TABLE_MAIN`] or one of [`OWN_TABLES`].
    pub table: u32,
    /// Destination.
    pub prefix: IpNetwork,
    /// Route metric.
    pub metric: u32,
    /// How.
    pub kind: DiscardKind,
}

/// How packets are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiscardKind {
    /// Silently (`RTN_BLACKHOLE`).
    Blackhole,
    /// The sender is told by ICMP (`RTN_UNREACHABLE`).
    Unreachable,
}

/// An SRv6 segment that is executed here (RFC 8986): a route to `segment`/128 in [`TABLE_SEGMENTS`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalSegment {
    /// The segment's address.
    pub segment: Ipv6Addr,
    /// The interface that the kernel hangs the route on; it must be up, and not `lo`.
    pub interface: String,
    /// What is done with a packet for it.
    pub behaviour: Behaviour,
}

/// What a segment does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Behaviour {
    /// On to the next segment.
    End,
    /// On to the next segment, by this neighbour.
    EndX {
        /// Interface of the neighbour.
        interface: String,
        /// The neighbour.
        next_hop: Ipv6Addr,
    },
    /// Unwrapped, and the IPv4 packet sent on.
    EndDx4 {
        /// By this neighbour; `0.0.0.0`: as the main table says.
        next_hop: Ipv4Addr,
    },
    /// Unwrapped, and the IPv6 packet sent on.
    EndDx6 {
        /// By this neighbour; `::`: as the main table says.
        next_hop: Ipv6Addr,
    },
    /// Unwrapped, and the IPv6 packet looked up in a table.
    EndDt6 {
        /// Routing table.
        table: u32,
    },
}

/// A VXLAN link (RFC 7348) without learning: where a packet goes is told, never guessed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vxlan {
    /// Interface name; begins with [`VXLAN_NAME_PREFIX`].
    pub name: String,
    /// Network identifier, 24 bits.
    pub vni: u32,
    /// Source of the outer packets.
    pub local: IpAddr,
    /// UDP destination port.
    pub port: u16,
    /// The link's own hardware address.
    pub mac: [u8; 6],
    /// Bytes.
    pub mtu_bytes: u32,
    /// Hardware address -> tunnel end, sorted.
    pub forwarding: Vec<VxlanForwarding>,
    /// Address -> hardware address, sorted.
    pub neighbours: Vec<VxlanNeighbour>,
}

/// A forwarding entry of a VXLAN link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VxlanForwarding {
    /// Hardware address of the far link.
    pub mac: [u8; 6],
    /// Address of the host that it is on.
    pub remote: IpAddr,
}

/// A permanent neighbour on a VXLAN link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VxlanNeighbour {
    /// Address behind the link.
    pub address: IpAddr,
    /// Hardware address that answers for it.
    pub mac: [u8; 6],
}

/// How far from the place of an even spread a class's routes are looked for at first.
const CLASS_REACH: usize = 8;

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
        // Numbers of classes are hashes: the place is about where an even spread would have it.
        let routes = &self.classes[..];
        let guess = ((routes.len() as u64 * u64::from(class.0)) >> u32::BITS) as usize;
        let (mut start, mut end, mut reach) = (guess, guess, CLASS_REACH);
        while start > 0 && routes[start - 1].class >= class {
            (start, end) = (start.saturating_sub(reach), start);
            reach *= 2;
        }
        while end < routes.len() && routes[end].class < class {
            (start, end) = (end, (end + reach).min(routes.len()));
            reach *= 2;
        }
        let start = start + routes[start..end].partition_point(|route| route.class < class);
        let length = routes[start..].iter().take_while(|route| route.class == class).count();
        &routes[start..start + length]
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
