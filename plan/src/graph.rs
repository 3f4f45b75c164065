//! The network as a directed graph in compressed sparse rows.
//!
//! Nodes and links keep the positions that they have in the topology, so "by link" is "by link id". Both
//! directions of a link are edges of their own, each with its own cost; parallel links are parallel edges.
//! Knows nothing of prefixes, addresses or programs.

use crate::spf::Line;
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
    /// Cost of this direction.
    pub(crate) cost: u32,
    /// Cost of the opposite direction: what the reversed graph walks on.
    pub(crate) cost_back: u32,
}

/// Outgoing edges of all nodes, each node's sorted by link.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    /// Edges of node `n` are `edges[starts[n]..starts[n + 1]]`.
    starts: Vec<u32>,
    edges: Vec<Edge>,
}

impl Graph {
    /// The graph of the links for which `alive` says yes, by position.
    pub(crate) fn new(topology: &Topology, alive: impl Fn(u32) -> bool) -> Graph {
        let mut starts = vec![0_u32; topology.nodes.len() + 1];
        let living = || {
            let links = topology.links.iter().enumerate();
            links.map(|(at, link)| (at as u32, link)).filter(|(at, _)| alive(*at))
        };
        for (_, link) in living() {
            for end in &link.ends {
                starts[end.node.0 as usize + 1] += 1;
            }
        }
        for node in 0..topology.nodes.len() {
            starts[node + 1] += starts[node];
        }
        let unset = Edge { link: 0, end: 0, to: 0, cost: 0, cost_back: 0 };
        let mut edges = vec![unset; starts[topology.nodes.len()] as usize];
        let mut free = starts.clone();
        // Links come in their order, so each node's slice fills up sorted by link.
        for (at, link) in living() {
            for (own, far) in [(0, 1), (1, 0)] {
                let (from, to) = (&link.ends[own], &link.ends[far]);
                let slot = &mut free[from.node.0 as usize];
                edges[*slot as usize] =
                    Edge { link: at, end: own as u8, to: to.node.0, cost: from.cost, cost_back: to.cost };
                *slot += 1;
            }
        }
        Graph { starts, edges }
    }

    /// The links as the engine takes them: each node's keep their order.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<(u32, Line)> = Vec::with_capacity(self.edges.len() / 2);
        for node in 0..self.nodes() as u32 {
            let first_ends = self.edges(NodeIndex(node)).iter().filter(|edge| edge.end == 0);
            lines.extend(first_ends.map(|edge| {
                let (cost, cost_back) = (u64::from(edge.cost), u64::from(edge.cost_back));
                (edge.link, Line { a: node, b: edge.to, cost, cost_back })
            }));
        }
        lines.sort_unstable_by_key(|(link, _)| *link);
        lines.into_iter().map(|(_, line)| line).collect()
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
