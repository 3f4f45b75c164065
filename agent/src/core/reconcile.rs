//! Desired objects and a reading of the kernel to ordered operations. Never guesses: what it cannot install yet is
//! *pending* with the event that it waits for, what stands in the way of another's object is *refused*.
//!
//! Order: settings, VXLAN links with their entries, addresses, neighbours, local segments, next hops, groups, routes, rules in;
//! then rules, local segments, routes, groups, next hops, neighbours, addresses, VXLAN links out. The other order would leave prefixes dark for a netlink round trip.

mod kinds;

use crate::core::features::Feature;
use crate::core::kernel::{Actual, ActualNexthop, NexthopKind, Op};
use crate::core::ownership::{id_is_ours, nexthop_is_ours};
use crate::core::repair::{Overlay, Repair};
use crate::core::states::{On, Waitings};
use crate::core::wanted::Desired;
use plan::Objects;
use plan::diff::{mac_text, rule_text};
use plan::objects::{GroupValue, NexthopValue, RouteKey, RouteValue};
use plan::program::{GROUP_IDS, Member, TABLE_MAIN, TABLE_SEGMENTS};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What is to be done, and what cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// In the order in which they must be carried out.
    pub ops: Vec<Op>,
    /// Objects that wait, with what for.
    pub pending: Waitings,
    /// Objects that another's object stands in the way of.
    pub refused: Waitings,
    /// Objects that are in the kernel as they should be.
    pub installed: u64,
    /// `ops` was cut off at [`OPS_MAX`]: there is more to do when they are done.
    pub more: bool,
}

/// Operations of one pass: memory for a million routes at a time would be for nothing.
pub const OPS_MAX: usize = 1 << 16;

/// What the kernel alone does not show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Groups that local repair has changed.
    pub overlay: Overlay,
    /// Interfaces that came back and are not trusted yet.
    pub held: BTreeSet<String>,
}

/// An operation's object in words, as in the lists of states.
pub fn object(op: &Op) -> String {
    match op {
        Op::SetSysctl { name, .. } => format!("sysctl {name}"),
        Op::SetMtu { interface, .. } => format!("MTU of {interface}"),
        Op::PutAddress { interface, address } | Op::DelAddress { interface, address } => {
            format!("address {address} on {interface}")
        }
        Op::PutNeighbour { interface, address } | Op::DelNeighbour { interface, address } => {
            format!("neighbour {address} on {interface}")
        }
        Op::PutNexthop { id, .. } => format!("nexthop {id:#x}"),
        Op::PutGroup { id, .. } => format!("group {id:#x}"),
        Op::DelNexthop { id } if GROUP_IDS.contains(id) => format!("group {id:#x}"),
        Op::DelNexthop { id } => format!("nexthop {id:#x}"),
        Op::PutRoute { key, .. } | Op::DelRoute { key } => route(key),
        Op::PutVxlan { name, .. } | Op::DelVxlan { name } => format!("VXLAN link {name}"),
        Op::PutForwarding { link, mac, .. } | Op::DelForwarding { link, mac, .. } => {
            format!("forwarding of {} on {link}", mac_text(mac))
        }
        Op::PutVxlanNeighbour { link, address, .. } | Op::DelVxlanNeighbour { link, address } => {
            format!("neighbour {address} on {link}")
        }
        Op::PutLocalSegment { segment, .. } => format!("local segment {segment}"),
        Op::PutRule { family, rule } | Op::DelRule { family, rule } => rule_text(*family, rule),
    }
}

/// A route in words.
pub(crate) fn route(key: &RouteKey) -> String {
    match key.table {
        TABLE_MAIN => format!("route {} metric {}", key.prefix, key.metric),
        TABLE_SEGMENTS => format!("local segment {}", key.prefix.ip()),
        table => format!("route {} table {table} metric {}", key.prefix, key.metric),
    }
}

/// Compares what should be with what is, under no special conditions.
pub fn reconcile(desired: &Objects, actual: &Actual) -> Reconciliation {
    compare(desired, actual, &Conditions::default())
}

/// Compares what should be with what is.
pub fn compare(desired: &dyn Desired, actual: &Actual, conditions: &Conditions) -> Reconciliation {
    let mut work = Work::of(desired, actual, conditions);
    work.routes();
    work.rules();
    work.removals();
    work.out.more = work.out.ops.len() > OPS_MAX;
    work.out.ops.truncate(OPS_MAX);
    work.out
}

