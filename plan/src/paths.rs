//! Shortest paths to every destination, all equal-cost next hops, and what facts do to them.
//!
//! `spf` computes; this is its result in terms of the network's graph. Knows nothing of prefixes, addresses or
//! programs.
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
use crate::spf::{AllPairs, Cores};
use topology::Topology;

pub(crate) use crate::spf::UNREACHABLE;

/// A graph and the shortest paths between all its nodes.
pub(crate) struct Field {
    pub(crate) graph: Graph,
    pairs: AllPairs,
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
    fn new(graph: Graph, cores: Cores) -> Field {
        let pairs = AllPairs::new(graph.nodes(), graph.lines(), cores);
        Field { graph, pairs }
    }

    /// Length of the shortest path, or [`UNREACHABLE`].
    pub(crate) fn distance(&self, from: u32, to: u32) -> u64 {
        self.pairs.distance(from, to)
    }

    /// Length of the shortest path to `to` that begins with `edge`, or [`UNREACHABLE`].
    pub(crate) fn distance_through(&self, edge: &Edge, to: u32) -> u64 {
        self.distance(edge.to, to).saturating_add(edge.cost)
    }

    /// Edges out of `from` that lie on a shortest path to `to`, sorted by link.
    pub(crate) fn next_hops(&self, from: u32, to: u32) -> impl Iterator<Item = &Edge> {
        self.pairs.next_hops(from, to).filter_map(move |slot| self.graph.edge_at_slot(from, slot))
    }
}

impl Paths {
    /// Computes all distances.
    pub(crate) fn new(topology: &Topology, facts: &Facts, cores: Cores) -> Paths {
        let down: Vec<bool> = topology.links.iter().map(|link| facts.links_down.contains(&link.id)).collect();
        let living = Field::new(Graph::new(topology, |link| !down[link as usize]), cores);
        let all = Graph::new(topology, |_| true);
        let cut = down.contains(&true) && living.graph.components() != all.components();
        Paths { living, without_facts: cut.then(|| Field::new(all, cores)), down }
    }

    /// Whether facts say that the edge's link is down: only routes of the cut-off side use such links.
    pub(crate) fn is_down(&self, edge: &Edge) -> bool {
        self.down[edge.link as usize]
    }

    /// Whether a graph that [`Paths::field`] gave is that of the living links.
    pub(crate) fn is_living(&self, field: &Field) -> bool {
        std::ptr::eq(field, &self.living)
    }

    /// The graph and distances by which `from` routes to `to`; `None` where not even all links would do.
    pub(crate) fn field(&self, from: u32, to: u32) -> Option<&Field> {
        if self.living.distance(from, to) != UNREACHABLE {
            return Some(&self.living);
        }
        self.without_facts.as_ref().filter(|field| field.distance(from, to) != UNREACHABLE)
    }
}
