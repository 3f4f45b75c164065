//! A host's kernel: the objects that programs are made of, with the cascades of the real one.
//!
//! What is modelled was seen on Linux 6.18: carrier loss deletes the nexthops on the device, groups shed the leg, a group
//! left empty goes and takes its routes along; nothing comes back by itself. A local `link down` also takes the
//! IPv6 link-local addresses and the neighbours of the device. Foreign objects live beside ours.

use agent::core::kernel::{Actual, ActualNexthop, ActualRoute, Link, NexthopKind, Op, OpError, OpResults};
use ipnetwork::IpNetwork;
use plan::objects::{Family, GroupValue, NexthopValue, RouteKey, RouteValue};
use plan::program::Rule;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const ENOENT: i32 = 2;
const ESRCH: i32 = 3;
const EEXIST: i32 = 17;
const EOPNOTSUPP: i32 = 95;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const ENETDOWN: i32 = 100;
const EADDRNOTAVAIL: i32 = 99;

/// One host's kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SimKernel {
    links: BTreeMap<String, Link>,
    addresses: BTreeMap<(String, IpNetwork), bool>,
    neighbours: BTreeSet<(String, IpAddr)>,
    nexthops: BTreeMap<u32, ActualNexthop>,
    routes: BTreeMap<RouteKey, Route>,
    sysctls: BTreeMap<String, String>,
    rules: BTreeSet<(Family, Rule)>,
    /// Object messages that changed something or were refused: what a tracer would count.
    pub writes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    ours: bool,
    value: Option<RouteValue>,
}

/// What belongs to others: must survive everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    routes: BTreeSet<RouteKey>,
    nexthops: BTreeSet<u32>,
    addresses: BTreeSet<(String, IpNetwork)>,
}

impl SimKernel {
    /// A kernel with `lo` and these interfaces, all without carrier.
    pub fn new(interfaces: &[&str]) -> SimKernel {
        let mut kernel = SimKernel::default();
        for (at, name) in ["lo"].iter().chain(interfaces).enumerate() {
            let link = Link {
                index: at as u32 + 1,
                mac: Some([2, 0, 0, 0, 0, at as u8]),
                up: true,
                carrier: *name == "lo",
                mtu: 1_500,
                rx_packets: 0,
                tx_packets: 0,
            };
            kernel.links.insert((*name).to_string(), link);
        }
        kernel
    }

    /// The cable is plugged in or pulled out.
    pub fn set_carrier(&mut self, interface: &str, carrier: bool) {
        let Some(link) = self.links.get_mut(interface) else { return };
        link.carrier = carrier && link.up;
        if !carrier {
            self.drop_nexthops_on(interface);
        }
    }

    /// `ip link set INTERFACE up|down` on this host.
    pub fn set_up(&mut self, interface: &str, up: bool) {
        let Some(link) = self.links.get_mut(interface) else { return };
        link.up = up;
        if up {
            return;
        }
        link.carrier = false;
        self.drop_nexthops_on(interface);
        self.neighbours.retain(|(at, _)| at != interface);
        self.addresses.retain(|(at, address), _| at != interface || !is_link_local(address));
    }

    /// Packets came in over an interface.
    pub fn receive(&mut self, interface: &str, packets: u64) {
        if let Some(link) = self.links.get_mut(interface) {
            link.rx_packets += packets;
        }
    }

    /// Somebody else adds a route, a nexthop object and an address.
    pub fn foreign_hand_adds(&mut self, prefix: IpNetwork, nexthop: u32) {
        let key = RouteKey { table: 254, prefix, metric: 50 };
        self.routes.insert(key, Route { ours: false, value: None });
        self.nexthops.insert(nexthop, ActualNexthop { ours: false, kind: NexthopKind::Other });
        self.addresses.insert(("lo".to_string(), prefix), false);
    }

    /// Somebody wipes all routes with our mark (`ip route flush proto 91`).
    pub fn foreign_hand_wipes_our_routes(&mut self) {
        self.routes.retain(|_, route| !route.ours);
    }

