//! Paths under conditions: the cheapest, the k cheapest, and pairs that share as little as possible.
//!
//! For people who plan, on links that are alive: programs never follow such paths. Of two paths the one over fewer drained
//! links is the cheaper; then the sum of costs decides, then the latency.
//!
//! - *Cheapest*, with a bound on latency and nodes to pass: exact. Labels of (cost, latency) per node of which none is worse
//!   in both (Hansen 1980). The problem is hard in general, so the labels are bounded; more is an error, never a wrong path.
//! - *k cheapest without a loop* (Yen 1971): exact, in the order of cost.
//! - *Pairs disjoint in links and nodes* (Suurballe 1974; Bhandari 1999): exact, as a flow of two units of the lowest cost.
//!   Where nothing is wholly disjoint, what is shared is the least possible: nodes first, then links, then cost.
//! - *Pairs disjoint in risk groups*: hard in general (Hu 2003). Candidates for the cheaper path are tried in the order of
//!   cost, each with the best partner; the pair says whether it is proven to be the best.
//!
//! A path that has to pass nodes in an order may pass a node again on its way to the next of them.

mod disjoint;
mod search;

pub use disjoint::{Pair, disjoint_pair, risk_disjoint_pair};

use crate::Facts;
use crate::graph::Graph;
use search::{Network, Ways};
use std::collections::BTreeSet;
use topology::{LinkIndex, NodeIndex, Topology};

/// Paths that [`cheapest_paths`] gives at most.
pub const PATHS_MAX: usize = 1_000;

/// Which nodes and links may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Nodes to keep off; the two ends are always allowed.
    pub avoid_nodes: BTreeSet<NodeIndex>,
    /// Links to keep off.
    pub avoid_links: BTreeSet<LinkIndex>,
    /// Risk groups to keep off.
    pub avoid_risks: BTreeSet<String>,
    /// Affinity labels of which a link may have none (RFC 3209, section 4.7.4: exclude-any).
    pub exclude_any: BTreeSet<String>,
    /// Labels of which a link must have one; nothing: no condition (include-any).
    pub include_any: BTreeSet<String>,
    /// Labels of which a link must have all (include-all).
    pub include_all: BTreeSet<String>,
}

/// What a path must keep to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    /// What it is made of.
    pub allowed: Allowed,
    /// Nodes that it passes in this order.
    pub via: Vec<NodeIndex>,
    /// Bound on its latency, one way, in microseconds; links without a latency count 0.
    pub max_latency_us: Option<u64>,
}

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its nodes in order, both ends included.
    pub nodes: Vec<NodeIndex>,
    /// The links between them.
    pub links: Vec<LinkIndex>,
    /// How many of them are drained, end at a drained node, or belong to a bundle with too few living links.
    pub drained_links: u64,
    /// Sum of their costs in this direction.
    pub cost: u64,
    /// Sum of their latencies, one way, in microseconds.
    pub latency_us: u64,
}

/// The search grew beyond its bound: the conditions leave too many ways that are each best in something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "more than {} partial paths are each the best in cost or latency; loosen the bound on latency or avoid parts of the network",
    search::LABELS_MAX
)]
pub struct TooManyWays;

impl Allowed {
    fn link(&self, topology: &Topology, at: u32) -> bool {
        let link = &topology.links[at as usize];
        let has = |label: &String| link.affinity.contains(label);
        !self.avoid_links.contains(&LinkIndex(at))
            && !link.srlgs.iter().any(|risk| self.avoid_risks.contains(risk))
            && !self.exclude_any.iter().any(has)
            && (self.include_any.is_empty() || self.include_any.iter().any(has))
            && self.include_all.iter().all(has)
    }

    /// The graph of living links that may be used between `from` and `to`.
    fn graph(&self, topology: &Topology, facts: &Facts, ends: [NodeIndex; 2]) -> Graph {
        let node = |node: NodeIndex| ends.contains(&node) || !self.avoid_nodes.contains(&node);
        Graph::new(topology, |at| {
            let link = &topology.links[at as usize];
            let reachable = link.ends.iter().all(|end| node(end.node));
            reachable && !facts.links_down.contains(&link.id) && self.link(topology, at)
        })
    }
}

impl Route {
    /// The path over `links` from `from`.
    fn new(topology: &Topology, graph: &Graph, from: u32, links: &[u32]) -> Route {
        let mut route = Route {
            nodes: vec![NodeIndex(from)],
            links: links.iter().map(|link| LinkIndex(*link)).collect(),
            drained_links: 0,
            cost: 0,
            latency_us: 0,
        };
        let mut at = NodeIndex(from);
        for position in links {
            let link = &topology.links[*position as usize];
            let own = usize::from(link.ends[0].node != at);
            at = link.ends[1 - own].node;
            route.drained_links += u64::from(graph.is_drained(*position));
            route.cost = route.cost.saturating_add(u64::from(link.ends[own].cost));
            route.latency_us = route.latency_us.saturating_add(link.latency_us.unwrap_or(0));
            route.nodes.push(at);
        }
        route
    }
}

/// The cheapest path that keeps to the constraints; `None` when there is none.
pub(crate) fn cheapest_path(
    topology: &Topology,
    facts: &Facts,
    constraints: &Constraints,
    from: NodeIndex,
    to: NodeIndex,
) -> Result<Option<Route>, TooManyWays> {
    Ok(cheapest_paths(topology, facts, constraints, from, to, 1)?.pop())
}

/// The `count` cheapest paths, at most [`PATHS_MAX`], the cheapest first. None of them passes a node twice on its way to
/// the next node that it has to pass.
pub fn cheapest_paths(
    topology: &Topology,
    facts: &Facts,
    constraints: &Constraints,
    from: NodeIndex,
    to: NodeIndex,
    count: usize,
) -> Result<Vec<Route>, TooManyWays> {
    let graph = constraints.allowed.graph(topology, facts, [from, to]);
    let network = Network::new(topology, &graph, &constraints.via, to.0);
    let budget = constraints.max_latency_us.unwrap_or(u64::MAX);
    let mut ways = Ways::new(&network, from.0, budget);
    let mut routes = Vec::new();
    while routes.len() < count.min(PATHS_MAX)
        && let Some(links) = ways.next_way()?
    {
        routes.push(Route::new(topology, &graph, from.0, &links));
    }
    Ok(routes)
}

#[cfg(test)]
mod tests;
