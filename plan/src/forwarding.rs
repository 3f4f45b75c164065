//! What all compiled programs together do, in positions of nodes and links instead of names.
//!
//! Judges the programs, not the graph that they were computed from. A next hop over a link that is down
//! carries nothing: the kernel has shed it, and a route whose group has no leg left has given way to the one
//! at the next worse metric. Never decides what is right: that is `check`'s part.

use crate::program::ClassRoute;
use crate::{ClassId, Facts, Network, Program, origins};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use topology::Topology;

/// A living next hop of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Leg {
    /// Position of the link.
    pub(crate) link: u32,
    /// Position of the node at its other end.
    pub(crate) to: u32,
    /// The member's weight in its group, from 1.
    pub(crate) weight: u16,
}

/// No route, or one whose next hops are all down.
const NOWHERE: u32 = u32::MAX;

/// One host's part.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    /// By position of the class: position of the best living route's group, or [`NOWHERE`].
    best: Vec<u32>,
    /// Ids of the program's groups that have a living leg, in its order.
    ids: Vec<u32>,
    /// Living legs of group `g`, sorted, are `legs[starts[g]..starts[g + 1]]`.
    starts: Vec<u32>,
    legs: Vec<Leg>,
}

impl Host {
    fn legs(&self, group: u32) -> &[Leg] {
        match self.starts.get(group as usize..) {
            Some([start, end, ..]) => &self.legs[*start as usize..*end as usize],
            _ => &[],
        }
    }
}

/// What all programs together do.
#[derive(Clone, Debug)]
pub(crate) struct Forwarding {
    /// For each node the position of its class in the table; `None` for a node that is not in it.
    class_of_node: Arc<Vec<Option<u32>>>,
    /// By position of the class: the nodes that its packets are for, sorted.
    ends: Arc<Vec<Vec<u32>>>,
    hosts: Vec<Arc<Host>>,
}

/// A class of one host that a change gave other legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Touched {
    /// Position of the class.
    pub(crate) class: u32,
    /// Position of the node.
    pub(crate) node: u32,
}

impl Forwarding {
    pub(crate) fn new(topology: &Topology, facts: &Facts, network: &Network) -> Forwarding {
        let classes = &network.table.classes;
        let by_name: BTreeMap<&str, u32> =
            (0_u32..).zip(classes).map(|(at, class)| (class.name.as_str(), at)).collect();
        let interfaces = Interfaces::new(topology, facts);
        let host = |(at, node): (u32, &topology::Node)| {
            let program = network.host(&node.name).map(|(program, _)| &**program);
            Arc::new(host(network, program, interfaces.of(at)))
        };
        let class_of_node: Vec<Option<u32>> =
            topology.nodes.iter().map(|node| by_name.get(&*node.name).copied()).collect();
        Forwarding {
            ends: Arc::new(ends(topology, facts, network, &class_of_node)),
            class_of_node: Arc::new(class_of_node),
            hosts: (0_u32..).zip(&topology.nodes).map(host).collect(),
        }
    }

