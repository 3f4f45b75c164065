//! Where packets go under compiled programs: followed next hop by next hop, as the kernels would.
//!
//! Judges the programs, not the graph that they were computed from: a wrong next hop shows here as a loop or
//! a black hole. A next hop over a link that is down carries nothing: the kernel has shed it, and a route
//! whose group has no leg left has given way to the one at the next worse metric.

use crate::{ClassId, Facts, Network};
use std::collections::BTreeMap;
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

/// What all programs together do, in positions of nodes and links instead of names.
pub(crate) struct Forwarding<'a> {
    network: &'a Network,
    /// Class of each node.
    classes: Vec<Option<ClassId>>,
    /// For each node that has a program: its position in the network.
    programs: Vec<Option<usize>>,
    /// For each node: group id -> living legs, sorted.
    groups: Vec<BTreeMap<u32, Vec<Leg>>>,
}

impl<'a> Forwarding<'a> {
    pub(crate) fn new(topology: &Topology, facts: &Facts, network: &'a Network) -> Forwarding<'a> {
        let by_name: BTreeMap<&str, ClassId> =
            network.table.classes.iter().map(|class| (class.name.as_str(), class.id)).collect();
        let mut interfaces: Vec<BTreeMap<&str, Leg>> = vec![BTreeMap::new(); topology.nodes.len()];
        for (at, link) in topology.links.iter().enumerate() {
            if facts.links_down.contains(&link.id) {
                continue;
            }
            for (own, far) in [(&link.ends[0], &link.ends[1]), (&link.ends[1], &link.ends[0])] {
                interfaces[own.node.0 as usize].insert(&own.interface, (at as u32, far.node.0));
            }
        }
        let program_of =
            |name: &str| network.programs.binary_search_by(|program| program.host.as_str().cmp(name)).ok();
        let programs: Vec<_> = topology.nodes.iter().map(|node| program_of(&node.name)).collect();
        let groups = programs.iter().zip(&interfaces).map(|(program, interfaces)| {
            let Some(program) = program.map(|at| &network.programs[at]) else { return BTreeMap::new() };
            let legs = |group: &crate::program::Group| {
                let nexthops = group.members.iter().filter_map(|member| program.nexthop(member.nexthop));
                let mut legs: Vec<Leg> = nexthops
                    .filter_map(|nexthop| interfaces.get(nexthop.interface.as_str()).copied())
                    .collect();
                legs.sort_unstable();
                legs
            };
            program.groups.iter().map(|group| (group.id, legs(group))).collect()
        });
        Forwarding {
            network,
            classes: topology.nodes.iter().map(|node| by_name.get(node.name.as_str()).copied()).collect(),
            groups: groups.collect(),
            programs,
        }
    }

    /// For each node the living legs of the best route towards node `to`; empty where there is none.
    pub(crate) fn towards(&self, to: u32) -> Vec<&[Leg]> {
        let Some(class) = self.classes[to as usize] else { return vec![&[]; self.programs.len()] };
        let legs = |(program, groups): (&Option<usize>, &'_ BTreeMap<u32, Vec<Leg>>)| {
            let routes = program.map(|at| self.network.programs[at].class_routes(class)).unwrap_or_default();
            // Routes are sorted by metric, the best first.
            routes
                .iter()
                .map(|route| route.group)
                .find(|group| groups.get(group).is_some_and(|l| !l.is_empty()))
        };
        let best = self.programs.iter().zip(&self.groups).map(legs);
        best.zip(&self.groups)
            .map(|(group, groups)| {
                group.and_then(|id| groups.get(&id)).map(Vec::as_slice).unwrap_or_default()
            })
            .collect()
    }

    /// For each node whether packets for `to` arrive, whichever of the equal next hops they take.
    pub(crate) fn arrives(&self, to: u32) -> Vec<bool> {
        let legs = self.towards(to);
        let mut senders = vec![Vec::new(); legs.len()];
        for (node, legs) in legs.iter().enumerate() {
            for (_, next) in *legs {
                senders[*next as usize].push(node);
            }
        }
        // Backwards from the destination: a node follows once all its next hops have. Loops never do.
        let mut waits_for: Vec<usize> = legs.iter().map(|legs| legs.len()).collect();
        let mut arrives = vec![false; legs.len()];
        let mut ready = vec![to as usize];
        while let Some(node) = ready.pop() {
            if std::mem::replace(&mut arrives[node], true) {
                continue;
            }
            for sender in &senders[node] {
                waits_for[*sender] -= 1;
                if waits_for[*sender] == 0 {
                    ready.push(*sender);
                }
            }
        }
        arrives
    }
}
