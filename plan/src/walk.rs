//! Where packets go under compiled programs: followed next hop by next hop, as the kernels would.
//!
//! Judges the programs, not the graph that they were computed from: a wrong next hop shows here as a loop or
//! a black hole. A next hop over a link that is down carries nothing: the kernel has shed it, and a route
//! whose group has no leg left has given way to the one at the next worse metric.

use crate::forwarding::Forwarding;
use crate::{Facts, Network};
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
    /// Share of the flows that take this path, from 0 to 1: each group splits by its members' weights.
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
            Some(leg) => {
                on_path[node as usize] = true;
                links.push(leg.link);
                let weights: f64 = legs.iter().map(|leg| f64::from(leg.weight)).sum();
                frames.push((leg.to, 0, share * f64::from(leg.weight) / weights));
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
