//! Reading two states at once: the nodes of both under one numbering, and where each program sends a class.
//!
//! Reads a host's next hops when they are first asked for: a change of one link asks few hosts.

use crate::program::TABLE_MAIN;
use crate::proof::State;
use crate::{ClassId, Facts, Program};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use topology::Topology;

/// Where a class's own node sends: the packet has arrived.
pub(super) const ARRIVED: u32 = u32::MAX;

/// Both states.
pub(super) struct View<'a> {
    /// Names of the nodes of both, sorted; a node is its position here.
    pub(super) names: Vec<&'a str>,
    pub(super) old: Option<Side<'a>>,
    pub(super) new: Side<'a>,
}

/// One state.
pub(super) struct Side<'a> {
    pub(super) state: State<'a>,
    /// By node: position of its program in the network.
    programs: Vec<Option<usize>>,
    /// By node: (interface, node at the other end) of links that are not down, sorted.
    wires: Vec<Vec<(&'a str, u32)>>,
    /// By node, filled when first read.
    groups: Vec<OnceCell<Groups>>,
}

/// The next nodes of a program's groups.
#[derive(Default)]
struct Groups {
    /// (id, end of its legs in `legs`), sorted by id.
    ends: Vec<(u32, usize)>,
    legs: Vec<u32>,
}

impl Groups {
    fn legs(&self, group: u32) -> &[u32] {
        let Ok(at) = self.ends.binary_search_by_key(&group, |(id, _)| *id) else { return &[] };
        let start = if at == 0 { 0 } else { self.ends[at - 1].1 };
        &self.legs[start..self.ends[at].1]
    }
}

/// A destination: the class of the same prefixes in each state, with the node at which it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) old: Option<(ClassId, u32)>,
    pub(super) new: Option<(ClassId, u32)>,
}

impl<'a> View<'a> {
    pub(super) fn new(old: Option<State<'a>>, new: State<'a>, facts: &Facts) -> View<'a> {
        let old_nodes = old.iter().flat_map(|state| &state.topology.nodes);
        let mut names: Vec<&str> = old_nodes.chain(&new.topology.nodes).map(|node| &*node.name).collect();
        // Two sorted runs: the stable sort merges them.
        names.sort();
        names.dedup();
        let side = |state| Side::new(state, &names, facts);
        View { old: old.map(side), new: side(new), names }
    }

    /// Destinations whose prefixes are in both states: one per class that both have, and one for each pair of
    /// classes between which prefixes move.
    pub(super) fn keys(&self) -> Vec<Key> {
        let Some(old) = &self.old else { return Vec::new() };
        let (before, after) = (&old.state.network.table, &self.new.state.network.table);
        let node = |name: &str| self.names.binary_search(&name).ok().map(|at| at as u32);
        let class = |table: &crate::PrefixTable, id| Some((id, node(table.class_name(id)?)?));
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        let by_name: BTreeMap<&str, ClassId> =
            before.classes.iter().map(|class| (class.name.as_str(), class.id)).collect();
        for new in &after.classes {
            if let (Some(id), Some(at)) = (by_name.get(new.name.as_str()), node(&new.name)) {
                keys.insert(Key { old: Some((*id, at)), new: Some((new.id, at)) });
            }
        }
        if old.state.network.table_digest != self.new.state.network.table_digest {
            let mut rest = before.entries.iter().peekable();
            for (prefix, id) in &after.entries {
                while rest.next_if(|(other, _)| other < prefix).is_some() {}
                if let Some((_, was)) = rest.next_if(|(other, _)| other == prefix) {
                    keys.insert(Key { old: class(before, *was), new: class(after, *id) });
                }
            }
        }
        keys.into_iter().filter(|key| key.old.is_some() && key.new.is_some()).collect()
    }

    /// Where `node` sends, in a class for which it sends the same in both states.
    pub(super) fn settled(&self, node: u32, key: Key) -> &[u32] {
        match &self.old {
            Some(old) if self.new.program(node).is_none() => old.primary(node, key.old),
            _ => self.new.primary(node, key.new),
        }
    }
}