    /// The host reboots: everything that is not on disk is gone; interfaces come back.
    pub fn reboot(&mut self) {
        let links = std::mem::take(&mut self.links);
        let writes = self.writes;
        *self = SimKernel { links, writes, ..SimKernel::default() };
    }

    /// Objects without our mark.
    pub fn foreign(&self) -> Foreign {
        Foreign {
            routes: self.routes.iter().filter(|(_, route)| !route.ours).map(|(key, _)| *key).collect(),
            nexthops: self.nexthops.iter().filter(|(_, nexthop)| !nexthop.ours).map(|(id, _)| *id).collect(),
            addresses: self
                .addresses
                .iter()
                .filter(|(_, ours)| !**ours)
                .map(|(key, _)| key.clone())
                .collect(),
        }
    }

    /// All links.
    pub fn links(&self) -> BTreeMap<String, Link> {
        self.links.clone()
    }

    /// One complete reading.
    pub fn read(&self, sysctls: &[String]) -> Actual {
        let (ours, foreign): (Vec<_>, Vec<_>) = self.routes.iter().partition(|(_, route)| route.ours);
        Actual {
            links: self.links.clone(),
            addresses: self.addresses.clone(),
            neighbours: self.neighbours.clone(),
            nexthops: self.nexthops.clone(),
            routes: ours.into_iter().map(|(key, route)| (*key, ActualRoute { value: route.value })).collect(),
            right: agent::core::wanted::Places::default(),
            foreign_routes: foreign.into_iter().map(|(key, _)| *key).collect(),
            sysctls: sysctls
                .iter()
                .map(|name| {
                    (name.clone(), self.sysctls.get(name).cloned().unwrap_or_else(|| "0".to_string()))
                })
                .collect(),
            rules: self.rules.clone(),
            ..Actual::default()
        }
    }

    /// Carries out operations in order.
    pub fn apply(&mut self, ops: &[Op]) -> OpResults {
        ops.iter().map(|op| self.carry_out(op)).collect()
    }

    /// Interfaces over which a packet to `destination` may leave; empty: no route. `None`: the address is this
    /// host's own.
    pub fn forward(&self, destination: IpAddr) -> Option<Vec<String>> {
        if self.addresses.keys().any(|(_, address)| address.ip() == destination) {
            return None;
        }
        let fitting =
            self.routes.iter().filter(|(key, _)| key.table == 254 && key.prefix.contains(destination));
        let best = fitting.min_by_key(|(key, _)| (std::cmp::Reverse(key.prefix.prefix()), key.metric));
        let group = best.and_then(|(_, route)| route.value).and_then(|value| value.group());
        Some(group.map(|group| self.interfaces_of(group)).unwrap_or_default())
    }

