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
use crate::renumber::Renumbering;
use crate::spf::{AllPairs, Changed, Cores};
use std::collections::BTreeSet;
use topology::Topology;

pub(crate) use crate::spf::UNREACHABLE;

/// A graph and the shortest paths between all its nodes.
#[derive(Clone)]
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

/// By node its component in the graph of living links and in that of all links; empty when these do not differ.
#[derive(Default)]
pub(crate) struct Sides {
    living: Vec<u32>,
    all: Vec<u32>,
}

impl Sides {
    /// The nodes that would reach `to` over all links, but not over living ones.
    pub(crate) fn cut_off_from(&self, to: u32) -> BTreeSet<u32> {
        let Some((living, all)) = self.living.get(to as usize).zip(self.all.get(to as usize)) else {
            return BTreeSet::new();
        };
        let sides = (0_u32..).zip(self.living.iter().zip(&self.all));
        sides.filter(|(_, (own, of_all))| *own != living && *of_all == all).map(|(node, _)| node).collect()
    }
}

impl Field {
    fn new(graph: Graph, cores: Cores) -> Field {
        let pairs = AllPairs::new(graph.nodes(), graph.lines(), cores);
        Field { graph, pairs }
    }

    /// Takes another graph of the same nodes and links. Gives the pairs that changed, or `None` when all may have.
    fn update(&mut self, graph: Graph, cores: Cores) -> Option<Vec<Changed>> {
        let changed = self.pairs.update(graph.lines(), cores);
        self.graph = graph;
        changed
    }

    /// Takes other numbers. No shortest path may use a link that goes.
    fn renumber(&mut self, topology: &Topology, places: &Renumbering, cores: Cores) {
        self.graph = self.graph.renumbered(topology, places);
        self.pairs.renumber(&places.nodes, &places.links, topology.nodes.len(), self.graph.lines(), cores);
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
        let down = down(topology, facts);
        let living = Field::new(Graph::new(topology, |link| !down[link as usize]), cores);
        let all = Graph::new(topology, |_| true);
        let cut = down.contains(&true) && living.graph.components() != all.components();
        Paths { living, without_facts: cut.then(|| Field::new(all, cores)), down }
    }

    /// Follows facts and costs of a topology with the same nodes and links, of which only those exist for which `exists`
    /// says yes. Gives the pairs that changed in the graph by which their sender routes, or `None` when anything may have.
    pub(crate) fn update(
        &mut self,
        topology: &Topology,
        facts: &Facts,
        exists: impl Fn(u32) -> bool,
        cores: Cores,
    ) -> Option<Vec<Changed>> {
        self.down = down(topology, facts);
        let all = Graph::new(topology, &exists);
        let living = Graph::new(topology, |link| !self.down[link as usize] && exists(link));
        let is_cut = self.down.contains(&true) && living.components() != all.components();
        let changed = self.living.update(living, cores);
        // Without one so far: near the living graph, so cheaper than from nothing.
        let known = self.without_facts.take().or_else(|| is_cut.then(|| self.living.clone()));
        let changed_of_all = match known {
            None => Some(Vec::new()),
            Some(mut field) => {
                let changed = field.update(all, cores);
                self.without_facts = is_cut.then_some(field);
                changed
            }
        };
        let (mut changed, mut of_cut_off) = changed.zip(changed_of_all)?;
        of_cut_off.retain(|pair| self.living.distance(pair.from, pair.to) == UNREACHABLE);
        changed.append(&mut of_cut_off);
        Some(changed)
    }

    /// Takes other numbers. No shortest path may use a link that goes; an update has to follow.
    pub(crate) fn renumber(&mut self, topology: &Topology, places: &Renumbering, cores: Cores) {
        self.living.renumber(topology, places, cores);
        if let Some(field) = &mut self.without_facts {
            field.renumber(topology, places, cores);
        }
    }

    /// Who is cut off from whom.
    pub(crate) fn sides(&self) -> Sides {
        let both = |field: &Field| (self.living.graph.components(), field.graph.components());
        let (living, all) = self.without_facts.as_ref().map(both).unwrap_or_default();
        Sides { living, all }
    }

    /// The graph by which hosts that facts cut off route; only there when there are any.
    pub(crate) fn without_facts(&self) -> Option<&Field> {
        self.without_facts.as_ref()
    }

    /// The graph and distances of the living links.
    pub(crate) fn living(&self) -> &Field {
        &self.living
    }

    /// Whether `from` goes to `to` over the edge's link although facts call it down.
    pub(crate) fn trusts_dead_link(&self, from: u32, to: u32, link: u32) -> bool {
        let cut_off = self.living.distance(from, to) == UNREACHABLE;
        let without_facts = self.without_facts.as_ref().filter(|_| cut_off);
        without_facts.is_some_and(|field| field.next_hops(from, to).any(|edge| edge.link == link))
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

/// By position of the link: whether facts say that it is down.
fn down(topology: &Topology, facts: &Facts) -> Vec<bool> {
    topology.links.iter().map(|link| facts.links_down.contains(&link.id)).collect()
}
