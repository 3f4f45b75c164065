//! A program as the set of kernel objects that it stands for: what an agent compares with its kernel.

use crate::program::{
    Behaviour, DiscardKind, Encapsulation, Group, Member, RULE_PRIORITY_SEGMENTS, Resilient, Rule,
    TABLE_SEGMENTS, Vxlan,
};
use crate::{PrefixTable, Program};
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

/// Kernel objects by identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// As in `Settings::sysctls`.
    pub sysctls: BTreeMap<String, String>,
    /// Interface -> MTU in bytes.
    pub mtus: BTreeMap<String, u32>,
    /// (interface, address with prefix length).
    pub addresses: BTreeSet<(String, IpNetwork)>,
    /// (interface, address).
    pub neighbours: BTreeSet<(String, IpAddr)>,
    /// VXLAN links by name.
    pub vxlans: BTreeMap<String, VxlanLink>,
    /// (VXLAN link, hardware address) -> tunnel end.
    pub forwarding: BTreeMap<(String, [u8; 6]), IpAddr>,
    /// (VXLAN link, address) -> hardware address.
    pub vxlan_neighbours: BTreeMap<(String, IpAddr), [u8; 6]>,
    /// By id.
    pub nexthops: BTreeMap<u32, NexthopValue>,
    /// By id.
    pub groups: BTreeMap<u32, GroupValue>,
    /// Routes, discards included.
    pub routes: BTreeMap<RouteKey, RouteValue>,
    /// Segment -> (interface that its route hangs on, what it does).
    pub local_segments: BTreeMap<Ipv6Addr, (String, Behaviour)>,
    /// A rule of a program is one of each family; with local segments there is one more, which leads to their table.
    pub rules: BTreeSet<(Family, Rule)>,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What a VXLAN link is made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VxlanLink {
    /// Network identifier.
    pub vni: u32,
    /// Source of the outer packets.
    pub local: IpAddr,
    /// UDP destination port.
    pub port: u16,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Bytes.
    pub mtu_bytes: u32,
}

/// What a single next hop says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NexthopValue {
    /// Interface name.
    pub interface: String,
    /// Gateway.
    pub gateway: IpAddr,
    /// What packets are wrapped in.
    pub encapsulation: Option<Encapsulation>,
}

/// What a group says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupValue {
    /// Members, sorted.
    pub members: Vec<Member>,
    /// Options of a resilient group.
    pub resilient: Option<Resilient>,
}

/// What makes two routes the same route for the kernel (type of service is always 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteKey {
    /// Routing table.
    pub table: u32,
    /// Destination.
    pub prefix: IpNetwork,
    /// Priority; lower wins.
    pub metric: u32,
}

/// What a route says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteValue {
    /// Through a group.
    Via {
        /// Nexthop object id of the group (`RTA_NH_ID`).
        group: u32,
        /// `RTA_PREFSRC`.
        preferred_source: Option<IpAddr>,
        /// `RTAX_MTU`, bytes.
        mtu_bytes: Option<NonZeroU32>,
    },
    /// Nowhere.
    Discard(DiscardKind),
}

impl NexthopValue {
    /// A neighbour without an encapsulation.
    pub fn new(interface: impl Into<String>, gateway: IpAddr) -> NexthopValue {
        NexthopValue { interface: interface.into(), gateway, encapsulation: None }
    }
}

impl GroupValue {
    /// A group that spreads flows by hash.
    pub fn new(members: Vec<Member>) -> GroupValue {
        GroupValue { members, resilient: None }
    }
}

impl RouteValue {
    /// A route through a group with the link's MTU.
    pub fn via(group: u32, preferred_source: Option<IpAddr>) -> RouteValue {
        RouteValue::Via { group, preferred_source, mtu_bytes: None }
    }

    /// The group that it needs.
    pub fn group(&self) -> Option<u32> {
        match self {
            RouteValue::Via { group, .. } => Some(*group),
            RouteValue::Discard(_) => None,
        }
    }
}

