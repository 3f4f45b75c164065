//! A program as the set of kernel objects that it stands for: what an agent compares with its kernel.

use crate::program::Member;
use crate::{PrefixTable, Program};
use ipnetwork::IpNetwork;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

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
    /// id -> (interface, gateway).
    pub nexthops: BTreeMap<u32, (String, IpAddr)>,
    /// id -> members, sorted.
    pub groups: BTreeMap<u32, Vec<Member>>,
    /// Routes.
    pub routes: BTreeMap<RouteKey, RouteValue>,
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
pub struct RouteValue {
    /// Nexthop object id of the group (`RTA_NH_ID`).
    pub group: u32,
    /// `RTA_PREFSRC`.
    pub preferred_source: Option<IpAddr>,
}

impl Objects {
    /// All objects of a program. A class of the program that the table does not know gives no route.
    pub fn of(program: &Program, table: &PrefixTable) -> Objects {
        let settings = &program.settings;
        let addresses = settings.addresses.iter();
        let neighbours = settings.neighbours.iter();
        Objects {
            sysctls: settings.sysctls.clone(),
            mtus: settings.mtus.clone(),
            addresses: addresses.map(|address| (address.interface.clone(), address.address)).collect(),
            neighbours: neighbours
                .map(|neighbour| (neighbour.interface.clone(), neighbour.address))
                .collect(),
            nexthops: program
                .nexthops
                .iter()
                .map(|nexthop| (nexthop.id, (nexthop.interface.clone(), nexthop.gateway)))
                .collect(),
            groups: program.groups.iter().map(|group| (group.id, group.members.clone())).collect(),
            routes: routes(program, table),
        }
    }
}

fn routes(program: &Program, table: &PrefixTable) -> BTreeMap<RouteKey, RouteValue> {
    let mut routes = BTreeMap::new();
    for (prefix, class) in &table.entries {
        let preferred_source = match prefix {
            IpNetwork::V4(_) => program.preferred_source_v4.map(IpAddr::V4),
            IpNetwork::V6(_) => program.preferred_source_v6.map(IpAddr::V6),
        };
        for route in program.class_routes(*class) {
            let key = RouteKey { table: route.table, prefix: *prefix, metric: route.metric };
            routes.insert(key, RouteValue { group: route.group, preferred_source });
        }
    }
    routes
}