/// Compares some routes alone, where everything else is known to stand.
pub fn compare_routes<'a>(
    desired: &dyn Desired,
    actual: &Actual,
    conditions: &Conditions,
    keys: impl Iterator<Item = &'a RouteKey>,
) -> Vec<Op> {
    let mut work = Work::of(desired, actual, conditions);
    work.out.ops.clear();
    for key in keys {
        match desired.route(key) {
            Some(value) => work.route(None, *key, value),
            None if actual.routes.contains_key(key) => work.out.ops.push(Op::DelRoute { key: *key }),
            None => {}
        }
    }
    work.out.ops
}

struct Work<'a> {
    routes: &'a dyn Desired,
    desired: &'a Objects,
    actual: &'a Actual,
    conditions: &'a Conditions,
    out: Reconciliation,
    /// Nexthop objects, groups included, that are in the kernel or will be after `ops`.
    usable: BTreeSet<u32>,
    /// Interfaces that `ops` make, or make anew.
    made: BTreeSet<String>,
    /// Local addresses that are there or will be after `ops`.
    sources: BTreeSet<IpAddr>,
}

impl<'a> Work<'a> {
    /// With everything compared but routes.
    fn of(routes: &'a dyn Desired, actual: &'a Actual, conditions: &'a Conditions) -> Work<'a> {
        let mut work = Work {
            routes,
            desired: routes.objects(),
            actual,
            conditions,
            out: Reconciliation::default(),
            usable: BTreeSet::new(),
            made: BTreeSet::new(),
            sources: actual.addresses.keys().map(|(_, address)| address.ip()).collect(),
        };
        work.settings();
        work.vxlans();
        work.addresses();
        work.neighbours();
        work.local_segments();
        work.nexthops();
        work.groups();
        work
    }
}

impl Work<'_> {
    fn settle(&mut self, right: bool, op: impl FnOnce() -> Op) {
        if right { self.out.installed += 1 } else { self.out.ops.push(op()) }
    }

    fn pending(&mut self, object: String, (on, reason): (On, String)) {
        self.out.pending.push(object, on, || reason);
    }

    fn refused(&mut self, object: String, reason: &str) {
        self.out.refused.push(object, On::Refusal, || reason.to_string());
    }

    /// Why nothing can be put on an interface now.
    fn obstacle(&self, interface: &str, needs_carrier: bool) -> Option<(On, String)> {
        if self.made.contains(interface) {
            return None;
        }
        let why = match self.actual.links.get(interface) {
            None => format!("there is no interface {interface}"),
            Some(link) if !link.up => format!("interface {interface} is down"),
            Some(link) if needs_carrier && !link.carrier => format!("interface {interface} has no carrier"),
            Some(_) => return None,
        };
        Some((On::Link(interface.to_string()), why))
    }

    /// Why no traffic is sent over an interface now.
    fn obstacle_to_traffic(&self, interface: &str) -> Option<(On, String)> {
        self.obstacle(interface, true).or_else(|| {
            let held = || format!("interface {interface} came back and must stay for a while first");
            self.conditions.held.contains(interface).then(|| (On::Hold(interface.to_string()), held()))
        })
    }

    fn settings(&mut self) {
        for (name, value) in &self.desired.sysctls {
            match self.actual.sysctls.get(name) {
                None => {
                    let why = "this kernel does not have it (yet)".to_string();
                    self.pending(format!("sysctl {name}"), (On::Kernel, why));
                }
                Some(found) => {
                    let op = || Op::SetSysctl { name: name.clone(), value: value.clone() };
                    self.settle(found == value, op);
                }
            }
        }
        for (interface, mtu) in &self.desired.mtus {
            match self.actual.links.get(interface).map(|link| link.mtu) {
                None => {
                    let why = format!("there is no interface {interface}");
                    self.pending(format!("MTU of {interface}"), (On::Link(interface.clone()), why));
                }
                Some(found) => {
                    self.settle(found == *mtu, || Op::SetMtu { interface: interface.clone(), mtu: *mtu })
                }
            }
        }
    }

    fn addresses(&mut self) {
        for (interface, address) in &self.desired.addresses {
            let there = self.actual.addresses.contains_key(&(interface.clone(), *address));
            if there && !self.made.contains(interface) {
                self.out.installed += 1;
                continue;
            }
            let op = Op::PutAddress { interface: interface.clone(), address: *address };
            if self.lacks(Feature::AddressProtocol, || object(&op)) {
                continue;
            }
            match self.obstacle(interface, false) {
                Some(why) => self.pending(object(&op), why),
                None => {
                    self.sources.insert(address.ip());
                    self.out.ops.push(op);
                }
            }
        }
    }