impl<'a> Side<'a> {
    fn new(state: State<'a>, names: &[&str], facts: &Facts) -> Side<'a> {
        let (topology, network): (&'a Topology, _) = (state.topology, state.network);
        // Names, nodes and programs are all sorted by name.
        let mut number_of = Vec::with_capacity(topology.nodes.len());
        let mut rest = names.iter().zip(0_u32..);
        for node in &topology.nodes {
            let (_, number) =
                rest.find(|(name, _)| **name == node.name).expect("the names are those of all nodes");
            number_of.push(number);
        }
        let mut programs = vec![None; names.len()];
        let mut rest = names.iter().zip(0_usize..);
        for (at, program) in network.programs.iter().enumerate() {
            if let Some((_, number)) = rest.clone().find(|(name, _)| **name == program.host) {
                programs[number] = Some(at);
                rest = names[number + 1..].iter().zip(number + 1..);
            }
        }
        let mut wires = vec![Vec::new(); names.len()];
        for link in &topology.links {
            if !facts.links_down.is_empty() && facts.links_down.contains(&link.id) {
                continue;
            }
            let [a, b] = [0, 1].map(|end: usize| number_of[link.ends[end].node.0 as usize]);
            wires[a as usize].push((link.ends[0].interface.as_str(), b));
            wires[b as usize].push((link.ends[1].interface.as_str(), a));
        }
        for wires in &mut wires {
            wires.sort_unstable();
        }
        let groups = names.iter().map(|_| OnceCell::new()).collect();
        Side { state, programs, wires, groups }
    }

    pub(super) fn program(&self, node: u32) -> Option<&'a Arc<Program>> {
        self.programs[node as usize].map(|at| &self.state.network.programs[at])
    }

    pub(super) fn digest(&self, node: u32) -> Option<crate::Digest> {
        self.programs[node as usize].map(|at| self.state.network.digests[at])
    }

    fn groups(&self, node: u32) -> &Groups {
        self.groups[node as usize].get_or_init(|| {
            let mut groups = Groups::default();
            let Some(program) = self.program(node) else { return groups };
            let wires = &self.wires[node as usize];
            for group in &program.groups {
                let nexthops = group.members.iter().filter_map(|member| program.nexthop(member.nexthop));
                let found = nexthops
                    .filter_map(|hop| wires.binary_search_by_key(&&*hop.interface, |(name, _)| name).ok());
                let mut legs: Vec<u32> = found.map(|at| wires[at].1).collect();
                legs.sort_unstable();
                legs.dedup();
                groups.legs.append(&mut legs);
                groups.ends.push((group.id, groups.legs.len()));
            }
            groups
        })
    }

    /// Living next nodes of the route in force; [`ARRIVED`] at the class's own node; none without a route.
    pub(super) fn primary(&self, node: u32, class: Option<(ClassId, u32)>) -> &[u32] {
        let mut ways = self.ways(node, class);
        ways.next().unwrap_or_default()
    }

    /// Living next nodes of the routes that would come into force after the first.
    pub(super) fn repair(&self, node: u32, class: Option<(ClassId, u32)>) -> Vec<u32> {
        let mut legs: Vec<u32> = self.ways(node, class).skip(1).flatten().copied().collect();
        legs.sort_unstable();
        legs
    }

    /// The next nodes of each living route, best metric first.
    fn ways(&self, node: u32, class: Option<(ClassId, u32)>) -> impl Iterator<Item = &[u32]> {
        let own = class.filter(|(_, destination)| *destination == node).map(|_| &[ARRIVED][..]);
        let routes = match (own, class, self.program(node)) {
            (None, Some((class, _)), Some(program)) => program.class_routes(class),
            _ => &[],
        };
        let routes = routes.iter().filter(|route| route.table == TABLE_MAIN);
        let living =
            routes.map(move |route| self.groups(node).legs(route.group)).filter(|legs| !legs.is_empty());
        own.into_iter().chain(living)
    }

    /// Whether a group that both programs of `node` have leads to the same nodes in both.
    pub(super) fn same_groups(&self, other: &Side<'_>, node: u32) -> bool {
        let (ours, theirs) = (self.groups(node), other.groups(node));
        let mut rest = theirs.ends.iter().peekable();
        ours.ends.iter().all(|(id, _)| {
            while rest.next_if(|(other, _)| other < id).is_some() {}
            rest.next_if(|(other, _)| other == id).is_none() || ours.legs(*id) == theirs.legs(*id)
        })
    }
}
