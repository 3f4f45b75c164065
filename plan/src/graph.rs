//! The network as a directed graph in compressed sparse rows.
//!
//! Nodes and links keep the positions that they have in the topology, so "by link" is "by link id". Both
//! directions of a link are edges of their own, each with its own cost; parallel links are parallel edges.
//!
//! A drained way counts after all others: of two paths the one over fewer drained links is shorter, then the one
//! with the lower sum of costs. So traffic leaves it while another way is left, and nothing is cut off. Knows nothing of prefixes, addresses or programs.

use crate::renumber::Renumbering;
use crate::spf::{Line, UNREACHABLE};
use std::collections::BTreeMap;
use topology::{NodeIndex, Topology};

/// One way over one link, seen from the node that sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    /// Position of the link in `Topology::links`.
    pub(crate) link: u32,
    /// Which of the link's ends is the sender's: 0 or 1.
    pub(crate) end: u8,
    /// The node at the other end.
    pub(crate) to: u32,
    /// Cost of this direction; with the graph's penalty when the way is drained.
    pub(crate) cost: u64,
    /// Cost of the opposite direction: what the reversed graph walks on.
    pub(crate) cost_back: u64,
}

/// Outgoing edges of all nodes, each node's sorted by link.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    /// Edges of node `n` are `edges[starts[n]..starts[n + 1]]`: those of living links only.
    starts: Vec<u32>,
    edges: Vec<Edge>,
    /// Ways of node `n` over all its links, dead or alive, are `slots[slot_starts[n]..slot_starts[n + 1]]`: the
    /// position in `edges`, or [`DEAD`].
    slot_starts: Vec<u32>,
    slots: Vec<u32>,
    /// By position of the link, dead ones with costs of [`UNREACHABLE`].
    lines: Vec<Line>,
    /// By position of the link: whether traffic avoids it.
    drained: Vec<bool>,
}

/// No position of an edge.
const DEAD: u32 = u32::MAX;

impl Graph {
    /// The graph of the links for which `alive` says yes, by position.
    pub(crate) fn new(topology: &Topology, alive: impl Fn(u32) -> bool) -> Graph {
        let nodes = topology.nodes.len();
        let alive: Vec<bool> = (0..topology.links.len() as u32).map(alive).collect();
        let drained = drained(topology, &alive);
        let penalty = if drained.contains(&true) { penalty(topology) } else { 0 };
        let lines = topology.links.iter().enumerate().map(|(at, link)| {
            let more = if drained[at] { penalty } else { 0 };
            let costs = [0, 1].map(|end| u64::from(link.ends[end].cost) + more);
            let [a, b] = [0, 1].map(|end| link.ends[end].node.0);
            let [cost, cost_back] = if alive[at] { costs } else { [UNREACHABLE; 2] };
            Line { a, b, cost, cost_back }
        });
        Graph::of_lines(nodes, lines.collect(), drained)
    }

    /// The graph of these links, dead ones with costs of [`UNREACHABLE`].
    fn of_lines(nodes: usize, lines: Vec<Line>, drained: Vec<bool>) -> Graph {
        let mut per_node = vec![Vec::new(); nodes];
        for (link, line) in (0_u32..).zip(&lines) {
            let edge = Edge { link, end: 0, to: line.b, cost: line.cost, cost_back: line.cost_back };
            let opposite = Edge { link, end: 1, to: line.a, cost: line.cost_back, cost_back: line.cost };
            // Links come in their order, so each node's list fills up sorted by link.
            let alive = line.cost != UNREACHABLE;
            per_node[line.a as usize].push(alive.then_some(edge));
            per_node[line.b as usize].push(alive.then_some(opposite));
        }
        let mut graph = Graph {
            starts: vec![0],
            edges: Vec::new(),
            slot_starts: vec![0],
            slots: Vec::new(),
            lines,
            drained,
        };
        for ways in per_node {
            for edge in ways {
                graph.slots.push(if edge.is_some() { graph.edges.len() as u32 } else { DEAD });
                graph.edges.extend(edge);
            }
            graph.starts.push(graph.edges.len() as u32);
            graph.slot_starts.push(graph.slots.len() as u32);
        }
        graph
    }