    fn interfaces_of(&self, nexthop: u32) -> Vec<String> {
        match self.nexthops.get(&nexthop).map(|nexthop| &nexthop.kind) {
            Some(NexthopKind::Single(value)) => vec![value.interface.clone()],
            Some(NexthopKind::Group(value)) => {
                value.members.iter().flat_map(|member| self.interfaces_of(member.nexthop)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn carry_out(&mut self, op: &Op) -> Result<(), OpError> {
        if !matches!(op, Op::SetSysctl { .. }) {
            self.writes += 1;
        }
        match op {
            Op::SetSysctl { name, value } => {
                self.sysctls.insert(name.clone(), value.clone());
            }
            Op::SetMtu { interface, mtu } => self.link(interface)?.mtu = *mtu,
            Op::PutAddress { interface, address } => {
                self.link(interface)?;
                self.addresses.insert((interface.clone(), *address), true);
            }
            Op::DelAddress { interface, address } => {
                let gone = self.addresses.remove(&(interface.clone(), *address));
                gone.ok_or_else(|| refused(EADDRNOTAVAIL, "Cannot assign requested address"))?;
            }
            Op::PutNeighbour { interface, address } => {
                self.link(interface)?;
                self.neighbours.insert((interface.clone(), *address));
            }
            Op::DelNeighbour { interface, address } => {
                if !self.neighbours.remove(&(interface.clone(), *address)) {
                    return Err(refused(ESRCH, "No such process"));
                }
            }
            Op::PutNexthop { id, value, .. } => self.put_nexthop(*id, value)?,
            Op::PutGroup { id, value, .. } => self.put_group(*id, value)?,
            Op::DelNexthop { id } => {
                self.nexthops.remove(id).ok_or_else(|| refused(ESRCH, "No such process"))?;
                self.cascade();
            }
            Op::PutRoute { key, value, .. } => self.put_route(*key, *value)?,
            Op::DelRoute { key } => match self.routes.get(key) {
                Some(route) if route.ours => {
                    self.routes.remove(key);
                }
                _ => return Err(refused(ESRCH, "No such process")),
            },
            Op::PutRule { family, rule } => {
                if !self.rules.insert((*family, rule.clone())) {
                    return Err(refused(EEXIST, "File exists"));
                }
            }
            Op::DelRule { family, rule } => {
                if !self.rules.remove(&(*family, rule.clone())) {
                    return Err(refused(ENOENT, "No such file or directory"));
                }
            }
            // This kernel was built without tunnels.
            Op::PutVxlan { .. }
            | Op::DelVxlan { .. }
            | Op::PutForwarding { .. }
            | Op::DelForwarding { .. }
            | Op::PutVxlanNeighbour { .. }
            | Op::DelVxlanNeighbour { .. }
            | Op::PutLocalSegment { .. } => return Err(refused(EOPNOTSUPP, "Operation not supported")),
        }
        Ok(())
    }

    fn link(&mut self, interface: &str) -> Result<&mut Link, OpError> {
        self.links.get_mut(interface).ok_or_else(|| refused(ENODEV, "No such device"))
    }

    fn put_nexthop(&mut self, id: u32, value: &NexthopValue) -> Result<(), OpError> {
        let link = self.link(&value.interface)?;
        if !link.carrier {
            return Err(refused(ENETDOWN, "Carrier for nexthop device is down"));
        }
        if matches!(self.nexthops.get(&id), Some(ActualNexthop { kind: NexthopKind::Group(_), .. })) {
            return Err(refused(EINVAL, "Can not replace a nexthop group with a nexthop"));
        }
        let kind = NexthopKind::Single(value.clone());
        self.nexthops.insert(id, ActualNexthop { ours: true, kind });
        Ok(())
    }

    fn put_group(&mut self, id: u32, value: &GroupValue) -> Result<(), OpError> {
        let members = &value.members;
        if members.is_empty() || members.iter().any(|member| !self.nexthops.contains_key(&member.nexthop)) {
            return Err(refused(EINVAL, "Invalid nexthop id"));
        }
        self.nexthops.insert(id, ActualNexthop { ours: true, kind: NexthopKind::Group(value.clone()) });
        Ok(())
    }

    fn put_route(&mut self, key: RouteKey, value: RouteValue) -> Result<(), OpError> {
        if value.group().is_some_and(|group| !self.nexthops.contains_key(&group)) {
            return Err(refused(EINVAL, "Nexthop id does not exist"));
        }
        let local = |source: IpAddr| self.addresses.keys().any(|(_, address)| address.ip() == source);
        if let RouteValue::Via { preferred_source: Some(source), .. } = value
            && !local(source)
        {
            return Err(refused(EINVAL, "Invalid prefsrc address"));
        }
        self.routes.insert(key, Route { ours: true, value: Some(value) });
        Ok(())
    }

    fn drop_nexthops_on(&mut self, interface: &str) {
        self.nexthops.retain(|_, nexthop| match &nexthop.kind {
            NexthopKind::Single(value) => value.interface != interface,
            _ => true,
        });
        self.cascade();
    }

    /// Groups shed legs that are gone; empty groups go; routes through what is gone go.
    fn cascade(&mut self) {
        let alive: BTreeSet<u32> = self.nexthops.keys().copied().collect();
        for nexthop in self.nexthops.values_mut() {
            if let NexthopKind::Group(value) = &mut nexthop.kind {
                value.members.retain(|member| alive.contains(&member.nexthop));
            }
        }
        self.nexthops.retain(
            |_, nexthop| !matches!(&nexthop.kind, NexthopKind::Group(value) if value.members.is_empty()),
        );
        let alive: BTreeSet<u32> = self.nexthops.keys().copied().collect();
        let stands = |value: RouteValue| value.group().is_none_or(|group| alive.contains(&group));
        self.routes.retain(|_, route| route.value.is_none_or(stands));
    }
}

fn is_link_local(address: &IpNetwork) -> bool {
    matches!(address.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local())
}

fn refused(errno: i32, text: &str) -> OpError {
    OpError { errno, text: text.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::program::Member;

    fn route(prefix: &str, metric: u32) -> RouteKey {
        RouteKey { table: 254, prefix: prefix.parse().unwrap(), metric }
    }

    fn programmed() -> SimKernel {
        let mut kernel = SimKernel::new(&["eth1", "eth2"]);
        kernel.set_carrier("eth1", true);
        kernel.set_carrier("eth2", true);
        let value = |group| RouteValue::via(group, None);
        let single = |id, interface: &str| Op::PutNexthop {
            replace: false,
            id,
            value: NexthopValue::new(interface, "fe80::2".parse().unwrap()),
        };
        let member = |nexthop| Member { nexthop, weight: 1 };
        let ops = [
            single(1, "eth1"),
            single(2, "eth2"),
            Op::PutGroup { replace: false, id: 11, value: GroupValue::new(vec![member(1)]) },
            Op::PutGroup { replace: false, id: 12, value: GroupValue::new(vec![member(2)]) },
            Op::PutRoute { replace: false, key: route("10.0.0.0/24", 100), value: value(11) },
            Op::PutRoute { replace: false, key: route("10.0.0.0/24", 200), value: value(12) },
        ];
        assert!(kernel.apply(&ops).iter().all(Result::is_ok));
        kernel
    }

    #[test]
    fn carrier_loss_takes_the_empty_group_and_its_routes_and_the_backup_route_carries_on() {
        let mut kernel = programmed();
        assert_eq!(kernel.forward("10.0.0.9".parse().unwrap()), Some(vec!["eth1".to_string()]));
        kernel.set_carrier("eth1", false);
        assert_eq!(kernel.forward("10.0.0.9".parse().unwrap()), Some(vec!["eth2".to_string()]));
        kernel.set_carrier("eth1", true);
        assert_eq!(kernel.read(&[]).routes.len(), 1, "nothing comes back by itself");
    }

    #[test]
    fn a_foreign_route_is_not_deleted_by_our_request() {
        let mut kernel = programmed();
        kernel.foreign_hand_adds("192.0.2.0/24".parse().unwrap(), 7);
        let before = kernel.foreign();
        let results = kernel.apply(&[Op::DelRoute { key: route("192.0.2.0/24", 50) }]);
        assert_eq!(results, vec![Err(refused(ESRCH, "No such process"))]);
        kernel.foreign_hand_wipes_our_routes();
        assert_eq!(kernel.foreign(), before);
        assert!(kernel.read(&[]).routes.is_empty());
    }

    #[test]
    fn a_group_of_an_unknown_member_is_refused_alone() {
        let mut kernel = programmed();
        let value = GroupValue::new(vec![Member { nexthop: 99, weight: 1 }]);
        let bad = Op::PutGroup { replace: false, id: 13, value };
        let results = kernel.apply(&[bad, Op::DelRoute { key: route("10.0.0.0/24", 200) }]);
        assert_eq!((results[0].is_err(), results[1].is_ok()), (true, true));
    }
}
