//! Where packets go under compiled programs: followed next hop by next hop, as the kernels would.
//!
//! Judges the programs, not the graph that they were computed from: a wrong next hop shows here as a loop or
//! a black hole. A next hop over a link that is down carries nothing: the kernel has shed it, and a route
//! whose group has no leg left has given way to the one at the next worse metric.

use crate::{Facts, Network, Program};
use std::collections::BTreeMap;
use std::fmt;
use topology::Topology;

/// Paths that [`paths`] lists at most: more tell a person nothing, and their number can grow exponentially.
pub const PATHS_MAX: usize = 64;

/// How a path ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// At the destination.
    Delivered,
    /// Back at a node that it has passed.
    Loop {
        /// That node; it is the last hop and occurs once before.
        node: String,
    },
    /// At a node without a route whose next hops are alive.
    BlackHole {
        /// That node; it is the last hop.
        node: String,
    },
}

impl fmt::Display for Fate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Delivered => out.write_str("delivered"),
            Fate::Loop { node } => write!(out, "comes back to {node}"),
            Fate::BlackHole { node } => write!(out, "{node} has no living next hop"),
        }
    }
}

/// One way that packets take.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Names of the nodes in order, both ends included.
    pub hops: Vec<String>,
    /// Ids of the links between them.
    pub links: Vec<String>,
    /// Sum of the links' costs in this direction.
    pub cost: u64,
    /// Sum of the links' one-way latencies in microseconds, when all state one.
    pub latency_us: Option<u64>,
    /// Share of the flows that take this path, from 0 to 1: each group splits evenly.
    pub share: f64,
    /// How it ends.
    pub fate: Fate,
}

/// All ways that packets for `to`'s prefixes take from `from`, at most [`PATHS_MAX`] (their shares then sum to
/// less than 1), in the order of links. Empty when the topology does not have one of the nodes.
pub fn paths(topology: &Topology, facts: &Facts, network: &Network, from: &str, to: &str) -> Vec<Path> {
    let (Some(from), Some(to)) = (topology.node_index(from), topology.node_index(to)) else {
        return Vec::new();
    };
    let forwarding = Forwarding::new(topology, facts, network);
    let legs = forwarding.towards(to.0);
    let mut found = Vec::new();
    let mut on_path = vec![false; legs.len()];
    // Depth first; a frame is a node, how many of its legs are done, and the share that gets there. Every
    // descent ends in a path after at most as many hops as there are nodes: the bound on paths bounds the work.
    let mut frames = vec![(from.0, 0, 1.0)];
    let mut links = Vec::new();
    while let Some((node, done, share)) = frames.last_mut()
        && found.len() < PATHS_MAX
    {
        let (node, leg, share) = (*node, std::mem::replace(done, *done + 1), *share);
        let name = || topology.nodes[node as usize].name.clone();
        let legs = legs[node as usize];
        let fate = match legs.get(leg) {
            _ if node == to.0 => Some(Fate::Delivered),
            _ if leg == 0 && on_path[node as usize] => Some(Fate::Loop { node: name() }),
            None if leg == 0 => Some(Fate::BlackHole { node: name() }),
            Some((link, next)) => {
                on_path[node as usize] = true;
                links.push(*link);
                frames.push((*next, 0, share / legs.len() as f64));
                continue;
            }
            None => {
                on_path[node as usize] = false;
                None
            }
        };
        if let Some(fate) = fate {
            let nodes: Vec<u32> = frames.iter().map(|(node, _, _)| *node).collect();
            found.push(path(topology, &nodes, &links, share, fate));
        }
        frames.pop();
        links.pop();
    }
    found
}

/// The path over `links` through `nodes`, one node more than links.
fn path(topology: &Topology, nodes: &[u32], links: &[u32], share: f64, fate: Fate) -> Path {
    let used = || links.iter().map(|at| &topology.links[*at as usize]);
    let cost = used().zip(nodes).map(|(link, from)| {
        let own = usize::from(link.ends[0].node.0 != *from);
        u64::from(link.ends[own].cost)
    });
    Path {
        hops: nodes.iter().map(|at| topology.nodes[*at as usize].name.clone()).collect(),
        links: used().map(|link| link.id.clone()).collect(),
        cost: cost.sum(),
        latency_us: used().try_fold(0_u64, |sum, link| sum.checked_add(link.latency_us?)),
        share,
        fate,
    }
}

/// A living next hop of a node: (position of the link, position of the node at its other end).
pub(crate) type Leg = (u32, u32);

/// No route, or one whose next hops are all down.
const NOWHERE: u32 = u32::MAX;