    /// The forwarding of a state that has the same nodes and classes as this one's, and what differs, sorted.
    /// Takes over every host whose program and living links stay.
    pub(crate) fn follow<'a>(
        &self,
        (old_topology, old_facts, old_network): (&'a Topology, &'a Facts, &'a Network),
        (topology, facts, network): (&'a Topology, &'a Facts, &'a Network),
    ) -> (Forwarding, Vec<Touched>) {
        let (moved, relinked) = links_moved((old_topology, old_facts), (topology, facts));
        let mut stale = relinked.clone();
        for (at, stale) in stale.iter_mut().enumerate() {
            let same = match (old_network.programs.get(at), network.programs.get(at)) {
                (Some(old), Some(new)) => {
                    Arc::ptr_eq(old, new)
                        || (old.host == new.host && old_network.digests[at] == network.digests[at])
                }
                (old, new) => old.is_none() && new.is_none(),
            };
            *stale |= !same;
        }
        let interfaces = Interfaces::new(topology, facts);
        let follow = |(at, old): (usize, &Arc<Host>)| {
            let moved_host = moved.as_ref().map(|moved| old.moved(moved));
            let before = moved_host.as_ref().unwrap_or(old);
            if !stale[at] {
                return (before.clone(), Vec::new());
            }
            let name = &topology.nodes[at].name;
            let program = |network: &'a Network| network.host(name).map(|(program, _)| &**program);
            let interfaces = interfaces.of(at as u32);
            let (after, classes) = match (program(old_network), program(network)) {
                (Some(old), Some(new)) if !relinked[at] => before.follow(old, new, network, interfaces),
                (_, new) => {
                    let after = host(network, new, interfaces);
                    let classes = before.differs(&after).collect();
                    (after, classes)
                }
            };
            let touched = classes.into_iter().map(|class| Touched { class, node: at as u32 });
            (Arc::new(after), touched.collect())
        };
        let (hosts, touched): (Vec<Arc<Host>>, Vec<Vec<Touched>>) =
            self.hosts.par_iter().enumerate().map(follow).unzip();
        let mut touched = touched.concat();
        touched.sort_unstable();
        let ends = if network.table.classes.len() == topology.nodes.len() {
            self.ends.clone()
        } else {
            Arc::new(ends(topology, facts, network, &self.class_of_node))
        };
        (Forwarding { class_of_node: self.class_of_node.clone(), ends, hosts }, touched)
    }

    /// Number of nodes.
    pub(crate) fn nodes(&self) -> u32 {
        self.hosts.len() as u32
    }

    /// Position of the node's class in the table.
    pub(crate) fn class_of(&self, node: u32) -> Option<u32> {
        self.class_of_node[node as usize]
    }

    /// The living legs of the best route of `node` to the class at position `class`.
    pub(crate) fn legs(&self, node: u32, class: u32) -> &[Leg] {
        let host = &self.hosts[node as usize];
        host.legs(host.best.get(class as usize).copied().unwrap_or(NOWHERE))
    }

    /// Whether the class is one node's own, and not of several places or an uplink.
    pub(crate) fn is_nodes_own(&self, class: u32) -> bool {
        self.ends(class).iter().any(|node| self.class_of(*node) == Some(class))
    }

    /// Number of classes.
    pub(crate) fn classes(&self) -> u32 {
        self.ends.len() as u32
    }

    /// The nodes that packets of the class at position `class` are for, sorted: most often one.
    pub(crate) fn ends(&self, class: u32) -> &[u32] {
        &self.ends[class as usize]
    }

    /// For each node the living legs of the best route to the class at position `class`; empty where there is none, and
    /// where the class ends.
    pub(crate) fn class_legs(&self, class: u32) -> Vec<&[Leg]> {
        let mut legs: Vec<&[Leg]> = (0..self.nodes()).map(|node| self.legs(node, class)).collect();
        for end in self.ends(class) {
            legs[*end as usize] = &[];
        }
        legs
    }

    /// [`Forwarding::class_legs`] of the class of node `to`.
    pub(crate) fn towards(&self, to: u32) -> Vec<&[Leg]> {
        match self.class_of(to) {
            Some(class) => self.class_legs(class),
            None => vec![&[]; self.hosts.len()],
        }
    }

    /// For each node whether packets for `to` arrive, whichever of the equal next hops they take.
    pub(crate) fn arrives(&self, to: u32) -> Vec<bool> {
        let mut order = Order::default();
        order.sort(&self.towards(to));
        let mut arrives = vec![false; self.hosts.len()];
        arrives[to as usize] = true;
        let legs = self.towards(to);
        for node in order.sinks_first() {
            let legs = legs[*node as usize];
            arrives[*node as usize] |= !legs.is_empty() && legs.iter().all(|leg| arrives[leg.to as usize]);
        }
        arrives
    }
}

impl Host {
    /// The same with links at other positions; only for hosts none of whose living links went.
    fn moved(&self, moved: &[u32]) -> Arc<Host> {
        let legs = self.legs.iter().map(|leg| Leg { link: moved[leg.link as usize], ..*leg });
        Arc::new(Host {
            legs: legs.collect(),
            best: self.best.clone(),
            ids: self.ids.clone(),
            starts: self.starts.clone(),
        })
    }

