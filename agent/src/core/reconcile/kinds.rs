//! Kinds of objects beside addresses, next hops and plain routes: VXLAN links with their entries, local segments, rules; and
//! what this kernel cannot do at all.
//!
//! A rule goes in after the routes that it leads to and out before them; a tunnel goes in before what runs over it and out
//! after.

use super::{Work, object};
use crate::core::features::Feature;
use crate::core::kernel::{NexthopKind, Op};
use plan::objects::{GroupValue, NexthopValue, RouteKey, VxlanLink};
use plan::program::{METRIC_PRIMARY, Member, TABLE_SEGMENTS};
use std::net::{IpAddr, Ipv6Addr};

const TAKEN: &str = "an interface of another owner has this name: rename or remove it";

impl Work<'_> {
    /// Refuses an object of a kind that this kernel does not know.
    pub(super) fn lacks(&mut self, feature: Feature, name: impl FnOnce() -> String) -> bool {
        let Some(seen) = self.actual.missing.get(&feature) else { return false };
        let why = format!("{} (this kernel says: {seen})", feature.remedy());
        self.refused(name(), &why);
        true
    }

    /// Whether a nexthop object cannot become this one in place: it must go first.
    pub(super) fn must_go_first(&self, id: u32, is_wanted: impl Fn(&NexthopKind) -> bool) -> bool {
        self.actual.nexthops.get(&id).is_some_and(|found| !is_wanted(&found.kind))
    }

    /// Whether a next hop's interface is made in this round: what was on it goes with the old one.
    pub(super) fn is_on_a_new_link(&self, value: &NexthopValue) -> bool {
        self.made.contains(&value.interface)
    }

    /// Whether a leg of a group goes with its old link in this round.
    pub(super) fn loses_a_leg(&self, value: &GroupValue) -> bool {
        let on_a_new_link = |leg: &Member| {
            self.desired.nexthops.get(&leg.nexthop).is_some_and(|value| self.is_on_a_new_link(value))
        };
        !self.made.is_empty() && value.members.iter().any(on_a_new_link)
    }

    pub(super) fn vxlans(&mut self) {
        let desired = self.desired;
        for (name, link) in &desired.vxlans {
            if !self.lacks(Feature::Vxlan, || format!("VXLAN link {name}")) {
                self.vxlan(name, link);
            }
        }
        for ((link, mac), remote) in &desired.forwarding {
            let right = self.actual.forwarding.contains(&(link.clone(), *mac, *remote));
            let op = Op::PutForwarding { link: link.clone(), mac: *mac, remote: *remote };
            self.on_vxlan(link, right, op);
        }
        for ((link, address), mac) in &desired.vxlan_neighbours {
            let right = self.actual.vxlan_neighbours.get(&(link.clone(), *address)) == Some(mac);
            let op = Op::PutVxlanNeighbour { link: link.clone(), address: *address, mac: *mac };
            self.on_vxlan(link, right, op);
        }
    }

    fn vxlan(&mut self, name: &str, link: &VxlanLink) {
        let put = |replace| Op::PutVxlan { replace, name: name.to_string(), link: link.clone() };
        let is_up = self.actual.links.get(name).map(|found| found.up);
        match (self.actual.vxlans.get(name), is_up) {
            (Some(Some(found)), Some(true)) if found == link => self.out.installed += 1,
            (Some(Some(found)), _) if fixed(found) == fixed(link) => self.out.ops.push(put(true)),
            (Some(_), _) => {
                self.out.ops.extend([Op::DelVxlan { name: name.to_string() }, put(false)]);
                self.made.insert(name.to_string());
            }
            (None, Some(_)) => self.refused(object(&put(false)), TAKEN),
            (None, None) => {
                self.out.ops.push(put(false));
                self.made.insert(name.to_string());
            }
        }
    }

    /// An entry of a VXLAN link.
    fn on_vxlan(&mut self, link: &str, right: bool, op: Op) {
        let is_made = self.made.contains(link);
        if !is_made && !self.actual.vxlans.contains_key(link) {
            return self.refused(object(&op), "its VXLAN link is not there");
        }
        self.settle(right && !is_made, || op);
    }

    pub(super) fn local_segments(&mut self) {
        let desired = self.desired;
        for (segment, (interface, behaviour)) in &desired.local_segments {
            if self.lacks(Feature::Seg6Local, || format!("local segment {segment}")) {
                continue;
            }
            let found = self.actual.local_segments.get(&key(*segment));
            let right =
                found.is_some_and(|found| found.as_ref() == Some(&(interface.clone(), behaviour.clone())));
            let op = Op::PutLocalSegment {
                replace: found.is_some(),
                segment: *segment,
                interface: interface.clone(),
                behaviour: behaviour.clone(),
            };
            match self.obstacle(interface, false) {
                Some(why) => self.pending(object(&op), why),
                None => self.settle(right && !self.made.contains(interface), || op),
            }
        }
    }

    pub(super) fn rules(&mut self) {
        let desired = self.desired;
        for (family, rule) in &desired.rules {
            let right = self.actual.rules.contains(&(*family, rule.clone()));
            self.settle(right, || Op::PutRule { family: *family, rule: rule.clone() });
        }
    }

    /// What leads to routes, before any of them goes.
    pub(super) fn removals_before_routes(&mut self) {
        let gone = self.actual.rules.difference(&self.desired.rules);
        let gone: Vec<Op> =
            gone.map(|(family, rule)| Op::DelRule { family: *family, rule: rule.clone() }).collect();
        self.out.ops.extend(gone);
        let is_wanted = |found: &RouteKey| {
            matches!(found.prefix.ip(), IpAddr::V6(segment)
                if *found == key(segment) && self.desired.local_segments.contains_key(&segment))
        };
        let gone = self.actual.local_segments.keys().filter(|found| !is_wanted(found));
        let gone: Vec<Op> = gone.map(|key| Op::DelRoute { key: *key }).collect();
        self.out.ops.extend(gone);
    }

    /// What routes ran over, after all of them went. Entries of a link that goes go with it.
    pub(super) fn removals_of_tunnels(&mut self) {
        let stays = |link: &String| self.desired.vxlans.contains_key(link) && !self.made.contains(link);
        let mut ops = Vec::new();
        for (link, address) in self.actual.vxlan_neighbours.keys().filter(|(link, _)| stays(link)) {
            if !self.desired.vxlan_neighbours.contains_key(&(link.clone(), *address)) {
                ops.push(Op::DelVxlanNeighbour { link: link.clone(), address: *address });
            }
        }
        for (link, mac, remote) in self.actual.forwarding.iter().filter(|(link, ..)| stays(link)) {
            // A changed tunnel end was replaced in place.
            let wanted = self.desired.forwarding.get(&(link.clone(), *mac));
            let is_replaced = wanted.is_some_and(|wanted| !self.forwards(link, *mac, *wanted));
            if wanted != Some(remote) && !is_replaced {
                ops.push(Op::DelForwarding { link: link.clone(), mac: *mac, remote: *remote });
            }
        }
        let gone = self.actual.vxlans.keys().filter(|name| !self.desired.vxlans.contains_key(*name));
        ops.extend(gone.map(|name| Op::DelVxlan { name: name.clone() }));
        self.out.ops.extend(ops);
    }

    fn forwards(&self, link: &str, mac: [u8; 6], remote: IpAddr) -> bool {
        self.actual.forwarding.contains(&(link.to_string(), mac, remote))
    }
}

/// What cannot be changed on a link that is there.
fn fixed(link: &VxlanLink) -> (u32, IpAddr, u16) {
    (link.vni, link.local, link.port)
}

/// The place of a local segment's route.
fn key(segment: Ipv6Addr) -> RouteKey {
    RouteKey { table: TABLE_SEGMENTS, prefix: IpAddr::V6(segment).into(), metric: METRIC_PRIMARY }
}