/// What all programs together do, in positions of nodes and links instead of names.
pub(crate) struct Forwarding {
    nodes: usize,
    /// For each node the position of its class in the table; `None` for a node that is not in it.
    class_of_node: Vec<Option<usize>>,
    /// Living legs of every group of every program that has one, each sorted.
    groups: Vec<Vec<Leg>>,
    /// `best[class * nodes + node]`: position in `groups` of the best living route, or [`NOWHERE`].
    best: Vec<u32>,
}

impl Forwarding {
    pub(crate) fn new(topology: &Topology, facts: &Facts, network: &Network) -> Forwarding {
        let nodes = topology.nodes.len();
        let classes = &network.table.classes;
        let by_name: BTreeMap<&str, usize> =
            classes.iter().enumerate().map(|(at, class)| (class.name.as_str(), at)).collect();
        let interfaces = living_interfaces(topology, facts);
        let mut forwarding = Forwarding {
            nodes,
            class_of_node: topology.nodes.iter().map(|node| by_name.get(&*node.name).copied()).collect(),
            groups: Vec::new(),
            best: vec![NOWHERE; classes.len() * nodes],
        };
        for (at, node) in topology.nodes.iter().enumerate() {
            let Some((program, _)) = network.host(&node.name) else { continue };
            let group_positions = forwarding.add_groups(program, &interfaces[at]);
            let mut routes = program.classes.iter().peekable();
            for (position, class) in classes.iter().enumerate() {
                while routes.next_if(|route| route.class < class.id).is_some() {}
                // The routes of a class are sorted by metric, the best first.
                while let Some(route) = routes.next_if(|route| route.class == class.id) {
                    let best = &mut forwarding.best[position * nodes + at];
                    if *best == NOWHERE {
                        *best = group_positions.get(&route.group).copied().unwrap_or(NOWHERE);
                    }
                }
            }
        }
        forwarding
    }

    /// Adds the program's groups that have a living leg; gives their positions by id.
    fn add_groups(&mut self, program: &Program, interfaces: &BTreeMap<&str, Leg>) -> BTreeMap<u32, u32> {
        let mut positions = BTreeMap::new();
        for group in &program.groups {
            let nexthops = group.members.iter().filter_map(|member| program.nexthop(member.nexthop));
            let mut legs: Vec<Leg> =
                nexthops.filter_map(|nexthop| interfaces.get(&*nexthop.interface).copied()).collect();
            legs.sort_unstable();
            if !legs.is_empty() {
                positions.insert(group.id, self.groups.len() as u32);
                self.groups.push(legs);
            }
        }
        positions
    }

    /// For each node the living legs of the best route towards node `to`; empty where there is none.
    pub(crate) fn towards(&self, to: u32) -> Vec<&[Leg]> {
        let Some(class) = self.class_of_node[to as usize] else { return vec![&[]; self.nodes] };
        let best = &self.best[class * self.nodes..(class + 1) * self.nodes];
        best.iter().map(|group| self.groups.get(*group as usize).map_or(&[][..], Vec::as_slice)).collect()
    }

    /// For each node whether packets for `to` arrive, whichever of the equal next hops they take.
    pub(crate) fn arrives(&self, to: u32) -> Vec<bool> {
        let legs = self.towards(to);
        // Who sends to a node, as a list per node in one array: (sender, position of the list's rest).
        let mut senders: Vec<(u32, u32)> = Vec::new();
        let mut first_sender = vec![NOWHERE; self.nodes];
        for (node, legs) in (0_u32..).zip(&legs) {
            for (_, next) in *legs {
                let rest = std::mem::replace(&mut first_sender[*next as usize], senders.len() as u32);
                senders.push((node, rest));
            }
        }
        // Backwards from the destination: a node follows once all its next hops have. Loops never do.
        let mut waits_for: Vec<usize> = legs.iter().map(|legs| legs.len()).collect();
        let mut arrives = vec![false; self.nodes];
        let mut ready = vec![to];
        while let Some(node) = ready.pop() {
            if std::mem::replace(&mut arrives[node as usize], true) {
                continue;
            }
            let mut list = first_sender[node as usize];
            while let Some((sender, rest)) = senders.get(list as usize) {
                waits_for[*sender as usize] -= 1;
                if waits_for[*sender as usize] == 0 {
                    ready.push(*sender);
                }
                list = *rest;
            }
        }
        arrives
    }
}

/// For each node: interface -> where its link leads, for links that are not down.
fn living_interfaces<'a>(topology: &'a Topology, facts: &Facts) -> Vec<BTreeMap<&'a str, Leg>> {
    let mut interfaces = vec![BTreeMap::new(); topology.nodes.len()];
    for (at, link) in (0_u32..).zip(&topology.links) {
        if facts.links_down.contains(&link.id) {
            continue;
        }
        for (own, far) in [(&link.ends[0], &link.ends[1]), (&link.ends[1], &link.ends[0])] {
            interfaces[own.node.0 as usize].insert(own.interface.as_str(), (at, far.node.0));
        }
    }
    interfaces
}