    fn neighbours(&mut self) {
        for (interface, address) in &self.desired.neighbours {
            let op = Op::PutNeighbour { interface: interface.clone(), address: *address };
            if self.lacks(Feature::ManagedNeighbours, || object(&op)) {
                continue;
            }
            let there = self.actual.neighbours.contains(&(interface.clone(), *address));
            let there = there && !self.made.contains(interface);
            match self.obstacle(interface, true) {
                Some(why) => self.pending(object(&op), why),
                None => self.settle(there, || op),
            }
        }
    }

    /// Another daemon's object has this id.
    fn taken(&self, id: u32) -> bool {
        self.actual.nexthops.get(&id).is_some_and(|found| !nexthop_is_ours(id, found))
    }

    fn nexthops(&mut self) {
        for (id, value) in &self.desired.nexthops {
            let replace = self.actual.nexthops.contains_key(id);
            let op = Op::PutNexthop { replace, id: *id, value: value.clone() };
            let wrapped = value.encapsulation.is_some() && self.lacks(Feature::Seg6, || object(&op));
            if wrapped || self.lacks(Feature::NexthopObjects, || object(&op)) {
                continue;
            }
            if self.taken(*id) {
                self.refused(
                    object(&op),
                    "an object of another owner has this id: find who uses ids of Ballast's range",
                );
                continue;
            }
            let found = self.actual.nexthops.get(id);
            let right = found.is_some_and(|found| is_single(found, value));
            // One that is in use already is not taken away because its link is watched.
            let at = &value.interface;
            let obstacle = if right { self.obstacle(at, true) } else { self.obstacle_to_traffic(at) };
            if let Some(why) = obstacle {
                self.pending(object(&op), why);
                continue;
            }
            self.usable.insert(*id);
            let right = right && !self.is_on_a_new_link(value);
            self.settle(right, || op);
        }
    }

    fn groups(&mut self) {
        for (id, GroupValue { members, resilient }) in &self.desired.groups {
            let name = format!("group {id:#x}");
            if resilient.is_some() && self.lacks(Feature::ResilientGroups, || name.clone()) {
                continue;
            }
            let repair = self.conditions.overlay.get(id);
            if repair.is_some_and(Repair::is_gone) {
                continue;
            }
            let members = repair.and_then(Repair::members).unwrap_or(members);
            if self.taken(*id) {
                self.refused(
                    name,
                    "an object of another owner has this id: find who uses ids of Ballast's range",
                );
                continue;
            }
            let legs: Vec<Member> =
                members.iter().filter(|leg| self.usable.contains(&leg.nexthop)).copied().collect();
            if legs.is_empty() {
                let first = members.first().map_or(0, |leg| leg.nexthop);
                let why = "none of its next hops can be installed now".to_string();
                self.pending(name, (On::Nexthop(first), why));
                continue;
            }
            self.usable.insert(*id);
            let whole = legs.len() == members.len();
            let value = GroupValue { members: legs, resilient: *resilient };
            let found = self.actual.nexthops.get(id);
            let replace = found.is_some();
            let right = found.is_some_and(|found| is_group(found, &value)) && !self.loses_a_leg(&value);
            if self.must_go_first(*id, |kind| can_become(kind, &value)) {
                self.out.ops.push(Op::DelNexthop { id: *id });
            }
            if let Some(absent) = members.iter().find(|leg| !self.usable.contains(&leg.nexthop)) {
                let why = format!("has {} of {} legs", value.members.len(), members.len());
                self.pending(name, (On::Nexthop(absent.nexthop), why));
            }
            match (right, whole) {
                (true, true) => self.out.installed += 1,
                (true, false) => {}
                (false, _) => self.out.ops.push(Op::PutGroup { replace, id: *id, value }),
            }
        }
    }

    fn routes(&mut self) {
        let routes = self.routes;
        routes.each_route(&mut |place, key, value| self.route(place, key, value));
    }

    /// One route; `place` is where it is marked when it stands as wanted.
    fn route(&mut self, place: Option<usize>, key: RouteKey, value: RouteValue) {
        if self.suspended(&key, &value) {
            return;
        }
        if !self.actual.foreign_routes.is_empty() && self.actual.foreign_routes.contains(&key) {
            let why = "a route of another owner stands there with the same metric: remove or move it";
            return self.refused(route(&key), why);
        }
        if let Some(group) = value.group().filter(|group| !self.usable.contains(group)) {
            return self.out.pending.push(route(&key), On::Nexthop(group), || {
                format!("group {group:#x} cannot be installed now")
            });
        }
        if place.is_some_and(|place| self.actual.right.has(place)) {
            self.out.installed += 1;
            return;
        }
        let found = self.actual.routes.get(&key);
        let right = found.is_some_and(|found| found.value == Some(value));
        if let Some(source) = source(&value).filter(|source| !right && !self.sources.contains(source)) {
            return self.out.pending.push(route(&key), On::Address(source), || {
                format!("its source address {source} is not on this host")
            });
        }
        if self.out.ops.len() > OPS_MAX && !right {
            return;
        }
        // The kernel takes a route without an MTU for the same as one with it, says yes, and changes nothing.
        let loses_its_mtu =
            found.is_some_and(|found| has_mtu(found.value.as_ref())) && !has_mtu(Some(&value));
        // A discard is another route for the kernel and takes its place at once.
        if loses_its_mtu && value.group().is_some() {
            self.out.ops.push(Op::DelRoute { key });
            self.out.ops.push(Op::PutRoute { replace: false, key, value });
        } else {
            self.settle(right, || Op::PutRoute { replace: found.is_some(), key, value });
        }
    }

