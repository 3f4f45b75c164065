//! Desired objects and a reading of the kernel to ordered operations. Never guesses: what it cannot install yet is
//! *pending* with the event that it waits for, what stands in the way of another's object is *refused*.
//!
//! Order: settings, VXLAN links with their entries, addresses, neighbours, local segments, next hops, groups, routes, rules in;
//! then rules, local segments, routes, groups, next hops, neighbours, addresses, VXLAN links out. The other order would leave prefixes dark for a netlink round trip.

mod kinds;

use crate::core::features::Feature;
use crate::core::kernel::{Actual, ActualNexthop, NexthopKind, Op};
use crate::core::ownership::{id_is_ours, nexthop_is_ours};
use plan::Objects;
use plan::diff::{mac_text, rule_text};
use plan::objects::{GroupValue, NexthopValue, RouteKey};
use plan::program::{GROUP_IDS, Member, TABLE_MAIN, TABLE_SEGMENTS};
use std::collections::BTreeSet;

/// What is to be done, and what cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconciliation {
    /// In the order in which they must be carried out.
    pub ops: Vec<Op>,
    /// Objects that wait, with what for.
    pub pending: Vec<Waiting>,
    /// Objects that another's object stands in the way of.
    pub refused: Vec<Waiting>,
    /// Objects that are in the kernel as they should be.
    pub installed: u64,
}

/// An object that is not installed, and why.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// In words: `route 10.1.0.0/24 metric 100`.
    pub object: String,
    /// In words.
    pub reason: String,
}

/// An operation's object in words, as in [`Waiting::object`].
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

/// Compares what should be with what is.
pub fn reconcile(desired: &Objects, actual: &Actual) -> Reconciliation {
    let mut work = Work {
        desired,
        actual,
        out: Reconciliation::default(),
        usable: BTreeSet::new(),
        made: BTreeSet::new(),
    };
    work.settings();
    work.vxlans();
    work.addresses();
    work.neighbours();
    work.local_segments();
    work.nexthops();
    work.groups();
    work.routes();
    work.rules();
    work.removals();
    work.out
}

struct Work<'a> {
    desired: &'a Objects,
    actual: &'a Actual,
    out: Reconciliation,
    /// Nexthop objects, groups included, that are in the kernel or will be after `ops`.
    usable: BTreeSet<u32>,
    /// Interfaces that `ops` make, or make anew.
    made: BTreeSet<String>,
}

impl Work<'_> {
    fn settle(&mut self, right: bool, op: impl FnOnce() -> Op) {
        if right { self.out.installed += 1 } else { self.out.ops.push(op()) }
    }

    fn pending(&mut self, object: String, reason: String) {
        self.out.pending.push(Waiting { object, reason });
    }

    fn refused(&mut self, object: String, reason: &str) {
        self.out.refused.push(Waiting { object, reason: reason.to_string() });
    }

    /// Why nothing can be put on an interface now.
    fn obstacle(&self, interface: &str, needs_carrier: bool) -> Option<String> {
        if self.made.contains(interface) {
            return None;
        }
        match self.actual.links.get(interface) {
            None => Some(format!("there is no interface {interface}")),
            Some(link) if !link.up => Some(format!("interface {interface} is down")),
            Some(link) if needs_carrier && !link.carrier => {
                Some(format!("interface {interface} has no carrier"))
            }
            Some(_) => None,
        }
    }

    fn settings(&mut self) {
        for (name, value) in &self.desired.sysctls {
            match self.actual.sysctls.get(name) {
                None => {
                    self.pending(format!("sysctl {name}"), "this kernel does not have it (yet)".to_string())
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
                    self.pending(format!("MTU of {interface}"), format!("there is no interface {interface}"))
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
                None => self.out.ops.push(op),
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
            if let Some(why) = self.obstacle(&value.interface, true) {
                self.pending(object(&op), why);
                continue;
            }
            self.usable.insert(*id);
            let found = self.actual.nexthops.get(id);
            let right = found.is_some_and(|found| is_single(found, value)) && !self.is_on_a_new_link(value);
            self.settle(right, || op);
        }
    }

    fn groups(&mut self) {
        for (id, GroupValue { members, resilient }) in &self.desired.groups {
            let name = format!("group {id:#x}");
            if resilient.is_some() && self.lacks(Feature::ResilientGroups, || name.clone()) {
                continue;
            }
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
                self.pending(name, "none of its next hops can be installed now".to_string());
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
            if !whole {
                self.pending(name, format!("has {} of {} legs", value.members.len(), members.len()));
            }
            match (right, whole) {
                (true, true) => self.out.installed += 1,
                (true, false) => {}
                (false, _) => self.out.ops.push(Op::PutGroup { replace, id: *id, value }),
            }
        }
    }

    fn routes(&mut self) {
        for (key, value) in &self.desired.routes {
            if self.actual.foreign_routes.contains(key) {
                self.refused(
                    route(key),
                    "a route of another owner stands there with the same metric: remove or move it",
                );
            } else if let Some(group) = value.group().filter(|group| !self.usable.contains(group)) {
                self.pending(route(key), format!("group {group:#x} cannot be installed now"));
            } else {
                let found = self.actual.routes.get(key);
                let right = found.is_some_and(|found| found.value == Some(*value));
                self.settle(right, || Op::PutRoute { replace: found.is_some(), key: *key, value: *value });
            }
        }
    }

    fn removals(&mut self) {
        self.removals_before_routes();
        let gone = self.actual.routes.keys().filter(|key| !self.desired.routes.contains_key(key));
        self.out.ops.extend(gone.map(|key| Op::DelRoute { key: *key }));
        let wanted =
            |id: &u32| self.desired.groups.contains_key(id) || self.desired.nexthops.contains_key(id);
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