    /// This host under the program `new` after `old`, with the same living interfaces, and the positions of the
    /// classes whose legs differ.
    fn follow(
        &self,
        old: &Program,
        new: &Program,
        network: &Network,
        interfaces: &[Interface<'_>],
    ) -> (Host, Vec<u32>) {
        let mut after = groups(new, interfaces);
        let at_id = |host: &Host, id: u32| host.ids.binary_search(&id).map_or(NOWHERE, |at| at as u32);
        let moved: Vec<u32> = self.ids.iter().map(|id| at_id(&after, *id)).collect();
        let same = |(before, now): (u32, &u32)| *now == NOWHERE || self.legs(before) == after.legs(*now);
        let revived = |id: &u32| self.ids.binary_search(id).is_err() && old.group(*id).is_some();
        if !(0..).zip(&moved).all(same) || after.ids.iter().any(revived) {
            // An id that means something else now, as when two hashes meet in one number.
            let after = host(network, Some(new), interfaces);
            let differs = self.differs(&after).collect();
            return (after, differs);
        }
        let position = |group: &u32| moved.get(*group as usize).copied().unwrap_or(NOWHERE);
        after.best = self.best.iter().map(position).collect();
        let mut touched = Vec::new();
        for class in differing(&old.classes, &new.classes) {
            let Ok(at) = network.table.classes.binary_search_by_key(&class, |class| class.id) else {
                continue;
            };
            let mut routes = new.class_routes(class).iter().map(|route| at_id(&after, route.group));
            after.best[at] = routes.find(|group| *group != NOWHERE).unwrap_or(NOWHERE);
            if self.legs(self.best[at]) != after.legs(after.best[at]) {
                touched.push(at as u32);
            }
        }
        (after, touched)
    }

    /// Positions of the classes whose legs differ between this and `other`.
    fn differs<'a>(&'a self, other: &'a Host) -> impl Iterator<Item = u32> {
        // Groups are compared once each, not once per class.
        let by_legs: BTreeMap<&[Leg], u32> =
            (0..self.groups()).map(|group| (self.legs(group), group)).collect();
        let canonical = |group: u32, legs: &[Leg]| {
            if group == NOWHERE { NOWHERE } else { by_legs.get(legs).copied().unwrap_or(NOWHERE - 1) }
        };
        let own: Vec<u32> = (0..self.groups()).map(|group| canonical(group, self.legs(group))).collect();
        let others: Vec<u32> = (0..other.groups()).map(|group| canonical(group, other.legs(group))).collect();
        let at = |table: &[u32], group: u32| table.get(group as usize).copied().unwrap_or(NOWHERE);
        let pairs = self.best.iter().zip(&other.best).zip(0_u32..);
        pairs.filter_map(move |((before, after), class)| {
            (at(&own, *before) != at(&others, *after)).then_some(class)
        })
    }