impl Objects {
    /// All objects of a program. A class of the program that the table does not know gives no route.
    pub fn of(program: &Program, table: &PrefixTable) -> Objects {
        let settings = &program.settings;
        let addresses = settings.addresses.iter();
        let neighbours = settings.neighbours.iter();
        let mut objects = Objects {
            sysctls: settings.sysctls.clone(),
            mtus: settings.mtus.clone(),
            addresses: addresses.map(|address| (address.interface.clone(), address.address)).collect(),
            neighbours: neighbours
                .map(|neighbour| (neighbour.interface.clone(), neighbour.address))
                .collect(),
            nexthops: program
                .nexthops
                .iter()
                .map(|nexthop| {
                    let (interface, gateway) = (nexthop.interface.clone(), nexthop.gateway);
                    let encapsulation = nexthop.encapsulation.clone();
                    (nexthop.id, NexthopValue { interface, gateway, encapsulation })
                })
                .collect(),
            groups: program.groups.iter().map(|group| (group.id, group_value(group))).collect(),
            routes: routes(program, table),
            local_segments: program
                .local_segments
                .iter()
                .map(|local| (local.segment, (local.interface.clone(), local.behaviour.clone())))
                .collect(),
            rules: [Family::V4, Family::V6]
                .into_iter()
                .flat_map(|family| program.rules.iter().map(move |rule| (family, rule.clone())))
                .collect(),
            ..Objects::default()
        };
        if !program.local_segments.is_empty() {
            let rule = Rule {
                priority: RULE_PRIORITY_SEGMENTS,
                incoming_interface: String::new(),
                table: TABLE_SEGMENTS,
            };
            objects.rules.insert((Family::V6, rule));
        }
        program.vxlans.iter().for_each(|vxlan| objects.add_vxlan(vxlan));
        objects
    }

    fn add_vxlan(&mut self, vxlan: &Vxlan) {
        let Vxlan { name, vni, local, port, mac, mtu_bytes, forwarding, neighbours } = vxlan;
        let link = VxlanLink { vni: *vni, local: *local, port: *port, mac: *mac, mtu_bytes: *mtu_bytes };
        self.vxlans.insert(name.clone(), link);
        let forwarding = forwarding.iter().map(|entry| ((name.clone(), entry.mac), entry.remote));
        self.forwarding.extend(forwarding);
        let neighbours = neighbours.iter().map(|entry| ((name.clone(), entry.address), entry.mac));
        self.vxlan_neighbours.extend(neighbours);
    }
}

fn group_value(group: &Group) -> GroupValue {
    GroupValue { members: group.members.clone(), resilient: group.resilient }
}

fn routes(program: &Program, table: &PrefixTable) -> BTreeMap<RouteKey, RouteValue> {
    // Collected at once: a map that grows one by one in rising order has its nodes half empty.
    let mut routes = Vec::new();
    let has_mtus = program.groups.iter().any(|group| group.route_mtu_bytes.is_some());
    let mtu_bytes = |id| program.group(id).filter(|_| has_mtus).and_then(|group| group.route_mtu_bytes);
    for (prefix, class) in &table.entries {
        let preferred_source = match prefix {
            IpNetwork::V4(_) => program.preferred_source_v4.map(IpAddr::V4),
            IpNetwork::V6(_) => program.preferred_source_v6.map(IpAddr::V6),
        };
        for route in program.class_routes(*class) {
            let key = RouteKey { table: route.table, prefix: *prefix, metric: route.metric };
            let mtu_bytes = mtu_bytes(route.group);
            routes.push((key, RouteValue::Via { group: route.group, preferred_source, mtu_bytes }));
        }
    }
    for discard in &program.discards {
        let key = RouteKey { table: discard.table, prefix: discard.prefix, metric: discard.metric };
        routes.push((key, RouteValue::Discard(discard.kind)));
    }
    routes.into_iter().collect()
}