    /// What local repair has made of a route's group.
    fn repair_of(&self, value: &RouteValue) -> Option<&Repair> {
        self.conditions.overlay.get(&value.group()?)
    }

    /// Local repair has taken the route away.
    fn suspended(&self, key: &RouteKey, value: &RouteValue) -> bool {
        let repair = self.repair_of(value);
        repair.is_some_and(|repair| repair.suspends(|| self.routes.class(key)))
    }

    /// A route that is there should not be.
    fn is_surplus(&self, key: &RouteKey) -> bool {
        match self.routes.route(key) {
            None => true,
            // Those of a group that goes go with it.
            Some(value) => {
                self.suspended(key, &value) && !self.repair_of(&value).is_some_and(Repair::is_gone)
            }
        }
    }

    fn removals(&mut self) {
        self.removals_before_routes();
        let room = (OPS_MAX + 1).saturating_sub(self.out.ops.len());
        let gone = self.actual.routes.keys().filter(|key| self.is_surplus(key));
        let gone: Vec<Op> = gone.take(room).map(|key| Op::DelRoute { key: *key }).collect();
        self.out.ops.extend(gone);
        let repaired_away = |id: &u32| self.conditions.overlay.get(id).is_some_and(Repair::is_gone);
        let wanted = |id: &u32| {
            self.desired.groups.contains_key(id) && !repaired_away(id)
                || self.desired.nexthops.contains_key(id)
        };
        let ours = self.actual.nexthops.iter().filter(|(id, found)| nexthop_is_ours(**id, found));
        let (groups, singles): (Vec<u32>, Vec<u32>) =
            ours.map(|(id, _)| *id).filter(|id| !wanted(id)).partition(|id| GROUP_IDS.contains(id));
        debug_assert!(groups.iter().chain(&singles).all(|id| id_is_ours(*id)));
        self.out.ops.extend(groups.into_iter().chain(singles).map(|id| Op::DelNexthop { id }));
        for (interface, address) in self.actual.neighbours.difference(&self.desired.neighbours) {
            self.out.ops.push(Op::DelNeighbour { interface: interface.clone(), address: *address });
        }
        let ours = self.actual.addresses.iter().filter(|(_, ours)| **ours).map(|(key, _)| key);
        for (interface, address) in ours.filter(|key| !self.desired.addresses.contains(*key)) {
            self.out.ops.push(Op::DelAddress { interface: interface.clone(), address: *address });
        }
        self.removals_of_tunnels();
    }
}

fn has_mtu(value: Option<&RouteValue>) -> bool {
    matches!(value, Some(RouteValue::Via { mtu_bytes: Some(_), .. }))
}

fn source(value: &RouteValue) -> Option<IpAddr> {
    match value {
        RouteValue::Via { preferred_source, .. } => *preferred_source,
        RouteValue::Discard(_) => None,
    }
}

fn is_single(found: &ActualNexthop, value: &NexthopValue) -> bool {
    matches!(&found.kind, NexthopKind::Single(found) if found == value)
}

fn is_group(found: &ActualNexthop, value: &GroupValue) -> bool {
    matches!(&found.kind, NexthopKind::Group(found) if found == value)
}

/// The kernel changes neither a group's type nor its number of buckets.
fn can_become(kind: &NexthopKind, value: &GroupValue) -> bool {
    let buckets = |value: &GroupValue| value.resilient.map(|resilient| resilient.buckets);
    matches!(kind, NexthopKind::Group(found) if buckets(found) == buckets(value))
}

/// Number of object messages among operations: everything but sysctls, which are files.
pub fn writes(ops: &[Op]) -> u64 {
    ops.iter().filter(|op| !matches!(op, Op::SetSysctl { .. })).count() as u64
}

/// Names of the sysctls that are compared.
pub fn sysctls(desired: &dyn Desired) -> impl Iterator<Item = &String> {
    desired.objects().sysctls.keys()
}