    /// The same graph under other numbers; links that come are dead.
    pub(crate) fn renumbered(&self, topology: &Topology, places: &Renumbering) -> Graph {
        let (lines, drained) = places
            .old_links()
            .into_iter()
            .zip(&topology.links)
            .map(|(old, link)| {
                let [a, b] = [0, 1].map(|end| link.ends[end].node.0);
                match old.map(|old| old as usize) {
                    Some(old) => (Line { a, b, ..self.lines[old] }, self.drained[old]),
                    None => (Line { a, b, cost: UNREACHABLE, cost_back: UNREACHABLE }, false),
                }
            })
            .unzip();
        Graph::of_lines(topology.nodes.len(), lines, drained)
    }

    /// Whether traffic avoids the link at this position while another way is left.
    pub(crate) fn is_drained(&self, link: u32) -> bool {
        self.drained[link as usize]
    }

    /// The links as the engine takes them.
    pub(crate) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// The edge over the n-th of all links of `node`, dead links counted; `None` for a dead one.
    pub(crate) fn edge_at_slot(&self, node: u32, slot: usize) -> Option<&Edge> {
        let at = self.slots[self.slot_starts[node as usize] as usize + slot];
        self.edges.get(at as usize)
    }

    /// Number of nodes.
    pub(crate) fn nodes(&self) -> usize {
        self.starts.len() - 1
    }

    /// Edges out of `node`, sorted by link.
    pub(crate) fn edges(&self, node: NodeIndex) -> &[Edge] {
        let node = node.0 as usize;
        &self.edges[self.starts[node] as usize..self.starts[node + 1] as usize]
    }

    /// For every node the lowest node of its connected component.
    pub(crate) fn components(&self) -> Vec<u32> {
        let mut component = vec![u32::MAX; self.nodes()];
        let mut stack = Vec::new();
        for first in 0..self.nodes() as u32 {
            if component[first as usize] != u32::MAX {
                continue;
            }
            component[first as usize] = first;
            stack.push(first);
            while let Some(node) = stack.pop() {
                for edge in self.edges(NodeIndex(node)) {
                    if component[edge.to as usize] == u32::MAX {
                        component[edge.to as usize] = first;
                        stack.push(edge.to);
                    }
                }
            }
        }
        component
    }
}

/// By position of the link whether traffic shall avoid it: it is drained, one of its nodes is, or too few links of
/// its group are alive.
fn drained(topology: &Topology, alive: &[bool]) -> Vec<bool> {
    let mut living: BTreeMap<&str, u32> = BTreeMap::new();
    for (link, _) in topology.links.iter().zip(alive).filter(|(_, alive)| **alive) {
        if let Some(group) = &link.group {
            *living.entry(group).or_default() += 1;
        }
    }
    let few = |name: &String| {
        let group = topology.link_groups.iter().find(|group| group.name == *name);
        group.is_some_and(|group| living.get(name.as_str()).copied().unwrap_or(0) < group.min_links)
    };
    let of_link = |link: &topology::Link| {
        let ends = || link.ends.iter().map(|end| topology.node(end.node));
        link.drained || ends().any(|node| node.drained) || link.group.as_ref().is_some_and(few)
    };
    topology.links.iter().map(of_link).collect()
}

/// What a drained way costs more: above the sum of a few paths without a loop, so that sums and differences of
/// distances compare drained ways first. A power of two, so that few changes of costs change it. Distances are exact
/// while the penalty times the nodes is below 2^62: with costs up to 2^24, a million nodes.
fn penalty(topology: &Topology) -> u64 {
    // A path without a loop leaves each node at most once.
    let mut highest = vec![0_u64; topology.nodes.len()];
    for end in topology.links.iter().flat_map(|link| &link.ends) {
        let highest = &mut highest[end.node.0 as usize];
        *highest = (*highest).max(u64::from(end.cost));
    }
    let longest: u64 = highest.iter().sum();
    let sums = (longest + 1).saturating_mul(PATHS_IN_A_SUM);
    sums.checked_next_power_of_two().unwrap_or(u64::MAX / 2)
}

/// Distances that are added up before they are compared, rounded up.
const PATHS_IN_A_SUM: u64 = 4;
