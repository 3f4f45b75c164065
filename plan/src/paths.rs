//! Shortest paths to every destination, all equal-cost next hops, and what facts do to them.
//!
//! One Dijkstra run per destination on the reversed graph. A next hop of node `u` towards `d` is every edge
//! `u -> v` with `cost(u -> v) + distance(v, d) == distance(u, d)`: costs are at least 1, so distances fall
//! on every hop and no loop can be built from them. Knows nothing of prefixes, addresses or programs.
//!
//! Facts. A node that reaches `d` over living links uses the living graph. A node that does not, but would
//! with all links up, is on the *cut-off side* and uses the graph without facts, so that its routes stay.
//! The two do not loop: a living link never joins the two sides (its other end would reach `d` as well), so
//! on the cut-off side the distance without facts falls on every hop; a packet that leaves that side over a
//! link believed dead, and so alive after all, is on the living side, where the living distance falls. An
//! alternate for a link believed dead would be in use at once and break this: there is none.
//! See docs/decisions/0002.

use crate::Facts;
use crate::graph::{Edge, Graph};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use topology::{NodeIndex, Topology};

/// Distance of what cannot be reached. No sum of link costs comes near it: 2^32 links of the highest cost
/// would be needed.
pub(crate) const UNREACHABLE: u64 = u64::MAX;

/// A graph and the distance of every node to every other.
pub(crate) struct Field {
    pub(crate) graph: Graph,
    /// `distances[to * nodes + from]`.
    distances: Vec<u64>,
}

/// All that decides next hops.
pub(crate) struct Paths {
    living: Field,
    /// The graph without facts; only there when facts cut some node off.
    without_facts: Option<Field>,
    /// By position of the link: whether facts say that it is down.
    down: Vec<bool>,
}

impl Field {
    fn new(graph: Graph) -> Field {
        let nodes = graph.nodes();
        let mut distances = vec![UNREACHABLE; nodes * nodes];
        let mut heap = BinaryHeap::new();
        for to in 0..nodes {
            shortest_paths_to(&graph, to as u32, &mut distances[to * nodes..(to + 1) * nodes], &mut heap);
        }
        Field { graph, distances }
    }

    /// Length of the shortest path, or [`UNREACHABLE`].
    pub(crate) fn distance(&self, from: u32, to: u32) -> u64 {
        self.distances[to as usize * self.graph.nodes() + from as usize]
    }

    /// Length of the shortest path to `to` that begins with `edge`, or [`UNREACHABLE`].
    pub(crate) fn distance_through(&self, edge: &Edge, to: u32) -> u64 {
        self.distance(edge.to, to).saturating_add(u64::from(edge.cost))
    }

    /// Edges out of `from` that lie on a shortest path to `to`, sorted by link.
    pub(crate) fn next_hops(&self, from: u32, to: u32) -> impl Iterator<Item = &Edge> {
        let distance = self.distance(from, to);
        let edges = self.graph.edges(NodeIndex(from)).iter();
        edges.filter(move |edge| self.distance_through(edge, to) == distance && distance != UNREACHABLE)
    }
}

/// Fills `distances[from]` for all nodes. The result does not depend on the order of equal heap entries.
fn shortest_paths_to(
    graph: &Graph,
    to: u32,
    distances: &mut [u64],
    heap: &mut BinaryHeap<Reverse<(u64, u32)>>,
) {
    distances[to as usize] = 0;
    heap.push(Reverse((0, to)));
    while let Some(Reverse((distance, node))) = heap.pop() {
        if distance > distances[node as usize] {
            continue;
        }
        for edge in graph.edges(NodeIndex(node)) {
            // The path runs towards `node`, against this edge.
            let through = distance + u64::from(edge.cost_back);
            if through < distances[edge.to as usize] {
                distances[edge.to as usize] = through;
                heap.push(Reverse((through, edge.to)));
            }
        }
    }
}

impl Paths {
    /// Computes all distances.
    pub(crate) fn new(topology: &Topology, facts: &Facts) -> Paths {
        let down: Vec<bool> = topology.links.iter().map(|link| facts.links_down.contains(&link.id)).collect();
        let living = Field::new(Graph::new(topology, |link| !down[link as usize]));
        let all = Graph::new(topology, |_| true);
        let cut = down.contains(&true) && living.graph.components() != all.components();
        Paths { living, without_facts: cut.then(|| Field::new(all)), down }
    }

    /// Whether facts say that the edge's link is down: only routes of the cut-off side use such links.
    pub(crate) fn is_down(&self, edge: &Edge) -> bool {
        self.down[edge.link as usize]
    }

    /// The graph and distances by which `from` routes to `to`; `None` where not even all links would do.
    pub(crate) fn field(&self, from: u32, to: u32) -> Option<&Field> {
        if self.living.distance(from, to) != UNREACHABLE {
            return Some(&self.living);
        }
        self.without_facts.as_ref().filter(|field| field.distance(from, to) != UNREACHABLE)
    }
}
