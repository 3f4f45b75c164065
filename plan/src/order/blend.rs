//! Intermediate programs: a host's new program that keeps its old routes for some destinations.

use crate::program::{GROUP_IDS, NEXTHOP_IDS};
use crate::program::{Group, Member, Nexthop, Settings};
use crate::{ClassId, Program, digest, network};
use std::collections::{BTreeMap, BTreeSet};

/// `new`, but with the routes of `old` for the classes `held`: (number in `old`, number in `new`).
///
/// An ordinary program over the new prefix table. Settings, next hops and groups are those of both, so that
/// every route finds what it needs; where both set the same, the new one does.
pub(super) fn blend(old: &Program, new: &Program, held: &[(ClassId, ClassId)]) -> Program {
    let kept: BTreeSet<ClassId> = held.iter().map(|(_, new)| *new).collect();
    let mut blend = new.clone();
    blend.classes.retain(|route| !kept.contains(&route.class));
    let mut added = Added::new(old, new);
    for (was, is) in held {
        for route in old.class_routes(*was) {
            let Some(group) = added.group(&mut blend, route.group) else { continue };
            blend.classes.push(crate::program::ClassRoute { class: *is, group, ..*route });
        }
    }
    blend.classes.sort_unstable();
    blend.nexthops.sort_unstable_by_key(|nexthop| nexthop.id);
    blend.groups.sort_unstable_by_key(|group| group.id);
    blend.settings = settings(&old.settings, &new.settings);
    both(&mut blend.rules, &old.rules, |rule| rule.clone());
    both(&mut blend.discards, &old.discards, |discard| (discard.table, discard.prefix, discard.metric));
    both(&mut blend.local_segments, &old.local_segments, |local| local.segment);
    both(&mut blend.vxlans, &old.vxlans, |vxlan| vxlan.name.clone());
    blend
}

/// What has been added to the new program from the old one.
struct Added<'a> {
    old: &'a Program,
    nexthop_ids: BTreeSet<u32>,
    group_ids: BTreeSet<u32>,
    /// Old id -> id in the blend.
    groups: BTreeMap<u32, u32>,
}

impl<'a> Added<'a> {
    fn new(old: &'a Program, new: &Program) -> Added<'a> {
        Added {
            old,
            nexthop_ids: new.nexthops.iter().map(|nexthop| nexthop.id).collect(),
            group_ids: new.groups.iter().map(|group| group.id).collect(),
            groups: BTreeMap::new(),
        }
    }

    /// The id in `blend` of the old program's group `id`.
    fn group(&mut self, blend: &mut Program, id: u32) -> Option<u32> {
        if let Some(known) = self.groups.get(&id) {
            return Some(*known);
        }
        let mut members: Vec<Member> = Vec::new();
        let Group { resilient, route_mtu_bytes, members: legs, .. } = self.old.group(id)?;
        for member in legs {
            let nexthop = self.nexthop(blend, self.old.nexthop(member.nexthop)?);
            members.push(Member { nexthop, weight: member.weight });
        }
        members.sort_unstable();
        let same = |group: &&Group| {
            group.members == members
                && (group.resilient, group.route_mtu_bytes) == (*resilient, *route_mtu_bytes)
        };
        let found = blend.groups.iter().find(same).map(|group| group.id);
        let known = found.unwrap_or_else(|| {
            let known = network::free_id(digest::of_members(&members), &GROUP_IDS, &mut self.group_ids);
            let (resilient, route_mtu_bytes) = (*resilient, *route_mtu_bytes);
            blend.groups.push(Group { id: known, members, resilient, route_mtu_bytes });
            known
        });
        self.groups.insert(id, known);
        Some(known)
    }

    fn nexthop(&mut self, blend: &mut Program, wanted: &Nexthop) -> u32 {
        let same = |known: &&Nexthop| {
            (&known.interface, known.gateway, &known.encapsulation)
                == (&wanted.interface, wanted.gateway, &wanted.encapsulation)
        };
        if let Some(known) = blend.nexthops.iter().find(same) {
            return known.id;
        }
        let hash = digest::of_next_hop(&wanted.interface, wanted.gateway, wanted.encapsulation.as_ref());
        let id = network::free_id(hash, &NEXTHOP_IDS, &mut self.nexthop_ids);
        blend.nexthops.push(Nexthop { id, ..wanted.clone() });
        id
    }
}

/// Adds what only the old program has; where both have the same key, the new one's stays.
fn both<T: Clone, K: Ord>(new: &mut Vec<T>, old: &[T], key: impl Fn(&T) -> K) {
    let known: BTreeSet<K> = new.iter().map(&key).collect();
    new.extend(old.iter().filter(|item| !known.contains(&key(item))).cloned());
    new.sort_by_key(key);
}

fn settings(old: &Settings, new: &Settings) -> Settings {
    let mut both = old.clone();
    both.sysctls.extend(new.sysctls.clone());
    both.mtus.extend(new.mtus.clone());
    both.addresses.extend(new.addresses.iter().cloned());
    both.addresses.sort_unstable();
    both.addresses.dedup();
    both.neighbours.extend(new.neighbours.iter().cloned());
    both.neighbours.sort_unstable();
    both.neighbours.dedup();
    // A watch has one set of parameters: the new ones.
    let watched: BTreeSet<&String> = new.liveness.iter().map(|liveness| &liveness.interface).collect();
    both.liveness.retain(|liveness| !watched.contains(&liveness.interface));
    both.liveness.extend(new.liveness.iter().cloned());
    both.liveness.sort_unstable();
    both
}
