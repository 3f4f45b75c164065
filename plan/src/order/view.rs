//! Reading two states at once: the nodes of both under one numbering, and where each program sends a class.
//!
//! Reads a host's next hops when they are first asked for: a change of one link asks few hosts.

use crate::program::{Class, Member, Nexthop, TABLE_MAIN};
use crate::proof::State;
use crate::{ClassId, Facts, PrefixTable, Program};
use ipnetwork::IpNetwork;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use topology::{Node, Topology};

/// Where packets have arrived: at a node whose own prefixes they go to, or behind an uplink.
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
    /// Classes that are not one node's, with the nodes where their prefixes are at home.
    shared: Vec<(ClassId, BTreeSet<u32>)>,
}

/// A node's loopbacks and prefixes.
fn own_prefixes(node: &Node) -> impl Iterator<Item = IpNetwork> {
    let loopbacks = node.loopbacks.iter().map(|address| IpNetwork::from(*address));
    loopbacks.chain(node.prefixes.iter().copied())
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

/// The same prefixes in both states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) old: Place,
    pub(super) new: Place,
    /// Whether their class is called the same in both: they end at the same places.
    pub(super) stays: bool,
}

/// A class and where its prefixes are at home.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) class: ClassId,
    home: Home,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Home {
    Node(u32),
    /// At several nodes, or behind uplinks alone: position in [`Side::shared`].
    Shared(u32),
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
        let key = |was: &Class, is: &Class| {
            let (old, new) = (old.place(was, &self.names)?, self.new.place(is, &self.names)?);
            Some(Key { old, new, stays: was.name == is.name })
        };
        if before.classes == after.classes && before.entries == after.entries {
            let place = |class| self.new.place(class, &self.names);
            let same = after.classes.iter().filter_map(place);
            return same.map(|place| Key { old: place, new: place, stays: true }).collect();
        }
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        let by_name: BTreeMap<&str, &Class> =
            before.classes.iter().map(|class| (class.name.as_str(), class)).collect();
        for is in &after.classes {
            keys.extend(by_name.get(is.name.as_str()).and_then(|was| key(was, is)));
        }
        if old.state.network.table_digest != self.new.state.network.table_digest {
            let mut rest = before.entries.iter().peekable();
            let mut moves: BTreeSet<(ClassId, ClassId)> = BTreeSet::new();
            for (prefix, is) in &after.entries {
                while rest.next_if(|(other, _)| other < prefix).is_some() {}
                moves.extend(rest.next_if(|(other, _)| other == prefix).map(|(_, was)| (*was, *is)));
            }
            let class = |table: &'a PrefixTable, id: ClassId| {
                table.classes.binary_search_by_key(&id, |class| class.id).ok().map(|at| &table.classes[at])
            };
            keys.extend(
                moves.into_iter().filter_map(|(was, is)| key(class(before, was)?, class(after, is)?)),
            );
        }
        keys.into_iter().collect()
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
        for external in &topology.external {
            let node = external.node.0 as usize;
            let uplink = || format!("{}:{}", topology.nodes[node].name, external.interface);
            if facts.links_down.is_empty() || !facts.links_down.contains(&uplink()) {
                wires[number_of[node] as usize].push((external.interface.as_str(), ARRIVED));
            }
        }
        for wires in &mut wires {
            wires.sort_unstable();
        }
        let groups = names.iter().map(|_| OnceCell::new()).collect();
        let mut side = Side { state, programs, wires, groups, shared: Vec::new() };
        side.find_shared(names, &number_of);
        side
    }

    fn find_shared(&mut self, names: &[&str], number_of: &[u32]) {
        let table = &self.state.network.table;
        // Every node has a class of its own.
        if table.classes.len() == self.state.topology.nodes.len() {
            return;
        }
        let is_shared = |class: &&Class| names.binary_search(&class.name.as_str()).is_err();
        let mut shared: BTreeMap<ClassId, BTreeSet<u32>> =
            table.classes.iter().filter(is_shared).map(|class| (class.id, BTreeSet::new())).collect();
        if !shared.is_empty() {
            for (node, number) in self.state.topology.nodes.iter().zip(number_of) {
                for class in own_prefixes(node).filter_map(|prefix| table.class_of(&prefix)) {
                    shared.entry(class).and_modify(|homes| _ = homes.insert(*number));
                }
            }
        }
        self.shared = shared.into_iter().collect();
    }

    fn place(&self, class: &Class, names: &[&str]) -> Option<Place> {
        let home = match names.binary_search(&class.name.as_str()) {
            Ok(node) => Home::Node(node as u32),
            Err(_) => {
                let at = self.shared.binary_search_by_key(&class.id, |(id, _)| *id).ok()?;
                Home::Shared(at as u32)
            }
        };
        Some(Place { class: class.id, home })
    }

    fn is_home(&self, node: u32, place: Place) -> bool {
        match place.home {
            Home::Node(home) => home == node,
            Home::Shared(at) => self.shared[at as usize].1.contains(&node),
        }
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
            let far = |hop: &Nexthop| {
                let at = wires.binary_search_by_key(&&*hop.interface, |(name, _)| name).ok()?;
                Some((hop.id, wires[at].1))
            };
            let fars: Vec<(u32, u32)> = program.nexthops.iter().filter_map(far).collect();
            let mut legs: Vec<u32> = Vec::new();
            for group in &program.groups {
                let of = |member: &Member| fars.binary_search_by_key(&member.nexthop, |(id, _)| *id).ok();
                legs.clear();
                legs.extend(group.members.iter().filter_map(of).map(|at| fars[at].1));
                legs.sort_unstable();
                legs.dedup();
                groups.legs.extend_from_slice(&legs);
                groups.ends.push((group.id, groups.legs.len()));
            }
            groups
        })
    }

    /// Whether the group of the node's program has a living next hop.
    pub(super) fn lives(&self, node: u32, group: u32) -> bool {
        !self.groups(node).legs(group).is_empty()
    }

    /// Living next nodes of the route in force; [`ARRIVED`] where the class is at home; none without a route.
    pub(super) fn primary(&self, node: u32, place: Place) -> &[u32] {
        let mut ways = self.ways(node, place);
        ways.next().unwrap_or_default()
    }

    /// Living next nodes of the routes that would come into force after the first.
    pub(super) fn repair(&self, node: u32, place: Place) -> Vec<u32> {
        let mut legs: Vec<u32> = self.ways(node, place).skip(1).flatten().copied().collect();
        legs.sort_unstable();
        legs
    }

    /// The next nodes of each living route, best metric first.
    fn ways(&self, node: u32, place: Place) -> impl Iterator<Item = &[u32]> {
        let own = self.is_home(node, place).then_some(&[ARRIVED][..]);
        let routes = match (own, self.program(node)) {
            (None, Some(program)) => program.class_routes(place.class),
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