    fn groups(&self) -> u32 {
        self.starts.len() as u32 - 1
    }
}

/// The part of the host whose program is given; one that forwards nothing without a program.
fn host(network: &Network, program: Option<&Program>, interfaces: &[Interface<'_>]) -> Host {
    let classes = &network.table.classes;
    let best = vec![NOWHERE; classes.len()];
    let Some(program) = program else {
        return Host { best, ids: Vec::new(), starts: vec![0], legs: Vec::new() };
    };
    let mut host = Host { best, ..groups(program, interfaces) };
    let mut positions = GroupPositions::new(host.ids.len());
    for (position, id) in (0..).zip(&host.ids) {
        positions.insert(*id, position);
    }
    let mut routes = program.classes.iter().peekable();
    for (best, class) in host.best.iter_mut().zip(classes) {
        while routes.next_if(|route| route.class < class.id).is_some() {}
        // The routes of a class are sorted by metric, the best first.
        while let Some(route) = routes.next_if(|route| route.class == class.id) {
            if *best == NOWHERE {
                *best = positions.get(route.group);
            }
        }
    }
    host
}

/// The program's living groups, without classes.
fn groups(program: &Program, interfaces: &[Interface<'_>]) -> Host {
    let mut host = Host {
        best: Vec::new(),
        ids: Vec::with_capacity(program.groups.len()),
        starts: vec![0],
        legs: Vec::new(),
    };
    let leg_of_nexthop: Vec<Option<(u32, u32)>> = program
        .nexthops
        .iter()
        .map(|nexthop| {
            let at = interfaces.binary_search_by(|(name, _, _)| (*name).cmp(&nexthop.interface)).ok()?;
            Some((interfaces[at].1, interfaces[at].2))
        })
        .collect();
    for group in &program.groups {
        let start = host.legs.len();
        for member in &group.members {
            let at = program.nexthops.binary_search_by_key(&member.nexthop, |nexthop| nexthop.id);
            if let Some((link, to)) = at.ok().and_then(|at| leg_of_nexthop[at]) {
                host.legs.push(Leg { link, to, weight: member.weight });
            }
        }
        if host.legs.len() > start {
            host.legs[start..].sort_unstable();
            host.ids.push(group.id);
            host.starts.push(host.legs.len() as u32);
        }
    }
    host
}

/// Routes that are compared at once.
const ROUTES_AT_ONCE: usize = 16;

/// Classes whose routes differ; both sorted by class.
fn differing(old: &[ClassRoute], new: &[ClassRoute]) -> Vec<ClassId> {
    // Nearly all are the same. Without a branch per field this is as fast as memory gives them.
    let same = |old: &[ClassRoute], new: &[ClassRoute]| {
        let bits = old.iter().zip(new).fold(0, |bits, (old, new)| {
            let keys = (old.class.0 ^ new.class.0) | (old.metric ^ new.metric);
            bits | keys | (old.group ^ new.group) | (old.table ^ new.table)
        });
        bits == 0
    };
    let mut found = Vec::new();
    let (mut rest, mut others) = (old, new);
    while !rest.is_empty() || !others.is_empty() {
        if let (Some((block, after)), Some((other, other_after))) =
            (rest.split_at_checked(ROUTES_AT_ONCE), others.split_at_checked(ROUTES_AT_ONCE))
            && same(block, other)
        {
            (rest, others) = (after, other_after);
            continue;
        }
        for _ in 0..ROUTES_AT_ONCE {
            let firsts = rest.first().into_iter().chain(others.first()).map(|route| route.class);
            let Some(class) = firsts.min() else { break };
            let of_class =
                |routes: &[ClassRoute]| routes.iter().take_while(|route| route.class == class).count();
            let ((routes, after), (other, other_after)) =
                (rest.split_at(of_class(rest)), others.split_at(of_class(others)));
            if routes != other {
                found.push(class);
            }
            (rest, others) = (after, other_after);
        }
    }
    found
}

/// By position of the class the nodes that its packets are for: a node's own class ends there, one of several places
/// at those that live. A host with an uplink counts only with a route by it.
fn ends(
    topology: &Topology,
    facts: &Facts,
    network: &Network,
    class_of_node: &[Option<u32>],
) -> Vec<Vec<u32>> {
    let classes = &network.table.classes;
    let mut ends = vec![Vec::new(); classes.len()];
    for (node, class) in (0_u32..).zip(class_of_node) {
        if let Some(class) = class {
            ends[*class as usize].push(node);
        }
    }
    if classes.len() == topology.nodes.len() {
        return ends;
    }
    let leaves_by = |class: ClassId, exit: u32| {
        let external = &topology.external[exit as usize];
        let Some((program, _)) = network.host(&topology.node(external.node).name) else { return false };
        let groups = program.class_routes(class).iter().filter_map(|route| program.group(route.group));
        let members = groups.flat_map(|group| &group.members);
        let mut hops = members.filter_map(|member| program.nexthop(member.nexthop));
        hops.any(|hop| hop.interface == external.interface)
    };
    for destination in origins::destinations(topology).1.iter().filter(|of| of.node().is_none()) {
        let Ok(at) = classes.binary_search_by_key(&destination.id, |class| class.id) else { continue };
        let living = origins::living(topology, facts, destination);
        let there = living.iter().filter(|of| of.exit.is_none_or(|exit| leaves_by(destination.id, exit)));
        ends[at] = there.map(|origin| origin.node).collect();
        ends[at].dedup();
    }
    ends
}

/// Group id -> position, in open addressing: ids are hashes already, and a host's thousands of routes each
/// ask once.
struct GroupPositions {
    slots: Vec<(u32, u32)>,
}

impl GroupPositions {
    fn new(groups: usize) -> GroupPositions {
        GroupPositions { slots: vec![(0, NOWHERE); (groups * 2 + 1).next_power_of_two()] }
    }

    /// The slot of `id`, or the free one where it would be: at most half of them are taken.
    fn slot(&self, id: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = id as usize & mask;
        while self.slots[at].1 != NOWHERE && self.slots[at].0 != id {
            at = (at + 1) & mask;
        }
        at
    }

    fn insert(&mut self, id: u32, position: u32) {
        let slot = self.slot(id);
        self.slots[slot] = (id, position);
    }

    fn get(&self, id: u32) -> u32 {
        self.slots[self.slot(id)].1
    }
}

/// All nodes' interfaces whose links are not down.
struct Interfaces<'t> {
    /// Those of node `n` are `entries[starts[n]..starts[n + 1]]`, sorted by name.
    starts: Vec<u32>,
    /// (name, position of the link, position of the node at its other end).
    entries: Vec<Interface<'t>>,
}

type Interface<'t> = (&'t str, u32, u32);

impl<'t> Interfaces<'t> {
    fn new(topology: &'t Topology, facts: &Facts) -> Interfaces<'t> {
        let living = || {
            let links = (0_u32..).zip(&topology.links);
            links.filter(|(_, link)| !facts.links_down.contains(&link.id))
        };
        let mut starts = vec![0_u32; topology.nodes.len() + 1];
        for (_, link) in living() {
            for end in &link.ends {
                starts[end.node.0 as usize + 1] += 1;
            }
        }
        for node in 0..topology.nodes.len() {
            starts[node + 1] += starts[node];
        }
        let mut entries = vec![("", 0, 0); starts[topology.nodes.len()] as usize];
        let mut free = starts.clone();
        for (at, link) in living() {
            for (own, far) in [(&link.ends[0], &link.ends[1]), (&link.ends[1], &link.ends[0])] {
                let slot = &mut free[own.node.0 as usize];
                entries[*slot as usize] = (own.interface.as_str(), at, far.node.0);
                *slot += 1;
            }
        }
        for range in starts.windows(2) {
            entries[range[0] as usize..range[1] as usize].sort_unstable();
        }
        Interfaces { starts, entries }
    }

    fn of(&self, node: u32) -> &[Interface<'t>] {
        let node = node as usize;
        &self.entries[self.starts[node] as usize..self.starts[node + 1] as usize]
    }
}

/// For the links before: their positions afterwards, `None` when no position changes; and by node whether a
/// link of its own came, went, died, came back or has other ends.
fn links_moved(
    (old_topology, old_facts): (&Topology, &Facts),
    (topology, facts): (&Topology, &Facts),
) -> (Option<Vec<u32>>, Vec<bool>) {
    let mut stale = vec![false; topology.nodes.len()];
    let mut moved = Vec::with_capacity(old_topology.links.len());
    let mut mark = |link: &topology::Link| {
        for end in &link.ends {
            stale[end.node.0 as usize] = true;
        }
    };
    let mut rest = (0_u32..).zip(&topology.links).peekable();
    for old in &old_topology.links {
        while let Some((_, new)) = rest.next_if(|(_, new)| new.id < old.id) {
            mark(new);
        }
        match rest.next_if(|(_, new)| new.id == old.id) {
            Some((at, new)) => {
                moved.push(at);
                if old_facts.links_down.contains(&old.id) != facts.links_down.contains(&new.id) {
                    mark(new);
                }
            }
            None => {
                moved.push(NOWHERE);
                mark(old);
            }
        }
    }
    rest.for_each(|(_, new)| mark(new));
    let stays = old_topology.links.len() == topology.links.len()
        && (0_u32..).zip(&moved).all(|(before, after)| before == *after);
    ((!stays).then_some(moved), stale)
}

/// A class's nodes from its sinks (the destination and nodes without a living next hop) outward, each after
/// all its next hops. Nodes from which a loop can be reached have no place in it. Keeps its memory from one
/// class to the next.
#[derive(Debug, Default)]
pub(crate) struct Order {
    order: Vec<u32>,
    waits_for: Vec<u32>,
    /// Who sends to a node, as a list per node in one array: (sender, position of the list's rest).
    senders: Vec<(u32, u32)>,
    first_sender: Vec<u32>,
}

impl Order {
    /// Sorts the nodes by their legs towards one class; where it ends they must be empty.
    pub(crate) fn sort(&mut self, legs: &[&[Leg]]) {
        self.order.clear();
        self.senders.clear();
        self.waits_for.clear();
        self.first_sender.clear();
        self.first_sender.resize(legs.len(), NOWHERE);
        for (node, legs) in (0_u32..).zip(legs) {
            self.waits_for.push(legs.len() as u32);
            if legs.is_empty() {
                self.order.push(node);
            }
            for leg in *legs {
                let rest =
                    std::mem::replace(&mut self.first_sender[leg.to as usize], self.senders.len() as u32);
                self.senders.push((node, rest));
            }
        }
        let mut done = 0;
        while let Some(node) = self.order.get(done).copied() {
            done += 1;
            let mut list = self.first_sender[node as usize];
            while let Some((sender, rest)) = self.senders.get(list as usize) {
                self.waits_for[*sender as usize] -= 1;
                if self.waits_for[*sender as usize] == 0 {
                    self.order.push(*sender);
                }
                list = *rest;
            }
        }
    }

    /// The nodes, each after all its next hops.
    pub(crate) fn sinks_first(&self) -> &[u32] {
        &self.order
    }

    /// Whether a loop can be reached from `node`.
    pub(crate) fn meets_loop(&self, node: u32) -> bool {
        self.waits_for[node as usize] > 0
    }

    /// Those who send to `node`, one entry per leg.
    pub(crate) fn senders(&self, node: u32) -> impl Iterator<Item = u32> {
        let mut list = self.first_sender[node as usize];
        std::iter::from_fn(move || {
            let (sender, rest) = self.senders.get(list as usize)?;
            list = *rest;
            Some(*sender)
        })
    }
}
